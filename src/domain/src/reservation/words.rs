//! The words spoken with a reservation of several lines: what is asked, what is answered, what is refused, and what happened.

use crate::ids::{Request, ReservationId, Sku, Terms, WarehouseId};
use crate::inventory::{Allocation, PromiseStatus, Units};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Units of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Of this SKU; a reservation has one line of each.
    pub sku: Sku,
    /// So many.
    pub units: Units,
}

/// What a reservation is made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its id: made of owner and reference.
    pub id: ReservationId,
    /// Fingerprint of what was asked: the same reference with another is refused.
    pub terms: Terms,
    /// Whose it is: the name the references are kept under.
    pub owner: CompactString,
    /// The owner's own name for it.
    pub reference: CompactString,
    /// The owner's name for whoever buys.
    pub buyer_key: Option<CompactString>,
    /// All or none.
    pub lines: Vec<Wanted>,
    /// Warehouses by preference.
    pub ranking: Vec<WarehouseId>,
    /// For so long, as it was asked.
    pub hold_s: u64,
    /// The instant that makes (rule R4).
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shortage {
    /// Not enough.
    SoldOut {
        /// There were.
        available: u64,
        /// Are there units in someone's checkout?
        all_reserved: bool,
    },
    /// No such SKU, or not on sale.
    NotForSale,
    /// More than one order may take.
    LimitExceeded {
        /// At most.
        limit: Units,
    },
    /// The deadline came before the SKU was asked.
    TooLate,
    /// The same reference holds something else of the SKU.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was asked for.
    Made {
        /// With this.
        made: Box<Made>,
        /// When.
        at: Timestamp,
    },
    /// A line is held.
    LineHeld {
        /// This one.
        line: u16,
        /// From where.
        allocations: Vec<Allocation>,
    },
    /// A line cannot be had.
    LineShort {
        /// This one.
        line: u16,
        /// Because.
        why: Shortage,
    },
    /// All lines are held.
    Held {
        /// When.
        at: Timestamp,
    },
    /// It lasts longer.
    Extended {
        /// By this request.
        request: Request,
        /// When.
        at: Timestamp,
        /// Until then.
        expires_at: Timestamp,
    },
    /// It is going to end; its lines are told.
    Ending {
        /// So; `Held`: it never was, because a line could not be had.
        how: PromiseStatus,
        /// When.
        at: Timestamp,
    },
    /// A line has been told.
    LineEnded {
        /// This one.
        line: u16,
        /// Did the SKU still know of it?
        known: bool,
    },
    /// All lines have been told.
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
