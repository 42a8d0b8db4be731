//! Bounds and times of the actors; `cluster.toml` says what each is for.

/// Bounds and times of the actors.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Messages that may wait for one entity.
    pub mailbox_max: u32,
    /// Commands of one shard that may wait while the store is read whether their entity exists (rule R5).
    pub absence_reads_max: usize,
    /// Commands from one entity to another that may wait on this node before requests are refused as busy (rule W2). Those of requests
    /// that were let in always pass.
    pub effects_max: usize,
    /// Submissions that may wait for the log before requests are refused as busy.
    pub log_queue_max: usize,
    /// Bytes of one batch.
    pub batch_bytes_max: usize,
    /// Records of one batch.
    pub batch_records_max: usize,
    /// Actors of one shard beyond which idle entities leave memory at once.
    pub residents_per_shard_max: usize,
    /// Time between two looks of a shard at its agenda, its idle entities and its overdue effects, in ms.
    pub tick_ms: u64,
    /// Time without a message after which a long-lived entity leaves memory, in ms.
    pub idle_ms: u64,
    /// First pause before an unanswered effect is sent again, in ms; it doubles with each retry.
    pub effect_retry_min_ms: u64,
    /// Longest pause before an unanswered effect is sent again, in ms.
    pub effect_retry_max_ms: u64,
    /// Age beyond which a command of an entity is dropped at dequeue, in s (rule R2).
    pub command_life_s: u64,
    /// First delay before a failed entity starts again, in ms; it doubles with each failure in a row.
    pub restart_delay_min_ms: u64,
    /// Longest delay before a failed entity starts again, in ms. One that ran longer than this counts its failures anew.
    pub restart_delay_max_ms: u64,
    /// Failures in a row after which an entity is quarantined.
    pub quarantine_after: u32,
    /// Longest time between two checkpoints of a shard that has changed, in ms.
    pub checkpoint_interval_ms: u64,
    /// Bytes of a shard's records since its last checkpoint at which the next begins.
    pub checkpoint_bytes: u64,
    /// Calls to the payment provider that may be under way at once.
    pub provider_calls_max: usize,
    /// Time after which a call to the provider counts as unanswered, in ms.
    pub provider_timeout_ms: u64,
    /// Does the log writer get a thread of its own? (Not in the simulation.)
    pub writer_thread: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mailbox_max: 4_096,
            absence_reads_max: 1_024,
            effects_max: 65_536,
            log_queue_max: 65_536,
            batch_bytes_max: 4 << 20,
            batch_records_max: 8_192,
            residents_per_shard_max: 20_000,
            tick_ms: 50,
            idle_ms: 30_000,
            effect_retry_min_ms: 500,
            effect_retry_max_ms: 10_000,
            command_life_s: 120,
            restart_delay_min_ms: 100,
            restart_delay_max_ms: 10_000,
            quarantine_after: 5,
            checkpoint_interval_ms: 30_000,
            checkpoint_bytes: 8 << 20,
            provider_calls_max: 4_096,
            provider_timeout_ms: 10_000,
            writer_thread: true,
        }
    }
}

/// The room of effects at one entity, as a multiple of the callers' room.
const EFFECTS_ROOM: u32 = 4;

impl Settings {
    /// Messages of other entities that may wait for one entity. An effect was let in with its order, and ends what holds permits: it gets
    /// more room than a caller.
    pub(crate) const fn effects_waiting_max(&self) -> u32 {
        self.mailbox_max.saturating_mul(EFFECTS_ROOM)
    }
}
