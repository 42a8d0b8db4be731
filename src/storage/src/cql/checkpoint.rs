//! A checkpoint: states, history and agenda go from the log into the tables, and then the log before the checkpoint may be deleted (rule S2).
//!
//! ```text
//! history ─► states, heads last ─► agenda ─► flushed_upto ─► rows of the log up to there are deleted
//! ```
//!
//! No write spans the tables atomically, and none needs to. Until `flushed_upto` is written, nothing takes effect: history after it is not read, a
//! state that is ahead of it says so by its seq (rule S1), and the agenda is combined with the tail (rule S5). A former owner that has lost the
//! shard meanwhile writes only older data than its successor, and the timestamps keep the newer (rule S3).

use super::append::Owners;
use super::options::Counts;
use super::owned::TailRow;
use super::read::Reader;
use super::session::{Cql, append_error, bigint, bucket_key, shard_key, timestamp};
use crate::journal::{AppendError, Claim, Record, Seq, Shard, StateFlush};
use doorbuster_domain::ids::EntityId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The records that a checkpoint covers.
struct Covered {
    flushed: Seq,
    deleted: Seq,
    /// The last row's end, which becomes `flushed_upto`.
    reached: Seq,
    records: Vec<Record>,
    number: u64,
    bucket: u64,
}

impl Cql {
    pub(super) async fn checkpoint(
        self: &Arc<Self>,
        owners: &Owners,
        claim: &Claim,
        flush: StateFlush,
        upto: Seq,
    ) -> Result<(), AppendError> {
        let (shard, epoch) = (claim.shard, claim.epoch);
        let covered = self.covered(owners, claim, &flush, upto).await?;
        // Only to fail early: what a former owner stores is harmless.
        self.check_fence(shard, epoch, covered.bucket).await?;
        let gone: BTreeSet<EntityId> = flush.erase.iter().cloned().collect();
        self.put_history(shard, &covered.records, &gone).await?;
        self.put_states(shard, &flush.states, &gone, upto).await?;
        for entity in &gone {
            self.erase_history(shard, entity, covered.reached).await?;
        }
        self.put_agenda(shard, &flush.agenda, (epoch, covered.number), upto).await?;
        if covered.reached > covered.flushed {
            let values =
                (timestamp(covered.reached), bigint(covered.reached), bigint(covered.deleted), shard_key(shard));
            self.write(&self.statements.put_progress, values).await.map_err(append_error)?;
        }
        owners.with(shard, epoch, |owned| owned.flushed(covered.reached))?;
        match self.delete_rows(shard, covered.deleted, covered.reached).await {
            Ok(()) => owners.with(shard, epoch, |owned| owned.deleted = owned.deleted.max(covered.reached)),
            Err(error) => {
                // No reader needs these rows; the next checkpoint tries again from the same start.
                tracing::warn!(%shard, %error, "rows before the checkpoint were not deleted");
                Ok(())
            }
        }
    }

    /// Checks that the claim still holds and that the whole flush is durable (rule S1), and gathers the records.
    async fn covered(
        self: &Arc<Self>,
        owners: &Owners,
        claim: &Claim,
        flush: &StateFlush,
        upto: Seq,
    ) -> Result<Covered, AppendError> {
        let shard = claim.shard;
        let failed = |why: String| AppendError::Failed(format!("shard {shard}: {why}"));
        let (covered, end, rows) = owners.with(shard, claim.epoch, |owned| {
            owned.checkpoints = owned.checkpoints.saturating_add(1);
            let covered = Covered {
                flushed: owned.flushed,
                deleted: owned.deleted,
                reached: owned.row_end(upto),
                records: Vec::new(),
                number: owned.checkpoints,
                bucket: owned.bucket,
            };
            (covered, owned.end, owned.rows_upto(upto))
        })?;
        if let Some(row) = flush.states.iter().find(|row| row.seq > end) {
            let (entity, seq) = (&row.entity, row.seq);
            return Err(failed(format!("the state of {entity} holds event {seq}, durable is {end} (rule S1)")));
        }
        let mut records = self.records_of(shard, covered.flushed, rows).await?;
        let whole = upto == covered.flushed || records.iter().any(|record| record.last_seq() == upto);
        if upto < covered.flushed || !whole {
            let flushed = covered.flushed;
            return Err(failed(format!("event {upto} is not the last of a durable record behind {flushed}")));
        }
        records.retain(|record| record.last_seq() <= covered.reached);
        Ok(Covered { records, ..covered })
    }

    /// The records of rows, from memory or from the log.
    async fn records_of(
        self: &Arc<Self>,
        shard: Shard,
        flushed: Seq,
        rows: Vec<TailRow>,
    ) -> Result<Vec<Record>, AppendError> {
        let last = rows.last().map_or(0, |row| row.last);
        if rows.iter().all(|row| row.records.is_some()) {
            return Ok(rows.into_iter().filter_map(|row| row.records).flatten().collect());
        }
        let mut reader = Reader::behind(Arc::clone(self), shard, flushed);
        let mut records = Vec::new();
        while let Some(some) = reader.more().await.map_err(append_error)? {
            let done = some.last().is_some_and(|record| record.last_seq() >= last);
            records.extend(some.into_iter().filter(|record| record.seq <= last));
            if done {
                break;
            }
        }
        Ok(records)
    }

    /// Deletes the log's rows from after `from` up to `upto`, bucket by bucket, each with the write time of its last row: no clock takes part, and the
    /// fences stay.
    async fn delete_rows(&self, shard: Shard, from: Seq, upto: Seq) -> Result<(), AppendError> {
        if upto <= from {
            return Ok(());
        }
        let (first, last) = (self.buckets.of(from.saturating_add(1)), self.buckets.of(upto));
        for bucket in first..=last {
            let key = (shard_key(shard), bucket_key(bucket), bigint(upto));
            let written = self.first::<(i64, Option<i64>)>(&self.statements.written_at, key).await;
            if let Some((_, Some(at))) = written.map_err(append_error)? {
                let values = (at, key.0, key.1, key.2);
                self.write(&self.statements.delete_rows, values).await.map_err(append_error)?;
            }
        }
        Ok(())
    }

    /// Records that this ownership has ended. Only a hint for readers of the owners.
    pub(super) async fn release(&self, owners: &Owners, claim: &Claim) -> Result<(), AppendError> {
        let (shard, epoch) = (claim.shard, claim.epoch);
        owners.with(shard, epoch, |_| ())?;
        owners.lock().remove(&shard);
        let answer = self.transact(&self.statements.release, (shard_key(shard), bigint(epoch))).await;
        match answer {
            Ok(answer) if answer.applied => Ok(()),
            Ok(_) => {
                Counts::add(&self.counts.fenced);
                Err(AppendError::Fenced { shard, epoch })
            }
            Err(why) => {
                Counts::add(&self.counts.unknown_outcomes);
                Err(AppendError::Failed(why))
            }
        }
    }
}
