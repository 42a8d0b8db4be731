//! The steps that an order may owe to other entities, and their effect keys.
//!
//! The numbers are stored with the state, so they are fixed for ever.

use super::LineNumber;
use crate::codec::{self as minicbor, Decode, Encode};
use crate::effect::EffectKey;
use crate::payment::Operation;
use serde::{Deserialize, Serialize};

/// A command that an order owes to another entity, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Step {
    /// The cart freezes and gives its lines.
    #[n(0)]
    Freeze,
    /// A line's SKU reserves the units.
    #[n(1)]
    Reserve(#[n(0)] LineNumber),
    /// A line's SKU releases its reservation.
    #[n(2)]
    Release(#[n(0)] LineNumber),
    /// A line's SKU commits its reservation.
    #[n(3)]
    Commit(#[n(0)] LineNumber),
    /// A line's SKU may forget its reservation: the order has journaled how it ended.
    #[n(4)]
    Forget(#[n(0)] LineNumber),
    /// The cart is opened again.
    #[n(5)]
    Thaw,
    /// The cart is marked as ordered.
    #[n(6)]
    Close,
    /// A SKU hands units of a shipment over.
    #[n(7)]
    Ship {
        /// Number of the shipment within the order.
        #[n(0)]
        shipment: u16,
        /// Number of the line, from 1.
        #[n(1)]
        line: LineNumber,
    },
    /// A SKU takes back units that were sold and did not ship.
    #[n(8)]
    Unsell {
        /// Number of the cancellation within the order.
        #[n(0)]
        cancel: u16,
        /// Number of the line, from 1.
        #[n(1)]
        line: LineNumber,
    },
    /// A SKU takes returned units back.
    #[n(9)]
    Restock {
        /// Number of the return within the order.
        #[n(0)]
        number: u16,
        /// Number of the receipt within the return.
        #[n(1)]
        receipt: u16,
    },
    /// Tells the SKU that the answer to `Ship` is journaled here.
    #[n(10)]
    ForgetShip {
        /// Number of the shipment within the order.
        #[n(0)]
        shipment: u16,
        /// Number of the line, from 1.
        #[n(1)]
        line: LineNumber,
    },
    /// Tells the SKU that the answer to `Unsell` is journaled here.
    #[n(11)]
    ForgetUnsell {
        /// Number of the cancellation within the order.
        #[n(0)]
        cancel: u16,
        /// Number of the line, from 1.
        #[n(1)]
        line: LineNumber,
    },
    /// Tells the SKU that the answer to `Restock` is journaled here.
    #[n(12)]
    ForgetRestock {
        /// Number of the return within the order.
        #[n(0)]
        number: u16,
        /// Number of the receipt within the return.
        #[n(1)]
        receipt: u16,
    },
    /// A SKU takes a shipment's units back, or others in place of lost ones.
    #[n(13)]
    Unship {
        /// Number of the shipment within the order.
        #[n(0)]
        shipment: u16,
        /// Number of the line, from 1.
        #[n(1)]
        line: LineNumber,
    },
    /// Tells the SKU that the answer to `Unship` is journaled here.
    #[n(14)]
    ForgetUnship {
        /// Number of the shipment within the order.
        #[n(0)]
        shipment: u16,
        /// Number of the line, from 1.
        #[n(1)]
        line: LineNumber,
    },
}

/// The first key of calls to the provider: one number per operation for sending, one for querying, one for cancelling.
const CALL: u8 = 32;
const QUERY: u8 = 40;
const CANCEL: u8 = 48;

/// What is asked of the provider about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallMode {
    /// To carry it out.
    Send,
    /// How it stands (rule M2).
    Query,
    /// That it never takes effect, unless it has (rule M10).
    Cancel,
}

const fn key(step: u8, subject: u16, part: u16) -> EffectKey {
    EffectKey { step, subject: subject as u32, part: part as u32 }
}

impl Step {
    /// The key of the step's effect.
    #[must_use]
    pub const fn key(self) -> EffectKey {
        match self {
            Self::Freeze => key(1, 0, 0),
            Self::Reserve(line) => key(2, line, 0),
            Self::Release(line) => key(3, line, 0),
            Self::Commit(line) => key(4, line, 0),
            Self::Forget(line) => key(5, line, 0),
            Self::Thaw => key(6, 0, 0),
            Self::Close => key(7, 0, 0),
            Self::Ship { shipment, line } => key(8, shipment, line),
            Self::Unsell { cancel, line } => key(9, cancel, line),
            Self::Restock { number, receipt } => key(10, number, receipt),
            Self::ForgetShip { shipment, line } => key(11, shipment, line),
            Self::ForgetUnsell { cancel, line } => key(12, cancel, line),
            Self::ForgetRestock { number, receipt } => key(13, number, receipt),
            Self::Unship { shipment, line } => key(14, shipment, line),
            Self::ForgetUnship { shipment, line } => key(15, shipment, line),
        }
    }

    /// The step of an effect key; `None`: the effect is a call to the provider.
    #[must_use]
    pub fn of(key: EffectKey) -> Option<Self> {
        let subject = u16::try_from(key.subject).ok()?;
        let part = u16::try_from(key.part).ok()?;
        Some(match key.step {
            1 => Self::Freeze,
            2 => Self::Reserve(subject),
            3 => Self::Release(subject),
            4 => Self::Commit(subject),
            5 => Self::Forget(subject),
            6 => Self::Thaw,
            7 => Self::Close,
            8 => Self::Ship { shipment: subject, line: part },
            9 => Self::Unsell { cancel: subject, line: part },
            10 => Self::Restock { number: subject, receipt: part },
            11 => Self::ForgetShip { shipment: subject, line: part },
            12 => Self::ForgetUnsell { cancel: subject, line: part },
            13 => Self::ForgetRestock { number: subject, receipt: part },
            14 => Self::Unship { shipment: subject, line: part },
            15 => Self::ForgetUnship { shipment: subject, line: part },
            _ => return None,
        })
    }
}

/// The key of a call to the provider, within its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
pub struct CallKey {
    /// The operation at the provider.
    #[n(0)]
    pub operation: Operation,
    /// Number of the payment within the order.
    #[n(1)]
    pub payment: u16,
    /// Number of the try within payment and operation, from 1.
    #[n(2)]
    pub attempt: u16,
}

impl CallKey {
    /// The only authorization of a payment: another attempt is another payment.
    #[must_use]
    pub const fn authorize(payment: u16) -> Self {
        Self { operation: Operation::Authorize, payment, attempt: 1 }
    }

    const fn number(self) -> u8 {
        match self.operation {
            Operation::Authorize => 0,
            Operation::Capture => 1,
            Operation::Void => 2,
            Operation::Refund => 3,
        }
    }

    /// The key of the effect that sends the call.
    #[must_use]
    pub const fn call(self) -> EffectKey {
        key(CALL.saturating_add(self.number()), self.payment, self.attempt)
    }

    /// The key of the effect that only queries it.
    #[must_use]
    pub const fn query(self) -> EffectKey {
        key(QUERY.saturating_add(self.number()), self.payment, self.attempt)
    }

    /// The key of the effect that cancels it.
    #[must_use]
    pub const fn cancel(self) -> EffectKey {
        key(CANCEL.saturating_add(self.number()), self.payment, self.attempt)
    }

    /// The call of an effect key, and what is asked about it; `None`: the effect is not a call.
    #[must_use]
    pub fn of(key: EffectKey) -> Option<(Self, CallMode)> {
        let (mode, first) = match key.step {
            CANCEL.. => (CallMode::Cancel, CANCEL),
            QUERY.. => (CallMode::Query, QUERY),
            _ => (CallMode::Send, CALL),
        };
        let operation = match key.step.checked_sub(first)? {
            0 => Operation::Authorize,
            1 => Operation::Capture,
            2 => Operation::Void,
            3 => Operation::Refund,
            _ => return None,
        };
        let (payment, attempt) = (u16::try_from(key.subject).ok()?, u16::try_from(key.part).ok()?);
        Some((Self { operation, payment, attempt }, mode))
    }
}

/// An owed step, or an unsettled call to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(flat)]
pub enum Todo {
    /// A step of another entity.
    #[n(0)]
    Step(#[n(0)] Step),
    /// A call to the provider.
    #[n(1)]
    Call(#[n(0)] CallKey),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_again_by_its_number() {
        let steps = [
            Step::Freeze,
            Step::Reserve(3),
            Step::Release(3),
            Step::Commit(3),
            Step::Forget(2_000),
            Step::Thaw,
            Step::Close,
            Step::Ship { shipment: 1, line: 7 },
            Step::Unsell { cancel: 2, line: 7 },
            Step::Restock { number: 2, receipt: 9 },
            Step::ForgetShip { shipment: 1, line: 7 },
            Step::ForgetUnsell { cancel: 2, line: 7 },
            Step::ForgetRestock { number: 2, receipt: 9 },
            Step::Unship { shipment: 1, line: 7 },
            Step::ForgetUnship { shipment: 1, line: 7 },
        ];
        for step in steps {
            assert_eq!(Step::of(step.key()), Some(step));
            assert_eq!(CallKey::of(step.key()), None);
        }
        for operation in [Operation::Authorize, Operation::Capture, Operation::Void, Operation::Refund] {
            let call = CallKey { operation, payment: 4, attempt: 2 };
            assert_eq!(CallKey::of(call.call()), Some((call, CallMode::Send)));
            assert_eq!(CallKey::of(call.query()), Some((call, CallMode::Query)));
            assert_eq!(CallKey::of(call.cancel()), Some((call, CallMode::Cancel)));
            assert_eq!(Step::of(call.call()), None);
        }
    }
}
