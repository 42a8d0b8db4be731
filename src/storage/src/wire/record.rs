//! The body of a record: one decision, its facts and (apart) its personal data.
//!
//! ```text
//! form u8 = 2 │ entity │ [number, at, by, version, count] │ event … event │ personal … personal
//! event    = length, facts, place u8        place: 0 never had personal data, 1 it stands below, 2 it is kept elsewhere or erased
//! personal = length, bytes                  one per event whose place is 1, in order
//! ```
//!
//! `version` is that of the kind's events. All personal data stands at the end, so that moving it elsewhere ([`split_personal`]) leaves
//! every fact where it was. Form 1, of fields without tags, is no longer read: a store that holds it is refused when it is opened.

use super::form::{self, Reader, damaged, exact, size_from, write_sized};
use super::{Decided, WireError};
use bytes::Bytes;
use doorbuster_domain::codec::{self as minicbor, Decode, Encode};
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use std::borrow::Cow;

const FORM: u8 = 2;
const WHAT: &str = "a record";
const NEVER: u8 = 0;
const BELOW: u8 = 1;
const ELSEWHERE: u8 = 2;

/// What every record says of itself, whatever happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The entity that decided.
    pub entity: EntityId,
    /// The entity's own number of the first event (its first is 1).
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Because of whom.
    pub by: By,
    /// How many events.
    pub events: u32,
}

/// What stands behind the entity.
#[derive(Encode, Decode)]
struct Tagged<'a> {
    #[n(0)]
    number: u64,
    #[n(1)]
    at: Timestamp,
    #[n(2)]
    by: Cow<'a, By>,
    #[n(3)]
    version: u16,
    #[n(4)]
    events: u32,
}

/// A decision as a record's body.
#[must_use]
pub fn encode(decided: &Decided) -> Bytes {
    let Decided { entity, number, at, by, events } = decided;
    let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
    let version = super::kinds::version_of_events(entity);
    let tagged = Tagged { number: *number, at: *at, by: Cow::Borrowed(by), version, events: count };
    let mut events = events.iter();
    lay_out(entity, &tagged, |facts, personal| {
        events.next().is_some_and(|event| super::kinds::encode_event(event, facts, personal))
    })
}

/// A record's body from its head and, per event, what `fill` writes: facts to where it is told, personal data apart.
/// `version` is that of the kind's events.
pub fn assemble(head: &Head, version: u16, mut fill: impl FnMut(&mut Vec<u8>) -> Option<Vec<u8>>) -> Bytes {
    let Head { entity, number, at, by, events } = head;
    let tagged = Tagged { number: *number, at: *at, by: Cow::Borrowed(by), version, events: *events };
    lay_out(entity, &tagged, |facts, personal| {
        let apart = fill(facts);
        personal.extend_from_slice(apart.as_deref().unwrap_or_default());
        apart.is_some()
    })
}

/// `fill` writes an event's facts and its personal data, and says whether it has any.
fn lay_out(entity: &EntityId, tagged: &Tagged<'_>, mut fill: impl FnMut(&mut Vec<u8>, &mut Vec<u8>) -> bool) -> Bytes {
    let (body, ()) = exact(|out| {
        out.push(FORM);
        entity.write_key(out);
        form::write(tagged, out, &mut ());
        let mut personal = Vec::new();
        for _ in 0..tagged.events {
            let begin = personal.len();
            let is_apart = write_sized(out, |facts| fill(facts, &mut personal));
            if is_apart {
                size_from(&mut personal, begin);
            }
            out.push(if is_apart { BELOW } else { NEVER });
        }
        out.extend_from_slice(&personal);
    });
    body
}

/// A record's body as a decision; personal data that is no longer there is absent.
///
/// # Errors
/// [`WireError::Version`] when a later version wrote it, [`WireError::Damaged`] when it is not what it says it is.
pub fn decode(body: &[u8]) -> Result<Decided, WireError> {
    let parts = Parts::read(body)?;
    let Head { entity, number, at, by, .. } = parts.head;
    let mut personal = parts.personal.into_iter();
    let mut events = Vec::with_capacity(parts.events.len());
    for (facts, place) in parts.events {
        let apart = if place == BELOW { personal.next() } else { None };
        events.push(super::kinds::decode_event(&entity, parts.version, facts, apart)?);
    }
    Ok(Decided { entity, number, at, by, events })
}

/// What a record says of itself, without its events.
///
/// # Errors
/// As [`decode`].
pub fn head(body: &[u8]) -> Result<Head, WireError> {
    read_head(&mut Reader::new(WHAT, body)).map(|(head, _)| head)
}

/// Is it a record of this entity with an event numbered `from` or later?
///
/// # Errors
/// As [`decode`].
pub fn reaches(body: &[u8], entity: &EntityId, from: u64) -> Result<bool, WireError> {
    let head = head(body)?;
    let behind = head.number.saturating_add(u64::from(head.events));
    Ok(head.entity == *entity && behind > from)
}

/// A record's body without its personal data, and that personal data, if there is any.
///
/// # Errors
/// As [`decode`].
pub fn split_personal(body: &Bytes) -> Result<(Bytes, Option<Bytes>), WireError> {
    let mut facts = Vec::with_capacity(body.len());
    let (_head, personal) = take_apart(body, &mut facts)?;
    if personal.is_empty() {
        return Ok((body.clone(), None));
    }
    Ok((Bytes::from(facts), Some(Bytes::copy_from_slice(personal))))
}

/// [`split_personal`] without a copy of its own: appends the body without its personal data to `facts`, and returns its head and its personal data,
/// which is empty where it has none.
///
/// # Errors
/// As [`decode`]; then nothing is appended.
pub fn take_apart<'a>(body: &'a [u8], facts: &mut Vec<u8>) -> Result<(Head, &'a [u8]), WireError> {
    let parts = Parts::read(body)?;
    let (before, personal) =
        body.split_at_checked(parts.personal_at).ok_or_else(|| damaged(WHAT, "it ends too soon"))?;
    let begin = facts.len();
    facts.extend_from_slice(before);
    mark_places(facts.get_mut(begin..).unwrap_or_default(), &parts.places_at, BELOW, ELSEWHERE);
    Ok((parts.head, personal))
}

/// Whether the body had personal data that [`split_personal`] took out.
///
/// # Errors
/// As [`decode`].
pub fn lacks_personal(facts: &[u8]) -> Result<bool, WireError> {
    Ok(Parts::read(facts)?.events.iter().any(|(_, place)| *place == ELSEWHERE))
}

/// The body that [`split_personal`] took apart.
///
/// # Errors
/// As [`decode`].
pub fn join_personal(facts: &Bytes, personal: &[u8]) -> Result<Bytes, WireError> {
    let parts = Parts::read(facts)?;
    if !parts.personal.is_empty() {
        return Err(damaged(WHAT, "its personal data was never taken out"));
    }
    let mut body = Vec::with_capacity(facts.len().saturating_add(personal.len()));
    body.extend_from_slice(facts);
    mark_places(&mut body, &parts.places_at, ELSEWHERE, BELOW);
    body.extend_from_slice(personal);
    Parts::read(&body)?;
    Ok(Bytes::from(body))
}

fn mark_places(body: &mut [u8], places_at: &[usize], from: u8, to: u8) {
    for at in places_at {
        if let Some(place) = body.get_mut(*at).filter(|place| **place == from) {
            *place = to;
        }
    }
}

/// A body taken apart, every length checked.
struct Parts<'a> {
    head: Head,
    version: u16,
    /// Facts, and where their personal data is.
    events: Vec<(&'a [u8], u8)>,
    /// Where in the body each event's place stands.
    places_at: Vec<usize>,
    personal: Vec<&'a [u8]>,
    /// Where in the body the personal data begins.
    personal_at: usize,
}

impl<'a> Parts<'a> {
    fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(WHAT, body);
        let (head, version) = read_head(&mut reader)?;
        let position = |reader: &Reader<'_>| body.len().saturating_sub(reader.rest().len());
        // Not sized by the stored count: a damaged one must not reserve memory.
        let (mut events, mut places_at) = (Vec::new(), Vec::new());
        for _ in 0..head.events {
            let facts = reader.sized()?;
            places_at.push(position(&reader));
            let place = reader.u8()?;
            if place > ELSEWHERE {
                return Err(damaged(WHAT, &format!("place {place} of personal data")));
            }
            events.push((facts, place));
        }
        let personal_at = position(&reader);
        let mut personal = Vec::new();
        for _ in events.iter().filter(|(_, place)| *place == BELOW) {
            personal.push(reader.sized()?);
        }
        reader.end()?;
        Ok(Self { head, version, events, places_at, personal, personal_at })
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<(Head, u16), WireError> {
    let form = reader.u8()?;
    if form != FORM {
        return Err(WireError::Version { what: WHAT, version: u16::from(form) });
    }
    let entity = reader.entity()?;
    let Tagged { number, at, by, version, events } = reader.value(&mut ())?;
    Ok((Head { entity, number, at, by: by.into_owned(), events }, version))
}

#[cfg(test)]
mod tests;
