//! The way to shards that other nodes own, as the actors see it. The cluster provides it; a single node has none.
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

/// A message from one entity to another of another commit group. It is sent once, without an acknowledgement: an effect whose copy is gone is
/// sent again by the entity that owes it (rules E4 and W2).
#[derive(Debug, Clone)]
pub enum OneWay {
    /// A command.
    Ask {
        /// The command.
        ask: Box<Ask>,
        /// The entity that owes it, as the effect of this key; `None`: the answer is dropped.
        reply_to: Option<(EntityId, EffectKey)>,
    },
    /// The answer to an effect.
    Answer {
        /// The entity that owes the effect.
        entity: EntityId,
        /// Which of its effects.
        key: EffectKey,
        /// How the effect ended.
        outcome: Box<Outcome>,
    },
    /// A command to another entity ended without an answer: there was no room, it was too late, its receiver failed.
    CopyGone {
        /// The entity that owes the effect.
        entity: EntityId,
        /// Which of its effects.
        key: EffectKey,
    },
}

impl OneWay {
    /// The entity it goes to.
    #[must_use]
    pub const fn receiver(&self) -> &EntityId {
        match self {
            Self::Ask { ask, .. } => &ask.entity,
            Self::Answer { entity, .. } | Self::CopyGone { entity, .. } => entity,
        }
    }
}

/// How a request to another node ended.
#[derive(Debug, Clone)]
pub enum Delivered {
    /// The owner answered.
    Answered(Answer),
    /// The node that was asked does not own the shard now, or was not reached and never got the request. Nothing was decided, so it may be
    /// sent again, to the same node or another.
    NotDelivered,
    /// The request was sent and no answer came: it may have been decided.
    Unknown,
}

/// The way to other nodes. It never blocks, and bounds what is under way to each peer.
pub trait Remote: Debug + Send + Sync + 'static {
    /// Asks the node that, as far as known, owns the shard: one attempt, ended by the request's own deadline. The router tries again after
    /// [`Delivered::NotDelivered`].
    fn ask(&self, shard: Shard, ask: Ask) -> BoxFuture<'static, Delivered>;

    /// Sends without waiting; the message may be lost on its way.
    ///
    /// # Errors
    /// The message, when it cannot leave: no owner of the shard is known, or no room is left on the way to it.
    fn send(&self, shard: Shard, message: OneWay) -> Result<(), OneWay>;

    /// A number that changes whenever a message that left before may have been lost: a session ended, or a shard has another owner.
    fn losses(&self) -> u64;
}
