//! What happened to an order: every fact its state is made from.

use super::ReturnLine;
use super::command::{CancelReason, CartRefusal, Condition, LineUnits, Shortage};
use super::personal::Personal;
use super::step::{CallKey, Step};
use super::terms::{CapturePolicy, Destination, Instruction, Shipping, TaxTable, Wanted};
use super::{Head, Outcome, Trouble};
use crate::ids::{OrderId, Request, WarehouseId};
use crate::inventory::{Allocation, Reserved};
use crate::payment::{NextAction, Retry};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The outcome of pricing: numbers only, so that a later version of the rules never changes what was agreed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Priced {
    /// One per line, in order.
    pub lines: Vec<PricedLine>,
    /// What travelling costs, as priced (with or without tax, as the option says).
    pub shipping: i64,
    /// Tax in or on it.
    pub shipping_tax: i64,
    /// Shipping as it counts into the total: with its tax.
    pub shipping_total: i64,
    /// Everything the shopper pays.
    pub total: i64,
}

/// One line, priced. Minor units of the order's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PricedLine {
    /// Units times unit price.
    pub subtotal: i64,
    /// Parts per million.
    pub rate_ppm: u32,
    /// In or on the subtotal, rounded once.
    pub tax: i64,
    /// What the line counts into the order's total.
    pub total: i64,
    /// Its share of `shipping_total`: what is given back with it when it is cancelled.
    pub shipping_share: i64,
}

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It exists.
    Placed(Box<Placed>),
    /// Its cart is frozen; these lines are bought.
    Frozen {
        /// One per SKU.
        lines: Vec<Wanted>,
    },
    /// Its cart cannot be had.
    CartRefused(CartRefusal),
    /// A SKU promised the units of a line.
    Reserved {
        /// Of this line.
        line: u16,
        /// What and where.
        reserved: Box<Reserved>,
    },
    /// A SKU did not.
    Refused {
        /// Of this line.
        line: u16,
        /// Why.
        why: Shortage,
    },
    /// Every unit is held, and priced.
    Held(Box<Priced>),
    /// Something asked of another entity is done.
    Done(Step),
    /// Something asked of another entity was not there, or was refused for good.
    Gone(Step),
    /// The order will end this way; what was done is being undone (rule R6).
    Ending {
        /// This way.
        outcome: Outcome,
        /// The request that wanted it.
        request: Option<Request>,
        /// When.
        at: Timestamp,
    },
    /// Everything is undone: nothing is held, nothing is owed.
    Ended,
    /// An attempt to pay begins.
    PaymentStarted {
        /// The number of the payment.
        number: u16,
        /// `None`: with the instruction the order was placed with.
        asked: Option<(Request, Instruction)>,
        /// How much, minor units.
        amount: i64,
        /// When money is taken.
        capture: CapturePolicy,
        /// When.
        at: Timestamp,
        /// The order's deadline from now on (rules R4, M3).
        expires_at: Timestamp,
    },
    /// The provider has promised the money.
    Authorized {
        /// This payment.
        payment: u16,
        /// The provider's own reference.
        provider_reference: CompactString,
        /// When the promise ends by itself; `None`: the money was taken at once.
        lapses_at: Option<Timestamp>,
    },
    /// The provider said no.
    Declined {
        /// This payment.
        payment: u16,
        /// The provider's word.
        code: CompactString,
        /// What may be done now.
        retry: Retry,
    },
    /// The shopper must act.
    ActionRequired {
        /// This payment.
        payment: u16,
        /// The provider's own reference.
        provider_reference: CompactString,
        /// What to do.
        action: NextAction,
        /// When we learned of it.
        at: Timestamp,
    },
    /// The provider works on it.
    Processing {
        /// This payment.
        payment: u16,
        /// The provider's own reference.
        provider_reference: CompactString,
        /// When we learned of it.
        at: Timestamp,
    },
    /// Money is to be taken, given back or let go.
    CallStarted {
        /// Ours.
        call: CallKey,
        /// How much, minor units.
        amount: i64,
        /// The request that wanted it (captures by hand).
        request: Option<Request>,
        /// The refund it carries out.
        refund: Option<u16>,
        /// When.
        at: Timestamp,
    },
    /// The provider did it.
    CallSucceeded {
        /// Ours.
        call: CallKey,
        /// The provider's own reference of it.
        provider_reference: CompactString,
    },
    /// The provider said no.
    CallRefused {
        /// Ours.
        call: CallKey,
        /// The provider's word.
        code: CompactString,
        /// What may be done now.
        retry: Retry,
    },
    /// From now on we only ask about it (rule M2).
    QueryOnly {
        /// Ours.
        call: CallKey,
        /// Did the provider take it for another call with the same reference?
        conflict: bool,
    },
    /// An operator said how it ended; the events that follow are that end.
    Settled {
        /// Ours.
        call: CallKey,
    },
    /// An operator must look.
    Troubled(Trouble),
    /// Every unit is sold.
    Confirmed {
        /// When.
        at: Timestamp,
    },
    /// Somebody wants what cannot be done yet: it is done as soon as the order is confirmed (rule R6).
    CancelRequested {
        /// By this request.
        request: Request,
        /// Why.
        reason: CancelReason,
    },
    /// Units are not wanted any more, and not due.
    Cancelled(Box<Cancelled>),
    /// Money is to be given back: by request, because of a return, or because more was taken than is due.
    RefundStarted(Box<RefundStarted>),
    /// Units were handed to a carrier.
    Shipped(Box<ShipmentStarted>),
    /// A shipment arrived.
    Delivered {
        /// Which.
        shipment: u16,
        /// Because of.
        request: Request,
        /// When.
        at: Timestamp,
    },
    /// A shipment will not arrive.
    Lost {
        /// Which.
        shipment: u16,
        /// Because of.
        request: Request,
    },
    /// The shopper wants to send units back.
    ReturnRequested {
        /// The number of the return.
        number: u16,
        /// Because of.
        request: Request,
        /// What.
        lines: Vec<ReturnLine>,
        /// Approved by policy?
        approved: bool,
        /// Until then it could be asked for.
        window_ends_at: Timestamp,
    },
    /// The seller agreed.
    ReturnApproved {
        /// Which.
        number: u16,
        /// Because of.
        request: Request,
    },
    /// The seller did not.
    ReturnRejected {
        /// Which.
        number: u16,
        /// Because of.
        request: Request,
        /// Why.
        reason: CompactString,
    },
    /// Units came in.
    ReturnReceived {
        /// Which.
        number: u16,
        /// Because of.
        request: Request,
        /// What: one receipt each.
        receipts: Vec<Receipt>,
        /// How much less is due for it, minor units.
        amount: i64,
    },
    /// Something of it was changed.
    Amended(Box<Amended>),
    /// Whose it was is forgotten.
    PersonalErased,
}

/// How an order came to be. What never changes is shared with the state, not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub order: OrderId,
    /// Request, source, facts.
    pub head: Arc<Head>,
    /// The order's deadline (rule R4).
    pub expires_at: Timestamp,
    /// The data about people; gone once erased.
    pub personal: Option<Arc<Personal>>,
}

/// Units that are not wanted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The number of the cancellation.
    pub number: u16,
    /// Because of; `None`: the product itself, for want of money.
    pub request: Option<Request>,
    /// What, and where it lay.
    pub lines: Vec<CancelledLine>,
    /// Why.
    pub reason: CancelReason,
    /// How much less is due for it, minor units.
    pub amount: i64,
}

/// Units of one line that are not wanted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelledLine {
    /// Of this line.
    pub line: u16,
    /// Where they lay.
    pub from: Vec<Allocation>,
}

/// Money to be given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundStarted {
    /// The number of the refund.
    pub number: u16,
    /// The payment it comes from.
    pub payment: u16,
    /// How much, minor units.
    pub amount: i64,
    /// Because of.
    pub cause: RefundCause,
    /// The request that wanted it.
    pub request: Option<Request>,
    /// The units it is for (goodwill).
    pub lines: Vec<LineUnits>,
    /// Was the units' share of the shipping given back too?
    pub shipping: bool,
    /// In the seller's words.
    pub reason: CompactString,
    /// When.
    pub at: Timestamp,
}

/// Why money is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundCause {
    /// Asked for without a return: less is due from now on.
    Goodwill,
    /// More was taken than is due: units were cancelled, or came back.
    NotDue,
    /// The order had ended, or another payment serves it (rule M5).
    Late,
}

/// Units handed to a carrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentStarted {
    /// The number of the shipment.
    pub number: u16,
    /// Because of.
    pub request: Request,
    /// What.
    pub lines: Vec<LineUnits>,
    /// From where.
    pub warehouse: WarehouseId,
    /// Who carries it.
    pub carrier: Option<CompactString>,
    /// The carrier's number.
    pub tracking_number: Option<CompactString>,
    /// Where to look it up.
    pub tracking_url: Option<CompactString>,
    /// When.
    pub at: Timestamp,
}

/// Units of one line that came in, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The number of the receipt within the return.
    pub receipt: u16,
    /// Of this line.
    pub line: u16,
    /// How many of them count as given back with it (not those refunded before).
    pub settled: u32,
    /// Where they came from and go back to.
    pub to: Vec<Allocation>,
    /// As found.
    pub condition: Condition,
    /// Do they go back on sale?
    pub restock: bool,
}

/// What was changed; `None` stayed as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amended {
    /// Where it goes.
    pub destination: Option<(Destination, TaxTable)>,
    /// How it travels.
    pub shipping: Option<Shipping>,
    /// The caller's own pairs.
    pub metadata: Option<Vec<(CompactString, CompactString)>>,
    /// Priced anew.
    pub priced: Option<Priced>,
    /// The hash of the personal data as it is now (under the first salt).
    pub personal_hash: Option<[u8; 32]>,
    /// The data itself as it is now; gone once erased.
    pub personal: Option<Arc<Personal>>,
}
