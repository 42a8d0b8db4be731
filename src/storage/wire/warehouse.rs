//! A warehouse's events and state as they are stored.

use super::mirror::{Mirror, mirror_enum, mirror_struct};
use super::{WireError, form, whole};
use crate::domain::warehouse::{Details, Event, Warehouse};
use compact_str::CompactString;

/// The version in which events are written.
pub(super) const EVENTS: u16 = 1;
/// The version in which states are written; another one is rebuilt from history.
pub(super) const SNAPSHOT: u16 = 1;
const WHAT: &str = "an event of a warehouse";

mirror_struct!(DetailsV1 = Details {
    name: CompactString,
    country: CompactString,
    postal_code: Option<CompactString>,
    active: bool,
    priority: u32,
});
mirror_enum!(EventV1 = Event { ; Put { details: DetailsV1 } });
mirror_struct!(StateV1 = Warehouse { version: u64, details: Option<DetailsV1> });

/// Appends an event's facts; there is no personal data.
pub(super) fn encode_event(event: &Event, facts: &mut Vec<u8>) -> Option<Vec<u8>> {
    form::write(&EventV1::of(event), facts);
    None
}

/// The facts of an event, for people and their tools.
pub(super) fn shown(event: &Event) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(EventV1::of(event))
}

/// Reads an event back.
pub(super) fn decode_event(version: u16, facts: &[u8], _personal: Option<&[u8]>) -> Result<Event, WireError> {
    match version {
        EVENTS => form::read::<EventV1>(WHAT, facts).map(Mirror::back),
        version => Err(WireError::Version { what: WHAT, version }),
    }
}

/// Appends a state's facts; there is no personal data.
pub(super) fn encode_state(state: &Warehouse, out: &mut Vec<u8>) -> Option<Vec<u8>> {
    form::write(&StateV1::of(state), out);
    None
}

/// Reads a state back.
pub(super) fn decode_state(version: u16, facts: &[u8], _personal: Option<&[u8]>) -> Result<Warehouse, WireError> {
    whole::known(version, SNAPSHOT)?;
    whole::read::<StateV1>(facts).map(Mirror::back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::Entity;

    #[test]
    fn events_and_state_of_version_1_keep_their_bytes() {
        let details = Details {
            name: "London".into(),
            country: "GB".into(),
            postal_code: Some("E1".into()),
            active: true,
            priority: 300,
        };
        let event = Event::Put { details };
        let mut facts = Vec::new();
        assert_eq!(encode_event(&event, &mut facts), None);
        assert_eq!(facts, b"\x00\x06London\x02GB\x01\x02E1\x01\xac\x02");
        assert_eq!(decode_event(1, &facts, None), Ok(event.clone()));
        let mut warehouse = Warehouse::default();
        warehouse.evolve(&event);
        let mut row = Vec::new();
        assert_eq!(encode_state(&warehouse, &mut row), None);
        assert_eq!(decode_state(SNAPSHOT, &row, None), Ok(warehouse));
    }
}
