//! A cart's events and state as they are stored.

use super::mirror::{Id, MoneyV1, mirror_enum, mirror_struct, plain_events, plain_states};
use compact_str::CompactString;
use doorbuster_domain::cart::{Cart, Event, Line, Opened, Owner, Status};
use doorbuster_domain::ids::Sku;
use doorbuster_domain::money::Currency;
use doorbuster_domain::time::Timestamp;

#[cfg(test)]
mod tests;

/// The version in which events are written.
pub(super) const EVENTS: u16 = 1;
/// The version in which states are written; another one is rebuilt from history.
pub(super) const SNAPSHOT: u16 = 1;
const WHAT: &str = "an event of a cart";

mirror_enum!(OwnerV1 = Owner { Guest(CompactString), Customer(CompactString), Seller(CompactString); });
mirror_struct!(
    LineV1 = Line {
        sku: Sku,
        quantity: u32,
        title: CompactString,
        seller: CompactString,
        unit_price: MoneyV1,
        added_at: Timestamp,
    }
);
mirror_enum!(EventV1 = Event {
    ;
    Created { terms: Id, owner: OwnerV1, currency: Currency, life_s: u64, expires_at: Timestamp },
    Refreshed { expires_at: Timestamp },
    LineSet { line: LineV1 },
    LineRemoved { sku: Sku },
    Frozen { order: Id, ask_at: Timestamp },
    Kept { ask_at: Timestamp },
    Thawed { order: Id },
    Closed { order: Id },
    Expired {},
});
mirror_struct!(OpenedV1 = Opened { terms: Id, owner: OwnerV1, currency: Currency, life_s: u64 });
mirror_enum!(StatusV1 = Status {
    ;
    Open {},
    Frozen { order: Id, freeze: u64, ask_at: Timestamp },
    Ordered { order: Id },
    Expired {},
});
mirror_struct!(StateV1 = Cart {
    version: u64,
    opened: Option<OpenedV1>,
    lines: Vec<LineV1>,
    status: StatusV1,
    expires_at: Timestamp,
    thawed: Option<Id>,
});

plain_events!(Event as EventV1, EVENTS, WHAT);
plain_states!(Cart as StateV1, SNAPSHOT);
