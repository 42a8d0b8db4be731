//! Writes to a log: one row per batch, at its position and while the log is open, or not at all.
//!
//! ```text
//! batch ──► roll if the bucket is full (N2) ──► UPDATE … IF batch_id = null AND fence = 'open' ──► applied, or ours already: durable
//!                                                  ▲ │ no answer (O5)                              └──► else: closed, all shards are lost (N7)
//!                                                  └─┘ the identical statement, the same batch id, until the bound
//! ```

use super::log::{OwnLog, position_key};
use super::options::{Appended, Counts};
use super::owned::{Owners, TailRow};
use super::payload::{self, RowPosition};
use super::session::{Cql, Pauses, append_error, bigint, bucket_key, shard_key};
use crate::journal::{AppendError, Batch, Claim, Epoch, Record, Shard};
use doorbuster_clock::monotonic;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// The longest payload of a row: servers refuse writes beyond half a segment of their commit log (16 MiB as they come).
const PAYLOAD_BYTES_MAX: usize = 15 << 20;

impl Cql {
    /// Makes a batch durable.
    pub(super) async fn append(&self, owners: &Owners, batch: &Batch) -> Result<(), AppendError> {
        let Some(Record { shard, epoch, .. }) = batch.records.first() else { return Ok(()) };
        let fenced = AppendError::Fenced { shard: *shard, epoch: *epoch };
        let log = owners.with(*shard, *epoch, |owned| Arc::clone(&owned.log))?;
        let _turn = log.turn().await;
        log.may_write(&fenced)?;
        let parts = parts(owners, &log, batch)?;
        log.begin_write();
        let begun = monotonic();
        if !self.roll_if_full(&log).await.map_err(append_error)? {
            self.log_is_lost(&log);
            return Err(fenced);
        }
        let at = {
            let state = log.state();
            RowPosition { log: log.name, bucket: state.bucket, position: state.position }
        };
        let payload = payload::of_records(at, &batch.records);
        if payload.len() > PAYLOAD_BYTES_MAX {
            // Nothing was sent.
            log.settled();
            let length = payload.len();
            return Err(AppendError::Failed(format!(
                "log {}: a batch of {length} bytes is too large for a row",
                at.log
            )));
        }
        if !self.put_row(at, Uuid::new_v4(), &payload).await? {
            self.log_is_lost(&log);
            return Err(fenced);
        }
        let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let newest = parts.iter().filter_map(|(shard, records)| Some((*shard, records.last()?.last_seq())));
        log.appended(bytes, newest);
        let mut events: u64 = 0;
        for (shard, records) in parts {
            events = records.iter().fold(events, |sum, record| sum.saturating_add(u64::from(record.events)));
            if let Some(owned) = owners.lock().get_mut(&shard) {
                owned.appended(TailRow::of((at.log, at.bucket), records));
            }
        }
        owners.bound_tails(self.options.tail_bytes_max);
        Counts::add(&self.counts.appends);
        (self.options.on_append.0)(Appended { bytes, events, took: doorbuster_clock::since(begun) });
        Ok(())
    }

    /// Rule O5: an append without an answer is settled by the identical statement. `false`: the log was closed.
    async fn put_row(&self, at: RowPosition, batch: Uuid, payload: &[u8]) -> Result<bool, AppendError> {
        let (begun, mut pauses, mut unknown) = (monotonic(), Pauses::new(), false);
        loop {
            let values = (batch, payload, at.log, bucket_key(at.bucket), position_key(at.position));
            match self.transact(&self.statements.append, values).await {
                Ok(answer) if answer.applied => return Ok(true),
                Ok(answer) if answer.uuid("batch_id") == Some(batch) => {
                    Counts::add(&self.counts.settled_as_committed);
                    return Ok(true);
                }
                Ok(_) => return Ok(false),
                Err(why) => {
                    if !unknown {
                        unknown = true;
                        Counts::add(&self.counts.unknown_outcomes);
                    }
                    if doorbuster_clock::since(begun) >= self.options.settle_timeout {
                        Counts::add(&self.counts.never_settled);
                        return Err(AppendError::Failed(format!("{at}: {why}")));
                    }
                    pauses.pause().await;
                }
            }
        }
    }

    /// Rule O4: one read of the fence where the next row goes answers for all shards of the log.
    pub(super) async fn confirm(&self, owners: &Owners, shards: &BTreeMap<Shard, Epoch>) -> Result<(), AppendError> {
        let Some((first, _)) = shards.first_key_value() else { return Ok(()) };
        let lost = |shard: &Shard, epoch: &Epoch| AppendError::Fenced { shard: *shard, epoch: *epoch };
        let log = owners.log_of(*first);
        for (shard, epoch) in shards {
            let of_shard = owners.with(*shard, *epoch, |owned| Arc::clone(&owned.log))?;
            if log.as_ref().is_none_or(|log| !Arc::ptr_eq(log, &of_shard)) {
                return Err(AppendError::Failed(format!("shard {shard}: it is not in the log of shard {first}")));
            }
        }
        let (Some(log), Some((shard, epoch))) = (log, shards.first_key_value()) else { return Ok(()) };
        let _turn = log.turn().await;
        log.may_write(&lost(shard, epoch))?;
        Counts::add(&self.counts.confirmations);
        if self.is_log_open(&log).await.map_err(append_error)? { Ok(()) } else { Err(lost(shard, epoch)) }
    }

    /// Rule N6: records that this ownership appends nothing more, and which logs hold events that no checkpoint has stored: none after a complete drain.
    /// It serves the shard no more from here on, whatever the answer.
    pub(super) async fn release(&self, owners: &Owners, claim: &Claim) -> Result<(), AppendError> {
        let (shard, epoch) = (claim.shard, claim.epoch);
        let log = owners.with(shard, epoch, |owned| Arc::clone(&owned.log))?;
        // What was appended of the shard is settled before the release is sent.
        let _turn = log.turn().await;
        owners.with(shard, epoch, |_| ())?;
        let Some(owned) = owners.lock().remove(&shard) else { return Ok(()) };
        log.may_write(&AppendError::Fenced { shard, epoch })?;
        let logs = if owned.flushed == owned.end { Vec::new() } else { owned.logs };
        match self.transact(&self.statements.release, (&logs, shard_key(shard), bigint(epoch))).await {
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

/// The records of each shard, which must be owned, in this log, and follow what was appended before.
fn parts(owners: &Owners, log: &Arc<OwnLog>, batch: &Batch) -> Result<BTreeMap<Shard, Vec<Record>>, AppendError> {
    let mut parts: BTreeMap<Shard, Vec<Record>> = BTreeMap::new();
    for record in &batch.records {
        let (shard, epoch) = (record.shard, record.epoch);
        let part = parts.entry(shard).or_default();
        let end = owners.with(shard, epoch, |owned| {
            if !Arc::ptr_eq(&owned.log, log) {
                return Err(AppendError::Failed(format!("shard {shard}: a batch of two logs")));
            }
            Ok(owned.end)
        })??;
        let end = part.last().map_or(end, Record::last_seq);
        if record.seq != end.saturating_add(1) || record.events == 0 {
            return Err(AppendError::Failed(format!("shard {shard}: event {} cannot follow event {end}", record.seq)));
        }
        part.push(record.clone());
    }
    Ok(parts)
}
