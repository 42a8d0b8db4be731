//! A SKU's stock as it is stored: its events, and its state as a head row and 256 chunk rows of what is reserved and remembered.
//!
//! ```text
//! chunk 0        the head: levels, offer, count of events
//! chunk 1…256    reservations, movements, requests, promises, by the first byte of the order's, request's or promise's id; overwritten
//!                whole (rule S4)
//! ```

use super::mirror::{Id, Mirror, MoneyV1, mirror_enum, mirror_struct, plain_events};
use super::{Dirty, HEAD, Meta, WireError, form, whole};
use bytes::Bytes;
use compact_str::CompactString;
use doorbuster_domain::ids::{OrderId, ProductId, Request, RequestId, Sku, WarehouseId};
use doorbuster_domain::inventory::{
    AdjustmentReason, Agreed, Allocation, Asked, CHUNKS, Chunk, Event, Inventory, Keeper, Level, Move, MoveKey, Offer,
    Price, Promise, PromiseStatus, Remembered, Reservation, ReservationStatus, ReturnKey, chunk_of,
};
use doorbuster_domain::money::Currency;
use doorbuster_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The version in which events are written. Version 2 knows promises beside what version 1 knew, and writes that as version 1 did.
pub(super) const EVENTS: u16 = 2;
/// The version in which states are written; another one is rebuilt from history. Since 2 a chunk has promises.
const SNAPSHOT: u16 = 2;
const WHAT: &str = "an event of an inventory";
const CHUNK: &str = "a stored chunk of an inventory";

mirror_struct!(PriceV1 = Price { unit: MoneyV1, was: Option<MoneyV1>, tax_included: bool });
mirror_struct!(AllocationV1 = Allocation { warehouse: WarehouseId, units: u32 });
mirror_struct!(RequestV1 = Request { id: Id, terms: Id });
mirror_struct!(AskedV1 = Asked { request: RequestV1, at: Timestamp, until: Timestamp });
mirror_struct!(
    AgreedV1 = Agreed { price: PriceV1, title: CompactString, seller: CompactString, tax_class: CompactString }
);
mirror_struct!(OfferV1 = Offer {
    sku: Sku,
    product: ProductId,
    version: u64,
    seller: CompactString,
    title: CompactString,
    on_sale: bool,
    prices: Vec<PriceV1>,
    max_per_order: Option<u32>,
    hold_s: Option<u64>,
    tax_class: CompactString,
    weight_g: u32,
});
mirror_struct!(LevelV1 = Level {
    warehouse: WarehouseId,
    on_hand: u64,
    reserved: u64,
    held: u64,
    to_ship: u64,
    received: u64,
    adjusted: i64,
    sold: u64,
    returned: u64,
    incoming: Vec<(u32, Timestamp, Option<CompactString>)>,
    last_receipt_at: Option<Timestamp>,
});
mirror_enum!(ReasonV1 = AdjustmentReason { ; Damaged {}, Lost {}, Found {}, Correction {}, ReturnUnmatched {}, Other {} });
mirror_enum!(ReturnKeyV1 = ReturnKey { ; Return { number: u16, receipt: u16 }, Cancel { number: u16 } });
mirror_enum!(MoveKeyV1 = MoveKey { Return(ReturnKeyV1); Ship { shipment: u16 } });
mirror_enum!(StatusV1 = ReservationStatus { ; Held {}, Committed {}, Released {} });
mirror_enum!(KeeperV1 = Keeper { ; Stock {}, Reservation { line: u16 } });
mirror_enum!(PromiseStatusV1 = PromiseStatus { ; Held {}, Committed {}, Released {}, Expired {} });
mirror_struct!(PromiseV1 = Promise {
    number: u64,
    reference: CompactString,
    buyer_key: Option<CompactString>,
    keeper: KeeperV1,
    allocations: Vec<AllocationV1>,
    hold_s: u64,
    expires_at: Timestamp,
    status: PromiseStatusV1,
    made_at: Timestamp,
    changed_at: Timestamp,
    changes: u32,
    extensions: Vec<RequestV1>,
});
mirror_enum!(EventV1 = Event {
    Offered(Box<OfferV1>);
    Received { asked: AskedV1, warehouse: WarehouseId, units: u32, reference: Option<CompactString> },
    Announced {
        asked: AskedV1,
        warehouse: WarehouseId,
        units: u32,
        expected_at: Timestamp,
        reference: Option<CompactString>,
    },
    Adjusted { asked: AskedV1, warehouse: WarehouseId, delta: i64, reason: ReasonV1 },
    Counted { asked: AskedV1, warehouse: WarehouseId, counted: u32, delta: i64 },
    Reserved {
        order: Id,
        reservation: u64,
        currency: Currency,
        allocations: Vec<AllocationV1>,
        expires_at: Timestamp,
        ask_at: Timestamp,
    },
    Kept { order: Id, reservation: u64, ask_at: Timestamp },
    Committed { order: Id, reservation: u64 },
    Released { order: Id, reservation: u64 },
    Forgotten { order: Id, reservation: u64 },
    Shipped { order: Id, shipment: u16, allocations: Vec<AllocationV1> },
    Returned { order: Id, key: ReturnKeyV1, allocations: Vec<AllocationV1>, restock: bool },
    MovesForgotten { order: Id, moves: Vec<MoveKeyV1>, at: Timestamp, until: Timestamp },
    Promised {
        id: Id,
        reference: CompactString,
        buyer_key: Option<CompactString>,
        keeper: KeeperV1,
        allocations: Vec<AllocationV1>,
        hold_s: u64,
        at: Timestamp,
        expires_at: Timestamp,
    },
    PromiseExtended { id: Id, request: RequestV1, at: Timestamp, expires_at: Timestamp },
    PromiseKept { id: Id, ask_at: Timestamp },
    PromiseCommitted { id: Id, at: Timestamp },
    PromiseReleased { id: Id, at: Timestamp },
    PromisesExpired { ids: Vec<Id>, at: Timestamp },
    PromisesForgotten { ids: Vec<Id> },
});

plain_events!(Event as EventV1, 1 | EVENTS, WHAT);

/// Marks the rows that an event changes: the head, for every event counts there, and the chunk of its order or request.
pub(super) fn touch(event: &Event, dirty: &mut Dirty) {
    dirty.mark(HEAD);
    match event {
        Event::Offered(_) => {}
        Event::Received { asked, .. }
        | Event::Announced { asked, .. }
        | Event::Adjusted { asked, .. }
        | Event::Counted { asked, .. } => dirty.mark(chunk_of(asked.request.id.0)),
        Event::Reserved { order, .. }
        | Event::Kept { order, .. }
        | Event::Committed { order, .. }
        | Event::Released { order, .. }
        | Event::Forgotten { order, .. }
        | Event::Shipped { order, .. }
        | Event::Returned { order, .. }
        | Event::MovesForgotten { order, .. } => dirty.mark(chunk_of(order.0)),
        Event::Promised { id, .. }
        | Event::PromiseExtended { id, .. }
        | Event::PromiseKept { id, .. }
        | Event::PromiseCommitted { id, .. }
        | Event::PromiseReleased { id, .. } => dirty.mark(chunk_of(id.0)),
        Event::PromisesExpired { ids, .. } | Event::PromisesForgotten { ids } => {
            ids.iter().for_each(|id| dirty.mark(chunk_of(id.0)));
        }
    }
}

#[derive(Serialize, Deserialize)]
struct HeadV1 {
    version: u64,
    offer: Option<OfferV1>,
    levels: Vec<LevelV1>,
}

/// What was agreed is the same for most reservations: it stands once per chunk, and they name its place.
#[derive(Serialize, Deserialize, Default)]
struct ChunkV1 {
    agreed: Vec<AgreedV1>,
    reservations: Vec<ReservationV1>,
    moves: Vec<MoveV1>,
    requests: Vec<RememberedV1>,
    promises: Vec<(Id, PromiseV1)>,
}

#[derive(Serialize, Deserialize)]
struct ReservationV1 {
    order: Id,
    number: u64,
    allocations: Vec<AllocationV1>,
    agreed: u32,
    expires_at: Timestamp,
    ask_at: Timestamp,
    status: StatusV1,
}

#[derive(Serialize, Deserialize)]
struct MoveV1 {
    order: Id,
    key: MoveKeyV1,
    allocations: Vec<AllocationV1>,
    restock: bool,
    until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct RememberedV1 {
    request: RequestV1,
    until: Timestamp,
    level: LevelV1,
    version: u64,
}

/// The marked rows of a state, and its head.
pub(super) fn rows_of(state: &Inventory, meta: &Meta, dirty: &Dirty) -> Vec<(u16, Bytes)> {
    let head = HeadV1 {
        version: state.version(),
        offer: state.offer().map(Mirror::of),
        levels: state.levels().map(Mirror::of).collect(),
    };
    let mut rows = vec![whole::head_row(SNAPSHOT, meta, |out| form::write(&head, out)).0];
    for chunk in dirty.chunks().filter(|chunk| *chunk != HEAD && *chunk <= CHUNKS) {
        let mut out = SNAPSHOT.to_le_bytes().to_vec();
        form::write(&store_chunk(&state.chunk(chunk)), &mut out);
        rows.push((chunk, Bytes::from(out)));
    }
    rows
}

/// A state from all its rows.
pub(super) fn state_of(rows: &[(u16, Bytes)]) -> Result<(Inventory, Meta), WireError> {
    let (version, meta, body) = whole::read_head_row(rows)?;
    whole::known(version, SNAPSHOT)?;
    let head: HeadV1 = whole::read(body)?;
    let mut chunks = Vec::with_capacity(rows.len());
    let mut agreed = Vec::new();
    for (_, row) in rows.iter().filter(|(chunk, _)| *chunk != HEAD) {
        let mut reader = form::Reader::new(CHUNK, row);
        whole::known(reader.u16()?, SNAPSHOT)?;
        chunks.push(restore_chunk(form::read(CHUNK, reader.rest())?, &mut agreed)?);
    }
    Ok((Inventory::restore(head.version, head.offer.back(), head.levels.back(), chunks), meta))
}

fn store_chunk(chunk: &Chunk) -> ChunkV1 {
    let mut stored = ChunkV1::default();
    let mut known: Vec<&Arc<Agreed>> = Vec::new();
    for (order, reservation) in &chunk.reservations {
        let same = |other: &&Arc<Agreed>| Arc::ptr_eq(other, &reservation.agreed) || **other == reservation.agreed;
        // Backwards: neighbours in time share the newest.
        let place = known.iter().rposition(same).unwrap_or_else(|| {
            known.push(&reservation.agreed);
            stored.agreed.push(Mirror::of(reservation.agreed.as_ref()));
            known.len().saturating_sub(1)
        });
        stored.reservations.push(ReservationV1 {
            order: Mirror::of(order),
            number: reservation.number,
            allocations: Mirror::of(&reservation.allocations),
            agreed: u32::try_from(place).unwrap_or(u32::MAX),
            expires_at: reservation.expires_at,
            ask_at: reservation.ask_at,
            status: Mirror::of(&reservation.status),
        });
    }
    for (order, key, memory) in &chunk.moves {
        stored.moves.push(MoveV1 {
            order: Mirror::of(order),
            key: Mirror::of(key),
            allocations: Mirror::of(&memory.allocations),
            restock: memory.restock,
            until: memory.until,
        });
    }
    for (id, memory) in &chunk.requests {
        stored.requests.push(RememberedV1 {
            request: RequestV1::of(&Request { id: *id, terms: memory.terms }),
            until: memory.until,
            level: Mirror::of(&memory.level),
            version: memory.version,
        });
    }
    stored.promises = Mirror::of(&chunk.promises);
    stored
}

/// `known` gathers what was agreed over all chunks, so that a restored state shares it as the stored one did.
fn restore_chunk(stored: ChunkV1, known: &mut Vec<Arc<Agreed>>) -> Result<Chunk, WireError> {
    let mut places = Vec::with_capacity(stored.agreed.len());
    for agreed in stored.agreed {
        let agreed: Agreed = agreed.back();
        let shared = known.iter().find(|other| ***other == agreed).cloned().unwrap_or_else(|| {
            let shared = Arc::new(agreed);
            known.push(Arc::clone(&shared));
            shared
        });
        places.push(shared);
    }
    let mut chunk = Chunk::default();
    for row in stored.reservations {
        let place = usize::try_from(row.agreed).ok().and_then(|place| places.get(place));
        let agreed = place.cloned().ok_or_else(|| form::damaged(CHUNK, "a reservation names no agreement"))?;
        let order: OrderId = row.order.back();
        let reservation = Reservation {
            number: row.number,
            allocations: row.allocations.back(),
            agreed,
            expires_at: row.expires_at,
            ask_at: row.ask_at,
            status: row.status.back(),
        };
        chunk.reservations.push((order, reservation));
    }
    for row in stored.moves {
        let memory = Move { allocations: row.allocations.back(), restock: row.restock, until: row.until };
        chunk.moves.push((row.order.back(), row.key.back(), memory));
    }
    for row in stored.requests {
        let request: Request = row.request.back();
        let memory =
            Remembered { terms: request.terms, until: row.until, level: row.level.back(), version: row.version };
        let id: RequestId = request.id;
        chunk.requests.push((id, memory));
    }
    chunk.promises = stored.promises.back();
    Ok(chunk)
}
