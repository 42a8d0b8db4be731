//! The referee: a provider's own ledger against what our orders say is due. Nothing charged twice, nothing without an order, nothing missing.
//!
//! The law (M5): what is captured net of refunds, plus what a live authorization still covers of the rest, equals due.

use crate::ids::OrderId;
use crate::payment::{LedgerLine, Operation, ProviderAnswer};
use crate::time::Timestamp;
use compact_str::CompactString;
use std::collections::BTreeMap;

/// What the provider holds of one order, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Promised, neither voided nor lapsed, and not captured yet.
    pub authorized_live: i64,
    /// Of that: authorizations of which nothing was taken. What is left of one after a part was taken cannot be let go of by anybody
    /// any more; it lapses by itself.
    pub authorized_whole: i64,
    /// Authorizations of which something is live or captured and not given back: more than one charges twice.
    pub charges: u32,
    /// Taken.
    pub captured: i64,
    /// Given back.
    pub refunded: i64,
    /// Operations that are not decided yet: look again later.
    pub undecided: u32,
}

impl Sums {
    /// Taken and not given back.
    #[must_use]
    pub const fn net(&self) -> i64 {
        self.captured.saturating_sub(self.refunded)
    }
}

/// How an order and the provider disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Charged more than once, or more than is due.
    Double,
    /// Charged, or still held, though nothing is due: the order ended otherwise, or is not known.
    Orphan,
    /// Less is charged and held than is due.
    Missing,
}

#[derive(Default)]
struct Authorization {
    amount: i64,
    live: bool,
    captured: i64,
    refunded: i64,
}

/// What the ledger says of each order at `now`.
#[must_use]
pub fn sums(lines: &[LedgerLine], now: Timestamp) -> BTreeMap<OrderId, Sums> {
    let mut sums: BTreeMap<OrderId, Sums> = BTreeMap::new();
    let mut authorizations: BTreeMap<(OrderId, CompactString), Authorization> = BTreeMap::new();
    for line in lines {
        let order = line.reference.order;
        let amount = line.amount.amount;
        let of_order = sums.entry(order).or_default();
        match &line.answer {
            ProviderAnswer::Authorized { provider_reference, lapses_at } => {
                let promised = authorizations.entry((order, provider_reference.clone())).or_default();
                promised.amount = amount;
                promised.live = now < *lapses_at;
            }
            ProviderAnswer::Succeeded { .. } => {
                let name = line.authorization.clone().unwrap_or_default();
                let promised = authorizations.entry((order, name)).or_default();
                match line.reference.operation {
                    Operation::Authorize => {}
                    Operation::Capture => promised.captured = promised.captured.saturating_add(amount),
                    Operation::Void => promised.live = false,
                    Operation::Refund => promised.refunded = promised.refunded.saturating_add(amount),
                }
            }
            ProviderAnswer::RequiresAction { .. } | ProviderAnswer::Processing { .. } | ProviderAnswer::Unknown => {
                of_order.undecided = of_order.undecided.saturating_add(1);
            }
            ProviderAnswer::Declined { .. } | ProviderAnswer::NotFound | ProviderAnswer::Conflict => {}
        }
    }
    for ((order, _), promised) in authorizations {
        let of_order = sums.entry(order).or_default();
        let left = if promised.live { promised.amount.saturating_sub(promised.captured).max(0) } else { 0 };
        of_order.authorized_live = of_order.authorized_live.saturating_add(left);
        if promised.captured == 0 {
            of_order.authorized_whole = of_order.authorized_whole.saturating_add(left);
        }
        of_order.captured = of_order.captured.saturating_add(promised.captured);
        of_order.refunded = of_order.refunded.saturating_add(promised.refunded);
        if left > 0 || promised.captured > promised.refunded {
            of_order.charges = of_order.charges.saturating_add(1);
        }
    }
    sums
}

/// Where the ledger and our orders disagree.
///
/// `due` names every order that is not in flight, with what is due of it (0 when it ended
/// without being confirmed). Orders for which `in_flight` says so are left out: look at them again once they ended.
#[must_use]
pub fn judge(
    lines: &[LedgerLine],
    due: &BTreeMap<OrderId, i64>,
    in_flight: impl Fn(OrderId) -> bool,
    now: Timestamp,
) -> Vec<(OrderId, Finding)> {
    let sums = sums(lines, now);
    let charged = sums.iter().map(|(order, sums)| (*order, *sums));
    let uncharged = due.keys().filter(|order| !sums.contains_key(order)).map(|order| (*order, Sums::default()));
    let mut findings: Vec<(OrderId, Finding)> = charged
        .chain(uncharged)
        .filter(|(order, _)| !in_flight(*order))
        .filter_map(|(order, sums)| finding(sums, due.get(&order).copied().unwrap_or(0)).map(|found| (order, found)))
        .collect();
    findings.sort_by_key(|(order, _)| *order);
    findings
}

/// How what the provider holds of one order disagrees with what is due.
#[must_use]
pub fn finding(sums: Sums, due: i64) -> Option<Finding> {
    let net = sums.net();
    if due <= 0 {
        return (net != 0 || sums.authorized_whole > 0).then_some(Finding::Orphan);
    }
    if sums.charges > 1 || net > due {
        return Some(Finding::Double);
    }
    (net.saturating_add(sums.authorized_live) < due).then_some(Finding::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Currency, Money};
    use crate::payment::Reference;

    const NOW: Timestamp = Timestamp(1_000);

    fn line(operation: Operation, payment: u16, attempt: u16, amount: i64) -> LedgerLine {
        let name = format!("sim_{payment}");
        let reference = Reference { order: OrderId(1 << 16), operation, payment, attempt };
        let (authorization, answer) = match operation {
            Operation::Authorize => {
                (None, ProviderAnswer::Authorized { provider_reference: name.into(), lapses_at: NOW.plus_s(10) })
            }
            Operation::Capture | Operation::Void | Operation::Refund => {
                (Some(name.into()), ProviderAnswer::Succeeded { provider_reference: "sim_99".into() })
            }
        };
        LedgerLine { reference, amount: Money { amount, currency: Currency::GBP }, authorization, answer }
    }

    fn verdict(lines: &[LedgerLine], due: i64, now: Timestamp) -> Option<Finding> {
        let due = BTreeMap::from([(OrderId(1 << 16), due)]);
        let findings = judge(lines, &due, |_| false, now);
        findings.first().map(|(_, finding)| *finding)
    }

    #[test]
    fn held_captured_and_partly_refunded_orders_are_clean() {
        use Operation::{Authorize, Capture, Refund};
        let mut lines = vec![line(Authorize, 1, 1, 100)];
        assert_eq!(verdict(&lines, 100, NOW), None);
        lines.push(line(Capture, 1, 1, 60));
        assert_eq!(verdict(&lines, 100, NOW), None);
        lines.push(line(Capture, 1, 2, 40));
        assert_eq!(verdict(&lines, 100, NOW), None);
        lines.push(line(Refund, 1, 1, 30));
        assert_eq!(verdict(&lines, 70, NOW), None);
    }

    #[test]
    fn two_charges_for_one_order_are_a_double() {
        let lines = [line(Operation::Authorize, 1, 1, 100), line(Operation::Authorize, 2, 1, 100)];
        assert_eq!(verdict(&lines, 100, NOW), Some(Finding::Double));
        let voided = [lines[0].clone(), lines[1].clone(), line(Operation::Void, 1, 1, 100)];
        assert_eq!(verdict(&voided, 100, NOW), None);
    }

    #[test]
    fn a_charge_of_an_order_that_ended_otherwise_is_an_orphan() {
        let held = [line(Operation::Authorize, 1, 1, 100)];
        assert_eq!(verdict(&held, 0, NOW), Some(Finding::Orphan));
        assert_eq!(judge(&held, &BTreeMap::new(), |_| false, NOW), vec![(OrderId(1 << 16), Finding::Orphan)]);
        assert_eq!(judge(&held, &BTreeMap::new(), |_| true, NOW), vec![]);
        let voided = [held[0].clone(), line(Operation::Void, 1, 1, 100)];
        assert_eq!(verdict(&voided, 0, NOW), None);
    }

    #[test]
    fn what_is_left_of_an_authorization_after_a_part_was_taken_lapses_by_itself() {
        use Operation::{Authorize, Capture, Refund};
        let lines = [line(Authorize, 1, 1, 100), line(Capture, 1, 1, 60), line(Refund, 1, 1, 60)];
        assert_eq!(verdict(&lines, 0, NOW), None);
        assert_eq!(verdict(&lines[..2], 0, NOW), Some(Finding::Orphan), "what was taken is owed back");
    }

    #[test]
    fn a_confirmed_order_without_its_charge_is_missing_it() {
        assert_eq!(verdict(&[], 100, NOW), Some(Finding::Missing));
        let held = [line(Operation::Authorize, 1, 1, 100)];
        assert_eq!(verdict(&held, 100, NOW.plus_s(10)), Some(Finding::Missing), "it lapsed");
    }
}
