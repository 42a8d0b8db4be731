//! Views of products.

use crate::core::view::{At, Shown};
use compact_str::CompactString;
use doorbuster_domain::ids::{ProductId, Sku};
use doorbuster_domain::product::{Product, Status, Variant};
use doorbuster_storage::wire::Meta;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A product with its SKUs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Product")]
pub struct ProductView<'a> {
    id: Shown<&'a ProductId>,
    seller: &'a str,
    title: &'a str,
    description: &'a str,
    #[schemars(with = "Vec<String>")]
    category: &'a [CompactString],
    brand: Option<&'a str>,
    status: &'static str,
    #[schemars(with = "BTreeMap<String, String>")]
    attributes: &'a BTreeMap<CompactString, CompactString>,
    #[schemars(with = "Vec<String>")]
    option_names: &'a [CompactString],
    images: Vec<ImageView<'a>>,
    tax_class: &'a str,
    skus: Vec<SkuView<'a>>,
    version: u64,
    created_at: At,
    updated_at: At,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Image")]
struct ImageView<'a> {
    url: &'a str,
    alt: &'a str,
    sku: Option<Shown<&'a Sku>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sku")]
struct SkuView<'a> {
    sku: Shown<&'a Sku>,
    product: Shown<&'a ProductId>,
    #[schemars(with = "BTreeMap<String, String>")]
    options: &'a BTreeMap<CompactString, CompactString>,
    status: &'static str,
    prices: Vec<PriceView<'a>>,
    max_per_order: Option<u32>,
    hold_s: Option<u64>,
    barcode: Option<&'a str>,
    weight_g: Option<u32>,
    size_mm: Option<[u32; 3]>,
    origin: Option<&'a str>,
    hs_code: Option<&'a str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Price")]
struct PriceView<'a> {
    amount: i64,
    currency: &'a str,
    was: Option<i64>,
    tax_included: bool,
}

impl<'a> ProductView<'a> {
    /// A product; `None`: it does not exist.
    #[must_use]
    pub fn new(product: &'a Product, meta: &Meta) -> Option<Self> {
        let details = product.details()?;
        let images = details.images.iter().map(|image| ImageView {
            url: &image.url,
            alt: &image.alt,
            sku: image.sku.as_ref().map(Shown),
        });
        let listed = details.variants.iter().map(|variant| SkuView::new(&details.id, variant, variant.status));
        // Stock and orders still name a SKU that a later PUT left out: it is shown as archived.
        let archived = product.archived().map(|variant| SkuView::new(&details.id, variant, Status::Archived));
        Some(Self {
            id: Shown(&details.id),
            seller: &details.seller,
            title: &details.title,
            description: &details.description,
            category: &details.category,
            brand: details.brand.as_deref(),
            status: details.status.as_str(),
            attributes: &details.attributes,
            option_names: &details.option_names,
            images: images.collect(),
            tax_class: &details.tax_class,
            skus: listed.chain(archived).collect(),
            version: product.version(),
            created_at: At(meta.created_at),
            updated_at: At(meta.updated_at),
        })
    }
}

impl<'a> SkuView<'a> {
    fn new(product: &'a ProductId, variant: &'a Variant, status: Status) -> Self {
        let prices = variant.prices.iter().map(|price| PriceView {
            amount: price.unit.amount,
            currency: price.unit.currency.as_str(),
            was: price.was.map(|was| was.amount),
            tax_included: price.tax_included,
        });
        Self {
            sku: Shown(&variant.sku),
            product: Shown(product),
            options: &variant.options,
            status: status.as_str(),
            prices: prices.collect(),
            max_per_order: variant.max_per_order,
            hold_s: variant.hold_s,
            barcode: variant.barcode.as_deref(),
            weight_g: variant.weight_g,
            size_mm: variant.size_mm,
            origin: variant.origin.as_deref(),
            hs_code: variant.hs_code.as_deref(),
        }
    }
}
