//! Commands, replies and refusals of a SKU's stock.

use crate::claims::Says;
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{OrderId, ProductId, Request, ReservationId, Sku, WarehouseId};
use crate::money::{Currency, Money};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::decide_external::ExternalEnd;
use super::external::{Decider, ExternalAnswer, ExternalRequest, ExternalStatus, Requester};
use super::levels::Levels;

/// A number of units of one SKU.
pub type Units = u32;

/// A product's offer of its SKU. The product sends it; the newest version wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Offer {
    /// The SKU: its stock learns its own id here, for the question of rule R3.
    #[n(0)]
    pub sku: Sku,
    /// The product it is a variant of.
    #[n(1)]
    pub product: ProductId,
    /// The product's version of this offer; an older one changes nothing.
    #[n(2)]
    pub version: u64,
    /// The seller's account.
    #[cbor(n(3), with = "text")]
    pub seller: CompactString,
    /// The title on order lines: the product's title and the SKU's options.
    #[cbor(n(4), with = "text")]
    pub title: CompactString,
    /// May it be sold (SKU and product are active)?
    #[n(5)]
    pub on_sale: bool,
    /// At most one price per currency.
    #[n(6)]
    pub prices: Vec<Price>,
    /// The most units that one order may take; `None`: only the API's limit applies.
    #[n(7)]
    pub max_per_order: Option<Units>,
    /// The seconds for which an order may hold units; `None`: the setting applies.
    #[n(8)]
    pub hold_s: Option<u64>,
    /// Chooses the tax rate, as the seller names it.
    #[cbor(n(9), with = "text")]
    pub tax_class: CompactString,
    /// Weight of one unit in grams; 0 when it is not known.
    #[n(10)]
    pub weight_g: u32,
}

/// A price in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Price {
    /// Price of one unit.
    #[n(0)]
    pub unit: Money,
    /// Earlier price of one unit, only shown.
    #[n(1)]
    pub was: Option<Money>,
    /// Does `unit` include tax?
    #[n(2)]
    pub tax_included: bool,
}

/// Units from one warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Allocation {
    /// The id of the warehouse.
    #[n(0)]
    pub warehouse: WarehouseId,
    /// Units taken from it, at least 1.
    #[n(1)]
    pub units: Units,
}

/// The reason of a stock correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum AdjustmentReason {
    /// Units cannot be sold any more.
    #[n(0)]
    Damaged,
    /// Units are missing.
    #[n(1)]
    Lost,
    /// Units were found that the books did not know.
    #[n(2)]
    Found,
    /// The books were wrong.
    #[n(3)]
    Correction,
    /// Units came back that belong to no known order.
    #[n(4)]
    ReturnUnmatched,
    /// None of the others.
    #[n(5)]
    Other,
}

/// The key of units that come back (rule R2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum ReturnKey {
    /// A receipt of an order's return.
    #[n(0)]
    Return {
        /// The return's number within the order.
        #[n(0)]
        number: u16,
        /// The receipt's number within the return.
        #[n(1)]
        receipt: u16,
    },
    /// A cancellation of units that had not shipped.
    #[n(1)]
    Cancel {
        /// The cancellation's number within the order.
        #[n(0)]
        number: u16,
    },
}

/// The key of a movement of sold units, which takes effect once (rule R2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum MoveKey {
    /// A shipment of the order.
    #[n(0)]
    Ship {
        /// The shipment's number within the order.
        #[n(0)]
        shipment: u16,
    },
    /// Units that came back, or whose sale was cancelled.
    #[n(1)]
    Return(#[n(0)] ReturnKey),
    /// A shipment that was taken back: its units are to ship again.
    #[n(2)]
    Unship {
        /// The shipment's number within the order.
        #[n(0)]
        shipment: u16,
    },
}

/// A holder whose units pass to an order: a buyer holds them already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// The reservation that holds them.
    pub id: ReservationId,
    /// Number of the SKU's event that made it (rule R1).
    pub number: u64,
}

/// A command to a SKU's stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have passed.
    Wake,
    /// Reads levels and availability.
    Read,
    /// The product's newest offer of this SKU.
    Offer(Box<Offer>),
    /// Units have arrived, or are announced for `expected_at`.
    Receive {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The id of the warehouse.
        warehouse: WarehouseId,
        /// The number of units.
        units: Units,
        /// The seller's own reference.
        reference: Option<CompactString>,
        /// When announced units are expected; `None`: they have arrived.
        expected_at: Option<Timestamp>,
    },
    /// Stock was corrected.
    Adjust {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The id of the warehouse.
        warehouse: WarehouseId,
        /// The change of the number of units.
        delta: i64,
        /// The seller's reason.
        reason: AdjustmentReason,
        /// What the seller wrote down.
        note: Option<CompactString>,
    },
    /// A stocktake in a warehouse.
    Count {
        /// The caller's request, which takes effect once.
        request: Request,
        /// The id of the warehouse.
        warehouse: WarehouseId,
        /// Units found in the building.
        counted: Units,
        /// The number in the building that the caller expects; another number is refused.
        expected_in_building: Option<u64>,
    },
    /// Reserves units for an order; a repetition by the same order returns the same answer (rule R1).
    Reserve {
        /// The id of the order.
        order: OrderId,
        /// The number of units; all or none are reserved.
        units: Units,
        /// The order's currency.
        currency: Currency,
        /// The price that the caller expects; another price is refused.
        expected_unit_price: Option<Money>,
        /// Warehouses by preference; others come last.
        ranking: Vec<WarehouseId>,
        /// The order's deadline. Only the order decides; the SKU asks it some time after the deadline (rule R3).
        expires_at: Timestamp,
        /// What its buyer holds of the SKU already, and what passes to the order in the same decision (rule C3); `None`: nothing.
        instead_of: Option<Predecessor>,
    },
    /// Sells the reserved units.
    Commit {
        /// The id of the order.
        order: OrderId,
        /// The number in `Reserved` (rule R1).
        reservation: u64,
    },
    /// Releases the reserved units.
    Release {
        /// The id of the order.
        order: OrderId,
        /// The number in `Reserved` (rule R1).
        reservation: u64,
    },
    /// The order has journaled the end of the reservation, so the SKU may forget it.
    Forget {
        /// The id of the order.
        order: OrderId,
        /// The number in `Reserved` (rule R1).
        reservation: u64,
    },
    /// Sold units leave the warehouse.
    Ship {
        /// The id of the order.
        order: OrderId,
        /// The shipment's number within the order.
        shipment: u16,
        /// The units by warehouse.
        allocations: Vec<Allocation>,
    },
    /// The units of a shipment are to ship again: it never left, or it is lost.
    Unship {
        /// The id of the order.
        order: OrderId,
        /// The shipment's number within the order.
        shipment: u16,
        /// The units by warehouse.
        allocations: Vec<Allocation>,
        /// Whether they are lost: then as many are taken from those that are available.
        lost: bool,
    },
    /// Sold units come back: cancelled before they shipped, or returned.
    Return {
        /// The id of the order.
        order: OrderId,
        /// The key of the movement, which takes effect once.
        key: ReturnKey,
        /// The units by warehouse.
        allocations: Vec<Allocation>,
        /// Whether they go back on sale; otherwise they are written off.
        restock: bool,
    },
    /// The order has journaled the answers to these movements. Their keys are forgotten once no copy of the command can be in flight
    /// any more (rule R2, [`super::MOVE_MEMORY_S`]).
    ForgetMoves {
        /// The id of the order.
        order: OrderId,
        /// The keys; unknown ones are ignored.
        moves: Vec<MoveKey>,
    },
    /// The order's answer to the question of rule R3. Only `answered` makes it.
    Answer {
        /// The id of the order.
        order: OrderId,
        /// The number of the reservation.
        reservation: u64,
        /// The order's answer.
        says: Says,
    },
    /// Reserves units under references of a caller; each request is answered separately. At most
    /// [`super::EXTERNAL_PER_DECISION_MAX`] of them.
    ReserveExternal {
        /// The entity that decides when they end.
        decider: Decider,
        /// Warehouses by preference; others come last.
        ranking: Vec<WarehouseId>,
        /// The requested reservations.
        requests: Vec<ExternalRequest>,
        /// Only if the SKU is this seller's (rule P4); `None`: the platform reserves, or the caller itself was asked who it is.
        seller: Option<CompactString>,
    },
    /// Reads an external reservation.
    ReadExternal {
        /// The reservation's id.
        id: ReservationId,
        /// The requester of the command.
        requester: Requester,
    },
    /// Commits or releases an external reservation.
    EndExternal {
        /// The reservation's id.
        id: ReservationId,
        /// The requester of the command.
        requester: Requester,
        /// Whether it is committed or released.
        end: ExternalEnd,
    },
    /// Extends an external reservation.
    ExtendExternal {
        /// The reservation's id.
        id: ReservationId,
        /// The requester of the command.
        requester: Requester,
        /// The caller's request, which takes effect once.
        request: Request,
        /// The earliest new deadline.
        expires_at: Timestamp,
    },
    /// Lists a caller's external reservations, newest first.
    ListExternal {
        /// The caller whose reservations are listed.
        owner: CompactString,
        /// Only reservations with this status; `None`: all.
        status: Option<ExternalStatus>,
        /// Only reservations made before the event with this number.
        before: Option<u64>,
        /// The most reservations in the answer.
        limit: u32,
    },
    /// The answer of a reservation of several lines to the question of rule R3. Only `answered` makes it.
    AnswerExternal {
        /// The reservation's id.
        id: ReservationId,
        /// The order's answer.
        says: Says,
    },
    /// A warehouse is or is not active; units in one that is not are not for sale. The warehouse sends it; the newest version wins.
    SetWarehouse {
        /// The id of the warehouse.
        warehouse: WarehouseId,
        /// Are its units for sale?
        active: bool,
        /// The warehouse's version; an older one changes nothing.
        version: u64,
    },
}

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The answer to `Read`: all levels. To `Receive`, `Adjust`, `Count`: only the changed level, without the offer.
    Levels(Box<Levels>),
    /// The answer to `Reserve`.
    Reserved(Box<Reserved>),
    /// The command took effect, now or before: `Offer`, `Commit`, `Release`, `Forget`, `Ship`, `Return`, `ForgetMoves`, `Answer`, `SetWarehouse`.
    Done,
    /// `Commit`, `Release`, `Forget` or an answer named an unknown reservation: nothing changed (rule R1).
    Unknown,
    /// The answer to `ExternalReservation`: one result for each request, in order.
    ReservedExternal(Vec<Result<Box<ExternalAnswer>, Refusal>>),
    /// The answer to `ReadExternal`, `EndExternal`, `ExtendExternal`.
    External(Box<ExternalAnswer>),
    /// The answer to `ListExternal`.
    ExternalList {
        /// The reservations, newest first.
        found: Vec<ExternalAnswer>,
        /// More reservations may exist before the event with this number; `None`: none do.
        next: Option<u64>,
    },
}

/// An order's reservation as the order needs it: the units by warehouse and the agreed terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Reserved {
    /// The reservation's number, which is the SKU's own event number (rule R1).
    #[n(0)]
    pub reservation: u64,
    /// Units by the warehouse they are taken from.
    #[n(1)]
    pub allocations: Vec<Allocation>,
    /// Price of one unit at that moment.
    #[n(2)]
    pub price: Price,
    /// The title at the time of the reservation.
    #[cbor(n(3), with = "text")]
    pub title: CompactString,
    /// The seller's account.
    #[cbor(n(4), with = "text")]
    pub seller: CompactString,
    /// Chooses the tax rate, as the seller names it.
    #[cbor(n(5), with = "text")]
    pub tax_class: CompactString,
    /// The seconds for which an order may hold units of this SKU, from its placement; `None`: the order's own time applies.
    #[n(6)]
    pub hold_s: Option<u64>,
}

/// A refusal of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The SKU is unknown: it has no stock and no offer.
    Unknown,
    /// The SKU is not on sale.
    NotOnSale,
    /// Fewer units are available than requested. `all_reserved`: reserved units may become available again.
    SoldOut {
        /// The requested number of units.
        wanted: Units,
        /// The number of available units.
        available: u64,
        /// Whether units are reserved, which may become available again.
        all_reserved: bool,
    },
    /// The price is another than the expected one.
    PriceChanged {
        /// The amount that the caller expected.
        expected: Money,
        /// The current amount.
        now: Money,
    },
    /// The SKU has no price in the order's currency.
    NoPrice {
        /// The order's currency.
        currency: Currency,
    },
    /// More units are requested than one order may take.
    LimitExceeded {
        /// The most units that one order may take.
        limit: Units,
        /// The requested number of units.
        wanted: Units,
    },
    /// The same order or reference has a reservation with other terms.
    OtherTerms,
    /// The same request had another body.
    RequestReused,
    /// An adjustment or count would leave fewer units than are reserved.
    UnitsReserved {
        /// Some of the orders with reserved units.
        orders: Vec<OrderId>,
        /// Some of the external reservations with reserved units.
        reservations: Vec<ReservationId>,
    },
    /// The count expected another number of units.
    Stale {
        /// The number of units in the building by the stock.
        in_building: u64,
    },
    /// The reservation has ended otherwise: a released one cannot be committed or reserved again, a sold one cannot be released (that is a
    /// `Return`). Also a `Reserve` whose deadline has passed: nothing is reserved.
    Ended,
    /// `Forget` of a reservation that is still live.
    NotEnded,
    /// The SKU belongs to another product.
    OtherProduct {
        /// The seller's account.
        product: ProductId,
    },
    /// The warehouse has too many announced receipts.
    TooManyAnnounced {
        /// The largest number allowed.
        limit: usize,
    },
    /// More units than there are to ship or to return.
    NotThatMany,
    /// A number exceeds the largest count.
    Overflow,
    /// The external reservation has ended otherwise.
    ExternalEnded {
        /// How it ended.
        status: ExternalStatus,
    },
}
