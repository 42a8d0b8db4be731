//! The effects that an order owes, its wake-up times, and the commands that follow from answers. All are derived from the state, so a
//! restarted order continues.

use super::command::{Answer, CartRefusal, Command, Shortage};
use super::step::{CallKey, CallMode, Step, Todo};
use super::terms::{Source, Wanted};
use super::{Attempt, CallState, Order, Stage};
use crate::cart;
use crate::claims::ClaimStage;
use crate::counter;
use crate::effect::{Effect, EffectKey, OWED_MAX, Outcome};
use crate::entity::Wait;
use crate::ids::EntityId;
use crate::inventory::{self, Allocation, MoveKey, ReturnKey};
use crate::message::{Command as Ask, Refusal, Reply};
use crate::payment::{Operation, ProviderCall};
use crate::time::Timestamp;

impl Order {
    pub(super) fn owed_at(&self, now: Timestamp) -> Vec<EffectKey> {
        let keys = self.todo.iter().filter_map(|todo| match todo {
            Todo::Step(step) => self.step_is_due(*step).then(|| step.key()),
            Todo::Call(call) => self.call_at(*call, now),
        });
        keys.take(OWED_MAX).collect()
    }

    /// Whether the SKU knows what a step builds on: one that overtakes it would be refused.
    ///
    /// Units in place of lost ones are there when the SKU has said so, and not before: nothing builds on them, so nothing waits for them.
    fn step_is_due(&self, step: Step) -> bool {
        let waits = |step: Step| self.todo.contains(&Todo::Step(step));
        let ships = |shipment, line| waits(Step::Ship { shipment, line });
        let comes_back = |shipment, line| waits(Step::Unship { shipment, line }) && !self.is_resending(shipment);
        let mut shipments = (1..=u16::MAX).take(self.shipments.len());
        match step {
            Step::Restock { number, receipt } => self
                .receipt_line(number, receipt)
                .is_some_and(|line| !shipments.any(|shipment| ships(shipment, line) || comes_back(shipment, line))),
            // What was taken back is sent again after it, and cancelled after it.
            Step::Ship { shipment, line } => !shipments.any(|other| other < shipment && comes_back(other, line)),
            Step::Unsell { line, .. } => !shipments.any(|shipment| comes_back(shipment, line)),
            Step::Unship { shipment, line } => !ships(shipment, line),
            Step::Freeze
            | Step::Reserve(_)
            | Step::Release(_)
            | Step::Commit(_)
            | Step::Forget(_)
            | Step::Thaw
            | Step::Close
            | Step::ForgetShip { .. }
            | Step::ForgetUnsell { .. }
            | Step::ForgetRestock { .. }
            | Step::ForgetUnship { .. } => true,
        }
    }

    fn receipt_line(&self, number: u16, receipt: u16) -> Option<u16> {
        let receipts = &self.return_(number)?.receipts;
        receipts.get(usize::from(receipt.checked_sub(1)?)).map(|receipt| receipt.line)
    }

    /// Calls with an unknown outcome.
    pub(super) fn open_calls(&self) -> impl Iterator<Item = CallKey> {
        let first = Todo::Call(CallKey { operation: Operation::Authorize, payment: 0, attempt: 0 });
        self.todo.range(first..).filter_map(|todo| match todo {
            Todo::Call(call) => Some(*call),
            Todo::Step(_) => None,
        })
    }

    /// Whether a call is due at `now`, and whether it is sent or only queried.
    fn call_at(&self, call: CallKey, now: Timestamp) -> Option<EffectKey> {
        if self.is_given_up(call) {
            return Some(call.cancel());
        }
        let life_s = self.terms()?.payment.keys_life_s;
        if let Some(sent_at) = self.sent_at(call) {
            return Some(if now >= sent_at.plus_s(life_s) { call.query() } else { call.call() });
        }
        match self.asked_from(call) {
            Some(from) if now < from => None,
            Some(_) | None => Some(call.query()),
        }
    }

    /// When queries begin about an attempt that waits for the shopper or the provider.
    fn asked_from(&self, call: CallKey) -> Option<Timestamp> {
        if call.operation != Operation::Authorize {
            return None;
        }
        let payment = self.payment(call.payment)?;
        let after_s = self.terms()?.payment.query_after_s;
        match payment.attempt {
            Attempt::RequiresAction(_) | Attempt::Processing => Some(payment.changed_at.plus_s(after_s)),
            Attempt::Asked | Attempt::Authorized { .. } | Attempt::Declined { .. } => None,
        }
    }

    pub(super) fn wakes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let terms = self.terms()?;
        let deadline = match self.stage {
            Stage::Freezing | Stage::Reserving => Some(self.expires_at),
            Stage::Held if self.waits_only_for_manual() => Some(self.expires_at),
            Stage::Nothing
            | Stage::Held
            | Stage::Committing
            | Stage::Confirmed
            | Stage::Ending(_)
            | Stage::Ended(_) => None,
        };
        let keys = self.open_calls().filter_map(|call| self.sent_at(call));
        let keys = keys.map(|sent_at| sent_at.plus_s(terms.payment.keys_life_s)).min();
        let asking = self.open_calls().filter_map(|call| self.asked_from(call)).filter(|from| *from > now).min();
        // So that the operator finds it, after a restart too.
        let attention = self.needs_attention().then_some(Timestamp::NEVER);
        // Overdue work is due at once, so a missed wake-up is not lost.
        [deadline, keys, self.lapse_wake(), asking, attention]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(now.plus_ms(1)))
    }

    fn lapse_wake(&self) -> Option<Timestamp> {
        let paying = self.payment(self.paying?)?;
        let idle = !paying.has_open(Operation::Capture) && !paying.has_open(Operation::Void);
        let waits = self.stage == Stage::Confirmed && idle && self.capturable() > 0;
        let refused = paying.calls_of(Operation::Capture).any(|call| matches!(call.state, CallState::Refused { .. }));
        if waits && !refused { self.capture_by(paying) } else { None }
    }

    pub(super) fn effect_of(&self, key: EffectKey) -> Option<Effect> {
        if let Some((call, mode)) = CallKey::of(key) {
            return self.call_effect(call, mode);
        }
        let step = Step::of(key)?;
        if !self.todo.contains(&Todo::Step(step)) || !self.step_is_due(step) {
            return None;
        }
        match step {
            Step::Reserve(claim) | Step::Release(claim) | Step::Commit(claim) | Step::Forget(claim)
                if ClaimStage::of(claim) != ClaimStage::Stock =>
            {
                self.ask_counter(claim, step)
            }
            Step::Freeze => self.ask_cart(cart::Command::Freeze { order: self.id, expires_at: self.expires_at }),
            Step::Thaw => self.ask_cart(cart::Command::Thaw { order: self.id }),
            Step::Close => self.ask_cart(cart::Command::Close { order: self.id }),
            Step::Reserve(line)
            | Step::Release(line)
            | Step::Commit(line)
            | Step::Forget(line)
            | Step::Ship { line, .. }
            | Step::Unship { line, .. }
            | Step::ForgetUnship { line, .. }
            | Step::Unsell { line, .. }
            | Step::ForgetShip { line, .. }
            | Step::ForgetUnsell { line, .. } => self.ask_stock(line, step),
            Step::Restock { number, receipt } | Step::ForgetRestock { number, receipt } => {
                self.ask_stock(self.receipt_line(number, receipt)?, step)
            }
        }
    }

    fn ask_cart(&self, command: cart::Command) -> Option<Effect> {
        match &self.head.as_ref()?.source {
            Source::Cart(cart) => Some(Effect::Ask { to: EntityId::Cart(*cart), command: Ask::Cart(command) }),
            Source::Lines(_) => None,
        }
    }

    fn ask_stock(&self, number: u16, step: Step) -> Option<Effect> {
        let line = self.line(number)?;
        let order = self.id;
        let reservation = line.agreed.as_ref().map(|agreed| agreed.reservation);
        let command = match step {
            Step::Reserve(_) => {
                let terms = self.terms()?;
                inventory::Command::Reserve {
                    order,
                    units: line.units,
                    currency: terms.currency,
                    expected_unit_price: line.expected_unit_price,
                    ranking: terms.ranking.clone(),
                    expires_at: self.expires_at,
                    instead_of: None,
                }
            }
            Step::Release(_) => inventory::Command::Release { order, reservation: reservation? },
            Step::Commit(_) => inventory::Command::Commit { order, reservation: reservation? },
            Step::Forget(_) => inventory::Command::Forget { order, reservation: reservation? },
            Step::Ship { shipment, .. } => {
                inventory::Command::Ship { order, shipment, allocations: self.shipped_with(shipment, number)? }
            }
            Step::Unship { shipment, .. } => inventory::Command::Unship {
                order,
                shipment,
                allocations: self.shipped_with(shipment, number)?,
                lost: self.is_resending(shipment),
            },
            Step::ForgetUnship { shipment, .. } => {
                inventory::Command::ForgetMoves { order, moves: vec![MoveKey::Unship { shipment }] }
            }
            Step::Unsell { cancel, .. } => inventory::Command::Return {
                order,
                key: ReturnKey::Cancel { number: cancel },
                allocations: self.cancelled_by(cancel, number)?,
                restock: true,
            },
            Step::Restock { number, receipt } => {
                let receipts = &self.return_(number)?.receipts;
                let got = receipts.get(usize::from(receipt.checked_sub(1)?))?;
                inventory::Command::Return {
                    order,
                    key: ReturnKey::Return { number, receipt },
                    allocations: got.to.clone(),
                    restock: got.restock,
                }
            }
            Step::ForgetShip { shipment, .. } => {
                inventory::Command::ForgetMoves { order, moves: vec![MoveKey::Ship { shipment }] }
            }
            Step::ForgetUnsell { cancel, .. } => {
                let moves = vec![MoveKey::Return(ReturnKey::Cancel { number: cancel })];
                inventory::Command::ForgetMoves { order, moves }
            }
            Step::ForgetRestock { number, receipt } => {
                let moves = vec![MoveKey::Return(ReturnKey::Return { number, receipt })];
                inventory::Command::ForgetMoves { order, moves }
            }
            Step::Freeze | Step::Thaw | Step::Close => return None,
        };
        Some(Effect::Ask { to: EntityId::Inventory(line.sku.clone()), command: Ask::Inventory(command) })
    }

    fn shipped_with(&self, shipment: u16, line: u16) -> Option<Vec<Allocation>> {
        let started = &self.shipment(shipment)?.started;
        let units = started.lines.iter().find(|one| one.line == line)?.units;
        Some(vec![Allocation { warehouse: started.warehouse.clone(), units }])
    }

    fn cancelled_by(&self, cancel: u16, line: u16) -> Option<Vec<Allocation>> {
        let cancelled = self.cancels.get(usize::from(cancel.checked_sub(1)?))?;
        cancelled.lines.iter().find(|one| one.line == line).map(|one| one.from.clone())
    }

    fn call_effect(&self, call: CallKey, mode: CallMode) -> Option<Effect> {
        let payment = self.payment(call.payment)?;
        let authorize = call.operation == Operation::Authorize;
        // A call that is only queried is never sent again (rule M2), nor is one that got a 5xx (rule M7).
        let may_be_asked = match mode {
            CallMode::Send => self.sent_at(call).is_some(),
            CallMode::Query => true,
            CallMode::Cancel => self.is_given_up(call),
        };
        if !self.todo.contains(&Todo::Call(call)) || !may_be_asked {
            return None;
        }
        let life_s = self.terms()?.payment.keys_life_s;
        Some(Effect::Provider(ProviderCall {
            reference: self.reference(call),
            amount: self.money_of(call)?,
            method: authorize.then(|| payment.instruction.method.clone()),
            token: payment.instruction.token.clone().filter(|_| authorize),
            provider_reference: payment.provider_reference.clone().filter(|_| !authorize),
            return_url: payment.instruction.return_url.clone().filter(|_| authorize),
            query_only: mode == CallMode::Query,
            cancel: mode == CallMode::Cancel,
            send_before: self.sent_at(call).map_or(Timestamp(u64::MAX), |sent_at| sent_at.plus_s(life_s)),
        }))
    }

    pub(super) fn answer_to(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
        if let Some((call, _)) = CallKey::of(key) {
            let Outcome::Provider(report) = outcome else { return None };
            // An answer about another reference is no answer. The time does not matter here: only whether it changes anything.
            if report.reference != self.reference(call) {
                return None;
            }
            self.reported(&report, Timestamp::default()).ok().flatten()?;
            return Some(Command::ProviderSays { report });
        }
        let step = Step::of(key)?;
        let answer = match (step, outcome) {
            (Step::Freeze, Outcome::Replied(Reply::Cart(cart::Reply::Frozen(frozen)))) => self.frozen_cart(&frozen),
            (Step::Freeze, Outcome::Refused(Refusal::Cart(refusal))) => Answer::NoCart(no_cart(&refusal)),
            (Step::Reserve(_), Outcome::Replied(Reply::Inventory(inventory::Reply::Reserved(reserved)))) => {
                Answer::Reserved(reserved)
            }
            (Step::Reserve(_), Outcome::Refused(Refusal::Inventory(refusal))) => Answer::Short(shortage(&refusal)),
            (Step::Reserve(_), Outcome::Replied(Reply::Counter(counter::Reply::Granted { number }))) => {
                Answer::Granted(number)
            }
            (Step::Reserve(_), Outcome::Refused(Refusal::Counter(refusal))) => Answer::Short(not_granted(&refusal)),
            (Step::Freeze | Step::Reserve(_), Outcome::Replied(_) | Outcome::Refused(_)) => return None,
            // The warehouse has no other units yet: it is asked again, so that no late copy can find some after the order has given up.
            (Step::Unship { shipment, .. }, Outcome::Refused(_)) if self.is_resending(shipment) => return None,
            // A release of something that a SKU or cart does not know is done; a sale or movement of it has failed.
            (
                Step::Commit(_) | Step::Ship { .. } | Step::Unship { .. } | Step::Unsell { .. } | Step::Restock { .. },
                Outcome::Replied(Reply::Inventory(inventory::Reply::Unknown)) | Outcome::Refused(_),
            ) => Answer::Gone,
            (Step::Commit(_), Outcome::Replied(Reply::Counter(counter::Reply::Unknown))) => Answer::Gone,
            (Step::Release(_) | Step::Forget(_), Outcome::Refused(_)) => Answer::Gone,
            (_, Outcome::Replied(_) | Outcome::Refused(_)) => Answer::Done,
            (_, Outcome::Provider(_)) => return None,
        };
        Some(Command::Answered { step, answer })
    }

    fn frozen_cart(&self, frozen: &cart::Frozen) -> Answer {
        if self.terms().is_some_and(|terms| terms.currency != frozen.currency) {
            return Answer::NoCart(CartRefusal::Currency);
        }
        // The cart shows the current price beside the one at adding, so the current price is expected; `expected_total` protects a caller who wants it.
        let lines = frozen.lines.iter();
        Answer::Frozen(
            lines
                .map(|line| Wanted { sku: line.sku.clone(), units: line.quantity, expected_unit_price: None })
                .collect(),
        )
    }

    pub(super) fn has_reached(&self, wait: Wait) -> bool {
        match (wait, self.stage) {
            (Wait::Decided, _) | (_, Stage::Nothing | Stage::Confirmed | Stage::Ended(_)) => true,
            (_, Stage::Freezing | Stage::Reserving) => false,
            // A change is answered once it has taken effect, or has not.
            (_, Stage::Held) if self.edit.is_some() => false,
            (Wait::Held, Stage::Held | Stage::Committing) => true,
            // An order that was held has been answered then; one that never was is answered when nothing is held.
            (Wait::Held, Stage::Ending(_)) => self.priced.is_some(),
            (Wait::Settled, Stage::Held) => self.payments.last().is_none_or(|payment| match payment.attempt {
                Attempt::RequiresAction(_) | Attempt::Declined { .. } => true,
                Attempt::Asked | Attempt::Processing | Attempt::Authorized { .. } => false,
            }),
            (Wait::Settled, Stage::Committing | Stage::Ending(_)) => false,
        }
    }
}

fn no_cart(refusal: &cart::Refusal) -> CartRefusal {
    match refusal {
        cart::Refusal::Frozen { order } => CartRefusal::Frozen { order: *order },
        cart::Refusal::AlreadyOrdered { order } => CartRefusal::Ordered { order: *order },
        cart::Refusal::Empty => CartRefusal::Empty,
        cart::Refusal::Unknown
        | cart::Refusal::RequestReused
        | cart::Refusal::Stale { .. }
        | cart::Refusal::Expired
        | cart::Refusal::Ended
        | cart::Refusal::TooManyLines { .. }
        | cart::Refusal::TooMany { .. }
        | cart::Refusal::CurrencyMismatch { .. } => CartRefusal::Unknown,
    }
}

const fn not_granted(refusal: &counter::Refusal) -> Shortage {
    match refusal {
        counter::Refusal::LimitReached { limit, taken } => Shortage::LimitReached { limit: *limit, taken: *taken },
        counter::Refusal::Ended => Shortage::TooLate,
        counter::Refusal::NotEnded | counter::Refusal::OtherTerms => Shortage::Unknown,
    }
}

fn shortage(refusal: &inventory::Refusal) -> Shortage {
    match refusal {
        inventory::Refusal::SoldOut { wanted: _, available, all_reserved } => {
            Shortage::SoldOut { available: *available, all_reserved: *all_reserved }
        }
        inventory::Refusal::PriceChanged { expected, now } => Shortage::PriceChanged { expected: *expected, now: *now },
        inventory::Refusal::NotOnSale => Shortage::NotOnSale,
        inventory::Refusal::NoPrice { currency: _ } => Shortage::NoPrice,
        inventory::Refusal::LimitExceeded { limit, wanted: _ } => Shortage::LimitExceeded { limit: *limit },
        inventory::Refusal::Ended => Shortage::TooLate,
        inventory::Refusal::Unknown
        | inventory::Refusal::OtherTerms
        | inventory::Refusal::RequestReused
        | inventory::Refusal::UnitsReserved { .. }
        | inventory::Refusal::Stale { .. }
        | inventory::Refusal::NotEnded
        | inventory::Refusal::OtherProduct { .. }
        | inventory::Refusal::TooManyAnnounced { .. }
        | inventory::Refusal::NotThatMany
        | inventory::Refusal::ExternalEnded { .. }
        | inventory::Refusal::Overflow => Shortage::Unknown,
    }
}
