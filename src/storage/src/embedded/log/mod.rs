//! The log of a node: its events in the order of their acknowledgement (rules L1 to L8).
//!
//! ```text
//! kept-1 … kept-7 │ segment-8   segment-9   segment-10 │ spare-1 (zeros)   seal (only after a clean stop)
//!  for audit only │ needed by recovery      ▲ appends  │ prepared in advance
//!
//! segment:  header (every shard's last event before it) │ frame │ frame │ frame │ 0 0 0 0 0 …
//! frame:    head (generation, position, predecessor's CRC, own CRC) │ record │ record │ …
//! ```
//!
//! One append is one frame under one CRC and one `fdatasync`. Frames follow each other without gaps, over zeros that were written and synced
//! before, so a sync moves data only and no file metadata. Assumptions about the disk: a sector of 512 bytes is written whole or not at all, and
//! synced data stays.
//!
//! - `disk`: the interface to the operating system; tests inject faults there.
//! - `frame`, `segment`, `seal`: the three formats on disk. `walk`: reads them with all checks.
//! - `recover`: opens a log. `writer`: appends, rotates, retires, seals. `age`: what ends by time. `prepare`: the next segment. `reader`: replay.

mod age;
mod disk;
mod error;
#[cfg(test)]
pub(crate) mod fault_disk;
mod frame;
mod prepare;
mod reader;
mod recover;
mod seal;
mod segment;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{Damage, LogError, Why};
pub use reader::{Frames, LogReader, Records};
pub use writer::Log;

use crate::journal::{Epoch, Record, Seq, Shard};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A byte's position in the log, counted over all segments ever written. It never falls and is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The sizes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// The length of a new segment, in bytes. Too small: many rotations of about three syncs each. Too large: a long wait for zeros, and disk space is
    /// released in large pieces.
    pub segment_bytes: u64,
    /// The number of empty segments that a thread keeps ready; 0 creates them at the rotation, without a thread.
    pub segments_ahead: usize,
    /// The largest frame, in bytes; a larger append is refused before anything is written. It must fit a segment beside its header.
    pub frame_bytes_max: u64,
    /// The age of a segment's first record, in milliseconds, at which the next segment begins although this one is not full. Too small: many half-empty
    /// segments. Too large: erased personal data stays in the log for longer.
    pub segment_age_max_ms: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            segments_ahead: 1,
            frame_bytes_max: 32 << 20,
            segment_age_max_ms: 24 * 3_600 * 1_000,
        }
    }
}

/// The last event of a shard, and the epoch that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// The event's seq; 0: there is none yet.
    pub seq: Seq,
    /// The epoch; 0: there is none yet.
    pub epoch: Epoch,
}

/// The bytes at the end of an unsealed log that are no frame: the write in flight when the power failed (rule L4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The position at which the whole frames end.
    pub position: Position,
    /// The number of bytes from there to the last one that is not zero.
    pub bytes: u64,
    /// The file with a copy of those bytes; `None`: the log was only read.
    pub copied_to: Option<PathBuf>,
}

/// The result of opening a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The last event of each shard; a shard without events is absent.
    pub ends: BTreeMap<Shard, Tail>,
    /// The last event of each shard before the oldest segment that recovery needs (rule L7); absent: 0.
    pub bases: BTreeMap<Shard, Seq>,
    /// The torn tail that was cut, if any.
    pub torn: Option<TornTail>,
    /// Whether the log was stopped cleanly. The seal stays until the first append (rule L5).
    pub sealed: bool,
    /// The number of frames read.
    pub frames: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// The position of the next frame.
    pub end: Position,
}

impl Recovered {
    /// Rule L7: requires `base ≤ flushed_upto ≤ end` for every shard; otherwise states or log were lost, and [`LogError::Lost`] names the shard.
    pub fn check_flushed(&self, flushed_upto: &BTreeMap<Shard, Seq>) -> Result<(), LogError> {
        let shards: std::collections::BTreeSet<Shard> =
            self.ends.keys().chain(self.bases.keys()).chain(flushed_upto.keys()).copied().collect();
        for shard in shards {
            let base = self.bases.get(&shard).copied().unwrap_or(0);
            let flushed = flushed_upto.get(&shard).copied().unwrap_or(0);
            let end = self.ends.get(&shard).map_or(0, |tail| tail.seq);
            if flushed < base || flushed > end {
                return Err(LogError::Lost { shard, base, flushed, end });
            }
        }
        Ok(())
    }
}

/// A durable append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The log's end after it: everything before is durable.
    pub position: Position,
    /// The length of its frame, in bytes.
    pub bytes: u64,
    /// The duration of its `fdatasync`.
    pub sync_ns: u64,
}

/// The result of [`Log::retire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retired {
    /// Segments that recovery does not need any more; they stay for their retention time.
    pub kept: u64,
    /// Segments after their retention time: their bytes are erased, or will be overwritten.
    pub recycled: u64,
}

/// A frame: the records that one append made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The generation of its segment.
    pub generation: u64,
    /// Its position in the log.
    pub position: Position,
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its records, in the order of submission.
    pub records: Vec<Record>,
}

/// Converts a length in memory to one in a file; no file here exceeds the address space.
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn u64_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The frame of an append of these records, in memory; the micro-benchmarks measure it without the disk.
///
/// `None`: the records exceed a frame.
#[doc(hidden)]
#[must_use]
pub fn frame_in_memory(records: &[Record], out: &mut Vec<u8>) -> Option<u32> {
    frame::encode(frame::FrameLocation { salt: 1, generation: 1, position: 4_096 }, 0, records, out)
}
