//! Reads a shard's records in order: from history up to `flushed_upto`, from the log after it.
//!
//! A checkpoint may move records from the log to history during a read. So a gap is corruption only if `flushed_upto`, read again, does not
//! explain it.

use super::history::record_of;
use super::payload::{self, Payload, RowPosition};
use super::session::{Cql, bigint, bucket_key, number, shard_key};
use crate::journal::{ReadError, Record, Seq, Shard};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::sync::Arc;

/// The number of history rows read at once.
const HISTORY_ROWS: i32 = 500;
/// The number of log rows first read at once; it grows if they are small.
const LOG_ROWS_MIN: u64 = 16;
/// The most log rows read at once.
const LOG_ROWS_MAX: u64 = 1_000;
/// The target size of one read of the log, in bytes.
const LOG_READ_BYTES: u64 = 4 << 20;

/// The position of a reader.
#[derive(Debug)]
pub(super) struct Reader {
    cql: Arc<Cql>,
    shard: Shard,
    next: Seq,
    /// `None`: not read yet.
    flushed: Option<Seq>,
    /// Whether history is read too.
    history: bool,
    rows: u64,
}

impl Reader {
    /// A reader of all events.
    pub(super) const fn of_everything(cql: Arc<Cql>, shard: Shard) -> Self {
        Self { cql, shard, next: 1, flushed: None, history: true, rows: LOG_ROWS_MIN }
    }

    /// A reader from `next` on, the first event of a record.
    pub(super) const fn of_everything_from(cql: Arc<Cql>, shard: Shard, next: Seq) -> Self {
        Self { cql, shard, next, flushed: None, history: true, rows: LOG_ROWS_MIN }
    }

    /// A reader of everything after `flushed`, from log or history: a former owner's checkpoint may have moved it.
    pub(super) const fn behind(cql: Arc<Cql>, shard: Shard, flushed: Seq) -> Self {
        Self::of_everything_from(cql, shard, flushed.saturating_add(1))
    }

    /// A reader of what no checkpoint has moved yet.
    pub(super) const fn of_tail(cql: Arc<Cql>, shard: Shard) -> Self {
        Self { cql, shard, next: 1, flushed: None, history: false, rows: LOG_ROWS_MIN }
    }

    /// A reader from the record that holds the event `from`.
    pub(super) async fn from(cql: Arc<Cql>, shard: Shard, from: Seq) -> Result<Self, ReadError> {
        let mut reader = Self::of_everything(cql, shard);
        let flushed = reader.look_again().await?;
        if from > flushed {
            reader.next = flushed.saturating_add(1);
            return Ok(reader);
        }
        // A record is filed in the bucket of its first event, which may be before the bucket of the requested event.
        let mut bucket = reader.cql.buckets.of(from);
        loop {
            let key = (shard_key(shard), bucket_key(bucket), bigint(from));
            if let Some((seq,)) = reader.cql.first::<(i64,)>(&reader.cql.statements.history_before, key).await? {
                reader.next = number("a seq", seq)?;
                return Ok(reader);
            }
            let Some(before) = bucket.checked_sub(1) else { return Ok(reader) };
            bucket = before;
        }
    }

    /// All records, as a stream.
    pub(super) fn records(self) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        let chunks =
            stream::try_unfold(
                self,
                |mut reader| async move { Ok(reader.more().await?.map(|records| (records, reader))) },
            );
        chunks.map_ok(|records| stream::iter(records).map(Ok)).try_flatten()
    }

    /// The next records; `None` at the end.
    pub(super) async fn more(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        loop {
            let flushed = match self.flushed {
                Some(flushed) => flushed,
                None => self.look_again().await?,
            };
            let read = if self.next <= flushed {
                if !self.history {
                    self.next = flushed.saturating_add(1);
                    continue;
                }
                Some(self.read_history(flushed).await?)
            } else {
                self.read_log(flushed).await?
            };
            match read {
                Some(records) if records.is_empty() => {}
                read => return Ok(read),
            }
        }
    }

    async fn look_again(&mut self) -> Result<Seq, ReadError> {
        let (flushed, _) = self.cql.progress(self.shard).await?;
        self.flushed = Some(flushed);
        Ok(flushed)
    }

    async fn read_history(&mut self, flushed: Seq) -> Result<Vec<Record>, ReadError> {
        let missing = |next: Seq| ReadError::Corrupt(format!("history of shard {} misses event {next}", self.shard));
        let bucket = bucket_key(self.cql.buckets.of(self.next));
        let key = (shard_key(self.shard), bucket, bigint(self.next), HISTORY_ROWS);
        let rows = self.cql.all(&self.cql.statements.history, key).await?;
        if rows.is_empty() {
            return Err(missing(self.next));
        }
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let record = record_of(self.shard, row)?;
            if record.last_seq() > flushed {
                break;
            }
            if record.seq != self.next {
                return Err(missing(self.next));
            }
            self.next = record.last_seq().saturating_add(1);
            records.push(record);
        }
        if records.is_empty() { Err(missing(self.next)) } else { Ok(records) }
    }

    /// Reads from the log. `None`: the log ends here.
    async fn read_log(&mut self, flushed: Seq) -> Result<Option<Vec<Record>>, ReadError> {
        let (shard, bucket) = (self.shard, self.cql.buckets.of(self.next));
        let limit = i32::try_from(self.rows).unwrap_or(i32::MAX);
        let key = (shard_key(shard), bucket_key(bucket), bigint(self.next), limit);
        let rows = self.cql.all::<LogRow>(&self.cql.statements.payloads, key).await?;
        let first = rows.first().map(|row| row.0);
        if first != Some(bigint(self.next)) {
            // Either the end, or a checkpoint has moved these records into history.
            if self.look_again().await? > flushed {
                return Ok(Some(Vec::new()));
            }
            return match first {
                None => Ok(None),
                Some(found) => Err(self.hole(found)),
            };
        }
        let mut bytes: u64 = 0;
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let mut records = Vec::new();
        for (seq, epoch, events, payload) in rows {
            if seq != bigint(self.next) {
                return Err(self.hole(seq));
            }
            let (Some(epoch), Some(events), Some(payload)) = (epoch, events, payload) else {
                return Err(self.hole(seq));
            };
            let events = number("a count of events", i64::from(events))?;
            bytes = bytes.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
            let position = RowPosition { shard, seq: self.next, epoch: number("an epoch", epoch)? };
            let payload = payload::read(position, payload)?;
            if events == 0 || !payload.fits(self.cql.buckets, self.next, events) {
                let why = format!("the row of event {seq} of shard {shard} does not hold the events it says");
                return Err(ReadError::Corrupt(why));
            }
            self.next = self.next.saturating_add(events);
            match payload {
                Payload::Records(some) => records.extend(some),
                Payload::Rest { .. } => {}
            }
        }
        let size = bytes.checked_div(count).unwrap_or(0).max(1);
        self.rows = LOG_READ_BYTES.checked_div(size).unwrap_or(LOG_ROWS_MAX).clamp(LOG_ROWS_MIN, LOG_ROWS_MAX);
        Ok(Some(records))
    }

    fn hole(&self, found: i64) -> ReadError {
        let (shard, next) = (self.shard, self.next);
        ReadError::Corrupt(format!("the log of shard {shard} misses event {next}, event {found} follows"))
    }
}

/// `seq`, `epoch`, `events`, `payload`.
type LogRow = (i64, Option<i64>, Option<i32>, Option<Vec<u8>>);
