//! Views of returns.

use crate::core::view::{At, LineId, MoneyView, Shown, line_id};
use crate::core::words::condition_word;
use compact_str::CompactString;
use doorbuster_domain::ids::{OrderId, RefundId, ReturnId};
use doorbuster_domain::order::{Order, RefundStatus, Return, ReturnStatus, Sight};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReturnLine")]
struct ReturnLineView<'a> {
    #[schemars(with = "LineId")]
    line: CompactString,
    quantity: u32,
    reason: &'a str,
    /// The refund by which the money of its units, or a part of it, went back ahead.
    refund: Option<Shown<RefundId>>,
    received: u32,
    condition: Option<&'static str>,
    restock: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReturnRefund")]
struct ReturnRefundView {
    amount: MoneyView,
    /// What its units were worth and the seller kept.
    fee: MoneyView,
    status: &'static str,
}

/// A return of an order.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Return")]
pub struct ReturnView<'a> {
    id: Shown<ReturnId>,
    order: Shown<OrderId>,
    status: &'static str,
    lines: Vec<ReturnLineView<'a>>,
    /// `null` for a seller of only a part of the return.
    refund: Option<ReturnRefundView>,
    rejected_because: Option<&'a str>,
    window_ends_at: At,
}

impl<'a> ReturnView<'a> {
    /// A return of an order, with the lines that are in sight.
    #[must_use]
    pub fn new(order: &'a Order, one: &'a Return, sight: &Sight<'_>) -> Self {
        let is_whole = one.lines.iter().all(|line| sight.has(line.line));
        let lines = one.lines.iter().filter(|line| sight.has(line.line)).map(|line| {
            let receipts = one.receipts.iter().filter(|receipt| receipt.line == line.line);
            let last = receipts.clone().next_back();
            let received = receipts.flat_map(|receipt| &receipt.to).map(|part| part.units);
            ReturnLineView {
                line: line_id(line.line),
                quantity: line.units,
                reason: &line.reason,
                refund: line.refund.map(|number| Shown(RefundId::of(order.id, number))),
                received: received.fold(0, u32::saturating_add),
                condition: last.map(|receipt| condition_word(receipt.condition)),
                restock: last.map(|receipt| receipt.restock),
            }
        });
        let unpaid = order.refunds.iter().any(|refund| refund.status == RefundStatus::Pending);
        Self {
            id: Shown(ReturnId::of(order.id, one.number)),
            order: Shown(order.id),
            status: return_word(one.status),
            lines: lines.collect(),
            refund: is_whole.then(|| ReturnRefundView {
                amount: order.money(one.amount).into(),
                fee: order.money(one.kept.unwrap_or(0)).into(),
                status: if one.receipts.is_empty() || unpaid { "pending" } else { "succeeded" },
            }),
            rejected_because: one.rejected_because.as_deref(),
            window_ends_at: At(one.window_ends_at),
        }
    }
}

/// The word for the status of a return.
pub(super) const fn return_word(status: ReturnStatus) -> &'static str {
    match status {
        ReturnStatus::Requested => "requested",
        ReturnStatus::Approved => "approved",
        ReturnStatus::Rejected => "rejected",
        ReturnStatus::Received => "received",
        ReturnStatus::Closed => "closed",
    }
}
