//! Lists as exports: whole, as lines of JSON or as CSV, to whom the list is shown.

use crate::client::Client;
use crate::owners::SELLER;
use crate::server::{KEY, Server, order_of};
use doorbuster_api::keys::Scope;
use doorbuster_api::settings::RequestSettings;
use doorbuster_api::{ApiSettings, SocketLimits};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole export: its media type and its text.
async fn export(server: &Server, key: &str, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.address).await.expect("it accepts");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nAccept: {accept}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers to the end");
    let answer = String::from_utf8(answer).expect("it is text");
    let (head, mut rest) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let media = head.lines().find_map(|line| line.strip_prefix("content-type: ")).expect("a media type");
    let mut text = String::new();
    loop {
        let (length, behind) = rest.split_once("\r\n").expect("the length of a chunk");
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            return (media.to_owned(), text);
        }
        text.push_str(&behind[..length]);
        rest = behind[length..].strip_prefix("\r\n").expect("the end of a chunk");
    }
}

async fn placed(client: &Client, key: &str, body: &Value) -> (String, String) {
    let answer = client.clone().with("Prefer", "wait=10").post("/v1/orders", Some(key), Some(body)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let seq = answer.header("doorbuster-seq").expect("a position").to_owned();
    (answer.body["id"].as_str().expect("an id").to_owned(), seq)
}

/// Waits until the list has the orders at these positions.
async fn until_listed(client: &Client, positions: &[String]) {
    for position in positions {
        let answer = client.clone().with("Doorbuster-After", position).get("/v1/orders?limit=1").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn v7_an_export_has_every_row_of_the_list_once_over_many_pages() {
    let server = Server::start().await;
    server.with_stock("A", 1_000).await;
    let seller = server.seller();
    let (mut ids, mut positions) = (BTreeSet::new(), Vec::new());
    for number in 0..405 {
        let (id, position) = placed(&seller, &format!("k{number}"), &order_of("A", 1)).await;
        ids.insert(id);
        positions.push(position);
    }
    until_listed(&seller, &positions[400..]).await;
    let (media, lines) = export(&server, KEY, "/v1/orders", "application/x-ndjson").await;
    assert_eq!(media, "application/x-ndjson");
    let mut rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.pop(), Some(json!({ "end": true, "rows": 405 })));
    let exported: BTreeSet<String> = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!((rows.len(), exported), (405, ids.clone()));
    let first = rows[0]["id"].as_str().expect("an id");
    assert_eq!(rows[0], seller.get(&format!("/v1/orders/{first}")).await.body, "as the order shows itself");
    let (media, csv) = export(&server, KEY, "/v1/orders?status=awaiting_payment", "text/csv").await;
    assert_eq!(media, "text/csv");
    let mut lines = csv.split_terminator("\r\n");
    let columns: Vec<&str> = lines.next().expect("the columns").split(',').collect();
    assert!(["id", "totals.total.amount", "ship_to.city"].iter().all(|name| columns.contains(name)), "{columns:?}");
    assert_eq!(lines.count(), 405);
    assert!(ids.iter().all(|id| csv.contains(id.as_str())));
    let (_, none) = export(&server, KEY, "/v1/orders?status=shipped", "application/x-ndjson").await;
    assert_eq!(none, "{\"end\":true,\"rows\":0}\n");
}

#[tokio::test]
async fn what_a_shopper_wrote_is_no_formula_and_another_seller_exports_nothing_of_it() {
    let others: [(&str, &str, &[Scope]); 1] = [(SELLER, "sel_b", &Scope::ALL)];
    let server = Server::with_keys(SocketLimits::default(), ApiSettings::default(), &others).await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let mut order = order_of("A", 1);
    order["buyer"]["name"] = json!("=HYPERLINK(\"http://evil.example\")");
    let (_, position) = placed(&seller, "k", &order).await;
    until_listed(&seller, &[position]).await;
    let (_, csv) = export(&server, KEY, "/v1/orders", "text/csv").await;
    assert!(csv.contains("\"'=HYPERLINK(\"\"http://evil.example\"\")\""), "{csv}");
    let (_, of_another) = export(&server, SELLER, "/v1/orders", "application/x-ndjson").await;
    assert_eq!(of_another, "{\"end\":true,\"rows\":0}\n");
    for path in [
        "/v1/payments",
        "/v1/shipments",
        "/v1/returns",
        "/v1/me/orders",
        "/v1/reservations?sku=A",
        "/v1/inventory/A/movements",
    ] {
        let (_, lines) = export(&server, KEY, path, "application/x-ndjson").await;
        assert!(lines.ends_with("}\n") && lines.contains("{\"end\":true,\"rows\":"), "{path}: {lines}");
    }
}

#[tokio::test]
async fn an_export_is_the_whole_list_or_a_problem() {
    let server = Server::start().await;
    let lines = server.seller().with("Accept", "application/x-ndjson");
    for (path, status, code) in [
        ("/v1/orders?limit=5", 422, "invalid"),
        ("/v1/orders?cursor=nonsense", 400, "invalid_cursor"),
        ("/v1/orders?status=lost", 422, "invalid"),
        ("/v1/orders/ord_00000000000000000000010000", 406, "not_acceptable"),
        ("/v1/events", 406, "not_acceptable"),
    ] {
        let answer = lines.get(path).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{path}");
    }
    let both = server.seller().with("Accept", "text/csv, application/json").get("/v1/orders").await;
    assert_eq!((both.status, both.header("content-type")), (200, Some("application/json")));
    let requests = RequestSettings { exports_max: 0, ..RequestSettings::default() };
    let full = Server::with(SocketLimits::default(), ApiSettings { requests, ..ApiSettings::default() }).await;
    let refused = full.seller().with("Accept", "text/csv").get("/v1/orders").await;
    assert_eq!((refused.status, refused.code()), (503, "overloaded"));
}
