//! Golden bytes of a product's events, and products that are written and read back.

use super::*;
use crate::wire::golden;
use doorbuster_domain::entity::Entity;
use doorbuster_domain::inventory::Price;
use doorbuster_domain::money::{Currency, Money};

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

const GOLDEN: &[&str] = &[
    "00086e6f76612d6c6f770873656c5f6d61696e084e6f7661204c6f7706412073686f65020573686f657308736e65616b65727301044e6f76610101086d6174657269616c057375656465010473697a65011368747470733a2f2f612e6578616d706c652f310473696465010b4e4f56412d4c4f572d3432087374616e64617264010b4e4f56412d4c4f572d3432010473697a6502343201018ecb0147425000010102018407010d35303132333435363738393030019c0901ca02d201780102564e0106363430343131",
    "010b4e4f56412d4c4f572d343201",
    "00086e6f76612d6c6f770873656c5f6d61696e084e6f7661204c6f7706412073686f65020573686f657308736e65616b65727301044e6f76610101086d6174657269616c057375656465010473697a6500087374616e6461726400",
    "020b4e4f56412d4c4f572d343202056f74686572",
];

#[test]
fn events_of_version_1_keep_their_bytes() {
    golden::events_keep_their_bytes(1, samples(), GOLDEN, encode_event, decode_event);
}

#[test]
fn a_product_reads_back_at_every_point_of_its_life() {
    golden::reads_back_at_every_point_of_its_life(SNAPSHOT, &samples(), encode_state, decode_state);
}

#[test]
fn what_is_listed_is_in_memory_once() {
    let mut product = Product::default();
    product.evolve(&Event::Put { details: Box::new(details()) });
    let mut bytes = Vec::new();
    assert!(encode_state(&product, &mut bytes).is_none());
    let read = decode_state(SNAPSHOT, &bytes, None).unwrap();
    for product in [product, read] {
        let listed = product.details.iter().flat_map(|details| &details.variants).next().unwrap();
        assert!(product.skus.values().all(|known| Arc::ptr_eq(&known.variant, listed)));
    }
}
