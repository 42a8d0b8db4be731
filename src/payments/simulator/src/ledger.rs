//! The provider's ledger: every operation it accepted, in the order of acceptance. A test compares it with the shop's records.
//!
//! ```text
//! accepted_at ── not visible ──► lands_at: `first` ── (the shopper acts, processing ends, a time limit passes) ──► `later`
//! ```
//!
//! An operation is written when it is accepted and lands when its latency is over. A query in between finds nothing, as with real providers
//! (rule M1). The ledger stays in memory, some 300 bytes an operation, and forgets nothing.

use compact_str::{CompactString, format_compact};
use doorbuster_domain::ids::OrderId;
use doorbuster_domain::money::Money;
use doorbuster_domain::payment::{LedgerLine, Operation, ProviderAnswer, ProviderCall, ProviderReport, Reference};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::wire::{answer_form, money_form, reference_text};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use thiserror::Error;

/// A hash of a call's parameters: the same key with other parameters is a conflict. The payment token itself is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallFingerprint(u128);

impl CallFingerprint {
    /// Hashes everything in the call that its reference does not determine.
    #[must_use]
    pub fn of(call: &ProviderCall) -> Self {
        let mut hash = Sha256::new();
        hash.update(call.amount.amount.to_le_bytes());
        hash.update(call.amount.currency.as_str());
        for text in [&call.token, &call.provider_reference, &call.return_url] {
            let text = text.as_deref();
            hash.update([u8::from(text.is_some())]);
            hash.update(text.map_or(0, str::len).to_le_bytes());
            hash.update(text.unwrap_or_default());
        }
        let digest = hash.finalize();
        Self(digest.iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte)))
    }
}

impl Serialize for CallFingerprint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for CallFingerprint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(from)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(de::Error::custom)
    }
}

/// The state of an operation after its first answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaterOutcome {
    /// When it takes effect.
    pub at: Timestamp,
    /// The answer from then on.
    #[serde(with = "answer_form")]
    pub answer: ProviderAnswer,
}

/// An operation in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its position in the ledger, from 1. The provider's own reference is `sim_{number}`.
    pub number: u64,
    /// The shop's reference, which is the idempotency key.
    #[serde(with = "reference_text")]
    pub reference: Reference,
    /// The amount to authorize, capture, void or refund.
    #[serde(with = "money_form")]
    pub amount: Money,
    /// The hash of the call's parameters.
    #[serde(rename = "terms")]
    pub fingerprint: CallFingerprint,
    /// Of a capture, void or refund: the position of its authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<u64>,
    /// The page to which the shopper returns after acting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<CompactString>,
    /// When the call arrived.
    pub accepted_at: Timestamp,
    /// When the operation takes effect.
    pub lands_at: Timestamp,
    /// The answer to the call, and to every repetition of it.
    #[serde(with = "answer_form")]
    pub first: ProviderAnswer,
    /// The state that follows the first answer, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<LaterOutcome>,
}

impl Entry {
    /// The state of the operation at `now`; `None` before it landed.
    #[must_use]
    pub fn seen(&self, now: Timestamp) -> Option<&ProviderAnswer> {
        if now < self.lands_at {
            return None;
        }
        match &self.later {
            Some(later) if later.at <= now => Some(&later.answer),
            Some(_) | None => Some(&self.first),
        }
    }

    /// What the provider reports about the operation in this state.
    #[must_use]
    pub fn report(&self, answer: &ProviderAnswer) -> ProviderReport {
        let amount = answer.speaks_of_money().then_some(self.amount);
        ProviderReport { reference: self.reference, amount, answer: answer.clone() }
    }

    /// The final state if no shopper acts.
    #[must_use]
    pub fn last(&self) -> &ProviderAnswer {
        self.later.as_ref().map_or(&self.first, |later| &later.answer)
    }

    fn succeeds(&self) -> bool {
        matches!(self.last(), ProviderAnswer::Succeeded { .. })
    }
}

/// One line of the ledger's file. Replaying the lines in order rebuilds the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerRecord {
    /// An operation was accepted.
    Accepted(Box<Entry>),
    /// A shopper acted.
    ActionPlan {
        /// The position of the operation.
        number: u64,
        /// The state that follows.
        later: LaterOutcome,
    },
}

/// Why a line does not fit the lines before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LedgerSequenceError {
    /// An operation has an unexpected position: one before it is missing, or it is there twice.
    #[error("operation {found} follows where {expected} is expected")]
    Place {
        /// The next free position.
        expected: u64,
        /// The position in the line.
        found: u64,
    },
    /// An action names an operation that does not exist.
    #[error("an action on operation {0}, which does not exist")]
    Action(u64),
}

/// How much of an authorization was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// The captured amount, in minor units.
    pub captured: i64,
    /// The refunded part of it, in minor units.
    pub refunded: i64,
    /// Whether it was voided.
    pub voided: bool,
}

/// Every operation ever accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    by_order: BTreeMap<OrderId, Vec<u64>>,
}

impl Ledger {
    /// The provider's own reference of the operation at a position.
    #[must_use]
    pub fn provider_reference(number: u64) -> CompactString {
        format_compact!("sim_{number}")
    }

    /// The position of the next operation.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The operation at a position.
    #[must_use]
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// The newest operation with a reference.
    #[must_use]
    pub fn find(&self, reference: Reference) -> Option<&Entry> {
        self.of_order(reference.order).rev().find(|entry| entry.reference == reference)
    }

    /// The authorization with this provider reference, if it belongs to the order.
    #[must_use]
    pub fn authorization(&self, order: OrderId, provider_reference: &str) -> Option<&Entry> {
        let entry = self.entry(provider_reference.strip_prefix("sim_")?.parse().ok()?)?;
        (entry.reference.order == order && entry.reference.operation == Operation::Authorize).then_some(entry)
    }

    fn of_order(&self, order: OrderId) -> impl DoubleEndedIterator<Item = &Entry> {
        self.by_order.get(&order).into_iter().flatten().filter_map(|number| self.entry(*number))
    }

    /// How much of an authorization the accepted operations use, landed or not.
    #[must_use]
    pub fn used(&self, authorization: &Entry) -> Used {
        let mut used = Used::default();
        let of_it = |entry: &&Entry| entry.authorization == Some(authorization.number) && entry.succeeds();
        for entry in self.of_order(authorization.reference.order).filter(of_it) {
            match entry.reference.operation {
                Operation::Authorize => {}
                Operation::Capture => used.captured = used.captured.saturating_add(entry.amount.amount),
                Operation::Void => used.voided = true,
                Operation::Refund => used.refunded = used.refunded.saturating_add(entry.amount.amount),
            }
        }
        used
    }

    /// Applies a record.
    pub fn take(&mut self, line: LedgerRecord) -> Result<(), LedgerSequenceError> {
        match line {
            LedgerRecord::Accepted(entry) => {
                let expected = self.next_number();
                if entry.number != expected {
                    return Err(LedgerSequenceError::Place { expected, found: entry.number });
                }
                self.by_order.entry(entry.reference.order).or_default().push(entry.number);
                self.entries.push(*entry);
            }
            LedgerRecord::ActionPlan { number, later } => {
                let place = number.checked_sub(1).and_then(|index| usize::try_from(index).ok());
                let entry =
                    place.and_then(|index| self.entries.get_mut(index)).ok_or(LedgerSequenceError::Action(number))?;
                entry.later = Some(later);
            }
        }
        Ok(())
    }

    /// At most `limit` lines after position `after`, in their state at `now`. An operation that has not landed counts as processing.
    #[must_use]
    pub fn lines(&self, after: u64, limit: usize, now: Timestamp) -> Vec<(u64, LedgerLine)> {
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        let line = |entry: &Entry| {
            let on_its_way =
                || ProviderAnswer::Processing { provider_reference: Self::provider_reference(entry.number) };
            let answer = entry.seen(now).cloned().unwrap_or_else(on_its_way);
            let authorization = entry.authorization.map(Self::provider_reference);
            (entry.number, LedgerLine { reference: entry.reference, amount: entry.amount, authorization, answer })
        };
        self.entries.iter().skip(skipped).take(limit).map(line).collect()
    }
}
