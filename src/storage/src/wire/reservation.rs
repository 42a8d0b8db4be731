//! A reservation's events and state as they are stored.

use super::inventory::{AllocationV1, PromiseStatusV1};
use super::mirror::{Id, mirror_enum, mirror_struct, plain_events, plain_states};
use compact_str::CompactString;
use doorbuster_domain::ids::{Request, Sku, WarehouseId};
use doorbuster_domain::reservation::{Event, Hold, Line, Made, Reservation, Shortage, Stage, Wanted};
use doorbuster_domain::time::Timestamp;

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

plain_events!(Event as EventV1, EVENTS, WHAT);
plain_states!(Reservation as StateV1, SNAPSHOT);
