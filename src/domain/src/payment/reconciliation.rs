//! Reconciles a payment provider's ledger with the orders: nothing charged twice, nothing charged without an order, nothing missing.
//!
//! Rule M5: the captured amount net of refunds, plus what a live authorization still covers of the rest, equals the amount due.

use crate::ids::OrderId;
use crate::money::{Currency, Money};
use crate::payment::{LedgerLine, Operation, ProviderAnswer};
use crate::time::Timestamp;
use compact_str::CompactString;
use std::collections::BTreeMap;

/// The totals of one order in the provider's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerTotals {
    /// The authorized amount that is neither voided, lapsed nor captured, in minor units.
    pub authorized_live: i64,
    /// The part of it in authorizations without a capture. The rest of a partly captured authorization may lapse by itself, where the provider
    /// does not void it.
    pub authorized_whole: i64,
    /// The number of authorizations with a live or captured and not refunded amount: more than one is a double charge.
    pub charges: u32,
    /// The captured amount, in minor units.
    pub captured: i64,
    /// The refunded amount, in minor units.
    pub refunded: i64,
    /// The number of operations without a final outcome, to be compared again later.
    pub undecided: u32,
}

impl LedgerTotals {
    /// The captured amount less refunds, in minor units.
    #[must_use]
    pub const fn net(&self) -> i64 {
        self.captured.saturating_sub(self.refunded)
    }
}

/// A discrepancy between an order and the provider's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discrepancy {
    /// It is charged more than once, or more than is due.
    Double,
    /// An amount is captured or still authorized although nothing is due: the order ended otherwise, or is unknown.
    Orphan,
    /// Less is captured and authorized than is due.
    Missing,
}

#[derive(Default)]
struct Authorization {
    amount: i64,
    live: bool,
    captured: i64,
    refunded: i64,
}

/// The ledger's totals of each order at `now`, by currency: amounts of two currencies are never added (rule M6).
#[must_use]
pub fn totals_by_order(lines: &[LedgerLine], now: Timestamp) -> BTreeMap<(OrderId, Currency), LedgerTotals> {
    let mut totals: BTreeMap<(OrderId, Currency), LedgerTotals> = BTreeMap::new();
    let mut authorizations: BTreeMap<((OrderId, Currency), CompactString), Authorization> = BTreeMap::new();
    for line in lines {
        let order = (line.reference.order, line.amount.currency);
        let amount = line.amount.amount;
        let order_totals = totals.entry(order).or_default();
        match &line.answer {
            ProviderAnswer::Authorized { provider_reference, lapses_at } => {
                let authorization = authorizations.entry((order, provider_reference.clone())).or_default();
                authorization.amount = amount;
                authorization.live = now < *lapses_at;
            }
            ProviderAnswer::Succeeded { .. } => {
                let name = line.authorization.clone().unwrap_or_default();
                let authorization = authorizations.entry((order, name)).or_default();
                match line.reference.operation {
                    Operation::Authorize => {}
                    Operation::Capture => authorization.captured = authorization.captured.saturating_add(amount),
                    Operation::Void => authorization.live = false,
                    Operation::Refund => authorization.refunded = authorization.refunded.saturating_add(amount),
                }
            }
            ProviderAnswer::RequiresAction { .. }
            | ProviderAnswer::Processing { .. }
            | ProviderAnswer::Broken
            | ProviderAnswer::Unknown => {
                order_totals.undecided = order_totals.undecided.saturating_add(1);
            }
            ProviderAnswer::Declined { .. }
            | ProviderAnswer::Reversed { .. }
            | ProviderAnswer::NotFound
            | ProviderAnswer::Conflict => {}
        }
    }
    for ((order, _), authorization) in authorizations {
        let order_totals = totals.entry(order).or_default();
        let left =
            if authorization.live { authorization.amount.saturating_sub(authorization.captured).max(0) } else { 0 };
        order_totals.authorized_live = order_totals.authorized_live.saturating_add(left);
        if authorization.captured == 0 {
            order_totals.authorized_whole = order_totals.authorized_whole.saturating_add(left);
        }
        order_totals.captured = order_totals.captured.saturating_add(authorization.captured);
        order_totals.refunded = order_totals.refunded.saturating_add(authorization.refunded);
        if left > 0 || authorization.captured > authorization.refunded {
            order_totals.charges = order_totals.charges.saturating_add(1);
        }
    }
    totals
}

/// Compares the ledger with the orders.
///
/// `due` has every order that is not in flight, with its amount due (0 if it ended without being confirmed). Orders in flight are left out, to be compared once they have ended.
#[must_use]
pub fn reconcile(
    lines: &[LedgerLine],
    due: &BTreeMap<OrderId, Money>,
    in_flight: impl Fn(OrderId) -> bool,
    now: Timestamp,
) -> Vec<(OrderId, Discrepancy)> {
    let totals = totals_by_order(lines, now);
    let charged = totals.iter().map(|(key, totals)| (*key, *totals));
    let owed = due.iter().map(|(order, due)| (*order, due.currency));
    let uncharged = owed.filter(|key| !totals.contains_key(key)).map(|key| (key, LedgerTotals::default()));
    // In another currency than its own, an order owes nothing.
    let due_in = |order: OrderId, currency: Currency| {
        due.get(&order).filter(|due| due.currency == currency).map_or(0, |due| due.amount)
    };
    let mut discrepancies: Vec<(OrderId, Discrepancy)> = charged
        .chain(uncharged)
        .filter(|((order, _), _)| !in_flight(*order))
        .filter_map(|((order, currency), totals)| {
            discrepancy(totals, due_in(order, currency)).map(|found| (order, found))
        })
        .collect();
    discrepancies.sort_by_key(|(order, _)| *order);
    discrepancies
}

/// Compares the ledger's totals of one order with its amount due.
#[must_use]
pub fn discrepancy(totals: LedgerTotals, due: i64) -> Option<Discrepancy> {
    let net = totals.net();
    if due <= 0 {
        return (net != 0 || totals.authorized_whole > 0).then_some(Discrepancy::Orphan);
    }
    if totals.charges > 1 || net > due {
        return Some(Discrepancy::Double);
    }
    (net.saturating_add(totals.authorized_live) < due).then_some(Discrepancy::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn verdict(lines: &[LedgerLine], due: i64, now: Timestamp) -> Option<Discrepancy> {
        let due = BTreeMap::from([(OrderId(1 << 16), Money { amount: due, currency: Currency::GBP })]);
        let discrepancies = reconcile(lines, &due, |_| false, now);
        discrepancies.first().map(|(_, discrepancy)| *discrepancy)
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
    fn m6_a_charge_in_another_currency_covers_nothing() {
        let mut other = line(Operation::Authorize, 1, 1, 100);
        other.amount.currency = Currency::parse("EUR").unwrap();
        let due = BTreeMap::from([(OrderId(1 << 16), Money { amount: 100, currency: Currency::GBP })]);
        let found = reconcile(&[other], &due, |_| false, NOW);
        assert_eq!(found, [Discrepancy::Orphan, Discrepancy::Missing].map(|found| (OrderId(1 << 16), found)));
    }

    #[test]
    fn two_charges_for_one_order_are_a_double() {
        let lines = [line(Operation::Authorize, 1, 1, 100), line(Operation::Authorize, 2, 1, 100)];
        assert_eq!(verdict(&lines, 100, NOW), Some(Discrepancy::Double));
        let voided = [lines[0].clone(), lines[1].clone(), line(Operation::Void, 1, 1, 100)];
        assert_eq!(verdict(&voided, 100, NOW), None);
    }

    #[test]
    fn a_charge_of_an_order_that_ended_otherwise_is_an_orphan() {
        let held = [line(Operation::Authorize, 1, 1, 100)];
        assert_eq!(verdict(&held, 0, NOW), Some(Discrepancy::Orphan));
        assert_eq!(reconcile(&held, &BTreeMap::new(), |_| false, NOW), vec![(OrderId(1 << 16), Discrepancy::Orphan)]);
        assert_eq!(reconcile(&held, &BTreeMap::new(), |_| true, NOW), vec![]);
        let voided = [held[0].clone(), line(Operation::Void, 1, 1, 100)];
        assert_eq!(verdict(&voided, 0, NOW), None);
    }

    #[test]
    fn what_is_left_of_an_authorization_after_a_part_was_taken_lapses_by_itself() {
        use Operation::{Authorize, Capture, Refund};
        let lines = [line(Authorize, 1, 1, 100), line(Capture, 1, 1, 60), line(Refund, 1, 1, 60)];
        assert_eq!(verdict(&lines, 0, NOW), None);
        assert_eq!(verdict(&lines[..2], 0, NOW), Some(Discrepancy::Orphan), "what was taken is owed back");
    }

    #[test]
    fn a_confirmed_order_without_its_charge_is_missing_it() {
        assert_eq!(verdict(&[], 100, NOW), Some(Discrepancy::Missing));
        let held = [line(Operation::Authorize, 1, 1, 100)];
        assert_eq!(verdict(&held, 100, NOW.plus_s(10)), Some(Discrepancy::Missing), "it lapsed");
    }
}
