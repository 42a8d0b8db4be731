//! Reading logs: a bucket, a whole log that has ended, and the tail of a shard in the logs that its row names (rule N4).
//!
//! A log that has ended does not change any more, so a process that claims several shards from it reads it once: what it held is kept for a while.

use super::claim::Ownership;
use super::log::{Fence, FullBucket};
use super::options::Counts;
use super::owned::TailRow;
use super::payload::{self, RowPosition};
use super::session::{Cql, bucket_key, number};
use crate::journal::{ReadError, Record, Seq, Shard};
use doorbuster_clock::monotonic;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How long what a closed log held is kept for the next shard that moves from it.
const READ_LOGS_KEPT: Duration = Duration::from_secs(60);
/// How often a reader begins again because the shard has changed hands meanwhile.
const OVERTAKEN_MAX: u32 = 16;

/// What a log held, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct LogContents {
    /// The buckets with their newest events. All of them but the last are sealed.
    pub(super) buckets: Vec<FullBucket>,
    /// The records, by shard and bucket.
    records: BTreeMap<Shard, Vec<(u64, Vec<Record>)>>,
    bytes: u64,
    /// Only the wanted shard's records are here: all of them are too many for memory.
    is_partial: bool,
}

impl LogContents {
    fn add(&mut self, log: Uuid, bucket: u64, records: Vec<Record>, wanted: Shard, bytes_max: u64) {
        let mut newest: BTreeMap<Shard, Seq> = BTreeMap::new();
        for record in records {
            newest.insert(record.shard, record.last_seq());
            let bytes = u64::try_from(record.body.len()).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(bytes);
            if self.bytes > bytes_max && !self.is_partial {
                self.is_partial = true;
                self.records.retain(|shard, _| *shard == wanted);
            }
            if self.is_partial && record.shard != wanted {
                continue;
            }
            let of_shard = self.records.entry(record.shard).or_default();
            match of_shard.last_mut() {
                Some((last, some)) if *last == bucket => some.push(record),
                _ => of_shard.push((bucket, vec![record])),
            }
        }
        self.buckets.push(FullBucket { log, bucket, newest });
    }

    /// The records of a shard.
    pub(super) fn of_shard(&self, shard: Shard) -> impl Iterator<Item = (u64, &Vec<Record>)> {
        self.records.get(&shard).into_iter().flatten().map(|(bucket, records)| (*bucket, records))
    }
}

/// The closed logs that were read lately.
#[derive(Debug, Default)]
pub(super) struct ReadLogs {
    kept: Mutex<Vec<(Uuid, Instant, Arc<LogContents>)>>,
    turns: Mutex<BTreeMap<Uuid, Arc<tokio::sync::Mutex<()>>>>,
}

impl ReadLogs {
    fn lock(&self) -> MutexGuard<'_, Vec<(Uuid, Instant, Arc<LogContents>)>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, read_at, _)| doorbuster_clock::since(*read_at) < READ_LOGS_KEPT);
        kept
    }

    /// What a log held, if it was read lately.
    pub(super) fn get(&self, log: Uuid) -> Option<Arc<LogContents>> {
        self.lock().iter().find(|(name, _, _)| *name == log).map(|(_, _, contents)| Arc::clone(contents))
    }

    /// Keeps what a closed log held, within `bytes_max` for all.
    fn keep(&self, log: Uuid, contents: &Arc<LogContents>, bytes_max: u64) {
        let mut kept = self.lock();
        kept.push((log, monotonic(), Arc::clone(contents)));
        let bytes = |kept: &[(Uuid, Instant, Arc<LogContents>)]| {
            kept.iter().map(|(_, _, contents)| contents.bytes).fold(0, u64::saturating_add)
        };
        while bytes(&kept) > bytes_max {
            kept.remove(0);
        }
    }

    /// One claim of this process at a time reads a log; the others find what it held.
    pub(super) fn turn(&self, log: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|name, turn| *name == log || Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(log).or_default())
    }
}

impl Cql {
    /// The fence and the records of a bucket, read serially.
    pub(super) async fn read_bucket(&self, log: Uuid, bucket: u64) -> Result<(Fence, Vec<Record>), ReadError> {
        let key = (log, bucket_key(bucket));
        let rows = self.all::<(Option<i64>, Option<String>, Option<Vec<u8>>)>(&self.statements.rows, key).await?;
        let (mut fence, mut records, mut before) = (Fence::Never, Vec::new(), None);
        for (position, word, payload) in rows {
            fence = Fence::of(word.as_deref())?;
            // A bucket without rows shows its fence alone.
            let Some(position) = position else { continue };
            let at = RowPosition { log, bucket, position: number("a position", position)? };
            if before.is_some_and(|before: u64| at.position != before.saturating_add(1)) {
                return Err(ReadError::Corrupt(format!("{at}: the row before it is missing")));
            }
            before = Some(at.position);
            let payload = payload.ok_or_else(|| ReadError::Corrupt(format!("{at} is not whole")))?;
            records.extend(payload::read(at, payload)?);
        }
        Ok((fence, records))
    }

    /// Reads one more bucket of a log into `contents`; gives its fence.
    pub(super) async fn read_next_bucket(
        &self,
        log: Uuid,
        bucket: u64,
        wanted: Shard,
        contents: &mut LogContents,
    ) -> Result<Fence, ReadError> {
        let (fence, records) = self.read_bucket(log, bucket).await?;
        contents.add(log, bucket, records, wanted, self.options.tail_bytes_max);
        Ok(fence)
    }

    /// A closed log was read whole: it is kept for the other shards in it, and deleted once all of it is stored.
    pub(super) fn keep_closed(&self, log: Uuid, contents: LogContents) -> Arc<LogContents> {
        Counts::add(&self.counts.logs_read);
        self.full_buckets.add_log(log, &contents.buckets);
        let contents = Arc::new(contents);
        if !contents.is_partial {
            self.read_logs.keep(log, &contents, self.options.tail_bytes_max);
        }
        contents
    }

    /// The tail of a shard as a reader finds it, whoever owns it: `flushed_upto` and the records behind it.
    pub(super) async fn read_tail(&self, shard: Shard) -> Result<(Seq, Vec<Record>), ReadError> {
        for _ in 0..OVERTAKEN_MAX {
            let before = self.owner(shard).await?;
            let mut rows = Vec::new();
            for log in before.iter().flat_map(|row| &row.logs) {
                let mut bucket = self.first_bucket(*log).await?;
                loop {
                    let (fence, records) = self.read_bucket(*log, bucket).await?;
                    let records: Vec<Record> = records.into_iter().filter(|record| record.shard == shard).collect();
                    if !records.is_empty() {
                        rows.push(TailRow::of((*log, bucket), records));
                    }
                    if fence != Fence::Sealed {
                        break;
                    }
                    bucket = bucket.saturating_add(1);
                }
            }
            // After the rows: what was deleted before it could be read is stored (rule N4).
            let flushed = self.progress(shard).await?;
            match tail_behind(shard, flushed, rows) {
                Ok(rows) => return Ok((flushed, rows.into_iter().filter_map(|row| row.records).flatten().collect())),
                // Records of a log that the row did not name yet are missing.
                Err(_) if self.owner(shard).await?.map(Ownership::epoch) != before.map(Ownership::epoch) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ReadError::Failed(format!("shard {shard} changes hands faster than it can be read")))
    }
}

/// The records behind `flushed` in the order of the shard, which must be dense (rule N4). A shard that came back to a log has records in it from before
/// and after it was in another, so those of one bucket need not follow one another.
pub(super) fn tail_behind(shard: Shard, flushed: Seq, rows: Vec<TailRow>) -> Result<Vec<TailRow>, ReadError> {
    let mut records: Vec<((Uuid, u64), Record)> = Vec::new();
    for row in rows {
        let behind = row.records.into_iter().flatten().filter(|record| record.last_seq() > flushed);
        records.extend(behind.map(|record| (row.at, record)));
    }
    records.sort_by_key(|(_, record)| record.seq);
    let mut end = flushed;
    let mut tail: Vec<((Uuid, u64), Vec<Record>)> = Vec::new();
    for (at, record) in records {
        let next = end.saturating_add(1);
        if record.seq != next {
            return Err(ReadError::Corrupt(format!(
                "the log of shard {shard} misses event {next}: event {} follows, states are stored up to {flushed}",
                record.seq
            )));
        }
        end = record.last_seq();
        match tail.last_mut() {
            Some((last, run)) if *last == at => run.push(record),
            _ => tail.push((at, vec![record])),
        }
    }
    Ok(tail.into_iter().map(|(at, run)| TailRow::of(at, run)).collect())
}
