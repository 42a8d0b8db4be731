//! An owner's knowledge of its shard: which log it appends to, where the shard ends, and its newest records.
//!
//! ```text
//! 1 ……… flushed │ row │ row │ … │ row: end          the shard's part of each row, with its records, or without where memory was short
//! ```

use super::log::OwnLog;
use crate::journal::{AppendError, Epoch, Record, Seq, Shard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// The memory of a record beside its body, in bytes.
const RECORD_BYTES: u64 = 96;

/// The events of one shard in a row of a log, or in a bucket of it as a claim read it, behind the last checkpoint.
#[derive(Debug, Clone)]
pub(super) struct TailRow {
    pub(super) first: Seq,
    pub(super) last: Seq,
    /// The log and the bucket that hold them.
    pub(super) at: (Uuid, u64),
    /// `None`: only the log has them.
    pub(super) records: Option<Vec<Record>>,
}

impl TailRow {
    /// Of records that follow one another.
    pub(super) fn of(at: (Uuid, u64), records: Vec<Record>) -> Self {
        let first = records.first().map_or(0, |record| record.seq);
        let last = records.last().map_or(0, Record::last_seq);
        Self { first, last, at, records: Some(records) }
    }
}

/// Where the records of a page are.
#[derive(Debug)]
pub(super) enum PageAt {
    /// Here.
    Memory(Vec<Record>),
    /// In a bucket of a log.
    Bucket(Uuid, u64),
    /// Before the last checkpoint.
    Stored,
}

/// What is known of one shard.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) epoch: Epoch,
    pub(super) end: Seq,
    pub(super) flushed: Seq,
    /// The log it appends to.
    pub(super) log: Arc<OwnLog>,
    /// The logs its row names.
    pub(super) logs: Vec<Uuid>,
    /// The number of checkpoints begun: of two with the same seq the later counts (see the schema of the agenda).
    pub(super) checkpoints: u64,
    tail: VecDeque<TailRow>,
    tail_bytes: u64,
}

fn size(row: &TailRow) -> u64 {
    let record = |record: &Record| u64::try_from(record.body.len()).unwrap_or(u64::MAX).saturating_add(RECORD_BYTES);
    row.records.iter().flatten().map(record).fold(0, u64::saturating_add)
}

impl Owned {
    pub(super) fn new(epoch: Epoch, flushed: Seq, log: Arc<OwnLog>, logs: Vec<Uuid>, tail: Vec<TailRow>) -> Self {
        let (kept, tail_bytes) = (VecDeque::new(), 0);
        let mut owned = Self { epoch, end: flushed, flushed, log, logs, checkpoints: 0, tail: kept, tail_bytes };
        tail.into_iter().for_each(|row| owned.appended(row));
        owned
    }

    pub(super) fn appended(&mut self, row: TailRow) {
        self.end = row.last;
        self.tail_bytes = self.tail_bytes.saturating_add(size(&row));
        self.tail.push_back(row);
    }

    pub(super) const fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// Drops the records in memory; the log still has them.
    pub(super) fn forget_records(&mut self) {
        self.tail.iter_mut().for_each(|row| row.records = None);
        self.tail_bytes = 0;
    }

    /// The records behind the last checkpoint, if all of them are in memory.
    pub(super) fn records(&self) -> Option<Vec<Record>> {
        self.records_upto(Seq::MAX)
    }

    /// Those up to `upto`, which ends one of them.
    pub(super) fn records_upto(&self, upto: Seq) -> Option<Vec<Record>> {
        let mut records = Vec::new();
        for row in self.tail.iter().take_while(|row| row.first <= upto) {
            let some = row.records.as_ref()?.iter();
            records.extend(some.filter(|record| record.seq > self.flushed && record.last_seq() <= upto).cloned());
        }
        Some(records)
    }

    /// The first `limit` records whose last event is at or after `from`.
    pub(super) fn page(&self, from: Seq, limit: usize) -> PageAt {
        if from <= self.flushed {
            return PageAt::Stored;
        }
        let begin = self.tail.partition_point(|row| row.last < from);
        let mut records = Vec::new();
        for row in self.tail.range(begin..) {
            let Some(some) = &row.records else {
                let (log, bucket) = row.at;
                return if records.is_empty() { PageAt::Bucket(log, bucket) } else { PageAt::Memory(records) };
            };
            records.extend(some.iter().filter(|record| record.last_seq() >= from).cloned());
            if records.len() >= limit {
                records.truncate(limit);
                break;
            }
        }
        PageAt::Memory(records)
    }

    /// Records that a checkpoint is stored.
    pub(super) fn flushed(&mut self, upto: Seq) {
        self.flushed = self.flushed.max(upto);
        while let Some(row) = self.tail.front()
            && row.last <= upto
        {
            self.tail_bytes = self.tail_bytes.saturating_sub(size(row));
            self.tail.pop_front();
        }
    }
}

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

    /// What this process has of a shard in memory, as long as its log is not known to be closed: another may have written the shard since.
    pub(super) fn in_memory<T>(&self, shard: Shard, look: impl FnOnce(&Owned) -> T) -> Option<T> {
        self.lock().get(&shard).filter(|owned| !owned.log.is_lost()).map(look)
    }

    /// The log that a shard appends to.
    pub(super) fn log_of(&self, shard: Shard) -> Option<Arc<OwnLog>> {
        self.lock().get(&shard).map(|owned| Arc::clone(&owned.log))
    }

    /// Keeps the records in memory within `bytes_max`: those of the largest tail go.
    pub(super) fn bound_tails(&self, bytes_max: u64) {
        let mut shards = self.lock();
        let kept: u64 = shards.values().map(Owned::tail_bytes).fold(0, u64::saturating_add);
        if kept > bytes_max
            && let Some(largest) = shards.values_mut().max_by_key(|owned| owned.tail_bytes())
        {
            largest.forget_records();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn row(first: Seq, last: Seq) -> TailRow {
        let record = |seq| Record { shard: Shard(0), epoch: 1, seq, events: 1, body: Bytes::from_static(b"x") };
        TailRow::of((Uuid::nil(), first), (first..=last).map(record).collect())
    }

    fn owned() -> Owned {
        let mut owned = Owned::new(1, 2, Arc::new(OwnLog::new(1)), Vec::new(), Vec::new());
        [(3, 4), (5, 5), (6, 9)].into_iter().for_each(|(first, last)| owned.appended(row(first, last)));
        owned
    }

    fn seqs(records: Option<Vec<Record>>) -> Option<Vec<Seq>> {
        Some(records?.iter().map(|record| record.seq).collect())
    }

    #[test]
    fn what_is_stored_leaves_memory_and_what_was_forgotten_is_not_taken_for_nothing() {
        let mut owned = owned();
        owned.flushed(5);
        assert_eq!(owned.tail_bytes(), 4 * (RECORD_BYTES + 1));
        assert_eq!(seqs(owned.records()), Some(vec![6, 7, 8, 9]));
        owned.forget_records();
        owned.appended(row(10, 10));
        assert_eq!((owned.records(), owned.tail_bytes()), (None, RECORD_BYTES + 1));
        owned.flushed(9);
        assert_eq!(owned.records().unwrap().len(), 1);
    }

    /// A checkpoint may end in the middle of a row: its records are whole all the same.
    #[test]
    fn a_row_that_is_stored_in_part_gives_the_rest_of_its_records() {
        let mut owned = owned();
        assert_eq!(seqs(owned.records_upto(7)), Some(vec![3, 4, 5, 6, 7]));
        owned.flushed(7);
        assert_eq!(seqs(owned.records()), Some(vec![8, 9]));
        assert!(matches!(owned.page(7, 9), PageAt::Stored));
        assert!(matches!(owned.page(8, 1), PageAt::Memory(page) if seqs(Some(page.clone())) == Some(vec![8])));
        owned.forget_records();
        owned.appended(row(10, 10));
        assert!(matches!(owned.page(9, 9), PageAt::Bucket(_, 6)), "the bucket of the row that holds it");
        assert!(matches!(owned.page(10, 9), PageAt::Memory(page) if page.len() == 1));
    }
}
