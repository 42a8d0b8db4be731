//! An order: the checkout saga, and shipments, cancellations, returns and refunds after the sale.
//!
//! ```text
//!            freeze          reserve, all or none        authorize               commit
//! placed ──────────► freezing ──────────► reserving ──► held ────────► committing ──────► confirmed ──► ship, cancel,
//!    └─ no cart: straight to reserving ──────▲  │        │  ▲ declined    │                             return, refund,
//!                                               │        │  └ again       │ vanished                    capture
//!        refused · cancelled · deadline ◄───────┴────────┴────────────────┘
//!                    ▼
//!                 ending ── release, thaw, unsell, void, refund: queried until known, then undone (R6) ──► ended
//! ```
//!
//! - Each decision is one event and the events that follow from it at once (`saga`): one record of the log.
//! - Owed steps and calls are in one set, `todo`, which `evolve` maintains and `owed` reads, so a restarted order continues.
//! - Only the order decides about its deadline (R3, R4). While an attempt is unsettled the stock stays reserved past it (M1).
//! - Captures, voids and refunds are derived from the amount due (`money`, rule M5); no plan is stored.
//! - A request and its result are remembered for ever; a repetition has no second effect.

mod amended;
mod cancel;
mod claims;
mod command;
mod edit;
mod effects;
mod event;
mod evolve;
mod evolve_money;
mod evolve_sold;
mod group;
pub mod laws;
mod line;
mod manual;
mod money;
mod paid;
mod parcel;
mod payments;
mod personal;
mod place;
mod pricing;
mod returns;
mod saga;
mod ship;
mod state;
mod status;
mod step;
mod terms;

/// Tests: claims about one order, and a world of many orders that loses, duplicates and delays messages.
#[cfg(test)]
mod world;

pub use amended::{Amended, GroupNotes};
pub use claims::OrderClaim;
pub use command::{
    Answer, CancelReason, CartRefusal, Command, Condition, LineUnits, Made, Patch, ReceivedLine, RefundWhat, Refusal,
    Reply, Shortage,
};
pub use edit::{EDITS_MAX, Edit};
pub use event::{
    Cancelled, CancelledLine, Event, Placed, Priced, PricedLine, RefundCause, RefundStarted, ShipmentStarted,
};
pub use group::{Group, Sight};
pub use line::{Agreed, Hold, OrderLine};
pub use money::TRIES_MAX;
pub use paid::{Attempt, Call, CallState, Differing, Payment, Refund, RefundStatus};
pub use parcel::{Receipt, ReceiptDone, Return, ReturnLine, ReturnStatus, Shipment, ShipmentStatus};
pub use personal::{Address, Buyer, Personal, Salt};
pub use state::{
    AttentionReason, EndReason, Head, LineNumber, Order, PricedOrder, Rejection, RememberedRequest, Stage, Status,
};
pub use status::{Allowed, FulfilmentStatus, OrderReturnStatus, PaymentStatus, Totals, UNKNOWN_AFTER_MS};
pub use step::{CallKey, CallMode, Step, Todo};
pub use terms::{
    CapturePolicy, Destination, Instruction, LINES_MAX, OrderTerms, PaymentPolicy, PlaceOrder, ReturnPolicy, Shipping,
    Source, TaxTable, Wanted,
};

use self::ship::Carriage;
use crate::effect::{Effect, EffectKey, Outcome};
use crate::entity::{Books, Decision, Entity, Wait};
use crate::ids::OrderId;
use crate::principal::{Denied, Principal};
use crate::time::Timestamp;
use std::borrow::Cow;

impl Entity for Order {
    type Id = OrderId;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;

    const BOOKS: Books = Books::Orders;

    fn step_name(_command: &Command) -> &'static str {
        "ask_order"
    }

    fn erasure() -> Option<Command> {
        Some(Command::Erase)
    }

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
        match command {
            Command::Wake => Ok(self.follow(Vec::new(), now, Reply::Done)),
            Command::Read if self.exists() => Ok(Decision::nothing(Reply::Done)),
            Command::Read => Err(Refusal::Unknown),
            Command::Place(place) => self.place(place, now),
            Command::StillWanted { reservation, sku } => {
                Ok(Decision::nothing(self.still_wanted(sku.as_ref(), *reservation, now)))
            }
            Command::StillClaimed { claim, number } => Ok(Decision::nothing(self.still_claimed(*claim, *number, now))),
            Command::Answered { step, answer } => self.step_answered(*step, answer, now),
            Command::ProviderSays { report } => self.provider_says(report, now),
            Command::Pay { request, instruction } => self.pay(request, instruction, now),
            Command::Settle { reference, answer } => self.settle(reference, answer, now),
            Command::Capture { request, amount } => self.capture_by_hand(request, *amount, now),
            Command::Cancel { request, lines, reason } => self.cancel(request, lines, *reason, now),
            Command::Refund { request, what, reason, seller } => {
                self.refund_by_hand(request, what, reason, seller.as_ref(), now)
            }
            Command::Ship { request, lines, warehouse, carrier, tracking_number, tracking_url } => {
                let carriage = Carriage {
                    carrier: carrier.as_ref(),
                    tracking_number: tracking_number.as_ref(),
                    tracking_url: tracking_url.as_ref(),
                };
                self.ship(request, lines, warehouse.as_ref(), &carriage, now)
            }
            Command::Deliver { request, shipment } => self.deliver(request, *shipment, now),
            Command::Lose { request, shipment } => self.lose(request, *shipment),
            Command::UndoShipment { request, shipment } => self.undo_shipment(request, *shipment, now),
            Command::Resend { request, shipment } => self.resend(request, *shipment, now),
            Command::RequestReturn { request, lines } => self.request_return(request, lines, now),
            Command::ApproveReturn { request, number } => self.approve_return(request, *number),
            Command::RejectReturn { request, number, reason } => self.reject_return(request, *number, reason),
            Command::ReceiveReturn { request, number, lines } => self.receive_return(request, *number, lines, now),
            Command::Patch(patch) => self.patch(patch, now),
            Command::Erase => self.erase(),
            Command::CorrectTracking { shipment, carrier, tracking_number, tracking_url } => {
                self.correct_tracking(*shipment, carrier.as_ref(), tracking_number.as_ref(), tracking_url.as_ref())
            }
            Command::MarkPaid { payment, reference } => self.mark_paid(*payment, reference, now),
            Command::Void { request, payment } => self.void_by_hand(request, *payment, now),
            Command::MarkRefunded { request, payment, reference } => {
                self.mark_refunded(request, *payment, reference, now)
            }
        }
    }

    fn permitted<'c>(&self, by: &Principal, command: &'c Command) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        self.permitted_to(by, command)
    }

    fn evolve(&mut self, event: &Event) {
        self.take_in(event);
    }

    fn owed(&self, now: Timestamp) -> Vec<EffectKey> {
        self.owed_at(now)
    }

    fn effect(&self, key: EffectKey) -> Option<Effect> {
        self.effect_of(key)
    }

    fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
        self.answer_to(key, outcome)
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.wakes_at(now)
    }

    fn reached(&self, wait: Wait) -> bool {
        self.has_reached(wait)
    }

    fn is_erased(&self) -> bool {
        self.exists() && self.all_forgotten()
    }
}

impl Order {
    /// Whether only an operator can take it further: a call or a step that is refused for good, or whose outcome nobody knows, or a refund that the
    /// provider refuses.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        !self.troubles.is_empty() || self.refunds.iter().any(|refund| refund.status == RefundStatus::Failed)
    }

    /// Whether the saga has ended and no call is in flight.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        matches!(self.stage, Stage::Confirmed | Stage::Ended(_)) && laws::quiet(self)
    }
}
