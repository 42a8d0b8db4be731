//! A cart: lines that a shopper means to buy. It is frozen while an order is being placed, and becomes an order at most once.
//!
//! ```text
//! open ──freeze──► frozen ──close──► ordered
//!  │ ◄────thaw──────┘
//!  └──no access────► expired
//! ```
//!
//! While the cart is frozen its lines do not change, so it shows what the order took. Only the order ends that (rule R3): some time after
//! the order's deadline the cart asks it, and repeats the question until it is answered. So a late copy of `Freeze` of an order that has ended
//! does not block a cart for ever.

mod command;
mod snapshot;

#[cfg(test)]
mod tests;

pub use command::{CartLine, Command, Event, Frozen, Owner, Refusal, Reply, Snapshot};

use super::claims::{self, Says, order_says};
use super::effect::{Effect, EffectKey, Outcome};
use super::entity::{Decision, Entity};
use super::ids::{CartId, EntityId, OrderId, RequestFingerprint, Sku};
use super::message;
use super::money::Currency;
use super::order;
use super::principal::{Denied, Principal};
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode};
use std::borrow::Cow;

/// Lines of one cart.
pub const LINES_MAX: usize = 2_000;
/// Units of one line.
pub const QUANTITY_MAX: u32 = 1_000_000;
/// The milliseconds between two events that only record an access.
pub const REFRESH_MS: u64 = 24 * 3_600 * 1_000;

/// The one step of the machine that owes something: the question of rule R3.
const STEP_QUESTION: u8 = 1;

/// Where a cart is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(flat)]
pub enum Status {
    /// Its lines may be changed.
    #[default]
    #[n(0)]
    Open,
    /// An order is being placed with it.
    #[n(1)]
    Frozen {
        /// The order that holds it.
        #[n(0)]
        order: OrderId,
        /// The cart's version after the freeze: what the question names.
        #[n(1)]
        freeze: u64,
        /// When the order is asked whether it still needs the cart (rule R3).
        #[n(2)]
        ask_at: Timestamp,
    },
    /// An order was confirmed from it.
    #[n(2)]
    Ordered {
        /// The confirmed order.
        #[n(0)]
        order: OrderId,
    },
    /// Not used within its life.
    #[n(3)]
    Expired,
}

/// What is fixed when a cart is made.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Opened {
    /// Fingerprint of the request's body: the same request with another is refused.
    #[n(0)]
    pub terms: RequestFingerprint,
    /// The principal that created it.
    #[n(1)]
    pub owner: Owner,
    /// Currency of every line's price.
    #[n(2)]
    pub currency: Currency,
    /// Seconds from the last access to the expiry.
    #[n(3)]
    pub life_s: u64,
}

/// The state of a cart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Cart {
    /// How many changes it has had; the `ETag` of its answers.
    #[n(0)]
    version: u64,
    /// What was fixed when it was created; `None` before that.
    #[n(1)]
    opened: Option<Opened>,
    /// What is in it, in the order in which it was put in.
    #[n(2)]
    lines: Vec<CartLine>,
    /// Open, frozen by an order, or closed.
    #[n(3)]
    status: Status,
    /// When it expires unless it is changed before.
    #[n(4)]
    expires_at: Timestamp,
    /// The last order that gave it back.
    #[n(5)]
    thawed: Option<OrderId>,
}

type Decided = Result<Decision<Event, Reply>, Refusal>;

impl Cart {
    /// Events so far: the resource's version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// What was fixed when it was made; `None`: it never was.
    #[must_use]
    pub const fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// The lines, in the order in which they were added.
    #[must_use]
    pub fn lines(&self) -> &[CartLine] {
        &self.lines
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// When it expires without a further access.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn line(&self, sku: &Sku) -> Option<&CartLine> {
        self.lines.iter().find(|line| line.sku == *sku)
    }

    /// A cart that may be changed now by one who saw `expected`.
    fn changeable(&self, expected: Option<u64>, now: Timestamp) -> Result<&Opened, Refusal> {
        let opened = self.opened.as_ref().ok_or(Refusal::Unknown)?;
        match self.status {
            Status::Open if self.expires_at <= now => Err(Refusal::Expired),
            Status::Open => match expected {
                Some(version) if version != self.version => Err(Refusal::Stale { current: self.version }),
                Some(_) | None => Ok(opened),
            },
            Status::Frozen { order, .. } => Err(Refusal::Frozen { order }),
            Status::Ordered { order } => Err(Refusal::AlreadyOrdered { order }),
            Status::Expired => Err(Refusal::Expired),
        }
    }

    fn create(&self, opened: Opened, now: Timestamp) -> Decided {
        match &self.opened {
            Some(known) if known.terms == opened.terms => Ok(Decision::again(Reply::Done)),
            Some(_) => Err(Refusal::RequestReused),
            None => {
                let expires_at = now.plus_s(opened.life_s);
                let Opened { terms, owner, currency, life_s } = opened;
                Ok(Decision::one(Event::Created { terms, owner, currency, life_s, expires_at }, Reply::Done))
            }
        }
    }

    /// The end moves away, if that is worth an event.
    fn refreshed(&self, now: Timestamp) -> Option<Event> {
        let expires_at = now.plus_s(self.opened.as_ref()?.life_s);
        let worth_it = expires_at.since_ms(self.expires_at) >= REFRESH_MS;
        (worth_it && self.status == Status::Open && self.expires_at > now).then_some(Event::Refreshed { expires_at })
    }

    fn set_line(&self, sku: &Sku, quantity: u32, snapshot: &Snapshot, now: Timestamp) -> Decided {
        if quantity > QUANTITY_MAX {
            return Err(Refusal::TooMany { limit: QUANTITY_MAX });
        }
        let currency = self.opened.as_ref().ok_or(Refusal::Unknown)?.currency;
        if snapshot.unit_price.currency != currency {
            return Err(Refusal::CurrencyMismatch { currency });
        }
        let known = self.line(sku);
        if known.is_some_and(|line| line.quantity == quantity) {
            return Ok(Decision::again(Reply::Done));
        }
        if known.is_none() && self.lines.len() >= LINES_MAX {
            return Err(Refusal::TooManyLines { limit: LINES_MAX });
        }
        let line = CartLine {
            sku: sku.clone(),
            quantity,
            title: snapshot.title.clone(),
            seller: snapshot.seller.clone(),
            unit_price: known.map_or(snapshot.unit_price, |line| line.unit_price),
            added_at: known.map_or(now, |line| line.added_at),
        };
        Ok(self.changed(Event::LineSet { line }, now))
    }

    fn remove_line(&self, sku: &Sku, now: Timestamp) -> Decision<Event, Reply> {
        match self.line(sku) {
            Some(_) => self.changed(Event::LineRemoved { sku: sku.clone() }, now),
            None => Decision::again(Reply::Done),
        }
    }

    fn changed(&self, event: Event, now: Timestamp) -> Decision<Event, Reply> {
        let mut events = vec![event];
        events.extend(self.refreshed(now));
        Decision::events(events, Reply::Done)
    }

    fn freeze(&self, order: OrderId, expires_at: Timestamp, now: Timestamp) -> Decided {
        let opened = self.opened.as_ref().ok_or(Refusal::Unknown)?;
        match self.status {
            Status::Frozen { order: holder, freeze, .. } if holder == order => {
                Ok(Decision::again(self.frozen(opened, freeze)))
            }
            Status::Ordered { order: holder } if holder == order => {
                Ok(Decision::again(self.frozen(opened, self.version)))
            }
            Status::Frozen { order, .. } => Err(Refusal::Frozen { order }),
            Status::Ordered { order } => Err(Refusal::AlreadyOrdered { order }),
            Status::Expired => Err(Refusal::Expired),
            // A late copy: the order gave the cart back, or has passed its deadline without it.
            Status::Open if self.thawed == Some(order) || expires_at <= now => Err(Refusal::Ended),
            Status::Open if self.expires_at <= now => Err(Refusal::Expired),
            Status::Open if self.lines.is_empty() => Err(Refusal::Empty),
            Status::Open => {
                let ask_at = expires_at.plus_s(claims::QUESTION_GRACE_S);
                let reply = self.frozen(opened, self.version.saturating_add(1));
                Ok(Decision::one(Event::Frozen { order, ask_at }, reply))
            }
        }
    }

    fn frozen(&self, opened: &Opened, version: u64) -> Reply {
        Reply::Frozen(Box::new(Frozen {
            lines: self.lines.clone(),
            currency: opened.currency,
            version,
            owner: opened.owner.clone(),
        }))
    }

    fn thaw(&self, order: OrderId) -> Decision<Event, Reply> {
        match self.status {
            Status::Frozen { order: holder, .. } if holder == order => {
                Decision::one(Event::Thawed { order }, Reply::Done)
            }
            Status::Open if self.thawed == Some(order) => Decision::again(Reply::Done),
            Status::Open | Status::Frozen { .. } | Status::Ordered { .. } | Status::Expired => {
                Decision::nothing(Reply::Unknown)
            }
        }
    }

    fn close(&self, order: OrderId) -> Decision<Event, Reply> {
        match self.status {
            Status::Frozen { order: holder, .. } if holder == order => {
                Decision::one(Event::Closed { order }, Reply::Done)
            }
            Status::Ordered { order: holder } if holder == order => Decision::again(Reply::Done),
            Status::Open | Status::Frozen { .. } | Status::Ordered { .. } | Status::Expired => {
                Decision::nothing(Reply::Unknown)
            }
        }
    }

    /// An answer about a freeze that has ended since, or about an earlier one, changes nothing.
    fn answer(&self, order: OrderId, about: u64, says: Says, now: Timestamp) -> Decision<Event, Reply> {
        let current = match self.status {
            Status::Frozen { order: holder, freeze, ask_at } => (holder == order && freeze == about).then_some(ask_at),
            Status::Open | Status::Ordered { .. } | Status::Expired => None,
        };
        let Some(asked_at) = current else { return Decision::nothing(Reply::Unknown) };
        match says {
            Says::Keep { until } => {
                let ask_at = until.max(now.plus_s(claims::QUESTION_GRACE_S));
                if ask_at == asked_at {
                    return Decision::again(Reply::Done);
                }
                Decision::one(Event::Kept { ask_at }, Reply::Done)
            }
            Says::Release => self.thaw(order),
            Says::Taken => self.close(order),
        }
    }

    fn wake(&self, now: Timestamp) -> Decision<Event, Reply> {
        if self.opened.is_some() && self.status == Status::Open && self.expires_at <= now {
            return Decision::one(Event::Expired, Reply::Done);
        }
        Decision::nothing(Reply::Done)
    }
}

impl Entity for Cart {
    type Id = CartId;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;

    #[allow(clippy::wildcard_enum_match_arm, reason = "only what other entities ask of this one is a step")]
    fn step_name(command: &Command) -> &'static str {
        match command {
            Command::Freeze { .. } => "freeze",
            Command::Thaw { .. } => "thaw",
            Command::Close { .. } => "close",
            _ => "other",
        }
    }

    fn decide(&self, command: &Command, now: Timestamp) -> Decided {
        match command {
            Command::Wake => Ok(self.wake(now)),
            Command::Access if self.opened.is_none() => Err(Refusal::Unknown),
            Command::Access => Ok(Decision::events(self.refreshed(now).into_iter().collect(), Reply::Done)),
            Command::Create { terms, owner, currency, life_s } => {
                let opened = Opened { terms: *terms, owner: owner.clone(), currency: *currency, life_s: *life_s };
                self.create(opened, now)
            }
            Command::SetLine { sku, quantity, snapshot, expected_version } => {
                self.changeable(*expected_version, now)?;
                if *quantity == 0 {
                    return Ok(self.remove_line(sku, now));
                }
                self.set_line(sku, *quantity, snapshot, now)
            }
            Command::RemoveLine { sku, expected_version } => {
                self.changeable(*expected_version, now)?;
                Ok(self.remove_line(sku, now))
            }
            Command::Freeze { order, expires_at } => self.freeze(*order, *expires_at, now),
            Command::Thaw { order } => Ok(self.thaw(*order)),
            Command::Close { order } => Ok(self.close(*order)),
            Command::Answer { order, freeze, says } => Ok(self.answer(*order, *freeze, *says, now)),
        }
    }

    /// A cart is its owner's alone; it stays a cart of nobody until somebody makes it.
    fn permitted<'c>(&self, by: &Principal, command: &'c Command) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        let owner = match (command, &self.opened) {
            (Command::Create { owner, .. }, None) => owner,
            (_, None) => return Ok(Cow::Borrowed(command)),
            (_, Some(opened)) => &opened.owner,
        };
        match command {
            Command::Access | Command::Create { .. } | Command::SetLine { .. } | Command::RemoveLine { .. }
                if owner.is(by) =>
            {
                Ok(Cow::Borrowed(command))
            }
            Command::Access
            | Command::Create { .. }
            | Command::SetLine { .. }
            | Command::RemoveLine { .. }
            | Command::Wake
            | Command::Freeze { .. }
            | Command::Thaw { .. }
            | Command::Close { .. }
            | Command::Answer { .. } => Err(Denied::NotYours),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.version = self.version.saturating_add(1);
        match event {
            Event::Created { terms, owner, currency, life_s, expires_at } => {
                let (terms, currency, life_s) = (*terms, *currency, *life_s);
                self.opened = Some(Opened { terms, owner: owner.clone(), currency, life_s });
                self.expires_at = *expires_at;
            }
            Event::Refreshed { expires_at } => self.expires_at = *expires_at,
            Event::LineSet { line } => match self.lines.iter_mut().find(|known| known.sku == line.sku) {
                Some(known) => *known = line.clone(),
                None => self.lines.push(line.clone()),
            },
            Event::LineRemoved { sku } => self.lines.retain(|line| line.sku != *sku),
            Event::Frozen { order, ask_at } => {
                self.status = Status::Frozen { order: *order, freeze: self.version, ask_at: *ask_at };
            }
            Event::Kept { ask_at } => {
                if let Status::Frozen { order, freeze, .. } = self.status {
                    self.status = Status::Frozen { order, freeze, ask_at: *ask_at };
                }
            }
            Event::Thawed { order } => {
                self.status = Status::Open;
                self.thawed = Some(*order);
            }
            Event::Closed { order } => self.status = Status::Ordered { order: *order },
            Event::Expired => self.status = Status::Expired,
        }
    }

    fn owed(&self, now: Timestamp) -> Vec<EffectKey> {
        match self.status {
            Status::Frozen { freeze, ask_at, .. } if ask_at <= now => vec![question(freeze)],
            Status::Frozen { .. } | Status::Open | Status::Ordered { .. } | Status::Expired => Vec::new(),
        }
    }

    fn effect(&self, key: EffectKey) -> Option<Effect> {
        let (order, _) = self.asked_about(key)?;
        let command = order::Command::StillWanted { reservation: None, sku: None };
        Some(Effect::Ask { to: EntityId::Order(order), command: message::Command::Order(command) })
    }

    fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
        let (order, freeze) = self.asked_about(key)?;
        Some(Command::Answer { order, freeze, says: order_says(&outcome)? })
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let due = match self.status {
            Status::Open if self.opened.is_some() => self.expires_at,
            Status::Frozen { ask_at, .. } => ask_at,
            Status::Open | Status::Ordered { .. } | Status::Expired => return None,
        };
        // A cart that thawed after its end has a wake in the past: it is due at once.
        let overdue = self.status == Status::Open && due <= now;
        if overdue { Some(now.plus_ms(1)) } else { (due > now).then_some(due) }
    }
}

impl Cart {
    /// The freeze that a question is about, if it still holds.
    fn asked_about(&self, key: EffectKey) -> Option<(OrderId, u64)> {
        match self.status {
            Status::Frozen { order, freeze, .. } if key == question(freeze) => Some((order, freeze)),
            Status::Frozen { .. } | Status::Open | Status::Ordered { .. } | Status::Expired => None,
        }
    }
}

/// The key of the question about a freeze: the low half of its number is enough to tell it from an earlier one.
fn question(freeze: u64) -> EffectKey {
    let low = freeze & u64::from(u32::MAX);
    EffectKey { step: STEP_QUESTION, subject: u32::try_from(low).unwrap_or(0), part: 0 }
}
