//! A small shop to sell from, and the bodies of requests.

use crate::node::Door;
use doorbuster_test_kit::client::{Answer, Call};
use serde_json::{Value, json};

/// The one warehouse.
pub const WAREHOUSE: &str = "lon1";

/// Sets up the warehouse and a product with one SKU for each name, and receives the units of each.
pub async fn open(door: &Door, product: &str, stock: &[(&str, u32)]) {
    let warehouse = json!({ "name": "London", "country": "GB" });
    good(door, &Call::put(format!("/v1/warehouses/{WAREHOUSE}"), warehouse)).await;
    let sku =
        |name: &str| json!({ "sku": name, "prices": [{ "amount": 1299, "currency": "GBP", "tax_included": true }] });
    let skus: Vec<Value> = stock.iter().map(|(name, _)| sku(name)).collect();
    let body = json!({ "title": "Nova Low", "status": "active", "tax_class": "standard", "skus": skus });
    good(door, &Call::put(format!("/v1/products/{product}"), body)).await;
    for (name, units) in stock {
        receive(door, name, *units, &format!("first-{name}")).await;
    }
}

/// Receives units.
pub async fn receive(door: &Door, sku: &str, units: u32, key: &str) {
    let body = json!({ "warehouse": WAREHOUSE, "units": units });
    good(door, &Call::post(format!("/v1/inventory/{sku}/receipts"), key, body)).await;
}

/// The answer, which must be a good one, however often the node restarts meanwhile.
pub async fn good(door: &Door, call: &Call) -> Answer {
    let answer = door.insist(call).await;
    assert!(answer.is_good(), "{call} answered {answer}");
    answer
}

/// What a GET answers.
pub async fn read(door: &Door, path: &str) -> Value {
    good(door, &Call::get(path)).await.body
}

/// The level of a SKU.
pub async fn level(door: &Door, sku: &str) -> Level {
    let inventory = read(door, &format!("/v1/inventory/{sku}")).await;
    let level = &inventory["levels"][0];
    let units = |name: &str| level[name].as_u64().unwrap_or_else(|| panic!("{name} in {inventory}"));
    Level {
        on_hand: units("on_hand"),
        reserved: units("reserved"),
        available: units("available"),
        to_ship: units("to_ship"),
    }
}

/// Stock of one SKU in the one warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Not sold.
    pub on_hand: u64,
    /// Of them promised.
    pub reserved: u64,
    /// Of them free.
    pub available: u64,
    /// Sold and still in the building.
    pub to_ship: u64,
}

/// The body of an order of these units.
pub fn order(lines: &[(&str, u32)]) -> Value {
    let lines: Vec<Value> = lines.iter().map(|(sku, quantity)| json!({ "sku": sku, "quantity": quantity })).collect();
    json!({ "lines": lines, "buyer": buyer(), "ship_to": address() })
}

/// The body of an order of a cart.
pub fn order_of_cart(cart: &str) -> Value {
    json!({ "cart_id": cart, "buyer": buyer(), "ship_to": address() })
}

fn buyer() -> Value {
    json!({ "email": "a@b.example", "name": "A. Buyer" })
}

fn address() -> Value {
    json!({ "name": "A. Buyer", "line1": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB" })
}

/// How it is paid.
pub fn payment(token: &str) -> Value {
    json!({ "method": "card", "token": token })
}

/// The same order, paid at once.
pub fn paid(mut order: Value, token: &str) -> Value {
    order["payment"] = payment(token);
    order
}
