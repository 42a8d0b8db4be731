//! The database as one log a node sees it: the tables of two shards, and each CQL statement as one atomic step on them.

use super::rules::{Rule, Size};
use super::world::{Broken, World};

pub(crate) const SHARDS: usize = 2;
pub(crate) const LOGS: usize = 3;
pub(crate) const POSITIONS: usize = 4;
pub(crate) const BUCKETS: usize = 5;
/// Seqs 1 to 3; place 0 stays empty.
pub(crate) const SEQS: usize = 4;

/// One thing per seq.
pub(crate) type PerSeq = [u8; SEQS];

/// Who wrote an event and what it is: `epoch * 2 + reserve`; 0 is none.
pub(crate) fn event(epoch: u8, reserve: bool) -> u8 {
    epoch * 2 + u8::from(reserve)
}

/// Does this event promise the one unit?
pub(crate) fn reserves(event: u8) -> bool {
    event & 1 == 1
}

/// The ownership that wrote it.
pub(crate) fn epoch_of(event: u8) -> u8 {
    event / 2
}

/// `node_log.fence`, static per bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Fence {
    /// Null: no row was ever written here.
    #[default]
    Never,
    /// The log's process appends here.
    Open,
    /// It is full, and the log goes on in the next.
    Sealed,
    /// The log ends here, by whoever closed it.
    Closed,
}

/// An event of one shard in a row; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Record {
    pub(crate) seq: u8,
    pub(crate) event: u8,
}

/// A row of a log: a batch, with an event of one shard or of both.
pub(crate) type Row = [Record; SHARDS];
pub(crate) const NO_ROW: Row = [Record { seq: 0, event: 0 }; SHARDS];

/// `shard_owner`: changed by compare-and-set on the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Ownership {
    pub(crate) epoch: u8,
    /// The log that it appends to.
    pub(crate) log: u8,
    /// It appends no more.
    pub(crate) released: bool,
    /// The set of logs that may hold events behind `flushed_upto`.
    pub(crate) logs: u8,
}

/// The stored state of a shard: the events it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct State {
    pub(crate) seq: u8,
    pub(crate) events: PerSeq,
}

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Store {
    pub(crate) owners: [Ownership; SHARDS],
    pub(crate) fences: [[Fence; BUCKETS]; LOGS],
    pub(crate) rows: [[Row; POSITIONS]; LOGS],
    pub(crate) states: [State; SHARDS],
    pub(crate) flushed: [u8; SHARDS],
}

impl Store {
    pub(crate) fn fence(&self, log: u8, bucket: u8) -> Fence {
        self.fences[usize::from(log)][usize::from(bucket)]
    }

    /// The event of a shard at a seq, wherever one of these logs has it.
    pub(crate) fn in_logs(&self, logs: u8, shard: usize, seq: u8) -> u8 {
        let of = |log: usize| self.rows[log].iter().map(move |row| row[shard]);
        let records = (0..LOGS).filter(|log| logs >> log & 1 == 1).flat_map(of);
        records.filter(|record| record.seq == seq).map(|record| record.event).next().unwrap_or(0)
    }

    /// Does `flushed_upto` cover what a bucket holds: of each shard, or of one?
    pub(crate) fn is_stored(&self, size: &Size, log: u8, bucket: u8, of_each: bool) -> bool {
        let rows = (0..size.positions).filter(|position| size.bucket_of(*position) == bucket);
        let mut records = rows.flat_map(|position| {
            let row = self.rows[usize::from(log)][usize::from(position)];
            row.into_iter().zip(self.flushed).filter(|(record, _)| record.seq > 0)
        });
        let covered = |(record, flushed): (Record, u8)| record.seq <= flushed;
        if of_each { records.all(covered) } else { records.any(covered) }
    }

    pub(crate) fn has_rows(&self, size: &Size, log: u8, bucket: u8) -> bool {
        (0..size.positions)
            .any(|at| size.bucket_of(at) == bucket && self.rows[usize::from(log)][usize::from(at)] != NO_ROW)
    }
}

/// A statement that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Statement {
    #[default]
    None,
    /// `UPDATE node_log SET … WHERE log = ? AND bucket = ? AND position = ? IF batch_id = null AND fence = 'open'`
    Append { log: u8, position: u8, row: Row },
    /// `UPDATE node_log SET fence = ? WHERE log = ? AND bucket = ? IF fence = ?`
    Fence { log: u8, bucket: u8, from: Fence, to: Fence, by_compare: bool },
    /// `UPDATE shard_owner SET … WHERE shard = ? IF epoch = ?`
    Own { shard: u8, found: u8, to: Ownership },
    /// `UPDATE shard_owner SET released = true, logs = ? WHERE shard = ? IF epoch = ?`; `is_stored`: no log holds events behind `flushed_upto`.
    Release { shard: u8, epoch: u8, is_stored: bool },
    /// The state of a shard, `USING TIMESTAMP base + seq`.
    State { shard: u8, state: State },
    /// `flushed_upto`, likewise.
    Flushed { shard: u8, seq: u8 },
}

impl World {
    /// One statement, at once and whole. Was it applied?
    pub(crate) fn execute(&mut self, size: &Size, without: &[Rule], statement: Statement) -> bool {
        let store = &mut self.store;
        match statement {
            Statement::None => false,
            Statement::Append { log, position, row } => {
                let open = store.fence(log, size.bucket_of(position)) == Fence::Open;
                let at = &mut store.rows[usize::from(log)][usize::from(position)];
                if *at != NO_ROW || (!open && !without.contains(&Rule::Fence)) {
                    return false;
                }
                *at = row;
                for (shard, record) in row.into_iter().enumerate().filter(|(_, record)| record.seq > 0) {
                    self.ghost.appended(shard, record);
                }
                true
            }
            Statement::Fence { log, bucket, from, to, by_compare } => {
                let fence = &mut store.fences[usize::from(log)][usize::from(bucket)];
                let applied = *fence == from || !by_compare;
                if applied {
                    *fence = to;
                }
                applied
            }
            Statement::Own { shard, found, to } => {
                let row = &mut store.owners[usize::from(shard)];
                if row.epoch != found && !without.contains(&Rule::OwnByCompare) {
                    return false;
                }
                if to.epoch <= row.epoch {
                    self.ghost.broken |= Broken::EPOCH_FELL;
                }
                *row = to;
                true
            }
            Statement::Release { shard, epoch, is_stored } => {
                let row = &mut store.owners[usize::from(shard)];
                let counts = row.epoch == epoch || without.contains(&Rule::ReleaseByEpoch);
                row.released |= counts;
                if counts && is_stored {
                    row.logs = 0;
                }
                counts
            }
            Statement::State { shard, state } => {
                let stored = &mut store.states[usize::from(shard)];
                let newer = state.seq >= stored.seq;
                if newer {
                    *stored = state;
                }
                newer
            }
            Statement::Flushed { shard, seq } => {
                let stored = &mut store.flushed[usize::from(shard)];
                let newer = seq >= *stored;
                *stored = seq.max(*stored);
                newer
            }
        }
    }
}
