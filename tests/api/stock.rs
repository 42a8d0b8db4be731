//! Stock as a seller books it: only into a warehouse that was described, and only of a SKU that a product lists; sold only while it is active.

use crate::server::{Server, order_of, paid_order_of};
use serde_json::{Value, json};

/// Every way to book units.
fn bookings(warehouse: &str) -> [(&'static str, Value); 4] {
    [
        ("receipts", json!({ "warehouse": warehouse, "units": 10 })),
        ("receipts", json!({ "warehouse": warehouse, "units": 10, "expected_at": "2100-01-01T00:00:00.000Z" })),
        ("adjustments", json!({ "warehouse": warehouse, "delta": 3, "reason": "found" })),
        ("counts", json!({ "warehouse": warehouse, "counted": 7 })),
    ]
}

#[tokio::test]
async fn units_in_a_warehouse_that_was_not_described_are_refused_and_not_sold() {
    let server = Server::start().await;
    let seller = server.seller();
    server.with_stock("A", 1).await;
    for (number, (way, body)) in bookings("lno1").iter().enumerate() {
        let key = format!("k{number}");
        let refused = seller.post(&format!("/v1/inventory/A/{way}"), Some(&key), Some(body)).await;
        assert_eq!((refused.status, refused.error_pointer()), (422, "/warehouse"), "{way}: {refused:?}");
    }
    let levels = seller.get("/v1/inventory/A").await.body["levels"].clone();
    assert_eq!(levels.as_array().map(Vec::len), Some(1), "{levels}");
    let sold = seller.post("/v1/orders", Some("o"), Some(&order_of("A", 2))).await;
    assert_eq!((sold.status, sold.code()), (409, "sold_out"), "{sold:?}");
}

#[tokio::test]
async fn units_of_a_sku_that_no_product_lists_are_refused_and_not_reserved() {
    let server = Server::start().await;
    let seller = server.seller();
    server.with_stock("A", 1).await;
    for (number, (way, body)) in bookings("lon1").iter().enumerate() {
        let key = format!("k{number}");
        let refused = seller.post(&format!("/v1/inventory/AA/{way}"), Some(&key), Some(body)).await;
        assert_eq!((refused.status, refused.code()), (404, "not_found"), "{way}: {refused:?}");
    }
    assert_eq!(seller.get("/v1/inventory/AA").await.status, 404);
    let wanted = json!({ "reference": "r", "lines": [{ "sku": "AA", "quantity": 1 }] });
    let reserved = seller.post("/v1/reservations", Some("r"), Some(&wanted)).await;
    assert!(matches!(reserved.status, 404 | 422), "{reserved:?}");
}

#[tokio::test]
async fn a_warehouse_that_is_not_active_sells_nothing_and_counts_nowhere() {
    let server = Server::start().await;
    let seller = server.seller();
    server.with_stock("A", 1).await;
    server.with_stock("ONLY", 5).await;
    let place = |name: &str, active: bool| json!({ "name": name, "country": "GB", "active": active });
    assert_eq!(seller.put("/v1/warehouses/man1", &place("Manchester", true)).await.status, 201);
    let more = json!({ "warehouse": "man1", "units": 5 });
    assert_eq!(seller.post("/v1/inventory/A/receipts", Some("more"), Some(&more)).await.status, 201);
    let closed = seller.put("/v1/warehouses/man1", &place("Manchester", false)).await;
    assert_eq!((closed.status, &closed.body["active"], &closed.body["version"]), (200, &json!(false), &json!(2)));
    let too_many = seller.post("/v1/orders", Some("three"), Some(&order_of("A", 3))).await;
    assert_eq!((too_many.status, too_many.code()), (409, "sold_out"), "{too_many:?}");
    let one = seller.post("/v1/orders", Some("one"), Some(&order_of("A", 1))).await;
    assert_eq!(one.body["lines"][0]["allocations"][0]["warehouse"], "lon1", "{one:?}");
    let seen = server.anyone().get("/v1/skus/A/availability").await;
    assert_eq!(
        (seen.body["state"].as_str(), &seen.body["units_left"]),
        (Some("all_reserved"), &Value::Null),
        "{seen:?}"
    );
    let level = seller.get("/v1/inventory/A").await.body["levels"][1].clone();
    assert_eq!((&level["on_hand"], &level["available"], &level["active"]), (&json!(5), &json!(0), &json!(false)));

    assert_eq!(seller.put("/v1/warehouses/lon1", &place("London", false)).await.status, 200);
    let gone = server.anyone().get("/v1/skus/ONLY/availability").await;
    assert_eq!(gone.body["state"], "sold_out", "{gone:?}");
    let wanted = json!({ "reference": "r", "lines": [{ "sku": "ONLY", "quantity": 1 }] });
    let reserved = seller.post("/v1/reservations", Some("r"), Some(&wanted)).await;
    assert_eq!((reserved.status, reserved.code()), (409, "sold_out"), "{reserved:?}");
    // Units that come while it is closed are on hand, and for sale when it opens again.
    server.with_product("LATE").await;
    let late = json!({ "warehouse": "lon1", "units": 4 });
    let late = seller.post("/v1/inventory/LATE/receipts", Some("late"), Some(&late)).await;
    assert_eq!((&late.body["on_hand"], &late.body["available"]), (&json!(4), &json!(0)), "{late:?}");
    assert_eq!(seller.put("/v1/warehouses/lon1", &place("London", true)).await.status, 200);
    for sku in ["ONLY", "LATE"] {
        let sold = seller.post("/v1/orders", Some(sku), Some(&order_of(sku, 4))).await;
        assert_eq!(sold.status, 201, "{sold:?}");
    }
}

#[tokio::test]
async fn an_order_holds_units_for_the_hold_time_of_its_sku() {
    let server = Server::start().await;
    let seller = server.seller();
    server.with_stock("A", 1).await;
    server.with_stock("B", 5).await;
    let product = json!({ "title": "Nova Low", "skus": [{ "sku": "A", "hold_s": 180, "prices": [{ "amount": 12999, "currency": "GBP" }] }] });
    assert_eq!(seller.put("/v1/products/p-A", &product).await.status, 200);
    let between = |from: &Value, to: &Value| (seconds(to) - seconds(from)).rem_euclid(24 * 3_600);
    let length = |order: &Value| between(&order["placed_at"], &order["expires_at"]);
    let mut both = order_of("A", 1);
    both["lines"] = json!([{ "sku": "A", "quantity": 1 }, { "sku": "B", "quantity": 1 }]);
    let both = seller.post("/v1/orders", Some("both"), Some(&both)).await;
    assert_eq!((both.status, length(&both.body)), (201, 180), "{both:?}");
    let other = seller.post("/v1/orders", Some("other"), Some(&order_of("B", 1))).await;
    assert!(length(&other.body) > 180, "the shop's own time: {other:?}");
    // The next shopper learns at once when the unit may come back.
    let seen = server.anyone().get("/v1/skus/A/availability").await;
    assert_eq!(seen.body["state"], "all_reserved", "{seen:?}");
    let until_release = between(&both.body["placed_at"], &seen.body["next_release_at"]);
    assert!((180..length(&other.body)).contains(&until_release), "{seen:?}");
    let refused = seller.post("/v1/orders", Some("more"), Some(&order_of("A", 1))).await;
    assert_eq!(refused.body["lines"][0]["next_release_at"], seen.body["next_release_at"], "{refused:?}");
}

/// The time of day of an instant, in whole seconds.
fn seconds(at: &Value) -> i64 {
    let text = at.as_str().unwrap_or_else(|| panic!("{at} is no instant"));
    let part = |from: usize| text[from..from + 2].parse::<i64>().expect("two digits");
    part(11) * 3_600 + part(14) * 60 + part(17)
}

#[tokio::test]
async fn what_happened_to_the_stock_can_be_read_newest_first_with_who_and_why() {
    let server = Server::start().await;
    let seller = server.seller();
    server.with_stock("A", 100).await;
    let path = |way: &str| format!("/v1/inventory/A/{way}");
    let damaged =
        json!({ "warehouse": "lon1", "delta": -40, "reason": "damaged", "note": "flooded shelf in aisle nine" });
    assert_eq!(seller.post(&path("adjustments"), Some("a"), Some(&damaged)).await.status, 201);
    // Sales are no movements, however many come between.
    for number in 0..300 {
        let wanted = json!({ "reference": format!("r{number}"), "lines": [{ "sku": "A", "quantity": 1 }] });
        let key = format!("r{number}");
        let made = seller.post("/v1/reservations", Some(&key), Some(&wanted)).await;
        let release =
            format!("/v1/reservations/{}/release", made.body["id"].as_str().expect("an id").replace('~', "%7E"));
        assert_eq!(seller.post(&release, Some(&key), Some(&json!({}))).await.status, 200, "{made:?}");
    }
    let counted = json!({ "warehouse": "lon1", "counted": 58 });
    assert_eq!(seller.post(&path("counts"), Some("c"), Some(&counted)).await.status, 201);
    let more = json!({ "warehouse": "lon1", "units": 7, "reference": "PO-4711" });
    assert_eq!(seller.post(&path("receipts"), Some("more"), Some(&more)).await.status, 201);

    let all = seller.get(&path("movements")).await;
    let told: Vec<_> = all.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["type"].clone(), one["changes"][0]["units"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (json!("received"), json!(7)),
            (json!("counted"), json!(-2)),
            (json!("adjusted"), json!(-40)),
            (json!("received"), json!(100))
        ]
    );
    assert_eq!((all.status, &all.body["next_cursor"]), (200, &Value::Null), "{all:?}");
    let [newest, _, corrected, _] = all.body["data"].as_array().expect("a list").as_slice() else { panic!("{all:?}") };
    assert_eq!((&newest["reference"], &newest["changes"][0]["warehouse"]), (&json!("PO-4711"), &json!("lon1")));
    assert_eq!((&corrected["reason"], &corrected["note"]), (&json!("damaged"), &json!("flooded shelf in aisle nine")));
    assert_eq!(corrected["by"], json!({ "kind": "seller", "id": "sel_main" }));

    // Page by page the same, one at a time.
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = seller.get(&format!("{}?limit=1{cursor}", path("movements"))).await;
        pages.extend(page.body["data"].as_array().expect("a list").clone());
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(&Value::Array(pages), &all.body["data"]);
    assert_eq!(seller.get(&format!("{}?cursor=x", path("movements"))).await.code(), "invalid_cursor");
    assert_eq!(seller.get("/v1/inventory/NONE/movements").await.status, 404);
    assert_eq!(server.anyone().get(&path("movements")).await.status, 401);
}

async fn level(server: &Server, sku: &str) -> Value {
    server.seller().get(&format!("/v1/inventory/{sku}")).await.body["levels"][0].clone()
}

#[tokio::test]
async fn a_shipment_is_undone_or_sent_again_and_the_levels_say_what_is_in_the_building() {
    let server = Server::start().await;
    let seller = server.seller().with("Prefer", "wait=5");
    server.with_stock("A", 5).await;
    let order = seller.post("/v1/orders", Some("o"), Some(&paid_order_of("A", 2, "tok_ok"))).await;
    assert_eq!(order.body["status"], "confirmed", "{order:?}");
    let path = order.header("location").expect("a place").to_owned();
    let shipments = format!("{path}/shipments");
    let first = seller.post(&shipments, Some("s1"), Some(&json!({}))).await;
    assert_eq!(first.status, 201, "{first:?}");
    let at =
        |shipment: &crate::client::Answer| format!("/v1/shipments/{}", shipment.body["id"].as_str().expect("an id"));
    for _ in 0..2 {
        let undone = seller.post(&format!("{}/undo", at(&first)), Some("u"), None).await;
        assert_eq!((undone.status, &undone.body["status"]), (200, &json!("undone")), "{undone:?}");
    }
    assert_eq!(seller.get(&path).await.body["status"], "confirmed");
    let second = seller.post(&shipments, Some("s2"), Some(&json!({}))).await;
    assert_eq!(second.status, 201, "{second:?}");
    let early = seller.post(&format!("{}/resend", at(&second)), Some("r0"), None).await;
    assert_eq!((early.status, early.code()), (409, "wrong_state"), "{early:?}");
    assert_eq!(seller.post(&format!("{}/lose", at(&second)), Some("l"), None).await.status, 200);
    let resent = seller.post(&format!("{}/resend", at(&second)), Some("r"), None).await;
    assert_eq!(resent.status, 200, "{resent:?}");
    let is_resent = || async { seller.get(&at(&second)).await.body["status"] == "resent" };
    for _ in 0..200 {
        if is_resent().await {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(is_resent().await);
    let now = level(&server, "A").await;
    assert_eq!((&now["on_hand"], &now["to_ship"]), (&json!(1), &json!(2)), "two of five are lost: {now}");
    assert_eq!(seller.post(&shipments, Some("s3"), Some(&json!({}))).await.status, 201);
}

#[tokio::test]
async fn a_reservation_that_was_shipped_is_not_to_ship_any_more() {
    let server = Server::start().await;
    let seller = server.seller();
    server.with_stock("A", 5).await;
    server.with_stock("B", 5).await;
    for (number, lines) in
        [json!([{ "sku": "A", "quantity": 1 }]), json!([{ "sku": "A", "quantity": 1 }, { "sku": "B", "quantity": 1 }])]
            .into_iter()
            .enumerate()
    {
        let body = json!({ "reference": format!("r{number}"), "lines": lines });
        let made = seller.post("/v1/reservations", None, Some(&body)).await;
        assert_eq!(made.status, 201, "{made:?}");
        let path = made.header("location").expect("a place").to_owned();
        let early = seller.post(&format!("{path}/ship"), Some("e"), None).await;
        assert_eq!((early.status, early.code()), (409, "wrong_state"), "{early:?}");
        let committed = seller.post(&format!("{path}/commit"), Some("c"), None).await;
        assert_eq!((committed.status, &committed.body["shipped_at"]), (200, &json!(null)), "{committed:?}");
        assert_eq!(level(&server, "A").await["to_ship"], 1);
        let shipped = seller.post(&format!("{path}/ship"), Some("s"), None).await;
        assert!(shipped.status == 200 && shipped.body["shipped_at"].is_string(), "{shipped:?}");
        assert_eq!(level(&server, "A").await["to_ship"], 0);
    }
    let body = json!({ "reference": "at-once", "lines": [{ "sku": "B", "quantity": 2 }] });
    let made = seller.post("/v1/reservations", None, Some(&body)).await;
    let path = made.header("location").expect("a place").to_owned();
    let sold = seller.post(&format!("{path}/commit"), Some("c"), Some(&json!({ "shipped": true }))).await;
    assert!(sold.status == 200 && sold.body["shipped_at"].is_string(), "{sold:?}");
    let now = level(&server, "B").await;
    assert_eq!((&now["on_hand"], &now["to_ship"]), (&json!(2), &json!(0)), "{now}");
}
