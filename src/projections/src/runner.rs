//! Follows the shards of this node and keeps one build of a projection up to date.
//!
//! ```text
//! journal   … 40 41 42 43 44 45 ─ durable end
//! cursor    … 40                              of this build and shard
//!                └── one page ──► an entity's decisions together ──► one write: what is kept, rows, cursor
//! ```
//!
//! It reads durable events only, in order, on threads that serve nothing. What several events of a page change in one entity is written once. A crash
//! repeats a page; an event at or before the last one that is in an entity's entry is skipped (rule V1).
//!
//! A cursor ahead of the journal belongs to another journal, such as a backup that was put back: the build is made again from the first event.

use super::counts::{Counts, count};
use super::progress::Progress;
use super::projection::{Projection, Rows};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::index::{Build, Changes, Cursor, IndexStore, Kept, RowChange};
use doorbuster_storage::keyed::KeyedMap;
use doorbuster_storage::wire::{self, WireError};
use doorbuster_storage::{AppendError, Epoch, Journal, ReadError, Record, Seq, Shard};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use thiserror::Error;

/// The most records of a page. More: more memory, and a longer wait for the other shards. Fewer: what happens to one entity is written more often.
pub const RECORDS_MAX: usize = 2_000;
/// The most entities whose entries stay in memory after their write, so that their next events need no read.
const KEPT_MAX: usize = 4_096;

/// Why a build could not follow a shard; the next round tries again.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The journal or the index cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The index cannot be written.
    #[error(transparent)]
    Write(#[from] AppendError),
    /// A record, or what is kept, cannot be decoded.
    #[error("shard {shard}, event {seq}: {error}")]
    Wire {
        /// The shard.
        shard: Shard,
        /// The first event of the record.
        seq: Seq,
        /// The decoder's error.
        error: WireError,
    },
}

/// What a node owns of the journal.
pub type Owned = BTreeMap<Shard, Epoch>;

/// Keeps one build of a projection.
#[derive(Debug)]
pub struct Runner<P: Projection, J, I> {
    projection: P,
    build: Build,
    journal: J,
    index: I,
    /// The ownership under which a shard is followed, and how far.
    following: BTreeMap<Shard, (Epoch, Cursor)>,
    /// What was written last of some entities.
    recent: KeyedMap<EntityId, Entry<P::Kept>>,
    progress: Arc<Progress>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Entry<K> {
    seq: Seq,
    kept: K,
}

/// An entity that a page is about: its rows before, and what is kept of it now.
struct Touched<K> {
    before: Rows,
    entry: Entry<K>,
}

impl<P: Projection, J: Journal, I: IndexStore> Runner<P, J, I> {
    /// A runner that follows no shard yet.
    pub fn new(projection: P, build: Build, stores: (J, I), progress: Arc<Progress>, counts: Arc<Counts>) -> Self {
        let (journal, index) = stores;
        let (following, recent) = (BTreeMap::new(), KeyedMap::default());
        Self { projection, build, journal, index, following, recent, progress, counts }
    }

    /// One round over the shards of this node: at most a page of each. Gives whether more is waiting. `now` was read before the call.
    ///
    /// # Errors
    /// The first failure; the other shards are followed all the same.
    pub async fn round(&mut self, owned: &Owned, now: Timestamp) -> Result<bool, ProjectError> {
        let before = self.following.len();
        // What another ownership wrote of a shard's entities is not in this memory.
        self.following.retain(|shard, (epoch, _)| owned.get(shard) == Some(epoch));
        if self.following.len() != before {
            self.recent.clear();
        }
        self.progress.owned(owned);
        let ends = self.journal.ends();
        let mut outcome = Ok(false);
        for (shard, epoch) in owned {
            let end = ends.get(shard).copied().unwrap_or_default();
            match (self.follow(*shard, *epoch, end, now).await, &mut outcome) {
                (Ok(more), Ok(any)) => *any |= more,
                (Ok(_), Err(_)) => {}
                (Err(error), outcome) => {
                    count(&self.counts.project_failed, 1);
                    self.following.remove(shard);
                    self.recent.clear();
                    if outcome.is_ok() {
                        *outcome = Err(error);
                    }
                }
            }
        }
        outcome
    }

    async fn follow(&mut self, shard: Shard, epoch: Epoch, end: Seq, now: Timestamp) -> Result<bool, ProjectError> {
        let cursor = match self.following.get(&shard) {
            Some((_, cursor)) => *cursor,
            None => self.begin(shard, epoch, end).await?,
        };
        if cursor.seq >= end {
            self.reached(shard, epoch, Cursor { seq: cursor.seq, at: now });
            return Ok(false);
        }
        let records = self.journal.page(shard, cursor.seq.saturating_add(1), RECORDS_MAX).await?;
        // The end is durable, so something must be there; a checkpoint that moves it at this moment is read in the next round.
        let Some(last) = records.last() else { return Ok(true) };
        let last_at = self.wire(last, wire::head(&last.body))?.at;
        let seq = last.last_seq();
        let at = if seq >= end { now } else { last_at.max(cursor.at) };
        let reached = Cursor { seq, at };
        let changes = self.changes(shard, &records).await?;
        count(&self.counts.projected, u64::try_from(records.len()).unwrap_or(u64::MAX));
        self.index.write(self.build, shard, changes, reached).await?;
        self.reached(shard, epoch, reached);
        Ok(seq < end)
    }

    /// Finds where to go on.
    async fn begin(&mut self, shard: Shard, epoch: Epoch, end: Seq) -> Result<Cursor, ProjectError> {
        let mut cursor = self.index.cursor(self.build, shard).await?.unwrap_or_default();
        if cursor.seq > end {
            let (build, seq) = (self.build, cursor.seq);
            tracing::warn!(%shard, seq, end, name = build.name, "an index is ahead of the journal: it is built again");
            self.index.remove(build).await?;
            self.following.clear();
            self.recent.clear();
            cursor = Cursor::default();
        }
        self.following.insert(shard, (epoch, cursor));
        Ok(cursor)
    }

    fn reached(&mut self, shard: Shard, epoch: Epoch, cursor: Cursor) {
        self.following.insert(shard, (epoch, cursor));
        self.progress.reached(shard, cursor);
    }

    fn wire<T>(&self, record: &Record, read: Result<T, WireError>) -> Result<T, ProjectError> {
        read.map_err(|error| ProjectError::Wire { shard: record.shard, seq: record.seq, error })
    }

    /// What these records of a shard change.
    async fn changes(&mut self, shard: Shard, records: &[Record]) -> Result<Changes, ProjectError> {
        let mut about: Vec<(&Record, EntityId)> = Vec::new();
        for record in records {
            let entity = self.wire(record, wire::head(&record.body))?.entity;
            if self.projection.follows(&entity) {
                about.push((record, entity));
            }
        }
        let mut touched = self.load(shard, &about).await?;
        for (record, entity) in &about {
            let Some(one) = touched.get_mut(entity) else { continue };
            if record.last_seq() <= one.entry.seq {
                continue;
            }
            let decided = self.wire(record, wire::decode(&record.body))?;
            let apply = || self.projection.apply(&mut one.entry.kept, &decided);
            one.entry.seq = record.last_seq();
            // A panic of `evolve` quarantines its entity (rule E3); it must not keep the others from being shown.
            if catch_unwind(AssertUnwindSafe(apply)).is_err() {
                tracing::error!(%entity, name = P::NAME, "an event cannot be projected; its entity stays as it was before");
                touched.remove(entity);
            }
        }
        Ok(self.written(touched))
    }

    /// What is kept of the entities of these records, from memory or from the index.
    async fn load(
        &mut self,
        shard: Shard,
        about: &[(&Record, EntityId)],
    ) -> Result<BTreeMap<EntityId, Touched<P::Kept>>, ProjectError> {
        let mut touched = BTreeMap::new();
        let mut unknown: Vec<EntityId> = Vec::new();
        for (_, entity) in about {
            if touched.contains_key(entity) {
                continue;
            }
            let entry = self.recent.remove(entity).unwrap_or_else(|| {
                unknown.push(entity.clone());
                Entry { seq: 0, kept: P::Kept::default() }
            });
            let before = self.projection.rows(entity, &entry.kept);
            touched.insert(entity.clone(), Touched { before, entry });
        }
        for kept in self.index.kept(self.build, shard, &unknown).await?.into_iter().flatten() {
            let decoded = self.projection.decode(&kept.entity, &kept.body);
            let decoded = decoded.map_err(|error| ProjectError::Wire { shard, seq: kept.seq, error })?;
            let before = self.projection.rows(&kept.entity, &decoded);
            touched.insert(kept.entity, Touched { before, entry: Entry { seq: kept.seq, kept: decoded } });
        }
        Ok(touched)
    }

    fn written(&mut self, touched: BTreeMap<EntityId, Touched<P::Kept>>) -> Changes {
        let mut changes = Changes::default();
        if self.recent.len().saturating_add(touched.len()) > KEPT_MAX {
            self.recent.clear();
        }
        for (entity, Touched { mut before, entry }) in touched {
            let seq = entry.seq;
            for (place, value) in self.projection.rows(&entity, &entry.kept) {
                if before.remove(&place).as_ref() != Some(&value) {
                    changes.rows.push(RowChange {
                        partition: place.partition,
                        key: place.key,
                        seq,
                        value: Some(value),
                    });
                }
            }
            let gone = before.into_keys();
            changes.rows.extend(gone.map(|place| RowChange {
                partition: place.partition,
                key: place.key,
                seq,
                value: None,
            }));
            changes.kept.push(Kept { entity: entity.clone(), seq, body: self.projection.encode(&entry.kept) });
            if self.recent.len() < KEPT_MAX {
                self.recent.insert(entity, entry);
            }
        }
        changes
    }
}
