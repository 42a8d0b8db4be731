//! The bare status that `hyper` answers by itself to a request it cannot parse, replaced by a problem like every other refusal.
//!
//! Such an answer is the last one of its connection, has no content, and reaches the socket in one write. No other answer looks like it, because
//! every refusal of the API has content. When earlier answers are still being written it shares their write, and then it stays bare.

use super::framing::Refusal;
use crate::core::problem::{Code, Problem};
use crate::http::request_id::RequestIds;
use std::io::IoSlice;

/// The position of the status in an answer.
const STATUS: std::ops::Range<usize> = 9..12;

/// The answer to send instead of `bytes`, if `hyper` made them by itself. `refusal`: why the head was kept from `hyper`; `ids`: name the request.
pub(super) fn replacement(bytes: &[u8], refusal: Option<Refusal>, ids: &RequestIds) -> Option<Vec<u8>> {
    let code = match bytes.get(STATUS)? {
        b"400" => Code::MalformedRequest,
        b"414" => Code::UriTooLong,
        b"431" => Code::HeadTooLarge,
        _ => return None,
    };
    let is_bare = bytes.ends_with(b"\r\n\r\n") && find(bytes, b"\r\ncontent-length: 0\r\n").is_some();
    let is_alone = find(bytes, b"\r\n\r\n").is_some_and(|end| end + 4 == bytes.len());
    let (code, detail) = match refusal {
        Some(Refusal::Head(code, detail)) => (code, detail),
        Some(Refusal::Body(_)) | None => (code, "the head of the request cannot be parsed"),
    };
    (is_bare && is_alone).then(|| answer(code, detail, ids))
}

/// The answer to a head that is refused. Whether it had an id of its own was not read.
pub(super) fn answer(code: Code, detail: &str, ids: &RequestIds) -> Vec<u8> {
    raw(Problem::new(code).detail(detail), ids)
}

/// A problem as bytes, with the id of its request.
pub(super) fn raw(problem: Problem, ids: &RequestIds) -> Vec<u8> {
    problem.instance(ids.make().to_str().unwrap_or_default()).to_raw_http()
}

/// The only slice that is not empty, if there is exactly one.
pub(super) fn only<'a>(slices: &'a [IoSlice<'a>]) -> Option<&'a [u8]> {
    let mut filled = slices.iter().filter(|slice| !slice.is_empty());
    let only = filled.next()?;
    filled.next().is_none().then_some(only)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

    #[test]
    fn a_bare_refusal_becomes_a_problem_and_nothing_else_is_changed() {
        let ids = RequestIds::default();
        let replaced = String::from_utf8(replacement(BARE, None, &ids).expect("it is bare")).expect("text");
        assert!(
            replaced.starts_with("HTTP/1.1 431 ") && replaced.contains("\"code\":\"head_too_large\""),
            "{replaced}"
        );
        let id = replaced.split_once("X-Request-Id: ").expect("it names the request").1.lines().next().expect("a line");
        assert!(id.starts_with("req_") && replaced.contains(&format!("\"instance\":\"{id}\"")), "{replaced}");
        let refusal = Refusal::Head(Code::HeadTooLarge, "too long");
        let refused = String::from_utf8(replacement(BARE, Some(refusal), &ids).expect("it is bare")).expect("text");
        assert!(refused.contains("\"detail\":\"too long\""), "{refused}");
        let own = Problem::new(Code::MalformedRequest).to_raw_http();
        assert_eq!(replacement(&own, None, &ids), None);
        assert_eq!(replacement(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None, &ids), None);
        assert_eq!(replacement(&[BARE, BARE].concat(), None, &ids), None);
    }

    #[test]
    fn only_a_write_of_one_slice_is_checked() {
        assert_eq!(only(&[IoSlice::new(b""), IoSlice::new(b"a")]), Some(b"a".as_slice()));
        assert_eq!(only(&[IoSlice::new(b"a"), IoSlice::new(b"b")]), None);
    }
}
