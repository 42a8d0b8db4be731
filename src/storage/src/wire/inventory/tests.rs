//! Golden bytes of the events of stock, and stock that is written and read back.

use super::*;
use doorbuster_domain::entity::Entity;
use doorbuster_domain::ids::{ReservationId, Terms};
use doorbuster_domain::inventory::random::{self, offer};
use doorbuster_domain::money::Money;
use std::collections::BTreeMap;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(event: &Event) -> Vec<u8> {
    let mut facts = Vec::new();
    assert_eq!(encode_event(event, &mut facts), None);
    facts
}

fn samples() -> Vec<Event> {
    let order = OrderId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0000);
    let reservation = 300;
    let warehouse = WarehouseId::parse("lon1").unwrap();
    let request = Request { id: RequestId(5), terms: Terms(6) };
    let asked = Asked { request, at: Timestamp(1_000), until: Timestamp(2_000) };
    let allocations = vec![Allocation { warehouse: warehouse.clone(), units: 3 }];
    let reference = Some("PO-1".into());
    let mut word = offer(7, 12_999);
    word.prices[0].was = Some(Money { amount: 14_999, currency: Currency::GBP });
    word.hold_s = Some(900);
    vec![
        Event::Offered(Box::new(word)),
        Event::Received { asked, warehouse: warehouse.clone(), units: 480, reference: reference.clone() },
        Event::Announced { asked, warehouse: warehouse.clone(), units: 9, expected_at: Timestamp(9_000), reference },
        Event::Adjusted { asked, warehouse: warehouse.clone(), delta: -4, reason: AdjustmentReason::ReturnUnmatched },
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
        Event::Promised {
            id,
            reference: "shop-order-991".into(),
            buyer_key: Some("u_17".into()),
            keeper: Keeper::Stock,
            allocations: vec![Allocation { warehouse, units: 3 }],
            hold_s: 600,
            at,
            expires_at: Timestamp(601_000),
        },
        Event::PromiseExtended {
            id,
            request: Request { id: RequestId(5), terms: Terms(6) },
            at,
            expires_at: Timestamp(700_000),
        },
        Event::PromiseKept { id, ask_at: Timestamp(700_000) },
        Event::PromiseCommitted { id, at },
        Event::PromiseReleased { id, at },
        Event::PromisesExpired { ids: vec![id], at },
        Event::PromisesForgotten { ids: vec![id] },
    ]
}

/// What was written once is readable for ever: a change of these bytes needs a new version.
const GOLDEN: &[&str] = &[
    "0001530170070873656c5f6d61696e0741207468696e6701018ecb0147425001aeea01474250010128018407087374616e6461726464",
    "010000000000000000000000000000000500000000000000000000000000000006e807d00f046c6f6e31e0030104504f2d31",
    "020000000000000000000000000000000500000000000000000000000000000006e807d00f046c6f6e3109a8460104504f2d31",
    "030000000000000000000000000000000500000000000000000000000000000006e807d00f046c6f6e310704",
    "040000000000000000000000000000000500000000000000000000000000000006e807d00f046c6f6e314604",
    "050102030405060708090a0b0c0d0e0000ac0247425001046c6f6e3103c0cf24f0b926",
    "060102030405060708090a0b0c0d0e0000ac02e0dc2a",
    "070102030405060708090a0b0c0d0e0000ac02",
    "080102030405060708090a0b0c0d0e0000ac02",
    "090102030405060708090a0b0c0d0e0000ac02",
    "0a0102030405060708090a0b0c0d0e00000201046c6f6e3103",
    "0b0102030405060708090a0b0c0d0e000000010201046c6f6e310301",
    "0c0102030405060708090a0b0c0d0e00000201020001010102",
];

#[test]
fn events_of_version_1_keep_their_bytes() {
    let samples = samples();
    let bytes: Vec<String> = samples.iter().map(|event| hex(&encoded(event))).collect();
    assert_eq!(bytes, GOLDEN);
    for event in samples {
        assert_eq!(decode_event(1, &encoded(&event), None), Ok(event));
    }
}

/// What version 2 added; what version 1 had it writes as before.
const GOLDEN_2: &[&str] = &[
    "0d0102030405060708090a0b0c0d0e0f100e73686f702d6f726465722d3939310104755f31370001046c6f6e3103d804e807a8d724",
    "0e0102030405060708090a0b0c0d0e0f100000000000000000000000000000000500000000000000000000000000000006e807e0dc2a",
    "0f0102030405060708090a0b0c0d0e0f10e0dc2a",
    "100102030405060708090a0b0c0d0e0f10e807",
    "110102030405060708090a0b0c0d0e0f10e807",
    "12010102030405060708090a0b0c0d0e0f10e807",
    "13010102030405060708090a0b0c0d0e0f10",
];

#[test]
fn events_of_version_2_keep_their_bytes() {
    let bytes: Vec<String> = promises().iter().map(|event| hex(&encoded(event))).collect();
    assert_eq!(bytes, GOLDEN_2);
    for event in promises().into_iter().chain(samples()) {
        assert_eq!(decode_event(2, &encoded(&event), None), Ok(event));
    }
}

#[test]
fn an_event_of_a_later_version_is_named_as_such() {
    let facts = encoded(&samples()[7]);
    assert_eq!(decode_event(3, &facts, None), Err(WireError::Version { what: WHAT, version: 3 }));
}

#[test]
fn a_cut_event_is_damaged_not_a_panic() {
    for event in samples().into_iter().chain(promises()) {
        let facts = encoded(&event);
        for length in 0..facts.len() {
            assert!(decode_event(1, &facts[..length], None).is_err(), "{event:?} cut at {length}");
        }
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
            let decoded = decode_event(EVENTS, &encoded(event), None).unwrap();
            assert_eq!(decoded, *event);
            read.evolve(&decoded);
            touch(event, &mut dirty);
        }
        steps += 1;
        if steps.is_multiple_of(50) {
            assert!(read == world.stock, "decoded events give the state");
            let meta = Meta { version: world.stock.version(), ..Meta::default() };
            rows.extend(rows_of(&world.stock, &meta, &std::mem::take(&mut dirty)));
            let stored: Vec<(u16, Bytes)> = rows.iter().map(|(chunk, row)| (*chunk, row.clone())).collect();
            let (restored, restored_meta) = state_of(&stored).unwrap();
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
    let rows = rows_of(&stock, &Meta::default(), &dirty);
    let (restored, _) = state_of(&rows).unwrap();
    assert!(restored == stock);
    let mut agreed: Vec<_> = restored.live().map(|(_, reservation)| Arc::as_ptr(&reservation.agreed)).collect();
    agreed.dedup();
    assert_eq!(agreed.len(), 1);
    let stored: usize = rows.iter().map(|(_, row)| row.len()).sum();
    assert!(stored < 2_000 * 60, "{stored} bytes for 2,000 reservations");
}
