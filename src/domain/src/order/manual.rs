//! Payments that go past the provider: cash, an invoice. Nothing is asked of the provider; the seller says when the money has come, and when a
//! refund was paid out. Until then the payment is processing, and it ends with its order's deadline. Where the goods may go first, the order is
//! confirmed without it, and the payment waits for the seller's word as long as anything is due.

use super::command::{Made, Refusal};
use super::event::Event;
use super::saga::{Decided, made};
use super::step::CallKey;
use super::{Order, Payment, RefundStatus, Stage};
use crate::entity::Decision;
use crate::ids::Request;
use crate::payment::{Operation, ProviderAnswer, Retry};
use crate::time::Timestamp;
use compact_str::CompactString;

impl Order {
    fn manual(&self, number: u16) -> Result<&Payment, Refusal> {
        let payment =
            self.payment(number).ok_or(if self.exists() { Refusal::UnknownPart } else { Refusal::Unknown })?;
        if payment.instruction.is_manual() { Ok(payment) } else { Err(self.wrong_state()) }
    }

    /// The money of a manual payment has come. The same reference again changes nothing.
    pub(super) fn mark_paid(&self, number: u16, reference: &CompactString, now: Timestamp) -> Decided {
        let payment = self.manual(number)?;
        let reply = made(Made::Payment(number));
        if payment.settled() {
            let again = payment.provider_reference.as_ref() == Some(reference);
            return if again { Ok(Decision::again(reply)) } else { Err(self.wrong_state()) };
        }
        let answer = ProviderAnswer::Succeeded { provider_reference: reference.clone() };
        match self.meaning(CallKey::authorize(number), &answer, now)? {
            Some(event) => Ok(self.follow(vec![event], now, reply)),
            None => Err(self.wrong_state()),
        }
    }

    /// The refunds of a manual payment that are under way were paid out.
    pub(super) fn mark_refunded(
        &self,
        request: &Request,
        number: u16,
        reference: &CompactString,
        now: Timestamp,
    ) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let payment = self.manual(number)?;
        let mut attempt = u16::try_from(payment.calls_of(Operation::Refund).count()).unwrap_or(u16::MAX);
        let mut events = Vec::new();
        for refund in &self.refunds {
            if refund.payment != number || refund.status != RefundStatus::Pending {
                continue;
            }
            attempt = attempt.saturating_add(1);
            let call = CallKey { operation: Operation::Refund, payment: number, attempt };
            let (amount, refund) = (refund.amount, Some(refund.number));
            let request = events.is_empty().then_some(*request);
            events.push(Event::CallStarted { call, amount, request, refund, at: now });
            events.push(Event::CallSucceeded { call, provider_reference: reference.clone() });
        }
        if events.is_empty() {
            return Err(self.wrong_state());
        }
        Ok(self.follow(events, now, made(Made::Payment(number))))
    }

    /// A manual payment whose money has not come by the order's deadline, or whose order ends or owes nothing any more, is over.
    pub(super) fn next_manual(&self, now: Timestamp) -> Option<Event> {
        let pending = self.payments.iter().find(|payment| !payment.settled() && payment.instruction.is_manual())?;
        let code = match self.stage {
            Stage::Held => (now >= self.expires_at).then_some("not_paid_in_time"),
            Stage::Ending(_) => Some("not_paid_in_time"),
            Stage::Confirmed => (self.due() == 0).then_some("nothing_due"),
            Stage::Nothing | Stage::Freezing | Stage::Reserving | Stage::Committing | Stage::Ended(_) => None,
        };
        code.map(|code| Event::Declined { payment: pending.number, code: code.into(), retry: Retry::OtherMethod })
    }

    /// Is every unsettled payment one for which only the seller's word is missing?
    pub(super) fn waits_only_for_manual(&self) -> bool {
        self.payments.iter().all(|payment| payment.settled() || payment.instruction.is_manual())
    }

    /// The amount due that the provider's ledger must cover, in minor units: none, where the money came past it.
    #[must_use]
    pub fn due_at_provider(&self) -> i64 {
        let paying = self.paying.and_then(|number| self.payment(number));
        if paying.is_some_and(|payment| payment.instruction.is_manual()) { 0 } else { self.due() }
    }
}
