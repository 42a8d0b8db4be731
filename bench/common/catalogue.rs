//! The shop a run needs: a warehouse, products with their SKUs, stock.

use super::api::{Caller, segment};
use super::error::BenchError;
use serde_json::{Value, json};

/// The one warehouse of every run.
pub const WAREHOUSE: &str = "main";
/// A receipt is a quantity of the API: at most this many units; more are received in several.
const RECEIPT_UNITS_MAX: u64 = 1_000_000;

/// Opens the warehouse.
pub async fn open_warehouse(caller: &mut Caller) -> Result<(), BenchError> {
    caller.put(&format!("/v1/warehouses/{WAREHOUSE}"), &json!({ "name": "Main", "country": "GB" })).await.map(drop)
}

/// A SKU as a product lists it.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Its id.
    pub sku: String,
    /// Its price in pence.
    pub pence: u64,
}

/// Puts a product with its SKUs, all for sale.
pub async fn put_product(caller: &mut Caller, id: &str, title: &str, skus: &[Offered]) -> Result<(), BenchError> {
    let skus: Vec<Value> = skus
        .iter()
        .map(|offered| {
            json!({
                "sku": offered.sku, "options": { "variant": offered.sku }, "status": "active", "kind": "physical", "stock": "counted",
                "prices": [{ "amount": offered.pence, "currency": "GBP", "was": null, "tax_included": true }]
            })
        })
        .collect();
    let product = json!({ "title": title, "status": "active", "option_names": ["variant"], "skus": skus });
    caller.put(&format!("/v1/products/{}", segment(id)), &product).await.map(drop)
}

/// Receives `units` of `sku`, in as many receipts as that takes.
pub async fn receive(caller: &mut Caller, sku: &str, units: u64) -> Result<(), BenchError> {
    let path = format!("/v1/inventory/{}/receipts", segment(sku));
    let (mut left, mut receipt) = (units, 1_u32);
    while left > 0 {
        let now = left.min(RECEIPT_UNITS_MAX);
        let key = format!("receipt-{receipt}");
        caller.must_post(&path, &key, &json!({ "warehouse": WAREHOUSE, "units": now })).await?;
        left -= now;
        receipt += 1;
    }
    Ok(())
}

/// What the warehouses hold of a SKU, summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// Not sold.
    pub on_hand: u64,
    /// Reserved for orders.
    pub reserved: u64,
    /// Free.
    pub available: u64,
}

impl Level {
    /// Both together.
    pub const fn and(self, other: Self) -> Self {
        Self {
            on_hand: self.on_hand + other.on_hand,
            reserved: self.reserved + other.reserved,
            available: self.available + other.available,
        }
    }
}

/// Reads the levels of `sku`.
pub async fn level(caller: &mut Caller, sku: &str) -> Result<Level, BenchError> {
    let read = caller.read(&format!("/v1/inventory/{}", segment(sku))).await?;
    let sum = |name: &str| {
        let levels = read.get("levels").and_then(Value::as_array);
        levels.into_iter().flatten().filter_map(|level| level.get(name)?.as_u64()).sum()
    };
    Ok(Level { on_hand: sum("on_hand"), reserved: sum("reserved"), available: sum("available") })
}
