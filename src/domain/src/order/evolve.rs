//! Applies an event to an order's state. It decides nothing: the event was valid when it was journaled.

use super::{
    Agreed, Attempt, AttentionReason, Call, CallKey, CallState, Differing, Event, Hold, Instruction, LineNumber, Made,
    Order, OrderLine, Payment, Placed, Priced, PricedOrder, RememberedRequest, Return, ReturnStatus, ShipmentStatus,
    Source, Stage, Step, Todo, Wanted,
};
use crate::claims::{ClaimStage, ClaimStep, Holder};
use crate::ids::Request;
use crate::inventory::Reserved;
use crate::payment::Operation;
use crate::time::Timestamp;
use std::sync::Arc;

impl Order {
    pub(super) fn take_in(&mut self, event: &Event) {
        match event {
            Event::Placed(placed) => self.placed(placed),
            Event::Frozen { lines } => self.frozen(lines),
            Event::CartRefused(_) => self.done(Step::Freeze),
            Event::Reserved { line, reserved } => self.reserved(*line, reserved),
            Event::EditBegun(edit) => self.edit_begun(edit),
            Event::EditEnded { refused } => self.edit_ended(*refused),
            Event::Granted { claim, number } => self.counted(*claim, *number),
            Event::Refused { line, why } => {
                Holder::refused(self, *line, *why);
            }
            Event::Held(priced) => {
                self.stage = Stage::Held;
                self.set_price(priced);
                self.commit_if_free();
            }
            Event::Done(step) => self.step_done(*step),
            Event::Gone(step) => self.step_gone(*step),
            Event::Ending { outcome, request, at: _ } => {
                self.stage = Stage::Ending(*outcome);
                self.remember(request.as_ref(), Made::Order);
                self.undo_all();
            }
            Event::Ended => {
                if let Stage::Ending(outcome) = self.stage {
                    self.stage = Stage::Ended(outcome);
                }
            }
            Event::PaymentStarted { number, asked, amount, capture, at, expires_at } => {
                self.remember(asked.as_ref().map(|(request, _)| request), Made::Payment(*number));
                self.hold_until(*expires_at);
                let instruction = asked.as_ref().map_or_else(|| self.first_instruction(), |(_, how)| how.clone());
                let is_manual = instruction.is_manual();
                let goods_first = instruction.lets_goods_go_first();
                if !is_manual {
                    self.todo.insert(Todo::Call(CallKey::authorize(*number)));
                }
                self.payments.push(Payment {
                    number: *number,
                    instruction,
                    amount: *amount,
                    capture: *capture,
                    attempt: if is_manual { Attempt::Processing } else { Attempt::Asked },
                    provider_reference: None,
                    asked_at: *at,
                    changed_at: *at,
                    query_only: false,
                    captured: 0,
                    refunded: 0,
                    voided: false,
                    calls: Vec::new(),
                    differs: None,
                    given_up: None,
                });
                if goods_first && self.stage == Stage::Held {
                    self.paying = Some(*number);
                    self.commit_all();
                }
            }
            Event::Authorized { payment, provider_reference, lapses_at } => {
                let due = self.due();
                let amount =
                    self.attempted(*payment, Attempt::Authorized { lapses_at: *lapses_at }).map_or(0, |paid| {
                        paid.provider_reference = Some(provider_reference.clone());
                        // The goods went first: paid is what is due by now, of which parts may be cancelled or back.
                        if paid.instruction.lets_goods_go_first() {
                            paid.amount = paid.amount.min(due);
                        }
                        if lapses_at.is_none() {
                            paid.captured = paid.amount;
                        }
                        paid.amount
                    });
                if self.stage == Stage::Held && self.paying.is_none() && amount >= self.due() {
                    self.paying = Some(*payment);
                    self.commit_all();
                }
                self.end_longer_hold();
            }
            Event::Declined { payment, code, retry } => {
                self.attempted(*payment, Attempt::Declined { code: code.clone(), retry: *retry });
                self.end_longer_hold();
            }
            Event::ActionRequired { payment, provider_reference, action, at, expires_at } => {
                self.hold_until(expires_at.unwrap_or(self.expires_at));
                self.under_way(*payment, provider_reference, Attempt::RequiresAction(action.clone()), *at);
            }
            Event::Processing { payment, provider_reference, at, expires_at } => {
                self.hold_until(expires_at.unwrap_or(self.expires_at));
                self.under_way(*payment, provider_reference, Attempt::Processing, *at);
            }
            Event::CallStarted { call, amount, request, refund, at } => {
                let made = Made::Capture { payment: call.payment, attempt: call.attempt };
                self.remember(request.as_ref(), made);
                self.todo.insert(Todo::Call(*call));
                if let Some(payment) = self.payment_mut(call.payment) {
                    payment.calls.push(Call {
                        key: *call,
                        amount: *amount,
                        refund: *refund,
                        asked_at: *at,
                        state: CallState::Asked,
                    });
                }
            }
            Event::CallSucceeded { call, provider_reference } => self.call_succeeded(*call, provider_reference),
            Event::CallRefused { call, code, retry } => {
                self.call_answered(*call);
                if let Some(call) = self.call_mut(*call) {
                    call.state = CallState::Refused { code: code.clone(), retry: *retry };
                }
            }
            Event::QueryOnly { call, conflict } => {
                if call.operation == Operation::Authorize {
                    if let Some(payment) = self.payment_mut(call.payment) {
                        payment.query_only = true;
                    }
                } else if let Some(call) = self.call_mut(*call) {
                    call.state = CallState::QueryOnly;
                }
                self.trouble(if *conflict {
                    AttentionReason::Conflict(*call)
                } else {
                    AttentionReason::NotAnswered(*call)
                });
            }
            Event::Settled { call } => self.settled(*call),
            Event::Troubled(trouble) => {
                if let AttentionReason::Refused { call, .. } = trouble {
                    self.fail_refund_of(*call);
                }
                self.trouble(trouble.clone());
            }
            Event::Confirmed { at } => {
                self.stage = Stage::Confirmed;
                self.confirmed_at = Some(*at);
                self.forget_claims();
                if self.cart_frozen {
                    self.todo.insert(Todo::Step(Step::Close));
                }
                self.unsell_cancelled();
            }
            Event::CancelRequested { request, reason } => {
                self.remember(Some(request), Made::Order);
                self.cancel_requested = Some((*request, *reason));
            }
            Event::Cancelled(cancelled) => self.cancelled(cancelled),
            Event::RefundStarted(refund) => self.refund_started(refund),
            Event::Shipped(shipment) => self.shipped(shipment),
            Event::Delivered { shipment, request, at } => {
                self.remember(Some(request), Made::Shipment(*shipment));
                self.arrived(*shipment, *at);
            }
            Event::Lost { shipment, request } => {
                self.remember(Some(request), Made::Shipment(*shipment));
                if let Some(shipment) = self.shipment_mut(*shipment) {
                    shipment.status = ShipmentStatus::Lost;
                }
            }
            Event::GivenUp { call } => self.given_up(*call),
            Event::Reversed { call, code } => self.reversed(*call, code),
            Event::ShipmentUndone { shipment, request } => {
                self.remember(Some(request), Made::Shipment(*shipment));
                self.shipment_undone(*shipment);
            }
            Event::ResendStarted { shipment, request } => {
                self.remember(Some(request), Made::Shipment(*shipment));
                self.unship(*shipment, ShipmentStatus::Resending);
            }
            Event::ReturnRequested { number, request, lines, approved, window_ends_at } => {
                self.remember(Some(request), Made::Return(*number));
                for one in lines {
                    self.with_line(one.line, |line| line.returning = line.returning.saturating_add(one.units));
                }
                self.returns.push(Return {
                    number: *number,
                    lines: lines.clone(),
                    status: if *approved { ReturnStatus::Approved } else { ReturnStatus::Requested },
                    window_ends_at: *window_ends_at,
                    rejected_because: None,
                    receipts: Vec::new(),
                    amount: 0,
                    kept: None,
                });
            }
            Event::ReturnApproved { number, request } => {
                self.remember(Some(request), Made::Return(*number));
                if let Some(one) = self.return_mut(*number) {
                    one.status = ReturnStatus::Approved;
                }
            }
            Event::ReturnRejected { number, request, reason } => {
                self.remember(Some(request), Made::Return(*number));
                let lines = self.return_mut(*number).map_or_else(Vec::new, |one| {
                    one.status = ReturnStatus::Rejected;
                    one.rejected_because = Some(reason.clone());
                    one.lines.clone()
                });
                for one in lines {
                    self.with_line(one.line, |line| line.returning = line.returning.saturating_sub(one.units));
                }
            }
            Event::ReturnReceived { number, request, receipts, amount } => {
                self.remember(Some(request), Made::Return(*number));
                self.received(*number, receipts, *amount);
            }
            Event::Waived { payment, amount, request } => {
                self.remember(Some(request), Made::Payment(*payment));
                self.reduced = self.reduced.saturating_add(*amount);
            }
            Event::Amended(amended) => self.amended(amended),
            Event::PersonalErased => {
                self.personal = None;
                if let Some(edit) = &mut self.edit {
                    (edit.amended.personal, edit.amended.personal_hash) = (None, None);
                    edit.amended.metadata = None;
                }
            }
            Event::AmountDiffers { call, found, charge, undo } => {
                self.amount_differs(*call, Differing { found: *found, undo: *undo }, charge.as_ref());
            }
        }
        if self.personal.is_none() {
            self.forget_texts();
        }
    }

    /// Moves the deadline while a payment is pending, and remembers the ordinary one (rule M3).
    fn hold_until(&mut self, expires_at: Timestamp) {
        if expires_at > self.expires_at {
            self.ordinary_deadline.get_or_insert(self.expires_at);
        }
        self.expires_at = expires_at;
    }

    /// The payment is pending no more: what holds stock without money is held until the ordinary deadline.
    const fn end_longer_hold(&mut self) {
        if let Some(ordinary) = self.ordinary_deadline.take() {
            self.expires_at = ordinary;
        }
    }

    fn placed(&mut self, placed: &Placed) {
        self.id = placed.order;
        self.expires_at = placed.expires_at;
        self.personal_hash = placed.head.personal_hash;
        self.personal = placed.personal.clone();
        self.head = Some(Arc::clone(&placed.head));
        self.remember(Some(&placed.head.request), Made::Order);
        match &placed.head.source {
            Source::Cart(_) => {
                self.stage = Stage::Freezing;
                self.todo.insert(Todo::Step(Step::Freeze));
            }
            Source::Lines(lines) => self.reserve_all(lines),
        }
    }

    fn frozen(&mut self, lines: &[Wanted]) {
        self.done(Step::Freeze);
        self.cart_frozen = true;
        if self.stage == Stage::Freezing {
            self.reserve_all(lines);
        } else {
            self.todo.insert(Todo::Step(Step::Thaw));
        }
    }

    fn reserve_all(&mut self, lines: &[Wanted]) {
        self.stage = Stage::Reserving;
        self.lines = lines.iter().map(OrderLine::new).collect();
        self.claims = self.claims_of(lines);
        self.ask_first_of(&ClaimStage::BEFORE_PAYMENT);
    }

    fn reserved(&mut self, number: LineNumber, reserved: &Reserved) {
        self.with_line(number, |line| {
            line.unshipped.clone_from(&reserved.allocations);
            line.agreed = Some(Agreed {
                reservation: reserved.reservation,
                price: reserved.price,
                title: reserved.title.clone(),
                seller: reserved.seller.clone(),
                tax_class: reserved.tax_class.clone(),
                allocations: reserved.allocations.clone(),
            });
        });
        // A SKU's own time counts from the placement, as the order's does; the shortest holds for the whole order.
        if let (Some(hold_s), Some(head)) = (reserved.hold_s, &self.head) {
            self.expires_at = self.expires_at.min(head.placed_at.plus_s(hold_s));
        }
        self.granted(number);
    }

    pub(super) fn set_price(&mut self, priced: &Priced) {
        for (line, priced) in self.lines.iter_mut().zip(&priced.lines) {
            line.priced = *priced;
        }
        self.priced = Some(PricedOrder {
            shipping: priced.shipping,
            shipping_tax: priced.shipping_tax,
            shipping_total: priced.shipping_total,
            total: priced.total,
        });
    }

    pub(super) fn commit_if_free(&mut self) {
        if self.stage == Stage::Held && self.due() == 0 && !self.unsettled() && self.edit.is_none() {
            self.commit_all();
        }
    }

    fn commit_all(&mut self) {
        self.stage = Stage::Committing;
        self.ask_first_of(&[ClaimStage::Instrument]);
        if !self.owes(ClaimStep::Ask, ClaimStage::Instrument.ids()) {
            self.commit_first_of(&ClaimStage::COMMITS);
        }
    }

    /// Releases units that are known to be reserved. A reservation with an unknown outcome is queried first, and released once it is known (rule R6).
    fn undo_all(&mut self) {
        self.edit = None;
        if self.claims.is_some() {
            self.drop_unasked();
        }
        self.undo();
        if self.cart_frozen {
            self.todo.insert(Todo::Step(Step::Thaw));
        }
        self.unsell_cancelled();
    }

    /// Takes back units that were cancelled before their sale, now that they are sold.
    fn unsell_cancelled(&mut self) {
        let committed = |line: LineNumber| self.line(line).is_some_and(|line| line.hold == Hold::Committed);
        let mut owed = Vec::new();
        for cancel in &self.cancels {
            for line in cancel.lines.iter().filter(|line| committed(line.line)) {
                owed.push(Todo::Step(Step::Unsell { cancel: cancel.number, line: line.line }));
            }
        }
        self.todo.extend(owed);
    }

    fn step_done(&mut self, step: Step) {
        self.done(step);
        let next = match step {
            Step::Release(claim) => return Holder::step_done(self, ClaimStep::Release, claim),
            Step::Commit(claim) => return Holder::step_done(self, ClaimStep::Commit, claim),
            Step::Thaw => {
                self.cart_frozen = false;
                return;
            }
            Step::Ship { shipment, line } => Step::ForgetShip { shipment, line },
            Step::Unsell { cancel, line } => Step::ForgetUnsell { cancel, line },
            Step::Restock { number, receipt } => Step::ForgetRestock { number, receipt },
            Step::Unship { shipment, line } => {
                self.unshipped(shipment, line);
                Step::ForgetUnship { shipment, line }
            }
            Step::Forget(claim) => return self.drop_replaced(claim),
            Step::Freeze
            | Step::Reserve(_)
            | Step::Close
            | Step::ForgetShip { .. }
            | Step::ForgetUnsell { .. }
            | Step::ForgetRestock { .. }
            | Step::ForgetUnship { .. } => return,
        };
        self.todo.insert(Todo::Step(next));
    }

    fn step_gone(&mut self, step: Step) {
        self.done(step);
        let is_expected = match step {
            Step::Commit(claim) => Holder::step_gone(self, ClaimStep::Commit, claim),
            Step::Release(claim) => Holder::step_gone(self, ClaimStep::Release, claim),
            Step::Freeze
            | Step::Reserve(_)
            | Step::Forget(_)
            | Step::Thaw
            | Step::Close
            | Step::Ship { .. }
            | Step::Unsell { .. }
            | Step::Restock { .. }
            | Step::ForgetShip { .. }
            | Step::ForgetUnsell { .. }
            | Step::ForgetRestock { .. }
            | Step::Unship { .. }
            | Step::ForgetUnship { .. } => false,
        };
        if !is_expected {
            self.trouble(AttentionReason::StepRefused(step));
        }
    }

    fn first_instruction(&self) -> Instruction {
        self.head.as_ref().and_then(|head| head.payment.clone()).unwrap_or_else(|| Instruction {
            method: "manual".into(),
            token: None,
            return_url: None,
            capture: None,
            goods_first: None,
        })
    }

    fn done(&mut self, step: Step) {
        self.todo.remove(&Todo::Step(step));
    }

    pub(super) fn with_line(&mut self, number: LineNumber, change: impl FnOnce(&mut OrderLine)) {
        if let Some(line) = self.line_mut(number) {
            change(line);
        }
    }

    pub(super) fn trouble(&mut self, trouble: AttentionReason) {
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }

    pub(super) fn remember(&mut self, request: Option<&Request>, made: Made) {
        if let Some(request) = request {
            self.requests.entry(request.id).or_insert(RememberedRequest { terms: request.terms, made });
        }
    }
}
