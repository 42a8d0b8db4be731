//! Claims: whatever an order takes, it takes in one way (rule C1).
//!
//! A claim is (holder, claim id) at an entity that counts. The holder is an order or a reservation of several lines; what counts is the stock of a SKU
//! or a [counter](crate::counter). A further kind of claim at a counter is one row of [`ClaimKind`].
//!
//! ```text
//!             granted                    commit
//! asked ──────────────────► held ───────────────────► committed ──┐
//!   └─ refused: all or none   └──── release ─► releasing ─► released ──┴─ forget ─►
//! ```
//!
//! - The holder's side ([`Holder`]) asks all claims of a stage at once, and holds all of them or none. The stages follow one another
//!   ([`ClaimStage`]) and are undone in reverse; what is undone was known to be held (rule R6).
//! - The counted side ([`Ledger`]) grants, remembers the grant under its own number until the holder's `Forget` (rule R1), and asks the holder
//!   some time after the deadline instead of deciding about it (rule R3). What is counted, and when there is no more of it, is the entity's matter.

mod holder;
mod kind;
mod ledger;

pub use holder::{ASK_AGAIN_S, ClaimId, ClaimStage, ClaimStep, Hold, Holder, Verdict, says, verdict};
pub use kind::{ClaimKind, Wanted};
pub use ledger::{ClaimStatus, Grant, Ledger, QUESTION_GRACE_S, Ruling, Says};

use crate::effect::Outcome;
use crate::{message, order, reservation};

/// Translates an order's answer to the question of rule R3; `None`: ask again. An unknown order holds nothing.
#[must_use]
pub(crate) fn order_says(outcome: &Outcome) -> Option<Says> {
    if let Outcome::Replied(message::Reply::Order(reply)) = outcome {
        if let order::Reply::Keep { until } = reply {
            return Some(Says::Keep { until: *until });
        }
        if *reply == order::Reply::Release {
            return Some(Says::Release);
        }
        if *reply == order::Reply::Taken {
            return Some(Says::Taken);
        }
    }
    let never_was = Outcome::Refused(message::Refusal::Order(order::Refusal::Unknown));
    (*outcome == never_was).then_some(Says::Release)
}

/// Translates a reservation's answer to the question of rule R3; `None`: ask again. An unknown reservation holds nothing.
#[must_use]
pub(crate) fn reservation_says(outcome: &Outcome) -> Option<Says> {
    match outcome {
        Outcome::Replied(message::Reply::Reservation(reservation::Reply::Keep { until })) => {
            Some(Says::Keep { until: *until })
        }
        Outcome::Replied(message::Reply::Reservation(reservation::Reply::Release))
        | Outcome::Refused(message::Refusal::Reservation(reservation::Refusal::Unknown)) => Some(Says::Release),
        Outcome::Replied(message::Reply::Reservation(reservation::Reply::Taken)) => Some(Says::Taken),
        Outcome::Replied(_) | Outcome::Refused(_) | Outcome::Provider(_) => None,
    }
}
