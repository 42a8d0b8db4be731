//! One instance of one entity: its newest state, the effects it has sent, and the callers that wait for it.
//!
//! Everything that happens ends in [`Instance::settle`], which hands events, replies and effects to the log writer as one submission and
//! only then sends messages inside the commit group (rule L2).

use super::in_flight::{Copy, InFlight};
use crate::messages::ask::{Accepted, Answer, Ask};
use crate::messages::asker::{Asker, EffectAnswer};
use crate::messages::caller::Caller;
use crate::messages::entity::{Activation, EntityMsg, Envelope, ReplyTo, Start};
use crate::messages::local::LocalActor;
use crate::messages::passivated::{EncodedRows, PassivatedState, StateForm};
use crate::messages::remote::OneWay;
use crate::messages::shard::{Flushed, Passivate, ShardNotice};
use crate::output::PendingOutput;
use crate::recovery::{self, RecoveryError};
use crate::shard_context::ShardContext;
use crate::view::{AvailabilityView, Stock};
use bytes::Bytes;
use doorbuster_domain::any::{Command, Event, Reply, State};
use doorbuster_domain::effect::{Effect, EffectKey, Outcome};
use doorbuster_domain::entity::{By, Decision, PublicView, Residency, Wait};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::{self, Decided, Dirty, Meta};
use ractor::{ActorProcessingErr, ActorRef};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A caller whose answer waits until the entity has got as far as asked.
#[derive(Debug)]
struct Waiter {
    wait: Wait,
    caller: Caller,
    reply: Reply,
    repeated: bool,
}

/// Number of events and the body of a record.
type Record = (u32, Bytes);

/// One instance of one entity.
#[derive(Debug)]
pub(crate) struct Instance {
    shared: Arc<ShardContext>,
    id: EntityId,
    number: u64,
    start: Option<Start>,
    state: Arc<State>,
    meta: Meta,
    /// Rows that differ from the stored ones.
    dirty: Dirty,
    in_flight: InFlight,
    waiters: Vec<Waiter>,
    /// Counted messages handled so far (rule E1).
    handled: u64,
    /// Counted messages that wait; shared with the handle.
    waiting: Arc<AtomicU32>,
    /// The instant of the last wake: deadlines up to it have been seen to.
    woken_at: Timestamp,
    /// What the shard's agenda was last given: deadline, and whether an effect is owed.
    reported: (Option<Timestamp>, bool),
    view: Option<Arc<AvailabilityView>>,
    /// More than the view's counters has changed since it was published.
    details_changed: bool,
    /// The state as it is stored, while it has not changed since it was encoded.
    encoded: Option<EncodedRows>,
    /// The command it was started for.
    first: Option<Box<Envelope>>,
}

impl Instance {
    /// Not recovered yet.
    pub(super) fn new(shared: Arc<ShardContext>, activation: Activation) -> Self {
        let Activation { id, instance, start, waiting, first } = activation;
        Self {
            view: None,
            state: Arc::new(State::empty(&id)),
            shared,
            id,
            number: instance,
            start: Some(start),
            meta: Meta::default(),
            dirty: Dirty::default(),
            in_flight: InFlight::default(),
            waiters: Vec::new(),
            handled: 0,
            waiting,
            woken_at: Timestamp::default(),
            reported: (None, false),
            details_changed: false,
            encoded: None,
            first,
        }
    }

    /// What the same actor hosts next.
    pub(super) fn successor(&self, activation: Activation) -> Self {
        Self::new(Arc::clone(&self.shared), activation)
    }

    /// Its number in the shard.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Fault injection: how much longer a message takes.
    pub(super) fn delay(&self) -> Option<Duration> {
        self.shared.context.faults.shard_delay(self.shared.shard)
    }

    /// Recovers, sends what is owed, and decides on the command it was started for.
    pub(super) async fn begin(&mut self, myself: &ActorRef<EntityMsg>) -> Result<(), ActorProcessingErr> {
        self.panic_if_armed();
        match self.start.take().unwrap_or(Start::Load) {
            Start::Passivated(state) => self.resume(state)?,
            Start::Load => Box::pin(self.recover(false)).await?,
            Start::Replay => Box::pin(self.recover(true)).await?,
        }
        if self.meta.version > 0 {
            let outputs = self.publication(true).into_iter().collect();
            self.shared.submit(None, outputs, None);
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

    /// Handles one message. All are counted but what comes straight from an entity of the group about an effect.
    pub(super) fn handle(&mut self, myself: &ActorRef<EntityMsg>, message: EntityMsg) {
        if !matches!(message, EntityMsg::Answer { .. } | EntityMsg::CopyGone { .. }) {
            self.count();
        }
        match message {
            EntityMsg::Answer { key, outcome, .. } => self.answer(myself, key, outcome, false),
            EntityMsg::Ask(envelope) => self.ask(myself, *envelope),
            EntityMsg::AnswerByShard { key, outcome } => self.answer(myself, key, outcome, true),
            EntityMsg::CopyGone { key, .. } => self.in_flight.copy_gone(key),
            EntityMsg::CopyGoneByShard { key } => {
                self.in_flight.copy_gone(key);
                self.settle(myself, Vec::new(), None);
            }
            EntityMsg::Tick => self.tick(myself),
            EntityMsg::Flush(checkpoint) => self.flush(checkpoint),
            EntityMsg::DrainWaiters => self.drain_waiters(myself),
            EntityMsg::Panic => self.panic_if_armed(),
            // The shell handles it: it replaces this instance.
            EntityMsg::Activate(_) => {}
        }
    }

    /// One more counted message is handled.
    fn count(&mut self) {
        self.handled = self.handled.saturating_add(1);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Goes on from the state that the last instance left.
    fn resume(&mut self, state: PassivatedState) -> Result<(), RecoveryError> {
        let PassivatedState { form, meta, dirty } = state;
        self.state = match form {
            StateForm::Live(state) => state,
            StateForm::Encoded(rows) => {
                let (state, _) = wire::state_of(&self.id, &rows.rows())?;
                self.encoded = Some(rows);
                Arc::new(state)
            }
        };
        self.meta = meta;
        self.dirty = dirty;
        Ok(())
    }

    /// Reads the state from the store.
    async fn recover(&mut self, replay: bool) -> Result<(), RecoveryError> {
        let loaded = recovery::load(&self.shared.context.store, self.shared.shard, &self.id, replay).await?;
        if let Some(loaded) = loaded {
            self.state = Arc::new(loaded.state);
            self.meta = loaded.meta;
            self.dirty = loaded.dirty;
        }
        Ok(())
    }

    /// Decides on a command and hands the decision over.
    fn ask(&mut self, myself: &ActorRef<EntityMsg>, mut envelope: Envelope) {
        let now = self.shared.context.clock.now();
        if envelope.is_over(now, &self.shared.context.stats) {
            // Rule E4: checked before decide; what was decided is always journaled.
            self.settle(myself, Vec::new(), None);
            return;
        }
        let Envelope { ask, reply_to } = envelope;
        let Ask { command, by, wait, if_version, .. } = ask;
        if if_version.is_some_and(|version| version != self.meta.version) {
            let mut outputs = Vec::new();
            if let ReplyTo::Caller(caller) = reply_to {
                // The version in the answer may not be durable yet, so it waits like every answer.
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
        let decided = catch_unwind(AssertUnwindSafe(|| state.decide_for(&by, &command, now)));
        drop(state);
        match decided {
            Ok(Ok(decision)) => self.accept(myself, decision, &by, now, wait, reply_to),
            Ok(Err(refusal)) => {
                let mut outputs = Vec::new();
                match reply_to {
                    ReplyTo::Caller(caller) => outputs.push(PendingOutput::Refused(caller, Box::new(refusal))),
                    ReplyTo::Entity(asker) => match asker.answer(Outcome::Refused(refusal)) {
                        // The sender may have ended; its next instance asks again if it still owes the effect.
                        Some(EffectAnswer::InGroup(actor, answer)) => {
                            actor.send(answer);
                        }
                        Some(EffectAnswer::OtherGroup(answer)) => outputs.push(PendingOutput::CrossGroup(answer)),
                        None => {}
                    },
                    ReplyTo::Nobody => {}
                }
                self.settle(myself, outputs, None);
            }
            Err(_panic) => {
                tracing::error!(entity = %self.id, "decide panicked, the command is refused");
                self.shared.context.stats.panicked();
                if let ReplyTo::Caller(caller) = reply_to {
                    caller.answer(Answer::Panicked);
                }
                self.settle(myself, Vec::new(), None);
            }
        }
    }

    fn accept(
        &mut self,
        myself: &ActorRef<EntityMsg>,
        decision: Decision<Event, Reply>,
        by: &Principal,
        now: Timestamp,
        wait: Wait,
        reply_to: ReplyTo,
    ) {
        let Decision { events, reply, repeated } = decision;
        let record = if events.is_empty() { None } else { self.evolve(events, by.by(), now) };
        let mut outputs = Vec::new();
        let mut answer = None;
        match reply_to {
            ReplyTo::Caller(caller) => self.waiters.push(Waiter { wait, caller, reply, repeated }),
            ReplyTo::Entity(asker) => match asker.answer(Outcome::Replied(reply)) {
                Some(EffectAnswer::InGroup(actor, message)) => answer = Some((actor, message)),
                Some(EffectAnswer::OtherGroup(message)) => outputs.push(PendingOutput::CrossGroup(message)),
                None => {}
            },
            ReplyTo::Nobody => {}
        }
        self.settle(myself, outputs, record);
        if let Some((actor, answer)) = answer {
            // Inside the group the answer travels at once: whatever it causes is queued behind this decision (rule L2).
            // The sender may have ended; its next instance asks again if it still owes the effect.
            actor.send(answer);
        }
    }

    /// Takes the events in; gives the record for the log.
    fn evolve(&mut self, events: Vec<Event>, by: By, now: Timestamp) -> Option<Record> {
        let decided =
            Decided { entity: self.id.clone(), number: self.meta.version.saturating_add(1), at: now, by, events };
        let body = wire::encode(&decided);
        let state = Arc::make_mut(&mut self.state);
        self.encoded = None;
        for event in &decided.events {
            self.details_changed |= event.changes_view_details();
            state.evolve(event);
            wire::touch(event, &mut self.dirty);
        }
        let count = decided.events.len();
        self.meta.after(count, now);
        Some((u32::try_from(count).unwrap_or(u32::MAX), body))
    }

    /// Ends every message: answers the callers whose wait is over, sends what is owed, notifies the shard, and hands it all to the writer
    /// in one submission.
    fn settle(&mut self, myself: &ActorRef<EntityMsg>, mut outputs: Vec<PendingOutput>, record: Option<Record>) {
        let asks = if self.in_flight.must_look() { self.collect_owed(myself, &mut outputs) } else { Vec::new() };
        if record.is_some() {
            // Ahead of the answers: a caller that has one, and reads the view next, sees what the answer saw.
            let whole = std::mem::take(&mut self.details_changed);
            outputs.extend(self.publication(whole));
        }
        self.answer_waiters(&mut outputs);
        let notice = self.notice();
        let nothing = record.is_none() && outputs.is_empty() && notice.is_none();
        if !nothing && !self.shared.submit(record, outputs, notice) {
            // This ownership is over: what was decided never happened, so nothing follows from it.
            return;
        }
        for (ask, reply_to) in asks {
            self.shared.router.send(ask, reply_to);
        }
    }

    /// Prepares the effects that are owed and have no copy under way: those inside the group as commands to send, the others as outputs.
    fn collect_owed(&mut self, myself: &ActorRef<EntityMsg>, outputs: &mut Vec<PendingOutput>) -> Vec<(Ask, ReplyTo)> {
        let context = &self.shared.context;
        let now = context.clock.now();
        let owed = self.state.owed(now);
        self.in_flight.looked(&owed);
        let mut asks = Vec::new();
        let losses = self.shared.router.losses();
        for key in owed {
            let Some(retries) = self.in_flight.retries_if_due(key, losses, &context.settings) else { continue };
            let Some(effect) = self.state.effect(key) else { continue };
            if context.faults.loses(effect.step()) {
                // As if the message were lost: it stays owed, and is sent again after its pause.
                self.in_flight.sent(key, retries, Copy::Gone);
                continue;
            }
            let copy = match &effect {
                Effect::Provider(_) => Copy::AtProvider,
                Effect::Ask { to, .. } if self.shared.is_in_group(to) => Copy::InGroup,
                Effect::Ask { .. } => Copy::InOtherGroup { losses },
            };
            self.in_flight.sent(key, retries, copy);
            match effect {
                Effect::Ask { to, command } => {
                    let ask = Ask {
                        entity: to,
                        command,
                        by: Principal::System,
                        wait: Wait::Decided,
                        deadline: now.plus_s(context.settings.command_life_s),
                        if_version: None,
                        reject_if_absent: None,
                    };
                    if matches!(copy, Copy::InGroup) {
                        let actor = LocalActor::new(myself.clone(), self.shared.core.clone());
                        let asker = Asker::in_group(key, actor, self.number, Arc::clone(&context.stats));
                        asks.push((ask, ReplyTo::Entity(asker)));
                    } else {
                        let message = OneWay::Ask { ask: Box::new(ask), reply_to: Some((self.id.clone(), key)) };
                        outputs.push(PendingOutput::CrossGroup(message));
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
        let shown = self.state.answers_with_state().then_some(&self.state);
        for waiter in std::mem::take(&mut self.waiters) {
            if waiter.caller.is_gone() {
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
                shard: self.shared.shard,
                seq: 0,
            };
            outputs.push(PendingOutput::Accepted(waiter.caller, Box::new(accepted)));
        }
    }

    /// The new figures for the view, where the kind has one. `whole`: with the details.
    ///
    /// The view begins here, with the first event: a name that nobody has given to anything occupies no place among those that all readers share.
    fn publication(&mut self, whole: bool) -> Option<PendingOutput> {
        let (shared, sku) = (&self.shared, self.id.published_as()?);
        let view = self.view.get_or_insert_with(|| shared.context.views.open(sku, shared.shard));
        let PublicView { available, reserved, next_release_at, details } = self.state.public_view(whole)?;
        let stock = Stock { available, reserved, next_release_at, version: self.meta.version, levels: details };
        Some(PendingOutput::Publish(Arc::clone(view), stock))
    }

    /// What the shard must know: a short-lived entity that is idle may leave memory, a long-lived one has a new entry in the agenda.
    fn notice(&mut self) -> Option<ShardNotice> {
        let owes = !self.in_flight.is_empty();
        let wake_at = self.wakes_at();
        match self.id.residency() {
            Residency::ShortLived => (!owes && self.waiters.is_empty()).then(|| self.passivate(wake_at)),
            Residency::LongLived if self.reported != (wake_at, owes) => {
                self.reported = (wake_at, owes);
                Some(ShardNotice::Agenda { entity: self.id.clone(), wake_at, owes })
            }
            Residency::LongLived => None,
        }
    }

    /// When it must be woken next. A deadline that has come and was not seen to yet must stay on the agenda, so this is not
    /// counted from now, but from the last wake. A clock that was set back since then has taken that wake back: what was due then
    /// is still to come.
    fn wakes_at(&self) -> Option<Timestamp> {
        self.state.wake_at(self.woken_at.min(self.shared.context.clock.now()))
    }

    fn passivate(&mut self, wake_at: Option<Timestamp>) -> ShardNotice {
        let form = match self.id.residency() {
            Residency::LongLived => StateForm::Live(Arc::clone(&self.state)),
            Residency::ShortLived => {
                let encode = || EncodedRows::of(&self.state, &self.meta);
                StateForm::Encoded(self.encoded.get_or_insert_with(encode).clone())
            }
        };
        ShardNotice::Passivate(Box::new(Passivate {
            entity: self.id.clone(),
            instance: self.number,
            handled: self.handled,
            state: PassivatedState { form, meta: self.meta, dirty: self.dirty.clone() },
            wake_at,
        }))
    }

    /// An effect was answered; `counted`: by a message of the shard.
    fn answer(&mut self, myself: &ActorRef<EntityMsg>, key: EffectKey, outcome: Outcome, counted: bool) {
        let now = self.shared.context.clock.now();
        // An answer to an effect that is settled is a late copy. It must not change an entity that may be stopping (rule E1): one that has
        // asked to be passivated does nothing more until the shard sends it something.
        if !self.in_flight.answered(key) {
            if counted {
                self.settle(myself, Vec::new(), None);
            }
            return;
        }
        let by = match &outcome {
            Outcome::Provider(_) => Principal::Provider(self.shared.context.provider_name.clone()),
            Outcome::Replied(_) | Outcome::Refused(_) => Principal::System,
        };
        let Some(command) = self.state.answered(key, outcome) else { return };
        match self.state.decide(&command, now) {
            Ok(decision) => self.accept(myself, decision, &by, now, Wait::Decided, ReplyTo::Nobody),
            Err(refusal) => {
                tracing::warn!(entity = %self.id, ?refusal, "an answer to an effect was refused");
                self.settle(myself, Vec::new(), None);
            }
        }
    }

    /// The shard is being released, and its next owner brings this entity as far as its callers wait for. They ask there: what waits carries
    /// a key, so it is one request still.
    fn drain_waiters(&mut self, myself: &ActorRef<EntityMsg>) {
        for waiter in std::mem::take(&mut self.waiters) {
            // The caller may have gone.
            waiter.caller.answer(Answer::NotServing);
        }
        self.settle(myself, Vec::new(), None);
    }

    /// Time has passed: overdue effects are sent again, and a long-lived entity that is idle may leave memory.
    fn tick(&mut self, myself: &ActorRef<EntityMsg>) {
        self.waiters.retain(|waiter| !waiter.caller.is_gone());
        self.in_flight.look_next();
        self.settle(myself, Vec::new(), None);
        let is_idle = self.in_flight.is_empty() && self.waiters.is_empty();
        if is_idle && self.id.residency() == Residency::LongLived {
            let notice = self.passivate(self.wakes_at());
            self.shared.notify(notice);
        }
    }

    /// Fault injection: panics if the configuration allows it and an operator has armed it.
    fn panic_if_armed(&self) {
        assert!(!self.shared.context.faults.must_panic(&self.id), "a fault was ordered for {}", self.id);
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
            erased: self.state.is_erased(),
        };
        self.shared.notify(ShardNotice::Flushed(Box::new(flushed)));
    }
}
