//! What a node does with what other nodes send it: the seam between the gateway and the actors.

use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::remote::OneWay;
use doorbuster_storage::Shard;
use futures_util::future::BoxFuture;
use std::fmt::Debug;

/// How a question from another node ended here.
#[derive(Debug, Clone)]
pub enum Inbox {
    /// The shard is here, and this is its answer.
    Answered(Answer),
    /// The shard is not here (any more, or yet): nothing was decided.
    NotOwner,
}

/// Where what other nodes send goes in. Neither method may block: they are called on the gateway's own turn.
pub trait Inbound: Debug + Send + Sync + 'static {
    /// Asks an entity of a shard that this node should own. The question's own deadline ends it.
    fn deliver(&self, shard: Shard, ask: Ask) -> BoxFuture<'static, Inbox>;

    /// Hands on what nobody waits for.
    fn told(&self, shard: Shard, told: OneWay);
}
