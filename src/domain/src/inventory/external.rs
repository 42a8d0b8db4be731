//! External reservations: units reserved under a caller's own reference, by a shop that has its own checkout.
//!
//! ```text
//!            ┌── extend ──┐
//! reserve ──► held ──────────► committed ──► shipped | released | expired ──EXTERNAL_MEMORY_S──► forgotten
//! ```
//!
//! The order decides about its reservation, so the SKU only asks it (rule R3). About an external reservation of one line no other entity can
//! decide: commit, release, extension and expiry are decisions of this one entity, in one order. So the SKU may end it by itself, and the
//! caller's first answer stays true. One with [`Decider::Reservation`] is a line of several; the reservation decides, and the SKU asks it.
//!
//! An ended external reservation is remembered far longer than a message lives, so a late copy of any command finds it (rule R1).

use super::command::{Allocation, Units};
use super::memory::units_of;
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{Request, ReservationId};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The seconds for which an ended external reservation and its reference are remembered: seven days, as the API says of every key.
pub const EXTERNAL_MEMORY_S: u64 = 7 * 24 * 3_600;
/// The most external reservations in one command.
///
/// Smaller: a batch becomes more records; larger: its record, which is never split, would not fit the smallest bucket of a log that can
/// be configured (100 events).
pub const EXTERNAL_PER_DECISION_MAX: usize = 64;
/// The most external reservations that expire in one decision; the rest follows in the next. Larger: the event that names them would not fit the
/// smallest batch of a log that can be configured (16 KiB).
pub(super) const ENDS_PER_DECISION_MAX: usize = 512;
/// The most extensions of one external reservation; each is remembered with it.
pub const EXTENSIONS_MAX: usize = 32;
/// The most external reservations that one listing examines before it answers.
pub(super) const LOOKED_AT_MAX: usize = 4_096;

/// The entity that decides when an external reservation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Decider {
    /// The SKU itself: the reservation has one line.
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

/// The status of an external reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum ExternalStatus {
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

/// A request for an external reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalRequest {
    /// The id, derived from the caller and the reference; it is the idempotency key.
    pub id: ReservationId,
    /// The caller's reference.
    pub reference: CompactString,
    /// The number of units; all or none are reserved.
    pub units: Units,
    /// The requested hold time, in seconds.
    pub hold_s: u64,
    /// The deadline, computed once from the hold time (rule R4).
    pub expires_at: Timestamp,
    /// The caller's key of the buyer.
    pub buyer_key: Option<CompactString>,
}

/// The requester of an action on an external reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Requester {
    /// The caller, by the name of its references. It may act only on reservations that the SKU decides.
    Caller(CompactString),
    /// The reservation of several lines that decides about it.
    Reservation,
}

/// An external reservation in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAnswer {
    /// The reservation's id.
    pub id: ReservationId,
    /// Its current state.
    pub reservation: ExternalReservation,
    /// Whether it was made by an earlier request.
    pub repeated: bool,
}

/// An external reservation, live or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ExternalReservation {
    /// Number of the SKU's event that made it.
    #[n(0)]
    pub number: u64,
    /// The caller's reference.
    #[cbor(n(1), with = "text")]
    pub reference: CompactString,
    /// The caller's name for the buyer.
    #[cbor(n(2), with = "text")]
    pub buyer_key: Option<CompactString>,
    /// What decides when it ends.
    #[n(3)]
    pub decider: Decider,
    /// Units by the warehouse they are taken from.
    #[n(4)]
    pub allocations: Vec<Allocation>,
    /// Seconds from the request to the deadline, as they were asked for.
    #[n(5)]
    pub hold_s: u64,
    /// When it expires; of a line of several: when its reservation is asked.
    #[n(6)]
    pub expires_at: Timestamp,
    /// Held, or how it ended.
    #[n(7)]
    pub status: ExternalStatus,
    /// When it was made.
    #[n(8)]
    pub made_at: Timestamp,
    /// When it last changed.
    #[n(9)]
    pub changed_at: Timestamp,
    /// The number of its changes, its creation included: the resource's version.
    #[n(10)]
    pub changes: u32,
    /// The requests that extended it, at most [`EXTENSIONS_MAX`].
    #[n(11)]
    pub extensions: Vec<Request>,
    /// When its units left the warehouse; `None`: they have not.
    #[n(12)]
    pub shipped_at: Option<Timestamp>,
}

impl ExternalReservation {
    /// The sum of its units.
    #[must_use]
    pub fn units(&self) -> u64 {
        units_of(&self.allocations)
    }

    fn changed(&mut self, at: Timestamp) {
        self.changed_at = at;
        self.changes = self.changes.saturating_add(1);
    }

    /// It is committed, released or expired.
    pub(super) fn end(&mut self, status: ExternalStatus, at: Timestamp) {
        self.status = status;
        self.changed(at);
    }

    /// Its units leave the warehouse.
    pub(super) fn ship(&mut self, at: Timestamp) {
        self.shipped_at = Some(at);
        self.changed(at);
    }
}

/// All remembered external reservations of a SKU, with indexes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ExternalReservations {
    /// Ordered by id, so that a chunk of the stored state is a range.
    by_id: BTreeMap<ReservationId, ExternalReservation>,
    /// By number: by age.
    by_number: BTreeMap<u64, ReservationId>,
    /// Live ones that the SKU decides, by their deadline.
    expiring: BTreeSet<(Timestamp, u64)>,
    /// Live lines of reservations of several lines, by the time of the question.
    asking: BTreeSet<(Timestamp, u64)>,
    /// Ended ones, by the end of their memory.
    fading: BTreeSet<(Timestamp, u64)>,
}

impl ExternalReservations {
    pub(super) fn get(&self, id: ReservationId) -> Option<&ExternalReservation> {
        self.by_id.get(&id)
    }

    pub(super) fn by_number(&self, number: u64) -> Option<(ReservationId, &ExternalReservation)> {
        let id = self.by_number.get(&number)?;
        self.by_id.get(id).map(|reservation| (*id, reservation))
    }

    /// Those from one id to another, by id.
    pub(super) fn between(
        &self,
        first: ReservationId,
        last: ReservationId,
    ) -> impl Iterator<Item = (ReservationId, &ExternalReservation)> {
        self.by_id.range(first..=last).map(|(id, reservation)| (*id, reservation))
    }

    /// Those made before the event with this number, newest first.
    pub(super) fn newest_before(&self, number: u64) -> impl Iterator<Item = (ReservationId, &ExternalReservation)> {
        self.by_number
            .range(..number)
            .rev()
            .filter_map(|(_, id)| self.by_id.get(id).map(|reservation| (*id, reservation)))
    }

    /// Live ones, by the time at which they expire or are asked about.
    pub(super) fn held(&self) -> impl Iterator<Item = (ReservationId, &ExternalReservation)> {
        self.expiring.iter().chain(&self.asking).filter_map(|(_, number)| self.by_number(*number))
    }

    /// Those whose deadline has passed, oldest first.
    pub(super) fn overdue(&self, now: Timestamp) -> impl Iterator<Item = ReservationId> {
        let due = self.expiring.range(..=(now, u64::MAX)).take(ENDS_PER_DECISION_MAX);
        due.filter_map(|(_, number)| self.by_number.get(number).copied())
    }

    /// Those whose memory time is over, oldest first.
    pub(super) fn faded(&self, now: Timestamp, most: usize) -> impl Iterator<Item = ReservationId> {
        let due = self.fading.range(..=(now, u64::MAX)).take(most);
        due.filter_map(|(_, number)| self.by_number.get(number).copied())
    }

    /// The numbers of those whose reservation must be asked.
    pub(super) fn questions(&self, now: Timestamp) -> impl Iterator<Item = u64> {
        self.asking.range(..=(now, u64::MAX)).map(|(_, number)| *number)
    }

    /// The next time after `now` at which something is due; overdue work is due at once.
    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let soon = now.plus_ms(1);
        let expiry = self.expiring.first().map(|(at, _)| (*at).max(soon));
        let question = self.asking.range((soon, 0)..).next().map(|(at, _)| *at);
        [expiry, question].into_iter().flatten().min()
    }

    /// The earliest deadline.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        [self.expiring.first(), self.asking.first()].into_iter().flatten().map(|(at, _)| *at).min()
    }

    pub(super) fn insert(&mut self, id: ReservationId, reservation: ExternalReservation) {
        let key = (reservation.expires_at, reservation.number);
        match (reservation.status, reservation.decider) {
            (ExternalStatus::Held, Decider::Stock) => self.expiring.insert(key),
            (ExternalStatus::Held, Decider::Reservation { .. }) => self.asking.insert(key),
            (ExternalStatus::Committed | ExternalStatus::Released | ExternalStatus::Expired, _) => {
                self.fading.insert((faded_at(&reservation), reservation.number))
            }
        };
        self.by_number.insert(reservation.number, id);
        self.by_id.insert(id, reservation);
    }

    /// Removes one from all indexes, for a change.
    fn take(&mut self, id: ReservationId) -> Option<ExternalReservation> {
        let reservation = self.by_id.remove(&id)?;
        self.by_number.remove(&reservation.number);
        let key = (reservation.expires_at, reservation.number);
        self.expiring.remove(&key);
        self.asking.remove(&key);
        self.fading.remove(&(faded_at(&reservation), reservation.number));
        Some(reservation)
    }

    /// Ends one; returns the units it held.
    pub(super) fn end(&mut self, id: ReservationId, status: ExternalStatus, at: Timestamp) -> Vec<Allocation> {
        let Some(reservation) = self.by_id.get_mut(&id) else { return Vec::new() };
        let key = (reservation.expires_at, reservation.number);
        reservation.end(status, at);
        self.fading.insert((faded_at(reservation), reservation.number));
        self.expiring.remove(&key);
        self.asking.remove(&key);
        reservation.allocations.clone()
    }

    /// The units of a committed one left; returns them.
    pub(super) fn ship(&mut self, id: ReservationId, at: Timestamp) -> Vec<Allocation> {
        let Some(mut reservation) = self.take(id) else { return Vec::new() };
        reservation.ship(at);
        let allocations = reservation.allocations.clone();
        self.insert(id, reservation);
        allocations
    }

    /// Sets a later deadline.
    pub(super) fn extend(&mut self, id: ReservationId, request: Request, expires_at: Timestamp, at: Timestamp) {
        if let Some(mut reservation) = self.take(id) {
            reservation.expires_at = expires_at;
            reservation.extensions.push(request);
            reservation.changed(at);
            self.insert(id, reservation);
        }
    }

    /// Sets the time of the next question to its reservation.
    pub(super) fn ask_again(&mut self, id: ReservationId, ask_at: Timestamp) {
        if let Some(mut reservation) = self.take(id) {
            reservation.expires_at = ask_at;
            self.insert(id, reservation);
        }
    }

    pub(super) fn forget(&mut self, id: ReservationId) {
        let _gone = self.take(id);
    }
}

const fn faded_at(reservation: &ExternalReservation) -> Timestamp {
    reservation.changed_at.plus_s(EXTERNAL_MEMORY_S)
}
