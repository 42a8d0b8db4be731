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
//! synced, and a cursor never says more than what is there.

mod embedded;
mod memory;

pub use embedded::{EmbeddedIndex, IndexError, IndexOptions};
pub use memory::MemoryIndex;

use crate::journal::{AppendError, ReadError, Seq, Shard};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
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

/// A row that is written, or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The question whose row it is.
    pub partition: Bytes,
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
    /// How far a build has followed a shard; `None`: it never has.
    fn cursor(&self, build: Build, shard: Shard) -> impl Future<Output = Result<Option<Cursor>, ReadError>> + Send;

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

    /// At most `limit` rows of a partition, in order, from the key `from` on.
    fn page(
        &self,
        build: Build,
        partition: &[u8],
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
}

macro_rules! each {
    ($index:expr, $backend:ident => $act:expr) => {
        match $index {
            Index::Embedded($backend) => $act.await,
            Index::Memory($backend) => $act.await,
        }
    };
}

impl IndexStore for Index {
    async fn cursor(&self, build: Build, shard: Shard) -> Result<Option<Cursor>, ReadError> {
        each!(self, backend => backend.cursor(build, shard))
    }

    async fn kept(&self, build: Build, shard: Shard, entities: &[EntityId]) -> Result<Vec<Option<Kept>>, ReadError> {
        each!(self, backend => backend.kept(build, shard, entities))
    }

    async fn write(&self, build: Build, shard: Shard, changes: Changes, cursor: Cursor) -> Result<(), AppendError> {
        each!(self, backend => backend.write(build, shard, changes, cursor))
    }

    async fn page(&self, build: Build, partition: &[u8], from: &[u8], limit: usize) -> Result<Vec<Row>, ReadError> {
        each!(self, backend => backend.page(build, partition, from, limit))
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
