//! A provider as the world needs one: it remembers every reference, answers the same again, and is silent when it likes.

use crate::ids::OrderId;
use crate::money::Money;
use crate::payment::{NextAction, Operation, ProviderAnswer, ProviderCall, ProviderReport, Reference, Retry};
use crate::time::Timestamp;
use rand::Rng;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

const LAPSES_AFTER_S: u64 = 7 * 86_400;

#[derive(Debug, Clone)]
struct LedgerEntry {
    call: ProviderCall,
    /// The amount of its record, which may be another than the call's.
    amount: Money,
    answer: ProviderAnswer,
}

impl LedgerEntry {
    fn report(&self) -> ProviderReport {
        let amount = self.answer.speaks_of_money().then_some(self.amount);
        ProviderReport { reference: self.call.reference, amount, answer: self.answer.clone() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Provider {
    ledger: BTreeMap<Reference, LedgerEntry>,
    /// What an operator was told never arrived, and so never will. (An authorization still may: rule M5.)
    never: BTreeSet<Reference>,
    /// Keys to which it gives a stored 500 for ever (rule M7).
    broken: BTreeSet<Reference>,
    /// Successes that it took back (rule M13).
    reversed: BTreeSet<Reference>,
}

impl Provider {
    /// The answer, which may be lost, and perhaps a webhook that says it too.
    pub(super) fn call(
        &mut self,
        call: &ProviderCall,
        now: Timestamp,
        moody: bool,
        rng: &mut ChaCha8Rng,
    ) -> (ProviderReport, Option<ProviderReport>) {
        let unknown = ProviderReport::unknown(call.reference);
        if moody && rng.random_bool(0.15) {
            return (unknown, None);
        }
        if call.cancel {
            return (self.cancel(call), None);
        }
        if !call.query_only && self.broken.contains(&call.reference) {
            return (ProviderReport::of(call, ProviderAnswer::Broken), None);
        }
        if let Some(line) = self.ledger.get(&call.reference) {
            let same = line.call.amount == call.amount && line.call.token == call.token;
            assert!(same || call.query_only, "the same reference with other parameters: {call:?}");
            return (line.report(), None);
        }
        if call.query_only || self.never.contains(&call.reference) {
            return (ProviderReport::of(call, ProviderAnswer::NotFound), None);
        }
        // Stored before the call is carried out, or after it.
        let breaks = moody && rng.random_bool(0.08);
        if breaks {
            self.broken.insert(call.reference);
        }
        if breaks && rng.random_bool(0.5) {
            return (ProviderReport::of(call, ProviderAnswer::Broken), None);
        }
        let answer = self.decide(call, now, moody, rng);
        let differs = moody && call.reference.operation == Operation::Authorize && rng.random_bool(0.04);
        let amount = Money { amount: call.amount.amount + i64::from(differs), ..call.amount };
        let entry = LedgerEntry { call: call.clone(), amount, answer };
        let report = entry.report();
        self.ledger.insert(call.reference, entry);
        if breaks {
            return (ProviderReport::of(call, ProviderAnswer::Broken), rng.random_bool(0.3).then_some(report));
        }
        if moody && rng.random_bool(0.15) {
            let webhook = rng.random_bool(0.5).then_some(report);
            return (unknown, webhook);
        }
        (report.clone(), rng.random_bool(0.3).then_some(report))
    }

    /// Rule M10: what has not taken effect never does.
    fn cancel(&mut self, call: &ProviderCall) -> ProviderReport {
        let cancelled = ProviderAnswer::Declined { code: "cancelled".into(), retry: Retry::SameMethod };
        let (call, amount) = (call.clone(), call.amount);
        let entry = LedgerEntry { call, amount, answer: cancelled.clone() };
        let line = self.ledger.entry(entry.call.reference).or_insert(entry);
        if matches!(line.answer, ProviderAnswer::RequiresAction { .. } | ProviderAnswer::Processing { .. }) {
            line.answer = cancelled;
        }
        line.report()
    }

    fn decide(&self, call: &ProviderCall, now: Timestamp, moody: bool, rng: &mut ChaCha8Rng) -> ProviderAnswer {
        let provider_reference = format!("pr_{}", self.ledger.len()).into();
        let declined = |retry| ProviderAnswer::Declined { code: "no".into(), retry };
        let dice = if moody { rng.random_range(0..100) } else { 0 };
        assert!(call.amount.amount > 0, "a call about nothing: {call:?}");
        if call.reference.operation == Operation::Authorize {
            return match dice {
                0..60 => ProviderAnswer::Authorized { provider_reference, lapses_at: now.plus_s(LAPSES_AFTER_S) },
                60..70 => declined(Retry::OtherMethod),
                70..85 => ProviderAnswer::RequiresAction {
                    provider_reference,
                    action: NextAction { kind: "redirect".into(), url: None, expires_at: now.plus_s(900) },
                },
                85..95 => ProviderAnswer::Processing { provider_reference },
                _ => ProviderAnswer::Succeeded { provider_reference },
            };
        }
        self.check_bounds(call);
        match dice {
            0..85 => ProviderAnswer::Succeeded { provider_reference },
            85..95 => declined(Retry::SameMethod),
            _ => declined(Retry::Never),
        }
    }

    /// Never more taken than authorized, never more given back than taken, nothing let go that was taken.
    fn check_bounds(&self, call: &ProviderCall) {
        let done = |operation: Operation| {
            let lines = self.ledger.iter().filter(|(reference, line)| {
                reference.order == call.reference.order
                    && reference.payment == call.reference.payment
                    && reference.operation == operation
                    && matches!(line.answer, ProviderAnswer::Succeeded { .. })
            });
            lines.map(|(_, line)| line.amount.amount).sum::<i64>()
        };
        let authorization = Reference { operation: Operation::Authorize, attempt: 1, ..call.reference };
        let line = self.ledger.get(&authorization).unwrap_or_else(|| panic!("nothing was authorized: {call:?}"));
        let (authorized, at_once) = match &line.answer {
            ProviderAnswer::Authorized { .. } => (line.amount.amount, 0),
            ProviderAnswer::Succeeded { .. } => (0, line.amount.amount),
            other => panic!("{call:?} of {other:?}"),
        };
        let amount = call.amount.amount;
        match call.reference.operation {
            Operation::Authorize => {}
            Operation::Capture => {
                assert!(done(Operation::Void) == 0 && done(Operation::Capture) + amount <= authorized, "{call:?}");
            }
            Operation::Void => {
                let rest = authorized - done(Operation::Capture);
                assert!(amount == rest && done(Operation::Void) == 0, "{call:?}, {rest} is left");
            }
            Operation::Refund => {
                assert!(done(Operation::Refund) + amount <= done(Operation::Capture) + at_once, "{call:?}");
            }
        }
    }

    /// Something that waited for the shopper or a bank is decided.
    pub(super) fn act(&mut self, now: Timestamp, rng: &mut ChaCha8Rng) -> Option<ProviderReport> {
        let waits = |line: &&mut LedgerEntry| {
            matches!(line.answer, ProviderAnswer::RequiresAction { .. } | ProviderAnswer::Processing { .. })
        };
        let line = self.ledger.values_mut().find(waits)?;
        line.answer = if rng.random_bool(0.6) {
            ProviderAnswer::Authorized { provider_reference: "pr_late".into(), lapses_at: now.plus_s(LAPSES_AFTER_S) }
        } else if rng.random_bool(0.5) {
            ProviderAnswer::Succeeded { provider_reference: "pr_bank".into() }
        } else {
            ProviderAnswer::Declined { code: "shopper_gave_up".into(), retry: Retry::SameMethod }
        };
        Some(line.report())
    }

    /// A refund that had succeeded comes back days later (rule M13).
    pub(super) fn take_back(&mut self, rng: &mut ChaCha8Rng) -> Option<ProviderReport> {
        let is_paid_back = |line: &&mut LedgerEntry| {
            line.call.reference.operation == Operation::Refund
                && matches!(line.answer, ProviderAnswer::Succeeded { .. })
        };
        let line = self.ledger.values_mut().filter(is_paid_back).choose(rng)?;
        line.answer = ProviderAnswer::Reversed { code: "account_closed".into() };
        self.reversed.insert(line.call.reference);
        Some(line.report())
    }

    /// It says again what it took back, until it is heard.
    pub(super) fn all_taken_back(&self) -> Vec<ProviderReport> {
        self.reversed.iter().filter_map(|reference| self.ledger.get(reference)).map(LedgerEntry::report).collect()
    }

    /// What an operator finds out.
    pub(super) fn truth(&mut self, reference: &Reference) -> ProviderAnswer {
        if reference.operation != Operation::Authorize && !self.ledger.contains_key(reference) {
            self.never.insert(*reference);
        }
        let never = ProviderAnswer::Declined { code: "never_arrived".into(), retry: Retry::SameMethod };
        self.ledger.get(reference).map_or(never, |line| match &line.answer {
            ProviderAnswer::RequiresAction { .. } | ProviderAnswer::Processing { .. } => {
                ProviderAnswer::Declined { code: "still_open".into(), retry: Retry::SameMethod }
            }
            ProviderAnswer::Reversed { code } => {
                ProviderAnswer::Declined { code: code.clone(), retry: Retry::SameMethod }
            }
            answer => answer.clone(),
        })
    }

    /// What it still holds authorized for an order, and what it took less what it gave back.
    pub(super) fn books_of(&self, order: OrderId) -> (i64, i64) {
        let mut authorized = BTreeMap::new();
        let mut net = 0;
        for (reference, line) in self.ledger.iter().filter(|(reference, _)| reference.order == order) {
            let amount = line.amount.amount;
            let left: &mut i64 = authorized.entry(reference.payment).or_default();
            match (reference.operation, &line.answer) {
                (Operation::Authorize, ProviderAnswer::Authorized { .. }) => *left += amount,
                (Operation::Authorize, ProviderAnswer::Succeeded { .. }) => net += amount,
                (Operation::Capture, ProviderAnswer::Succeeded { .. }) => {
                    net += amount;
                    *left -= amount;
                }
                (Operation::Void, ProviderAnswer::Succeeded { .. }) => *left -= amount,
                (Operation::Refund, ProviderAnswer::Succeeded { .. }) => net -= amount,
                _ => {}
            }
        }
        (authorized.values().sum(), net)
    }
}
