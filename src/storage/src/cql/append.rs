//! Writes to the log: one row per batch, at its position and under this owner's fence, or not at all.
//!
//! ```text
//! batch ──► roll to its bucket (O3) ──► UPDATE … IF batch_id = null AND fence = ours ──► applied, or ours already: durable
//!                                          ▲ │ no answer (O5)                        └──► else: fenced
//!                                          └─┘ the identical statement, the same batch id, until the bound
//! ```

use super::options::{Appended, Counts};
use super::owned::{Owned, TailRow};
use super::payload::{self, RowPosition};
use super::session::{Cql, Pauses, append_error, bigint, bucket_key, shard_key};
use crate::journal::{AppendError, Batch, Epoch, Record, Seq, Shard};
use doorbuster_clock::monotonic;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// The longest payload of a row: servers refuse writes beyond half a segment of their commit log (16 MiB as they come).
const PAYLOAD_BYTES_MAX: usize = 15 << 20;
/// The number of attempts to fence a new bucket before the owner takes the shard as lost.
const ROLL_ATTEMPTS_MAX: u32 = 16;

/// The shards that this process owns. Locked for short reads and updates, never across an await.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<BTreeMap<Shard, Owned>>);

impl Owners {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Shard, Owned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, shard: Shard, owned: Owned) {
        self.lock().insert(shard, owned);
    }

    /// Reads or changes an ownership, unless its epoch is no longer `epoch`.
    pub(super) fn with<T>(
        &self,
        shard: Shard,
        epoch: Epoch,
        look: impl FnOnce(&mut Owned) -> T,
    ) -> Result<T, AppendError> {
        let mut shards = self.lock();
        let owned = shards.get_mut(&shard).filter(|owned| owned.epoch == epoch && epoch > 0);
        owned.map(look).ok_or(AppendError::Fenced { shard, epoch })
    }
}

/// A row in flight.
#[derive(Debug)]
struct Row {
    position: RowPosition,
    events: u64,
    batch: Uuid,
    payload: Vec<u8>,
}

impl Cql {
    /// Makes a batch durable.
    pub(super) async fn append(&self, owners: &Owners, batch: &Batch) -> Result<(), AppendError> {
        let Some(first) = batch.records.first() else { return Ok(()) };
        let (shard, epoch) = (first.shard, first.epoch);
        let events = check(batch)?;
        let bucket = owners.with(shard, epoch, |owned| {
            if owned.unsettled {
                return Err(AppendError::Failed(format!("shard {shard}: an append before was never settled")));
            }
            if first.seq != owned.end.saturating_add(1) {
                let (seq, end) = (first.seq, owned.end);
                return Err(AppendError::Failed(format!("shard {shard}: event {seq} cannot follow event {end}")));
            }
            Ok(owned.bucket)
        })??;
        let room = self.buckets.room(first.seq);
        if events > room && batch.records.len() > 1 {
            return Err(AppendError::Failed(format!(
                "shard {shard}: a batch of {events} events from {} on crosses its bucket's end (rule O1)",
                first.seq
            )));
        }
        let position = RowPosition { shard, seq: first.seq, epoch };
        let payload = payload::of_records(position, &batch.records);
        if payload.len() > PAYLOAD_BYTES_MAX {
            let length = payload.len();
            return Err(AppendError::Failed(format!(
                "shard {shard}: a batch of {length} bytes is more than a row holds"
            )));
        }
        // Set until the outcome is known: a caller that stopped waiting must not append after it.
        owners.with(shard, epoch, |owned| owned.unsettled = true)?;
        let begun = monotonic();
        let covered = events.min(room);
        let batch_id = Uuid::new_v4();
        let row = Row { position, events: covered, batch: batch_id, payload };
        let bytes = u64::try_from(row.payload.len()).unwrap_or(u64::MAX);
        let rolled = self.roll_to(shard, epoch, bucket, self.buckets.of(first.seq)).await?;
        self.put_row(&row).await?;
        let last = first.seq.saturating_add(covered).saturating_sub(1);
        let tail = TailRow { first: first.seq, last, records: Some(batch.records.clone()) };
        if events > covered {
            let mut after = Owned::new(epoch, (last, 0), rolled, Vec::new());
            self.append_rest(shard, &mut after, events.saturating_sub(covered), batch_id).await?;
            let rest = after.rows_upto(Seq::MAX);
            owners.with(shard, epoch, |owned| {
                owned.appended(tail);
                rest.into_iter().for_each(|row| owned.appended(row));
                (owned.bucket, owned.unsettled) = (after.bucket, false);
            })?;
        } else {
            owners.with(shard, epoch, |owned| {
                owned.appended(tail);
                (owned.bucket, owned.unsettled) = (rolled, false);
            })?;
        }
        self.bound_tails(owners);
        Counts::add(&self.counts.appends);
        (self.options.on_append.0)(Appended { bytes, events, took: doorbuster_clock::since(begun) });
        Ok(())
    }

    /// Writes the rest rows for the events of a decision whose own row ends at a bucket's end.
    pub(super) async fn append_rest(
        &self,
        shard: Shard,
        owned: &mut Owned,
        mut behind: u64,
        batch: Uuid,
    ) -> Result<(), AppendError> {
        while behind > 0 {
            let first = owned.end.saturating_add(1);
            let bucket = self.buckets.of(first);
            owned.bucket = self.roll_to(shard, owned.epoch, owned.bucket, bucket).await?;
            let events = behind.min(self.buckets.room(first));
            behind = behind.saturating_sub(events);
            let position = RowPosition { shard, seq: first, epoch: owned.epoch };
            let row = Row { position, events, batch, payload: payload::of_rest(position, behind) };
            self.put_row(&row).await?;
            let last = first.saturating_add(events).saturating_sub(1);
            owned.appended(TailRow { first, last, records: Some(Vec::new()) });
        }
        Ok(())
    }

    /// Rule O3: raises the fence of an empty bucket that no owner with a higher epoch has fenced. Returns the bucket that may be written.
    async fn roll_to(&self, shard: Shard, epoch: Epoch, from: u64, to: u64) -> Result<u64, AppendError> {
        if from >= to {
            return Ok(from);
        }
        let lost = AppendError::Fenced { shard, epoch };
        let mut pauses = Pauses::new();
        for _ in 0..ROLL_ATTEMPTS_MAX {
            let fence = self.fence(shard, to).await.map_err(append_error)?;
            let key = (shard_key(shard), bucket_key(to), 0_i64);
            let row = self.first::<(i64,)>(&self.statements.first_row, key).await.map_err(append_error)?;
            if row.is_some() || fence.is_some_and(|fence| fence > epoch) {
                Counts::add(&self.counts.fenced);
                return Err(lost);
            }
            // This owner's fence, from an earlier attempt whose answer was lost.
            if fence == Some(epoch) || self.raise_fence(shard, to, fence, epoch).await {
                Counts::add(&self.counts.rolls);
                return Ok(to);
            }
            pauses.pause().await;
        }
        Err(AppendError::Failed(format!("shard {shard}: the fence of bucket {to} cannot be raised")))
    }

    /// Rule O5: an append without an answer is settled by the identical statement.
    async fn put_row(&self, row: &Row) -> Result<(), AppendError> {
        let RowPosition { shard, seq, epoch } = row.position;
        let events = i32::try_from(row.events).unwrap_or(i32::MAX);
        let key = (shard_key(shard), bucket_key(self.buckets.of(seq)), bigint(seq));
        let begun = monotonic();
        let mut pauses = Pauses::new();
        let mut unknown = false;
        loop {
            let values = (bigint(epoch), row.batch, events, &row.payload, key.0, key.1, key.2, bigint(epoch));
            match self.transact(&self.statements.append, values).await {
                Ok(answer) if answer.applied => return Ok(()),
                Ok(answer) if answer.uuid("batch_id") == Some(row.batch) => {
                    Counts::add(&self.counts.settled_as_committed);
                    return Ok(());
                }
                Ok(_) => {
                    Counts::add(&self.counts.fenced);
                    return Err(AppendError::Fenced { shard, epoch });
                }
                Err(why) => {
                    if !unknown {
                        unknown = true;
                        Counts::add(&self.counts.unknown_outcomes);
                    }
                    if doorbuster_clock::since(begun) >= self.options.settle_timeout {
                        Counts::add(&self.counts.never_settled);
                        return Err(AppendError::Failed(format!("event {seq} of shard {shard}: {why}")));
                    }
                    pauses.pause().await;
                }
            }
        }
    }

    /// Rule O4: whether this owner's fence is still the newest in the bucket of the next event. If that bucket is not fenced yet, this fences it,
    /// because a successor does not fence a bucket that is full and stored.
    pub(super) async fn confirm(&self, owners: &Owners, shard: Shard, epoch: Epoch) -> Result<(), AppendError> {
        let (bucket, next, unsettled) =
            owners.with(shard, epoch, |owned| (owned.bucket, owned.end.saturating_add(1), owned.unsettled))?;
        if unsettled {
            return Err(AppendError::Failed(format!("shard {shard}: an append before was never settled")));
        }
        let wanted = self.buckets.of(next);
        if bucket < wanted {
            let rolled = self.roll_to(shard, epoch, bucket, wanted).await?;
            return owners.with(shard, epoch, |owned| owned.bucket = owned.bucket.max(rolled));
        }
        Counts::add(&self.counts.confirmations);
        self.check_fence(shard, epoch, bucket).await
    }

    /// Whether the fence of a bucket is this owner's.
    pub(super) async fn check_fence(&self, shard: Shard, epoch: Epoch, bucket: u64) -> Result<(), AppendError> {
        let fence = self.fence(shard, bucket).await.map_err(append_error)?;
        if fence == Some(epoch) {
            return Ok(());
        }
        Counts::add(&self.counts.fenced);
        Err(AppendError::Fenced { shard, epoch })
    }

    fn bound_tails(&self, owners: &Owners) {
        let mut shards = owners.lock();
        let kept: u64 = shards.values().map(Owned::tail_bytes).fold(0, u64::saturating_add);
        if kept > self.options.tail_bytes_max
            && let Some(largest) = shards.values_mut().max_by_key(|owned| owned.tail_bytes())
        {
            largest.forget_records();
        }
    }
}

/// Checks that records are of one shard and epoch and dense; returns the number of events.
fn check(batch: &Batch) -> Result<u64, AppendError> {
    let Some(Record { shard, epoch, seq, .. }) = batch.records.first() else { return Ok(0) };
    let mut next = *seq;
    for record in &batch.records {
        if record.shard != *shard || record.epoch != *epoch {
            return Err(AppendError::Failed(format!("shard {shard}: a batch of two shards or owners")));
        }
        if record.seq != next || record.events == 0 {
            let (seq, end) = (record.seq, next.saturating_sub(1));
            return Err(AppendError::Failed(format!("shard {shard}: event {seq} cannot follow event {end}")));
        }
        next = record.last_seq().saturating_add(1);
    }
    Ok(next.saturating_sub(*seq))
}
