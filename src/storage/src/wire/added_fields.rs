//! A field is added to an order's event and to a hot SKU's state: what was stored before is read with it, and what is stored with it is read
//! without it.
//!
//! The types here are those of a product one version later: today's with a field more.

use super::versions::Versioned;
use super::whole::{read_head_row, read_versioned, read_with, write_head, write_versioned};
use super::{Decided, HEAD, Meta, form, inventory, record};
use bytes::Bytes;
use doorbuster_domain::any;
use doorbuster_domain::claims::ClaimStatus;
use doorbuster_domain::codec::{
    self as minicbor, Apart, Decode, Encode, Interned, Interns, KeepsApart, apart, interned, shared,
};
use doorbuster_domain::entity::{By, Entity};
use doorbuster_domain::ids::{EntityId, OrderId, WarehouseId};
use doorbuster_domain::inventory::random::offer;
use doorbuster_domain::inventory::{self as stock, Agreed, Allocation, CHUNKS, Inventory, Offer, chunk_of};
use doorbuster_domain::money::Currency;
use doorbuster_domain::order::{Event, Head, Personal, Placed};
use doorbuster_domain::time::Timestamp;
use std::sync::Arc;

/// Three of an order's events, two of them with a field more.
#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(flat, context_bound = "KeepsApart")]
enum LaterEvent {
    #[n(0)]
    Placed(#[n(0)] Box<LaterPlaced>),
    #[n(9)]
    Ended,
    #[n(21)]
    Confirmed {
        #[n(0)]
        at: Timestamp,
        /// The new field.
        #[n(1)]
        approved_by: Option<String>,
    },
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
struct LaterPlaced {
    #[n(0)]
    order: OrderId,
    #[cbor(n(1), with = "shared")]
    head: Arc<Head>,
    #[n(2)]
    expires_at: Timestamp,
    #[cbor(n(3), with = "apart")]
    personal: Option<Arc<Personal>>,
    /// The new field, which is not an `Option`.
    #[cbor(n(4), default)]
    tries: u32,
}

impl Versioned for LaterEvent {
    const WHAT: &'static str = "an event of an order, as it will be";
    const UPCASTERS: &'static [fn(Self) -> Self] = &[];
}

fn placed() -> Event {
    super::golden::placed()
}

fn later_placed(tries: u32) -> LaterEvent {
    let Event::Placed(placed) = placed() else { unreachable!("it is one") };
    let Placed { order, head, expires_at, personal } = *placed;
    LaterEvent::Placed(Box::new(LaterPlaced { order, head, expires_at, personal, tries }))
}

/// Facts and personal data.
fn written<T: for<'a> Encode<Apart<'a>>>(event: &T) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut facts, mut personal) = (Vec::new(), Vec::new());
    let mut apart = Apart::to(&mut personal);
    form::write(event, &mut facts, &mut apart);
    let is_written = apart.is_written();
    (facts, is_written.then_some(personal))
}

#[test]
fn an_old_event_is_read_by_a_type_with_a_field_more() {
    let at = Timestamp(1_764_547_200_000);
    let read = |event: &Event| {
        let (facts, personal) = written(event);
        read_with::<LaterEvent>(1, &facts, personal.as_deref()).unwrap()
    };
    assert_eq!(read(&Event::Confirmed { at }), LaterEvent::Confirmed { at, approved_by: None });
    assert_eq!(read(&placed()), later_placed(0));
    assert_eq!(read(&Event::Ended), LaterEvent::Ended);
}

#[test]
fn an_event_with_a_field_more_is_read_by_today_s_type_from_a_whole_record() {
    let at = Timestamp(1_764_547_200_000);
    let order = OrderId(7 << 16);
    let later = [later_placed(3), LaterEvent::Confirmed { at, approved_by: Some("Ada".to_owned()) }];
    let head = super::Head { entity: EntityId::Order(order), number: 1, at, by: By::System, events: 2 };
    let mut events = later.iter();
    let body = record::assemble(&head, 1, |out| {
        let (facts, personal) = written(events.next().unwrap());
        out.extend_from_slice(&facts);
        personal
    });
    let events = vec![any::Event::Order(placed()), any::Event::Order(Event::Confirmed { at })];
    let today = Decided { entity: EntityId::Order(order), number: 1, at, by: By::System, events };
    assert_eq!(super::decode(&body), Ok(today));
}

/// A reservation in a SKU's stored state, with a field more.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(context_bound = "Interns<Agreed>")]
struct LaterReservation {
    #[n(0)]
    number: u64,
    #[n(1)]
    allocations: Vec<Allocation>,
    #[cbor(n(2), with = "interned")]
    agreed: Arc<Agreed>,
    #[n(3)]
    expires_at: Timestamp,
    #[n(4)]
    ask_at: Timestamp,
    #[n(5)]
    status: ClaimStatus,
    /// The new field.
    #[n(6)]
    channel: Option<String>,
}

/// A chunk whose reservations have a field more, and which has a list more.
#[derive(Debug, Encode, Decode)]
#[cbor(context_bound = "Interns<Agreed>")]
struct LaterChunk {
    #[n(0)]
    reservations: Vec<(OrderId, LaterReservation)>,
    #[n(1)]
    moves: Vec<u8>,
    #[n(2)]
    requests: Vec<u8>,
    #[n(3)]
    promises: Vec<u8>,
    /// The new field.
    #[cbor(n(4), default)]
    watchers: Vec<u32>,
}

impl Versioned for LaterChunk {
    const WHAT: &'static str = "a chunk, as it will be";
    const UPCASTERS: &'static [fn(Self) -> Self] = &[];
}

/// The head of a SKU's stored state, with a field more.
#[derive(Debug, Encode, Decode)]
struct LaterHead {
    #[n(0)]
    version: u64,
    #[n(1)]
    offer: Option<Offer>,
    #[n(2)]
    levels: Vec<stock::Level>,
    /// The new field.
    #[n(3)]
    sold_out_at: Option<Timestamp>,
}

impl Versioned for LaterHead {
    const WHAT: &'static str = "an inventory, as it will be";
    const UPCASTERS: &'static [fn(Self) -> Self] = &[];
}

/// A SKU that many orders hold units of.
fn hot_sku() -> (Inventory, Vec<(u16, Bytes)>) {
    let mut stock = Inventory::default();
    stock.evolve(&stock::Event::Offered(Box::new(offer(1, 100))));
    for number in 0..1_000_u64 {
        stock.evolve(&stock::Event::Reserved {
            order: OrderId(u128::from(number) << 117),
            reservation: number + 2,
            currency: Currency::GBP,
            allocations: vec![Allocation { warehouse: WarehouseId::parse("lon1").unwrap(), units: 1 }],
            expires_at: Timestamp(600_000),
            ask_at: Timestamp(630_000),
        });
    }
    let mut all = super::Dirty::default();
    (0..=CHUNKS).for_each(|chunk| all.mark(chunk));
    let rows = inventory::rows_of(&stock, &Meta::default(), &all);
    (stock, rows)
}

#[test]
fn a_hot_sku_s_old_state_is_read_by_types_with_a_field_more() {
    let (stock, rows) = hot_sku();
    let (version, _, body) = read_head_row(&rows).unwrap();
    let head = LaterHead::read_as(version, body, &mut ()).unwrap();
    assert_eq!((head.version, head.offer.as_ref(), head.sold_out_at), (stock.version(), stock.offer(), None));
    let (mut agreed, mut found) = (Interned::<Agreed>::default(), 0);
    for (_, row) in rows.iter().filter(|(chunk, _)| *chunk != HEAD) {
        agreed.begin_chunk();
        let chunk: LaterChunk = read_versioned(row, &mut agreed).unwrap();
        assert!(chunk.watchers.is_empty());
        for (order, reservation) in chunk.reservations {
            let today = stock.reservation(order).unwrap();
            assert_eq!((reservation.number, reservation.channel), (today.number, None));
            assert_eq!((reservation.agreed, reservation.ask_at), (Arc::clone(&today.agreed), today.ask_at));
            found += 1;
        }
    }
    assert_eq!(found, 1_000);
}

#[test]
fn a_hot_sku_s_state_with_a_field_more_is_read_by_today_s_types() {
    let (stock, mut rows) = hot_sku();
    for (chunk, row) in &mut rows {
        *row = if *chunk == HEAD {
            let levels = stock.levels().cloned().collect();
            let sold_out_at = Some(Timestamp(9));
            let head = LaterHead { version: stock.version(), offer: stock.offer().cloned(), levels, sold_out_at };
            let mut out = Vec::new();
            write_head(1, &Meta::default(), &mut out);
            form::write(&head, &mut out, &mut ());
            Bytes::from(out)
        } else {
            let of_chunk = stock.reservations().filter(|(order, _)| chunk_of(order.0) == *chunk);
            let reservations = of_chunk.map(|(order, today)| (order, later_reservation(today))).collect();
            let (moves, requests, promises) = Default::default();
            let later = LaterChunk { reservations, moves, requests, promises, watchers: vec![1, 2] };
            write_versioned(&later, 1, &mut Interned::<Agreed>::default())
        };
    }
    assert_eq!(inventory::state_of(&rows), Ok((stock, Meta::default())));
}

fn later_reservation(today: &stock::Reservation) -> LaterReservation {
    LaterReservation {
        number: today.number,
        allocations: today.allocations.clone(),
        agreed: Arc::clone(&today.agreed),
        expires_at: today.expires_at,
        ask_at: today.ask_at,
        status: today.status,
        channel: Some("app".to_owned()),
    }
}
