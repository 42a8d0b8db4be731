//! The bytes of every event and state, as they were first written: what is in the journals is readable for ever.
//!
//! A line of a golden file is an event (its facts, then its personal data) or the rows of a state, in hexadecimal. A line is never changed
//! and never removed; a new event or a new field adds lines.

mod cart;
mod counter;
mod inventory;
mod order;
mod product;
mod reservation;
mod warehouse;

use super::versions::Versioned;
use super::{Meta, WireError, form, whole};
use bytes::Bytes;
use doorbuster_domain::codec::{Apart, Decode, Encode};
use doorbuster_domain::entity::Entity;
use doorbuster_domain::time::Timestamp;
use std::fmt::Debug;

pub(super) use order::placed;

const META: Meta = Meta { version: 7, created_at: Timestamp(1_000), updated_at: Timestamp(1_764_547_200_000) };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// An event's facts and personal data.
fn encoded<E: for<'a> Encode<Apart<'a>>>(event: &E) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut facts, mut personal) = (Vec::new(), Vec::new());
    let mut apart = Apart::to(&mut personal);
    form::write(event, &mut facts, &mut apart);
    let is_written = apart.is_written();
    (facts, is_written.then_some(personal))
}

fn decoded<E: Versioned + for<'a, 'b> Decode<'b, Apart<'a>>>(
    facts: &[u8],
    personal: Option<&[u8]>,
) -> Result<E, WireError> {
    whole::read_with(E::newest(), facts, personal)
}

/// Each event is read from its golden line, which this version wrote.
#[track_caller]
fn events_are_read<E>(events: &[E], golden: &str, version: u16)
where
    E: Versioned + Debug + PartialEq + for<'a, 'b> Decode<'b, Apart<'a>>,
{
    assert_eq!(events.len(), golden.lines().count());
    for (event, line) in events.iter().zip(golden.lines()) {
        let (facts, personal) = line.split_once(' ').map_or((line, None), |(facts, personal)| (facts, Some(personal)));
        let read = whole::read_with::<E>(version, &unhex(facts), personal.map(unhex).as_deref());
        assert_eq!(read.as_ref(), Ok(event));
    }
}

/// The state after every `nth` event is read from its golden line, which an earlier version wrote; `known`: as far as that version knew it.
#[track_caller]
fn states_are_read<S>(events: &[S::Event], golden: &str, nth: usize, known: impl Fn(S) -> S)
where
    S: Versioned + Entity + for<'a, 'b> Decode<'b, Apart<'a>>,
{
    let (mut state, mut lines) = (S::default(), golden.lines());
    for (number, event) in (1..).zip(events) {
        state.evolve(event);
        if number % nth == 0 {
            let (read, meta) = whole::state_of::<S>(&rows_of(lines.next().unwrap())).unwrap();
            assert_eq!((read, meta), (known(state.clone()), META), "after event {number}");
        }
    }
    assert_eq!(lines.next(), None);
}

/// Each event is written as its golden line, and read from it. `has_personal`: may some have personal data?
#[track_caller]
fn events_keep_their_bytes<E>(events: &[E], golden: &str, has_personal: bool)
where
    E: Versioned + Debug + PartialEq + for<'a> Encode<Apart<'a>> + for<'a, 'b> Decode<'b, Apart<'a>>,
{
    let mut bytes = String::new();
    for event in events {
        let (facts, personal) = encoded(event);
        assert!(has_personal || personal.is_none(), "{event:?}");
        bytes.push_str(&hex(&facts));
        if let Some(personal) = personal {
            bytes.push(' ');
            bytes.push_str(&hex(&personal));
        }
        bytes.push('\n');
    }
    assert_eq!(bytes, golden);
    events_are_read(events, golden, E::newest());
}

/// An event that is cut anywhere is refused, and so is one with a byte too many.
#[track_caller]
fn cut_events_are_refused<E>(events: &[E])
where
    E: Versioned + Debug + PartialEq + for<'a> Encode<Apart<'a>> + for<'a, 'b> Decode<'b, Apart<'a>>,
{
    for event in events {
        let (mut facts, personal) = encoded(event);
        for length in 0..facts.len() {
            let cut = decoded::<E>(&facts[..length], personal.as_deref());
            assert!(matches!(cut, Err(WireError::Damaged { .. })), "{event:?} cut at {length}");
        }
        facts.push(0);
        assert!(decoded::<E>(&facts, personal.as_deref()).is_err(), "{event:?} and a byte");
    }
}

/// The rows of a state as a golden line has them.
fn line_of(rows: &[(u16, Bytes)]) -> String {
    let rows: Vec<String> = rows.iter().map(|(chunk, row)| format!("{chunk}:{}", hex(row))).collect();
    rows.join(" ")
}

/// The rows of a golden line.
fn rows_of(line: &str) -> Vec<(u16, Bytes)> {
    let row = |row: &str| {
        let (chunk, bytes) = row.split_once(':').unwrap();
        (chunk.parse().unwrap(), Bytes::from(unhex(bytes)))
    };
    line.split(' ').map(row).collect()
}

/// The state after each of the events is read as it was written; after every `nth` it is written as its golden line, and read from it.
/// `restored`: what follows from what is read.
#[track_caller]
fn states_keep_their_bytes<S>(events: &[S::Event], golden: &str, nth: usize, restored: impl Fn(S) -> S)
where
    S: Versioned + Entity + for<'a> Encode<Apart<'a>> + for<'a, 'b> Decode<'b, Apart<'a>>,
{
    let (mut state, mut bytes, mut lines) = (S::default(), String::new(), golden.lines());
    let is_read = |rows: &[(u16, Bytes)], state: &S| {
        let (read, meta) = whole::state_of::<S>(rows).unwrap();
        assert_eq!((&restored(read), meta), (state, META));
    };
    for (number, event) in (1..).zip(events) {
        state.evolve(event);
        let rows = whole::rows_of(&state, &META);
        is_read(&rows, &state);
        if number % nth == 0 {
            bytes.push_str(&line_of(&rows));
            bytes.push('\n');
            if let Some(line) = lines.next() {
                is_read(&rows_of(line), &state);
            }
        }
    }
    assert_eq!(bytes, golden);
}
