//! The bodies and views of the operator port.

use crate::core::types::Instant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationError {
    /// The entity does not exist.
    Unknown,
    /// The node or shard does not exist; the text names those that do.
    NoSuch(String),
    /// The settings do not allow it.
    NotAllowed,
    /// It is not possible now; the text says why.
    Refused(String),
    /// Only one such operation runs at a time, and one is running; the text says which.
    Busy(String),
    /// The node is starting or draining, or the store failed; a retry may succeed.
    Unavailable(String),
}

/// The nodes of the cluster, as the node that answers sees them.
#[derive(Debug, Clone, Serialize)]
pub struct Cluster {
    /// The node that answers: `name.incarnation`.
    pub node: String,
    /// Its version of Doorbuster.
    pub version: String,
    /// The number of its view of the members; each node counts its own. `None`: a node without a cluster.
    pub view: Option<u64>,
    /// Its access to the registry that the nodes share. `None`: a node without a cluster.
    pub registry: Option<RegistryShown>,
    /// The nodes that have a row in the registry, by name.
    pub members: Vec<Node>,
}

/// A node's access to the registry that the nodes share.
#[derive(Debug, Clone, Serialize)]
pub struct RegistryShown {
    /// Milliseconds since the last successful read; `None`: there was none.
    pub read_ms_ago: Option<u64>,
    /// The last error, while the registry cannot be read or written.
    pub failure: Option<String>,
    /// Failed reads and writes since the node started.
    pub failures: u64,
}

/// The state of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStanding {
    /// It owns shards.
    Up,
    /// It releases its shards and acquires none.
    Draining,
    /// It is becoming a member.
    Joining,
    /// It misses heartbeats and still renews its row.
    Suspect,
    /// It no longer renews its row: it is considered dead, or is about to be.
    Gone,
    /// Its journal failed, and it must stop.
    Failed,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// Its configured name.
    pub name: String,
    /// Greater at each start; 0 for a node without a cluster.
    pub incarnation: u64,
    /// Its state.
    pub state: NodeStanding,
    /// Has an operator requested it to release its shards?
    pub drain_wished: bool,
    /// Consecutive heartbeats of the answering node that it has not answered.
    pub heartbeats_missed: u32,
    /// Milliseconds since it last answered one; `None`: it never did, or it is the answering node.
    pub last_heartbeat_ms_ago: Option<u64>,
    /// How often it has renewed its row in the registry.
    pub beat: u64,
    /// Milliseconds since its row was last seen renewed.
    pub beat_age_ms: u64,
    /// Its version of Doorbuster.
    pub version: String,
    /// Its address for other nodes; `None`: a node without a cluster.
    pub cluster: Option<String>,
    /// The address of its public port.
    pub public: String,
    /// The address of its operator port.
    pub operator: String,
    /// Shards that it owns according to the store.
    pub shards_owned: usize,
    /// Shards that the placement assigns to it.
    pub shards_placed: usize,
    /// Shards that it has claimed and still holds, those that it recovers or gives away included; known of the node that was asked only.
    pub shards_claimed: Option<usize>,
    /// Shards that it answers for right now; known of the node that was asked only.
    pub shards_serving: Option<usize>,
    /// Seconds since it started; known of the answering node only.
    pub up_s: Option<u64>,
}

/// One shard of the cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Shard {
    /// Its number.
    pub shard: u16,
    /// Its owner according to the store: `name.incarnation`. `None`: it has none.
    pub owner: Option<String>,
    /// The epoch of that ownership; 0: it was never claimed.
    pub epoch: u64,
    /// The name of the node to which the placement assigns it.
    pub placed: Option<String>,
    /// Has an operator moved it there?
    pub moved: bool,
    /// Is it served, as far as the answering node knows?
    pub serving: bool,
    /// What the answering node does with it: `claiming`, `releasing`.
    pub doing: Option<String>,
    /// Its last change of owner, as far as the answering node knows.
    pub last_handoff: Option<HandOff>,
    /// Its figures, if the answering node serves it.
    #[serde(flatten)]
    pub here: Option<ShardHere>,
}

/// Figures of a shard, known to the node that serves it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ShardHere {
    /// The seq of its last durable event.
    pub seq: u64,
    /// The seq up to which states are stored.
    pub flushed_upto: u64,
    /// Events after it, which the next owner would replay.
    pub lag: u64,
    /// Entities in memory.
    pub resident: usize,
    /// Entities whose states wait for a checkpoint.
    pub waiting_for_checkpoint: usize,
    /// Entities with a deadline.
    pub deadlines: usize,
    /// Quarantined entities.
    pub set_aside: usize,
    /// Messages queued for its entities.
    pub queue_depth: u64,
}

/// A change of a shard's owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandOff {
    /// When, by the clock of the answering node.
    pub at: String,
    /// The previous owner.
    pub from: Option<String>,
    /// The owner now, or the one that shall acquire it.
    pub to: Option<String>,
    /// The reason: `owner_gone`, `given_away`, `fenced`, …
    pub why: String,
    /// Its duration in ms, if the answering node took part.
    pub took_ms: Option<u64>,
}

/// The move of a shard.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveBody {
    /// The name of the node that shall own it; `null`: the one that the placement assigns.
    pub to: Option<String>,
}

/// One saga in flight.
#[derive(Debug, Clone, Serialize)]
pub struct Saga {
    /// The order.
    pub order: String,
    /// Its step.
    pub step: String,
    /// The status of the order.
    pub status: String,
    /// Seconds since it was placed.
    pub age_s: u64,
    /// What needs an operator's attention.
    pub trouble: Vec<String>,
}

/// A quarantined entity.
#[derive(Debug, Clone, Serialize)]
pub struct SetAside {
    /// `kind/id`.
    pub entity: String,
    /// The last error.
    pub reason: String,
    /// Consecutive failures.
    pub failures: u32,
    /// When it was quarantined.
    pub since: String,
    /// The request that retries it.
    pub retry: String,
}

/// Is the node ready to serve?
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Does it serve requests?
    pub ready: bool,
    /// `serving`, `starting`, `draining`, `failed`.
    pub status: String,
    /// Shards that it serves, and shards that are assigned to it.
    pub shards: (usize, usize),
}

/// A fault to inject; possible only where the settings allow it.
#[derive(Debug, Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The next command to this entity panics.
    Panic {
        /// `kind/id`.
        entity: String,
        /// How many times; default: once.
        times: Option<u32>,
    },
    /// Sagas fail at this step.
    FailStep {
        /// `reserve`, `authorize`, `commit`, …
        step: String,
        /// How many times; default: once.
        times: Option<u32>,
    },
    /// Every sync of the log is delayed.
    SlowDisk {
        /// The delay in ms; 0 ends it.
        millis: u64,
        /// Duration of the fault, in seconds.
        for_s: Option<u64>,
    },
}

/// The outcome of a provider call that can no longer be queried (rule M2).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleBody {
    /// The reference of the call, as `/admin/sagas` shows it: `ord_….authorize.1.1`.
    pub reference: String,
    /// How it ended: `authorized`, `succeeded`, `declined`.
    pub outcome: SettledAs,
    /// The provider's own reference.
    pub provider_reference: Option<String>,
    /// The provider's code of a decline.
    pub code: Option<String>,
    /// When the authorization expires.
    pub lapses_at: Option<Instant>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SettledAs {
    /// The amount is authorized.
    Authorized,
    /// It was carried out.
    Succeeded,
    /// It was declined, or never carried out.
    Declined,
}
