//! What the provider holds to be true: every operation it accepted, in the order it accepted them. The referee of what was charged.
//!
//! ```text
//! accepted_at ── nothing to be seen ──► lands_at: `first` ── (shopper acts, processing ends, time runs out) ──► `later`
//! ```
//!
//! An operation is written when it is accepted and lands when its latency is over: a question in between finds nothing, as with
//! providers of flesh and blood (rule M1). The book keeps all of it in memory, some 300 bytes an operation: a referee forgets nothing.

use compact_str::{CompactString, format_compact};
use doorbuster_domain::ids::OrderId;
use doorbuster_domain::money::Money;
use doorbuster_domain::payment::{LedgerLine, Operation, ProviderAnswer, ProviderCall, Reference};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::wire::{answer_form, money_form, reference_text};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use thiserror::Error;

/// A fingerprint of a call's parameters: the same key with other terms is a conflict. The token itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms(u128);

impl Terms {
    /// Of everything in the call that its reference does not say.
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

impl Serialize for Terms {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(from)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(de::Error::custom)
    }
}

/// What becomes of an operation after it landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    /// From then on …
    pub at: Timestamp,
    /// … this is true of it.
    #[serde(with = "answer_form")]
    pub answer: ProviderAnswer,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the book; the first is 1. Also the provider's own reference, as `sim_{number}`.
    pub number: u64,
    /// Ours.
    #[serde(with = "reference_text")]
    pub reference: Reference,
    /// How much.
    #[serde(with = "money_form")]
    pub amount: Money,
    /// With which parameters.
    pub terms: Terms,
    /// Of a capture, void or refund: the place of its authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<u64>,
    /// Where the shopper goes after acting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<CompactString>,
    /// When it was asked for.
    pub accepted_at: Timestamp,
    /// When it happens.
    pub lands_at: Timestamp,
    /// The answer to the call, and to every repetition of it.
    #[serde(with = "answer_form")]
    pub first: ProviderAnswer,
    /// What becomes of it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<Later>,
}

impl Entry {
    /// What is true of it at `now`; `None` before it landed.
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

    /// What it will be in the end, if nobody does anything.
    #[must_use]
    pub fn last(&self) -> &ProviderAnswer {
        self.later.as_ref().map_or(&self.first, |later| &later.answer)
    }

    fn succeeds(&self) -> bool {
        matches!(self.last(), ProviderAnswer::Succeeded { .. })
    }
}

/// One line of the ledger's file: replayed in order, they give the book again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// An operation was accepted.
    Accepted(Box<Entry>),
    /// The shopper acted.
    Acted {
        /// On the operation at this place.
        number: u64,
        /// With this outcome.
        later: Later,
    },
}

/// A ledger's lines do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BookError {
    /// An operation is not at its place: one before it is missing, or it is there twice.
    #[error("operation {found} stands where {expected} should")]
    Place {
        /// The place.
        expected: u64,
        /// What the line says.
        found: u64,
    },
    /// The shopper acted on what is not there.
    #[error("an action on operation {0}, which is not there")]
    Action(u64),
}

/// How much of an authorization was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Minor units captured.
    pub captured: i64,
    /// Minor units of that refunded.
    pub refunded: i64,
    /// Was it voided?
    pub voided: bool,
}

/// Every operation ever accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book {
    entries: Vec<Entry>,
    by_order: BTreeMap<OrderId, Vec<u64>>,
}

impl Book {
    /// The provider's own reference of an operation.
    #[must_use]
    pub fn provider_reference(number: u64) -> CompactString {
        format_compact!("sim_{number}")
    }

    /// The place of the next operation.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The operation at a place.
    #[must_use]
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// The newest operation of a reference.
    #[must_use]
    pub fn find(&self, reference: Reference) -> Option<&Entry> {
        self.of_order(reference.order).rev().find(|entry| entry.reference == reference)
    }

    /// The operation behind a provider's reference of an authorization, when it is one of this order.
    #[must_use]
    pub fn authorization(&self, order: OrderId, provider_reference: &str) -> Option<&Entry> {
        let entry = self.entry(provider_reference.strip_prefix("sim_")?.parse().ok()?)?;
        (entry.reference.order == order && entry.reference.operation == Operation::Authorize).then_some(entry)
    }

    fn of_order(&self, order: OrderId) -> impl DoubleEndedIterator<Item = &Entry> {
        self.by_order.get(&order).into_iter().flatten().filter_map(|number| self.entry(*number))
    }

    /// How much of the authorization was used by what was accepted so far, landed or not.
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

    /// Takes a line in.
    pub fn take(&mut self, line: Line) -> Result<(), BookError> {
        match line {
            Line::Accepted(entry) => {
                let expected = self.next_number();
                if entry.number != expected {
                    return Err(BookError::Place { expected, found: entry.number });
                }
                self.by_order.entry(entry.reference.order).or_default().push(entry.number);
                self.entries.push(*entry);
            }
            Line::Acted { number, later } => {
                let place = number.checked_sub(1).and_then(|index| usize::try_from(index).ok());
                let entry = place.and_then(|index| self.entries.get_mut(index)).ok_or(BookError::Action(number))?;
                entry.later = Some(later);
            }
        }
        Ok(())
    }

    /// The lines after place `after`, at most `limit`, as they are true at `now`. What has not landed is still being processed.
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
