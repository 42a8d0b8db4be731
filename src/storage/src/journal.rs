//! The one trait of a journal, and the words it is spoken in.
//!
//! ```text
//! claim ──► replay(flushed_upto + 1 …) ──► append, append, … ──► checkpoint(states, upto) ──► …
//! ```
//!
//! Rules L, S and O of the protocol (see `ARCHITECTURE.md`) say what each backend must hold.

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

/// What is fixed when a store is made, and refused when the configuration differs (rule O1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How many shards.
    pub shards: u16,
    /// Which version of [`EntityId::stable_hash`].
    pub hash_version: u16,
}

impl Layout {
    /// The shard an entity belongs to.
    #[must_use]
    pub fn shard_of(&self, entity: &EntityId) -> Shard {
        let shards = u64::from(self.shards.max(1));
        Shard(u16::try_from(entity.stable_hash() % shards).unwrap_or(0))
    }
}

/// The events of one decision, as they stand in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Of this shard.
    pub shard: Shard,
    /// Written under this ownership.
    pub epoch: Epoch,
    /// The number of its first event; its last is `seq + events - 1`.
    pub seq: Seq,
    /// How many events, at least 1.
    pub events: u32,
    /// The decision as `storage::wire` writes it: entity, numbers, time, who, events.
    pub body: Bytes,
}

impl Record {
    /// The number of its last event.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.seq.saturating_add(u64::from(self.events)).saturating_sub(1)
    }
}

/// What becomes durable together: all or nothing, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Its own number: an append whose outcome is unknown is settled by it (rule O5).
    pub id: u128,
    /// In the order they were submitted.
    pub records: Vec<Record>,
}

/// An ownership of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Of this shard.
    pub shard: Shard,
    /// Greater than any before.
    pub epoch: Epoch,
    /// States are stored up to here.
    pub flushed_upto: Seq,
    /// The last event in the log; the next append continues at `end + 1`.
    pub end: Seq,
}

/// One row of an entity's stored state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// Of this entity.
    pub entity: EntityId,
    /// 0: the head; others: chunks of a large collection, or what is kept apart (`wire` says which).
    pub chunk: u16,
    /// A log position the row's content covers: replay skips this entity's events up to it (rule S1).
    pub seq: Seq,
    /// As `storage::wire` writes it.
    pub body: Bytes,
}

/// What the agenda knows of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgendaRow {
    /// Of this entity.
    pub entity: EntityId,
    /// Its earliest deadline.
    pub wake_at: Option<Timestamp>,
    /// Does it owe an effect? Recovery starts it at once.
    pub owes: bool,
}

/// What a checkpoint stores, in one atomic write per shard on a store that can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateFlush {
    /// Overwrites the rows of the same entity and chunk.
    pub states: Vec<StateRow>,
    /// Overwrites; a row with neither deadline nor debt removes the entity from the agenda.
    pub agenda: Vec<AgendaRow>,
    /// Entities whose personal data is to go, from states and history.
    pub erase: Vec<EntityId>,
}

/// Why an append or a checkpoint did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Somebody else owns the shard now. Not an incident: news.
    #[error("shard {shard} belongs to a later epoch than {epoch}")]
    Fenced {
        /// Which.
        shard: Shard,
        /// Ours.
        epoch: Epoch,
    },
    /// The store failed; what was appended may or may not be there (rules L8, O5).
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Why a shard could not be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// Somebody else is claiming; they win.
    #[error("shard {0} was claimed by another")]
    Lost(Shard),
    /// What is stored contradicts itself; a person must look.
    #[error("{0}")]
    Corrupt(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Why something stored could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// What is stored contradicts itself; a person must look.
    #[error("{0}")]
    Corrupt(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Where shards' logs, states, agenda and history live.
pub trait Journal: Send + Sync + 'static {
    /// What was fixed when the store was made.
    fn layout(&self) -> Layout;

    /// Which shards become durable in one order with this one.
    fn group_of(&self, shard: Shard) -> Group;

    /// Can another node own a shard meanwhile? Then an answer that appends nothing needs [`Journal::confirm`] (rule O4).
    fn is_shared(&self) -> bool {
        false
    }

    /// How many events one batch may hold whose first event is `next` of its shard; `None`: as many as the caller's own bounds allow. A single
    /// decision with more is taken all the same (rule O1: a row never crosses a bucket's end).
    fn room(&self, _next: Seq) -> Option<u64> {
        None
    }

    /// Becomes the owner: epoch + 1, the tail fenced.
    fn claim(&self, shard: Shard, node: &str) -> impl Future<Output = Result<Claim, ClaimError>> + Send;

    /// Makes a batch durable: all or nothing. One append in flight per group. After [`AppendError::Failed`] the caller does
    /// not append again.
    fn append(&self, group: Group, batch: &Batch) -> impl Future<Output = Result<(), AppendError>> + Send;

    /// Is this ownership still the shard's newest? Asked of the store itself, so that whoever was stopped for an hour hears that
    /// somebody else has taken over (rule O4). Nothing of ours is in flight in the group meanwhile.
    fn confirm(&self, _shard: Shard, _epoch: Epoch) -> impl Future<Output = Result<(), AppendError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Says that this ownership appends nothing more, so that the next owner need not wait. Only a hint: its fence is what counts.
    fn release(&self, _claim: &Claim) -> impl Future<Output = Result<(), AppendError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The shard's records whose last event is at or after `from`, in order, as far as no checkpoint moved them into history.
    /// A hole or a damaged record is an error.
    fn replay(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send;

    /// The same for several shards, each from its own seq; each shard's records come in order. On a store where shards share
    /// one log this is one pass over it: recovery reads it once, not once per shard.
    fn replay_all(&self, from: BTreeMap<Shard, Seq>) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        stream::iter(from).flat_map(|(shard, from)| self.replay(shard, from))
    }

    /// Every durable record of the shard from the first on, in order: history, then the log's tail. For audit and dump.
    fn records(&self, shard: Shard) -> impl Stream<Item = Result<Record, ReadError>> + Send;

    /// The durable records whose last event is at or after `from`, in order, at most `limit` of them, wherever they are by now: for
    /// whoever follows a shard from a cursor of its own. Only to be asked while there is something behind the cursor ([`Journal::ends`]).
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
            // A checkpoint has moved what comes first.
            let behind = self.records(shard).try_skip_while(|record| std::future::ready(Ok(record.last_seq() < from)));
            behind.take(limit).try_collect().await
        }
    }

    /// Those of [`Journal::records`] from `from` on, which follows a record that was read: for whoever reads on.
    fn records_from(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        self.records(shard).filter(move |record| {
            let wanted = record.as_ref().map_or(true, |record| record.last_seq() >= from);
            std::future::ready(wanted)
        })
    }

    /// The stored rows of an entity, by chunk; empty when it was never stored.
    fn load(&self, shard: Shard, entity: &EntityId) -> impl Future<Output = Result<Vec<StateRow>, ReadError>> + Send;

    /// The stored agenda of a shard.
    fn agenda(&self, shard: Shard) -> impl Future<Output = Result<Vec<AgendaRow>, ReadError>> + Send;

    /// Every entity of the shard that has a stored state, in order, from `after` on, at most `limit`.
    fn entities(
        &self,
        shard: Shard,
        after: Option<&EntityId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<EntityId>, ReadError>> + Send;

    /// Stores states and agenda, moves the events up to `upto` (the last of a record) into history, and lets the log before go.
    /// What `flush.erase` names loses the personal data of its states and of its events up to `upto`.
    fn checkpoint(
        &self,
        claim: &Claim,
        flush: StateFlush,
        upto: Seq,
    ) -> impl Future<Output = Result<(), AppendError>> + Send;

    /// The durable records of one entity, oldest first, from its event number `from` on: history and the log's tail together.
    fn history(
        &self,
        shard: Shard,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send;

    /// The last event that is durable, per shard.
    fn ends(&self) -> BTreeMap<Shard, Seq>;
}
