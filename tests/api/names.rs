//! Names as real shops have them: any script, slashes, percent signs, and every way to write them in a path.

use crate::server::{Server, order_of, paid_order_of};
use doorbuster_domain::ids::Sku;
use serde_json::{Value, json};

/// A segment of a path: everything but letters and digits is escaped.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

const NAMES: [&str; 14] = [
    "M8x20 / 100",
    "10%",
    "No. #7",
    "B&W, matt (neu)",
    "a+b c",
    "~/~1",
    "A/counts",
    "..hidden",
    "größe 42",
    "Żółw-1",
    "스니커즈 270",
    "運動靴/白",
    "جزمة-٤٢",
    "हिन्दी जूता",
];

#[tokio::test]
async fn goods_with_the_names_of_real_shops_are_made_read_reserved_and_sold() {
    let server = Server::start().await;
    let seller = server.seller().with("Prefer", "wait=10");
    for (number, name) in NAMES.into_iter().enumerate() {
        let key = |what: &str| format!("{what}-{number}");
        let (warehouse, segment) = (format!("{name} W"), escaped(name));
        let made = seller
            .put(&format!("/v1/warehouses/{}", escaped(&warehouse)), &json!({ "name": "A place", "country": "GB" }))
            .await;
        assert_eq!((made.status, &made.body["id"]), (201, &json!(warehouse)), "{made:?}");
        let price = json!([{ "amount": 333, "currency": "GBP", "tax_included": true }]);
        let product = json!({ "title": "T", "status": "active", "skus": [{ "sku": name, "prices": price }] });
        let made = seller.put(&format!("/v1/products/{segment}"), &product).await;
        assert_eq!((made.status, &made.body["skus"][0]["sku"]), (201, &json!(name)), "{made:?}");
        let receipt = json!({ "warehouse": warehouse, "units": 10 });
        let stock = format!("/v1/inventory/{segment}");
        let booked = seller.post(&format!("{stock}/receipts"), Some(&key("r")), Some(&receipt)).await;
        assert_eq!((booked.status, &booked.body["warehouse"]), (201, &json!(warehouse)), "{booked:?}");
        let again = seller.post(&format!("{stock}/receipts"), Some(&key("r")), Some(&receipt)).await;
        assert_eq!((again.body["on_hand"].as_u64(), again.status), (Some(10), 201), "the same request again");
        let body = json!({ "reference": key("ref"), "lines": [{ "sku": name, "quantity": 1 }] });
        let held = seller.post("/v1/reservations", None, Some(&body)).await;
        assert_eq!(held.status, 201, "{held:?}");
        let path = held.header("location").expect("a path").to_owned();
        let read = seller.get(&path).await;
        assert_eq!((read.status, &read.body["id"]), (200, &held.body["id"]), "{path}: {read:?}");
        assert_eq!(read.body["lines"][0]["sku"], name);
        assert_eq!(seller.post(&format!("{path}/commit"), Some(&key("c")), None).await.status, 200, "{path}");
        let found = seller.get(&format!("/v1/reservations?sku={segment}")).await;
        assert_eq!(found.body["data"].as_array().map(Vec::len), Some(1), "{found:?}");
        let sold = seller.post("/v1/orders", Some(&key("o")), Some(&paid_order_of(name, 2, "tok_ok"))).await;
        assert_eq!((sold.status, &sold.body["status"]), (201, &json!("confirmed")), "{sold:?}");
        assert_eq!(sold.body["lines"][0]["allocations"][0]["warehouse"], warehouse);
        let guest = server.guest().await;
        let cart = guest.post("/v1/carts", Some(&key("t")), Some(&json!({ "currency": "GBP" }))).await;
        let line = format!("/v1/carts/{}/lines/{segment}", cart.body["id"].as_str().expect("an id"));
        let put = guest.put(&line, &json!({ "quantity": 1 })).await;
        assert_eq!((put.status, &put.body["lines"][0]["sku"]), (200, &json!(name)), "{put:?}");
        let moved = seller.get(&format!("{stock}/movements")).await;
        let text = moved.body.to_string();
        assert!(moved.status == 200 && text.contains(&warehouse) && !text.contains("null,null,null"), "{moved:?}");
        let levels = seller.get(&stock).await;
        assert_eq!(
            (&levels.body["sku"], &levels.body["levels"][0]["on_hand"]),
            (&json!(name), &json!(7)),
            "{levels:?}"
        );
    }
}

/// One text in two normal forms is one name, in a path, in a body and in a query.
#[tokio::test]
async fn a_name_in_another_normal_form_is_the_same_name() {
    let (composed, apart) = ("Caf\u{e9}", "Cafe\u{301}");
    assert_eq!(Sku::parse(apart), Sku::parse(composed));
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let seller = server.seller().with("Prefer", "wait=10");
    let price = json!([{ "amount": 333, "currency": "GBP", "tax_included": true }]);
    let product = json!({ "title": "T", "status": "active", "skus": [{ "sku": composed, "prices": price }] });
    let made = seller.put(&format!("/v1/products/{}", escaped(apart)), &product).await;
    assert_eq!((made.status, &made.body["id"]), (201, &json!(composed)), "{made:?}");
    let receipt = json!({ "warehouse": "lon1", "units": 10 });
    let stock = format!("/v1/inventory/{}/receipts", escaped(composed));
    assert_eq!(seller.post(&stock, Some("r"), Some(&receipt)).await.status, 201);
    let read = seller.get(&format!("/v1/inventory/{}", escaped(apart))).await;
    assert_eq!((read.status, &read.body["sku"]), (200, &json!(composed)), "{read:?}");
    let order = seller.post("/v1/orders", Some("a"), Some(&order_of(apart, 1))).await;
    assert_eq!((order.status, &order.body["lines"][0]["sku"]), (201, &json!(composed)), "{order:?}");
    let adjust = json!({ "warehouse": "lon1", "delta": 1, "reason": "found" });
    let path = |name: &str| format!("/v1/inventory/{}/adjustments", escaped(name));
    let first = seller.post(&path(composed), Some("k"), Some(&adjust)).await;
    let again = seller.post(&path(apart), Some("k"), Some(&adjust)).await;
    assert_eq!((first.status, &again.body), (201, &first.body), "one path, so one request");
    let found = seller.get(&format!("/v1/reservations?sku={}", escaped(apart))).await;
    assert_eq!((found.status, &found.body["data"]), (200, &Value::Array(Vec::new())), "{found:?}");
}
