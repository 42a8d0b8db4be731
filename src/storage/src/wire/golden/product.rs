//! Golden bytes of a product's events, and products that are written and read back.

use super::{cut_events_are_refused, events_keep_their_bytes, states_keep_their_bytes};
use doorbuster_domain::ids::{ProductId, Sku};
use doorbuster_domain::inventory::Price;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::product::{Details, Event, Image, Product, Variant};
use std::sync::Arc;

fn details() -> Details {
    let sku = Sku::parse("NOVA-LOW-42").unwrap();
    let unit = Money { amount: 12_999, currency: Currency::GBP };
    let variant = Variant {
        sku: sku.clone(),
        options: [("size".into(), "42".into())].into(),
        prices: vec![Price { unit, was: None, tax_included: true }],
        max_per_order: Some(2),
        hold_s: Some(900),
        barcode: Some("5012345678900".into()),
        weight_g: Some(1_180),
        size_mm: Some([330, 210, 120]),
        origin: Some("VN".into()),
        hs_code: Some("640411".into()),
        ..Variant::default()
    };
    Details {
        id: ProductId::parse("nova-low").unwrap(),
        seller: "sel_main".into(),
        title: "Nova Low".into(),
        description: "A shoe".into(),
        category: vec!["shoes".into(), "sneakers".into()],
        brand: Some("Nova".into()),
        attributes: [("material".into(), "suede".into())].into(),
        option_names: vec!["size".into()],
        images: vec![Image { url: "https://a.example/1".into(), alt: "side".into(), sku: Some(sku) }],
        tax_class: "standard".into(),
        variants: vec![Arc::new(variant)],
        ..Details::default()
    }
}

fn samples() -> Vec<Event> {
    let sku = Sku::parse("NOVA-LOW-42").unwrap();
    let without = Details { variants: vec![], images: vec![], ..details() };
    vec![
        Event::Put { details: Box::new(details()) },
        Event::Taken { sku: sku.clone(), revision: 1 },
        Event::Put { details: Box::new(without) },
        Event::Refused { sku, revision: 2, belongs_to: ProductId::parse("other").unwrap() },
    ]
}

#[test]
fn events_of_version_1_keep_their_bytes() {
    events_keep_their_bytes(&samples(), include_str!("product_events.txt"), false);
    cut_events_are_refused(&samples());
}

#[test]
fn a_product_reads_back_at_every_point_of_its_life() {
    states_keep_their_bytes::<Product>(&samples(), include_str!("product_states.txt"), 1, Product::restored);
}
