//! A reservation's events and state as they are stored.

use super::inventory::{AllocationV1, PromiseStatusV1};
use super::mirror::{Id, Mirror, mirror_enum, mirror_struct};
use super::{WireError, form, whole};
use crate::domain::ids::{Request, Sku, WarehouseId};
use crate::domain::reservation::{Event, Hold, Line, Made, Reservation, Shortage, Stage, Wanted};
use crate::domain::time::Timestamp;
use compact_str::CompactString;

#[cfg(test)]
mod tests;

/// The version in which events are written.
pub(super) const EVENTS: u16 = 1;
/// The version in which states are written; another one is rebuilt from history.
pub(super) const SNAPSHOT: u16 = 1;
const WHAT: &str = "an event of a reservation";

mirror_struct!(RequestV1 = Request { id: Id, terms: Id });
mirror_struct!(WantedV1 = Wanted { sku: Sku, units: u32 });
mirror_struct!(MadeV1 = Made {
    id: Id,
    terms: Id,
    owner: CompactString,
    reference: CompactString,
    buyer_key: Option<CompactString>,
    lines: Vec<WantedV1>,
    ranking: Vec<WarehouseId>,
    hold_s: u64,
    expires_at: Timestamp,
});
mirror_enum!(ShortageV1 = Shortage {
    ;
    SoldOut { available: u64, all_reserved: bool },
    NotForSale {},
    LimitExceeded { limit: u32 },
    TooLate {},
    OtherTerms {},
});
mirror_enum!(EventV1 = Event {
    ;
    Made { made: Box<MadeV1>, at: Timestamp },
    LineHeld { line: u16, allocations: Vec<AllocationV1> },
    LineShort { line: u16, why: ShortageV1 },
    Held { at: Timestamp },
    Extended { request: RequestV1, at: Timestamp, expires_at: Timestamp },
    Ending { how: PromiseStatusV1, at: Timestamp },
    LineEnded { line: u16, known: bool },
    Ended {},
});
mirror_enum!(HoldV1 = Hold { Held(Vec<AllocationV1>), Short(ShortageV1), Told(bool); Asked {} });
mirror_struct!(LineV1 = Line { wanted: WantedV1, hold: HoldV1 });
mirror_enum!(StageV1 = Stage {
    Ending(PromiseStatusV1), Ended(PromiseStatusV1);
    Nothing {}, Asking {}, Held {},
});
mirror_struct!(StateV1 = Reservation {
    version: u64,
    made: Option<Box<MadeV1>>,
    lines: Vec<LineV1>,
    stage: StageV1,
    expires_at: Timestamp,
    made_at: Timestamp,
    changed_at: Timestamp,
    extensions: Vec<RequestV1>,
});

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
pub(super) fn encode_state(state: &Reservation, out: &mut Vec<u8>) -> Option<Vec<u8>> {
    form::write(&StateV1::of(state), out);
    None
}

/// Reads a state back.
pub(super) fn decode_state(version: u16, facts: &[u8], _personal: Option<&[u8]>) -> Result<Reservation, WireError> {
    whole::known(version, SNAPSHOT)?;
    whole::read::<StateV1>(facts).map(Mirror::back)
}
