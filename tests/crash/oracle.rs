//! What was answered to callers, and whether the present answers agree: nothing acknowledged is ever taken back.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// How an order may end without being confirmed.
pub const ENDS: [&str; 5] = ["sold_out", "rejected", "expired", "payment_failed", "cancelled"];

/// Everything acknowledged so far: per order the newest answer to any caller.
#[derive(Debug, Default)]
pub struct Oracle {
    orders: Mutex<BTreeMap<String, Value>>,
    /// Which order a key made.
    keys: Mutex<BTreeMap<String, String>>,
    wrong: Mutex<Vec<String>>,
}

impl Oracle {
    /// What is known of an order before a question about it is sent: what the answer may not fall behind.
    pub fn known(&self, id: &str) -> Option<Value> {
        self.orders.lock().unwrap().get(id).cloned()
    }

    /// All acknowledged orders.
    pub fn orders(&self) -> Vec<String> {
        self.orders.lock().unwrap().keys().cloned().collect()
    }

    /// An order as an answer showed it; `before` was known when the question was sent.
    pub fn acknowledge(&self, before: Option<&Value>, now: &Value) {
        let id = now["id"].as_str().unwrap_or_default();
        if id.is_empty() {
            self.blame(format!("an order without an id: {now}"));
        }
        if let Some(why) = before.and_then(|before| contradiction(before, now)) {
            self.blame(format!("{id}: {why}\nbefore: {}\nnow: {now}", before.unwrap_or(&Value::Null)));
        }
        let mut orders = self.orders.lock().unwrap();
        let newest = orders.entry(id.to_owned()).or_insert_with(|| now.clone());
        if version(newest) < version(now) {
            *newest = now.clone();
        }
    }

    /// This key made this order; it may never have made another.
    pub fn made(&self, key: &str, id: &str) {
        let mut keys = self.keys.lock().unwrap();
        let first = keys.entry(key.to_owned()).or_insert_with(|| id.to_owned());
        if first != id {
            self.blame(format!("key {key} made order {first} and then order {id}"));
        }
    }

    /// Something is wrong.
    pub fn blame(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Fails if anything was wrong.
    #[track_caller]
    pub fn assert_kept(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(
            wrong.is_empty(),
            "{} broken promises, the first ones:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(5)].join("\n")
        );
    }
}

fn version(order: &Value) -> u64 {
    order["version"].as_u64().unwrap_or_default()
}

/// Why both cannot be answers about one order, the second one asked for after the first was given.
pub fn contradiction(before: &Value, now: &Value) -> Option<String> {
    if before["id"] != now["id"] {
        return Some(format!("it was {}", before["id"]));
    }
    if version(now) < version(before) {
        return Some(format!("version {} after version {}", version(now), version(before)));
    }
    let same: &[&str] = if version(now) == version(before) {
        // Nothing happened in between. What follows from the time of day as well (`payment_status`, `allowed`) is left out.
        &["/placed_at", "/status", "/confirmed_at", "/expires_at", "/totals", "/lines", "/shipments", "/returns"]
    } else {
        &["/placed_at", "/totals/total", "/number"]
    };
    if let Some(field) = same.iter().find(|field| before.pointer(field) != now.pointer(field)) {
        return Some(format!("{field} was {:?} and is {:?}", before.pointer(field), now.pointer(field)));
    }
    if is_confirmed(before) && before["confirmed_at"] != now["confirmed_at"] {
        return Some("it was confirmed".to_owned());
    }
    let (was, is) = (status(before), status(now));
    if ENDS.contains(&was) && was != is {
        return Some(format!("it had ended as {was} and is {is}"));
    }
    // What was counted stays counted.
    let counters = ["/totals/captured/amount", "/totals/refunded/amount"].map(str::to_owned).into_iter();
    let lines = before["lines"].as_array().map_or(0, Vec::len);
    let of_line =
        |line: usize| ["cancelled", "shipped", "delivered", "returned"].map(|name| format!("/lines/{line}/{name}"));
    for counter in counters.chain((0..lines).flat_map(of_line)) {
        let at = |order: &Value| order.pointer(&counter).and_then(Value::as_i64);
        if at(now) < at(before) {
            return Some(format!("{counter} fell from {:?} to {:?}", at(before), at(now)));
        }
    }
    None
}

/// The order's status.
pub fn status(order: &Value) -> &str {
    order["status"].as_str().unwrap_or_default()
}

/// Was it ever confirmed?
pub fn is_confirmed(order: &Value) -> bool {
    !order["confirmed_at"].is_null()
}

/// Has its saga ended, one way or the other?
pub fn is_settled(order: &Value) -> bool {
    is_confirmed(order) || ENDS.contains(&status(order))
}

/// Units of a SKU that an order took from the shelf and did not give back, and those that were never sold again but came back.
pub fn units_sold(order: &Value, sku: &str) -> u64 {
    if !is_confirmed(order) {
        return 0;
    }
    let lines = order["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_line = |line: &Value| {
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        number("quantity") - number("cancelled") - number("returned")
    };
    lines.iter().filter(|line| line["sku"] == sku).map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order(version: u64, status: &str, confirmed: bool, captured: i64) -> Value {
        json!({
            "id": "ord_1", "version": version, "status": status, "confirmed_at": confirmed.then_some("then"),
            "totals": { "total": { "amount": 5 }, "captured": { "amount": captured } }, "lines": [{ "shipped": 1 }]
        })
    }

    #[test]
    fn the_oracle_can_fail() {
        let before = order(4, "confirmed", true, 5);
        assert_eq!(contradiction(&before, &order(5, "shipped", true, 5)), None);
        for (now, why) in [
            (order(3, "confirmed", true, 5), "version"),
            (order(4, "shipped", true, 5), "/status"),
            (order(5, "awaiting_payment", false, 5), "confirmed"),
            (order(5, "confirmed", true, 4), "captured"),
        ] {
            assert!(contradiction(&before, &now).is_some_and(|why_not| why_not.contains(why)), "{why}");
        }
        let ended = order(4, "expired", false, 0);
        assert!(contradiction(&ended, &order(6, "confirmed", true, 0)).is_some());
    }

    #[test]
    fn one_key_makes_one_order() {
        let oracle = Oracle::default();
        oracle.made("k", "ord_1");
        oracle.made("k", "ord_1");
        oracle.assert_kept();
        oracle.made("k", "ord_2");
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| oracle.assert_kept())).is_err());
    }
}
