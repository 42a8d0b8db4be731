//! What is known of units on their way: shipments out, returns back.

use super::{Condition, LineNumber, ShipmentStarted};
use crate::inventory::{Allocation, Units};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

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
