//! What to do with each shard: give it away, claim it, wait. Decided from what is known, without doing it.
//!
//! ```text
//! mine, and not held: free, never claimed, owner gone or replaced ──► claim       held, another's ──► release
//!                     owner lives ──► wait for its release, at most handoff_timeout ──► claim
//!                     fenced, view as it was, its new owner lives ──► wait (rule O6)
//! ```

use super::settings::Settings;
use super::status::{Doing, Why};
use crate::membership::Standing;
use doorbuster_storage::registry::{NodeId, OwnerRow};
use doorbuster_storage::{Epoch, Shard};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What is known when a plan is made.
pub(super) struct Sight<'a> {
    /// Now.
    pub(super) now: Instant,
    /// The number of the map: another one whenever the view or the operators' wishes change.
    pub(super) map: u64,
    /// Who should own each shard.
    pub(super) placed: &'a BTreeMap<Shard, String>,
    /// When the last reading of the owners began.
    pub(super) read_began: Instant,
    /// Who owns each shard, by that reading.
    pub(super) owners: &'a BTreeMap<Shard, OwnerRow>,
    /// What this node serves.
    pub(super) held: &'a BTreeMap<Shard, Epoch>,
    /// How a former owner stands.
    pub(super) standing: &'a dyn Fn(&NodeId) -> Standing,
    /// The map has stood for a beat, so that the others have it too: what is given away now finds who takes it.
    pub(super) may_give: bool,
    /// This node is about to end: it keeps nothing, even if nobody else is there.
    pub(super) leaving: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Claim the shard and serve it.
    Claim { shard: Shard, from: Option<NodeId>, why: Why },
    /// Stop serving it, after what is under way has ended within `bound`.
    Release { shard: Shard, to: Option<String>, why: Why, bound: Duration },
}

/// What this node remembers of a shard.
#[derive(Debug, Clone, Default)]
struct Memory {
    /// Since when it should be ours and is not.
    wanted_since: Option<Instant>,
    /// We were fenced, or superseded, while the map had this number.
    fenced_at: Option<u64>,
    /// What was read before says nothing of the shard any more: since then we released it, lost it or tried to claim it.
    changed_at: Option<Instant>,
    /// Not before.
    retry_at: Option<Instant>,
    failures: u32,
    doing: Option<Doing>,
    /// The ownership that we served when we last looked. Gone without a word from us or from the holder: the word is on its way.
    serving: Option<Epoch>,
}

/// The plan of one node for all shards.
#[derive(Debug)]
pub(super) struct Plan {
    me: NodeId,
    settings: Settings,
    shards: BTreeMap<Shard, Memory>,
}

impl Plan {
    pub(super) fn new(me: NodeId, shards: u16, settings: Settings) -> Self {
        Self { me, settings, shards: (0..shards).map(|shard| (Shard(shard), Memory::default())).collect() }
    }

    /// What to begin now. Whatever it names is under way until [`Plan::claimed`], [`Plan::not_claimed`] or [`Plan::released`].
    pub(super) fn next(&mut self, sight: &Sight<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut wanted = Vec::new();
        let mut room = self.settings.releases_in_flight_max.saturating_sub(self.doing(Doing::Releasing));
        for (shard, memory) in &mut self.shards {
            let placed = sight.placed.get(shard);
            let is_mine = placed == Some(&self.me.name);
            let held = sight.held.get(shard).copied();
            let wanted_since = memory.wanted_since.unwrap_or(sight.now);
            memory.wanted_since = (is_mine && held.is_none()).then_some(wanted_since);
            if memory.doing.is_some() {
                continue;
            }
            match held {
                Some(_) => memory.forgive(sight.now, &self.settings),
                // It ended by itself. Whether we were fenced is about to be said: to claim it before would fence the new owner (rule O6).
                None if memory.serving.is_some() => {
                    memory.changed_at = Some(sight.now);
                    memory.put_off(sight.now, &self.settings);
                }
                None => {}
            }
            memory.serving = held;
            if memory.retry_at.is_some_and(|at| sight.now < at) {
                continue;
            }
            if let Some(epoch) = held {
                if let Some(action) = self.settings.release(*shard, epoch, &self.me, sight) {
                    // What others own already costs no drain, so it waits for nobody.
                    let drains = !matches!(&action, Action::Release { why: Why::Superseded, .. });
                    if !drains || room > 0 {
                        room = room.saturating_sub(usize::from(drains));
                        memory.doing = Some(Doing::Releasing);
                        if !drains {
                            memory.fenced_at = Some(sight.map);
                        }
                        actions.push(action);
                    }
                }
            } else if let Some(since) = memory.wanted_since
                && let Some((from, why)) = self.settings.claim(*shard, memory, since, &self.me, sight)
            {
                wanted.push((since, Action::Claim { shard: *shard, from, why }, *shard));
            }
        }
        // The longest wanted first. Who fails is tried again later (`retry_at`), so nobody keeps the others waiting.
        wanted.sort_by_key(|(since, _, shard)| (*since, *shard));
        let room = self.settings.claims_in_flight_max.saturating_sub(self.doing(Doing::Claiming));
        for (_, action, shard) in wanted.into_iter().take(room) {
            if let Some(memory) = self.shards.get_mut(&shard) {
                memory.doing = Some(Doing::Claiming);
                actions.push(action);
            }
        }
        actions
    }

    /// A claim succeeded.
    pub(super) fn claimed(&mut self, shard: Shard) {
        if let Some(memory) = self.shards.get_mut(&shard) {
            // Its failures are remembered until it has been served for a while: a shard that ends as soon as it begins is not to spin.
            *memory = Memory { retry_at: memory.retry_at, failures: memory.failures, ..Memory::default() };
        }
    }

    /// A claim failed: once more, later.
    pub(super) fn not_claimed(&mut self, now: Instant, shard: Shard) {
        let settings = self.settings;
        if let Some(memory) = self.shards.get_mut(&shard) {
            memory.doing = None;
            memory.changed_at = Some(now);
            memory.put_off(now, &settings);
        }
    }

    /// A release ended. `is_held`: and yet the shard is still served; once more, later.
    pub(super) fn released(&mut self, now: Instant, shard: Shard, is_held: bool) {
        let settings = self.settings;
        if let Some(memory) = self.shards.get_mut(&shard) {
            memory.doing = None;
            memory.changed_at = Some(now);
            memory.serving = None;
            if is_held {
                memory.put_off(now, &settings);
            }
        }
    }

    /// The journal refused us: news, not an incident. The wait for its new owner begins anew.
    pub(super) fn fenced(&mut self, now: Instant, shard: Shard, map: u64) {
        if let Some(memory) = self.shards.get_mut(&shard) {
            memory.fenced_at = Some(map);
            memory.changed_at = Some(now);
            memory.wanted_since = None;
            memory.serving = None;
        }
    }

    /// The shard ended because something failed: once more, later.
    pub(super) fn failed(&mut self, now: Instant, shard: Shard) {
        let settings = self.settings;
        if let Some(memory) = self.shards.get_mut(&shard) {
            memory.serving = None;
            memory.changed_at = Some(now);
            memory.put_off(now, &settings);
        }
    }

    /// Is a shard expected from another node, or due to be tried again? Then the owners are read more often than once a beat. Not for
    /// ever: what does not come within the time-out is no longer expected any moment.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        let expected = |since: Instant| now.saturating_duration_since(since) < self.settings.handoff_timeout;
        self.shards.values().any(|memory| memory.doing.is_none() && memory.wanted_since.is_some_and(expected))
    }

    /// What is done with a shard now.
    pub(super) fn doing_with(&self, shard: Shard) -> Option<Doing> {
        self.shards.get(&shard).and_then(|memory| memory.doing)
    }

    /// How many shards are claimed or released now.
    pub(super) fn under_way(&self) -> usize {
        self.doing(Doing::Claiming).saturating_add(self.doing(Doing::Releasing))
    }

    fn doing(&self, what: Doing) -> usize {
        self.shards.values().filter(|memory| memory.doing == Some(what)).count()
    }
}

impl Settings {
    /// Should this shard, which we hold, be given away?
    fn release(&self, shard: Shard, epoch: Epoch, me: &NodeId, sight: &Sight<'_>) -> Option<Action> {
        // The row is written before the tail is fenced (rule O2), and epochs only grow: a greater one is not an old reading.
        let row = sight.owners.get(&shard);
        if row.is_some_and(|row| row.epoch > epoch && row.node.as_ref() != Some(me)) {
            let to = row.and_then(|row| row.node.as_ref()).map(ToString::to_string);
            return Some(Action::Release { shard, to, why: Why::Superseded, bound: Duration::ZERO });
        }
        let bound = self.release_timeout;
        match sight.placed.get(&shard) {
            Some(name) if *name == me.name => None,
            Some(_) if !sight.may_give => None,
            Some(name) => Some(Action::Release { shard, to: Some(name.clone()), why: Why::GivenAway, bound }),
            // Nobody may have it: who is only told to drain keeps serving, who ends writes down that it is free.
            None => sight.leaving.then_some(Action::Release { shard, to: None, why: Why::Leaving, bound }),
        }
    }

    /// Should this shard, which is ours and not held, be claimed now? From whom and why.
    fn claim(
        &self,
        shard: Shard,
        memory: &Memory,
        since: Instant,
        me: &NodeId,
        sight: &Sight<'_>,
    ) -> Option<(Option<NodeId>, Why)> {
        // An old reading still names us, while somebody may have claimed what we released or were fenced from.
        if memory.changed_at.is_some_and(|at| sight.read_began < at) {
            return None;
        }
        let Some(row) = sight.owners.get(&shard) else { return Some((None, Why::NeverClaimed)) };
        let Some(owner) = &row.node else { return Some((None, Why::Released)) };
        if owner == me {
            return Some((Some(owner.clone()), Why::ClaimedAnew));
        }
        let why = match (sight.standing)(owner) {
            Standing::Gone => Why::OwnerGone,
            Standing::Replaced => Why::OwnerReplaced,
            Standing::Live => {
                // Rule O6: whoever was fenced by a living node claims again only after its view changed, or the two fence each other for ever.
                let is_barred = memory.fenced_at == Some(sight.map);
                if is_barred || sight.now.saturating_duration_since(since) < self.handoff_timeout {
                    return None;
                }
                Why::TimedOut
            }
        };
        Some((Some(owner.clone()), why))
    }
}

impl Memory {
    /// Served for as long as the longest pause: whatever failed before is over.
    fn forgive(&mut self, now: Instant, settings: &Settings) {
        if self.retry_at.is_some_and(|at| now >= at + settings.claim_retry_max) {
            self.retry_at = None;
            self.failures = 0;
        }
    }

    fn put_off(&mut self, now: Instant, settings: &Settings) {
        let doubled = 2_u32.checked_pow(self.failures).unwrap_or(u32::MAX);
        let pause = settings.claim_retry_min.saturating_mul(doubled).min(settings.claim_retry_max);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + pause);
    }
}

#[cfg(test)]
mod tests;
