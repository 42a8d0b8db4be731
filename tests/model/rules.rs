//! The rules that can be taken out of the model one by one, and how much of the world a run explores.

/// A rule of `docs/ownership.md` that a test takes out to see what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The condition `fence = ?` in the append.
    Fence,
    /// O2 (3): a fence is raised by compare-and-set, never lowered. Without: it is written blindly.
    UpwardsOnly,
    /// O2 (5): the second read of `flushed_upto`.
    ReadFlushedAgain,
    /// O2 (6): behind a full bucket the next is fenced and read as well.
    NextBucketToo,
    /// O2 (8): the last read of `shard_owner`.
    ReadOwnerLast,
    /// O3: a bucket with a higher fence is not rolled on to.
    HigherFenceStops,
    /// O3: a bucket that has rows is not rolled on to.
    EmptyBucketOnly,
    /// O4: an answer that appends nothing asks the store first.
    AskBeforeAnswer,
    /// O4: it asks for the bucket of the *next* seq, not for that of the last row.
    AskTheTail,
    /// O4: an append answers only what was asked before its first copy left.
    AskedBeforeAppend,
    /// O5: an append that timed out is not acknowledged before it is settled.
    SettleFirst,
    /// O5: it is settled under the same batch id at the same seq.
    SameBatch,
    /// S1: only what is durable is flushed.
    FlushDurable,
    /// S1: replay skips what the stored state has seen.
    ReplaySkips,
    /// S2: the states first, then `flushed_upto`.
    StatesFirst,
    /// S2: `flushed_upto` first, then truncation.
    MarkBeforeTruncation,
    /// S3: the timestamp of a flush is the seq, not a clock.
    SeqIsTimestamp,
    /// Truncation deletes rows, never the bucket's fence with them.
    KeepFences,
    /// A replay that misses rows reads `flushed_upto` again before it calls that a hole.
    ReplayLooksAgain,
    /// A replay that was overtaken by a checkpoint begins again, and states are loaded after it. Without: states that were
    /// loaded before it are kept, and it goes on behind what it missed.
    ReplayStartsOver,
}

/// How large the explored world is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Seqs per bucket (O1).
    pub(crate) bucket: u8,
    /// The log ends here.
    pub(crate) seqs: u8,
    /// Ownerships, the old one included.
    pub(crate) owners: u8,
    /// Checkpoints begun, by all owners together.
    pub(crate) checkpoints: u8,
    /// Statements whose answer is lost; each may land at any later time, or never.
    pub(crate) losses: u8,
    /// Events in the largest batch: 1 or 2.
    pub(crate) batch: u8,
}

impl Size {
    /// The old owner and two claimants, two bucket ends, a checkpoint.
    pub(crate) const THREE_OWNERS: Self = Self { bucket: 2, seqs: 3, owners: 3, checkpoints: 1, losses: 0, batch: 1 };
    /// The same with a shorter log, and a statement whose answer is lost and which lands late, or never.
    pub(crate) const LATE: Self = Self { bucket: 2, seqs: 2, owners: 3, checkpoints: 1, losses: 1, batch: 1 };
    /// The old owner and one claimant, a longer log, a checkpoint, and a late statement.
    pub(crate) const LONGER: Self = Self { bucket: 2, seqs: 4, owners: 2, checkpoints: 1, losses: 1, batch: 1 };
    /// The same with two checkpoints, of one owner or of both.
    pub(crate) const TWO_CHECKPOINTS: Self = Self { checkpoints: 2, ..Self::LONGER };
    /// Buckets of three, rows of two events, and a late statement.
    pub(crate) const WIDE: Self = Self { bucket: 3, seqs: 5, owners: 2, checkpoints: 1, losses: 1, batch: 2 };

    /// The bucket of a seq (O1).
    pub(crate) fn bucket_of(&self, seq: u8) -> u8 {
        seq / self.bucket
    }

    /// The last seq of a bucket.
    pub(crate) fn last_of(&self, bucket: u8) -> u8 {
        bucket * self.bucket + self.bucket - 1
    }
}
