//! What happened to a SKU's stock. Each event holds all times it needs: a deadline is moved only by a later one (rule R4).

use super::promises::Keeper;
use super::words::{AdjustmentReason, Allocation, MoveKey, Offer, ReturnKey, Units};
use crate::ids::{OrderId, Request, ReservationId, WarehouseId};
use crate::money::Currency;
use crate::time::Timestamp;
use compact_str::CompactString;

/// A request of the seller's: had once, remembered for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Which, and for what.
    pub request: Request,
    /// When it was decided.
    pub at: Timestamp,
    /// Remembered until then; what is older than `at` in its chunk goes now.
    pub until: Timestamp,
}

/// What happened to a SKU's stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The product's newest word on the SKU.
    Offered(Box<Offer>),
    /// Units arrived; an announced receipt of the same reference is served by it.
    Received {
        /// By this request.
        asked: Asked,
        /// Here.
        warehouse: WarehouseId,
        /// So many.
        units: Units,
        /// The seller's own reference.
        reference: Option<CompactString>,
    },
    /// Units are announced.
    Announced {
        /// By this request.
        asked: Asked,
        /// Here.
        warehouse: WarehouseId,
        /// So many.
        units: Units,
        /// For then.
        expected_at: Timestamp,
        /// The seller's own reference.
        reference: Option<CompactString>,
    },
    /// Stock was corrected.
    Adjusted {
        /// By this request.
        asked: Asked,
        /// Here.
        warehouse: WarehouseId,
        /// By so many.
        delta: i64,
        /// Because.
        reason: AdjustmentReason,
    },
    /// A stocktake.
    Counted {
        /// By this request.
        asked: Asked,
        /// Here.
        warehouse: WarehouseId,
        /// Found in the building.
        counted: Units,
        /// What that changed.
        delta: i64,
    },
    /// Units were promised. Price and title are those of the offer that was newest then.
    Reserved {
        /// To this order.
        order: OrderId,
        /// The number of this very event among the SKU's (rule R1).
        reservation: u64,
        /// In this currency.
        currency: Currency,
        /// From where.
        allocations: Vec<Allocation>,
        /// When the order means to decide.
        expires_at: Timestamp,
        /// When the SKU asks it, if it has not (rule R3).
        ask_at: Timestamp,
    },
    /// The order, asked, said: keep.
    Kept {
        /// It.
        order: OrderId,
        /// What it holds.
        reservation: u64,
        /// Asked again then.
        ask_at: Timestamp,
    },
    /// Promised units were sold.
    Committed {
        /// To this order.
        order: OrderId,
        /// The reservation.
        reservation: u64,
    },
    /// Promised units are free again.
    Released {
        /// Of this order.
        order: OrderId,
        /// The reservation.
        reservation: u64,
    },
    /// The memory of an ended reservation went.
    Forgotten {
        /// Of this order.
        order: OrderId,
        /// The reservation.
        reservation: u64,
    },
    /// Sold units left the building.
    Shipped {
        /// Of this order.
        order: OrderId,
        /// Shipment number within the order.
        shipment: u16,
        /// From where.
        allocations: Vec<Allocation>,
    },
    /// Sold units were unsold.
    Returned {
        /// Of this order.
        order: OrderId,
        /// What brought them back.
        key: ReturnKey,
        /// To where.
        allocations: Vec<Allocation>,
        /// Back on sale, or written off?
        restock: bool,
    },
    /// The keys of these movements go after `until`.
    MovesForgotten {
        /// Of this order.
        order: OrderId,
        /// These.
        moves: Vec<MoveKey>,
        /// Decided then; what was to go before that, in the same chunk, goes now.
        at: Timestamp,
        /// They go then.
        until: Timestamp,
    },
    /// Units were promised under a caller's reference. The number of this very event is the promise's.
    Promised {
        /// Its id.
        id: ReservationId,
        /// The caller's own name for it.
        reference: CompactString,
        /// The caller's name for whoever buys.
        buyer_key: Option<CompactString>,
        /// Who decides when it ends.
        keeper: Keeper,
        /// From where.
        allocations: Vec<Allocation>,
        /// For so long, as it was asked.
        hold_s: u64,
        /// When.
        at: Timestamp,
        /// When it ends by itself, or its keeper is asked.
        expires_at: Timestamp,
    },
    /// A promise lasts longer.
    PromiseExtended {
        /// This one.
        id: ReservationId,
        /// By this request.
        request: Request,
        /// When.
        at: Timestamp,
        /// Until then.
        expires_at: Timestamp,
    },
    /// Its reservation, asked, said: keep.
    PromiseKept {
        /// This one.
        id: ReservationId,
        /// Asked again then.
        ask_at: Timestamp,
    },
    /// What was promised is sold.
    PromiseCommitted {
        /// This one.
        id: ReservationId,
        /// When.
        at: Timestamp,
    },
    /// What was promised is free again: the caller wants it no more.
    PromiseReleased {
        /// This one.
        id: ReservationId,
        /// When.
        at: Timestamp,
    },
    /// What was promised is free again: its time was over.
    PromisesExpired {
        /// These.
        ids: Vec<ReservationId>,
        /// When.
        at: Timestamp,
    },
    /// The memory of ended promises went.
    PromisesForgotten {
        /// These.
        ids: Vec<ReservationId>,
    },
}
