//! What a shard does as time passes: wakes entities whose deadline has come, looks at its residents, restarts, checkpoints.

use super::slot::Slot;
use super::state::ShardState;
use crate::messages::ask::Ask;
use doorbuster_clock::monotonic;
use doorbuster_domain::any::Command;
use doorbuster_domain::entity::{Residency, Wait};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::principal::Principal;
use tokio::time::Instant;

/// Entities woken in one tick at most; the rest at the next.
const WAKES_PER_TICK_MAX: usize = 4_096;

impl ShardState {
    /// The wakes whose deadline has come.
    pub(super) fn due_wakes(&mut self) -> Vec<Ask> {
        let now = self.shared.context.clock.now();
        let deadline = now.plus_s(self.shared.context.settings.command_life_s);
        let wake = |entity: EntityId| Ask {
            entity,
            command: Command::Wake,
            by: Principal::System,
            wait: Wait::Decided,
            deadline,
            if_version: None,
            reject_if_absent: None,
        };
        self.agenda.due(now, WAKES_PER_TICK_MAX).into_iter().map(wake).collect()
    }

    /// Sends a tick to the residents that owe something or should have ended, and to the long-lived ones that are out of use.
    pub(super) fn sweep_residents(&mut self) {
        let settings = &self.shared.context.settings;
        let now = monotonic();
        if !self.residents.begin_sweep(now, settings) {
            return;
        }
        let idle_ms = if self.residents.is_crowded(settings) { 0 } else { settings.idle_ms };
        let since = |then: Instant| u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX);
        for entity in self.residents.iter() {
            let Some(Slot::Resident(resident)) = self.slots.get_mut(entity) else { continue };
            if resident.stopping || resident.handle.waiting() > 0 {
                continue;
            }
            resident.note_use(now);
            let quiet_ms = since(resident.touched_at);
            let stays = entity.residency() == Residency::LongLived && !resident.owes;
            let due = if stays { quiet_ms > idle_ms } else { quiet_ms >= settings.effect_retry_min_ms };
            if due {
                // It does not count as use of an entity that stays: it must not keep it in memory.
                resident.tick(!stays);
            }
        }
    }
}
