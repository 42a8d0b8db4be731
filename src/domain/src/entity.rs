//! What every entity is: a pure state machine with an id.
//!
//! ```text
//! command ──decide──► events ──evolve──► state ──owed──► effects
//! ```
//!
//! The law: replaying the events gives the state, always. The same command twice is one command.

use super::effect::{Effect, EffectKey, Outcome};
use super::ids::Sku;
use super::inventory::Levels;
use super::principal::{Denied, Principal};
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode, text};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// Who caused an event: recorded with it, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum By {
    /// The product itself: a deadline, a saga's own step.
    #[n(0)]
    System,
    /// A seller's account, through one of its secret keys.
    #[n(1)]
    Seller(#[cbor(n(0), with = "text")] CompactString),
    /// A shopper with an account.
    #[n(2)]
    Shopper(#[cbor(n(0), with = "text")] CompactString),
    /// A guest, by the id in the guest's token, or the holder of an order's token.
    #[n(3)]
    Guest(#[cbor(n(0), with = "text")] CompactString),
    /// The payment provider, by name.
    #[n(4)]
    Provider(#[cbor(n(0), with = "text")] CompactString),
    /// The operator of the node.
    #[n(5)]
    Operator,
}

/// What a decision gives: the events to journal (none for a read or a repeated request) and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<Event, Reply> {
    /// In order; all or nothing.
    pub events: Vec<Event>,
    /// The answer, held until the events are durable.
    pub reply: Reply,
    /// Was this request answered before, so that it has no effect now?
    pub repeated: bool,
}

impl<Event, Reply> Decision<Event, Reply> {
    /// Nothing to journal.
    pub const fn nothing(reply: Reply) -> Self {
        Self { events: Vec::new(), reply, repeated: false }
    }
    /// The same request once more: nothing to journal, the first answer again.
    pub const fn again(reply: Reply) -> Self {
        Self { events: Vec::new(), reply, repeated: true }
    }
    /// One event.
    pub fn one(event: Event, reply: Reply) -> Self {
        Self { events: vec![event], reply, repeated: false }
    }
    /// These events.
    pub const fn events(events: Vec<Event>, reply: Reply) -> Self {
        Self { events, reply, repeated: false }
    }
}

/// How far a request waits for an entity to get before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wait {
    /// Answer as soon as the decision is durable.
    Decided,
    /// Until the order holds its stock, or cannot.
    Held,
    /// Until nothing is under way that the shopper waits for: confirmed, declined, needs the shopper, ended.
    Settled,
}

/// How long an entity's actor stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residency {
    /// While it is used, and some time after: few and large, asked again and again.
    LongLived,
    /// Until nothing is under way: many and small, asked a few times in all.
    ShortLived,
}

/// Whose books the audit keeps from the events of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Books {
    /// None: its events move neither units nor money.
    None,
    /// What orders, and reservations without an order, took and owe.
    Orders,
    /// What a SKU received, holds and sold.
    Stock,
}

/// What may be shown of an entity without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicView {
    /// Units free to reserve.
    pub available: u64,
    /// Units reserved and not committed.
    pub reserved: u64,
    /// The earliest deadline of a reservation.
    pub next_release_at: Option<Timestamp>,
    /// Everything else; `None`: unchanged since it was last given.
    pub details: Option<Arc<Levels>>,
}

/// A pure state machine. `decide` looks, `evolve` takes in, neither waits, reads a clock or rolls dice.
///
/// What its actor must know of a kind beyond that (residency, public view, erasure) are hooks with defaults, so that the actors name no kind.
pub trait Entity: Default + Clone + std::fmt::Debug + PartialEq {
    /// Names one entity of the kind.
    type Id;
    /// What is asked.
    type Command: Clone;
    /// What happened.
    type Event;
    /// The answer to what was accepted.
    type Reply;
    /// A lawful "no", with what the caller needs.
    type Refusal;

    /// Decides on a command at an instant. Changes nothing.
    fn decide(
        &self,
        command: &Self::Command,
        now: Timestamp,
    ) -> Result<Decision<Self::Event, Self::Reply>, Self::Refusal>;

    /// What a command means when `by` gives it (rule P4): the command itself, or as much of it as is this principal's. Not asked of principals inside
    /// the node.
    ///
    /// # Errors
    /// [`Denied::NotYours`] for what is another's, to read it as to change it.
    fn permitted<'c>(
        &self,
        by: &Principal,
        command: &'c Self::Command,
    ) -> Result<Cow<'c, Self::Command>, Denied<Self::Refusal>>;

    /// Takes one event in.
    fn evolve(&mut self, event: &Self::Event);

    /// The keys of what the state owes the world at `now`, at most [`super::effect::OWED_MAX`] at a time. Derived from the state, so
    /// that recovery derives them again. An effect stays owed until an event settles it.
    fn owed(&self, now: Timestamp) -> Vec<EffectKey>;

    /// The effect behind a key; `None` when it is no longer owed.
    fn effect(&self, key: EffectKey) -> Option<Effect>;

    /// What the answer to an effect means to the one that owed it: a command to itself; `None`: send the effect again later.
    fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Self::Command>;

    /// The earliest instant after `now` at which something is due: `decide` of a wake, or a new key in `owed`.
    fn wake_at(&self, now: Timestamp) -> Option<Timestamp>;

    /// Whether a request that waits so far can be answered.
    fn reached(&self, _wait: Wait) -> bool {
        true
    }

    /// How long its actor stays in memory.
    const RESIDENCY: Residency = Residency::ShortLived;

    /// Does an accepted answer carry the state? `false`: the replies say everything, and the state is too large to be kept for each.
    const ANSWERS_WITH_STATE: bool = true;

    /// The SKU under which its [`PublicView`] is shown; `None`: it has none.
    fn published_as(_id: &Self::Id) -> Option<&Sku> {
        None
    }

    /// What may be shown of it without asking it. `whole`: with the details, if those may have changed.
    fn public_view(&self, _whole: bool) -> Option<PublicView> {
        None
    }

    /// Does the event change the details of its public view, and not only the units available and reserved?
    fn changes_view_details(_event: &Self::Event) -> bool {
        false
    }

    /// Whose books the audit keeps from its events.
    const BOOKS: Books = Books::None;

    /// The name of the step that an effect with this command is; an operator names it to make it fail.
    fn step_name(_command: &Self::Command) -> &'static str {
        "other"
    }

    /// The command that erases its personal data; `None`: it holds none.
    fn erasure() -> Option<Self::Command> {
        None
    }

    /// Has its personal data been erased, so that it must also be deleted from what is stored?
    fn is_erased(&self) -> bool {
        false
    }
}
