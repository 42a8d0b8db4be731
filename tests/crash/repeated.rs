//! Every POST sent one to five times, at once and again after restarts: the same answer, one effect.

use crate::node::{Door, Node, quick};
use crate::provider::Provider;
use crate::shop::{self, WAREHOUSE};
use doorbuster_test_kit::client::{Answer, Call};
use doorbuster_test_kit::until::{PATIENCE, until};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// One POST, what it answered first, and what of it never moves.
struct Sent {
    call: Call,
    first: Answer,
    fixed: &'static [&'static str],
    /// Another lawful body; none where the body says nothing.
    other: Option<Value>,
}

const LEVEL: &[&str] = &["/sku", "/warehouse"];
const CART: &[&str] = &["/id", "/currency", "/created_at"];
const ORDER: &[&str] =
    &["/id", "/number", "/placed_at", "/order_token", "/totals/total", "/lines/0/sku", "/lines/0/quantity"];
const PAYMENT: &[&str] =
    &["/id", "/order", "/attempt", "/amount", "/method", "/provider_reference", "/capture", "/created_at"];
const REFUND: &[&str] = &["/id", "/payment", "/amount", "/reason", "/created_at"];
const SHIPMENT: &[&str] = &["/id", "/order", "/lines", "/warehouse", "/shipped_at"];
const RETURN: &[&str] = &["/id", "/order", "/lines/0/line", "/lines/0/quantity", "/lines/0/reason", "/window_ends_at"];

/// Everything sent so far.
struct Seller {
    door: Door,
    sent: Vec<Sent>,
}

impl Seller {
    /// Sends it one to five times at once, and keeps the answer they all had.
    async fn post(
        &mut self,
        path: String,
        body: Value,
        other: Option<Value>,
        status: u16,
        fixed: &'static [&'static str],
    ) -> Answer {
        let times = self.sent.len() % 5 + 1;
        let call = Call::post(path, format!("key-{}", self.sent.len()), body);
        let answers = join_all((0..times).map(|_| self.door.insist(&call))).await;
        let first = answers[0].clone().expect(&call, status);
        for answer in &answers {
            assert_same(&call, fixed, &first, answer);
        }
        let new = answers.iter().filter(|answer| !answer.is_replayed()).count();
        assert_eq!(new, 1, "{call}, sent {times} times at once: {new} answers say that they are the first");
        self.sent.push(Sent { call, first: first.clone(), fixed, other });
        first
    }

    /// Sends everything again, each one to three times at once: nothing is new about it.
    async fn send_all_again(&self) {
        for (number, sent) in self.sent.iter().enumerate() {
            let answers = join_all((0..number % 3 + 1).map(|_| self.door.insist(&sent.call))).await;
            for answer in &answers {
                assert_same(&sent.call, sent.fixed, &sent.first, answer);
                assert!(answer.is_replayed(), "{} does not say that it was answered before: {answer}", sent.call);
            }
        }
    }

    /// Sends every key with another body: refused.
    async fn reuse_all_keys(&self) {
        for sent in self.sent.iter().filter(|sent| sent.other.is_some()) {
            let call = Call { body: sent.other.clone(), ..sent.call.clone() };
            let answer = self.door.insist(&call).await.expect(&call, 422);
            assert_eq!(answer.code(), "idempotency_key_reused", "{call}: {answer}");
        }
    }
}

#[track_caller]
fn assert_same(call: &Call, fixed: &[&str], first: &Answer, answer: &Answer) {
    assert_eq!(answer.status, first.status, "{call} answered {first}\nand then {answer}");
    for field in fixed {
        let of = |answer: &Answer| answer.body.pointer(field).cloned();
        assert!(of(first).is_some(), "{call}: no {field} in {first}");
        assert_eq!(of(answer), of(first), "{call}: {field} in {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_post_sent_up_to_five_times_and_again_after_restarts_has_one_effect() {
    let provider = Provider::started("instant", 1).await;
    let mut node = Node::started(provider.settings(quick().with("payments.timeout_ms", 10_000))).await;
    provider.calls_back(&node);
    shop::open(&node.door(), "nova-low", &[("A", 1), ("B", 50)]).await;
    let mut seller = Seller { door: node.door(), sent: Vec::new() };

    let (order, unpaid) = sell(&mut seller).await;
    let before = settled(&seller.door, &[&order, &unpaid]).await;
    assert_effects(&before, &provider).await;

    node.kill().await;
    node.start().await;
    seller.send_all_again().await;
    assert_eq!(
        settled(&seller.door, &[&order, &unpaid]).await,
        before,
        "sent again after SIGKILL, it had another effect"
    );

    node.stop().await;
    node.start().await;
    seller.reuse_all_keys().await;
    seller.send_all_again().await;
    assert_eq!(
        settled(&seller.door, &[&order, &unpaid]).await,
        before,
        "sent again after SIGTERM, it had another effect"
    );
    assert_effects(&before, &provider).await;
    node.stop().await;
    node.assert_no_panic();
}

/// A sale with everything that may happen to one; gives the order and another one that was cancelled.
async fn sell(seller: &mut Seller) -> (String, String) {
    let stock = |what: &str| format!("/v1/inventory/A/{what}");
    let receipt = |units: u32| json!({ "warehouse": WAREHOUSE, "units": units });
    seller.post(stock("receipts"), receipt(100), Some(receipt(7)), 201, LEVEL).await;
    let adjustment = |delta: i32| json!({ "warehouse": WAREHOUSE, "delta": delta, "reason": "damaged" });
    seller.post(stock("adjustments"), adjustment(-3), Some(adjustment(-4)), 201, LEVEL).await;
    let count = |counted: u32| json!({ "warehouse": WAREHOUSE, "counted": counted });
    seller.post(stock("counts"), count(90), Some(count(91)), 201, LEVEL).await;

    let other = Some(json!({ "currency": "EUR" }));
    let cart = seller.post("/v1/carts".to_owned(), json!({ "currency": "GBP" }), other, 201, CART).await;
    let cart = cart.text_at("/id").to_owned();
    let line = Call::put(format!("/v1/carts/{cart}/lines/B"), json!({ "quantity": 3 }));
    shop::good(&seller.door, &line).await;
    let other = Some(shop::order(&[("B", 9)]));
    let unpaid = seller.post("/v1/orders".to_owned(), shop::order_of_cart(&cart), other, 201, ORDER).await;
    let unpaid = unpaid.text_at("/id").to_owned();
    let body = |reason: &str| json!({ "reason": reason });
    seller.post(format!("/v1/orders/{unpaid}/cancel"), body("customer"), Some(body("fraud")), 200, ORDER).await;

    let lines = |units| shop::order(&[("A", units), ("B", 2)]);
    let order = seller.post("/v1/orders".to_owned(), lines(6), Some(lines(5)), 201, ORDER).await;
    let id = order.text_at("/id").to_owned();
    let of_order = |what: &str| format!("/v1/orders/{id}/{what}");
    let by_hand = |token: &str| json!({ "method": "card", "token": token, "capture": "manual" });
    seller.post(of_order("payment"), by_hand("tok_ok"), Some(by_hand("tok_slow")), 201, PAYMENT).await;
    until("the confirmation", PATIENCE, || async {
        let order = shop::read(&seller.door, &format!("/v1/orders/{id}")).await;
        if order["status"] == "confirmed" { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
    let money = |amount: u32| json!({ "amount": { "amount": amount, "currency": "GBP" } });
    seller.post(of_order("captures"), money(1_000), Some(money(999)), 201, PAYMENT).await;
    captured(seller, &id, 1_000).await;
    let units = |line: &str, quantity: u32| json!([{ "line": line, "quantity": quantity }]);
    let part = |quantity| json!({ "lines": units("1", quantity), "reason": "stock" });
    seller.post(of_order("cancel"), part(1), Some(part(2)), 200, ORDER).await;
    seller.post(of_order("captures"), json!({}), Some(money(1)), 201, PAYMENT).await;
    let total =
        shop::read(&seller.door, &format!("/v1/orders/{id}")).await["totals"]["due"]["amount"].as_u64().expect("due");
    captured(seller, &id, total).await;
    let refund = |amount: u32| json!({ "amount": { "amount": amount, "currency": "GBP" }, "reason": "late" });
    seller.post(of_order("refunds"), refund(100), Some(refund(101)), 201, REFUND).await;

    let ship = |line: &str, quantity| json!({ "lines": units(line, quantity), "carrier": "royal_mail" });
    let first = seller.post(of_order("shipments"), ship("1", 3), Some(ship("1", 1)), 201, SHIPMENT).await;
    let second = seller.post(of_order("shipments"), ship("2", 2), Some(ship("2", 1)), 201, SHIPMENT).await;
    let third = seller.post(of_order("shipments"), ship("1", 1), Some(ship("1", 2)), 201, SHIPMENT).await;
    for (shipment, what) in [(first, "deliver"), (second, "deliver"), (third, "lose")] {
        seller.post(format!("/v1/shipments/{}/{what}", shipment.text_at("/id")), json!({}), None, 200, SHIPMENT).await;
    }
    let back = |quantity: u32| json!({ "lines": [{ "line": "1", "quantity": quantity, "reason": "too_small" }] });
    let kept = seller.post(of_order("returns"), back(1), Some(back(2)), 201, RETURN).await;
    let refused = seller.post(of_order("returns"), back(1), Some(back(2)), 201, RETURN).await;
    let of_return = |one: &Answer, what: &str| format!("/v1/returns/{}/{what}", one.text_at("/id"));
    seller.post(of_return(&kept, "approve"), json!({}), None, 200, RETURN).await;
    let came =
        |restock: bool| json!({ "lines": [{ "line": "1", "quantity": 1, "condition": "as_new", "restock": restock }] });
    seller.post(of_return(&kept, "receive"), came(true), Some(came(false)), 200, RETURN).await;
    seller.post(of_return(&refused, "reject"), body("worn"), Some(body("late")), 200, RETURN).await;
    (id, unpaid)
}

/// A capture is answered once it is journaled; this waits for the provider's answer to it.
async fn captured(seller: &Seller, id: &str, amount: u64) {
    until("the capture", PATIENCE, || async {
        let order = shop::read(&seller.door, &format!("/v1/orders/{id}")).await;
        if order["totals"]["captured"]["amount"] == amount { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
}

/// The state of everything, once nothing moves any more.
async fn settled(door: &Door, orders: &[&str]) -> Value {
    until("rest", PATIENCE, || async {
        let sagas = door.operate(&Call::get("/admin/sagas")).await.map_err(|lost| lost.to_string())?;
        if sagas.body["data"].as_array().is_none_or(|open| !open.is_empty()) {
            return Err(sagas.to_string());
        }
        let (before, now) = (state(door, orders).await, state(door, orders).await);
        if before == now { Ok(now) } else { Err(now.to_string()) }
    })
    .await
}

async fn state(door: &Door, orders: &[&str]) -> Value {
    let mut all = json!({});
    for order in orders {
        all[*order] = shop::read(door, &format!("/v1/orders/{order}")).await;
    }
    for sku in ["A", "B"] {
        // Not its version: to forget what can no longer be asked for (rule R1) is an event, too.
        all[sku] = shop::read(door, &format!("/v1/inventory/{sku}")).await["levels"][0].clone();
        all[sku].as_object_mut().expect("a level").retain(|name, _| name != "version" && name != "updated_at");
    }
    all
}

/// What a seller who sent each request once would find.
async fn assert_effects(state: &Value, provider: &Provider) {
    let orders: Vec<Value> = state
        .as_object()
        .expect("a state")
        .iter()
        .filter(|(id, _)| id.starts_with("ord_"))
        .map(|(_, order)| order.clone())
        .collect();
    let order = orders.iter().find(|order| order["status"] != "cancelled").expect("the order that was sold");
    let counters = |line: usize| {
        ["quantity", "cancelled", "shipped", "delivered", "returned"]
            .map(|name| order["lines"][line][name].as_u64().expect(name))
    };
    // Lost units did ship.
    assert_eq!(counters(0), [6, 1, 4, 3, 1], "{order}");
    assert_eq!(counters(1), [2, 0, 2, 2, 0], "{order}");
    let many = |name: &str| order[name].as_array().map_or(0, Vec::len);
    assert_eq!((many("payments"), many("shipments"), many("returns")), (1, 3, 2), "{order}");
    let levels = ["A", "B"].map(|sku| state[sku]["on_hand"].as_u64().expect("on hand"));
    // 90 counted, 6 sold, 1 cancelled, 1 came back; 50, 2 sold, 3 promised and let go.
    assert_eq!(levels, [90 - 6 + 1 + 1, 50 - 2], "{state}");
    assert_eq!(provider.disagreements(&orders).await, Vec::<String>::new());
    let lines = provider.ledger().await;
    let authorizations = lines.iter().filter(|line| line.reference.operation.as_str() == "authorize").count();
    assert_eq!(authorizations, 1, "{lines:?}");
}
