//! What operators see of the cluster, as one node sees it: plain values that turn into JSON.

use serde::Serialize;

/// The cluster, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// This node, `name.incarnation`.
    pub me: String,
    /// Its view's number; each node counts for itself.
    pub view: u64,
    /// Milliseconds since the registry last answered a read; `None`: it never did.
    pub registry_read_ms_ago: Option<u64>,
    /// Why the registry cannot be read or written, while it cannot.
    pub registry_failure: Option<String>,
    /// Reads and writes of the registry that failed since this node started.
    pub registry_failures: u64,
    /// Everybody who has a row, by name.
    pub members: Vec<MemberStatus>,
    /// Every shard.
    pub shards: Vec<ShardStatus>,
}

/// Whether a node is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is in the view and takes shards.
    Up,
    /// It is in the view and gives its shards away.
    Draining,
    /// Its row is there and beats; it is about to be in the view.
    Joining,
    /// Its row stands still; it is about to be out of the view, or is.
    Down,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its configured name.
    pub name: String,
    /// For the so-many-th time started.
    pub incarnation: u64,
    /// How it stands.
    pub state: Standing,
    /// An operator wants it drained.
    pub drain_wished: bool,
    /// The last beat seen in its row.
    pub beat: u64,
    /// Milliseconds since that beat was seen to move.
    pub beat_age_ms: u64,
    /// Heartbeats between us and it that it has not answered in a row.
    pub heartbeats_missed: u32,
    /// Its version of the product.
    pub version: String,
    /// Where other nodes reach it.
    pub cluster: String,
    /// Where it serves shoppers.
    pub public: String,
    /// Where it serves operators.
    pub operator: String,
    /// Shards that the store says it owns.
    pub shards_owned: usize,
    /// Shards that should be its own.
    pub shards_placed: usize,
    /// Shards that it claimed and serves; known of this node only.
    pub shards_claimed: Option<usize>,
}

/// What is being done with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// This node claims it.
    Claiming,
    /// This node gives it away.
    Releasing,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// Which.
    pub shard: u16,
    /// The name of the node that should own it.
    pub placed: Option<String>,
    /// An operator moved it there.
    pub moved: bool,
    /// Who owns it, by the store, `name.incarnation`; `None`: nobody, or never claimed.
    pub owner: Option<String>,
    /// The number of that ownership; 0: never claimed.
    pub epoch: u64,
    /// The number of this node's ownership, while it serves the shard.
    pub serving_epoch: Option<u64>,
    /// What this node does with it now.
    pub doing: Option<Doing>,
    /// How it last changed hands, as far as this node knows.
    pub last_handoff: Option<HandOff>,
}

/// Why a shard changed hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was claimed for the first time.
    NeverClaimed,
    /// Its owner had released it.
    Released,
    /// Its owner left, or was judged dead.
    OwnerGone,
    /// Its owner was an earlier process of a name that has started anew.
    OwnerReplaced,
    /// This node had claimed it before and lost it, or never served it.
    ClaimedAnew,
    /// Its living owner did not give it in time.
    TimedOut,
    /// It should be another node's, which was told in the registry.
    GivenAway,
    /// This node is about to end, and nobody else is there.
    Leaving,
    /// The store said that somebody else owns it.
    Superseded,
    /// The journal refused us: somebody else owns it.
    Fenced,
    /// Its store failed us, or its actors did.
    Failed,
    /// Seen in the registry; who did it and why that node knows.
    Observed,
}

/// One change of hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandOff {
    /// When, in milliseconds since 1970, by this node's clock.
    pub at_ms: u64,
    /// Who had it, `name.incarnation`.
    pub from: Option<String>,
    /// Who has it now, or is to take it: `name.incarnation`, or a name.
    pub to: Option<String>,
    /// Why.
    pub why: Why,
    /// How long it took, in milliseconds: claiming with recovery, or releasing with what was under way. `None`: it took no work of ours.
    pub took_ms: Option<u64>,
}
