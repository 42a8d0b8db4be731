//! Commands, events, replies and refusals of a reservation of several lines.

use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{Request, RequestFingerprint, ReservationId, Sku, WarehouseId};
use crate::inventory::{Allocation, ExternalStatus, Units};
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
    pub terms: RequestFingerprint,
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
    /// The seller whose SKUs it may reserve (rule P4); `None`: the platform's, which may reserve all.
    #[cbor(n(9), with = "text")]
    pub seller: Option<CompactString>,
}

/// How its owner ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReservationEnd {
    /// The units are sold.
    Commit,
    /// No longer wanted.
    Release,
    /// The units were sold, and have left the warehouse.
    Ship,
    /// The units are sold and leave the warehouse at once.
    CommitAndShip,
}

/// Why a line could not be reserved.
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
    /// The units are reserved, from these warehouses.
    Held(Vec<Allocation>),
    /// They are not.
    Short(Shortage),
    /// The step is done.
    Done,
    /// The SKU does not know the reservation.
    Gone,
}

/// A command to a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have passed.
    Wake,
    /// Reads the reservation.
    Read {
        /// The caller, who must own the reservation.
        owner: CompactString,
    },
    /// Makes the reservation.
    Make(Box<Made>),
    /// The owner commits or releases it.
    End {
        /// The caller, who must own the reservation.
        owner: CompactString,
        /// The terms of the reservation.
        end: ReservationEnd,
    },
    /// The owner extends it.
    Extend {
        /// The caller, who must own the reservation.
        owner: CompactString,
        /// The caller's request, which takes effect once.
        request: Request,
        /// The earliest new deadline.
        expires_at: Timestamp,
    },
    /// A SKU asks whether its units are still wanted (rule R3).
    StillWanted {
        /// The number of the line.
        line: u16,
    },
    /// A SKU's answer to a step. Only `answered` makes it.
    Answered {
        /// The number of the line.
        line: u16,
        /// Whether it answers the reservation or its end.
        ending: bool,
        /// The SKU's answer.
        answer: Answer,
    },
    /// A SKU knows that the units of a line left the warehouse. Only `answered` makes it.
    ShipmentAnswered {
        /// The number of the line.
        line: u16,
    },
}

/// An event of a reservation.
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
        /// The request that caused it.
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
        how: ExternalStatus,
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
    /// Its units left the warehouse; its SKUs are told.
    #[n(8)]
    Shipped {
        /// When it was decided.
        #[n(0)]
        at: Timestamp,
    },
    /// A SKU knows that the units of a line left.
    #[n(9)]
    LineShipped {
        /// Number of the line, from 0.
        #[n(0)]
        line: u16,
    },
}

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The command took effect, now or before; the state comes with the answer.
    Done,
    /// The answer to `StillWanted`: keep the units, and ask again then.
    Keep {
        /// When the SKU asks again.
        until: Timestamp,
    },
    /// The answer to `StillWanted`: release the units.
    Release,
    /// The answer to `StillWanted`: the units are sold.
    Taken,
}

/// A refusal of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The reservation does not exist, or belongs to another caller.
    Unknown,
    /// The same reference has a reservation with other terms.
    OtherTerms,
    /// The same request had another body.
    RequestReused,
    /// It has ended, or is ending, otherwise; `Held`: it was not made.
    Ended {
        /// How it ended.
        status: ExternalStatus,
    },
    /// Its lines are still being reserved.
    NotYet,
    /// It is not committed, so its units cannot leave.
    NotSold,
    /// Extended too often.
    LimitExceeded {
        /// The most units that one order may take.
        limit: Units,
    },
}
