//! Attempts to pay: their start, the provider's answers, and the operator's decisions about unsettled calls.
//!
//! ```text
//! sent ───► requires_action ⇄ processing ──► authorized      unknown, not found: sent again (rule M1)
//!   └──────────────┴──────────────┴────────► declined        a new attempt only once the last is settled (rule M2)
//! ```

use super::command::{Made, Refusal, Reply};
use super::event::Event;
use super::saga::{Decided, made};
use super::step::CallKey;
use super::terms::Instruction;
use super::{Attempt, AttentionReason, Call, CallState, Order, Payment, Stage};
use crate::entity::Decision;
use crate::ids::Request;
use crate::money::Money;
use crate::payment::{Operation, ProviderAnswer, ProviderReport, Reference, Retry};
use crate::time::Timestamp;

impl Order {
    pub(super) fn pay(&self, request: &Request, how: &Instruction, now: Timestamp) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        // Whose address was erased gets nothing for the money, and the token would be personal data again.
        if !self.awaits_payment() || now >= self.expires_at || self.personal.is_none() {
            return Err(self.wrong_state());
        }
        let attempts_max = self.terms().map_or(0, |terms| terms.payment.attempts_max);
        if self.payments.len() >= usize::from(attempts_max) {
            return Err(Refusal::NoAttemptsLeft);
        }
        let started = self.start_payment(Some((*request, how.clone())), how, now).ok_or_else(|| self.wrong_state())?;
        let number = Self::next_number(&self.payments);
        Ok(Decision::one(started, made(Made::Payment(number))))
    }

    /// Starts a payment. It moves no deadline: a method that needs longer holds the stock only once the provider says that the payment is pending.
    /// A manual payment is pending from its start.
    pub(super) fn start_payment(
        &self,
        asked: Option<(Request, Instruction)>,
        how: &Instruction,
        now: Timestamp,
    ) -> Option<Event> {
        let policy = &self.terms()?.payment;
        let longer_s = policy.method_hold_s.iter().find(|(method, _)| how.is_manual() && *method == how.method);
        let expires_at = longer_s.map_or(self.expires_at, |(_, hold_s)| self.expires_at.max(now.plus_s(*hold_s)));
        Some(Event::PaymentStarted {
            number: Self::next_number(&self.payments),
            asked,
            amount: self.due(),
            capture: how.capture.unwrap_or(policy.capture),
            at: now,
            expires_at,
        })
    }

    /// The deadline that a pending payment gives its order: the method's time from the attempt on (rule M3); `None`: it is not later.
    fn pending_deadline(&self, payment: &Payment) -> Option<Timestamp> {
        let methods = &self.terms()?.payment.method_hold_s;
        let (_, hold_s) = methods.iter().find(|(method, _)| *method == payment.instruction.method)?;
        let until = payment.asked_at.plus_s(*hold_s);
        (self.stage == Stage::Held && until > self.expires_at).then_some(until)
    }

    pub(super) fn provider_says(&self, report: &ProviderReport, now: Timestamp) -> Decided {
        match self.reported(report, now)? {
            Some(event) => Ok(self.follow(vec![event], now, Reply::Done)),
            None => Ok(Decision::nothing(Reply::Done)),
        }
    }

    /// The event that follows from a provider's report; `None`: it is known, outdated, or settles nothing.
    ///
    /// Rule M6: a record of another amount or currency is never a success, and money without an amount is no report.
    pub(super) fn reported(&self, report: &ProviderReport, now: Timestamp) -> Result<Option<Event>, Refusal> {
        let ProviderReport { reference, amount, answer } = report;
        let call = CallKey { operation: reference.operation, payment: reference.payment, attempt: reference.attempt };
        if reference.order != self.id || !self.exists() {
            return Err(Refusal::Unknown);
        }
        let meaning = self.meaning(call, answer, now)?;
        // A late copy of a success that was taken back since (rule M13): only an operator says that it counts after all.
        let is_late = matches!(answer, ProviderAnswer::Succeeded { .. })
            && self
                .troubles
                .iter()
                .any(|trouble| matches!(trouble, AttentionReason::Reversed { call: one, .. } if *one == call));
        if is_late {
            return Ok(None);
        }
        let asked_for = self.money_of(call);
        match (answer.speaks_of_money(), *amount) {
            (true, Some(found)) if Some(found) != asked_for => Ok(self.differing(call, found, answer)),
            (true, None) => Ok(None),
            (true | false, _) => Ok(meaning),
        }
    }

    /// The amount of a call. The void of a charge that differs is that of the charge.
    pub(super) fn money_of(&self, call: CallKey) -> Option<Money> {
        let payment = self.payment(call.payment)?;
        match (call.operation, payment.differs) {
            (Operation::Authorize, _) => Some(self.money(payment.amount)),
            (Operation::Void | Operation::Refund, Some(differs)) => Some(differs.found),
            (Operation::Void | Operation::Capture | Operation::Refund, _) => {
                payment.calls.iter().find(|one| one.key == call).map(|one| self.money(one.amount))
            }
        }
    }

    /// A record of another amount than the call's; `None`: it is known, or the call has ended.
    fn differing(&self, call: CallKey, found: Money, answer: &ProviderAnswer) -> Option<Event> {
        let payment = self.payment(call.payment)?;
        let is_authorized = matches!(payment.attempt, Attempt::Authorized { .. });
        let charged = match answer {
            ProviderAnswer::Authorized { provider_reference, .. } => {
                Some((provider_reference.clone(), Operation::Void))
            }
            ProviderAnswer::Succeeded { provider_reference } => Some((provider_reference.clone(), Operation::Refund)),
            ProviderAnswer::Declined { .. }
            | ProviderAnswer::RequiresAction { .. }
            | ProviderAnswer::Processing { .. }
            | ProviderAnswer::NotFound
            | ProviderAnswer::Conflict
            | ProviderAnswer::Broken
            | ProviderAnswer::Reversed { .. }
            | ProviderAnswer::Unknown => None,
        };
        let charged = charged.filter(|_| call.operation == Operation::Authorize && !is_authorized);
        let is_known = if call.operation == Operation::Authorize {
            payment.differs.is_some_and(|known| known.undo.is_some() || charged.is_none())
        } else {
            let known = payment.calls.iter().find(|one| one.key == call)?;
            !known.open() || self.troubled(call)
        };
        let (charge, undo) = charged.unzip();
        (!is_known).then_some(Event::AmountDiffers { call, found, charge, undo })
    }

    /// Rule M6: a charge of another amount is voided or paid back; once it is, the attempt counts as declined. An order whose references
    /// another installation may use, too, leaves it to the operator: the charge need not be its own.
    pub(super) fn next_differing(&self, now: Timestamp) -> Option<Event> {
        self.head.as_ref()?.installation?;
        self.payments.iter().find_map(|payment| {
            let differs = payment.differs?;
            let undo = differs.undo?;
            if payment.voided {
                let (code, retry) = ("amount_differs".into(), Retry::OtherMethod);
                return (!payment.settled()).then_some(Event::Declined { payment: payment.number, code, retry });
            }
            if payment.has_open(undo) { None } else { self.next_undo(payment, undo, differs.found.amount, now) }
        })
    }

    /// The event that follows from an answer about the amount that was asked for; `None`: it is known, outdated, or settles nothing.
    pub(super) fn meaning(
        &self,
        call: CallKey,
        answer: &ProviderAnswer,
        now: Timestamp,
    ) -> Result<Option<Event>, Refusal> {
        let payment = self.payment(call.payment).ok_or(Refusal::UnknownPart)?;
        if call.operation == Operation::Authorize {
            if call.attempt == 1 {
                Ok(payment.meaning(answer, self.pending_deadline(payment), now))
            } else {
                Err(Refusal::UnknownPart)
            }
        } else {
            let known = payment.calls.iter().find(|one| one.key == call).ok_or(Refusal::UnknownPart)?;
            Ok(known.meaning(answer))
        }
    }

    /// Decides on an operator's settlement of a call that the provider can no longer be asked about (rule M2).
    pub(super) fn settle(&self, reference: &Reference, answer: &ProviderAnswer, now: Timestamp) -> Decided {
        let call = CallKey { operation: reference.operation, payment: reference.payment, attempt: reference.attempt };
        if reference.order != self.id || !self.exists() {
            return Err(Refusal::Unknown);
        }
        let said = self.meaning(call, answer, now)?;
        let definite = match answer {
            ProviderAnswer::Authorized { .. } | ProviderAnswer::Succeeded { .. } | ProviderAnswer::Declined { .. } => {
                true
            }
            ProviderAnswer::RequiresAction { .. }
            | ProviderAnswer::Processing { .. }
            | ProviderAnswer::NotFound
            | ProviderAnswer::Conflict
            | ProviderAnswer::Broken
            | ProviderAnswer::Reversed { .. }
            | ProviderAnswer::Unknown => false,
        };
        if !definite || !self.troubled(call) || self.is_other_money(call, answer) {
            return Err(self.wrong_state());
        }
        let mut events = vec![Event::Settled { call }];
        events.extend(said);
        Ok(self.follow(events, now, Reply::Done))
    }

    /// Whether this call needs an operator's attention.
    pub(super) fn troubled(&self, call: CallKey) -> bool {
        self.troubles.iter().any(|trouble| trouble.call() == Some(call))
    }

    /// Whether an answer would make a success of an attempt whose record differs, which not even an operator may say (rule M6).
    fn is_other_money(&self, call: CallKey, answer: &ProviderAnswer) -> bool {
        let differs = self.payment(call.payment).is_some_and(|payment| payment.differs.is_some() && !payment.settled());
        call.operation == Operation::Authorize && differs && answer.speaks_of_money()
    }

    /// After the life of the provider's keys a call is only queried, and needs an operator's attention (rule M2).
    pub(super) fn next_asking(&self, now: Timestamp) -> Option<Event> {
        let life_s = self.terms()?.payment.keys_life_s;
        self.open_calls()
            .find(|call| self.sent_at(*call).is_some_and(|at| now >= at.plus_s(life_s)))
            .map(|call| Event::QueryOnly { call, conflict: false })
    }

    /// Whether a call is cancelled by its reference until its outcome is known (rule M10).
    pub(super) fn is_given_up(&self, call: CallKey) -> bool {
        self.payment(call.payment).is_some_and(|payment| {
            if call.operation == Operation::Authorize {
                payment.given_up == Some(true)
            } else {
                payment.calls.iter().any(|one| one.key == call && one.state == CallState::GivenUp)
            }
        })
    }

    /// Whether money that pays for the order was taken back, and nobody has looked (rule M13).
    pub(super) fn is_unpaid_again(&self) -> bool {
        self.troubles.iter().any(|trouble| match trouble {
            AttentionReason::Reversed { call, .. } => {
                matches!(call.operation, Operation::Authorize | Operation::Capture)
            }
            AttentionReason::NotAnswered(_)
            | AttentionReason::Conflict(_)
            | AttentionReason::Refused { .. }
            | AttentionReason::StepRefused(_)
            | AttentionReason::AmountDiffers { .. } => false,
        })
    }

    /// When a call was first sent, while it may be sent again; `None`: it is only queried, or settled.
    pub(super) fn sent_at(&self, call: CallKey) -> Option<Timestamp> {
        let payment = self.payment(call.payment)?;
        if call.operation == Operation::Authorize {
            (payment.attempt == Attempt::Asked && !payment.query_only).then_some(payment.asked_at)
        } else {
            let call = payment.calls.iter().find(|one| one.key == call)?;
            (call.state == CallState::Asked).then_some(call.asked_at)
        }
    }
}

impl Payment {
    /// The event that follows from an answer about an authorization. `expires_at`: the order's deadline if the payment is pending.
    fn meaning(&self, answer: &ProviderAnswer, expires_at: Option<Timestamp>, now: Timestamp) -> Option<Event> {
        let payment = self.number;
        match (answer, &self.attempt) {
            // A charge that takes effect is recorded, whatever its state was before (rule M5).
            (
                ProviderAnswer::Authorized { provider_reference, lapses_at },
                Attempt::Asked | Attempt::RequiresAction(_) | Attempt::Processing | Attempt::Declined { .. },
            ) => Some(Event::Authorized {
                payment,
                provider_reference: provider_reference.clone(),
                lapses_at: Some(*lapses_at),
            }),
            (
                ProviderAnswer::Succeeded { provider_reference },
                Attempt::Asked | Attempt::RequiresAction(_) | Attempt::Processing | Attempt::Declined { .. },
            ) => Some(Event::Authorized { payment, provider_reference: provider_reference.clone(), lapses_at: None }),
            (
                ProviderAnswer::Declined { code, retry },
                Attempt::Asked | Attempt::RequiresAction(_) | Attempt::Processing,
            ) => Some(Event::Declined { payment, code: code.clone(), retry: *retry }),
            // Its success was never heard of, so what took it back is its outcome (rule M13).
            (ProviderAnswer::Reversed { code }, Attempt::Asked | Attempt::RequiresAction(_) | Attempt::Processing) => {
                Some(Event::Declined { payment, code: code.clone(), retry: Retry::OtherMethod })
            }
            (ProviderAnswer::RequiresAction { provider_reference, action }, Attempt::Asked) => {
                Some(Event::ActionRequired {
                    payment,
                    provider_reference: provider_reference.clone(),
                    action: action.clone(),
                    at: now,
                    expires_at,
                })
            }
            (ProviderAnswer::Processing { provider_reference }, Attempt::Asked | Attempt::RequiresAction(_)) => {
                Some(Event::Processing { payment, provider_reference: provider_reference.clone(), at: now, expires_at })
            }
            (ProviderAnswer::Conflict, Attempt::Asked) if !self.query_only => {
                Some(Event::QueryOnly { call: CallKey::authorize(payment), conflict: true })
            }
            (ProviderAnswer::Broken, Attempt::Asked) if !self.query_only => {
                Some(Event::GivenUp { call: CallKey::authorize(payment) })
            }
            (ProviderAnswer::Reversed { code }, Attempt::Authorized { lapses_at })
                if !self.voided && (self.captured == 0 || lapses_at.is_none()) =>
            {
                Some(Event::Reversed { call: CallKey::authorize(payment), code: code.clone() })
            }
            (
                ProviderAnswer::Authorized { .. }
                | ProviderAnswer::Succeeded { .. }
                | ProviderAnswer::Declined { .. }
                | ProviderAnswer::RequiresAction { .. }
                | ProviderAnswer::Processing { .. }
                | ProviderAnswer::NotFound
                | ProviderAnswer::Conflict
                | ProviderAnswer::Broken
                | ProviderAnswer::Reversed { .. }
                | ProviderAnswer::Unknown,
                _,
            ) => None,
        }
    }
}

impl Call {
    /// The event that follows from an answer about a capture, void or refund. A call that was declined and then succeeded has succeeded: money moved.
    fn meaning(&self, answer: &ProviderAnswer) -> Option<Event> {
        let call = self.key;
        match (answer, &self.state) {
            (
                ProviderAnswer::Succeeded { provider_reference },
                CallState::Asked
                | CallState::QueryOnly
                | CallState::GivenUp
                | CallState::Refused { .. }
                | CallState::Retried,
            ) => Some(Event::CallSucceeded { call, provider_reference: provider_reference.clone() }),
            (
                ProviderAnswer::Declined { code, retry },
                CallState::Asked | CallState::QueryOnly | CallState::GivenUp,
            ) => Some(Event::CallRefused { call, code: code.clone(), retry: *retry }),
            (ProviderAnswer::Conflict, CallState::Asked) => Some(Event::QueryOnly { call, conflict: true }),
            (ProviderAnswer::Broken, CallState::Asked) => Some(Event::GivenUp { call }),
            // Also where its success was never heard of: a late copy of it must not count.
            (
                ProviderAnswer::Reversed { code },
                CallState::Succeeded(_) | CallState::Asked | CallState::QueryOnly | CallState::GivenUp,
            ) => Some(Event::Reversed { call, code: code.clone() }),
            (
                ProviderAnswer::Authorized { .. }
                | ProviderAnswer::Succeeded { .. }
                | ProviderAnswer::Declined { .. }
                | ProviderAnswer::RequiresAction { .. }
                | ProviderAnswer::Processing { .. }
                | ProviderAnswer::NotFound
                | ProviderAnswer::Conflict
                | ProviderAnswer::Broken
                | ProviderAnswer::Reversed { .. }
                | ProviderAnswer::Unknown,
                _,
            ) => None,
        }
    }
}
