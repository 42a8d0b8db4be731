//! Events of a SKU's stock. Each event contains all times it needs: only a later event changes a deadline (rule R4).

use super::command::{AdjustmentReason, Allocation, MoveKey, Offer, ReturnKey, Units};
use super::external::Decider;
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{OrderId, Request, ReservationId, WarehouseId};
use crate::money::Currency;
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::Serialize;

/// A seller's request, which takes effect once and is remembered for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct SellerRequest {
    /// The request's id and the fingerprint of its body.
    #[n(0)]
    pub request: Request,
    /// The time of the decision.
    #[n(1)]
    pub at: Timestamp,
    /// Remembered until then at least; older memories in its chunk go with this event.
    #[n(2)]
    pub until: Timestamp,
}

/// An event of a SKU's stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(flat)]
pub enum Event {
    /// The product pushed a newer price, title or limit.
    #[n(0)]
    Offered(#[n(0)] Box<Offer>),
    /// Units arrived; this fulfils an announced receipt with the same reference.
    #[n(1)]
    Received {
        /// The seller's request.
        #[n(0)]
        asked: SellerRequest,
        /// The id of the warehouse.
        #[n(1)]
        warehouse: WarehouseId,
        /// Units received, at least 1.
        #[n(2)]
        units: Units,
        /// The seller's own name for the delivery.
        #[cbor(n(3), with = "text")]
        reference: Option<CompactString>,
    },
    /// The seller announced a delivery.
    #[n(2)]
    Announced {
        /// The seller's request.
        #[n(0)]
        asked: SellerRequest,
        /// The id of the warehouse.
        #[n(1)]
        warehouse: WarehouseId,
        /// Units announced, at least 1.
        #[n(2)]
        units: Units,
        /// When it is expected to arrive.
        #[n(3)]
        expected_at: Timestamp,
        /// The seller's own name for the delivery.
        #[cbor(n(4), with = "text")]
        reference: Option<CompactString>,
    },
    /// The seller corrected the count on hand.
    #[n(3)]
    Adjusted {
        /// The seller's request.
        #[n(0)]
        asked: SellerRequest,
        /// The id of the warehouse.
        #[n(1)]
        warehouse: WarehouseId,
        /// Change of the count on hand, in units.
        #[n(2)]
        delta: i64,
        /// The seller's reason.
        #[n(3)]
        reason: AdjustmentReason,
        /// What the seller wrote down.
        #[cbor(n(4), with = "text")]
        note: Option<CompactString>,
    },
    /// A stocktake corrected the stock.
    #[n(4)]
    Counted {
        /// The seller's request.
        #[n(0)]
        asked: SellerRequest,
        /// The id of the warehouse.
        #[n(1)]
        warehouse: WarehouseId,
        /// Units found in the building, sold ones that have not shipped included.
        #[n(2)]
        counted: Units,
        /// Change of the count on hand, in units.
        #[n(3)]
        delta: i64,
    },
    /// Units were reserved for an order. Price and title are those of the offer that was newest then.
    #[n(5)]
    Reserved {
        /// The order they are reserved for.
        #[n(0)]
        order: OrderId,
        /// The number of the reservation: that of its `Reserved` event (rule R1).
        #[n(1)]
        reservation: u64,
        /// The currency of the order.
        #[n(2)]
        currency: Currency,
        /// Units by the warehouse they are taken from.
        #[n(3)]
        allocations: Vec<Allocation>,
        /// The order's deadline.
        #[n(4)]
        expires_at: Timestamp,
        /// When the SKU asks the order, if it has not decided (rule R3).
        #[n(5)]
        ask_at: Timestamp,
    },
    /// The order, asked (rule R3), still needs its reservation.
    #[n(6)]
    Kept {
        /// The id of the order.
        #[n(0)]
        order: OrderId,
        /// The number of the reservation: that of its `Reserved` event (rule R1).
        #[n(1)]
        reservation: u64,
        /// When it is asked again.
        #[n(2)]
        ask_at: Timestamp,
    },
    /// An order's reservation was sold.
    #[n(7)]
    Committed {
        /// The id of the order.
        #[n(0)]
        order: OrderId,
        /// The number of the reservation: that of its `Reserved` event (rule R1).
        #[n(1)]
        reservation: u64,
    },
    /// An order's reservation was released: its units are available again.
    #[n(8)]
    Released {
        /// The id of the order.
        #[n(0)]
        order: OrderId,
        /// The number of the reservation: that of its `Reserved` event (rule R1).
        #[n(1)]
        reservation: u64,
    },
    /// An ended reservation of an order is no longer remembered.
    #[n(9)]
    Forgotten {
        /// The id of the order.
        #[n(0)]
        order: OrderId,
        /// The number of the reservation: that of its `Reserved` event (rule R1).
        #[n(1)]
        reservation: u64,
    },
    /// Sold units left the warehouse.
    #[n(10)]
    Shipped {
        /// The id of the order.
        #[n(0)]
        order: OrderId,
        /// The shipment's number within the order.
        #[n(1)]
        shipment: u16,
        /// Units by warehouse.
        #[n(2)]
        allocations: Vec<Allocation>,
    },
    /// Sold units came back, or their sale was cancelled before they shipped.
    #[n(11)]
    Returned {
        /// The id of the order.
        #[n(0)]
        order: OrderId,
        /// The return or cancellation that did it: once each (rule R2).
        #[n(1)]
        key: ReturnKey,
        /// Units by the warehouse they go back to.
        #[n(2)]
        allocations: Vec<Allocation>,
        /// `true`: available again; `false`: written off.
        #[n(3)]
        restock: bool,
    },
    /// The keys of these movements are forgotten after `until`.
    #[n(12)]
    MovesForgotten {
        /// The order that said it needs them no more.
        #[n(0)]
        order: OrderId,
        /// Keys of the movements that may be forgotten.
        #[n(1)]
        moves: Vec<MoveKey>,
        /// The time of the decision.
        #[n(2)]
        at: Timestamp,
        /// Remembered until then (rule R2).
        #[n(3)]
        until: Timestamp,
    },
    /// Units were reserved under a caller's reference (an external reservation). Its number is that of this event.
    #[n(13)]
    #[serde(rename = "Promised")]
    ExternalReserved {
        /// Made of caller and reference.
        #[n(0)]
        id: ReservationId,
        /// The caller's reference.
        #[cbor(n(1), with = "text")]
        reference: CompactString,
        /// The caller's name for the buyer.
        #[cbor(n(2), with = "text")]
        buyer_key: Option<CompactString>,
        /// What decides when it ends.
        #[n(3)]
        #[serde(rename = "keeper")]
        decider: Decider,
        /// Units by the warehouse they are taken from.
        #[n(4)]
        allocations: Vec<Allocation>,
        /// Seconds from the request to the deadline, as they were asked for.
        #[n(5)]
        hold_s: u64,
        /// The time of the decision.
        #[n(6)]
        at: Timestamp,
        /// When it expires by itself; of one that is a line of a reservation: when that is asked.
        #[n(7)]
        expires_at: Timestamp,
    },
    /// An external reservation expires later.
    #[n(14)]
    #[serde(rename = "PromiseExtended")]
    ExternalExtended {
        /// The external reservation.
        #[n(0)]
        id: ReservationId,
        /// The request that extended it.
        #[n(1)]
        request: Request,
        /// The time of the decision.
        #[n(2)]
        at: Timestamp,
        /// The new deadline; never an earlier one.
        #[n(3)]
        expires_at: Timestamp,
    },
    /// The reservation that it is a line of, asked (rule R3), still needs it.
    #[n(15)]
    #[serde(rename = "PromiseKept")]
    ExternalKept {
        /// The external reservation.
        #[n(0)]
        id: ReservationId,
        /// When it is asked again.
        #[n(1)]
        ask_at: Timestamp,
    },
    /// An external reservation was sold.
    #[n(16)]
    #[serde(rename = "PromiseCommitted")]
    ExternalCommitted {
        /// The external reservation.
        #[n(0)]
        id: ReservationId,
        /// The time of the decision.
        #[n(1)]
        at: Timestamp,
    },
    /// An external reservation was released by its caller.
    #[n(17)]
    #[serde(rename = "PromiseReleased")]
    ExternalReleased {
        /// The external reservation.
        #[n(0)]
        id: ReservationId,
        /// The time of the decision.
        #[n(1)]
        at: Timestamp,
    },
    /// External reservations reached their deadline.
    #[n(18)]
    #[serde(rename = "PromisesExpired")]
    ExternalExpired {
        /// The external reservations, at most 512.
        #[n(0)]
        ids: Vec<ReservationId>,
        /// The time of the decision.
        #[n(1)]
        at: Timestamp,
    },
    /// Ended external reservations are no longer remembered.
    #[n(19)]
    #[serde(rename = "PromisesForgotten")]
    ExternalForgotten {
        /// The external reservations, at most 512.
        #[n(0)]
        ids: Vec<ReservationId>,
    },
    /// Units of a shipment are to ship again.
    #[n(21)]
    Unshipped {
        /// The id of the order.
        #[n(0)]
        order: OrderId,
        /// The shipment's number within the order.
        #[n(1)]
        shipment: u16,
        /// Units by warehouse.
        #[n(2)]
        allocations: Vec<Allocation>,
        /// `true`: they are lost and written off, and as many were taken from those on hand; `false`: they never left.
        #[n(3)]
        lost: bool,
    },
    /// The units of a committed external reservation left the warehouse.
    #[n(22)]
    ExternalShipped {
        /// The external reservation.
        #[n(0)]
        id: ReservationId,
        /// The time of the decision.
        #[n(1)]
        at: Timestamp,
    },
    /// A warehouse became active, or stopped selling.
    #[n(20)]
    WarehouseSet {
        /// The id of the warehouse.
        #[n(0)]
        warehouse: WarehouseId,
        /// Are its units for sale?
        #[n(1)]
        active: bool,
        /// The warehouse's version.
        #[n(2)]
        version: u64,
    },
}
