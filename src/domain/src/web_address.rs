//! The address of a page: `http` or `https`, and a named host. What every reader of addresses understands alike, and nothing else.

/// The address of a page, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebAddress<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host, and the port if there is one.
    pub authority: &'a str,
    /// The host alone; an IPv6 address has its brackets.
    pub host: &'a str,
}

impl<'a> WebAddress<'a> {
    /// Reads an address. `None`: another scheme (`javascript:`), no host (`//elsewhere`), a user before the host (`http://shop@elsewhere`), or a
    /// character that browsers read as another one (`\` as `/`) or take out (tabs, line ends).
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if !text.bytes().all(is_plain) {
            return None;
        }
        let (scheme, rest) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = match authority.rfind(':') {
            Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
            _ => (authority, ""),
        };
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        let is_name = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => is_ipv6(address),
            None => !host.is_empty() && is_name(host),
        };
        (is_host && is_port).then_some(Self { scheme, authority, host })
    }
}

/// Has it the letters of an IPv6 address? Whether it is one is found when it is used.
fn is_ipv6(text: &str) -> bool {
    text.matches(':').count() >= 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_a_scheme_a_host_and_perhaps_a_port() {
        let of = |text| WebAddress::parse(text).map(|address| (address.scheme, address.authority, address.host));
        assert_eq!(of("https://shop.example/back?o=1#x"), Some(("https", "shop.example", "shop.example")));
        assert_eq!(of("http://127.0.0.1:3000"), Some(("http", "127.0.0.1:3000", "127.0.0.1")));
        assert_eq!(of("http://[::1]:80/a"), Some(("http", "[::1]:80", "[::1]")));
        assert_eq!(of("http://[::1]"), Some(("http", "[::1]", "[::1]")));
    }

    #[test]
    fn what_leads_elsewhere_than_it_seems_is_no_address() {
        for text in [
            "",
            "/back",
            "//evil.example",
            "javascript:alert(1)",
            "JAVASCRIPT://x/%0aalert(1)",
            "data:text/html,x",
            "myapp://back",
            "http://",
            "http:///evil.example",
            "http:/evil.example",
            "http://shop.example@evil.example",
            "http://shop.example:80@evil.example",
            "http://evil.example\\@shop.example",
            "http://shop.example\\evil",
            "http://shop.example; script-src *",
            "http://a,b/",
            "http://shop.example:99999",
            "http://shop.example:80:81",
            "http://[::1",
            "http://sh\u{f6}p.example",
            "http://shop.example/\r\nSet-Cookie: a=b",
            " http://shop.example",
            "http://shop.example/\"><script>",
        ] {
            assert_eq!(WebAddress::parse(text), None, "{text:?}");
        }
    }
}
