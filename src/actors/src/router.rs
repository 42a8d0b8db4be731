//! The way to any entity: through its shard's actor on this node, or through the node that owns its shard.
//!
//! ```text
//! ask ──room in the log's queue?──► owned here? ──► shard's actor ──► answer
//!                                     │ no
//!                                     └────► the owner, as far as known ── not delivered ──► pause, try again, until the deadline
//! ```
//!
//! How many requests come in is bounded where they come from: by the API's permits, and by the gateway of each other node. Here they are refused, before
//! a message is sent, while the log falls behind: a plain mailbox keeps a few per cent of its goodput under five-fold load.

use super::handle::Handles;
use super::messages::ask::{Answer, Ask};
use super::messages::asker::{Asker, OneWays};
use super::messages::caller::Caller;
use super::messages::entity::{Envelope, ReplyTo};
use super::messages::remote::{Delivered, OneWay, Remote};
use super::messages::shard::ShardMsg;
use super::routes::Routes;
use super::settings::Settings;
use super::stats::Stats;
use doorbuster_clock::{SharedClock, monotonic};
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::{Layout, Shard};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// First pause before a request that met no owner is sent again, in ms; it doubles with each retry until the deadline.
const RETRY_MIN_MS: u64 = 5;
/// Longest such pause, in ms.
const RETRY_MAX_MS: u64 = 100;

/// Sends commands and answers on their way.
#[derive(Debug)]
pub(crate) struct Router {
    layout: Layout,
    clock: SharedClock,
    settings: Settings,
    stats: Arc<Stats>,
    /// The shards of this node.
    pub(crate) routes: Routes,
    /// The direct way to long-lived entities of this node.
    pub(crate) handles: Handles,
    /// Requests from outside under way.
    in_flight: AtomicUsize,
    serving: AtomicBool,
    remote: OnceLock<Arc<dyn Remote>>,
    /// Itself: the copy of an effect from another group keeps it, to say what became of it.
    own: Weak<Self>,
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
struct InFlight<'router>(&'router AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Router {
    /// The node owns no shard yet.
    pub(crate) fn new(layout: Layout, clock: SharedClock, settings: Settings, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            layout,
            clock,
            settings,
            stats,
            routes: Routes::new(layout.shards),
            handles: Handles::default(),
            in_flight: AtomicUsize::new(0),
            serving: AtomicBool::new(false),
            remote: OnceLock::new(),
        })
    }

    /// Gives the way to other nodes' shards.
    pub(crate) fn connect(&self, remote: Arc<dyn Remote>) {
        if self.remote.set(remote).is_err() {
            tracing::error!("a node was connected to its cluster twice");
        }
    }

    /// Starts or stops taking requests from outside; effects always pass.
    pub(crate) fn serve(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }

    /// Does the node take requests from outside?
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Requests from outside under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// The shard of an entity.
    pub(crate) fn shard_of(&self, entity: &EntityId) -> Shard {
        self.layout.shard_of(entity)
    }

    /// Asks and waits, at most until the request's deadline. Dropping the future takes nothing back: what was decided is journaled.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        if !self.is_serving() {
            return Answer::NotServing;
        }
        let Some(_in_flight) = self.admit() else { return Answer::Busy { retry_after_s: 1 } };
        let shard = self.layout.shard_of(&ask.entity);
        let begun = monotonic();
        let answer = if self.remote.get().is_some() {
            Box::pin(self.ask_cluster(shard, ask)).await
        } else {
            self.ask_local(shard, ask).await.unwrap_or(Answer::NotServing)
        };
        if !matches!(answer, Answer::Unknown | Answer::Late | Answer::NotServing) {
            self.stats.answered(doorbuster_clock::since(begun));
        }
        answer
    }

    /// A request that another node passes on; `None`: the shard is not here.
    pub(crate) async fn deliver(&self, ask: Ask) -> Option<Answer> {
        let shard = self.layout.shard_of(&ask.entity);
        if !self.routes.is_open(shard) {
            return None;
        }
        let Some(_in_flight) = self.admit() else { return Some(Answer::Busy { retry_after_s: 1 }) };
        self.ask_local(shard, ask).await
    }

    fn admit(&self) -> Option<InFlight<'_>> {
        if self.stats.log_queue() > self.settings.log_queue_max
            || self.stats.effects_waiting() > self.settings.effects_max
        {
            self.stats.refused_busy();
            return None;
        }
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Some(InFlight(&self.in_flight))
    }

    /// `None`: the shard is not here. Its actor never got the request, or leaves the answer to the next owner.
    async fn ask_local(&self, shard: Shard, ask: Ask) -> Option<Answer> {
        let left = self.time_left(&ask);
        let (caller, answer) = Caller::new();
        let (_entered, actor) = self.routes.enter(shard)?;
        let message = ShardMsg::Ask(Box::new(Envelope { ask, reply_to: ReplyTo::Caller(caller) }));
        if !actor.send(message) {
            // Its ownership has just ended, and it never saw the request.
            return None;
        }
        Some(match tokio::time::timeout(left, answer).await {
            // The shard is being released: its next owner answers.
            Ok(Ok(Answer::NotServing)) => return None,
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Answer::Unknown,
            Err(_elapsed) => Answer::Late,
        })
    }

    /// Asks the owner of the shard, here or elsewhere; again while no owner got the request, until its deadline.
    async fn ask_cluster(&self, shard: Shard, ask: Ask) -> Answer {
        let mut pause_ms = RETRY_MIN_MS;
        loop {
            if self.routes.is_open(shard) {
                if let Some(answer) = self.ask_local(shard, ask.clone()).await {
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
            if self.time_left(&ask) <= pause {
                // No owner got it: nothing was decided.
                return Answer::Busy { retry_after_s: 1 };
            }
            self.stats.met_no_owner();
            tokio::time::sleep(pause).await;
            pause_ms = pause_ms.saturating_mul(2).min(RETRY_MAX_MS);
        }
    }

    fn time_left(&self, ask: &Ask) -> Duration {
        Duration::from_millis(ask.deadline.since_ms(self.clock.now()))
    }

    /// Sends a command to an entity of this node: straight to its actor if it has a handle with room, else through its shard. A shard that
    /// is gone has taken its commit group with it (rule E2); a caller hears *unknown*, an entity sends its effect again.
    pub(crate) fn send(&self, ask: Ask, reply_to: ReplyTo) {
        let envelope = Box::new(Envelope { ask, reply_to });
        let Err(envelope) = self.handles.send(envelope, self.settings.effects_waiting_max()) else { return };
        let shard = self.layout.shard_of(&envelope.ask.entity);
        self.send_to_shard(shard, ShardMsg::Ask(envelope));
    }

    /// A number that changes whenever a message to another commit group may have been lost on its way.
    pub(crate) fn losses(&self) -> u64 {
        self.routes.changes().wrapping_add(self.remote.get().map_or(0, |remote| remote.losses()))
    }

    /// Takes in a message of an entity of another commit group. One whose shard is not here is dropped, and the entity that owes the effect
    /// hears of it.
    pub(crate) fn receive(&self, message: OneWay) {
        match message {
            OneWay::Ask { ask, reply_to } => {
                let asker = reply_to
                    .zip(self.own.upgrade())
                    .map(|((entity, key), own)| Asker::in_other_group(key, entity, own, Arc::clone(&self.stats)));
                self.send(*ask, asker.map_or(ReplyTo::Nobody, ReplyTo::Entity));
            }
            OneWay::CopyGone { entity, key } => {
                let shard = self.layout.shard_of(&entity);
                self.send_to_shard(shard, ShardMsg::CopyGone { entity, key });
            }
            OneWay::Answer { entity, key, outcome } => {
                let shard = self.layout.shard_of(&entity);
                self.send_to_shard(shard, ShardMsg::Answer { entity, key, outcome: *outcome });
            }
        }
    }

    /// Sends the provider's answer to the entity that owes the effect.
    pub(crate) fn send_answer(&self, entity: EntityId, key: EffectKey, outcome: Outcome) {
        let shard = self.layout.shard_of(&entity);
        if let Some(actor) = self.routes.actor(shard) {
            actor.send(ShardMsg::Answer { entity, key, outcome });
        } else if let Some(remote) = self.remote.get() {
            // An answer that is lost is asked for again.
            drop(remote.send(shard, OneWay::Answer { entity, key, outcome: Box::new(outcome) }));
        }
    }

    /// Sends a message to a shard of this node; to others it is dropped.
    pub(crate) fn send_to_shard(&self, shard: Shard, message: ShardMsg) {
        if let Some(actor) = self.routes.actor(shard) {
            actor.send(message);
        }
    }
}

impl OneWays for Router {
    fn send_one_way(&self, message: OneWay) {
        let shard = self.layout.shard_of(message.receiver());
        if self.routes.actor(shard).is_some() {
            self.receive(message);
            return;
        }
        let stays = match self.remote.get() {
            Some(remote) => remote.send(shard, message).err(),
            None => Some(message),
        };
        // The entity that owes the effect is here, or was: a shard that is gone has taken it along.
        if let Some(OneWay::Ask { reply_to: Some((entity, key)), .. }) = stays {
            self.receive(OneWay::CopyGone { entity, key });
        }
    }
}
