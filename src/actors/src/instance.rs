//! One life of one entity: its newest state, what it has sent and not yet heard of, and who waits for it to get somewhere.
//!
//! Everything that happens ends in [`Instance::settle`], which hands events, replies and pending effects to the log writer as one submission
//! and only then sends messages inside the commit group (rule L2).

use super::ask::{Accepted, Answer, Ask};
use super::context::Context;
use super::entity::{EntityMsg, Seed, Start, is_erased, is_long_lived};
use super::output::{
    CrossGroup, EncodedRows, Flushed, Passivate, PassivatedState, PendingOutput, ReplyTo, StateForm, Submission,
};
use super::queue::WriterHandle;
use super::recovery::RecoveryError;
use super::router::Envelope;
use super::view::{AvailabilityView, Stock};
use doorbuster_clock::monotonic;
use doorbuster_domain::any::{Command, Event, Reply, State};
use doorbuster_domain::effect::{Effect, EffectKey, Outcome};
use doorbuster_domain::entity::{By, Decision, Wait};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::inventory::{self, Level};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::{self, Decided, Dirty, Meta};
use doorbuster_storage::{Group, Journal, Shard};
use ractor::{ActorProcessingErr, ActorRef};
use rustc_hash::FxHashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// An effect that was sent and is not settled.
#[derive(Debug)]
struct InFlight {
    sent_at: Instant,
    tries: u32,
    /// A provider call is under way: its end is always told, so it is not sent again before.
    under_way: bool,
}

/// A request whose answer waits until the entity has got somewhere.
#[derive(Debug)]
struct Waiter {
    wait: Wait,
    caller: oneshot::Sender<Answer>,
    reply: Reply,
    repeated: bool,
}

/// One life of one entity.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(super) id: EntityId,
    shard: Shard,
    group: Group,
    pub(super) number: u64,
    context: Arc<Context>,
    writer: WriterHandle,
    start: Option<Start>,
    state: Arc<State>,
    pub(super) meta: Meta,
    dirty: Dirty,
    in_flight: FxHashMap<EffectKey, InFlight>,
    waiters: Vec<Waiter>,
    /// Messages of the shard handled so far (rule E1).
    handled: u64,
    /// Messages of the shard that wait.
    waiting: Arc<AtomicU32>,
    /// The instant of the last wake: deadlines up to it have been seen to.
    woken_at: Timestamp,
    /// What the shard's agenda was last told.
    reported: (Option<Timestamp>, bool),
    view: Option<Arc<AvailabilityView>>,
    /// Something else than the counters of the view has changed.
    view_is_old: bool,
    /// The state in its stored form, while it is as it was then.
    rows: Option<EncodedRows>,
    /// The question it was started for.
    first: Option<Box<Envelope>>,
}

impl Instance {
    /// Not recovered yet.
    pub(super) fn new(seed: Seed) -> Self {
        let view = match &seed.id {
            EntityId::Inventory(sku) => Some(seed.context.views.open(sku)),
            EntityId::Order(_)
            | EntityId::Cart(_)
            | EntityId::Product(_)
            | EntityId::Warehouse(_)
            | EntityId::Reservation(_) => None,
        };
        Self {
            group: seed.context.store.group_of(seed.shard),
            state: Arc::new(State::empty(&seed.id)),
            id: seed.id,
            shard: seed.shard,
            number: seed.instance,
            context: seed.context,
            writer: seed.writer,
            start: Some(seed.start),
            meta: Meta::default(),
            dirty: Dirty::default(),
            in_flight: FxHashMap::default(),
            waiters: Vec::new(),
            handled: 0,
            waiting: seed.waiting,
            woken_at: Timestamp::default(),
            reported: (None, false),
            view,
            view_is_old: false,
            rows: None,
            first: seed.first,
        }
    }

    /// Recovers, does what is owed, and answers the question it was started for.
    pub(super) async fn begin(&mut self, myself: &ActorRef<EntityMsg>) -> Result<(), ActorProcessingErr> {
        self.panic_if_ordered();
        match self.start.take().unwrap_or(Start::Load) {
            Start::Passivated(state) => self.take_over(state)?,
            Start::Load => Box::pin(self.recover(false)).await?,
            Start::Replay => Box::pin(self.recover(true)).await?,
        }
        if self.view.is_some() && self.meta.version > 0 {
            let outputs = self.publication(true).into_iter().collect();
            self.writer.submit(Submission { shard: self.shard, record: None, outputs });
        }
        let first = self.first.take();
        if let Some(envelope) = first {
            self.count();
            self.ask(myself, *envelope);
        } else if self.meta.version > 0 {
            self.settle(myself, Vec::new(), None);
        }
        Ok(())
    }

    /// One message; all but a direct answer are the shard's, or counted like the shard's.
    pub(super) fn handle(&mut self, myself: &ActorRef<EntityMsg>, message: EntityMsg) {
        if !matches!(message, EntityMsg::Answer { .. }) {
            self.count();
        }
        match message {
            EntityMsg::Answer { key, outcome, .. } => self.answer(myself, key, outcome, false),
            EntityMsg::Ask(envelope) => self.ask(myself, *envelope),
            EntityMsg::AnswerByShard { key, outcome } => self.answer(myself, key, outcome, true),
            EntityMsg::Tick => self.tick(myself),
            EntityMsg::Flush(checkpoint) => self.flush(checkpoint),
            EntityMsg::DrainWaiters => self.drain_waiters(myself),
            EntityMsg::Panic => self.panic_if_ordered(),
            // Seen to by the shell: it begins another life.
            EntityMsg::Host(_) => {}
        }
    }

    /// One more of the shard's messages is handled.
    fn count(&mut self) {
        self.handled = self.handled.saturating_add(1);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Goes on where the last life ended.
    fn take_over(&mut self, state: PassivatedState) -> Result<(), RecoveryError> {
        let PassivatedState { form, meta, dirty } = state;
        self.state = match form {
            StateForm::Live(state) => state,
            StateForm::Encoded(rows) => {
                let (state, _) = wire::state_of(&self.id, &rows.rows())?;
                self.rows = Some(rows);
                Arc::new(state)
            }
        };
        self.meta = meta;
        self.dirty = dirty;
        Ok(())
    }

    /// Brings the state back from what is stored.
    async fn recover(&mut self, replay: bool) -> Result<(), RecoveryError> {
        let loaded = super::recovery::load(&self.context.store, self.shard, &self.id, replay).await?;
        if let Some(loaded) = loaded {
            self.state = Arc::new(loaded.state);
            self.meta = loaded.meta;
            self.dirty = loaded.dirty;
        }
        Ok(())
    }

    /// Decides on a command and hands the decision over.
    fn ask(&mut self, myself: &ActorRef<EntityMsg>, mut envelope: Envelope) {
        let now = self.context.clock.now();
        if envelope.is_over(now, &self.context.stats) {
            // Rule E4: checked before decide; what was decided is always journaled.
            self.settle(myself, Vec::new(), None);
            return;
        }
        let Envelope { ask, reply_to } = envelope;
        let Ask { command, by, wait, if_version, .. } = ask;
        if if_version.is_some_and(|version| version != self.meta.version) {
            let mut outputs = Vec::new();
            if let ReplyTo::Caller(caller) = reply_to {
                // The version it is told may not be durable yet, so it waits like every answer.
                outputs.push(PendingOutput::Stale(caller, self.meta.version));
            }
            self.settle(myself, outputs, None);
            return;
        }
        if matches!(command, Command::Wake) {
            self.woken_at = now;
        }
        let state = Arc::clone(&self.state);
        // Rule E3: a panic in decide fails that command only; nothing was evolved.
        let decided = catch_unwind(AssertUnwindSafe(|| state.decide(&command, now)));
        drop(state);
        match decided {
            Ok(Ok(decision)) => self.accept(myself, decision, by, now, wait, reply_to),
            Ok(Err(refusal)) => {
                let mut outputs = Vec::new();
                match reply_to {
                    ReplyTo::Caller(caller) => outputs.push(PendingOutput::Refused(caller, Box::new(refusal))),
                    ReplyTo::Entity { entity, key, actor, instance } => {
                        let outcome = Outcome::Refused(refusal);
                        if self.is_ours(&entity) {
                            // The asker may have ended; it asks again if it still wants to know.
                            drop(actor.send_message(EntityMsg::Answer { instance, key, outcome }));
                        } else {
                            outputs.push(PendingOutput::CrossGroup(Box::new(CrossGroup::Answer {
                                entity,
                                key,
                                outcome,
                            })));
                        }
                    }
                    ReplyTo::OtherGroup { entity, key } => {
                        let outcome = Outcome::Refused(refusal);
                        outputs.push(PendingOutput::CrossGroup(Box::new(CrossGroup::Answer { entity, key, outcome })));
                    }
                    ReplyTo::Nobody => {}
                }
                self.settle(myself, outputs, None);
            }
            Err(_panic) => {
                tracing::error!(entity = %self.id, "decide panicked, the command is refused");
                self.context.stats.panicked();
                if let ReplyTo::Caller(caller) = reply_to {
                    drop(caller.send(Answer::Panicked));
                }
                self.settle(myself, Vec::new(), None);
            }
        }
    }

    fn accept(
        &mut self,
        myself: &ActorRef<EntityMsg>,
        decision: Decision<Event, Reply>,
        by: By,
        now: Timestamp,
        wait: Wait,
        reply_to: ReplyTo,
    ) {
        let Decision { events, reply, repeated } = decision;
        let record = self.evolve(events, by, now);
        let mut outputs = Vec::new();
        let mut answer = None;
        match reply_to {
            ReplyTo::Caller(caller) => self.waiters.push(Waiter { wait, caller, reply, repeated }),
            ReplyTo::Entity { entity, key, actor, instance } => {
                let outcome = Outcome::Replied(reply);
                if self.is_ours(&entity) {
                    answer = Some((actor, EntityMsg::Answer { instance, key, outcome }));
                } else {
                    outputs.push(PendingOutput::CrossGroup(Box::new(CrossGroup::Answer { entity, key, outcome })));
                }
            }
            ReplyTo::OtherGroup { entity, key } => {
                let outcome = Outcome::Replied(reply);
                outputs.push(PendingOutput::CrossGroup(Box::new(CrossGroup::Answer { entity, key, outcome })));
            }
            ReplyTo::Nobody => {}
        }
        self.settle(myself, outputs, record);
        if let Some((actor, answer)) = answer {
            // Inside the group the answer travels at once: whatever it causes is queued behind this decision (rule L2).
            // The asker may have ended; it asks again if it still wants to know.
            drop(actor.send_message(answer));
        }
    }

    /// Takes the events in; gives the record for the log.
    fn evolve(&mut self, events: Vec<Event>, by: By, now: Timestamp) -> Option<(u32, bytes::Bytes)> {
        if events.is_empty() {
            return None;
        }
        let decided =
            Decided { entity: self.id.clone(), number: self.meta.version.saturating_add(1), at: now, by, events };
        let body = wire::encode(&decided);
        let state = Arc::make_mut(&mut self.state);
        self.rows = None;
        for event in &decided.events {
            self.view_is_old |= changes_more_than_counters(event);
            state.evolve(event);
            wire::touch(event, &mut self.dirty);
        }
        let count = decided.events.len();
        self.meta.after(count, now);
        Some((u32::try_from(count).unwrap_or(u32::MAX), body))
    }

    /// After anything happened: answers who can be answered, sends what is owed, says what the shard must know, and
    /// hands it all to the writer in one submission.
    fn settle(
        &mut self,
        myself: &ActorRef<EntityMsg>,
        mut outputs: Vec<PendingOutput>,
        record: Option<(u32, bytes::Bytes)>,
    ) {
        let now = self.context.clock.now();
        let asks = self.collect_owed(myself, now, &mut outputs);
        if record.is_some() {
            // Ahead of the answers: whoever has one, and asks at the door next, sees what it saw.
            let whole = std::mem::take(&mut self.view_is_old);
            outputs.extend(self.publication(whole));
        }
        self.answer_waiters(&mut outputs);
        self.report(&mut outputs);
        let nothing = record.is_none() && outputs.is_empty();
        if !nothing && !self.writer.submit(Submission { shard: self.shard, record, outputs }) {
            // This ownership is over: what was decided never happened, so nothing follows from it.
            return;
        }
        for (ask, reply_to) in asks {
            self.context.send(ask, reply_to);
        }
    }

    /// The effects that are owed and not under way, or overdue: inside the group as messages to send, others as outputs.
    fn collect_owed(
        &mut self,
        myself: &ActorRef<EntityMsg>,
        now: Timestamp,
        outputs: &mut Vec<PendingOutput>,
    ) -> Vec<(Ask, ReplyTo)> {
        let owed = self.state.owed(now);
        if owed.is_empty() {
            self.in_flight.clear();
            return Vec::new();
        }
        if !self.in_flight.is_empty() {
            let still: std::collections::BTreeSet<EffectKey> = owed.iter().copied().collect();
            self.in_flight.retain(|key, _| still.contains(key));
        }
        let settings = &self.context.settings;
        let mut asks = Vec::new();
        for key in owed {
            let tries = match self.in_flight.get(&key) {
                Some(sent) if sent.under_way => continue,
                Some(sent) => {
                    let pause = settings
                        .effect_retry_min_ms
                        .saturating_mul(1_u64.checked_shl(sent.tries.min(16)).unwrap_or(1))
                        .min(settings.effect_retry_max_ms);
                    if sent.sent_at.elapsed() < Duration::from_millis(pause) {
                        continue;
                    }
                    sent.tries.saturating_add(1)
                }
                None => 0,
            };
            let Some(effect) = self.state.effect(key) else { continue };
            if self.context.faults.loses(effect.step()) {
                // As if the message were lost: it stays owed, and is sent again when its time has come.
                self.in_flight.insert(key, InFlight { sent_at: monotonic(), tries, under_way: false });
                continue;
            }
            let under_way = matches!(effect, Effect::Provider(_));
            self.in_flight.insert(key, InFlight { sent_at: monotonic(), tries, under_way });
            match effect {
                Effect::Ask { to, command } => {
                    let reply_to =
                        ReplyTo::Entity { entity: self.id.clone(), key, actor: myself.clone(), instance: self.number };
                    let ours = self.is_ours(&to);
                    let deadline = now.plus_s(settings.command_life_s);
                    let ask = Ask {
                        entity: to,
                        command,
                        by: By::System,
                        wait: Wait::Decided,
                        deadline,
                        if_version: None,
                        reject_if_absent: None,
                    };
                    if ours {
                        asks.push((ask, reply_to));
                    } else {
                        outputs.push(PendingOutput::CrossGroup(Box::new(CrossGroup::Ask(ask, reply_to))));
                    }
                }
                Effect::Provider(call) => {
                    outputs.push(PendingOutput::Provider { entity: self.id.clone(), key, call: Box::new(call) });
                }
            }
        }
        asks
    }

    fn answer_waiters(&mut self, outputs: &mut Vec<PendingOutput>) {
        if self.waiters.is_empty() {
            return;
        }
        let shown = match &*self.state {
            State::Inventory(_) => None,
            State::Order(_) | State::Cart(_) | State::Product(_) | State::Warehouse(_) | State::Reservation(_) => {
                Some(&self.state)
            }
        };
        for waiter in std::mem::take(&mut self.waiters) {
            if waiter.caller.is_closed() {
                continue;
            }
            if !self.state.reached(waiter.wait) {
                self.waiters.push(waiter);
                continue;
            }
            let accepted = Accepted {
                reply: waiter.reply,
                state: shown.map(Arc::clone),
                meta: self.meta,
                repeated: waiter.repeated,
                shard: self.shard,
                seq: 0,
            };
            outputs.push(PendingOutput::Accepted(waiter.caller, Box::new(accepted)));
        }
    }

    /// What shoppers may see of this SKU's stock.
    fn publication(&self, whole: bool) -> Option<PendingOutput> {
        let view = self.view.as_ref()?;
        let State::Inventory(inventory) = &*self.state else { return None };
        // With one warehouse the counters say it all, until something else than a reservation happens.
        let levels = (whole || inventory.levels().count() > 1).then(|| Arc::new(inventory.read()));
        let stock = Stock {
            available: inventory.levels().map(Level::available).fold(0, u64::saturating_add),
            reserved: inventory.levels().map(|level| level.reserved).fold(0, u64::saturating_add),
            version: self.meta.version,
            levels,
        };
        Some(PendingOutput::Publish(Arc::clone(view), stock))
    }

    /// Tells the shard what its agenda and its table of idle entities must know.
    fn report(&mut self, outputs: &mut Vec<PendingOutput>) {
        let owes = !self.in_flight.is_empty();
        let wake_at = self.wakes_at();
        if !is_long_lived(&self.id) {
            if !owes && self.waiters.is_empty() {
                outputs.push(self.passivate(wake_at));
            }
        } else if self.reported != (wake_at, owes) {
            self.reported = (wake_at, owes);
            outputs.push(PendingOutput::Agenda { entity: self.id.clone(), wake_at, owes });
        }
    }

    /// When it must be looked at next. A deadline that has come and was not seen to yet must stay on the agenda, so this is not
    /// counted from now, but from the last wake. A clock that was set back since then has taken that wake back: what was due then
    /// is still to come.
    fn wakes_at(&self) -> Option<Timestamp> {
        self.state.wake_at(self.woken_at.min(self.context.clock.now()))
    }

    fn passivate(&mut self, wake_at: Option<Timestamp>) -> PendingOutput {
        let form = if is_long_lived(&self.id) {
            StateForm::Live(Arc::clone(&self.state))
        } else {
            StateForm::Encoded(self.rows.get_or_insert_with(|| EncodedRows::of(&self.state, &self.meta)).clone())
        };
        PendingOutput::Passivate(Box::new(Passivate {
            entity: self.id.clone(),
            instance: self.number,
            handled: self.handled,
            state: PassivatedState { form, meta: self.meta, dirty: self.dirty.clone() },
            wake_at,
        }))
    }

    /// An effect was answered; `counted`: by a message of the shard.
    fn answer(&mut self, myself: &ActorRef<EntityMsg>, key: EffectKey, outcome: Outcome, counted: bool) {
        let now = self.context.clock.now();
        // An answer that nobody waits for is a late copy. It must not change an entity that may be stopping (rule E1): one that has said that it
        // is idle does nothing more until the shard sends it something.
        let Some(sent) = self.in_flight.get_mut(&key) else {
            if counted {
                self.settle_if_idle(myself);
            }
            return;
        };
        sent.under_way = false;
        sent.sent_at = monotonic();
        let by = match &outcome {
            Outcome::Provider(_) => By::Provider(self.context.provider_name.clone()),
            Outcome::Replied(_) | Outcome::Refused(_) => By::System,
        };
        let Some(command) = self.state.answered(key, outcome) else { return };
        self.decide_for_itself(myself, &command, by, now);
    }

    /// An entity that was idle stays idle: say so again, since the shard counts the message it sent.
    fn settle_if_idle(&mut self, myself: &ActorRef<EntityMsg>) {
        self.settle(myself, Vec::new(), None);
    }

    /// The shard is being given away, and its next owner will get this entity where it must get. Whoever waits for that is to ask there: what
    /// waits carries a key, so it is one request still.
    fn drain_waiters(&mut self, myself: &ActorRef<EntityMsg>) {
        for waiter in std::mem::take(&mut self.waiters) {
            // Whoever asked may have gone.
            drop(waiter.caller.send(Answer::NotServing));
        }
        self.settle_if_idle(myself);
    }

    fn decide_for_itself(&mut self, myself: &ActorRef<EntityMsg>, command: &Command, by: By, now: Timestamp) {
        match self.state.decide(command, now) {
            Ok(decision) => self.accept(myself, decision, by, now, Wait::Decided, ReplyTo::Nobody),
            Err(refusal) => {
                tracing::warn!(entity = %self.id, ?refusal, "an answer to an effect was refused");
                self.settle(myself, Vec::new(), None);
            }
        }
    }

    /// The shard looks in: overdue effects are sent again; an idle entity says that it may leave.
    fn tick(&mut self, myself: &ActorRef<EntityMsg>) {
        self.waiters.retain(|waiter| !waiter.caller.is_closed());
        let mut outputs = Vec::new();
        if is_long_lived(&self.id) && self.in_flight.is_empty() && self.waiters.is_empty() {
            let now = self.context.clock.now();
            if self.state.owed(now).is_empty() {
                outputs.push(self.passivate(self.wakes_at()));
            }
        }
        self.settle(myself, outputs, None);
    }

    /// Fault injection: the configuration allowed it, and an operator asked for it.
    fn panic_if_ordered(&self) {
        assert!(!self.context.faults.must_panic(&self.id), "a fault was ordered for {}", self.id);
    }

    /// Gives the rows that changed to a checkpoint; they are stored once everything in them is durable (rule S1).
    fn flush(&mut self, checkpoint: u64) {
        let dirty = std::mem::take(&mut self.dirty);
        let rows = if dirty.is_empty() { Vec::new() } else { wire::rows_of(&self.state, &self.meta, &dirty) };
        let flushed = Flushed {
            checkpoint,
            entity: self.id.clone(),
            rows,
            wake_at: self.state.wake_at(Timestamp::default()),
            owes: !self.in_flight.is_empty(),
            erased: is_erased(&self.state),
        };
        let outputs = vec![PendingOutput::Flushed(Box::new(flushed))];
        self.writer.submit(Submission { shard: self.shard, record: None, outputs });
    }

    fn is_ours(&self, entity: &EntityId) -> bool {
        let shard = self.context.store.layout().shard_of(entity);
        self.context.store.group_of(shard) == self.group
    }
}

/// Does an event change more of a SKU's stock than how much is free and how much is promised?
const fn changes_more_than_counters(event: &Event) -> bool {
    match event {
        Event::Inventory(
            inventory::Event::Reserved { .. }
            | inventory::Event::Committed { .. }
            | inventory::Event::Released { .. }
            | inventory::Event::Kept { .. }
            | inventory::Event::Forgotten { .. }
            | inventory::Event::MovesForgotten { .. }
            | inventory::Event::Promised { .. }
            | inventory::Event::PromiseExtended { .. }
            | inventory::Event::PromiseKept { .. }
            | inventory::Event::PromiseCommitted { .. }
            | inventory::Event::PromiseReleased { .. }
            | inventory::Event::PromisesExpired { .. }
            | inventory::Event::PromisesForgotten { .. },
        )
        | Event::Cart(_)
        | Event::Reservation(_)
        | Event::Order(_)
        | Event::Product(_)
        | Event::Warehouse(_) => false,
        Event::Inventory(_) => true,
    }
}
