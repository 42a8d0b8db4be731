//! Views of stock, for sellers and for shoppers.

use crate::core::view::{At, Shown};
use doorbuster_actors::view::Stock;
use doorbuster_domain::ids::{Sku, WarehouseId};
use doorbuster_domain::inventory::{Level, Levels, StockState};
use doorbuster_domain::time::Timestamp;
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
    available: u64,
    /// Are its units for sale? `false` while the warehouse is not active: `available` is 0 then.
    active: bool,
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
    /// The level of a SKU at a version of its stock.
    #[must_use]
    pub fn new(sku: &'a Sku, level: &'a Level, version: u64, low_stock_at: u64) -> Self {
        let incoming = level.incoming.iter().map(|incoming| IncomingView {
            units: incoming.units,
            expected_at: At(incoming.expected_at),
            reference: incoming.reference.as_deref(),
        });
        Self {
            sku: Shown(sku),
            warehouse: Shown(&level.warehouse),
            on_hand: level.on_hand,
            reserved: level.reserved,
            available: level.available(),
            active: level.is_active(),
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

/// The availability of a SKU, for shoppers.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Availability")]
pub struct AvailabilityView<'a> {
    sku: Shown<&'a Sku>,
    /// `in_stock`, `low_stock`, `all_reserved`, `sold_out`, `ended`
    state: &'static str,
    /// Units available, shown when stock is low only: sellers keep larger numbers to themselves.
    units_left: Option<u64>,
    max_per_order: Option<u32>,
    next_release_at: Option<At>,
    version: u64,
}

/// The state of a SKU's stock: `ended` when it is no longer on sale.
pub(crate) fn state_of(stock: &Stock, low_stock_at: u64) -> StockState {
    let offer = stock.levels.as_deref().and_then(|levels| levels.offer.as_ref());
    let on_sale = offer.is_none_or(|offer| offer.on_sale);
    StockState::of(stock.available, stock.reserved, on_sale, low_stock_at)
}

impl<'a> AvailabilityView<'a> {
    /// The availability of a SKU with this stock.
    #[must_use]
    pub fn new(sku: &'a Sku, stock: &Stock, low_stock_at: u64) -> Self {
        let state = state_of(stock, low_stock_at);
        let levels = stock.levels.as_deref();
        let next_release_at = stock.next_release_at.filter(|_| state == StockState::AllReserved);
        Self {
            sku: Shown(sku),
            state: state.as_str(),
            units_left: (state == StockState::LowStock).then_some(stock.available),
            max_per_order: levels.and_then(|levels| levels.offer.as_ref()?.max_per_order),
            next_release_at: next_release_at.map(At),
            version: stock.version,
        }
    }
}
