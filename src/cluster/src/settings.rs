//! The gateway's settings: addresses, limits, the cookie.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// The shortest cookie, in bytes.
pub const COOKIE_BYTES_MIN: usize = 32;

/// The secret that all nodes of a cluster share and prove to each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie(String);

/// Why a text is not a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a cookie is at least {COOKIE_BYTES_MIN} random bytes, in hexadecimal or base64")]
pub struct CookieError;

impl Cookie {
    /// Decodes hexadecimal or base64; the same bytes are the same cookie in either.
    ///
    /// # Errors
    /// [`CookieError`]: neither encoding, or shorter than [`COOKIE_BYTES_MIN`].
    pub fn parse(text: &str) -> Result<Self, CookieError> {
        let text = text.trim();
        // A text that could be hexadecimal is decoded as nothing else: a lost digit must not turn it into another cookie.
        let bytes = if text.chars().all(|digit| digit.is_ascii_hexdigit()) {
            from_hex(text)
        } else {
            STANDARD.decode(text).or_else(|_padded| URL_SAFE_NO_PAD.decode(text)).ok()
        };
        let bytes = bytes.ok_or(CookieError)?;
        if bytes.len() < COOKIE_BYTES_MIN {
            return Err(CookieError);
        }
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The secret as hexadecimal.
    pub(super) fn reveal(&self) -> String {
        self.0.clone()
    }
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("(secret)")
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte: u8, digit| (byte << 4) | digit)).collect())
}

/// The PEM files of this node's TLS keys. Both sides of a connection present a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// This node's certificate chain, without the authority's own certificate.
    pub certificate: PathBuf,
    /// The private key of `certificate`.
    pub key: PathBuf,
    /// The certificates of the authority that signs for nodes; no other is trusted.
    pub authority: PathBuf,
}

/// The gateway's settings. `cluster.toml` says of each number what goes wrong when it is too small or too large.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// The address of the private interface; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The address at which other nodes reach this one, `host:port`; empty: `listen`.
    pub advertise: String,
    /// The shared secret.
    pub cookie: Cookie,
    /// The number of gateway actors.
    pub gateways: usize,
    /// The interval between two heartbeats to a peer.
    pub heartbeat: Duration,
    /// The number of consecutively missed heartbeats after which the session is closed and dialled again.
    pub cut_misses_max: u32,
    /// Requests in flight to one peer, and the same number from it.
    pub in_flight_per_peer_max: usize,
    /// Bytes that may be queued for one peer.
    pub queue_bytes_per_peer_max: usize,
    /// Frames to one peer that are not yet confirmed.
    pub frames_in_flight_max: usize,
    /// The size in bytes at which a frame counts as full.
    pub frame_bytes_max: usize,
    /// The time from the first byte to the proof of the cookie.
    pub handshake_timeout: Duration,
    /// The first pause before a peer is dialled again; it doubles up to `reconnect_max`.
    pub reconnect_min: Duration,
    /// The longest pause before a peer is dialled again.
    pub reconnect_max: Duration,
    /// TLS keys; `None`: the network is private and connections are plain.
    pub tls: Option<TlsFiles>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_the_same_cookie_in_hexadecimal_and_base64() {
        let bytes: Vec<u8> = (0..32).map(|number| number * 7).collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let cookie = Cookie::parse(&hex).unwrap();
        assert_eq!(Cookie::parse(&STANDARD.encode(&bytes)), Ok(cookie.clone()));
        assert_eq!(Cookie::parse(&URL_SAFE_NO_PAD.encode(&bytes)), Ok(cookie.clone()));
        assert!(!format!("{cookie:?}").contains("07"));
    }

    #[test]
    fn what_is_short_or_no_encoding_is_no_cookie() {
        for text in ["", "secret", "00112233", "zz", &"0".repeat(63), "ä"] {
            assert_eq!(Cookie::parse(text), Err(CookieError), "{text}");
        }
    }
}
