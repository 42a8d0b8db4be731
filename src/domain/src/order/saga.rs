//! The checkout saga: the events that follow from the order's stage, and its answers to entities that hold something for it.
//!
//! Every decision is one event and the events that follow from it at once: the last SKU's reservation, the price and the first attempt
//! to pay are one record.

use super::command::{Answer, CancelReason, CartRefusal, Made, Refusal, Reply, Shortage};
use super::event::{Cancelled, CancelledLine, Event};
use super::step::{Step, Todo};
use super::{Attempt, EndReason, Hold, Order, Rejection, Stage};
use crate::claims::{ASK_AGAIN_S, ClaimId, Says, Verdict, says, verdict};
use crate::entity::Decision;
use crate::ids::{Request, Sku};
use crate::time::Timestamp;
use std::ops::Bound;

/// The result of a decision of an order.
pub(super) type Decided = Result<Decision<Event, Reply>, Refusal>;

/// The most events that may follow from one, far above the need of any state, so that a mistake in the rules cannot hang a node.
const FOLLOWING_MAX: usize = 64;

impl Order {
    /// A decision with these events and all that follow from them at once.
    pub(super) fn follow(&self, mut events: Vec<Event>, now: Timestamp, reply: Reply) -> Decision<Event, Reply> {
        let mut after = self.clone();
        for event in &events {
            after.take_in(event);
        }
        for _ in 0..FOLLOWING_MAX {
            let Some(event) = after.next(now) else { break };
            after.take_in(&event);
            events.push(event);
        }
        Decision::events(events, reply)
    }

    /// The next event that is due without a command, if any.
    fn next(&self, now: Timestamp) -> Option<Event> {
        if let Some(event) =
            self.next_asking(now).or_else(|| self.next_manual(now)).or_else(|| self.next_differing(now))
        {
            return Some(event);
        }
        match self.stage {
            Stage::Nothing => None,
            Stage::Freezing => (now >= self.expires_at).then(|| ending(EndReason::Expired, None, now)),
            Stage::Reserving => self.next_reserving(now),
            Stage::Held => self.next_held(now),
            Stage::Committing => self.next_committing(now),
            Stage::Confirmed => match self.cancel_requested {
                Some((request, reason)) => Some(self.cancel_unshipped(Some(request), reason)),
                None => self.next_money(now),
            },
            Stage::Ending(_) => self.next_money(now).or_else(|| self.all_undone().then_some(Event::Ended)),
            Stage::Ended(_) => self.next_money(now),
        }
    }

    fn next_reserving(&self, now: Timestamp) -> Option<Event> {
        if let Some(end) = self.refused_claim(now) {
            return Some(end);
        }
        let verdict = verdict(self.lines.iter().map(|line| line.hold));
        if let Verdict::Refused(why) = verdict {
            return Some(ending(outcome_of(why), None, now));
        }
        if now >= self.expires_at {
            return Some(ending(EndReason::Expired, None, now));
        }
        if verdict == Verdict::Open || self.open > 0 {
            return None;
        }
        let terms = self.terms()?;
        let Ok(priced) = self.price_with(terms.shipping.as_ref(), &terms.tax) else {
            return Some(ending(EndReason::Rejected(Rejection::Overflow), None, now));
        };
        match terms.expected_total {
            Some(expected) if expected.amount != priced.total || expected.currency != terms.currency => {
                let rejection = Rejection::TotalChanged { expected, now: self.money(priced.total) };
                Some(ending(EndReason::Rejected(rejection), None, now))
            }
            Some(_) | None => Some(Event::Held(Box::new(priced))),
        }
    }

    fn next_held(&self, now: Timestamp) -> Option<Event> {
        // The stock stays reserved while an attempt is unsettled, whatever the clock says (rule M1).
        if self.unsettled() {
            return None;
        }
        if now >= self.expires_at {
            return Some(ending(EndReason::Expired, None, now));
        }
        if self.edit.is_some() {
            return self.next_edit();
        }
        let head = self.head.as_ref()?;
        match self.payments.last().map(|payment| &payment.attempt) {
            None if head.payment.is_some() => self.start_payment(None, head.payment.as_ref()?, now),
            Some(Attempt::Declined { .. }) if self.payments.len() >= usize::from(head.terms.payment.attempts_max) => {
                Some(ending(EndReason::PaymentFailed, None, now))
            }
            None
            | Some(
                Attempt::Declined { .. }
                | Attempt::Asked
                | Attempt::RequiresAction(_)
                | Attempt::Processing
                | Attempt::Authorized { .. },
            ) => None,
        }
    }

    fn next_committing(&self, now: Timestamp) -> Option<Event> {
        if self.open > 0 {
            return None;
        }
        if let Some(end) = self.refused_claim(now) {
            return Some(end);
        }
        if self.lines.iter().all(|line| line.hold != Hold::Vanished) && !self.has_lost_a_claim() {
            return Some(Event::Confirmed { at: now });
        }
        // A reservation was unknown at the commit: the units sold so far are taken back, then the payment is voided.
        let sold: Vec<CancelledLine> = self
            .numbered()
            .filter(|(_, line)| line.hold == Hold::Committed && line.left() > 0)
            .map(|(number, line)| CancelledLine { line: number, from: line.unshipped.clone() })
            .collect();
        if sold.is_empty() {
            return Some(ending(EndReason::Expired, None, now));
        }
        Some(Event::Cancelled(Box::new(Cancelled {
            number: Self::next_number(&self.cancels),
            request: None,
            lines: sold,
            reason: CancelReason::Stock,
            amount: 0,
        })))
    }

    /// Whether all steps of an ending order are undone.
    fn all_undone(&self) -> bool {
        !self.unsettled()
            && self.blocking().next().is_none()
            && self.payments.iter().all(|payment| payment.calls.iter().all(|call| !call.open()))
    }

    /// The open steps whose answers an ending order waits for. It skips the others a kind at a time, so that a large order does not
    /// walk over its thousand `Forget`s.
    fn blocking(&self) -> impl Iterator<Item = Step> + '_ {
        let mut after = Bound::Unbounded;
        std::iter::from_fn(move || {
            loop {
                let todo = *self.todo.range((after, Bound::Unbounded)).next()?;
                let Todo::Step(step) = todo else {
                    after = Bound::Excluded(todo);
                    continue;
                };
                let blocks = step.blocks_the_end();
                after = Bound::Excluded(Todo::Step(if blocks { step } else { step.last_of_its_kind() }));
                if blocks {
                    return Some(step);
                }
            }
        })
    }

    /// Whether no event can follow from this step's answer, because other steps of the stage are still open. This saves a large order a
    /// copy of its state at each of a thousand answers.
    fn more_to_come(&self, step: Step) -> bool {
        match (self.stage, step) {
            (Stage::Reserving, Step::Reserve(_)) | (Stage::Committing, Step::Commit(_)) => self.open > 1,
            (Stage::Ending(_), _) => self.blocking().any(|open| open != step),
            (Stage::Confirmed | Stage::Ended(_), _) => true,
            (Stage::Nothing | Stage::Freezing | Stage::Reserving | Stage::Held | Stage::Committing, _) => false,
        }
    }

    /// Decides on another entity's answer to a step.
    pub(super) fn step_answered(&self, step: Step, answer: &Answer, now: Timestamp) -> Decided {
        if !self.todo.contains(&Todo::Step(step)) {
            return Ok(Decision::nothing(Reply::Done));
        }
        let event = match (step, answer) {
            (Step::Freeze, Answer::Frozen(lines)) => return self.cart_frozen_with(lines, now),
            (Step::Freeze, Answer::NoCart(why @ CartRefusal::Currency)) => {
                // The cart is frozen for this order, which cannot use it.
                return Ok(self.give_cart_back(*why, now));
            }
            (Step::Freeze, Answer::NoCart(why)) => {
                let refused = Event::CartRefused(*why);
                let end = ending(EndReason::Rejected(Rejection::Cart(*why)), None, now);
                let already = matches!(self.stage, Stage::Ending(_));
                let events = if already { vec![refused] } else { vec![refused, end] };
                return Ok(self.follow(events, now, Reply::Done));
            }
            (Step::Reserve(line), Answer::Reserved(reserved)) => {
                let event = Event::Reserved { line, reserved: reserved.clone() };
                // While the order ends, a late reservation is one more step to undo.
                if matches!(self.stage, Stage::Ending(_)) {
                    return Ok(Decision::one(event, Reply::Done));
                }
                event
            }
            (Step::Reserve(claim), Answer::Granted(number)) => {
                let event = Event::Granted { claim, number: *number };
                if matches!(self.stage, Stage::Ending(_)) {
                    return Ok(Decision::one(event, Reply::Done));
                }
                event
            }
            (Step::Reserve(line), Answer::Short(why)) => {
                let event = Event::Refused { line, why: *why };
                // The first refusal ends the order: others may be on their way. Those that follow change nothing but their own line.
                if !matches!(self.stage, Stage::Ending(_)) {
                    return Ok(self.follow(vec![event], now, Reply::Done));
                }
                event
            }
            (Step::Freeze | Step::Reserve(_), _) => return Ok(Decision::nothing(Reply::Done)),
            (_, Answer::Gone) => Event::Gone(step),
            (
                _,
                Answer::Done
                | Answer::Frozen(_)
                | Answer::NoCart(_)
                | Answer::Reserved(_)
                | Answer::Short(_)
                | Answer::Granted(_),
            ) => Event::Done(step),
        };
        if self.more_to_come(step) {
            return Ok(Decision::one(event, Reply::Done));
        }
        Ok(self.follow(vec![event], now, Reply::Done))
    }

    /// Rule R3: the answer to an entity that holds something for this order.
    pub(super) fn still_wanted(&self, sku: Option<&Sku>, reservation: Option<u64>, now: Timestamp) -> Reply {
        let keep = Reply::Keep { until: self.asked_again(now) };
        let Some(sku) = sku else {
            return match self.stage {
                // An order that does not know yet whether it holds the cart continues to query, and thaws it then.
                Stage::Freezing => keep,
                Stage::Reserving | Stage::Held | Stage::Committing if self.cart_frozen => keep,
                Stage::Confirmed if self.cart_frozen => Reply::Taken,
                Stage::Nothing
                | Stage::Reserving
                | Stage::Held
                | Stage::Committing
                | Stage::Confirmed
                | Stage::Ending(_)
                | Stage::Ended(_) => Reply::Release,
            };
        };
        let Some(line) = self.lines.iter().find(|line| line.sku == *sku) else {
            return Reply::Release;
        };
        let ours = line.agreed.as_ref().is_none_or(|agreed| Some(agreed.reservation) == reservation);
        match says(&line.hold, ours, self.asked_again(now)) {
            Says::Keep { until } => Reply::Keep { until },
            Says::Release => Reply::Release,
            Says::Taken => Reply::Taken,
        }
    }

    /// Rule R3: the answer to a counter about what it granted.
    pub(super) fn still_claimed(&self, claim: ClaimId, number: u64, now: Timestamp) -> Reply {
        let Some(claim) = self.claim(claim) else { return Reply::Release };
        let ours = claim.number.is_none_or(|known| known == number);
        match says(&claim.hold, ours, self.asked_again(now)) {
            Says::Keep { until } => Reply::Keep { until },
            Says::Release => Reply::Release,
            Says::Taken => Reply::Taken,
        }
    }

    /// When what is kept for the order is asked about again.
    fn asked_again(&self, now: Timestamp) -> Timestamp {
        self.expires_at.max(now.plus_s(ASK_AGAIN_S))
    }

    /// The answer to a repeated request; `None`: the request is new.
    pub(super) fn seen(&self, request: &Request) -> Option<Decided> {
        let seen = self.requests.get(&request.id)?;
        Some(if seen.terms == request.terms {
            Ok(Decision::again(Reply::Made(seen.made)))
        } else {
            Err(Refusal::RequestReused)
        })
    }

    /// The refusal of a command that the order's state does not allow.
    pub(super) fn wrong_state(&self) -> Refusal {
        if self.exists() { Refusal::WrongState { status: self.status() } } else { Refusal::Unknown }
    }

    /// Cancels everything that has not shipped.
    pub(super) fn cancel_unshipped(&self, request: Option<Request>, reason: CancelReason) -> Event {
        let lines: Vec<CancelledLine> = self
            .numbered()
            .filter(|(_, line)| line.left() > 0)
            .map(|(number, line)| CancelledLine { line: number, from: line.unshipped.clone() })
            .collect();
        self.cancelled_event(request, lines, reason)
    }

    pub(super) fn cancelled_event(
        &self,
        request: Option<Request>,
        lines: Vec<CancelledLine>,
        reason: CancelReason,
    ) -> Event {
        let worth = lines.iter().fold(0_i64, |sum, one| {
            let units = super::line::units_of(&one.from);
            sum.saturating_add(self.line(one.line).map_or(0, |line| line.worth(units, true)))
        });
        // An order none of whose units is shipped or wanted owes nothing, delivery included.
        let is_over = self.lines.iter().all(|line| line.shipped == 0) && self.leaves_nothing(&lines);
        let amount = if is_over { self.due() } else { worth.min(self.due()).max(0) };
        Event::Cancelled(Box::new(Cancelled {
            number: Self::next_number(&self.cancels),
            request,
            lines,
            reason,
            amount,
        }))
    }
}

pub(super) const fn ending(outcome: EndReason, request: Option<Request>, at: Timestamp) -> Event {
    Event::Ending { outcome, request, at }
}

const fn outcome_of(why: Shortage) -> EndReason {
    match why {
        Shortage::SoldOut { .. } => EndReason::SoldOut,
        Shortage::PriceChanged { .. } => EndReason::Rejected(Rejection::PriceChanged),
        Shortage::Unknown | Shortage::NotOnSale | Shortage::NoPrice => EndReason::Rejected(Rejection::NotForSale),
        Shortage::LimitExceeded { .. } | Shortage::LimitReached { .. } => EndReason::Rejected(Rejection::LimitExceeded),
        Shortage::TooLate => EndReason::Expired,
    }
}

/// The reply with the result of a request.
pub(super) const fn made(made: Made) -> Reply {
    Reply::Made(made)
}

impl Step {
    /// Whether an ending order waits for the answer to this step. Every step is named here: a new one does not compile until it has
    /// its answer.
    const fn blocks_the_end(self) -> bool {
        match self {
            Self::Freeze | Self::Reserve(_) | Self::Release(_) | Self::Commit(_) | Self::Thaw | Self::Unsell { .. } => {
                true
            }
            Self::Forget(_)
            | Self::Close
            | Self::Ship { .. }
            | Self::Restock { .. }
            | Self::ForgetShip { .. }
            | Self::ForgetUnsell { .. }
            | Self::ForgetRestock { .. }
            | Self::Unship { .. }
            | Self::ForgetUnship { .. } => false,
        }
    }

    /// The greatest step of the same kind, in the order of [`Order::todo`].
    const fn last_of_its_kind(self) -> Self {
        const LAST: u16 = u16::MAX;
        match self {
            Self::Freeze | Self::Thaw | Self::Close => self,
            Self::Reserve(_) => Self::Reserve(LAST),
            Self::Release(_) => Self::Release(LAST),
            Self::Commit(_) => Self::Commit(LAST),
            Self::Forget(_) => Self::Forget(LAST),
            Self::Ship { .. } => Self::Ship { shipment: LAST, line: LAST },
            Self::Unsell { .. } => Self::Unsell { cancel: LAST, line: LAST },
            Self::Restock { .. } => Self::Restock { number: LAST, receipt: LAST },
            Self::ForgetShip { .. } => Self::ForgetShip { shipment: LAST, line: LAST },
            Self::ForgetUnsell { .. } => Self::ForgetUnsell { cancel: LAST, line: LAST },
            Self::ForgetRestock { .. } => Self::ForgetRestock { number: LAST, receipt: LAST },
            Self::Unship { .. } => Self::Unship { shipment: LAST, line: LAST },
            Self::ForgetUnship { .. } => Self::ForgetUnship { shipment: LAST, line: LAST },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::EffectKey;
    use crate::order::CallKey;

    /// Every step, and whether an ending order waits for its answer.
    const TABLE: [(Step, bool); 15] = [
        (Step::Freeze, true),
        (Step::Reserve(2), true),
        (Step::Release(2), true),
        (Step::Commit(2), true),
        (Step::Forget(2), false),
        (Step::Thaw, true),
        (Step::Close, false),
        (Step::Ship { shipment: 1, line: 2 }, false),
        (Step::Unsell { cancel: 1, line: 2 }, true),
        (Step::Restock { number: 1, receipt: 2 }, false),
        (Step::ForgetShip { shipment: 1, line: 2 }, false),
        (Step::ForgetUnsell { cancel: 1, line: 2 }, false),
        (Step::ForgetRestock { number: 1, receipt: 2 }, false),
        (Step::Unship { shipment: 1, line: 2 }, false),
        (Step::ForgetUnship { shipment: 1, line: 2 }, false),
    ];

    #[test]
    fn the_table_names_every_step() {
        let numbers = (1..=u8::MAX).filter(|step| Step::of(EffectKey { step: *step, subject: 1, part: 2 }).is_some());
        let named: Vec<u8> = TABLE.iter().map(|(step, _)| step.key().step).collect();
        assert_eq!(numbers.collect::<Vec<_>>(), named);
    }

    #[test]
    fn an_ending_order_waits_for_these_steps_and_no_others() {
        let mut order = Order::default();
        for (step, blocks) in TABLE {
            order.todo = [Todo::Step(step), Todo::Call(CallKey::authorize(1))].into();
            assert_eq!(order.blocking().collect::<Vec<_>>(), if blocks { vec![step] } else { vec![] }, "{step:?}");
        }
        // All together, and several of a kind: none hides another.
        let more = [Step::Reserve(7), Step::Forget(1), Step::Forget(7), Step::Unsell { cancel: 3, line: 1 }];
        let all = TABLE.iter().map(|(step, _)| *step).chain(more);
        order.todo = all.map(Todo::Step).chain([Todo::Call(CallKey::authorize(1))]).collect();
        let found: Vec<Step> = order.blocking().collect();
        let expected: Vec<Step> = order
            .todo
            .iter()
            .filter_map(|todo| match todo {
                Todo::Step(step) => {
                    TABLE.iter().any(|(known, blocks)| *blocks && known.key().step == step.key().step).then_some(*step)
                }
                Todo::Call(_) => None,
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(found.len(), 8);
    }
}
