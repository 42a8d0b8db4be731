//! A product and its SKUs; it pushes what it says of them (price, title, limits) to their inventories.

use super::effect::{Effect, EffectKey, Outcome};
use super::entity::{Decision, Entity};

use super::time::Timestamp;

/// What is asked of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A deadline may have come.
    Wake,
}

/// What happened to a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {}

/// The answer to what was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done, or had been done already.
    Done,
}

/// A lawful "no".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No such product.
    Unknown,
}

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Product {}

impl Entity for Product {
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;

    fn decide(&self, _command: &Command, _now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
        Ok(Decision::nothing(Reply::Done))
    }
    fn evolve(&mut self, _event: &Event) {}
    fn owed(&self, _now: Timestamp) -> Vec<EffectKey> {
        Vec::new()
    }
    fn effect(&self, _key: EffectKey) -> Option<Effect> {
        None
    }
    fn answered(&self, _key: EffectKey, _outcome: Outcome) -> Option<Command> {
        None
    }
    fn wake_at(&self, _now: Timestamp) -> Option<Timestamp> {
        None
    }
}
