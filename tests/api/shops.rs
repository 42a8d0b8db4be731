//! Situations of real shops: an address that is missing or mistyped, a shopper who says when money is taken, numbers of other systems.

use crate::server::{Server, order_of, paid_order_of};
use doorbuster_api::{ApiSettings, SocketLimits};
use serde_json::{Value, json};

fn without_address(sku: &str) -> Value {
    let mut order = order_of(sku, 1);
    order.as_object_mut().expect("an object").remove("ship_to");
    order
}

fn order_path(answer: &crate::client::Answer) -> String {
    format!("/v1/orders/{}", answer.body["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn goods_are_not_sold_without_an_address_and_a_first_address_brings_the_delivery_charge() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await;
    let refused = guest.post("/v1/orders", Some("a"), Some(&without_address("A"))).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/ship_to")), "{refused:?}");
    // The shop's own side takes orders over the counter.
    let seller = server.seller();
    let counter = seller.post("/v1/orders", Some("b"), Some(&without_address("A"))).await;
    assert_eq!((counter.status, &counter.body["totals"]["total"]["amount"]), (201, &json!(12999)), "{counter:?}");
    let address = json!({ "ship_to": order_of("A", 1)["ship_to"] });
    let sent = seller.patch(&order_path(&counter), &address).await;
    assert_eq!((sent.status, &sent.body["totals"]["total"]["amount"]), (200, &json!(12999 + 499)), "{sent:?}");
    let mut paid = without_address("A");
    paid["payment"] = json!({ "method": "card", "token": "tok_ok" });
    let paid = seller.with("Prefer", "wait=10").post("/v1/orders", Some("c"), Some(&paid)).await;
    assert_eq!(paid.body["status"], "confirmed", "{paid:?}");
    let late = server.seller().patch(&order_path(&paid), &address).await;
    assert_eq!(late.status, 409, "a paid order gets no delivery for nothing: {late:?}");
}

#[tokio::test]
async fn after_payment_an_address_and_an_email_are_put_right_while_the_price_stays() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await.with("Prefer", "wait=10");
    let paid = guest.post("/v1/orders", Some("a"), Some(&paid_order_of("A", 2, "tok_ok"))).await;
    let path = order_path(&paid);
    let mut ship_to = order_of("A", 1)["ship_to"].clone();
    ship_to["postal_code"] = json!("M1 2AB");
    let moved = guest.patch(&path, &json!({ "ship_to": ship_to })).await;
    assert_eq!((moved.status, &moved.body["totals"]["total"]), (200, &paid.body["totals"]["total"]), "{moved:?}");
    assert_eq!(moved.body["ship_to"]["postal_code"], "M1 2AB");
    let buyer = json!({ "buyer": { "email": "right@b.example", "name": "A. Buyer" } });
    let known = guest.patch(&path, &buyer).await;
    assert_eq!((known.status, &known.body["buyer"]["email"]), (200, &json!("right@b.example")), "{known:?}");
    ship_to["country"] = json!("DE");
    let abroad = guest.patch(&path, &json!({ "ship_to": ship_to })).await;
    assert_ne!(abroad.status, 200, "another country has another tax or price: {abroad:?}");
    let open = guest.post("/v1/orders", Some("b"), Some(&order_of("A", 2))).await;
    let cut = json!({ "lines": [{ "line": "1", "quantity": 1 }], "reason": "customer" });
    let cut = guest.post(&format!("{}/cancel", order_path(&open)), Some("c"), Some(&cut)).await;
    assert_eq!(cut.status, 200, "{cut:?}");
    ship_to["country"] = json!("GB");
    let moved = guest.patch(&order_path(&open), &json!({ "ship_to": ship_to })).await;
    assert_eq!((moved.status, &moved.body["totals"]["due"]), (200, &cut.body["totals"]["due"]), "{moved:?}");
}

#[tokio::test]
async fn when_money_is_taken_is_the_shops_to_say() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await;
    let mut order = paid_order_of("A", 1, "tok_ok");
    order["payment"]["capture"] = json!("manual");
    let refused = guest.post("/v1/orders", Some("a"), Some(&order)).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/payment/capture")));
    let open = guest.post("/v1/orders", Some("b"), Some(&order_of("A", 1))).await;
    let pay = json!({ "method": "card", "token": "tok_ok", "capture": "on_shipment" });
    let path = format!("{}/payment", order_path(&open));
    assert_eq!(guest.post(&path, Some("c"), Some(&pay)).await.status, 422);
    let pay = json!({ "method": "card", "token": "tok_ok", "capture": "on_confirmation" });
    assert!(guest.post(&path, Some("d"), Some(&pay)).await.status < 300, "the shop's own policy");
    let placed = server.seller().with("Prefer", "wait=10").post("/v1/orders", Some("e"), Some(&order)).await;
    assert_eq!(placed.body["payments"][0]["capture"], "manual", "{placed:?}");
}

#[tokio::test]
async fn a_number_of_another_system_is_no_card_number() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    // Its check digit is right, and it begins like a card.
    for (key, external_id) in [("a", "5657697068890"), ("b", "4242424242424242")] {
        let mut order = order_of("A", 1);
        order["external_id"] = json!(external_id);
        order["metadata"] = json!({ "channel_order": "5657697068890" });
        let placed = seller.post("/v1/orders", Some(key), Some(&order)).await;
        assert_eq!((placed.status, &placed.body["external_id"]), (201, &json!(external_id)), "{placed:?}");
    }
    let mut order = order_of("A", 1);
    order["note"] = json!("4242 4242 4242 4242");
    assert_eq!(seller.post("/v1/orders", Some("c"), Some(&order)).await.status, 422);
}

#[tokio::test]
async fn cash_and_transfers_are_not_taken_before_they_have_come() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await.with("Prefer", "wait=5");
    for method in ["manual", "bank_transfer"] {
        let mut order = order_of("A", 1);
        order["payment"] = json!({ "method": method });
        let placed = guest.post("/v1/orders", Some(method), Some(&order)).await;
        assert_eq!(placed.status, 201, "{placed:?}");
        let now = server.seller().get(&order_path(&placed)).await;
        assert_eq!(now.body["totals"]["captured"]["amount"], 0, "{now:?}");
        assert_ne!(now.body["status"], "confirmed", "{now:?}");
        let payment = now.body["payments"][0]["id"].as_str().expect("a payment").to_owned();
        let path = format!("/v1/payments/{payment}/mark_paid");
        let book = json!({ "reference": "cash book 17" });
        assert_eq!(guest.post(&path, Some("g"), Some(&book)).await.status, 403, "only the seller's side knows");
        let seller = server.seller().with("Prefer", "wait=5");
        let paid = seller.post(&path, Some(&format!("p-{method}")), Some(&book)).await;
        if method == "bank_transfer" {
            assert_eq!((paid.status, paid.code()), (409, "wrong_state"), "the provider will say: {paid:?}");
            assert_eq!(now.body["payments"][0]["next_action"]["type"], "transfer_to", "{now:?}");
            continue;
        }
        assert_eq!((paid.status, &paid.body["status"]), (200, &json!("captured")), "{paid:?}");
        let cancel = seller.post(&format!("{}/cancel", order_path(&placed)), Some("c"), None).await;
        assert_eq!((cancel.status, &cancel.body["totals"]["refunded"]["amount"]), (200, &json!(0)), "{cancel:?}");
        let path = format!("/v1/payments/{payment}/mark_refunded");
        let back = seller.post(&path, Some("b"), Some(&book)).await;
        assert_eq!((back.status, &back.body["refunded"]["amount"]), (200, &json!(13498)), "{back:?}");
        let again = seller.post(&path, Some("b"), Some(&book)).await;
        assert_eq!((again.status, &again.body["refunded"]["amount"]), (200, &json!(13498)), "{again:?}");
    }
}

/// Goods go before their money where the shop says so, or its seller for one order; then the seller may do without it.
#[tokio::test]
async fn goods_go_before_their_money_where_the_shop_says_so() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let mut order = order_of("A", 1);
    order["payment"] = json!({ "method": "manual", "goods_first": true });
    let refused = server.guest().await.post("/v1/orders", Some("a"), Some(&order)).await;
    assert_eq!((refused.status, refused.error_pointer()), (422, "/payment/goods_first"), "{refused:?}");
    let seller = server.seller().with("Prefer", "wait=5");
    let placed = seller.post("/v1/orders", Some("b"), Some(&order)).await;
    assert_eq!((placed.status, &placed.body["status"]), (201, &json!("confirmed")), "{placed:?}");
    assert_eq!(placed.body["payment_status"], "processing");
    let sent = seller.post(&format!("{}/shipments", order_path(&placed)), Some("s"), None).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    let path = format!("/v1/payments/{}/void", placed.body["payments"][0]["id"].as_str().expect("a payment"));
    let read = seller.get(&order_path(&placed)).await;
    assert!(read.body["allowed"].as_array().expect("a list").contains(&json!("void")), "{read:?}");
    let waived = seller.post(&path, Some("v"), None).await;
    assert_eq!((waived.status, &waived.body["status"]), (200, &json!("failed")), "{waived:?}");
    assert_eq!(seller.post(&path, Some("v"), None).await.body, waived.body, "the same request again");
    let read = seller.get(&order_path(&placed)).await;
    assert_eq!((&read.body["totals"]["due"]["amount"], &read.body["payment_status"]), (&json!(0), &json!("voided")));
    order["payment"]["method"] = json!("card");
    let card = seller.post("/v1/orders", Some("c"), Some(&order)).await;
    assert_eq!((card.status, card.error_pointer()), (422, "/payment/goods_first"), "{card:?}");
    // By the shop's setting, for every caller.
    let mut settings = ApiSettings::default();
    settings.shop.goods_first = true;
    let server = Server::with(SocketLimits::default(), settings).await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await.with("Prefer", "wait=5");
    order["payment"] = json!({ "method": "manual" });
    let placed = guest.post("/v1/orders", Some("d"), Some(&order)).await;
    assert_eq!((placed.status, &placed.body["status"]), (201, &json!("confirmed")), "{placed:?}");
}

/// A return's line names the refund that came before it, and the seller says what goes back.
#[tokio::test]
async fn a_return_names_the_refund_that_came_before_it() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller().with("Prefer", "wait=10");
    let placed = seller.post("/v1/orders", Some("a"), Some(&paid_order_of("A", 3, "tok_ok"))).await;
    let path = order_path(&placed);
    assert_eq!(seller.post(&format!("{path}/shipments"), Some("s"), None).await.status, 201);
    let ahead = json!({ "amount": { "amount": 5_000, "currency": "GBP" }, "reason": "scratched" });
    let refund = seller.post(&format!("{path}/refunds"), Some("r"), Some(&ahead)).await;
    let back = |refund: &Value| json!({ "lines": [{ "line": "1", "quantity": 1, "refund": refund }] });
    let foreign = back(&json!("rfd_00000000000000000000000000"));
    let foreign = seller.post(&format!("{path}/returns"), Some("x"), Some(&foreign)).await;
    assert_eq!((foreign.status, foreign.error_pointer()), (422, "/lines/0/refund"), "{foreign:?}");
    let receive = async |key: &str, refund: &Value, amount: Option<i64>| {
        let made = seller.post(&format!("{path}/returns"), Some(key), Some(&back(refund))).await;
        assert_eq!((made.status, &made.body["lines"][0]["refund"]), (201, refund), "{made:?}");
        let it = format!("/v1/returns/{}", made.body["id"].as_str().expect("an id"));
        seller.post(&format!("{it}/approve"), Some("p"), None).await;
        let mut got = json!({ "lines": [{ "line": "1", "quantity": 1, "condition": "used", "restock": false }] });
        if let Some(amount) = amount {
            got["lines"][0]["amount"] = json!({ "amount": amount, "currency": "GBP" });
        }
        seller.post(&format!("{it}/receive"), Some("g"), Some(&got)).await
    };
    let named = receive("b", &refund.body["id"], None).await;
    assert_eq!((named.status, &named.body["refund"]["amount"]["amount"]), (200, &json!(12_999 - 5_000)), "{named:?}");
    let less = receive("c", &Value::Null, Some(10_000)).await;
    assert_eq!((less.status, &less.body["refund"]["amount"]["amount"]), (200, &json!(10_000)), "{less:?}");
    assert_eq!(less.body["refund"]["fee"]["amount"], 2_999);
    let more = receive("d", &Value::Null, Some(14_000)).await;
    assert_eq!((more.status, more.code()), (422, "refund_too_large"), "{more:?}");
}

#[tokio::test]
async fn a_mistyped_tracking_number_is_put_right() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller().with("Prefer", "wait=10");
    let placed = seller.post("/v1/orders", Some("a"), Some(&paid_order_of("A", 1, "tok_ok"))).await;
    let wrong = json!({ "carrier": "post", "tracking_number": "WRONG", "tracking_url": "https://post.example/WRONG" });
    let sent = seller.post(&format!("{}/shipments", order_path(&placed)), Some("s"), Some(&wrong)).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    let path = format!("/v1/shipments/{}", sent.body["id"].as_str().expect("an id"));
    let right = json!({ "tracking_number": "RIGHT", "tracking_url": null });
    let put = seller.patch(&path, &right).await;
    let shown = |name: &str| put.body[name].clone();
    assert_eq!((put.status, shown("tracking_number"), shown("carrier")), (200, json!("RIGHT"), json!("post")));
    assert_eq!(shown("tracking_url"), Value::Null);
    assert_eq!(seller.get(&path).await.body, put.body);
    let stale = server.seller().with("If-Match", "\"1\"").patch(&path, &wrong).await;
    assert_eq!(stale.status, 412, "{stale:?}");
    assert_eq!(server.guest().await.patch(&path, &right).await.status, 403);
    let events = seller.get(&format!("{}/events", order_path(&placed))).await;
    assert!(events.text.contains("shipment.tracking_corrected") && !events.text.contains("RIGHT"), "{events:?}");
}

/// What a request asks for is honoured or refused, never ignored.
#[tokio::test]
async fn nothing_that_is_asked_for_is_ignored() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let placed = seller.post("/v1/orders", Some("a"), Some(&order_of("A", 1))).await;
    let path = order_path(&placed);
    let unknown = seller.get(&format!("{path}?expand=lines")).await;
    assert_eq!((unknown.status, unknown.error_pointer()), (422, "/expand"), "{unknown:?}");
    for (name, value) in [("On-Behalf-Of", "cus_1"), ("Doorbuster-After", "1-2")] {
        let refused = server.seller().with(name, value).get(&path).await;
        assert_eq!((refused.status, refused.code()), (400, "malformed_request"), "{name}: {refused:?}");
    }
    let note = json!({ "note": "ring twice" });
    assert_eq!(server.seller().with("If-Match", "").patch(&path, &note).await.status, 400);
    assert_eq!(server.seller().with("If-None-Match", "*").patch(&path, &note).await.status, 400);
    let read = seller.get(&path).await;
    let etag = read.header("etag").expect("a version").to_owned();
    assert_eq!(read.header("cache-control"), Some("no-store"), "it has personal data");
    let known = server.seller().with("If-None-Match", &etag).get(&path).await;
    assert_eq!((known.status, known.text.as_str(), known.header("etag")), (304, "", Some(etag.as_str())));
    assert_eq!(seller.patch(&path, &note).await.status, 200);
    let changed = server.seller().with("If-None-Match", &etag).get(&path).await;
    assert_eq!((changed.status, &changed.body["note"]), (200, &json!("ring twice")));
    // A cart shows stock and today's prices, which change without its version.
    let guest = server.guest().await;
    let cart = guest.post("/v1/carts", Some("c"), Some(&json!({}))).await;
    let cart_path = format!("/v1/carts/{}", cart.body["id"].as_str().expect("an id"));
    let etag = cart.header("etag").expect("a version").to_owned();
    assert_eq!(guest.with("If-None-Match", &etag).get(&cart_path).await.status, 200);
}
