//! The invariants of an order; property tests, the simulation and the audit check them.

use super::line::units_of;
use super::step::{Step, Todo};
use super::{Attempt, Call, CallState, Hold, Order, OrderLine, Payment, RefundStatus, Stage};
use crate::claims::{ClaimId, ClaimStage};
use crate::laws::Violation;
use crate::payment::Operation;

fn holds(law: &'static str, truth: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if truth { Ok(()) } else { Err(Violation { law, what: what() }) }
}

/// Checks every invariant of a state.
///
/// # Errors
/// The first invariant that does not hold.
pub fn all(order: &Order) -> Result<(), Violation> {
    lines_add_up_to_the_order(order)?;
    units_are_in_one_place(order)?;
    confirmed_order_has_every_commit(order)?;
    an_ended_order_holds_nothing(order)?;
    an_order_with_nothing_left_owes_nothing(order)?;
    charges_cover_exactly_what_is_due(order)?;
    a_units_money_goes_back_once(order)?;
    one_attempt_at_a_time(order)?;
    a_longer_hold_has_a_payment_under_way(order)?;
    money_never_exceeds_what_was_promised(order)?;
    what_is_open_is_owed(order)
}

/// Stock is held beyond the ordinary deadline only while a payment is under way.
///
/// # Errors
/// The deadline was moved, and no payment's outcome is open.
pub fn a_longer_hold_has_a_payment_under_way(order: &Order) -> Result<(), Violation> {
    let under_way = order.payments.iter().any(|payment| !payment.settled());
    holds("a_longer_hold_has_a_payment_under_way", order.ordinary_deadline.is_none() || under_way, || {
        format!("{}: {} instead of {:?}", order.id, order.expires_at.0, order.ordinary_deadline)
    })
}

/// Totals and shipping shares of the lines are the order's total.
///
/// # Errors
/// The sums differ.
pub fn lines_add_up_to_the_order(order: &Order) -> Result<(), Violation> {
    let Some(priced) = order.priced else { return Ok(()) };
    let sum = |of: fn(&OrderLine) -> i64| order.lines.iter().fold(0_i64, |sum, line| sum.saturating_add(of(line)));
    let lines = sum(|line| line.priced.total).saturating_add(sum(|line| line.priced.shipping_share));
    let due = priced.total.saturating_sub(order.reduced);
    holds("lines_add_up_to_the_order", lines == priced.total && due >= 0, || {
        format!("{}: lines {lines}, total {}, due {due}", order.id, priced.total)
    })
}

/// Each unit of a line is either left, cancelled or shipped, and counted in one warehouse.
///
/// # Errors
/// A unit is counted twice, or not at all.
pub fn units_are_in_one_place(order: &Order) -> Result<(), Violation> {
    for (number, line) in order.numbered().filter(|(_, line)| line.agreed.is_some()) {
        let gone = line.cancelled.saturating_add(line.shipped);
        let lawful = gone <= line.units
            && units_of(&line.unshipped) == line.left()
            && line.returned.saturating_add(line.returning) <= line.shipped
            && units_of(&line.out) == line.shipped.saturating_sub(line.returned)
            && line.delivered <= line.shipped
            && line.settled <= line.units;
        holds("units_are_in_one_place", lawful, || format!("{} line {number}: {line:?}", order.id))?;
    }
    Ok(())
}

/// A confirmed order has a commit for every line that was not cancelled entirely before the sale.
///
/// # Errors
/// A line was not sold to it.
pub fn confirmed_order_has_every_commit(order: &Order) -> Result<(), Violation> {
    if order.stage != Stage::Confirmed {
        return Ok(());
    }
    for (number, line) in order.numbered() {
        let sold = match line.hold {
            Hold::Committed => true,
            Hold::Releasing | Hold::Released => line.cancelled == line.units,
            Hold::Asked | Hold::Refused(_) | Hold::Held | Hold::Vanished => false,
        };
        holds("confirmed_order_has_every_commit", sold, || format!("{} line {number}: {line:?}", order.id))?;
    }
    for claim in order.claims.iter().flatten() {
        // An edit's replaced claim may still be on its way out.
        let is_committed = matches!(claim.hold, Hold::Committed | Hold::Releasing | Hold::Released);
        holds("confirmed_order_has_every_commit", is_committed, || format!("{}: {claim:?}", order.id))?;
    }
    Ok(())
}

/// An order that ended otherwise holds no stock, no cart and no money, and owes no effect.
///
/// # Errors
/// It has.
pub fn an_ended_order_holds_nothing(order: &Order) -> Result<(), Violation> {
    let Stage::Ended(_) = order.stage else { return Ok(()) };
    for (number, line) in order.numbered() {
        let free = match line.hold {
            Hold::Refused(_) | Hold::Released | Hold::Vanished => true,
            Hold::Committed => line.left() == 0,
            Hold::Asked | Hold::Held | Hold::Releasing => false,
        };
        holds("an_ended_order_holds_nothing", free, || format!("{} line {number}: {line:?}", order.id))?;
    }
    for claim in order.claims.iter().flatten() {
        let free = matches!(claim.hold, Hold::Refused(_) | Hold::Released | Hold::Vanished);
        holds("an_ended_order_holds_nothing", free, || format!("{}: {claim:?}", order.id))?;
    }
    let owed = order.todo.iter().find(|todo| match todo {
        Todo::Step(
            Step::Freeze
            | Step::Reserve(_)
            | Step::Release(_)
            | Step::Commit(_)
            | Step::Thaw
            | Step::Close
            | Step::Unsell { .. },
        ) => true,
        Todo::Step(
            Step::Forget(_)
            | Step::Ship { .. }
            | Step::Restock { .. }
            | Step::ForgetShip { .. }
            | Step::ForgetUnsell { .. }
            | Step::ForgetRestock { .. }
            | Step::Unship { .. }
            | Step::ForgetUnship { .. },
        )
        | Todo::Call(_) => false,
    });
    holds("an_ended_order_holds_nothing", owed.is_none() && !order.cart_frozen, || {
        format!("{} ended and still owes {owed:?}", order.id)
    })
}

/// An order none of whose units is shipped or wanted owes nothing, delivery included.
///
/// # Errors
/// It does.
pub fn an_order_with_nothing_left_owes_nothing(order: &Order) -> Result<(), Violation> {
    let is_left = |line: &OrderLine| line.shipped > 0 || line.left() > 0;
    if order.stage != Stage::Confirmed || order.lines.iter().any(is_left) {
        return Ok(());
    }
    holds("an_order_with_nothing_left_owes_nothing", order.due() == 0, || {
        format!("{}: nothing is left of it, and {} is due", order.id, order.due())
    })
}

/// Whether no payment call is in flight or waits for an operator.
pub(super) fn quiet(order: &Order) -> bool {
    order.troubles.is_empty()
        && order.payments.iter().all(|payment| payment.settled() && payment.calls.iter().all(|call| !call.open()))
        && order.refunds.iter().all(|refund| refund.status == RefundStatus::Succeeded)
}

/// Rule M5: the captured amount net of refunds, plus what a live authorization still covers of the rest, equals the amount due. For an ended
/// order nothing is due. Checked while no call is in flight.
///
/// # Errors
/// Too much or too little was charged.
pub fn charges_cover_exactly_what_is_due(order: &Order) -> Result<(), Violation> {
    let decided = matches!(order.stage, Stage::Confirmed | Stage::Ended(_));
    if !decided || !quiet(order) {
        return Ok(());
    }
    let mut covered = 0_i64;
    for payment in &order.payments {
        let due = if order.paying == Some(payment.number) { order.due() } else { 0 };
        let net = payment.captured.saturating_sub(payment.refunded);
        // What an authorization covers beyond the amount due must be voided, after a partial capture too; there it lapses by itself where the
        // provider refuses.
        let authorized = payment.uncaptured();
        let refused = |call: &Call| matches!(call.state, CallState::Refused { .. });
        let lapses = payment.captured > 0 && payment.calls_of(Operation::Void).any(refused);
        let live = if net >= due && !lapses { authorized } else { authorized.min(due.saturating_sub(net).max(0)) };
        covered = covered.saturating_add(net).saturating_add(live);
    }
    holds("charges_cover_exactly_what_is_due", covered == order.due(), || {
        format!("{}: {covered} charged, {} due", order.id, order.due())
    })
}

/// Rule M9: a unit's money goes back once, whether ahead, by its return, or by both in part.
///
/// # Errors
/// A line's refunds exceed what its settled units are worth; a refund counts for more than it gave; or more units are named as refunded ahead
/// than were.
pub fn a_units_money_goes_back_once(order: &Order) -> Result<(), Violation> {
    let named = order.named_ahead();
    for (number, line) in order.numbered() {
        let worth = line.first_worth(line.settled, true);
        let ahead = named.get(&number).copied().unwrap_or(0);
        let lawful = line.refunded <= worth && ahead <= line.refunded_ahead;
        holds("a_units_money_goes_back_once", lawful, || {
            format!("{} line {number}: {ahead} named, {line:?}", order.id)
        })?;
    }
    let twice = order.refunds.iter().find(|refund| refund.credited.unwrap_or(0) > refund.amount);
    holds("a_units_money_goes_back_once", twice.is_none(), || format!("{}: {twice:?}", order.id))
}

/// Rule M2: no new attempt to pay while one is not settled.
///
/// # Errors
/// Two attempts are in flight.
pub fn one_attempt_at_a_time(order: &Order) -> Result<(), Violation> {
    let open = order.payments.iter().filter(|payment| !payment.settled()).count();
    holds("one_attempt_at_a_time", open <= 1, || format!("{}: {open} attempts are under way", order.id))
}

/// `refunded ≤ captured ≤ authorized`, calls in flight included.
///
/// # Errors
/// More was requested than there is.
pub fn money_never_exceeds_what_was_promised(order: &Order) -> Result<(), Violation> {
    let open = |payment: &Payment, operation: Operation| {
        // What undoes a charge that never counted is none of these.
        let counts = |call: &&Call| call.open() && (operation != Operation::Refund || call.refund.is_some());
        let calls = payment.calls_of(operation).filter(counts);
        calls.fold(0_i64, |sum, call| sum.saturating_add(call.amount))
    };
    for payment in &order.payments {
        let taken = payment.captured.saturating_add(open(payment, Operation::Capture));
        let given = payment.refunded.saturating_add(open(payment, Operation::Refund));
        let authorized = match payment.attempt {
            Attempt::Authorized { .. } => payment.amount,
            Attempt::Asked | Attempt::RequiresAction(_) | Attempt::Processing | Attempt::Declined { .. } => 0,
        };
        holds("money_never_exceeds_what_was_promised", given <= payment.captured && taken <= authorized, || {
            format!(
                "{} payment {}: {authorized} authorized, {taken} taken, {given} given back",
                order.id, payment.number
            )
        })?;
    }
    Ok(())
}

/// Each open step and call is owed, so none is forgotten.
///
/// # Errors
/// An open step or call is not owed.
pub fn what_is_open_is_owed(order: &Order) -> Result<(), Violation> {
    let owed = |todo: Todo| order.todo.contains(&todo);
    let others = order.claims.iter().flatten().map(|claim| (claim.id, claim.hold));
    for (number, hold) in order.numbered().map(|(number, line)| (number, line.hold)).chain(others) {
        let asked = match hold {
            // A stage that is not held yet keeps those behind it from being asked.
            Hold::Asked => owed(Todo::Step(Step::Reserve(number))) || waits_for_its_stage(order, number),
            Hold::Releasing => owed(Todo::Step(Step::Release(number))),
            Hold::Held => {
                order.stage != Stage::Committing
                    || owed(Todo::Step(Step::Commit(number)))
                    || (order.claims.is_some() && order.open > 0)
            }
            Hold::Refused(_) | Hold::Released | Hold::Committed | Hold::Vanished => true,
        };
        holds("what_is_open_is_owed", asked, || format!("{} claim {number}: {hold:?} and nobody asks", order.id))?;
    }
    for payment in &order.payments {
        let calls = payment.calls.iter().filter(|call| call.open()).map(|call| call.key);
        let asked = !payment.settled() && !payment.instruction.is_manual();
        let attempt = asked.then(|| super::CallKey::authorize(payment.number));
        for call in calls.chain(attempt) {
            holds("what_is_open_is_owed", owed(Todo::Call(call)), || {
                format!("{}: nobody asks about {call:?}", order.id)
            })?;
        }
    }
    Ok(())
}

/// Is a claim's turn still to come?
fn waits_for_its_stage(order: &Order, claim: ClaimId) -> bool {
    let waits_for_payment = ClaimStage::of(claim) == ClaimStage::Instrument
        && matches!(order.stage, Stage::Reserving | Stage::Held | Stage::Confirmed);
    order.claims.is_some() && (waits_for_payment || (order.stage == Stage::Reserving && order.open > 0))
}

/// The saga's stages follow each other as drawn.
///
/// # Errors
/// It jumped.
pub fn stages_move_along_the_drawing(before: &Order, after: &Order) -> Result<(), Violation> {
    let lawful = before.stage == after.stage
        || match (before.stage, after.stage) {
            (Stage::Nothing, Stage::Freezing | Stage::Reserving)
            | (Stage::Freezing, Stage::Reserving | Stage::Ending(_))
            | (Stage::Reserving, Stage::Held | Stage::Committing | Stage::Ending(_))
            | (Stage::Held, Stage::Committing | Stage::Ending(_))
            | (Stage::Committing, Stage::Confirmed | Stage::Ending(_)) => true,
            (Stage::Ending(one), Stage::Ended(other)) => one == other,
            (
                Stage::Nothing
                | Stage::Freezing
                | Stage::Reserving
                | Stage::Held
                | Stage::Committing
                | Stage::Confirmed
                | Stage::Ending(_)
                | Stage::Ended(_),
                _,
            ) => false,
        };
    holds("stages_move_along_the_drawing", lawful, || {
        format!("{}: from {:?} to {:?}", after.id, before.stage, after.stage)
    })
}
