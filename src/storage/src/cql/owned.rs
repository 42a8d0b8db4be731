//! An owner's knowledge of its shard: where the log ends, which bucket it may write, and its newest records.
//!
//! ```text
//! 1 ……… flushed │ row │ row │ … │ row: end          each row with its records, or without where memory was short
//! ```

use crate::journal::{Epoch, Record, Seq};
use std::collections::VecDeque;

/// The memory of a record beside its body, in bytes.
const RECORD_BYTES: u64 = 96;

/// A row of the log after the last checkpoint.
#[derive(Debug, Clone)]
pub(super) struct TailRow {
    pub(super) first: Seq,
    pub(super) last: Seq,
    /// `None`: only the log has them. A rest row has none at all.
    pub(super) records: Option<Vec<Record>>,
}

/// What is known of one shard.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) epoch: Epoch,
    pub(super) end: Seq,
    pub(super) flushed: Seq,
    /// The seq up to which the log's rows are deleted.
    pub(super) deleted: Seq,
    /// The newest bucket that this owner has fenced.
    pub(super) bucket: u64,
    /// An append is in flight, or its outcome is unknown: nothing more is appended (rules L8, O5).
    pub(super) unsettled: bool,
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
    pub(super) fn new(epoch: Epoch, (flushed, deleted): (Seq, Seq), bucket: u64, rows: Vec<TailRow>) -> Self {
        let end = rows.last().map_or(flushed, |row| row.last);
        Self {
            epoch,
            end,
            flushed,
            deleted,
            bucket,
            unsettled: false,
            checkpoints: 0,
            tail: rows.into(),
            tail_bytes: 0,
        }
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

    /// The last seq of the last row that ends at or before `upto` (rule O1: `flushed_upto` is a row's last seq).
    pub(super) fn row_end(&self, upto: Seq) -> Seq {
        let ended = self.tail.partition_point(|row| row.last <= upto);
        ended.checked_sub(1).and_then(|at| self.tail.get(at)).map_or(self.flushed, |row| row.last)
    }

    /// The rows with events up to `upto`.
    pub(super) fn rows_upto(&self, upto: Seq) -> Vec<TailRow> {
        self.tail.iter().take_while(|row| row.first <= upto).cloned().collect()
    }

    /// The records after the last checkpoint, if all of them are in memory.
    pub(super) fn records(&self) -> Option<Vec<Record>> {
        let mut records = Vec::new();
        for row in &self.tail {
            records.extend(row.records.as_ref()?.iter().cloned());
        }
        Some(records)
    }

    /// The first `limit` records whose last event is at or after `from`, if they and all before them are in memory.
    pub(super) fn page(&self, from: Seq, limit: usize) -> Option<Vec<Record>> {
        if from <= self.flushed {
            return None;
        }
        let begin = self.tail.partition_point(|row| row.last < from);
        // A rest row has no records: they begin in a row before it.
        let mut records = Vec::new();
        for row in self.tail.range(begin..) {
            let some = row.records.as_ref()?;
            if records.is_empty() && some.is_empty() {
                return None;
            }
            records.extend(some.iter().filter(|record| record.last_seq() >= from).cloned());
            if records.len() >= limit {
                records.truncate(limit);
                break;
            }
        }
        Some(records)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shard;
    use bytes::Bytes;

    fn row(first: Seq, last: Seq) -> TailRow {
        let record = |seq| Record { shard: Shard(0), epoch: 1, seq, events: 1, body: Bytes::from_static(b"x") };
        TailRow { first, last, records: Some((first..=last).map(record).collect()) }
    }

    fn owned() -> Owned {
        let mut owned = Owned::new(1, (2, 0), 0, Vec::new());
        [(3, 4), (5, 5), (6, 9)].into_iter().for_each(|(first, last)| owned.appended(row(first, last)));
        owned
    }

    #[test]
    fn a_checkpoint_ends_with_a_row() {
        let owned = owned();
        let ends: Vec<Seq> = (2..=10).map(|upto| owned.row_end(upto)).collect();
        assert_eq!(ends, [2, 2, 4, 5, 5, 5, 5, 9, 9]);
    }

    #[test]
    fn what_is_stored_leaves_memory_and_what_was_forgotten_is_not_taken_for_nothing() {
        let mut owned = owned();
        owned.flushed(5);
        assert_eq!(owned.tail_bytes(), 4 * (RECORD_BYTES + 1));
        assert_eq!(owned.records().unwrap().iter().map(|record| record.seq).collect::<Vec<_>>(), [6, 7, 8, 9]);
        owned.forget_records();
        owned.appended(row(10, 10));
        assert_eq!((owned.records(), owned.tail_bytes()), (None, RECORD_BYTES + 1));
        owned.flushed(9);
        assert_eq!(owned.records().unwrap().len(), 1);
    }
}
