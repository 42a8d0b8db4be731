//! Shipments and returns.

use super::{Condition, LineNumber, ShipmentStarted};
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart, apart_text};
use crate::inventory::{Allocation, Units};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// A shipment of the order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Shipment {
    /// What was sent, and how.
    #[n(0)]
    pub started: ShipmentStarted,
    /// How far it got.
    #[n(1)]
    pub status: ShipmentStatus,
    /// When it was delivered.
    #[n(2)]
    pub delivered_at: Option<Timestamp>,
}

/// The status of a shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ShipmentStatus {
    /// With the carrier.
    #[n(0)]
    Shipped,
    /// The parcel has arrived.
    #[n(1)]
    Delivered,
    /// The parcel is lost.
    #[n(2)]
    Lost,
    /// It was recorded by mistake.
    #[n(3)]
    Undone,
    /// The parcel is lost, and the warehouse is asked for other units.
    #[n(4)]
    Resending,
    /// The parcel is lost, and other units are to ship in its place.
    #[n(5)]
    Resent,
}

/// Units of a line in a return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct ReturnLine {
    /// Number of the line, from 1.
    #[n(0)]
    pub line: LineNumber,
    /// Units of it, at least 1.
    #[n(1)]
    pub units: Units,
    /// The shopper's own words.
    #[cbor(n(2), with = "apart_text")]
    pub reason: CompactString,
    /// Number of the refund by which their money, or a part of it, went back ahead; `None`: the line's units that were refunded ahead come first.
    #[n(3)]
    pub refund: Option<u16>,
}

/// A return of units.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Return {
    /// Number of the return within the order, from 1.
    #[n(0)]
    pub number: u16,
    /// Units announced, by line.
    #[n(1)]
    pub lines: Vec<ReturnLine>,
    /// How far it got.
    #[n(2)]
    pub status: ReturnStatus,
    /// Last instant at which it could be asked for.
    #[n(3)]
    pub window_ends_at: Timestamp,
    /// The seller's reason.
    #[cbor(n(4), with = "apart_text")]
    pub rejected_because: Option<CompactString>,
    /// The receipts so far.
    #[n(5)]
    pub receipts: Vec<ReceiptDone>,
    /// The amount by which its receipts reduced the amount due, in minor units.
    #[n(6)]
    pub amount: i64,
    /// What its units were worth and the seller kept, in minor units; `None`: nothing.
    #[n(7)]
    pub kept: Option<i64>,
}

/// Returned units of a line that arrived together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Receipt {
    /// The number of the receipt within the return.
    #[n(0)]
    pub receipt: u16,
    /// Number of the line, from 1.
    #[n(1)]
    pub line: u16,
    /// The number of units that this receipt refunds; units refunded before do not count.
    #[n(2)]
    pub settled: u32,
    /// Units by the warehouse they go back to.
    #[n(3)]
    pub to: Vec<Allocation>,
    /// As it was found.
    #[n(4)]
    pub condition: Condition,
    /// Are they available again?
    #[n(5)]
    pub restock: bool,
    /// What is given back for them, in minor units; `None`: what the refunded units are worth.
    #[n(6)]
    pub money: Option<i64>,
    /// What their return's refund had given back for them ahead, in minor units, where that refund names no units; `None`: nothing.
    #[n(7)]
    pub credited: Option<i64>,
}

/// Returned units of a line that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReceiptDone {
    /// Number of the line, from 1.
    #[n(0)]
    pub line: LineNumber,
    /// Units by the warehouse they go back to.
    #[n(1)]
    pub to: Vec<Allocation>,
    /// As it was found.
    #[n(2)]
    pub condition: Condition,
    /// Are they available again?
    #[n(3)]
    pub restock: bool,
}

/// The status of a return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ReturnStatus {
    /// The shopper asked for it.
    #[n(0)]
    Requested,
    /// The seller approved it.
    #[n(1)]
    Approved,
    /// The seller rejected it.
    #[n(2)]
    Rejected,
    /// A part of it has arrived.
    #[n(3)]
    Received,
    /// All of it has arrived.
    #[n(4)]
    Closed,
}
