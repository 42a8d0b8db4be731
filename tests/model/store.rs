//! The database as the protocol sees it: the tables of one shard, and each CQL statement as one atomic step on them.
//!
//! Lightweight transactions and SERIAL reads are linearizable; a write at QUORUM that was answered is seen by every read at
//! QUORUM after it. A statement whose answer was lost is kept aside and may land at any later time, or never.

use crate::rules::{Rule, Size};
use crate::world::{Broken, Ghost, World};

/// Seqs 1 to 7; place 0 stays empty.
pub(crate) const SEQS: usize = 8;
pub(crate) const BUCKETS: usize = 5;

/// One thing per seq.
pub(crate) type PerSeq = [u8; SEQS];

/// Who wrote an event and what it is: `epoch * 4 + attempt * 2 + reserve`; 0 is none. With its seq it is the batch id.
pub(crate) fn event(epoch: u8, attempt: u8, reserve: bool) -> u8 {
    epoch * 4 + attempt * 2 + u8::from(reserve)
}

/// Does this event promise the one unit?
pub(crate) fn reserves(event: u8) -> bool {
    event & 1 == 1
}

/// Is it the second attempt at one decision? Only without [`Rule::SameBatch`].
pub(crate) fn is_second_attempt(event: u8) -> bool {
    event & 2 == 2
}

/// The ownership that wrote it.
pub(crate) fn epoch_of(event: u8) -> u8 {
    event / 4
}

/// A row of an entity's stored state: what it covers, with which write timestamp, and the events it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct StateRow {
    pub(crate) seq: u8,
    pub(crate) timestamp: u8,
    pub(crate) events: PerSeq,
}

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Store {
    /// `shard_owner.epoch`.
    pub(crate) epoch: u8,
    /// `shard_log.fence`, static per bucket; 0 is null.
    pub(crate) fence: [u8; BUCKETS],
    /// `shard_log.batch_id` of the row that begins at a seq; 0 is null.
    pub(crate) rows: PerSeq,
    /// `shard_log.events` of it.
    pub(crate) lengths: PerSeq,
    /// Reservations live in a chunk row of their own (S4) …
    pub(crate) chunk: StateRow,
    /// … everything else in the entity's head row.
    pub(crate) head: StateRow,
    /// `flushed_upto` and the timestamp it was written with.
    pub(crate) flushed: (u8, u8),
}

impl Store {
    /// The batch whose row covers a seq.
    pub(crate) fn covering(&self, seq: u8) -> u8 {
        let at = usize::from(seq);
        if self.rows[at] != 0 {
            self.rows[at]
        } else if at > 0 && self.lengths[at - 1] > 1 {
            self.rows[at - 1]
        } else {
            0
        }
    }

    /// Has a bucket any rows?
    pub(crate) fn has_rows(&self, size: &Size, bucket: u8) -> bool {
        (1..=size.seqs).any(|seq| size.bucket_of(seq) == bucket && self.rows[usize::from(seq)] != 0)
    }
}

/// A statement that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Statement {
    #[default]
    None,
    /// `UPDATE shard_log SET … WHERE seq = ? IF batch_id = null AND fence = ?`
    Append { epoch: u8, seq: u8, event: u8, length: u8 },
    /// `UPDATE shard_log SET fence = ? WHERE bucket = ? IF fence = ?`
    Fence { epoch: u8, bucket: u8, found: u8 },
    /// A chunk row of the entity's state, `USING TIMESTAMP base + seq`.
    Chunk(StateRow),
    /// Its head row, likewise.
    Head(StateRow),
    /// `flushed_upto`, likewise.
    Flushed { seq: u8, timestamp: u8 },
    /// `DELETE FROM shard_log WHERE bucket = ? AND seq <= ?`
    Truncate { bucket: u8, upto: u8 },
}

impl World {
    /// One statement, at once and whole. Was it applied?
    pub(crate) fn execute(&mut self, size: &Size, without: &[Rule], statement: Statement) -> bool {
        let store = &mut self.store;
        match statement {
            Statement::None => false,
            Statement::Append { epoch, seq, event, length } => {
                let fenced = store.fence[usize::from(size.bucket_of(seq))] != epoch;
                if store.rows[usize::from(seq)] != 0 || (fenced && !without.contains(&Rule::Fence)) {
                    return false;
                }
                store.rows[usize::from(seq)] = event;
                store.lengths[usize::from(seq)] = length;
                self.ghost.appended(seq, event, length);
                true
            }
            Statement::Fence { epoch, bucket, found } => {
                let fence = &mut store.fence[usize::from(bucket)];
                if *fence != found && !without.contains(&Rule::UpwardsOnly) {
                    return false;
                }
                if *fence > epoch {
                    self.ghost.broken |= Broken::FENCE_FELL;
                }
                *fence = epoch;
                true
            }
            Statement::Chunk(row) => overwrite(&mut store.chunk, row),
            Statement::Head(row) => overwrite(&mut store.head, row),
            Statement::Flushed { seq, timestamp } => {
                if timestamp < store.flushed.1 {
                    return false;
                }
                if seq < store.flushed.0 {
                    self.ghost.broken |= Broken::FLUSHED_FELL;
                }
                store.flushed = (seq, timestamp);
                true
            }
            Statement::Truncate { bucket, upto } => {
                for seq in (1..=upto).filter(|seq| size.bucket_of(*seq) == bucket) {
                    store.rows[usize::from(seq)] = 0;
                    store.lengths[usize::from(seq)] = 0;
                }
                if without.contains(&Rule::KeepFences) && size.last_of(bucket) <= upto {
                    store.fence[usize::from(bucket)] = 0;
                }
                true
            }
        }
    }
}

/// The newer timestamp wins (S3); with the same one the content is the same.
fn overwrite(row: &mut StateRow, by: StateRow) -> bool {
    let newer = by.timestamp >= row.timestamp;
    if newer {
        *row = by;
    }
    newer
}

impl Ghost {
    /// Remembers what the log has ever held.
    fn appended(&mut self, seq: u8, event: u8, length: u8) {
        for at in usize::from(seq)..usize::from(seq + length) {
            if self.durable[at - 1] == 0 && at > 1 {
                self.broken |= Broken::HOLE;
            }
            if self.durable[at] != 0 && self.durable[at] != event {
                self.broken |= Broken::REWRITTEN;
            }
            if is_second_attempt(event) && self.durable[at - 1] == event - 2 {
                self.broken |= Broken::TWICE;
            }
            if self.durable.iter().take(at).any(|earlier| epoch_of(*earlier) > epoch_of(event))
                || self.durable.iter().skip(at + 1).any(|later| *later != 0 && epoch_of(*later) < epoch_of(event))
            {
                self.broken |= Broken::EPOCH_FELL;
            }
            if self.durable[at] == 0 {
                self.durable[at] = event;
            }
        }
    }
}
