//! What the outside is told of an event of the journal: one pure function, for those that read the feed and those that it is sent to.
//!
//! The types and their fields are the contract's. What is told is which thing it is about, by its id, and what the thing itself no longer shows; a receiver
//! reads the rest from the thing. So there is no money here, no text that a person wrote, and nothing personal.
//!
//! The matches name every event: a new one is told, or is listed here as the shop's own affair.

use crate::core::view::{At, Iso4217, Shown, event_id};
use crate::core::words::adjustment_word;
use crate::orders::events::ByView;
use compact_str::CompactString;
use doorbuster_domain::any::Event;
use doorbuster_domain::ids::{EntityId, OrderId, PaymentId, RefundId, ReturnId, ShipmentId, WarehouseId};
use doorbuster_domain::order::{self, CallKey, EndReason};
use doorbuster_domain::payment::Operation;
use doorbuster_domain::{inventory, product};
use doorbuster_projections::feed::Happened;
use schemars::JsonSchema;
use serde::Serialize;

/// One event of the shop.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FeedEvent")]
pub(crate) struct FeedEventView {
    /// Its own id: a receiver that gets it twice knows it by this.
    id: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    at: At,
    /// What it is about.
    subject: SubjectView,
    /// It ascends for one subject.
    seq: u64,
    by: ByView,
    data: EventData,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Subject")]
pub(crate) struct SubjectView {
    kind: &'static str,
    /// The order's, payment's or return's id, the SKU or the product.
    id: String,
}

/// What an event tells beside its subject. Each type has the fields that name it, and no others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct EventData {
    /// The order of a payment or a return.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Shown<OrderId>>,
    /// The payment: `order.refunded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<Shown<PaymentId>>,
    /// The refund: `payment.refund_started`.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<Shown<RefundId>>,
    /// The shipment: `order.shipped`, `order.delivered`, `order.shipment_lost`, `order.shipment_undone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    shipment: Option<Shown<ShipmentId>>,
    /// The warehouse: `order.shipped`, `inventory.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    warehouse: Option<Shown<WarehouseId>>,
    /// The currency: `order.placed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<Iso4217>,
    /// When the order ends unless it is paid: `order.placed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<At>,
    /// `order.cancelled`: was the whole order cancelled before it was confirmed? Otherwise units of it were, afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<bool>,
    /// `return.requested`: was it approved at once?
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<bool>,
    /// What the provider refused or took back: `payment.refused`, `payment.reversed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    /// The provider's reason: `payment.declined`, `payment.refused`, `payment.reversed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Units that arrived: `inventory.received`.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<u64>,
    /// By how many units the count changed: `inventory.adjusted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<i64>,
    /// Why: `inventory.adjusted`. A stocktake's is `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Does an entity have events that are told?
pub(crate) const fn is_told(entity: &EntityId) -> bool {
    match entity {
        EntityId::Order(_) | EntityId::Inventory(_) | EntityId::Product(_) => true,
        EntityId::Cart(_) | EntityId::Warehouse(_) | EntityId::Reservation(_) | EntityId::Counter(_) => false,
    }
}

/// What is told of an event; `None`: it is the shop's own affair.
pub(crate) fn public(happened: &Happened<'_>) -> Option<FeedEventView> {
    let told = of_event(&happened.decided.entity, happened.number, happened.event)?;
    Some(FeedEventView {
        id: event_id(happened.shard, happened.seq, u64::from(happened.index)),
        kind: told.kind,
        at: At(happened.decided.at),
        subject: told.subject,
        seq: happened.number,
        by: (&happened.decided.by).into(),
        data: told.data,
    })
}

/// A type with its subject and data.
#[derive(Debug, PartialEq)]
struct Told {
    kind: &'static str,
    subject: SubjectView,
    data: EventData,
}

fn of_event(entity: &EntityId, number: u64, event: &Event) -> Option<Told> {
    match (entity, event) {
        (EntityId::Order(id), Event::Order(event)) => Of(*id).event(event),
        (EntityId::Inventory(sku), Event::Inventory(event)) => {
            let (kind, data) = of_stock(event)?;
            Some(Told { kind, subject: SubjectView { kind: "sku", id: sku.to_string() }, data })
        }
        (EntityId::Product(id), Event::Product(event)) => {
            let kind = match event {
                product::Event::Put { .. } if number == 1 => "product.created",
                product::Event::Put { .. } => "product.updated",
                // How its SKUs take it.
                product::Event::Taken { .. } | product::Event::Refused { .. } => return None,
            };
            Some(Told {
                kind,
                subject: SubjectView { kind: "product", id: id.to_string() },
                data: EventData::default(),
            })
        }
        // Carts, warehouses, reservations and counters.
        _ => None,
    }
}

fn of_stock(event: &inventory::Event) -> Option<(&'static str, EventData)> {
    use inventory::Event as Of;
    let adjusted = |warehouse: &WarehouseId, delta: i64, reason: &'static str| {
        let warehouse = Some(Shown(warehouse.clone()));
        let data = EventData { warehouse, delta: Some(delta), reason: Some(reason), ..EventData::default() };
        Some(("inventory.adjusted", data))
    };
    match event {
        Of::Received { warehouse, units, .. } => {
            let (warehouse, quantity) = (Some(Shown(warehouse.clone())), Some(u64::from(*units)));
            Some(("inventory.received", EventData { warehouse, quantity, ..EventData::default() }))
        }
        Of::Adjusted { warehouse, delta, reason, .. } => adjusted(warehouse, *delta, adjustment_word(*reason)),
        Of::Counted { warehouse, delta, .. } => adjusted(warehouse, *delta, "count"),
        // What it is offered at, and what orders and reservations do with its units: they tell it themselves.
        Of::Offered(_)
        | Of::Announced { .. }
        | Of::Reserved { .. }
        | Of::Kept { .. }
        | Of::Committed { .. }
        | Of::Released { .. }
        | Of::Forgotten { .. }
        | Of::Shipped { .. }
        | Of::Returned { .. }
        | Of::MovesForgotten { .. }
        | Of::ExternalReserved { .. }
        | Of::ExternalExtended { .. }
        | Of::ExternalKept { .. }
        | Of::ExternalCommitted { .. }
        | Of::ExternalReleased { .. }
        | Of::ExternalExpired { .. }
        | Of::ExternalForgotten { .. }
        | Of::Unshipped { .. }
        | Of::ExternalShipped { .. }
        | Of::WarehouseSet { .. } => None,
    }
}

/// What is told of an order.
#[derive(Clone, Copy)]
struct Of(OrderId);

impl Of {
    fn order(self, kind: &'static str, data: EventData) -> Option<Told> {
        Some(Told { kind, subject: SubjectView { kind: "order", id: self.0.to_string() }, data })
    }

    fn plain(self, kind: &'static str) -> Option<Told> {
        self.order(kind, EventData::default())
    }

    fn shipment(self, kind: &'static str, number: u16, warehouse: Option<&WarehouseId>) -> Option<Told> {
        let shipment = Some(Shown(ShipmentId::of(self.0, number)));
        let warehouse = warehouse.map(|warehouse| Shown(warehouse.clone()));
        self.order(kind, EventData { shipment, warehouse, ..EventData::default() })
    }

    fn payment(self, kind: &'static str, number: u16, data: EventData) -> Option<Told> {
        let subject = SubjectView { kind: "payment", id: PaymentId::of(self.0, number).to_string() };
        Some(Told { kind, subject, data: EventData { order: Some(Shown(self.0)), ..data } })
    }

    fn paid(self, kind: &'static str, number: u16) -> Option<Told> {
        self.payment(kind, number, EventData::default())
    }

    fn call(self, kind: &'static str, call: CallKey, code: &CompactString) -> Option<Told> {
        let (operation, code) = (Some(call.operation.as_str()), Some(code.to_string()));
        self.payment(kind, call.payment, EventData { operation, code, ..EventData::default() })
    }

    fn back(self, kind: &'static str, number: u16, approved: Option<bool>) -> Option<Told> {
        let subject = SubjectView { kind: "return", id: ReturnId::of(self.0, number).to_string() };
        let data = EventData { order: Some(Shown(self.0)), approved, ..EventData::default() };
        Some(Told { kind, subject, data })
    }

    fn event(self, event: &order::Event) -> Option<Told> {
        use order::Event as Is;
        let cancelled = |whole| self.order("order.cancelled", EventData { whole: Some(whole), ..EventData::default() });
        match event {
            Is::Placed(placed) => {
                let currency = Some(Iso4217(placed.head.terms.currency));
                let expires_at = Some(At(placed.expires_at));
                self.order("order.placed", EventData { currency, expires_at, ..EventData::default() })
            }
            Is::Held(_) => self.plain("order.payment_required"),
            Is::Confirmed { .. } => self.plain("order.confirmed"),
            Is::Amended(_) | Is::EditEnded { refused: None } => self.plain("order.amended"),
            Is::Shipped(started) => self.shipment("order.shipped", started.number, Some(&started.warehouse)),
            Is::Delivered { shipment, .. } => self.shipment("order.delivered", *shipment, None),
            Is::Lost { shipment, .. } => self.shipment("order.shipment_lost", *shipment, None),
            Is::ShipmentUndone { shipment, .. } => self.shipment("order.shipment_undone", *shipment, None),
            Is::Cancelled(_) => cancelled(false),
            Is::Ending { outcome, .. } => match outcome {
                EndReason::SoldOut => self.plain("order.sold_out"),
                EndReason::Rejected(_) => self.plain("order.rejected"),
                EndReason::Expired => self.plain("order.expired"),
                EndReason::PaymentFailed => self.plain("order.payment_failed"),
                EndReason::Cancelled(_) => cancelled(true),
            },
            Is::PersonalErased => self.plain("order.personal_erased"),
            Is::PaymentStarted { number, .. } => self.paid("payment.started", *number),
            Is::ActionRequired { payment, .. } => self.paid("payment.requires_action", *payment),
            Is::Processing { payment, .. } => self.paid("payment.processing", *payment),
            Is::Authorized { payment, .. } => self.paid("payment.authorized", *payment),
            Is::Declined { payment, code, .. } => {
                let code = Some(code.to_string());
                self.payment("payment.declined", *payment, EventData { code, ..EventData::default() })
            }
            Is::CallSucceeded { call, .. } => match call.operation {
                Operation::Capture => self.paid("payment.captured", call.payment),
                Operation::Void => self.paid("payment.voided", call.payment),
                Operation::Refund => {
                    let payment = Some(Shown(PaymentId::of(self.0, call.payment)));
                    self.order("order.refunded", EventData { payment, ..EventData::default() })
                }
                // What it leads to has an event of its own.
                Operation::Authorize => None,
            },
            Is::CallRefused { call, code, .. } => self.call("payment.refused", *call, code),
            Is::Reversed { call, code } => self.call("payment.reversed", *call, code),
            Is::RefundStarted(started) => {
                let refund = Some(Shown(RefundId::of(self.0, started.number)));
                self.payment("payment.refund_started", started.payment, EventData { refund, ..EventData::default() })
            }
            Is::Waived { payment, .. } => self.paid("payment.waived", *payment),
            Is::ReturnRequested { number, approved, .. } => self.back("return.requested", *number, Some(*approved)),
            Is::ReturnApproved { number, .. } => self.back("return.approved", *number, None),
            Is::ReturnRejected { number, .. } => self.back("return.rejected", *number, None),
            Is::ReturnReceived { number, .. } => self.back("return.received", *number, None),
            // Steps of the saga, what it asks of others, and what an operator looks at.
            Is::Frozen { .. }
            | Is::CartRefused(_)
            | Is::Reserved { .. }
            | Is::Refused { .. }
            | Is::Granted { .. }
            | Is::Done(_)
            | Is::Gone(_)
            | Is::Ended
            | Is::CallStarted { .. }
            | Is::QueryOnly { .. }
            | Is::GivenUp { .. }
            | Is::Settled { .. }
            | Is::Troubled(_)
            | Is::AmountDiffers { .. }
            | Is::CancelRequested { .. }
            | Is::EditBegun(_)
            | Is::EditEnded { refused: Some(_) }
            | Is::ResendStarted { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::fields;
    use doorbuster_domain::entity::By;
    use doorbuster_domain::ids::{ProductId, Request, RequestFingerprint, RequestId, Sku};
    use doorbuster_domain::inventory::{AdjustmentReason, SellerRequest};
    use doorbuster_domain::order::{
        CancelReason, Cancelled, CapturePolicy, RefundCause, RefundStarted, Rejection, ShipmentStarted, Step,
    };
    use doorbuster_domain::payment::Retry;
    use doorbuster_domain::time::Timestamp;
    use doorbuster_storage::Shard;
    use doorbuster_storage::wire::Decided;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    const AT: Timestamp = Timestamp(1_000);
    const ORDER: OrderId = OrderId(1 << 16);
    /// Stands wherever an event has a text that a person wrote.
    const WRITTEN: &str = "a@b.example";

    fn request() -> Request {
        Request { id: RequestId(1), terms: RequestFingerprint(2) }
    }

    fn call(operation: Operation) -> CallKey {
        CallKey { operation, payment: 1, attempt: 1 }
    }

    fn warehouse() -> WarehouseId {
        WarehouseId::parse("lon1").unwrap()
    }

    fn told(entity: EntityId, event: Event) -> Option<Value> {
        let decided = Decided { entity, number: 7, at: AT, by: By::Seller("sel_main".into()), events: vec![event] };
        let happened =
            Happened { shard: Shard(3), seq: 40, index: 2, number: 9, decided: &decided, event: &decided.events[0] };
        public(&happened).map(|event| serde_json::to_value(event).unwrap())
    }

    fn of_order(event: order::Event) -> Option<Value> {
        told(EntityId::Order(ORDER), Event::Order(event))
    }

    /// Events of an order and what is told of them: subject, type and data.
    fn orders() -> Vec<(order::Event, &'static str, &'static str, Value)> {
        use order::Event as Is;
        let (payment, shipment) = (PaymentId::of(ORDER, 1).to_string(), ShipmentId::of(ORDER, 2).to_string());
        let (refund, text) = (RefundId::of(ORDER, 4).to_string(), || CompactString::new(WRITTEN));
        let of = json!({ "order": ORDER.to_string() });
        let with = |more: Value| {
            let mut all = of.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let ending = |outcome| Is::Ending { outcome, request: None, at: AT };
        let cancelled =
            Cancelled { number: 1, request: None, lines: Vec::new(), reason: CancelReason::Stock, amount: 100 };
        let shipped = ShipmentStarted {
            number: 2,
            request: request(),
            lines: Vec::new(),
            warehouse: warehouse(),
            carrier: Some(text()),
            tracking_number: Some(text()),
            tracking_url: Some(text()),
            at: AT,
        };
        let refunded = RefundStarted {
            number: 4,
            payment: 1,
            amount: 100,
            cause: RefundCause::Goodwill,
            request: None,
            lines: Vec::new(),
            shipping: false,
            reason: text(),
            at: AT,
            seller: None,
        };
        let started = Is::PaymentStarted {
            number: 1,
            asked: None,
            amount: 100,
            capture: CapturePolicy::Manual,
            at: AT,
            expires_at: AT,
        };
        let succeeded = |operation| Is::CallSucceeded { call: call(operation), provider_reference: text() };
        let refused =
            Is::CallRefused { call: call(Operation::Capture), code: "expired".into(), retry: Retry::SameMethod };
        vec![
            (Is::Held(Box::default()), "order", "order.payment_required", json!({})),
            (Is::Confirmed { at: AT }, "order", "order.confirmed", json!({})),
            (Is::EditEnded { refused: None }, "order", "order.amended", json!({})),
            (
                Is::Shipped(Box::new(shipped)),
                "order",
                "order.shipped",
                json!({ "shipment": shipment, "warehouse": "lon1" }),
            ),
            (
                Is::Delivered { shipment: 2, request: request(), at: AT },
                "order",
                "order.delivered",
                json!({ "shipment": shipment }),
            ),
            (
                Is::Lost { shipment: 2, request: request() },
                "order",
                "order.shipment_lost",
                json!({ "shipment": shipment }),
            ),
            (
                Is::ShipmentUndone { shipment: 2, request: request() },
                "order",
                "order.shipment_undone",
                json!({ "shipment": shipment }),
            ),
            (Is::Cancelled(Box::new(cancelled)), "order", "order.cancelled", json!({ "whole": false })),
            (
                ending(EndReason::Cancelled(CancelReason::Customer)),
                "order",
                "order.cancelled",
                json!({ "whole": true }),
            ),
            (ending(EndReason::SoldOut), "order", "order.sold_out", json!({})),
            (ending(EndReason::Expired), "order", "order.expired", json!({})),
            (ending(EndReason::PaymentFailed), "order", "order.payment_failed", json!({})),
            (ending(EndReason::Rejected(Rejection::PriceChanged)), "order", "order.rejected", json!({})),
            (succeeded(Operation::Refund), "order", "order.refunded", json!({ "payment": payment })),
            (Is::PersonalErased, "order", "order.personal_erased", json!({})),
            (started, "payment", "payment.started", of.clone()),
            (
                Is::Processing { payment: 1, provider_reference: text(), at: AT, expires_at: None },
                "payment",
                "payment.processing",
                of.clone(),
            ),
            (
                Is::Authorized { payment: 1, provider_reference: text(), lapses_at: None },
                "payment",
                "payment.authorized",
                of.clone(),
            ),
            (
                Is::Declined { payment: 1, code: "do_not_honour".into(), retry: Retry::SameMethod },
                "payment",
                "payment.declined",
                with(json!({ "code": "do_not_honour" })),
            ),
            (succeeded(Operation::Capture), "payment", "payment.captured", of.clone()),
            (succeeded(Operation::Void), "payment", "payment.voided", of.clone()),
            (
                Is::RefundStarted(Box::new(refunded)),
                "payment",
                "payment.refund_started",
                with(json!({ "refund": refund })),
            ),
            (refused, "payment", "payment.refused", with(json!({ "operation": "capture", "code": "expired" }))),
            (
                Is::Reversed { call: call(Operation::Refund), code: "bounced".into() },
                "payment",
                "payment.reversed",
                with(json!({ "operation": "refund", "code": "bounced" })),
            ),
            (Is::Waived { payment: 1, amount: 100, request: request() }, "payment", "payment.waived", of.clone()),
            (
                Is::ReturnRequested {
                    number: 3,
                    request: request(),
                    lines: Vec::new(),
                    approved: true,
                    window_ends_at: AT,
                },
                "return",
                "return.requested",
                with(json!({ "approved": true })),
            ),
            (Is::ReturnApproved { number: 3, request: request() }, "return", "return.approved", of.clone()),
            (
                Is::ReturnRejected { number: 3, request: request(), reason: text() },
                "return",
                "return.rejected",
                of.clone(),
            ),
            (
                Is::ReturnReceived { number: 3, request: request(), receipts: Vec::new(), amount: 100 },
                "return",
                "return.received",
                of,
            ),
        ]
    }

    #[test]
    fn each_event_is_told_in_the_form_of_the_contract_and_nothing_that_somebody_wrote() {
        let ids = [
            ("order", ORDER.to_string()),
            ("payment", PaymentId::of(ORDER, 1).to_string()),
            ("return", ReturnId::of(ORDER, 3).to_string()),
        ];
        let words: BTreeSet<&str> = fields::words_of("FeedEvent.type").iter().copied().collect();
        for (event, subject, kind, data) in orders() {
            let shown = of_order(event.clone()).unwrap_or_else(|| panic!("{event:?} is not told"));
            let id = &ids.iter().find(|(name, _)| *name == subject).unwrap().1;
            let expected = json!({
                "id": "evt_3-40-2", "type": kind, "at": "1970-01-01T00:00:01.000Z", "seq": 9,
                "subject": { "kind": subject, "id": id }, "by": { "kind": "seller", "id": "sel_main" }, "data": data
            });
            assert_eq!(shown, expected);
            assert!(words.contains(kind), "{kind} is not described");
            assert!(!shown.to_string().contains(WRITTEN), "{shown}");
        }
    }

    #[test]
    fn what_the_saga_does_for_itself_is_not_told() {
        use order::Event as Is;
        let call = call(Operation::Capture);
        for event in [
            Is::Ended,
            Is::Done(Step::Thaw),
            Is::EditEnded { refused: Some(1) },
            Is::GivenUp { call },
            Is::CallSucceeded {
                call: CallKey { operation: Operation::Authorize, ..call },
                provider_reference: "".into(),
            },
            Is::CallStarted { call, amount: 1, request: None, refund: None, at: AT },
            Is::ResendStarted { shipment: 1, request: request() },
        ] {
            assert_eq!(of_order(event.clone()), None, "{event:?}");
        }
    }

    #[test]
    fn stock_and_products_are_told_without_the_sellers_notes() {
        let sku = || EntityId::Inventory(Sku::parse("NOVA").unwrap());
        let asked = SellerRequest { request: request(), at: AT, until: AT };
        let (warehouse, text) = (warehouse(), || Some(CompactString::new(WRITTEN)));
        let stock = |event| told(sku(), Event::Inventory(event)).unwrap();
        let received =
            stock(inventory::Event::Received { asked, warehouse: warehouse.clone(), units: 5, reference: text() });
        assert_eq!(
            (&received["type"], &received["data"]),
            (&json!("inventory.received"), &json!({ "warehouse": "lon1", "quantity": 5 }))
        );
        assert_eq!(received["subject"], json!({ "kind": "sku", "id": "NOVA" }));
        let reason = AdjustmentReason::Lost;
        let adjusted =
            stock(inventory::Event::Adjusted { asked, warehouse: warehouse.clone(), delta: -2, reason, note: text() });
        assert_eq!(adjusted["data"], json!({ "warehouse": "lon1", "delta": -2, "reason": "lost" }));
        let counted = stock(inventory::Event::Counted { asked, warehouse, counted: 3, delta: 1 });
        assert_eq!((&counted["type"], &counted["data"]["reason"]), (&json!("inventory.adjusted"), &json!("count")));
        let kept = inventory::Event::Kept { order: ORDER, reservation: 1, ask_at: AT };
        assert_eq!(told(sku(), Event::Inventory(kept)), None);
        let product = ProductId::parse("nova").unwrap();
        let put = |number| {
            let event = Event::Product(product::Event::Put { details: Box::default() });
            of_event(&EntityId::Product(product.clone()), number, &event).unwrap().kind
        };
        assert_eq!((put(1), put(2)), ("product.created", "product.updated"));
    }
}
