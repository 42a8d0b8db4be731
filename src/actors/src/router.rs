//! The way to any entity: by its shard, to the shard's actor here, or to the node that owns it.
//!
//! ```text
//! ask ──room in the log's queue?──► here? ──► shard's actor ──► answer
//!                                   │ no
//!                                   └────► the owner, as far as known ── not delivered ──► wait a little, look again, until the deadline
//! ```
//!
//! How many questions come in is bounded where they come from: by the API's permits, and by the gateway of each other node. Here they are refused, before
//! a message is sent, while the log falls behind: a plain mailbox keeps a few per cent of its goodput under five-fold load.

use super::ask::{Answer, Ask};
use super::context::Context;
use super::output::ReplyTo;
use super::remote::{Delivered, OneWay, Remote};
use super::shard::ShardMsg;
use super::stats::Stats;
use doorbuster_clock::monotonic;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::{Epoch, Layout, Shard};
use ractor::{ActorId, ActorRef};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// A question that meets no owner is asked again after so many ms, doubling …
const LOOK_AGAIN_MIN_MS: u64 = 5;
/// … up to so many, until its deadline.
const LOOK_AGAIN_MAX_MS: u64 = 100;

/// A question with the one who asks.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) ask: Ask,
    pub(crate) reply_to: ReplyTo,
}

impl Envelope {
    /// Rule E4: is it too late to decide this? Then whoever asked is told so; whoever has gone hears nothing, and nothing is decided for them.
    pub(crate) fn is_over(&mut self, now: Timestamp, stats: &Stats) -> bool {
        let is_late = self.ask.deadline < now;
        let is_gone = matches!(&self.reply_to, ReplyTo::Caller(caller) if caller.is_closed());
        if is_late {
            stats.dropped_late();
        } else if is_gone {
            stats.dropped_gone();
        }
        if is_late && let ReplyTo::Caller(caller) = std::mem::replace(&mut self.reply_to, ReplyTo::Nobody) {
            // It may have gone as well.
            drop(caller.send(Answer::Late));
        }
        is_late || is_gone
    }
}

/// Where a shard is.
#[derive(Debug, Default)]
struct Place {
    /// Its actor and its epoch, while it is here.
    here: RwLock<Option<(ActorRef<ShardMsg>, Epoch)>>,
    /// It takes questions from outside; what it has under way goes on while it does not.
    open: AtomicBool,
    /// Questions from outside that it has and has not answered.
    inside: AtomicU32,
}

/// Where questions go in.
#[derive(Debug)]
pub(crate) struct Router {
    layout: Layout,
    places: Box<[Place]>,
    /// Questions from outside that are under way.
    in_flight: AtomicUsize,
    serving: AtomicBool,
    remote: OnceLock<Arc<dyn Remote>>,
    context: Weak<Context>,
}

/// Counts a question as under way until it is dropped.
#[derive(Debug)]
struct InFlight<'router>(&'router AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One more question inside a shard, as long as it lives.
struct Inside<'place>(&'place AtomicU32);

impl<'place> Inside<'place> {
    fn enter(inside: &'place AtomicU32) -> Self {
        inside.fetch_add(1, Ordering::SeqCst);
        Self(inside)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Router {
    /// No shard is here yet.
    pub(crate) fn new(layout: Layout, context: &Weak<Context>) -> Self {
        Self {
            layout,
            places: (0..layout.shards).map(|_| Place::default()).collect(),
            in_flight: AtomicUsize::new(0),
            serving: AtomicBool::new(false),
            remote: OnceLock::new(),
            context: Weak::clone(context),
        }
    }

    /// Gives the way to other nodes' shards.
    pub(crate) fn connect(&self, remote: Arc<dyn Remote>) {
        if self.remote.set(remote).is_err() {
            tracing::error!("a node was connected to its cluster twice");
        }
    }

    /// A shard is here from now on, or no longer.
    pub(crate) fn place(&self, shard: Shard, here: Option<(ActorRef<ShardMsg>, Epoch)>) {
        if let Some(place) = self.places.get(usize::from(shard.0)) {
            place.open.store(here.is_some(), Ordering::Release);
            *place.here.write().unwrap_or_else(PoisonError::into_inner) = here;
        }
    }

    /// A shard that is being given away takes no more questions from outside; its own effects and answers still pass.
    pub(crate) fn close(&self, shard: Shard) {
        if let Some(place) = self.places.get(usize::from(shard.0)) {
            place.open.store(false, Ordering::SeqCst);
        }
    }

    /// Opens or closes the door for questions from outside; effects always pass.
    pub(crate) fn serve(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }

    /// Is the door open?
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Questions from outside that are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Questions from outside that a shard has and has not answered.
    pub(crate) fn inside(&self, shard: Shard) -> u32 {
        self.places.get(usize::from(shard.0)).map_or(0, |place| place.inside.load(Ordering::SeqCst))
    }

    /// Which shard an entity belongs to.
    pub(crate) fn shard_of(&self, entity: &EntityId) -> Shard {
        self.layout.shard_of(entity)
    }

    fn actor(&self, shard: Shard) -> Option<ActorRef<ShardMsg>> {
        let place = self.places.get(usize::from(shard.0))?;
        place.here.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(actor, _)| actor.clone())
    }

    /// Asks and waits, at most until the question's deadline. Dropping the future takes nothing back: what was decided
    /// is journaled.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        if !self.is_serving() {
            return Answer::NotServing;
        }
        let Some(context) = self.context.upgrade() else { return Answer::NotServing };
        let Some(_in_flight) = self.admit(&context) else { return Answer::Busy { retry_after_s: 1 } };
        let shard = self.layout.shard_of(&ask.entity);
        let begun = monotonic();
        let answer = if self.remote.get().is_some() {
            Box::pin(self.ask_around(&context, shard, ask)).await
        } else {
            self.ask_here(&context, shard, ask).await.unwrap_or(Answer::NotServing)
        };
        if !matches!(answer, Answer::Unknown | Answer::Late | Answer::NotServing) {
            context.stats.answered(begun.elapsed());
        }
        answer
    }

    /// A question of another node: `None` when the shard is not here.
    pub(crate) async fn deliver(&self, ask: Ask) -> Option<Answer> {
        let context = self.context.upgrade()?;
        let shard = self.layout.shard_of(&ask.entity);
        if !self.is_here(shard) {
            return None;
        }
        let Some(_in_flight) = self.admit(&context) else { return Some(Answer::Busy { retry_after_s: 1 }) };
        self.ask_here(&context, shard, ask).await
    }

    fn is_here(&self, shard: Shard) -> bool {
        self.places.get(usize::from(shard.0)).is_some_and(|place| place.open.load(Ordering::Acquire))
    }

    fn admit(&self, context: &Context) -> Option<InFlight<'_>> {
        if context.stats.log_queue() > context.settings.log_queue_max {
            context.stats.refused_busy();
            return None;
        }
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Some(InFlight(&self.in_flight))
    }

    /// `None`: the shard is not here; it never got the question, or got it and leaves the answer to its next owner.
    async fn ask_here(&self, context: &Context, shard: Shard, ask: Ask) -> Option<Answer> {
        let place = self.places.get(usize::from(shard.0))?;
        let left = left(context, &ask);
        let (caller, answer) = oneshot::channel();
        // Counted before it is looked whether the shard is open: whoever gives it away closes it first and then waits for the count.
        let _inside = Inside::enter(&place.inside);
        if !place.open.load(Ordering::SeqCst) {
            return None;
        }
        let actor = self.actor(shard)?;
        let message = ShardMsg::Ask(Box::new(Envelope { ask, reply_to: ReplyTo::Caller(caller) }));
        if actor.send_message(message).is_err() {
            // Its ownership has just ended, and it never saw the question.
            return None;
        }
        Some(match tokio::time::timeout(left, answer).await {
            // The shard is being given away: it is for the next owner to answer.
            Ok(Ok(Answer::NotServing)) => return None,
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Answer::Unknown,
            Err(_elapsed) => Answer::Late,
        })
    }

    /// Asks whoever owns the shard, again and again while nobody got the question, until its deadline.
    async fn ask_around(&self, context: &Context, shard: Shard, ask: Ask) -> Answer {
        let mut pause_ms = LOOK_AGAIN_MIN_MS;
        loop {
            if self.is_here(shard) {
                if let Some(answer) = self.ask_here(context, shard, ask.clone()).await {
                    return answer;
                }
            } else if let Some(remote) = self.remote.get() {
                match remote.ask(shard, ask.clone()).await {
                    Delivered::Answered(Answer::NotServing) | Delivered::NotDelivered => {}
                    Delivered::Answered(answer) => return answer,
                    Delivered::Unknown => return Answer::Unknown,
                }
            }
            let pause = Duration::from_millis(pause_ms);
            if left(context, &ask) <= pause {
                // Nobody had it: nothing was decided.
                return Answer::Busy { retry_after_s: 1 };
            }
            context.stats.looked_again();
            tokio::time::sleep(pause).await;
            pause_ms = pause_ms.saturating_mul(2).min(LOOK_AGAIN_MAX_MS);
        }
    }

    /// Sends a question to its shard, wherever that is; who asked hears through its `reply_to`.
    pub(super) fn send(&self, envelope: Box<Envelope>) {
        let shard = self.layout.shard_of(&envelope.ask.entity);
        if let Some(actor) = self.actor(shard) {
            // A shard that is gone has taken its commit group with it (rule E2); the caller hears *unknown*.
            drop(actor.send_message(ShardMsg::Ask(envelope)));
            return;
        }
        let Envelope { ask, reply_to } = *envelope;
        let reply_to = match reply_to {
            ReplyTo::Entity { entity, key, .. } | ReplyTo::OtherGroup { entity, key } => Some((entity, key)),
            ReplyTo::Nobody => None,
            // Callers ask through `ask`, which does not end here; dropped, they hear *unknown*.
            ReplyTo::Caller(_) => return,
        };
        if let Some(remote) = self.remote.get() {
            remote.send(shard, OneWay::Ask { ask: Box::new(ask), reply_to });
        }
    }

    /// What an entity of another node says. One that is not here (any more) does not hear it: who owes it sends it again.
    pub(crate) fn receive(&self, message: OneWay) {
        match message {
            OneWay::Ask { ask, reply_to } => {
                let reply_to = match reply_to {
                    Some((entity, key)) => ReplyTo::OtherGroup { entity, key },
                    None => ReplyTo::Nobody,
                };
                let shard = self.layout.shard_of(&ask.entity);
                self.send_to_shard(shard, ShardMsg::Ask(Box::new(Envelope { ask: *ask, reply_to })));
            }
            OneWay::Answer { entity, key, outcome } => {
                let shard = self.layout.shard_of(&entity);
                self.send_to_shard(shard, ShardMsg::Answer { entity, key, outcome: *outcome });
            }
        }
    }

    /// Brings the answer of another group, or of the provider, to the entity that owes the effect.
    pub(crate) fn answer(&self, entity: EntityId, key: EffectKey, outcome: Outcome) {
        let shard = self.layout.shard_of(&entity);
        if let Some(actor) = self.actor(shard) {
            drop(actor.send_message(ShardMsg::Answer { entity, key, outcome }));
        } else if let Some(remote) = self.remote.get() {
            remote.send(shard, OneWay::Answer { entity, key, outcome: Box::new(outcome) });
        }
    }

    /// To a shard that is here; others do not hear it.
    pub(crate) fn send_to_shard(&self, shard: Shard, message: ShardMsg) {
        if let Some(actor) = self.actor(shard) {
            drop(actor.send_message(message));
        }
    }

    /// The shard of this actor, while it is here.
    pub(crate) fn shard_with(&self, actor: ActorId) -> Option<(Shard, Epoch)> {
        (0..self.layout.shards).map(Shard).find_map(|shard| {
            let place = self.places.get(usize::from(shard.0))?;
            let here = place.here.read().unwrap_or_else(PoisonError::into_inner);
            here.as_ref().filter(|(found, _)| found.get_id() == actor).map(|(_, epoch)| (shard, *epoch))
        })
    }

    /// The shards that are here, in order.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (Shard, ActorRef<ShardMsg>)> {
        (0..self.layout.shards).map(Shard).filter_map(|shard| Some((shard, self.actor(shard)?)))
    }
}

fn left(context: &Context, ask: &Ask) -> Duration {
    Duration::from_millis(ask.deadline.since_ms(context.clock.now()))
}
