//! The id of a request: the caller's own (`X-Request-Id`) if it is lawful, otherwise one that is made here. It is in the answer, in a problem's
//! `instance` and in the log.

use crate::core::problem::Problem;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use warp::reply::Response;

/// The header.
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a caller, in characters.
const LENGTH_MAX: usize = 128;
/// Characters of an id that is made here: `req_` and 64 bits.
const MADE_LENGTH: usize = 17;

/// Makes ids: none twice in one process, and in no order that a caller could guess.
#[derive(Debug)]
pub(super) struct RequestIds {
    start: u64,
    made: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self { start: RandomState::new().hash_one(0_u8), made: AtomicU64::new(0) }
    }
}

impl RequestIds {
    /// The id of a request with these headers.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        own(headers).unwrap_or_else(|| self.make())
    }

    /// A new id.
    pub(super) fn make(&self) -> HeaderValue {
        let number = self.start.wrapping_add(self.made.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_bytes(&text_of(mixed(number))).unwrap_or(HeaderValue::from_static("req_"))
    }
}

/// The caller's own id, if it is lawful and the only one.
pub(super) fn own(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut all = headers.get_all(&X_REQUEST_ID).iter();
    all.next().filter(|id| is_lawful(id.as_bytes()) && all.next().is_none()).cloned()
}

/// The response of a problem that names its request.
pub(super) fn named(problem: Problem, id: &HeaderValue) -> Response {
    let mut response = problem.instance(id.to_str().unwrap_or_default()).into_response();
    response.headers_mut().insert(&X_REQUEST_ID, id.clone());
    response
}

/// The finalizer of SplitMix64: another number for each number.
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn text_of(number: u64) -> [u8; MADE_LENGTH] {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut text = *b"req_0000000000000";
    let mut rest = number;
    for place in text.iter_mut().skip(4).rev() {
        *place = usize::try_from(rest & 31).ok().and_then(|digit| LETTERS.get(digit)).copied().unwrap_or(b'0');
        rest >>= 5;
    }
    text
}

/// Letters, digits and a few signs: it is written into logs and into JSON as it is.
fn is_lawful(id: &[u8]) -> bool {
    (1..=LENGTH_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:~+/=@".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_all_different_and_of_one_form() {
        let ids = RequestIds::default();
        let made: BTreeSet<Vec<u8>> = (0..10_000).map(|_| ids.make().as_bytes().to_vec()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().all(|id| id.len() == MADE_LENGTH && id.starts_with(b"req_") && is_lawful(id)));
    }

    #[test]
    fn a_callers_id_is_taken_if_it_is_lawful_and_the_only_one() {
        let ids = RequestIds::default();
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&X_REQUEST_ID, HeaderValue::from_static(value));
            }
            ids.of(&headers)
        };
        for id in ["a", "0af7651916cd43dd8448eb211c80319c", "Root=1-67891233:abc/d+e~f@g"] {
            assert_eq!(of(&[id]), id);
        }
        let long: &'static str = "x".repeat(LENGTH_MAX + 1).leak();
        for ids in [&[""][..], &["a b"], &["a\"b"], &["<x>"], &[long], &["a", "b"], &[]] {
            assert!(of(ids).as_bytes().starts_with(b"req_"), "{ids:?}");
        }
    }
}
