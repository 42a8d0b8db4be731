//! Stock, as sellers and as shoppers see it.

use super::{At, Shown};
use crate::domain::ids::{Sku, WarehouseId};
use crate::domain::inventory::{Level, Levels};
use crate::domain::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Stock of a SKU in one warehouse.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Level")]
pub struct LevelView<'a> {
    sku: Shown<&'a Sku>,
    warehouse: Shown<&'a WarehouseId>,
    on_hand: u64,
    reserved: u64,
    held: u64,
    available: u64,
    to_ship: u64,
    in_building: u64,
    incoming: Vec<IncomingView<'a>>,
    low_stock_at: u64,
    last_receipt_at: Option<At>,
    version: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Incoming")]
struct IncomingView<'a> {
    units: u32,
    expected_at: At,
    reference: Option<&'a str>,
}

impl<'a> LevelView<'a> {
    /// A level of a SKU's stock at a version.
    #[must_use]
    pub fn new(sku: &'a Sku, level: &'a Level, version: u64, low_stock_at: u64) -> Self {
        let incoming = level.incoming.iter().map(|(units, at, reference)| IncomingView {
            units: *units,
            expected_at: At(*at),
            reference: reference.as_deref(),
        });
        Self {
            sku: Shown(sku),
            warehouse: Shown(&level.warehouse),
            on_hand: level.on_hand,
            reserved: level.reserved,
            held: level.held,
            available: level.available(),
            to_ship: level.to_ship,
            in_building: level.in_building(),
            incoming: incoming.collect(),
            low_stock_at,
            last_receipt_at: level.last_receipt_at.map(At),
            version,
        }
    }
}

/// Stock of a SKU.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Inventory")]
pub struct InventoryView<'a> {
    sku: Shown<&'a Sku>,
    available: u64,
    levels: Vec<LevelView<'a>>,
    version: u64,
    created_at: Option<At>,
    updated_at: Option<At>,
}

impl<'a> InventoryView<'a> {
    /// All levels of a SKU.
    #[must_use]
    pub fn new(sku: &'a Sku, levels: &'a Levels, low_stock_at: u64, times: [Timestamp; 2]) -> Self {
        let each = levels.levels.iter().map(|level| LevelView::new(sku, level, levels.version, low_stock_at));
        let [created_at, updated_at] = times.map(|time| (time != Timestamp::default()).then_some(At(time)));
        let (available, version) = (levels.available(), levels.version);
        Self { sku: Shown(sku), available, levels: each.collect(), version, created_at, updated_at }
    }
}

/// What a shopper may know of a SKU's stock.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Availability")]
pub struct AvailabilityView<'a> {
    sku: Shown<&'a Sku>,
    /// `in_stock`, `low_stock`, `all_reserved`, `sold_out`, `ended`
    state: &'static str,
    /// Only when they run low: how many there are is the seller's business.
    units_left: Option<u64>,
    max_per_order: Option<u32>,
    next_release_at: Option<At>,
    version: u64,
}

/// The word for a SKU's stock: `ended` when it is no longer on sale.
#[must_use]
pub fn stock_word(levels: &Levels, low_stock_at: u64) -> &'static str {
    match &levels.offer {
        Some(offer) if !offer.on_sale => "ended",
        _ => levels.stock(low_stock_at).as_str(),
    }
}

impl<'a> AvailabilityView<'a> {
    /// What a shopper may know.
    #[must_use]
    pub fn new(sku: &'a Sku, levels: &Levels, low_stock_at: u64) -> Self {
        let state = stock_word(levels, low_stock_at);
        Self {
            sku: Shown(sku),
            state,
            units_left: (state == "low_stock").then(|| levels.available()),
            max_per_order: levels.offer.as_ref().and_then(|offer| offer.max_per_order),
            next_release_at: if state == "all_reserved" { levels.next_release_at.map(At) } else { None },
            version: levels.version,
        }
    }
}
