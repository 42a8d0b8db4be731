//! Golden bytes of a cart's events, and carts that are written and read back.

use super::{cut_events_are_refused, events_keep_their_bytes, states_keep_their_bytes};
use doorbuster_domain::cart::{Cart, CartLine, Event, Owner};
use doorbuster_domain::ids::{OrderId, RequestFingerprint, Sku};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::time::Timestamp;

fn samples() -> Vec<Event> {
    let order = OrderId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0000);
    let sku = Sku::parse("NOVA-LOW-42").unwrap();
    let line = CartLine {
        sku: sku.clone(),
        quantity: 2,
        title: "Nova Low, 42".into(),
        seller: "sel_main".into(),
        unit_price: Money { amount: 12_999, currency: Currency::GBP },
        added_at: Timestamp(1_000),
    };
    vec![
        Event::Created {
            terms: RequestFingerprint(7),
            owner: Owner::Guest("gst_1".into()),
            currency: Currency::GBP,
            life_s: 604_800,
            expires_at: Timestamp(604_800_000),
        },
        Event::Refreshed { expires_at: Timestamp(700_000_000) },
        Event::LineSet { line },
        Event::Frozen { order, ask_at: Timestamp(630_000) },
        Event::Kept { ask_at: Timestamp(660_000) },
        Event::Thawed { order },
        Event::LineRemoved { sku },
        Event::Expired,
        Event::Closed { order },
    ]
}

#[test]
fn events_of_version_1_keep_their_bytes() {
    events_keep_their_bytes(&samples(), include_str!("cart_events.txt"), false);
    cut_events_are_refused(&samples());
}

#[test]
fn a_cart_reads_back_at_every_point_of_its_life() {
    states_keep_their_bytes::<Cart>(&samples(), include_str!("cart_states.txt"), 1, |cart| cart);
}
