//! The cluster as operators see it from one node: plain values that are serialised to JSON.

use serde::Serialize;

/// The cluster, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// This node, `name.incarnation`.
    pub me: String,
    /// The number of its view; each node counts its own views.
    pub view: u64,
    /// Milliseconds since the registry last answered a read; `None`: it never did.
    pub registry_read_ms_ago: Option<u64>,
    /// The last error of the registry, while it fails.
    pub registry_failure: Option<String>,
    /// Failed reads and writes of the registry since this process started.
    pub registry_failures: u64,
    /// Every node that has a row, by name.
    pub members: Vec<MemberStatus>,
    /// Every shard, by number.
    pub shards: Vec<ShardStatus>,
}

/// Whether a node is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It is in the view and takes shards.
    Up,
    /// It is in the view and releases its shards.
    Draining,
    /// Its row is renewed; it will be in the next view.
    Joining,
    /// Its row is no longer renewed; it is out of the view, or will be.
    Down,
}

/// The status of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its configured name.
    pub name: String,
    /// The number of starts of this name, this one included.
    pub incarnation: u64,
    /// Whether it is a member.
    pub state: MemberState,
    /// Whether an operator wants it drained.
    pub drain_wished: bool,
    /// The last beat read from its row.
    pub beat: u64,
    /// Milliseconds since that beat was first read.
    pub beat_age_ms: u64,
    /// Consecutive heartbeats that it has not answered.
    pub heartbeats_missed: u32,
    /// Its version of Doorbuster.
    pub version: String,
    /// The address of its cluster port, `host:port`.
    pub cluster: String,
    /// The address of its port for shoppers.
    pub public: String,
    /// The address of its port for operators.
    pub operator: String,
    /// Shards that it owns, by the store.
    pub shards_owned: usize,
    /// Shards that it should own.
    pub shards_placed: usize,
    /// Shards that it claimed and serves; known for this node only.
    pub shards_claimed: Option<usize>,
}

/// What a node does with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardActivity {
    /// This node claims it.
    Claiming,
    /// This node releases it.
    Releasing,
}

/// The status of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// The shard's number.
    pub shard: u16,
    /// The name of the node that should own it; `None`: no node is eligible.
    pub placed: Option<String>,
    /// Whether an operator moved it there.
    pub moved: bool,
    /// Its owner by the store, `name.incarnation`; `None`: released, or never claimed.
    pub owner: Option<String>,
    /// The epoch of that ownership; 0: never claimed.
    pub epoch: u64,
    /// The epoch under which this node serves it; `None`: this node does not serve it.
    pub serving_epoch: Option<u64>,
    /// What this node does with it now.
    pub doing: Option<ShardActivity>,
    /// Its last handoff that this node knows of.
    pub last_handoff: Option<Handoff>,
}

/// Why a shard changed its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HandoffReason {
    /// It was claimed for the first time.
    NeverClaimed,
    /// Its owner had released it.
    Released,
    /// Its owner left, or was judged dead.
    OwnerGone,
    /// Its owner was an earlier process of a name that has started again.
    OwnerReplaced,
    /// This node had claimed it before and lost it, or never served it.
    ClaimedAnew,
    /// Its living owner did not release it in time.
    TimedOut,
    /// Another node should own it.
    GivenAway,
    /// This node is about to end, and no other node is eligible.
    Leaving,
    /// The store named another owner with a greater epoch.
    Superseded,
    /// The journal refused this node: another node owns the shard.
    Fenced,
    /// The store or the actors failed.
    Failed,
    /// Read in the registry; only the node that did it knows the reason.
    Observed,
}

/// One change of a shard's owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Handoff {
    /// The time, in milliseconds since 1970 by this node's clock.
    pub at_ms: u64,
    /// The owner before, `name.incarnation`.
    pub from: Option<String>,
    /// The owner after, `name.incarnation`, or the name of the node that is to take it.
    pub to: Option<String>,
    /// The reason of the handoff.
    pub why: HandoffReason,
    /// Its duration in milliseconds: a claim with its recovery, or a release with its drain. `None`: this node did not take part.
    pub took_ms: Option<u64>,
}
