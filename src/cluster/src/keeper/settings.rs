//! What the keeper is told: how long it waits for what, and how much it does at once.

use crate::membership::Patience;
use std::time::Duration;

/// `[cluster]`, as far as the keeper goes; `cluster.toml` says what goes wrong when a value is too small or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// When a node is judged dead.
    pub patience: Patience,
    /// How often the owners are read while a shard is expected from another node.
    pub handoff_poll: Duration,
    /// A shard that another living node does not give is claimed all the same after so long.
    pub handoff_timeout: Duration,
    /// How long a shard that is given away may take to end what it accepted.
    pub release_timeout: Duration,
    /// Shards that are given away at once.
    pub releases_in_flight_max: usize,
    /// Shards that are claimed at once.
    pub claims_in_flight_max: usize,
    /// How long claiming a shard and recovering it may take.
    pub claim_timeout: Duration,
    /// The first pause before a shard that could not be claimed is tried again; it doubles up to the next.
    pub claim_retry_min: Duration,
    /// The longest such pause.
    pub claim_retry_max: Duration,
    /// How long one read or write of the nodes' rows may take.
    pub registry_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let patience = Patience {
            beat: Duration::from_millis(500),
            stale: Duration::from_millis(4_000),
            stale_missed: Duration::from_millis(1_400),
            stale_reads: 3,
            suspect_at: 4,
            settle: Duration::from_millis(300),
        };
        Self {
            patience,
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
