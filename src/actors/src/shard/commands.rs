//! A command to an entity of the shard: to its actor, into a queue, or refused.

use super::slot::Slot;
use super::state::ShardState;
use crate::messages::ask::Answer;
use crate::messages::entity::{EntityMsg, Envelope, ReplyTo, Start};
use crate::messages::shard::ShardMsg;
use crate::output::PendingOutput;
use doorbuster_clock::monotonic;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::Journal;
use ractor::ActorRef;

impl ShardState {
    /// Sends a command on its way.
    pub(super) async fn ask(&mut self, myself: &ActorRef<ShardMsg>, mut envelope: Envelope) {
        let context = &self.shared.context;
        let settings = &context.settings;
        match self.slots.get_mut(&envelope.ask.entity) {
            Some(Slot::Resident(resident)) => {
                let waiting_max = match envelope.reply_to {
                    ReplyTo::Caller(_) => settings.mailbox_max,
                    ReplyTo::Entity { .. } | ReplyTo::OtherGroup { .. } | ReplyTo::Nobody => {
                        settings.effects_waiting_max()
                    }
                };
                if resident.stopping {
                    resident.queue.push(envelope);
                } else if resident.handle.waiting() >= waiting_max {
                    context.stats.refused_busy();
                    envelope.answer(Answer::Busy { retry_after_s: 1 });
                } else {
                    resident.touched_at = monotonic();
                    resident.send(EntityMsg::Ask(Box::new(envelope)));
                }
            }
            Some(Slot::Restarting(restarting)) => {
                if restarting.queue.len() < usize::try_from(settings.mailbox_max).unwrap_or(usize::MAX) {
                    restarting.queue.push(envelope);
                } else {
                    envelope.answer(Answer::Busy { retry_after_s: 1 });
                }
            }
            Some(Slot::Quarantined(_)) => envelope.answer(Answer::Quarantined),
            // Rule E4, before an actor is started or the store is read for a caller that no longer waits.
            Some(Slot::Passivated(_)) | None if envelope.is_over(context.clock.now(), &context.stats) => {}
            Some(Slot::Passivated(_)) => self.start(myself, &envelope.ask.entity.clone(), None, Some(envelope)).await,
            None => {
                if let Some(refusal) = &envelope.ask.reject_if_absent
                    && matches!(Box::pin(self.is_stored(&envelope.ask.entity)).await, Ok(false))
                {
                    // Rule R5: memory, tail and store know no such entity, so nothing is lost by this refusal.
                    let refusal = refusal.as_ref().clone();
                    self.shared.context.stats.rejected_absent();
                    match envelope.reply_to {
                        // Rule O4: where another node may own the shard meanwhile, the answer waits like every other.
                        ReplyTo::Caller(caller) if self.shared.context.store.is_shared() => {
                            let refused = PendingOutput::Refused(caller, Box::new(refusal));
                            self.shared.submit(None, vec![refused], None);
                        }
                        _ => envelope.answer(Answer::Refused(refusal)),
                    }
                    return;
                }
                self.start(myself, &envelope.ask.entity.clone(), Some(Start::Load), Some(envelope)).await;
            }
        }
    }

    async fn is_stored(&self, entity: &EntityId) -> Result<bool, doorbuster_storage::ReadError> {
        Ok(!self.shared.context.store.load(self.shared.shard, entity).await?.is_empty())
    }

    /// Passes an answer to the entity that owes the effect. An entity without an actor has no effect under way; its next instance sends it
    /// again.
    pub(super) fn answer(&mut self, entity: &EntityId, key: EffectKey, outcome: Outcome) {
        if let Some(Slot::Resident(resident)) = self.slots.get_mut(entity)
            && !resident.stopping
        {
            resident.send(EntityMsg::AnswerByShard { key, outcome });
        }
    }

    /// The shard is being released: callers that wait for an entity ask the next owner.
    pub(super) fn drain_waiters(&mut self) {
        for slot in self.slots.values_mut() {
            match slot {
                Slot::Resident(resident) if resident.stopping => {
                    resident.queue.drain(..).for_each(|envelope| envelope.answer(Answer::NotServing));
                }
                Slot::Resident(resident) => resident.send(EntityMsg::DrainWaiters),
                Slot::Restarting(restarting) => {
                    restarting.queue.drain(..).for_each(|envelope| envelope.answer(Answer::NotServing));
                }
                Slot::Passivated(_) | Slot::Quarantined(_) => {}
            }
        }
    }

    /// Fault injection: the entity's actor panics, if that was armed; `false`: it could not be started.
    pub(super) async fn panic(&mut self, myself: &ActorRef<ShardMsg>, entity: &EntityId) -> bool {
        if !matches!(self.slots.get(entity), Some(Slot::Resident(_))) {
            self.start(myself, entity, None, None).await;
        }
        match self.slots.get_mut(entity) {
            Some(Slot::Resident(resident)) => {
                resident.send(EntityMsg::Panic);
                true
            }
            _ => false,
        }
    }
}
