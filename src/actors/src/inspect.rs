//! What an operator may see of a shard.

use super::shard::ShardState;
use super::slot::Slot;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::{Seq, Shard};
use std::collections::BTreeSet;

/// An entity that kept failing, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedEntity {
    /// Which.
    pub entity: EntityId,
    /// Why, in the words of its last failure.
    pub reason: String,
    /// How often in a row.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
}

/// A shard, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStatus {
    /// Which.
    pub shard: Shard,
    /// The ownership it writes under.
    pub epoch: u64,
    /// The last durable event it knows of.
    pub seq: Seq,
    /// States are stored up to here.
    pub flushed_upto: Seq,
    /// Entities with an actor.
    pub residents: usize,
    /// Entities in its table without one.
    pub passivated: usize,
    /// Entities with a deadline.
    pub agenda: usize,
    /// Entities set aside.
    pub quarantined: usize,
    /// Messages that wait for its entities.
    pub queue_depth: u64,
}

impl ShardState {
    pub(super) fn list_quarantined(&self) -> Vec<QuarantinedEntity> {
        let mut list: Vec<QuarantinedEntity> = self
            .slots
            .iter()
            .filter_map(|(entity, slot)| match slot {
                Slot::Quarantined(aside) => Some(QuarantinedEntity {
                    entity: entity.clone(),
                    reason: aside.reason.clone(),
                    failures: aside.failures,
                    since: aside.since,
                }),
                Slot::Resident(_) | Slot::Passivated(_) | Slot::Restarting(_) => None,
            })
            .collect();
        list.sort_by(|one, other| one.entity.cmp(&other.entity));
        list
    }

    /// Those that are resident and do not linger, then those with a deadline, the earliest first.
    pub(super) fn under_way(&self, limit: usize) -> Vec<EntityId> {
        let mut found: Vec<EntityId> = self.short_lived.iter().cloned().collect();
        found.sort();
        found.truncate(limit);
        let seen: BTreeSet<EntityId> = found.iter().cloned().collect();
        let waiting = self.agenda.iter().map(|(_, entity)| entity).filter(|entity| !seen.contains(entity));
        let left = limit.saturating_sub(found.len());
        found.extend(waiting.take(left).cloned());
        found
    }

    pub(super) fn describe(&self) -> ShardStatus {
        let mut status = ShardStatus {
            shard: self.shard,
            epoch: self.claim.epoch,
            seq: self.seq,
            flushed_upto: self.flushed_upto,
            residents: 0,
            passivated: 0,
            agenda: self.agenda.len(),
            quarantined: 0,
            queue_depth: 0,
        };
        for slot in self.slots.values() {
            match slot {
                Slot::Resident(resident) => {
                    status.residents = status.residents.saturating_add(1);
                    status.queue_depth = status.queue_depth.saturating_add(u64::from(resident.handle.waiting()));
                }
                Slot::Passivated(_) => status.passivated = status.passivated.saturating_add(1),
                Slot::Restarting(_) => {}
                Slot::Quarantined(_) => status.quarantined = status.quarantined.saturating_add(1),
            }
        }
        status
    }
}
