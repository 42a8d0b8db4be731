//! Pages of lists: how many entries one has, the cursor to the next, and how new it is at least.

use super::problem::{Code, Problem};
use super::reply::Reply;
use super::request::Request;
use super::service::Shop;
use super::view::At;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use doorbuster_domain::time::Timestamp;
use doorbuster_projections::reader::{PageError, Reader};
use doorbuster_projections::{Lists, Projection};
use doorbuster_storage::index::IndexStore;
use doorbuster_storage::{Seq, Shard};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// Entries of a page: the default, and the most.
const LIMIT: (u32, u32) = (50, 200);
/// The longest key in a cursor, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// How long a list waits until it has what `Doorbuster-After` names.
const UNTIL_SEEN_MAX: Duration = Duration::from_secs(1);
/// The header that names what a list must have.
pub(crate) const AFTER: &str = "doorbuster-after";

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{V}List")]
pub(crate) struct ListView<V> {
    data: Vec<V>,
    next_cursor: Option<String>,
    /// Everything that was acknowledged before this moment is in.
    as_of: At,
}

/// The answer with a page. `list` names the list and its version; `next` is the key at which the next page begins.
pub(crate) fn answer<V: Serialize>(list: &str, data: Vec<V>, next: Option<&[u8]>, as_of: Timestamp) -> Reply {
    let view = ListView { data, next_cursor: next.map(|key| key_cursor(list, key)), as_of: At(as_of) };
    Reply::json(200, &view).private()
}

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
    number.ok_or_else(no_cursor)
}

/// The cursor to the entries from the one with this key on.
fn key_cursor(list: &str, key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([list.as_bytes(), key].concat())
}

/// The key in a cursor of the same list.
pub(crate) fn read_key(list: &str, text: &str) -> Result<Bytes, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let key = bytes.strip_prefix(list.as_bytes()).filter(|key| key.len() <= KEY_BYTES_MAX);
    key.map(Bytes::copy_from_slice).ok_or_else(no_cursor)
}

/// The problem of a cursor that is none.
pub(crate) fn no_cursor() -> Problem {
    Problem::new(Code::InvalidCursor).detail("the cursor is not one of a page before")
}

/// The word of a query parameter, which must be one of these.
pub(crate) fn word_among(words: &'static [&'static str], name: &str, text: &str) -> Result<&'static str, Problem> {
    words.iter().find(|word| **word == text).copied().ok_or_else(|| {
        Problem::field(format!("/{name}"), "invalid_value", format!("must be one of: {}", words.join(", ")))
    })
}

/// What answers lists.
pub(crate) fn lists<'a, S: Shop>(request: &Request<'a, S>) -> Result<&'a Lists, Problem> {
    request.context.shop.lists().ok_or_else(|| Problem::new(Code::Overloaded).detail("this shop keeps no lists"))
}

/// The problem of a page that cannot be read.
pub(crate) fn unavailable(error: PageError) -> Problem {
    match error {
        PageError::NotBuilt => Problem::new(Code::Draining).detail("the list is being built"),
        PageError::Read(error) => {
            tracing::error!(%error, "read a page of a list");
            Problem::new(Code::Overloaded).detail("the list cannot be read now")
        }
    }
}

/// Waits until the list has what the header `Doorbuster-After` names: the `Doorbuster-Seq` of an answer.
///
/// # Errors
/// 400 for another text; 503 if it takes longer than a second.
pub(crate) async fn until_seen<S, P: Projection, I: IndexStore>(
    request: &Request<'_, S>,
    list: &Reader<P, I>,
) -> Result<(), Problem> {
    let Some(after) = request.headers.get(AFTER) else { return Ok(()) };
    let position = after.to_str().ok().and_then(position).ok_or_else(|| {
        Problem::new(Code::MalformedRequest).detail("Doorbuster-After must be the Doorbuster-Seq of an answer")
    })?;
    if list.until(position.0, position.1, UNTIL_SEEN_MAX).await {
        return Ok(());
    }
    Err(Problem::new(Code::Overloaded).detail("the list does not have what Doorbuster-After names yet"))
}

fn position(text: &str) -> Option<(Shard, Seq)> {
    let (shard, seq) = text.split_once('-')?;
    Some((Shard(shard.parse().ok()?), seq.parse().ok()?))
}
