//! What an operator may see of a shard.

use super::slot::Slot;
use super::state::ShardState;
use crate::messages::shard::{QuarantinedEntity, ShardStatus};
use doorbuster_domain::ids::EntityId;
use std::collections::BTreeSet;

impl ShardState {
    /// The quarantined entities, in order.
    pub(super) fn list_quarantined(&self) -> Vec<QuarantinedEntity> {
        let mut list: Vec<QuarantinedEntity> = self
            .slots
            .iter()
            .filter_map(|(entity, slot)| match slot {
                Slot::Quarantined(quarantined) => Some(QuarantinedEntity {
                    entity: entity.clone(),
                    reason: quarantined.reason.clone(),
                    failures: quarantined.failures,
                    since: quarantined.since,
                }),
                Slot::Resident(_) | Slot::Passivated(_) | Slot::Restarting(_) => None,
            })
            .collect();
        list.sort_by(|one, other| one.entity.cmp(&other.entity));
        list
    }

    /// The short-lived residents, then the entities with a deadline, the earliest first; at most `limit`.
    pub(super) fn under_way(&self, limit: usize) -> Vec<EntityId> {
        // Those that need the operator first: in a sale the others alone are more than the limit.
        let mut found: Vec<EntityId> = self.agenda.for_operator().take(limit).cloned().collect();
        let mut seen: BTreeSet<EntityId> = found.iter().cloned().collect();
        let mut residents: Vec<EntityId> =
            self.residents.short_lived().filter(|id| !seen.contains(*id)).cloned().collect();
        residents.sort();
        residents.truncate(limit.saturating_sub(found.len()));
        seen.extend(residents.iter().cloned());
        found.extend(residents);
        let waiting = self.agenda.iter().map(|(_, entity)| entity).filter(|entity| !seen.contains(entity));
        let room = limit.saturating_sub(found.len());
        found.extend(waiting.take(room).cloned());
        found
    }

    /// The shard's figures.
    pub(super) fn describe(&self) -> ShardStatus {
        let mut status = ShardStatus {
            shard: self.shared.shard,
            epoch: self.claim.epoch,
            seq: self.seq,
            flushed_upto: self.checkpointing.stored_upto(),
            residents: 0,
            passivated: 0,
            agenda: self.agenda.len(),
            for_operator: self.agenda.for_operator().count(),
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
