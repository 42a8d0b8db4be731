//! Nobody can ask for more than they pay (rule W1): bytes, lines and items are charged as the work they are, to the caller and to its address, and
//! what does not exist starts nothing.

use crate::client::{Client, Connection};
use crate::server::{KEY, Server, order_of};
use doorbuster_api::admission::Rate;
use doorbuster_api::{ApiSettings, SocketLimits};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Addresses of clients behind a proxy on this machine, which is trusted.
fn from(client: Client, address: &str) -> Client {
    client.with("X-Forwarded-For", address)
}

fn head_of(path: &str, token: &str, address: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-Forwarded-For: {address}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

async fn token_of_guest(server: &Server, address: &str) -> String {
    let answer = from(server.anyone(), address).post("/v1/guests", None, None).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["token"].as_str().expect("a token").to_owned()
}

/// Sends a request of which this much of the body arrives, and no more.
async fn stalled(server: &Server, path: &str, token: &str, address: &str, arrived: usize) -> Connection {
    let mut connection = Connection::open(server.address).await;
    connection.write(head_of(path, token, address, 200_000).as_bytes()).await;
    connection.write(" ".repeat(arrived).as_bytes()).await;
    connection
}

/// The status of the answer, if there is one while the body is waited for.
async fn refused(connection: &mut Connection) -> Option<u16> {
    let answer = tokio::time::timeout(Duration::from_millis(300), connection.read()).await;
    answer.ok().flatten().map(|answer| answer.status)
}

/// An order whose body comes after its head.
async fn slow_order(server: &Server, token: &str, address: &str, key: &str) -> u16 {
    let body = order_of("NOVA-42", 1).to_string();
    let mut connection = Connection::open(server.address).await;
    let head = head_of("/v1/orders", token, address, body.len()).replace("Key: k", &format!("Key: {key}"));
    connection.write(format!("{head}{}", &body[..9]).as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    connection.write(&body.as_bytes()[9..]).await;
    connection.read().await.expect("an answer").status
}

fn patient() -> ApiSettings {
    let mut settings = ApiSettings::default();
    settings.requests.body_timeout_ms = 60_000;
    settings
}

#[tokio::test]
async fn bodies_that_are_only_announced_keep_no_other_body_out() {
    let mut settings = patient();
    settings.admission.slow_bodies_bytes_max = 1_000_000;
    let server = Server::with(SocketLimits::default(), settings).await;
    server.with_stock("NOVA-42", 100).await;
    let token = token_of_guest(&server, "192.0.2.1").await;
    let mut waiting = Vec::new();
    for _ in 0..256 {
        waiting.push(stalled(&server, "/v1/orders", &token, "192.0.2.1", 1).await);
    }
    let honest = token_of_guest(&server, "192.0.2.2").await;
    for number in 0..20 {
        assert_eq!(slow_order(&server, &honest, "192.0.2.2", &format!("o{number}")).await, 201);
    }
    drop(waiting);
}

#[tokio::test]
async fn one_address_has_a_share_of_the_memory_for_slow_bodies() {
    let mut settings = patient();
    settings.admission.slow_bodies_bytes_max = 1_000_000;
    let server = Server::with(SocketLimits::default(), settings).await;
    server.with_stock("NOVA-42", 100).await;
    // A guest of its own for each body changes nothing, nor does another address of one IPv6 network.
    let mut waiting = Vec::new();
    let mut statuses = Vec::new();
    for number in 0..4 {
        let address = format!("2001:db8::{number}");
        let token = token_of_guest(&server, &address).await;
        let mut connection = stalled(&server, "/v1/orders", &token, &address, 60_000).await;
        statuses.push(refused(&mut connection).await);
        waiting.push(connection);
    }
    assert_eq!(statuses, [None, Some(429), Some(429), Some(429)]);
    let honest = token_of_guest(&server, "192.0.2.2").await;
    assert_eq!(slow_order(&server, &honest, "192.0.2.2", "o").await, 201);
    assert_eq!(slow_order(&server, KEY, "2001:db8::1", "o").await, 201, "a seller is known by its key");
}

#[tokio::test]
async fn webhooks_have_a_memory_and_a_quota_of_their_own() {
    let mut settings = patient();
    settings.admission.slow_bodies_bytes_max = 1_000_000;
    settings.admission.slow_webhooks_bytes_max = 100_000;
    settings.admission.slow_bodies_address_percent = 0;
    settings.admission.webhook = Rate { per_s: 1, burst: 3 };
    let server = Server::with(SocketLimits::default(), settings).await;
    server.with_stock("NOVA-42", 100).await;
    let path = "/v1/providers/simulated/webhooks";
    let mut waiting = Vec::new();
    let mut statuses = Vec::new();
    for number in 0..3 {
        let mut connection = stalled(&server, path, "x", &format!("192.0.2.{number}"), 60_000).await;
        statuses.push(refused(&mut connection).await);
        waiting.push(connection);
    }
    assert_eq!(statuses, [None, Some(503), Some(503)]);
    let honest = token_of_guest(&server, "192.0.2.9").await;
    assert_eq!(slow_order(&server, &honest, "192.0.2.9", "o").await, 201, "orders have their own");
    let mut statuses = BTreeSet::new();
    for _ in 0..6 {
        statuses.insert(from(server.anyone(), "192.0.2.10").send("POST", path, None, Some("{}")).await.status);
    }
    assert_eq!(statuses, BTreeSet::from([401, 429]));
}

#[tokio::test]
async fn guests_are_free_and_still_bounded_by_their_address() {
    let mut settings = ApiSettings::default();
    settings.admission.address_guest = Rate { per_s: 1, burst: 4 };
    settings.admission.address_new_guests = Rate { per_s: 1, burst: 6 };
    let server = Server::with(SocketLimits::default(), settings).await;
    let mut statuses = Vec::new();
    for number in 0..8 {
        let address = format!("2001:db8::{number}");
        let made = from(server.anyone(), &address).post("/v1/guests", None, None).await;
        if made.status != 201 {
            statuses.push((made.status, 0));
            continue;
        }
        let guest = from(server.anyone(), &address).bearer(made.body["token"].as_str().expect("a token"));
        statuses.push((201, guest.post("/v1/carts", Some("k"), Some(&json!({}))).await.status));
    }
    assert!(
        statuses.contains(&(201, 201)) && statuses.contains(&(201, 429)) && statuses.contains(&(429, 0)),
        "{statuses:?}"
    );
    let other = token_of_guest(&server, "192.0.2.2").await;
    let cart = from(server.anyone(), "192.0.2.2").bearer(&other).post("/v1/carts", Some("k"), Some(&json!({}))).await;
    assert_eq!(cart.status, 201);
}

#[tokio::test]
async fn five_hundred_honest_guests_behind_one_address_all_buy() {
    let server = Server::start().await;
    server.with_stock("NOVA-42", 1_000).await;
    let server = &server;
    let visits = stream::iter(0..500).map(|_| async move {
        let token = token_of_guest(server, "192.0.2.1").await;
        let guest = from(server.anyone(), "192.0.2.1").bearer(&token);
        let cart = guest.post("/v1/carts", Some("c"), Some(&json!({}))).await;
        let line = format!("/v1/carts/{}/lines/NOVA-42", cart.body["id"].as_str().expect("a cart"));
        assert_eq!(guest.put(&line, &json!({ "quantity": 1 })).await.status, 200);
        let mut order = order_of("NOVA-42", 1);
        order.as_object_mut().expect("an order").remove("lines");
        order["cart_id"] = cart.body["id"].clone();
        guest.post("/v1/orders", Some("o"), Some(&order)).await.status
    });
    let statuses: Vec<u16> = visits.buffer_unordered(64).collect().await;
    assert_eq!(statuses, [201; 500]);
}

fn order_of_unknown(lines: usize) -> Value {
    let mut order = order_of("NONE-0", 1);
    order["lines"] = (0..lines).map(|number| json!({ "sku": format!("NONE-{number}"), "quantity": 1 })).collect();
    order
}

#[tokio::test]
async fn a_large_order_takes_as_much_of_a_quota_as_it_is_work() {
    let mut settings = ApiSettings::default();
    settings.admission.guest = Rate { per_s: 1, burst: 30 };
    let server = Server::with(SocketLimits::default(), settings).await;
    server.with_stock("NOVA-42", 100).await;
    let (large, small) = (server.guest().await, server.guest().await);
    let first = large.post("/v1/orders", Some("a"), Some(&order_of_unknown(200))).await;
    assert_eq!(first.status, 422, "twenty units of thirty: {first:?}");
    let second = large.post("/v1/orders", Some("b"), Some(&order_of_unknown(200))).await;
    assert_eq!((second.status, second.code()), (429, "too_many_requests"));
    for number in 0..20 {
        let order = small.post("/v1/orders", Some(&format!("o{number}")), Some(&order_of("NOVA-42", 1))).await;
        assert_eq!(order.status, 201, "an ordinary order is one unit");
    }
}

#[tokio::test]
async fn large_bodies_and_large_answers_take_as_much_of_a_quota_as_they_are_work() {
    let mut settings = ApiSettings::default();
    settings.admission.guest = Rate { per_s: 1, burst: 6 };
    let server = Server::with(SocketLimits::default(), settings).await;
    let reader = server.guest().await;
    let document = reader.get("/openapi.json").await;
    assert!(document.status == 200 && document.text.len() > 64 * 1024, "{} bytes", document.text.len());
    let answers = [reader.get("/openapi.json").await.status, reader.get("/openapi.json").await.status];
    let more = [reader.get("/openapi.json").await.status, reader.get("/openapi.json").await.status];
    assert!(answers.contains(&429) || more.contains(&429), "{answers:?} {more:?}");
    let writer = server.guest().await;
    let garbage = "x".repeat(200_000);
    let statuses = [
        writer.send("POST", "/v1/carts", Some("k"), Some(&garbage)).await.status,
        writer.send("POST", "/v1/carts", Some("k"), Some(&garbage)).await.status,
    ];
    assert_eq!(statuses[1], 429, "{statuses:?}");
}

#[tokio::test]
async fn names_that_exist_nowhere_start_nothing_and_are_looked_up_a_few_at_a_time() {
    let server = Server::start().await;
    server.with_stock("NOVA-42", 10).await;
    let seller = server.seller();
    let before = server.loads();
    let order = seller.post("/v1/orders", Some("o"), Some(&order_of_unknown(2_000))).await;
    assert_eq!((order.status, order.error_pointer()), (422, "/lines/0/sku"), "{order:?}");
    assert!(server.loads() - before <= 16, "{} were looked up", server.loads() - before);
    let mut mixed = order_of("NOVA-42", 1);
    mixed["lines"] = json!([{ "sku": "NOVA-42", "quantity": 1 }, { "sku": "NONE-0", "quantity": 1 }]);
    let order = seller.post("/v1/orders", Some("m"), Some(&mixed)).await;
    assert_eq!((order.status, order.error_pointer()), (422, "/lines/1/sku"), "{order:?}");
    let one = json!({ "reference": "r1", "lines": [{ "sku": "NONE-0", "quantity": 1 }] });
    assert_eq!(seller.post("/v1/reservations", None, Some(&one)).await.status, 404);
    let two =
        json!({ "reference": "r2", "lines": [{ "sku": "NONE-0", "quantity": 1 }, { "sku": "NONE-1", "quantity": 1 }] });
    assert_eq!(seller.post("/v1/reservations", None, Some(&two)).await.status, 422);
    let batch = seller.post("/v1/reservations:batch", None, Some(&json!({ "items": [one, two] }))).await;
    assert_eq!((&batch.body["results"][0]["status"], &batch.body["results"][1]["status"]), (&json!(404), &json!(422)));
    let guest = server.guest().await;
    let cart = guest.post("/v1/carts", Some("c"), Some(&json!({}))).await;
    let line = format!("/v1/carts/{}/lines/NONE-0", cart.body["id"].as_str().expect("a cart"));
    assert_eq!(guest.put(&line, &json!({ "quantity": 1 })).await.status, 404);
    for path in ["/v1/skus/NONE-0/availability", "/v1/inventory/NONE-0", "/v1/reservations?sku=NONE-0"] {
        let answer = seller.get(path).await;
        assert!(answer.status == 404 || answer.status == 200, "{path}: {answer:?}");
    }
    assert_eq!(seller.get("/v1/reservations/rsv_00000000000000000000010000~NONE-0").await.status, 404);
    for sku in ["NONE-0", "NONE-1", "NONE-15", "NONE-1999"] {
        assert!(!server.has_started(sku), "{sku}");
    }
    // The same request with what it needs goes on: nothing was bound.
    server.with_stock("NONE-0", 1).await;
    assert_eq!(seller.post("/v1/orders", Some("m"), Some(&mixed)).await.status, 201);
}

#[tokio::test]
async fn a_batch_of_garbage_is_bounded_before_it_is_explained() {
    let server = Server::start().await;
    let seller = server.seller();
    let many = format!(r#"{{"items":[{}0]}}"#, "0,".repeat(500_000));
    let answer = seller.send("POST", "/v1/reservations:batch", None, Some(&many)).await;
    assert_eq!((answer.status, answer.error_pointer()), (422, "/items"), "{answer:?}");
    let wrong = format!("{{{}}}", (0..20).map(|number| format!(r#""f{number}":1"#)).collect::<Vec<_>>().join(","));
    let body = format!(r#"{{"items":[{}]}}"#, vec![wrong; 4_000].join(","));
    let answer = seller.send("POST", "/v1/reservations:batch", None, Some(&body)).await;
    assert_eq!(answer.status, 200);
    let results = answer.body["results"].as_array().expect("results");
    assert!(results.len() == 4_000 && results.iter().all(|result| result["status"] == 422));
    let explained = results.iter().filter(|result| result["body"]["errors"][0]["pointer"] != "").count();
    assert_eq!(explained, 50, "the first ones");
    assert!(results.iter().all(|result| result["body"]["errors"].as_array().is_some_and(|errors| errors.len() <= 5)));
}

#[tokio::test]
async fn a_caller_that_prefers_it_gets_as_little_as_it_needs() {
    let server = Server::start().await;
    let skus: Vec<String> = (0..40).map(|number| format!("S-{number}")).collect();
    for sku in &skus {
        server.with_stock(sku, 100).await;
    }
    let token = token_of_guest(&server, "192.0.2.1").await;
    let whole = server.anyone().bearer(&token);
    let minimal = server.anyone().bearer(&token).with("Prefer", "return=minimal");
    let fields = ["expires_at", "id", "status", "total", "version"];
    let keys = |body: &Value| body.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let cart = minimal.post("/v1/carts", Some("c"), Some(&json!({}))).await;
    let path = format!("/v1/carts/{}", cart.body["id"].as_str().expect("a cart"));
    let mut longest = 0;
    for sku in &skus {
        let answer = minimal.put(&format!("{path}/lines/{sku}"), &json!({ "quantity": 2 })).await;
        assert_eq!((answer.status, keys(&answer.body)), (200, fields.map(str::to_owned).to_vec()), "{answer:?}");
        assert_eq!(answer.header("preference-applied"), Some("return=minimal"));
        assert_eq!(answer.header("location"), Some(path.as_str()));
        let version = format!("\"{}\"", answer.body["version"]);
        assert_eq!(answer.header("etag"), Some(version.as_str()));
        longest = longest.max(answer.text.len());
    }
    assert!(longest < 300, "{longest} bytes, however many lines there are");
    let last = minimal.delete(&format!("{path}/lines/S-0")).await;
    let read = minimal.get(&path).await;
    assert_eq!(read.body["lines"].as_array().map(Vec::len), Some(39), "a read is whole");
    assert_eq!((&last.body["total"], &last.body["version"]), (&read.body["subtotal"], &read.body["version"]));
    let changed = whole.put(&format!("{path}/lines/S-1"), &json!({ "quantity": 1 })).await;
    assert_eq!(
        (changed.header("preference-applied"), changed.body["lines"].as_array().map(Vec::len)),
        (None, Some(39))
    );
    let order = minimal.post("/v1/orders", Some("o"), Some(&order_of("S-2", 1))).await;
    assert_eq!((order.status, keys(&order.body)), (201, fields.map(str::to_owned).to_vec()), "{order:?}");
    let shown = whole.get(&format!("/v1/orders/{}", order.body["id"].as_str().expect("an order"))).await;
    assert_eq!(order.body["total"], shown.body["totals"]["total"]);
    assert_eq!(order.body["expires_at"], shown.body["expires_at"]);
    let lines = json!([{ "sku": "S-3", "quantity": 1 }, { "sku": "S-4", "quantity": 1 }]);
    for (reference, lines) in [("one", json!([lines[0]])), ("two", lines.clone())] {
        let body = json!({ "reference": reference, "lines": lines });
        let seller = server.seller().with("Prefer", "return=minimal");
        let made = seller.post("/v1/reservations", None, Some(&body)).await;
        assert_eq!((made.status, keys(&made.body)), (201, fields.map(str::to_owned).to_vec()), "{made:?}");
        assert_eq!(made.body["status"], "held");
    }
}
