//! Asking an order on behalf of a caller who may know of it: what orders, payments, shipments and returns share.

use super::bodies::LineUnitsBody;
use super::views::allowed_words;
use crate::core::ask::AskError;
use crate::core::caller::{Caller, unauthenticated};
use crate::core::problem::Problem;
use crate::core::refusals::not_found;
use crate::core::request::Request;
use crate::core::service::Shop;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any::{self, Refusal, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId, RequestId};
use doorbuster_domain::order::{self, Command, LineNumber, LineUnits, Made, Order};
use doorbuster_domain::time::Timestamp;

/// The order of an answer.
pub(crate) fn order_of(accepted: &Accepted) -> Result<&Order, Problem> {
    match accepted.state.as_deref() {
        Some(State::Order(order)) if order.exists() => Ok(order),
        _ => Err(not_found()),
    }
}

/// The order id of the path.
pub(crate) fn order_id<S>(request: &Request<'_, S>) -> Result<OrderId, Problem> {
    let order = request.id(OrderId::parse)?;
    // The low bits number the parts of an order; an id that has some is no order's.
    if OrderId::of_request(RequestId(order.0)) == order { Ok(order) } else { Err(not_found()) }
}

/// What the request made, as the order says.
pub(crate) fn made(accepted: &Accepted) -> Option<Made> {
    match &accepted.reply {
        any::Reply::Order(order::Reply::Made(made)) => Some(*made),
        _ => None,
    }
}

/// Has the order's token ended: by time, or because its personal data was erased?
fn token_has_ended(order: &Order, life_s: u64, now: Timestamp) -> bool {
    let placed_at = order.head.as_ref().map_or(Timestamp(0), |head| head.placed_at);
    order.personal.is_none() || now >= placed_at.plus_s(life_s)
}

/// An order of which the caller may know at least a part (rule P4); any other is 404. A token that has ended is 401.
pub(crate) async fn visible<S: Shop>(request: &Request<'_, S>, id: OrderId) -> Result<Box<Accepted>, Problem> {
    // An id that no order has starts no actor.
    let unknown = Some(Box::new(Refusal::Order(order::Refusal::Unknown)));
    let read = request.ask(EntityId::Order(id), any::Command::Order(Command::Read)).reject_if_absent(unknown);
    let accepted = read.send().await?;
    let order = order_of(&accepted)?;
    let life_s = request.settings().order_token_life_s;
    if matches!(request.caller, Caller::Holder(_)) && token_has_ended(order, life_s, request.now) {
        return Err(unauthenticated());
    }
    Ok(accepted)
}

/// An order that the caller may know as a whole: its money and its journal are its buyer's and the platform's.
pub(crate) async fn visible_whole<S: Shop>(request: &Request<'_, S>, id: OrderId) -> Result<Box<Accepted>, Problem> {
    let accepted = visible(request, id).await?;
    let who = request.who();
    let is_whole = order_of(&accepted)?.sight(&who).is_some_and(|sight| sight.group.is_none());
    if is_whole { Ok(accepted) } else { Err(not_found()) }
}

/// What an answer waits for, and until when: as `Prefer: wait` says, and without it for `usual`.
pub(crate) fn wait_for<S>(request: &Request<'_, S>, usual: Wait) -> (Wait, Timestamp) {
    match request.prefer_wait {
        None => (usual, request.now.plus_ms(request.settings().order_wait_ms)),
        Some(0) => (Wait::Decided, request.deadline()),
        Some(seconds) => (Wait::Settled, request.now.plus_s(seconds)),
    }
}

/// Sends a command to an order that the caller may know of, and waits as the caller prefers.
pub(crate) async fn ask<S: Shop>(
    request: &Request<'_, S>,
    id: OrderId,
    command: Command,
) -> Result<Box<Accepted>, Problem> {
    let (wait, deadline) = match request.prefer_wait {
        Some(seconds) if seconds > 0 => (Wait::Settled, request.now.plus_s(seconds)),
        _ => (Wait::Decided, request.deadline()),
    };
    ask_until(request, id, command, wait, deadline).await
}

/// The same, with another wait and deadline.
pub(crate) async fn ask_until<S: Shop>(
    request: &Request<'_, S>,
    id: OrderId,
    command: Command,
    wait: Wait,
    deadline: Timestamp,
) -> Result<Box<Accepted>, Problem> {
    let asking = request.ask(EntityId::Order(id), any::Command::Order(command)).until(wait, deadline);
    let answer = asking.or_as_it_is(request.settings().command_timeout_ms).send().await;
    match answer {
        Ok(accepted) => Ok(accepted),
        Err(error) => Err(with_allowed(request, id, error).await),
    }
}

/// The problem of a refusal. When the order's state does not allow the command, the problem names the ones it allows.
pub(crate) async fn with_allowed<S: Shop>(request: &Request<'_, S>, id: OrderId, error: AskError) -> Problem {
    let wrong_state = is_wrong_state(&error);
    let problem = Problem::from(error);
    if !wrong_state {
        return problem;
    }
    let Ok(accepted) = visible(request, id).await else { return problem };
    match order_of(&accepted) {
        Ok(order) => problem.with("allowed", allowed_words(order, &request.who())),
        Err(_gone) => problem,
    }
}

const fn is_wrong_state(error: &AskError) -> bool {
    use order::Refusal as Why;
    matches!(
        error,
        AskError::Refused(Refusal::Order(Why::WrongState { .. } | Why::NoAttemptsLeft | Why::NotInOneWarehouse))
    )
}

/// Units of lines as the domain takes them.
pub(crate) fn line_units(lines: &[LineUnitsBody]) -> Result<Vec<LineUnits>, Problem> {
    let each = lines.iter().enumerate();
    each.map(|(index, line)| Ok(LineUnits { line: line_number(&line.line.0, index)?, units: line.quantity.0 }))
        .collect()
}

/// The number of a line from its id, in the item `index` of `lines`.
pub(crate) fn line_number(id: &str, index: usize) -> Result<LineNumber, Problem> {
    id.parse().map_err(|_none| Problem::field(format!("/lines/{index}/line"), "unknown", "is not a line of this order"))
}

/// Checks that a list of lines has at least one.
pub(crate) fn not_empty<T>(lines: &[T]) -> Result<(), Problem> {
    if lines.is_empty() { Err(Problem::field("/lines", "out_of_range", "must not be empty")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::problem::Code;

    /// A refusal that becomes 409 `wrong_state` is one that names what is allowed, and no other.
    #[test]
    fn what_is_allowed_is_named_with_every_wrong_state() {
        use order::Refusal as Why;
        let status = order::Status::Placed;
        for refusal in [
            Why::Unknown,
            Why::UnknownPart,
            Why::RequestReused,
            Why::WrongState { status },
            Why::Malformed,
            Why::CurrencyMismatch,
            Why::Overflow,
            Why::NoAttemptsLeft,
            Why::TooManyEdits { limit: 256 },
            Why::TooMany { line: 1, left: 0 },
            Why::NotInOneWarehouse,
            Why::ReturnWindowClosed { ended_at: Timestamp(0) },
        ] {
            let error = AskError::Refused(Refusal::Order(refusal));
            let named = is_wrong_state(&error);
            assert_eq!(named, Problem::from(error.clone()).code() == Code::WrongState, "{error:?}");
        }
    }
}
