//! What can go wrong with a log, and where.

use super::Position;
use crate::journal::{Epoch, Seq, Shard};
use std::io;
use std::path::Path;
use thiserror::Error;

/// Why a log could not be opened, read or appended to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogError {
    /// What is stored contradicts itself. Nothing was changed; a person must look.
    #[error("the log is damaged in segment {} at position {} (byte {} of the segment): {}", .0.segment, .0.position, .0.byte, .0.why)]
    Corrupt(Damage),
    /// Rule L7: states and log do not meet.
    #[error(
        "shard {shard}: states are stored up to {flushed}, the log holds what follows {base} up to {end}: something was lost"
    )]
    Lost {
        /// Which.
        shard: Shard,
        /// The last event before the oldest segment.
        base: Seq,
        /// As the states say.
        flushed: Seq,
        /// The last event in the log.
        end: Seq,
    },
    /// The operating system refused.
    #[error("{verb} {path}: {message}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: String,
        /// The kind of refusal.
        kind: io::ErrorKind,
        /// In the system's words.
        message: String,
    },
    /// Rule L8: an earlier write or sync failed. The process ends; its successor reads what is there. Whoever meets this may be the first to
    /// say anything, so it says what failed.
    #[error("the log takes nothing more since this failed: {first}")]
    Failed {
        /// The failure after which nothing is taken.
        first: String,
    },
    /// Larger than a frame may be. Nothing was written, smaller appends go on.
    #[error("an append of {bytes} bytes; at most {max} fit")]
    TooLarge {
        /// Asked for.
        bytes: u64,
        /// Allowed.
        max: u64,
    },
    /// The caller's records do not continue the shard's. Nothing was written; the log takes nothing more.
    #[error("shard {shard}: record {seq} of epoch {epoch} cannot follow event {last_seq} of epoch {last_epoch}")]
    OutOfOrder {
        /// Which.
        shard: Shard,
        /// Of the record.
        seq: Seq,
        /// Of the record.
        epoch: Epoch,
        /// What the log has.
        last_seq: Seq,
        /// What the log has.
        last_epoch: Epoch,
    },
    /// Asked for events whose segments were retired.
    #[error("shard {shard}: event {from} is no longer in the log, which begins behind {base}")]
    Retired {
        /// Which.
        shard: Shard,
        /// Asked for.
        from: Seq,
        /// The last event that is gone.
        base: Seq,
    },
}

impl LogError {
    /// Is it what is stored that is wrong, rather than the machine?
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Lost { .. })
    }

    pub(super) fn io(verb: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { verb, path: path.display().to_string(), kind: error.kind(), message: error.to_string() }
    }
}

/// Where a log is damaged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The generation of the segment.
    pub segment: u64,
    /// In the log.
    pub position: Position,
    /// In the segment's file.
    pub byte: u64,
    /// How.
    pub why: Why,
}

/// How a log is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// A segment is only given its name once its header is synced.
    #[error("its header is damaged")]
    Header,
    /// Another segment's header under this name.
    #[error("its header says it is segment {0}")]
    OtherSegment(u64),
    /// Segments are numbered without gaps.
    #[error("the segment is missing")]
    SegmentMissing,
    /// A bad frame that cannot be a torn tail, since it was synced before something that is there (rules L3, L5).
    #[error("no valid frame, but the log goes on to position {0}")]
    Frame(Position),
    /// Valid in itself, but not written behind the frame before it.
    #[error("the frame does not follow the one before it")]
    Chain,
    /// The CRC holds but the records do not fill the frame.
    #[error("the frame's records cannot be read")]
    Records,
    /// A shard's events are numbered without gaps.
    #[error("shard {shard} goes on with event {found}, expected {expected}")]
    Hole {
        /// Which.
        shard: Shard,
        /// The next.
        expected: Seq,
        /// As stored.
        found: Seq,
    },
    /// A shard's epochs never fall.
    #[error("shard {shard}, event {seq}: epoch falls from {was} to {found}")]
    EpochFell {
        /// Which.
        shard: Shard,
        /// The record's first event.
        seq: Seq,
        /// Before.
        was: Epoch,
        /// As stored.
        found: Epoch,
    },
    /// The header names other tails than the frames before it have.
    #[error("its header does not continue the segment before it")]
    HeaderDisagrees,
    /// A seal is only given its name once it is synced.
    #[error("the seal is damaged")]
    Seal,
    /// Rule L5: the log was stopped cleanly with more in it.
    #[error("the log was sealed at position {0} and ends before it")]
    CutBeforeSeal(Position),
    /// The seal goes before the first append.
    #[error("the log was sealed at position {0} and goes on behind it")]
    BehindSeal(Position),
}
