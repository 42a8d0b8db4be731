//! Stock as a seller books it: only into a warehouse that was described, and only of a SKU that a product lists.

use crate::server::{Server, order_of};
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
