//! What the contract promises of each resource, along the way of a purchase.

use crate::server::{Server, order_of, paid_order_of};
use serde_json::json;

#[tokio::test]
async fn a_shopper_buys_in_one_request() {
    let server = Server::start().await;
    server.with_stock("NOVA-LOW-42", 10).await;
    let guest = server.guest().await.with("Prefer", "wait=10");
    let answer = guest.post("/v1/orders", Some("k"), Some(&paid_order_of("NOVA-LOW-42", 2, "tok_ok"))).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (201, Some("wait=10")), "{answer:?}");
    assert!(answer.header("etag").is_some() && answer.header("doorbuster-seq").is_some());
    let order = &answer.body;
    assert_eq!(order["status"], "confirmed", "{order}");
    assert_eq!(order["totals"]["subtotal"], json!({ "amount": 25998, "currency": "GBP" }));
    assert_eq!(order["totals"]["shipping"]["amount"], 499);
    assert_eq!(order["totals"]["total"]["amount"], 26497);
    assert_eq!(order["lines"][0]["taxes"][0]["rate_ppm"], 200_000);
    assert_eq!(order["lines"][0]["allocations"], json!([{ "warehouse": "lon1", "quantity": 2 }]));
    assert_eq!(order["buyer"]["email"], "a@b.example");
    assert_eq!(order["payments"][0]["provider"], "simulated");
    assert!(order["order_token"].as_str().is_some_and(|token| token.starts_with("ot_")));
    for field in ["bill_to", "external_id", "note", "last_error"] {
        assert!(order.as_object().expect("an object").contains_key(field) && order[field].is_null(), "{field}");
    }
    for field in ["invoice_number", "holds", "customer", "notices", "drop", "imported"] {
        assert!(order.get(field).is_none(), "{field} is not built yet, so it is absent");
    }
    let id = order["id"].as_str().expect("an id");
    let events = guest.get(&format!("/v1/orders/{id}/events")).await;
    let kinds: Vec<&str> =
        events.body.as_array().expect("a list").iter().filter_map(|event| event["type"].as_str()).collect();
    for kind in ["order.placed", "stock.reserved", "payment.authorized", "order.confirmed"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert!(
        !events.text.contains("a@b.example") && !events.text.contains("High St"),
        "the journal has no personal data"
    );
    let numbers: Vec<u64> =
        events.body.as_array().expect("a list").iter().filter_map(|event| event["number"].as_u64()).collect();
    assert!((1..).zip(&numbers).all(|(expected, number)| expected == *number), "{numbers:?}");
}

#[tokio::test]
async fn a_decline_is_an_order_that_says_why() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller().with("Prefer", "wait=10");
    let answer = seller.post("/v1/orders", Some("k"), Some(&paid_order_of("A", 1, "tok_decline_soft"))).await;
    assert_eq!((answer.status, answer.body["status"].as_str()), (201, Some("awaiting_payment")), "{answer:?}");
    assert!(answer.body["last_error"]["code"].is_string());
    let path = format!("/v1/orders/{}", answer.body["id"].as_str().expect("an id"));
    let paid =
        seller.post(&format!("{path}/payment"), Some("p"), Some(&json!({ "method": "card", "token": "tok_ok" }))).await;
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(paid.body["attempt"], 2);
    assert_eq!(
        paid.header("location"),
        Some(format!("/v1/payments/{}", paid.body["id"].as_str().expect("an id")).as_str())
    );
}

#[tokio::test]
async fn a_cart_shows_todays_price_and_becomes_an_order_once() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await;
    let cart = guest.post("/v1/carts", Some("c"), Some(&json!({ "currency": "GBP" }))).await;
    let path = cart.header("location").expect("a place").to_owned();
    let line = format!("{path}/lines/A");
    let set = guest.put(&line, &json!({ "quantity": 2 })).await;
    assert_eq!((set.status, set.body["subtotal"]["amount"].as_i64()), (200, Some(25998)), "{set:?}");
    assert_eq!(set.body["lines"][0]["availability"], json!({ "state": "low_stock", "units_left": 10 }));
    let dearer =
        json!({ "title": "Nova Low", "skus": [{ "sku": "A", "prices": [{ "amount": 13999, "currency": "GBP" }] }] });
    assert_eq!(server.seller().put("/v1/products/p-A", &dearer).await.status, 200);
    let shown = guest.get(&path).await;
    assert_eq!(shown.body["lines"][0]["unit_price"]["amount"], 13999, "{shown:?}");
    assert_eq!(shown.body["lines"][0]["price_when_added"]["amount"], 12999);
    assert_eq!(shown.body["notices"][0]["code"], "price_changed");

    let stale = guest.clone().with("If-Match", "\"1\"").put(&line, &json!({ "quantity": 3 })).await;
    assert_eq!((stale.status, stale.code()), (412, "stale_version"));
    let etag = shown.header("etag").expect("a version").to_owned();
    let fresh = guest.clone().with("If-Match", &etag).put(&line, &json!({ "quantity": 3 })).await;
    assert_eq!(fresh.status, 200);

    let ship_to = &order_of("NOVA-LOW-42", 1)["ship_to"];
    let body = json!({ "cart_id": cart.body["id"], "buyer": { "email": "a@b.example" }, "ship_to": ship_to });
    let gone = guest.delete(&line).await;
    assert_eq!((gone.status, gone.body["lines"].as_array().map(Vec::len)), (200, Some(0)), "{gone:?}");
    let empty = guest.post("/v1/orders", Some("empty"), Some(&body)).await;
    assert_eq!((empty.status, empty.error_pointer()), (422, "/cart_id"), "{empty:?}");
    assert_eq!(guest.put(&line, &json!({ "quantity": 3 })).await.status, 200);
    let order = guest.post("/v1/orders", Some("o"), Some(&body)).await;
    assert_eq!((order.status, order.body["lines"][0]["quantity"].as_u64()), (201, Some(3)), "{order:?}");
    let frozen = guest.put(&line, &json!({ "quantity": 1 })).await;
    assert_eq!((frozen.status, frozen.code()), (409, "cart_frozen"));
    let second = guest.post("/v1/orders", Some("o2"), Some(&body)).await;
    assert_eq!((second.status, second.code()), (409, "cart_frozen"), "{second:?}");
}

#[tokio::test]
async fn another_price_than_expected_is_a_409_that_shows_the_new_one() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let mut body = order_of("A", 1);
    body["lines"][0]["expected_unit_price"] = json!({ "amount": 1, "currency": "GBP" });
    let answer = server.seller().post("/v1/orders", Some("k"), Some(&body)).await;
    assert_eq!((answer.status, answer.code()), (409, "price_changed"), "{answer:?}");
    assert_eq!(answer.body["lines"][0]["now"], json!({ "amount": 12999, "currency": "GBP" }));
    let mut total = order_of("A", 1);
    total["expected_total"] = json!({ "amount": 5, "currency": "GBP" });
    let answer = server.seller().post("/v1/orders", Some("t"), Some(&total)).await;
    assert_eq!(
        (answer.status, answer.code(), answer.body["now"]["amount"].as_i64()),
        (409, "total_changed", Some(13498)),
        "{answer:?}"
    );
    let level = server.seller().get("/v1/inventory/A").await;
    assert_eq!(level.body["levels"][0]["reserved"], 0, "a 4xx holds nothing");
}

#[tokio::test]
async fn a_seller_ships_refunds_and_takes_back() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller().with("Prefer", "wait=10");
    let order = seller.post("/v1/orders", Some("o"), Some(&paid_order_of("A", 2, "tok_ok"))).await;
    let path = format!("/v1/orders/{}", order.body["id"].as_str().expect("an id"));
    let early = seller
        .post(&format!("{path}/returns"), Some("e"), Some(&json!({ "lines": [{ "line": "1", "quantity": 1 }] })))
        .await;
    assert!(early.status == 409 || early.status == 422, "nothing has shipped: {early:?}");
    let shipped = seller
        .post(
            &format!("{path}/shipments"),
            Some("s"),
            Some(&json!({ "carrier": "royal_mail", "tracking_number": "T1" })),
        )
        .await;
    assert_eq!((shipped.status, shipped.body["warehouse"].as_str()), (201, Some("lon1")), "{shipped:?}");
    let shipment = shipped.header("location").expect("a place").to_owned();
    assert_eq!(seller.get(&shipment).await.body["status"], "shipped");
    let level = seller.get("/v1/inventory/A").await;
    assert_eq!(
        (&level.body["levels"][0]["on_hand"], &level.body["levels"][0]["to_ship"]),
        (&json!(8), &json!(0)),
        "{level:?}"
    );
    assert_eq!(seller.post(&format!("{shipment}/deliver"), Some("d"), None).await.body["status"], "delivered");
    let much = json!({ "amount": { "amount": 9_999_999, "currency": "GBP" }, "reason": "x" });
    let much = seller.post(&format!("{path}/refunds"), Some("m"), Some(&much)).await;
    assert_eq!((much.status, much.code()), (422, "refund_too_large"), "{much:?}");
    assert_eq!(much.body["refundable"]["amount"], 26497);
    let back = seller
        .post(
            &format!("{path}/returns"),
            Some("t"),
            Some(&json!({ "lines": [{ "line": "1", "quantity": 1, "reason": "too_small" }] })),
        )
        .await;
    assert_eq!((back.status, back.body["status"].as_str()), (201, Some("requested")), "{back:?}");
    let back = back.header("location").expect("a place").to_owned();
    assert_eq!(seller.post(&format!("{back}/approve"), Some("a"), None).await.body["status"], "approved");
    let lines = json!({ "lines": [{ "line": "1", "quantity": 1, "condition": "as_new", "restock": true }] });
    let received = seller.post(&format!("{back}/receive"), Some("r"), Some(&lines)).await;
    assert_eq!(
        (received.status, received.body["refund"]["amount"]["amount"].as_i64()),
        (200, Some(12999)),
        "{received:?}"
    );
    let unknown = seller
        .post(&format!("{path}/shipments"), Some("u"), Some(&json!({ "lines": [{ "line": "9", "quantity": 1 }] })))
        .await;
    assert_eq!((unknown.status, unknown.code()), (409, "wrong_state"), "all has shipped: {unknown:?}");
    assert!(
        unknown.body["allowed"].as_array().is_some_and(|allowed| allowed.contains(&json!("refund"))),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn an_order_may_be_edited_while_it_waits_and_only_at_the_version_that_was_seen() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await;
    let order = guest.post("/v1/orders", Some("o"), Some(&order_of("A", 1))).await;
    let path = order.header("location").expect("a place").to_owned();
    let etag = order.header("etag").expect("a version").to_owned();
    let edited = guest.clone().with("If-Match", &etag).patch(&path, &json!({ "note": "ring twice" })).await;
    assert_eq!((edited.status, edited.body["note"].as_str()), (200, Some("ring twice")), "{edited:?}");
    let late = guest.clone().with("If-Match", &etag).patch(&path, &json!({ "note": "ring once" })).await;
    assert_eq!((late.status, late.code()), (412, "stale_version"), "{late:?}");
    assert_eq!(late.body["current_version"].to_string(), edited.header("etag").expect("a version").trim_matches('"'));
    let nowhere = guest.patch(&path, &json!({ "shipping_option": "rocket" })).await;
    assert_eq!((nowhere.status, nowhere.error_pointer()), (422, "/shipping_option"));
    let cancelled = guest.post(&format!("{path}/cancel"), Some("x"), Some(&json!({ "reason": "customer" }))).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let paid =
        guest.post(&format!("{path}/payment"), Some("p"), Some(&json!({ "method": "card", "token": "tok_ok" }))).await;
    assert_eq!((paid.status, paid.code()), (409, "wrong_state"), "{paid:?}");
}

#[tokio::test]
async fn stock_that_is_promised_cannot_be_taken_away() {
    let server = Server::start().await;
    server.with_stock("A", 5).await;
    let seller = server.seller();
    assert_eq!(seller.post("/v1/orders", Some("o"), Some(&order_of("A", 3))).await.status, 201);
    let less = json!({ "warehouse": "lon1", "delta": -4, "reason": "lost" });
    let refused = seller.post("/v1/inventory/A/adjustments", Some("a"), Some(&less)).await;
    assert_eq!((refused.status, refused.code()), (409, "promised"), "{refused:?}");
    assert!(refused.body["reservations"][0].as_str().is_some_and(|order| order.starts_with("ord_")));
    let stale = json!({ "warehouse": "lon1", "counted": 5, "expected_in_building": 4 });
    let stale = seller.post("/v1/inventory/A/counts", Some("n"), Some(&stale)).await;
    assert_eq!((stale.status, stale.body["in_building"].as_u64()), (412, Some(5)), "{stale:?}");
    let seen = server.anyone().get("/v1/skus/A/availability").await;
    assert_eq!(
        (seen.body["state"].as_str(), seen.body["units_left"].as_u64()),
        (Some("low_stock"), Some(2)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_product_is_set_whole_and_read_by_every_caller_once_it_is_no_draft() {
    let server = Server::start().await;
    let seller = server.seller();
    let product = json!({
        "title": "Nova Low", "description": "Low.", "category": ["shoes"], "brand": "Nova", "status": "draft",
        "option_names": ["size"], "attributes": { "material": "suede" },
        "skus": [{ "sku": "N-42", "options": { "size": "42" }, "prices": [{ "amount": 12999, "currency": "GBP", "was": 14999 }], "max_per_order": 2 }]
    });
    let put = seller.put("/v1/products/nova%20low", &product).await;
    assert_eq!((put.status, put.body["id"].as_str()), (201, Some("nova low")), "{put:?}");
    assert_eq!(server.anyone().get("/v1/products/nova%20low").await.status, 404);
    let mut active = product.clone();
    active["status"] = json!("active");
    assert_eq!(seller.put("/v1/products/nova%20low", &active).await.status, 200);
    let seen = server.anyone().get("/v1/products/nova%20low").await;
    assert_eq!((seen.status, seen.body["skus"][0]["prices"][0]["was"].as_i64()), (200, Some(14999)), "{seen:?}");
    let stale = seller.clone().with("If-Match", "\"1\"").put("/v1/products/nova%20low", &product).await;
    assert_eq!((stale.status, stale.body["current_version"].as_u64()), (412, Some(2)), "{stale:?}");
    let taken = json!({ "title": "Copy", "skus": [{ "sku": "N-42" }] });
    let taken = seller.put("/v1/products/copy", &taken).await;
    assert_eq!((taken.status, taken.body["errors"][0]["code"].as_str()), (422, Some("taken")), "{taken:?}");
    assert_eq!(seller.put("/v1/warehouses/lon1", &json!({ "name": "London", "country": "GB" })).await.status, 201);
    let receipt = json!({ "warehouse": "lon1", "units": 9 });
    assert_eq!(seller.post("/v1/inventory/N-42/receipts", Some("r"), Some(&receipt)).await.status, 201);
    let many = seller.post("/v1/orders", Some("o"), Some(&order_of("N-42", 3))).await;
    assert_eq!((many.status, many.code(), many.body["limit"].as_u64()), (422, "limit_exceeded", Some(2)), "{many:?}");
}
