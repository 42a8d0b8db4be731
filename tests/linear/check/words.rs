//! What is done to a SKU's stock, what is answered, and how both are described in messages.

use std::fmt;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// It is on sale from now on.
    Offer,
    /// Units arrive; the same request is one receipt.
    Receive { request: u64, units: u32 },
    /// Units are promised to an order; the same order is promised once.
    Reserve { order: u64, units: u32 },
    /// The promised units are sold.
    Commit { order: u64, number: u64 },
    /// The promised units are free again.
    Release { order: u64, number: u64 },
    /// The ended reservation need not be remembered.
    Forget { order: u64, number: u64 },
    /// How much is there?
    Read,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done, or had been done.
    Done,
    /// To a receipt: what was on hand after it, and the version.
    Received { on_hand: u64, version: u64 },
    /// To a reservation: its number, which is the version it made.
    Reserved { number: u64 },
    /// To a read.
    Levels { on_hand: u64, reserved: u64 },
    /// Not that many are free; and are others promised, if it says so.
    SoldOut { available: u64, all_reserved: Option<bool> },
    /// The reservation has ended otherwise.
    Ended,
    /// The reservation has not ended.
    NotEnded,
    /// There is no such reservation.
    Unknown,
}

/// One thing that a client did, with all its tries: they carry one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Who.
    pub client: u32,
    /// Of which SKU.
    pub sku: u32,
    /// When it was first sent, on a clock that all clients share.
    pub invoked: u64,
    /// When it was answered; `None`: never.
    pub returned: Option<u64>,
    /// What.
    pub op: Op,
    /// What was answered; `None`: nothing, and it may have happened or not.
    pub answer: Option<Answer>,
    /// The SKU's version that the answer saw, its own event included; `None`: it does not say.
    pub seen: Option<u64>,
    /// Did the answer say that it had been done before?
    pub repeated: bool,
}

/// Which version an operation made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// This one.
    At(u64),
    /// One, perhaps.
    Maybe,
    /// None.
    None,
}

impl Answer {
    /// Does it agree with the answer, as far as that goes?
    pub fn is(self, answered: Option<Self>) -> bool {
        match (self, answered) {
            (Self::SoldOut { available, .. }, Some(Self::SoldOut { available: other, all_reserved: None })) => {
                available == other
            }
            (answer, answered) => Some(answer) == answered,
        }
    }
}

impl Operation {
    /// The version it made, as far as its answer says.
    pub fn effect(&self) -> Effect {
        let Some(answer) = self.answer else {
            return if self.op == Op::Read { Effect::None } else { Effect::Maybe };
        };
        match (self.op, answer) {
            (_, Answer::Reserved { number }) => Effect::At(number),
            (_, Answer::Received { version, .. }) => Effect::At(version),
            (_, Answer::Done) if !self.repeated => self.seen.map_or(Effect::Maybe, Effect::At),
            // Done by a try that was not answered, or by another client.
            (_, Answer::Done) | (Op::Forget { .. }, Answer::Unknown) => Effect::Maybe,
            (
                _,
                Answer::Unknown | Answer::Levels { .. } | Answer::SoldOut { .. } | Answer::Ended | Answer::NotEnded,
            ) => Effect::None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer => write!(out, "offer"),
            Self::Receive { request, units } => write!(out, "receive {units} (request {request})"),
            Self::Reserve { order, units } => write!(out, "reserve {units} for order {order}"),
            Self::Commit { order, number } => write!(out, "commit reservation {number} of order {order}"),
            Self::Release { order, number } => write!(out, "release reservation {number} of order {order}"),
            Self::Forget { order, number } => write!(out, "forget reservation {number} of order {order}"),
            Self::Read => write!(out, "read"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(out, "done"),
            Self::Received { on_hand, version } => write!(out, "{on_hand} on hand at version {version}"),
            Self::Reserved { number } => write!(out, "reserved under number {number}"),
            Self::Levels { on_hand, reserved } => write!(out, "{on_hand} on hand, {reserved} promised"),
            Self::SoldOut { available, all_reserved } => {
                let others = match all_reserved {
                    Some(true) => ", others promised",
                    Some(false) => ", none promised",
                    None => "",
                };
                write!(out, "sold out, {available} free{others}")
            }
            Self::Ended => write!(out, "it has ended"),
            Self::NotEnded => write!(out, "it has not ended"),
            Self::Unknown => write!(out, "no such reservation"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "«client {}, from {} ", self.client, self.invoked)?;
        match self.returned {
            Some(returned) => write!(out, "to {returned}: {}", self.op)?,
            None => write!(out, "on: {}", self.op)?,
        }
        match self.answer {
            Some(answer) => write!(out, " ► {answer}")?,
            None => write!(out, " ► no answer")?,
        }
        if self.repeated {
            write!(out, ", as before")?;
        }
        match self.seen {
            Some(seen) => write!(out, ", saw version {seen}»"),
            None => write!(out, "»"),
        }
    }
}
