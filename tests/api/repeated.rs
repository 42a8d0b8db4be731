//! The same request again is the same request: same answer, one effect; also when it comes five times at once.

use crate::client::{Answer, Client};
use crate::server::{Server, order_of, paid_order_of};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Sends a POST five times at once and once more; all answers are one.
async fn repeat(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    let sent = (0..5).map(|_| client.post(path, Some(key), Some(body)));
    let answers = join_all(sent).await;
    let again = client.post(path, Some(key), Some(body)).await;
    let first = answers.first().expect("five").clone();
    for answer in &answers {
        assert_eq!((answer.status, &answer.body["id"]), (first.status, &first.body["id"]), "{path}: {answer:?}");
    }
    assert_eq!(answers.iter().filter(|answer| !answer.is_replayed()).count(), 1, "{path}: {answers:?}");
    assert!(again.is_replayed() && again.status == first.status, "{path}: {again:?}");
    first
}

#[tokio::test]
async fn every_post_sent_five_times_has_one_effect() {
    let server = Server::start().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let receipt = json!({ "warehouse": "lon1", "units": 7 });
    repeat(&seller, "/v1/inventory/A/receipts", "r", &receipt).await;
    repeat(
        &seller,
        "/v1/inventory/A/adjustments",
        "a",
        &json!({ "warehouse": "lon1", "delta": -2, "reason": "damaged" }),
    )
    .await;
    let counted = repeat(&seller, "/v1/inventory/A/counts", "n", &json!({ "warehouse": "lon1", "counted": 105 })).await;
    assert_eq!(counted.body["on_hand"], 105);
    repeat(&seller, "/v1/carts", "c", &json!({})).await;

    let order = repeat(&seller, "/v1/orders", "o", &order_of("A", 3)).await;
    assert_eq!(order.status, 201);
    let path = format!("/v1/orders/{}", order.body["id"].as_str().expect("an id"));
    assert_eq!(seller.get("/v1/inventory/A").await.body["levels"][0]["reserved"], 3, "five requests reserve once");
    let payment =
        repeat(&seller, &format!("{path}/payment"), "p", &json!({ "method": "card", "token": "tok_ok" })).await;
    assert_eq!(payment.status, 201, "{payment:?}");
    wait_for(&seller, &path, "confirmed").await;
    repeat(&seller, &format!("{path}/cancel"), "x", &json!({ "lines": [{ "line": "1", "quantity": 1 }] })).await;
    let shipment = repeat(&seller, &format!("{path}/shipments"), "s", &json!({})).await;
    assert_eq!(shipment.body["lines"][0]["quantity"], 2);
    let shipment = format!("/v1/shipments/{}", shipment.body["id"].as_str().expect("an id"));
    repeat(&seller, &format!("{shipment}/deliver"), "d", &json!({})).await;
    let back = json!({ "lines": [{ "line": "1", "quantity": 1, "reason": "too_small" }] });
    let back = repeat(&seller, &format!("{path}/returns"), "t", &back).await;
    let back = format!("/v1/returns/{}", back.body["id"].as_str().expect("an id"));
    repeat(&seller, &format!("{back}/approve"), "ta", &json!({})).await;
    let received = json!({ "lines": [{ "line": "1", "quantity": 1, "condition": "as_new", "restock": true }] });
    repeat(&seller, &format!("{back}/receive"), "tr", &received).await;
    let goodwill = json!({ "amount": { "amount": 100, "currency": "GBP" }, "reason": "sorry" });
    repeat(&seller, &format!("{path}/refunds"), "g", &goodwill).await;
    let order = seller.get(&path).await;
    assert_eq!(order.body["payments"].as_array().map(Vec::len), Some(1), "{order:?}");
    assert_eq!(order.body["shipments"].as_array().map(Vec::len), Some(1));
    assert_eq!(order.body["lines"][0]["cancelled"], 1);
    assert_eq!(order.body["lines"][0]["returned"], 1);
}

async fn wait_for(client: &Client, path: &str, status: &str) {
    for _ in 0..400 {
        if client.get(path).await.body["status"] == status {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never {status}: {:?}", client.get(path).await);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let server = Server::start().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    assert_eq!(seller.post("/v1/orders", Some("o"), Some(&order_of("A", 1))).await.status, 201);
    for other in [order_of("A", 2), paid_order_of("A", 1, "tok_ok")] {
        let answer = seller.post("/v1/orders", Some("o"), Some(&other)).await;
        assert_eq!((answer.status, answer.code()), (422, "idempotency_key_reused"), "{answer:?}");
    }
    let mut another_buyer = order_of("A", 1);
    another_buyer["buyer"]["name"] = json!("B. Buyer");
    let answer = seller.post("/v1/orders", Some("o"), Some(&another_buyer)).await;
    assert_eq!((answer.status, answer.code()), (422, "idempotency_key_reused"), "personal fields are compared too");
    let same_words = r#"{ "ship_to": {"country":"GB","city":"Leeds","line1":"1 High St","name":"A. Buyer","postal_code":"LS1 1AA"}, "note": null,
        "buyer": {"name":"A. Buyer","email":"a@b.example"}, "lines": [ {"quantity": 1, "sku": "A"} ] }"#;
    let answer = seller.send("POST", "/v1/orders", Some("o"), Some(same_words)).await;
    assert_eq!((answer.status, answer.is_replayed()), (201, true), "the same facts in another order are the same body");
    let receipt = json!({ "warehouse": "lon1", "units": 1 });
    assert_eq!(
        seller.post("/v1/inventory/A/receipts", Some("r-A"), Some(&receipt)).await.code(),
        "idempotency_key_reused"
    );
}

#[tokio::test]
async fn a_key_belongs_to_its_principal_and_path() {
    let server = Server::start().await;
    server.with_stock("A", 100).await;
    let one = server.guest().await.post("/v1/orders", Some("k"), Some(&order_of("A", 1))).await;
    let other = server.guest().await.post("/v1/orders", Some("k"), Some(&order_of("A", 2))).await;
    assert_eq!((one.status, other.status), (201, 201));
    assert_ne!(one.body["id"], other.body["id"]);
}

#[tokio::test]
async fn sold_out_by_the_read_model_binds_no_key() {
    let server = Server::start().await;
    server.with_stock("A", 1).await;
    let guest = server.guest().await;
    assert_eq!(guest.post("/v1/orders", Some("first"), Some(&order_of("A", 1))).await.status, 201);
    let refused = guest.post("/v1/orders", Some("second"), Some(&order_of("A", 1))).await;
    assert_eq!((refused.status, refused.code()), (409, "sold_out"), "{refused:?}");
    assert_eq!(refused.body["lines"][0]["state"], "all_reserved");
    let receipt = json!({ "warehouse": "lon1", "units": 5 });
    assert_eq!(server.seller().post("/v1/inventory/A/receipts", Some("more"), Some(&receipt)).await.status, 201);
    let again = guest.post("/v1/orders", Some("second"), Some(&order_of("A", 1))).await;
    assert_eq!(again.status, 201, "{again:?}");
    let first = guest.post("/v1/orders", Some("first"), Some(&order_of("A", 1))).await;
    assert!(first.is_replayed(), "a caller that holds units never gets sold out: {first:?}");
}

#[tokio::test]
async fn a_number_written_with_a_point_is_the_same_number_and_the_same_request() {
    let server = Server::start().await;
    server.with_stock("A", 5).await;
    let seller = server.seller();
    let with_a_point = r#"{ "warehouse": "lon1", "units": 2.0 }"#;
    let first = seller.send("POST", "/v1/inventory/A/receipts", Some("k"), Some(with_a_point)).await;
    assert_eq!((first.status, &first.body["on_hand"]), (201, &json!(7)), "{first:?}");
    let without = json!({ "warehouse": "lon1", "units": 2 });
    let again = seller.post("/v1/inventory/A/receipts", Some("k"), Some(&without)).await;
    assert_eq!((again.status, again.is_replayed()), (201, true), "{again:?}");
    let half = r#"{ "warehouse": "lon1", "units": 2.5 }"#;
    let refused = seller.send("POST", "/v1/inventory/A/receipts", Some("half"), Some(half)).await;
    assert_eq!((refused.status, refused.code()), (422, "invalid"), "{refused:?}");
}
