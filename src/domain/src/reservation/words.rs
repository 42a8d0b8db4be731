//! The words spoken with a reservation of several lines: what is asked, what is answered, what is refused, and what happened.

use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{Request, ReservationId, Sku, Terms, WarehouseId};
use crate::inventory::{Allocation, PromiseStatus, Units};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Units of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Wanted {
    /// Of this SKU; a reservation has one line of each.
    #[n(0)]
    pub sku: Sku,
    /// Units of it, at least 1.
    #[n(1)]
    pub units: Units,
}

/// What a reservation is made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Made {
    /// Its id: made of owner and reference.
    #[n(0)]
    pub id: ReservationId,
    /// Fingerprint of what was asked: the same reference with another is refused.
    #[n(1)]
    pub terms: Terms,
    /// The principal under whose name the references are kept.
    #[cbor(n(2), with = "text")]
    pub owner: CompactString,
    /// The caller's own name for it.
    #[cbor(n(3), with = "text")]
    pub reference: CompactString,
    /// The caller's name for the buyer.
    #[cbor(n(4), with = "text")]
    pub buyer_key: Option<CompactString>,
    /// SKUs and units; all are reserved, or none.
    #[n(5)]
    pub lines: Vec<Wanted>,
    /// Warehouses by preference.
    #[n(6)]
    pub ranking: Vec<WarehouseId>,
    /// Seconds from the request to the deadline, as they were asked for.
    #[n(7)]
    pub hold_s: u64,
    /// The deadline that follows from it (rule R4: computed once).
    #[n(8)]
    pub expires_at: Timestamp,
}

/// How its owner ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Sold.
    Commit,
    /// No longer wanted.
    Release,
}

/// Why a line could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Shortage {
    /// Fewer units are available than were asked for.
    #[n(0)]
    SoldOut {
        /// Units available then.
        #[n(0)]
        available: u64,
        /// Are there units that are reserved, and may become available?
        #[n(1)]
        all_reserved: bool,
    },
    /// No such SKU, or not on sale.
    #[n(1)]
    NotForSale,
    /// More than one order may take.
    #[n(2)]
    LimitExceeded {
        /// Units that one order may take.
        #[n(0)]
        limit: Units,
    },
    /// The deadline came before the SKU was asked.
    #[n(3)]
    TooLate,
    /// The same reference holds something else of the SKU.
    #[n(4)]
    OtherTerms,
}

/// What a SKU answered to a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The units are promised, from there.
    Held(Vec<Allocation>),
    /// They are not.
    Short(Shortage),
    /// The step is done.
    Done,
    /// The SKU knows of no such promise.
    Gone,
}

/// What is asked of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have come.
    Wake,
    /// As it is.
    Read {
        /// Whose it must be.
        owner: CompactString,
    },
    /// Make it.
    Make(Box<Made>),
    /// Its owner ends it.
    End {
        /// Whose it must be.
        owner: CompactString,
        /// How.
        wish: Wish,
    },
    /// It is to last longer.
    Extend {
        /// Whose it must be.
        owner: CompactString,
        /// Once only.
        request: Request,
        /// Until then at least.
        expires_at: Timestamp,
    },
    /// A SKU asks whether its units are still wanted (rule R3).
    StillWanted {
        /// Those of this line.
        line: u16,
    },
    /// A SKU's answer to a step; made by `answered`, never sent by others.
    Answered {
        /// Which line.
        line: u16,
        /// To what: before or after it began to end.
        ending: bool,
        /// So.
        answer: Answer,
    },
}

/// What happened to a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(flat)]
pub enum Event {
    /// The reservation was made; its SKUs are asked.
    #[n(0)]
    Made {
        /// What it was made with.
        #[n(0)]
        made: Box<Made>,
        /// When it was decided.
        #[n(1)]
        at: Timestamp,
    },
    /// A SKU has reserved the units of a line.
    #[n(1)]
    LineHeld {
        /// Number of the line, from 0.
        #[n(0)]
        line: u16,
        /// Units by the warehouse they are taken from.
        #[n(1)]
        allocations: Vec<Allocation>,
    },
    /// A SKU refused a line.
    #[n(2)]
    LineShort {
        /// Number of the line, from 0.
        #[n(0)]
        line: u16,
        /// Why it refused.
        #[n(1)]
        why: Shortage,
    },
    /// All lines are reserved.
    #[n(3)]
    Held {
        /// When it was decided.
        #[n(0)]
        at: Timestamp,
    },
    /// It expires later.
    #[n(4)]
    Extended {
        /// The request.
        #[n(0)]
        request: Request,
        /// When it was decided.
        #[n(1)]
        at: Timestamp,
        /// The new deadline; never an earlier one.
        #[n(2)]
        expires_at: Timestamp,
    },
    /// It ends; its SKUs are sent how.
    #[n(5)]
    Ending {
        /// How it ends; `Held`: it never came about, because a line was refused.
        #[n(0)]
        how: PromiseStatus,
        /// When it was decided.
        #[n(1)]
        at: Timestamp,
    },
    /// A SKU has answered to how it ended.
    #[n(6)]
    LineEnded {
        /// Number of the line, from 0.
        #[n(0)]
        line: u16,
        /// Did the SKU still know the reservation?
        #[n(1)]
        known: bool,
    },
    /// All SKUs know how it ended.
    #[n(7)]
    Ended,
}

/// The answer to what was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or had been done already; the state comes with the answer.
    Done,
    /// To `StillWanted`: keep, ask again then.
    Keep {
        /// Then.
        until: Timestamp,
    },
    /// To `StillWanted`: let go.
    Release,
    /// To `StillWanted`: sold.
    Taken,
}

/// A lawful "no".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such reservation, or somebody else's.
    Unknown,
    /// The same reference again for something else.
    OtherTerms,
    /// The same request again with another body.
    RequestReused,
    /// It ended, or is ending, otherwise; `Held`: it never was.
    Ended {
        /// So.
        status: PromiseStatus,
    },
    /// Its lines are still being asked for.
    NotYet,
    /// Extended too often.
    LimitExceeded {
        /// At most.
        limit: Units,
    },
}
