//! Golden bytes of a reservation's events, and reservations that are written and read back.

use super::*;
use crate::wire::golden;
use doorbuster_domain::ids::{RequestId, ReservationId, Terms};
use doorbuster_domain::inventory::{Allocation, PromiseStatus};

fn samples() -> Vec<Event> {
    let id = ReservationId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let sku = |name: &str| Sku::parse(name).unwrap();
    let warehouse = WarehouseId::parse("lon1").unwrap();
    let at = Timestamp(1_000);
    let made = Made {
        id,
        terms: Terms(7),
        owner: "seller:sel_main".into(),
        reference: "shop-order-991".into(),
        buyer_key: Some("u_17".into()),
        lines: vec![Wanted { sku: sku("A"), units: 2 }, Wanted { sku: sku("B"), units: 1 }],
        ranking: vec![warehouse.clone()],
        hold_s: 600,
        expires_at: Timestamp(601_000),
    };
    vec![
        Event::Made { made: Box::new(made), at },
        Event::LineHeld { line: 0, allocations: vec![Allocation { warehouse, units: 2 }] },
        Event::LineShort { line: 1, why: Shortage::SoldOut { available: 0, all_reserved: true } },
        Event::Held { at },
        Event::Extended { request: Request { id: RequestId(5), terms: Terms(6) }, at, expires_at: Timestamp(700_000) },
        Event::Ending { how: PromiseStatus::Released, at },
        Event::LineEnded { line: 0, known: true },
        Event::Ended,
    ]
}

const GOLDEN: &[&str] = &[
    "000102030405060708090a0b0c0d0e0f10000000000000000000000000000000070f73656c6c65723a73656c5f6d61696e0e73686f702d6f726465722d3939310104755f31370201410201420101046c6f6e31d804a8d724e807",
    "010001046c6f6e3102",
    "0201000001",
    "03e807",
    "040000000000000000000000000000000500000000000000000000000000000006e807e0dc2a",
    "0502e807",
    "060001",
    "07",
];

#[test]
fn events_of_version_1_keep_their_bytes() {
    golden::events_keep_their_bytes(1, samples(), GOLDEN, encode_event, decode_event);
}

#[test]
fn a_reservation_reads_back_at_every_point_of_its_life() {
    golden::reads_back_at_every_point_of_its_life(SNAPSHOT, &samples(), encode_state, decode_state);
}
