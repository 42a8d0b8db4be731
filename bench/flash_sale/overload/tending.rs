//! The seller's work while a crowd buys: orders are paid, shipped, delivered and sent back; others are cancelled.

use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) returned: AtomicU64,
    pub(super) cancelled: AtomicU64,
    /// Steps that were answered with a lawful "no", or not at all: a node that is down, mostly.
    pub(super) broken_off: AtomicU64,
}

/// One worker: handles one order after the other until `over` is set.
pub(super) async fn tend(target: Target, hand: usize, skus: Arc<Vec<String>>, done: Arc<Done>, over: Arc<AtomicBool>) {
    let mut caller = Caller::waiting(target, Duration::from_secs(20));
    let run = uuid::Uuid::new_v4().simple().to_string();
    let mut number = hand;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let sku = skus.get(number % skus.len().max(1)).map_or("", String::as_str);
        let cancels = number.is_multiple_of(3);
        let ended = one(&mut caller, &format!("{run}-{hand}-{number}"), sku, cancels).await;
        let counter = match ended {
            Ok(()) if cancels => &done.cancelled,
            Ok(()) => &done.returned,
            Err(_) => &done.broken_off,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Buys and pays one unit; then cancels it, or has it shipped, delivered, sent back and taken in.
async fn one(caller: &mut Caller, key: &str, sku: &str, cancels: bool) -> Result<(), BenchError> {
    let order = json!({
        "lines": [{ "sku": sku, "quantity": 1 }],
        "buyer": { "email": "soak@crowd.example", "name": "Soak" },
        "ship_to": { "name": "Soak", "line1": "1 High Street", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB" },
        "payment": { "method": "card", "token": "tok_ok", "capture": "on_confirmation" }
    });
    let placed = caller.must_post("/v1/orders", key, &order).await?;
    let id = text(&placed, "/id")?;
    let path = format!("/v1/orders/{id}");
    if cancels {
        return caller
            .must_post(&format!("{path}/cancel"), &format!("{key}-c"), &json!({ "reason": "customer" }))
            .await
            .map(drop);
    }
    let lines = json!([{ "line": "1", "quantity": 1 }]);
    let shipment = json!({ "lines": lines, "warehouse": doorbuster_bench::catalogue::WAREHOUSE });
    let shipped = caller.must_post(&format!("{path}/shipments"), &format!("{key}-s"), &shipment).await?;
    caller
        .must_post(&format!("/v1/shipments/{}/deliver", text(&shipped, "/id")?), &format!("{key}-d"), &json!({}))
        .await?;
    let wanted = json!({ "lines": [{ "line": "1", "quantity": 1, "reason": "too_small" }] });
    let sent_back = caller.must_post(&format!("{path}/returns"), &format!("{key}-r"), &wanted).await?;
    let back = format!("/v1/returns/{}", text(&sent_back, "/id")?);
    caller.must_post(&format!("{back}/approve"), &format!("{key}-a"), &json!({})).await?;
    let taken = json!({ "lines": [{ "line": "1", "quantity": 1, "condition": "as_new", "restock": true }] });
    caller.must_post(&format!("{back}/receive"), &format!("{key}-t"), &taken).await.map(drop)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str, BenchError> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .ok_or_else(|| BenchError::Node(format!("an answer without {pointer}: {value}")))
}
