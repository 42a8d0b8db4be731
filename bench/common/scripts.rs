//! What the connections of a closed loop send: one order after the other, or whole journeys.

use crate::api::{Request, Target};
use crate::closed::{Script, Turn};
use crate::scan;
use crate::shopper::{Basket, Verdict, judge, order_body};
use std::sync::Arc;

/// `POST /v1/orders`, one line.
#[derive(Debug, Clone)]
pub struct Orders {
    target: Target,
    run: Arc<str>,
    skus: Arc<Vec<String>>,
    token: Option<&'static str>,
    body: Vec<u8>,
}

impl Orders {
    /// Orders of one unit over `skus`; with a token paid at once, and then waited for until confirmed.
    pub fn new(target: &Target, run: &str, skus: &Arc<Vec<String>>, token: Option<&'static str>) -> Self {
        Self { target: target.clone(), run: run.into(), skus: Arc::clone(skus), token, body: Vec::with_capacity(512) }
    }

    fn sku(&self, number: u64) -> &str {
        // Multiplying by an odd constant spreads successive numbers over all SKUs.
        let spread = crate::number::length(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33);
        self.skus.get(spread % self.skus.len().max(1)).map_or("", String::as_str)
    }
}

impl Script for Orders {
    fn request(&mut self, out: &mut Vec<u8>, number: u64) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        order_body(&mut body, Basket::One(self.sku(number)), number, self.token);
        let key = format!("{}-{number}", self.run);
        let wait_s = self.token.map(|_| 10);
        self.target.write(out, Request { method: "POST", path: "/v1/orders", key: Some(&key), wait_s, body: &body });
        self.body = body;
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Turn {
        let wanted = if self.token.is_some() { Verdict::Confirmed } else { Verdict::Held };
        // The bare server answers what the node once did, so the same check costs the same on both sides.
        if judge(status, body) == wanted { Turn::Done } else { Turn::Failed }
    }
}

/// `POST /v1/reservations`, one line.
#[derive(Debug, Clone)]
pub struct Reservations {
    orders: Orders,
}

impl Reservations {
    /// Reservations of one unit over `skus`.
    pub fn new(target: &Target, run: &str, skus: &Arc<Vec<String>>) -> Self {
        Self { orders: Orders::new(target, run, skus, None) }
    }
}

impl Script for Reservations {
    fn request(&mut self, out: &mut Vec<u8>, number: u64) {
        let mut body = std::mem::take(&mut self.orders.body);
        body.clear();
        reservation_body(&mut body, &self.orders.run, number, self.orders.sku(number));
        let path = "/v1/reservations";
        self.orders.target.write(out, Request { method: "POST", path, key: None, wait_s: None, body: &body });
        self.orders.body = body;
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Turn {
        if status == 201 && scan::text(body, "status") == Some("held") { Turn::Done } else { Turn::Failed }
    }
}

/// `POST /v1/reservations:batch`, one line an item.
#[derive(Debug, Clone)]
pub struct Batches {
    orders: Orders,
    items: u64,
}

impl Batches {
    /// Items in each request, all over `skus`.
    pub fn new(target: &Target, run: &str, skus: &Arc<Vec<String>>, items: u64) -> Self {
        Self { orders: Orders::new(target, run, skus, None), items }
    }
}

impl Script for Batches {
    fn request(&mut self, out: &mut Vec<u8>, number: u64) {
        let mut body = std::mem::take(&mut self.orders.body);
        body.clear();
        body.extend_from_slice(b"{\"items\":[");
        for item in 0..self.items {
            if item > 0 {
                body.push(b',');
            }
            let number = number * self.items + item;
            reservation_body(&mut body, &self.orders.run, number, self.orders.sku(number));
        }
        body.extend_from_slice(b"]}");
        let path = "/v1/reservations:batch";
        self.orders.target.write(out, Request { method: "POST", path, key: None, wait_s: None, body: &body });
        self.orders.body = body;
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Turn {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let made = text.matches("\"status\":201").count();
        if status == 200 && made == crate::number::length(self.items) { Turn::Done } else { Turn::Failed }
    }
}

fn reservation_body(out: &mut Vec<u8>, run: &str, number: u64, sku: &str) {
    let item = format!("{{\"reference\":\"{run}-{number}\",\"lines\":[{{\"sku\":\"{sku}\",\"quantity\":1}}]}}");
    out.extend_from_slice(item.as_bytes());
}

/// Looks at a product, makes a cart, puts a line in, checks out and pays: counted once it is confirmed.
#[derive(Debug, Clone)]
pub struct Journey {
    orders: Orders,
    product: Arc<str>,
    step: u8,
    buyer: u64,
    cart: String,
}

impl Journey {
    /// A shopper of `product`, which has the SKUs of `orders`.
    pub fn new(orders: Orders, product: &str) -> Self {
        Self { orders, product: product.into(), step: 0, buyer: 0, cart: String::new() }
    }
}

impl Script for Journey {
    fn request(&mut self, out: &mut Vec<u8>, number: u64) {
        let target = self.orders.target.clone();
        let key = format!("{}-{number}", self.orders.run);
        match self.step {
            0 => {
                self.buyer = number;
                let path = format!("/v1/products/{}", self.product);
                target.write(out, Request { method: "GET", path: &path, key: None, wait_s: None, body: b"" });
            }
            1 => {
                let body = br#"{"currency":"GBP"}"#;
                target.write(out, Request { method: "POST", path: "/v1/carts", key: Some(&key), wait_s: None, body });
            }
            2 => {
                let path = format!("/v1/carts/{}/lines/{}", self.cart, self.orders.sku(self.buyer));
                target.write(
                    out,
                    Request { method: "PUT", path: &path, key: None, wait_s: None, body: br#"{"quantity":1}"# },
                );
            }
            _ => {
                let mut body = Vec::with_capacity(512);
                order_body(&mut body, Basket::Cart(&self.cart), self.buyer, Some("tok_ok"));
                let request =
                    Request { method: "POST", path: "/v1/orders", key: Some(&key), wait_s: Some(10), body: &body };
                target.write(out, request);
            }
        }
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Turn {
        let step = std::mem::replace(&mut self.step, 0);
        match step {
            3 if judge(status, body) == Verdict::Confirmed => return Turn::Done,
            0..=2 if matches!(status, 200..=299) => {}
            _ => return Turn::Failed,
        }
        if step == 1 {
            scan::text(body, "id").unwrap_or_default().clone_into(&mut self.cart);
        }
        self.step = step + 1;
        Turn::Step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Orders {
        let target = Target::parse("http://127.0.0.1:1", "sk_1").unwrap();
        Orders::new(&target, "run", &Arc::new((0..10).map(|n| format!("S{n}")).collect()), None)
    }

    #[test]
    fn every_request_has_a_key_of_its_own_and_all_skus_are_wanted() {
        let mut orders = orders();
        let wanted: std::collections::BTreeSet<String> = (0..1_000).map(|n| orders.sku(n).to_owned()).collect();
        assert_eq!(wanted.len(), 10);
        let mut sent = |number| {
            let mut out = Vec::new();
            orders.request(&mut out, number);
            String::from_utf8(out).unwrap()
        };
        assert!(sent(1).contains("idempotency-key: run-1\r\n") && sent(2).contains("idempotency-key: run-2\r\n"));
    }

    #[test]
    fn a_batch_counts_only_if_every_item_was_made() {
        let orders = orders();
        let mut batches = Batches { orders, items: 2 };
        let mut out = Vec::new();
        batches.request(&mut out, 3);
        let sent = String::from_utf8(out).unwrap();
        assert!(sent.contains("\"run-6\"") && sent.contains("\"run-7\""), "{sent}");
        let both = br#"{"results":[{"index":0,"status":201,"body":{}},{"index":1,"status":201,"body":{}}]}"#;
        let one = br#"{"results":[{"index":0,"status":201,"body":{}},{"index":1,"status":409,"body":{}}]}"#;
        assert_eq!((batches.answer(200, both), batches.answer(200, one)), (Turn::Done, Turn::Failed));
    }

    #[test]
    fn a_journey_is_counted_once_at_its_end() {
        let mut journey = Journey::new(orders(), "p");
        let turns: Vec<Turn> =
            [(200, "{}"), (201, r#"{"id":"crt_1"}"#), (200, "{}"), (201, r#"{"status":"confirmed"}"#)]
                .map(|(status, body)| journey.answer(status, body.as_bytes()))
                .into();
        assert_eq!(turns, [Turn::Step, Turn::Step, Turn::Step, Turn::Done]);
        assert_eq!((journey.cart.as_str(), journey.step), ("crt_1", 0));
    }

    #[test]
    fn a_journey_that_fails_starts_over() {
        let mut journey = Journey::new(orders(), "p");
        assert_eq!(journey.answer(200, b"{}"), Turn::Step);
        assert_eq!((journey.answer(503, b"{}"), journey.step), (Turn::Failed, 0));
    }
}
