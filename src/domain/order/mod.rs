//! An order: the checkout saga and everything that happens to what was sold.

mod command;
mod event;
mod personal;
mod state;
mod status;
mod step;
mod terms;

pub use command::{
    Answer, CancelReason, CartRefusal, Command, Condition, LineUnits, Made, Patch, ReceivedLine, RefundWhat, Refusal,
    Reply, Shortage,
};
pub use event::{
    Amended, Cancelled, CancelledLine, Event, Placed, Priced, PricedLine, Receipt, RefundCause, RefundStarted,
    ShipmentStarted,
};
pub use personal::{Address, Buyer, Personal, Salt};
pub use state::{
    Agreed, Attempt, Call, CallState, Head, Hold, Line, LineNumber, Order, Outcome, Payment, PricedOrder, ReceiptDone,
    Refund, RefundStatus, Rejection, Return, ReturnLine, ReturnStatus, Seen, Shipment, ShipmentStatus, Stage, Status,
    Trouble,
};
pub use status::{Allowed, FulfilmentStatus, OrderReturnStatus, PaymentStatus, Totals, UNKNOWN_AFTER_MS};
pub use step::{CallKey, Step, Todo};
pub use terms::{
    CapturePolicy, Destination, Instruction, LINES_MAX, PaymentPolicy, Place, ReturnPolicy, Shipping, Source, TaxTable,
    Terms, Wanted,
};

use crate::domain::effect::{Effect, EffectKey, Outcome as Ended};
use crate::domain::entity::{Decision, Entity};
use crate::domain::time::Timestamp;

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
    fn answered(&self, _key: EffectKey, _outcome: Ended) -> Option<Command> {
        None
    }
    fn wake_at(&self, _now: Timestamp) -> Option<Timestamp> {
        None
    }
}
