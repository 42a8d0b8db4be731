//! What the description says of fields beyond their types: their meaning, the words they may have, lists that must not be empty.
//!
//! A field is one thing wherever it stands, so most rows name the field alone; `Schema.field` is for those that mean something else there. A field
//! whose type has a comment in the code keeps that comment.

use serde_json::{Map, Value, json};

/// What a field means.
const MEANINGS: &[(&str, &str)] = &[
    ("active", "Does it sell? An inactive warehouse counts nowhere."),
    ("added_at", "When the line was added."),
    ("allocations", "The warehouses that its units come from."),
    ("allowed", "What this caller may do now."),
    ("alt", "What the image shows, in words."),
    ("amount", "The money, in minor units."),
    ("Price.amount", "The price, in minor units."),
    ("as_of", "Everything up to this instant is in the list."),
    ("at", "When it happened."),
    ("attempt", "The number of the attempt, from 1."),
    ("attributes", "Free pairs, by category."),
    ("authorization_expires_at", "When the authorization ends by itself."),
    ("availability", "The stock that the shopper is shown."),
    ("available", "Units that can be sold now: not sold, not reserved, not held. Never below 0."),
    ("barcode", "The barcode of the article."),
    ("bill_to", "The billing address; null: the delivery address."),
    ("brand", "The brand."),
    ("buyer", "Who buys. Personal data: null after an erasure."),
    ("buyer_key", "The caller's own name for the buyer."),
    ("by", "Who did it."),
    ("cancelled", "Units that were cancelled."),
    ("capture", "When the money is taken."),
    ("captured", "Money that was taken."),
    ("carrier", "Who carries it."),
    ("category", "The path of categories, the widest first."),
    ("changes", "What changed, by warehouse."),
    ("city", "The city."),
    ("code", "The stable name of what happened."),
    ("Problem.code", "The stable name of the problem."),
    ("company", "The company."),
    ("condition", "In what condition it came back; null: it has not."),
    ("confirmed_at", "When the order was confirmed; null: it is not."),
    ("country", "The country, ISO 3166-1 alpha-2."),
    ("created_at", "When it was made."),
    ("currency", "The currency, ISO 4217."),
    ("data", "The rows of this page."),
    ("FeedEvent.data", "What the event tells beside its subject; which fields there are follows from the type."),
    ("Event.data", "What the event is about; its fields follow from the type."),
    ("delivered", "Units that were delivered."),
    ("delivered_at", "When it was delivered; null: it is not."),
    ("description", "The description."),
    ("detail", "What happened this time, in words."),
    ("due", "What is to be paid for all that is shipped or still wanted."),
    ("email", "The e-mail address."),
    ("errors", "The faults of the body, each with its place."),
    ("expected_at", "When the units are expected."),
    ("expires_at", "When it ends by itself."),
    ("external_id", "The other system's id."),
    ("fulfilment_status", "How far the units are."),
    ("granted", "Units that were reserved."),
    ("hold_s", "How long it is reserved for an order, in seconds; null: the setting."),
    ("hs_code", "The tariff number, for customs."),
    ("id", "The id."),
    ("By.id", "The id of who did it; null: the kind says all."),
    ("OrderLine.id", "The number of the line in its order."),
    ("images", "The images, the first one first."),
    ("in_building", "Units that a count finds: on hand and to be shipped."),
    ("incoming", "Announced receipts."),
    ("kind", "What it is."),
    ("By.kind", "What kind of principal it was."),
    ("last_error", "Why the last attempt to pay failed; null: it did not."),
    ("last_receipt_at", "When units last arrived."),
    ("levels", "The stock of each warehouse."),
    ("line", "The number of the order's line."),
    ("line1", "Street and number."),
    ("line2", "A second line of the address."),
    ("lines", "The lines."),
    ("locale", "The language that the buyer reads, as in en-GB."),
    ("low_stock_at", "At this many units or fewer it is shown as low; null: the setting."),
    ("max_per_order", "The most units of one order; null: no bound of its own."),
    ("message", "What happened, in words."),
    ("metadata", "The caller's own pairs, which are stored and not read."),
    ("method", "The method of the payment."),
    ("name", "The name."),
    ("next_action", "What the shopper must do; null: nothing."),
    ("next_cursor", "What `cursor` takes for the next page; null: this is the last."),
    ("next_release_at", "When the next reservation ends by itself; null: none does."),
    ("note", "The buyer's note."),
    ("notices", "What changed since the shopper last looked."),
    ("now", "As it is now."),
    ("number", "The number of the event in its order, from 1."),
    ("Order.number", "The order's number for people."),
    ("on_hand", "Units that are not sold."),
    ("option", "The shipping option."),
    ("option_names", "The axes that a page lets shoppers choose from."),
    ("options", "Where it stands on the product's axes."),
    ("order", "The order."),
    (
        "order_token",
        "The token with which its holder reads, pays and returns this order; only in the answer that makes the order.",
    ),
    ("origin", "The country of origin."),
    ("payment", "The payment."),
    ("payment_status", "The state of the last attempt to pay."),
    ("payments", "The attempts to pay, the first one first."),
    ("phone", "The telephone number."),
    ("placed_at", "When the order was placed."),
    ("postal_code", "The postal code."),
    ("price", "The price of the delivery."),
    ("price_when_added", "What one unit cost when the line was added."),
    ("prices", "The prices, one for each currency."),
    ("priority", "Warehouses with a smaller number are preferred."),
    ("product", "The product."),
    ("provider", "The payment provider."),
    ("provider_reference", "The provider's own name for the payment."),
    ("quantity", "Units."),
    ("rate_ppm", "The rate, in parts per million: 200000 is 20 %."),
    ("reason", "Why, in words."),
    ("received", "Units that came back."),
    ("reference", "The caller's own name for it."),
    ("refund", "The refund of the return."),
    ("refundable", "What can still be refunded."),
    ("refunded", "Money that went back."),
    ("refunds", "The refunds of the payment."),
    ("region", "The region or state."),
    ("rejected_because", "Why the return was rejected; null: it was not."),
    ("reserved", "Units reserved for orders and reservations that are not decided yet."),
    ("restock", "Did the units go back on sale? null: none came back yet."),
    ("results", "One result for each item, in their order."),
    ("retry", "What a caller may do."),
    ("Problem.retry", "May the request be sent again, and how."),
    ("retry_after_s", "Seconds to wait before that; null: none."),
    ("return_status", "How far returns are."),
    ("returned", "Units that came back."),
    ("returns", "The returns."),
    ("seller", "The seller's account."),
    ("ship_to", "The delivery address. Personal data: null after an erasure."),
    ("shipment", "The shipment; null: none."),
    ("shipments", "The shipments."),
    ("shipped", "Units that were shipped."),
    ("shipped_at", "When it was shipped."),
    ("shipping", "The delivery; null: nothing is delivered."),
    ("Totals.shipping", "The price of the delivery."),
    ("size_mm", "Length, width and height, in millimetres."),
    ("sku", "The SKU."),
    ("skus", "The SKUs."),
    ("state", "The state of the stock."),
    ("status", "The state."),
    ("Problem.status", "The HTTP status."),
    ("subtotal", "The price of all units, before tax and delivery where tax is added."),
    ("tax", "All taxes together."),
    ("tax_class", "The class that decides the rate of tax."),
    ("tax_id", "The tax id, for customs and invoices."),
    ("tax_included", "Do the prices include the tax?"),
    ("taxes", "The taxes of the line."),
    ("title", "The title."),
    ("Problem.title", "The problem in a few words; the same for each `code`."),
    ("to_ship", "Units that are sold and still on the shelf."),
    ("total", "What the line costs, tax included."),
    ("Totals.total", "What the order costs, tax and delivery included."),
    ("totals", "The sums."),
    ("tracking_number", "The carrier's number."),
    ("tracking_url", "The carrier's page."),
    ("type", "What it is."),
    ("Problem.type", "A URI for the kind of problem."),
    ("unit_price", "The price of one unit."),
    ("units", "Units."),
    ("units_left", "Units that can be sold; null: not told."),
    ("updated_at", "When it last changed."),
    ("url", "The address."),
    ("version", "The number of its changes; the `ETag` of the resource."),
    ("warehouse", "The warehouse."),
    ("was", "As it was before; null: as now."),
    ("weight_g", "The weight, in grams."),
    ("window_ends_at", "Until when the order can be returned."),
];

/// The words that a field may have. Clients skip what they do not know: within v1 words may be added.
const WORDS: &[(&str, &[&str])] = &[
    ("Availability.state", STOCK_STATES),
    ("LineStock.state", STOCK_STATES),
    ("Cart.status", &["open", "frozen", "ordered", "expired"]),
    (
        "Order.status",
        &[
            "placed",
            "awaiting_payment",
            "authorizing",
            "requires_action",
            "confirmed",
            "picking",
            "shipped",
            "delivered",
            "returned",
            "refunded",
            "sold_out",
            "rejected",
            "expired",
            "payment_failed",
            "cancelled",
        ],
    ),
    ("Order.payment_status", PAYMENT_STATES),
    (
        "Order.fulfilment_status",
        &["not_required", "unfulfilled", "partially_shipped", "shipped", "partially_delivered", "delivered"],
    ),
    ("Order.return_status", &["none", "requested", "partially_returned", "returned"]),
    ("Payment.status", PAYMENT_STATES),
    ("Payment.capture", &["on_confirmation", "on_shipment", "manual"]),
    ("Payment.method", &["card", "wallet", "bank_transfer", "manual"]),
    ("Product.status", PRODUCT_STATES),
    ("Sku.status", PRODUCT_STATES),
    ("Refund.status", &["pending", "succeeded", "failed"]),
    ("Return.status", &["requested", "approved", "rejected", "received", "closed"]),
    ("ReturnRefund.status", &["pending", "succeeded"]),
    ("PaymentError.retry", &["same_method", "other_method", "none"]),
    ("By.kind", &["system", "seller", "shopper", "guest", "provider", "operator"]),
    ("Notice.code", &["price_changed", "low_stock", "sold_out"]),
    ("FeedEvent.type", EVENT_TYPES),
    ("Subject.kind", &["order", "payment", "return", "sku", "product"]),
    ("EventData.operation", &["authorize", "capture", "void", "refund"]),
    ("Shipment.status", &["shipped", "delivered", "lost", "undone", "resending", "resent"]),
];
const STOCK_STATES: &[&str] = &["in_stock", "low_stock", "all_reserved", "sold_out", "ended"];
const PAYMENT_STATES: &[&str] = &[
    "not_required",
    "pending",
    "requires_action",
    "processing",
    "unknown",
    "authorized",
    "partially_captured",
    "captured",
    "partially_refunded",
    "refunded",
    "voided",
    "failed",
];
/// Types of events, in the order of the contract.
const EVENT_TYPES: &[&str] = &[
    "order.placed",
    "order.payment_required",
    "order.confirmed",
    "order.amended",
    "order.shipped",
    "order.delivered",
    "order.shipment_lost",
    "order.shipment_undone",
    "order.cancelled",
    "order.expired",
    "order.sold_out",
    "order.rejected",
    "order.payment_failed",
    "order.refunded",
    "order.personal_erased",
    "payment.started",
    "payment.requires_action",
    "payment.processing",
    "payment.authorized",
    "payment.declined",
    "payment.captured",
    "payment.voided",
    "payment.refund_started",
    "payment.refused",
    "payment.reversed",
    "payment.waived",
    "return.requested",
    "return.approved",
    "return.rejected",
    "return.received",
    "inventory.received",
    "inventory.adjusted",
    "product.created",
    "product.updated",
];
const PRODUCT_STATES: &[&str] = &["draft", "active", "archived"];

/// Lists in bodies that must not be empty where they are given.
pub(super) const NOT_EMPTY: &[&str] = &["ReceiveBody.lines", "RefundBody.lines", "ReturnBody.lines"];

/// Fields of problems beside those that every problem has, and what they hold.
const OF_PROBLEMS: &[(&str, &str, &str)] = &[
    ("allowed", "array", "What this caller may do now, where the order is in a state that does not allow the request."),
    ("capturable", "object", "What can still be captured."),
    ("current_version", "integer", "The newest version, where another one was named."),
    ("expected", "object", "The price or total that the caller expected."),
    ("in_building", "integer", "What a count would find now."),
    ("limit", "integer", "The bound that was passed."),
    ("line", "string", "The line that it is about."),
    ("lines", "array", "The lines that it is about, each with what is left of it."),
    ("now", "object", "The price or total as it is now."),
    ("order", "string", "The order that it is about."),
    ("order_status", "string", "The state that does not allow it."),
    ("refundable", "object", "What can still be refunded."),
    ("reservation_status", "string", "The state of the reservation that does not allow it."),
    ("reservations", "array", "The reservations in the way."),
    ("scope", "string", "The scope that the key lacks."),
    ("wanted", "integer", "What was asked for."),
    ("window_ended_at", "string", "Until when the order could be returned."),
];

/// Adds the fields that some problems have.
pub(super) fn add_to_problem(properties: &mut Map<String, Value>) {
    for (name, kind, meaning) in OF_PROBLEMS {
        let mut field = json!({ "type": [kind, "null"], "description": meaning });
        if let (Some(field), "array") = (field.as_object_mut(), *kind) {
            field.insert("items".into(), json!({}));
        }
        properties.insert((*name).to_owned(), field);
    }
}

/// Adds what is said here to the schemas of the description.
pub(super) fn add_to_schemas(schemas: &mut Map<String, Value>) {
    for (schema, of) in schemas.iter_mut() {
        let Some(properties) = of.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for (name, field) in properties {
            if *field == Value::Bool(true) {
                *field = json!({});
            }
            let Some(field) = field.as_object_mut() else { continue };
            let full = format!("{schema}.{name}");
            if !field.contains_key("description")
                && let Some(meaning) = row(MEANINGS, &full).or_else(|| row(MEANINGS, name))
            {
                field.insert("description".into(), (*meaning).into());
            }
            if let Some(words) = row(WORDS, &full) {
                field.insert("enum".into(), json!(words));
            }
            if NOT_EMPTY.contains(&full.as_str()) {
                field.insert("minItems".into(), 1.into());
            }
        }
    }
}

/// The words that a field may have, by the name of its schema and its own; none: any text.
pub(crate) fn words_of(field: &str) -> &'static [&'static str] {
    row(WORDS, field).copied().unwrap_or_default()
}

fn row<T>(table: &'static [(&'static str, T)], name: &str) -> Option<&'static T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::tests::NoShop;
    use crate::core::words::status_word;
    use crate::docs::openapi::describe;
    use crate::payments::views::payment_word;
    use crate::routes::routes;
    use doorbuster_domain::order::{PaymentStatus, Status};
    use std::collections::BTreeSet;

    #[test]
    fn every_field_says_what_it_means_and_no_row_is_left_over() {
        let document = describe(routes::<NoShop>());
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut names = BTreeSet::new();
        for (schema, of) in schemas {
            for (name, field) in of.get("properties").and_then(Value::as_object).into_iter().flatten() {
                assert!(field["description"].is_string(), "{schema}.{name} says nothing");
                names.insert(name.clone());
                names.insert(format!("{schema}.{name}"));
            }
        }
        let rows = MEANINGS.iter().map(|(name, _)| *name).chain(WORDS.iter().map(|(name, _)| *name));
        let left_over: Vec<&str> =
            rows.chain(NOT_EMPTY.iter().copied()).filter(|name| !names.contains(*name)).collect();
        assert!(left_over.is_empty(), "{left_over:?}");
    }

    #[test]
    fn states_are_described_with_the_words_they_have() {
        let words = |name: &str| row(WORDS, name).unwrap().iter().copied().collect::<BTreeSet<_>>();
        let order = [
            Status::Placed,
            Status::AwaitingPayment,
            Status::Authorizing,
            Status::RequiresAction,
            Status::Confirmed,
            Status::Picking,
            Status::Shipped,
            Status::Delivered,
            Status::Returned,
            Status::Refunded,
            Status::SoldOut,
            Status::Rejected,
            Status::Expired,
            Status::PaymentFailed,
            Status::Cancelled,
        ];
        assert_eq!(words("Order.status"), order.map(status_word).into());
        let payment = [
            PaymentStatus::NotRequired,
            PaymentStatus::Pending,
            PaymentStatus::RequiresAction,
            PaymentStatus::Processing,
            PaymentStatus::Unknown,
            PaymentStatus::Authorized,
            PaymentStatus::PartiallyCaptured,
            PaymentStatus::Captured,
            PaymentStatus::PartiallyRefunded,
            PaymentStatus::Refunded,
            PaymentStatus::Voided,
            PaymentStatus::Failed,
        ];
        assert_eq!(words("Payment.status"), payment.map(payment_word).into());
    }

    #[test]
    fn no_list_must_be_empty() {
        fn walk(value: &Value, path: &str) {
            assert!(value.get("maxItems").is_none_or(|most| *most != 0), "{path} can hold nothing");
            match value {
                Value::Object(fields) => fields.iter().for_each(|(name, inner)| walk(inner, &format!("{path}/{name}"))),
                Value::Array(items) => items.iter().for_each(|inner| walk(inner, path)),
                _ => {}
            }
        }
        walk(&describe(routes::<NoShop>()), "");
    }
}
