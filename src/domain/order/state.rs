//! What an order is: its terms, its lines with their counters, its payments, shipments and returns, and what it owes.
//!
//! Fields are read by everybody and written by `evolve` alone.

use super::command::{CancelReason, CartRefusal, Condition, LineUnits, Made, Shortage};
use super::event::{Cancelled, PricedLine, RefundCause, ShipmentStarted};
use super::personal::Personal;
use super::step::{CallKey, Step, Todo};
use super::terms::{CapturePolicy, Instruction, Source, Terms};
use crate::domain::ids::{OrderId, Request, RequestId, Sku, Terms as Fingerprint};
use crate::domain::inventory::{Allocation, Price, Units};
use crate::domain::money::Money;
use crate::domain::payment::{NextAction, Operation, Reference, Retry};
use crate::domain::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Lines are numbered from 1.
pub type LineNumber = u16;

/// Where the saga stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Stage {
    /// There is no such order.
    #[default]
    Nothing,
    /// Its cart is asked for.
    Freezing,
    /// Its stock is asked for.
    Reserving,
    /// Its stock is held; it waits for money.
    Held,
    /// It is paid (or free); its stock is being sold to it.
    Committing,
    /// Sold.
    Confirmed,
    /// It will end this way; what was done is being undone.
    Ending(Outcome),
    /// It ended this way; nothing is held and nothing is owed.
    Ended(Outcome),
}

/// How an order ends that is not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Not all units could be had.
    SoldOut,
    /// What was asked for is not what there is.
    Rejected(Rejection),
    /// The deadline came first.
    Expired,
    /// No attempt to pay succeeded.
    PaymentFailed,
    /// Somebody wanted it no more.
    Cancelled(CancelReason),
}

/// Why an order was rejected; lines say what was wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejection {
    /// A SKU has another price than expected.
    PriceChanged,
    /// The total is another than expected.
    TotalChanged {
        /// The caller's.
        expected: Money,
        /// Ours.
        now: Money,
    },
    /// A SKU is unknown, not on sale, or has no price in this currency.
    NotForSale,
    /// More of a SKU than one order may take.
    LimitExceeded,
    /// The cart cannot be had.
    Cart(CartRefusal),
    /// A total beyond what can be counted.
    Overflow,
}

/// The order's status as the API shows it; after `Confirmed` derived from the lines' counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Being looked at: cart and stock are asked for.
    Placed,
    /// Held; waits for an attempt to pay.
    AwaitingPayment,
    /// An attempt is under way.
    Authorizing,
    /// The shopper must act.
    RequiresAction,
    /// Sold; nothing has shipped.
    Confirmed,
    /// Part of it has shipped.
    Picking,
    /// All of it has shipped.
    Shipped,
    /// All of it has arrived.
    Delivered,
    /// All of it has come back.
    Returned,
    /// All of it is paid back.
    Refunded,
    /// Ended: not all units could be had.
    SoldOut,
    /// Ended: what was asked for is not what there is.
    Rejected,
    /// Ended: the deadline came first.
    Expired,
    /// Ended: no attempt to pay succeeded.
    PaymentFailed,
    /// Ended, or all of it was cancelled later.
    Cancelled,
}

/// What is held for a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Hold {
    /// Not asked yet, or asked and not known.
    #[default]
    Asked,
    /// The SKU refused.
    Refused(Shortage),
    /// Promised to us.
    Held,
    /// Asked to let go.
    Releasing,
    /// Let go.
    Released,
    /// Sold to us.
    Committed,
    /// The SKU did not know the reservation any more when it was to be sold.
    Vanished,
}

/// One line: one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The SKU.
    pub sku: Sku,
    /// Bought.
    pub units: Units,
    /// As the caller expected it.
    pub expected_unit_price: Option<Money>,
    /// What is held for it.
    pub hold: Hold,
    /// What the SKU said when it promised the units.
    pub agreed: Option<Agreed>,
    /// As priced.
    pub priced: PricedLine,
    /// Units cancelled.
    pub cancelled: Units,
    /// Units handed to a carrier.
    pub shipped: Units,
    /// Units that arrived.
    pub delivered: Units,
    /// Units in returns asked for or approved and not yet received.
    pub returning: Units,
    /// Units that came back.
    pub returned: Units,
    /// Units whose money is not due any more: cancelled, returned, refunded. The next one's worth is counted from here.
    pub settled: Units,
    /// What was given back for units of it, minor units (cancelled units aside).
    pub refunded: i64,
    /// Units neither shipped nor cancelled, by warehouse.
    pub unshipped: Vec<Allocation>,
    /// Units shipped and not returned, by warehouse.
    pub out: Vec<Allocation>,
}

/// What a SKU agreed to when it promised units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The SKU's own event number (rule R1).
    pub reservation: u64,
    /// The price.
    pub price: Price,
    /// As shown.
    pub title: CompactString,
    /// Whose it is.
    pub seller: CompactString,
    /// Chooses the tax rate.
    pub tax_class: CompactString,
    /// From where.
    pub allocations: Vec<Allocation>,
}

/// How an attempt to pay stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attempt {
    /// Asked; not answered, or not known.
    Asked,
    /// The shopper must act.
    RequiresAction(NextAction),
    /// The provider works on it.
    Processing,
    /// The money is promised until then; `None`: it was taken at once.
    Authorized {
        /// When the promise ends by itself.
        lapses_at: Option<Timestamp>,
    },
    /// A definite no.
    Declined {
        /// The provider's word.
        code: CompactString,
        /// What may be done now.
        retry: Retry,
    },
}

/// One attempt to pay, and everything done with its money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// 1, 2, …
    pub number: u16,
    /// How.
    pub instruction: Instruction,
    /// How much, minor units.
    pub amount: i64,
    /// When money is taken.
    pub capture: CapturePolicy,
    /// How it stands.
    pub attempt: Attempt,
    /// The provider's own reference, once it gave one.
    pub provider_reference: Option<CompactString>,
    /// When it was first asked.
    pub asked_at: Timestamp,
    /// When it last changed: asking goes on from here.
    pub changed_at: Timestamp,
    /// Do we only ask about it from now on (rule M2)?
    pub query_only: bool,
    /// Taken, minor units.
    pub captured: i64,
    /// Given back, minor units.
    pub refunded: i64,
    /// Let go?
    pub voided: bool,
    /// Calls made about it, by operation and attempt.
    pub calls: Vec<Call>,
}

/// A capture, a void or a try to refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Ours.
    pub key: CallKey,
    /// How much, minor units.
    pub amount: i64,
    /// The refund it carries out.
    pub refund: Option<u16>,
    /// When it was first asked.
    pub asked_at: Timestamp,
    /// How it stands.
    pub state: CallState,
}

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallState {
    /// Asked; not answered, or not known.
    Asked,
    /// The same, and from now on we only ask (rule M2).
    QueryOnly,
    /// A definite no that an operator looked at: it may be tried anew.
    Retried,
    /// Done; the provider's own reference of it.
    Succeeded(CompactString),
    /// A definite no.
    Refused {
        /// The provider's word.
        code: CompactString,
        /// What may be done now.
        retry: Retry,
    },
}

/// Money given back, or on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// 1, 2, …
    pub number: u16,
    /// The payment it comes from.
    pub payment: u16,
    /// How much, minor units.
    pub amount: i64,
    /// Because of.
    pub cause: RefundCause,
    /// The units it is for (goodwill).
    pub lines: Vec<LineUnits>,
    /// In the seller's words.
    pub reason: CompactString,
    /// When it began.
    pub at: Timestamp,
    /// How it stands.
    pub status: RefundStatus,
}

/// How a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundStatus {
    /// On its way.
    Pending,
    /// Given back.
    Succeeded,
    /// Refused for good: an operator must look.
    Failed,
}

/// Units on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipment {
    /// As it began.
    pub started: ShipmentStarted,
    /// How it stands.
    pub status: ShipmentStatus,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
}

/// How a shipment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShipmentStatus {
    /// Under way.
    Shipped,
    /// Arrived.
    Delivered,
    /// Will not arrive.
    Lost,
}

/// Units of one line that a shopper wants to send back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnLine {
    /// The line.
    pub line: LineNumber,
    /// At least 1.
    pub units: Units,
    /// In the shopper's words.
    pub reason: CompactString,
}

/// Units coming back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// 1, 2, …
    pub number: u16,
    /// What was announced.
    pub lines: Vec<ReturnLine>,
    /// How it stands.
    pub status: ReturnStatus,
    /// Until then it could be asked for.
    pub window_ends_at: Timestamp,
    /// Why it was rejected.
    pub rejected_because: Option<CompactString>,
    /// What came in.
    pub receipts: Vec<ReceiptDone>,
    /// How much less is due for what came in, minor units.
    pub amount: i64,
}

/// Units of one line that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptDone {
    /// The line.
    pub line: LineNumber,
    /// So many, by the warehouse they go back to.
    pub to: Vec<Allocation>,
    /// As found.
    pub condition: Condition,
    /// Do they go back on sale?
    pub restock: bool,
}

/// How a return stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReturnStatus {
    /// Asked for.
    Requested,
    /// Agreed to.
    Approved,
    /// Not agreed to.
    Rejected,
    /// Some of it came in.
    Received,
    /// All of it came in.
    Closed,
}

/// Something an operator must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// A call is not answered within the life of the provider's keys (rule M2): find out, then settle it.
    NotAnswered(CallKey),
    /// The provider took a call for another one with the same reference.
    Conflict(CallKey),
    /// A call was refused for good (rule M4).
    Refused {
        /// This one.
        call: CallKey,
        /// The provider's word.
        code: CompactString,
    },
    /// Another entity refused what it must not refuse.
    StepRefused(Step),
}

/// A request that had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What was asked for.
    pub terms: Fingerprint,
    /// What it made.
    pub made: Made,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Order {
    /// Its id; zero while there is no such order.
    pub id: OrderId,
    /// Where the saga stands.
    pub stage: Stage,
    /// What it was placed with. Absent only while there is no such order.
    pub head: Option<Arc<Head>>,
    /// About people; absent once erased, and never stored with the facts.
    #[serde(skip)]
    pub personal: Option<Arc<Personal>>,
    /// The salted hash of it as it is now, for ever.
    pub personal_hash: [u8; 32],
    /// Its lines, one per SKU.
    pub lines: Vec<Line>,
    /// How many lines the present stage still waits for.
    pub open: usize,
    /// As priced; absent until held. Its lines' part is in the lines.
    pub priced: Option<PricedOrder>,
    /// The order's deadline (rule R4).
    pub expires_at: Timestamp,
    /// When it was confirmed.
    pub confirmed_at: Option<Timestamp>,
    /// How much of the total is not due any more: cancelled, returned, refunded. Minor units.
    pub reduced: i64,
    /// Attempts to pay.
    pub payments: Vec<Payment>,
    /// The payment that pays for it.
    pub paying: Option<u16>,
    /// A cancellation that waits for the order to be confirmed (rule R6).
    pub cancel_requested: Option<(Request, CancelReason)>,
    /// Cancellations of units.
    pub cancels: Vec<Cancelled>,
    /// Money given back.
    pub refunds: Vec<Refund>,
    /// Units on their way.
    pub shipments: Vec<Shipment>,
    /// Units coming back.
    pub returns: Vec<Return>,
    /// What an operator must look at.
    pub troubles: Vec<Trouble>,
    /// Every request that had an effect here, for ever.
    pub requests: BTreeMap<RequestId, Seen>,
    /// What is owed to other entities, and calls to the provider that are not settled.
    pub todo: BTreeSet<Todo>,
    /// Is the cart frozen by this order, as far as we know?
    pub cart_frozen: bool,
}

/// What never changes, or only by an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The request that made it.
    pub request: Request,
    /// What was bought.
    pub source: Source,
    /// The facts.
    pub terms: Terms,
    /// How it was to be paid, if that was said at once.
    pub payment: Option<Instruction>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The salted hash of the personal data it was placed with: what a repeated request is compared with.
    pub personal_hash: [u8; 32],
}

/// The order's own part of its price, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedOrder {
    /// What travelling costs, as priced.
    pub shipping: i64,
    /// Tax in or on it.
    pub shipping_tax: i64,
    /// What travelling counts into the total.
    pub shipping_total: i64,
    /// Everything the shopper pays.
    pub total: i64,
}

impl Order {
    /// Does it exist?
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.head.is_some()
    }

    /// The facts it was placed with; `None`: no such order.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        self.head.as_ref().map(|head| &head.terms)
    }

    /// A line by its number.
    #[must_use]
    pub fn line(&self, number: LineNumber) -> Option<&Line> {
        self.lines.get(usize::from(number.checked_sub(1)?))
    }

    pub(super) fn line_mut(&mut self, number: LineNumber) -> Option<&mut Line> {
        self.lines.get_mut(usize::from(number.checked_sub(1)?))
    }

    /// The lines with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (LineNumber, &Line)> {
        (1..=LineNumber::MAX).zip(&self.lines)
    }

    /// A payment by its number.
    #[must_use]
    pub fn payment(&self, number: u16) -> Option<&Payment> {
        self.payments.get(usize::from(number.checked_sub(1)?))
    }

    pub(super) fn payment_mut(&mut self, number: u16) -> Option<&mut Payment> {
        self.payments.get_mut(usize::from(number.checked_sub(1)?))
    }

    /// A refund by its number.
    #[must_use]
    pub fn refund(&self, number: u16) -> Option<&Refund> {
        self.refunds.get(usize::from(number.checked_sub(1)?))
    }

    /// A shipment by its number.
    #[must_use]
    pub fn shipment(&self, number: u16) -> Option<&Shipment> {
        self.shipments.get(usize::from(number.checked_sub(1)?))
    }

    /// A return by its number.
    #[must_use]
    pub fn return_(&self, number: u16) -> Option<&Return> {
        self.returns.get(usize::from(number.checked_sub(1)?))
    }

    /// Our reference of a call.
    #[must_use]
    pub const fn reference(&self, call: CallKey) -> Reference {
        Reference { order: self.id, operation: call.operation, payment: call.payment, attempt: call.attempt }
    }

    /// The number of whatever comes next in a list.
    pub(super) fn next_number<T>(list: &[T]) -> u16 {
        u16::try_from(list.len()).unwrap_or(u16::MAX).saturating_add(1)
    }

    /// An amount in the order's currency.
    #[must_use]
    pub fn money(&self, amount: i64) -> Money {
        Money { amount, currency: self.terms().map(|terms| terms.currency).unwrap_or_default() }
    }
}

impl Payment {
    /// Is its outcome known?
    #[must_use]
    pub const fn settled(&self) -> bool {
        match self.attempt {
            Attempt::Asked | Attempt::RequiresAction(_) | Attempt::Processing => false,
            Attempt::Authorized { .. } | Attempt::Declined { .. } => true,
        }
    }

    /// Calls of one kind.
    pub fn calls_of(&self, operation: Operation) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.key.operation == operation)
    }

    /// Is a call of this kind not settled?
    #[must_use]
    pub fn has_open(&self, operation: Operation) -> bool {
        self.calls_of(operation).any(Call::open)
    }

    /// When the promise of money ends by itself, while there is one that nobody let go of or took whole.
    #[must_use]
    pub const fn lapses_at(&self) -> Option<Timestamp> {
        match self.attempt {
            Attempt::Authorized { lapses_at } if !self.voided => lapses_at,
            Attempt::Authorized { .. }
            | Attempt::Asked
            | Attempt::RequiresAction(_)
            | Attempt::Processing
            | Attempt::Declined { .. } => None,
        }
    }

    /// What could still be taken of what was promised, minor units.
    #[must_use]
    pub const fn promised(&self) -> i64 {
        match self.attempt {
            Attempt::Authorized { lapses_at: Some(_) } if !self.voided => self.amount.saturating_sub(self.captured),
            Attempt::Authorized { .. }
            | Attempt::Asked
            | Attempt::RequiresAction(_)
            | Attempt::Processing
            | Attempt::Declined { .. } => 0,
        }
    }
}

impl Call {
    /// Is its outcome unknown?
    #[must_use]
    pub const fn open(&self) -> bool {
        match self.state {
            CallState::Asked | CallState::QueryOnly => true,
            CallState::Succeeded(_) | CallState::Refused { .. } | CallState::Retried => false,
        }
    }
}

impl Line {
    /// Units neither shipped nor cancelled.
    #[must_use]
    pub const fn left(&self) -> Units {
        self.units.saturating_sub(self.cancelled).saturating_sub(self.shipped)
    }

    /// Units that the shopper has and nobody has asked back.
    #[must_use]
    pub const fn returnable(&self) -> Units {
        self.shipped.saturating_sub(self.returning).saturating_sub(self.returned)
    }

    /// What `units` more of it are worth, minor units, counted from what is settled: so the last unit takes the remainder, and
    /// all of them add up to the line. `shipping`: with their share of the shipping.
    #[must_use]
    pub fn worth(&self, units: Units, shipping: bool) -> i64 {
        let part = |whole: i64, of: Units| -> i64 {
            let product = i128::from(whole).saturating_mul(i128::from(of.min(self.units)));
            i64::try_from(product.checked_div(i128::from(self.units.max(1))).unwrap_or(0)).unwrap_or(0)
        };
        let span =
            |whole: i64| part(whole, self.settled.saturating_add(units)).saturating_sub(part(whole, self.settled));
        let goods = span(self.priced.total);
        if shipping { goods.saturating_add(span(self.priced.shipping_share)) } else { goods }
    }
}
