//! The operator's view of a cluster: members, shards and their figures, and the desired state that an operator sets.
//!
//! A node without a cluster has no [`ClusterAdmin`].

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

/// One counter or gauge of `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// Its name, without `doorbuster_` before it and `_total` behind it.
    pub name: &'static str,
    /// Its help text.
    pub help: &'static str,
    /// `true`: a gauge; `false`: a counter.
    pub gauge: bool,
    /// Its value.
    pub value: u64,
}

impl Figure {
    /// A value that goes up and down.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, gauge: true, value }
    }

    /// A count since the start.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, gauge: false, value }
    }
}

/// The heartbeats between this node and one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerHeartbeat {
    /// Heartbeats in a row that the peer has not answered.
    pub missed: u32,
    /// Milliseconds since the peer last answered one; `None`: it never did.
    pub last_ms_ago: Option<u64>,
}

/// What the operator port asks of the cluster. A node without a cluster has none.
pub trait ClusterAdmin: Debug + Send + Sync + 'static {
    /// The cluster as this node sees it; `None`: the node is about to end and no longer follows the cluster.
    fn status(&self) -> BoxFuture<'_, Option<ClusterStatus>>;
    /// The peers' heartbeats.
    fn heartbeats(&self) -> BTreeMap<NodeId, PeerHeartbeat>;
    /// A node is suspect from this many missed heartbeats in a row.
    fn suspect_at(&self) -> u32;
    /// The counters of the gateway and of the store.
    fn figures(&self) -> Vec<Figure>;
    /// Sets the desired state of a node: drained, or taking shards.
    fn set_desired_drain<'a>(&'a self, name: &'a str, drained: bool) -> BoxFuture<'a, Result<(), RegistryError>>;
    /// Sets the desired owner of a shard; `None`: the node that the placement names.
    fn set_desired_owner<'a>(&'a self, shard: Shard, to: Option<&'a str>) -> BoxFuture<'a, Result<(), RegistryError>>;
}

/// The text that serde writes for a unit variant.
fn variant_text(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The id under which the store and the network know a member.
pub(super) fn id_of(member: &MemberStatus) -> NodeId {
    NodeId { name: member.name.clone(), incarnation: member.incarnation }
}

/// A member's state, with its heartbeats taken into account.
pub(super) fn standing(member: &MemberStatus, missed: u32, suspect_at: u32) -> NodeStanding {
    match member.state {
        MemberState::Down => NodeStanding::Gone,
        MemberState::Joining => NodeStanding::Joining,
        MemberState::Up | MemberState::Draining if missed >= suspect_at => NodeStanding::Suspect,
        MemberState::Draining => NodeStanding::Draining,
        MemberState::Up => NodeStanding::Up,
    }
}

/// The `status` of `/readyz`.
pub(super) const fn readiness_status(standing: NodeStanding) -> &'static str {
    match standing {
        NodeStanding::Up | NodeStanding::Suspect => "serving",
        NodeStanding::Joining => "joining",
        NodeStanding::Draining => "draining",
        NodeStanding::Gone => "gone",
        NodeStanding::Failed => "failed",
    }
}

/// Is this member the node that answers?
pub(super) fn is_me(member: &MemberStatus, status: &ClusterStatus) -> bool {
    id_of(member).to_string() == status.me
}

/// The text that says which node to ask about an entity of a shard that is not here.
pub(super) fn elsewhere(status: &ClusterStatus, shard: Shard) -> String {
    let owner = status.shards.iter().find(|shown| shown.shard == shard.0).and_then(|shown| shown.owner.as_ref());
    let member = status.members.iter().find(|member| owner.is_some_and(|owner| id_of(member).to_string() == *owner));
    match (owner, member) {
        (Some(owner), Some(member)) => format!("it belongs to shard {shard} of {owner}: ask {}", member.operator),
        (Some(owner), None) => {
            format!(
                "it belongs to shard {shard} of {owner}, which is gone: ask again when another node has claimed the shard"
            )
        }
        (None, _) => format!("it belongs to shard {shard}, which no node owns now"),
    }
}

/// The answer to `GET /admin/cluster`.
pub(super) fn cluster(admin: &dyn ClusterAdmin, status: ClusterStatus, up_s: u64) -> Cluster {
    let (heartbeats, suspect_at) = (admin.heartbeats(), admin.suspect_at());
    let serving = shards_serving(&status);
    let me = status.me;
    let shown = |member: MemberStatus| {
        let id = id_of(&member);
        let is_me = id.to_string() == me;
        let heartbeat = heartbeats.get(&id).copied().unwrap_or_default();
        let missed = if is_me { 0 } else { member.heartbeats_missed.max(heartbeat.missed) };
        Node {
            incarnation: member.incarnation,
            state: standing(&member, missed, suspect_at),
            drain_wished: member.drain_wished,
            heartbeats_missed: missed,
            last_heartbeat_ms_ago: heartbeat.last_ms_ago,
            beat: member.beat,
            beat_age_ms: member.beat_age_ms,
            version: member.version,
            cluster: Some(member.cluster),
            public: member.public,
            operator: member.operator,
            shards_owned: member.shards_owned,
            shards_placed: member.shards_placed,
            shards_claimed: member.shards_claimed,
            shards_serving: is_me.then_some(serving),
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

/// Shards that this node answers for right now: claimed, recovered, and not being given away.
fn shards_serving(status: &ClusterStatus) -> usize {
    status.shards.iter().filter(|shard| serves_here(shard)).count()
}

/// Does this node answer for the shard? A shard that it still claims or already gives away has an epoch here, too.
fn serves_here(shard: &shard_manager::ShardStatus) -> bool {
    shard.serving_epoch.is_some() && shard.doing.is_none()
}

/// The answer to `GET /admin/shards`; `here` has the figures of the shards that this node serves.
pub(super) fn shards(status: ClusterStatus, mut here: BTreeMap<u16, ShardHere>) -> Vec<ShardShown> {
    let living = |owner: &str| {
        let alive = |member: &&MemberStatus| id_of(member).to_string() == owner && member.state != MemberState::Down;
        status.members.iter().any(|member| alive(&member))
    };
    let shown = |shard: shard_manager::ShardStatus| ShardShown {
        shard: shard.shard,
        serving: match &shard.owner {
            Some(owner) if *owner == status.me => serves_here(&shard) && shard.serving_epoch == Some(shard.epoch),
            Some(owner) => living(owner),
            None => false,
        },
        owner: shard.owner,
        epoch: shard.epoch,
        placed: shard.placed,
        moved: shard.moved,
        doing: shard.doing.map(variant_text),
        last_handoff: shard.last_handoff.map(|handoff| HandOff {
            at: At(Timestamp(handoff.at_ms)).to_string(),
            from: handoff.from,
            to: handoff.to,
            why: variant_text(handoff.why),
            took_ms: handoff.took_ms,
        }),
        here: here.remove(&shard.shard),
    };
    status.shards.into_iter().map(shown).collect()
}

/// The figures of `/metrics` that come from the cluster.
pub(super) fn figures_of(admin: &dyn ClusterAdmin, status: &ClusterStatus) -> Vec<Figure> {
    let count = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
    let heartbeats = admin.heartbeats();
    let me = status.members.iter().find(|member| is_me(member, status));
    let live =
        status.members.iter().filter(|member| matches!(member.state, MemberState::Up | MemberState::Draining)).count();
    let missed = status.members.iter().map(|member| {
        let heartbeat = heartbeats.get(&id_of(member)).map_or(0, |heartbeat| heartbeat.missed);
        if is_me(member, status) { 0 } else { member.heartbeats_missed.max(heartbeat) }
    });
    let unowned = status.shards.iter().filter(|shard| shard.owner.is_none()).count();
    let moving = status.shards.iter().filter(|shard| shard.doing.is_some()).count();
    let mut figures = vec![
        Figure::gauge("cluster_members_live", "members that are up or draining, as this node sees them", count(live)),
        Figure::gauge(
            "cluster_members_known",
            "members that have a row in the registry, dead ones included",
            count(status.members.len()),
        ),
        Figure::gauge("cluster_view", "how often this node's view of the members has changed", status.view),
        Figure::gauge(
            "cluster_shards_owned",
            "shards that the store says this node owns",
            count(me.map_or(0, |me| me.shards_owned)),
        ),
        Figure::gauge(
            "cluster_shards_placed",
            "shards that the placement assigns to this node",
            count(me.map_or(0, |me| me.shards_placed)),
        ),
        Figure::gauge(
            "cluster_shards_claimed",
            "shards that this node has claimed and still holds",
            count(me.and_then(|me| me.shards_claimed).unwrap_or(0)),
        ),
        Figure::gauge("cluster_shards_serving", "shards that this node serves", count(shards_serving(status))),
        Figure::gauge("cluster_shards_unowned", "shards of the cluster without an owner", count(unowned)),
        Figure::gauge("cluster_shards_moving", "shards that this node is claiming or giving away", count(moving)),
        Figure::gauge(
            "cluster_heartbeats_missed",
            "heartbeats missed in a row by the peer that misses most",
            missed.max().unwrap_or(0).into(),
        ),
        Figure::counter(
            "cluster_registry_failures",
            "reads and writes of the registry of nodes that failed",
            status.registry_failures,
        ),
    ];
    figures.extend(admin.figures());
    figures
}

#[cfg(test)]
pub(super) mod tests;
