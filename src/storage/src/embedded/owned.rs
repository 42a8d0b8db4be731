//! The state of a shard in memory: its owner, its end, and its newest records.
//!
//! ```text
//! 1 ……… flushed │ ……… in the log only ……… │ tail: in the log and in memory ……… end
//! ```

use super::tail::Tail;
use crate::journal::{Epoch, ReadError, Record, Seq, Shard};

/// What is known of one shard.
#[derive(Debug, Default)]
pub(super) struct Owned {
    pub(super) epoch: Epoch,
    pub(super) end: Seq,
    pub(super) flushed: Seq,
    /// Its newest records, without a gap up to `end`; earlier ones are read from the log.
    tail: Tail,
}

impl Owned {
    pub(super) fn appended(&mut self, record: &Record) {
        self.end = record.last_seq();
        self.tail.push(record);
    }

    pub(super) const fn tail_bytes(&self) -> u64 {
        self.tail.bytes()
    }

    /// Drops the records in memory; the log still has them.
    pub(super) fn forget_tail(&mut self) {
        self.tail = Tail::default();
    }

    /// The records whose last event is at or after `from`, if they are in memory. Records that a checkpoint has stored are read from the store even if
    /// some are still in memory, because they may have been erased there.
    pub(super) fn records_from(
        &self,
        shard: Shard,
        from: Seq,
    ) -> Option<impl Iterator<Item = Result<Record, ReadError>> + Send + use<>> {
        let first = self.tail.first().unwrap_or(self.end.saturating_add(1));
        (first.max(self.flushed.saturating_add(1)) <= from.max(1)).then(|| self.tail.records_from(shard, from))
    }

    /// The records after `flushed`, if all of them are in memory.
    pub(super) fn unflushed(
        &self,
        shard: Shard,
    ) -> Option<impl Iterator<Item = Result<Record, ReadError>> + Send + use<>> {
        self.records_from(shard, self.flushed.saturating_add(1))
    }

    /// Takes the tail out, so that a checkpoint can read it while appends go on; [`Owned::put_back`] returns what is left.
    pub(super) fn take_tail(&mut self) -> Tail {
        self.tail.take()
    }

    /// Puts records back before newer ones; if there is a gap between the two, the older are dropped.
    pub(super) fn put_back(&mut self, taken: Tail) {
        self.tail.put_before(taken, self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const SHARD: Shard = Shard(0);

    /// A piece holds two.
    fn record(seq: Seq) -> Record {
        Record { shard: SHARD, epoch: 1, seq, events: 1, body: Bytes::from(vec![b'x'; 30_000]) }
    }

    fn seqs(owned: &Owned) -> Option<Vec<Seq>> {
        Some(owned.unflushed(SHARD)?.map(|record| record.unwrap().seq).collect())
    }

    #[test]
    fn what_a_checkpoint_did_not_move_stands_before_what_came_meanwhile() {
        let mut owned = Owned::default();
        (1..=5).for_each(|seq| owned.appended(&record(seq)));
        let one = owned.tail_bytes() / 5;
        let mut taken = owned.take_tail();
        owned.appended(&record(6));
        assert_eq!(seqs(&owned), None, "the tail has a gap while it is taken out");
        taken.forget_upto(3);
        owned.flushed = 3;
        owned.put_back(taken);
        assert_eq!(seqs(&owned), Some(vec![4, 5, 6]), "without 3, whose piece is still there");
        assert_eq!(owned.tail_bytes(), 4 * one);
        assert!(owned.records_from(SHARD, 3).is_none(), "3 may have been erased since");
    }

    #[test]
    fn a_page_begins_anywhere_in_the_tail_and_never_before_it() {
        let mut owned = Owned::default();
        (1..=5).for_each(|seq| owned.appended(&record(seq)));
        let page = |owned: &Owned, from, limit| {
            Some(owned.records_from(SHARD, from)?.take(limit).map(|record| record.unwrap().seq).collect::<Vec<_>>())
        };
        assert_eq!(page(&owned, 0, 2), Some(vec![1, 2]));
        assert_eq!(page(&owned, 4, 9), Some(vec![4, 5]));
        assert_eq!(page(&owned, 6, 9), Some(vec![]), "nothing behind the end");
        owned.tail.forget_upto(2);
        assert_eq!(page(&owned, 1, 9), None, "the first has gone: the store is to be asked");
        owned.forget_tail();
        assert_eq!((page(&owned, 5, 9), page(&owned, 6, 9)), (None, Some(vec![])));
    }

    #[test]
    fn a_tail_that_lost_its_middle_is_not_taken_for_whole() {
        let mut owned = Owned::default();
        (1..=2).for_each(|seq| owned.appended(&record(seq)));
        let taken = owned.take_tail();
        owned.appended(&record(3));
        owned.forget_tail();
        owned.appended(&record(4));
        owned.put_back(taken);
        assert_eq!(seqs(&owned), None);
        owned.flushed = 3;
        assert_eq!(seqs(&owned), Some(vec![4]));
    }
}
