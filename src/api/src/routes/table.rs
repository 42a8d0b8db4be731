//! The table itself: one entry per route of the public port.

use super::{Body, Op, Route, post, read, schema_of};
use crate::callers::Access;
use crate::keys::Scope;
use crate::problem::Code;
use crate::requests as body;
use crate::view;

const CATALOG: Access = Access::Scope(Scope::Catalog);
const INVENTORY: Access = Access::Scope(Scope::Inventory);
const ORDERS: Access = Access::Scope(Scope::Orders);
const PAYMENTS: Access = Access::Scope(Scope::Payments);
const PARTY: Access = Access::OrderParty;

/// What a reservation may be refused with.
const RESERVING: &[Code] = &[
    Code::InvalidIdempotencyKey,
    Code::IdempotencyKeyReused,
    Code::NotFound,
    Code::SoldOut,
    Code::ReservationExpired,
    Code::LimitExceeded,
    Code::SetAside,
];

/// Every route of the public port.
pub static ROUTES: &[Route] = &[
    read(Op::OpenApi, "/openapi.json", "About", Access::Anyone, "This description, as OpenAPI 3.1")
        .answers(&[(200, None)]),
    read(Op::Docs, "/docs", "About", Access::Anyone, "A page to read and try the API").answers(&[(200, None)]),
    read(Op::DocsScript, "/docs/docs.js", "About", Access::Anyone, "Its script").answers(&[(200, None)]),
    read(Op::DocsStyle, "/docs/docs.css", "About", Access::Anyone, "Its style").answers(&[(200, None)]),
    post(Op::PutProduct, "/v1/products/{id}", "Catalogue", CATALOG, "Set a whole product with its SKUs")
        .put()
        .takes(Body::LargeJson(schema_of::<body::ProductBody>))
        .answers(&[(200, Some(schema_of::<view::ProductView>)), (201, Some(schema_of::<view::ProductView>))]),
    read(Op::GetProduct, "/v1/products/{id}", "Catalogue", Access::Anyone, "One product with its SKUs")
        .answers(&[(200, Some(schema_of::<view::ProductView>))]),
    post(Op::PutWarehouse, "/v1/warehouses/{id}", "Inventory", CATALOG, "Set a warehouse")
        .put()
        .takes(Body::Json(schema_of::<body::WarehouseBody>))
        .answers(&[(200, Some(schema_of::<view::WarehouseView>)), (201, Some(schema_of::<view::WarehouseView>))]),
    read(Op::GetWarehouse, "/v1/warehouses/{id}", "Inventory", CATALOG, "One warehouse")
        .answers(&[(200, Some(schema_of::<view::WarehouseView>))]),
    read(Op::GetInventory, "/v1/inventory/{sku}", "Inventory", INVENTORY, "Stock of a SKU, by warehouse")
        .answers(&[(200, Some(schema_of::<view::InventoryView>))]),
    post(Op::Receive, "/v1/inventory/{sku}/receipts", "Inventory", INVENTORY, "Units have arrived, or are announced")
        .takes(Body::Json(schema_of::<body::ReceiptBody>))
        .answers(&[(201, Some(schema_of::<view::LevelView>))])
        .codes(&[Code::LimitExceeded, Code::AmountOverflow]),
    post(Op::Adjust, "/v1/inventory/{sku}/adjustments", "Inventory", INVENTORY, "Correct stock, with a reason")
        .takes(Body::Json(schema_of::<body::AdjustmentBody>))
        .answers(&[(201, Some(schema_of::<view::LevelView>))])
        .codes(&[Code::Promised, Code::AmountOverflow]),
    post(Op::Count, "/v1/inventory/{sku}/counts", "Inventory", INVENTORY, "Set stock by what was counted")
        .takes(Body::Json(schema_of::<body::CountBody>))
        .answers(&[(201, Some(schema_of::<view::LevelView>))])
        .codes(&[Code::Promised, Code::StaleVersion, Code::AmountOverflow]),
    read(
        Op::GetAvailability,
        "/v1/skus/{sku}/availability",
        "Catalogue",
        Access::Anyone,
        "What a shopper may know of a SKU's stock",
    )
    .answers(&[(200, Some(schema_of::<view::AvailabilityView>))]),
    post(
        Op::MakeGuest,
        "/v1/guests",
        "Shopper",
        Access::Anyone,
        "A signed token for a guest, as cookie and in the body",
    )
    .without_key()
    .answers(&[(201, Some(schema_of::<view::GuestView>))]),
    post(Op::MakeCart, "/v1/carts", "Shopper", Access::Shopper, "Make a cart")
        .takes(Body::JsonOrNothing(schema_of::<body::CartBody>))
        .answers(&[(201, Some(schema_of::<view::CartView>))]),
    read(Op::GetCart, "/v1/carts/{id}", "Shopper", Access::Shopper, "One cart with today's prices")
        .answers(&[(200, Some(schema_of::<view::CartView>))]),
    post(
        Op::PutCartLine,
        "/v1/carts/{id}/lines/{sku}",
        "Shopper",
        Access::Shopper,
        "Set a line's quantity; never adds",
    )
    .put()
    .takes(Body::Json(schema_of::<body::CartLineBody>))
    .answers(&[(200, Some(schema_of::<view::CartView>))])
    .codes(&[
        Code::CartFrozen,
        Code::AlreadyOrdered,
        Code::WrongState,
        Code::CurrencyMismatch,
        Code::LimitExceeded,
    ]),
    post(Op::DeleteCartLine, "/v1/carts/{id}/lines/{sku}", "Shopper", Access::Shopper, "Remove a line")
        .delete()
        .answers(&[(200, Some(schema_of::<view::CartView>))])
        .codes(&[Code::CartFrozen, Code::AlreadyOrdered, Code::WrongState]),
    post(
        Op::PlaceOrder,
        "/v1/orders",
        "Orders",
        Access::Shopper,
        "Place an order, and pay it at once if a payment is given",
    )
    .takes(Body::LargeJson(schema_of::<body::OrderBody>))
    .answers(&[(201, Some(schema_of::<view::OrderView>)), (202, Some(schema_of::<view::OrderView>))])
    .codes(&[
        Code::NotFound,
        Code::SoldOut,
        Code::PriceChanged,
        Code::TotalChanged,
        Code::ReservationExpired,
        Code::CartFrozen,
        Code::AlreadyOrdered,
        Code::WrongState,
        Code::LimitExceeded,
        Code::AmountOverflow,
        Code::CurrencyMismatch,
        Code::NotDeliverable,
        Code::SetAside,
    ]),
    read(Op::GetOrder, "/v1/orders/{id}", "Orders", PARTY, "One order, whole")
        .answers(&[(200, Some(schema_of::<view::OrderView>))]),
    post(Op::PatchOrder, "/v1/orders/{id}", "Orders", PARTY, "Change what may still be changed")
        .patch()
        .takes(Body::Json(schema_of::<body::OrderPatchBody>))
        .answers(&[(200, Some(schema_of::<view::OrderView>))])
        .codes(&[Code::WrongState, Code::NotDeliverable, Code::CurrencyMismatch, Code::AmountOverflow]),
    post(Op::CancelOrder, "/v1/orders/{id}/cancel", "Orders", PARTY, "Cancel what has not shipped")
        .takes(Body::JsonOrNothing(schema_of::<body::CancelBody>))
        .answers(&[(200, Some(schema_of::<view::OrderView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded]),
    post(Op::RefundOrder, "/v1/orders/{id}/refunds", "Orders", PAYMENTS, "Give money back without a return")
        .takes(Body::Json(schema_of::<body::RefundBody>))
        .answers(&[(201, Some(schema_of::<view::RefundView>))])
        .codes(&[Code::WrongState, Code::RefundTooLarge, Code::LimitExceeded, Code::CurrencyMismatch]),
    post(Op::CaptureOrder, "/v1/orders/{id}/captures", "Orders", PAYMENTS, "Take money by hand")
        .takes(Body::JsonOrNothing(schema_of::<body::CaptureBody>))
        .answers(&[(201, Some(schema_of::<view::PaymentView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded, Code::CurrencyMismatch]),
    post(Op::PayOrder, "/v1/orders/{id}/payment", "Payments", PARTY, "Try to pay")
        .takes(Body::Json(schema_of::<body::PaymentBody>))
        .answers(&[(201, Some(schema_of::<view::PaymentView>)), (202, Some(schema_of::<view::PaymentView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded]),
    post(Op::ShipOrder, "/v1/orders/{id}/shipments", "Fulfilment", ORDERS, "Hand units to a carrier")
        .takes(Body::JsonOrNothing(schema_of::<body::ShipmentBody>))
        .answers(&[(201, Some(schema_of::<view::ShipmentView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded]),
    post(Op::ReturnOrder, "/v1/orders/{id}/returns", "Fulfilment", PARTY, "Ask to send units back")
        .takes(Body::Json(schema_of::<body::ReturnBody>))
        .answers(&[(201, Some(schema_of::<view::ReturnView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded, Code::ReturnWindowClosed]),
    read(
        Op::OrderEvents,
        "/v1/orders/{id}/events",
        "Orders",
        PARTY,
        "The order's journal: who, what, when, at each step",
    )
    .answers(&[(200, Some(schema_of::<Vec<view::EventView>>))]),
    read(Op::GetPayment, "/v1/payments/{id}", "Payments", PARTY, "One attempt to pay")
        .answers(&[(200, Some(schema_of::<view::PaymentView>))]),
    read(Op::GetShipment, "/v1/shipments/{id}", "Fulfilment", PARTY, "One shipment")
        .answers(&[(200, Some(schema_of::<view::ShipmentView>))]),
    post(Op::DeliverShipment, "/v1/shipments/{id}/deliver", "Fulfilment", ORDERS, "A shipment has arrived")
        .takes(Body::JsonOrNothing(schema_of::<body::EmptyBody>))
        .answers(&[(200, Some(schema_of::<view::ShipmentView>))])
        .codes(&[Code::WrongState]),
    post(Op::LoseShipment, "/v1/shipments/{id}/lose", "Fulfilment", ORDERS, "A shipment will not arrive")
        .takes(Body::JsonOrNothing(schema_of::<body::EmptyBody>))
        .answers(&[(200, Some(schema_of::<view::ShipmentView>))])
        .codes(&[Code::WrongState]),
    read(Op::GetReturn, "/v1/returns/{id}", "Fulfilment", PARTY, "One return")
        .answers(&[(200, Some(schema_of::<view::ReturnView>))]),
    post(Op::ApproveReturn, "/v1/returns/{id}/approve", "Fulfilment", ORDERS, "Agree to a return")
        .takes(Body::JsonOrNothing(schema_of::<body::EmptyBody>))
        .answers(&[(200, Some(schema_of::<view::ReturnView>))])
        .codes(&[Code::WrongState]),
    post(Op::RejectReturn, "/v1/returns/{id}/reject", "Fulfilment", ORDERS, "Do not agree to a return")
        .takes(Body::Json(schema_of::<body::RejectBody>))
        .answers(&[(200, Some(schema_of::<view::ReturnView>))])
        .codes(&[Code::WrongState]),
    post(Op::ReceiveReturn, "/v1/returns/{id}/receive", "Fulfilment", ORDERS, "Units came back; they are refunded")
        .takes(Body::Json(schema_of::<body::ReceiveBody>))
        .answers(&[(200, Some(schema_of::<view::ReturnView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded]),
    post(
        Op::MakeReservation,
        "/v1/reservations",
        "Reservations",
        ORDERS,
        "Promise units to a shop's own order, all or none; `reference` is the key",
    )
    .without_key()
    .takes(Body::Json(schema_of::<body::ReservationBody>))
    .answers(&[(201, Some(schema_of::<view::ReservationView>))])
    .codes(RESERVING),
    post(
        Op::MakeReservations,
        "/v1/reservations:batch",
        "Reservations",
        ORDERS,
        "Many reservations in one request, each answered on its own",
    )
    .without_key()
    .takes(Body::LargeJson(schema_of::<body::ReservationBatchBody>))
    .answers(&[(200, Some(schema_of::<view::BatchView>))]),
    read(Op::ListReservations, "/v1/reservations", "Reservations", ORDERS, "Reservations of a SKU, newest first")
        .asks(&[
            ("sku", "Needed: of this SKU."),
            ("status", "Only those that are `held`, `committed`, `released` or `expired`."),
            ("limit", "At most so many, 1 to 200; 50 unless said."),
            ("cursor", "`next_cursor` of the page before."),
        ])
        .answers(&[(200, Some(schema_of::<view::ReservationListView>))])
        .codes(&[Code::InvalidCursor, Code::Invalid, Code::InvalidId, Code::SetAside]),
    read(Op::GetReservation, "/v1/reservations/{id}", "Reservations", ORDERS, "One reservation")
        .answers(&[(200, Some(schema_of::<view::ReservationView>))]),
    post(Op::CommitReservation, "/v1/reservations/{id}/commit", "Reservations", ORDERS, "The units are sold")
        .takes(Body::JsonOrNothing(schema_of::<body::EmptyBody>))
        .answers(&[(200, Some(schema_of::<view::ReservationView>))])
        .codes(&[Code::ReservationExpired, Code::WrongState]),
    post(
        Op::ReleaseReservation,
        "/v1/reservations/{id}/release",
        "Reservations",
        ORDERS,
        "The units are no longer wanted",
    )
    .takes(Body::JsonOrNothing(schema_of::<body::EmptyBody>))
    .answers(&[(200, Some(schema_of::<view::ReservationView>))])
    .codes(&[Code::WrongState]),
    post(
        Op::ExtendReservation,
        "/v1/reservations/{id}/extend",
        "Reservations",
        ORDERS,
        "The units are held for longer",
    )
    .takes(Body::Json(schema_of::<body::ExtendBody>))
    .answers(&[(200, Some(schema_of::<view::ReservationView>))])
    .codes(&[Code::ReservationExpired, Code::WrongState, Code::LimitExceeded]),
    post(
        Op::Webhook,
        "/v1/providers/{provider}/webhooks",
        "Payments",
        Access::Provider,
        "A payment provider tells what became of a payment",
    )
    .without_key()
    .takes(Body::Raw)
    .answers(&[(200, None)]),
];
