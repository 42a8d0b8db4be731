//! A reservation of several lines: all or none, over SKUs on any node. It is a small saga, as an order is a large one.
//!
//! ```text
//!          every SKU: reserve                       commit, release, the deadline
//! made ──────────────────────► all held: held ───────────────────────────────────► ending ──every SKU told──► ended ──► shipped
//!              └─ one is refused ─────► ending: the reserved lines are released ───────────────────────────────► ended: not made
//! ```
//!
//! Only the reservation decides when it ends (rule R3): its SKUs keep the units until it informs them, and ask it after the deadline.
//! It undoes nothing before every SKU has answered: a release must not overtake its reservation (rule R6).
//!
//! A reservation of one line is not an entity: its SKU decides about it (see [`super::inventory`]), which is one event instead of seven.

mod command;

#[cfg(test)]
mod tests;

pub use command::{Answer, Command, Event, Made, Refusal, Reply, ReservationEnd, Shortage, Wanted};

use super::claims::{self, ASK_AGAIN_S, Says, Verdict, says, verdict};
use super::effect::{Effect, EffectKey, Outcome};
use super::entity::{Books, Decision, Entity, Wait};
use super::ids::{EntityId, Request, ReservationId};
use super::inventory::{
    self, Allocation, Decider, EXTENSIONS_MAX, ExternalEnd, ExternalRequest, ExternalStatus, Requester,
};
use super::message;
use super::principal::{Denied, Principal};
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode};
use std::borrow::Cow;

/// The steps of the machine.
const STEP_RESERVE: u8 = 1;
const STEP_END: u8 = 2;
const STEP_SHIP: u8 = 3;

/// How far a line got.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Hold {
    /// The SKU is asked to reserve, and has not answered.
    #[n(0)]
    Asked,
    /// The units are reserved, by warehouse.
    #[n(1)]
    Held(#[n(0)] Vec<Allocation>),
    /// The SKU refused.
    #[n(2)]
    Short(#[n(0)] Shortage),
    /// The SKU was sent how it ended; `true`: it still knew the reservation.
    #[n(3)]
    Told(#[n(0)] bool),
}

/// A line of the reservation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReservationLine {
    /// SKU and units.
    #[n(0)]
    pub wanted: Wanted,
    /// How far it got.
    #[n(1)]
    pub hold: Hold,
    /// Does the SKU know that the units left? `None`: they have not, as far as this is known.
    #[n(2)]
    pub shipped: Option<bool>,
}

/// Where the reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(flat)]
pub enum Stage {
    /// There is no such reservation.
    #[default]
    #[n(0)]
    Nothing,
    /// The SKUs are asked to reserve.
    #[n(1)]
    Asking,
    /// All lines are reserved.
    #[n(2)]
    Held,
    /// The SKUs are sent how it ended; `Held`: it never came about.
    #[n(3)]
    Ending(#[n(0)] ExternalStatus),
    /// All SKUs know how it ended.
    #[n(4)]
    Ended(#[n(0)] ExternalStatus),
}

/// A reservation of several lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Reservation {
    /// How many changes it has had; the `ETag` of its answers.
    #[n(0)]
    version: u64,
    /// What it was made with; `None` before the first command.
    #[n(1)]
    made: Option<Box<Made>>,
    /// Its lines, one per SKU.
    #[n(2)]
    lines: Vec<ReservationLine>,
    /// How far it got.
    #[n(3)]
    stage: Stage,
    /// When its units are released unless it is extended or committed before.
    #[n(4)]
    expires_at: Timestamp,
    /// When it was made.
    #[n(5)]
    made_at: Timestamp,
    /// When it last changed.
    #[n(6)]
    changed_at: Timestamp,
    /// The requests that extended it, at most [`EXTENSIONS_MAX`].
    #[n(7)]
    extensions: Vec<Request>,
    /// When its units left the warehouse; `None`: they have not.
    #[n(8)]
    shipped_at: Option<Timestamp>,
}

impl Reservation {
    /// Events so far: the resource's version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// What it was made with; `None`: there is no such reservation.
    #[must_use]
    pub fn made(&self) -> Option<&Made> {
        self.made.as_deref()
    }

    /// The lines of the reservation.
    #[must_use]
    pub fn lines(&self) -> &[ReservationLine] {
        &self.lines
    }

    /// Where it stands.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// How far it got as its owner sees it; `None`: it is not held yet, or never was.
    #[must_use]
    pub const fn status(&self) -> Option<ExternalStatus> {
        match self.stage {
            Stage::Nothing
            | Stage::Asking
            | Stage::Ending(ExternalStatus::Held)
            | Stage::Ended(ExternalStatus::Held) => None,
            Stage::Held => Some(ExternalStatus::Held),
            Stage::Ending(how) | Stage::Ended(how) => Some(how),
        }
    }

    /// When it ends by itself.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// When it was made, when it last changed.
    #[must_use]
    pub const fn times(&self) -> [Timestamp; 2] {
        [self.made_at, self.changed_at]
    }

    /// When its units left the warehouse; `None`: they have not.
    #[must_use]
    pub const fn shipped_at(&self) -> Option<Timestamp> {
        self.shipped_at
    }

    /// Is a line's SKU still to be told that its units left? It is told only once it knows that they are sold.
    fn is_shipping(&self, line: &ReservationLine) -> bool {
        let sold = self.stage == Stage::Ended(ExternalStatus::Committed) && line.hold == Hold::Told(true);
        sold && self.shipped_at.is_some() && line.shipped.is_none()
    }

    fn of(&self, owner: &str) -> Result<&Made, Refusal> {
        self.made().filter(|made| made.owner == owner).ok_or(Refusal::Unknown)
    }

    fn line(&self, number: u32) -> Option<&ReservationLine> {
        self.lines.get(usize::try_from(number).ok()?)
    }

    /// Does a line still have something to do in this stage?
    fn is_open(&self, line: &ReservationLine) -> bool {
        match (self.stage, &line.hold) {
            (Stage::Asking, Hold::Asked) => true,
            // A refused line needs no message about the end.
            (Stage::Ending(_), Hold::Asked | Hold::Held(_)) => true,
            (Stage::Nothing | Stage::Asking | Stage::Held | Stage::Ending(_) | Stage::Ended(_), _) => false,
        }
    }

    /// These events, and what follows from them at once.
    fn follow(&self, mut events: Vec<Event>, now: Timestamp) -> Decision<Event, Reply> {
        let mut after = self.clone();
        events.iter().for_each(|event| after.evolve(event));
        while let Some(event) = after.next(now) {
            after.evolve(&event);
            events.push(event);
        }
        Decision::events(events, Reply::Done)
    }

    fn next(&self, now: Timestamp) -> Option<Event> {
        let open = || self.lines.iter().any(|line| self.is_open(line));
        match self.stage {
            // It undoes nothing before every SKU has answered.
            Stage::Asking if !open() => Some(match verdict(self.lines.iter().map(|line| self.claim_of(line))) {
                Verdict::Refused(_) => Event::Ending { how: ExternalStatus::Held, at: now },
                Verdict::Held | Verdict::Open => Event::Held { at: now },
            }),
            Stage::Held if now >= self.expires_at => Some(Event::Ending { how: ExternalStatus::Expired, at: now }),
            Stage::Ending(_) if !open() => Some(Event::Ended),
            Stage::Nothing | Stage::Asking | Stage::Held | Stage::Ending(_) | Stage::Ended(_) => None,
        }
    }

    fn decide_make(&self, made: &Made, now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
        match self.made() {
            Some(known) if known.terms != made.terms || known.owner != made.owner => Err(Refusal::OtherTerms),
            Some(_) => Ok(Decision::again(Reply::Done)),
            None => Ok(self.follow(vec![Event::Made { made: Box::new(made.clone()), at: now }], now)),
        }
    }

    fn decide_end(&self, owner: &str, end: ReservationEnd, now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
        self.of(owner)?;
        let ending = |how| Event::Ending { how, at: now };
        let shipped = Event::Shipped { at: now };
        match (self.stage, end) {
            (Stage::Nothing | Stage::Asking, _) => Err(Refusal::NotYet),
            (Stage::Held, ReservationEnd::Commit) => Ok(self.follow(vec![ending(ExternalStatus::Committed)], now)),
            (Stage::Held, ReservationEnd::Release) => Ok(self.follow(vec![ending(ExternalStatus::Released)], now)),
            (Stage::Held, ReservationEnd::CommitAndShip) => {
                Ok(self.follow(vec![ending(ExternalStatus::Committed), shipped], now))
            }
            (Stage::Held, ReservationEnd::Ship) => Err(Refusal::NotSold),
            (
                Stage::Ending(ExternalStatus::Committed) | Stage::Ended(ExternalStatus::Committed),
                ReservationEnd::Ship | ReservationEnd::CommitAndShip,
            ) if self.shipped_at.is_none() => Ok(self.follow(vec![shipped], now)),
            (
                Stage::Ending(ExternalStatus::Committed) | Stage::Ended(ExternalStatus::Committed),
                ReservationEnd::Commit | ReservationEnd::Ship | ReservationEnd::CommitAndShip,
            )
            | (
                Stage::Ending(ExternalStatus::Released | ExternalStatus::Expired)
                | Stage::Ended(ExternalStatus::Released | ExternalStatus::Expired),
                ReservationEnd::Release,
            ) => Ok(Decision::again(Reply::Done)),
            (Stage::Ending(status) | Stage::Ended(status), _) => Err(Refusal::Ended { status }),
        }
    }

    fn decide_extend(
        &self,
        owner: &str,
        request: Request,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Decision<Event, Reply>, Refusal> {
        self.of(owner)?;
        if let Some(known) = self.extensions.iter().find(|known| known.id == request.id) {
            let same = known.terms == request.terms;
            return if same { Ok(Decision::again(Reply::Done)) } else { Err(Refusal::RequestReused) };
        }
        match self.stage {
            Stage::Nothing | Stage::Asking => Err(Refusal::NotYet),
            Stage::Ending(status) | Stage::Ended(status) => Err(Refusal::Ended { status }),
            Stage::Held if self.extensions.len() >= EXTENSIONS_MAX => {
                Err(Refusal::LimitExceeded { limit: u32::try_from(EXTENSIONS_MAX).unwrap_or(u32::MAX) })
            }
            Stage::Held => {
                let expires_at = expires_at.max(self.expires_at);
                Ok(Decision::one(Event::Extended { request, at: now, expires_at }, Reply::Done))
            }
        }
    }

    fn decide_answered(&self, line: u16, ending: bool, answer: &Answer, now: Timestamp) -> Decision<Event, Reply> {
        let asked = self.line(u32::from(line)).is_some_and(|line| self.is_open(line));
        let ((Stage::Asking, false) | (Stage::Ending(_), true)) = (self.stage, ending) else {
            return Decision::again(Reply::Done);
        };
        if !asked {
            return Decision::again(Reply::Done);
        }
        let event = match answer {
            Answer::Held(allocations) => Event::LineHeld { line, allocations: allocations.clone() },
            Answer::Short(why) => Event::LineShort { line, why: *why },
            Answer::Done => Event::LineEnded { line, known: true },
            Answer::Gone => Event::LineEnded { line, known: false },
        };
        self.follow(vec![event], now)
    }
}

impl Entity for Reservation {
    type Id = ReservationId;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;

    const BOOKS: Books = Books::Orders;

    fn step_name(_command: &Command) -> &'static str {
        "ask_reservation"
    }

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
        match command {
            Command::Wake => Ok(self.follow(Vec::new(), now)),
            Command::Read { owner } => self.of(owner).map(|_| Decision::nothing(Reply::Done)),
            Command::Make(made) => self.decide_make(made, now),
            Command::End { owner, end } => self.decide_end(owner, *end, now),
            Command::Extend { owner, request, expires_at } => self.decide_extend(owner, *request, *expires_at, now),
            Command::StillWanted { line } => self.says(*line, now).map(Decision::nothing),
            Command::Answered { line, ending, answer } => Ok(self.decide_answered(*line, *ending, answer, now)),
            Command::ShipmentAnswered { line } => {
                let told = self.line(u32::from(*line)).is_some_and(|line| self.is_shipping(line));
                Ok(if told {
                    Decision::one(Event::LineShipped { line: *line }, Reply::Done)
                } else {
                    Decision::again(Reply::Done)
                })
            }
        }
    }

    /// A reservation is its owner's alone. It reserves only its seller's SKUs; the platform's reserves all.
    fn permitted<'c>(&self, by: &Principal, command: &'c Command) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        let owner = match command {
            Command::Read { owner } | Command::End { owner, .. } | Command::Extend { owner, .. } => owner,
            Command::Make(made) => &made.owner,
            Command::Wake
            | Command::StillWanted { .. }
            | Command::Answered { .. }
            | Command::ShipmentAnswered { .. } => return Err(Denied::NotYours),
        };
        if !by.is_named(owner) {
            return Err(Denied::NotYours);
        }
        match (command, by) {
            (Command::Make(made), Principal::Seller(account)) => {
                let seller = Some(account.id.clone());
                Ok(Cow::Owned(Command::Make(Box::new(Made { seller, ..Made::clone(made) }))))
            }
            (_, _) => Ok(Cow::Borrowed(command)),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.version = self.version.saturating_add(1);
        match event {
            Event::Made { made, at } => {
                let line =
                    |wanted: &Wanted| ReservationLine { wanted: wanted.clone(), hold: Hold::Asked, shipped: None };
                self.lines = made.lines.iter().map(line).collect();
                (self.expires_at, self.made_at, self.changed_at) = (made.expires_at, *at, *at);
                self.made = Some(made.clone());
                self.stage = Stage::Asking;
            }
            Event::LineHeld { line, allocations } => self.set(*line, Hold::Held(allocations.clone())),
            Event::LineShort { line, why } => self.set(*line, Hold::Short(*why)),
            Event::Held { at } => (self.stage, self.changed_at) = (Stage::Held, *at),
            Event::Extended { request, at, expires_at } => {
                self.extensions.push(*request);
                (self.expires_at, self.changed_at) = (*expires_at, *at);
            }
            Event::Ending { how, at } => (self.stage, self.changed_at) = (Stage::Ending(*how), *at),
            Event::LineEnded { line, known } => self.set(*line, Hold::Told(*known)),
            Event::Shipped { at } => (self.shipped_at, self.changed_at) = (Some(*at), *at),
            Event::LineShipped { line } => {
                if let Some(line) = self.lines.get_mut(usize::from(*line)) {
                    line.shipped = Some(true);
                }
            }
            Event::Ended => {
                if let Stage::Ending(how) = self.stage {
                    self.stage = Stage::Ended(how);
                }
            }
        }
    }

    fn owed(&self, _now: Timestamp) -> Vec<EffectKey> {
        let step = match self.stage {
            Stage::Asking => STEP_RESERVE,
            Stage::Ending(_) => STEP_END,
            Stage::Ended(_) => {
                let open = (0_u32..).zip(&self.lines).filter(|(_, line)| self.is_shipping(line));
                return open.map(|(subject, _)| EffectKey { step: STEP_SHIP, subject, part: 0 }).collect();
            }
            Stage::Nothing | Stage::Held => return Vec::new(),
        };
        let open = (0_u32..).zip(&self.lines).filter(|(_, line)| self.is_open(line));
        open.map(|(subject, _)| EffectKey { step, subject, part: 0 }).collect()
    }

    fn effect(&self, key: EffectKey) -> Option<Effect> {
        let made = self.made()?;
        let is_owed = |line: &&ReservationLine| self.is_open(line) || key.step == STEP_SHIP && self.is_shipping(line);
        let line = self.line(key.subject).filter(is_owed)?;
        let command = match (key.step, self.stage) {
            (STEP_RESERVE, Stage::Asking) => inventory::Command::ReserveExternal {
                decider: Decider::Reservation { line: u16::try_from(key.subject).ok()? },
                ranking: made.ranking.clone(),
                requests: vec![ExternalRequest {
                    id: made.id,
                    reference: made.reference.clone(),
                    units: line.wanted.units,
                    hold_s: made.hold_s,
                    expires_at: made.expires_at,
                    buyer_key: made.buyer_key.clone(),
                }],
                seller: made.seller.clone(),
            },
            (STEP_END, Stage::Ending(how)) => {
                let end = match how {
                    ExternalStatus::Committed => ExternalEnd::Commit,
                    ExternalStatus::Held | ExternalStatus::Released | ExternalStatus::Expired => ExternalEnd::Release,
                };
                inventory::Command::EndExternal { id: made.id, requester: Requester::Reservation, end }
            }
            (STEP_SHIP, Stage::Ended(_)) => inventory::Command::EndExternal {
                id: made.id,
                requester: Requester::Reservation,
                end: ExternalEnd::Ship,
            },
            (_, _) => return None,
        };
        let to = EntityId::Inventory(line.wanted.sku.clone());
        Some(Effect::Ask { to, command: message::Command::Inventory(command) })
    }

    fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
        if key.step == STEP_SHIP {
            // Shipped, or unknown to the SKU: then there is nothing to ship any more.
            let is_answer = match outcome {
                Outcome::Replied(message::Reply::Inventory(
                    inventory::Reply::External(_) | inventory::Reply::Unknown,
                ))
                | Outcome::Refused(message::Refusal::Inventory(_)) => true,
                Outcome::Replied(_) | Outcome::Refused(_) | Outcome::Provider(_) => false,
            };
            return is_answer.then_some(Command::ShipmentAnswered { line: u16::try_from(key.subject).ok()? });
        }
        let ending = key.step == STEP_END;
        let answer = match outcome {
            Outcome::Replied(message::Reply::Inventory(inventory::Reply::ReservedExternal(answers))) if !ending => {
                match answers.into_iter().next()? {
                    Ok(reserved) if reserved.reservation.status == ExternalStatus::Held => {
                        Answer::Held(reserved.reservation.allocations)
                    }
                    // The SKU's reservation has ended, which only an answer of this reservation can have caused.
                    Ok(_) => Answer::Short(Shortage::OtherTerms),
                    Err(refusal) => Answer::Short(shortage(&refusal)),
                }
            }
            Outcome::Replied(message::Reply::Inventory(inventory::Reply::External(_))) if ending => Answer::Done,
            Outcome::Replied(message::Reply::Inventory(inventory::Reply::Unknown)) if ending => Answer::Gone,
            Outcome::Refused(message::Refusal::Inventory(refusal)) => {
                if ending {
                    Answer::Gone
                } else {
                    Answer::Short(shortage(&refusal))
                }
            }
            Outcome::Replied(_) | Outcome::Refused(_) | Outcome::Provider(_) => return None,
        };
        Some(Command::Answered { line: u16::try_from(key.subject).ok()?, ending, answer })
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        // What is past due is due at once: a wake that was missed is not lost.
        (self.stage == Stage::Held).then(|| self.expires_at.max(now.plus_ms(1)))
    }

    fn reached(&self, wait: Wait) -> bool {
        match (wait, self.stage) {
            (Wait::Settled, Stage::Ended(_)) => !self.lines.iter().any(|line| self.is_shipping(line)),
            (Wait::Decided, _) | (_, Stage::Nothing | Stage::Ended(_)) => true,
            (_, Stage::Asking | Stage::Ending(ExternalStatus::Held)) => false,
            (Wait::Held, Stage::Held | Stage::Ending(_)) | (Wait::Settled, Stage::Held) => true,
            (Wait::Settled, Stage::Ending(_)) => false,
        }
    }
}

impl Reservation {
    fn set(&mut self, line: u16, hold: Hold) {
        if let Some(line) = self.lines.get_mut(usize::from(line)) {
            line.hold = hold;
        }
    }

    /// The answer to a SKU's question (rule R3).
    fn says(&self, line: u16, now: Timestamp) -> Result<Reply, Refusal> {
        let until = match self.stage {
            Stage::Nothing => return Err(Refusal::Unknown),
            Stage::Held => self.expires_at.max(now.plus_s(ASK_AGAIN_S)),
            Stage::Asking | Stage::Ending(_) | Stage::Ended(_) => now.plus_s(ASK_AGAIN_S),
        };
        let Some(line) = self.line(u32::from(line)) else { return Ok(Reply::Release) };
        // No command will ever refer to what a late copy of a refused claim was granted.
        Ok(match says(&self.claim_of(line), true, until) {
            Says::Keep { until } => Reply::Keep { until },
            Says::Release => Reply::Release,
            Says::Taken => Reply::Taken,
        })
    }

    /// How far a line's claim of stock got.
    const fn claim_of(&self, line: &ReservationLine) -> claims::Hold<Shortage> {
        match (&line.hold, self.stage) {
            (Hold::Asked, _) => claims::Hold::Asked,
            (Hold::Held(_), _) => claims::Hold::Held,
            (Hold::Short(why), _) => claims::Hold::Refused(*why),
            (Hold::Told(_), Stage::Ending(ExternalStatus::Committed) | Stage::Ended(ExternalStatus::Committed)) => {
                claims::Hold::Committed
            }
            (Hold::Told(_), _) => claims::Hold::Released,
        }
    }
}

fn shortage(refusal: &inventory::Refusal) -> Shortage {
    match refusal {
        inventory::Refusal::SoldOut { wanted: _, available, all_reserved } => {
            Shortage::SoldOut { available: *available, all_reserved: *all_reserved }
        }
        inventory::Refusal::LimitExceeded { limit, wanted: _ } => Shortage::LimitExceeded { limit: *limit },
        inventory::Refusal::Ended => Shortage::TooLate,
        inventory::Refusal::OtherTerms | inventory::Refusal::ExternalEnded { .. } => Shortage::OtherTerms,
        inventory::Refusal::Unknown
        | inventory::Refusal::NotOnSale
        | inventory::Refusal::PriceChanged { .. }
        | inventory::Refusal::NoPrice { .. }
        | inventory::Refusal::RequestReused
        | inventory::Refusal::UnitsReserved { .. }
        | inventory::Refusal::Stale { .. }
        | inventory::Refusal::NotEnded
        | inventory::Refusal::OtherProduct { .. }
        | inventory::Refusal::TooManyAnnounced { .. }
        | inventory::Refusal::NotThatMany
        | inventory::Refusal::Overflow => Shortage::NotForSale,
    }
}
