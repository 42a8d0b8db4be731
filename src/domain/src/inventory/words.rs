//! The words spoken with a SKU's stock: what is asked, what is answered, what is refused.

use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{OrderId, ProductId, Request, ReservationId, Sku, WarehouseId};
use crate::money::{Currency, Money};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::decide_promise::PromiseEnd;
use super::levels::Levels;
use super::promises::{Keeper, Party, PromiseStatus, PromiseWish, Promised};

/// How many units: of stock, of a line, of a reservation.
pub type Units = u32;

/// What a product says of its SKU; pushed by the product, newest version wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Offer {
    /// The SKU: its stock learns its own id here, for the question of rule R3.
    #[n(0)]
    pub sku: Sku,
    /// The product it is a variant of.
    #[n(1)]
    pub product: ProductId,
    /// The product's version this offer comes from: an older one changes nothing.
    #[n(2)]
    pub version: u64,
    /// The seller's account.
    #[cbor(n(3), with = "text")]
    pub seller: CompactString,
    /// Shown on order lines: the product's title and the options.
    #[cbor(n(4), with = "text")]
    pub title: CompactString,
    /// May it be sold (SKU and product are active)?
    #[n(5)]
    pub on_sale: bool,
    /// At most one price per currency.
    #[n(6)]
    pub prices: Vec<Price>,
    /// Units one order may take; `None`: no limit but the API's.
    #[n(7)]
    pub max_per_order: Option<Units>,
    /// Seconds an order may hold units; `None`: the setting.
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

/// Units taken from one warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Allocation {
    /// The warehouse.
    #[n(0)]
    pub warehouse: WarehouseId,
    /// Units taken from it, at least 1.
    #[n(1)]
    pub units: Units,
}

/// Why stock was corrected.
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
    /// Came back without an order it belongs to.
    #[n(4)]
    ReturnUnmatched,
    /// None of the others.
    #[n(5)]
    Other,
}

/// What brought units back (rule R2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum ReturnKey {
    /// The receipt-th receipt of the order's return of that number.
    #[n(0)]
    Return {
        /// The return's number within the order.
        #[n(0)]
        number: u16,
        /// The receipt's number within the return.
        #[n(1)]
        receipt: u16,
    },
    /// The order's cancellation of that number: the units had not shipped.
    #[n(1)]
    Cancel {
        /// The cancellation's number within the order.
        #[n(0)]
        number: u16,
    },
}

/// A movement of sold units, once only (rule R2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum MoveKey {
    /// The order's shipment of that number.
    #[n(0)]
    Ship {
        /// The shipment's number within the order.
        #[n(0)]
        shipment: u16,
    },
    /// Units that came back, or whose sale was cancelled.
    #[n(1)]
    Return(#[n(0)] ReturnKey),
}

/// What an order answers to the question of rule R3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderSays {
    /// Keep holding; ask again then.
    Keep {
        /// Ask again then.
        until: Timestamp,
    },
    /// The order ended, never was, or knows no such reservation: let go, and forget at once, for nobody will say `Forget`.
    Release,
    /// Sold.
    Taken,
}

/// What is asked of a SKU's stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have come.
    Wake,
    /// Levels and availability, nothing else.
    Read,
    /// The product's newest word on this SKU.
    Offer(Box<Offer>),
    /// Units have arrived, or are announced for `expected_at`.
    Receive {
        /// Once only.
        request: Request,
        /// Here.
        warehouse: WarehouseId,
        /// So many.
        units: Units,
        /// The seller's own reference.
        reference: Option<CompactString>,
        /// Announced for then; not there yet.
        expected_at: Option<Timestamp>,
    },
    /// Stock was corrected.
    Adjust {
        /// Once only.
        request: Request,
        /// Here.
        warehouse: WarehouseId,
        /// By so many.
        delta: i64,
        /// Because.
        reason: AdjustmentReason,
    },
    /// A stocktake.
    Count {
        /// Once only.
        request: Request,
        /// Here.
        warehouse: WarehouseId,
        /// Units found in the building.
        counted: Units,
        /// Only if the books said this before.
        expected_in_building: Option<u64>,
    },
    /// Promise units to an order; the same order again gives the same answer (rule R1).
    Reserve {
        /// For this order.
        order: OrderId,
        /// All or none.
        units: Units,
        /// The order's currency.
        currency: Currency,
        /// Refuse when the price is another.
        expected_unit_price: Option<Money>,
        /// Warehouses by preference; one that is not named comes last.
        ranking: Vec<WarehouseId>,
        /// When the order means to decide (rule R3: the order alone decides; we ask it some time after).
        expires_at: Timestamp,
    },
    /// The promised units are sold.
    Commit {
        /// To this order.
        order: OrderId,
        /// The number `Reserved` carried.
        reservation: u64,
    },
    /// The promised units are free again.
    Release {
        /// Of this order.
        order: OrderId,
        /// The number `Reserved` carried.
        reservation: u64,
    },
    /// The order has journaled how the reservation ended; the memory of it may go.
    Forget {
        /// Of this order.
        order: OrderId,
        /// The number `Reserved` carried.
        reservation: u64,
    },
    /// Sold units leave the building.
    Ship {
        /// Of this order.
        order: OrderId,
        /// Shipment number within the order.
        shipment: u16,
        /// From where.
        allocations: Vec<Allocation>,
    },
    /// Sold units are unsold: cancelled before they shipped, or returned.
    Return {
        /// Of this order.
        order: OrderId,
        /// What brought them back; once only.
        key: ReturnKey,
        /// To where they came from.
        allocations: Vec<Allocation>,
        /// Do they go back on sale? If not they are written off.
        restock: bool,
    },
    /// The order has journaled the answers to these movements: their keys may go, once no copy of the command can be under way
    /// any more (rule R2, [`super::MOVE_MEMORY_S`]).
    ForgetMoves {
        /// Of this order.
        order: OrderId,
        /// These; unknown ones are none the worse.
        moves: Vec<MoveKey>,
    },
    /// The order's answer to the question of rule R3; made by `answered`, never sent by others.
    Answer {
        /// The order that was asked.
        order: OrderId,
        /// About this reservation.
        reservation: u64,
        /// It said.
        says: OrderSays,
    },
    /// Promise units under references of a caller's own; each wish is answered on its own. At most
    /// [`super::PROMISES_PER_DECISION_MAX`] of them.
    Promise {
        /// Who decides when they end.
        keeper: Keeper,
        /// Warehouses by preference; one that is not named comes last.
        ranking: Vec<WarehouseId>,
        /// What is wished.
        wishes: Vec<PromiseWish>,
    },
    /// One promise, as it is.
    ReadPromise {
        /// This one.
        id: ReservationId,
        /// Who asks.
        party: Party,
    },
    /// A promise is sold, or no longer wanted.
    EndPromise {
        /// This one.
        id: ReservationId,
        /// Who asks.
        party: Party,
        /// Which of the two.
        end: PromiseEnd,
    },
    /// A promise is to last longer.
    ExtendPromise {
        /// This one.
        id: ReservationId,
        /// Who asks.
        party: Party,
        /// Once only.
        request: Request,
        /// Until then at least.
        expires_at: Timestamp,
    },
    /// A caller's promises, newest first.
    ListPromises {
        /// Whose.
        owner: CompactString,
        /// Only those.
        status: Option<PromiseStatus>,
        /// Only those made before the event of this number.
        before: Option<u64>,
        /// So many.
        limit: u32,
    },
    /// The reservation's answer to the question of rule R3; made by `answered`, never sent by others.
    AnswerPromise {
        /// The reservation that was asked.
        id: ReservationId,
        /// It said.
        says: OrderSays,
    },
}

/// The answer to what was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To `Read`: everything. To `Receive`, `Adjust`, `Count`: no offer, and only the level that was touched, as it was then.
    Levels(Box<Levels>),
    /// To `Reserve`.
    Reserved(Box<Reserved>),
    /// Done, or had been done already: `Offer`, `Commit`, `Release`, `Forget`, `Ship`, `Return`, `ForgetMoves`, `Answer`.
    Done,
    /// `Commit`, `Release`, `Forget` or a question named a reservation that is unknown: nothing changed (rule R1).
    Unknown,
    /// To `Promise`: each wish in its turn.
    Promises(Vec<Result<Box<Promised>, Refusal>>),
    /// To `ReadPromise`, `EndPromise`, `ExtendPromise`.
    Promise(Box<Promised>),
    /// To `ListPromises`.
    PromiseList {
        /// Newest first.
        found: Vec<Promised>,
        /// There may be more before the event of this number.
        next: Option<u64>,
    },
}

/// What an order needs to know of the units it holds: where they are and what was agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Reserved {
    /// The SKU's own event number (rule R1).
    #[n(0)]
    pub reservation: u64,
    /// Units by the warehouse they are taken from.
    #[n(1)]
    pub allocations: Vec<Allocation>,
    /// Price of one unit at that moment.
    #[n(2)]
    pub price: Price,
    /// Title, seller, tax class at that moment.
    #[cbor(n(3), with = "text")]
    pub title: CompactString,
    /// The seller's account.
    #[cbor(n(4), with = "text")]
    pub seller: CompactString,
    /// Chooses the tax rate, as the seller names it.
    #[cbor(n(5), with = "text")]
    pub tax_class: CompactString,
}

/// A lawful "no".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such SKU: nothing was ever received and no product speaks of it.
    Unknown,
    /// Not on sale.
    NotOnSale,
    /// Not enough. `all_reserved`: all units are in someone's checkout, some may come back.
    SoldOut {
        /// Asked for.
        wanted: Units,
        /// There were.
        available: u64,
        /// Are there units in someone's checkout?
        all_reserved: bool,
    },
    /// Another price than expected.
    PriceChanged {
        /// The caller's.
        expected: Money,
        /// Ours.
        now: Money,
    },
    /// No price in the order's currency.
    NoPrice {
        /// The order's.
        currency: Currency,
    },
    /// More than one order may take.
    LimitExceeded {
        /// At most.
        limit: Units,
        /// Asked for.
        wanted: Units,
    },
    /// The same order asks again for something else.
    OtherTerms,
    /// The same request again with another body.
    RequestReused,
    /// An adjustment or count below what is promised.
    Promised {
        /// Orders in the way, the first few.
        orders: Vec<OrderId>,
        /// Reservations in the way, the first few.
        reservations: Vec<ReservationId>,
    },
    /// A count that expected other books.
    Stale {
        /// What the books say.
        in_building: u64,
    },
    /// The reservation ended otherwise: a released one cannot be committed or had again, a sold one cannot be released (that is a
    /// `Return`). Also a `Reserve` whose deadline has passed: nothing is held.
    Ended,
    /// `Forget` of units that are still held.
    NotEnded,
    /// The SKU is a variant of another product.
    OtherProduct {
        /// Whose it is.
        product: ProductId,
    },
    /// Too many announced receipts wait for one warehouse.
    TooManyAnnounced {
        /// At most.
        limit: usize,
    },
    /// More than there was to ship or to return.
    NotThatMany,
    /// A total beyond what can be counted.
    Overflow,
    /// The promise ended otherwise.
    PromiseEnded {
        /// So.
        status: PromiseStatus,
    },
}
