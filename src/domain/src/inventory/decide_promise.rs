//! Decisions on external reservations, which belong to shops with a checkout of their own: reserve, commit, release, extend, expire.

use super::event::Event;
use super::memory::narrow;
use super::promises::{
    EXTENSIONS_MAX, Keeper, LOOKED_AT_MAX, PROMISES_PER_DECISION_MAX, Party, Promise, PromiseStatus, PromiseWish,
    Promised,
};
use super::words::{Allocation, OrderSays, Refusal, Reply, Units};
use super::{Inventory, QUESTION_GRACE_S};
use crate::entity::Decision;
use crate::ids::{Request, ReservationId, WarehouseId};
use crate::time::Timestamp;
use std::collections::BTreeMap;

type Decided = Result<Decision<Event, Reply>, Refusal>;

/// How a caller ends an external reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PromiseEnd {
    /// The units are sold.
    Commit,
    /// The units are no longer wanted.
    Release,
}

/// The units that the requests of one command have taken so far: each request is decided as if those before it had taken effect.
struct Draft {
    taken: BTreeMap<WarehouseId, u64>,
    /// The reservations that earlier requests of the same command made.
    made: BTreeMap<ReservationId, Promise>,
    events: Vec<Event>,
}

impl Inventory {
    /// Each request is answered separately.
    pub(super) fn decide_promise(
        &self,
        keeper: Keeper,
        wishes: &[PromiseWish],
        ranking: &[WarehouseId],
        now: Timestamp,
    ) -> Decided {
        if wishes.len() > PROMISES_PER_DECISION_MAX {
            return Err(Refusal::LimitExceeded {
                limit: narrow_len(PROMISES_PER_DECISION_MAX),
                wanted: narrow_len(wishes.len()),
            });
        }
        let several = wishes.len() > 1;
        let mut draft =
            Draft { taken: BTreeMap::new(), made: BTreeMap::new(), events: Vec::with_capacity(wishes.len()) };
        let mut answers = Vec::with_capacity(wishes.len());
        for wish in wishes {
            answers.push(self.promise_one(&mut draft, keeper, wish, ranking, now, several));
        }
        let repeated = draft.events.is_empty() && matches!(answers.as_slice(), [Ok(one)] if one.repeated);
        if !repeated {
            // Every decision, even a refusal, ends what is overdue and forgets at least as many ended reservations as it adds.
            self.pass_time(&mut draft.events, now);
        }
        Ok(Decision { events: draft.events, reply: Reply::Promises(answers), repeated })
    }

    fn promise_one(
        &self,
        draft: &mut Draft,
        keeper: Keeper,
        wish: &PromiseWish,
        ranking: &[WarehouseId],
        now: Timestamp,
        several: bool,
    ) -> Result<Box<Promised>, Refusal> {
        let known = self.promises.get(wish.id).or_else(|| draft.made.get(&wish.id));
        if let Some(promise) = known {
            return promise_again(promise, keeper, wish);
        }
        if wish.expires_at <= now {
            return Err(Refusal::Ended);
        }
        self.check_wish(wish)?;
        let Some(allocations) = self.allocate_beside(&draft.taken, wish.units, ranking) else {
            return Err(self.short_of(wish.units, &draft.taken));
        };
        let made = u64::try_from(draft.events.len()).unwrap_or(u64::MAX);
        let expires_at = match keeper {
            Keeper::Stock => wish.expires_at,
            Keeper::Reservation { .. } => wish.expires_at.plus_s(QUESTION_GRACE_S),
        };
        let promise = Promise {
            number: self.version.saturating_add(made).saturating_add(1),
            reference: wish.reference.clone(),
            buyer_key: wish.buyer_key.clone(),
            keeper,
            allocations,
            hold_s: wish.hold_s,
            expires_at,
            status: PromiseStatus::Held,
            made_at: now,
            changed_at: now,
            changes: 1,
            extensions: Vec::new(),
        };
        draft.events.push(Event::Promised {
            id: wish.id,
            reference: promise.reference.clone(),
            buyer_key: promise.buyer_key.clone(),
            keeper,
            allocations: promise.allocations.clone(),
            hold_s: promise.hold_s,
            at: now,
            expires_at,
        });
        if several {
            for part in &promise.allocations {
                let taken = draft.taken.entry(part.warehouse.clone()).or_default();
                *taken = taken.saturating_add(u64::from(part.units));
            }
            draft.made.insert(wish.id, promise.clone());
        }
        Ok(Box::new(Promised { id: wish.id, promise, repeated: false }))
    }

    /// A seller with a catalogue elsewhere has stock here without an offer: such stock may be reserved. An existing offer is checked.
    fn check_wish(&self, wish: &PromiseWish) -> Result<(), Refusal> {
        if !self.is_known() {
            return Err(Refusal::Unknown);
        }
        if wish.units == 0 {
            return Err(Refusal::NotThatMany);
        }
        let Some(offer) = &self.offer else { return Ok(()) };
        if !offer.on_sale {
            return Err(Refusal::NotOnSale);
        }
        offer.check_limit(wish.units)
    }

    fn short_of(&self, wanted: Units, taken: &BTreeMap<WarehouseId, u64>) -> Refusal {
        let levels = self.levels.values();
        let free = |level: &super::Level| {
            level.available().saturating_sub(taken.get(&level.warehouse).copied().unwrap_or_default())
        };
        let available = levels.clone().map(free).fold(0, u64::saturating_add);
        let all_reserved = !taken.is_empty() || levels.map(|level| level.reserved).any(|reserved| reserved > 0);
        Refusal::SoldOut { wanted, available, all_reserved }
    }

    /// The reservation, if the requester may act on it.
    fn promise_of(&self, id: ReservationId, party: &Party) -> Option<&Promise> {
        self.promises.get(id).filter(|promise| match (party, promise.keeper) {
            (Party::Caller(name), Keeper::Stock) => ReservationId::of_reference(name, &promise.reference) == id,
            (Party::Reservation, Keeper::Reservation { .. }) => true,
            (Party::Caller(_), Keeper::Reservation { .. }) | (Party::Reservation, Keeper::Stock) => false,
        })
    }

    pub(super) fn read_promise(&self, id: ReservationId, party: &Party) -> Decided {
        let Some(promise) = self.promise_of(id, party) else { return Ok(Decision::nothing(Reply::Unknown)) };
        Ok(Decision::nothing(reply(id, promise, false)))
    }

    /// Until its end is journaled the reservation holds its units, even a moment past its deadline: a commit then still succeeds.
    pub(super) fn decide_end_promise(
        &self,
        id: ReservationId,
        party: &Party,
        end: PromiseEnd,
        now: Timestamp,
    ) -> Decided {
        let Some(promise) = self.promise_of(id, party) else { return Ok(Decision::nothing(Reply::Unknown)) };
        let (event, status) = match (end, promise.status) {
            (PromiseEnd::Commit, PromiseStatus::Held) => {
                (Event::PromiseCommitted { id, at: now }, PromiseStatus::Committed)
            }
            (PromiseEnd::Release, PromiseStatus::Held) => {
                (Event::PromiseReleased { id, at: now }, PromiseStatus::Released)
            }
            (PromiseEnd::Commit, PromiseStatus::Committed)
            | (PromiseEnd::Release, PromiseStatus::Released | PromiseStatus::Expired) => {
                return Ok(Decision::again(reply(id, promise, true)));
            }
            (PromiseEnd::Commit, status @ (PromiseStatus::Released | PromiseStatus::Expired))
            | (PromiseEnd::Release, status @ PromiseStatus::Committed) => {
                return Err(Refusal::PromiseEnded { status });
            }
        };
        let mut after = promise.clone();
        (after.status, after.changed_at, after.changes) = (status, now, after.changes.saturating_add(1));
        Ok(Decision::one(event, reply(id, &after, false)))
    }

    pub(super) fn decide_extend(
        &self,
        id: ReservationId,
        party: &Party,
        request: Request,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Decided {
        let Some(promise) = self.promise_of(id, party) else { return Ok(Decision::nothing(Reply::Unknown)) };
        if let Some(known) = promise.extensions.iter().find(|known| known.id == request.id) {
            let same = known.terms == request.terms;
            return if same { Ok(Decision::again(reply(id, promise, true))) } else { Err(Refusal::RequestReused) };
        }
        if promise.status != PromiseStatus::Held {
            return Err(Refusal::PromiseEnded { status: promise.status });
        }
        if promise.extensions.len() >= EXTENSIONS_MAX {
            let (limit, wanted) = (narrow_len(EXTENSIONS_MAX), narrow_len(EXTENSIONS_MAX).saturating_add(1));
            return Err(Refusal::LimitExceeded { limit, wanted });
        }
        // Never shorter, because the caller has already received the longer deadline.
        let expires_at = promise.expires_at.max(expires_at);
        let mut after = promise.clone();
        after.extensions.push(request);
        (after.expires_at, after.changed_at, after.changes) = (expires_at, now, after.changes.saturating_add(1));
        Ok(Decision::one(Event::PromiseExtended { id, request, at: now, expires_at }, reply(id, &after, false)))
    }

    /// The reservations of one caller, newest first.
    pub(super) fn list_promises(
        &self,
        owner: &str,
        status: Option<PromiseStatus>,
        before: Option<u64>,
        limit: u32,
    ) -> Decided {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut next = None;
        let mut looked_at: usize = 0;
        for (id, promise) in self.promises.newest_before(before.unwrap_or(u64::MAX)) {
            if found.len() >= limit || looked_at >= LOOKED_AT_MAX {
                next = Some(promise.number.saturating_add(1));
                break;
            }
            looked_at = looked_at.saturating_add(1);
            let wanted = status.is_none_or(|status| promise.status == status);
            if wanted && ReservationId::of_reference(owner, &promise.reference) == id {
                found.push(Promised { id, promise: promise.clone(), repeated: false });
            }
        }
        Ok(Decision::nothing(Reply::PromiseList { found, next }))
    }

    /// Applies the time: expires overdue reservations and forgets ended ones after their memory time.
    pub(super) fn decide_wake(&self, now: Timestamp) -> Decided {
        let mut events = Vec::new();
        self.pass_time(&mut events, now);
        Ok(Decision::events(events, Reply::Done))
    }

    fn pass_time(&self, events: &mut Vec<Event>, now: Timestamp) {
        let most = events.len().saturating_mul(2).saturating_add(1);
        let ids: Vec<ReservationId> = self.promises.overdue(now).collect();
        if !ids.is_empty() {
            events.push(Event::PromisesExpired { ids, at: now });
        }
        let ids: Vec<ReservationId> = self.promises.faded(now, most).collect();
        if !ids.is_empty() {
            events.push(Event::PromisesForgotten { ids });
        }
    }

    /// The answer of a reservation of several lines about its line (rule R3). An answer after the end changes nothing.
    pub(super) fn decide_promise_answer(&self, id: ReservationId, says: OrderSays, now: Timestamp) -> Decided {
        let held = self.promise_of(id, &Party::Reservation).filter(|promise| promise.status == PromiseStatus::Held);
        let Some(promise) = held else { return Ok(Decision::nothing(Reply::Unknown)) };
        let event = match says {
            OrderSays::Keep { until } => {
                let ask_at = until.max(now.plus_s(QUESTION_GRACE_S));
                if ask_at == promise.expires_at {
                    return Ok(Decision::again(Reply::Done));
                }
                Event::PromiseKept { id, ask_at }
            }
            OrderSays::Release => Event::PromiseReleased { id, at: now },
            OrderSays::Taken => Event::PromiseCommitted { id, at: now },
        };
        Ok(Decision::one(event, Reply::Done))
    }

    /// Allocates units that are not taken already; see [`Self::allocate`].
    fn allocate_beside(
        &self,
        taken: &BTreeMap<WarehouseId, u64>,
        units: Units,
        ranking: &[WarehouseId],
    ) -> Option<Vec<Allocation>> {
        let mut levels = self.levels.values();
        if let (Some(only), None) = (levels.next(), levels.next()) {
            let taken = taken.get(&only.warehouse).copied().unwrap_or_default();
            let enough = only.available().saturating_sub(taken) >= u64::from(units);
            return enough.then(|| vec![Allocation { warehouse: only.warehouse.clone(), units }]);
        }
        self.allocate_with(units, ranking, |level| {
            level.available().saturating_sub(taken.get(&level.warehouse).copied().unwrap_or_default())
        })
    }
}

fn reply(id: ReservationId, promise: &Promise, repeated: bool) -> Reply {
    Reply::Promise(Box::new(Promised { id, promise: promise.clone(), repeated }))
}

/// The same reference with the same terms returns the existing reservation in its current state.
fn promise_again(known: &Promise, keeper: Keeper, wish: &PromiseWish) -> Result<Box<Promised>, Refusal> {
    let same = known.units() == u64::from(wish.units)
        && known.hold_s == wish.hold_s
        && known.buyer_key == wish.buyer_key
        && known.keeper == keeper;
    if !same {
        return Err(Refusal::OtherTerms);
    }
    Ok(Box::new(Promised { id: wish.id, promise: known.clone(), repeated: true }))
}

fn narrow_len(length: usize) -> Units {
    narrow(u64::try_from(length).unwrap_or(u64::MAX))
}
