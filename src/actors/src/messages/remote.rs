//! The way to shards that other nodes own, as the actors see it. The cluster gives it; a node alone has none.
//!
//! ```text
//! router ──ask──► Remote ──network──► the owner's Handle::deliver ──► its shard
//! ```

use super::ask::{Answer, Ask};
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::Shard;
use futures_util::future::BoxFuture;
use std::fmt::Debug;

/// What one entity says to another whose shard is elsewhere. Nobody waits for it: an effect that stays unanswered is sent again by
/// the one who owes it (rule E4).
#[derive(Debug, Clone)]
pub enum OneWay {
    /// A question. `reply_to`: the entity that owes it as the effect of this key; `None`: nobody wants the answer.
    Ask {
        /// The question.
        ask: Box<Ask>,
        /// Who hears the answer.
        reply_to: Option<(EntityId, EffectKey)>,
    },
    /// The answer to an effect.
    Answer {
        /// Who owes it.
        entity: EntityId,
        /// Which of its effects.
        key: EffectKey,
        /// How it ended.
        outcome: Box<Outcome>,
    },
}

impl OneWay {
    /// The entity it goes to.
    #[must_use]
    pub const fn receiver(&self) -> &EntityId {
        match self {
            Self::Ask { ask, .. } => &ask.entity,
            Self::Answer { entity, .. } => entity,
        }
    }
}

/// How a question to another node ended.
#[derive(Debug, Clone)]
pub enum Delivered {
    /// The owner answered.
    Answered(Answer),
    /// Whoever was asked does not own the shard (any more, or yet), or could not be reached and never got the question: nothing
    /// was decided, so it may be asked again, there or elsewhere.
    NotDelivered,
    /// The question was sent and its answer never came: it may have been decided.
    Unknown,
}

/// The way to other nodes. It never blocks, and bounds what is under way to each peer.
pub trait Remote: Debug + Send + Sync + 'static {
    /// Asks the node that, as far as known, owns the shard; one attempt, ended by the question's own deadline. The router asks again after
    /// [`Delivered::NotDelivered`].
    fn ask(&self, shard: Shard, ask: Ask) -> BoxFuture<'static, Delivered>;

    /// Sends without waiting; may be lost.
    fn send(&self, shard: Shard, message: OneWay);
}
