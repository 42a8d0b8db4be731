//! Errors of the log, and the position of damage.

use super::Position;
use crate::journal::{Epoch, Seq, Shard};
use std::io;
use std::path::Path;
use thiserror::Error;

/// Why a log could not be opened, read or appended to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogError {
    /// What is stored contradicts itself. Nothing was changed; an operator must look.
    #[error("the log is damaged in segment {} at position {} (byte {} of the segment): {}", .0.segment, .0.position, .0.byte, .0.why)]
    Corrupt(Damage),
    /// The states and the log do not join (rule L7).
    #[error(
        "shard {shard}: states are stored up to {flushed}, the log holds what follows {base} up to {end}: something was lost"
    )]
    Lost {
        /// The number of the shard.
        shard: Shard,
        /// The last event before the oldest segment.
        base: Seq,
        /// The last event that the states cover.
        flushed: Seq,
        /// The last event in the log.
        end: Seq,
    },
    /// The operating system refused an operation.
    #[error("{verb} {path}: {message}")]
    Io {
        /// The operation, as a verb.
        verb: &'static str,
        /// The path of the file.
        path: String,
        /// The kind of error.
        kind: io::ErrorKind,
        /// The system's error.
        message: String,
    },
    /// An earlier write or sync failed, so the log takes no more appends (rule L8). The process ends, and its successor recovers. The message names
    /// the first failure, because it may be the only one that is reported.
    #[error("the log takes no appends since this failed: {first}")]
    Failed {
        /// The first failure.
        first: String,
    },
    /// The append exceeds the size of a frame. Nothing was written; smaller appends go on.
    #[error("an append of {bytes} bytes; at most {max} fit")]
    TooLarge {
        /// The size of the append, in bytes.
        bytes: u64,
        /// The largest size, in bytes.
        max: u64,
    },
    /// The records do not continue the shard's log. Nothing was written; the log takes no more appends.
    #[error("shard {shard}: record {seq} of epoch {epoch} cannot follow event {last_seq} of epoch {last_epoch}")]
    OutOfOrder {
        /// The number of the shard.
        shard: Shard,
        /// The record's first event.
        seq: Seq,
        /// The record's epoch.
        epoch: Epoch,
        /// The last event in the log.
        last_seq: Seq,
        /// The epoch of the last record in the log.
        last_epoch: Epoch,
    },
    /// The requested events are in retired segments.
    #[error("shard {shard}: event {from} is no longer in the log, which begins after {base}")]
    Retired {
        /// The number of the shard.
        shard: Shard,
        /// The first requested event.
        from: Seq,
        /// The last event in retired segments.
        base: Seq,
    },
}

impl LogError {
    /// Whether the stored data is wrong, as opposed to a failure of the machine.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Lost { .. })
    }

    pub(super) fn io(verb: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { verb, path: path.display().to_string(), kind: error.kind(), message: error.to_string() }
    }
}

/// The position and kind of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The generation of the segment.
    pub segment: u64,
    /// The position in the log, in bytes.
    pub position: Position,
    /// The offset in the segment's file, in bytes.
    pub byte: u64,
    /// The kind of damage.
    pub why: Why,
}

/// The kinds of damage.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// The segment's header is damaged; a crash cannot cause this, because the name follows the sync of the header.
    #[error("its header is damaged")]
    Header,
    /// The header is that of another segment.
    #[error("its header says it is segment {0}")]
    OtherSegment(u64),
    /// A segment is missing; their numbers have no gaps.
    #[error("the segment is missing")]
    SegmentMissing,
    /// An invalid frame that was synced before a later one, so it is not a torn tail (rules L3, L5).
    #[error("no valid frame, but the log goes on to position {0}")]
    Frame(Position),
    /// A valid frame that does not refer to its predecessor.
    #[error("the frame does not follow the one before it")]
    Chain,
    /// The CRC is right, but the records do not fill the frame.
    #[error("the frame's records cannot be read")]
    Records,
    /// A gap or a repetition in a shard's events.
    #[error("shard {shard} continues with event {found}, expected {expected}")]
    Hole {
        /// The number of the shard.
        shard: Shard,
        /// The next event's seq.
        expected: Seq,
        /// The stored seq.
        found: Seq,
    },
    /// A shard's epoch falls.
    #[error("shard {shard}, event {seq}: epoch falls from {was} to {found}")]
    EpochFell {
        /// The number of the shard.
        shard: Shard,
        /// The record's first event.
        seq: Seq,
        /// The epoch before it.
        was: Epoch,
        /// The record's epoch.
        found: Epoch,
    },
    /// The header's last events differ from those of the frames before it.
    #[error("its header does not continue the segment before it")]
    HeaderDisagrees,
    /// The seal is damaged; a crash cannot cause this, because the name follows the sync.
    #[error("the seal is damaged")]
    Seal,
    /// The log ends before the seal's position (rule L5).
    #[error("the log was sealed at position {0} and ends before it")]
    CutBeforeSeal(Position),
    /// The log goes on after the seal's position, although the first append removes the seal.
    #[error("the log was sealed at position {0} and goes on behind it")]
    BehindSeal(Position),
}
