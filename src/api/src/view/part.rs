//! Parts of an order: payments with their refunds, shipments, returns.

use super::{At, MoneyView, Shown};
use compact_str::{CompactString, format_compact};
use doorbuster_domain::ids::{OrderId, PaymentId, RefundId, ReturnId, ShipmentId, WarehouseId};
use doorbuster_domain::money::Money;
use doorbuster_domain::order::{
    Attempt, CapturePolicy, Condition, LineNumber, Order, Payment, PaymentStatus, Refund, RefundStatus, Return,
    ReturnStatus, Shipment, ShipmentStatus,
};
use doorbuster_domain::payment::Retry;
use doorbuster_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// A line's id as the API shows it: its number.
#[must_use]
pub fn line_id(line: LineNumber) -> CompactString {
    format_compact!("{line}")
}

/// One attempt to pay.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Payment")]
pub struct PaymentView<'a> {
    id: Shown<PaymentId>,
    order: Shown<OrderId>,
    attempt: u16,
    status: &'static str,
    method: &'a str,
    provider: &'a str,
    provider_reference: Option<&'a str>,
    amount: MoneyView,
    captured: MoneyView,
    refunded: MoneyView,
    capture: &'static str,
    next_action: Option<NextActionView<'a>>,
    authorization_expires_at: Option<At>,
    last_error: Option<PaymentErrorView<'a>>,
    details: Option<PaymentDetailsView>,
    refunds: Vec<RefundView<'a>>,
    created_at: At,
    updated_at: At,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NextAction")]
struct NextActionView<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    url: Option<&'a str>,
    client_secret: Option<&'a str>,
    expires_at: At,
}

/// Why an attempt failed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PaymentError")]
pub struct PaymentErrorView<'a> {
    code: &'a str,
    retry: &'static str,
    message: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PaymentDetails")]
struct PaymentDetailsView {
    brand: Option<String>,
    last4: Option<String>,
    wallet: Option<String>,
    fingerprint: Option<String>,
}

/// Money given back, or on its way.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Refund")]
pub struct RefundView<'a> {
    id: Shown<RefundId>,
    payment: Shown<PaymentId>,
    amount: MoneyView,
    status: &'static str,
    #[serde(rename = "return")]
    of_return: Option<Shown<ReturnId>>,
    reason: &'a str,
    created_at: At,
}

/// The contract's word for how money stands.
pub(super) const fn payment_word(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::NotRequired => "not_required",
        PaymentStatus::Pending => "pending",
        PaymentStatus::RequiresAction => "requires_action",
        PaymentStatus::Processing => "processing",
        PaymentStatus::Unknown => "unknown",
        PaymentStatus::Authorized => "authorized",
        PaymentStatus::PartiallyCaptured => "partially_captured",
        PaymentStatus::Captured => "captured",
        PaymentStatus::PartiallyRefunded => "partially_refunded",
        PaymentStatus::Refunded => "refunded",
        PaymentStatus::Voided => "voided",
        PaymentStatus::Failed => "failed",
    }
}

/// The contract's word for when money is taken.
pub(super) const fn capture_word(policy: CapturePolicy) -> &'static str {
    match policy {
        CapturePolicy::OnConfirmation => "on_confirmation",
        CapturePolicy::OnShipment => "on_shipment",
        CapturePolicy::Manual => "manual",
    }
}

/// Why an attempt failed, if it did.
pub(super) fn payment_error(payment: &Payment) -> Option<PaymentErrorView<'_>> {
    let Attempt::Declined { code, retry } = &payment.attempt else { return None };
    let (retry, message) = match retry {
        Retry::SameMethod => ("same_method", "Declined; it may be tried again."),
        Retry::OtherMethod => ("other_method", "Declined; another means may be tried."),
        Retry::Never => ("none", "Declined."),
    };
    Some(PaymentErrorView { code, retry, message })
}

impl<'a> PaymentView<'a> {
    /// A payment of an order.
    #[must_use]
    pub fn new(order: &'a Order, payment: &'a Payment, now: Timestamp) -> Self {
        let money = |amount: i64| MoneyView::from(order.money(amount));
        let next_action = match &payment.attempt {
            Attempt::RequiresAction(action) => Some(NextActionView {
                kind: &action.kind,
                url: action.url.as_deref(),
                client_secret: None,
                expires_at: At(action.expires_at),
            }),
            _ => None,
        };
        let refunds = order.refunds.iter().filter(|refund| refund.payment == payment.number);
        Self {
            id: Shown(PaymentId::of(order.id, payment.number)),
            order: Shown(order.id),
            attempt: payment.number,
            status: payment_word(payment.status(now)),
            method: &payment.instruction.method,
            provider: order.terms().map_or("", |terms| terms.payment.provider.as_str()),
            provider_reference: payment.provider_reference.as_deref(),
            amount: money(payment.amount),
            captured: money(payment.captured),
            refunded: money(payment.refunded),
            capture: capture_word(payment.capture),
            next_action,
            authorization_expires_at: payment.lapses_at().map(At),
            last_error: payment_error(payment),
            details: None,
            refunds: refunds.map(|refund| RefundView::new(order, refund)).collect(),
            created_at: At(payment.asked_at),
            updated_at: At(payment.changed_at),
        }
    }
}

impl<'a> RefundView<'a> {
    /// A refund of an order.
    #[must_use]
    pub fn new(order: &'a Order, refund: &'a Refund) -> Self {
        Self {
            id: Shown(RefundId::of(order.id, refund.number)),
            payment: Shown(PaymentId::of(order.id, refund.payment)),
            amount: order.money(refund.amount).into(),
            status: match refund.status {
                RefundStatus::Pending => "pending",
                RefundStatus::Succeeded => "succeeded",
                RefundStatus::Failed => "failed",
            },
            // What came back makes less due; money goes back because more was taken than is due, whatever the cause.
            of_return: None,
            reason: &refund.reason,
            created_at: At(refund.at),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ShipmentLine")]
struct ShipmentLineView {
    #[schemars(with = "String")]
    line: CompactString,
    quantity: u32,
    unit_numbers: [u32; 0],
}

/// Units on their way.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Shipment")]
pub struct ShipmentView<'a> {
    id: Shown<ShipmentId>,
    order: Shown<OrderId>,
    status: &'static str,
    lines: Vec<ShipmentLineView>,
    warehouse: Shown<&'a WarehouseId>,
    carrier: Option<&'a str>,
    tracking_number: Option<&'a str>,
    tracking_url: Option<&'a str>,
    label_url: Option<&'a str>,
    shipped_at: At,
    delivered_at: Option<At>,
}

impl<'a> ShipmentView<'a> {
    /// A shipment of an order.
    #[must_use]
    pub fn new(order: &'a Order, shipment: &'a Shipment) -> Self {
        let started = &shipment.started;
        let lines = started.lines.iter().map(|line| ShipmentLineView {
            line: line_id(line.line),
            quantity: line.units,
            unit_numbers: [],
        });
        Self {
            id: Shown(ShipmentId::of(order.id, started.number)),
            order: Shown(order.id),
            status: match shipment.status {
                ShipmentStatus::Shipped => "shipped",
                ShipmentStatus::Delivered => "delivered",
                ShipmentStatus::Lost => "lost",
            },
            lines: lines.collect(),
            warehouse: Shown(&started.warehouse),
            carrier: started.carrier.as_deref(),
            tracking_number: started.tracking_number.as_deref(),
            tracking_url: started.tracking_url.as_deref(),
            label_url: None,
            shipped_at: At(started.at),
            delivered_at: shipment.delivered_at.map(At),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReturnLine")]
struct ReturnLineView<'a> {
    #[schemars(with = "String")]
    line: CompactString,
    quantity: u32,
    reason: &'a str,
    received: u32,
    condition: Option<&'static str>,
    restock: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReturnRefund")]
struct ReturnRefundView {
    amount: MoneyView,
    status: &'static str,
    fee: MoneyView,
}

/// Units coming back.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Return")]
pub struct ReturnView<'a> {
    id: Shown<ReturnId>,
    order: Shown<OrderId>,
    status: &'static str,
    lines: Vec<ReturnLineView<'a>>,
    refund: ReturnRefundView,
    rejected_because: Option<&'a str>,
    window_ends_at: At,
    label_url: Option<&'a str>,
}

const fn condition_word(condition: Condition) -> &'static str {
    match condition {
        Condition::AsNew => "as_new",
        Condition::Used => "used",
        Condition::Damaged => "damaged",
    }
}

impl<'a> ReturnView<'a> {
    /// A return of an order.
    #[must_use]
    pub fn new(order: &'a Order, one: &'a Return) -> Self {
        let lines = one.lines.iter().map(|line| {
            let receipts = one.receipts.iter().filter(|receipt| receipt.line == line.line);
            let last = receipts.clone().next_back();
            let received = receipts.flat_map(|receipt| &receipt.to).map(|part| part.units);
            ReturnLineView {
                line: line_id(line.line),
                quantity: line.units,
                reason: &line.reason,
                received: received.fold(0, u32::saturating_add),
                condition: last.map(|receipt| condition_word(receipt.condition)),
                restock: last.map(|receipt| receipt.restock),
            }
        });
        let unpaid = order.refunds.iter().any(|refund| refund.status == RefundStatus::Pending);
        Self {
            id: Shown(ReturnId::of(order.id, one.number)),
            order: Shown(order.id),
            status: match one.status {
                ReturnStatus::Requested => "requested",
                ReturnStatus::Approved => "approved",
                ReturnStatus::Rejected => "rejected",
                ReturnStatus::Received => "received",
                ReturnStatus::Closed => "closed",
            },
            lines: lines.collect(),
            refund: ReturnRefundView {
                amount: order.money(one.amount).into(),
                status: if one.receipts.is_empty() || unpaid { "pending" } else { "succeeded" },
                fee: Money::zero(order.money(0).currency).into(),
            },
            rejected_because: one.rejected_because.as_deref(),
            window_ends_at: At(one.window_ends_at),
            label_url: None,
        }
    }
}
