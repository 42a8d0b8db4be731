//! How a shard starts, passivates and restarts its entities' actors (rules E1 and E3).
//!
//! A new instance starts only after the old one's exit was seen and everything accepted from it is durable. An instance ends once its
//! events are durable and its mailbox is empty up to the shard's last message to it; otherwise two instances could be alive at once.

use super::slot::{Passivated, Quarantined, Resident, Restarting, Slot};
use super::state::ShardState;
use crate::entity::Shell;
use crate::handle::EntityHandle;
use crate::messages::ask::Answer;
use crate::messages::entity::{Activation, EntityMsg, Envelope, Queue, Start};
use crate::messages::local::LocalActor;
use crate::messages::shard::{Barrier, Passivate, ShardMsg, ShardNotice};
use doorbuster_clock::monotonic;
use doorbuster_domain::entity::Residency;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::Seq;
use ractor::{Actor, ActorId, ActorRef, MessagingErr, SpawnErr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

impl ShardState {
    /// Starts an entity's actor: from what the shard has of it, or from `start`; for the command `first`, if for one.
    pub(super) async fn start(
        &mut self,
        myself: &ActorRef<ShardMsg>,
        entity: &EntityId,
        start: Option<Start>,
        first: Option<Box<Envelope>>,
    ) {
        let (start, failures, queue) = match (self.slots.remove(entity), start) {
            (Some(Slot::Passivated(passivated)), _) => (Start::Passivated(passivated.state), 0, Queue::new()),
            (Some(Slot::Restarting(restarting)), _) => (Start::Replay, restarting.failures, restarting.queue),
            (Some(Slot::Quarantined(_)), _) => (Start::Replay, 0, Queue::new()),
            (Some(Slot::Resident(resident)), _) => {
                if let Some(envelope) = first {
                    resident.send(EntityMsg::Ask(envelope));
                }
                self.slots.insert(entity.clone(), Slot::Resident(resident));
                return;
            }
            (None, start) => (start.unwrap_or(Start::Load), 0, Queue::new()),
        };
        let instance = self.residents.next_instance();
        let fresh = matches!(start, Start::Load);
        let counted = u32::from(first.is_some());
        let waiting = Arc::new(AtomicU32::new(counted));
        let activation = Activation { id: entity.clone(), instance, start, waiting: Arc::clone(&waiting), first };
        match self.host(myself, activation).await {
            Ok(actor) => {
                let now = monotonic();
                self.residents.insert(actor.get_id(), entity);
                let actor = LocalActor::new(actor, self.shared.core.clone());
                let handle = Arc::new(EntityHandle::new(actor, u64::from(counted), waiting));
                if entity.residency() == Residency::LongLived {
                    self.shared.router.handles.insert(entity.clone(), Arc::clone(&handle));
                }
                let resident = Box::new(Resident {
                    handle,
                    instance,
                    seen: u64::from(counted),
                    stopping: false,
                    passivated: None,
                    owes: false,
                    failures,
                    queue: Queue::new(),
                    touched_at: now,
                    started_at: now,
                });
                if !fresh && let Some(number) = self.checkpointing.will_flush(entity) {
                    // It has events before the checkpoint's barrier, and had no actor when the checkpoint asked for rows.
                    resident.send(EntityMsg::Flush(number));
                }
                for envelope in queue {
                    resident.send(EntityMsg::Ask(envelope));
                }
                self.shared.context.stats.resident(1);
                self.slots.insert(entity.clone(), Slot::Resident(resident));
            }
            Err(error) => {
                // Only while the shard itself is being stopped.
                let why = in_words(&error);
                tracing::warn!(%entity, error = why, "an entity could not be started");
                queue.into_iter().for_each(|envelope| envelope.answer(Answer::Unknown));
                self.quarantine(entity.clone(), why, failures.saturating_add(1));
            }
        }
    }

    /// An actor for one more instance: one from the pool, or a new one.
    async fn host(
        &mut self,
        myself: &ActorRef<ShardMsg>,
        activation: Activation,
    ) -> Result<ActorRef<EntityMsg>, SpawnErr> {
        let mut activation = Box::new(activation);
        if activation.id.residency() == Residency::ShortLived {
            while let Some(actor) = self.residents.reuse() {
                match actor.send_message(EntityMsg::Activate(activation)) {
                    Ok(()) => return Ok(actor),
                    Err(MessagingErr::SendErr(EntityMsg::Activate(back))) => activation = back,
                    Err(error) => return Err(SpawnErr::StartupFailed(error.to_string().into())),
                }
            }
        }
        let arguments = (Arc::clone(&self.shared), *activation);
        let spawned = Box::pin(Shell::spawn_linked(None, Shell, arguments, myself.get_cell())).await;
        spawned.map(|(actor, _)| actor)
    }

    /// An entity is idle and everything it submitted is durable: it leaves memory, if no message is on its way to it.
    pub(super) fn passivate(&mut self, idle: Passivate, seq: Seq) {
        let Some(Slot::Resident(resident)) = self.slots.get_mut(&idle.entity) else { return };
        if resident.instance != idle.instance || resident.stopping || !resident.handle.close_at(idle.handled) {
            return;
        }
        self.agenda.set(&idle.entity, idle.wake_at);
        let passivated = Box::new(Passivated { state: idle.state, seq });
        if idle.entity.residency() == Residency::LongLived {
            resident.stopping = true;
            resident.passivated = Some(passivated);
            resident.handle.actor().stop(None);
            return;
        }
        // It was idle and got no message since, so it does nothing more: its actor is free for another entity.
        let actor = resident.handle.actor().clone();
        self.residents.remove(actor.get_id());
        self.shared.context.stats.resident(-1);
        self.residents.keep(actor);
        self.keep(idle.entity, passivated);
    }

    /// Keeps the state of an entity without an actor until it is stored. A state without unstored rows leaves at once. While a checkpoint is
    /// under way, and once one has failed, all stay: the rows that an entity gave to it are not in the store, and a load would find an older
    /// state there.
    fn keep(&mut self, entity: EntityId, passivated: Box<Passivated>) {
        let is_stored = passivated.state.dirty.is_empty()
            && !self.checkpointing.is_under_way()
            && !self.checkpointing.has_ended(&self.shared);
        if is_stored {
            self.slots.remove(&entity);
        } else {
            self.slots.insert(entity, Slot::Passivated(passivated));
        }
    }

    /// An actor has been stopped. Gives the commands that came meanwhile.
    pub(super) fn exited(&mut self, actor: ActorId) -> Queue {
        let Some(entity) = self.residents.remove(actor) else { return Queue::new() };
        let Some(Slot::Resident(resident)) = self.slots.get_mut(&entity) else { return Queue::new() };
        self.shared.context.stats.resident(-1);
        let queue = std::mem::take(&mut resident.queue);
        let Some(passivated) = resident.passivated.take() else {
            // Stopped from outside, which no code here does; its events are in the journal.
            resident.handle.close();
            let instance = resident.instance;
            self.restart_later(&entity, instance, 0, "ended by itself", queue);
            return Queue::new();
        };
        self.shared.router.handles.remove(&entity);
        if let Some(sku) = entity.published_as() {
            self.shared.context.views.close(sku);
        }
        if queue.is_empty() {
            self.keep(entity, passivated);
        } else {
            self.slots.insert(entity, Slot::Passivated(passivated));
        }
        queue
    }

    /// An actor has failed: its entity starts again after a growing delay, or is quarantined (rule E3).
    pub(super) fn failed(&mut self, actor: ActorId, reason: &str) {
        let Some(entity) = self.residents.remove(actor) else {
            self.residents.forget(actor);
            return;
        };
        let Some(Slot::Resident(resident)) = self.slots.get_mut(&entity) else { return };
        self.shared.context.stats.resident(-1);
        self.shared.context.stats.restarted();
        let queue = std::mem::take(&mut resident.queue);
        resident.handle.close();
        let restart_delay_max = Duration::from_millis(self.shared.context.settings.restart_delay_max_ms);
        let was_steady = doorbuster_clock::since(resident.started_at) > restart_delay_max;
        let failures = if was_steady { 1 } else { resident.failures.saturating_add(1) };
        let instance = resident.instance;
        self.checkpointing.will_not_flush(&entity);
        self.restart_later(&entity, instance, failures, reason, queue);
    }

    fn restart_later(&mut self, entity: &EntityId, instance: u64, failures: u32, reason: &str, queue: Queue) {
        let settings = &self.shared.context.settings;
        if failures >= settings.quarantine_after {
            tracing::error!(%entity, failures, reason, "entity quarantined");
            self.shared.context.stats.quarantined();
            queue.into_iter().for_each(|envelope| envelope.answer(Answer::Quarantined));
            self.quarantine(entity.clone(), reason.to_owned(), failures);
            return;
        }
        tracing::warn!(%entity, failures, reason, "entity failed, it will be started again");
        let delay = settings
            .restart_delay_min_ms
            .saturating_mul(1_u64.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(1))
            .min(settings.restart_delay_max_ms);
        let restarting = Restarting {
            instance,
            failures,
            not_before: monotonic() + Duration::from_millis(delay),
            durable: false,
            queue,
        };
        self.slots.insert(entity.clone(), Slot::Restarting(Box::new(restarting)));
        self.restarting.insert(entity.clone());
        self.shared.notify(ShardNotice::Barrier(Barrier::Exit { entity: entity.clone(), instance }));
    }

    /// Keeps an entity from being started until an operator retries it.
    pub(super) fn quarantine(&mut self, entity: EntityId, reason: String, failures: u32) {
        let quarantined = Quarantined { reason, failures, since: self.shared.context.clock.now() };
        self.slots.insert(entity, Slot::Quarantined(Box::new(quarantined)));
    }

    /// Everything that a failed instance submitted is durable.
    pub(super) fn may_restart(&mut self, entity: &EntityId, instance: u64) {
        if let Some(Slot::Restarting(restarting)) = self.slots.get_mut(entity)
            && restarting.instance == instance
        {
            restarting.durable = true;
        }
    }

    /// Starts the failed entities whose delay is over.
    pub(super) async fn restart_due(&mut self, myself: &ActorRef<ShardMsg>) {
        let due = |entity: &&EntityId| match self.slots.get(entity) {
            Some(Slot::Restarting(restarting)) => restarting.durable && restarting.not_before <= monotonic(),
            Some(Slot::Resident(_) | Slot::Passivated(_) | Slot::Quarantined(_)) | None => false,
        };
        let due: Vec<EntityId> = self.restarting.iter().filter(due).cloned().collect();
        for entity in due {
            self.restarting.remove(&entity);
            self.start(myself, &entity, None, None).await;
        }
    }

    /// Starts a quarantined entity once more; `false`: it was not quarantined.
    pub(super) async fn retry(&mut self, myself: &ActorRef<ShardMsg>, entity: &EntityId) -> bool {
        if !matches!(self.slots.get(entity), Some(Slot::Quarantined(_))) {
            return false;
        }
        self.start(myself, entity, Some(Start::Replay), None).await;
        true
    }
}

/// The reason of a failed start. The library calls every failed start a panic, also one that was only refused because the shard is being
/// stopped; an operator who looks for panics in the log must find none that was not.
pub(crate) fn in_words(error: &SpawnErr) -> String {
    match error {
        SpawnErr::StartupFailed(why) => why.to_string(),
        error => error.to_string(),
    }
}
