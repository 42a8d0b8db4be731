//! From the answers of the shop to problems: the one table in which a refusal gets its code.

use super::ask::AskError;
use super::problem::{Code, FieldError, Problem};
use super::view::{At, MoneyView, line_id};
use super::words::{external_status_word, status_word};
use doorbuster_domain::any::Refusal;
use doorbuster_domain::claims::ClaimKind;
use doorbuster_domain::ids::{OrderId, ReservationId};
use doorbuster_domain::inventory::StockState;
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::{cart, inventory, order, product, reservation, warehouse};

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => refused(&refusal),
            AskError::Stale { version } => stale(version),
            AskError::Unknown => Self::new(Code::OutcomeUnknown).detail("whether it was decided is not known"),
            AskError::Timeout => Self::new(Code::OutcomeUnknown).detail("not answered in time"),
            AskError::Busy { retry_after_s } => {
                Self::new(Code::Overloaded).detail("a queue is full").retry_after(retry_after_s)
            }
            AskError::Quarantined => {
                let detail = "it failed repeatedly and is quarantined until an operator retries it";
                Self::new(Code::SetAside).detail(detail).retry_after(30)
            }
            AskError::NotServing => Self::new(Code::Draining).detail("the node is starting or stopping"),
            AskError::Panicked => Self::new(Code::Internal).detail("an internal error occurred; nothing was changed"),
        }
    }
}

fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Inventory(refusal) => of_inventory(refusal),
        Refusal::Cart(refusal) => of_cart(refusal),
        Refusal::Order(refusal) => of_order(refusal),
        Refusal::Product(refusal) => of_product(refusal),
        Refusal::Warehouse(refusal) => of_warehouse(refusal),
        Refusal::Reservation(refusal) => of_reservation(refusal),
        // Only orders claim: no caller asks a counter.
        Refusal::Counter(_) => not_found(),
        Refusal::NotYours => not_found(),
        Refusal::WrongKind => Problem::new(Code::Internal).detail("a command was sent to another kind of entity"),
    }
}

fn stale(current: u64) -> Problem {
    let detail = format!("the resource is at version {current}");
    Problem::new(Code::StaleVersion).detail(detail).with("current_version", current)
}

fn reused() -> Problem {
    Problem::new(Code::IdempotencyKeyReused).detail("the Idempotency-Key was used with another body")
}

/// The problem of a SKU's refusal.
#[must_use]
pub fn of_inventory(refusal: &inventory::Refusal) -> Problem {
    use inventory::Refusal as Why;
    match refusal {
        Why::Unknown => not_found(),
        Why::NotOnSale => Problem::field("", "not_on_sale", "the SKU is not on sale"),
        Why::SoldOut { wanted, available, .. } => sold_out(*wanted, *available),
        Why::PriceChanged { expected, now } => Problem::new(Code::PriceChanged)
            .with("expected", MoneyView::from(*expected))
            .with("now", MoneyView::from(*now)),
        Why::NoPrice { currency } => {
            Problem::new(Code::CurrencyMismatch).detail(format!("no price in {}", currency.as_str()))
        }
        Why::LimitExceeded { limit, wanted } => limit_exceeded(u64::from(*limit), Some(u64::from(*wanted))),
        Why::OtherTerms | Why::RequestReused => reused(),
        Why::UnitsReserved { orders, reservations } => {
            let orders = orders.iter().map(OrderId::to_string);
            let in_the_way: Vec<String> = orders.chain(reservations.iter().map(ReservationId::to_string)).collect();
            Problem::new(Code::UnitsReserved).detail("units are reserved").with("reservations", in_the_way)
        }
        Why::ExternalEnded { status } => reservation_ended(*status),
        Why::Stale { in_building } => {
            let detail = format!("{in_building} units are in the building by the books");
            Problem::new(Code::StaleVersion).detail(detail).with("in_building", in_building)
        }
        Why::Ended | Why::NotEnded => Problem::new(Code::ReservationExpired),
        Why::OtherProduct { product } => {
            Problem::new(Code::WrongState).detail(format!("the SKU belongs to product {product}"))
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
        Why::Ended => Problem::new(Code::WrongState).detail("the order has released the cart"),
        Why::TooManyLines { limit } => limit_exceeded(u64::try_from(*limit).unwrap_or(u64::MAX), None),
        Why::TooMany { limit } => limit_exceeded(u64::from(*limit), None),
        Why::CurrencyMismatch { currency } => {
            Problem::new(Code::CurrencyMismatch).detail(format!("the cart is in {}", currency.as_str()))
        }
    }
}

/// 404: the resource does not exist or is not the caller's. Both have the same answer, so that callers learn nothing of others' resources.
#[must_use]
pub fn not_found() -> Problem {
    Problem::new(Code::NotFound).detail("no such resource")
}

/// 409: a name that a seller chooses is another account's.
#[must_use]
pub fn name_taken() -> Problem {
    Problem::new(Code::NameTaken).detail("another account has this name")
}

fn cart_frozen(order: OrderId) -> Problem {
    let detail = "an order is being placed with this cart";
    Problem::new(Code::CartFrozen).detail(detail).with("order", order.to_string())
}

fn already_ordered(order: OrderId) -> Problem {
    Problem::new(Code::AlreadyOrdered).detail("the cart was ordered").with("order", order.to_string())
}

fn of_product(refusal: &product::Refusal) -> Problem {
    match refusal {
        product::Refusal::Unknown => not_found(),
        product::Refusal::OtherSeller => name_taken(),
        product::Refusal::Stale { current } => stale(*current),
        product::Refusal::Invalid(faults) => {
            let errors = faults.iter().map(|fault| FieldError {
                pointer: fault.pointer.clone(),
                code: fault.code.clone(),
                message: fault.code.replace('_', " "),
            });
            Problem::new(Code::Invalid).detail("the product has invalid fields").errors(errors.collect())
        }
    }
}

fn of_warehouse(refusal: &warehouse::Refusal) -> Problem {
    match refusal {
        warehouse::Refusal::Unknown => not_found(),
        warehouse::Refusal::NameTaken => name_taken(),
        warehouse::Refusal::Stale { current } => stale(*current),
        warehouse::Refusal::Full { limit } => limit_exceeded(u64::try_from(*limit).unwrap_or(u64::MAX), None),
        warehouse::Refusal::Invalid { pointer } => {
            Problem::field(pointer.clone(), "invalid_value", "is not a valid value")
        }
    }
}

fn reservation_ended(status: inventory::ExternalStatus) -> Problem {
    if status == inventory::ExternalStatus::Expired {
        return Problem::new(Code::ReservationExpired).detail("the reservation has expired");
    }
    let word = external_status_word(status);
    Problem::new(Code::WrongState).detail(format!("not possible: it is {word}")).with("reservation_status", word)
}

fn of_reservation(refusal: &reservation::Refusal) -> Problem {
    use reservation::Refusal as Why;
    match refusal {
        // A reservation that was never held does not exist for callers.
        Why::Unknown | Why::Ended { status: inventory::ExternalStatus::Held } => not_found(),
        Why::OtherTerms | Why::RequestReused => reused(),
        Why::NotSold => reservation_ended(inventory::ExternalStatus::Held),
        Why::Ended { status } => reservation_ended(*status),
        Why::NotYet => Problem::new(Code::WrongState).detail("its units are still being reserved"),
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
            wrong_state(&format!("not possible while it is {word}")).with("order_status", word)
        }
        Why::Malformed => Problem::field(
            "/lines",
            "invalid_value",
            "must have lines, of at least one unit each, with one price for each SKU, and not too many",
        ),
        Why::CurrencyMismatch => {
            Problem::new(Code::CurrencyMismatch).detail("the amount is not in the order's currency")
        }
        Why::Overflow => Problem::new(Code::AmountOverflow).detail("the total is too large"),
        Why::NoAttemptsLeft => wrong_state("no payment attempt is left"),
        Why::TooManyEdits { limit } => limit_exceeded(u64::from(*limit), None),
        Why::TooMany { line, left } => limit_exceeded(u64::from(*left), None).with("line", line_id(*line).as_str()),
        Why::NotInOneWarehouse => wrong_state("the units are in several warehouses, or not in the one named"),
        Why::RefundTooLarge { refundable } => {
            Problem::new(Code::RefundTooLarge).with("refundable", MoneyView::from(*refundable))
        }
        Why::CaptureTooLarge { capturable } => limit_exceeded(u64::try_from(capturable.amount).unwrap_or(0), None)
            .with("capturable", MoneyView::from(*capturable)),
        Why::ReturnWindowClosed { ended_at } => {
            Problem::new(Code::ReturnWindowClosed).with("window_ended_at", At(*ended_at))
        }
    }
}

/// The problem of a reservation that was not granted, with the lines that are short.
#[must_use]
pub fn of_short(lines: &[reservation::ReservationLine]) -> Problem {
    use reservation::{Hold, Shortage};
    let mut shown = Vec::new();
    let mut first: Option<Problem> = None;
    for (index, line) in lines.iter().enumerate() {
        let Hold::Short(why) = line.hold else { continue };
        let wanted = line.wanted.units;
        let problem = match why {
            Shortage::SoldOut { available, all_reserved } => {
                let sku = line.wanted.sku.as_str();
                shown.push(ShortLine { sku, wanted, available, all_reserved, next_release_at: None }.shown());
                sold_out(wanted, available)
            }
            Shortage::NotForSale => Problem::field(format!("/lines/{index}/sku"), "not_on_sale", "not for sale"),
            Shortage::LimitExceeded { limit } => limit_exceeded(u64::from(limit), Some(u64::from(wanted))),
            Shortage::TooLate => Problem::new(Code::ReservationExpired).detail("it expired before it was held"),
            Shortage::OtherTerms => reused(),
        };
        first.get_or_insert(problem);
    }
    let problem = first.unwrap_or_else(not_found);
    if shown.is_empty() { problem } else { problem.with("lines", shown) }
}

/// What is known of a line that has fewer units than wanted.
#[derive(Debug, Clone, Copy)]
pub struct ShortLine<'a> {
    /// Its SKU.
    pub sku: &'a str,
    /// Units wanted.
    pub wanted: u32,
    /// Units available.
    pub available: u64,
    /// Are all units in someone's checkout?
    pub all_reserved: bool,
    /// When the earliest of those reservations ends, if known.
    pub next_release_at: Option<Timestamp>,
}

impl ShortLine<'_> {
    /// The line as the contract shows it.
    #[must_use]
    pub fn shown(&self) -> serde_json::Value {
        serde_json::json!({
            "sku": self.sku,
            "wanted": self.wanted,
            "available": self.available,
            "state": StockState::of_shortage(self.available, self.all_reserved).as_str(),
            "next_release_at": self.next_release_at.map(At),
        })
    }

    /// 409 `sold_out` with this line.
    #[must_use]
    pub fn problem(&self) -> Problem {
        sold_out(self.wanted, self.available).with("lines", [self.shown()])
    }
}

fn sold_out(wanted: u32, available: u64) -> Problem {
    Problem::new(Code::SoldOut).detail(format!("{wanted} wanted, {available} available."))
}

/// The problem of an order that ended because its request could not be met.
///
/// Nothing is held and nothing is owed, so the answer is a 4xx. `None`: the order has not ended, or has ended in another way and is shown as an order.
#[must_use]
pub fn of_ended(order: &order::Order) -> Option<Problem> {
    let order::Stage::Ended(outcome) = order.stage else { return None };
    let problem = match outcome {
        order::EndReason::SoldOut => {
            let first = order.lines.iter().find_map(|line| match line.hold {
                order::Hold::Refused(order::Shortage::SoldOut { available, .. }) => Some((line.units, available)),
                _ => None,
            });
            let (wanted, available) = first.unwrap_or_default();
            sold_out(wanted, available).with("lines", short_lines(order))
        }
        order::EndReason::Rejected(why) => of_rejection(order, why),
        order::EndReason::Expired | order::EndReason::PaymentFailed | order::EndReason::Cancelled(_) => return None,
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
        Rejection::Claim(kind) => {
            let refused =
                |claim: &&order::OrderClaim| claim.wanted.kind == kind && matches!(claim.hold, order::Hold::Refused(_));
            order.claims.iter().flatten().find(refused).map_or_else(|| limit_exceeded(0, None), of_claim)
        }
        Rejection::Overflow => Problem::new(Code::AmountOverflow).detail("the total is too large"),
    }
}

/// The problem of a claim that a counter refused.
#[must_use]
pub fn of_claim(claim: &order::OrderClaim) -> Problem {
    let (limit, taken) = match claim.hold {
        order::Hold::Refused(order::Shortage::LimitReached { limit, taken }) => (limit, taken),
        _ => (claim.wanted.limit, 0),
    };
    let kind = claim.wanted.kind;
    match kind {
        ClaimKind::ExternalId => external_id_taken(),
        ClaimKind::UnpaidByBuyer | ClaimKind::UnpaidByAddress | ClaimKind::UnpaidByInstrument | ClaimKind::Coupon => {
            limit_exceeded(u64::from(limit), Some(u64::from(claim.units)))
                .with("used", taken)
                .with("claim", kind.as_str())
        }
    }
}

/// 409: another resource of the same kind and seller has the external id.
#[must_use]
pub fn external_id_taken() -> Problem {
    let taken = FieldError {
        pointer: "/external_id".into(),
        code: "taken".into(),
        message: "another one has this external_id".into(),
    };
    Problem::new(Code::NameTaken).detail("the external_id is taken").errors(vec![taken])
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
                order::Shortage::Unknown => ("unknown", "unknown SKU"),
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
                    ShortLine { sku, wanted: line.units, available, all_reserved, next_release_at: None }.shown()
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
                | order::Shortage::LimitReached { .. }
                | order::Shortage::TooLate => {
                    json!({ "sku": sku, "wanted": line.units, "available": 0 })
                }
            })
        })
        .collect()
}
