//! What the operator's questions need of a cluster; a node without one has none of it.

use doorbuster_api::operator::{Cluster, HandOff, Node, NodeStanding, RegistryShown, Shard as ShardShown, ShardHere};
use doorbuster_api::view::At;
use doorbuster_cluster::shard_manager::{self, ClusterStatus, MemberState, MemberStatus};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Shard;
use doorbuster_storage::registry::{NodeId, RegistryError};
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// One figure for `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// Its name, without the product's.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// It goes up and down.
    pub gauge: bool,
    /// How much.
    pub value: u64,
}

impl Figure {
    /// What there is of something now.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, gauge: true, value }
    }

    /// What there was of something since the start.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, gauge: false, value }
    }
}

/// How a peer's heart beats, as seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulse {
    /// Heartbeats in a row that it has not answered.
    pub missed: u32,
    /// Milliseconds since it last answered one.
    pub last_ms_ago: Option<u64>,
}

/// The cluster, for its operators.
pub trait Board: Debug + Send + Sync + 'static {
    /// The cluster as this node sees it; `None`: nobody looks any more.
    fn status(&self) -> BoxFuture<'_, Option<ClusterStatus>>;
    /// The peers' heartbeats.
    fn pulses(&self) -> BTreeMap<NodeId, Pulse>;
    /// From so many missed heartbeats on a node is suspect.
    fn suspect_at(&self) -> u32;
    /// What else there is to count: what travelled, what was claimed.
    fn figures(&self) -> Vec<Figure>;
    /// A node is to give its shards away, or may take some again.
    fn wish_drained<'a>(&'a self, name: &'a str, drained: bool) -> BoxFuture<'a, Result<(), RegistryError>>;
    /// A shard is to be with a node; `None`: where the placement says.
    fn wish_moved<'a>(&'a self, shard: Shard, to: Option<&'a str>) -> BoxFuture<'a, Result<(), RegistryError>>;
}

/// The word that stands for a plain enum in JSON.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Who a member is, as the store and the network name it.
pub(super) fn id_of(member: &MemberStatus) -> NodeId {
    NodeId { name: member.name.clone(), incarnation: member.incarnation }
}

/// How a member stands, with what its heart says.
pub(super) fn standing(member: &MemberStatus, missed: u32, suspect_at: u32) -> NodeStanding {
    match member.state {
        MemberState::Down => NodeStanding::Gone,
        MemberState::Joining => NodeStanding::Joining,
        MemberState::Up | MemberState::Draining if missed >= suspect_at => NodeStanding::Suspect,
        MemberState::Draining => NodeStanding::Draining,
        MemberState::Up => NodeStanding::Up,
    }
}

/// The word for how a node serves, as `/readyz` says it.
pub(super) const fn serving_word(standing: NodeStanding) -> &'static str {
    match standing {
        NodeStanding::Up | NodeStanding::Suspect => "serving",
        NodeStanding::Joining => "joining",
        NodeStanding::Draining => "draining",
        NodeStanding::Gone => "gone",
        NodeStanding::Failed => "failed",
    }
}

/// Is this member the node that is asked?
pub(super) fn is_me(member: &MemberStatus, status: &ClusterStatus) -> bool {
    id_of(member).to_string() == status.me
}

/// Where to ask about something of a shard that is not here.
pub(super) fn elsewhere(status: &ClusterStatus, shard: Shard) -> String {
    let owner = status.shards.iter().find(|shown| shown.shard == shard.0).and_then(|shown| shown.owner.as_ref());
    let member = status.members.iter().find(|member| owner.is_some_and(|owner| id_of(member).to_string() == *owner));
    match (owner, member) {
        (Some(owner), Some(member)) => format!("it is of shard {shard}, of {owner}: ask {}", member.operator),
        (Some(owner), None) => {
            format!("it is of shard {shard}, of {owner}, which is gone; ask again once it was claimed")
        }
        (None, _) => format!("it is of shard {shard}, which nobody owns now"),
    }
}

/// The page of members.
pub(super) fn cluster(board: &dyn Board, status: ClusterStatus, up_s: u64) -> Cluster {
    let (pulses, suspect_at) = (board.pulses(), board.suspect_at());
    let me = status.me;
    let shown = |member: MemberStatus| {
        let id = id_of(&member);
        let is_me = id.to_string() == me;
        let pulse = pulses.get(&id).copied().unwrap_or_default();
        let missed = if is_me { 0 } else { member.heartbeats_missed.max(pulse.missed) };
        Node {
            incarnation: member.incarnation,
            state: standing(&member, missed, suspect_at),
            drain_wished: member.drain_wished,
            heartbeats_missed: missed,
            last_heartbeat_ms_ago: pulse.last_ms_ago,
            beat: member.beat,
            beat_age_ms: member.beat_age_ms,
            version: member.version,
            cluster: Some(member.cluster),
            public: member.public,
            operator: member.operator,
            shards_owned: member.shards_owned,
            shards_claimed: member.shards_placed,
            shards_serving: member.shards_claimed,
            up_s: is_me.then_some(up_s),
            name: member.name,
        }
    };
    let registry = RegistryShown {
        read_ms_ago: status.registry_read_ms_ago,
        failure: status.registry_failure,
        failures: status.registry_failures,
    };
    Cluster {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        view: Some(status.view),
        registry: Some(registry),
        members: status.members.into_iter().map(shown).collect(),
        node: me,
    }
}

/// The page of shards; `here` has the figures of those that this node serves.
pub(super) fn shards(status: ClusterStatus, mut here: BTreeMap<u16, ShardHere>) -> Vec<ShardShown> {
    let living = |owner: &str| {
        let alive = |member: &&MemberStatus| id_of(member).to_string() == owner && member.state != MemberState::Down;
        status.members.iter().any(|member| alive(&member))
    };
    let shown = |shard: shard_manager::ShardStatus| ShardShown {
        shard: shard.shard,
        serving: match &shard.owner {
            Some(owner) if *owner == status.me => shard.serving_epoch == Some(shard.epoch),
            Some(owner) => living(owner),
            None => false,
        },
        owner: shard.owner,
        epoch: shard.epoch,
        placed: shard.placed,
        moved: shard.moved,
        doing: shard.doing.map(word),
        last_handoff: shard.last_handoff.map(|handoff| HandOff {
            at: At(Timestamp(handoff.at_ms)).to_string(),
            from: handoff.from,
            to: handoff.to,
            why: word(handoff.why),
            took_ms: handoff.took_ms,
        }),
        here: here.remove(&shard.shard),
    };
    status.shards.into_iter().map(shown).collect()
}

/// Figures that the page of members has, for `/metrics`.
pub(super) fn figures_of(board: &dyn Board, status: &ClusterStatus) -> Vec<Figure> {
    let count = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
    let pulses = board.pulses();
    let me = status.members.iter().find(|member| is_me(member, status));
    let live =
        status.members.iter().filter(|member| matches!(member.state, MemberState::Up | MemberState::Draining)).count();
    let missed = status.members.iter().map(|member| {
        let pulse = pulses.get(&id_of(member)).map_or(0, |pulse| pulse.missed);
        if is_me(member, status) { 0 } else { member.heartbeats_missed.max(pulse) }
    });
    let unowned = status.shards.iter().filter(|shard| shard.owner.is_none()).count();
    let moving = status.shards.iter().filter(|shard| shard.doing.is_some()).count();
    let mut figures = vec![
        Figure::gauge("cluster_members_live", "members that are up or draining, as this node sees them", count(live)),
        Figure::gauge("cluster_members_known", "members that have a row, dead ones too", count(status.members.len())),
        Figure::gauge("cluster_view", "how often this node's view of the members has changed", status.view),
        Figure::gauge(
            "cluster_shards_owned",
            "shards that the store says this node owns",
            count(me.map_or(0, |me| me.shards_owned)),
        ),
        Figure::gauge(
            "cluster_shards_claimed",
            "shards that should be this node's",
            count(me.map_or(0, |me| me.shards_placed)),
        ),
        Figure::gauge(
            "cluster_shards_serving",
            "shards that this node serves",
            count(me.and_then(|me| me.shards_claimed).unwrap_or(0)),
        ),
        Figure::gauge("cluster_shards_unowned", "shards of the cluster that nobody owns", count(unowned)),
        Figure::gauge("cluster_shards_moving", "shards that this node is claiming or giving away", count(moving)),
        Figure::gauge(
            "cluster_heartbeats_missed",
            "heartbeats missed in a row, by the peer that misses most",
            missed.max().unwrap_or(0).into(),
        ),
        Figure::counter(
            "cluster_registry_failures",
            "reads and writes of the nodes' board that failed",
            status.registry_failures,
        ),
    ];
    figures.extend(board.figures());
    figures
}

#[cfg(test)]
pub(super) mod tests;
