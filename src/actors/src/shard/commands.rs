//! A command to an entity of the shard: to its actor, into a queue, or refused.
//!
//! ```text
//! no slot, and reject_if_absent or a long-lived kind ──► read the store ──► looked at again ──► no slot, not stored: refused (R5, W1)
//!                                                                                  └───────────► otherwise: to the entity
//! ```

use super::slot::Slot;
use super::state::ShardState;
use crate::messages::ask::Answer;
use crate::messages::asker::EffectAnswer;
use crate::messages::entity::{EntityMsg, Envelope, ReplyTo, Start};
use crate::messages::shard::ShardMsg;
use crate::output::PendingOutput;
use doorbuster_clock::monotonic;
use doorbuster_domain::any::{Refusal, State};
use doorbuster_domain::effect::Outcome;
use doorbuster_domain::entity::Residency;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Journal;
use futures_util::future::Either;
use ractor::ActorRef;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

impl ShardState {
    /// Sends a command on its way.
    pub(super) fn ask(
        &mut self,
        myself: &ActorRef<ShardMsg>,
        envelope: Box<Envelope>,
    ) -> impl Future<Output = ()> + Send {
        if envelope.ask.reject_if_absent.is_none() && self.absence.is_empty() {
            Either::Left(self.pass_on(myself, envelope))
        } else {
            Either::Right(Box::pin(self.ask_in_turn(myself, envelope)))
        }
    }

    /// Sends a command on its way that is refused if its entity does not exist, or while such commands wait.
    async fn ask_in_turn(&mut self, myself: &ActorRef<ShardMsg>, envelope: Box<Envelope>) {
        if envelope.ask.reject_if_absent.is_some() && !self.slots.contains_key(&envelope.ask.entity) {
            self.ask_if_present(myself, envelope).await;
            return;
        }
        // It reaches the entity, so those that wait for the store's word get its answer too.
        let waited = self.absence.end(&envelope.ask.entity);
        self.pass_on(myself, envelope).await;
        for envelope in waited {
            self.pass_on(myself, envelope).await;
        }
    }

    /// Passes a command on to its entity, which is started if it has no actor.
    async fn pass_on(&mut self, myself: &ActorRef<ShardMsg>, mut envelope: Box<Envelope>) {
        let context = &self.shared.context;
        let settings = &context.settings;
        match self.slots.get_mut(&envelope.ask.entity) {
            Some(Slot::Resident(resident)) => {
                let waiting_max = match envelope.reply_to {
                    ReplyTo::Caller(_) => settings.mailbox_max,
                    ReplyTo::Entity(_) | ReplyTo::Nobody => settings.effects_waiting_max(),
                };
                if resident.stopping {
                    resident.queue.push_back(envelope);
                } else if resident.handle.waiting() >= waiting_max {
                    context.stats.refused_busy();
                    envelope.answer(Answer::Busy { retry_after_s: 1 });
                } else {
                    resident.touched_at = monotonic();
                    resident.send(EntityMsg::Ask(envelope));
                }
            }
            Some(Slot::Restarting(restarting)) => {
                if restarting.queue.len() < usize::try_from(settings.mailbox_max).unwrap_or(usize::MAX) {
                    restarting.queue.push_back(envelope);
                } else {
                    envelope.answer(Answer::Busy { retry_after_s: 1 });
                }
            }
            Some(Slot::Quarantined(_)) => envelope.answer(Answer::Quarantined),
            // Rule E4, before an actor is started or the store is read for a caller that no longer waits.
            Some(Slot::Passivated(_)) | None if envelope.is_over(context.clock.now(), &context.stats) => {}
            Some(Slot::Passivated(_)) => self.start(myself, &envelope.ask.entity.clone(), None, Some(envelope)).await,
            // Rule W1: the actor of a long-lived kind stays in memory for a while, so none is started for a name that does not exist.
            None if envelope.ask.entity.residency() == Residency::LongLived
                && !matches!(envelope.reply_to, ReplyTo::Nobody) =>
            {
                Box::pin(self.ask_if_present(myself, envelope)).await;
            }
            None => self.start(myself, &envelope.ask.entity.clone(), Some(Start::Load), Some(envelope)).await,
        }
    }

    /// Memory and tail know no such entity: reads the store. A read that is not done at once goes on outside the shard's loop.
    async fn ask_if_present(&mut self, myself: &ActorRef<ShardMsg>, mut envelope: Box<Envelope>) {
        let context = &self.shared.context;
        if envelope.is_over(context.clock.now(), &context.stats) {
            return;
        }
        if self.absence.is_full(context.settings.absence_reads_max) {
            context.stats.refused_busy();
            envelope.answer(Answer::Busy { retry_after_s: 1 });
            return;
        }
        let Err(envelope) = self.absence.join(envelope) else { return };
        let (store, shard, entity) = (context.store.clone(), self.shared.shard, envelope.ask.entity.clone());
        let mut read = Box::pin(async move {
            let is_absent = matches!(store.load(shard, &entity).await, Ok(rows) if rows.is_empty());
            (entity, is_absent)
        });
        match poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await {
            Poll::Ready((_, is_absent)) => self.absence_known(myself, envelope, is_absent).await,
            Poll::Pending => {
                let number = self.absence.begin(envelope);
                let myself = myself.clone();
                tokio::spawn(async move {
                    let (entity, is_absent) = read.await;
                    // A shard that is gone has dropped the commands that waited.
                    drop(myself.send_message(ShardMsg::AbsenceRead { entity, read: number, is_absent }));
                });
            }
        }
    }

    /// The store was read for an entity; commands wait for it, unless one has reached the entity meanwhile.
    pub(super) async fn absence_read(
        &mut self,
        myself: &ActorRef<ShardMsg>,
        entity: &EntityId,
        read: u64,
        is_absent: bool,
    ) {
        for envelope in self.absence.read(entity, read) {
            self.absence_known(myself, envelope, is_absent).await;
        }
    }

    /// Refuses a command if the store, memory and tail know no such entity; otherwise passes it on.
    async fn absence_known(&mut self, myself: &ActorRef<ShardMsg>, mut envelope: Box<Envelope>, is_absent: bool) {
        let context = &self.shared.context;
        let now = context.clock.now();
        if envelope.is_over(now, &context.stats) {
            return;
        }
        if self.slots.contains_key(&envelope.ask.entity) {
            self.pass_on(myself, envelope).await;
            return;
        }
        let refusal = is_absent
            .then(|| envelope.ask.reject_if_absent.take().or_else(|| refusal_of_nothing(&envelope, now)))
            .flatten();
        match refusal {
            Some(refusal) => self.refuse_absent(envelope, refusal),
            None => self.start(myself, &envelope.ask.entity.clone(), Some(Start::Load), Some(envelope)).await,
        }
    }

    fn refuse_absent(&self, envelope: Box<Envelope>, refusal: Box<Refusal>) {
        self.shared.context.stats.rejected_absent();
        match envelope.reply_to {
            // Rule O4: where another node may own the shard meanwhile, the answer waits like every other.
            ReplyTo::Caller(caller) if self.shared.context.store.is_shared() => {
                self.shared.submit(None, vec![PendingOutput::Refused(caller, refusal)], None);
            }
            ReplyTo::Caller(_) | ReplyTo::Nobody => envelope.answer(Answer::Refused(*refusal)),
            ReplyTo::Entity(asker) => match asker.answer(Outcome::Refused(*refusal)) {
                // The sender may have ended; its next instance asks again if it still owes the effect.
                Some(EffectAnswer::InGroup(actor, answer)) => {
                    actor.send(answer);
                }
                Some(EffectAnswer::OtherGroup(answer)) => {
                    self.shared.submit(None, vec![PendingOutput::CrossGroup(answer)], None);
                }
                None => {}
            },
        }
    }

    /// Passes on to the entity that owes an effect what became of it. An entity without an actor has no effect under way; its next instance
    /// sends it again.
    pub(super) fn effect_ended(&mut self, entity: &EntityId, message: EntityMsg) {
        if let Some(Slot::Resident(resident)) = self.slots.get_mut(entity)
            && !resident.stopping
        {
            resident.send(message);
        }
    }

    /// The shard is being released: callers that wait for an entity ask the next owner.
    pub(super) fn drain_waiters(&mut self) {
        self.absence.end_all().for_each(|envelope| envelope.answer(Answer::NotServing));
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

/// What an entity that does not exist says to a command; `None`: it accepts it. A panic is left to the entity's actor (rule E3).
fn refusal_of_nothing(envelope: &Envelope, now: Timestamp) -> Option<Box<Refusal>> {
    let nothing = State::empty(&envelope.ask.entity);
    let decided = catch_unwind(AssertUnwindSafe(|| nothing.decide_for(&envelope.ask.by, &envelope.ask.command, now)));
    decided.ok()?.err().map(Box::new)
}
