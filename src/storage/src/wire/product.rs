//! A product's events and state as they are stored.

use super::inventory::PriceV1;
use super::mirror::{Mirror, mirror_enum, mirror_struct, plain_events};
use super::{WireError, form, whole};
use compact_str::CompactString;
use doorbuster_domain::ids::{ProductId, Sku};
use doorbuster_domain::product::{Details, Event, Image, Listed, Product, Status, Variant};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The version in which events are written.
pub(super) const EVENTS: u16 = 1;
/// The version in which states are written; another one is rebuilt from history.
pub(super) const SNAPSHOT: u16 = 1;
const WHAT: &str = "an event of a product";

mirror_enum!(StatusV1 = Status { ; Draft {}, Active {}, Archived {} });
mirror_struct!(ImageV1 = Image { url: CompactString, alt: CompactString, sku: Option<Sku> });
mirror_struct!(VariantV1 = Variant {
    sku: Sku,
    options: BTreeMap<CompactString, CompactString>,
    status: StatusV1,
    prices: Vec<PriceV1>,
    max_per_order: Option<u32>,
    hold_s: Option<u64>,
    barcode: Option<CompactString>,
    weight_g: Option<u32>,
    size_mm: Option<[u32; 3]>,
    origin: Option<CompactString>,
    hs_code: Option<CompactString>,
});
mirror_struct!(DetailsV1 = Details {
    id: ProductId,
    seller: CompactString,
    title: CompactString,
    description: String,
    category: Vec<CompactString>,
    brand: Option<CompactString>,
    status: StatusV1,
    attributes: BTreeMap<CompactString, CompactString>,
    option_names: Vec<CompactString>,
    images: Vec<ImageV1>,
    tax_class: CompactString,
    variants: Vec<Box<VariantV1>>,
});
mirror_enum!(EventV1 = Event {
    ;
    Put { details: Box<DetailsV1> },
    Taken { sku: Sku, revision: u64 },
    Refused { sku: Sku, revision: u64, belongs_to: ProductId },
});
mirror_struct!(ListedV1 = Listed {
    number: u32,
    variant: Box<VariantV1>,
    listed: bool,
    told: u64,
    belongs_to: Option<ProductId>,
});

#[derive(Serialize, Deserialize)]
struct StateV1 {
    revision: u64,
    details: Option<DetailsV1>,
    skus: Vec<ListedV1>,
    untold: Vec<u32>,
}

plain_events!(Event as EventV1, EVENTS, WHAT);

/// Appends a state's facts; there is no personal data.
pub(super) fn encode_state(state: &Product, out: &mut Vec<u8>) -> Option<Vec<u8>> {
    let by_number = state.numbers.iter().filter_map(|sku| state.skus.get(sku));
    let stored = StateV1 {
        revision: state.revision,
        details: Mirror::of(&state.details),
        skus: by_number.map(Mirror::of).collect(),
        untold: state.untold.iter().copied().collect(),
    };
    form::write(&stored, out);
    None
}

/// Reads a state back.
pub(super) fn decode_state(version: u16, facts: &[u8], _personal: Option<&[u8]>) -> Result<Product, WireError> {
    whole::known(version, SNAPSHOT)?;
    let stored: StateV1 = whole::read(facts)?;
    let mut skus: Vec<Listed> = stored.skus.back();
    let details: Option<Details> = stored.details.back();
    // As the PUT left it: what is listed is there once.
    let listed: BTreeMap<&Sku, &Arc<Variant>> =
        details.iter().flat_map(|details| &details.variants).map(|variant| (&variant.sku, variant)).collect();
    for known in &mut skus {
        if let Some(variant) = listed.get(&known.variant.sku).filter(|variant| ***variant == known.variant) {
            known.variant = Arc::clone(variant);
        }
    }
    Ok(Product {
        revision: stored.revision,
        details,
        numbers: skus.iter().map(|known| known.variant.sku.clone()).collect(),
        skus: skus.into_iter().map(|known| (known.variant.sku.clone(), known)).collect(),
        untold: stored.untold.into_iter().collect(),
    })
}
