//! Lists of orders: who sees which, in which order, by which question, and how new they are.

use crate::client::{Answer, Client};
use crate::owners::{OTHER, PRODUCT, SELLER};
use crate::server::{CATALOG_KEY, FOREIGN_KEY, KEY, Server, order_of, paid_order_of};
use doorbuster_api::keys::Scope;
use doorbuster_api::{ApiSettings, SocketLimits};
use serde_json::{Value, json};

/// A key of the platform's that may not see personal data.
const IMPERSONAL: &str = "sk_impersonal";

async fn server() -> Server {
    let others: [(&str, &str, &[Scope]); 3] =
        [(SELLER, "sel_b", &Scope::ALL), (OTHER, "sel_c", &Scope::ALL), (IMPERSONAL, "sel_main", &[Scope::Orders])];
    Server::with_keys(SocketLimits::default(), ApiSettings::default(), &others).await
}

/// Places an order; gives its id and the position that a list must have.
async fn placed(client: &Client, key: &str, body: &Value) -> (String, String) {
    let answer = client.clone().with("Prefer", "wait=10").post("/v1/orders", Some(key), Some(body)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let seq = answer.header("doorbuster-seq").expect("a position").to_owned();
    (answer.body["id"].as_str().expect("an id").to_owned(), seq)
}

async fn listed(client: &Client, path: &str, after: &str) -> Answer {
    let answer = client.clone().with("Doorbuster-After", after).get(path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer
}

/// Waits until the lists have all of these positions.
async fn until(server: &Server, positions: &[&String]) {
    for position in positions {
        listed(&server.seller(), "/v1/orders?limit=1", position).await;
    }
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.body["data"].as_array().expect("a list").iter().map(|order| order["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn orders_are_listed_newest_first_and_pages_miss_nothing_while_new_ones_come() {
    let server = server().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let mut all = Vec::new();
    let mut last = String::new();
    for number in 0..7 {
        let (id, seq) = placed(&seller, &format!("k{number}"), &order_of("A", 1)).await;
        listed(&seller, "/v1/orders?limit=1", &seq).await;
        all.insert(0, id);
        last = seq;
    }
    let mut found: Vec<String> = Vec::new();
    let mut path = "/v1/orders?limit=3".to_owned();
    for page in 0.. {
        let answer = listed(&seller, &path, &last).await;
        assert!(answer.body["as_of"].is_string());
        found.extend(ids(&answer).into_iter().map(str::to_owned));
        // It stands before the first page, which was read already.
        placed(&seller, &format!("later{page}"), &order_of("A", 1)).await;
        let Some(cursor) = answer.body["next_cursor"].as_str() else { break };
        path = format!("/v1/orders?limit=3&cursor={cursor}");
    }
    assert_eq!(found, all);
}

#[tokio::test]
async fn a_list_shows_an_order_as_the_order_shows_itself() {
    let server = server().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let (id, seq) = placed(&seller, "k", &paid_order_of("A", 2, "tok_ok")).await;
    let itself = seller.get(&format!("/v1/orders/{id}")).await.body;
    assert_eq!(listed(&seller, "/v1/orders", &seq).await.body["data"], json!([itself]));
    // What the index keeps is all of it but the personal data.
    let impersonal = Client::new(server.address).bearer(IMPERSONAL);
    let itself = impersonal.get(&format!("/v1/orders/{id}")).await.body;
    let answer = listed(&impersonal, "/v1/orders", &seq).await;
    assert_eq!(answer.body["data"], json!([itself]));
    assert_eq!(itself["status"], "confirmed");
    assert!(!answer.text.contains("a@b.example") && !answer.text.contains("High St"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn each_question_finds_its_orders_and_no_others() {
    let server = server().await;
    server.with_stock("A", 100).await;
    server.with_stock("B", 100).await;
    let (seller, guest) = (server.seller(), server.guest().await);
    let (unpaid, first) = placed(&seller, "k1", &order_of("A", 1)).await;
    let (paid, second) = placed(&guest, "k2", &paid_order_of("B", 1, "tok_ok")).await;
    let mut other = order_of("A", 1);
    other["buyer"]["email"] = json!("C@D.Example");
    let (other, third) = placed(&guest, "k3", &other).await;
    until(&server, &[&first, &second, &third]).await;
    let number = seller.get(&format!("/v1/orders/{paid}")).await.body["number"].as_str().expect("a number").to_owned();
    let placed_at =
        seller.get(&format!("/v1/orders/{other}")).await.body["placed_at"].as_str().expect("a moment").to_owned();
    let found = async |query: &str| {
        let answer = seller.get(&format!("/v1/orders?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let mut found: Vec<String> = ids(&answer).into_iter().map(str::to_owned).collect();
        found.sort();
        found
    };
    let expect = |orders: &[&String]| {
        let mut orders: Vec<String> = orders.iter().map(|order| (*order).clone()).collect();
        orders.sort();
        orders
    };
    assert_eq!(found("").await, expect(&[&unpaid, &paid, &other]));
    assert_eq!(found(&format!("number={number}")).await, expect(&[&paid]));
    assert_eq!(found(&format!("number={}", number.to_lowercase().replace('-', ""))).await, expect(&[&paid]));
    assert_eq!(found("email=c%40d.example").await, expect(&[&other]), "in whatever case");
    assert_eq!(found("email=A%40B.example&sku=A").await, expect(&[&unpaid]));
    assert_eq!(found("email=nobody%40b.example").await, expect(&[]));
    assert_eq!(found("sku=A").await, expect(&[&unpaid, &other]));
    assert_eq!(found("sku=B&status=confirmed").await, expect(&[&paid]));
    assert_eq!(found("status=awaiting_payment").await, expect(&[&unpaid, &other]));
    assert_eq!(found("payment_status=captured").await, expect(&[&paid]));
    assert_eq!(found("fulfilment_status=unfulfilled").await, expect(&[&unpaid, &paid, &other]));
    assert_eq!(found(&format!("placed_after={placed_at}&sku=A&email=c%40d.example")).await, expect(&[&other]));
    assert_eq!(found(&format!("placed_before={placed_at}&email=c%40d.example")).await, expect(&[]));
    assert_eq!(found("placed_before=1970-01-01T00:00:00Z").await, expect(&[]));
    assert_eq!(found("placed_after=2999-01-01T00:00:00Z").await, expect(&[]));
}

#[tokio::test]
async fn a_guest_sees_its_own_orders_and_a_seller_its_own_lines() {
    let server = server().await;
    server.with_stock("A", 100).await;
    let seller_b = Client::new(server.address).bearer(SELLER);
    let product: Value = serde_json::from_str(PRODUCT).expect("it is JSON");
    assert_eq!(seller_b.put("/v1/products/b", &product).await.status, 201);
    assert!(seller_b.put("/v1/warehouses/wb", &json!({ "name": "B", "country": "GB" })).await.status < 300);
    let receipt = json!({ "warehouse": "wb", "units": 50 });
    assert_eq!(seller_b.post("/v1/inventory/B/receipts", Some("r"), Some(&receipt)).await.status, 201);
    let (guest, other_guest) = (server.guest().await, server.guest().await);
    let mut mixed = order_of("A", 1);
    mixed["lines"] = json!([{ "sku": "A", "quantity": 1 }, { "sku": "B", "quantity": 2 }]);
    let (mixed, first) = placed(&guest, "k1", &mixed).await;
    let (plain, second) = placed(&other_guest, "k2", &order_of("A", 1)).await;
    until(&server, &[&first, &second]).await;
    let answer = listed(&guest, "/v1/me/orders", &first).await;
    assert_eq!(ids(&answer), [mixed.as_str()]);
    assert_eq!(answer.body["data"][0]["buyer"]["email"], "a@b.example", "its own");
    assert_eq!(ids(&listed(&other_guest, "/v1/me/orders", &second).await), [plain.as_str()]);
    let of_b = listed(&seller_b, "/v1/orders", &first).await;
    assert_eq!(ids(&of_b), [mixed.as_str()]);
    let order = &of_b.body["data"][0];
    assert_eq!((&order["lines"].as_array().map(Vec::len), &order["buyer"]), (&Some(1), &Value::Null));
    assert_eq!(order, &seller_b.get(&format!("/v1/orders/{mixed}")).await.body);
    assert_eq!(ids(&listed(&seller_b, "/v1/orders?sku=B", &first).await), [mixed.as_str()]);
    // The other line of the order is not there for this seller, nor is who bought it (rule V11).
    for hidden in ["sku=A", "email=a%40b.example"] {
        let answer = listed(&seller_b, &format!("/v1/orders?{hidden}"), &first).await;
        assert_eq!((ids(&answer).len(), &answer.body["next_cursor"]), (0, &Value::Null), "{hidden}");
    }
    let seller_c = Client::new(server.address).bearer(OTHER);
    assert_eq!(ids(&listed(&seller_c, "/v1/orders", &first).await).len(), 0);
    assert_eq!(ids(&listed(&server.seller(), "/v1/orders", &second).await), [plain.as_str(), mixed.as_str()]);
}

#[tokio::test]
async fn an_address_that_was_changed_or_erased_is_found_no_more() {
    let server = server().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let (id, seq) = placed(&seller, "k", &order_of("A", 1)).await;
    let by_email = "/v1/orders?email=a%40b.example";
    assert_eq!(ids(&listed(&seller, by_email, &seq).await), [id.as_str()]);
    let moved = seller.patch(&format!("/v1/orders/{id}"), &json!({ "buyer": { "email": "e@f.example" } })).await;
    assert_eq!(moved.status, 200, "{moved:?}");
    let seq = moved.header("doorbuster-seq").expect("a position").to_owned();
    assert_eq!(ids(&listed(&seller, by_email, &seq).await).len(), 0);
    let by_email = "/v1/orders?email=e%40f.example";
    assert_eq!(ids(&listed(&seller, by_email, &seq).await), [id.as_str()]);
    let cancelled = seller.post(&format!("/v1/orders/{id}/cancel"), Some("c"), None).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    server.erase(&id).await;
    let after = seller.get(&format!("/v1/orders/{id}")).await;
    let seq = after.header("doorbuster-seq").expect("a position").to_owned();
    assert_eq!(ids(&listed(&seller, by_email, &seq).await).len(), 0);
    assert_eq!(ids(&listed(&seller, "/v1/orders", &seq).await), [id.as_str()], "the facts stay");
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    let server = server().await;
    let seller = server.seller();
    for (query, status, code) in [
        ("status=lost", 422, "invalid"),
        ("payment_status=", 422, "invalid"),
        ("fulfilment_status=Shipped", 422, "invalid"),
        ("placed_after=yesterday", 422, "invalid"),
        ("number=12", 422, "invalid"),
        ("sku=", 400, "invalid_id"),
        ("customer=cus_1", 400, "invalid_id"),
        ("limit=0", 422, "invalid"),
        ("limit=201", 422, "invalid"),
        ("cursor=AAAA", 400, "invalid_cursor"),
        ("colour=red", 422, "invalid"),
    ] {
        let answer = seller.get(&format!("/v1/orders?{query}")).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{query}: {answer:?}");
    }
    let of_another_list = seller.get("/v1/orders?cursor=bW92MTox").await;
    assert_eq!(of_another_list.code(), "invalid_cursor");
    for (after, path) in [("1", "/v1/orders"), ("x-1", "/v1/orders"), ("0-1", "/v1/warehouses/lon1")] {
        let answer = seller.clone().with("Doorbuster-After", after).get(path).await;
        assert_eq!((answer.status, answer.code()), (400, "malformed_request"), "{after} {path}: {answer:?}");
    }
    let never = seller.clone().with("Doorbuster-After", "0-99999999").get("/v1/orders").await;
    assert_eq!(never.status, 503, "{never:?}");
    let impersonal = Client::new(server.address).bearer(IMPERSONAL);
    let guess = impersonal.get("/v1/orders?email=a%40b.example").await;
    assert_eq!((guess.status, guess.code()), (403, "missing_scope"), "an address cannot be tried");
    for key in [CATALOG_KEY, FOREIGN_KEY, KEY] {
        let expected = if key == CATALOG_KEY { 403 } else { 200 };
        assert_eq!(Client::new(server.address).bearer(key).get("/v1/orders").await.status, expected);
    }
}

#[tokio::test]
async fn payments_shipments_and_returns_are_listed_as_each_shows_itself() {
    let server = server().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let (order, _) = placed(&seller, "k1", &paid_order_of("A", 2, "tok_ok")).await;
    let (declined, first) = placed(&seller, "k2", &paid_order_of("A", 1, "tok_decline_soft")).await;
    let (sent, ask) = (json!({ "lines": [{ "line": "1", "quantity": 2 }] }), async |path: String, body: &Value| {
        let answer = seller.post(&path, Some("k"), Some(body)).await;
        assert!(answer.status == 200 || answer.status == 201, "{path}: {answer:?}");
        answer
    });
    let shipment = ask(format!("/v1/orders/{order}/shipments"), &sent).await.body["id"].clone();
    let shipment = shipment.as_str().expect("an id");
    ask(format!("/v1/shipments/{shipment}/deliver"), &json!({})).await;
    let reason = json!({ "lines": [{ "line": "1", "quantity": 1, "reason": "too small" }] });
    let returned = ask(format!("/v1/orders/{order}/returns"), &reason).await;
    let last = returned.header("doorbuster-seq").expect("a position").to_owned();
    until(&server, &[&first, &last]).await;
    let one = async |list: &str, id: &str| {
        let itself = seller.get(&format!("/v1/{list}/{id}")).await;
        assert_eq!(itself.status, 200, "{itself:?}");
        itself.body
    };
    let found = async |query: &str| {
        let answer = seller.get(&format!("/v1/{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.body["data"].clone()
    };
    let payment_of = async |order: &str| {
        let order = seller.get(&format!("/v1/orders/{order}")).await;
        order.body["payments"][0]["id"].as_str().expect("an id").to_owned()
    };
    let (paid, failed) = (payment_of(&order).await, payment_of(&declined).await);
    assert_eq!(found("shipments").await, json!([one("shipments", shipment).await]));
    assert_eq!(found("shipments?status=delivered").await, found("shipments").await);
    assert_eq!(found("shipments?status=lost").await, json!([]));
    let returned = returned.body["id"].as_str().expect("an id").to_owned();
    assert_eq!(found("returns?status=requested").await, json!([one("returns", &returned).await]));
    assert_eq!(found("returns?status=closed").await, json!([]));
    assert_eq!(found("payments").await, json!([one("payments", &failed).await, one("payments", &paid).await]));
    assert_eq!(found("payments?status=captured").await, json!([one("payments", &paid).await]));
    let page = seller.get("/v1/payments?limit=1").await.body;
    let cursor = page["next_cursor"].as_str().expect("there is another");
    assert_eq!(found(&format!("payments?limit=1&cursor={cursor}")).await, json!([one("payments", &paid).await]));
    // A seller without a line in these orders has none of them.
    let other = Client::new(server.address).bearer(OTHER);
    for list in ["payments", "shipments", "returns"] {
        let answer = other.get(&format!("/v1/{list}")).await;
        assert_eq!((answer.status, &answer.body["data"], &answer.body["next_cursor"]), (200, &json!([]), &Value::Null));
        let refused = seller.get(&format!("/v1/{list}?status=nonsense")).await;
        assert_eq!((refused.status, refused.code()), (422, "invalid"), "{refused:?}");
        let of_another = seller.get(&format!("/v1/{list}?cursor=b3JkMTo")).await;
        assert_eq!(of_another.code(), "invalid_cursor", "{of_another:?}");
    }
}
