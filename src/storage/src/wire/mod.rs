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
mod record;
mod versions;
mod whole;

pub use record::{Head, assemble, decode, encode, head, join_personal, reaches, split_personal};

use bytes::Bytes;
use doorbuster_domain::any::{Event, State};
use doorbuster_domain::codec::Apart;
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::{cart, inventory as stock, order, product, reservation, warehouse};
use thiserror::Error;
use versions::Versioned;

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
fn version_of_events(entity: &EntityId) -> u16 {
    match entity {
        EntityId::Inventory(_) => stock::Event::newest(),
        EntityId::Cart(_) => cart::Event::newest(),
        EntityId::Order(_) => order::Event::newest(),
        EntityId::Product(_) => product::Event::newest(),
        EntityId::Warehouse(_) => warehouse::Event::newest(),
        EntityId::Reservation(_) => reservation::Event::newest(),
    }
}

/// Appends an event's facts, and its personal data apart. Does it have any?
fn encode_event(event: &Event, facts: &mut Vec<u8>, personal: &mut Vec<u8>) -> bool {
    let mut apart = Apart::to(personal);
    match event {
        Event::Inventory(event) => form::write(event, facts, &mut apart),
        Event::Cart(event) => form::write(event, facts, &mut apart),
        Event::Order(event) => form::write(event, facts, &mut apart),
        Event::Product(event) => form::write(event, facts, &mut apart),
        Event::Warehouse(event) => form::write(event, facts, &mut apart),
        Event::Reservation(event) => form::write(event, facts, &mut apart),
    }
    apart.is_written()
}

/// Reads an event of the entity's kind; without its personal data once that is erased.
fn decode_event(entity: &EntityId, version: u16, facts: &[u8], personal: Option<&[u8]>) -> Result<Event, WireError> {
    match entity {
        EntityId::Inventory(_) => whole::read_with(version, facts, personal).map(Event::Inventory),
        EntityId::Cart(_) => whole::read_with(version, facts, personal).map(Event::Cart),
        EntityId::Order(_) => whole::read_with(version, facts, personal).map(Event::Order),
        EntityId::Product(_) => whole::read_with(version, facts, personal).map(Event::Product),
        EntityId::Warehouse(_) => whole::read_with(version, facts, personal).map(Event::Warehouse),
        EntityId::Reservation(_) => whole::read_with(version, facts, personal).map(Event::Reservation),
    }
}

/// An event as JSON, in the domain's words: `{"Reserved": {…}}`. Facts only: personal data is not among them.
///
/// # Errors
/// [`WireError::Damaged`] when it holds what JSON cannot: no event does.
pub fn shown(event: &Event) -> Result<serde_json::Value, WireError> {
    let shown = match event {
        Event::Inventory(event) => serde_json::to_value(event),
        Event::Cart(event) => serde_json::to_value(event),
        Event::Order(event) => serde_json::to_value(event),
        Event::Product(event) => serde_json::to_value(event),
        Event::Warehouse(event) => serde_json::to_value(event),
        Event::Reservation(event) => serde_json::to_value(event),
    };
    match shown.map_err(|error| WireError::Damaged { what: "an event", why: error.to_string() })? {
        // An event without fields has the form of the others.
        serde_json::Value::String(name) => Ok(serde_json::json!({ name: {} })),
        shown => Ok(shown),
    }
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
        State::Cart(state) => whole::rows_of(state.as_ref(), meta),
        State::Order(state) => whole::rows_of(state.as_ref(), meta),
        State::Product(state) => whole::rows_of(state.as_ref(), meta),
        State::Warehouse(state) => whole::rows_of(state.as_ref(), meta),
        State::Reservation(state) => whole::rows_of(state.as_ref(), meta),
    }
}

/// A state from all its stored rows, as (chunk, body).
///
/// # Errors
/// [`WireError::Version`] when a later version of the product wrote it: the state is rebuilt from history
/// (`storage::rebuild`). [`WireError::Damaged`] when it is not what it says it is.
pub fn state_of(entity: &EntityId, rows: &[(u16, Bytes)]) -> Result<(State, Meta), WireError> {
    Ok(match entity {
        EntityId::Inventory(_) => {
            let (state, meta) = inventory::state_of(rows)?;
            (State::Inventory(Box::new(state)), meta)
        }
        EntityId::Cart(_) => {
            let (state, meta) = whole::state_of(rows)?;
            (State::Cart(Box::new(state)), meta)
        }
        EntityId::Order(_) => {
            let (state, meta) = whole::state_of(rows)?;
            (State::Order(Box::new(state)), meta)
        }
        EntityId::Product(_) => {
            let (state, meta) = whole::state_of::<product::Product>(rows)?;
            (State::Product(Box::new(state.restored())), meta)
        }
        EntityId::Warehouse(_) => {
            let (state, meta) = whole::state_of(rows)?;
            (State::Warehouse(Box::new(state)), meta)
        }
        EntityId::Reservation(_) => {
            let (state, meta) = whole::state_of(rows)?;
            (State::Reservation(Box::new(state)), meta)
        }
    })
}
