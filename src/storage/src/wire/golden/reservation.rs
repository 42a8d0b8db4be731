//! Golden bytes of a reservation's events, and reservations that are written and read back.

use super::{cut_events_are_refused, events_keep_their_bytes, states_keep_their_bytes};
use doorbuster_domain::ids::{Request, RequestFingerprint, RequestId, ReservationId, Sku, WarehouseId};
use doorbuster_domain::inventory::{Allocation, ExternalStatus};
use doorbuster_domain::reservation::{Event, Made, Reservation, Shortage, Wanted};
use doorbuster_domain::time::Timestamp;

fn samples() -> Vec<Event> {
    let id = ReservationId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let sku = |name: &str| Sku::parse(name).unwrap();
    let warehouse = WarehouseId::parse("lon1").unwrap();
    let at = Timestamp(1_000);
    let made = Made {
        id,
        terms: RequestFingerprint(7),
        owner: "seller:sel_main".into(),
        reference: "shop-order-991".into(),
        buyer_key: Some("u_17".into()),
        lines: vec![Wanted { sku: sku("A"), units: 2 }, Wanted { sku: sku("B"), units: 1 }],
        ranking: vec![warehouse.clone()],
        hold_s: 600,
        expires_at: Timestamp(601_000),
        seller: None,
    };
    vec![
        Event::Made { made: Box::new(made), at },
        Event::LineHeld { line: 0, allocations: vec![Allocation { warehouse, units: 2 }] },
        Event::LineShort { line: 1, why: Shortage::SoldOut { available: 0, all_reserved: true } },
        Event::Held { at },
        Event::Extended {
            request: Request { id: RequestId(5), terms: RequestFingerprint(6) },
            at,
            expires_at: Timestamp(700_000),
        },
        Event::Ending { how: ExternalStatus::Released, at },
        Event::LineEnded { line: 0, known: true },
        Event::Ended,
    ]
}

#[test]
fn a_seller_s_reservation_keeps_its_bytes() {
    let Some(Event::Made { made, at }) = samples().into_iter().next() else { unreachable!("it is the first") };
    let made = Box::new(Made { seller: Some("sel_other".into()), ..*made });
    let events = [Event::Made { made, at }];
    events_keep_their_bytes(&events, include_str!("reservation_events_owners.txt"), false);
    cut_events_are_refused(&events);
    let restored = |reservation| reservation;
    states_keep_their_bytes::<Reservation>(&events, include_str!("reservation_states_owners.txt"), 1, restored);
}

#[test]
fn events_of_version_1_keep_their_bytes() {
    events_keep_their_bytes(&samples(), include_str!("reservation_events.txt"), false);
    cut_events_are_refused(&samples());
}

#[test]
fn units_that_left_keep_their_bytes() {
    let events = [Event::Shipped { at: Timestamp(1_000) }, Event::LineShipped { line: 0 }];
    events_keep_their_bytes(&events, include_str!("reservation_later.txt"), false);
}

#[test]
fn a_reservation_reads_back_at_every_point_of_its_life() {
    states_keep_their_bytes::<Reservation>(&samples(), include_str!("reservation_states.txt"), 1, |reservation| {
        reservation
    });
}
