//! Pages of lists: how many entries one has, and the cursor to the next.

use super::problem::{Code, Problem};
use super::request::Request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Entries of a page: the default, and the most.
const LIMIT: (u32, u32) = (50, 200);

/// The entries of a page, by the parameter `limit`.
pub(crate) fn limit<S>(request: &Request<'_, S>) -> Result<u32, Problem> {
    let Some(limit) = request.query("limit") else { return Ok(LIMIT.0) };
    let limit = limit.parse().ok().filter(|limit| (1..=LIMIT.1).contains(limit));
    limit.ok_or_else(|| Problem::field("/limit", "out_of_range", format!("must be from 1 to {}", LIMIT.1)))
}

/// The cursor to the entries before the one with this number. `list` names the list and its version: no other takes the cursor.
pub(crate) fn cursor(list: &str, before: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}{before}"))
}

/// The number in a cursor of the same list.
pub(crate) fn read_cursor(list: &str, text: &str) -> Result<u64, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_prefix(list)?.parse().ok());
    number.ok_or_else(|| Problem::new(Code::InvalidCursor).detail("the cursor is not one of a page before"))
}
