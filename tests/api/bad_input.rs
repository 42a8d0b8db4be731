//! The list of bad input, and the answer that each gets.

use crate::client::Connection;
use crate::server::{KEY, Server, order_of};
use serde_json::json;

const MANY: usize = 2_001;

#[tokio::test]
async fn a_body_that_is_no_json_is_malformed() {
    let server = Server::start().await;
    let seller = server.seller();
    let deep = format!("{{\"lines\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let bodies: [&str; 6] =
        ["{", "", "not json", r#"{"lines":[],"lines":[]}"#, &deep, r#"{"lines":[{"sku":"a","quantity":1}"#];
    for body in bodies {
        let answer = seller.send("POST", "/v1/orders", Some("k"), Some(body)).await;
        assert_eq!((answer.status, answer.code()), (400, "malformed_json"), "{body:.60}");
    }
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
    );
    let invalid_utf8 = [head.as_bytes(), b"{\"note\":\"\xff\"}"].concat();
    assert_eq!(server.anyone().raw(&invalid_utf8).await.code(), "malformed_json");
}

#[tokio::test]
async fn an_unknown_or_out_of_range_field_is_reported_with_its_pointer() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    for quantity in ["0", "-1", "1.5", "2147483648", "1e308", "1000001"] {
        let body = format!(r#"{{"lines":[{{"sku":"A","quantity":{quantity}}}],"buyer":{{}}}}"#);
        let answer = seller.send("POST", "/v1/orders", Some("k"), Some(&body)).await;
        assert_eq!((answer.status, answer.error_pointer()), (422, "/lines/0/quantity"), "{quantity}: {answer:?}");
    }
    for field in ["price", "status", "role"] {
        let mut body = order_of("A", 1);
        body[field] = json!("x");
        let answer = seller.post("/v1/orders", Some("k"), Some(&body)).await;
        assert_eq!((answer.status, answer.error_pointer()), (422, format!("/{field}").as_str()));
        assert_eq!(answer.body["errors"][0]["code"], "unknown_field");
    }
    let mut injected = order_of("A", 1);
    injected["lines"][0]["unit_price"] = json!(1);
    assert_eq!(seller.post("/v1/orders", Some("k"), Some(&injected)).await.error_pointer(), "/lines/0/unit_price");
    let many: Vec<_> = (0..MANY).map(|_| json!({ "sku": "A", "quantity": 1 })).collect();
    let answer = seller.post("/v1/orders", Some("k"), Some(&json!({ "lines": many, "buyer": {} }))).await;
    assert_eq!((answer.status, answer.error_pointer()), (422, "/lines"));
    let none = seller.post("/v1/orders", Some("k"), Some(&json!({ "buyer": {} }))).await;
    assert_eq!((none.status, none.code()), (422, "invalid"));
}

#[tokio::test]
async fn a_card_number_in_names_notes_or_metadata_is_refused() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let card = "4242 4242 4242 4242";
    for (pointer, patch) in [
        ("/buyer/name", json!({ "buyer": { "name": card } })),
        ("/note", json!({ "note": format!("my card is {card}") })),
        ("/metadata/x", json!({ "metadata": { "x": card } })),
    ] {
        let mut body = order_of("A", 1);
        body.as_object_mut().expect("an object").extend(patch.as_object().expect("an object").clone());
        let answer = seller.post("/v1/orders", Some("k"), Some(&body)).await;
        assert_eq!((answer.status, answer.error_pointer()), (422, pointer), "{answer:?}");
        assert!(!answer.text.contains("4242 4242"), "the number is not sent back");
    }
}

#[tokio::test]
async fn hostile_ids_are_invalid_ids() {
    let server = Server::start().await;
    let seller = server.seller();
    for id in ["a'b", "%00", "..%5c..%5cetc", "%2e%2e", "%ff", "a%3fb", "%zz", "a%E2%80%8B", &"x".repeat(65)] {
        let answer = seller.get(&format!("/v1/inventory/{id}")).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_id"), "{id}");
    }
    for path in [
        "/v1/orders/ord_x",
        "/v1/orders/crt_00000000000000000000000000",
        "/v1/carts/1",
        "/v1/returns/'",
        "/v1/payments/ord_00000000000000000000000000",
    ] {
        let answer = seller.get(path).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_id"), "{path}");
    }
    let answer = seller
        .post("/v1/orders", Some("k"), Some(&json!({ "lines": [{ "sku": "a'b", "quantity": 1 }], "buyer": {} })))
        .await;
    assert_eq!((answer.status, answer.code()), (400, "invalid_id"));
}

#[tokio::test]
async fn an_idempotency_key_is_needed_and_bounded() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let missing = seller.post("/v1/orders", None, Some(&order_of("A", 1))).await;
    assert_eq!((missing.status, missing.code()), (400, "missing_idempotency_key"));
    for key in ["x".repeat(256), "a b".to_owned(), "\u{e4}".to_owned()] {
        let answer = seller.post("/v1/orders", Some(&key), Some(&order_of("A", 1))).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_idempotency_key"), "{key}");
    }
    let lawful = seller.post("/v1/orders", Some(&"x".repeat(255)), Some(&order_of("A", 1))).await;
    assert_eq!(lawful.status, 201, "{lawful:?}");
}

#[tokio::test]
async fn wrong_methods_types_paths_and_sizes_get_their_own_status() {
    let server = Server::start().await;
    let seller = server.seller();
    for (method, path, allowed) in [
        ("DELETE", "/v1/orders", "POST, GET"),
        ("TRACE", "/v1/orders", "POST, GET"),
        ("POST", "/v1/inventory/A", "GET"),
        ("PUT", "/openapi.json", "GET"),
    ] {
        let answer = seller.send(method, path, None, None).await;
        assert_eq!(
            (answer.status, answer.code(), answer.header("allow")),
            (405, "method_not_allowed", Some(allowed)),
            "{method}"
        );
    }
    for path in ["/", "/v1", "/v1/nothing", "/admin/cluster", "/metrics", "/v1/orders/a/b/c/d"] {
        assert_eq!(seller.get(path).await.status, 404, "{path}");
    }
    let text = "POST /v1/carts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_everything\r\nIdempotency-Key: k\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(server.anyone().raw(text.as_bytes()).await.status, 415);
    let large = format!("{{\"currency\":\"{}\"}}", "x".repeat(300 * 1024));
    let answer = seller.send("POST", "/v1/carts", Some("k"), Some(&large)).await;
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
}

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let server = Server::start().await;
    let head = format!(
        "POST /v1/carts HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n"
    );
    let chunked = "2\r\n{}\r\n0\r\n\r\n";
    for (why, request) in [
        ("two lengths", format!("{head}Host: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}")),
        ("one length twice", format!("{head}Host: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}")),
        (
            "length, then encoding",
            format!("{head}Host: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        ),
        (
            "encoding, then length",
            format!("{head}Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{chunked}"),
        ),
        ("no host", format!("{head}Content-Length: 2\r\n\r\n{{}}")),
        ("two hosts", format!("{head}Host: x\r\nHost: y\r\nContent-Length: 2\r\n\r\n{{}}")),
        ("no HTTP", "hello\r\n\r\n".to_owned()),
    ] {
        assert_eq!(server.anyone().raw(request.as_bytes()).await.status, 400, "{why}");
    }
    let answer =
        server.anyone().raw(format!("{head}Host: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}").as_bytes()).await;
    assert_eq!(answer.status, 201, "a chunked body is a body: {answer:?}");
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_served() {
    let server = Server::start().await;
    let mut connection = Connection::open(server.address).await;
    let head = format!(
        "POST /v1/carts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    );
    connection.write(head.as_bytes()).await;
    connection.write(b"{}").await;
    assert_eq!(connection.read().await.expect("an answer").status, 201);
}

#[tokio::test]
async fn totals_that_overflow_and_currencies_that_differ_are_refused() {
    let server = Server::start().await;
    let seller = server.seller();
    let product = json!({ "title": "Dear", "skus": [{ "sku": "D", "prices": [{ "amount": 9_007_199_254_740_991_i64, "currency": "GBP" }] }] });
    assert_eq!(seller.put("/v1/products/dear", &product).await.status, 201);
    assert_eq!(seller.put("/v1/warehouses/lon1", &json!({ "name": "London", "country": "GB" })).await.status, 201);
    let receipt = json!({ "warehouse": "lon1", "units": 10 });
    assert_eq!(seller.post("/v1/inventory/D/receipts", Some("r"), Some(&receipt)).await.status, 201);
    let overflow = seller.post("/v1/orders", Some("o"), Some(&order_of("D", 2))).await;
    assert_eq!((overflow.status, overflow.code()), (422, "amount_overflow"), "{overflow:?}");
    let mut euros = order_of("D", 1);
    euros["currency"] = json!("EUR");
    let answer = seller.post("/v1/orders", Some("e"), Some(&euros)).await;
    assert_eq!((answer.status, answer.code()), (422, "currency_mismatch"), "{answer:?}");
    let mut money = order_of("D", 1);
    money["expected_total"] = json!({ "amount": 9_007_199_254_740_992_i64, "currency": "GBP" });
    assert_eq!(seller.post("/v1/orders", Some("m"), Some(&money)).await.error_pointer(), "/expected_total/amount");
}

#[tokio::test]
async fn an_unknown_sku_or_one_not_on_sale_is_reported_by_line() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let answer = seller.post("/v1/orders", Some("u"), Some(&order_of("NOBODY", 1))).await;
    assert_eq!((answer.status, answer.error_pointer()), (422, "/lines/0/sku"), "{answer:?}");
    let archived = json!({ "title": "Nova Low", "status": "archived", "skus": [{ "sku": "A", "prices": [{ "amount": 12999, "currency": "GBP" }] }] });
    assert_eq!(seller.put("/v1/products/p-A", &archived).await.status, 200);
    let answer = seller.post("/v1/orders", Some("n"), Some(&order_of("A", 1))).await;
    assert_eq!((answer.status, answer.error_pointer()), (422, "/lines/0/sku"), "{answer:?}");
}
