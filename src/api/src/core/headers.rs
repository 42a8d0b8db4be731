//! The headers that mean the same on every route: `Idempotency-Key`, `If-Match`, `Prefer`.

use super::caller::ON_BEHALF_OF;
use super::etag;
use super::page::AFTER;
use super::problem::{Code, Problem};
use super::route::Docs;
use hyper::header::{ACCEPT, HeaderMap, IF_MATCH, IF_NONE_MATCH};

/// Longest `Idempotency-Key`, in characters.
pub const KEY_LENGTH_MAX: usize = 255;
/// The media type of a stream of events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
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

/// Checks that the caller takes answers of a media type that the route has (RFC 9110, 12.5.1). Without `Accept` it takes every one.
///
/// # Errors
/// 406.
pub fn acceptable(headers: &HeaderMap, docs: &Docs) -> Result<(), Problem> {
    let Some(first) = headers.get(ACCEPT) else { return Ok(()) };
    let media = docs.media;
    if first == "*/*" || first == media || weight(headers, media) > 0 {
        return Ok(());
    }
    if (docs.is_followed && weight(headers, EVENT_STREAM) > 0) || wanted_export(headers, docs).is_some() {
        return Ok(());
    }
    Err(Problem::new(Code::NotAcceptable).detail(format!("answers are {media}")))
}

/// Does the caller want a stream of events more than a page?
pub(crate) fn wants_stream(headers: &HeaderMap) -> bool {
    headers.contains_key(ACCEPT) && weight(headers, EVENT_STREAM) > weight(headers, "application/json")
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exported {
    /// NDJSON: a row is a line of JSON.
    Lines,
    /// CSV.
    Csv,
}

impl Exported {
    /// The forms there are.
    pub(crate) const ALL: [Self; 2] = [Self::Lines, Self::Csv];

    /// Its media type.
    pub(crate) const fn media(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }
}

/// The form in which a caller wants the whole of a list, if it wants that more than a page.
pub(crate) fn wanted_export(headers: &HeaderMap, docs: &Docs) -> Option<Exported> {
    if !docs.is_exported || !headers.contains_key(ACCEPT) {
        return None;
    }
    let page = weight(headers, docs.media);
    let wanted = Exported::ALL.into_iter().map(|kind| (weight(headers, kind.media()), kind));
    // Of two that are wanted alike, the first.
    wanted.rev().filter(|(weight, _)| *weight > page).max_by_key(|(weight, _)| *weight).map(|(_, kind)| kind)
}

/// How much a caller wants a type, in thousandths. The most specific range that covers it decides; one with `q=0` excludes it.
fn weight(headers: &HeaderMap, media: &str) -> u16 {
    let kind = media.split('/').next().unwrap_or_default();
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = ranges.flat_map(|value| value.split(',')).map(str::trim).filter(|range| !range.is_empty());
    let (mut best, mut weight, mut has_range) = (0, 0, false);
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
        let said = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
        if specific >= best {
            (best, weight) = (specific, said.map_or(WHOLE, |(_, said)| weight_said(said.trim())));
        }
    }
    if has_range { weight } else { WHOLE }
}

/// The weight of a range, or of a coding, that says none.
pub(crate) const WHOLE: u16 = 1_000;

/// The weight of a range. What is no weight is the least that is one; only naught excludes.
fn weight_said(text: &str) -> u16 {
    quality(text).unwrap_or_else(|| u16::from(!text.trim_matches(['0', '.']).is_empty()))
}

/// A weight such as `0.8` in thousandths (RFC 9110, 12.4.2); `None`: it is none.
pub(crate) fn quality(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(WHOLE),
        _ => None,
    }
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
            newest = newest.max(etag::version(tag));
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
        let page = Docs::new("", "", "");
        let json = |value: &str| acceptable(&headers(&[("accept", value)]), &page).is_ok();
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
        assert!(acceptable(&HeaderMap::new(), &page).is_ok());
        let html = Docs::new("", "", "").media("text/html");
        assert!(acceptable(&headers(&[("accept", "text/html,application/xml;q=0.9")]), &html).is_ok());
        let stream = headers(&[("accept", "text/event-stream")]);
        assert!(acceptable(&stream, &page).is_err() && acceptable(&stream, &page.followed()).is_ok());
    }

    #[test]
    fn a_stream_is_for_whoever_wants_it_more_than_a_page() {
        let wants = |value: &str| wants_stream(&headers(&[("accept", value)]));
        for value in
            ["text/event-stream", "text/event-stream, application/json;q=0.9", "text/*", "text/event-stream, */*;q=0.1"]
        {
            assert!(wants(value), "{value}");
        }
        for value in
            ["*/*", "application/json", "text/event-stream;q=0.5, application/json", "text/event-stream;q=0", ""]
        {
            assert!(!wants(value), "{value}");
        }
        assert!(!wants_stream(&HeaderMap::new()));
    }

    #[test]
    fn an_export_is_for_whoever_wants_it_more_than_a_page() {
        let list = Docs::new("", "", "").exported();
        let wants = |value: &str| wanted_export(&headers(&[("accept", value)]), &list);
        assert_eq!(wants("text/csv"), Some(Exported::Csv));
        assert_eq!(wants("application/x-ndjson, text/csv"), Some(Exported::Lines));
        assert_eq!(wants("application/x-ndjson;q=0.5, text/csv, application/json;q=0.4"), Some(Exported::Csv));
        for value in ["*/*", "application/json", "application/json, text/csv", "text/csv;q=0", "application/*", ""] {
            assert_eq!(wants(value), None, "{value}");
        }
        let csv = headers(&[("accept", "text/csv")]);
        assert_eq!(wanted_export(&csv, &Docs::new("", "", "")), None);
        assert!(acceptable(&csv, &list).is_ok() && acceptable(&csv, &Docs::new("", "", "")).is_err());
    }

    #[test]
    fn if_match_names_versions() {
        assert_eq!(if_match(&headers(&[("if-match", "\"7\", \"9\"")])).unwrap(), Some(9));
        assert_eq!(if_match(&headers(&[("if-match", "\"7-br\"")])).unwrap(), Some(7), "in any coding");
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
