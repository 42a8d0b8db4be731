//! The laws, which are invariants, as named functions: property tests, the simulation and `/admin/audit` check them.
//!
//! A law checks a state, or the events that made it, and returns the violation if there is one.

use super::claims::ClaimStatus;
use super::counter::{self, Counter};
use super::entity::Entity;
use super::inventory::{AuditFold, Event, ExternalStatus, Inventory, Level};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A violated law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the law's function.
    pub law: &'static str,
    /// A description of the violation.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.law, self.what)
    }
}

fn holds(law: &'static str, truth: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if truth { Ok(()) } else { Err(Violation { law, what: what() }) }
}

/// Per warehouse `received + adjusted + returned = on_hand + sold`.
pub fn stock_is_conserved(stock: &Inventory) -> Result<(), Violation> {
    for level in stock.levels() {
        let came = i128::from(level.received)
            .saturating_add(i128::from(level.adjusted))
            .saturating_add(i128::from(level.returned));
        let is = i128::from(level.on_hand).saturating_add(i128::from(level.sold));
        holds("stock_is_conserved", came == is, || format!("{came} came, {is} are there or sold: {level:?}"))?;
    }
    Ok(())
}

/// Per warehouse `on_hand >= reserved + held`.
pub fn available_is_never_negative(stock: &Inventory) -> Result<(), Violation> {
    for level in stock.levels() {
        let reserved = level.reserved.saturating_add(level.held);
        holds("available_is_never_negative", level.on_hand >= reserved, || format!("{level:?}"))?;
    }
    Ok(())
}

/// Per warehouse `reserved` is the sum of what live reservations hold there.
pub fn reserved_is_the_sum_of_live_reservations(stock: &Inventory) -> Result<(), Violation> {
    let mut sums = BTreeMap::new();
    for (order, reservation) in stock.live() {
        let held = reservation.status == ClaimStatus::Held;
        holds("reserved_is_the_sum_of_live_reservations", held, || format!("{order} is live and has ended"))?;
        for part in &reservation.allocations {
            let sum: &mut u64 = sums.entry(&part.warehouse).or_default();
            *sum = sum.saturating_add(u64::from(part.units));
        }
    }
    for (id, reservation) in stock.external_reservations() {
        let held = reservation.status == ExternalStatus::Held;
        holds("reserved_is_the_sum_of_live_reservations", held, || format!("{id} is live and has ended"))?;
        for part in &reservation.allocations {
            let sum: &mut u64 = sums.entry(&part.warehouse).or_default();
            *sum = sum.saturating_add(u64::from(part.units));
        }
    }
    for level in stock.levels() {
        let sum = sums.remove(&level.warehouse).unwrap_or(0);
        let equal = level.reserved == sum;
        holds("reserved_is_the_sum_of_live_reservations", equal, || format!("the sum is {sum}: {level:?}"))?;
    }
    holds("reserved_is_the_sum_of_live_reservations", sums.is_empty(), || format!("no level for {sums:?}"))
}

/// Per warehouse: units to ship are sold and have not come back.
pub fn what_is_to_ship_is_sold(stock: &Inventory) -> Result<(), Violation> {
    let covered = |level: &Level| level.to_ship <= level.sold.saturating_sub(level.returned);
    for level in stock.levels() {
        holds("what_is_to_ship_is_sold", covered(level), || format!("{level:?}"))?;
    }
    Ok(())
}

/// All laws of a SKU's stock that depend on its state only.
pub fn stock_is_lawful(stock: &Inventory) -> Result<(), Violation> {
    stock_is_conserved(stock)?;
    available_is_never_negative(stock)?;
    reserved_is_the_sum_of_live_reservations(stock)?;
    what_is_to_ship_is_sold(stock)
}

/// Over **all** events of one SKU: a reservation is named by its own event number (rule R1), ends at most once, sold or free, and
/// an order never gets more back than it bought.
pub fn a_unit_is_sold_at_most_once<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<(), Violation> {
    const LAW: &str = "a_unit_is_sold_at_most_once";
    let mut live = BTreeSet::new();
    let mut reserved = BTreeSet::new();
    let mut books = AuditFold::default();
    let mut number: u64 = 0;
    for event in events {
        number = number.saturating_add(1);
        match event {
            Event::Reserved { reservation, .. } => {
                holds(LAW, *reservation == number, || format!("event {number} is named {reservation}"))?;
                live.insert(*reservation);
            }
            Event::Committed { order, reservation } | Event::Released { order, reservation } => {
                holds(LAW, live.remove(reservation), || format!("{order} ends {reservation} a second time"))?;
            }
            Event::Shipped { .. }
            | Event::Unshipped { .. }
            | Event::ExternalShipped { .. }
            | Event::Returned { .. }
            | Event::Offered(_)
            | Event::Received { .. }
            | Event::Announced { .. }
            | Event::Adjusted { .. }
            | Event::Counted { .. }
            | Event::Kept { .. }
            | Event::Forgotten { .. }
            | Event::MovesForgotten { .. }
            | Event::ExternalForgotten { .. }
            | Event::WarehouseSet { .. } => {}
            Event::ExternalReserved { id, .. } => {
                holds(LAW, reserved.insert(*id), || format!("{id} is reserved a second time while it is held"))?;
            }
            Event::ExternalExtended { id, .. } | Event::ExternalKept { id, .. } => {
                holds(LAW, reserved.contains(id), || format!("{id} is kept, and had ended"))?;
            }
            Event::ExternalCommitted { id, .. } | Event::ExternalReleased { id, .. } => {
                holds(LAW, reserved.remove(id), || format!("{id} ends a second time"))?;
            }
            Event::ExternalExpired { ids, .. } => {
                for id in ids {
                    holds(LAW, reserved.remove(id), || format!("{id} ends a second time"))?;
                }
            }
        }
        books.take(event);
    }
    for (order, units) in books.orders() {
        let left = units.shipped.saturating_add(units.cancelled);
        let lawful = left <= units.committed && units.returned <= units.shipped;
        holds(LAW, lawful, || format!("{order}: {units:?}"))?;
    }
    Ok(())
}

/// Over **all** events of one SKU: no reservation takes units from a warehouse that is not active.
pub fn nothing_is_reserved_where_nothing_is_for_sale<'a>(
    events: impl IntoIterator<Item = &'a Event>,
) -> Result<(), Violation> {
    let mut closed = BTreeSet::new();
    for event in events {
        if let Event::WarehouseSet { warehouse, active, version: _ } = event {
            if *active {
                closed.remove(warehouse)
            } else {
                closed.insert(warehouse)
            };
        }
        if let Event::Reserved { allocations, .. } | Event::ExternalReserved { allocations, .. } = event {
            let lawful = allocations.iter().all(|part| !closed.contains(&part.warehouse));
            holds("nothing_is_reserved_where_nothing_is_for_sale", lawful, || {
                format!("{event:?}, closed: {closed:?}")
            })?;
        }
    }
    Ok(())
}

/// The sums over **all** events of one SKU agree with its state: live, sold and returned units, and those that are to ship.
pub fn books_agree(books: &AuditFold, stock: &Inventory) -> Result<(), Violation> {
    const LAW: &str = "books_agree";
    let mut live: u64 = 0;
    let mut sold: u64 = 0;
    let mut unsold: u64 = 0;
    let mut to_ship: u64 = 0;
    for (order, units) in books.orders() {
        let reservation = stock.reservation(order).filter(|known| known.status == ClaimStatus::Held);
        let held = reservation.map_or(0, super::inventory::Reservation::units);
        holds(LAW, units.live() == held, || format!("{order} holds {held}: {units:?}"))?;
        live = live.saturating_add(units.live());
        sold = sold.saturating_add(units.committed);
        unsold = unsold.saturating_add(units.returned).saturating_add(units.cancelled);
        to_ship = to_ship.saturating_add(units.committed.saturating_sub(units.shipped).saturating_sub(units.cancelled));
    }
    for (id, units) in books.all_external() {
        let reservation =
            stock.external_reservation(id).filter(|reservation| reservation.status == ExternalStatus::Held);
        let held = reservation.map_or(0, super::inventory::ExternalReservation::units);
        holds(LAW, units.live() == held, || format!("{id} holds {held}: {units:?}"))?;
        live = live.saturating_add(units.live());
        sold = sold.saturating_add(units.committed);
        to_ship = to_ship.saturating_add(units.committed.saturating_sub(units.shipped));
    }
    let sum = |of: fn(&Level) -> u64| stock.levels().map(of).fold(0, u64::saturating_add);
    let levels = (sum(|level| level.reserved), sum(|level| level.sold), sum(|level| level.returned));
    let waiting = sum(|level| level.to_ship);
    holds(LAW, waiting == to_ship, || format!("{waiting} are to ship in the levels, {to_ship} by order"))?;
    holds(LAW, levels == (live, sold, unsold), || format!("{levels:?} in the levels, {live} {sold} {unsold} by order"))
}

/// A counter's sums are those of its grants: `held` of the live ones, and at least those that are committed and kept are `used`.
pub fn a_counter_counts_its_grants(counter: &Counter) -> Result<(), Violation> {
    const LAW: &str = "a_counter_counts_its_grants";
    let live = counter.grants().filter(|(_, _, status)| *status == ClaimStatus::Held);
    let held = live.map(|(_, units, _)| u64::from(units)).fold(0, u64::saturating_add);
    holds(LAW, held == counter.held(), || format!("the sum is {held}: {counter:?}"))
}

/// Over **all** events of one counter: no grant while `used + held` with it would exceed the limit of that moment.
pub fn no_grant_exceeds_its_limit<'a>(events: impl IntoIterator<Item = &'a counter::Event>) -> Result<(), Violation> {
    let mut counter = Counter::default();
    for event in events {
        counter.evolve(event);
        if let counter::Event::Granted { claim, .. } = event {
            let taken = counter.held().saturating_add(counter.used());
            let lawful = taken <= u64::from(claim.limit);
            holds("no_grant_exceeds_its_limit", lawful, || format!("{taken} are taken after {event:?}"))?;
        }
        a_counter_counts_its_grants(&counter)?;
    }
    Ok(())
}

/// Replaying the events gives the state.
pub fn replay_equals_state<'a, E: Entity>(
    events: impl IntoIterator<Item = &'a E::Event>,
    state: &E,
) -> Result<(), Violation>
where
    E::Event: 'a,
{
    let mut replayed = E::default();
    events.into_iter().for_each(|event| replayed.evolve(event));
    holds("replay_equals_state", replayed == *state, || format!("{replayed:?} is not {state:?}"))
}
