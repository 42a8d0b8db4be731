//! Units promised under a caller's own reference: what a shop that keeps its own checkout reserves, commits, extends and releases.
//!
//! ```text
//!            ┌── extend ──┐
//! promise ──► held ──────────► committed | released | expired ──PROMISE_MEMORY_S──► forgotten
//! ```
//!
//! An order's reservation has a decider elsewhere, so the SKU only asks it (rule R3). Behind a promise that its own SKU keeps stands nobody
//! else: commit, release, extension and expiry are decisions of this one entity in one order, so it may end it by itself, and what the
//! caller heard first stays true. A promise that a [`Keeper::Reservation`] keeps is one line of several; that one decides, and is asked.
//!
//! An ended promise is remembered far longer than a message lives, so no late copy of anything finds its place empty (rule R1's story).

use super::memory::units_of;
use super::words::{Allocation, Units};
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{Request, ReservationId};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds for which an ended promise is remembered, and with it its reference: seven days, as the API says of every key.
pub const PROMISE_MEMORY_S: u64 = 7 * 24 * 3_600;
/// Promises that one command may ask for.
///
/// Smaller: a batch is cut into more records; larger: its record, which is never split, would not fit the smallest bucket of a log that may
/// be configured (100 events).
pub const PROMISES_PER_DECISION_MAX: usize = 64;
/// Promises that end by themselves in one decision; the rest follows in the next. Larger: the one event that names them would not fit the
/// smallest batch of a log that may be configured (16 KiB).
pub(super) const ENDS_PER_DECISION_MAX: usize = 512;
/// How often one promise may be extended: each extension is remembered with it.
pub const EXTENSIONS_MAX: usize = 32;
/// Promises that one listing looks at before it answers with what it has found.
pub(super) const LOOKED_AT_MAX: usize = 4_096;

/// Who decides when a promise ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Keeper {
    /// The SKU itself: the reservation has no other line.
    #[n(0)]
    Stock,
    /// The reservation of several lines that it is one line of.
    #[n(1)]
    Reservation {
        /// Number of the line, from 0: the SKU names it when it asks.
        #[n(0)]
        line: u16,
    },
}

/// How far a promise got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum PromiseStatus {
    /// The units are reserved.
    #[n(0)]
    Held,
    /// The units were sold.
    #[n(1)]
    Committed,
    /// The caller released them: the units are available again.
    #[n(2)]
    Released,
    /// The deadline came: the units are available again.
    #[n(3)]
    Expired,
}

/// What a caller wishes to be promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseWish {
    /// Made of the caller and the reference, so it is the key of the wish.
    pub id: ReservationId,
    /// The caller's own name for it.
    pub reference: CompactString,
    /// All or none.
    pub units: Units,
    /// For so long, as it was asked.
    pub hold_s: u64,
    /// The instant that makes (rule R4: computed once).
    pub expires_at: Timestamp,
    /// The caller's name for whoever buys.
    pub buyer_key: Option<CompactString>,
}

/// Who asks about a promise that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Party {
    /// The caller, by the name its references are kept under. It speaks with the SKU only of promises that the SKU keeps.
    Caller(CompactString),
    /// The reservation that keeps it.
    Reservation,
}

/// A promise as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promised {
    /// Its id.
    pub id: ReservationId,
    /// As it stands.
    pub promise: Promise,
    /// Was it made before this request?
    pub repeated: bool,
}

/// Units promised under a reference, or the memory of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Promise {
    /// Number of the SKU's event that made it.
    #[n(0)]
    pub number: u64,
    /// The caller's own name for it.
    #[cbor(n(1), with = "text")]
    pub reference: CompactString,
    /// The caller's name for the buyer.
    #[cbor(n(2), with = "text")]
    pub buyer_key: Option<CompactString>,
    /// What decides when it ends.
    #[n(3)]
    pub keeper: Keeper,
    /// Units by the warehouse they are taken from.
    #[n(4)]
    pub allocations: Vec<Allocation>,
    /// Seconds from the request to the deadline, as they were asked for.
    #[n(5)]
    pub hold_s: u64,
    /// When it ends by itself; of one that a reservation keeps: when that one is asked.
    #[n(6)]
    pub expires_at: Timestamp,
    /// Held, or how it ended.
    #[n(7)]
    pub status: PromiseStatus,
    /// When it was made.
    #[n(8)]
    pub made_at: Timestamp,
    /// When it last changed.
    #[n(9)]
    pub changed_at: Timestamp,
    /// How often it changed, its making included: the resource's version.
    #[n(10)]
    pub changes: u32,
    /// The requests that extended it, at most [`EXTENSIONS_MAX`].
    #[n(11)]
    pub extensions: Vec<Request>,
}

impl Promise {
    /// All its units.
    #[must_use]
    pub fn units(&self) -> u64 {
        units_of(&self.allocations)
    }

    fn changed(&mut self, at: Timestamp) {
        self.changed_at = at;
        self.changes = self.changes.saturating_add(1);
    }
}

/// All promises of a SKU that are remembered, with the ways to find them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Promises {
    /// Ordered by id, so that a chunk of the stored state is a range.
    by_id: BTreeMap<ReservationId, Promise>,
    /// By number: by age.
    by_number: BTreeMap<u64, ReservationId>,
    /// Held ones that end by themselves, by when.
    expiring: BTreeSet<(Timestamp, u64)>,
    /// Held ones that a reservation keeps, by when it is asked.
    asking: BTreeSet<(Timestamp, u64)>,
    /// Ended ones, by when they are forgotten.
    fading: BTreeSet<(Timestamp, u64)>,
}

impl Promises {
    pub(super) fn get(&self, id: ReservationId) -> Option<&Promise> {
        self.by_id.get(&id)
    }

    pub(super) fn by_number(&self, number: u64) -> Option<(ReservationId, &Promise)> {
        let id = self.by_number.get(&number)?;
        self.by_id.get(id).map(|promise| (*id, promise))
    }

    /// All of them, by id, from one id to another.
    pub(super) fn between(
        &self,
        first: ReservationId,
        last: ReservationId,
    ) -> impl Iterator<Item = (ReservationId, &Promise)> {
        self.by_id.range(first..=last).map(|(id, promise)| (*id, promise))
    }

    /// Newest first, those made before the event of that number.
    pub(super) fn newest_before(&self, number: u64) -> impl Iterator<Item = (ReservationId, &Promise)> {
        self.by_number.range(..number).rev().filter_map(|(_, id)| self.by_id.get(id).map(|promise| (*id, promise)))
    }

    /// Held ones, in the order in which they end or are asked about.
    pub(super) fn held(&self) -> impl Iterator<Item = (ReservationId, &Promise)> {
        self.expiring.iter().chain(&self.asking).filter_map(|(_, number)| self.by_number(*number))
    }

    /// Those whose time is over, oldest first.
    pub(super) fn overdue(&self, now: Timestamp) -> impl Iterator<Item = ReservationId> {
        let due = self.expiring.range(..=(now, u64::MAX)).take(ENDS_PER_DECISION_MAX);
        due.filter_map(|(_, number)| self.by_number.get(number).copied())
    }

    /// Those that need no longer be remembered, oldest first.
    pub(super) fn faded(&self, now: Timestamp, most: usize) -> impl Iterator<Item = ReservationId> {
        let due = self.fading.range(..=(now, u64::MAX)).take(most);
        due.filter_map(|(_, number)| self.by_number.get(number).copied())
    }

    /// The numbers of those whose reservation is to be asked.
    pub(super) fn questions(&self, now: Timestamp) -> impl Iterator<Item = u64> {
        self.asking.range(..=(now, u64::MAX)).map(|(_, number)| *number)
    }

    /// When something is due after `now`: what is past due is due at once.
    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let soon = now.plus_ms(1);
        let expiry = self.expiring.first().map(|(at, _)| (*at).max(soon));
        let question = self.asking.range((soon, 0)..).next().map(|(at, _)| *at);
        [expiry, question].into_iter().flatten().min()
    }

    /// When the first of them may come free.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        [self.expiring.first(), self.asking.first()].into_iter().flatten().map(|(at, _)| *at).min()
    }

    pub(super) fn insert(&mut self, id: ReservationId, promise: Promise) {
        let key = (promise.expires_at, promise.number);
        match (promise.status, promise.keeper) {
            (PromiseStatus::Held, Keeper::Stock) => self.expiring.insert(key),
            (PromiseStatus::Held, Keeper::Reservation { .. }) => self.asking.insert(key),
            (PromiseStatus::Committed | PromiseStatus::Released | PromiseStatus::Expired, _) => {
                self.fading.insert((faded_at(&promise), promise.number))
            }
        };
        self.by_number.insert(promise.number, id);
        self.by_id.insert(id, promise);
    }

    /// Takes one out, to be put in again as it is now.
    fn take(&mut self, id: ReservationId) -> Option<Promise> {
        let promise = self.by_id.remove(&id)?;
        self.by_number.remove(&promise.number);
        let key = (promise.expires_at, promise.number);
        self.expiring.remove(&key);
        self.asking.remove(&key);
        self.fading.remove(&(faded_at(&promise), promise.number));
        Some(promise)
    }

    /// It has ended so; gives what it held.
    pub(super) fn end(&mut self, id: ReservationId, status: PromiseStatus, at: Timestamp) -> Vec<Allocation> {
        let Some(promise) = self.by_id.get_mut(&id) else { return Vec::new() };
        let key = (promise.expires_at, promise.number);
        promise.status = status;
        promise.changed(at);
        self.fading.insert((faded_at(promise), promise.number));
        self.expiring.remove(&key);
        self.asking.remove(&key);
        promise.allocations.clone()
    }

    /// It lasts until then.
    pub(super) fn extend(&mut self, id: ReservationId, request: Request, expires_at: Timestamp, at: Timestamp) {
        if let Some(mut promise) = self.take(id) {
            promise.expires_at = expires_at;
            promise.extensions.push(request);
            promise.changed(at);
            self.insert(id, promise);
        }
    }

    /// Its reservation is asked again then.
    pub(super) fn ask_again(&mut self, id: ReservationId, ask_at: Timestamp) {
        if let Some(mut promise) = self.take(id) {
            promise.expires_at = ask_at;
            self.insert(id, promise);
        }
    }

    pub(super) fn forget(&mut self, id: ReservationId) {
        let _gone = self.take(id);
    }
}

const fn faded_at(promise: &Promise) -> Timestamp {
    promise.changed_at.plus_s(PROMISE_MEMORY_S)
}
