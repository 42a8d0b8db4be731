//! A warehouse's events and state as they are stored.

use super::mirror::{mirror_enum, mirror_struct, plain_events, plain_states};
use compact_str::CompactString;
use doorbuster_domain::warehouse::{Details, Event, Warehouse};

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

plain_events!(Event as EventV1, EVENTS, WHAT);
plain_states!(Warehouse as StateV1, SNAPSHOT);

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::entity::Entity;

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
