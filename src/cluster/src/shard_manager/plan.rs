//! What to do with each shard: release it, claim it, or wait. Pure decisions from what is known.
//!
//! ```text
//! ours, not owned: free, never claimed, owner gone or replaced ──► claim       owned, another's ──► release
//!                  owner lives ──► wait for its release, at most handoff_timeout ──► claim
//!                  fenced, same view, its new owner lives ──► wait (rule O6)
//! ```

use super::settings::ShardManagerSettings;
use super::status::{HandoffReason, ShardActivity};
use crate::membership::OwnerLiveness;
use doorbuster_storage::registry::{NodeId, OwnerRow};
use doorbuster_storage::{Epoch, Shard};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What is known when a plan is made.
pub(super) struct PlanInput<'a> {
    /// The current instant.
    pub(super) now: Instant,
    /// The number of the placement map; it changes whenever the view or the desired state changes.
    pub(super) map: u64,
    /// The node that should own each shard.
    pub(super) placed: &'a BTreeMap<Shard, String>,
    /// When the last read of the owners began.
    pub(super) read_started: Instant,
    /// Who owns each shard, by that read.
    pub(super) owners: &'a BTreeMap<Shard, OwnerRow>,
    /// The shards that this node serves.
    pub(super) owned: &'a BTreeMap<Shard, Epoch>,
    /// Whether a former owner is alive.
    pub(super) liveness: &'a dyn Fn(&NodeId) -> OwnerLiveness,
    /// The map has been unchanged for one renewal interval, so the other nodes have it too and a released shard finds its new owner.
    pub(super) may_release: bool,
    /// This node is about to end: it keeps no shard, even if no other node is there.
    pub(super) leaving: bool,
}

/// What to do with a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Claim the shard and serve it.
    Claim { shard: Shard, from: Option<NodeId>, why: HandoffReason },
    /// Stop serving it, after the work in progress has ended within `bound`.
    Release { shard: Shard, to: Option<String>, why: HandoffReason, bound: Duration },
}

/// What this node remembers of a shard.
#[derive(Debug, Clone, Default)]
struct ShardRecord {
    /// Since when this node should own it and does not.
    wanted_since: Option<Instant>,
    /// The map's number when this node was fenced or superseded.
    fenced_at: Option<u64>,
    /// When this node last released it, lost it or tried to claim it: an older read says nothing of the shard any more.
    changed_at: Option<Instant>,
    /// The earliest instant of the next attempt.
    retry_at: Option<Instant>,
    failures: u32,
    activity: Option<ShardActivity>,
    /// The epoch that this node served at the last look. If it is gone without a report from us or from the host, the report is on its way.
    serving: Option<Epoch>,
}

/// One node's plan for all shards.
#[derive(Debug)]
pub(super) struct Plan {
    me: NodeId,
    settings: ShardManagerSettings,
    shards: BTreeMap<Shard, ShardRecord>,
}

impl Plan {
    pub(super) fn new(me: NodeId, shards: u16, settings: ShardManagerSettings) -> Self {
        Self { me, settings, shards: (0..shards).map(|shard| (Shard(shard), ShardRecord::default())).collect() }
    }

    /// The actions to begin now. Each is in progress until [`Plan::claimed`], [`Plan::not_claimed`] or [`Plan::released`] is called.
    pub(super) fn next(&mut self, input: &PlanInput<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut wanted = Vec::new();
        let mut room = self.settings.releases_in_flight_max.saturating_sub(self.count(ShardActivity::Releasing));
        for (shard, record) in &mut self.shards {
            let placed = input.placed.get(shard);
            let is_ours = placed == Some(&self.me.name);
            let owned = input.owned.get(shard).copied();
            let wanted_since = record.wanted_since.unwrap_or(input.now);
            record.wanted_since = (is_ours && owned.is_none()).then_some(wanted_since);
            if record.activity.is_some() {
                continue;
            }
            match owned {
                Some(_) => record.forgive(input.now, &self.settings),
                // It ended by itself, and the report whether it was fenced is on its way: a claim before it would fence the new owner (rule O6).
                None if record.serving.is_some() => {
                    record.changed_at = Some(input.now);
                    record.delay_retry(input.now, &self.settings);
                }
                None => {}
            }
            record.serving = owned;
            if record.retry_at.is_some_and(|at| input.now < at) {
                continue;
            }
            if let Some(epoch) = owned {
                if let Some(action) = self.settings.release(*shard, epoch, &self.me, input) {
                    // A shard that another node already owns costs no drain, so it waits for no other.
                    let drains = !matches!(&action, Action::Release { why: HandoffReason::Superseded, .. });
                    if !drains || room > 0 {
                        room = room.saturating_sub(usize::from(drains));
                        record.activity = Some(ShardActivity::Releasing);
                        if !drains {
                            record.fenced_at = Some(input.map);
                        }
                        actions.push(action);
                    }
                }
            } else if let Some(since) = record.wanted_since
                && let Some((from, why)) = self.settings.claim(*shard, record, since, &self.me, input)
            {
                wanted.push((since, Action::Claim { shard: *shard, from, why }, *shard));
            }
        }
        // The longest wanted first. A shard that failed is tried again later (`retry_at`), so it does not hold up the others.
        wanted.sort_by_key(|(since, _, shard)| (*since, *shard));
        let room = self.settings.claims_in_flight_max.saturating_sub(self.count(ShardActivity::Claiming));
        for (_, action, shard) in wanted.into_iter().take(room) {
            if let Some(record) = self.shards.get_mut(&shard) {
                record.activity = Some(ShardActivity::Claiming);
                actions.push(action);
            }
        }
        actions
    }

    /// A claim succeeded.
    pub(super) fn claimed(&mut self, shard: Shard) {
        if let Some(record) = self.shards.get_mut(&shard) {
            // Failures are remembered until the shard has been served for a while: a shard that ends as soon as it begins must not spin.
            *record = ShardRecord { retry_at: record.retry_at, failures: record.failures, ..ShardRecord::default() };
        }
    }

    /// A claim failed; it is tried again later.
    pub(super) fn not_claimed(&mut self, now: Instant, shard: Shard) {
        let settings = self.settings;
        if let Some(record) = self.shards.get_mut(&shard) {
            record.activity = None;
            record.changed_at = Some(now);
            record.delay_retry(now, &settings);
        }
    }

    /// A release ended. `still_owned`: the shard is served nevertheless, so the release is tried again later.
    pub(super) fn released(&mut self, now: Instant, shard: Shard, still_owned: bool) {
        let settings = self.settings;
        if let Some(record) = self.shards.get_mut(&shard) {
            record.activity = None;
            record.changed_at = Some(now);
            record.serving = None;
            if still_owned {
                record.delay_retry(now, &settings);
            }
        }
    }

    /// The journal refused this node, which is news and not an incident. The wait for the new owner begins anew.
    pub(super) fn fenced(&mut self, now: Instant, shard: Shard, map: u64) {
        if let Some(record) = self.shards.get_mut(&shard) {
            record.fenced_at = Some(map);
            record.changed_at = Some(now);
            record.wanted_since = None;
            record.serving = None;
        }
    }

    /// The shard ended because of a failure; it is claimed again later.
    pub(super) fn failed(&mut self, now: Instant, shard: Shard) {
        let settings = self.settings;
        if let Some(record) = self.shards.get_mut(&shard) {
            record.serving = None;
            record.changed_at = Some(now);
            record.delay_retry(now, &settings);
        }
    }

    /// Whether a shard is expected from another node or due for another attempt. Then the owners are read more often. A shard that does not come
    /// within `handoff_timeout` no longer counts.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        let expected = |since: Instant| now.saturating_duration_since(since) < self.settings.handoff_timeout;
        self.shards.values().any(|record| record.activity.is_none() && record.wanted_since.is_some_and(expected))
    }

    /// What this node does with a shard now.
    pub(super) fn activity_of(&self, shard: Shard) -> Option<ShardActivity> {
        self.shards.get(&shard).and_then(|record| record.activity)
    }

    /// The number of shards being claimed or released.
    pub(super) fn in_progress(&self) -> usize {
        self.count(ShardActivity::Claiming).saturating_add(self.count(ShardActivity::Releasing))
    }

    fn count(&self, what: ShardActivity) -> usize {
        self.shards.values().filter(|record| record.activity == Some(what)).count()
    }
}

impl ShardManagerSettings {
    /// The release of a shard that this node owns, if it should be released.
    fn release(&self, shard: Shard, epoch: Epoch, me: &NodeId, input: &PlanInput<'_>) -> Option<Action> {
        // The row is written before the tail is fenced (rule O2), and epochs only grow: a row with a greater epoch is not an old read.
        let row = input.owners.get(&shard);
        if row.is_some_and(|row| row.epoch > epoch && row.node.as_ref() != Some(me)) {
            let to = row.and_then(|row| row.node.as_ref()).map(ToString::to_string);
            return Some(Action::Release { shard, to, why: HandoffReason::Superseded, bound: Duration::ZERO });
        }
        let bound = self.release_timeout;
        match input.placed.get(&shard) {
            Some(name) if *name == me.name => None,
            Some(_) if !input.may_release => None,
            Some(name) => Some(Action::Release { shard, to: Some(name.clone()), why: HandoffReason::GivenAway, bound }),
            // No node is eligible: a node that only drains keeps serving, and a node that ends records that the shard is free.
            None => input.leaving.then_some(Action::Release { shard, to: None, why: HandoffReason::Leaving, bound }),
        }
    }

    /// Whether a shard that this node should own and does not is claimed now: from whom, and why.
    fn claim(
        &self,
        shard: Shard,
        record: &ShardRecord,
        since: Instant,
        me: &NodeId,
        input: &PlanInput<'_>,
    ) -> Option<(Option<NodeId>, HandoffReason)> {
        // An old read still names this node, while another node may have claimed what this one released or was fenced from.
        if record.changed_at.is_some_and(|at| input.read_started < at) {
            return None;
        }
        let Some(row) = input.owners.get(&shard) else { return Some((None, HandoffReason::NeverClaimed)) };
        let Some(owner) = &row.node else { return Some((None, HandoffReason::Released)) };
        if owner == me {
            return Some((Some(owner.clone()), HandoffReason::ClaimedAnew));
        }
        let why = match (input.liveness)(owner) {
            OwnerLiveness::Gone => HandoffReason::OwnerGone,
            OwnerLiveness::Replaced => HandoffReason::OwnerReplaced,
            OwnerLiveness::Live => {
                // Rule O6: a node fenced by a living node claims again only after its view changed, or the two fence each other for ever.
                let is_barred = record.fenced_at == Some(input.map);
                if is_barred || input.now.saturating_duration_since(since) < self.handoff_timeout {
                    return None;
                }
                HandoffReason::TimedOut
            }
        };
        Some((Some(owner.clone()), why))
    }
}

impl ShardRecord {
    /// Forgets failures once the shard has been served for as long as the longest pause.
    fn forgive(&mut self, now: Instant, settings: &ShardManagerSettings) {
        if self.retry_at.is_some_and(|at| now >= at + settings.claim_retry_max) {
            self.retry_at = None;
            self.failures = 0;
        }
    }

    fn delay_retry(&mut self, now: Instant, settings: &ShardManagerSettings) {
        let doubled = 2_u32.checked_pow(self.failures).unwrap_or(u32::MAX);
        let pause = settings.claim_retry_min.saturating_mul(doubled).min(settings.claim_retry_max);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + pause);
    }
}

#[cfg(test)]
mod tests;
