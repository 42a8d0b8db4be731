//! The rules that can be taken out of the model one by one, and how much of the world a run explores.

/// A rule of `docs/ownership.md`, "One log a node", that a test takes out to see what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// N1: a row is appended only while the fence of its bucket is *open*.
    Fence,
    /// N2: a full bucket is sealed before the next is opened. Without: the next is opened first.
    SealFirst,
    /// N2: the next bucket is opened only if it has no fence yet. Without: its fence is written blindly.
    OpenOnce,
    /// N3: the log of an owner that did not release the shard is closed.
    Close,
    /// N3: it is closed before it is read. Without: after.
    CloseBeforeRead,
    /// N3: a fence is closed by compare-and-set on what was read. Without: blindly.
    CloseByCompare,
    /// N3: behind a sealed bucket the next is closed and read as well.
    FollowSealed,
    /// N4: rows first, then `flushed_upto`. Without: the other way round.
    RowsBeforeFlushed,
    /// N5: the shard's row is changed by compare-and-set on the epoch that was read.
    OwnByCompare,
    /// N5: the row keeps naming each log that holds events behind `flushed_upto`.
    KeepLogs,
    /// N6: a shard is released once all that was appended of it is settled.
    ReleaseSettled,
    /// N6: who has sent a release serves the shard no more, whatever the answer.
    ReleaseIsFinal,
    /// N6: a release counts only for the epoch it was made under.
    ReleaseByEpoch,
    /// N7: a process that comes back begins a log of its own.
    FreshLog,
    /// N8: a bucket is deleted once `flushed_upto` of *each* of its shards covers it. Without: of any.
    DeleteForAll,
    /// N8: only buckets that take no more rows are deleted, and their fences stay.
    KeepFences,
    /// O4: an answer that appends nothing asks the store first.
    AskBeforeAnswer,
    /// O4: it asks for the bucket of the *next* row.
    AskTheTail,
    /// O4: an append answers only what was asked before its first copy left.
    AskedBeforeAppend,
    /// O5: an append that timed out is not acknowledged before it is settled.
    SettleFirst,
    /// S2: the states first, then `flushed_upto`.
    StatesFirst,
}

/// How large the explored world is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Rows per bucket.
    pub(crate) bucket: u8,
    /// Rows of a log.
    pub(crate) positions: u8,
    /// Events of each shard.
    pub(crate) seqs: [u8; 2],
    /// Ownerships of each shard, the old one included.
    pub(crate) epochs: [u8; 2],
    /// Processes, the old owner included.
    pub(crate) processes: u8,
    /// Checkpoints begun, by all processes together.
    pub(crate) checkpoints: u8,
    /// Releases, by all processes together.
    pub(crate) releases: u8,
    /// Statements whose answer is lost; each may land at any later time, or never.
    pub(crate) losses: u8,
}

impl Size {
    /// The old owner and two claimants of its two shards.
    pub(crate) const TWO_SHARDS: Self = Self {
        bucket: 2,
        positions: 2,
        seqs: [1, 1],
        epochs: [3, 2],
        processes: 3,
        checkpoints: 0,
        releases: 1,
        losses: 0,
    };
    /// The old owner and two claimants of one shard, and logs of two buckets.
    pub(crate) const ROLLING: Self = Self { bucket: 1, seqs: [2, 0], epochs: [3, 1], releases: 0, ..Self::TWO_SHARDS };
    /// The old owner and one claimant, and a statement whose answer is lost and which lands late, or never.
    pub(crate) const LATE: Self = Self { bucket: 1, processes: 2, epochs: [2, 2], losses: 1, ..Self::TWO_SHARDS };
    /// The old owner and one claimant of two shards, and a checkpoint of either.
    pub(crate) const CHECKPOINTS: Self =
        Self { bucket: 1, seqs: [2, 1], epochs: [2, 2], processes: 2, checkpoints: 1, ..Self::TWO_SHARDS };
    /// A shard that moves away and comes back, with what no checkpoint holds lying in two logs.
    pub(crate) const COMES_BACK: Self =
        Self { seqs: [2, 0], epochs: [3, 1], processes: 2, releases: 2, losses: 1, ..Self::TWO_SHARDS };
    /// What `DOORBUSTER_MODEL=large` explores.
    pub(crate) const LARGE: [Self; 4] = [
        Self { seqs: [2, 1], ..Self::TWO_SHARDS },
        Self { checkpoints: 1, bucket: 1, ..Self::TWO_SHARDS },
        Self { losses: 1, ..Self::CHECKPOINTS },
        Self { checkpoints: 2, ..Self::CHECKPOINTS },
    ];

    /// The bucket of a row.
    pub(crate) fn bucket_of(&self, position: u8) -> u8 {
        position / self.bucket
    }
}
