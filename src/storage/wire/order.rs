//! An order's events and state as they are stored: facts here, personal data apart.

use super::{WireError, form, whole};
use crate::domain::order::{Event, Order};

/// The version in which events are written.
pub(super) const EVENTS: u16 = 1;
/// The version in which states are written; another one is rebuilt from history.
pub(super) const SNAPSHOT: u16 = 1;
const WHAT: &str = "an event of a order";

/// Appends an event's facts and gives its personal data apart.
pub(super) fn encode_event(event: &Event, _facts: &mut Vec<u8>) -> Option<Vec<u8>> {
    match *event {}
}

/// Reads an event back; without personal data when that was erased.
pub(super) fn decode_event(version: u16, _facts: &[u8], _personal: Option<&[u8]>) -> Result<Event, WireError> {
    Err(WireError::Version { what: WHAT, version })
}

/// Appends a state's facts and gives its personal data apart.
pub(super) fn encode_state(_state: &Order, out: &mut Vec<u8>) -> Option<Vec<u8>> {
    form::write(&(), out);
    None
}

/// Reads a state back; without personal data when that was erased.
pub(super) fn decode_state(version: u16, facts: &[u8], _personal: Option<&[u8]>) -> Result<Order, WireError> {
    whole::known(version, SNAPSHOT)?;
    whole::read::<()>(facts).map(|()| Order::default())
}
