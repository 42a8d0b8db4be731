//! The headers that mean the same on every route: `Idempotency-Key`, `If-Match`, `Prefer`.

use super::caller::ON_BEHALF_OF;
use super::page::AFTER;
use super::problem::{Code, Problem};
use super::route::Docs;
use hyper::header::{ACCEPT, HeaderMap, IF_MATCH, IF_NONE_MATCH};

/// Longest `Idempotency-Key`, in characters.
pub const KEY_LENGTH_MAX: usize = 255;
/// How much of an unknown parameter's name a refusal shows, in characters.
const PARAMETER_SHOWN_MAX: usize = 64;
/// Headers of the contract that are not built yet: a caller that sends one expects what would not happen.
const NOT_BUILT: [&str; 1] = [ON_BEHALF_OF];

/// The key that makes this request and its repetitions one.
///
/// # Errors
/// 400 when it is missing, given twice, too long, or has characters other than visible ASCII.
pub fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut all = headers.get_all("idempotency-key").iter();
    let Some(value) = all.next() else {
        return Err(Problem::new(Code::MissingIdempotencyKey).detail("this request needs an Idempotency-Key"));
    };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_LENGTH_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()))
        .filter(|_| all.next().is_none())
        .ok_or_else(|| {
            Problem::new(Code::InvalidIdempotencyKey)
                .detail("Idempotency-Key must be given once, with 1 to 255 visible ASCII characters")
        })
}

/// Checks that a request asks for nothing that is not there: what is asked for is honoured or refused, never ignored.
///
/// `writes`: its route changes something; `docs`: what its route says of its parameters and headers.
///
/// # Errors
/// 422 for an unknown query parameter; 400 for a header whose meaning is not built, and for `If-None-Match` on a change.
pub fn understood(headers: &HeaderMap, query: &[(String, String)], writes: bool, docs: &Docs) -> Result<(), Problem> {
    for (name, _) in query {
        if !docs.query.iter().any(|(known, _)| known == name) {
            let name: String = name.chars().take(PARAMETER_SHOWN_MAX).collect();
            return Err(Problem::field(format!("/{name}"), "unknown_field", "is no query parameter of this route"));
        }
    }
    for name in NOT_BUILT {
        if headers.contains_key(name) {
            return Err(Problem::new(Code::MalformedRequest).detail(format!("the header {name} has no meaning here")));
        }
    }
    if !docs.is_indexed && headers.contains_key(AFTER) {
        return Err(
            Problem::new(Code::MalformedRequest).detail("Doorbuster-After is for lists that are read from an index")
        );
    }
    if writes && headers.contains_key(IF_NONE_MATCH) {
        let detail = "If-None-Match is for reads; a change names the version it changes with If-Match";
        return Err(Problem::new(Code::MalformedRequest).detail(detail));
    }
    Ok(())
}

/// Checks that the caller takes answers of this media type (RFC 9110, 12.5.1). Without `Accept` it takes every one.
///
/// # Errors
/// 406.
pub fn acceptable(headers: &HeaderMap, media: &str) -> Result<(), Problem> {
    let Some(first) = headers.get(ACCEPT) else { return Ok(()) };
    if first == "*/*" || first == media || accepts(headers, media) {
        return Ok(());
    }
    Err(Problem::new(Code::NotAcceptable).detail(format!("answers are {media}")))
}

/// The most specific range that covers the type decides; one with `q=0` excludes it.
fn accepts(headers: &HeaderMap, media: &str) -> bool {
    let kind = media.split('/').next().unwrap_or_default();
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = ranges.flat_map(|value| value.split(',')).map(str::trim).filter(|range| !range.is_empty());
    let (mut best, mut is_taken, mut has_range) = (0, false, false);
    for range in ranges {
        has_range = true;
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specific = match name.split_once('/') {
            Some(("*", "*")) => 1,
            Some((own, "*")) if own.eq_ignore_ascii_case(kind) => 2,
            Some(_) if name.eq_ignore_ascii_case(media) => 3,
            _ => continue,
        };
        let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
        let is_excluded = weight.is_some_and(|(_, weight)| weight.trim().trim_matches(['0', '.']).is_empty());
        if specific >= best {
            (best, is_taken) = (specific, !is_excluded);
        }
    }
    is_taken || !has_range
}

/// The version that `If-Match` names; `None`: any. Of several it is the newest: if that one does not match, the older ones do not either.
///
/// # Errors
/// 400 for an empty one. 412 for a tag that no version has (a weak tag, or no number): it cannot match.
pub fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut newest = None;
    for value in headers.get_all(IF_MATCH) {
        if value.as_bytes().trim_ascii().is_empty() {
            return Err(Problem::new(Code::MalformedRequest).detail("If-Match is empty"));
        }
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            let quoted = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            newest = newest.max(quoted.and_then(|number| number.parse::<u64>().ok()));
        }
    }
    if newest.is_none() && headers.contains_key(IF_MATCH) {
        return Err(Problem::new(Code::StaleVersion).detail("If-Match names no version of this resource"));
    }
    Ok(newest)
}

/// The seconds of `Prefer: wait=N`, at most `most`. A preference that cannot be parsed is none (RFC 7240).
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

/// Does `Prefer` ask for `return=minimal` (RFC 7240)?
#[must_use]
pub fn prefers_minimal(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    let named = preferences.filter_map(|preference| preference.split(';').next()?.split_once('='));
    // The first one counts if it is given twice.
    let mut wanted = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("return"));
    wanted.next().is_some_and(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("minimal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_key_is_1_to_255_visible_ascii_characters() {
        let read =
            |key: &str| idempotency_key(&headers(&[("idempotency-key", key)])).map_err(|p| p.code()).map(str::len);
        assert_eq!(read("k"), Ok(1));
        assert_eq!(read(&"k".repeat(255)), Ok(255));
        for key in ["", " ", "a b", &"k".repeat(256), "a\tb"] {
            assert_eq!(read(key), Err(Code::InvalidIdempotencyKey), "{key:?}");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap_err().code(), Code::MissingIdempotencyKey);
    }

    #[test]
    fn the_most_specific_range_says_whether_a_type_is_taken() {
        let json = |value: &str| acceptable(&headers(&[("accept", value)]), "application/json").is_ok();
        for value in [
            "*/*",
            "application/json",
            "APPLICATION/JSON; charset=utf-8",
            "application/*;q=0.1",
            "text/html, */*;q=0.8",
            "text/csv;q=0, application/json;q=1.0",
            "*/*;q=0, application/json",
            "",
        ] {
            assert!(json(value), "{value}");
        }
        for value in ["text/html", "application/xml, text/*", "application/json;q=0, */*", "*/*;q=0.0", "json"] {
            assert!(!json(value), "{value}");
        }
        assert!(acceptable(&HeaderMap::new(), "application/json").is_ok());
        assert!(acceptable(&headers(&[("accept", "text/html,application/xml;q=0.9")]), "text/html").is_ok());
    }

    #[test]
    fn if_match_names_versions() {
        assert_eq!(if_match(&headers(&[("if-match", "\"7\", \"9\"")])).unwrap(), Some(9));
        assert!(if_match(&headers(&[("if-match", "*")])).unwrap().is_none());
        assert_eq!(if_match(&headers(&[("if-match", "W/\"7\"")])).unwrap_err().code(), Code::StaleVersion);
    }

    #[test]
    fn a_minimal_answer_is_preferred_in_any_form_that_rfc_7240_allows() {
        let minimal = |value: &str| prefers_minimal(&headers(&[("prefer", value)]));
        for value in ["return=minimal", "wait=5, Return = \"minimal\"; a=b", "respond-async,return=MINIMAL"] {
            assert!(minimal(value), "{value}");
        }
        for value in ["return=representation", "return=representation, return=minimal", "minimal", "returns=minimal"] {
            assert!(!minimal(value), "{value}");
        }
    }

    #[test]
    fn a_wait_is_bounded_and_a_preference_that_cannot_be_parsed_is_none() {
        assert_eq!(prefer_wait(&headers(&[("prefer", "respond-async, wait=5")]), 30), Some(5));
        assert_eq!(prefer_wait(&headers(&[("prefer", "wait=600")]), 30), Some(30));
        assert_eq!(prefer_wait(&headers(&[("prefer", "wait=soon")]), 30), None);
    }
}
