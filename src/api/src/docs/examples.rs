//! One example for each body, and for each segment of a path. They tell one story and work as they stand, in this order, in an empty shop: a test
//! sends them.

use serde_json::{Value, json};

/// The warehouse, the product and the SKU of the story.
const WAREHOUSE: &str = "lon1";
const PRODUCT: &str = "nova-low";
const SKU: &str = "NOVA-LOW-42";

/// The example of a segment of a path; `None`: an id that the node makes.
pub(super) fn segment(path: &str, name: &str) -> Option<&'static str> {
    match name {
        "sku" => Some(SKU),
        "provider" => Some("simulated"),
        _ if path.starts_with("/v1/warehouses/") => Some(WAREHOUSE),
        _ if path.starts_with("/v1/products/") => Some(PRODUCT),
        _ => None,
    }
}

/// The example of the body of an operation.
pub(super) fn body(operation: &str) -> Option<Value> {
    let line = || json!({ "sku": SKU, "quantity": 1 });
    let address = || json!({ "name": "A. Buyer", "line1": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB" });
    Some(match operation {
        "PutWarehouse" => json!({ "name": "London", "country": "GB", "postal_code": "N1 9GU" }),
        "PutProduct" => json!({
            "title": "Nova Low", "status": "active", "tax_class": "standard", "option_names": ["size"],
            "skus": [{
                "sku": SKU, "options": { "size": "42" },
                "prices": [{ "amount": 12_999, "currency": "GBP", "tax_included": true }]
            }]
        }),
        "Receive" => json!({ "warehouse": WAREHOUSE, "units": 100, "reference": "PO-17" }),
        "Adjust" => json!({ "warehouse": WAREHOUSE, "delta": -1, "reason": "damaged", "note": "Box crushed" }),
        "Count" => json!({ "warehouse": WAREHOUSE, "counted": 98 }),
        "MakeCart" => json!({ "currency": "GBP" }),
        "PutCartLine" => json!({ "quantity": 1 }),
        "PlaceOrder" => json!({
            "lines": [line()],
            "buyer": { "email": "a@b.example", "name": "A. Buyer" },
            "ship_to": address(),
            "payment": { "method": "card", "token": "tok_ok" }
        }),
        "PatchOrder" => json!({ "note": "Please ring twice." }),
        "PayOrder" => json!({ "method": "card", "token": "tok_ok" }),
        "CancelOrder" => json!({ "reason": "customer" }),
        "RefundOrder" => json!({ "amount": { "amount": 500, "currency": "GBP" }, "reason": "The box was scratched" }),
        "ShipOrder" => json!({ "carrier": "Royal Mail", "tracking_number": "AB123456785GB" }),
        "CorrectShipment" => json!({ "tracking_number": "AB123456794GB" }),
        "ReturnOrder" => json!({ "lines": [{ "line": "1", "quantity": 1, "reason": "Too small" }] }),
        "ReceiveReturn" => {
            json!({ "lines": [{ "line": "1", "quantity": 1, "condition": "as_new", "restock": true }] })
        }
        "RejectReturn" => json!({ "reason": "It was worn" }),
        "MarkPaid" | "MarkRefunded" => json!({ "reference": "BANK-2026-17" }),
        "MakeReservation" => json!({ "reference": "shop-order-991", "lines": [line()], "hold_s": 600 }),
        "MakeReservations" => json!({ "items": [
            { "reference": "shop-order-992", "lines": [line()] },
            { "reference": "shop-order-993", "lines": [line()], "buyer_key": "u_17" }
        ] }),
        "ExtendReservation" => json!({ "hold_s": 900 }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::core::service::tests::NoShop;
    use crate::docs::openapi::describe;
    use crate::routes::routes;

    #[test]
    fn every_body_has_an_example() {
        let document = describe(routes::<NoShop>());
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let Some(content) = operation.pointer("/requestBody/content/application~1json") else { continue };
                let is_signed = operation["operationId"] == "Webhook";
                assert!(is_signed || !content["example"].is_null(), "{method} {path} has no example in examples.rs");
            }
        }
    }
}
