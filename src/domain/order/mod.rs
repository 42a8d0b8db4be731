//! An order: the checkout saga and everything that happens to what was sold.

use crate::domain::effect::{Effect, EffectKey, Outcome};
use crate::domain::entity::{Decision, Entity};
use crate::domain::ids::Sku;
use crate::domain::time::Timestamp;

/// What is asked of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A deadline may have come.
    Wake,
    /// Whatever holds something for this order asks what to do with it (rule R3).
    StillWanted {
        /// The number `Reserved` carried; `None`: a frozen cart asks.
        reservation: Option<u64>,
        /// The SKU that asks; `None`: a frozen cart asks.
        sku: Option<Sku>,
    },
}

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {}

/// The answer to what was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done, or had been done already.
    Done,
    /// To `StillWanted`: keep holding.
    Keep {
        /// Ask again then.
        until: Timestamp,
    },
    /// To `StillWanted`: the order ended, or never was; let go (a cart: thaw).
    Release,
    /// To `StillWanted`: sold (commit it; a cart: close).
    Taken,
}

/// A lawful "no".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No such order.
    Unknown,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {}

impl Entity for Order {
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

impl Order {
    /// erased?
    #[must_use]
    pub fn is_erased(&self) -> bool {
        false
    }
}
