//! What a projection is: a pure function of an entity's durable events, and the rows that its state has (rules V1 and V4).
//!
//! ```text
//! events of an entity ──apply──► what is kept of it ──rows──► partition, key → value
//!                                  (one entry a build)          the difference to the rows before is what is written
//! ```
//!
//! Both functions are pure, so the same events give the same rows on every node and in every rebuild. The rows before are not stored: what was kept says
//! what they were. A change of either function, or of what the projection was configured with, is another [`Projection::version`], which is built beside
//! the one that is read.

use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::index::Breadth;
use doorbuster_storage::wire::{Decided, WireError};
use std::collections::BTreeMap;

/// A row's place: the question it belongs to, and where it stands among the question's rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The question.
    pub partition: Bytes,
    /// Rows are shown in the order of these bytes.
    pub key: Bytes,
}

/// The rows of one entity.
pub type Rows = BTreeMap<Place, Bytes>;

/// A projection of entities.
pub trait Projection: Send + Sync + 'static {
    /// What is kept of an entity; the default is that of one without events.
    type Kept: Default + Send + Sync + 'static;

    /// Its name, for ever.
    const NAME: &'static str;

    /// Another one where the same events give other rows, or what is kept has another form.
    fn version(&self) -> u32;

    /// Is the entity one that it is about?
    fn follows(&self, entity: &EntityId) -> bool;

    /// Takes in a decision.
    ///
    /// # Panics
    /// Where the entity's own machine would.
    fn apply(&self, kept: &mut Self::Kept, decided: &Decided);

    /// The rows of an entity of which this is kept.
    fn rows(&self, entity: &EntityId, kept: &Self::Kept) -> Rows;

    /// How many rows the question of a partition has: always the same for one partition.
    fn breadth(&self, partition: &[u8]) -> Breadth;

    /// Writes what is kept. Personal data is never among it.
    fn encode(&self, kept: &Self::Kept) -> Bytes;

    /// Reads what is kept.
    ///
    /// # Errors
    /// [`WireError`] when it cannot be read: then the build is made again.
    fn decode(&self, entity: &EntityId, body: &Bytes) -> Result<Self::Kept, WireError>;
}
