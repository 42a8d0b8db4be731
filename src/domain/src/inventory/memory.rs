//! A SKU's memory of reservations, movements and requests, and the chunks of its stored state.

use super::command::{Allocation, Price, Reserved, Units};
use super::levels::Level;
use crate::claims::{ClaimStatus, Grant};
use crate::codec::{self as minicbor, Decode, Encode, Interns, interned, text};
use crate::ids::{OrderId, RequestFingerprint, RequestId};
use crate::time::Timestamp;
use compact_str::CompactString;
use std::sync::Arc;

/// Chunks of the stored state beside the head (rule S4): few enough to be few rows, enough that one changed reservation of
/// 100,000 writes again only some 400.
pub const CHUNKS: u16 = 256;

/// The terms agreed with an order, shared by all reservations under the same offer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Agreed {
    /// Price of one unit.
    #[n(0)]
    pub price: Price,
    /// Title of the order's line.
    #[cbor(n(1), with = "text")]
    pub title: CompactString,
    /// The seller's account.
    #[cbor(n(2), with = "text")]
    pub seller: CompactString,
    /// Chooses the tax rate, as the seller names it.
    #[cbor(n(3), with = "text")]
    pub tax_class: CompactString,
}

/// An order's reservation, live or ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "Interns<Agreed>")]
pub struct Reservation {
    /// Number of the SKU's event that made it (rule R1).
    #[n(0)]
    pub number: u64,
    /// Units by the warehouse they are taken from.
    #[n(1)]
    pub allocations: Vec<Allocation>,
    /// The terms at the time of the reservation.
    #[cbor(n(2), with = "interned")]
    pub agreed: Arc<Agreed>,
    /// The order's deadline, as the order gave it.
    #[n(3)]
    pub expires_at: Timestamp,
    /// When the order is asked whether it still needs it (rule R3).
    #[n(4)]
    pub ask_at: Timestamp,
    /// Held, or how it ended.
    #[n(5)]
    pub status: ClaimStatus,
}

impl Grant for Reservation {
    fn number(&self) -> u64 {
        self.number
    }

    fn status(&self) -> ClaimStatus {
        self.status
    }

    fn ask_at(&self) -> Timestamp {
        self.ask_at
    }

    fn end(&mut self, status: ClaimStatus) {
        self.status = status;
    }

    fn keep(&mut self, ask_at: Timestamp) {
        self.ask_at = ask_at;
        self.expires_at = self.expires_at.max(ask_at);
    }
}

impl Reservation {
    /// The sum of its units.
    #[must_use]
    pub fn units(&self) -> u64 {
        units_of(&self.allocations)
    }

    /// The answer to the order. `hold_s`: the SKU's own hold time; the order takes it from the first answer that arrives.
    pub(super) fn reply(&self, hold_s: Option<u64>) -> Reserved {
        Reserved {
            reservation: self.number,
            allocations: self.allocations.clone(),
            price: self.agreed.price,
            title: self.agreed.title.clone(),
            seller: self.agreed.seller.clone(),
            tax_class: self.agreed.tax_class.clone(),
            hold_s,
        }
    }
}

/// A movement of sold units that was carried out (rule R2).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Move {
    /// The units by warehouse; the same key with other units is refused.
    #[n(0)]
    pub allocations: Vec<Allocation>,
    /// Of a return: were the units available again?
    #[n(1)]
    pub restock: bool,
    /// `None` until the order's `ForgetMoves`; then it goes at the next `ForgetMoves` in its chunk after this instant.
    #[n(2)]
    pub until: Option<Timestamp>,
}

/// A seller's request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Remembered {
    /// Fingerprint of the request's body.
    #[n(0)]
    pub terms: RequestFingerprint,
    /// The earliest end of the memory.
    #[n(1)]
    pub until: Timestamp,
    /// The first answer: the level after it.
    #[n(2)]
    pub level: Level,
    /// The SKU's version in the first answer.
    #[n(3)]
    pub version: u64,
}

/// The units of all allocations.
#[must_use]
pub(super) fn units_of(allocations: &[Allocation]) -> u64 {
    allocations.iter().map(|part| u64::from(part.units)).fold(0, u64::saturating_add)
}

/// Converts to units; allocations of one reservation never exceed the range.
pub(super) fn narrow(units: u64) -> Units {
    Units::try_from(units).unwrap_or(Units::MAX)
}

/// The chunk (1 to [`CHUNKS`]) of an order's or a request's id: its first byte.
///
/// Both ids begin with bits of a SHA-1 sum, so the id is
/// its own hash, and what belongs to a chunk is a range of the ordered map.
#[must_use]
pub fn chunk_of(id: u128) -> u16 {
    u16::try_from(id >> 120).unwrap_or(0).saturating_add(1)
}

/// The smallest and the largest id of a chunk.
pub(super) fn ids_of(chunk: u16) -> (u128, u128) {
    let first = u128::from(chunk.saturating_sub(1)) << 120;
    (first, first | (u128::MAX >> 8))
}

pub(super) fn orders_beside(order: OrderId) -> (OrderId, OrderId) {
    let (first, last) = ids_of(chunk_of(order.0));
    (OrderId(first), OrderId(last))
}

pub(super) fn requests_beside(request: RequestId) -> (RequestId, RequestId) {
    let (first, last) = ids_of(chunk_of(request.0));
    (RequestId(first), RequestId(last))
}
