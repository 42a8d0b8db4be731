//! The interface between the gateway and the actors: what happens to messages from other nodes.

use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::remote::OneWay;
use doorbuster_storage::Shard;
use futures_util::future::BoxFuture;
use std::fmt::Debug;

/// The result of a request from another node.
#[derive(Debug, Clone)]
pub enum InboundAnswer {
    /// This node owns the shard and answered.
    Answered(Answer),
    /// This node does not own the shard, or not yet, or no longer; nothing was decided.
    NotOwner,
}

/// Receives messages from other nodes. Neither method may block: both are called inside a gateway's message handler.
pub trait Inbound: Debug + Send + Sync + 'static {
    /// Delivers a request to an entity of a shard that this node should own. The request's own deadline ends it.
    fn deliver(&self, shard: Shard, ask: Ask) -> BoxFuture<'static, InboundAnswer>;

    /// Delivers a one-way message, which has no answer.
    fn deliver_one_way(&self, shard: Shard, one_way: OneWay);
}
