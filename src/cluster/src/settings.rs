//! What the gateway is told: addresses, bounds, the cookie.

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
    /// Reads hexadecimal or base64; the same bytes are the same cookie in either.
    ///
    /// # Errors
    /// [`CookieError`]: neither of them, or too short to be a secret.
    pub fn parse(text: &str) -> Result<Self, CookieError> {
        let text = text.trim();
        // What could be hexadecimal is nothing else: a digit lost on the way must not make another cookie of it.
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

    /// The secret itself.
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

/// Where the keys of this node lie, in PEM. Both sides of a connection show a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// This node's certificate, and those between it and the authority's.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificates of whoever signs for nodes; no other authority is trusted.
    pub authority: PathBuf,
}

/// All of it. `cluster.toml` says of each number what goes wrong when it is too small or too large.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// The private interface; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where other nodes reach it, `host:port`; empty: where it listens.
    pub advertise: String,
    /// The common secret.
    pub cookie: Cookie,
    /// Gateway actors.
    pub gateways: usize,
    /// Between two heartbeats to a peer.
    pub heartbeat: Duration,
    /// After so many missed ones the connection is given up and made anew.
    pub cut_misses_max: u32,
    /// Questions under way to one peer, and as many taken in from it.
    pub in_flight_per_peer_max: usize,
    /// Bytes that may wait to be sent to one peer.
    pub queue_bytes_per_peer_max: usize,
    /// Frames to one peer that are not confirmed.
    pub frames_in_flight_max: usize,
    /// What is gathered in one frame.
    pub frame_bytes_max: usize,
    /// From the first byte to the proof of the cookie.
    pub handshake_timeout: Duration,
    /// The first pause before a peer is dialled again; it doubles.
    pub reconnect_min: Duration,
    /// The longest.
    pub reconnect_max: Duration,
    /// `None`: the network is private.
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
