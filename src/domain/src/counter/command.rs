//! Commands, events, replies and refusals of a counter.

use crate::claims::{ClaimId, Says};
use crate::codec::{self as minicbor, Decode, Encode};
use crate::ids::OrderId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What holds a grant: a claim of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
pub struct Holder {
    /// The order.
    #[n(0)]
    pub order: OrderId,
    /// The number of the claim within it.
    #[n(1)]
    pub claim: ClaimId,
}

impl Holder {
    pub(super) const fn key(self) -> (OrderId, ClaimId) {
        (self.order, self.claim)
    }
}

/// A claim of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Claim {
    /// What claims them.
    #[n(0)]
    pub holder: Holder,
    /// Units that count.
    #[n(1)]
    pub units: u32,
    /// The most that may count, with these.
    #[n(2)]
    pub limit: u32,
    /// Do they count for ever once they are committed?
    #[n(3)]
    pub is_kept: bool,
    /// The holder's deadline.
    #[n(4)]
    pub expires_at: Timestamp,
}

/// A command to a counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have passed.
    Wake,
    /// Reads what counts.
    Read,
    /// Grants units, all or none.
    Claim(Claim),
    /// The holder was confirmed.
    Commit {
        /// What holds the grant.
        holder: Holder,
        /// The number in `Granted`.
        number: u64,
    },
    /// The holder needs it no more.
    Release {
        /// What holds the grant.
        holder: Holder,
        /// The number in `Granted`.
        number: u64,
    },
    /// The holder has journaled how its claim ended.
    Forget {
        /// What holds the grant.
        holder: Holder,
        /// The number in `Granted`.
        number: u64,
    },
    /// The holder's answer to the question of rule R3. Only `answered` makes it.
    Answer {
        /// What holds the grant.
        holder: Holder,
        /// The number in `Granted`.
        number: u64,
        /// The answer.
        says: Says,
    },
}

/// An event of a counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(flat)]
pub enum Event {
    /// Units count for a holder.
    #[n(0)]
    Granted {
        /// The claim.
        #[n(0)]
        claim: Claim,
        /// The event's own number (rule R1).
        #[n(1)]
        number: u64,
        /// When the holder is asked whether it still needs them (rule R3).
        #[n(2)]
        ask_at: Timestamp,
    },
    /// The holder still needs them.
    #[n(1)]
    Kept {
        /// What holds the grant.
        #[n(0)]
        holder: Holder,
        /// When it is asked again.
        #[n(1)]
        ask_at: Timestamp,
    },
    /// The holder was confirmed: the units are used, or free if they are not kept.
    #[n(2)]
    Committed {
        /// What holds the grant.
        #[n(0)]
        holder: Holder,
        /// The number in `Granted`.
        #[n(1)]
        number: u64,
    },
    /// The units are free again.
    #[n(3)]
    Released {
        /// What held the grant.
        #[n(0)]
        holder: Holder,
        /// The number in `Granted`.
        #[n(1)]
        number: u64,
    },
    /// The grant is remembered no more.
    #[n(4)]
    Forgotten {
        /// What held the grant.
        #[n(0)]
        holder: Holder,
        /// The number in `Granted`.
        #[n(1)]
        number: u64,
    },
}

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The command took effect, now or before.
    Done,
    /// The counter does not know the grant: nothing changed.
    Unknown,
    /// The units are granted.
    Granted {
        /// Names the grant (rule R1).
        number: u64,
    },
    /// The answer to `Read`.
    Taken {
        /// Units that are granted and not committed.
        held: u64,
        /// Units that are committed and kept.
        used: u64,
    },
}

/// A refusal of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// So many units would be more than the limit.
    LimitReached {
        /// The most that may count.
        limit: u32,
        /// Units that count already.
        taken: u64,
    },
    /// The grant has ended, or the claim's deadline has passed.
    Ended,
    /// The grant has not ended, so it is not forgotten.
    NotEnded,
    /// The same claim with other terms.
    OtherTerms,
}
