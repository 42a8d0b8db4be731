//! The headers that mean the same on every route: `Idempotency-Key`, `If-Match`, `Prefer`.

use super::problem::{Code, Problem};
use hyper::header::{HeaderMap, IF_MATCH};

/// Longest `Idempotency-Key`.
pub const KEY_LENGTH_MAX: usize = 255;

/// The key that makes this request and its repetitions one.
///
/// # Errors
/// 400 when it is missing, given twice, too long, or has characters other than visible ASCII.
pub fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut all = headers.get_all("idempotency-key").iter();
    let Some(value) = all.next() else {
        return Err(Problem::new(Code::MissingIdempotencyKey).detail("a POST needs an Idempotency-Key"));
    };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_LENGTH_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()))
        .filter(|_| all.next().is_none())
        .ok_or_else(|| {
            Problem::new(Code::InvalidIdempotencyKey).detail("one Idempotency-Key of 1 to 255 visible ASCII characters")
        })
}

/// The version that `If-Match` asks for; `None`: any. Of several the newest: the others are older, so they cannot match either.
///
/// # Errors
/// 412 for a tag that no version of ours has (a weak one, or none of our numbers): it cannot match.
pub fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut newest = None;
    for value in headers.get_all(IF_MATCH) {
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            let quoted = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            newest = newest.max(quoted.and_then(|number| number.parse::<u64>().ok()));
        }
    }
    if newest.is_none() && headers.contains_key(IF_MATCH) {
        return Err(Problem::new(Code::StaleVersion).detail("no such version"));
    }
    Ok(newest)
}

/// The seconds of `Prefer: wait=N`, at most `most`. A preference that cannot be read is none (RFC 7240).
#[must_use]
pub fn prefer_wait(headers: &HeaderMap, most: u64) -> Option<u64> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.trim().strip_prefix("wait="))
        .find_map(|seconds| seconds.trim_matches('"').parse::<u64>().ok())
        .map(|seconds| seconds.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_key_is_1_to_255_visible_letters() {
        let told =
            |key: &str| idempotency_key(&headers(&[("idempotency-key", key)])).map_err(|p| p.code()).map(str::len);
        assert_eq!(told("k"), Ok(1));
        assert_eq!(told(&"k".repeat(255)), Ok(255));
        for key in ["", " ", "a b", &"k".repeat(256), "a\tb"] {
            assert_eq!(told(key), Err(Code::InvalidIdempotencyKey), "{key:?}");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap_err().code(), Code::MissingIdempotencyKey);
    }

    #[test]
    fn if_match_names_versions() {
        assert_eq!(if_match(&headers(&[("if-match", "\"7\", \"9\"")])).unwrap(), Some(9));
        assert!(if_match(&headers(&[("if-match", "*")])).unwrap().is_none());
        assert_eq!(if_match(&headers(&[("if-match", "W/\"7\"")])).unwrap_err().code(), Code::StaleVersion);
    }

    #[test]
    fn a_wait_is_bounded_and_nonsense_is_no_preference() {
        assert_eq!(prefer_wait(&headers(&[("prefer", "respond-async, wait=5")]), 30), Some(5));
        assert_eq!(prefer_wait(&headers(&[("prefer", "wait=600")]), 30), Some(30));
        assert_eq!(prefer_wait(&headers(&[("prefer", "wait=soon")]), 30), None);
    }
}
