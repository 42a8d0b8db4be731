//! What an order claims beside stock: an external id of its own, and units that its buyer or its door may hold unpaid.

use crate::client::Answer;
use crate::server::{Server, order_of, paid_order_of};
use doorbuster_api::settings::{ShopSettings, UnpaidUnits};
use doorbuster_api::{ApiSettings, SocketLimits};
use serde_json::{Value, json};

fn order_path(answer: &Answer) -> String {
    format!("/v1/orders/{}", answer.body["id"].as_str().expect("an id"))
}

fn named(external_id: &str) -> Value {
    let mut order = order_of("A", 1);
    order["external_id"] = json!(external_id);
    order
}

#[tokio::test]
async fn an_external_id_is_one_orders_until_that_order_ends_unconfirmed() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let first = seller.post("/v1/orders", Some("a"), Some(&named("shop-1"))).await;
    assert_eq!((first.status, &first.body["external_id"]), (201, &json!("shop-1")), "{first:?}");
    let second = seller.post("/v1/orders", Some("b"), Some(&named("shop-1"))).await;
    assert_eq!((second.status, second.code()), (409, "name_taken"), "{second:?}");
    assert_eq!(second.body["errors"][0]["pointer"], "/external_id");
    let again = seller.post("/v1/orders", Some("b"), Some(&named("shop-1"))).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (409, Some("true")), "{again:?}");
    let repeated = seller.post("/v1/orders", Some("a"), Some(&named("shop-1"))).await;
    assert_eq!((repeated.status, &repeated.body["id"]), (201, &first.body["id"]), "the same request is the same order");
    let other = seller.post("/v1/orders", Some("c"), Some(&named("shop-2"))).await;
    assert_eq!(other.status, 201, "{other:?}");
    let available = server.guest().await.get("/v1/skus/A/availability").await;
    assert_eq!(available.body["units_left"], 8, "the refused one holds nothing: {available:?}");

    let cancelled = seller.post(&format!("{}/cancel", order_path(&first)), Some("d"), None).await;
    assert_eq!(cancelled.body["status"], "cancelled", "{cancelled:?}");
    let mut paid = paid_order_of("A", 1, "tok_ok");
    paid["external_id"] = json!("shop-1");
    let third = server.seller().with("Prefer", "wait=10").post("/v1/orders", Some("e"), Some(&paid)).await;
    assert_eq!((third.status, &third.body["status"]), (201, &json!("confirmed")), "it is free again: {third:?}");
    let fourth = seller.post("/v1/orders", Some("f"), Some(&named("shop-1"))).await;
    assert_eq!((fourth.status, fourth.code()), (409, "name_taken"), "a confirmed order keeps it: {fourth:?}");
}

fn of_buyer(units: u32, email: &str, line1: &str) -> Value {
    let mut order = order_of("A", units);
    order["buyer"]["email"] = json!(email);
    order["ship_to"]["line1"] = json!(line1);
    order
}

#[tokio::test]
async fn a_buyer_and_a_door_hold_no_more_unpaid_units_than_the_shop_lets_them() {
    let shop = ShopSettings { unpaid_units: UnpaidUnits { buyer: 2, address: 3 }, ..ShopSettings::default() };
    let server = Server::with(SocketLimits::default(), ApiSettings { shop, ..ApiSettings::default() }).await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await.with("Prefer", "wait=10");
    let place = async |key: &str, order: Value| guest.post("/v1/orders", Some(key), Some(&order)).await;
    let first = place("a", of_buyer(2, "ann@b.example", "1 High St")).await;
    assert_eq!(first.status, 201, "{first:?}");
    let more = place("b", of_buyer(1, "Ann+2@B.example", "2 High St")).await;
    assert_eq!((more.status, more.code()), (422, "limit_exceeded"), "{more:?}");
    let figures = [&more.body["limit"], &more.body["used"], &more.body["wanted"], &more.body["claim"]];
    assert_eq!(figures, [&json!(2), &json!(2), &json!(1), &json!("unpaid_by_buyer")]);
    let door = place("c", of_buyer(2, "bob@b.example", "1, HIGH ST.")).await;
    assert_eq!((door.code(), &door.body["claim"]), ("limit_exceeded", &json!("unpaid_by_address")), "{door:?}");
    assert_eq!(place("d", of_buyer(1, "bob@b.example", "1 High St")).await.status, 201, "a third unit may go there");
    // What is paid is not held unpaid.
    let pay = json!({ "method": "card", "token": "tok_ok" });
    let paid = guest.post(&format!("{}/payment", order_path(&first)), Some("e"), Some(&pay)).await;
    assert_eq!(paid.status, 201, "{paid:?}");
    let after = place("f", of_buyer(2, "ann@b.example", "1 High St")).await;
    assert_eq!(after.status, 201, "{after:?}");
}

#[tokio::test]
async fn a_change_of_mailbox_claims_the_new_before_it_lets_go_of_the_old_and_a_refused_one_changes_nothing() {
    let shop = ShopSettings { unpaid_units: UnpaidUnits { buyer: 2, address: 0 }, ..ShopSettings::default() };
    let server = Server::with(SocketLimits::default(), ApiSettings { shop, ..ApiSettings::default() }).await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await.with("Prefer", "wait=10");
    let place = async |key: &str, order: Value| guest.post("/v1/orders", Some(key), Some(&order)).await;
    let ann = place("a", of_buyer(2, "ann@b.example", "1 High St")).await;
    let bob = place("b", of_buyer(1, "bob@b.example", "1 High St")).await;
    assert_eq!((ann.status, bob.status), (201, 201), "{ann:?} {bob:?}");
    let mailbox = |email: &str| json!({ "buyer": { "email": email, "name": "A. Buyer" } });
    let refused = guest.patch(&order_path(&bob), &mailbox("ann@b.example")).await;
    assert_eq!(
        (refused.status, refused.code(), &refused.body["used"]),
        (422, "limit_exceeded", &json!(2)),
        "{refused:?}"
    );
    let now = guest.get(&order_path(&bob)).await;
    assert_eq!(
        (&now.body["buyer"]["email"], &now.body["status"]),
        (&json!("bob@b.example"), &json!("awaiting_payment"))
    );
    let moved = guest.patch(&order_path(&ann), &mailbox("cid@b.example")).await;
    assert_eq!((moved.status, &moved.body["buyer"]["email"]), (200, &json!("cid@b.example")), "{moved:?}");
    let now = guest.patch(&order_path(&bob), &mailbox("ann@b.example")).await;
    assert_eq!((now.status, &now.body["buyer"]["email"]), (200, &json!("ann@b.example")), "{now:?}");
    assert_eq!(
        place("c", of_buyer(1, "cid@b.example", "1 High St")).await.code(),
        "limit_exceeded",
        "two are held there"
    );
}
