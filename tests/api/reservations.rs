//! Reservations as a service: alone, of several lines, by the batch; made once however often they are sent.

use crate::client::{Answer, Client};
use crate::server::{FOREIGN_KEY, Server};
use doorbuster_api::settings::ShopSettings;
use doorbuster_api::{ApiSettings, SocketLimits};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

fn one(reference: &str, sku: &str, quantity: u32) -> Value {
    json!({ "reference": reference, "lines": [{ "sku": sku, "quantity": quantity }] })
}

fn two(reference: &str, a: u32, b: u32) -> Value {
    json!({ "reference": reference, "lines": [{ "sku": "A", "quantity": a }, { "sku": "B", "quantity": b }] })
}

async fn reserve(client: &Client, body: &Value) -> Answer {
    client.post("/v1/reservations", None, Some(body)).await
}

fn path_of(answer: &Answer) -> String {
    answer.header("location").expect("a location").to_owned()
}

async fn level(server: &Server, sku: &str) -> (u64, u64) {
    let level = server.seller().get(&format!("/v1/inventory/{sku}")).await.body["levels"][0].clone();
    (level["on_hand"].as_u64().expect("a count"), level["reserved"].as_u64().expect("a count"))
}

#[tokio::test]
async fn a_reservation_is_held_committed_and_sold_once() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let mut body = one("shop-order-991", "A", 3);
    body["buyer_key"] = json!("u_17");
    body["hold_s"] = json!(900);
    let made = reserve(&seller, &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["status"], "held");
    assert_eq!(made.body["reference"], "shop-order-991");
    assert_eq!(made.body["buyer_key"], "u_17");
    let line = json!({ "sku": "A", "quantity": 3, "granted": 3 });
    assert_eq!(made.body["lines"], json!([line]));
    assert_eq!(level(&server, "A").await, (10, 3));
    let path = path_of(&made);
    assert_eq!(path, format!("/v1/reservations/{}", made.body["id"].as_str().unwrap()));
    assert_eq!(seller.get(&path).await.body, made.body, "read back it is the same");
    for copy in 0..2 {
        let sold = seller.post(&format!("{path}/commit"), Some("c"), None).await;
        assert_eq!((sold.status, &sold.body["status"]), (200, &json!("committed")), "{sold:?}");
        assert_eq!(sold.is_replayed(), copy > 0);
    }
    assert_eq!(level(&server, "A").await, (7, 0));
    let released = seller.post(&format!("{path}/release"), Some("r"), None).await;
    assert_eq!((released.status, released.code()), (409, "wrong_state"), "{released:?}");
}

#[tokio::test]
async fn the_same_reference_sent_five_times_at_once_reserves_once_also_over_several_lines() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    server.with_stock("B", 10).await;
    let seller = server.seller();
    for (body, other) in [(one("r1", "A", 2), one("r1", "A", 3)), (two("r2", 1, 2), two("r2", 1, 3))] {
        let answers = join_all((0..5).map(|_| reserve(&seller, &body))).await;
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        assert!(answers.iter().all(|answer| answer.body["id"] == answers[0].body["id"]));
        assert_eq!(answers.iter().filter(|answer| !answer.is_replayed()).count(), 1, "{answers:?}");
        let reused = reserve(&seller, &other).await;
        assert_eq!((reused.status, reused.code()), (422, "idempotency_key_reused"), "{reused:?}");
    }
    assert_eq!((level(&server, "A").await, level(&server, "B").await), ((10, 3), (10, 2)));
}

#[tokio::test]
async fn an_idempotency_key_is_not_needed_and_must_be_the_reference() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let body = one("r1", "A", 1);
    assert_eq!(seller.post("/v1/reservations", Some("r1"), Some(&body)).await.status, 201);
    assert!(reserve(&seller, &body).await.is_replayed());
    let other = seller.post("/v1/reservations", Some("k"), Some(&body)).await;
    assert_eq!((other.status, other.code()), (400, "invalid_idempotency_key"));
}

#[tokio::test]
async fn several_lines_are_all_or_none() {
    let server = Server::start().await;
    server.with_stock("A", 5).await;
    server.with_stock("B", 1).await;
    let seller = server.seller();
    let short = reserve(&seller, &two("r1", 2, 2)).await;
    assert_eq!((short.status, short.code()), (409, "sold_out"), "{short:?}");
    assert_eq!(short.body["lines"][0]["sku"], "B");
    assert_eq!((level(&server, "A").await, level(&server, "B").await), ((5, 0), (1, 0)), "nothing is held");
    let made = reserve(&seller, &two("r2", 2, 1)).await;
    assert_eq!((made.status, &made.body["status"]), (201, &json!("held")), "{made:?}");
    assert_eq!(made.body["lines"].as_array().map(Vec::len), Some(2));
    let path = path_of(&made);
    let sold = seller.post(&format!("{path}/commit"), Some("c"), None).await;
    assert_eq!((sold.status, &sold.body["status"]), (200, &json!("committed")), "{sold:?}");
    assert_eq!((level(&server, "A").await, level(&server, "B").await), ((3, 0), (0, 0)));
    assert_eq!(seller.get(&path).await.body["status"], "committed");
}

#[tokio::test]
async fn lines_of_one_sku_are_summed() {
    let server = Server::start().await;
    server.with_stock("A", 5).await;
    let body = json!({ "reference": "r", "lines": [{ "sku": "A", "quantity": 2 }, { "sku": "A", "quantity": 2 }] });
    let made = reserve(&server.seller(), &body).await;
    assert_eq!((made.status, &made.body["lines"][0]["quantity"]), (201, &json!(4)), "{made:?}");
    let more = json!({ "reference": "s", "lines": [{ "sku": "A", "quantity": 1 }, { "sku": "A", "quantity": 1 }] });
    assert_eq!(reserve(&server.seller(), &more).await.code(), "sold_out");
}

#[tokio::test]
async fn what_is_sold_out_says_what_is_left_and_binds_no_reference() {
    let server = Server::start().await;
    server.with_stock("A", 2).await;
    let seller = server.seller();
    reserve(&seller, &one("r1", "A", 2)).await;
    let short = reserve(&seller, &one("r2", "A", 1)).await;
    assert_eq!((short.status, short.code()), (409, "sold_out"));
    let line = json!({ "sku": "A", "wanted": 1, "available": 0, "state": "all_reserved", "next_release_at": null });
    assert_eq!(short.body["lines"], json!([line]));
    let receipt = json!({ "warehouse": "lon1", "units": 5 });
    seller.post("/v1/inventory/A/receipts", Some("more"), Some(&receipt)).await;
    assert_eq!(reserve(&seller, &one("r2", "A", 1)).await.status, 201);
}

#[tokio::test]
async fn a_reservation_ends_by_itself_unless_it_is_extended() {
    let server = Server::start().await;
    server.with_stock("A", 2).await;
    server.with_stock("B", 2).await;
    let seller = server.seller();
    for (reference, lines) in [("one", one("one", "A", 1)), ("two", two("two", 1, 1))] {
        let mut body = lines;
        body["hold_s"] = json!(1);
        let made = reserve(&seller, &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let path = path_of(&made);
        wait_for(&seller, &path, "expired").await;
        let late = seller.post(&format!("{path}/commit"), Some("c"), None).await;
        assert_eq!((late.status, late.code()), (409, "reservation_expired"), "{late:?}");
        let again = reserve(&seller, &body).await;
        assert!(again.is_replayed() && again.body["status"] == "expired", "{again:?}");
        body["reference"] = json!(format!("{reference}-longer"));
        let made = reserve(&seller, &body).await;
        let path = path_of(&made);
        let extend = json!({ "hold_s": 3_600 });
        let longer = seller.post(&format!("{path}/extend"), Some("e"), Some(&extend)).await;
        assert_eq!(longer.status, 200, "{longer:?}");
        assert!(longer.body["expires_at"].as_str() > made.body["expires_at"].as_str());
        let copy = seller.post(&format!("{path}/extend"), Some("e"), Some(&extend)).await;
        assert_eq!((copy.is_replayed(), &copy.body["expires_at"]), (true, &longer.body["expires_at"]));
        let other = seller.post(&format!("{path}/extend"), Some("e"), Some(&json!({ "hold_s": 9 }))).await;
        assert_eq!(other.code(), "idempotency_key_reused");
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(seller.get(&path).await.body["status"], "held");
        let released = seller.post(&format!("{path}/release"), Some("x"), None).await;
        assert_eq!((released.status, &released.body["status"]), (200, &json!("released")));
    }
    assert_eq!((level(&server, "A").await, level(&server, "B").await), ((2, 0), (2, 0)));
}

async fn wait_for(client: &Client, path: &str, status: &str) {
    for _ in 0..1_000 {
        if client.get(path).await.body["status"] == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never {status}: {:?}", client.get(path).await);
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item_in_its_order() {
    let server = Server::start().await;
    server.with_stock("A", 3).await;
    server.with_stock("B", 3).await;
    let seller = server.seller();
    let mut unlawful = one("r5", "A", 1);
    unlawful["drop"] = json!("drp_1");
    let items = json!([
        one("r0", "A", 2),
        one("r1", "B", 1),
        one("r2", "A", 2),
        one("r0", "A", 2),
        one("r0", "A", 1),
        unlawful,
        one("r6", "A", 0),
        two("r7", 1, 1),
        one("r8", "none", 1),
        one("bad key", "A", 1),
    ]);
    let answer = seller.post("/v1/reservations:batch", None, Some(&json!({ "items": items }))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.body["results"].as_array().expect("results");
    let answers: Vec<(u64, u64, &str)> = results
        .iter()
        .map(|result| {
            let word = result["body"]["code"].as_str().or(result["body"]["status"].as_str()).unwrap_or_default();
            (result["index"].as_u64().unwrap(), result["status"].as_u64().unwrap(), word)
        })
        .collect();
    let expected = [
        (0, 201, "held"),
        (1, 201, "held"),
        (2, 409, "sold_out"),
        (3, 201, "held"),
        (4, 422, "idempotency_key_reused"),
        (5, 422, "invalid"),
        (6, 422, "invalid"),
        (7, 201, "held"),
        (8, 404, "not_found"),
        (9, 422, "invalid"),
    ];
    assert_eq!(answers, expected);
    assert_eq!(results[0]["body"]["id"], results[3]["body"]["id"]);
    assert_eq!(results[5]["body"]["errors"][0]["pointer"], "/drop");
    assert_eq!(results[0]["body"]["lines"][0]["granted"], 2);
    let path = format!("/v1/reservations/{}", results[0]["body"]["id"].as_str().unwrap());
    assert_eq!(seller.get(&path).await.body, results[0]["body"], "each is a reservation like any other");
    assert_eq!((level(&server, "A").await, level(&server, "B").await), ((3, 3), (3, 2)));
}

#[tokio::test]
async fn a_large_batch_sells_exactly_what_there_is() {
    let server = Server::start().await;
    server.with_stock("A", 1_000).await;
    let seller = server.seller();
    let items: Vec<Value> = (0..1_500).map(|n| one(&format!("r{n}"), "A", 1)).collect();
    let batch = json!({ "items": items });
    for _ in 0..2 {
        let answer = seller.post("/v1/reservations:batch", None, Some(&batch)).await;
        let results = answer.body["results"].as_array().expect("results").clone();
        let held = results.iter().filter(|result| result["status"] == 201).count();
        assert_eq!((results.len(), held), (1_500, 1_000));
        assert!(results[..1_000].iter().all(|result| result["status"] == 201), "first come, first served");
    }
    assert_eq!(level(&server, "A").await, (1_000, 1_000));
}

#[tokio::test]
async fn a_batch_has_a_bound() {
    let shop = ShopSettings { batch_items_max: 3, ..ShopSettings::default() };
    let server = Server::with(SocketLimits::default(), ApiSettings { shop, ..ApiSettings::default() }).await;
    let seller = server.seller();
    for items in [0, 4] {
        let items: Vec<Value> = (0..items).map(|n| one(&format!("r{n}"), "A", 1)).collect();
        let answer = seller.post("/v1/reservations:batch", None, Some(&json!({ "items": items }))).await;
        assert_eq!((answer.status, answer.error_pointer()), (422, "/items"), "{answer:?}");
    }
    let nonsense = seller.post("/v1/reservations:batch", None, Some(&json!({ "items": 1, "x": 2 }))).await;
    assert_eq!(nonsense.status, 422, "{nonsense:?}");
    let broken = seller.send("POST", "/v1/reservations:batch", None, Some("{\"items\":[")).await;
    assert_eq!(broken.code(), "malformed_json");
}

#[tokio::test]
async fn a_list_shows_a_sku_s_reservations_newest_first_page_by_page() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    server.with_stock("B", 10).await;
    let seller = server.seller();
    let mut ids = Vec::new();
    for body in [one("r1", "A", 1), two("r2", 1, 1), one("r3", "A", 1), one("other", "B", 1)] {
        ids.push(reserve(&seller, &body).await.body["id"].clone());
    }
    let first = seller.get("/v1/reservations?sku=A&limit=2").await;
    assert_eq!(first.status, 200, "{first:?}");
    let shown: Vec<&Value> = first.body["data"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(shown, [&ids[2], &ids[1]]);
    assert_eq!(first.body["data"][1]["lines"].as_array().map(Vec::len), Some(2), "whole, not only this SKU's line");
    assert!(first.body["as_of"].is_string());
    let cursor = first.body["next_cursor"].as_str().expect("there is more");
    let second = seller.get(&format!("/v1/reservations?sku=A&limit=2&cursor={cursor}")).await;
    assert_eq!(second.body["data"][0]["id"], ids[0]);
    assert_eq!(second.body["next_cursor"], Value::Null);
    let path = format!("/v1/reservations/{}", ids[2].as_str().unwrap());
    seller.post(&format!("{path}/commit"), Some("c"), None).await;
    let sold = seller.get("/v1/reservations?sku=A&status=committed").await;
    assert_eq!(sold.body["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(sold.body["data"][0]["reference"], "r3");
    for (query, code) in [
        ("", "invalid"),
        ("?sku=A&status=gone", "invalid"),
        ("?sku=A&limit=0", "invalid"),
        ("?sku=A&cursor=x", "invalid_cursor"),
        ("?sku=%3F", "invalid_id"),
    ] {
        assert_eq!(seller.get(&format!("/v1/reservations{query}")).await.code(), code, "{query}");
    }
}

#[tokio::test]
async fn another_callers_reservation_is_not_found() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    server.with_stock("B", 10).await;
    let seller = server.seller();
    let stranger = server.anyone().bearer(FOREIGN_KEY);
    let (shelf, units) = (json!({ "name": "C", "country": "GB" }), json!({ "warehouse": "wc", "units": 10 }));
    assert_eq!(stranger.put("/v1/warehouses/wc", &shelf).await.status, 201);
    for sku in ["C", "D"] {
        let product = json!({ "title": "C", "skus": [{ "sku": sku, "prices": [{ "amount": 1, "currency": "GBP" }] }] });
        assert_eq!(stranger.put(&format!("/v1/products/p-{sku}"), &product).await.status, 201);
        assert_eq!(stranger.post(&format!("/v1/inventory/{sku}/receipts"), Some(sku), Some(&units)).await.status, 201);
    }
    for body in [one("r1", "A", 1), two("r2", 1, 1)] {
        let made = reserve(&seller, &body).await;
        let path = path_of(&made);
        assert_eq!(stranger.get(&path).await.status, 404);
        for word in ["commit", "release"] {
            assert_eq!(stranger.post(&format!("{path}/{word}"), Some("k"), None).await.status, 404);
        }
        assert_eq!(seller.get(&path).await.body["status"], "held");
        let mut theirs = body.clone();
        for (line, sku) in theirs["lines"].as_array_mut().expect("lines").iter_mut().zip(["C", "D"]) {
            line["sku"] = json!(sku);
        }
        let own = reserve(&stranger, &theirs).await;
        assert_eq!(own.status, 201, "a reference belongs to its caller: {own:?}");
        assert_ne!(own.body["id"], made.body["id"]);
    }
    let list = stranger.get("/v1/reservations?sku=C").await;
    assert_eq!(list.body["data"].as_array().map(Vec::len), Some(2), "only its own: {list:?}");
}

#[tokio::test]
async fn a_reservation_needs_a_key_with_the_scope_orders() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let body = one("r1", "A", 1);
    assert_eq!(reserve(&server.anyone(), &body).await.status, 401);
    assert_eq!(reserve(&server.guest().await, &body).await.code(), "missing_scope");
    let catalog = server.anyone().bearer(crate::server::CATALOG_KEY);
    assert_eq!(reserve(&catalog, &body).await.code(), "missing_scope");
}

#[tokio::test]
async fn an_invalid_body_is_reported_with_its_pointers() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let mut drop = one("r", "A", 1);
    drop["drop"] = json!("drp_1");
    let mut long = one("r", "A", 1);
    long["hold_s"] = json!(86_401);
    for (body, pointer) in [
        (one("r", "A", 0), "/lines/0/quantity"),
        (one("", "A", 1), "/reference"),
        (json!({ "reference": "r", "lines": [] }), "/lines"),
        (drop, "/drop"),
        (long, "/hold_s"),
    ] {
        let answer = reserve(&seller, &body).await;
        assert_eq!((answer.status, answer.error_pointer()), (422, pointer), "{answer:?}");
    }
    for id in ["rsv_x", "ord_00000000000000000000010000", "rsv_00000000000000000000010000~%3F"] {
        assert_eq!(seller.get(&format!("/v1/reservations/{id}")).await.code(), "invalid_id", "{id}");
    }
    let unknown = seller.get("/v1/reservations/rsv_00000000000000000000010000~A").await;
    assert_eq!(unknown.status, 404, "{unknown:?}");
    assert_eq!(seller.get("/v1/reservations/rsv_00000000000000000000010000").await.status, 404);
}

#[tokio::test]
async fn a_sku_with_an_awkward_name_is_found_again() {
    let server = Server::start().await;
    let seller = server.seller();
    server.with_stock("X", 1).await;
    let product =
        json!({ "title": "T", "skus": [{ "sku": "a b+c:d~e", "prices": [{ "amount": 1, "currency": "GBP" }] }] });
    assert_eq!(seller.put("/v1/products/awkward", &product).await.status, 201);
    let receipt = json!({ "warehouse": "lon1", "units": 5 });
    let received = seller.post("/v1/inventory/a%20b%2Bc%3Ad~e/receipts", Some("r"), Some(&receipt)).await;
    assert_eq!(received.status, 201, "{received:?}");
    let made = reserve(&seller, &one("r", "a b+c:d~e", 1)).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(seller.get(&path_of(&made)).await.body, made.body);
}
