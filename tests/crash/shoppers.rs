//! Shoppers and sellers who do not care that the node dies: each sends a request until it is answered, always with the same key.

use crate::node::Door;
use crate::oracle::{Oracle, is_confirmed, is_settled, status};
use crate::provider::Bank;
use crate::shop;
use doorbuster_test_kit::client::{Answer, Call};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What the crowd shares.
#[derive(Debug)]
pub struct Crowd {
    /// The shop.
    pub door: Door,
    /// Where shoppers pass the bank's checks.
    pub bank: Bank,
    /// What is for sale, with how often it is chosen.
    pub skus: Vec<&'static str>,
    /// The answers they got.
    pub oracle: Oracle,
    /// Refused at the door or for want of stock.
    pub refused: AtomicU64,
    /// Time to go home.
    pub stop: AtomicBool,
}

/// How long a shopper looks at an order that is not decided before the next journey begins; the order goes on by itself.
const LOOKS_MAX: u32 = 30;

/// One shopper after the other.
pub async fn shop_on(crowd: Arc<Crowd>, name: String, mut rng: ChaCha8Rng) {
    for number in 0_u64.. {
        if crowd.stop.load(Ordering::Relaxed) {
            return;
        }
        let mut shopper = Shopper { crowd: &crowd, name: format!("{name}-{number}"), step: 0, rng: &mut rng };
        shopper.journey().await;
    }
}

struct Shopper<'a> {
    crowd: &'a Crowd,
    name: String,
    step: u32,
    rng: &'a mut ChaCha8Rng,
}

impl Shopper<'_> {
    async fn journey(&mut self) {
        let pays_at_once = self.percent(60);
        let Some(order) = self.place(pays_at_once).await else {
            self.crowd.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let id = order["id"].as_str().unwrap_or_default().to_owned();
        if !pays_at_once {
            if self.percent(20) {
                // Left unpaid: it expires.
                return;
            }
            self.pay(&id).await;
        }
        let Some(mut order) = self.look_until_decided(&id).await else { return };
        if status(&order) == "awaiting_payment" && self.percent(60) {
            self.pay(&id).await;
            let Some(decided) = self.look_until_decided(&id).await else { return };
            order = decided;
        }
        if is_confirmed(&order) {
            self.after_the_sale(&order).await;
        }
    }

    async fn place(&mut self, pays_at_once: bool) -> Option<Value> {
        let first = self.any_sku();
        let mut lines = vec![(first, self.rng.random_range(1..=3))];
        let second = self.any_sku();
        if second != first && self.percent(40) {
            lines.push((second, 1));
        }
        let mut body = shop::order(&lines);
        if self.percent(25) {
            body = shop::order_of_cart(&self.fill_cart(&lines).await?);
        }
        if pays_at_once {
            body = shop::paid(body, self.any_token());
        }
        let mut call = Call::post("/v1/orders", self.key(), body);
        if self.percent(50) {
            call = call.waiting(2);
        }
        let answer = self.crowd.door.insist(&call).await;
        match answer.status {
            200..=202 => {
                self.crowd.oracle.acknowledge(None, &answer.body);
                self.crowd.oracle.made(call.key.as_deref().unwrap_or_default(), answer.text_at("/id"));
                Some(answer.body)
            }
            409 => None,
            _ => self.blame(&call, &answer),
        }
    }

    async fn fill_cart(&mut self, lines: &[(&str, u32)]) -> Option<String> {
        let door = &self.crowd.door;
        let cart = shop::good(door, &Call::post("/v1/carts", self.key(), json!({}))).await;
        let id = cart.text_at("/id").to_owned();
        for (sku, quantity) in lines {
            shop::good(door, &Call::put(format!("/v1/carts/{id}/lines/{sku}"), json!({ "quantity": quantity }))).await;
        }
        Some(id)
    }

    async fn pay(&mut self, id: &str) {
        let call = Call::post(format!("/v1/orders/{id}/payment"), self.key(), shop::payment(self.any_token()));
        let answer = self.crowd.door.insist(&call).await;
        // 409: it has expired meanwhile, or is paid.
        if !matches!(answer.status, 200..=202 | 409) {
            self.blame::<()>(&call, &answer);
        }
    }

    /// Looks at the order until it is decided or waits for a payment; passes the bank's check on the way, mostly.
    async fn look_until_decided(&mut self, id: &str) -> Option<Value> {
        let mut acted = None;
        for look in 0..LOOKS_MAX {
            let order = look_at(self.crowd, id).await;
            if is_settled(&order) || status(&order) == "awaiting_payment" {
                return Some(order);
            }
            let action = order["payments"]
                .as_array()
                .and_then(|payments| payments.last()?.pointer("/next_action/url")?.as_str());
            if let Some(url) = action.filter(|url| acted.as_deref() != Some(*url)) {
                let outcome = if self.percent(80) { "ok" } else { "fail" };
                self.crowd.bank.act(url, outcome).await;
                acted = Some(url.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(u64::from(look) * 5)).await;
        }
        None
    }

    /// Cancels, ships, delivers, takes back, gives back.
    async fn after_the_sale(&mut self, order: &Value) {
        let id = order["id"].as_str().unwrap_or_default().to_owned();
        let of_order = |what: &str| format!("/v1/orders/{id}/{what}");
        match self.rng.random_range(0..100) {
            0..10 => {
                self.act(of_order("cancel"), json!({ "reason": "customer" })).await;
            }
            10..18 => {
                let lines = json!([{ "line": "1", "quantity": 1 }]);
                self.act(of_order("cancel"), json!({ "lines": lines, "reason": "stock" })).await;
            }
            18..24 => {
                let amount = json!({ "amount": 100, "currency": "GBP" });
                self.act(of_order("refunds"), json!({ "amount": amount, "reason": "late" })).await;
            }
            24..50 => {
                let Some(shipment) = self.act(of_order("shipments"), json!({})).await else { return };
                if self.percent(70) {
                    self.act(format!("/v1/shipments/{}/deliver", shipment.text_at("/id")), json!({})).await;
                    if self.percent(50) {
                        self.send_back(&of_order("returns")).await;
                    }
                }
            }
            _ => {}
        }
        look_at(self.crowd, &id).await;
    }

    async fn send_back(&mut self, path: &str) {
        let lines = json!([{ "line": "1", "quantity": 1, "reason": "too_small" }]);
        let Some(sent) = self.act(path.to_owned(), json!({ "lines": lines })).await else { return };
        let id = sent.text_at("/id").to_owned();
        if self.percent(20) {
            self.act(format!("/v1/returns/{id}/reject"), json!({ "reason": "worn" })).await;
            return;
        }
        self.act(format!("/v1/returns/{id}/approve"), json!({})).await;
        let lines = json!([{ "line": "1", "quantity": 1, "condition": "as_new", "restock": true }]);
        self.act(format!("/v1/returns/{id}/receive"), json!({ "lines": lines })).await;
    }

    /// A POST that has its effect, or is lawfully too late.
    async fn act(&mut self, path: String, body: Value) -> Option<Answer> {
        let call = Call::post(path, self.key(), body);
        let answer = self.crowd.door.insist(&call).await;
        match answer.status {
            200..=202 => Some(answer),
            409 | 422 => None,
            _ => self.blame(&call, &answer),
        }
    }

    fn blame<T>(&self, call: &Call, answer: &Answer) -> Option<T> {
        self.crowd.oracle.blame(format!("{call} answered {answer}"));
        None
    }

    fn key(&mut self) -> String {
        self.step += 1;
        format!("{}-{}", self.name, self.step)
    }

    fn percent(&mut self, likely: u32) -> bool {
        self.rng.random_range(0..100) < likely
    }

    fn any_sku(&mut self) -> &'static str {
        self.crowd.skus[self.rng.random_range(0..self.crowd.skus.len())]
    }

    fn any_token(&mut self) -> &'static str {
        // `tok_random` says nothing: what befalls it is up to the provider's odds.
        match self.rng.random_range(0..100) {
            0..45 => "tok_random",
            45..65 => "tok_ok",
            65..70 => "tok_decline_soft",
            70..75 => "tok_decline_hard",
            75..80 => "tok_action",
            80..85 => "tok_slow",
            85..93 => "tok_timeout_charged",
            _ => "tok_timeout_not_charged",
        }
    }
}

/// Reads an order, which must be there, and compares it with everything that was said of it before.
pub async fn look_at(crowd: &Crowd, id: &str) -> Value {
    let before = crowd.oracle.known(id);
    let call = Call::get(format!("/v1/orders/{id}"));
    let answer = crowd.door.insist(&call).await;
    if answer.status == 200 {
        crowd.oracle.acknowledge(before.as_ref(), &answer.body);
    } else {
        let before = before.as_ref().map(|order| (status(order).to_owned(), order["version"].clone()));
        crowd.oracle.blame(format!("{id} was acknowledged as {before:?}, and now {call} answers {answer}"));
    }
    answer.body
}
