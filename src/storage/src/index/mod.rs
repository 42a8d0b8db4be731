//! The store of projections' indexes: what is kept of each entity, and the rows that a list's questions read, in the order in which they are shown.
//!
//! ```text
//! build (projection, version, generation)
//!   ├── shard → cursor: the events up to here are in                     written last (rule V4), or in one write with the rest
//!   ├── shard, entity → entry: what is kept of the entity, and its last event that is in (rule V1)
//!   └── partition, key → value: a row; all rows of a question lie in one partition, sorted by key
//! projection, version → generation: the build that is read (rule V6)
//! ```
//!
//! Nothing here decides anything, and nothing is acknowledged by it: an index that is lost or damaged is built again from the journal. So nothing is
//! synced, and a cursor never says more than what is there. The backend on CQL, which the nodes of a cluster share, is `cql::CqlIndex`.

mod embedded;
mod memory;

pub use embedded::{EmbeddedIndex, IndexError, IndexOptions};
pub use memory::MemoryIndex;

use crate::cql::CqlIndex;
use crate::journal::{AppendError, ReadError, Seq, Shard};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest name of a partition, in bytes.
pub const PARTITION_BYTES_MAX: usize = 512;

/// One build of a projection. Builds share nothing: a new version, or a rebuild, is made beside the one that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Build {
    /// The projection's name.
    pub name: &'static str,
    /// The version of its code and of what it was configured with: another one gives other rows from the same events.
    pub version: u32,
    /// Counts the rebuilds of this version.
    pub generation: u32,
}

/// How far a build has followed a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The events up to this one are in.
    pub seq: Seq,
    /// Everything that the shard decided up to this moment is in.
    pub at: Timestamp,
}

/// What is kept of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The entity.
    pub entity: EntityId,
    /// Its last event that is in.
    pub seq: Seq,
    /// As the projection encodes it.
    pub body: Bytes,
}

/// How many rows a question has: a store that divides them by time and by hash needs to know (rule V5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breadth {
    /// A few in all, however long the shop stands.
    Few,
    /// Those of one buyer, caller or thing, by a time that their keys begin with: about one a second at most, for long.
    Own,
    /// Those of a whole shop, by a time that their keys begin with: about a thousand a second for an hour.
    Shop,
}

impl Breadth {
    /// The parts by hash. At the rates above, a part of a window stays below 50 MB.
    #[must_use]
    pub const fn slots(self) -> u16 {
        match self {
            Self::Few | Self::Own => 1,
            Self::Shop => 8,
        }
    }

    /// The lower bits of the time, in milliseconds, that one window spans: 2^28 are three days, 2^22 seventy minutes. `None`: there is one window.
    #[must_use]
    pub const fn window_bits(self) -> Option<u32> {
        match self {
            Self::Few => None,
            Self::Own => Some(28),
            Self::Shop => Some(22),
        }
    }
}

/// A row that is written, or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The question whose row it is.
    pub partition: Bytes,
    /// How many rows the question has; always the same for one question.
    pub breadth: Breadth,
    /// Its place among the question's rows.
    pub key: Bytes,
    /// The event of the row's entity that changed it.
    pub seq: Seq,
    /// What it holds; `None`: it is taken away.
    pub value: Option<Bytes>,
}

/// What a batch of events changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// What is kept of each entity that the events are about, at most one for an entity.
    pub kept: Vec<Kept>,
    /// Their rows, at most one change of a row.
    pub rows: Vec<RowChange>,
}

/// A row as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place among the question's rows.
    pub key: Bytes,
    /// What it holds.
    pub value: Bytes,
}

/// The store of projections' indexes. The conformance suite `tests/storage/indexes.rs` says what each backend holds.
pub trait IndexStore: Send + Sync + 'static {
    /// Do several nodes write it, each the shards it owns? Then a write may be cut short between two of its parts, and a former owner may still write
    /// what it knew: a new owner writes all rows of an entity that it touches for the first time, and a reader takes only rows that the entry has.
    /// A build that was removed is then never begun again.
    fn is_shared(&self) -> bool {
        false
    }

    /// How far a build has followed each shard; those it never has are left out.
    fn cursors(&self, build: Build) -> impl Future<Output = Result<BTreeMap<Shard, Cursor>, ReadError>> + Send;

    /// What is kept of these entities of a shard, in their order.
    fn kept(
        &self,
        build: Build,
        shard: Shard,
        entities: &[EntityId],
    ) -> impl Future<Output = Result<Vec<Option<Kept>>, ReadError>> + Send;

    /// Writes what a batch of events of the shard changes, and then how far the build has followed it. A crash in between leaves some of the changes and
    /// the cursor before them: the same events change nothing more when they come again.
    fn write(
        &self,
        build: Build,
        shard: Shard,
        changes: Changes,
        cursor: Cursor,
    ) -> impl Future<Output = Result<(), AppendError>> + Send;

    /// Says of shards in which nothing more has happened that they were followed up to a later moment.
    fn touch(&self, build: Build, cursors: &[(Shard, Cursor)]) -> impl Future<Output = Result<(), AppendError>> + Send;

    /// At most `limit` rows of a question, in order, from the key `from` on.
    fn page(
        &self,
        build: Build,
        question: (&[u8], Breadth),
        from: &[u8],
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Row>, ReadError>> + Send;

    /// The generation of a projection's version that is read; 0 until a rebuild has taken the first one's place.
    fn generation(&self, name: &'static str, version: u32) -> impl Future<Output = Result<u32, ReadError>> + Send;

    /// A later build takes the place of the one that is read, unless another one has. Gives whether it did.
    fn take_over(&self, build: Build, instead_of: u32) -> impl Future<Output = Result<bool, AppendError>> + Send;

    /// Removes a build.
    fn remove(&self, build: Build) -> impl Future<Output = Result<(), AppendError>> + Send;
}

/// Any backend. Clones are the same store.
#[derive(Debug, Clone)]
pub enum Index {
    /// A folder on this machine.
    Embedded(Arc<EmbeddedIndex>),
    /// Memory, lost with the process.
    Memory(Arc<MemoryIndex>),
    /// ScyllaDB or Apache Cassandra, shared with other nodes.
    Cql(CqlIndex),
}

macro_rules! each {
    ($index:expr, $backend:ident => $act:expr) => {
        match $index {
            Index::Embedded($backend) => $act.await,
            Index::Memory($backend) => $act.await,
            // The driver's futures are large.
            Index::Cql($backend) => Box::pin($act).await,
        }
    };
}

impl IndexStore for Index {
    fn is_shared(&self) -> bool {
        matches!(self, Self::Cql(_))
    }

    async fn cursors(&self, build: Build) -> Result<BTreeMap<Shard, Cursor>, ReadError> {
        each!(self, backend => backend.cursors(build))
    }

    async fn kept(&self, build: Build, shard: Shard, entities: &[EntityId]) -> Result<Vec<Option<Kept>>, ReadError> {
        each!(self, backend => backend.kept(build, shard, entities))
    }

    async fn write(&self, build: Build, shard: Shard, changes: Changes, cursor: Cursor) -> Result<(), AppendError> {
        each!(self, backend => backend.write(build, shard, changes, cursor))
    }

    async fn touch(&self, build: Build, cursors: &[(Shard, Cursor)]) -> Result<(), AppendError> {
        each!(self, backend => backend.touch(build, cursors))
    }

    async fn page(
        &self,
        build: Build,
        question: (&[u8], Breadth),
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        each!(self, backend => backend.page(build, question, from, limit))
    }

    async fn generation(&self, name: &'static str, version: u32) -> Result<u32, ReadError> {
        each!(self, backend => backend.generation(name, version))
    }

    async fn take_over(&self, build: Build, instead_of: u32) -> Result<bool, AppendError> {
        each!(self, backend => backend.take_over(build, instead_of))
    }

    async fn remove(&self, build: Build) -> Result<(), AppendError> {
        each!(self, backend => backend.remove(build))
    }
}
