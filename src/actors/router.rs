//! The way to any entity: by its shard, to the shard's actor here, or (on a cluster) to the node that owns it.
//!
//! Permits are taken here, before a message is sent: a plain mailbox keeps a few per cent of its goodput under five-fold load.

use super::ask::{Answer, Ask};
use super::context::Context;
use super::held::ReplyTo;
use super::shard::ShardMsg;
use crate::clock::monotonic;
use crate::domain::effect::{EffectKey, Outcome};
use crate::domain::ids::EntityId;
use crate::storage::{Layout, Shard};
use ractor::ActorRef;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, TryAcquireError, oneshot};

/// A question with the one who asks.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    pub(crate) reply_to: ReplyTo,
}

/// Where questions go in.
#[derive(Debug)]
pub(crate) struct Router {
    layout: Layout,
    shards: Arc<[ActorRef<ShardMsg>]>,
    permits: Semaphore,
    serving: AtomicBool,
    context: Weak<Context>,
}

impl Router {
    pub(crate) fn new(layout: Layout, shards: Vec<ActorRef<ShardMsg>>, context: &Arc<Context>) -> Self {
        Self {
            layout,
            shards: shards.into(),
            permits: Semaphore::new(context.settings.requests_in_flight_max),
            serving: AtomicBool::new(false),
            context: Arc::downgrade(context),
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
        let free = self.permits.available_permits();
        self.context.upgrade().map_or(0, |context| context.settings.requests_in_flight_max.saturating_sub(free))
    }

    /// Which shard an entity belongs to.
    pub(crate) fn shard_of(&self, entity: &EntityId) -> Shard {
        self.layout.shard_of(entity)
    }

    /// Asks and waits, at most until the question's deadline. Dropping the future takes nothing back: what was decided
    /// is journaled.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        if !self.serving.load(Ordering::Acquire) {
            return Answer::NotServing;
        }
        let Some(context) = self.context.upgrade() else { return Answer::NotServing };
        if context.stats.log_queue() > context.settings.log_queue_max {
            context.stats.refused_busy();
            return Answer::Busy { retry_after_s: 1 };
        }
        let _permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                context.stats.refused_busy();
                return Answer::Busy { retry_after_s: 1 };
            }
        };
        let left = Duration::from_millis(ask.deadline.since_ms(context.clock.now()));
        let (caller, answer) = oneshot::channel();
        let begun = monotonic();
        self.tell(ask, ReplyTo::Caller(caller));
        match tokio::time::timeout(left, answer).await {
            Ok(Ok(answer)) => {
                context.stats.answered(begun.elapsed());
                answer
            }
            Ok(Err(_dropped)) => Answer::Unknown,
            Err(_elapsed) => Answer::Late,
        }
    }

    /// Sends a question on its way; who asked hears through `reply_to`.
    pub(crate) fn tell(&self, ask: Ask, reply_to: ReplyTo) {
        let shard = self.layout.shard_of(&ask.entity);
        self.send(shard, ShardMsg::Ask(Box::new(Asked { ask, reply_to })));
    }

    /// Brings the answer of another group, or of the provider, to the entity that owes the effect.
    pub(crate) fn answer(&self, entity: EntityId, key: EffectKey, outcome: Outcome) {
        let shard = self.layout.shard_of(&entity);
        self.send(shard, ShardMsg::Answer { entity, key, outcome });
    }

    pub(crate) fn send(&self, shard: Shard, message: ShardMsg) {
        if let Some(actor) = self.shards.get(usize::from(shard.0)) {
            // A shard that is gone has taken its commit group with it (rule E2); the caller hears *unknown*.
            drop(actor.send_message(message));
        }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = (Shard, &ActorRef<ShardMsg>)> {
        self.shards.iter().enumerate().map(|(index, actor)| (Shard(u16::try_from(index).unwrap_or(u16::MAX)), actor))
    }
}
