//! The trait of a journal, and its types.
//!
//! ```text
//! claim ──► replay(flushed_upto + 1 …) ──► append, append, … ──► checkpoint(states, upto) ──► …
//! ```
//!
//! Rules L, S and O of `docs/protocol.md` say what each backend must hold.

use crate::wire::{self, Decided, Head, WireError};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use thiserror::Error;

/// The unit of ownership: `hash(kind, id) % shards`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Shard(pub u16);

impl fmt::Display for Shard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Shards whose records become durable in one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Group(pub u16);

/// The dense number of an event in its shard's log; the first is 1, 0 means "none yet".
pub type Seq = u64;
/// The number of an ownership; the first is 1.
pub type Epoch = u64;

/// The layout of a store: fixed when the store is created, and refused when the configuration differs (rule O1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The number of shards.
    pub shards: u16,
    /// The version of [`EntityId::stable_hash`].
    pub hash_version: u16,
}

impl Layout {
    /// The shard of an entity.
    #[must_use]
    pub fn shard_of(&self, entity: &EntityId) -> Shard {
        let shards = u64::from(self.shards.max(1));
        Shard(u16::try_from(entity.stable_hash() % shards).unwrap_or(0))
    }
}

/// The events of one decision, as stored in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The number of the shard.
    pub shard: Shard,
    /// The epoch of the ownership that wrote it.
    pub epoch: Epoch,
    /// The seq of its first event; its last is `seq + events - 1`.
    pub seq: Seq,
    /// The number of events, at least 1.
    pub events: u32,
    /// The decision as `storage::wire` encodes it: entity, numbers, time, author, events.
    pub body: Bytes,
}

impl Record {
    /// The seq of its last event.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.seq.saturating_add(u64::from(self.events)).saturating_sub(1)
    }

    /// What it says of itself, without its events.
    ///
    /// # Errors
    /// As [`wire::head`].
    pub fn head(&self) -> Result<Head, RecordError> {
        wire::head(&self.body).map_err(|error| self.unreadable(error))
    }

    /// The decision that it holds.
    ///
    /// # Errors
    /// As [`wire::decode`].
    pub fn decode(&self) -> Result<Decided, RecordError> {
        wire::decode(&self.body).map_err(|error| self.unreadable(error))
    }

    /// The decoder's error, with the place of the record.
    #[must_use]
    pub const fn unreadable(&self, error: WireError) -> RecordError {
        RecordError { shard: self.shard, seq: self.seq, error }
    }
}

/// A record that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("shard {shard}, event {seq}: {error}")]
pub struct RecordError {
    /// The shard.
    pub shard: Shard,
    /// The first event of the record.
    pub seq: Seq,
    /// The decoder's error.
    pub error: WireError,
}

/// Records that become durable together: all or nothing, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The batch's id, which settles an append whose outcome is unknown (rule O5).
    pub id: u128,
    /// The records, in the order of their submission.
    pub records: Vec<Record>,
}

/// An ownership of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The number of the shard.
    pub shard: Shard,
    /// Its epoch, greater than any before.
    pub epoch: Epoch,
    /// The seq up to which states are stored.
    pub flushed_upto: Seq,
    /// The seq of the last event in the log; the next append continues at `end + 1`.
    pub end: Seq,
}

/// One row of an entity's stored state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// The id of the entity.
    pub entity: EntityId,
    /// The row's number: 0 is the head; others are chunks of a large collection, or data that is kept apart (`wire` says which).
    pub chunk: u16,
    /// The seq up to which the row contains the entity's events: replay skips those (rule S1).
    pub seq: Seq,
    /// The row as `storage::wire` encodes it.
    pub body: Bytes,
}

/// An agenda row: what an entity waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgendaRow {
    /// The id of the entity.
    pub entity: EntityId,
    /// Its earliest deadline.
    pub wake_at: Option<Timestamp>,
    /// Whether it owes an effect; then recovery starts it at once.
    pub owes: bool,
}

/// What a checkpoint stores, in one atomic write per shard where the store can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateFlush {
    /// State rows; each replaces the row of the same entity and chunk.
    pub states: Vec<StateRow>,
    /// Agenda rows; a row with neither deadline nor owed effect removes the entity from the agenda.
    pub agenda: Vec<AgendaRow>,
    /// Entities whose personal data is removed, from states and history.
    pub erase: Vec<EntityId>,
}

/// Why an append or a checkpoint failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Another node owns the shard now, which is news and not an incident.
    #[error("shard {shard} belongs to a later epoch than {epoch}")]
    Fenced {
        /// The number of the shard.
        shard: Shard,
        /// The epoch of this ownership.
        epoch: Epoch,
    },
    /// The store failed; the batch may or may not be stored (rules L8, O5).
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Why a shard could not be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// Another node claimed the shard at the same time and won.
    #[error("shard {0} was claimed by another node")]
    Lost(Shard),
    /// What is stored contradicts itself; an operator must look.
    #[error("{0}")]
    Corrupt(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Why something stored could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// What is stored contradicts itself; an operator must look.
    #[error("{0}")]
    Corrupt(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// The store of shards' logs, states, agendas and history.
pub trait Journal: Send + Sync + 'static {
    /// The layout fixed when the store was created.
    fn layout(&self) -> Layout;

    /// The group of shards whose records become durable in one order with this shard's.
    fn group_of(&self, shard: Shard) -> Group;

    /// Whether another node can own a shard meanwhile. Then an answer that appends nothing needs [`Journal::confirm`] (rule O4).
    fn is_shared(&self) -> bool {
        false
    }

    /// The most events of a batch whose first event is `next` of its shard; `None`: only the caller's own bounds apply. A single decision with more is
    /// accepted all the same (rule O1: a row never crosses a bucket's end).
    fn room(&self, _next: Seq) -> Option<u64> {
        None
    }

    /// Becomes the owner: raises the epoch by one and fences the tail.
    fn claim(&self, shard: Shard, node: &str) -> impl Future<Output = Result<Claim, ClaimError>> + Send;

    /// Makes a batch durable: all or nothing. One append is in flight per group. After [`AppendError::Failed`] the caller does not append again.
    fn append(&self, group: Group, batch: &Batch) -> impl Future<Output = Result<(), AppendError>> + Send;

    /// Checks with the store that this ownership is still the shard's newest, so that a node that was stopped for an hour learns of its successor
    /// (rule O4). No append of the group is in flight meanwhile.
    fn confirm(&self, _shard: Shard, _epoch: Epoch) -> impl Future<Output = Result<(), AppendError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Records that this ownership appends nothing more, so that the next owner need not wait. Only a hint: the fence decides.
    fn release(&self, _claim: &Claim) -> impl Future<Output = Result<(), AppendError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The shard's records whose last event is at or after `from`, in order, that no checkpoint has moved into history. A gap or a damaged record is an
    /// error.
    fn replay(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send;

    /// Replays several shards, each from its own seq; each shard's records come in order. Where shards share one log this is one pass over it, so
    /// recovery reads it once and not once per shard.
    fn replay_all(&self, from: BTreeMap<Shard, Seq>) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        stream::iter(from).flat_map(|(shard, from)| self.replay(shard, from))
    }

    /// All durable records of the shard in order: history, then the log's tail. For audit and dump.
    fn records(&self, shard: Shard) -> impl Stream<Item = Result<Record, ReadError>> + Send;

    /// At most `limit` durable records whose last event is at or after `from`, in order, from history or log: for a reader with its own cursor. Call it
    /// only while [`Journal::ends`] says that events follow the cursor.
    fn page(
        &self,
        shard: Shard,
        from: Seq,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send {
        async move {
            let tail: Vec<Record> = self.replay(shard, from).take(limit).try_collect().await?;
            if tail.first().is_some_and(|first| first.seq <= from.max(1)) {
                return Ok(tail);
            }
            // A checkpoint has moved the first of them.
            let behind = self.records(shard).try_skip_while(|record| std::future::ready(Ok(record.last_seq() < from)));
            behind.take(limit).try_collect().await
        }
    }

    /// Continues [`Journal::records`] at `from`, which follows a record that was read.
    fn records_from(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        self.records(shard).filter(move |record| {
            let wanted = record.as_ref().map_or(true, |record| record.last_seq() >= from);
            std::future::ready(wanted)
        })
    }

    /// The stored rows of an entity, by chunk; empty: it was never stored.
    fn load(&self, shard: Shard, entity: &EntityId) -> impl Future<Output = Result<Vec<StateRow>, ReadError>> + Send;

    /// The stored agenda of a shard.
    fn agenda(&self, shard: Shard) -> impl Future<Output = Result<Vec<AgendaRow>, ReadError>> + Send;

    /// At most `limit` entities of the shard with a stored state, in order, after `after`.
    fn entities(
        &self,
        shard: Shard,
        after: Option<&EntityId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<EntityId>, ReadError>> + Send;

    /// Stores states and agenda, moves the events up to `upto` (the last of a record) into history, and permits the log before it to be deleted. The
    /// entities in `flush.erase` lose the personal data of their states and of their events up to `upto`.
    fn checkpoint(
        &self,
        claim: &Claim,
        flush: StateFlush,
        upto: Seq,
    ) -> impl Future<Output = Result<(), AppendError>> + Send;

    /// The durable records of one entity from its event number `from`, oldest first, from history and log.
    fn history(
        &self,
        shard: Shard,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send;

    /// The last durable event of each shard.
    fn ends(&self) -> BTreeMap<Shard, Seq>;
}
