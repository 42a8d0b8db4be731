//! Views of payments and refunds.

use crate::core::view::{At, MoneyView, Shown};
use crate::core::words::capture_word;
use doorbuster_domain::ids::{OrderId, PaymentId, RefundId};
use doorbuster_domain::order::{Attempt, Order, Payment, PaymentStatus, Refund, RefundStatus};
use doorbuster_domain::payment::Retry;
use doorbuster_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

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

/// A refund of a payment.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Refund")]
pub struct RefundView<'a> {
    id: Shown<RefundId>,
    /// `null` for a seller of only some lines of the order.
    payment: Option<Shown<PaymentId>>,
    amount: MoneyView,
    status: &'static str,
    reason: &'a str,
    created_at: At,
}

/// The word for the status of a payment.
pub(crate) const fn payment_word(status: PaymentStatus) -> &'static str {
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

/// The error of an attempt that was declined.
pub(crate) fn payment_error(payment: &Payment) -> Option<PaymentErrorView<'_>> {
    let Attempt::Declined { code, retry } = &payment.attempt else { return None };
    let (retry, message) = match retry {
        Retry::SameMethod => ("same_method", "Declined; the same method may be tried again."),
        Retry::OtherMethod => ("other_method", "Declined; another method may be tried."),
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
            refunds: refunds.map(|refund| RefundView::new(order, refund, true)).collect(),
            created_at: At(payment.asked_at),
            updated_at: At(payment.changed_at),
        }
    }
}

impl<'a> RefundView<'a> {
    /// A refund of an order, with its payment if the order is seen as a whole.
    #[must_use]
    pub fn new(order: &'a Order, refund: &'a Refund, whole: bool) -> Self {
        Self {
            id: Shown(RefundId::of(order.id, refund.number)),
            payment: whole.then(|| Shown(PaymentId::of(order.id, refund.payment))),
            amount: order.money(refund.amount).into(),
            status: match refund.status {
                RefundStatus::Pending => "pending",
                RefundStatus::Succeeded => "succeeded",
                RefundStatus::Failed => "failed",
            },
            reason: &refund.reason,
            created_at: At(refund.at),
        }
    }
}
