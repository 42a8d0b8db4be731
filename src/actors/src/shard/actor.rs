//! The actor of a shard: its messages, and what each does.

use super::slot::Slot;
use super::state::ShardState;
use crate::messages::entity::{EntityMsg, Envelope, ReplyTo};
use crate::messages::shard::{Barrier, ShardMsg, ShardNotice};
use crate::shard_context::ShardContext;
use doorbuster_storage::{Claim, Seq};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::sync::Arc;
use std::time::Duration;

/// The ractor handler; its state is the [`ShardState`].
#[derive(Debug)]
pub(crate) struct ShardActor;

/// What a shard is started with.
#[derive(Debug)]
pub(crate) struct ShardSeed {
    pub(crate) claim: Claim,
    pub(crate) shared: Arc<ShardContext>,
}

impl Actor for ShardActor {
    type Msg = ShardMsg;
    type State = ShardState;
    type Arguments = ShardSeed;

    async fn pre_start(&self, _: ActorRef<ShardMsg>, seed: ShardSeed) -> Result<ShardState, ActorProcessingErr> {
        Ok(ShardState::new(seed.shared, seed.claim))
    }

    async fn handle(
        &self,
        myself: ActorRef<ShardMsg>,
        message: ShardMsg,
        shard: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        match (&message, &mut shard.early) {
            (ShardMsg::Recover(_), _) | (_, None) => shard.act(&myself, message).await,
            (_, Some(early)) => early.push(message),
        }
        Ok(())
    }

    /// ractor's own handler would stop the shard when any entity exits.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ShardMsg>,
        event: SupervisionEvent,
        shard: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => {
                for envelope in shard.exited(cell.get_id()) {
                    Box::pin(shard.ask(&myself, envelope)).await;
                }
            }
            SupervisionEvent::ActorFailed(cell, error) => shard.failed(cell.get_id(), &error.to_string()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
            _ => {}
        }
        Ok(())
    }
}

impl ShardState {
    async fn act(&mut self, myself: &ActorRef<ShardMsg>, message: ShardMsg) {
        match message {
            ShardMsg::Recover(ready) => {
                let recovered = Box::pin(self.recover(myself)).await;
                let is_recovered = recovered.is_ok();
                drop(ready.send(recovered.map_err(|error| error.to_string())));
                if !is_recovered {
                    // The claimant ends it; until then it must answer nothing.
                    return;
                }
                for early in self.early.take().unwrap_or_default() {
                    Box::pin(self.act(myself, early)).await;
                }
                let tick = Duration::from_millis(self.shared.context.settings.tick_ms.max(1));
                // Ends with the actor: sending to a stopped actor fails, and ractor then ends the timer.
                drop(myself.send_interval(tick, || ShardMsg::Tick));
            }
            ShardMsg::Ask(envelope) => self.ask(myself, envelope).await,
            ShardMsg::Answer { entity, key, outcome } => {
                self.effect_ended(&entity, EntityMsg::AnswerByShard { key, outcome });
            }
            ShardMsg::CopyGone { entity, key } => self.effect_ended(&entity, EntityMsg::CopyGoneByShard { key }),
            // Notices of an earlier ownership of this node mean nothing to this one.
            ShardMsg::Durable { epoch, .. } if epoch != self.claim.epoch => {}
            ShardMsg::Durable { bytes, notices, .. } => self.durable(myself, bytes, notices),
            ShardMsg::Tick => Box::pin(self.tick(myself)).await,
            ShardMsg::Checkpointed { upto, result } => {
                self.checkpointing.stored(&self.shared, &self.claim, &mut self.slots, self.seq, upto, result);
            }
            ShardMsg::AbsenceRead { entity, read, is_absent } => {
                Box::pin(self.absence_read(myself, &entity, read, is_absent)).await;
            }
            ShardMsg::FlushAll(done) => self.checkpointing.store_all(&self.shared, &self.slots, done),
            ShardMsg::DrainWaiters => self.drain_waiters(),
            ShardMsg::ListQuarantined(reply) => drop(reply.send(self.list_quarantined())),
            ShardMsg::Retry { entity, done } => drop(done.send(Box::pin(self.retry(myself, &entity)).await)),
            ShardMsg::Describe(reply) => drop(reply.send(self.describe())),
            ShardMsg::UnderWay { limit, reply } => drop(reply.send(self.under_way(limit))),
            ShardMsg::Panic { entity, done } => drop(done.send(Box::pin(self.panic(myself, &entity)).await)),
        }
    }

    fn durable(&mut self, myself: &ActorRef<ShardMsg>, bytes: u64, notices: Vec<(Seq, ShardNotice)>) {
        self.checkpointing.appended(bytes);
        for (seq, notice) in notices {
            self.seq = self.seq.max(seq);
            match notice {
                ShardNotice::Passivate(idle) => self.passivate(*idle, seq),
                ShardNotice::Agenda { entity, wake_at, owes } => {
                    self.agenda.set(&entity, wake_at);
                    if let Some(Slot::Resident(resident)) = self.slots.get_mut(&entity) {
                        resident.owes = owes;
                    }
                }
                ShardNotice::Flushed(flushed) => self.checkpointing.flushed(*flushed, seq),
                ShardNotice::Barrier(Barrier::Checkpoint(number)) => {
                    self.checkpointing.reached(number, seq);
                    self.finish_checkpoint(myself);
                }
                ShardNotice::Barrier(Barrier::Exit { entity, instance }) => self.may_restart(&entity, instance),
            }
        }
        self.finish_checkpoint(myself);
    }

    fn finish_checkpoint(&mut self, myself: &ActorRef<ShardMsg>) {
        self.checkpointing.finish(&self.shared, &self.claim, &self.slots, myself);
    }

    async fn tick(&mut self, myself: &ActorRef<ShardMsg>) {
        for ask in self.due_wakes() {
            self.ask(myself, Box::new(Envelope { ask, reply_to: ReplyTo::Nobody })).await;
        }
        self.shared.flush_writer();
        self.sweep_residents();
        self.restart_due(myself).await;
        let settings = &self.shared.context.settings;
        if self.checkpointing.is_due(self.shared.shard, self.seq, settings) {
            self.checkpointing.begin(&self.shared, &self.slots);
        }
    }
}
