//! Bodies about products, warehouses and stock.

use super::words::{AdjustmentWord, KindWord, StatusWord, StockWord};
use crate::edge::{Amount, Code4217, Counted, Country, Delta, Id, Instant, Prose, Quantity, Text, Whole};
use doorbuster_domain::ids::{ProductId, Sku, WarehouseId};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A whole product with its SKUs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductBody {
    /// The id in the path, if it is repeated.
    pub id: Option<Id<ProductId>>,
    /// The caller's own account, if it is named.
    pub seller: Option<Text<64>>,
    /// What a shopper reads first.
    pub title: Prose<500>,
    /// In full.
    pub description: Option<Text<20000>>,
    /// From the root on.
    #[serde(default)]
    pub category: Vec<Text<100>>,
    /// Whose make.
    pub brand: Option<Text<100>>,
    /// Default: active.
    pub status: Option<StatusWord>,
    /// Free per category.
    #[serde(default)]
    pub attributes: BTreeMap<String, Text<500>>,
    /// The axes a page lets one choose from.
    #[serde(default)]
    pub option_names: Vec<Text<100>>,
    /// Pictures.
    #[serde(default)]
    pub images: Vec<ImageBody>,
    /// Chooses the tax rate; default: standard.
    pub tax_class: Option<Text<100>>,
    /// The variants; one with stock or orders that is left out is archived.
    #[serde(default)]
    pub skus: Vec<SkuBody>,
}

/// A picture.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageBody {
    /// Where it is.
    pub url: Text<2000>,
    /// What it shows.
    pub alt: Option<Text<500>>,
    /// Of this variant only.
    pub sku: Option<Id<Sku>>,
}

/// A variant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkuBody {
    /// Its name.
    pub sku: Id<Sku>,
    /// The product's id, if it is repeated.
    pub product: Option<Id<ProductId>>,
    /// One value per option name.
    #[serde(default)]
    pub options: BTreeMap<String, Text<500>>,
    /// Default: active.
    pub status: Option<StatusWord>,
    /// One per currency.
    #[serde(default)]
    pub prices: Vec<PriceBody>,
    /// Default: physical.
    pub kind: Option<KindWord>,
    /// Default: counted.
    pub stock: Option<StockWord>,
    /// Units one order may take.
    pub max_per_order: Option<Quantity>,
    /// Seconds for which an order may hold units.
    pub hold_s: Option<Whole>,
    /// A GTIN.
    pub barcode: Option<Text<100>>,
    /// Weight of one, in grams.
    pub weight_g: Option<Whole>,
    /// Length, width, height in millimetres.
    pub size_mm: Option<[Whole; 3]>,
    /// Country it was made in.
    pub origin: Option<Country>,
    /// For customs.
    pub hs_code: Option<Text<100>>,
}

/// A price in one currency.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceBody {
    /// Minor units.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: Code4217,
    /// What it was before, for show.
    pub was: Option<Amount>,
    /// Default: true.
    pub tax_included: Option<bool>,
}

/// A warehouse.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarehouseBody {
    /// The id in the path, if it is repeated.
    pub id: Option<Id<WarehouseId>>,
    /// Shown to sellers.
    pub name: Prose<100>,
    /// Where it is.
    pub country: Country,
    /// Where in the country.
    pub postal_code: Option<Text<20>>,
    /// May orders be sent from here? Default: true.
    pub active: Option<bool>,
    /// Lower comes first; default: 0.
    pub priority: Option<Whole>,
}

/// Units that have arrived, or will.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptBody {
    /// Here.
    pub warehouse: Id<WarehouseId>,
    /// So many.
    pub units: Quantity,
    /// The seller's own reference.
    pub reference: Option<Text<128>>,
    /// Announced for then; not there yet.
    pub expected_at: Option<Instant>,
}

/// A correction of stock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustmentBody {
    /// Here.
    pub warehouse: Id<WarehouseId>,
    /// By so many.
    pub delta: Delta,
    /// Because.
    pub reason: AdjustmentWord,
    /// In words; compared when the request is repeated, not kept.
    pub note: Option<Prose<500>>,
}

/// A stocktake.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountBody {
    /// Here.
    pub warehouse: Id<WarehouseId>,
    /// Units found in the building.
    pub counted: Counted,
    /// Only if the books said this before.
    pub expected_in_building: Option<Counted>,
}
