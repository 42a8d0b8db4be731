//! The form in which records and states are stored.
//!
//! A record's body is a [`Head`] and, per event, the facts and (apart) the personal data. Events and states are written as the domain
//! declares them, in tagged fields ([`doorbuster_domain::codec`]): a field can be added, and what was written without it is read. What is
//! written once is readable for ever: a change of meaning is a new version with an upcaster (`versions.rs`), and golden-byte tests hold
//! what is there.

#[cfg(test)]
mod added_fields;
mod form;
#[cfg(test)]
mod golden;
mod inventory;
mod kinds;
mod record;
mod versions;
mod whole;

pub use kinds::{in_chunks, rows_of, shown, state_of, touch};
pub use record::{
    Head, assemble, decode, encode, head, join_personal, lacks_personal, reaches, split_personal, take_apart,
};

use doorbuster_domain::any::Event;
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
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
    /// The head, which is all that most kinds have: it costs no memory apart.
    head: bool,
    /// The others; most have none, and then this is small.
    #[expect(clippy::box_collection, reason = "as many lie in memory as there are orders that wait")]
    chunks: Option<Box<std::collections::BTreeSet<u16>>>,
}

impl Dirty {
    /// Marks a chunk.
    pub fn mark(&mut self, chunk: u16) {
        if chunk == HEAD {
            self.head = true;
        } else {
            self.chunks.get_or_insert_default().insert(chunk);
        }
    }
    /// The marked chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = u16> + '_ {
        self.head.then_some(HEAD).into_iter().chain(self.chunks.iter().flat_map(|chunks| chunks.iter().copied()))
    }
    /// Is nothing marked?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.head && self.chunks.is_none()
    }
}

/// The form of records and states, fixed with a store when it is made: one of another form is refused when it is opened.
///
/// It grows only when bytes that were written before cannot be read; fields that are added, versions and upcasters leave it as it is.
pub const RECORD_FORMAT: u16 = 2;

/// The chunk of a state's head row: an entity without it was never stored.
pub const HEAD: u16 = 0;
/// The chunk of a state's personal data: deleted when it is erased.
pub const PERSONAL: u16 = u16::MAX;
