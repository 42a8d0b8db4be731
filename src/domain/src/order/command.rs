//! Commands, replies and refusals of an order.

use super::Status;
use super::personal::{Address, Buyer};
use super::step::Step;
use super::terms::{Destination, Instruction, PlaceOrder, Shipping, TaxTable, Wanted};
use super::{LineNumber, ReturnLine};
use crate::claims::{self, ClaimId, ClaimKind};
use crate::codec::{self as minicbor, Decode, Encode};
use crate::ids::{OrderId, Request, Sku, WarehouseId};
use crate::inventory::{Reserved, Units};
use crate::money::Money;
use crate::payment::{ProviderAnswer, ProviderReport, Reference};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// A command to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have passed.
    Wake,
    /// Reads the order.
    Read,
    /// Places the order.
    Place(Box<PlaceOrder>),
    /// An entity that holds something for this order asks what to do with it (rule R3).
    StillWanted {
        /// The number in `Reserved`; `None`: a frozen cart asks.
        reservation: Option<u64>,
        /// The SKU that asks; `None`: a frozen cart asks.
        sku: Option<Sku>,
    },
    /// A counter asks what to do with what it granted to this order (rule R3).
    StillClaimed {
        /// The number of the claim within the order.
        claim: ClaimId,
        /// The number in `Granted`.
        number: u64,
    },
    /// An answer to an effect of this order. Only `answered` makes it.
    Answered {
        /// The step that is answered.
        step: Step,
        /// The answer to the step.
        answer: Answer,
    },
    /// The provider's state of a call, from an answer or a webhook. It may come in any order and repeatedly.
    ProviderSays {
        /// The provider's record: its reference, its amount, its state.
        report: Box<ProviderReport>,
    },
    /// The shopper starts an attempt to pay.
    Pay {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The payment method and how to use it.
        instruction: Instruction,
    },
    /// An operator settles a call that the provider can no longer be asked about (rule M2), or that was refused
    /// for good: `Authorized`, `Succeeded` or `Declined`.
    Settle {
        /// The reference of the call.
        reference: Reference,
        /// The outcome that the operator found.
        answer: ProviderAnswer,
    },
    /// Captures the amount due or a part of it, with the policy `manual`.
    Capture {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The amount; `None`: the whole amount due.
        amount: Option<Money>,
    },
    /// Cancels units that have not shipped.
    Cancel {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The lines with their units; empty: everything that has not shipped.
        lines: Vec<LineUnits>,
        /// The reason of the cancellation.
        reason: CancelReason,
    },
    /// Refunds money without a return.
    Refund {
        /// The caller's request, which takes effect once.
        request: Request,
        /// What is refunded.
        what: RefundWhat,
        /// The reason in the seller's words.
        reason: CompactString,
        /// The seller whose lines it is of (rule P4); `None`: the whole order's.
        seller: Option<CompactString>,
    },
    /// The seller gives units to a carrier.
    Ship {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The lines with their units; empty: everything that has not shipped, from `warehouse` if it is given.
        lines: Vec<LineUnits>,
        /// The warehouse; `None`: the one that has all units.
        warehouse: Option<WarehouseId>,
        /// The carrier's name.
        carrier: Option<CompactString>,
        /// The carrier's tracking number.
        tracking_number: Option<CompactString>,
        /// The carrier's tracking page.
        tracking_url: Option<CompactString>,
    },
    /// A shipment has arrived.
    Deliver {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The number of the shipment.
        shipment: u16,
    },
    /// A shipment will not arrive.
    Lose {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The number of the shipment.
        shipment: u16,
    },
    /// A shipment was recorded by mistake and never left: its units are to ship again.
    UndoShipment {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The number of the shipment.
        shipment: u16,
    },
    /// Other units are to be sent in place of those of a lost shipment.
    Resend {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The number of the shipment.
        shipment: u16,
    },
    /// The shopper requests a return.
    RequestReturn {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The returned lines.
        lines: Vec<ReturnLine>,
    },
    /// The seller approves a return.
    ApproveReturn {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The number of the return.
        number: u16,
    },
    /// The seller rejects a return.
    RejectReturn {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The number of the return.
        number: u16,
        /// The reason in words.
        reason: CompactString,
    },
    /// Units of a return have arrived; they are refunded.
    ReceiveReturn {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The number of the return.
        number: u16,
        /// The lines with their units and condition.
        lines: Vec<ReceivedLine>,
    },
    /// Changes what may still be changed.
    Patch(Box<Patch>),
    /// Erases the personal data.
    Erase,
    /// Puts the carrier and the tracking data of a shipment right.
    CorrectTracking {
        /// Number of the shipment.
        shipment: u16,
        /// The carrier; `None` in any of the three: it stays, `Some(None)`: it is cleared.
        carrier: Option<Option<CompactString>>,
        /// The carrier's number of the parcel.
        tracking_number: Option<Option<CompactString>>,
        /// Page that shows where the parcel is.
        tracking_url: Option<Option<CompactString>>,
    },
    /// The money of a `manual` payment has come.
    MarkPaid {
        /// Number of the payment.
        payment: u16,
        /// How the seller's books name it.
        reference: CompactString,
    },
    /// The seller takes no more of a payment: what is still due is waived, and the rest of the authorization is voided.
    Void {
        /// The caller's request, which takes effect once.
        request: Request,
        /// Number of the payment.
        payment: u16,
    },
    /// The refunds of a `manual` payment that are under way have been paid out.
    MarkRefunded {
        /// The caller's request, which takes effect once.
        request: Request,
        /// Number of the payment.
        payment: u16,
        /// How the seller's books name it.
        reference: CompactString,
    },
}

/// The answer to an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The command took effect, now or before.
    Done,
    /// The subject is unknown, so nothing changed (rule R1), or the command was refused for good.
    Gone,
    /// The cart is frozen for this order; these are its lines.
    Frozen(Vec<Wanted>),
    /// The cart cannot be used.
    NoCart(CartRefusal),
    /// The SKU reserved the units.
    Reserved(Box<Reserved>),
    /// The SKU or the counter refused.
    Short(Shortage),
    /// The counter granted the claim, under this number.
    Granted(u64),
}

/// Why a cart cannot be used.
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

/// Why a SKU refused to reserve the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Shortage {
    /// Fewer units are available than were asked for.
    #[n(0)]
    SoldOut {
        /// Units available then.
        #[n(0)]
        available: u64,
        /// Whether units are reserved, which may become available again.
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
    /// The SKU has no price in the order's currency.
    #[n(4)]
    NoPrice,
    /// More units are requested than one order may take.
    #[n(5)]
    LimitExceeded {
        /// Units that one order may take.
        #[n(0)]
        limit: Units,
    },
    /// The deadline came before the SKU was reached.
    #[n(6)]
    TooLate,
    /// A counter has reached its limit.
    #[n(7)]
    LimitReached {
        /// The most that may count.
        #[n(0)]
        limit: u32,
        /// What counts already.
        #[n(1)]
        taken: u64,
    },
}

/// A number of units of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct LineUnits {
    /// Number of the line, from 1.
    #[n(0)]
    pub line: LineNumber,
    /// Units of it, at least 1.
    #[n(1)]
    pub units: Units,
}

/// Units of a return that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedLine {
    /// The number of the line.
    pub line: LineNumber,
    /// The number of units, at least 1.
    pub units: Units,
    /// The condition in which the units came back.
    pub condition: Condition,
    /// Whether they go back on sale.
    pub restock: bool,
    /// What the seller gives back for them; `None`: what was paid for them and has not gone back.
    pub money: Option<Money>,
}

/// The condition of a returned unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum Condition {
    /// The unit was not used.
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
    /// The units could not be supplied.
    #[n(2)]
    Stock,
    /// The amount due could not be captured.
    #[n(3)]
    Declined,
    /// The seller's staff cancelled.
    #[n(4)]
    Staff,
    /// None of the others.
    #[n(5)]
    Other,
}

/// The part of an order that is refunded without a return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundWhat {
    /// A fixed amount.
    Amount(Money),
    /// The price paid for these units.
    Lines {
        /// The lines with their units.
        lines: Vec<LineUnits>,
        /// Whether their share of the shipping is refunded too.
        shipping: bool,
    },
    /// Everything that can be refunded.
    Everything,
}

/// The changes of a patch; `None` leaves a field unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Patch {
    /// The new buyer; `None`: unchanged.
    pub buyer: Option<Buyer>,
    /// The shipping address, and the part of it that determines tax and warehouse.
    pub ship_to: Option<(Address, Destination, TaxTable)>,
    /// The billing address.
    pub bill_to: Option<Option<Address>>,
    /// The shipping option.
    pub shipping: Option<Shipping>,
    /// The shopper's note.
    pub note: Option<Option<CompactString>>,
    /// The caller's metadata, which replaces the stored pairs.
    pub metadata: Option<Vec<(CompactString, CompactString)>>,
    /// The seller whose own metadata of its lines they are (rule P4); `None`: the order's.
    pub seller: Option<CompactString>,
    /// What the order is to claim after it, by kind; `None` of a kind: nothing. Kinds that are not named stay.
    pub claims: Vec<(ClaimKind, Option<claims::Wanted>)>,
}

/// The result of a request, so that a repetition returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Made {
    /// The order itself.
    #[n(0)]
    Order,
    /// The attempt to pay with this number.
    #[n(1)]
    Payment(#[n(0)] u16),
    /// A capture of a payment, with its attempt number.
    #[n(2)]
    Capture {
        /// Number of the payment within the order.
        #[n(0)]
        payment: u16,
        /// Number of the capture within the payment.
        #[n(1)]
        attempt: u16,
    },
    /// The cancellation with this number.
    #[n(3)]
    Cancel(#[n(0)] u16),
    /// The refund with this number.
    #[n(4)]
    Refund(#[n(0)] u16),
    /// The shipment with this number: created, delivered or lost.
    #[n(5)]
    Shipment(#[n(0)] u16),
    /// The return with this number: requested, approved, rejected, received.
    #[n(6)]
    Return(#[n(0)] u16),
}

/// The answer to an accepted command; the API renders the state that comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The command took effect, now or before.
    Done,
    /// The request took effect; this is its result.
    Made(Made),
    /// The answer to `StillWanted`: keep holding.
    Keep {
        /// When to ask again.
        until: Timestamp,
    },
    /// The answer to `StillWanted`: the order ended, or does not exist; release (a cart: thaw).
    Release,
    /// The answer to `StillWanted`: sold (commit; a cart: close).
    Taken,
}

/// A refusal of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The order does not exist.
    Unknown,
    /// The order has no such payment, shipment, return or line.
    UnknownPart,
    /// The same request had another body.
    RequestReused,
    /// The order's state does not allow the command.
    WrongState {
        /// The order's status.
        status: Status,
    },
    /// An order without lines, a line without units, two expected prices for one SKU, or more lines than [`super::LINES_MAX`].
    Malformed,
    /// The currency is not the order's.
    CurrencyMismatch,
    /// A total exceeds the largest amount.
    Overflow,
    /// All attempts to pay are used up.
    NoAttemptsLeft,
    /// It was changed as often as an order may be.
    TooManyEdits {
        /// The most changes of an order.
        limit: u32,
    },
    /// More units than can be cancelled, shipped, returned or refunded.
    TooMany {
        /// The number of the line.
        line: LineNumber,
        /// The number of units that are left.
        left: Units,
    },
    /// The units are in more than one warehouse, or not in the given one.
    NotInOneWarehouse,
    /// The amount exceeds what can be refunded.
    RefundTooLarge {
        /// The largest amount that can be refunded.
        refundable: Money,
    },
    /// The amount exceeds what can be captured.
    CaptureTooLarge {
        /// The largest amount that can be captured.
        capturable: Money,
    },
    /// The return window has closed.
    ReturnWindowClosed {
        /// When the window closed.
        ended_at: Timestamp,
    },
}

impl From<Made> for Reply {
    fn from(made: Made) -> Self {
        Self::Made(made)
    }
}
