//! Rule S5: a shard recovers the stored agenda, the entities that owe effects, and every entity with an event in the log's tail.

use super::slot::{Passivated, Slot};
use super::state::ShardState;
use crate::messages::entity::Start;
use crate::messages::passivated::PassivatedState;
use crate::messages::shard::ShardMsg;
use crate::recovery::{self, Loaded, RecoveryError};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Journal;
use ractor::ActorRef;

impl ShardState {
    /// Gives the number of events taken in from the tail.
    pub(super) async fn recover(&mut self, myself: &ActorRef<ShardMsg>) -> Result<u64, RecoveryError> {
        let store = self.shared.context.store.clone();
        let mut owing: Vec<EntityId> = Vec::new();
        for row in store.agenda(self.shared.shard).await? {
            self.agenda.set(&row.entity, row.wake_at);
            if row.owes {
                owing.push(row.entity);
            }
        }
        let (tail, events) = recovery::fold_tail(&store, &self.claim).await?;
        let mut tail: Vec<_> = tail.into_iter().collect();
        tail.sort_by(|one, other| one.0.cmp(&other.0));
        let now = self.shared.context.clock.now();
        for (entity, loaded) in tail {
            match loaded {
                Ok(loaded) => {
                    if !loaded.state.owed(now).is_empty() {
                        owing.push(entity.clone());
                    }
                    self.agenda.set(&entity, loaded.state.wake_at(Timestamp::default()));
                    let Loaded { state, meta, dirty } = loaded;
                    let state = PassivatedState::new(&entity, state, meta, dirty);
                    self.slots.insert(entity, Slot::Passivated(Box::new(Passivated { state, seq: self.seq })));
                }
                Err(error) => {
                    tracing::error!(%entity, %error, "entity quarantined at recovery");
                    self.quarantine(entity, error.to_string(), 1);
                }
            }
        }
        owing.sort();
        owing.dedup();
        for entity in owing {
            if !matches!(self.slots.get(&entity), Some(Slot::Quarantined(_))) {
                let start = if self.slots.contains_key(&entity) { None } else { Some(Start::Replay) };
                self.start(myself, &entity, start, None).await;
            }
        }
        Ok(events)
    }
}
