//! An order's statuses, totals and allowed actions, derived from its state.

use super::terms::CapturePolicy;
use super::{Attempt, EndReason, Hold, Order, Payment, RefundStatus, ReturnStatus, ShipmentStatus, Stage, Status};
use crate::inventory::Units;
use crate::money::Money;
use crate::payment::Operation;
use crate::time::Timestamp;

/// The milliseconds after which an unanswered attempt is shown as `unknown`.
pub const UNKNOWN_AFTER_MS: u64 = 10_000;

/// The payment status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentStatus {
    /// No payment is required.
    NotRequired,
    /// Nothing is authorized yet.
    Pending,
    /// The shopper must act.
    RequiresAction,
    /// The provider is processing the payment.
    Processing,
    /// The outcome of an attempt is unknown.
    Unknown,
    /// The whole amount due is authorized.
    Authorized,
    /// A part of the amount due is captured.
    PartiallyCaptured,
    /// The whole amount due is captured.
    Captured,
    /// A part of the captured amount is refunded.
    PartiallyRefunded,
    /// The whole captured amount is refunded.
    Refunded,
    /// The authorization is voided.
    Voided,
    /// The last attempt was declined, and no further one will follow.
    Failed,
}

/// The fulfilment status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FulfilmentStatus {
    /// Nothing is to be shipped.
    NotRequired,
    /// Nothing has shipped.
    Unfulfilled,
    /// Part has shipped.
    PartiallyShipped,
    /// All has shipped.
    Shipped,
    /// Part has arrived.
    PartiallyDelivered,
    /// All has arrived.
    Delivered,
}

/// The return status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderReturnStatus {
    /// There is no return.
    None,
    /// The return is requested.
    Requested,
    /// A part has arrived.
    PartiallyReturned,
    /// Everything shipped has come back.
    Returned,
}

/// The actions that the order's state allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Whether an attempt to pay may begin.
    Pay,
    /// Whether address, shipping option and buyer may be changed.
    Edit,
    /// Whether units may be cancelled.
    Cancel,
    /// Whether the seller may capture by hand.
    Capture,
    /// Whether the seller may do without what is still due.
    Void,
    /// Whether the seller may ship units.
    Ship,
    /// Whether the seller may refund.
    Refund,
    /// Whether a return may be requested.
    Return,
}

/// The order's totals, in its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// The sum of the lines.
    pub subtotal: Money,
    /// The shipping cost.
    pub shipping: Money,
    /// The tax of lines and shipping.
    pub tax: Money,
    /// Whether the prices include it.
    pub tax_included: bool,
    /// The total of the order as placed.
    pub total: Money,
    /// The amount due: the total less what was cancelled, returned or refunded.
    pub due: Money,
    /// The captured amount.
    pub captured: Money,
    /// The refunded amount.
    pub refunded: Money,
    /// The amount that can still be refunded.
    pub refundable: Money,
}

#[derive(Debug, Default)]
struct Units64 {
    bought: u64,
    cancelled: u64,
    shipped: u64,
    delivered: u64,
    returning: u64,
    returned: u64,
    settled: u64,
}

impl Order {
    fn sum_units(&self) -> Units64 {
        let mut sum = Units64::default();
        for line in &self.lines {
            let add = |to: &mut u64, units: Units| *to = to.saturating_add(u64::from(units));
            add(&mut sum.bought, line.units);
            add(&mut sum.cancelled, line.cancelled);
            add(&mut sum.shipped, line.shipped);
            add(&mut sum.delivered, line.delivered);
            add(&mut sum.returning, line.returning);
            add(&mut sum.returned, line.returned);
            add(&mut sum.settled, line.settled);
        }
        sum
    }

    /// The order's status.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.stage {
            Stage::Nothing | Stage::Freezing | Stage::Reserving => Status::Placed,
            Stage::Held => match self.payments.last().map(|payment| &payment.attempt) {
                Some(Attempt::Asked | Attempt::Processing | Attempt::Authorized { .. }) => Status::Authorizing,
                Some(Attempt::RequiresAction(_)) => Status::RequiresAction,
                Some(Attempt::Declined { .. }) | None => Status::AwaitingPayment,
            },
            Stage::Committing => Status::Authorizing,
            Stage::Confirmed => self.status_of_goods(),
            Stage::Ending(outcome) | Stage::Ended(outcome) => match outcome {
                EndReason::SoldOut => Status::SoldOut,
                EndReason::Rejected(_) => Status::Rejected,
                EndReason::Expired => Status::Expired,
                EndReason::PaymentFailed => Status::PaymentFailed,
                EndReason::Cancelled(_) => Status::Cancelled,
            },
        }
    }

    /// The fulfilment stage of the slowest unit that is not cancelled.
    fn status_of_goods(&self) -> Status {
        let sum = self.sum_units();
        let bought = sum.bought.saturating_sub(sum.cancelled);
        if bought == 0 {
            Status::Cancelled
        } else if sum.settled == sum.bought && self.captured() > 0 && self.refunded() == self.captured() {
            Status::Refunded
        } else if sum.returned == bought {
            Status::Returned
        } else if sum.shipped == 0 {
            Status::Confirmed
        } else if sum.shipped < bought {
            Status::Picking
        } else if sum.delivered < bought.saturating_sub(self.lost_units()) || sum.delivered == 0 {
            Status::Shipped
        } else {
            Status::Delivered
        }
    }

    fn lost_units(&self) -> u64 {
        self.shipments
            .iter()
            .filter(|shipment| matches!(shipment.status, ShipmentStatus::Lost | ShipmentStatus::Resending))
            .flat_map(|shipment| &shipment.started.lines)
            .fold(0, |sum, line| sum.saturating_add(u64::from(line.units)))
    }

    /// The captured amount over all payments, in minor units.
    #[must_use]
    pub fn captured(&self) -> i64 {
        self.payments.iter().fold(0, |sum, payment| sum.saturating_add(payment.captured))
    }

    /// The refunded amount over all payments, in minor units.
    #[must_use]
    pub fn refunded(&self) -> i64 {
        self.payments.iter().fold(0, |sum, payment| sum.saturating_add(payment.refunded))
    }

    /// The total of the order as placed, in minor units; 0 until it is priced.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.priced.map_or(0, |priced| priced.total)
    }

    /// The amount due (rule M5), in minor units: the total less what was cancelled, returned or refunded; 0 once the order has ended.
    #[must_use]
    pub fn due(&self) -> i64 {
        match self.stage {
            Stage::Ending(_) | Stage::Ended(_) => 0,
            Stage::Nothing
            | Stage::Freezing
            | Stage::Reserving
            | Stage::Held
            | Stage::Committing
            | Stage::Confirmed => self.total().saturating_sub(self.reduced),
        }
    }

    /// The amount that can still be refunded, in minor units: due, captured, not refunded,
    /// and in no refund in flight.
    #[must_use]
    pub fn refundable(&self) -> i64 {
        let on_its_way = self
            .refunds
            .iter()
            .filter(|refund| refund.status != RefundStatus::Succeeded)
            .fold(0_i64, |sum, refund| sum.saturating_add(refund.amount));
        self.captured().saturating_sub(self.refunded()).saturating_sub(on_its_way).min(self.due()).max(0)
    }

    /// The order's totals.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum =
            |of: fn(&super::OrderLine) -> i64| self.lines.iter().fold(0_i64, |sum, line| sum.saturating_add(of(line)));
        let shipping_tax = self.priced.map_or(0, |priced| priced.shipping_tax);
        Totals {
            subtotal: self.money(sum(|line| line.priced.subtotal)),
            shipping: self.money(self.priced.map_or(0, |priced| priced.shipping)),
            tax: self.money(sum(|line| line.priced.tax).saturating_add(shipping_tax)),
            tax_included: self
                .lines
                .iter()
                .all(|line| line.agreed.as_ref().is_none_or(|agreed| agreed.price.tax_included)),
            total: self.money(self.total()),
            due: self.money(self.due()),
            captured: self.money(self.captured()),
            refunded: self.money(self.refunded()),
            refundable: self.money(self.refundable()),
        }
    }

    /// The payment status at `now`.
    #[must_use]
    pub fn payment_status(&self, now: Timestamp) -> PaymentStatus {
        let Some(payment) = self.paying.and_then(|number| self.payment(number)).or_else(|| self.payments.last()) else {
            return if self.priced.is_some() && self.total() == 0 {
                PaymentStatus::NotRequired
            } else {
                PaymentStatus::Pending
            };
        };
        match payment.status(now) {
            PaymentStatus::Failed if self.stage == Stage::Held => PaymentStatus::Pending,
            // It was confirmed before its money came, and the seller did without, or all of it was cancelled.
            PaymentStatus::Failed if self.stage == Stage::Confirmed => PaymentStatus::Voided,
            PaymentStatus::Captured if payment.captured < self.due() => PaymentStatus::PartiallyCaptured,
            status @ (PaymentStatus::NotRequired
            | PaymentStatus::Pending
            | PaymentStatus::RequiresAction
            | PaymentStatus::Processing
            | PaymentStatus::Unknown
            | PaymentStatus::Authorized
            | PaymentStatus::PartiallyCaptured
            | PaymentStatus::Captured
            | PaymentStatus::PartiallyRefunded
            | PaymentStatus::Refunded
            | PaymentStatus::Voided
            | PaymentStatus::Failed) => status,
        }
    }

    /// The fulfilment status.
    #[must_use]
    pub fn fulfilment_status(&self) -> FulfilmentStatus {
        let sum = self.sum_units();
        let bought = sum.bought.saturating_sub(sum.cancelled);
        if bought == 0 {
            FulfilmentStatus::NotRequired
        } else if sum.delivered >= bought {
            FulfilmentStatus::Delivered
        } else if sum.delivered > 0 {
            FulfilmentStatus::PartiallyDelivered
        } else if sum.shipped >= bought {
            FulfilmentStatus::Shipped
        } else if sum.shipped > 0 {
            FulfilmentStatus::PartiallyShipped
        } else {
            FulfilmentStatus::Unfulfilled
        }
    }

    /// The return status.
    #[must_use]
    pub fn return_status(&self) -> OrderReturnStatus {
        let sum = self.sum_units();
        let asked = self.returns.iter().any(|one| match one.status {
            ReturnStatus::Requested | ReturnStatus::Approved => true,
            ReturnStatus::Rejected | ReturnStatus::Received | ReturnStatus::Closed => false,
        });
        if sum.returned > 0 && sum.returned >= sum.shipped {
            OrderReturnStatus::Returned
        } else if sum.returned > 0 {
            OrderReturnStatus::PartiallyReturned
        } else if asked {
            OrderReturnStatus::Requested
        } else {
            OrderReturnStatus::None
        }
    }

    /// Whether an attempt to pay is unsettled.
    #[must_use]
    pub fn unsettled(&self) -> bool {
        self.payments.iter().any(|payment| !payment.settled())
    }

    /// Whether it waits for the shopper to pay, with no attempt in flight.
    #[must_use]
    pub fn awaits_payment(&self) -> bool {
        self.stage == Stage::Held && !self.unsettled() && self.paying.is_none() && self.edit.is_none()
    }

    /// The actions that the state allows; permissions are checked elsewhere.
    #[must_use]
    pub fn allowed(&self) -> Vec<Allowed> {
        let mut allowed = Vec::new();
        let sum = self.sum_units();
        let unshipped = sum.bought.saturating_sub(sum.cancelled) > sum.shipped;
        if self.awaits_payment() {
            allowed.push(Allowed::Pay);
        }
        match self.stage {
            Stage::Held if self.awaits_payment() => allowed.push(Allowed::Edit),
            Stage::Confirmed if unshipped && sum.shipped == 0 => allowed.push(Allowed::Edit),
            Stage::Nothing
            | Stage::Freezing
            | Stage::Reserving
            | Stage::Held
            | Stage::Committing
            | Stage::Confirmed
            | Stage::Ending(_)
            | Stage::Ended(_) => {}
        }
        match self.stage {
            Stage::Freezing | Stage::Reserving | Stage::Held | Stage::Committing => allowed.push(Allowed::Cancel),
            Stage::Confirmed => {
                if unshipped {
                    allowed.push(Allowed::Cancel);
                }
                if unshipped && !self.is_unpaid_again() {
                    allowed.push(Allowed::Ship);
                }
                if self.capturable() > 0 && self.capture_policy() == CapturePolicy::Manual {
                    allowed.push(Allowed::Capture);
                }
                if self.waivable().is_some() {
                    allowed.push(Allowed::Void);
                }
                if self.refundable() > 0 {
                    allowed.push(Allowed::Refund);
                }
                if self.numbered().any(|(number, line)| self.returnable_of(number, line) > 0) {
                    allowed.push(Allowed::Return);
                }
            }
            Stage::Nothing | Stage::Ending(_) | Stage::Ended(_) => {}
        }
        allowed
    }

    /// The capture policy: that of the paying payment, else that of the order.
    #[must_use]
    pub fn capture_policy(&self) -> CapturePolicy {
        let paying = self.paying.and_then(|number| self.payment(number));
        paying.map_or_else(
            || self.terms().map_or(CapturePolicy::OnConfirmation, |terms| terms.payment.capture),
            |payment| payment.capture,
        )
    }

    /// The amount that can be captured now, in minor units: due, authorized, not captured, and in no capture in flight.
    #[must_use]
    pub fn capturable(&self) -> i64 {
        let Some(payment) = self.paying.and_then(|number| self.payment(number)) else {
            return 0;
        };
        let asked = payment
            .calls_of(Operation::Capture)
            .filter(|call| call.open())
            .fold(0_i64, |sum, call| sum.saturating_add(call.amount));
        let rest = self.due().saturating_sub(payment.captured.saturating_sub(payment.refunded));
        payment.uncaptured().min(rest).saturating_sub(asked).max(0)
    }

    /// Whether stock or a cart is held for it, as far as the order knows.
    #[must_use]
    pub fn holds_stock(&self) -> bool {
        self.lines.iter().any(|line| match line.hold {
            Hold::Held | Hold::Releasing | Hold::Committed => true,
            Hold::Asked | Hold::Refused(_) | Hold::Released | Hold::Vanished => false,
        })
    }
}

impl Payment {
    /// The status at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> PaymentStatus {
        match &self.attempt {
            Attempt::Asked if self.query_only || now.since_ms(self.asked_at) >= UNKNOWN_AFTER_MS => {
                PaymentStatus::Unknown
            }
            Attempt::Asked => PaymentStatus::Pending,
            Attempt::RequiresAction(_) => PaymentStatus::RequiresAction,
            Attempt::Processing => PaymentStatus::Processing,
            Attempt::Declined { .. } => PaymentStatus::Failed,
            Attempt::Authorized { .. } if self.refunded > 0 && self.refunded >= self.captured => {
                PaymentStatus::Refunded
            }
            Attempt::Authorized { .. } if self.refunded > 0 => PaymentStatus::PartiallyRefunded,
            Attempt::Authorized { .. } if self.captured > 0 => PaymentStatus::Captured,
            Attempt::Authorized { .. } if self.voided => PaymentStatus::Voided,
            Attempt::Authorized { .. } => PaymentStatus::Authorized,
        }
    }
}
