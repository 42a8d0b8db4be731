//! Applies payment events to an order's state.

use super::{
    Attempt, AttentionReason, Call, CallKey, CallState, Differing, LineUnits, Made, Order, Payment, Refund,
    RefundCause, RefundStarted, RefundStatus, Todo,
};
use crate::payment::{Operation, Retry};
use crate::time::Timestamp;
use compact_str::CompactString;

impl Order {
    /// A definite answer came: the call is no longer owed and needs no attention.
    pub(super) fn call_answered(&mut self, key: CallKey) {
        self.todo.remove(&Todo::Call(key));
        self.troubles.retain(|trouble| match trouble {
            AttentionReason::NotAnswered(one) | AttentionReason::Conflict(one) => *one != key,
            AttentionReason::Refused { .. }
            | AttentionReason::Reversed { .. }
            | AttentionReason::StepRefused(_)
            | AttentionReason::AmountDiffers { .. } => true,
        });
    }

    /// The key is not sent again: the call is cancelled by its reference (rule M10).
    pub(super) fn given_up(&mut self, key: CallKey) {
        if key.operation == Operation::Authorize {
            if let Some(payment) = self.payment_mut(key.payment) {
                payment.query_only = true;
                payment.given_up = Some(true);
            }
        } else if let Some(call) = self.call_mut(key) {
            call.state = CallState::GivenUp;
        }
    }

    /// What had succeeded did not (rule M13): the money counts no longer as taken, or as given back.
    pub(super) fn reversed(&mut self, key: CallKey, code: &CompactString) {
        self.call_answered(key);
        self.trouble(AttentionReason::Reversed { call: key, code: code.clone() });
        let refused = CallState::Refused { code: code.clone(), retry: Retry::Never };
        let (amount, refund) = self.call_mut(key).map_or((0, None), |call| {
            // A success that was not heard of never counted.
            let counted = if call.open() { 0 } else { call.amount };
            call.state = refused;
            (counted, call.refund)
        });
        if let Some(payment) = self.payment_mut(key.payment) {
            match key.operation {
                // Set aside: nothing can be taken of it. Taken at once: it is not there any more.
                Operation::Authorize => (payment.captured, payment.voided) = (0, true),
                Operation::Capture => payment.captured = payment.captured.saturating_sub(amount),
                // What undid a charge of another amount never counted as given back.
                Operation::Void => payment.voided = false,
                Operation::Refund if refund.is_none() => payment.voided = false,
                Operation::Refund => payment.refunded = payment.refunded.saturating_sub(amount),
            }
        }
        if let Some(refund) = refund.and_then(|number| self.refund_mut(number)) {
            refund.status = RefundStatus::Failed;
        }
    }

    /// The call is only queried from now on. An operator sees it, also once the charge is voided.
    pub(super) fn amount_differs(&mut self, key: CallKey, differs: Differing, charge: Option<&CompactString>) {
        if key.operation == Operation::Authorize {
            if let Some(payment) = self.payment_mut(key.payment) {
                payment.query_only = true;
                payment.differs = Some(differs);
                if let Some(named) = charge {
                    payment.provider_reference = Some(named.clone());
                }
            }
        } else if let Some(call) = self.call_mut(key) {
            call.state = CallState::QueryOnly;
        }
        self.trouble(AttentionReason::AmountDiffers { call: key, found: differs.found });
    }

    pub(super) fn attempted(&mut self, number: u16, attempt: Attempt) -> Option<&mut Payment> {
        self.call_answered(CallKey::authorize(number));
        let payment = self.payment_mut(number)?;
        payment.attempt = attempt;
        Some(payment)
    }

    pub(super) fn under_way(&mut self, number: u16, provider_reference: &str, attempt: Attempt, at: Timestamp) {
        if let Some(payment) = self.payment_mut(number) {
            payment.provider_reference = Some(provider_reference.into());
            payment.attempt = attempt;
            payment.changed_at = at;
        }
    }

    pub(super) fn call_succeeded(&mut self, key: CallKey, provider_reference: &str) {
        self.call_answered(key);
        let Some(call) = self.call_mut(key) else { return };
        call.state = CallState::Succeeded(provider_reference.into());
        let (amount, refund) = (call.amount, call.refund);
        if let Some(payment) = self.payment_mut(key.payment) {
            match key.operation {
                Operation::Authorize => {}
                Operation::Capture => payment.captured = payment.captured.saturating_add(amount),
                Operation::Void => payment.voided = true,
                // A charge of another amount never counted as taken, so it does not count as given back.
                Operation::Refund if refund.is_none() => payment.voided = true,
                Operation::Refund => payment.refunded = payment.refunded.saturating_add(amount),
            }
        }
        if let Some(refund) = refund.and_then(|number| self.refund_mut(number)) {
            refund.status = RefundStatus::Succeeded;
        }
    }

    pub(super) fn settled(&mut self, key: CallKey) {
        self.troubles.retain(|trouble| trouble.call() != Some(key));
        let Some(call) = self.call_mut(key).filter(|call| matches!(call.state, CallState::Refused { .. })) else {
            return;
        };
        call.state = CallState::Retried;
        let refund = call.refund;
        let failed = refund.and_then(|number| self.refund_mut(number));
        if let Some(refund) = failed.filter(|refund| refund.status == RefundStatus::Failed) {
            refund.status = RefundStatus::Pending;
        }
    }

    pub(super) fn fail_refund_of(&mut self, call: CallKey) {
        let number = self.call_mut(call).and_then(|call| call.refund);
        if let Some(refund) = number.and_then(|number| self.refund_mut(number)) {
            refund.status = RefundStatus::Failed;
        }
    }

    pub(super) fn refund_started(&mut self, started: &RefundStarted) {
        self.remember(started.request.as_ref(), Made::Refund(started.number));
        if started.cause == RefundCause::Goodwill {
            self.reduced = self.reduced.saturating_add(started.amount);
        }
        for LineUnits { line, units } in &started.lines {
            self.with_line(*line, |line| {
                line.refunded = line.refunded.saturating_add(line.worth(*units, started.shipping));
                line.settled = line.settled.saturating_add(*units);
                line.refunded_ahead = line.refunded_ahead.saturating_add(*units);
            });
        }
        self.refunds.push(Refund {
            number: started.number,
            payment: started.payment,
            amount: started.amount,
            cause: started.cause,
            lines: started.lines.clone(),
            reason: started.reason.clone(),
            at: started.at,
            status: RefundStatus::Pending,
            seller: started.seller.clone(),
            credited: None,
        });
    }

    pub(super) fn call_mut(&mut self, key: CallKey) -> Option<&mut Call> {
        self.payment_mut(key.payment)?.calls.iter_mut().find(|call| call.key == key)
    }

    pub(super) fn refund_mut(&mut self, number: u16) -> Option<&mut Refund> {
        self.refunds.get_mut(usize::from(number.checked_sub(1)?))
    }
}
