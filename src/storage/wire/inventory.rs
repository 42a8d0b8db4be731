//! A SKU's stock as it is stored: its events, and its state as a head row and chunk rows of what is reserved.

use super::{Dirty, HEAD, Meta, WireError, form, whole};
use crate::domain::inventory::{Event, Inventory};
use bytes::Bytes;

/// The version in which events are written.
pub(super) const EVENTS: u16 = 1;
/// The version in which states are written; another one is rebuilt from history.
const SNAPSHOT: u16 = 1;
const WHAT: &str = "an event of an inventory";

/// Appends an event's facts and gives its personal data apart (stock has none).
pub(super) fn encode_event(event: &Event, facts: &mut Vec<u8>) -> Option<Vec<u8>> {
    match event {
        Event::Offered(offer) => form::write(offer, facts),
    }
    None
}

/// Reads an event back.
pub(super) fn decode_event(version: u16, facts: &[u8], _personal: Option<&[u8]>) -> Result<Event, WireError> {
    match version {
        EVENTS => form::read(WHAT, facts).map(Event::Offered),
        version => Err(WireError::Version { what: WHAT, version }),
    }
}

/// Marks the rows that an event changes.
pub(super) fn touch(_event: &Event, dirty: &mut Dirty) {
    dirty.mark(HEAD);
}

/// The marked rows of a state.
pub(super) fn rows_of(_state: &Inventory, meta: &Meta, _dirty: &Dirty) -> Vec<(u16, Bytes)> {
    vec![whole::head_row(SNAPSHOT, meta, |_| ()).0]
}

/// A state from all its rows.
pub(super) fn state_of(rows: &[(u16, Bytes)]) -> Result<(Inventory, Meta), WireError> {
    let (version, meta, _) = whole::read_head_row(rows)?;
    whole::known(version, SNAPSHOT)?;
    Ok((Inventory::default(), meta))
}
