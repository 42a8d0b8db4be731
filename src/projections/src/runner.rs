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
//!
//! On a store that all nodes share (rules V4 and V7)
//! - what a former owner wrote, and where it was cut off, is not known: all rows of an entity are written, until this ownership has written the entity
//!   with an event of its own;
//! - the moment up to which an idle shard was followed is written for the others to read. A process that was stopped may have lost its shards without
//!   knowing it, so it says no such moment until it has run for a while again.

use super::counts::{Counts, count};
use super::progress::Progress;
use super::projection::{Place, Projection, Rows};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::index::{Build, Changes, Cursor, IndexStore, Kept, RowChange};
use doorbuster_storage::keyed::KeyedMap;
use doorbuster_storage::{AppendError, Epoch, Journal, ReadError, Record, RecordError, Seq, Shard};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use thiserror::Error;

/// The most records of a page. More: more memory, and a longer wait for the other shards. Fewer: what happens to one entity is written more often.
pub const RECORDS_MAX: usize = 2_000;
/// The most entities whose entries stay in memory after their write, so that their next events need no read.
const KEPT_MAX: usize = 4_096;

/// The pause between two writes of the moments up to which idle shards were followed, in milliseconds.
const TOUCH_MS: u64 = 1_000;
/// The pause between two reads of how far the other nodes have followed theirs, in milliseconds.
const LEARN_MS: u64 = 200;
/// A pause between two rounds after which this process may have been stopped, in milliseconds.
const STOPPED_MS: u64 = 3_000;
/// How long it must have run since, in milliseconds: longer than a node keeps what it has lost.
const STEADY_MS: u64 = 15_000;

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
    #[error(transparent)]
    Record(#[from] RecordError),
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
    following: BTreeMap<Shard, Following>,
    /// What was written last of some entities.
    recent: KeyedMap<EntityId, Entry<P::Kept>>,
    progress: Arc<Progress>,
    counts: Arc<Counts>,
    shared: Shared,
    records_max: usize,
}

/// A shard that is followed.
#[derive(Debug, Clone, Copy)]
struct Following {
    /// The ownership under which it is.
    epoch: Epoch,
    /// The end of the journal when that began: what lies behind it no other owner has seen.
    own_from: Seq,
    cursor: Cursor,
}

/// What a store that all nodes share needs to know.
#[derive(Debug, Clone, Copy, Default)]
struct Shared {
    last_round: Timestamp,
    /// When this process has gone on after it may have been stopped.
    stopped: Option<Timestamp>,
    touched: Timestamp,
    learned: Timestamp,
}

impl Shared {
    /// A round begins. Has this process run for long enough to say how far idle shards were followed?
    fn is_steady(&mut self, now: Timestamp) -> bool {
        if self.last_round > Timestamp(0) && now.since_ms(self.last_round) > STOPPED_MS {
            self.stopped = Some(now);
        }
        self.last_round = now;
        if self.stopped.is_some_and(|stopped| now.since_ms(stopped) >= STEADY_MS) {
            self.stopped = None;
        }
        self.stopped.is_none()
    }
}

#[derive(Debug)]
struct Entry<K> {
    seq: Seq,
    kept: K,
}

/// An entity that a page is about: its rows before, and what is kept of it now.
struct Touched<K> {
    before: Rows,
    /// Are all rows before known to be there, and no others?
    is_sure: bool,
    entry: Entry<K>,
}

impl<P: Projection, J: Journal, I: IndexStore> Runner<P, J, I> {
    /// A runner that follows no shard yet.
    pub fn new(projection: P, build: Build, stores: (J, I), progress: Arc<Progress>, counts: Arc<Counts>) -> Self {
        let (journal, index) = stores;
        let (following, recent) = (BTreeMap::new(), KeyedMap::default());
        let shared = Shared::default();
        Self {
            projection,
            build,
            journal,
            index,
            following,
            recent,
            progress,
            counts,
            shared,
            records_max: RECORDS_MAX,
        }
    }

    /// Reads shorter pages.
    #[cfg(test)]
    pub(crate) const fn with_pages_of(mut self, records_max: usize) -> Self {
        self.records_max = records_max;
        self
    }

    /// One round over the shards of this node: at most a page of each. Gives whether more is waiting. `now` was read before the call.
    ///
    /// # Errors
    /// The first failure; the other shards are followed all the same.
    pub async fn round(&mut self, owned: &Owned, now: Timestamp) -> Result<bool, ProjectError> {
        let before = self.following.len();
        // What another ownership wrote of a shard's entities is not in this memory.
        self.following.retain(|shard, following| owned.get(shard) == Some(&following.epoch));
        if self.following.len() != before {
            self.recent.clear();
        }
        let is_steady = !self.index.is_shared() || self.shared.is_steady(now);
        let ends = self.journal.ends();
        let (mut outcome, mut stored) = (Ok(false), None);
        for (shard, epoch) in owned {
            let end = ends.get(shard).copied().unwrap_or_default();
            let until = is_steady.then_some(now);
            match (self.follow((*shard, *epoch), end, until, &mut stored).await, &mut outcome) {
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
        if self.index.is_shared() {
            self.exchange(is_steady, now).await?;
        }
        outcome
    }

    /// Tells the other nodes how far the shards of this one were followed, and learns theirs.
    async fn exchange(&mut self, is_steady: bool, now: Timestamp) -> Result<(), ProjectError> {
        if is_steady && now.since_ms(self.shared.touched) >= TOUCH_MS {
            let own: Vec<(Shard, Cursor)> = self.following.iter().map(|(shard, own)| (*shard, own.cursor)).collect();
            self.index.touch(self.build, &own).await?;
            self.shared.touched = now;
        }
        if now.since_ms(self.shared.learned) >= LEARN_MS {
            for (shard, cursor) in self.index.cursors(self.build).await? {
                if !self.following.contains_key(&shard) {
                    self.progress.learned(shard, cursor);
                }
            }
            self.shared.learned = now;
        }
        Ok(())
    }

    /// `until`: nothing happened to this shard up to this moment but what is before `end`; `None`: not known. `stored`: the cursors of all shards, once
    /// they were read in this round.
    async fn follow(
        &mut self,
        (shard, epoch): (Shard, Epoch),
        end: Seq,
        until: Option<Timestamp>,
        stored: &mut Option<BTreeMap<Shard, Cursor>>,
    ) -> Result<bool, ProjectError> {
        let following = match self.following.get(&shard) {
            Some(following) => *following,
            None => self.begin(shard, epoch, end, stored).await?,
        };
        let cursor = following.cursor;
        if cursor.seq >= end {
            self.reached(shard, following, Cursor { seq: cursor.seq, at: until.unwrap_or(cursor.at) });
            return Ok(false);
        }
        let records = self.journal.page(shard, cursor.seq.saturating_add(1), self.records_max).await?;
        // The end is durable, so something must be there; a checkpoint that moves it at this moment is read in the next round.
        let Some(last) = records.last() else { return Ok(true) };
        let last_at = last.head()?.at;
        let seq = last.last_seq();
        let at = until.filter(|_| seq >= end).unwrap_or_else(|| last_at.max(cursor.at));
        let reached = Cursor { seq, at };
        let changes = self.changes(following, shard, &records).await?;
        count(&self.counts.projected, u64::try_from(records.len()).unwrap_or(u64::MAX));
        self.index.write(self.build, shard, changes, reached).await?;
        self.reached(shard, following, reached);
        Ok(seq < end)
    }

    /// Finds where to go on.
    async fn begin(
        &mut self,
        shard: Shard,
        epoch: Epoch,
        end: Seq,
        stored: &mut Option<BTreeMap<Shard, Cursor>>,
    ) -> Result<Following, ProjectError> {
        let cursors = match stored {
            Some(cursors) => cursors,
            None => stored.insert(self.index.cursors(self.build).await?),
        };
        let mut cursor = cursors.get(&shard).copied().unwrap_or_default();
        if cursor.seq > end {
            let (build, seq) = (self.build, cursor.seq);
            if self.index.is_shared() {
                let why = format!("the index {} is ahead of the journal of shard {shard}: {seq} and {end}", build.name);
                return Err(ReadError::Corrupt(why).into());
            }
            tracing::warn!(%shard, seq, end, name = build.name, "an index is ahead of the journal: it is built again");
            self.index.remove(build).await?;
            self.following.clear();
            self.recent.clear();
            self.progress.begin_again();
            cursors.clear();
            cursor = Cursor::default();
        }
        let following = Following { epoch, own_from: end, cursor };
        self.following.insert(shard, following);
        Ok(following)
    }

    fn reached(&mut self, shard: Shard, following: Following, cursor: Cursor) {
        self.following.insert(shard, Following { cursor, ..following });
        self.progress.reached(shard, cursor);
    }

    /// What these records of a shard change.
    async fn changes(
        &mut self,
        following: Following,
        shard: Shard,
        records: &[Record],
    ) -> Result<Changes, ProjectError> {
        let mut about: Vec<(&Record, EntityId)> = Vec::new();
        for record in records {
            let entity = record.head()?.entity;
            if self.projection.follows(&entity) {
                about.push((record, entity));
            }
        }
        let mut touched = self.load(following, shard, &about).await?;
        for (record, entity) in &about {
            let Some(one) = touched.get_mut(entity) else { continue };
            if record.last_seq() <= one.entry.seq {
                continue;
            }
            let decided = record.decode()?;
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
        following: Following,
        shard: Shard,
        about: &[(&Record, EntityId)],
    ) -> Result<BTreeMap<EntityId, Touched<P::Kept>>, ProjectError> {
        let is_shared = self.index.is_shared();
        let is_sure = |seq: Seq| !is_shared || seq > following.own_from;
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
            let is_sure = is_sure(entry.seq);
            touched.insert(entity.clone(), Touched { before, is_sure, entry });
        }
        for kept in self.index.kept(self.build, shard, &unknown).await?.into_iter().flatten() {
            let decoded = self.projection.decode(&kept.entity, &kept.body);
            let decoded = decoded.map_err(|error| RecordError { shard, seq: kept.seq, error })?;
            let before = self.projection.rows(&kept.entity, &decoded);
            let is_sure = is_sure(kept.seq);
            let entry = Entry { seq: kept.seq, kept: decoded };
            touched.insert(kept.entity, Touched { before, is_sure, entry });
        }
        Ok(touched)
    }

    fn written(&mut self, touched: BTreeMap<EntityId, Touched<P::Kept>>) -> Changes {
        let mut changes = Changes::default();
        if self.recent.len().saturating_add(touched.len()) > KEPT_MAX {
            self.recent.clear();
        }
        for (entity, Touched { mut before, is_sure, entry }) in touched {
            let seq = entry.seq;
            let change = |place: Place, value: Option<Bytes>| {
                let breadth = self.projection.breadth(&place.partition);
                RowChange { partition: place.partition, breadth, key: place.key, seq, value }
            };
            for (place, value) in self.projection.rows(&entity, &entry.kept) {
                let is_there = before.remove(&place).as_ref() == Some(&value);
                if !(is_there && is_sure) {
                    changes.rows.push(change(place, Some(value)));
                }
            }
            changes.rows.extend(before.into_keys().map(|place| change(place, None)));
            let body = self.projection.encode(&entry.kept);
            changes.kept.push(Kept { entity: entity.clone(), seq, body });
            if self.recent.len() < KEPT_MAX {
                self.recent.insert(entity, entry);
            }
        }
        changes
    }
}
