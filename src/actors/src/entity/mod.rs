//! The entity shell: the one actor that hosts an entity of any kind. It decides on its newest state, evolves it in memory, hands
//! `(events, replies)` to the log writer and takes the next command; it never waits for storage.
//!
//! What restart means: a new instance loads the stored state, replays the durable events behind it, and sends what the state still
//! owes. Nothing is lost, because nothing leaves before it is durable.

mod in_flight;
mod instance;

use super::messages::entity::{Activation, EntityMsg};
use super::shard_context::ShardContext;
use instance::Instance;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;

/// The ractor handler; its state is the [`Instance`] it hosts. The actors of short-lived kinds come from a pool: a sale has very many of
/// them, each for a few milliseconds, and to spawn and end an actor costs more than its work meanwhile. In the pool an actor keeps its last
/// instance, which was passivated and does nothing more.
#[derive(Debug)]
pub(crate) struct Shell;

impl Actor for Shell {
    type Msg = EntityMsg;
    type State = Instance;
    type Arguments = (Arc<ShardContext>, Activation);

    async fn pre_start(
        &self,
        _: ActorRef<EntityMsg>,
        (shared, activation): Self::Arguments,
    ) -> Result<Instance, ActorProcessingErr> {
        Ok(Instance::new(shared, activation))
    }

    /// Recovery happens here and not in `pre_start`, which runs in the shard.
    async fn post_start(&self, myself: ActorRef<EntityMsg>, instance: &mut Instance) -> Result<(), ActorProcessingErr> {
        instance.begin(&myself).await
    }

    async fn handle(
        &self,
        myself: ActorRef<EntityMsg>,
        message: EntityMsg,
        instance: &mut Instance,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(delay) = instance.delay() {
            Box::pin(tokio::time::sleep(delay)).await;
        }
        match message {
            EntityMsg::Activate(activation) => {
                *instance = instance.successor(*activation);
                return instance.begin(&myself).await;
            }
            // A late copy for an instance that this actor hosted before.
            EntityMsg::Answer { instance: number, .. } | EntityMsg::CopyGone { instance: number, .. }
                if instance.number() != number => {}
            message => instance.handle(&myself, message),
        }
        Ok(())
    }
}
