//! The provider's own ledger against our orders: nothing charged twice, nothing without an order, nothing missing (rule M5).
//!
//! The ledger is read from the provider's process, the orders through the API; the judgement is the one that the audit uses, on data that did
//! not come from the nodes' own books.

use crate::record::Acknowledged;
use crate::verify::is_settled;
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::shopper::{Verdict, of_status};
use doorbuster_clock::{Clock, SystemClock};
use doorbuster_domain::ids::OrderId;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::payment::LedgerLine;
use doorbuster_domain::payment::reconciliation::{Discrepancy, reconcile};
use doorbuster_payments::wire::LineForm;
use futures_util::future::try_join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Orders read at the same time.
const READERS: usize = 16;
/// Payments that are still under way are looked at again for so long.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// Between two such looks.
const SETTLE_EVERY: Duration = Duration::from_secs(1);
/// Lines of one page of the ledger.
const PAGE: usize = 5_000;

/// What the comparison brought.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    /// Lines of the ledger.
    pub(crate) lines: usize,
    /// Orders that were compared: all acknowledged ones, and all that the ledger names.
    pub(crate) orders: usize,
    /// Charged more than once, or more than is due.
    pub(crate) double: Vec<String>,
    /// Charged for an order that ended otherwise, or that no node knows.
    pub(crate) orphan: Vec<String>,
    /// Confirmed, and less is charged than is due.
    pub(crate) missing: Vec<String>,
    /// Orders whose payment had not come to rest within the limit.
    pub(crate) in_flight: usize,
}

impl Books {
    /// Do the ledger and the orders agree?
    pub(crate) const fn agree(&self) -> bool {
        self.double.is_empty() && self.orphan.is_empty() && self.missing.is_empty()
    }
}

/// Where an order stands, as far as money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// So much is due of it.
    Due(Money),
    /// Not to be judged yet.
    InFlight,
}

fn standing(order: &Value) -> Standing {
    let status = order.get("status").and_then(Value::as_str).unwrap_or_default();
    match of_status(status) {
        Verdict::Confirmed => {
            let currency = order.pointer("/totals/due/currency").and_then(Value::as_str);
            let currency = currency.and_then(|code| Currency::parse(code).ok()).unwrap_or_default();
            let amount = order.pointer("/totals/due/amount").and_then(Value::as_i64).unwrap_or(0);
            Standing::Due(Money { amount, currency })
        }
        _ if is_settled(order) => Standing::Due(Money::default()),
        _ => Standing::InFlight,
    }
}

/// Compares, again until nothing is under way any more.
pub(crate) async fn compare(
    public: &Target,
    simulator: &Target,
    acknowledged: &[Acknowledged],
) -> Result<Books, BenchError> {
    let until = Instant::now() + SETTLE_LIMIT;
    let mut due = BTreeMap::new();
    let mut open: BTreeSet<OrderId> = acknowledged.iter().filter_map(|told| OrderId::parse(&told.order).ok()).collect();
    loop {
        let lines = ledger(simulator).await?;
        open.extend(lines.iter().map(|line| line.reference.order).filter(|order| !due.contains_key(order)));
        let looked_at: Vec<OrderId> = open.iter().copied().collect();
        for (order, standing) in read(public, &looked_at).await? {
            if let Standing::Due(amount) = standing {
                open.remove(&order);
                due.insert(order, amount);
            }
        }
        let late = Instant::now() > until;
        if open.is_empty() || late {
            // A void or a refund of what landed late is asked for after its order has ended: a disagreement is looked at again, too.
            let lines = ledger(simulator).await?;
            let books = judged(&lines, &due, &open);
            if books.agree() || late {
                return Ok(books);
            }
        }
        tokio::time::sleep(SETTLE_EVERY).await;
    }
}

fn judged(lines: &[LedgerLine], due: &BTreeMap<OrderId, Money>, open: &BTreeSet<OrderId>) -> Books {
    let mut books =
        Books { lines: lines.len(), orders: due.len() + open.len(), in_flight: open.len(), ..Books::default() };
    for (order, finding) in reconcile(lines, due, |order| open.contains(&order), SystemClock.now()) {
        let list = match finding {
            Discrepancy::Double => &mut books.double,
            Discrepancy::Orphan => &mut books.orphan,
            Discrepancy::Missing => &mut books.missing,
        };
        list.push(order.to_string());
    }
    books
}

async fn read(public: &Target, orders: &[OrderId]) -> Result<Vec<(OrderId, Standing)>, BenchError> {
    let each = orders.len().div_ceil(READERS).max(1);
    let readers = orders.chunks(each).map(|part| async move {
        let mut caller = Caller::new(public.clone());
        let mut found = Vec::with_capacity(part.len());
        for order in part {
            let path = format!("/v1/orders/{order}");
            let answer = caller.get(&path).await?;
            let standing = match answer.status {
                // No node knows it: nothing is due. Whether it was acknowledged is another check.
                404 => Standing::Due(Money::default()),
                200 => standing(&answer.json()),
                _ => return Err(answer.error(format!("GET {path}"))),
            };
            found.push((*order, standing));
        }
        Ok::<_, BenchError>(found)
    });
    Ok(try_join_all(readers).await?.into_iter().flatten().collect())
}

async fn ledger(simulator: &Target) -> Result<Vec<LedgerLine>, BenchError> {
    let mut caller = Caller::new(simulator.clone());
    let (mut after, mut lines) = (0, Vec::new());
    loop {
        let path = format!("/v1/ledger?after={after}&limit={PAGE}");
        let answer = caller.get(&path).await?;
        if !answer.is_ok() {
            return Err(answer.error(format!("GET {path}")));
        }
        let page = page(&answer.body)?;
        let Some((last, _)) = page.last() else { return Ok(lines) };
        after = *last;
        lines.extend(page.into_iter().map(|(_, line)| line));
    }
}

fn page(body: &[u8]) -> Result<Vec<(u64, LedgerLine)>, BenchError> {
    let bad = |why: String| BenchError::Node(format!("a line of the provider's ledger cannot be read: {why}"));
    let mut lines = Vec::new();
    for text in body.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        let form: LineForm = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
        let number = form.number;
        lines.push((number, form.read().ok_or_else(|| bad("not an amount".to_owned()))?));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::payment::{Operation, ProviderAnswer, Reference};
    use serde_json::json;

    fn order(number: u128) -> OrderId {
        OrderId(number << 16)
    }

    fn gbp(amount: i64) -> Money {
        Money { amount, currency: Currency::GBP }
    }

    fn charge(of: OrderId, payment: u16, amount: i64) -> [LedgerLine; 2] {
        let line = |operation, answer, authorization| LedgerLine {
            reference: Reference { order: of, operation, payment, attempt: 1 },
            amount: Money::new(amount, Currency::parse("GBP").unwrap()).unwrap(),
            authorization,
            answer,
        };
        let OrderId(order) = of;
        let name: compact_str::CompactString = format!("sim_{order}_{payment}").into();
        let lapses_at = doorbuster_domain::time::Timestamp(u64::MAX);
        [
            line(
                Operation::Authorize,
                ProviderAnswer::Authorized { provider_reference: name.clone(), lapses_at },
                None,
            ),
            line(Operation::Capture, ProviderAnswer::Succeeded { provider_reference: name.clone() }, Some(name)),
        ]
    }

    #[test]
    fn a_double_an_orphan_and_a_missing_charge_are_told_apart() {
        let lines: Vec<LedgerLine> = [
            charge(order(1), 1, 500),
            charge(order(2), 1, 500),
            charge(order(2), 2, 500),
            charge(order(3), 1, 500),
            charge(order(5), 1, 500),
        ]
        .concat();
        let due =
            BTreeMap::from([(order(1), gbp(500)), (order(2), gbp(500)), (order(3), gbp(0)), (order(4), gbp(500))]);
        let books = judged(&lines, &due, &BTreeSet::from([order(5)]));
        assert_eq!(
            (books.double, books.orphan, books.missing),
            (vec![order(2).to_string()], vec![order(3).to_string()], vec![order(4).to_string()])
        );
        assert_eq!((books.orders, books.in_flight, books.lines), (5, 1, 10));
    }

    #[test]
    fn only_what_has_come_to_rest_is_judged() {
        assert_eq!(
            standing(&json!({ "status": "confirmed", "totals": { "due": { "amount": 700, "currency": "GBP" } } })),
            Standing::Due(gbp(700))
        );
        assert_eq!(
            standing(&json!({ "status": "expired", "totals": { "due": { "amount": 0 } } })),
            Standing::Due(Money::default())
        );
        assert_eq!(standing(&json!({ "status": "authorizing" })), Standing::InFlight);
        assert_eq!(
            standing(&json!({ "status": "awaiting_payment", "payments": [{ "status": "failed" }] })),
            Standing::Due(Money::default())
        );
    }

    #[test]
    fn a_ledger_that_cannot_be_read_is_no_agreement() {
        assert!(page(b"{}\n").is_err());
        let line = serde_json::to_vec(&LineForm::new(9, &charge(order(1), 1, 500)[0])).unwrap();
        assert_eq!(page(&line).unwrap()[0].0, 9);
    }
}
