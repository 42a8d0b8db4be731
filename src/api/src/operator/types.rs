//! What the operator port says and hears: plain values that turn into JSON and back.

use crate::edge;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why an operation did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationError {
    /// No such thing.
    Unknown,
    /// No such node, no such shard: what there is instead.
    NoSuch(String),
    /// The configuration does not allow it.
    NotAllowed,
    /// Not now; why.
    Refused(String),
    /// Starting, draining, or the store failed: come back.
    Unavailable(String),
}

/// The nodes, as the one that was asked sees them.
#[derive(Debug, Clone, Serialize)]
pub struct Cluster {
    /// The node that was asked, `name.incarnation`.
    pub node: String,
    /// Its version of Doorbuster.
    pub version: String,
    /// The number of its view of the members; each node counts for itself. `None`: a node without a cluster.
    pub view: Option<u64>,
    /// How it gets on with the nodes' common board. `None`: a node without a cluster.
    pub registry: Option<RegistryShown>,
    /// Everybody who has a row on the board, by name.
    pub members: Vec<Node>,
}

/// How a node gets on with the nodes' common board.
#[derive(Debug, Clone, Serialize)]
pub struct RegistryShown {
    /// Milliseconds since it last answered a read; `None`: it never did.
    pub read_ms_ago: Option<u64>,
    /// Why it cannot be read or written, while it cannot.
    pub failure: Option<String>,
    /// Reads and writes that failed since the node started.
    pub failures: u64,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStanding {
    /// It takes shards.
    Up,
    /// It gives its shards away and takes no new ones.
    Draining,
    /// It is about to be a member.
    Joining,
    /// It misses heartbeats, but renews its row.
    Suspect,
    /// Its row stands still: it is judged dead, or is about to be.
    Gone,
    /// It must end: its journal failed.
    Failed,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// Its configured name.
    pub name: String,
    /// Greater at each start; 0 for a node without a cluster.
    pub incarnation: u64,
    /// How it stands.
    pub state: NodeStanding,
    /// An operator wants it to give its shards away.
    pub drain_wished: bool,
    /// Heartbeats in a row that it has not answered the node that was asked.
    pub heartbeats_missed: u32,
    /// Milliseconds since it last answered one; `None`: it never did, or it is the node that was asked.
    pub last_heartbeat_ms_ago: Option<u64>,
    /// How often it has renewed its row.
    pub beat: u64,
    /// Milliseconds since its row was seen to be renewed.
    pub beat_age_ms: u64,
    /// Its version of Doorbuster.
    pub version: String,
    /// Where other nodes reach it; `None`: a node without a cluster.
    pub cluster: Option<String>,
    /// Where it serves shoppers.
    pub public: String,
    /// Where it serves operators.
    pub operator: String,
    /// Shards that the store says it owns.
    pub shards_owned: usize,
    /// Shards that the placement assigns to it.
    pub shards_placed: usize,
    /// Shards that it has claimed and still holds, those that it recovers or gives away included; known of the node that was asked only.
    pub shards_claimed: Option<usize>,
    /// Shards that it answers for right now; known of the node that was asked only.
    pub shards_serving: Option<usize>,
    /// Seconds since it started; known of the node that was asked only.
    pub up_s: Option<u64>,
}

/// One shard of the cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Shard {
    /// Its number.
    pub shard: u16,
    /// Who owns it, as the store says: `name.incarnation`. `None`: nobody.
    pub owner: Option<String>,
    /// The number of that ownership; 0: it was never claimed.
    pub epoch: u64,
    /// The name of the node that should own it, as the placement deals it.
    pub placed: Option<String>,
    /// An operator moved it there.
    pub moved: bool,
    /// Is it served, as far as the node that was asked can tell?
    pub serving: bool,
    /// What is being done with it here: `claiming`, `releasing`.
    pub doing: Option<String>,
    /// How it last changed hands, as far as the node that was asked knows.
    pub last_handoff: Option<HandOff>,
    /// Its figures, when the node that was asked serves it.
    #[serde(flatten)]
    pub here: Option<ShardHere>,
}

/// A shard's figures, known where it is served.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ShardHere {
    /// The last durable event.
    pub seq: u64,
    /// States are stored up to here.
    pub flushed_upto: u64,
    /// Events behind it: what the next owner would take in again.
    pub lag: u64,
    /// Entities in memory.
    pub resident: usize,
    /// Entities whose states wait for the checkpoint.
    pub waiting_for_checkpoint: usize,
    /// Entities with a deadline.
    pub deadlines: usize,
    /// Entities that kept failing.
    pub set_aside: usize,
    /// Messages that wait for its entities.
    pub queue_depth: u64,
}

/// How a shard changed hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandOff {
    /// When, by the clock of the node that was asked.
    pub at: String,
    /// Who had it.
    pub from: Option<String>,
    /// Who has it now, or is to take it.
    pub to: Option<String>,
    /// Why, in a word: `owner_gone`, `given_away`, `fenced`, …
    pub why: String,
    /// How long it took, in milliseconds, if it took the node that was asked any work.
    pub took_ms: Option<u64>,
}

/// Where a shard is to go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveBody {
    /// The name of a node; `null`: where the placement says.
    pub to: Option<String>,
}

/// One saga in flight.
#[derive(Debug, Clone, Serialize)]
pub struct Saga {
    /// The order.
    pub order: String,
    /// Where it stands.
    pub step: String,
    /// Its status.
    pub status: String,
    /// Seconds since it was placed.
    pub age_s: u64,
    /// What an operator must look at.
    pub trouble: Vec<String>,
}

/// An entity that kept failing.
#[derive(Debug, Clone, Serialize)]
pub struct SetAside {
    /// `kind/id`.
    pub entity: String,
    /// Why.
    pub reason: String,
    /// Failures in a row.
    pub failures: u32,
    /// Since when.
    pub since: String,
    /// How to try again.
    pub retry: String,
}

/// Is the node ready to serve?
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Yes or no.
    pub ready: bool,
    /// `serving`, `starting`, `draining`, `failed`.
    pub status: String,
    /// Shards served here, of those dealt to this node.
    pub shards: (usize, usize),
}

/// A fault to be made on purpose, only where the configuration allows it.
#[derive(Debug, Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The next command to this entity panics.
    Panic {
        /// `kind/id`.
        entity: String,
        /// So many times.
        times: Option<u32>,
    },
    /// Sagas fail at this step.
    FailStep {
        /// `reserve`, `authorize`, `commit`, …
        step: String,
        /// So many times.
        times: Option<u32>,
    },
    /// Every sync of the log takes so much longer.
    SlowDisk {
        /// Milliseconds; 0 ends it.
        millis: u64,
        /// For so long.
        for_s: Option<u64>,
    },
}

/// What an operator found out about a call that nobody can ask about any more (rule M2).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleBody {
    /// Ours, as `/admin/sagas` shows it: `ord_….authorize.1.1`.
    pub reference: String,
    /// `authorized`, `succeeded`, `declined`.
    pub outcome: SettledAs,
    /// The provider's own reference.
    pub provider_reference: Option<String>,
    /// The provider's word for a decline.
    pub code: Option<String>,
    /// When an authorization ends by itself.
    pub lapses_at: Option<edge::Instant>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SettledAs {
    /// The money is promised.
    Authorized,
    /// It was carried out.
    Succeeded,
    /// It was refused, or never happened.
    Declined,
}
