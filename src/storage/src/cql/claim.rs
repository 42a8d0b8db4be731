//! Claiming a shard: rule O2, one numbered step at a time.
//!
//! ```text
//! 1 epoch + 1 ─► 2 flushed_upto ─► 3 fence its bucket ─► 4 read the bucket ─► 5 flushed_upto again ─► 8 still the owner? ─► claimed
//!                                    ▲                                          │ 6 full, or overtaken by a checkpoint
//!                                    └──────────────── next bucket ◄────────────┘
//! ```
//!
//! Each step is one statement, so that a test can interleave two claims in every order. Why the steps are needed: without 5, a claimant that paused
//! between 2 and 3 fences a bucket that is no longer written, finds it empty, and two owners acknowledge the same seq. Without 8, the later of
//! two claimants may be the one with the lower epoch.

use super::append::Owners;
use super::options::Counts;
use super::owned::{Owned, TailRow};
use super::payload::{self, RowPosition};
use super::session::{Cql, Pauses, bigint, bucket_key, claim_error, number, shard_key};
use crate::journal::{AppendError, Claim, ClaimError, Epoch, ReadError, Seq, Shard};
use doorbuster_clock::monotonic;
use std::sync::Arc;
use uuid::Uuid;

/// The number of times a claim continues at a later bucket because a checkpoint overtook it; each means that a live owner stored a whole bucket.
const OVERTAKEN_MAX: u32 = 64;
/// The number of lost compare-and-sets after which the claim fails.
const CONFLICTS_MAX: u32 = 16;

/// The next step.
#[derive(Debug)]
enum Stage {
    /// Step O2.1: raise the epoch.
    RaiseEpoch,
    /// Step O2.2: read `flushed_upto`.
    ReadFlushed,
    /// Step O2.3, first half: read the fence.
    ReadFence,
    /// Step O2.3, second half: raise the fence from the value that was read.
    RaiseFence(Option<Epoch>),
    /// Step O2.4: read the bucket.
    ReadRows,
    /// Steps O2.5 to O2.7, with the rows that were read.
    ReadFlushedAgain(Vec<TailRow>),
    /// Step O2.8: read the owner.
    AskOwner,
}

/// A claim in progress.
#[derive(Debug)]
pub struct Claiming {
    cql: Arc<Cql>,
    owners: Arc<Owners>,
    shard: Shard,
    node: String,
    stage: Stage,
    epoch: Epoch,
    flushed: Seq,
    deleted: Seq,
    bucket: u64,
    /// Rows after `flushed`, as far as they were read.
    rows: Vec<TailRow>,
    /// The number of events of the last row's decision that have no rest row yet, and the id of its batch.
    owed: Option<(u64, Uuid)>,
    overtaken: u32,
    conflicts: u32,
}

impl Claiming {
    pub(super) fn new(cql: Arc<Cql>, owners: Arc<Owners>, shard: Shard, node: &str) -> Self {
        Self {
            cql,
            owners,
            shard,
            node: node.to_owned(),
            stage: Stage::RaiseEpoch,
            epoch: 0,
            flushed: 0,
            deleted: 0,
            bucket: 0,
            rows: Vec::new(),
            owed: None,
            overtaken: 0,
            conflicts: 0,
        }
    }

    /// The epoch that step 1 won; 0 before it.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Does the next step. `None`: more steps follow.
    ///
    /// # Errors
    /// As [`crate::Journal::claim`]. After an error no further step may be made.
    pub async fn step(&mut self) -> Result<Option<Claim>, ClaimError> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::RaiseEpoch) {
            Stage::RaiseEpoch => {
                self.epoch = self.raise_epoch().await?;
                Stage::ReadFlushed
            }
            Stage::ReadFlushed => {
                (self.flushed, self.deleted) = self.cql.progress(self.shard).await.map_err(claim_error)?;
                self.bucket = self.cql.buckets.of(self.flushed.saturating_add(1));
                Stage::ReadFence
            }
            Stage::ReadFence => {
                let fence = self.cql.fence(self.shard, self.bucket).await.map_err(claim_error)?;
                match fence {
                    // The result of an earlier attempt whose answer was lost.
                    Some(fence) if fence == self.epoch => Stage::ReadRows,
                    // Upwards only.
                    Some(fence) if fence > self.epoch => return Err(self.lost()),
                    lower => Stage::RaiseFence(lower),
                }
            }
            Stage::RaiseFence(read) => {
                if self.cql.raise_fence(self.shard, self.bucket, read, self.epoch).await {
                    Stage::ReadRows
                } else {
                    self.conflicts = self.conflicts.saturating_add(1);
                    if self.conflicts > CONFLICTS_MAX {
                        let why =
                            format!("the fence of bucket {} of shard {} cannot be raised", self.bucket, self.shard);
                        return Err(ClaimError::Failed(why));
                    }
                    Stage::ReadFence
                }
            }
            Stage::ReadRows => {
                let rows = self.cql.rows(self.shard, self.bucket, self.flushed.saturating_add(1)).await;
                Stage::ReadFlushedAgain(rows.map_err(claim_error)?)
            }
            Stage::ReadFlushedAgain(read) => self.take_bucket(read).await?,
            Stage::AskOwner => return self.finish().await.map(Some),
        };
        Ok(None)
    }

    fn lost(&self) -> ClaimError {
        Counts::add(&self.cql.counts.claims_lost);
        ClaimError::Lost(self.shard)
    }

    /// If the outcome is unknown, the epoch is raised once more, because only an answer makes it this claimant's.
    async fn raise_epoch(&self) -> Result<Epoch, ClaimError> {
        let begun = monotonic();
        let (cql, shard) = (&self.cql, shard_key(self.shard));
        let mut pauses = Pauses::new();
        loop {
            let owner = cql.owner(self.shard).await.map_err(claim_error)?;
            let answer = match owner {
                None => cql.transact(&cql.statements.first_owner, (bigint(1), &self.node, shard)).await,
                Some((epoch, _)) => {
                    let next = bigint(epoch.saturating_add(1));
                    cql.transact(&cql.statements.next_owner, (next, &self.node, shard, bigint(epoch))).await
                }
            };
            match answer {
                Ok(answer) if answer.applied => return Ok(owner.map_or(1, |(epoch, _)| epoch.saturating_add(1))),
                // Another node is claiming, and wins.
                Ok(_) => return Err(self.lost()),
                Err(why) if doorbuster_clock::since(begun) >= cql.options.settle_timeout => {
                    return Err(ClaimError::Failed(why));
                }
                Err(_) => {
                    Counts::add(&cql.counts.unknown_outcomes);
                    pauses.pause().await;
                }
            }
        }
    }

    /// Rules O2.5, O2.6 and O2.7.
    async fn take_bucket(&mut self, read: Vec<TailRow>) -> Result<Stage, ClaimError> {
        let (flushed, deleted) = self.cql.progress(self.shard).await.map_err(claim_error)?;
        let buckets = self.cql.buckets;
        if buckets.of(flushed.saturating_add(1)) > self.bucket {
            // The fenced bucket is before a checkpoint by now, so the fence keeps no owner from writing.
            self.overtaken = self.overtaken.saturating_add(1);
            if self.overtaken > OVERTAKEN_MAX {
                return Err(ClaimError::Failed(format!("checkpoints of shard {} overtake every claim", self.shard)));
            }
            (self.flushed, self.deleted) = (flushed, deleted);
            (self.rows, self.owed) = (Vec::new(), None);
            self.bucket = buckets.of(flushed.saturating_add(1));
            return Ok(Stage::ReadFence);
        }
        (self.flushed, self.deleted) = (flushed, deleted);
        self.rows.retain(|row| row.last > flushed);
        for row in read.into_iter().filter(|row| row.last > flushed) {
            let expected = self.rows.last().map_or(flushed, |row| row.last).saturating_add(1);
            if row.first != expected {
                return Err(ClaimError::Corrupt(format!(
                    "the log of shard {} misses event {expected}: event {} follows, states are stored up to {flushed}",
                    self.shard, row.first
                )));
            }
            self.owed = None;
            self.rows.push(row);
        }
        let end = self.rows.last().map_or(flushed, |row| row.last);
        if end < buckets.last(self.bucket) {
            return Ok(Stage::AskOwner);
        }
        if let Some(last) = self.rows.last() {
            self.owed = self.cql.behind(self.shard, last).await.map_err(claim_error)?;
        }
        self.bucket = self.bucket.saturating_add(1);
        Ok(Stage::ReadFence)
    }

    async fn finish(&mut self) -> Result<Claim, ClaimError> {
        let (shard, epoch) = (self.shard, self.epoch);
        let owner = self.cql.owner(shard).await.map_err(claim_error)?;
        if owner.is_none_or(|(newest, _)| newest != epoch) {
            return Err(self.lost());
        }
        let mut owned = Owned::new(epoch, (self.flushed, self.deleted), self.bucket, std::mem::take(&mut self.rows));
        if let Some((behind, batch)) = self.owed.take() {
            // The decision is durable and its events count; the previous owner had no time to write its rest rows.
            let rest = self.cql.append_rest(shard, &mut owned, behind, batch).await;
            rest.map_err(|error| match error {
                AppendError::Fenced { .. } => self.lost(),
                AppendError::Failed(why) => ClaimError::Failed(why),
            })?;
        }
        let claim = Claim { shard, epoch, flushed_upto: owned.flushed, end: owned.end };
        self.owners.put(shard, owned);
        Counts::add(&self.cql.counts.claims);
        Ok(claim)
    }
}

impl Cql {
    /// The seq up to which states are stored, and the one up to which the log's rows are deleted.
    pub(super) async fn progress(&self, shard: Shard) -> Result<(Seq, Seq), ReadError> {
        let row = self.first::<(Option<i64>, Option<i64>)>(&self.statements.progress, (shard_key(shard),)).await?;
        let (flushed, deleted) = row.unwrap_or_default();
        Ok((number("flushed_upto", flushed.unwrap_or(0))?, number("deleted_upto", deleted.unwrap_or(0))?))
    }

    /// The newest ownership of a shard, and its owner.
    pub(super) async fn owner(&self, shard: Shard) -> Result<Option<(Epoch, String)>, ReadError> {
        let row = self.first::<(Option<i64>, Option<String>)>(&self.statements.owner, (shard_key(shard),)).await?;
        let Some((Some(epoch), node)) = row else { return Ok(None) };
        Ok(Some((number("an epoch", epoch)?, node.unwrap_or_default())))
    }

    /// The fence of a bucket, read serially.
    pub(super) async fn fence(&self, shard: Shard, bucket: u64) -> Result<Option<Epoch>, ReadError> {
        let key = (shard_key(shard), bucket_key(bucket));
        let row = self.first::<(i32, i32, Option<i64>)>(&self.statements.fence, key).await?;
        row.and_then(|(_, _, fence)| fence).map(|fence| number("a fence", fence)).transpose()
    }

    /// Compare-and-set of a fence. `false`: another value was there, or the outcome is unknown; the caller reads it again.
    pub(super) async fn raise_fence(&self, shard: Shard, bucket: u64, from: Option<Epoch>, to: Epoch) -> bool {
        let (shard, bucket, to) = (shard_key(shard), bucket_key(bucket), bigint(to));
        let statements = &self.statements;
        let answer = match from {
            None => self.transact(&statements.first_fence, (to, shard, bucket)).await,
            Some(from) => self.transact(&statements.raise_fence, (to, shard, bucket, bigint(from))).await,
        };
        match answer {
            Ok(answer) if answer.applied => true,
            Ok(_) => {
                Counts::add(&self.counts.conflicts);
                false
            }
            Err(_) => {
                Counts::add(&self.counts.unknown_outcomes);
                false
            }
        }
    }

    /// The first and the last row of a bucket from `from` on, read serially.
    async fn rows(&self, shard: Shard, bucket: u64, from: Seq) -> Result<Vec<TailRow>, ReadError> {
        let key = (shard_key(shard), bucket_key(bucket), bigint(from));
        let rows = self.all::<(i64, Option<i32>)>(&self.statements.rows, key).await?;
        let mut found = Vec::with_capacity(rows.len());
        for (seq, events) in rows {
            let first = number("a seq", seq)?;
            let events = events.and_then(|events| u64::try_from(events).ok()).filter(|events| *events > 0);
            let events = events.ok_or_else(|| ReadError::Corrupt(format!("event {first} of shard {shard}: no row")))?;
            let last = first.saturating_add(events).saturating_sub(1);
            if last > self.buckets.last(bucket) {
                return Err(ReadError::Corrupt(format!(
                    "event {first} of shard {shard}: its row crosses a bucket's end"
                )));
            }
            found.push(TailRow { first, last, records: None });
        }
        Ok(found)
    }

    /// The number of events of a row's last decision after the row, and the id of its batch.
    async fn behind(&self, shard: Shard, row: &TailRow) -> Result<Option<(u64, Uuid)>, ReadError> {
        let gone = || ReadError::Corrupt(format!("the row of event {} of shard {shard} is gone", row.first));
        let key = (shard_key(shard), bucket_key(self.buckets.of(row.first)), bigint(row.first));
        let found = self.first::<(Option<Uuid>, Option<i64>, Option<Vec<u8>>)>(&self.statements.row, key).await?;
        let Some((Some(batch), Some(epoch), Some(bytes))) = found else { return Err(gone()) };
        let position = RowPosition { shard, seq: row.first, epoch: number("an epoch", epoch)? };
        let events = row.last.saturating_sub(row.first).saturating_add(1);
        let behind = payload::read(position, bytes)?.behind(row.first, events);
        Ok((behind > 0).then_some((behind, batch)))
    }
}
