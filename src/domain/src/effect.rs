//! What an entity's state owes the world: a question to another entity, or a call to the payment provider.
//!
//! An effect carries its own idempotency key and is sent again, later and later, until an event says that it is settled.

use super::ids::EntityId;
use super::message::{Command, Refusal, Reply};
use super::payment::{ProviderCall, ProviderReport};
use serde::{Deserialize, Serialize};

/// At most this many effects of one entity are under way at once; the rest becomes owed as these are settled.
pub const OWED_MAX: usize = 4_096;

/// Names one effect within its entity: small, comparable, the same after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EffectKey {
    /// Which step of the entity's machine owes it (the entity numbers its own steps).
    pub step: u8,
    /// Which of the step's subjects: a line, an attempt, a shipment.
    pub subject: u32,
    /// Which part of the subject: a SKU of a shipment, a try.
    pub part: u32,
}

impl EffectKey {
    /// The key of a step about a thing with a large number: the number in two halves.
    #[must_use]
    pub fn of_number(step: u8, number: u64) -> Self {
        let low = number & u64::from(u32::MAX);
        Self { step, subject: u32::try_from(low).unwrap_or(0), part: u32::try_from(number >> 32).unwrap_or(0) }
    }

    /// The number of the thing that a step is about; `None`: the key is of another step.
    #[must_use]
    pub fn number_of(self, step: u8) -> Option<u64> {
        (self.step == step).then(|| u64::from(self.subject) | (u64::from(self.part) << 32))
    }
}

/// One thing owed.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask another entity. Inside a commit group this travels at once.
    Ask {
        /// Whom.
        to: EntityId,
        /// What; it carries the key that makes it one command however often it arrives.
        command: Command,
    },
    /// Ask the payment provider. Leaves the commit group: sent once the state that owes it is durable.
    Provider(ProviderCall),
}

/// The names of all steps, as [`Effect::step`] gives them.
pub const STEPS: [&str; 22] = [
    "freeze",
    "thaw",
    "close",
    "reserve",
    "commit",
    "release",
    "forget",
    "ship",
    "return",
    "offer",
    "ask_order",
    "authorize",
    "capture",
    "void",
    "refund",
    "query",
    "forget_moves",
    "promise",
    "end_promise",
    "ask_reservation",
    "claim",
    "other",
];

impl Effect {
    /// What kind of step this is: what an operator names to make one fail.
    #[must_use]
    pub fn step(&self) -> &'static str {
        match self {
            Self::Ask { command, .. } => command.step_name(),
            Self::Provider(call) if call.query_only => "query",
            Self::Provider(call) if call.cancel => "cancel_call",
            Self::Provider(call) => call.reference.operation.as_str(),
        }
    }
}

/// How an effect ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The entity accepted.
    Replied(Reply),
    /// The entity said no.
    Refused(Refusal),
    /// The provider answered, or did not (`ProviderAnswer::Unknown`).
    Provider(Box<ProviderReport>),
}
