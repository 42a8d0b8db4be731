//! The address of a client: the peer's, or the one that a trusted proxy names.

use hyper::header::HeaderMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// A network: all addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNetwork;

impl fmt::Display for NoNetwork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("must be an address or a network, such as 10.0.0.0/8")
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (first, bits) = text.split_once('/').map_or((text, None), |(first, bits)| (first, Some(bits)));
        let first: IpAddr = first.parse().map_err(|_none| NoNetwork)?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_none| NoNetwork))?;
        if bits <= most { Ok(Self { first, bits }) } else { Err(NoNetwork) }
    }
}

impl Network {
    /// The addresses of this machine itself.
    #[must_use]
    pub const fn loopback() -> [Self; 2] {
        use std::net::{Ipv4Addr, Ipv6Addr};
        [
            Self { first: IpAddr::V4(Ipv4Addr::LOCALHOST), bits: 32 },
            Self { first: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
        ]
    }

    /// Is this one of its addresses?
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The address of the client behind a peer.
///
/// Each proxy adds to `X-Forwarded-For` the address it was asked from, so the last one that no trusted proxy
/// has is the client's; what stands before it is what the client says.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !headers.contains_key(FORWARDED_FOR) || !is_trusted(peer) {
        return peer;
    }
    let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let values: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
    let mut nearest = peer;
    for value in values.into_iter().rev() {
        let Some(address) = address_of(value.trim()) else { return nearest };
        nearest = address;
        if !is_trusted(address) {
            return address;
        }
    }
    nearest
}

/// Some proxies add the port.
fn address_of(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// The caller behind an address without a credential: of IPv6 its /64, because one customer's line has all 2^64 addresses of it.
pub(crate) fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> String {
        let headers = forwarded.iter().map(|value| (FORWARDED_FOR.parse().unwrap(), value.parse().unwrap())).collect();
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_it_added() {
        let proxies = ["10.0.0.0/8", "2001:db8::/32"];
        assert_eq!(client("192.0.2.1", &["198.51.100.7"], &proxies), "192.0.2.1", "a client cannot name another");
        assert_eq!(client("10.1.2.3", &[], &proxies), "10.1.2.3");
        assert_eq!(client("10.1.2.3", &["198.51.100.7"], &proxies), "198.51.100.7");
        assert_eq!(
            client("10.1.2.3", &["6.6.6.6, 198.51.100.7"], &proxies),
            "198.51.100.7",
            "the rest is the client's word"
        );
        assert_eq!(client("10.1.2.3", &["6.6.6.6", "198.51.100.7, 10.9.9.9"], &proxies), "198.51.100.7");
        assert_eq!(client("::ffff:10.1.2.3", &["2001:db9::1"], &proxies), "2001:db9::1");
        assert_eq!(client("2001:db8::1", &["198.51.100.7:4711"], &proxies), "198.51.100.7");
        assert_eq!(client("10.1.2.3", &["198.51.100.7, unknown"], &proxies), "10.1.2.3");
    }

    #[test]
    fn a_network_is_an_address_with_or_without_bits() {
        assert_eq!(Network::loopback().map(|network| network.contains("127.0.0.1".parse().unwrap())), [true, false]);
        for text in ["", "x", "10.0.0.0/33", "10.0.0.0/", "::/129", "10.0.0/8"] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("8.8.8.8".parse().unwrap()));
    }
}
