//! From what the domain and the node answer to the problems of the contract: the one place where a refusal gets its code.

use super::problem::{Code, FieldError, Problem};
use super::view::{MoneyView, promise_word, status_word};
use doorbuster_actors::ask::{Accepted, Answer};
use doorbuster_domain::any::Refusal;
use doorbuster_domain::ids::{OrderId, ReservationId};
use doorbuster_domain::{cart, inventory, order, product, reservation, warehouse};

/// What was accepted, or the problem that the answer is.
///
/// # Errors
/// Everything but an acceptance.
pub fn accepted(answer: Answer) -> Result<Accepted, Problem> {
    match answer {
        Answer::Accepted(accepted) => Ok(*accepted),
        Answer::Refused(refusal) => Err(refused(&refusal)),
        Answer::Stale { version } => Err(stale(version)),
        Answer::Unknown => Err(Problem::new(Code::OutcomeUnknown).detail("whether it happened is not known")),
        Answer::Late => Err(Problem::new(Code::OutcomeUnknown).detail("not answered in time")),
        Answer::Busy { retry_after_s } => {
            Err(Problem::new(Code::Overloaded).detail("no room").retry_after(retry_after_s))
        }
        Answer::Quarantined => {
            Err(Problem::new(Code::SetAside).detail("it kept failing; an operator must look").retry_after(30))
        }
        Answer::NotServing => Err(Problem::new(Code::Draining).detail("the node is starting or stopping")),
        Answer::Panicked => Err(Problem::new(Code::Internal).detail("a bug of ours; nothing was changed")),
    }
}

pub(super) fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Inventory(refusal) => of_inventory(refusal),
        Refusal::Cart(refusal) => of_cart(refusal),
        Refusal::Order(refusal) => of_order(refusal),
        Refusal::Product(refusal) => of_product(refusal),
        Refusal::Warehouse(refusal) => of_warehouse(refusal),
        Refusal::Reservation(refusal) => of_reservation(refusal),
        Refusal::WrongKind => Problem::new(Code::Internal).detail("asked the wrong kind of entity"),
    }
}

fn stale(current: u64) -> Problem {
    let detail = format!("it is at version {current}");
    Problem::new(Code::StaleVersion).detail(detail).with("current_version", current)
}

fn reused() -> Problem {
    Problem::new(Code::IdempotencyKeyReused).detail("the same Idempotency-Key came with another body")
}

pub(super) fn of_inventory(refusal: &inventory::Refusal) -> Problem {
    use inventory::Refusal as Why;
    match refusal {
        Why::Unknown => Problem::new(Code::NotFound).detail("no such SKU"),
        Why::NotOnSale => Problem::field("", "not_on_sale", "the SKU is not on sale"),
        Why::SoldOut { wanted, available, .. } => {
            Problem::new(Code::SoldOut).detail(format!("{wanted} wanted, {available} available."))
        }
        Why::PriceChanged { expected, now } => Problem::new(Code::PriceChanged)
            .with("expected", MoneyView::from(*expected))
            .with("now", MoneyView::from(*now)),
        Why::NoPrice { currency } => {
            Problem::new(Code::CurrencyMismatch).detail(format!("no price in {}", currency.as_str()))
        }
        Why::LimitExceeded { limit, wanted } => limit_exceeded(u64::from(*limit), Some(u64::from(*wanted))),
        Why::OtherTerms | Why::RequestReused => reused(),
        Why::Promised { orders, reservations } => {
            let orders = orders.iter().map(OrderId::to_string);
            let in_the_way: Vec<String> = orders.chain(reservations.iter().map(ReservationId::to_string)).collect();
            Problem::new(Code::Promised).detail("units are promised").with("reservations", in_the_way)
        }
        Why::PromiseEnded { status } => promise_ended(*status),
        Why::Stale { in_building } => {
            let detail = format!("the books say {in_building} in the building");
            Problem::new(Code::StaleVersion).detail(detail).with("in_building", in_building)
        }
        Why::Ended | Why::NotEnded => Problem::new(Code::ReservationExpired),
        Why::OtherProduct { product } => {
            Problem::new(Code::WrongState).detail(format!("the SKU is a variant of {product}"))
        }
        Why::TooManyAnnounced { limit } => limit_exceeded(u64::try_from(*limit).unwrap_or(u64::MAX), None),
        Why::NotThatMany => Problem::new(Code::WrongState).detail("there are not that many units"),
        Why::Overflow => Problem::new(Code::AmountOverflow).detail("more units than can be counted"),
    }
}

fn limit_exceeded(limit: u64, wanted: Option<u64>) -> Problem {
    let detail = format!("at most {limit}");
    Problem::new(Code::LimitExceeded).detail(detail).with("limit", limit).with("wanted", wanted)
}

fn of_cart(refusal: &cart::Refusal) -> Problem {
    use cart::Refusal as Why;
    match refusal {
        Why::Unknown => not_found(),
        Why::RequestReused => reused(),
        Why::Stale { current } => stale(*current),
        Why::Frozen { order } => cart_frozen(*order),
        Why::AlreadyOrdered { order } => already_ordered(*order),
        Why::Expired => Problem::new(Code::WrongState).detail("the cart has expired").with("order_status", "expired"),
        Why::Empty => Problem::field("/cart_id", "empty", "the cart has no lines"),
        Why::Ended => Problem::new(Code::WrongState).detail("the order gave the cart back"),
        Why::TooManyLines { limit } => limit_exceeded(u64::try_from(*limit).unwrap_or(u64::MAX), None),
        Why::TooMany { limit } => limit_exceeded(u64::from(*limit), None),
        Why::CurrencyMismatch { currency } => {
            Problem::new(Code::CurrencyMismatch).detail(format!("the cart is in {}", currency.as_str()))
        }
    }
}

/// Not there, or not the caller's: the same answer, so that nobody learns which.
#[must_use]
pub fn not_found() -> Problem {
    Problem::new(Code::NotFound).detail("no such resource")
}

fn cart_frozen(order: OrderId) -> Problem {
    let detail = "an order is being placed with this cart";
    Problem::new(Code::CartFrozen).detail(detail).with("order", order.to_string())
}

fn already_ordered(order: OrderId) -> Problem {
    Problem::new(Code::AlreadyOrdered).detail("the cart became an order").with("order", order.to_string())
}

fn of_product(refusal: &product::Refusal) -> Problem {
    match refusal {
        product::Refusal::Unknown | product::Refusal::OtherSeller => not_found(),
        product::Refusal::Stale { current } => stale(*current),
        product::Refusal::Invalid(faults) => {
            let errors = faults.iter().map(|fault| FieldError {
                pointer: fault.pointer.clone(),
                code: fault.code.clone(),
                message: fault.code.replace('_', " "),
            });
            Problem::new(Code::Invalid).detail("the product cannot be so").errors(errors.collect())
        }
    }
}

fn of_warehouse(refusal: &warehouse::Refusal) -> Problem {
    match refusal {
        warehouse::Refusal::Unknown => not_found(),
        warehouse::Refusal::Stale { current } => stale(*current),
        warehouse::Refusal::Invalid { pointer } => Problem::field(pointer.clone(), "invalid_value", "cannot be so"),
    }
}

fn promise_ended(status: inventory::PromiseStatus) -> Problem {
    if status == inventory::PromiseStatus::Expired {
        return Problem::new(Code::ReservationExpired).detail("the units are free again");
    }
    let word = promise_word(status);
    Problem::new(Code::WrongState).detail(format!("not once it is {word}")).with("reservation_status", word)
}

fn of_reservation(refusal: &reservation::Refusal) -> Problem {
    use reservation::Refusal as Why;
    match refusal {
        // One that never was held is no reservation.
        Why::Unknown | Why::Ended { status: inventory::PromiseStatus::Held } => not_found(),
        Why::OtherTerms | Why::RequestReused => reused(),
        Why::Ended { status } => promise_ended(*status),
        Why::NotYet => Problem::new(Code::WrongState).detail("its units are still being asked for"),
        Why::LimitExceeded { limit } => limit_exceeded(u64::from(*limit), None),
    }
}

fn of_order(refusal: &order::Refusal) -> Problem {
    use order::Refusal as Why;
    let wrong_state = |detail: &str| Problem::new(Code::WrongState).detail(detail);
    match refusal {
        Why::Unknown | Why::UnknownPart => not_found(),
        Why::RequestReused => reused(),
        Why::WrongState { status } => {
            let word = status_word(*status);
            wrong_state(&format!("not while it is {word}")).with("order_status", word)
        }
        Why::Malformed => {
            Problem::field("/lines", "invalid_value", "no lines, no units, two prices of one SKU, or too many")
        }
        Why::CurrencyMismatch => Problem::new(Code::CurrencyMismatch).detail("another currency than the order's"),
        Why::Overflow => Problem::new(Code::AmountOverflow).detail("the total is too large"),
        Why::NoAttemptsLeft => wrong_state("all attempts to pay are used up"),
        Why::TooMany { line, left } => {
            limit_exceeded(u64::from(*left), None).with("line", super::view::line_id(*line).as_str())
        }
        Why::NotInOneWarehouse => wrong_state("the units lie in more than one warehouse, or not in that one"),
        Why::RefundTooLarge { refundable } => {
            Problem::new(Code::RefundTooLarge).with("refundable", MoneyView::from(*refundable))
        }
        Why::CaptureTooLarge { capturable } => limit_exceeded(u64::try_from(capturable.amount).unwrap_or(0), None)
            .with("capturable", MoneyView::from(*capturable)),
        Why::ReturnWindowClosed { ended_at } => {
            Problem::new(Code::ReturnWindowClosed).with("window_ended_at", super::view::At(*ended_at))
        }
    }
}

/// The problem of a reservation that could not be had: which of its lines are wanting, and how much of them there is.
#[must_use]
pub fn of_short(lines: &[reservation::Line]) -> Problem {
    use reservation::{Hold, Shortage};
    let mut shown = Vec::new();
    let mut first: Option<Problem> = None;
    for (index, line) in lines.iter().enumerate() {
        let Hold::Short(why) = line.hold else { continue };
        let wanted = line.wanted.units;
        let problem = match why {
            Shortage::SoldOut { available, all_reserved } => {
                shown.push(short_line(line.wanted.sku.as_str(), wanted, available, all_reserved));
                Problem::new(Code::SoldOut).detail(format!("{wanted} wanted, {available} available."))
            }
            Shortage::NotForSale => Problem::field(format!("/lines/{index}/sku"), "not_on_sale", "not for sale"),
            Shortage::LimitExceeded { limit } => limit_exceeded(u64::from(limit), Some(u64::from(wanted))),
            Shortage::TooLate => Problem::new(Code::ReservationExpired).detail("its time was over before it was held"),
            Shortage::OtherTerms => reused(),
        };
        first.get_or_insert(problem);
    }
    let problem = first.unwrap_or_else(not_found);
    if shown.is_empty() { problem } else { problem.with("lines", shown) }
}

/// A line that is sold out, as the contract shows it.
pub(super) fn short_line(sku: &str, wanted: u32, available: u64, all_reserved: bool) -> serde_json::Value {
    let state = match (all_reserved, available) {
        (true, 0) => "all_reserved",
        (_, 0) => "sold_out",
        (_, _) => "low_stock",
    };
    serde_json::json!({
        "sku": sku, "wanted": wanted, "available": available, "state": state, "next_release_at": null
    })
}

/// The problem that an order ended with, if it ended because what was asked for could not be had: then nothing is held and nothing
/// is owed, and the answer is a 4xx. Other ends are orders like any other.
#[must_use]
pub fn of_ended(order: &order::Order) -> Option<Problem> {
    let order::Stage::Ended(outcome) = order.stage else { return None };
    let problem = match outcome {
        order::Outcome::SoldOut => {
            let first = order.lines.iter().find_map(|line| match line.hold {
                order::Hold::Refused(order::Shortage::SoldOut { available, .. }) => Some((line.units, available)),
                _ => None,
            });
            let (wanted, available) = first.unwrap_or_default();
            let detail = format!("{wanted} wanted, {available} available.");
            Problem::new(Code::SoldOut).detail(detail).with("lines", short_lines(order))
        }
        order::Outcome::Rejected(why) => of_rejection(order, why),
        order::Outcome::Expired | order::Outcome::PaymentFailed | order::Outcome::Cancelled(_) => return None,
    };
    Some(problem.with("order", order.id.to_string()))
}

fn of_rejection(order: &order::Order, why: order::Rejection) -> Problem {
    use order::{CartRefusal, Rejection};
    match why {
        Rejection::PriceChanged => Problem::new(Code::PriceChanged).with("lines", short_lines(order)),
        Rejection::TotalChanged { expected, now } => Problem::new(Code::TotalChanged)
            .with("expected", MoneyView::from(expected))
            .with("now", MoneyView::from(now)),
        Rejection::NotForSale => of_not_for_sale(order),
        Rejection::LimitExceeded => {
            let first = order.numbered().find_map(|(_, line)| match line.hold {
                order::Hold::Refused(order::Shortage::LimitExceeded { limit }) => Some((limit, line.units)),
                _ => None,
            });
            let (limit, wanted) = first.unwrap_or_default();
            limit_exceeded(u64::from(limit), Some(u64::from(wanted))).with("lines", short_lines(order))
        }
        Rejection::Cart(CartRefusal::Unknown) => not_found(),
        Rejection::Cart(CartRefusal::Empty) => Problem::field("/cart_id", "empty", "the cart has no lines"),
        Rejection::Cart(CartRefusal::Frozen { order }) => cart_frozen(order),
        Rejection::Cart(CartRefusal::Ordered { order }) => already_ordered(order),
        Rejection::Cart(CartRefusal::Currency) => {
            Problem::new(Code::CurrencyMismatch).detail("the cart is in another currency")
        }
        Rejection::Overflow => Problem::new(Code::AmountOverflow).detail("the total is too large"),
    }
}

fn of_not_for_sale(order: &order::Order) -> Problem {
    let mut no_price = false;
    let errors: Vec<FieldError> = order
        .lines
        .iter()
        .enumerate()
        .filter_map(|(index, line)| {
            let order::Hold::Refused(why) = line.hold else { return None };
            let (code, message) = match why {
                order::Shortage::Unknown => ("unknown", "no such SKU"),
                order::Shortage::NotOnSale => ("not_on_sale", "not on sale"),
                order::Shortage::NoPrice => {
                    no_price = true;
                    ("no_price", "no price in this currency")
                }
                _ => return None,
            };
            Some(FieldError {
                pointer: format!("/lines/{index}/sku"),
                code: code.into(),
                message: format!("{}: {message}", line.sku),
            })
        })
        .collect();
    if no_price && errors.len() == 1 {
        return Problem::new(Code::CurrencyMismatch).detail("no price in this currency").errors(errors);
    }
    Problem::new(Code::Invalid).detail("not for sale").errors(errors)
}

fn short_lines(order: &order::Order) -> Vec<serde_json::Value> {
    use serde_json::json;
    order
        .lines
        .iter()
        .filter_map(|line| {
            let order::Hold::Refused(why) = line.hold else { return None };
            let sku = line.sku.as_str();
            Some(match why {
                order::Shortage::SoldOut { available, all_reserved } => {
                    let state = if all_reserved { "all_reserved" } else if available == 0 { "sold_out" } else { "low_stock" };
                    json!({ "sku": sku, "wanted": line.units, "available": available, "state": state, "next_release_at": null })
                }
                order::Shortage::PriceChanged { expected, now } => {
                    json!({ "sku": sku, "expected": MoneyView::from(expected), "now": MoneyView::from(now) })
                }
                order::Shortage::LimitExceeded { limit } => {
                    json!({ "sku": sku, "wanted": line.units, "limit": limit })
                }
                order::Shortage::Unknown
                | order::Shortage::NotOnSale
                | order::Shortage::NoPrice
                | order::Shortage::TooLate => {
                    json!({ "sku": sku, "wanted": line.units, "available": 0 })
                }
            })
        })
        .collect()
}
