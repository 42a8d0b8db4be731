//! Events of an order: the facts from which its state is built.

use super::amended::Amended;
use super::command::{CancelReason, CartRefusal, LineUnits, Shortage};
use super::edit::Edit;
use super::personal::Personal;
use super::step::{CallKey, Step};
use super::terms::{CapturePolicy, Instruction, Wanted};
use super::{AttentionReason, EndReason, Head};
use super::{Receipt, ReturnLine};
use crate::claims::ClaimId;
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart, apart, apart_text, shared, text};
use crate::ids::{OrderId, Request, WarehouseId};
use crate::inventory::{Allocation, Reserved};
use crate::money::Money;
use crate::payment::{NextAction, Operation, Retry};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The result of pricing: numbers only, so that a later version of the rules never changes agreed prices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Priced {
    /// The lines' prices, in the order of the lines.
    #[n(0)]
    pub lines: Vec<PricedLine>,
    /// Shipping as the option prices it, with or without tax; minor units.
    #[n(1)]
    pub shipping: i64,
    /// Tax on the shipping (or in it), minor units.
    #[n(2)]
    pub shipping_tax: i64,
    /// Shipping with its tax, minor units.
    #[n(3)]
    pub shipping_total: i64,
    /// What the shopper pays, minor units.
    #[n(4)]
    pub total: i64,
}

/// The price of a line, in minor units of the order's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct PricedLine {
    /// Units times the price of one, minor units.
    #[n(0)]
    pub subtotal: i64,
    /// Tax rate, in parts per million.
    #[n(1)]
    pub rate_ppm: u32,
    /// Tax in or on the subtotal, rounded once; minor units.
    #[n(2)]
    pub tax: i64,
    /// The line's part of the order's total, minor units.
    #[n(3)]
    pub total: i64,
    /// Its share of `shipping_total`, which is refunded with it when it is cancelled.
    #[n(4)]
    pub shipping_share: i64,
}

/// An event of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(flat, context_bound = "KeepsApart")]
pub enum Event {
    /// The order was placed.
    #[n(0)]
    Placed(#[n(0)] Box<Placed>),
    /// Its cart is frozen, and these lines are bought.
    #[n(1)]
    Frozen {
        /// The cart's lines, one per SKU.
        #[n(0)]
        lines: Vec<Wanted>,
    },
    /// The cart refused to be frozen.
    #[n(2)]
    CartRefused(#[n(0)] CartRefusal),
    /// A SKU reserved the units of a line.
    #[n(3)]
    Reserved {
        /// Number of the line, from 1.
        #[n(0)]
        line: u16,
        /// The reservation: number, price, warehouses.
        #[n(1)]
        reserved: Box<Reserved>,
    },
    /// A claim was refused: a SKU does not reserve the units of a line, a counter has reached its limit.
    #[n(4)]
    Refused {
        /// The number of the claim; of stock: that of the line, from 1.
        #[n(0)]
        line: u16,
        /// Why it refused.
        #[n(1)]
        why: Shortage,
    },
    /// All lines are reserved, and priced.
    #[n(5)]
    Held(#[n(0)] Box<Priced>),
    /// Another entity has carried out a step.
    #[n(6)]
    Done(#[n(0)] Step),
    /// Another entity did not know what a step named, or refused it for good.
    #[n(7)]
    Gone(#[n(0)] Step),
    /// The order begins to end; its steps are being undone (rule R6).
    #[n(8)]
    Ending {
        /// How it will end.
        #[n(0)]
        outcome: EndReason,
        /// The request that ended it; `None`: a deadline or a refusal did.
        #[n(1)]
        request: Option<Request>,
        /// When it was decided.
        #[n(2)]
        at: Timestamp,
    },
    /// All steps are undone: nothing is held and nothing is owed.
    #[n(9)]
    Ended,
    /// An attempt to pay begins.
    #[n(10)]
    PaymentStarted {
        /// Number of the payment within the order, from 1.
        #[n(0)]
        number: u16,
        /// The request and its instruction; `None`: that of the placement.
        #[n(1)]
        asked: Option<(Request, Instruction)>,
        /// Minor units of the order's currency.
        #[n(2)]
        amount: i64,
        /// When the money is captured.
        #[n(3)]
        capture: CapturePolicy,
        /// When it was decided.
        #[n(4)]
        at: Timestamp,
        /// The order's deadline from here on (rule R4). A start moves none; an earlier version gave its method's longer one here.
        #[n(5)]
        expires_at: Timestamp,
    },
    /// The provider has authorized the payment.
    #[n(11)]
    Authorized {
        /// Number of the payment within the order.
        #[n(0)]
        payment: u16,
        /// The provider's own reference.
        #[cbor(n(1), with = "text")]
        provider_reference: CompactString,
        /// When the authorization lapses; `None`: the money was captured at once.
        #[n(2)]
        lapses_at: Option<Timestamp>,
    },
    /// The provider declined the payment.
    #[n(12)]
    Declined {
        /// Number of the payment within the order.
        #[n(0)]
        payment: u16,
        /// The provider's reason.
        #[cbor(n(1), with = "text")]
        code: CompactString,
        /// What may be tried next.
        #[n(2)]
        retry: Retry,
    },
    /// The shopper must act before the provider can go on.
    #[n(13)]
    ActionRequired {
        /// Number of the payment within the order.
        #[n(0)]
        payment: u16,
        /// The provider's own reference.
        #[cbor(n(1), with = "text")]
        provider_reference: CompactString,
        /// What the shopper must do.
        #[n(2)]
        action: NextAction,
        /// When the provider's answer arrived.
        #[n(3)]
        at: Timestamp,
        /// The order's deadline while this payment is pending, where its method has a longer one (rules R4, M3).
        #[n(4)]
        expires_at: Option<Timestamp>,
    },
    /// The provider works on the payment and will answer later.
    #[n(14)]
    Processing {
        /// Number of the payment within the order.
        #[n(0)]
        payment: u16,
        /// The provider's own reference.
        #[cbor(n(1), with = "text")]
        provider_reference: CompactString,
        /// When the provider's answer arrived.
        #[n(2)]
        at: Timestamp,
        /// The order's deadline while this payment is pending, where its method has a longer one (rules R4, M3).
        #[n(3)]
        expires_at: Option<Timestamp>,
    },
    /// A capture, void or refund begins.
    #[n(15)]
    CallStarted {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// Minor units of the order's currency.
        #[n(1)]
        amount: i64,
        /// The request that caused it.
        #[n(2)]
        request: Option<Request>,
        /// Number of the refund it carries out; `None` for a capture or void.
        #[n(3)]
        refund: Option<u16>,
        /// When it was decided.
        #[n(4)]
        at: Timestamp,
    },
    /// The provider carried out a capture, void or refund.
    #[n(16)]
    CallSucceeded {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// The provider's own reference.
        #[cbor(n(1), with = "text")]
        provider_reference: CompactString,
    },
    /// The provider refused a capture, void or refund.
    #[n(17)]
    CallRefused {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// The provider's reason.
        #[cbor(n(1), with = "text")]
        code: CompactString,
        /// What may be tried next.
        #[n(2)]
        retry: Retry,
    },
    /// From now on the call is only queried (rule M2).
    #[n(18)]
    QueryOnly {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// Whether the provider reported a conflict with another call of the same reference.
        #[n(1)]
        conflict: bool,
    },
    /// An operator settled the call; the events that follow are its outcome.
    #[n(19)]
    Settled {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
    },
    /// An operator must look at something.
    #[n(20)]
    Troubled(#[n(0)] AttentionReason),
    /// All units are sold to the order.
    #[n(21)]
    Confirmed {
        /// When it was decided.
        #[n(0)]
        at: Timestamp,
    },
    /// A cancellation was asked for that cannot be carried out yet: it is as soon as the order is confirmed (rule R6).
    #[n(22)]
    CancelRequested {
        /// The request that caused it.
        #[n(0)]
        request: Request,
        /// The reason of the cancellation.
        #[n(1)]
        reason: CancelReason,
    },
    /// Units were cancelled and are no longer due.
    #[n(23)]
    Cancelled(#[n(0)] Box<Cancelled>),
    /// A refund begins: by request, because of a return, or because more was captured than is due.
    #[n(24)]
    RefundStarted(#[n(0)] Box<RefundStarted>),
    /// Units were given to a carrier.
    #[n(25)]
    Shipped(#[n(0)] Box<ShipmentStarted>),
    /// A shipment arrived.
    #[n(26)]
    Delivered {
        /// Number of the shipment within the order.
        #[n(0)]
        shipment: u16,
        /// The request that caused it.
        #[n(1)]
        request: Request,
        /// When it was decided.
        #[n(2)]
        at: Timestamp,
    },
    /// A shipment will not arrive.
    #[n(27)]
    Lost {
        /// Number of the shipment within the order.
        #[n(0)]
        shipment: u16,
        /// The request that caused it.
        #[n(1)]
        request: Request,
    },
    /// The shopper asked to send units back.
    #[n(28)]
    ReturnRequested {
        /// Number of the return within the order, from 1.
        #[n(0)]
        number: u16,
        /// The request that caused it.
        #[n(1)]
        request: Request,
        /// Units by line.
        #[n(2)]
        lines: Vec<ReturnLine>,
        /// Was it approved at once, by the seller's policy?
        #[n(3)]
        approved: bool,
        /// Last instant at which it could be asked for.
        #[n(4)]
        window_ends_at: Timestamp,
    },
    /// The seller approved a return.
    #[n(29)]
    ReturnApproved {
        /// Number of the return within the order.
        #[n(0)]
        number: u16,
        /// The request that caused it.
        #[n(1)]
        request: Request,
    },
    /// The seller rejected a return.
    #[n(30)]
    ReturnRejected {
        /// Number of the return within the order.
        #[n(0)]
        number: u16,
        /// The request that caused it.
        #[n(1)]
        request: Request,
        /// The seller's reason.
        #[cbor(n(2), with = "apart_text")]
        reason: CompactString,
    },
    /// Units of a return arrived.
    #[n(31)]
    ReturnReceived {
        /// Number of the return within the order.
        #[n(0)]
        number: u16,
        /// The request that caused it.
        #[n(1)]
        request: Request,
        /// The arrived units by line.
        #[n(2)]
        receipts: Vec<Receipt>,
        /// By how much the sum due falls, in minor units.
        #[n(3)]
        amount: i64,
    },
    /// Destination, shipping, metadata or personal data was changed.
    #[n(32)]
    Amended(#[n(0)] Box<Amended>),
    /// The personal data was erased.
    #[n(33)]
    PersonalErased,
    /// A 5xx came: the key is not sent again, and the call is cancelled by its reference until its outcome is known (rules M7, M10).
    #[n(37)]
    GivenUp {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
    },
    /// A success was none: the provider took it back (rule M13).
    #[n(38)]
    Reversed {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// The provider's reason.
        #[cbor(n(1), with = "text")]
        code: CompactString,
    },
    /// A shipment was recorded by mistake: its units are to ship again.
    #[n(35)]
    ShipmentUndone {
        /// Number of the shipment within the order.
        #[n(0)]
        shipment: u16,
        /// The request that caused it.
        #[n(1)]
        request: Request,
    },
    /// Units are to be sent in place of those of a lost shipment.
    #[n(36)]
    ResendStarted {
        /// Number of the shipment within the order.
        #[n(0)]
        shipment: u16,
        /// The request that caused it.
        #[n(1)]
        request: Request,
    },
    /// The seller does without what is still due: nothing more is taken, and the rest of the authorization is voided.
    #[n(39)]
    Waived {
        /// Number of the payment within the order.
        #[n(0)]
        payment: u16,
        /// By how much the sum due falls, in minor units.
        #[n(1)]
        amount: i64,
        /// The request that caused it.
        #[n(2)]
        request: Request,
    },
    /// A claim that is not of stock was granted.
    #[n(41)]
    Granted {
        /// The number of the claim within the order.
        #[n(0)]
        claim: ClaimId,
        /// Number of the counter's event that granted it (rule R1).
        #[n(1)]
        number: u64,
    },
    /// A change of the order claims what it needs before it takes effect.
    #[n(42)]
    EditBegun(#[n(0)] Box<Edit>),
    /// The claims of a change are granted and it has taken effect, or one was refused and nothing has changed.
    #[n(43)]
    EditEnded {
        /// The claim that was refused; `None`: it has taken effect, and what it replaces is released.
        #[n(0)]
        refused: Option<ClaimId>,
    },
    /// The provider's record of a call has another amount or currency than the call: it is never a success (rule M6).
    #[n(34)]
    AmountDiffers {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// The amount in the provider's record.
        #[n(1)]
        found: Money,
        /// Of money that was set aside or taken: the provider's own reference of it.
        #[cbor(n(2), with = "text")]
        charge: Option<CompactString>,
        /// What undoes the charge: a void or a refund.
        #[n(3)]
        undo: Option<Operation>,
    },
}

/// The data of a placed order. Its unchanging part is shared with the state and not copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Placed {
    /// The order's id.
    #[n(0)]
    pub order: OrderId,
    /// What it was placed with: request, source, terms.
    #[cbor(n(1), with = "shared")]
    pub head: Arc<Head>,
    /// The order's deadline (rule R4).
    #[n(2)]
    pub expires_at: Timestamp,
    /// Its personal data, stored apart; `None` once it is erased.
    #[serde(skip)]
    #[cbor(n(3), with = "apart")]
    pub personal: Option<Arc<Personal>>,
}

/// A cancellation of units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Cancelled {
    /// Number of the cancellation within the order, from 1.
    #[n(0)]
    pub number: u16,
    /// The request; `None`: the product itself cancelled, because it was not paid.
    #[n(1)]
    pub request: Option<Request>,
    /// Units by line, and the warehouses they lie in.
    #[n(2)]
    pub lines: Vec<CancelledLine>,
    /// The reason of the cancellation.
    #[n(3)]
    pub reason: CancelReason,
    /// By how much the sum due falls, in minor units.
    #[n(4)]
    pub amount: i64,
}

/// Cancelled units of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct CancelledLine {
    /// Number of the line, from 1.
    #[n(0)]
    pub line: u16,
    /// Units by the warehouse they lie in.
    #[n(1)]
    pub from: Vec<Allocation>,
}

/// A refund that begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct RefundStarted {
    /// Number of the refund within the order, from 1.
    #[n(0)]
    pub number: u16,
    /// Number of the payment it comes from.
    #[n(1)]
    pub payment: u16,
    /// Minor units of the order's currency.
    #[n(2)]
    pub amount: i64,
    /// The reason of the cancellation or refund.
    #[n(3)]
    pub cause: RefundCause,
    /// The request; `None`: the order itself refunds.
    #[n(4)]
    pub request: Option<Request>,
    /// The units it is for (goodwill), by line.
    #[n(5)]
    pub lines: Vec<LineUnits>,
    /// Whether the units' share of the shipping is refunded too.
    #[n(6)]
    pub shipping: bool,
    /// The seller's own words.
    #[cbor(n(7), with = "apart_text")]
    pub reason: CompactString,
    /// When it was decided.
    #[n(8)]
    pub at: Timestamp,
    /// The seller from whose share it is taken, where it names no lines; `None`: the whole order's, or that of its lines.
    #[cbor(n(9), with = "text")]
    pub seller: Option<CompactString>,
}

/// The cause of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum RefundCause {
    /// Asked for without a return: the sum due falls by it.
    #[n(0)]
    Goodwill,
    /// More was captured than is due: units were cancelled, or came back.
    #[n(1)]
    NotDue,
    /// The order had ended, or another payment pays for it (rule M5).
    #[n(2)]
    Late,
}

/// A shipment that begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct ShipmentStarted {
    /// Number of the shipment within the order, from 1.
    #[n(0)]
    pub number: u16,
    /// The request that caused it.
    #[n(1)]
    pub request: Request,
    /// Units by line.
    #[n(2)]
    pub lines: Vec<LineUnits>,
    /// The warehouse it left.
    #[n(3)]
    pub warehouse: WarehouseId,
    /// The carrier's name.
    #[cbor(n(4), with = "text")]
    pub carrier: Option<CompactString>,
    /// The carrier's number of the parcel.
    #[cbor(n(5), with = "apart_text")]
    pub tracking_number: Option<CompactString>,
    /// Page that shows where the parcel is.
    #[cbor(n(6), with = "apart_text")]
    pub tracking_url: Option<CompactString>,
    /// When the carrier took it.
    #[n(7)]
    pub at: Timestamp,
}
