//! Decisions on external reservations, which belong to shops with a checkout of their own: reserve, commit, release, extend, expire.

use super::Inventory;
use super::command::{Allocation, Refusal, Reply, Units};
use super::event::Event;
use super::external::{
    Decider, EXTENSIONS_MAX, EXTERNAL_PER_DECISION_MAX, ExternalAnswer, ExternalRequest, ExternalReservation,
    ExternalStatus, LOOKED_AT_MAX, Requester,
};
use super::memory::narrow;
use crate::claims::{QUESTION_GRACE_S, Says};
use crate::entity::Decision;
use crate::ids::{Request, ReservationId, WarehouseId};
use crate::time::Timestamp;
use std::collections::BTreeMap;

type Decided = Result<Decision<Event, Reply>, Refusal>;

/// How a caller ends an external reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ExternalEnd {
    /// The units are sold.
    Commit,
    /// The units are no longer wanted.
    Release,
    /// The units were sold, and have left the warehouse.
    Ship,
    /// The units are sold and leave the warehouse at once.
    CommitAndShip,
}

/// The units that the requests of one command have taken so far: each request is decided as if those before it had taken effect.
struct Draft {
    taken: BTreeMap<WarehouseId, u64>,
    /// The reservations that earlier requests of the same command made.
    made: BTreeMap<ReservationId, ExternalReservation>,
    events: Vec<Event>,
}

impl Inventory {
    /// Each request is answered separately.
    pub(super) fn decide_external(
        &self,
        decider: Decider,
        requests: &[ExternalRequest],
        ranking: &[WarehouseId],
        now: Timestamp,
    ) -> Decided {
        if requests.len() > EXTERNAL_PER_DECISION_MAX {
            return Err(Refusal::LimitExceeded {
                limit: narrow_len(EXTERNAL_PER_DECISION_MAX),
                wanted: narrow_len(requests.len()),
            });
        }
        let several = requests.len() > 1;
        let mut draft =
            Draft { taken: BTreeMap::new(), made: BTreeMap::new(), events: Vec::with_capacity(requests.len()) };
        let mut answers = Vec::with_capacity(requests.len());
        for wanted in requests {
            answers.push(self.reserve_external(&mut draft, decider, wanted, ranking, now, several));
        }
        let repeated = draft.events.is_empty() && matches!(answers.as_slice(), [Ok(one)] if one.repeated);
        if !repeated {
            // Every decision, even a refusal, ends what is overdue and forgets at least as many ended reservations as it adds.
            self.pass_time(&mut draft.events, now);
        }
        Ok(Decision { events: draft.events, reply: Reply::ReservedExternal(answers), repeated })
    }

    fn reserve_external(
        &self,
        draft: &mut Draft,
        decider: Decider,
        wanted: &ExternalRequest,
        ranking: &[WarehouseId],
        now: Timestamp,
        several: bool,
    ) -> Result<Box<ExternalAnswer>, Refusal> {
        let known = self.external.get(wanted.id).or_else(|| draft.made.get(&wanted.id));
        if let Some(reservation) = known {
            return external_again(reservation, decider, wanted);
        }
        if wanted.expires_at <= now {
            return Err(Refusal::Ended);
        }
        self.check_request(wanted)?;
        let Some(allocations) = self.allocate_beside(&draft.taken, wanted.units, ranking) else {
            return Err(self.short_of(wanted.units, &draft.taken));
        };
        let made = u64::try_from(draft.events.len()).unwrap_or(u64::MAX);
        let expires_at = match decider {
            Decider::Stock => wanted.expires_at,
            Decider::Reservation { .. } => wanted.expires_at.plus_s(QUESTION_GRACE_S),
        };
        let reservation = ExternalReservation {
            number: self.version.saturating_add(made).saturating_add(1),
            reference: wanted.reference.clone(),
            buyer_key: wanted.buyer_key.clone(),
            decider,
            allocations,
            hold_s: wanted.hold_s,
            expires_at,
            status: ExternalStatus::Held,
            made_at: now,
            changed_at: now,
            changes: 1,
            extensions: Vec::new(),
            shipped_at: None,
        };
        draft.events.push(Event::ExternalReserved {
            id: wanted.id,
            reference: reservation.reference.clone(),
            buyer_key: reservation.buyer_key.clone(),
            decider,
            allocations: reservation.allocations.clone(),
            hold_s: reservation.hold_s,
            at: now,
            expires_at,
        });
        if several {
            for part in &reservation.allocations {
                let taken = draft.taken.entry(part.warehouse.clone()).or_default();
                *taken = taken.saturating_add(u64::from(part.units));
            }
            draft.made.insert(wanted.id, reservation.clone());
        }
        Ok(Box::new(ExternalAnswer { id: wanted.id, reservation, repeated: false }))
    }

    fn check_request(&self, wanted: &ExternalRequest) -> Result<(), Refusal> {
        let Some(offer) = &self.offer else { return Err(Refusal::Unknown) };
        if wanted.units == 0 {
            return Err(Refusal::NotThatMany);
        }
        if !offer.on_sale {
            return Err(Refusal::NotOnSale);
        }
        offer.check_limit(wanted.units)
    }

    fn short_of(&self, wanted: Units, taken: &BTreeMap<WarehouseId, u64>) -> Refusal {
        let levels = self.levels.values();
        let free = |level: &super::Level| {
            level.available().saturating_sub(taken.get(&level.warehouse).copied().unwrap_or_default())
        };
        let available = levels.clone().map(free).fold(0, u64::saturating_add);
        let all_reserved = !taken.is_empty() || levels.map(super::Level::may_come_back).any(|reserved| reserved > 0);
        Refusal::SoldOut { wanted, available, all_reserved }
    }

    /// The reservation, if the requester may act on it.
    fn external_of(&self, id: ReservationId, requester: &Requester) -> Option<&ExternalReservation> {
        self.external.get(id).filter(|reservation| match (requester, reservation.decider) {
            (Requester::Caller(name), Decider::Stock) => {
                ReservationId::of_reference(name, &reservation.reference) == id
            }
            (Requester::Reservation, Decider::Reservation { .. }) => true,
            (Requester::Caller(_), Decider::Reservation { .. }) | (Requester::Reservation, Decider::Stock) => false,
        })
    }

    pub(super) fn read_external(&self, id: ReservationId, requester: &Requester) -> Decided {
        let Some(reservation) = self.external_of(id, requester) else { return Ok(Decision::nothing(Reply::Unknown)) };
        Ok(Decision::nothing(reply(id, reservation, false)))
    }

    /// Until its end is journaled the reservation holds its units, even a moment past its deadline: a commit then still succeeds.
    pub(super) fn decide_end_external(
        &self,
        id: ReservationId,
        requester: &Requester,
        end: ExternalEnd,
        now: Timestamp,
    ) -> Decided {
        let Some(reservation) = self.external_of(id, requester) else { return Ok(Decision::nothing(Reply::Unknown)) };
        let (ends, ships) = match (end, reservation.status) {
            (ExternalEnd::Commit, ExternalStatus::Held) => (Some(ExternalStatus::Committed), false),
            (ExternalEnd::CommitAndShip, ExternalStatus::Held) => (Some(ExternalStatus::Committed), true),
            (ExternalEnd::Release, ExternalStatus::Held) => (Some(ExternalStatus::Released), false),
            (ExternalEnd::Ship | ExternalEnd::CommitAndShip, ExternalStatus::Committed)
                if reservation.shipped_at.is_none() =>
            {
                (None, true)
            }
            (ExternalEnd::Commit | ExternalEnd::Ship | ExternalEnd::CommitAndShip, ExternalStatus::Committed)
            | (ExternalEnd::Release, ExternalStatus::Released | ExternalStatus::Expired) => {
                return Ok(Decision::again(reply(id, reservation, true)));
            }
            (
                ExternalEnd::Commit | ExternalEnd::Ship | ExternalEnd::CommitAndShip,
                status @ (ExternalStatus::Released | ExternalStatus::Expired),
            )
            | (ExternalEnd::Ship, status @ ExternalStatus::Held)
            | (ExternalEnd::Release, status @ ExternalStatus::Committed) => {
                return Err(Refusal::ExternalEnded { status });
            }
        };
        let (mut after, mut events) = (reservation.clone(), Vec::new());
        if let Some(status) = ends {
            after.end(status, now);
            events.push(if status == ExternalStatus::Committed {
                Event::ExternalCommitted { id, at: now }
            } else {
                Event::ExternalReleased { id, at: now }
            });
        }
        if ships {
            after.ship(now);
            events.push(Event::ExternalShipped { id, at: now });
        }
        Ok(Decision::events(events, reply(id, &after, false)))
    }

    pub(super) fn decide_extend(
        &self,
        id: ReservationId,
        requester: &Requester,
        request: Request,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Decided {
        let Some(reservation) = self.external_of(id, requester) else { return Ok(Decision::nothing(Reply::Unknown)) };
        if let Some(known) = reservation.extensions.iter().find(|known| known.id == request.id) {
            let same = known.terms == request.terms;
            return if same { Ok(Decision::again(reply(id, reservation, true))) } else { Err(Refusal::RequestReused) };
        }
        if reservation.status != ExternalStatus::Held {
            return Err(Refusal::ExternalEnded { status: reservation.status });
        }
        if reservation.extensions.len() >= EXTENSIONS_MAX {
            let (limit, wanted) = (narrow_len(EXTENSIONS_MAX), narrow_len(EXTENSIONS_MAX).saturating_add(1));
            return Err(Refusal::LimitExceeded { limit, wanted });
        }
        // Never shorter, because the caller has already received the longer deadline.
        let expires_at = reservation.expires_at.max(expires_at);
        let mut after = reservation.clone();
        after.extensions.push(request);
        (after.expires_at, after.changed_at, after.changes) = (expires_at, now, after.changes.saturating_add(1));
        Ok(Decision::one(Event::ExternalExtended { id, request, at: now, expires_at }, reply(id, &after, false)))
    }

    /// The reservations of one caller, newest first.
    pub(super) fn list_external(
        &self,
        owner: &str,
        status: Option<ExternalStatus>,
        before: Option<u64>,
        limit: u32,
    ) -> Decided {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut next = None;
        let mut looked_at: usize = 0;
        for (id, reservation) in self.external.newest_before(before.unwrap_or(u64::MAX)) {
            if found.len() >= limit || looked_at >= LOOKED_AT_MAX {
                next = Some(reservation.number.saturating_add(1));
                break;
            }
            looked_at = looked_at.saturating_add(1);
            let wanted = status.is_none_or(|status| reservation.status == status);
            if wanted && ReservationId::of_reference(owner, &reservation.reference) == id {
                found.push(ExternalAnswer { id, reservation: reservation.clone(), repeated: false });
            }
        }
        Ok(Decision::nothing(Reply::ExternalList { found, next }))
    }

    /// Applies the time: expires overdue reservations and forgets ended ones after their memory time.
    pub(super) fn decide_wake(&self, now: Timestamp) -> Decided {
        let mut events = Vec::new();
        self.pass_time(&mut events, now);
        Ok(Decision::events(events, Reply::Done))
    }

    fn pass_time(&self, events: &mut Vec<Event>, now: Timestamp) {
        let most = events.len().saturating_mul(2).saturating_add(1);
        let ids: Vec<ReservationId> = self.external.overdue(now).collect();
        if !ids.is_empty() {
            events.push(Event::ExternalExpired { ids, at: now });
        }
        let ids: Vec<ReservationId> = self.external.faded(now, most).collect();
        if !ids.is_empty() {
            events.push(Event::ExternalForgotten { ids });
        }
    }

    /// The answer of a reservation of several lines about its line (rule R3). An answer after the end changes nothing.
    pub(super) fn decide_external_answer(&self, id: ReservationId, says: Says, now: Timestamp) -> Decided {
        let held = self
            .external_of(id, &Requester::Reservation)
            .filter(|reservation| reservation.status == ExternalStatus::Held);
        let Some(reservation) = held else { return Ok(Decision::nothing(Reply::Unknown)) };
        let event = match says {
            Says::Keep { until } => {
                let ask_at = until.max(now.plus_s(QUESTION_GRACE_S));
                if ask_at == reservation.expires_at {
                    return Ok(Decision::again(Reply::Done));
                }
                Event::ExternalKept { id, ask_at }
            }
            Says::Release => Event::ExternalReleased { id, at: now },
            Says::Taken => Event::ExternalCommitted { id, at: now },
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

fn reply(id: ReservationId, reservation: &ExternalReservation, repeated: bool) -> Reply {
    Reply::External(Box::new(ExternalAnswer { id, reservation: reservation.clone(), repeated }))
}

/// The same reference with the same terms returns the existing reservation in its current state.
fn external_again(
    known: &ExternalReservation,
    decider: Decider,
    wanted: &ExternalRequest,
) -> Result<Box<ExternalAnswer>, Refusal> {
    let same = known.units() == u64::from(wanted.units)
        && known.hold_s == wanted.hold_s
        && known.buyer_key == wanted.buyer_key
        && known.decider == decider;
    if !same {
        return Err(Refusal::OtherTerms);
    }
    Ok(Box::new(ExternalAnswer { id: wanted.id, reservation: known.clone(), repeated: true }))
}

fn narrow_len(length: usize) -> Units {
    narrow(u64::try_from(length).unwrap_or(u64::MAX))
}
