//! A cart: lines a shopper means to buy; frozen while an order is being placed, an order exactly once.

use super::effect::{Effect, EffectKey, Outcome};
use super::entity::{Decision, Entity};
use super::ids::OrderId;
use super::time::Timestamp;

/// What is asked of a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A deadline may have come.
    Wake,
    /// An order takes the lines; the same order again gives the same lines.
    Freeze {
        /// Which.
        order: OrderId,
        /// When the order means to have decided (rule R3).
        expires_at: Timestamp,
    },
    /// The order ended without being confirmed: the cart is open again, unchanged.
    Thaw {
        /// Which.
        order: OrderId,
    },
    /// The order is confirmed: the cart is done.
    Close {
        /// Which.
        order: OrderId,
    },
}

/// What happened to a cart.
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
    /// No such cart.
    Unknown,
}

/// A cart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cart {}

impl Entity for Cart {
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
