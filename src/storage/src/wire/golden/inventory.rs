//! Golden bytes of the events of stock, and stock that is written and read back.

use super::{META, cut_events_are_refused, decoded, encoded, events_keep_their_bytes, line_of, rows_of};
use crate::wire::inventory::{self, touch};
use crate::wire::versions::Versioned;
use crate::wire::{Dirty, HEAD, Meta, WireError, whole};
use bytes::Bytes;
use doorbuster_domain::entity::Entity;
use doorbuster_domain::ids::{OrderId, Request, RequestFingerprint, RequestId, ReservationId, WarehouseId};
use doorbuster_domain::inventory::random::{self, offer};
use doorbuster_domain::inventory::{
    AdjustmentReason, Allocation, Decider, Event, Inventory, MoveKey, ReturnKey, SellerRequest,
};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

fn of_orders() -> Vec<Event> {
    let order = OrderId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0000);
    let reservation = 300;
    let warehouse = WarehouseId::parse("lon1").unwrap();
    let request = Request { id: RequestId(5), terms: RequestFingerprint(6) };
    let asked = SellerRequest { request, at: Timestamp(1_000), until: Timestamp(2_000) };
    let allocations = vec![Allocation { warehouse: warehouse.clone(), units: 3 }];
    let reference = Some("PO-1".into());
    let mut word = offer(7, 12_999);
    word.prices[0].was = Some(Money { amount: 14_999, currency: Currency::GBP });
    word.hold_s = Some(900);
    vec![
        Event::Offered(Box::new(word)),
        Event::Received { asked, warehouse: warehouse.clone(), units: 480, reference: reference.clone() },
        Event::Announced { asked, warehouse: warehouse.clone(), units: 9, expected_at: Timestamp(9_000), reference },
        Event::Adjusted {
            asked,
            warehouse: warehouse.clone(),
            delta: -4,
            reason: AdjustmentReason::ReturnUnmatched,
            note: None,
        },
        Event::Counted { asked, warehouse, counted: 70, delta: 2 },
        Event::Reserved {
            order,
            reservation,
            currency: Currency::GBP,
            allocations: allocations.clone(),
            expires_at: Timestamp(600_000),
            ask_at: Timestamp(630_000),
        },
        Event::Kept { order, reservation, ask_at: Timestamp(700_000) },
        Event::Committed { order, reservation },
        Event::Released { order, reservation },
        Event::Forgotten { order, reservation },
        Event::Shipped { order, shipment: 2, allocations: allocations.clone() },
        Event::Returned { order, key: ReturnKey::Return { number: 1, receipt: 2 }, allocations, restock: true },
        Event::MovesForgotten {
            order,
            moves: vec![MoveKey::Ship { shipment: 2 }, MoveKey::Return(ReturnKey::Cancel { number: 1 })],
            at: Timestamp(1),
            until: Timestamp(2),
        },
    ]
}

fn promises() -> Vec<Event> {
    let id = ReservationId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let warehouse = WarehouseId::parse("lon1").unwrap();
    let at = Timestamp(1_000);
    vec![
        Event::ExternalReserved {
            id,
            reference: "shop-order-991".into(),
            buyer_key: Some("u_17".into()),
            decider: Decider::Stock,
            allocations: vec![Allocation { warehouse, units: 3 }],
            hold_s: 600,
            at,
            expires_at: Timestamp(601_000),
        },
        Event::ExternalExtended {
            id,
            request: Request { id: RequestId(5), terms: RequestFingerprint(6) },
            at,
            expires_at: Timestamp(700_000),
        },
        Event::ExternalKept { id, ask_at: Timestamp(700_000) },
        Event::ExternalCommitted { id, at },
        Event::ExternalReleased { id, at },
        Event::ExternalExpired { ids: vec![id], at },
        Event::ExternalForgotten { ids: vec![id] },
    ]
}

/// One of each event; a SKU's life as far as they follow from one another.
fn samples() -> Vec<Event> {
    let warehouse = WarehouseId::parse("lon1").unwrap();
    let closed = Event::WarehouseSet { warehouse: warehouse.clone(), active: false, version: 300 };
    let request = Request { id: RequestId(7), terms: RequestFingerprint(8) };
    let asked = SellerRequest { request, at: Timestamp(1_000), until: Timestamp(2_000) };
    let noted = Event::Adjusted {
        asked,
        warehouse: warehouse.clone(),
        delta: -5,
        reason: AdjustmentReason::Damaged,
        note: Some("a flooded shelf".into()),
    };
    of_orders().into_iter().chain(promises()).chain([closed, noted]).collect()
}

#[test]
fn events_of_version_1_keep_their_bytes() {
    events_keep_their_bytes(&samples(), include_str!("inventory_events.txt"), false);
}

#[test]
fn units_that_are_to_ship_again_and_reservations_that_left_keep_their_bytes() {
    let later = samples().into_iter().filter_map(|event| match event {
        Event::Shipped { order, shipment, allocations } => {
            Some(Event::Unshipped { order, shipment, allocations, lost: true })
        }
        Event::ExternalCommitted { id, at } => Some(Event::ExternalShipped { id, at }),
        _ => None,
    });
    events_keep_their_bytes(&later.collect::<Vec<_>>(), include_str!("inventory_later.txt"), false);
}

#[test]
fn an_event_of_a_later_version_is_named_as_such() {
    let (facts, _) = encoded(&samples()[7]);
    let refused = whole::read_with::<Event>(2, &facts, None);
    assert_eq!(refused, Err(WireError::Version { what: Event::WHAT, version: 2 }));
}

#[test]
fn a_cut_event_is_damaged_not_a_panic() {
    cut_events_are_refused(&samples());
}

#[test]
fn rows_of_version_1_keep_their_bytes() {
    let (mut stock, mut dirty, mut states, mut bytes) = Default::default();
    for event in samples() {
        Inventory::evolve(&mut stock, &event);
        touch(&event, &mut dirty);
        let rows = inventory::rows_of(&stock, &META, &dirty);
        String::push_str(&mut bytes, &line_of(&rows));
        bytes.push('\n');
        Vec::push(&mut states, stock.clone());
    }
    let golden = include_str!("inventory_states.txt");
    assert_eq!(bytes, golden);
    for (state, line) in states.into_iter().zip(golden.lines()) {
        assert_eq!(inventory::state_of(&rows_of(line)), Ok((state, META)));
    }
}

#[test]
fn events_and_rows_read_back_through_whole_worlds_s4() {
    let mut rows: BTreeMap<u16, Bytes> = BTreeMap::new();
    let mut read = Inventory::default();
    let mut dirty = Dirty::default();
    let mut steps = 0_u32;
    random::run(random::steps() / 4, |world, new| {
        if world.events.len() == new.len() && read.version() > 0 {
            (rows, read, dirty) = Default::default();
        }
        for event in new {
            let decoded: Event = decoded(&encoded(event).0, None).unwrap();
            assert_eq!(decoded, *event);
            read.evolve(&decoded);
            touch(event, &mut dirty);
        }
        steps += 1;
        if steps.is_multiple_of(50) {
            assert!(read == world.stock, "decoded events give the state");
            let meta = Meta { version: world.stock.version(), ..Meta::default() };
            rows.extend(inventory::rows_of(&world.stock, &meta, &std::mem::take(&mut dirty)));
            let stored: Vec<(u16, Bytes)> = rows.iter().map(|(chunk, row)| (*chunk, row.clone())).collect();
            let (restored, restored_meta) = inventory::state_of(&stored).unwrap();
            assert_eq!(restored_meta, meta);
            assert!(restored == world.stock, "the rows that events marked give the state: {restored:?}");
        }
    });
}

#[test]
fn a_reservation_marks_its_own_chunk_and_the_head_s4() {
    let mut dirty = Dirty::default();
    touch(&samples()[5], &mut dirty);
    assert_eq!(dirty.chunks().collect::<Vec<_>>(), [HEAD, 2]);
}

#[test]
fn reservations_of_one_offer_share_what_was_agreed_also_after_a_restart() {
    let mut stock = Inventory::default();
    let mut dirty = Dirty::default();
    let mut events = vec![Event::Offered(Box::new(offer(1, 100)))];
    for number in 0..2_000_u64 {
        events.push(Event::Reserved {
            order: OrderId(u128::from(number) << 116),
            reservation: number + 2,
            currency: Currency::GBP,
            allocations: vec![Allocation { warehouse: WarehouseId::parse("lon1").unwrap(), units: 1 }],
            expires_at: Timestamp(600_000),
            ask_at: Timestamp(630_000),
        });
    }
    for event in &events {
        stock.evolve(event);
        touch(event, &mut dirty);
    }
    let rows = inventory::rows_of(&stock, &Meta::default(), &dirty);
    let (restored, _) = inventory::state_of(&rows).unwrap();
    assert!(restored == stock);
    let mut agreed: Vec<_> = restored.live().map(|(_, reservation)| Arc::as_ptr(&reservation.agreed)).collect();
    agreed.dedup();
    assert_eq!(agreed.len(), 1);
    let stored: usize = rows.iter().map(|(_, row)| row.len()).sum();
    assert!(stored < 2_000 * 60, "{stored} bytes for 2,000 reservations");
}
