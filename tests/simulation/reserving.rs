//! A shop with a checkout of its own: reserves under references, and then commits, releases, extends or forgets.

use crate::client::Client;
use crate::words;
use doorbuster_actors::ask::{Accepted, Answer};
use doorbuster_domain::any::{Command, Reply, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, RequestFingerprint, ReservationId, Sku};
use doorbuster_domain::inventory::{self, Decider, ExternalEnd, ExternalRequest, ExternalStatus, Requester};
use doorbuster_domain::reservation::{self, Made, ReservationEnd, Wanted};
use rand::Rng;

/// Tries of one request before the shop gives up.
const TRIES_MAX: u32 = 12;

/// A reservation of the shop's.
struct Kept {
    id: ReservationId,
    /// The one SKU that keeps it; `None`: it has several lines.
    sku: Option<Sku>,
}

impl Client {
    /// Reserves until it has done enough.
    pub(crate) async fn live_reserving(mut self) {
        for _ in 0..self.rng.random_range(1..=self.world.plan.actions_max * 2) {
            self.think().await;
            if self.world.broken().is_some() {
                return;
            }
            let Some(kept) = self.reserve().await else { continue };
            for _ in 0..self.rng.random_range(0..=3) {
                self.think().await;
                self.tend_reservation(&kept).await;
            }
        }
    }

    async fn reserve(&mut self) -> Option<Kept> {
        let skus = self.world.skus();
        let reference = self.key();
        let id = ReservationId::of_reference(words::OWNER, &reference);
        let hold_s = self.rng.random_range(1..=self.world.plan.hold_s);
        let expires_at = self.world.now().plus_s(hold_s);
        let several = skus.len() > 1 && self.rng.random_bool(0.5);
        if several {
            let lines = skus.iter().map(|sku| Wanted { sku: sku.clone(), units: self.rng.random_range(1..=2) });
            let made = Made {
                id,
                terms: RequestFingerprint(1),
                owner: words::OWNER.into(),
                seller: None,
                reference: reference.as_str().into(),
                buyer_key: None,
                lines: lines.collect(),
                ranking: Vec::new(),
                hold_s,
                expires_at,
            };
            let make = Command::Reservation(reservation::Command::Make(Box::new(made)));
            self.several(EntityId::Reservation(id), make, Wait::Held).await?;
            return Some(Kept { id, sku: None });
        }
        let sku = skus[self.rng.random_range(0..skus.len())].clone();
        let wish = ExternalRequest {
            id,
            reference: reference.as_str().into(),
            units: self.rng.random_range(1..=2),
            hold_s,
            expires_at,
            buyer_key: None,
        };
        let requests = vec![wish];
        let promise = inventory::Command::ReserveExternal {
            decider: Decider::Stock,
            ranking: Vec::new(),
            requests,
            seller: None,
        };
        let accepted =
            self.several(EntityId::Inventory(sku.clone()), Command::Inventory(promise), Wait::Decided).await?;
        match accepted.reply {
            Reply::Inventory(inventory::Reply::ReservedExternal(answers)) if matches!(answers.as_slice(), [Ok(_)]) => {
                Some(Kept { id, sku: Some(sku) })
            }
            _ => None,
        }
    }

    async fn tend_reservation(&mut self, kept: &Kept) {
        let choice = self.rng.random_range(0..10);
        let end = match choice {
            0..2 => ExternalEnd::Commit,
            2..4 => ExternalEnd::CommitAndShip,
            4..6 => ExternalEnd::Ship,
            _ => ExternalEnd::Release,
        };
        let key = self.key();
        let request = words::request("/v1/reservations/extend", &key);
        let expires_at = self.world.now().plus_s(self.rng.random_range(1..=10));
        match &kept.sku {
            Some(sku) => {
                let (id, requester) = (kept.id, Requester::Caller(words::OWNER.into()));
                let command = match choice {
                    0..8 => inventory::Command::EndExternal { id, requester, end },
                    8 => inventory::Command::ExtendExternal { id, requester, request, expires_at },
                    _ => inventory::Command::ReadExternal { id, requester },
                };
                let entity = EntityId::Inventory(sku.clone());
                let Some(accepted) = self.several(entity, Command::Inventory(command), Wait::Decided).await else {
                    return;
                };
                if let Reply::Inventory(inventory::Reply::External(now)) = accepted.reply
                    && now.reservation.status == ExternalStatus::Committed
                {
                    self.world.judge().acknowledged_as_sold(sku.clone(), kept.id);
                }
            }
            None => {
                let owner = words::OWNER.into();
                let command = match (choice, end) {
                    (0..8, ExternalEnd::Commit) => reservation::Command::End { owner, end: ReservationEnd::Commit },
                    (0..8, ExternalEnd::Release) => reservation::Command::End { owner, end: ReservationEnd::Release },
                    (0..8, ExternalEnd::Ship) => reservation::Command::End { owner, end: ReservationEnd::Ship },
                    (0..8, ExternalEnd::CommitAndShip) => {
                        reservation::Command::End { owner, end: ReservationEnd::CommitAndShip }
                    }
                    (8, _) => reservation::Command::Extend { owner, request, expires_at },
                    (_, _) => reservation::Command::Read { owner },
                };
                let entity = EntityId::Reservation(kept.id);
                let Some(accepted) = self.several(entity, Command::Reservation(command), Wait::Settled).await else {
                    return;
                };
                if let Some(State::Reservation(now)) = accepted.state.as_deref()
                    && now.status() == Some(ExternalStatus::Committed)
                {
                    for line in now.lines() {
                        self.world.judge().acknowledged_as_sold(line.wanted.sku.clone(), kept.id);
                    }
                }
            }
        }
    }

    /// The same command until it is answered, and perhaps once more: it may have one effect only.
    async fn several(&mut self, entity: EntityId, command: Command, wait: Wait) -> Option<Accepted> {
        let mut accepted = None;
        for _ in 0..TRIES_MAX {
            match self.once(entity.clone(), command.clone(), wait).await {
                Answer::Accepted(one) => {
                    accepted = Some(*one);
                    if self.rng.random_bool(0.7) {
                        return accepted;
                    }
                }
                Answer::Refused(_) | Answer::Stale { .. } => return accepted,
                Answer::Unknown
                | Answer::Late
                | Answer::Busy { .. }
                | Answer::Quarantined
                | Answer::NotServing
                | Answer::Panicked => self.think().await,
            }
        }
        accepted
    }
}
