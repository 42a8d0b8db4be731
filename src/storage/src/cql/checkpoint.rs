//! A checkpoint: states, history and agenda go from the log into the tables, and then what holds nothing else of the log may be deleted (rule S2).
//!
//! ```text
//! history ─► states, heads last ─► agenda ─► flushed_upto ─► buckets of the log of which all is stored are deleted (rule N8)
//! ```
//!
//! No write spans the tables atomically, and none needs to. Until `flushed_upto` is written, nothing takes effect: history after it is not read, a
//! state that is ahead of it says so by its seq (rule S1), and the agenda is combined with the tail (rule S5). A former owner that has lost the
//! shard meanwhile writes only older data than its successor, and the timestamps keep the newer (rule S3).

use super::log::OwnLog;
use super::owned::Owners;
use super::read::Reader;
use super::session::{Cql, append_error, bigint, shard_key, timestamp};
use crate::journal::{AppendError, Claim, Record, Seq, StateFlush};
use doorbuster_domain::ids::EntityId;
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The records that a checkpoint covers.
struct Covered {
    flushed: Seq,
    records: Vec<Record>,
    number: u64,
    log: Arc<OwnLog>,
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
        self.check_log(&covered.log, AppendError::Fenced { shard, epoch }).await?;
        let gone: BTreeSet<EntityId> = flush.erase.iter().cloned().collect();
        self.put_history(shard, &covered.records, &gone).await?;
        self.put_states(shard, &flush.states, &gone, upto).await?;
        for entity in &gone {
            self.erase_history(shard, entity, upto).await?;
        }
        self.put_agenda(shard, &flush.agenda, (epoch, covered.number), upto).await?;
        if upto > covered.flushed {
            let values = (timestamp(upto), bigint(upto), shard_key(shard));
            self.write(&self.statements.put_progress, values).await.map_err(append_error)?;
        }
        owners.with(shard, epoch, |owned| owned.flushed(upto))?;
        if !gone.is_empty() {
            // Their data is in the log still, until the bucket is deleted.
            covered.log.roll_soon();
        }
        if let Err(error) = self.delete_full_buckets(owners).await {
            // No reader needs these rows; the next checkpoint tries again.
            tracing::warn!(%error, "rows of a log that are stored were not deleted");
        }
        Ok(())
    }

    /// Whether a log is open.
    async fn check_log(&self, log: &OwnLog, fenced: AppendError) -> Result<(), AppendError> {
        let _turn = log.turn().await;
        if self.is_log_open(log).await.map_err(append_error)? { Ok(()) } else { Err(fenced) }
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
        let (covered, end, kept) = owners.with(shard, claim.epoch, |owned| {
            owned.checkpoints = owned.checkpoints.saturating_add(1);
            let log = Arc::clone(&owned.log);
            let covered = Covered { flushed: owned.flushed, records: Vec::new(), number: owned.checkpoints, log };
            (covered, owned.end, owned.records_upto(upto))
        })?;
        if let Some(row) = flush.states.iter().find(|row| row.seq > end) {
            let (entity, seq) = (&row.entity, row.seq);
            return Err(failed(format!("the state of {entity} holds event {seq}, durable is {end} (rule S1)")));
        }
        let flushed = covered.flushed;
        let records = match kept {
            Some(records) => records,
            None => {
                let read = Reader::behind(Arc::clone(self), shard, flushed).records();
                let upto = read.try_filter(|record| std::future::ready(record.last_seq() <= upto));
                upto.try_collect().await.map_err(append_error)?
            }
        };
        if upto < flushed || records.last().map_or(flushed, Record::last_seq) != upto {
            return Err(failed(format!("event {upto} is not the last of a durable record behind {flushed}")));
        }
        Ok(Covered { records, ..covered })
    }
}
