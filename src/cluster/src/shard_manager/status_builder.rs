//! Builds the status page, and tracks the registry's health for it.

use super::plan::Plan;
use super::status::{ClusterStatus, Handoff, MemberState, MemberStatus, ShardStatus};
use crate::membership::{Membership, NodeObservation};
use doorbuster_storage::registry::{DesiredState, NodeId, NodeState, OwnerRow, RegistryError};
use doorbuster_storage::{Epoch, Shard};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The health of one kind of registry operation. It logs once when the operation begins to fail and once when it works again.
#[derive(Debug)]
pub(super) struct RegistryHealth {
    what: &'static str,
    failure: Option<String>,
    failures: u64,
}

impl RegistryHealth {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, failure: None, failures: 0 }
    }

    pub(super) const fn is_fine(&self) -> bool {
        self.failure.is_none()
    }

    pub(super) fn succeeded(&mut self) {
        if self.failure.take().is_some() {
            tracing::info!(what = self.what, failures = self.failures, "the registry answers again");
        }
    }

    pub(super) fn failed(&mut self, error: &RegistryError) {
        self.failures = self.failures.saturating_add(1);
        if self.failure.is_none() {
            tracing::warn!(what = self.what, %error, "the registry fails; no node is judged and no shard moves meanwhile");
        }
        self.failure = Some(format!("{}: {error}", self.what));
    }
}

/// Everything that the page is made from.
pub(super) struct StatusBuilder<'a> {
    pub(super) me: &'a NodeId,
    pub(super) now: Instant,
    pub(super) shards: u16,
    pub(super) membership: &'a Membership,
    pub(super) desired: &'a DesiredState,
    pub(super) placed: &'a BTreeMap<Shard, String>,
    pub(super) owners: &'a BTreeMap<Shard, OwnerRow>,
    pub(super) owned: &'a BTreeMap<Shard, Epoch>,
    pub(super) plan: &'a Plan,
    pub(super) history: &'a BTreeMap<Shard, Handoff>,
    pub(super) attempts: [&'a RegistryHealth; 2],
    pub(super) read_at: Option<Instant>,
}

impl StatusBuilder<'_> {
    pub(super) fn build(&self) -> ClusterStatus {
        ClusterStatus {
            me: self.me.to_string(),
            view: self.membership.version(),
            registry_read_ms_ago: self.read_at.map(|at| self.ms_since(at)),
            registry_failure: self.attempts.iter().find_map(|attempts| attempts.failure.clone()),
            registry_failures: self.attempts.iter().map(|attempts| attempts.failures).sum(),
            members: self.membership.observations().map(|observation| self.member(observation)).collect(),
            shards: (0..self.shards).map(|shard| self.shard(Shard(shard))).collect(),
        }
    }

    fn member(&self, observation: NodeObservation) -> MemberStatus {
        let NodeObservation { row, moved_at, out } = observation;
        let settled = self.membership.view().get(&row.id.name).filter(|member| member.id == row.id);
        let state = match (settled, out) {
            (_, true) => MemberState::Down,
            (None, false) => MemberState::Joining,
            (Some(member), false) if member.state == NodeState::Draining => MemberState::Draining,
            (Some(_), false) if self.desired.drained.contains(&row.id.name) => MemberState::Draining,
            (Some(_), false) => MemberState::Up,
        };
        MemberStatus {
            incarnation: row.id.incarnation,
            state,
            drain_wished: self.desired.drained.contains(&row.id.name),
            beat: row.beat,
            beat_age_ms: self.ms_since(moved_at),
            heartbeats_missed: self.membership.misses(&row.id),
            version: row.version,
            cluster: row.cluster,
            public: row.public,
            operator: row.operator,
            shards_owned: self.owners.values().filter(|owner| owner.node.as_ref() == Some(&row.id)).count(),
            shards_placed: self.placed.values().filter(|name| **name == row.id.name).count(),
            shards_claimed: (row.id == *self.me).then_some(self.owned.len()),
            name: row.id.name,
        }
    }

    fn shard(&self, shard: Shard) -> ShardStatus {
        let row = self.owners.get(&shard);
        let placed = self.placed.get(&shard).cloned();
        ShardStatus {
            shard: shard.0,
            moved: placed.is_some() && self.desired.moved.get(&shard) == placed.as_ref(),
            placed,
            owner: row.and_then(|row| row.node.as_ref()).map(ToString::to_string),
            epoch: row.map_or(0, |row| row.epoch),
            serving_epoch: self.owned.get(&shard).copied(),
            doing: self.plan.activity_of(shard),
            last_handoff: self.history.get(&shard).cloned(),
        }
    }

    fn ms_since(&self, at: Instant) -> u64 {
        u64::try_from(self.now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX)
    }
}
