//! How a shard starts, ends and restarts its entities' actors (rules E1 and E3).
//!
//! A new instance starts only after the old one's exit was seen and everything accepted from it is durable. It ends once its events are
//! durable and its mailbox is empty up to the shard's last message to it; otherwise it would live twice.

use super::ask::Answer;
use super::entity::{EntityMsg, Seed, Shell, Start, is_long_lived};
use super::handle::EntityHandle;
use super::output::{Barrier, Passivate, PendingOutput};
use super::router::Envelope;
use super::shard::{ShardMsg, ShardState, refuse};
use super::slot::{Passivated, Quarantined, Resident, Restarting, Slot};
use doorbuster_clock::monotonic;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::Seq;
use ractor::{Actor, ActorId, ActorRef, MessagingErr, SpawnErr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Actors that wait in a shard for the next order or cart, at the most. Too few: a sale makes and ends actors all the time. Each costs some
/// 10 KB.
const POOL_MAX: usize = 512;

impl ShardState {
    /// Starts an entity's actor: from what the shard has of it, or from `start`; for the question `first`, if for one.
    pub(super) async fn start(
        &mut self,
        myself: &ActorRef<ShardMsg>,
        entity: &EntityId,
        start: Option<Start>,
        first: Option<Envelope>,
    ) {
        self.instances = self.instances.wrapping_add(1);
        let (start, failures, queue) = match (self.slots.remove(entity), start) {
            (Some(Slot::Passivated(passivated)), _) => (Start::Passivated(passivated.state), 0, Vec::new()),
            (Some(Slot::Restarting(restarting)), _) => (Start::Replay, restarting.failures, restarting.queue),
            (Some(Slot::Quarantined(_)), _) => (Start::Replay, 0, Vec::new()),
            (Some(Slot::Resident(resident)), _) => {
                if let Some(envelope) = first {
                    resident.send(EntityMsg::Ask(Box::new(envelope)));
                }
                self.slots.insert(entity.clone(), Slot::Resident(resident));
                return;
            }
            (None, start) => (start.unwrap_or(Start::Load), 0, Vec::new()),
        };
        let fresh = matches!(start, Start::Load);
        let counted = u32::from(first.is_some());
        let waiting = Arc::new(AtomicU32::new(counted));
        let seed = Seed {
            id: entity.clone(),
            shard: self.shard,
            instance: self.instances,
            context: Arc::clone(&self.context),
            writer: self.writer.clone(),
            start,
            waiting: Arc::clone(&waiting),
            first: first.map(Box::new),
        };
        match self.host(myself, seed).await {
            Ok(actor) => {
                let now = monotonic();
                self.by_actor.insert(actor.get_id(), entity.clone());
                if is_long_lived(entity) {
                    self.long_lived.insert(entity.clone());
                } else {
                    self.short_lived.insert(entity.clone());
                }
                let handle = Arc::new(EntityHandle::new(actor, u64::from(counted), waiting));
                if let EntityId::Inventory(sku) = entity {
                    self.context.views.open(sku).connect(Arc::clone(&handle));
                }
                let resident = Box::new(Resident {
                    handle,
                    instance: self.instances,
                    seen: u64::from(counted),
                    stopping: false,
                    passivated: None,
                    owes: false,
                    failures,
                    queue: Vec::new(),
                    touched_at: now,
                    started_at: now,
                });
                if !fresh && let Some(number) = self.will_flush(entity) {
                    // It has events before the checkpoint's barrier, and was not here when the checkpoint asked for rows.
                    resident.send(EntityMsg::Flush(number));
                }
                for envelope in queue {
                    resident.send(EntityMsg::Ask(Box::new(envelope)));
                }
                self.context.stats.resident(1);
                self.slots.insert(entity.clone(), Slot::Resident(resident));
            }
            Err(error) => {
                // Only while the shard itself is being stopped.
                let why = in_words(&error);
                tracing::warn!(%entity, error = why, "an entity could not be started");
                queue.into_iter().for_each(|envelope| refuse(envelope, Answer::Unknown));
                let now = self.context.clock.now();
                let aside = Quarantined { reason: why, failures: failures.saturating_add(1), since: now };
                self.slots.insert(entity.clone(), Slot::Quarantined(Box::new(aside)));
            }
        }
    }

    /// An actor for one more life: a warm one that waits for it, or a new one.
    async fn host(&mut self, myself: &ActorRef<ShardMsg>, seed: Seed) -> Result<ActorRef<EntityMsg>, SpawnErr> {
        let mut seed = Box::new(seed);
        if !is_long_lived(&seed.id) {
            while let Some(actor) = self.pool.pop() {
                match actor.send_message(EntityMsg::Host(seed)) {
                    Ok(()) => return Ok(actor),
                    Err(MessagingErr::SendErr(EntityMsg::Host(back))) => seed = back,
                    Err(error) => return Err(SpawnErr::StartupFailed(error.to_string().into())),
                }
            }
        }
        let spawned = Box::pin(Shell::spawn_linked(None, Shell, *seed, myself.get_cell())).await;
        spawned.map(|(actor, _)| actor)
    }

    /// An entity has nothing under way and everything it said is durable: it ends, if no message of ours is on its way to it.
    pub(super) fn passivate(&mut self, idle: Passivate, seq: Seq) {
        let Some(Slot::Resident(resident)) = self.slots.get_mut(&idle.entity) else { return };
        if resident.instance != idle.instance || resident.stopping || !resident.handle.close_at(idle.handled) {
            return;
        }
        self.agenda.set(&idle.entity, idle.wake_at);
        let passivated = Box::new(Passivated { state: idle.state, seq });
        if is_long_lived(&idle.entity) {
            resident.stopping = true;
            resident.passivated = Some(passivated);
            resident.handle.actor().stop(None);
            return;
        }
        // It has said that it is idle and was sent nothing since, so it does nothing more: its actor is free for another.
        let actor = resident.handle.actor().clone();
        self.by_actor.remove(&actor.get_id());
        self.short_lived.remove(&idle.entity);
        self.context.stats.resident(-1);
        if self.pool.len() < POOL_MAX {
            self.pool.push(actor);
        } else {
            actor.stop(None);
        }
        self.keep(idle.entity, passivated);
    }

    /// What an entity without an actor leaves in the table. A clean state that was only read leaves at once; others wait for the checkpoint.
    /// While one is under way, and once one has failed, all stay: what a state gave to it is not in the store, and whoever loaded it there would
    /// find an older one.
    fn keep(&mut self, entity: EntityId, passivated: Box<Passivated>) {
        if passivated.state.dirty.is_empty() && self.checkpoint.is_none() && !self.must_end() {
            self.slots.remove(&entity);
        } else {
            self.slots.insert(entity, Slot::Passivated(passivated));
        }
    }

    /// An actor has ended as it was told to.
    pub(super) async fn exited(&mut self, myself: &ActorRef<ShardMsg>, actor: ActorId) {
        let Some(entity) = self.by_actor.remove(&actor) else { return };
        let Some(Slot::Resident(resident)) = self.slots.get_mut(&entity) else { return };
        if resident.handle.actor().get_id() != actor {
            return;
        }
        self.short_lived.remove(&entity);
        self.long_lived.remove(&entity);
        self.context.stats.resident(-1);
        let queue = std::mem::take(&mut resident.queue);
        let Some(passivated) = resident.passivated.take() else {
            // Killed from outside: nobody does that, but its events are in the journal.
            resident.handle.close();
            let instance = resident.instance;
            self.restart_later(&entity, instance, 0, "ended by itself", queue);
            return;
        };
        if let EntityId::Inventory(sku) = &entity {
            self.context.views.close(sku);
        }
        if queue.is_empty() {
            self.keep(entity, passivated);
        } else {
            self.slots.insert(entity, Slot::Passivated(passivated));
        }
        for envelope in queue {
            self.ask(myself, envelope).await;
        }
    }

    /// An actor has failed: it starts again after a growing delay, or is set aside (rule E3).
    pub(super) fn failed(&mut self, actor: ActorId, reason: &str) {
        let Some(entity) = self.by_actor.remove(&actor) else {
            self.pool.retain(|waiting| waiting.get_id() != actor);
            return;
        };
        let Some(Slot::Resident(resident)) = self.slots.get_mut(&entity) else { return };
        if resident.handle.actor().get_id() != actor {
            return;
        }
        self.short_lived.remove(&entity);
        self.long_lived.remove(&entity);
        self.context.stats.resident(-1);
        self.context.stats.restarted();
        let queue = std::mem::take(&mut resident.queue);
        resident.handle.close();
        let steady = resident.started_at.elapsed() > Duration::from_millis(self.context.settings.restart_delay_max_ms);
        let failures = if steady { 1 } else { resident.failures.saturating_add(1) };
        let instance = resident.instance;
        self.will_not_flush(&entity);
        self.restart_later(&entity, instance, failures, reason, queue);
    }

    pub(super) fn restart_later(
        &mut self,
        entity: &EntityId,
        instance: u64,
        failures: u32,
        reason: &str,
        queue: Vec<Envelope>,
    ) {
        let settings = self.context.settings;
        let now = self.context.clock.now();
        if failures >= settings.quarantine_after {
            tracing::error!(%entity, failures, reason, "entity set aside");
            self.context.stats.quarantined();
            queue.into_iter().for_each(|envelope| refuse(envelope, Answer::Quarantined));
            let aside = Quarantined { reason: reason.to_owned(), failures, since: now };
            self.slots.insert(entity.clone(), Slot::Quarantined(Box::new(aside)));
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
        let barrier = PendingOutput::Barrier(Barrier::Exit { entity: entity.clone(), instance });
        self.submit(vec![barrier]);
    }

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

    pub(super) async fn retry(&mut self, myself: &ActorRef<ShardMsg>, entity: &EntityId) -> bool {
        if !matches!(self.slots.get(entity), Some(Slot::Quarantined(_))) {
            return false;
        }
        self.start(myself, entity, Some(Start::Replay), None).await;
        true
    }
}

/// The library calls every failed start a panic, also one that was only refused because the shard is being stopped; whoever looks for panics
/// in what a node says is to find none that was not.
pub(super) fn in_words(error: &SpawnErr) -> String {
    match error {
        SpawnErr::StartupFailed(why) => why.to_string(),
        error => error.to_string(),
    }
}
