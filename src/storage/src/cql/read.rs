//! Reads a shard's records in order: from history up to `flushed_upto`, from the logs after it.
//!
//! The logs are read first. What a checkpoint moves meanwhile is then found in history, and never missed.

use super::history::record_of;
use super::session::{Cql, bigint, bucket_key, number, shard_key};
use crate::journal::{ReadError, Record, Seq, Shard};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::sync::Arc;

/// The number of history rows read at once.
const HISTORY_ROWS: i32 = 500;

/// The position of a reader.
#[derive(Debug)]
pub(super) struct Reader {
    cql: Arc<Cql>,
    shard: Shard,
    next: Seq,
    /// Whether history is read too.
    history: bool,
    /// `flushed_upto`, and the records behind it. `None`: not read yet.
    tail: Option<(Seq, Vec<Record>)>,
}

impl Reader {
    /// A reader of all events.
    pub(super) const fn of_everything(cql: Arc<Cql>, shard: Shard) -> Self {
        Self::of_everything_from(cql, shard, 1)
    }

    /// A reader from `next` on, the first event of a record.
    pub(super) const fn of_everything_from(cql: Arc<Cql>, shard: Shard, next: Seq) -> Self {
        Self { cql, shard, next, history: true, tail: None }
    }

    /// The same with a tail that is known: `flushed_upto`, and all records behind it.
    pub(super) fn with_tail(mut self, tail: Option<(Seq, Vec<Record>)>) -> Self {
        self.tail = tail;
        self
    }

    /// A reader of everything after `flushed`, from log or history: a former owner's checkpoint may have moved it.
    pub(super) const fn behind(cql: Arc<Cql>, shard: Shard, flushed: Seq) -> Self {
        Self::of_everything_from(cql, shard, flushed.saturating_add(1))
    }

    /// A reader of what no checkpoint has moved yet.
    pub(super) const fn of_tail(cql: Arc<Cql>, shard: Shard) -> Self {
        Self { cql, shard, next: 1, history: false, tail: None }
    }

    /// A reader from the record that holds the event `from`.
    pub(super) async fn from(cql: Arc<Cql>, shard: Shard, from: Seq) -> Result<Self, ReadError> {
        let flushed = cql.progress(shard).await?;
        let mut reader = Self::of_everything(cql, shard);
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
    async fn more(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        let (flushed, tail) = match self.tail.take() {
            Some(tail) => tail,
            None => self.cql.read_tail(self.shard).await?,
        };
        if self.history && self.next <= flushed {
            self.tail = Some((flushed, tail));
            return Ok(Some(self.read_history(flushed).await?));
        }
        let behind: Vec<Record> = tail.into_iter().filter(|record| record.seq >= self.next).collect();
        self.tail = Some((flushed, Vec::new()));
        Ok((!behind.is_empty()).then_some(behind))
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
}
