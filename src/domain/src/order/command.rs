//! What is asked of an order, what it answers, and how it says no.

use super::Status;
use super::personal::{Address, Buyer};
use super::step::Step;
use super::terms::{Destination, Instruction, Place, Shipping, TaxTable, Wanted};
use super::{LineNumber, ReturnLine};
use crate::codec::{self as minicbor, Decode, Encode};
use crate::ids::{OrderId, Request, Sku, WarehouseId};
use crate::inventory::{Reserved, Units};
use crate::money::Money;
use crate::payment::{ProviderAnswer, Reference};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// What is asked of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have come.
    Wake,
    /// The order as it is, nothing else.
    Read,
    /// Make it.
    Place(Box<Place>),
    /// Whatever holds something for this order asks what to do with it (rule R3).
    StillWanted {
        /// The number `Reserved` carried; `None`: a frozen cart asks.
        reservation: Option<u64>,
        /// The SKU that asks; `None`: a frozen cart asks.
        sku: Option<Sku>,
    },
    /// What an effect of this order was answered; only the order says this to itself.
    Answered {
        /// Which.
        step: Step,
        /// What.
        answer: Answer,
    },
    /// The provider speaks of one of our references: as an answer or as a webhook, in any order, any number of times.
    ProviderSays {
        /// Ours.
        reference: Reference,
        /// What it says.
        answer: ProviderAnswer,
    },
    /// The shopper tries to pay.
    Pay {
        /// Once only.
        request: Request,
        /// How.
        instruction: Instruction,
    },
    /// An operator says how a call ended that the provider can no longer be asked about (rule M2's dead end), or that was refused
    /// for good: `Authorized`, `Succeeded` or `Declined`.
    Settle {
        /// Which.
        reference: Reference,
        /// As the operator found out.
        answer: ProviderAnswer,
    },
    /// Take (part of) what is due, policy `manual`.
    Capture {
        /// Once only.
        request: Request,
        /// `None`: all that is due.
        amount: Option<Money>,
    },
    /// Cancel what has not shipped, or so much of it.
    Cancel {
        /// Once only.
        request: Request,
        /// Empty: all that has not shipped.
        lines: Vec<LineUnits>,
        /// Why.
        reason: CancelReason,
    },
    /// Give money back without a return.
    Refund {
        /// Once only.
        request: Request,
        /// Of what.
        what: RefundWhat,
        /// Why, in the seller's words.
        reason: CompactString,
    },
    /// The seller hands units to a carrier.
    Ship {
        /// Once only.
        request: Request,
        /// Empty: all that has not shipped (from `warehouse`, when it is named).
        lines: Vec<LineUnits>,
        /// `None`: the one that holds them.
        warehouse: Option<WarehouseId>,
        /// Who carries it.
        carrier: Option<CompactString>,
        /// The carrier's number.
        tracking_number: Option<CompactString>,
        /// Where to look it up.
        tracking_url: Option<CompactString>,
    },
    /// A shipment has arrived.
    Deliver {
        /// Once only.
        request: Request,
        /// Which.
        shipment: u16,
    },
    /// A shipment will not arrive.
    Lose {
        /// Once only.
        request: Request,
        /// Which.
        shipment: u16,
    },
    /// The shopper wants to send units back.
    RequestReturn {
        /// Once only.
        request: Request,
        /// Which.
        lines: Vec<ReturnLine>,
    },
    /// The seller agrees to a return.
    ApproveReturn {
        /// Once only.
        request: Request,
        /// Which.
        number: u16,
    },
    /// The seller does not.
    RejectReturn {
        /// Once only.
        request: Request,
        /// Which.
        number: u16,
        /// Why.
        reason: CompactString,
    },
    /// Units of a return have come in; they are refunded.
    ReceiveReturn {
        /// Once only.
        request: Request,
        /// Which.
        number: u16,
        /// What, and in which condition.
        lines: Vec<ReceivedLine>,
    },
    /// Changes what may still be changed.
    Patch(Box<Patch>),
    /// Forget whose it was.
    Erase,
}

/// What an effect was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done, or had been done already.
    Done,
    /// What was asked for was not there: nothing changed (rule R1), or a definite no.
    Gone,
    /// The cart is frozen for this order; these are its lines.
    Frozen(Vec<Wanted>),
    /// The cart cannot be had.
    NoCart(CartRefusal),
    /// The SKU promised the units.
    Reserved(Box<Reserved>),
    /// The SKU did not.
    Short(Shortage),
}

/// Why a cart cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum CartRefusal {
    /// It does not exist, or has expired.
    #[n(0)]
    Unknown,
    /// It has no lines.
    #[n(1)]
    Empty,
    /// Another order is being placed with it.
    #[n(2)]
    Frozen {
        /// The other order.
        #[n(0)]
        order: OrderId,
    },
    /// Another order was confirmed from it.
    #[n(3)]
    Ordered {
        /// The other order.
        #[n(0)]
        order: OrderId,
    },
    /// Its currency is not the order's.
    #[n(4)]
    Currency,
}

/// Why a SKU did not promise the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Shortage {
    /// Fewer units are available than were asked for.
    #[n(0)]
    SoldOut {
        /// Units available then.
        #[n(0)]
        available: u64,
        /// Are all of them in someone's checkout?
        #[n(1)]
        all_reserved: bool,
    },
    /// Its price is not the expected one.
    #[n(1)]
    PriceChanged {
        /// Price of one unit that the caller expected.
        #[n(0)]
        expected: Money,
        /// Price of one unit at the SKU.
        #[n(1)]
        now: Money,
    },
    /// The SKU does not exist.
    #[n(2)]
    Unknown,
    /// The SKU or its product is not active.
    #[n(3)]
    NotOnSale,
    /// No price in the order's currency.
    #[n(4)]
    NoPrice,
    /// More than one order may take.
    #[n(5)]
    LimitExceeded {
        /// Units that one order may take.
        #[n(0)]
        limit: Units,
    },
    /// The deadline came before the SKU was reached.
    #[n(6)]
    TooLate,
}

/// Units of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct LineUnits {
    /// Number of the line, from 1.
    #[n(0)]
    pub line: LineNumber,
    /// Units of it, at least 1.
    #[n(1)]
    pub units: Units,
}

/// Units of a return that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedLine {
    /// The line.
    pub line: LineNumber,
    /// At least 1.
    pub units: Units,
    /// As found.
    pub condition: Condition,
    /// Do they go back on sale?
    pub restock: bool,
}

/// How a returned unit looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum Condition {
    /// Not used.
    #[n(0)]
    AsNew,
    /// Used, and whole.
    #[n(1)]
    Used,
    /// Cannot be sold.
    #[n(2)]
    Damaged,
}

/// Why an order or a part of it was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum CancelReason {
    /// The shopper cancelled.
    #[n(0)]
    Customer,
    /// It was taken for fraud.
    #[n(1)]
    Fraud,
    /// It could not be supplied.
    #[n(2)]
    Stock,
    /// The money could not be taken.
    #[n(3)]
    Declined,
    /// The seller's staff cancelled.
    #[n(4)]
    Staff,
    /// None of the others.
    #[n(5)]
    Other,
}

/// What of an order is refunded without a return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundWhat {
    /// So much.
    Amount(Money),
    /// These units, at what was paid for them.
    Lines {
        /// Which.
        lines: Vec<LineUnits>,
        /// With their share of the shipping?
        shipping: bool,
    },
    /// All that can be.
    Everything,
}

/// What a patch changes; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Patch {
    /// Who buys.
    pub buyer: Option<Buyer>,
    /// Where it goes, with what of it decides tax and warehouse.
    pub ship_to: Option<(Address, Destination, TaxTable)>,
    /// Who is billed.
    pub bill_to: Option<Option<Address>>,
    /// How it travels.
    pub shipping: Option<Shipping>,
    /// The shopper's own words.
    pub note: Option<Option<CompactString>>,
    /// Replaces the caller's own pairs.
    pub metadata: Option<Vec<(CompactString, CompactString)>>,
}

/// What a request made, so that the same request again finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Made {
    /// The order itself.
    #[n(0)]
    Order,
    /// The attempt to pay of that number.
    #[n(1)]
    Payment(#[n(0)] u16),
    /// A capture: of this payment, with that attempt number.
    #[n(2)]
    Capture {
        /// Number of the payment within the order.
        #[n(0)]
        payment: u16,
        /// Number of the capture within the payment.
        #[n(1)]
        attempt: u16,
    },
    /// The cancellation of that number.
    #[n(3)]
    Cancel(#[n(0)] u16),
    /// The refund of that number.
    #[n(4)]
    Refund(#[n(0)] u16),
    /// The shipment of that number: made, delivered or lost.
    #[n(5)]
    Shipment(#[n(0)] u16),
    /// The return of that number: asked for, approved, rejected, received.
    #[n(6)]
    Return(#[n(0)] u16),
}

/// The answer to what was accepted; the API renders the state that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or had been done already.
    Done,
    /// A request has its effect; this is what it made.
    Made(Made),
    /// To `StillWanted`: keep holding.
    Keep {
        /// Ask again then.
        until: Timestamp,
    },
    /// To `StillWanted`: the order ended, or never was; let go (a cart: thaw).
    Release,
    /// To `StillWanted`: sold (commit it; a cart: close).
    Taken,
}

/// A lawful "no".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such order.
    Unknown,
    /// No such payment, shipment, return or line in it.
    UnknownPart,
    /// The same request again with another body.
    RequestReused,
    /// Not in this state.
    WrongState {
        /// It is in.
        status: Status,
    },
    /// An order without lines, a line without units, two expected prices for one SKU, or more lines than [`super::LINES_MAX`].
    Malformed,
    /// Another currency than the order's.
    CurrencyMismatch,
    /// A total beyond what can be counted.
    Overflow,
    /// All attempts to pay are used up.
    NoAttemptsLeft,
    /// More units than there are left to cancel, ship, return or refund.
    TooMany {
        /// Of this line.
        line: LineNumber,
        /// There are.
        left: Units,
    },
    /// The units lie in more than one warehouse, or not in the one that was named.
    NotInOneWarehouse,
    /// More than can be given back.
    RefundTooLarge {
        /// At most.
        refundable: Money,
    },
    /// More than is left to take.
    CaptureTooLarge {
        /// At most.
        capturable: Money,
    },
    /// Too late to send it back.
    ReturnWindowClosed {
        /// It closed then.
        ended_at: Timestamp,
    },
}

impl From<Made> for Reply {
    fn from(made: Made) -> Self {
        Self::Made(made)
    }
}
