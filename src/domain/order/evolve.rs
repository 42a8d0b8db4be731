//! Takes one event into an order's state. Nothing here decides: whatever is true of the event was true when it was journaled.

use super::command::{LineUnits, Made};
use super::event::{Amended, Cancelled, Event, Placed, Priced, Receipt, RefundCause, RefundStarted, ShipmentStarted};
use super::state::{
    Agreed, Attempt, Call, CallState, Head, Hold, Line, LineNumber, Order, Payment, PricedOrder, ReceiptDone, Refund,
    RefundStatus, Return, ReturnStatus, Seen, Shipment, ShipmentStatus, Stage, Trouble,
};
use super::step::{CallKey, Step, Todo};
use super::terms::{Instruction, Source, Wanted};
use crate::domain::ids::Request;
use crate::domain::inventory::{Allocation, Reserved, Units};
use crate::domain::payment::Operation;
use std::sync::Arc;

impl Order {
    pub(super) fn take_in(&mut self, event: &Event) {
        match event {
            Event::Placed(placed) => self.placed(placed),
            Event::Frozen { lines } => self.frozen(lines),
            Event::CartRefused(_) => self.done(Step::Freeze),
            Event::Reserved { line, reserved } => self.reserved(*line, reserved),
            Event::Refused { line, why } => {
                self.done(Step::Reserve(*line));
                self.open = self.open.saturating_sub(1);
                self.hold(*line, Hold::Refused(*why));
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
                self.undo();
            }
            Event::Ended => {
                if let Stage::Ending(outcome) = self.stage {
                    self.stage = Stage::Ended(outcome);
                }
            }
            Event::PaymentStarted { number, asked, amount, capture, at, expires_at } => {
                self.remember(asked.as_ref().map(|(request, _)| request), Made::Payment(*number));
                self.expires_at = *expires_at;
                let instruction = asked.as_ref().map_or_else(|| self.first_instruction(), |(_, how)| how.clone());
                self.todo.insert(Todo::Call(CallKey::authorize(*number)));
                self.payments.push(Payment {
                    number: *number,
                    instruction,
                    amount: *amount,
                    capture: *capture,
                    attempt: Attempt::Asked,
                    provider_reference: None,
                    asked_at: *at,
                    changed_at: *at,
                    query_only: false,
                    captured: 0,
                    refunded: 0,
                    voided: false,
                    calls: Vec::new(),
                });
            }
            Event::Authorized { payment, provider_reference, lapses_at } => {
                let amount =
                    self.attempted(*payment, Attempt::Authorized { lapses_at: *lapses_at }).map_or(0, |paid| {
                        paid.provider_reference = Some(provider_reference.clone());
                        if lapses_at.is_none() {
                            paid.captured = paid.amount;
                        }
                        paid.amount
                    });
                if self.stage == Stage::Held && self.paying.is_none() && amount >= self.due() {
                    self.paying = Some(*payment);
                    self.commit_all();
                }
            }
            Event::Declined { payment, code, retry } => {
                self.attempted(*payment, Attempt::Declined { code: code.clone(), retry: *retry });
            }
            Event::ActionRequired { payment, provider_reference, action, at } => {
                self.under_way(*payment, provider_reference, Attempt::RequiresAction(action.clone()), *at);
            }
            Event::Processing { payment, provider_reference, at } => {
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
                self.trouble(if *conflict { Trouble::Conflict(*call) } else { Trouble::NotAnswered(*call) });
            }
            Event::Settled { call } => self.settled(*call),
            Event::Troubled(trouble) => {
                if let Trouble::Refused { call, .. } = trouble {
                    self.fail_refund_of(*call);
                }
                self.trouble(trouble.clone());
            }
            Event::Confirmed { at } => {
                self.stage = Stage::Confirmed;
                self.confirmed_at = Some(*at);
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
            Event::Amended(amended) => self.amended(amended),
            Event::PersonalErased => self.personal = None,
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
        self.open = lines.len();
        self.lines = lines.iter().map(Line::new).collect();
        let numbers = (1..=LineNumber::MAX).zip(lines).map(|(number, _)| Todo::Step(Step::Reserve(number)));
        self.todo.extend(numbers);
    }

    fn reserved(&mut self, number: LineNumber, reserved: &Reserved) {
        self.done(Step::Reserve(number));
        self.open = self.open.saturating_sub(1);
        self.with_line(number, |line| {
            line.hold = Hold::Held;
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
        if matches!(self.stage, Stage::Ending(_) | Stage::Ended(_)) {
            self.release(number);
        }
    }

    fn set_price(&mut self, priced: &Priced) {
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

    fn commit_if_free(&mut self) {
        if self.stage == Stage::Held && self.due() == 0 && !self.unsettled() {
            self.commit_all();
        }
    }

    fn commit_all(&mut self) {
        self.stage = Stage::Committing;
        let held = (1..=LineNumber::MAX).zip(&self.lines).filter(|(_, line)| line.hold == Hold::Held);
        let before = self.todo.len();
        self.todo.extend(held.map(|(number, _)| Todo::Step(Step::Commit(number))));
        self.open = self.todo.len().saturating_sub(before);
    }

    fn release(&mut self, number: LineNumber) {
        self.hold(number, Hold::Releasing);
        self.todo.insert(Todo::Step(Step::Release(number)));
    }

    /// What is known to be held is let go of; what is not known yet stays asked for, and is let go of once it is (rule R6).
    fn undo(&mut self) {
        for number in (1..=LineNumber::MAX).take(self.lines.len()) {
            if self.line(number).is_some_and(|line| line.hold == Hold::Held) {
                self.release(number);
            }
        }
        if self.cart_frozen {
            self.todo.insert(Todo::Step(Step::Thaw));
        }
        self.unsell_cancelled();
    }

    /// Units that were cancelled before they were sold go back now that they are.
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
            Step::Release(line) => {
                self.hold(line, Hold::Released);
                Step::Forget(line)
            }
            Step::Commit(line) => {
                self.open = self.open.saturating_sub(1);
                self.hold(line, Hold::Committed);
                Step::Forget(line)
            }
            Step::Thaw => {
                self.cart_frozen = false;
                return;
            }
            Step::Ship { shipment, line } => Step::ForgetShip { shipment, line },
            Step::Unsell { cancel, line } => Step::ForgetUnsell { cancel, line },
            Step::Restock { number, receipt } => Step::ForgetRestock { number, receipt },
            Step::Freeze
            | Step::Reserve(_)
            | Step::Forget(_)
            | Step::Close
            | Step::ForgetShip { .. }
            | Step::ForgetUnsell { .. }
            | Step::ForgetRestock { .. } => return,
        };
        self.todo.insert(Todo::Step(next));
    }

    fn step_gone(&mut self, step: Step) {
        self.done(step);
        match step {
            Step::Commit(line) => {
                self.open = self.open.saturating_sub(1);
                self.hold(line, Hold::Vanished);
            }
            Step::Release(line) => {
                self.hold(line, Hold::Released);
                self.trouble(Trouble::StepRefused(step));
            }
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
            | Step::ForgetRestock { .. } => self.trouble(Trouble::StepRefused(step)),
        }
    }

    /// A definite answer came: nobody needs to ask or find out any more.
    fn call_answered(&mut self, key: CallKey) {
        self.todo.remove(&Todo::Call(key));
        self.troubles.retain(|trouble| match trouble {
            Trouble::NotAnswered(one) | Trouble::Conflict(one) => *one != key,
            Trouble::Refused { .. } | Trouble::StepRefused(_) => true,
        });
    }

    fn attempted(&mut self, number: u16, attempt: Attempt) -> Option<&mut Payment> {
        self.call_answered(CallKey::authorize(number));
        let payment = self.payment_mut(number)?;
        payment.attempt = attempt;
        Some(payment)
    }

    fn under_way(
        &mut self,
        number: u16,
        provider_reference: &str,
        attempt: Attempt,
        at: crate::domain::time::Timestamp,
    ) {
        if let Some(payment) = self.payment_mut(number) {
            payment.provider_reference = Some(provider_reference.into());
            payment.attempt = attempt;
            payment.changed_at = at;
        }
    }

    fn call_succeeded(&mut self, key: CallKey, provider_reference: &str) {
        self.call_answered(key);
        let Some(call) = self.call_mut(key) else { return };
        call.state = CallState::Succeeded(provider_reference.into());
        let (amount, refund) = (call.amount, call.refund);
        if let Some(payment) = self.payment_mut(key.payment) {
            match key.operation {
                Operation::Authorize => {}
                Operation::Capture => payment.captured = payment.captured.saturating_add(amount),
                Operation::Void => payment.voided = true,
                Operation::Refund => payment.refunded = payment.refunded.saturating_add(amount),
            }
        }
        if let Some(refund) = refund.and_then(|number| self.refund_mut(number)) {
            refund.status = RefundStatus::Succeeded;
        }
    }

    fn settled(&mut self, key: CallKey) {
        self.troubles.retain(|trouble| match trouble {
            Trouble::NotAnswered(one) | Trouble::Conflict(one) | Trouble::Refused { call: one, .. } => *one != key,
            Trouble::StepRefused(_) => true,
        });
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

    fn fail_refund_of(&mut self, call: CallKey) {
        let number = self.call_mut(call).and_then(|call| call.refund);
        if let Some(refund) = number.and_then(|number| self.refund_mut(number)) {
            refund.status = RefundStatus::Failed;
        }
    }

    fn cancelled(&mut self, cancelled: &Cancelled) {
        self.remember(cancelled.request.as_ref(), Made::Cancel(cancelled.number));
        if cancelled.request.map(|request| request.id) == self.cancel_requested.map(|(request, _)| request.id) {
            self.cancel_requested = None;
        }
        self.reduced = self.reduced.saturating_add(cancelled.amount);
        for one in &cancelled.lines {
            let units = units_of(&one.from);
            let mut whole = false;
            self.with_line(one.line, |line| {
                line.cancelled = line.cancelled.saturating_add(units);
                // Units that were refunded before count once.
                line.settled = line.settled.saturating_add(units).min(line.units);
                take_from(&mut line.unshipped, &one.from);
                whole = line.cancelled == line.units && line.hold == Hold::Held;
            });
            if self.stage == Stage::Confirmed {
                self.todo.insert(Todo::Step(Step::Unsell { cancel: cancelled.number, line: one.line }));
            } else if whole && self.stage == Stage::Held {
                self.release(one.line);
            }
        }
        self.cancels.push(cancelled.clone());
        self.commit_if_free();
    }

    fn refund_started(&mut self, started: &RefundStarted) {
        self.remember(started.request.as_ref(), Made::Refund(started.number));
        if started.cause == RefundCause::Goodwill {
            self.reduced = self.reduced.saturating_add(started.amount);
        }
        for LineUnits { line, units } in &started.lines {
            self.with_line(*line, |line| {
                line.refunded = line.refunded.saturating_add(line.worth(*units, started.shipping));
                line.settled = line.settled.saturating_add(*units);
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
        });
    }

    fn shipped(&mut self, started: &ShipmentStarted) {
        self.remember(Some(&started.request), Made::Shipment(started.number));
        for LineUnits { line, units } in &started.lines {
            let moved = [Allocation { warehouse: started.warehouse.clone(), units: *units }];
            self.with_line(*line, |line| {
                line.shipped = line.shipped.saturating_add(*units);
                take_from(&mut line.unshipped, &moved);
                add_to(&mut line.out, &moved);
            });
            self.todo.insert(Todo::Step(Step::Ship { shipment: started.number, line: *line }));
        }
        self.shipments.push(Shipment { started: started.clone(), status: ShipmentStatus::Shipped, delivered_at: None });
    }

    fn arrived(&mut self, number: u16, at: crate::domain::time::Timestamp) {
        let lines = self.shipment_mut(number).map_or_else(Vec::new, |shipment| {
            shipment.status = ShipmentStatus::Delivered;
            shipment.delivered_at = Some(at);
            shipment.started.lines.clone()
        });
        for LineUnits { line, units } in lines {
            self.with_line(line, |line| line.delivered = line.delivered.saturating_add(units));
        }
    }

    fn received(&mut self, number: u16, receipts: &[Receipt], amount: i64) {
        self.reduced = self.reduced.saturating_add(amount);
        for receipt in receipts {
            let units = units_of(&receipt.to);
            self.with_line(receipt.line, |line| {
                line.returning = line.returning.saturating_sub(units);
                line.returned = line.returned.saturating_add(units);
                line.refunded = line.refunded.saturating_add(line.worth(receipt.settled, false));
                line.settled = line.settled.saturating_add(receipt.settled);
                take_from(&mut line.out, &receipt.to);
            });
            self.todo.insert(Todo::Step(Step::Restock { number, receipt: receipt.receipt }));
        }
        if let Some(one) = self.return_mut(number) {
            one.amount = one.amount.saturating_add(amount);
            one.receipts.extend(receipts.iter().map(|receipt| ReceiptDone {
                line: receipt.line,
                to: receipt.to.clone(),
                condition: receipt.condition,
                restock: receipt.restock,
            }));
            let all = |units: &mut dyn Iterator<Item = Units>| units.fold(0, Units::saturating_add);
            let announced = all(&mut one.lines.iter().map(|line| line.units));
            let arrived = all(&mut one.receipts.iter().map(|receipt| units_of(&receipt.to)));
            one.status = if arrived >= announced { ReturnStatus::Closed } else { ReturnStatus::Received };
        }
    }

    fn amended(&mut self, amended: &Amended) {
        let Amended { destination, shipping, metadata, priced, personal_hash, personal } = amended;
        if let Some(head) =
            self.head.as_mut().filter(|_| destination.is_some() || shipping.is_some() || metadata.is_some())
        {
            let terms = &mut Arc::<Head>::make_mut(head).terms;
            if let Some((destination, tax)) = destination {
                terms.destination = destination.clone();
                terms.tax = tax.clone();
            }
            if let Some(shipping) = shipping {
                terms.shipping = Some(shipping.clone());
            }
            if let Some(metadata) = metadata {
                terms.metadata.clone_from(metadata);
            }
        }
        if let Some(priced) = priced {
            self.set_price(priced);
        }
        if let Some(hash) = personal_hash {
            self.personal_hash = *hash;
            self.personal = personal.clone();
        }
        self.commit_if_free();
    }

    fn first_instruction(&self) -> Instruction {
        self.head.as_ref().and_then(|head| head.payment.clone()).unwrap_or_else(|| Instruction {
            method: "manual".into(),
            token: None,
            return_url: None,
            capture: None,
        })
    }

    fn done(&mut self, step: Step) {
        self.todo.remove(&Todo::Step(step));
    }

    fn hold(&mut self, number: LineNumber, hold: Hold) {
        self.with_line(number, |line| line.hold = hold);
    }

    fn with_line(&mut self, number: LineNumber, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.line_mut(number) {
            change(line);
        }
    }

    fn call_mut(&mut self, key: CallKey) -> Option<&mut Call> {
        self.payment_mut(key.payment)?.calls.iter_mut().find(|call| call.key == key)
    }

    fn refund_mut(&mut self, number: u16) -> Option<&mut Refund> {
        self.refunds.get_mut(usize::from(number.checked_sub(1)?))
    }

    fn shipment_mut(&mut self, number: u16) -> Option<&mut Shipment> {
        self.shipments.get_mut(usize::from(number.checked_sub(1)?))
    }

    fn return_mut(&mut self, number: u16) -> Option<&mut Return> {
        self.returns.get_mut(usize::from(number.checked_sub(1)?))
    }

    fn trouble(&mut self, trouble: Trouble) {
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }

    fn remember(&mut self, request: Option<&Request>, made: Made) {
        if let Some(request) = request {
            self.requests.entry(request.id).or_insert(Seen { terms: request.terms, made });
        }
    }
}

impl Line {
    fn new(wanted: &Wanted) -> Self {
        Self {
            sku: wanted.sku.clone(),
            units: wanted.units,
            expected_unit_price: wanted.expected_unit_price,
            hold: Hold::Asked,
            agreed: None,
            priced: super::PricedLine::default(),
            cancelled: 0,
            shipped: 0,
            delivered: 0,
            returning: 0,
            returned: 0,
            settled: 0,
            refunded: 0,
            unshipped: Vec::new(),
            out: Vec::new(),
        }
    }
}

/// Units over all warehouses.
pub(super) fn units_of(allocations: &[Allocation]) -> Units {
    allocations.iter().fold(0, |sum, allocation| sum.saturating_add(allocation.units))
}

/// Takes units of `from` away, warehouse by warehouse; a warehouse without units left is dropped.
fn take_from(from: &mut Vec<Allocation>, taken: &[Allocation]) {
    for one in taken {
        if let Some(here) = from.iter_mut().find(|here| here.warehouse == one.warehouse) {
            here.units = here.units.saturating_sub(one.units);
        }
    }
    from.retain(|here| here.units > 0);
}

fn add_to(to: &mut Vec<Allocation>, added: &[Allocation]) {
    for one in added {
        match to.iter_mut().find(|here| here.warehouse == one.warehouse) {
            Some(here) => here.units = here.units.saturating_add(one.units),
            None => to.push(one.clone()),
        }
    }
}

/// The first `units` of `from`, from the last warehouse on: the preferred one keeps its units longest.
pub(super) fn pick(from: &[Allocation], units: Units) -> Vec<Allocation> {
    let mut left = units;
    let mut picked = Vec::new();
    for here in from.iter().rev() {
        let take = here.units.min(left);
        if take > 0 {
            left = left.saturating_sub(take);
            picked.push(Allocation { warehouse: here.warehouse.clone(), units: take });
        }
    }
    picked
}
