//! Follows each shard's log and publishes its durable events, from the end of the shard's stream.
//!
//! ```text
//! log     … 40 41 42 43 44 45 ─ durable end
//! stream  … 40 41 42                          its last id is the cursor; no other position is stored
//!                    └────────► published next
//! ```
//!
//! A restart, another owner or an emptied store only changes where the stream ends, so all are handled alike: read the journal from there.
//! It reads durable records only, and no order waits for it. While the store is unreachable, the cursor stays. An emptied stream begins again
//! with the newest `length_max` events.

use super::ReadModelError;
use super::counts::{Counts, count};
use super::streams::{BATCH_MAX, Entry, EventId, Streams};
use bytes::Bytes;
use doorbuster_clock::monotonic;
use doorbuster_storage::wire::{self, WireError};
use doorbuster_storage::{Journal, ReadError, Record, Seq, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

/// The most records read of one shard before the next shard's turn.
const RECORDS_MAX: usize = 10_000;

/// Why a shard's events could not be published; the next round tries again.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The stream store failed.
    #[error(transparent)]
    Streams(#[from] ReadModelError),
    /// The journal failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record cannot be decoded.
    #[error("event {seq}: {error}")]
    Wire {
        /// The seq of its first event.
        seq: Seq,
        /// The decoder's error.
        error: WireError,
    },
}

/// Publishes the shards of a node.
#[derive(Debug)]
pub struct Publisher<J, S> {
    journal: J,
    streams: S,
    /// The most events that a stream keeps.
    length_max: u64,
    /// The interval at which a stream's end is read although nothing happened: it may have been emptied.
    look_every: Duration,
    cursors: BTreeMap<Shard, Cursor>,
    counts: Arc<Counts>,
}

#[derive(Debug, Clone, Copy)]
struct Cursor {
    last: EventId,
    looked_at: Instant,
}

impl<J: Journal, S: Streams> Publisher<J, S> {
    /// A publisher that follows no shard yet.
    #[must_use]
    pub fn new(journal: J, streams: S, length_max: u64, look_every: Duration, counts: Arc<Counts>) -> Self {
        Self { journal, streams, length_max: length_max.max(1), look_every, cursors: BTreeMap::new(), counts }
    }

    /// One round over the shards of this node: publishes each as far as it is durable, at most `RECORDS_MAX` records. Returns the first
    /// failure; the other shards are published all the same.
    pub async fn round(&mut self, owned: &[Shard]) -> Result<(), PublishError> {
        // Another node follows a shard that is no longer ours. When the shard comes back, its stream's end is read again.
        self.cursors.retain(|shard, _| owned.contains(shard));
        let ends = self.journal.ends();
        let mut first = Ok(());
        for shard in owned {
            let end = ends.get(shard).copied().unwrap_or(0);
            if let Err(error) = self.shard(*shard, end).await {
                count(&self.counts.publish_failed, 1);
                self.cursors.remove(shard);
                first = first.and(Err(error));
            }
        }
        first
    }

    async fn shard(&mut self, shard: Shard, end: Seq) -> Result<(), PublishError> {
        let mut last = self.cursor(shard, end).await?;
        if last.position() >= end {
            return Ok(());
        }
        // An emptied stream gets only as many events as it may keep.
        let kept_from = end.saturating_sub(self.length_max).saturating_add(1);
        let from = last.position().saturating_add(1).max(if last == EventId::START { kept_from } else { 0 });
        let mut batch = Vec::with_capacity(BATCH_MAX);
        for record in self.journal.page(shard, from, RECORDS_MAX).await? {
            batch.extend(entries(&record)?);
            if batch.len() >= BATCH_MAX {
                last = self.publish(shard, last, &batch).await?;
                batch.clear();
            }
        }
        self.publish(shard, last, &batch).await?;
        Ok(())
    }

    /// The end of the stream; read from the store when it is unknown or was last read too long ago.
    async fn cursor(&mut self, shard: Shard, end: Seq) -> Result<EventId, PublishError> {
        let now = monotonic();
        let known = self.cursors.get(&shard).copied();
        if let Some(known) = known.filter(|known| now.duration_since(known.looked_at) < self.look_every) {
            return Ok(known.last);
        }
        let last = self.streams.last(shard).await?;
        if known.is_some_and(|known| last < known.last) {
            self.emptied(shard, last);
        }
        if last.position() > end && known.is_none() {
            tracing::error!(%shard, stream = %last, journal = end, "a stream is ahead of the journal: it belongs to another store");
        }
        self.cursors.insert(shard, Cursor { last, looked_at: now });
        Ok(last)
    }

    fn emptied(&self, shard: Shard, last: EventId) {
        count(&self.counts.streams_refilled, 1);
        tracing::warn!(%shard, %last, "a stream was emptied; it is filled again from the journal");
    }

    async fn publish(&mut self, shard: Shard, after: EventId, batch: &[Entry]) -> Result<EventId, PublishError> {
        if batch.is_empty() {
            return Ok(after);
        }
        let last = self.streams.publish(shard, after, batch).await?;
        if last < after {
            self.emptied(shard, last);
            return Err(ReadModelError::Failed("the stream was emptied in between".to_owned()).into());
        }
        count(&self.counts.published, u64::try_from(batch.len()).unwrap_or(u64::MAX));
        if let Some(cursor) = self.cursors.get_mut(&shard) {
            cursor.last = last;
        }
        Ok(last)
    }
}

/// A record's events in the form that streams show. They hold facts only; personal data is never published.
pub(crate) fn entries(record: &Record) -> Result<Vec<Entry>, PublishError> {
    let wire_error = |error| PublishError::Wire { seq: record.seq, error };
    let (facts, _personal) = wire::split_personal(&record.body).map_err(wire_error)?;
    let decided = wire::decode(&facts).map_err(wire_error)?;
    let mut entries = Vec::with_capacity(decided.events.len());
    for (index, event) in (0_u32..).zip(&decided.events) {
        let event = serde_json::json!({
            "shard": record.shard.0,
            "seq": record.seq.saturating_add(u64::from(index)),
            "epoch": record.epoch,
            "entity": decided.entity.to_string(),
            "number": decided.number.saturating_add(u64::from(index)),
            "at_ms": decided.at.0,
            "by": decided.by,
            "event": wire::shown(event).map_err(wire_error)?,
        });
        entries.push(Entry { id: EventId { seq: record.seq, index }, event: Bytes::from(event.to_string()) });
    }
    Ok(entries)
}
