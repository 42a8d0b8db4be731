//! How each kind of entity is stored: most as one row, the stock of a SKU in chunks.
//!
//! A new kind is one line in `in_one_row!`; everything that differs by kind is made of the domain's list of kinds.

use super::form::{self, damaged};
use super::versions::Versioned;
use super::{Dirty, HEAD, Meta, WireError, inventory as chunks, whole};
use bytes::Bytes;
use doorbuster_domain::any::{Event, State};
use doorbuster_domain::codec::Apart;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::{each_kind, inventory};

/// How a kind is stored.
trait StoredKind: Sized {
    /// Its events.
    type Event;
    /// Is its state more than a head row and a personal row?
    const IN_CHUNKS: bool = false;

    /// Marks the rows that an event changes.
    fn touch(_event: &Self::Event, dirty: &mut Dirty) {
        dirty.mark(HEAD);
    }

    /// The marked rows of a state, the head row always among them.
    fn rows_of(&self, meta: &Meta, dirty: &Dirty) -> Vec<(u16, Bytes)>;

    /// A state from all its rows.
    fn state_of(rows: &[(u16, Bytes)]) -> Result<(Self, Meta), WireError>;
}

/// Kinds whose state is one row; `=> restored` where a part of the state is made from the rest.
macro_rules! in_one_row {
    ($($module:ident :: $state:ident $(=> $restored:ident)?;)+) => { $(
        impl StoredKind for doorbuster_domain::$module::$state {
            type Event = doorbuster_domain::$module::Event;

            fn rows_of(&self, meta: &Meta, _dirty: &Dirty) -> Vec<(u16, Bytes)> {
                whole::rows_of(self, meta)
            }

            fn state_of(rows: &[(u16, Bytes)]) -> Result<(Self, Meta), WireError> {
                let (state, meta) = whole::state_of::<Self>(rows)?;
                $( let state = state.$restored(); )?
                Ok((state, meta))
            }
        }
    )+ };
}

in_one_row! {
    cart::Cart;
    counter::Counter;
    order::Order;
    product::Product => restored;
    reservation::Reservation;
    warehouse::Warehouse => restored;
}

impl StoredKind for inventory::Inventory {
    type Event = inventory::Event;
    const IN_CHUNKS: bool = true;

    fn touch(event: &Self::Event, dirty: &mut Dirty) {
        chunks::touch(event, dirty);
    }

    fn rows_of(&self, meta: &Meta, dirty: &Dirty) -> Vec<(u16, Bytes)> {
        chunks::rows_of(self, meta, dirty)
    }

    fn state_of(rows: &[(u16, Bytes)]) -> Result<(Self, Meta), WireError> {
        chunks::state_of(rows)
    }
}

macro_rules! by_kind {
    ($($kind:ident => $module:ident :: $state:ident),+ $(,)?) => {
        /// Is the kind's state more than a head row and a personal row? Only then a store looks for chunk rows.
        #[must_use]
        pub const fn in_chunks(entity: &EntityId) -> bool {
            match entity { $( EntityId::$kind(_) => <doorbuster_domain::$module::$state as StoredKind>::IN_CHUNKS ),+ }
        }

        /// The version in which the events of the entity's kind are written.
        pub(super) fn version_of_events(entity: &EntityId) -> u16 {
            match entity { $( EntityId::$kind(_) => doorbuster_domain::$module::Event::newest() ),+ }
        }

        /// Appends an event's facts, and its personal data apart. Does it have any?
        pub(super) fn encode_event(event: &Event, facts: &mut Vec<u8>, personal: &mut Vec<u8>) -> bool {
            let mut apart = Apart::to(personal);
            match event { $( Event::$kind(event) => form::write(event, facts, &mut apart) ),+ }
            apart.is_written()
        }

        /// Reads an event of the entity's kind; without its personal data once that is erased.
        pub(super) fn decode_event(
            entity: &EntityId,
            version: u16,
            facts: &[u8],
            personal: Option<&[u8]>,
        ) -> Result<Event, WireError> {
            match entity { $( EntityId::$kind(_) => whole::read_with(version, facts, personal).map(Event::$kind) ),+ }
        }

        /// An event as JSON, in the domain's words: `{"Reserved": {…}}`. Facts only: personal data is not among them.
        ///
        /// # Errors
        /// [`WireError::Damaged`] when it holds what JSON cannot: no event does.
        pub fn shown(event: &Event) -> Result<serde_json::Value, WireError> {
            let shown = match event { $( Event::$kind(event) => {
                let (mut facts, mut personal) = (Vec::new(), Vec::new());
                let mut apart = Apart::to(&mut personal);
                form::write(event, &mut facts, &mut apart);
                if apart.is_written() {
                    // As it reads once it is erased: what stands apart is in no field then.
                    let facts: doorbuster_domain::$module::Event = whole::read_with(doorbuster_domain::$module::Event::newest(), &facts, None)?;
                    serde_json::to_value(facts)
                } else {
                    serde_json::to_value(event)
                }
            } ),+ };
            match shown.map_err(|error| damaged("an event", &error.to_string()))? {
                // An event without fields has the form of the others.
                serde_json::Value::String(name) => Ok(serde_json::json!({ name: {} })),
                shown => Ok(shown),
            }
        }

        /// Marks the rows that an event changes.
        pub fn touch(event: &Event, dirty: &mut Dirty) {
            match event { $( Event::$kind(event) => <doorbuster_domain::$module::$state as StoredKind>::touch(event, dirty) ),+ }
        }

        /// The rows of a state that are marked, as (chunk, body); the head row (with the meta data) is always among them.
        #[must_use]
        pub fn rows_of(state: &State, meta: &Meta, dirty: &Dirty) -> Vec<(u16, Bytes)> {
            match state { $( State::$kind(state) => state.rows_of(meta, dirty) ),+ }
        }

        /// A state from all its stored rows, as (chunk, body).
        ///
        /// # Errors
        /// [`WireError::Version`] when a later version of the product wrote it: the state is rebuilt from history
        /// (`storage::rebuild`). [`WireError::Damaged`] when it is not what it says it is.
        pub fn state_of(entity: &EntityId, rows: &[(u16, Bytes)]) -> Result<(State, Meta), WireError> {
            Ok(match entity { $(
                EntityId::$kind(_) => {
                    let (state, meta) = <doorbuster_domain::$module::$state as StoredKind>::state_of(rows)?;
                    (State::$kind(Box::new(state)), meta)
                }
            )+ })
        }
    };
}

each_kind!(by_kind);
