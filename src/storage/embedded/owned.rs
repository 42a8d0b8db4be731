//! What is known of a shard without reading: its owner, its end, and its newest records.
//!
//! ```text
//! 1 ……… flushed │ ……… in the log only ……… │ tail: in the log and in memory ……… end
//! ```

use crate::storage::journal::{Epoch, Record, Seq};
use std::collections::VecDeque;

/// What a record costs beside its body.
const RECORD_BYTES: u64 = 96;

/// Room for so many records is kept from one checkpoint to the next: a list that grows anew moves all it has, again and again, into memory that
/// was never touched.
const SPARE_RECORDS_MAX: usize = 128 * 1024;

/// One shard.
#[derive(Debug, Default)]
pub(super) struct Owned {
    pub(super) epoch: Epoch,
    pub(super) end: Seq,
    pub(super) flushed: Seq,
    /// Without a gap up to `end`; what came before is read from the log.
    tail: VecDeque<Record>,
    tail_bytes: u64,
    /// Empty: the room of an earlier tail.
    spare: VecDeque<Record>,
}

impl Owned {
    pub(super) fn appended(&mut self, record: &Record) {
        self.end = record.last_seq();
        self.tail_bytes = self.tail_bytes.saturating_add(size(record));
        self.tail.push_back(record.clone());
    }

    pub(super) const fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// Gives the memory back; the log still has it.
    pub(super) fn forget_tail(&mut self) {
        self.tail = VecDeque::new();
        self.tail_bytes = 0;
    }

    /// The records behind `flushed`, when all of them are in memory.
    pub(super) fn unflushed(&self) -> Option<Vec<Record>> {
        let first = self.tail.front().map_or(self.end.saturating_add(1), |record| record.seq);
        let whole = first <= self.flushed.saturating_add(1);
        whole.then(|| self.tail.iter().skip_while(|record| record.seq <= self.flushed).cloned().collect())
    }

    /// The first `limit` records whose last event is at or after `from`, when they are in memory.
    pub(super) fn page(&self, from: Seq, limit: usize) -> Option<Vec<Record>> {
        let first = self.tail.front().map_or(self.end.saturating_add(1), |record| record.seq);
        let behind = self.tail.partition_point(|record| record.last_seq() < from);
        (first <= from.max(1)).then(|| self.tail.iter().skip(behind).take(limit).cloned().collect())
    }

    /// Takes the tail out, so that a checkpoint can walk over it while appends go on; [`Owned::put_back`] gives the rest back.
    pub(super) fn take_tail(&mut self) -> VecDeque<Record> {
        self.tail_bytes = 0;
        let spare = std::mem::take(&mut self.spare);
        std::mem::replace(&mut self.tail, spare)
    }

    /// Gives back the room of what [`Owned::take_tail`] gave.
    pub(super) fn reuse(&mut self, mut room: VecDeque<Record>) {
        room.clear();
        room.shrink_to(SPARE_RECORDS_MAX);
        self.spare = room;
    }

    /// Puts records back before those that came meanwhile; if there is a gap between the two, the older go.
    pub(super) fn put_back(&mut self, taken: VecDeque<Record>) {
        let next = self.tail.front().map_or(self.end.saturating_add(1), |record| record.seq);
        if taken.back().is_some_and(|record| record.last_seq().saturating_add(1) == next) {
            self.tail_bytes = taken.iter().map(size).fold(self.tail_bytes, u64::saturating_add);
            taken.into_iter().rev().for_each(|record| self.tail.push_front(record));
        }
    }
}

fn size(record: &Record) -> u64 {
    u64::try_from(record.body.len()).unwrap_or(u64::MAX).saturating_add(RECORD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::journal::Shard;
    use bytes::Bytes;

    fn record(seq: Seq) -> Record {
        Record { shard: Shard(0), epoch: 1, seq, events: 1, body: Bytes::from_static(b"x") }
    }

    fn seqs(owned: &Owned) -> Option<Vec<Seq>> {
        Some(owned.unflushed()?.iter().map(|record| record.seq).collect())
    }

    #[test]
    fn what_a_checkpoint_did_not_move_stands_before_what_came_meanwhile() {
        let mut owned = Owned::default();
        (1..=3).for_each(|seq| owned.appended(&record(seq)));
        let mut taken = owned.take_tail();
        owned.appended(&record(4));
        assert_eq!(seqs(&owned), None, "the tail has a gap while it is taken out");
        taken.pop_front();
        owned.flushed = 1;
        owned.put_back(taken);
        assert_eq!(seqs(&owned), Some(vec![2, 3, 4]));
        assert_eq!(owned.tail_bytes(), 3 * (RECORD_BYTES + 1));
    }

    #[test]
    fn the_room_of_a_tail_that_was_stored_serves_again_and_holds_nothing_of_it() {
        let mut owned = Owned::default();
        (1..=100).for_each(|seq| owned.appended(&record(seq)));
        let taken = owned.take_tail();
        let room = taken.capacity();
        owned.flushed = 100;
        owned.reuse(taken);
        assert!(owned.take_tail().is_empty());
        assert!(owned.tail.capacity() >= room);
        assert_eq!(seqs(&owned), Some(vec![]));
        owned.reuse(VecDeque::with_capacity(2 * SPARE_RECORDS_MAX));
        assert!(owned.spare.capacity() <= SPARE_RECORDS_MAX, "bounded");
    }

    #[test]
    fn a_page_begins_anywhere_in_the_tail_and_never_before_it() {
        let mut owned = Owned::default();
        (1..=5).for_each(|seq| owned.appended(&record(seq)));
        let page = |owned: &Owned, from, limit| {
            let page = owned.page(from, limit)?;
            Some(page.iter().map(|record| record.seq).collect::<Vec<_>>())
        };
        assert_eq!(page(&owned, 0, 2), Some(vec![1, 2]));
        assert_eq!(page(&owned, 4, 9), Some(vec![4, 5]));
        assert_eq!(page(&owned, 6, 9), Some(vec![]), "nothing behind the end");
        owned.tail.pop_front();
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
