//! The form in which records and states are stored: kept apart from the domain's types, versioned, never changed in place.
//!
//! A record's body is a [`Head`] and, per event, the facts and (apart) the personal data. What is written once is
//! readable for ever: a new form is a new version with an upcaster, and golden-byte tests hold the old ones still.

mod cart;
pub(super) mod form;
#[cfg(test)]
mod golden;
mod inventory;
mod mirror;
mod order;
mod product;
mod record;
mod reservation;
mod warehouse;
mod whole;

pub use record::{Head, assemble, decode, encode, head, join_personal, reaches, split_personal};

use bytes::Bytes;
use doorbuster_domain::any::{Event, State};
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

/// The chunk of a state's head row: an entity without it was never stored.
pub const HEAD: u16 = 0;
/// The chunk of a state's personal data: deleted when it is erased.
pub const PERSONAL: u16 = u16::MAX;

/// Is the kind's state more than a head row and a personal row? Only then a store looks for chunk rows.
#[must_use]
pub const fn in_chunks(entity: &EntityId) -> bool {
    match entity {
        EntityId::Inventory(_) => true,
        EntityId::Cart(_)
        | EntityId::Order(_)
        | EntityId::Product(_)
        | EntityId::Warehouse(_)
        | EntityId::Reservation(_) => false,
    }
}

/// The version in which the events of the entity's kind are written.
const fn version_of_events(entity: &EntityId) -> u16 {
    match entity {
        EntityId::Inventory(_) => inventory::EVENTS,
        EntityId::Cart(_) => cart::EVENTS,
        EntityId::Order(_) => order::EVENTS,
        EntityId::Product(_) => product::EVENTS,
        EntityId::Warehouse(_) => warehouse::EVENTS,
        EntityId::Reservation(_) => reservation::EVENTS,
    }
}

/// Appends an event's facts and gives its personal data apart.
fn encode_event(event: &Event, facts: &mut Vec<u8>) -> Option<Vec<u8>> {
    match event {
        Event::Inventory(event) => inventory::encode_event(event, facts),
        Event::Cart(event) => cart::encode_event(event, facts),
        Event::Order(event) => order::encode_event(event, facts),
        Event::Product(event) => product::encode_event(event, facts),
        Event::Warehouse(event) => warehouse::encode_event(event, facts),
        Event::Reservation(event) => reservation::encode_event(event, facts),
    }
}

/// Reads an event of the entity's kind.
fn decode_event(entity: &EntityId, version: u16, facts: &[u8], personal: Option<&[u8]>) -> Result<Event, WireError> {
    match entity {
        EntityId::Inventory(_) => inventory::decode_event(version, facts, personal).map(Event::Inventory),
        EntityId::Cart(_) => cart::decode_event(version, facts, personal).map(Event::Cart),
        EntityId::Order(_) => order::decode_event(version, facts, personal).map(Event::Order),
        EntityId::Product(_) => product::decode_event(version, facts, personal).map(Event::Product),
        EntityId::Warehouse(_) => warehouse::decode_event(version, facts, personal).map(Event::Warehouse),
        EntityId::Reservation(_) => reservation::decode_event(version, facts, personal).map(Event::Reservation),
    }
}

/// An event as JSON, in the words of its stored form: `{"Reserved": {…}}`. Facts only: personal data is not among them.
pub fn shown(event: &Event) -> Result<serde_json::Value, WireError> {
    let shown = match event {
        Event::Inventory(event) => inventory::shown(event),
        Event::Cart(event) => cart::shown(event),
        Event::Order(event) => order::shown(event),
        Event::Product(event) => product::shown(event),
        Event::Warehouse(event) => warehouse::shown(event),
        Event::Reservation(event) => reservation::shown(event),
    };
    shown.map_err(|error| WireError::Damaged { what: "an event", why: error.to_string() })
}

/// Marks the rows that an event changes.
pub fn touch(event: &Event, dirty: &mut Dirty) {
    match event {
        Event::Inventory(event) => inventory::touch(event, dirty),
        Event::Cart(_) | Event::Order(_) | Event::Product(_) | Event::Warehouse(_) | Event::Reservation(_) => {
            dirty.mark(HEAD);
        }
    }
}

/// The rows of a state that are marked, as (chunk, body); the head row (with the meta data) is always among them.
#[must_use]
pub fn rows_of(state: &State, meta: &Meta, dirty: &Dirty) -> Vec<(u16, Bytes)> {
    match state {
        State::Inventory(state) => inventory::rows_of(state, meta, dirty),
        State::Cart(state) => whole::rows_of(cart::SNAPSHOT, meta, |out| cart::encode_state(state, out)),
        State::Order(state) => whole::rows_of(order::SNAPSHOT, meta, |out| order::encode_state(state, out)),
        State::Product(state) => whole::rows_of(product::SNAPSHOT, meta, |out| product::encode_state(state, out)),
        State::Warehouse(state) => whole::rows_of(warehouse::SNAPSHOT, meta, |out| warehouse::encode_state(state, out)),
        State::Reservation(state) => {
            whole::rows_of(reservation::SNAPSHOT, meta, |out| reservation::encode_state(state, out))
        }
    }
}

/// A state from all its stored rows, as (chunk, body).
///
/// # Errors
/// [`WireError::Version`] when another version of the product wrote it: the state is rebuilt from history
/// (`storage::rebuild`). [`WireError::Damaged`] when it is not what it says it is.
pub fn state_of(entity: &EntityId, rows: &[(u16, Bytes)]) -> Result<(State, Meta), WireError> {
    match entity {
        EntityId::Inventory(_) => {
            inventory::state_of(rows).map(|(state, meta)| (State::Inventory(Box::new(state)), meta))
        }
        EntityId::Cart(_) => {
            whole::state_of(rows, cart::decode_state).map(|(state, meta)| (State::Cart(Box::new(state)), meta))
        }
        EntityId::Order(_) => {
            whole::state_of(rows, order::decode_state).map(|(state, meta)| (State::Order(Box::new(state)), meta))
        }
        EntityId::Product(_) => {
            whole::state_of(rows, product::decode_state).map(|(state, meta)| (State::Product(Box::new(state)), meta))
        }
        EntityId::Warehouse(_) => whole::state_of(rows, warehouse::decode_state)
            .map(|(state, meta)| (State::Warehouse(Box::new(state)), meta)),
        EntityId::Reservation(_) => whole::state_of(rows, reservation::decode_state)
            .map(|(state, meta)| (State::Reservation(Box::new(state)), meta)),
    }
}
