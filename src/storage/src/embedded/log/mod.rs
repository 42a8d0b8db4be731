//! The log of a node: what happened, in the order it was acknowledged (rules L1 to L8).
//!
//! ```text
//! kept-1 … kept-7 │ segment-8   segment-9   segment-10 │ spare-1 (zeros)   seal (only after a clean stop)
//!  for audit only │ needed by recovery      ▲ appends  │ written ahead of need
//!
//! segment:  header (who was where before it) │ frame │ frame │ frame │ 0 0 0 0 0 …
//! frame:    head (generation, position, predecessor's CRC, own CRC) │ record │ record │ …
//! ```
//!
//! One append is one frame under one CRC and one `fdatasync`. Frames lie one behind the other without gaps, over zeros that
//! were written and synced before, so a sync moves data only and no file metadata. What is assumed of the disk: a sector of
//! 512 bytes is written whole or not at all, and what a sync confirmed stays.
//!
//! - `disk`: the seam to the operating system, where tests let writes and syncs fail.
//! - `frame`, `segment`, `seal`: the three forms on disk. `walk`: reading them, everything checked.
//! - `recover`: opening. `writer`: appending, rotating, retiring, sealing. `prepare`: the next segment. `reader`: replay.

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

/// A byte's number in the log, as if all segments ever written lay end to end. Never falls, never repeats.
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
    /// Length of a new segment. Too small: many rotations, each about three syncs; too large: a long wait for zeros, and
    /// the disk is given back in large pieces.
    pub segment_bytes: u64,
    /// How many empty segments a thread of its own keeps ready; 0 makes them at the rotation, without a thread.
    pub segments_ahead: usize,
    /// Largest frame; a larger append is refused before anything is written. Must fit a segment beside its header.
    pub frame_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, segments_ahead: 1, frame_bytes_max: 32 << 20 }
    }
}

/// The last event of one shard, and the ownership that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// 0 when there is none yet.
    pub seq: Seq,
    /// 0 when there is none yet.
    pub epoch: Epoch,
}

/// The end of an unsealed log that no frame explains: the write that was under way when the power went (rule L4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Where the whole frames end.
    pub position: Position,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
    /// Where those bytes were kept; `None` when the log was only read.
    pub copied_to: Option<PathBuf>,
}

/// What opening a log found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The last event of each shard; a shard that never wrote is absent.
    pub ends: BTreeMap<Shard, Tail>,
    /// The last event of each shard before the oldest segment that recovery needs (rule L7); absent means 0.
    pub bases: BTreeMap<Shard, Seq>,
    /// What was cut.
    pub torn: Option<TornTail>,
    /// Was it stopped cleanly? The seal stays until the first append (rule L5).
    pub sealed: bool,
    /// Frames read.
    pub frames: u64,
    /// Their length.
    pub bytes: u64,
    /// Where the next frame begins.
    pub end: Position,
}

impl Recovered {
    /// Rule L7: `base ≤ flushed_upto ≤ end` for every shard; else states or log were lost. [`LogError::Lost`] says which.
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

/// One append that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The log's end behind it: everything before is durable.
    pub position: Position,
    /// Length of its frame.
    pub bytes: u64,
    /// How long its `fdatasync` took.
    pub sync_ns: u64,
}

/// What a call of [`Log::retire`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retired {
    /// Segments that recovery needs no longer; they stay for their retention time.
    pub kept: u64,
    /// Segments whose retention time is over: their bytes are gone, or about to be overwritten.
    pub recycled: u64,
}

/// One frame: what one append made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The number of its segment.
    pub generation: u64,
    /// Where it begins.
    pub position: Position,
    /// Its length.
    pub bytes: u64,
    /// In the order they were submitted.
    pub records: Vec<Record>,
}

/// Lengths of memory and of files are different types; no file here is longer than memory can address.
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn u64_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The frame that one append of these records writes, in memory: what the micro-benchmarks measure beside the disk.
///
/// `None`: too long for a frame.
#[doc(hidden)]
#[must_use]
pub fn frame_in_memory(records: &[Record], out: &mut Vec<u8>) -> Option<u32> {
    frame::encode(frame::Place { salt: 1, generation: 1, position: 4_096 }, 0, records, out)
}
