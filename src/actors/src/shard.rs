//! A shard: the owner of a part of all entities. It alone starts and ends their actors (rule E1), keeps their agenda, supervises
//! them, and checkpoints them.
//!
//! ```text
//!            Ask              Passivate, and all its messages handled
//! (none) ──────────► Resident ───────────────────────────────────► Stopping ──exit seen─► Passivated ──checkpoint──► (none)
//!                      │ failed                                                            │ Ask
//!                      ▼                                                                   ▼
//!                  Restarting ──delay, all its events durable──► Resident              Resident
//!                      │ failed too often
//!                      ▼
//!                   Quarantined ──operator──► Resident
//! ```
//!
//! What restart of a shard means: there is none on its own. What stops one shard before its queue is durable stops its commit
//! group (rule E2), which on the embedded store is the process; the successor recovers from the journal.

use super::agenda::Agenda;
use super::ask::{Answer, Ask};
use super::checkpoint::Checkpoint;
use super::context::Context;
use super::entity::{EntityMsg, Start, is_long_lived};
use super::inspect::{QuarantinedEntity, ShardStatus};
use super::output::{Barrier, PassivatedState, PendingOutput, ReplyTo, Submission};
use super::queue::WriterHandle;
use super::recovery::{self, Loaded, RecoveryError};
use super::router::Envelope;
use super::slot::{Passivated, Quarantined, Slot};
use doorbuster_clock::monotonic;
use doorbuster_domain::any::Command;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::entity::{By, Wait};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::{AppendError, Claim, Epoch, Journal, Seq, Shard};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often residents are looked at, in ms, or twice in the time after which what one owes is asked for again: under overload they are thousands, and to
/// look at a tick's pace took 3 % of the node.
const SWEEP_EVERY_MS: u64 = 250;
/// The whole of a head start.
const HEAD_START_PARTS: u64 = 1 << 16;
/// A checkpoint that would write much more than happened is put off, but not beyond so many intervals.
const CHECKPOINT_PATIENCE: u32 = 6;
/// Entities woken in one tick at the most; the rest at the next.
const WAKES_PER_TICK_MAX: usize = 4_096;
/// So many times the room of callers have the effects of other entities at one entity.
pub(super) const EFFECT_ROOM: u32 = 4;

/// What a shard understands.
#[derive(Debug)]
pub(crate) enum ShardMsg {
    /// The node is wired: recover, then say how many events of the tail were taken in.
    Recover(oneshot::Sender<Result<u64, String>>),
    /// A question to one of its entities.
    Ask(Box<Envelope>),
    /// An answer to an effect of one of its entities.
    Answer { entity: EntityId, key: EffectKey, outcome: Outcome },
    /// What has become durable under this ownership, in order, and how many bytes it has appended by then.
    Durable { epoch: Epoch, bytes: u64, outputs: Vec<(Seq, PendingOutput)> },
    /// Time passes.
    Tick,
    /// A checkpoint was stored, or not.
    Checkpointed { upto: Seq, result: Result<(), AppendError> },
    /// Store everything now; answered when nothing is left to store, or it failed.
    FlushAll(oneshot::Sender<()>),
    /// The shard is being given away: whoever waits in it is to ask its next owner.
    DrainWaiters,
    /// Operator: what is set aside.
    ListQuarantined(oneshot::Sender<Vec<QuarantinedEntity>>),
    /// Operator: start it once more.
    Retry { entity: EntityId, done: oneshot::Sender<bool> },
    /// Operator: how the shard is.
    Describe(oneshot::Sender<ShardStatus>),
    /// Operator: entities that have something under way or a deadline, at most so many.
    UnderWay { limit: usize, reply: oneshot::Sender<Vec<EntityId>> },
    /// Fault injection: the entity's actor panics.
    Panic { entity: EntityId, done: oneshot::Sender<bool> },
}

impl ractor::Message for ShardMsg {}

/// The ractor handler; all it knows is in [`ShardState`].
#[derive(Debug)]
pub(crate) struct ShardActor;

/// What a shard is started with.
#[derive(Debug)]
pub(crate) struct ShardSeed {
    pub(crate) claim: Claim,
    pub(crate) context: Arc<Context>,
    /// Of the shard's commit group, for this ownership.
    pub(crate) writer: WriterHandle,
}

/// Everything a shard knows.
#[derive(Debug)]
pub(crate) struct ShardState {
    pub(super) shard: Shard,
    pub(super) claim: Claim,
    pub(super) context: Arc<Context>,
    pub(super) writer: WriterHandle,
    /// A checkpoint failed: nothing more is stored, the ownership is at its end.
    pub(super) lost: bool,
    /// What arrived before the shard was told to recover; `None` once it was. An entity must not be started from its stored rows alone.
    early: Option<Vec<ShardMsg>>,
    pub(super) slots: FxHashMap<EntityId, Slot>,
    pub(super) by_actor: FxHashMap<ActorId, EntityId>,
    /// Actors that host nobody now: the next orders and carts get them.
    pub(super) pool: Vec<ActorRef<EntityMsg>>,
    /// Those in `slots` with an actor: what a tick looks at. The passivated ones may be very many. Of those with an actor the ones that
    /// linger are looked at now and then.
    pub(super) short_lived: FxHashSet<EntityId>,
    pub(super) long_lived: FxHashSet<EntityId>,
    swept_at: Instant,
    pub(super) restarting: BTreeSet<EntityId>,
    pub(super) agenda: Agenda,
    pub(super) instances: u64,
    /// The last durable event known.
    pub(super) seq: Seq,
    pub(super) flushed_upto: Seq,
    /// Bytes appended since the claim, and of these when the last checkpoint began.
    pub(super) bytes: u64,
    pub(super) bytes_checkpointed: u64,
    /// Bytes of the states that the last checkpoint took from residents.
    pub(super) rewritten: u64,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) checkpoints: u64,
    pub(super) checkpointed_at: Instant,
    /// Erased since the last checkpoint's cut, or about then: erased at this one and the next, so that what lay behind the cut goes too.
    pub(super) erase_again: BTreeSet<EntityId>,
    pub(super) flush_waiters: Vec<oneshot::Sender<()>>,
    pub(super) flush_again: bool,
}

impl Actor for ShardActor {
    type Msg = ShardMsg;
    type State = ShardState;
    type Arguments = ShardSeed;

    async fn pre_start(&self, _: ActorRef<ShardMsg>, seed: ShardSeed) -> Result<ShardState, ActorProcessingErr> {
        Ok(ShardState {
            shard: seed.claim.shard,
            claim: seed.claim,
            checkpointed_at: monotonic(),
            context: seed.context,
            writer: seed.writer,
            lost: false,
            early: Some(Vec::new()),
            slots: FxHashMap::default(),
            by_actor: FxHashMap::default(),
            pool: Vec::new(),
            short_lived: FxHashSet::default(),
            long_lived: FxHashSet::default(),
            swept_at: monotonic(),
            restarting: BTreeSet::new(),
            agenda: Agenda::default(),
            instances: 0,
            seq: seed.claim.end,
            flushed_upto: seed.claim.flushed_upto,
            bytes: 0,
            bytes_checkpointed: 0,
            rewritten: 0,
            checkpoint: None,
            checkpoints: 0,
            erase_again: BTreeSet::new(),
            flush_waiters: Vec::new(),
            flush_again: false,
        })
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
            SupervisionEvent::ActorTerminated(cell, _, _) => Box::pin(shard.exited(&myself, cell.get_id())).await,
            SupervisionEvent::ActorFailed(cell, error) => shard.failed(cell.get_id(), &error.to_string()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
            _ => {}
        }
        Ok(())
    }
}

impl ShardState {
    async fn act(&mut self, myself: &ActorRef<ShardMsg>, message: ShardMsg) {
        let shard = self;
        match message {
            ShardMsg::Recover(ready) => {
                let recovered = Box::pin(shard.recover(myself)).await;
                let is_recovered = recovered.is_ok();
                drop(ready.send(recovered.map_err(|error| error.to_string())));
                if !is_recovered {
                    // Whoever claimed it ends it; until then it must answer nobody.
                    return;
                }
                for early in shard.early.take().unwrap_or_default() {
                    Box::pin(shard.act(myself, early)).await;
                }
                let tick = Duration::from_millis(shard.context.settings.tick_ms.max(1));
                // Ends with the actor: sending to a stopped actor fails, and ractor then ends the timer.
                drop(myself.send_interval(tick, || ShardMsg::Tick));
            }
            ShardMsg::Ask(envelope) => shard.ask(myself, *envelope).await,
            ShardMsg::Answer { entity, key, outcome } => {
                // An entity that is not resident owes nothing that was sent; whoever comes back asks again.
                if let Some(Slot::Resident(resident)) = shard.slots.get_mut(&entity)
                    && !resident.stopping
                {
                    resident.send(EntityMsg::AnswerByShard { key, outcome });
                }
            }
            // What an earlier ownership of this node still hears of is nothing to this one.
            ShardMsg::Durable { epoch, .. } if epoch != shard.claim.epoch => {}
            ShardMsg::Durable { bytes, outputs, .. } => {
                shard.bytes = shard.bytes.max(bytes);
                shard.durable(myself, outputs);
            }
            ShardMsg::Tick => Box::pin(shard.tick(myself)).await,
            ShardMsg::Checkpointed { upto, result } => shard.checkpointed(upto, result),
            ShardMsg::FlushAll(done) => shard.flush_all(done),
            ShardMsg::DrainWaiters => shard.drain_waiters(),
            ShardMsg::ListQuarantined(reply) => drop(reply.send(shard.list_quarantined())),
            ShardMsg::Retry { entity, done } => drop(done.send(Box::pin(shard.retry(myself, &entity)).await)),
            ShardMsg::Describe(reply) => drop(reply.send(shard.describe())),
            ShardMsg::UnderWay { limit, reply } => drop(reply.send(shard.under_way(limit))),
            ShardMsg::Panic { entity, done } => {
                if !matches!(shard.slots.get(&entity), Some(Slot::Resident(_))) {
                    Box::pin(shard.start(myself, &entity, None, None)).await;
                }
                let sent = match shard.slots.get_mut(&entity) {
                    Some(Slot::Resident(resident)) => {
                        resident.send(EntityMsg::Panic);
                        true
                    }
                    _ => false,
                };
                done.send(sent).ok();
            }
        }
    }

    /// Rule S5: the agenda as stored, those who owe effects, and everyone with an event in the tail.
    async fn recover(&mut self, myself: &ActorRef<ShardMsg>) -> Result<u64, RecoveryError> {
        let store = self.context.store.clone();
        let mut owing: Vec<EntityId> = Vec::new();
        for row in store.agenda(self.shard).await? {
            self.agenda.set(&row.entity, row.wake_at);
            if row.owes {
                owing.push(row.entity);
            }
        }
        let (tail, events) = recovery::fold_tail(&store, &self.claim).await?;
        let mut tail: Vec<_> = tail.into_iter().collect();
        tail.sort_by(|one, other| one.0.cmp(&other.0));
        let now = self.context.clock.now();
        for (entity, loaded) in tail {
            match loaded {
                Ok(loaded) => {
                    if !loaded.state.owed(now).is_empty() {
                        owing.push(entity.clone());
                    }
                    self.agenda.set(&entity, loaded.state.wake_at(Timestamp::default()));
                    let Loaded { state, meta, dirty } = loaded;
                    let passivated = PassivatedState::new(&entity, state, meta, dirty);
                    self.slots
                        .insert(entity, Slot::Passivated(Box::new(Passivated { state: passivated, seq: self.seq })));
                }
                Err(error) => {
                    tracing::error!(%entity, %error, "set aside at recovery");
                    let aside = Quarantined { reason: error.to_string(), failures: 1, since: now };
                    self.slots.insert(entity, Slot::Quarantined(Box::new(aside)));
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

    pub(super) async fn ask(&mut self, myself: &ActorRef<ShardMsg>, mut envelope: Envelope) {
        let settings = self.context.settings;
        match self.slots.get_mut(&envelope.ask.entity) {
            Some(Slot::Resident(resident)) => {
                if resident.stopping {
                    resident.queue.push(envelope);
                } else if resident.handle.waiting() >= room(&envelope.reply_to, settings.mailbox_max) {
                    self.context.stats.refused_busy();
                    refuse(envelope, Answer::Busy { retry_after_s: 1 });
                } else {
                    resident.touched_at = monotonic();
                    resident.send(EntityMsg::Ask(Box::new(envelope)));
                }
            }
            Some(Slot::Restarting(restarting)) => {
                if restarting.queue.len() < usize::try_from(settings.mailbox_max).unwrap_or(usize::MAX) {
                    restarting.queue.push(envelope);
                } else {
                    refuse(envelope, Answer::Busy { retry_after_s: 1 });
                }
            }
            Some(Slot::Quarantined(_)) => refuse(envelope, Answer::Quarantined),
            // Rule E4, before an actor is started or the store is asked for somebody who no longer waits.
            Some(Slot::Passivated(_)) | None if envelope.is_over(self.context.clock.now(), &self.context.stats) => {}
            Some(Slot::Passivated(_)) => self.start(myself, &envelope.ask.entity.clone(), None, Some(envelope)).await,
            None => {
                if let Some(refusal) = &envelope.ask.reject_if_absent
                    && matches!(Box::pin(self.is_stored(&envelope.ask.entity)).await, Ok(false))
                {
                    // Rule R5: memory, tail and store know no such entity, so nothing is lost by saying no at the door.
                    let refusal = refusal.as_ref().clone();
                    self.context.stats.refused_at_the_door();
                    match envelope.reply_to {
                        // Rule O4: where another may own the shard meanwhile, the answer waits like every other.
                        ReplyTo::Caller(caller) if self.context.store.is_shared() => {
                            self.submit(vec![PendingOutput::Refused(caller, Box::new(refusal))]);
                        }
                        _ => refuse(envelope, Answer::Refused(refusal)),
                    }
                    return;
                }
                self.start(myself, &envelope.ask.entity.clone(), Some(Start::Load), Some(envelope)).await;
            }
        }
    }

    /// Whoever waits for an entity to get somewhere, or for one that is between two lives, is to ask the next owner.
    fn drain_waiters(&mut self) {
        for slot in self.slots.values_mut() {
            match slot {
                Slot::Resident(resident) if resident.stopping => {
                    resident.queue.drain(..).for_each(|envelope| refuse(envelope, Answer::NotServing));
                }
                Slot::Resident(resident) => resident.send(EntityMsg::DrainWaiters),
                Slot::Restarting(restarting) => {
                    restarting.queue.drain(..).for_each(|envelope| refuse(envelope, Answer::NotServing));
                }
                Slot::Passivated(_) | Slot::Quarantined(_) => {}
            }
        }
    }

    async fn is_stored(&self, entity: &EntityId) -> Result<bool, doorbuster_storage::ReadError> {
        Ok(!self.context.store.load(self.shard, entity).await?.is_empty())
    }

    fn durable(&mut self, myself: &ActorRef<ShardMsg>, outputs: Vec<(Seq, PendingOutput)>) {
        for (seq, output) in outputs {
            self.seq = self.seq.max(seq);
            match output {
                PendingOutput::Passivate(idle) => self.passivate(*idle, seq),
                PendingOutput::Agenda { entity, wake_at, owes } => {
                    self.agenda.set(&entity, wake_at);
                    if let Some(Slot::Resident(resident)) = self.slots.get_mut(&entity) {
                        resident.owes = owes;
                    }
                }
                PendingOutput::Flushed(flushed) => self.flushed(*flushed, seq),
                PendingOutput::Barrier(Barrier::Checkpoint(number)) => {
                    if let Some(checkpoint) = self.checkpoint.as_mut().filter(|one| one.number == number) {
                        checkpoint.upto = Some(seq);
                        self.finish_checkpoint(myself);
                    }
                }
                PendingOutput::Barrier(Barrier::Exit { entity, instance }) => {
                    if let Some(Slot::Restarting(restarting)) = self.slots.get_mut(&entity)
                        && restarting.instance == instance
                    {
                        restarting.durable = true;
                    }
                }
                // The releaser sees to these itself.
                PendingOutput::Accepted(..)
                | PendingOutput::Refused(..)
                | PendingOutput::Stale(..)
                | PendingOutput::Provider { .. }
                | PendingOutput::CrossGroup(_)
                | PendingOutput::Publish(..) => {}
            }
        }
        self.finish_checkpoint(myself);
    }

    pub(super) fn submit(&self, outputs: Vec<PendingOutput>) {
        self.writer.submit(Submission { shard: self.shard, record: None, outputs });
    }

    /// Is nothing stored any more?
    pub(super) fn must_end(&self) -> bool {
        self.lost || self.context.must_end()
    }

    async fn tick(&mut self, myself: &ActorRef<ShardMsg>) {
        let now = self.context.clock.now();
        for entity in self.agenda.due(now, WAKES_PER_TICK_MAX) {
            let deadline = now.plus_s(self.context.settings.command_life_s);
            let ask = Ask {
                entity,
                command: Command::Wake,
                by: By::System,
                wait: Wait::Decided,
                deadline,
                if_version: None,
                reject_if_absent: None,
            };
            self.ask(myself, Envelope { ask, reply_to: ReplyTo::Nobody }).await;
        }
        self.writer.nudge();
        self.sweep_residents();
        self.restart_due(myself).await;
        if self.is_checkpoint_due() {
            self.begin_checkpoint();
        }
    }

    /// A checkpoint of a SKU with very many reservations writes most of them again. So the log must have grown by as much as the last one wrote, or
    /// a hot shard would do nothing else: what is written stays within a small multiple of what happened. A quiet shard is not forgotten.
    fn is_checkpoint_due(&self) -> bool {
        let settings = self.context.settings;
        if self.seq <= self.flushed_upto {
            return false;
        }
        let grown = self.bytes.saturating_sub(self.bytes_checkpointed);
        let waited = self.checkpointed_at.elapsed();
        let ahead = if self.checkpoints == 0 { head_start(self.shard) } else { 0 };
        let left = |of: u64| of.saturating_sub(of.saturating_mul(ahead) / HEAD_START_PARTS);
        let interval = Duration::from_millis(left(settings.checkpoint_interval_ms));
        let worth = grown >= self.rewritten;
        (worth && (waited >= interval || grown >= left(settings.checkpoint_bytes)))
            || waited >= interval * CHECKPOINT_PATIENCE
    }

    /// Residents that should have ended or owe something are looked at; long-lived ones without use may leave.
    fn sweep_residents(&mut self) {
        let settings = self.context.settings;
        let crowded = self.by_actor.len() > settings.residents_per_shard_max;
        let idle_ms = if crowded { 0 } else { settings.idle_ms };
        let now = monotonic();
        let since = |then: Instant| u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX);
        if !crowded && since(self.swept_at) < SWEEP_EVERY_MS.min(settings.effect_retry_min_ms / 2) {
            return;
        }
        self.swept_at = now;
        for entity in self.short_lived.iter().chain(&self.long_lived) {
            let Some(Slot::Resident(resident)) = self.slots.get_mut(entity) else { continue };
            if resident.stopping || resident.handle.waiting() > 0 {
                continue;
            }
            resident.note_use(now);
            let quiet_ms = since(resident.touched_at);
            let due = if is_long_lived(entity) && !resident.owes {
                quiet_ms > idle_ms
            } else {
                quiet_ms >= settings.effect_retry_min_ms
            };
            if due {
                // Not counted as a touch for those that linger: it must not keep them here.
                resident.tick(!is_long_lived(entity) || resident.owes);
            }
        }
    }
}

/// Shards take turns with their checkpoints: all at once would take cores, disk and fresh memory from the orders in one moment. So the first of each
/// comes earlier by a share of its own; after it, all go the same way. Multiples of the golden ratio are spread evenly over any number of shards.
/// In parts of [`HEAD_START_PARTS`].
fn head_start(shard: Shard) -> u64 {
    u64::from(shard.0.wrapping_mul(40_503))
}

/// How many questions may wait at one entity. What an entity owes another was let in with its order, and ends what holds places: it has more room
/// than those who still stand at the door.
fn room(asked_by: &ReplyTo, mailbox_max: u32) -> u32 {
    match asked_by {
        ReplyTo::Caller(_) => mailbox_max,
        ReplyTo::Entity { .. } | ReplyTo::OtherGroup { .. } | ReplyTo::Nobody => {
            mailbox_max.saturating_mul(EFFECT_ROOM)
        }
    }
}

/// Nothing was decided: whoever asked is told so.
pub(super) fn refuse(envelope: Envelope, answer: Answer) {
    if let ReplyTo::Caller(caller) = envelope.reply_to {
        drop(caller.send(answer));
    }
}
