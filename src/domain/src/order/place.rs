//! Places an order: from lines, or from a cart that is frozen for it.

use super::command::{CartRefusal, Made, Refusal, Reply};
use super::event::{Event, Placed};
use super::saga::{Decided, ending, made};
use super::terms::{LINES_MAX, PlaceOrder, Source, Wanted};
use super::{EndReason, Head, Order, Rejection, Stage};
use crate::entity::Decision;
use crate::ids::Sku;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Order {
    pub(super) fn place(&self, place: &PlaceOrder, now: Timestamp) -> Decided {
        if let Some(head) = &self.head {
            return if head.request == place.request && self.same_people(place) {
                Ok(Decision::again(made(Made::Order)))
            } else {
                Err(Refusal::RequestReused)
            };
        }
        let source = match &place.source {
            Source::Cart(cart) => Source::Cart(*cart),
            Source::Lines(lines) => Source::Lines(summed(lines).ok_or(Refusal::Malformed)?),
        };
        let terms = &place.terms;
        let currencies = [terms.expected_total, terms.shipping.as_ref().map(|shipping| shipping.price)];
        if currencies.into_iter().flatten().any(|money| money.currency != terms.currency) {
            return Err(Refusal::CurrencyMismatch);
        }
        if terms.shipping.as_ref().is_some_and(|shipping| shipping.price.amount < 0) {
            return Err(Refusal::Malformed);
        }
        let head = Head {
            request: place.request,
            source,
            terms: terms.clone(),
            payment: place.payment.clone(),
            placed_at: now,
            personal_hash: place.personal.hash(),
            installation: place.installation,
        };
        let placed = Placed {
            order: place.id(),
            head: Arc::new(head),
            expires_at: now.plus_s(terms.hold_s),
            personal: Some(Arc::new(place.personal.clone())),
        };
        Ok(Decision::one(Event::Placed(Box::new(placed)), made(Made::Order)))
    }

    /// Whether a repeated request has the same personal data, compared under the first salt. After the erasure there is nothing to compare.
    fn same_people(&self, place: &PlaceOrder) -> bool {
        match (&self.head, &self.personal) {
            (Some(head), Some(personal)) => place.personal.hash_under(&personal.salt) == head.personal_hash,
            (None, _) | (_, None) => true,
        }
    }

    pub(super) fn cart_frozen_with(&self, lines: &[Wanted], now: Timestamp) -> Decided {
        let frozen = |lines: Vec<Wanted>| Event::Frozen { lines };
        if self.stage != Stage::Freezing {
            return Ok(self.follow(vec![frozen(Vec::new())], now, Reply::Done));
        }
        // A frozen cart is never empty or too long; if it were, it would be thawed again.
        let Some(lines) = summed(lines) else { return Ok(self.give_cart_back(CartRefusal::Empty, now)) };
        Ok(self.follow(vec![frozen(lines)], now, Reply::Done))
    }

    /// Returns a frozen cart that this order cannot use.
    pub(super) fn give_cart_back(&self, why: CartRefusal, now: Timestamp) -> Decision<Event, Reply> {
        let thaw = Event::Frozen { lines: Vec::new() };
        let end = ending(EndReason::Rejected(Rejection::Cart(why)), None, now);
        let events = if self.stage == Stage::Freezing { vec![end, thaw] } else { vec![thaw] };
        self.follow(events, now, Reply::Done)
    }
}

/// One line for each SKU, in the order of their first mention; `None`: the lines are invalid. (Rule R1: one reservation per order and SKU.)
fn summed(lines: &[Wanted]) -> Option<Vec<Wanted>> {
    let mut places: BTreeMap<&Sku, usize> = BTreeMap::new();
    let mut summed: Vec<Wanted> = Vec::with_capacity(lines.len());
    for line in lines {
        if line.units == 0 {
            return None;
        }
        match places.get(&line.sku).and_then(|index| summed.get_mut(*index)) {
            Some(first) => {
                first.units = first.units.checked_add(line.units)?;
                first.expected_unit_price = match (first.expected_unit_price, line.expected_unit_price) {
                    (Some(one), Some(other)) if one != other => return None,
                    (one, other) => one.or(other),
                };
            }
            None => {
                places.insert(&line.sku, summed.len());
                summed.push(line.clone());
            }
        }
    }
    if summed.is_empty() || summed.len() > LINES_MAX { None } else { Some(summed) }
}
