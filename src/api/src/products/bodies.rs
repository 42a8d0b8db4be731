//! Bodies of products, and what they say to the domain.

use crate::core::problem::Problem;
use crate::core::types::{Amount, Code4217, Country, Id, Prose, Quantity, Text, Whole};
use crate::core::words::{KindWord, StatusWord, StockWord};
use compact_str::CompactString;
use doorbuster_domain::ids::{ProductId, Sku};
use doorbuster_domain::inventory::Price;
use doorbuster_domain::money::Money;
use doorbuster_domain::product::{Details, Image, Status, Variant};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A whole product with its SKUs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductBody {
    /// The id of the path, if it is repeated.
    pub id: Option<Id<ProductId>>,
    /// The caller's own account, if it is named.
    pub seller: Option<Text<64>>,
    /// The title for shoppers.
    pub title: Prose<500>,
    /// The description for shoppers.
    pub description: Option<Text<20000>>,
    /// The categories from the root to the leaf.
    #[serde(default)]
    pub category: Vec<Text<100>>,
    /// The brand.
    pub brand: Option<Text<100>>,
    /// Default: active.
    pub status: Option<StatusWord>,
    /// Attributes, free per category.
    #[serde(default)]
    pub attributes: BTreeMap<String, Text<500>>,
    /// The names of the options that a shopper chooses from, such as size.
    #[serde(default)]
    pub option_names: Vec<Text<100>>,
    /// Pictures.
    #[serde(default)]
    pub images: Vec<ImageBody>,
    /// The tax class, which selects the tax rate; default: standard.
    pub tax_class: Option<Text<100>>,
    /// The SKUs; one with stock or orders that is left out is archived.
    #[serde(default)]
    pub skus: Vec<SkuBody>,
}

/// A picture.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageBody {
    /// Its address.
    pub url: Text<2000>,
    /// A description of what it shows.
    pub alt: Option<Text<500>>,
    /// The SKU it shows, if it shows only one.
    pub sku: Option<Id<Sku>>,
}

/// A SKU.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkuBody {
    /// Its id.
    pub sku: Id<Sku>,
    /// The product's id, if it is repeated.
    pub product: Option<Id<ProductId>>,
    /// One value per option name.
    #[serde(default)]
    pub options: BTreeMap<String, Text<500>>,
    /// Default: active.
    pub status: Option<StatusWord>,
    /// One price per currency.
    #[serde(default)]
    pub prices: Vec<PriceBody>,
    /// Default: physical.
    pub kind: Option<KindWord>,
    /// Default: counted.
    pub stock: Option<StockWord>,
    /// Greatest number of units in one order.
    pub max_per_order: Option<Quantity>,
    /// Time for which an order may hold units, in seconds.
    pub hold_s: Option<Whole>,
    /// A GTIN.
    pub barcode: Option<Text<100>>,
    /// Weight of one unit, in grams.
    pub weight_g: Option<Whole>,
    /// Length, width and height of one unit, in millimetres.
    pub size_mm: Option<[Whole; 3]>,
    /// Country of origin.
    pub origin: Option<Country>,
    /// HS code, for customs.
    pub hs_code: Option<Text<100>>,
}

/// A price in one currency.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceBody {
    /// In minor units.
    pub amount: Amount,
    /// ISO 4217 code.
    pub currency: Code4217,
    /// The former price, to be shown, in minor units.
    pub was: Option<Amount>,
    /// Does it include tax? Default: true.
    pub tax_included: Option<bool>,
}

impl ProductBody {
    /// The product as the domain takes it.
    pub(super) fn details(self, id: ProductId, seller: CompactString) -> Result<Details, Problem> {
        if self.id.is_some_and(|named| named.0 != id) {
            return Err(Problem::field("/id", "invalid_value", "differs from the id in the path"));
        }
        if self.seller.is_some_and(|named| named.0 != seller) {
            return Err(Problem::field("/seller", "invalid_value", "differs from the caller's account"));
        }
        let mut variants = Vec::with_capacity(self.skus.len());
        for (index, sku) in self.skus.into_iter().enumerate() {
            if sku.product.as_ref().is_some_and(|named| named.0 != id) {
                let pointer = format!("/skus/{index}/product");
                return Err(Problem::field(pointer, "invalid_value", "differs from the id in the path"));
            }
            variants.push(Arc::new(sku.variant()));
        }
        let images = self.images.into_iter().map(|image| Image {
            url: image.url.0,
            alt: image.alt.map(|alt| alt.0).unwrap_or_default(),
            sku: image.sku.map(|sku| sku.0),
        });
        Ok(Details {
            id,
            seller,
            title: self.title.0,
            description: self.description.map(|text| text.0.into()).unwrap_or_default(),
            category: self.category.into_iter().map(|step| step.0).collect(),
            brand: self.brand.map(|brand| brand.0),
            status: self.status.map_or(Status::Active, |status| status.0),
            attributes: pairs(self.attributes),
            option_names: self.option_names.into_iter().map(|name| name.0).collect(),
            images: images.collect(),
            tax_class: self.tax_class.map_or_else(|| "standard".into(), |class| class.0),
            variants,
        })
    }
}

fn pairs<const MAX: usize>(pairs: BTreeMap<String, Text<MAX>>) -> BTreeMap<CompactString, CompactString> {
    pairs.into_iter().map(|(name, value)| (name.into(), value.0)).collect()
}

impl SkuBody {
    fn variant(self) -> Variant {
        Variant {
            sku: self.sku.0,
            options: pairs(self.options),
            status: self.status.map_or(Status::Active, |status| status.0),
            prices: self.prices.iter().map(PriceBody::price).collect(),
            max_per_order: self.max_per_order.map(|units| units.0),
            hold_s: self.hold_s.map(|seconds| seconds.0.into()),
            barcode: self.barcode.map(|text| text.0),
            weight_g: self.weight_g.map(|grams| grams.0),
            size_mm: self.size_mm.map(|size| size.map(|side| side.0)),
            origin: self.origin.map(|country| country.0),
            hs_code: self.hs_code.map(|text| text.0),
        }
    }
}

impl PriceBody {
    fn price(&self) -> Price {
        let currency = self.currency.0;
        Price {
            unit: Money { amount: self.amount.0, currency },
            was: self.was.map(|was| Money { amount: was.0, currency }),
            tax_included: self.tax_included.unwrap_or(true),
        }
    }
}
