//! A room: its places, and what it answers the drop. What it changes is durable before anything leaves.

use super::Rule;

/// (window, draw): lower goes first. The draw stands for the HMAC over the leaf.
pub(crate) type Rank = (u8, u32);

/// Ranks a room offers in one round.
const OFFERS_MAX: usize = 3;
/// How often a place that was passed over is called after all.
const RETURNS_MAX: u8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Waiting,
    PassedOver,
    Called,
    Claimed,
    Settled,
    Lapsed,
}

#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) principal: u8,
    pub(crate) rank: Rank,
    pub(crate) units: u32,
    pub(crate) status: Status,
    pub(crate) is_present: bool,
    /// Present when the room made its last offer: only these are called by the raise that follows.
    pub(crate) is_offered: bool,
    /// Times it was passed over; above zero its rank lies below the threshold.
    pub(crate) passes: u8,
    /// The order that holds it, or that settled it.
    pub(crate) order: Option<usize>,
    /// Orders that gave it back.
    pub(crate) ended: Vec<usize>,
    /// Its deadline has passed.
    pub(crate) is_late: bool,
}

impl Place {
    pub(crate) fn is_let_in(&self) -> bool {
        matches!(self.status, Status::Called | Status::Claimed)
    }

    /// Will this raise let it in?
    pub(crate) fn is_due(&self, raised: &Raised) -> bool {
        let upto = if self.passes > 0 { raised.returners } else { raised.threshold };
        self.status == Status::Waiting && self.is_offered && upto.is_some_and(|upto| self.rank <= upto)
    }
}

/// A raise, as the drop has journaled it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Raised {
    pub(crate) n: u32,
    /// Everybody up to here may enter.
    pub(crate) threshold: Option<Rank>,
    /// Of those who were passed over and came back, everybody up to here. One number cannot say both: their ranks lie below
    /// the threshold, whether this raise has units for them or not.
    pub(crate) returners: Option<Rank>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) rank: Rank,
    pub(crate) is_returner: bool,
    pub(crate) units: u32,
    pub(crate) is_present: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) closed: u8,
    pub(crate) demand: u32,
    pub(crate) offers: Vec<Offer>,
    /// Above this rank the room has more than it offers.
    pub(crate) upto: Option<Rank>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    pub(crate) places: Vec<Place>,
    /// Windows it has closed.
    pub(crate) closed: u8,
    /// The last raise it has acted on.
    pub(crate) called: Raised,
    /// The last attempt it made an offer for.
    asked: u32,
}

impl Room {
    /// True if the principal has a place already.
    pub(crate) fn join(&mut self, principal: u8, draw: u32, units: u32, without: Option<Rule>) -> bool {
        let is_known = self.places.iter().any(|place| place.principal == principal);
        if !is_known || without == Some(Rule::OnePlace) {
            self.places.push(Place {
                principal,
                rank: (self.closed, draw),
                units,
                status: Status::Waiting,
                is_present: true,
                is_offered: false,
                passes: 0,
                order: None,
                ended: Vec::new(),
                is_late: false,
            });
        }
        is_known
    }

    pub(crate) fn close(&mut self, window: u8) {
        if self.closed == window {
            self.closed += 1;
        }
    }

    /// A poll came in, or none for two intervals.
    pub(crate) fn seen(&mut self, index: usize, is_present: bool) {
        let place = &mut self.places[index];
        place.is_present = is_present;
        if is_present && place.status == Status::PassedOver {
            place.status = if place.passes > RETURNS_MAX { Status::Lapsed } else { Status::Waiting };
        }
    }

    /// What presence was known is lost: all count as present.
    pub(crate) fn crash(&mut self) {
        for index in 0..self.places.len() {
            self.seen(index, true);
        }
    }

    /// Acts on a raise, once. Tells what happened.
    pub(crate) fn call(&mut self, raised: &Raised, without: Option<Rule>) -> Vec<&'static str> {
        let mut seen = Vec::new();
        if raised.n <= self.called.n {
            return seen;
        }
        self.called = *raised;
        for place in &mut self.places {
            if without == Some(Rule::CallTheOffered) {
                place.is_offered = place.is_present;
            }
            let is_closed = place.rank.0 < self.closed;
            if is_closed && place.is_due(raised) {
                place.status = Status::Called;
                if place.passes > 0 {
                    seen.push("a place that was passed over is called");
                }
            } else if is_closed
                && place.status == Status::Waiting
                && place.passes == 0
                && !place.is_offered
                && raised.threshold.is_some_and(|threshold| place.rank <= threshold)
            {
                place.passes = 1;
                place.status = if place.is_present { Status::Waiting } else { Status::PassedOver };
                seen.push("a place is passed over");
            } else if place.status == Status::Waiting && place.passes > 0 && !place.is_present {
                place.passes += 1;
                place.status = Status::PassedOver;
            }
            place.is_offered = false;
        }
        seen
    }

    /// Its figures and its next ranks, as of the first time this attempt asks. `None`: an attempt that is over.
    pub(crate) fn answer(&mut self, attempt: u32, raised: &Raised, without: Option<Rule>) -> Option<Answer> {
        let is_any = without == Some(Rule::OneOffer);
        if attempt < self.asked && !is_any {
            return None;
        }
        if attempt > self.asked || is_any {
            self.asked = attempt;
            self.places.iter_mut().for_each(|place| place.is_offered = place.is_present);
        }
        let next = |is_returner: bool| {
            let mut next: Vec<Offer> = self
                .places
                .iter()
                .filter(|place| place.status == Status::Waiting && place.rank.0 < self.closed)
                .filter(|place| (place.passes > 0) == is_returner)
                .filter(|place| is_returner || raised.threshold.is_none_or(|threshold| place.rank > threshold))
                .filter(|place| place.is_offered || (without == Some(Rule::PassOver) && !is_returner))
                .map(|place| Offer { rank: place.rank, is_returner, units: place.units, is_present: place.is_offered })
                .collect();
            next.sort_by_key(|offer| offer.rank);
            next
        };
        let (returners, mut fresh) = (next(true), next(false));
        let has_more = fresh.len() > OFFERS_MAX;
        fresh.truncate(OFFERS_MAX);
        Some(Answer {
            closed: self.closed,
            demand: self.places.iter().filter(|place| place.is_let_in()).map(|place| place.units).sum(),
            upto: if has_more { fresh.last().map(|offer| offer.rank) } else { None },
            offers: returners.into_iter().chain(fresh).collect(),
        })
    }

    /// May this order hold the place?
    pub(crate) fn claim(&mut self, index: usize, order: usize, without: Option<Rule>) -> bool {
        let place = &mut self.places[index];
        if place.order == Some(order) {
            return true;
        }
        let is_free = place.status == Status::Called && !place.is_late;
        let is_shared = without == Some(Rule::OneOrder) && place.status == Status::Claimed;
        if place.ended.contains(&order) || !(is_free || is_shared) {
            return false;
        }
        place.status = Status::Claimed;
        place.order = Some(order);
        true
    }

    /// The order has ended. A give-back after the deadline is lapsed.
    pub(crate) fn end(&mut self, index: usize, order: usize, is_sold: bool) {
        let place = &mut self.places[index];
        if place.order != Some(order) || place.status != Status::Claimed {
            return;
        }
        if is_sold {
            place.status = Status::Settled;
            return;
        }
        place.ended.push(order);
        place.order = None;
        place.status = if place.is_late { Status::Lapsed } else { Status::Called };
    }

    /// The deadline of an admission. An order that holds it ends first.
    pub(crate) fn deadline(&mut self, index: usize) {
        let place = &mut self.places[index];
        match place.status {
            Status::Called => place.status = Status::Lapsed,
            Status::Claimed => place.is_late = true,
            Status::Waiting | Status::PassedOver | Status::Settled | Status::Lapsed => {}
        }
    }
}
