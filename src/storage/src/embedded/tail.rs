//! The newest records of a shard in memory, packed into pieces.
//!
//! ```text
//! closed: record record record …   record record record …        open: record record … (room)
//! record: events u32 │ length u32 │ body
//! ```
//!
//! Numbers are little-endian. Seqs have no gap, so a piece stores only the seq of its first record; all its records have one epoch. Separate records
//! would cost half as much again for a list entry and two allocations, in memory not touched before. A piece that a checkpoint has stored is
//! reused.

use super::tables::corrupt;
use crate::journal::{Epoch, ReadError, Record, Seq, Shard};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

/// The length of a piece in bytes, unless one record is longer.
const PIECE_BYTES: usize = 64 * 1024;

/// The number of empty pieces kept from one checkpoint to the next.
const SPARE_PIECES_MAX: usize = 32;

/// The bytes of a record beside its body.
const HEAD_BYTES: usize = 8;

/// Some records of a shard and an epoch, without a gap.
#[derive(Debug, Clone)]
struct Piece<B> {
    epoch: Epoch,
    first: Seq,
    last: Seq,
    records: B,
}

impl Piece<BytesMut> {
    const fn with(&self, records: Bytes) -> Piece<Bytes> {
        Piece { epoch: self.epoch, first: self.first, last: self.last, records }
    }
}

impl Piece<Bytes> {
    /// Removes and returns the first record.
    fn take_first(&mut self, shard: Shard) -> Result<Record, ReadError> {
        let damaged = || corrupt("the records in memory");
        let events = self.records.try_get_u32_le().map_err(|_short| damaged())?;
        let length = self.records.try_get_u32_le().map_err(|_short| damaged())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.records.len() {
            return Err(damaged());
        }
        let seq = self.first;
        self.first = seq.saturating_add(u64::from(events));
        Ok(Record { shard, epoch: self.epoch, seq, events, body: self.records.split_to(length) })
    }
}

/// Records of one shard, without a gap.
#[derive(Debug, Default)]
pub(super) struct Tail {
    closed: VecDeque<Piece<Bytes>>,
    open: Option<Piece<BytesMut>>,
    bytes: u64,
    /// Empty pieces, kept for their memory.
    spare: Vec<BytesMut>,
}

impl Tail {
    /// The number of its first event.
    pub(super) fn first(&self) -> Option<Seq> {
        let open = self.open.as_ref().map(|piece| piece.first);
        self.closed.front().map(|piece| piece.first).or(open)
    }

    /// The number of its last event.
    pub(super) fn last(&self) -> Option<Seq> {
        let closed = self.closed.back().map(|piece| piece.last);
        self.open.as_ref().map(|piece| piece.last).or(closed)
    }

    /// The bytes of its records.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a record, which must follow the last.
    pub(super) fn push(&mut self, record: &Record) {
        let bytes = record.body.len().saturating_add(HEAD_BYTES);
        let fits = |open: &Piece<BytesMut>| {
            let follows = open.epoch == record.epoch && open.last.saturating_add(1) == record.seq;
            follows && open.records.capacity().saturating_sub(open.records.len()) >= bytes
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.close();
        }
        let spare = &mut self.spare;
        let open = self.open.get_or_insert_with(|| {
            let records = spare.pop().filter(|piece| piece.capacity() >= bytes);
            let records = records.unwrap_or_else(|| BytesMut::with_capacity(PIECE_BYTES.max(bytes)));
            Piece { epoch: record.epoch, first: record.seq, last: record.seq, records }
        });
        open.last = record.last_seq();
        open.records.put_u32_le(record.events);
        open.records.put_u32_le(u32::try_from(record.body.len()).unwrap_or(u32::MAX));
        open.records.put_slice(&record.body);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// A snapshot of the records whose last event is at or after `from`.
    pub(super) fn records_from(
        &self,
        shard: Shard,
        from: Seq,
    ) -> impl Iterator<Item = Result<Record, ReadError>> + Send + use<> {
        let begin = self.closed.partition_point(|piece| piece.last < from);
        let closed = self.closed.range(begin..).cloned();
        let open = self.open.as_ref().map(|piece| piece.with(Bytes::copy_from_slice(&piece.records)));
        let mut pieces = closed.chain(open).collect::<VecDeque<_>>();
        let records = std::iter::from_fn(move || {
            while pieces.front().is_some_and(|piece| piece.records.is_empty()) {
                pieces.pop_front();
            }
            let record = pieces.front_mut()?.take_first(shard);
            if record.is_err() {
                pieces.clear();
            }
            Some(record)
        });
        records.skip_while(move |record| record.as_ref().is_ok_and(|record| record.last_seq() < from))
    }

    /// Whether this is the last event of a record.
    pub(super) fn has_end(&self, shard: Shard, seq: Seq) -> bool {
        let record = self.records_from(shard, seq).next();
        record.is_some_and(|record| record.is_ok_and(|record| record.last_seq() == seq))
    }

    /// Removes and returns everything.
    pub(super) fn take(&mut self) -> Self {
        let spare = std::mem::take(&mut self.spare);
        std::mem::replace(self, Self { spare, ..Self::default() })
    }

    /// Drops pieces whose events all are at or before `upto`.
    pub(super) fn forget_upto(&mut self, upto: Seq) {
        self.close();
        while self.closed.front().is_some_and(|piece| piece.last <= upto)
            && let Some(piece) = self.closed.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(u64::try_from(piece.records.len()).unwrap_or(u64::MAX));
            // Not while a snapshot still reads it.
            if let Ok(mut records) = piece.records.try_into_mut() {
                records.clear();
                self.keep(records);
            }
        }
    }

    /// Puts older records before these; if there is a gap between the two, the older are dropped.
    pub(super) fn put_before(&mut self, mut earlier: Self, end: Seq) {
        earlier.close();
        std::mem::take(&mut earlier.spare).into_iter().for_each(|piece| self.keep(piece));
        let next = self.first().unwrap_or(end.saturating_add(1));
        if earlier.last().is_some_and(|last| last.saturating_add(1) == next) {
            self.bytes = self.bytes.saturating_add(earlier.bytes);
            earlier.closed.append(&mut self.closed);
            self.closed = earlier.closed;
        }
    }

    fn keep(&mut self, piece: BytesMut) {
        if self.spare.len() < SPARE_PIECES_MAX && piece.capacity() == PIECE_BYTES {
            self.spare.push(piece);
        }
    }

    fn close(&mut self) {
        if let Some(mut open) = self.open.take() {
            let records = std::mem::take(&mut open.records).freeze();
            self.closed.push_back(open.with(records));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: Shard = Shard(3);

    /// Each under an epoch of its own with some of its neighbours.
    fn record(seq: Seq, events: u32, bytes: usize) -> Record {
        let body = vec![u8::try_from(seq % 251).unwrap(); bytes];
        Record { shard: SHARD, epoch: seq / 5, seq, events, body: Bytes::from(body) }
    }

    fn all(tail: &Tail, from: Seq) -> Vec<Record> {
        tail.records_from(SHARD, from).map(Result::unwrap).collect()
    }

    #[test]
    fn records_come_back_as_they_went_in_from_wherever_one_begins() {
        let mut tail = Tail::default();
        let mut records = Vec::new();
        let mut seq = 1;
        // Pieces are filled, one record is longer than a piece, one is empty.
        for bytes in [0, 10, 40_000, 40_000, 3 * PIECE_BYTES, 1, 30_000, 30_000, 30_000] {
            records.push(record(seq, 2, bytes));
            tail.push(&record(seq, 2, bytes));
            seq += 2;
        }
        assert!(tail.closed.len() > 3 && tail.open.is_some());
        assert_eq!((tail.first(), tail.last()), (Some(1), Some(seq - 1)));
        for from in 0..=seq {
            let expected: Vec<_> = records.iter().filter(|record| record.last_seq() >= from).cloned().collect();
            assert_eq!(all(&tail, from), expected, "from {from}");
            assert_eq!(tail.has_end(SHARD, from), from > 0 && from < seq && from % 2 == 0, "{from}");
        }
    }

    #[test]
    fn what_is_being_read_stays_as_it_was() {
        let mut tail = Tail::default();
        (1..=3).for_each(|seq| tail.push(&record(seq, 1, 40_000)));
        let reader = tail.records_from(SHARD, 2);
        tail.forget_upto(3);
        (4..=9).for_each(|seq| tail.push(&record(seq, 1, 40_000)));
        let read: Vec<Record> = reader.map(Result::unwrap).collect();
        assert_eq!(read, [record(2, 1, 40_000), record(3, 1, 40_000)]);
    }

    #[test]
    fn a_piece_that_was_let_go_is_filled_again_and_holds_nothing_of_it() {
        let mut tail = Tail::default();
        (1..=200).for_each(|seq| tail.push(&record(seq, 1, 40_000)));
        let mut taken = tail.take();
        taken.forget_upto(200);
        tail.put_before(taken, 200);
        assert_eq!((all(&tail, 0), tail.bytes()), (vec![], 0));
        assert_eq!(tail.spare.len(), SPARE_PIECES_MAX, "bounded");
        let place = tail.spare.last().unwrap().as_ptr();
        tail.push(&record(201, 1, 10));
        assert_eq!(tail.open.as_ref().unwrap().records.as_ptr(), place);
        assert_eq!(all(&tail, 0), [record(201, 1, 10)]);
    }

    #[test]
    fn a_piece_with_a_later_event_stays_whole() {
        let mut tail = Tail::default();
        (1..=4).for_each(|seq| tail.push(&record(seq, 1, 30_000)));
        let bytes = tail.bytes();
        tail.forget_upto(1);
        assert_eq!((tail.first(), tail.bytes()), (Some(1), bytes));
        tail.forget_upto(2);
        assert_eq!((tail.first(), tail.bytes()), (Some(3), bytes / 2));
    }
}
