//! The numbers the actors live by; `cluster.toml` says what each one is for.

/// Bounds and times of the actors.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Messages that may wait for one entity.
    pub mailbox_max: u32,
    /// Submissions that may wait for the log before the door says busy.
    pub log_queue_max: usize,
    /// Bytes of one batch.
    pub batch_bytes_max: usize,
    /// Records of one batch.
    pub batch_records_max: usize,
    /// Actors that may be resident in one shard before idle ones are ended early.
    pub residents_per_shard_max: usize,
    /// How often a shard looks at its agenda, its idle entities and its overdue effects, in ms.
    pub tick_ms: u64,
    /// A long-lived entity ends after so many ms without a message.
    pub idle_ms: u64,
    /// An unanswered question to another entity is asked again after so many ms, doubling …
    pub effect_retry_min_ms: u64,
    /// … up to so many.
    pub effect_retry_max_ms: u64,
    /// A command older than this is dropped at dequeue, in s (rule R2).
    pub command_life_s: u64,
    /// A failed entity starts again after so many ms, doubling …
    pub restart_delay_min_ms: u64,
    /// … up to so many.
    pub restart_delay_max_ms: u64,
    /// An entity that failed so often in a row is set aside.
    pub quarantine_after: u32,
    /// A checkpoint at least this often, in ms, when something changed.
    pub checkpoint_interval_ms: u64,
    /// A checkpoint once so many bytes of the shard's records wait for one.
    pub checkpoint_bytes: u64,
    /// Calls to the payment provider under way at once.
    pub provider_calls_max: usize,
    /// A call to the provider counts as unanswered after so many ms.
    pub provider_timeout_ms: u64,
    /// Does the log writer get a thread of its own? (The simulation says no.)
    pub writer_thread: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mailbox_max: 4_096,
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
