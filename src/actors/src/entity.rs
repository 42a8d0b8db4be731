//! The entity shell: the one actor that hosts a cart, an order, a SKU's stock, … It decides on its newest state, evolves it in memory,
//! hands `(events, replies)` to the log writer and takes the next command; it never waits for storage.
//!
//! What restart means: a new instance loads the stored state, replays the durable events behind it, and does what the state
//! still owes. Nothing else was ever promised, because nothing leaves before it is durable.

use super::context::Context;
use super::instance::Instance;
use super::output::PassivatedState;
use super::queue::WriterHandle;
use super::router::Envelope;
use doorbuster_domain::any::State;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::Shard;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// What the shell understands.
#[derive(Debug)]
pub(crate) enum EntityMsg {
    /// A command, through the shard.
    Ask(Box<Envelope>),
    /// Host this entity from now on: the one before has left.
    Host(Box<Seed>),
    /// An answer to an effect, straight from another entity of the group, to the life that asked.
    Answer { instance: u64, key: EffectKey, outcome: Outcome },
    /// An answer to an effect, through the shard.
    AnswerByShard { key: EffectKey, outcome: Outcome },
    /// Look whether an effect must be sent again; say that you are idle if you are.
    Tick,
    /// Give what changed to this checkpoint.
    Flush(u64),
    /// The shard is being given away: whoever waits here is to ask its next owner.
    DrainWaiters,
    /// Fault injection: panic now.
    Panic,
}

impl ractor::Message for EntityMsg {}

/// Where an instance's state comes from.
#[derive(Debug)]
pub(crate) enum Start {
    /// The shard has it.
    Passivated(PassivatedState),
    /// From the stored rows, if any.
    Load,
    /// From the stored rows and every durable event behind them: an instance before this one failed.
    Replay,
}

/// The ractor handler; all it knows is in the [`Instance`] it hosts. The actor of an order or a cart is one of a pool: a sale has very many of
/// them, each for a few milliseconds, and to make and to end an actor costs more than what it does meanwhile. In the pool it keeps its last
/// instance, which has left and does nothing more.
#[derive(Debug)]
pub(crate) struct Shell;

/// What an instance is started with.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) id: EntityId,
    pub(crate) shard: Shard,
    pub(crate) instance: u64,
    pub(crate) context: Arc<Context>,
    pub(crate) writer: WriterHandle,
    pub(crate) start: Start,
    pub(crate) waiting: Arc<AtomicU32>,
    /// The question it is started for; counted as a message of the shard.
    pub(crate) first: Option<Box<Envelope>>,
}

/// Does an entity of this kind stay resident while it is used, or end as soon as nothing is under way?
pub(crate) fn is_long_lived(entity: &EntityId) -> bool {
    match entity {
        EntityId::Inventory(_) | EntityId::Product(_) | EntityId::Warehouse(_) => true,
        EntityId::Order(_) | EntityId::Cart(_) | EntityId::Reservation(_) => false,
    }
}

impl Actor for Shell {
    type Msg = EntityMsg;
    type State = Instance;
    type Arguments = Seed;

    async fn pre_start(&self, _: ActorRef<EntityMsg>, seed: Seed) -> Result<Instance, ActorProcessingErr> {
        Ok(Instance::new(seed))
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
        match message {
            EntityMsg::Host(seed) => {
                *instance = Instance::new(*seed);
                return instance.begin(&myself).await;
            }
            // A late copy for whoever was here before.
            EntityMsg::Answer { instance: number, .. } if instance.number != number => {}
            message => instance.handle(&myself, message),
        }
        Ok(())
    }
}

/// Has this entity's personal data been erased, so that what is stored of it must go too?
pub(crate) fn is_erased(state: &State) -> bool {
    match state {
        State::Order(order) => order.is_erased(),
        State::Inventory(_) | State::Cart(_) | State::Product(_) | State::Warehouse(_) | State::Reservation(_) => false,
    }
}
