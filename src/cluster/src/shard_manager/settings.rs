//! The shard manager's settings: time limits, and how much it does at once.

use crate::membership::FailureDetection;
use std::time::Duration;

/// `[cluster]`, as far as the shard manager uses it; `cluster.toml` says what goes wrong when a value is too small or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardManagerSettings {
    /// When a node counts as dead.
    pub failure_detection: FailureDetection,
    /// The interval at which the owners are read while a shard is expected from another node.
    pub handoff_poll: Duration,
    /// The time after which a shard is claimed from a living owner that did not release it.
    pub handoff_timeout: Duration,
    /// The time within which a released shard must end the work it accepted.
    pub release_timeout: Duration,
    /// Shards that are released at the same time.
    pub releases_in_flight_max: usize,
    /// Shards that are claimed at the same time.
    pub claims_in_flight_max: usize,
    /// The time limit for claiming a shard and recovering it.
    pub claim_timeout: Duration,
    /// The pause before the second attempt to claim a shard; it doubles up to `claim_retry_max`.
    pub claim_retry_min: Duration,
    /// The longest pause between two attempts to claim a shard.
    pub claim_retry_max: Duration,
    /// The time limit for one read or write of the registry.
    pub registry_timeout: Duration,
}

impl Default for ShardManagerSettings {
    fn default() -> Self {
        let failure_detection = FailureDetection {
            renew_interval: Duration::from_millis(500),
            stale_after: Duration::from_millis(4_000),
            stale_after_if_suspect: Duration::from_millis(1_400),
            stale_reads_min: 3,
            suspect_misses_min: 4,
            settle_time: Duration::from_millis(300),
        };
        Self {
            failure_detection,
            handoff_poll: Duration::from_millis(100),
            handoff_timeout: Duration::from_millis(15_000),
            release_timeout: Duration::from_millis(5_000),
            releases_in_flight_max: 2,
            claims_in_flight_max: 4,
            claim_timeout: Duration::from_millis(30_000),
            claim_retry_min: Duration::from_millis(200),
            claim_retry_max: Duration::from_millis(5_000),
            registry_timeout: Duration::from_millis(2_000),
        }
    }
}
