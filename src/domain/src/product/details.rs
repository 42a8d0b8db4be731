//! A seller's data of a product and its SKUs, and its validation.

use crate::codec::{self as minicbor, Decode, Encode, shared, text};
use crate::ids::{ProductId, Sku};
use crate::inventory::Price;
use crate::money::AMOUNT_MAX;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Characters of a title.
pub const TITLE_MAX: usize = 500;
/// Characters of a description.
pub const DESCRIPTION_MAX: usize = 20_000;
/// Characters of a brand.
pub const BRAND_MAX: usize = 100;
/// Attributes of a product, and options of a SKU.
pub const ATTRIBUTES_MAX: usize = 100;
/// Characters of a key, an option's name, a step of the category's path.
const KEY_MAX: usize = 100;
/// Characters of an attribute's or an option's value, of a picture's text.
const VALUE_MAX: usize = 500;
/// Characters of a picture's address.
const URL_MAX: usize = 2_000;
/// Pictures of a product.
pub const IMAGES_MAX: usize = 250;
/// Steps of a category's path.
const CATEGORY_MAX: usize = 20;
/// The most SKUs of one product, archived ones included: each is sent an offer after every change.
pub const SKUS_MAX: usize = 1_000;
/// Currencies with a price.
pub const PRICES_MAX: usize = 50;
/// Seconds for which an order may hold units, at most: thirty days.
pub const HOLD_S_MAX: u64 = 30 * 24 * 3_600;
/// Units that one order may take, at most.
pub const PER_ORDER_MAX: u32 = 1_000_000;

/// Whether it is visible and on sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    /// Not visible yet.
    #[n(0)]
    Draft,
    /// Visible, and on sale.
    #[default]
    #[n(1)]
    Active,
    /// No longer on sale.
    #[n(2)]
    Archived,
}

impl Status {
    /// The API's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Archived => "archived",
        }
    }
}

/// An image of the product.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Image {
    /// Address of the image.
    #[cbor(n(0), with = "text")]
    pub url: CompactString,
    /// What it shows, for those who cannot see it.
    #[cbor(n(1), with = "text")]
    pub alt: CompactString,
    /// The variant it shows; `None`: all of them.
    #[n(2)]
    pub sku: Option<Sku>,
}

/// A variant of the product, which is one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Variant {
    /// Its SKU, chosen by the seller.
    #[n(0)]
    pub sku: Sku,
    /// Its value of each of the product's options.
    #[cbor(n(1), with = "text")]
    pub options: BTreeMap<CompactString, CompactString>,
    /// Whether it may be sold.
    #[n(2)]
    pub status: Status,
    /// At most one price per currency, at most [`PRICES_MAX`].
    #[n(3)]
    pub prices: Vec<Price>,
    /// Units one order may take, at most [`PER_ORDER_MAX`]; `None`: no limit.
    #[n(4)]
    pub max_per_order: Option<u32>,
    /// Seconds an order may hold units, at most [`HOLD_S_MAX`]; `None`: the setting.
    #[n(5)]
    pub hold_s: Option<u64>,
    /// The GTIN (barcode number).
    #[cbor(n(6), with = "text")]
    pub barcode: Option<CompactString>,
    /// Weight of one unit, in grams.
    #[n(7)]
    pub weight_g: Option<u32>,
    /// Length, width and height of its box, in millimetres.
    #[n(8)]
    pub size_mm: Option<[u32; 3]>,
    /// Country of origin, ISO 3166-1 alpha-2.
    #[cbor(n(9), with = "text")]
    pub origin: Option<CompactString>,
    /// Customs tariff number.
    #[cbor(n(10), with = "text")]
    pub hs_code: Option<CompactString>,
}

/// A whole product, as a PUT sets it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Details {
    /// The product's id, chosen by the seller.
    #[n(0)]
    pub id: ProductId,
    /// The seller's account, fixed when the product is created.
    #[cbor(n(1), with = "text")]
    pub seller: CompactString,
    /// At most [`TITLE_MAX`] characters, not empty.
    #[cbor(n(2), with = "text")]
    pub title: CompactString,
    /// At most [`DESCRIPTION_MAX`] characters.
    #[n(3)]
    pub description: String,
    /// Path of the category, from the root; at most 20 steps.
    #[cbor(n(4), with = "text")]
    pub category: Vec<CompactString>,
    /// At most [`BRAND_MAX`] characters.
    #[cbor(n(5), with = "text")]
    pub brand: Option<CompactString>,
    /// May it be seen and sold?
    #[n(6)]
    pub status: Status,
    /// The seller's own pairs, at most [`ATTRIBUTES_MAX`].
    #[cbor(n(7), with = "text")]
    pub attributes: BTreeMap<CompactString, CompactString>,
    /// Names of the options a shopper chooses by: size, colour.
    #[cbor(n(8), with = "text")]
    pub option_names: Vec<CompactString>,
    /// In the order a page shows them, at most [`IMAGES_MAX`].
    #[n(9)]
    pub images: Vec<Image>,
    /// Chooses the tax rate, as the seller names it.
    #[cbor(n(10), with = "text")]
    pub tax_class: CompactString,
    /// The variants, in the order of display; shared with the product's list of SKUs.
    #[cbor(n(11), with = "shared")]
    pub variants: Vec<Arc<Variant>>,
}

/// An invalid value and its place: a JSON pointer into the body of API.md, section 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The JSON pointer, such as `/skus/0/prices`.
    pub pointer: String,
    /// `too_long`, `too_many`, `out_of_range`, `required`, `duplicate`, `unknown`.
    pub code: Cow<'static, str>,
}

impl Details {
    /// All invalid values; empty: the product is valid.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        faults.text("/title", &self.title, 1, TITLE_MAX);
        faults.text("/description", &self.description, 0, DESCRIPTION_MAX);
        faults.text("/brand", self.brand.as_deref().unwrap_or("-"), 1, BRAND_MAX);
        faults.text("/tax_class", &self.tax_class, 1, KEY_MAX);
        faults.many("/category", self.category.len(), CATEGORY_MAX);
        faults.each("/category", &self.category, KEY_MAX);
        faults.many("/option_names", self.option_names.len(), ATTRIBUTES_MAX);
        faults.each("/option_names", &self.option_names, KEY_MAX);
        faults.pairs("/attributes", &self.attributes);
        faults.many("/images", self.images.len(), IMAGES_MAX);
        for (index, image) in self.images.iter().enumerate() {
            faults.text(&format!("/images/{index}/url"), &image.url, 1, URL_MAX);
            faults.text(&format!("/images/{index}/alt"), &image.alt, 0, VALUE_MAX);
            let unknown = |sku: &Sku| !self.variants.iter().any(|variant| variant.sku == *sku);
            if image.sku.as_ref().is_some_and(unknown) {
                faults.add(format!("/images/{index}/sku"), "unknown");
            }
        }
        faults.many("/skus", self.variants.len(), SKUS_MAX);
        let mut seen = BTreeSet::new();
        for (index, variant) in self.variants.iter().enumerate().take(SKUS_MAX) {
            if !seen.insert(&variant.sku) {
                faults.add(format!("/skus/{index}/sku"), "duplicate");
            }
            self.variant_faults(&format!("/skus/{index}"), variant, &mut faults);
        }
        faults.0
    }

    fn variant_faults(&self, at: &str, variant: &Variant, faults: &mut Faults) {
        faults.pairs(&format!("{at}/options"), &variant.options);
        for name in variant.options.keys().filter(|name| !self.option_names.contains(name)) {
            faults.add(format!("{at}/options/{}", escaped(name)), "unknown");
        }
        faults.many(&format!("{at}/prices"), variant.prices.len(), PRICES_MAX);
        let mut currencies = BTreeSet::new();
        for (index, price) in variant.prices.iter().enumerate() {
            let lawful = |amount: i64| (0..=AMOUNT_MAX).contains(&amount);
            if !lawful(price.unit.amount) {
                faults.add(format!("{at}/prices/{index}/amount"), "out_of_range");
            }
            if price.was.is_some_and(|was| !lawful(was.amount) || was.currency != price.unit.currency) {
                faults.add(format!("{at}/prices/{index}/was"), "out_of_range");
            }
            if !currencies.insert(price.unit.currency) {
                faults.add(format!("{at}/prices/{index}/currency"), "duplicate");
            }
        }
        if variant.max_per_order.is_some_and(|limit| limit == 0 || limit > PER_ORDER_MAX) {
            faults.add(format!("{at}/max_per_order"), "out_of_range");
        }
        if variant.hold_s.is_some_and(|seconds| seconds == 0 || seconds > HOLD_S_MAX) {
            faults.add(format!("{at}/hold_s"), "out_of_range");
        }
        faults.text(&format!("{at}/barcode"), variant.barcode.as_deref().unwrap_or("-"), 1, KEY_MAX);
        faults.text(&format!("{at}/hs_code"), variant.hs_code.as_deref().unwrap_or("-"), 1, KEY_MAX);
        let country = variant.origin.as_deref().unwrap_or("GB");
        if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            faults.add(format!("{at}/origin"), "out_of_range");
        }
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, pointer: String, code: &'static str) {
        self.0.push(Fault { pointer, code: code.into() });
    }

    fn text(&mut self, pointer: &str, text: &str, least: usize, most: usize) {
        let length = text.chars().count();
        if length < least {
            self.add(pointer.to_owned(), "required");
        }
        if length > most {
            self.add(pointer.to_owned(), "too_long");
        }
    }

    fn many(&mut self, pointer: &str, count: usize, most: usize) {
        if count > most {
            self.add(pointer.to_owned(), "too_many");
        }
    }

    fn each(&mut self, pointer: &str, texts: &[CompactString], most: usize) {
        let mut seen = BTreeSet::new();
        for (index, text) in texts.iter().enumerate() {
            self.text(&format!("{pointer}/{index}"), text, 1, most);
            if !seen.insert(text) {
                self.add(format!("{pointer}/{index}"), "duplicate");
            }
        }
    }

    fn pairs(&mut self, pointer: &str, pairs: &BTreeMap<CompactString, CompactString>) {
        self.many(pointer, pairs.len(), ATTRIBUTES_MAX);
        for (key, value) in pairs {
            self.text(&format!("{pointer}/{}", escaped(key)), key, 1, KEY_MAX);
            self.text(&format!("{pointer}/{}", escaped(key)), value, 0, VALUE_MAX);
        }
    }
}

/// A key as a part of a JSON pointer (RFC 6901, section 3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
