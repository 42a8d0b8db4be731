//! Who may ask the operator port: requests that no page of another site caused, and where it is required, with the operator token.
//!
//! ```text
//! Host in the list? ─► Origin its own? ─► Sec-Fetch-Site not another's? ─► token, where required ─► the operation
//! ```
//!
//! A name that an attacker owns can resolve to this port (DNS rebinding). The page that was loaded from that name is then of the same origin, so only
//! `Host` tells the request from one of an operator.

use crate::core::problem::{Code, Problem};
use hyper::header::{ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HOST, HeaderMap, ORIGIN, REFERER, USER_AGENT};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// What probes of orchestrators and load balancers read: asked without a token.
const WITHOUT_TOKEN: [&str; 2] = ["/healthz", "/readyz"];

/// The SHA-256 of the operator token: its comparison takes the same time whatever is given.
#[derive(Clone, Copy)]
struct Token([u8; 32]);

impl Token {
    fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token")
    }
}

/// The checks that come before every operation.
#[derive(Debug, Clone)]
pub struct Guard {
    listen: IpAddr,
    /// Lower case, without ports.
    hosts: Vec<String>,
    token: Option<Token>,
}

impl Guard {
    /// `listen`: the address of the port. `hosts`: further names by which operators reach it. `token`: what every request must carry as
    /// `Authorization: Bearer`; `None`: no token is required.
    #[must_use]
    pub fn new(listen: SocketAddr, hosts: &[String], token: Option<&str>) -> Self {
        let hosts = hosts.iter().map(|host| name_of(host).to_ascii_lowercase()).collect();
        Self { listen: listen.ip(), hosts, token: token.map(Token::new) }
    }

    /// Refuses a request that a page of another site may have caused, or that lacks the token.
    pub(super) fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
        let foreign = |what: &str| Err(Problem::new(Code::ForeignOrigin).detail(what));
        let text = |value: &hyper::header::HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
        // Every browser sends it; what has none is a tool.
        let host = headers.get(HOST).map(text);
        if host.as_deref().is_some_and(|host| !self.allows(name_of(host))) {
            return foreign(
                "Host is neither loopback nor the address of this port; api.operator_hosts allows more names",
            );
        }
        if let Some(origin) = headers.get(ORIGIN).map(text) {
            let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if !own.zip(host.as_deref()).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host)) {
                return foreign("Origin is another site");
            }
        }
        if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
            return foreign("Sec-Fetch-Site is another site");
        }
        match &self.token {
            Some(token) if !WITHOUT_TOKEN.contains(&path) && !token.is_in(headers) => {
                let detail = "the operator port requires `Authorization: Bearer` with the operator token";
                Err(Problem::new(Code::Unauthenticated).detail(detail))
            }
            _ => Ok(()),
        }
    }

    /// Loopback, the address that the port listens on (any, where it listens on all), or a name of the list.
    fn allows(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            // No name resolves to another name here: an address in `Host` was typed as an address.
            return address.is_loopback() || address == self.listen || self.listen.is_unspecified();
        }
        host.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(|known| host.eq_ignore_ascii_case(known))
    }
}

impl Token {
    fn is_in(self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && bool::from(Self::new(token.trim()).0.ct_eq(&self.0))
        })
    }
}

/// A host without its port: `a:1`, `[::1]:1`.
fn name_of(host: &str) -> &str {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split_once(']').map_or(inner, |(address, _port)| address);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Does a browser send this? Pages can remove neither header, and an `<img>` cannot do without them.
pub(super) fn is_of_a_browser(headers: &HeaderMap) -> bool {
    let is_named_so = headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    is_named_so
        || headers.contains_key("sec-fetch-mode")
        || headers.contains_key("sec-fetch-site")
        || [ACCEPT_LANGUAGE, REFERER, ORIGIN, COOKIE].iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(guard: &Guard, path: &str, headers: &[(&'static str, &str)]) -> Option<Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        guard.check(path, &map).err().map(|problem| problem.code())
    }

    fn guard(listen: &str, token: Option<&str>) -> Guard {
        Guard::new(listen.parse().unwrap(), &["ops.shop.example".to_owned()], token)
    }

    #[test]
    fn a_host_is_loopback_the_own_address_or_in_the_list() {
        let (local, one, all) =
            (guard("127.0.0.1:8081", None), guard("10.0.0.5:8081", None), guard("0.0.0.0:8081", None));
        for host in ["localhost", "LOCALHOST:9", "127.0.0.1:8081", "127.0.0.9", "[::1]:8081", "OPS.shop.example:8081"] {
            for guard in [&local, &one, &all] {
                assert_eq!(checked(guard, "/metrics", &[("host", host)]), None, "{host}");
            }
        }
        for (host, of_one, of_all) in [("10.0.0.5:8081", true, true), ("10.0.0.6:8081", false, true)] {
            assert_eq!(checked(&local, "/metrics", &[("host", host)]), Some(Code::ForeignOrigin));
            assert_eq!(checked(&one, "/metrics", &[("host", host)]).is_none(), of_one);
            assert_eq!(checked(&all, "/metrics", &[("host", host)]).is_none(), of_all);
        }
        for host in ["evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "", "a:b"]
        {
            for guard in [&local, &one, &all] {
                assert_eq!(checked(guard, "/metrics", &[("host", host)]), Some(Code::ForeignOrigin), "{host}");
            }
        }
    }

    #[test]
    fn only_pages_of_the_port_itself_may_ask() {
        let guard = guard("127.0.0.1:8081", None);
        let asked = |name, value| checked(&guard, "/metrics", &[("host", "localhost:8081"), (name, value)]);
        assert_eq!(asked("origin", "http://localhost:8081"), None);
        for origin in ["http://localhost:8080", "http://evil.example", "null", "file://"] {
            assert_eq!(asked("origin", origin), Some(Code::ForeignOrigin), "{origin}");
        }
        for (site, lawful) in [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)] {
            assert_eq!(asked("sec-fetch-site", site).is_none(), lawful, "{site}");
        }
    }

    #[test]
    fn where_a_token_is_required_only_probes_do_without_it() {
        let guard = guard("0.0.0.0:8081", Some("a-token"));
        assert_eq!(checked(&guard, "/metrics", &[]), Some(Code::Unauthenticated));
        assert_eq!(checked(&guard, "/readyz", &[]), None);
        assert_eq!(checked(&guard, "/readyz", &[("host", "evil.example")]), Some(Code::ForeignOrigin));
        for (given, lawful) in [
            ("Bearer a-token", true),
            ("bearer a-token", true),
            ("Bearer a-toke", false),
            ("a-token", false),
            ("Basic a-token", false),
        ] {
            assert_eq!(checked(&guard, "/admin/audit", &[("authorization", given)]).is_none(), lawful, "{given}");
        }
    }
}
