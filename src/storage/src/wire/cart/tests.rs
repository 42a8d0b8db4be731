//! Golden bytes of a cart's events, and carts that are written and read back.

use super::*;
use crate::wire::golden;
use doorbuster_domain::ids::{OrderId, Terms};
use doorbuster_domain::money::Money;

fn samples() -> Vec<Event> {
    let order = OrderId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0000);
    let sku = Sku::parse("NOVA-LOW-42").unwrap();
    let line = Line {
        sku: sku.clone(),
        quantity: 2,
        title: "Nova Low, 42".into(),
        seller: "sel_main".into(),
        unit_price: Money { amount: 12_999, currency: Currency::GBP },
        added_at: Timestamp(1_000),
    };
    vec![
        Event::Created {
            terms: Terms(7),
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

const GOLDEN: &[&str] = &[
    "000000000000000000000000000000000700056773745f3147425080f5248088b2a002",
    "0180cee4cd02",
    "020b4e4f56412d4c4f572d3432020c4e6f7661204c6f772c2034320873656c5f6d61696e8ecb01474250e807",
    "040102030405060708090a0b0c0d0e0000f0b926",
    "05a0a428",
    "060102030405060708090a0b0c0d0e0000",
    "030b4e4f56412d4c4f572d3432",
    "08",
    "070102030405060708090a0b0c0d0e0000",
];

#[test]
fn events_of_version_1_keep_their_bytes() {
    golden::events_keep_their_bytes(1, samples(), GOLDEN, encode_event, decode_event);
}

#[test]
fn a_cart_reads_back_at_every_point_of_its_life() {
    golden::reads_back_at_every_point_of_its_life(SNAPSHOT, &samples(), encode_state, decode_state);
}
