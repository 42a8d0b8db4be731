//! The store of a node: one of the backends, chosen by configuration.

use super::cql::CqlJournal;
use super::embedded::EmbeddedJournal;
use super::journal::{
    AgendaRow, AppendError, Batch, Claim, ClaimError, Epoch, Group, Journal, Layout, ReadError, Record, Seq, Shard,
    StateFlush, StateRow,
};
use super::memory::MemoryJournal;
use doorbuster_domain::ids::EntityId;
use futures_util::{Stream, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Any backend. Clones are the same store.
#[derive(Debug, Clone)]
pub enum Store {
    /// A data folder on this machine.
    Embedded(Arc<EmbeddedJournal>),
    /// Memory, lost with the process.
    Memory(MemoryJournal),
    /// ScyllaDB or Apache Cassandra, shared with other nodes.
    Cql(Arc<CqlJournal>),
}

macro_rules! each {
    ($store:expr, $journal:ident => $act:expr) => {
        match $store {
            Store::Embedded($journal) => $act,
            Store::Memory($journal) => $act,
            Store::Cql($journal) => $act,
        }
    };
}

/// Boxes the futures of rare calls. The driver's futures are large, and an entity's actor would move ten kilobytes with every message.
macro_rules! each_in_time {
    ($store:expr, $journal:ident => $act:expr) => {
        match $store {
            Store::Embedded($journal) => $act.await,
            Store::Memory($journal) => $act.await,
            Store::Cql($journal) => Box::pin($act).await,
        }
    };
}

impl Journal for Store {
    fn layout(&self) -> Layout {
        each!(self, journal => journal.layout())
    }

    fn group_of(&self, shard: Shard) -> Group {
        each!(self, journal => journal.group_of(shard))
    }

    fn is_shared(&self) -> bool {
        each!(self, journal => journal.is_shared())
    }

    fn room(&self, next: Seq) -> Option<u64> {
        each!(self, journal => journal.room(next))
    }

    async fn confirm(&self, shard: Shard, epoch: Epoch) -> Result<(), AppendError> {
        each_in_time!(self, journal => journal.confirm(shard, epoch))
    }

    async fn release(&self, claim: &Claim) -> Result<(), AppendError> {
        each_in_time!(self, journal => journal.release(claim))
    }

    async fn claim(&self, shard: Shard, node: &str) -> Result<Claim, ClaimError> {
        each_in_time!(self, journal => journal.claim(shard, node))
    }

    async fn append(&self, group: Group, batch: &Batch) -> Result<(), AppendError> {
        each_in_time!(self, journal => journal.append(group, batch))
    }

    fn replay(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        match self {
            Self::Embedded(journal) => journal.replay(shard, from).left_stream(),
            Self::Memory(journal) => journal.replay(shard, from).left_stream().right_stream(),
            Self::Cql(journal) => journal.replay(shard, from).right_stream().right_stream(),
        }
    }

    fn replay_all(&self, from: BTreeMap<Shard, Seq>) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        match self {
            Self::Embedded(journal) => journal.replay_all(from).left_stream(),
            Self::Memory(journal) => journal.replay_all(from).left_stream().right_stream(),
            Self::Cql(journal) => journal.replay_all(from).right_stream().right_stream(),
        }
    }

    fn records(&self, shard: Shard) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        match self {
            Self::Embedded(journal) => journal.records(shard).left_stream(),
            Self::Memory(journal) => journal.records(shard).left_stream().right_stream(),
            Self::Cql(journal) => journal.records(shard).right_stream().right_stream(),
        }
    }

    fn records_from(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        match self {
            Self::Embedded(journal) => journal.records_from(shard, from).left_stream(),
            Self::Memory(journal) => journal.records_from(shard, from).left_stream().right_stream(),
            Self::Cql(journal) => journal.records_from(shard, from).right_stream().right_stream(),
        }
    }

    async fn page(&self, shard: Shard, from: Seq, limit: usize) -> Result<Vec<Record>, ReadError> {
        each_in_time!(self, journal => journal.page(shard, from, limit))
    }

    async fn load(&self, shard: Shard, entity: &EntityId) -> Result<Vec<StateRow>, ReadError> {
        each_in_time!(self, journal => journal.load(shard, entity))
    }

    async fn agenda(&self, shard: Shard) -> Result<Vec<AgendaRow>, ReadError> {
        each_in_time!(self, journal => journal.agenda(shard))
    }

    async fn entities(&self, shard: Shard, after: Option<&EntityId>, limit: usize) -> Result<Vec<EntityId>, ReadError> {
        each_in_time!(self, journal => journal.entities(shard, after, limit))
    }

    async fn checkpoint(&self, claim: &Claim, flush: StateFlush, upto: Seq) -> Result<(), AppendError> {
        each_in_time!(self, journal => journal.checkpoint(claim, flush, upto))
    }

    async fn history(
        &self,
        shard: Shard,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        each_in_time!(self, journal => journal.history(shard, entity, from, limit))
    }

    fn ends(&self) -> BTreeMap<Shard, Seq> {
        each!(self, journal => journal.ends())
    }
}
