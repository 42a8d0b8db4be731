//! A counter: something of which there is so much and no more, and whose claims of it count (rule C1).
//!
//! ```text
//!          used + held + units ≤ limit              commit, kept
//! free ─────────────────────────────────► held ───────────────────► used        held ──release, or commit of what is freed──► free
//!                                                                    └────────────release: the holder ended after all────────► free
//! ```
//!
//! What is counted is in its id alone, a keyed hash (rule W4): one external id of a seller, one buyer's units that are not paid yet. So a counter
//! knows no name and no address. Its limit comes with each claim, as it was when the holder journaled it: a limit that is lowered grants no more and
//! takes nothing back.
//!
//! It is claimed as stock is: [`crate::claims`] has the rules. It is forgotten by nothing: an empty one is a row of a few bytes.

mod command;

#[cfg(test)]
mod tests;

pub use command::{Claim, Command, Event, Holder, Refusal, Reply};

use super::claims::{ClaimId, ClaimStatus, Grant, Ledger, QUESTION_GRACE_S, Ruling, order_says};
use super::effect::{Effect, EffectKey, OWED_MAX, Outcome};
use super::entity::{Decision, Entity};
use super::ids::{CounterId, EntityId, OrderId};
use super::message;
use super::order;
use super::principal::{Denied, Principal};
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode};
use std::borrow::Cow;

/// The one step of the machine that owes something: the question of rule R3.
const STEP_QUESTION: u8 = 1;

/// What one claim was granted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Granted {
    /// Number of the counter's event that granted it (rule R1).
    #[n(0)]
    number: u64,
    /// Units that count.
    #[n(1)]
    units: u32,
    /// Do they count for ever once they are committed?
    #[n(2)]
    is_kept: bool,
    /// Held, or how it ended.
    #[n(3)]
    status: ClaimStatus,
    /// When its order is asked whether it still needs it (rule R3).
    #[n(4)]
    ask_at: Timestamp,
}

impl Grant for Granted {
    fn number(&self) -> u64 {
        self.number
    }

    fn status(&self) -> ClaimStatus {
        self.status
    }

    fn ask_at(&self) -> Timestamp {
        self.ask_at
    }

    fn end(&mut self, status: ClaimStatus) {
        self.status = status;
    }

    fn keep(&mut self, ask_at: Timestamp) {
        self.ask_at = ask_at;
    }
}

/// The state of a counter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Counter {
    /// The number of events so far, which is the number of the newest.
    #[n(0)]
    version: u64,
    /// Units that are granted and not committed.
    #[n(1)]
    held: u64,
    /// Units that are committed and kept.
    #[n(2)]
    used: u64,
    /// Its grants, live and ended, until their orders say `Forget`.
    #[n(3)]
    grants: Ledger<(OrderId, ClaimId), Granted>,
}

type Decided = Result<Decision<Event, Reply>, Refusal>;

impl Counter {
    /// Units that are granted and not committed.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Units that are committed and kept.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// The units of a holder's grant, live or ended, and how it stands.
    #[must_use]
    pub fn grant(&self, holder: Holder) -> Option<(u32, ClaimStatus)> {
        self.grants.get(holder.key()).map(|grant| (grant.units, grant.status))
    }

    /// The grants that are remembered, live or ended.
    pub fn grants(&self) -> impl Iterator<Item = (Holder, u32, ClaimStatus)> + '_ {
        self.grants.iter().map(|((order, claim), grant)| (Holder { order, claim }, grant.units, grant.status))
    }

    fn decide_claim(&self, claim: &Claim, now: Timestamp) -> Decided {
        if let Some(known) = self.grants.get(claim.holder.key()) {
            if known.units != claim.units || known.is_kept != claim.is_kept {
                return Err(Refusal::OtherTerms);
            }
            return match known.status {
                ClaimStatus::Held | ClaimStatus::Committed => {
                    Ok(Decision::again(Reply::Granted { number: known.number }))
                }
                ClaimStatus::Released => Err(Refusal::Ended),
            };
        }
        // The deadline is checked only now: what was granted is answered however late the command comes.
        if claim.expires_at <= now {
            return Err(Refusal::Ended);
        }
        let taken = self.used.saturating_add(self.held);
        if taken.saturating_add(u64::from(claim.units)) > u64::from(claim.limit) {
            return Err(Refusal::LimitReached { limit: claim.limit, taken });
        }
        let number = self.version.saturating_add(1);
        let ask_at = claim.expires_at.plus_s(QUESTION_GRACE_S);
        Ok(Decision::one(Event::Granted { claim: *claim, number, ask_at }, Reply::Granted { number }))
    }

    fn carry_out(ruling: Ruling, holder: Holder, number: u64) -> Decided {
        let one = |event| Ok(Decision::one(event, Reply::Done));
        match ruling {
            Ruling::Unknown => Ok(Decision::nothing(Reply::Unknown)),
            Ruling::Again => Ok(Decision::again(Reply::Done)),
            Ruling::Ended => Err(Refusal::Ended),
            Ruling::NotEnded => Err(Refusal::NotEnded),
            Ruling::Keep { ask_at } => one(Event::Kept { holder, ask_at }),
            Ruling::Commit => one(Event::Committed { holder, number }),
            Ruling::Release => one(Event::Released { holder, number }),
            Ruling::Forget => one(Event::Forgotten { holder, number }),
            Ruling::Drop => Ok(Decision::events(
                vec![Event::Released { holder, number }, Event::Forgotten { holder, number }],
                Reply::Done,
            )),
        }
    }

    /// What is used may be given back while its holder has not said `Forget`: the order ended after all.
    fn decide_release(&self, holder: Holder, number: u64) -> Decided {
        let ruling = self.grants.release(holder.key(), number);
        Self::carry_out(if ruling == Ruling::Ended { Ruling::Release } else { ruling }, holder, number)
    }

    fn end(&mut self, holder: Holder, status: ClaimStatus) {
        let Some(before) = self.grants.get(holder.key()).cloned() else { return };
        self.grants.end(holder.key(), status);
        let units = u64::from(before.units);
        match before.status {
            ClaimStatus::Held => self.held = self.held.saturating_sub(units),
            ClaimStatus::Committed if before.is_kept => self.used = self.used.saturating_sub(units),
            ClaimStatus::Committed | ClaimStatus::Released => {}
        }
        if status == ClaimStatus::Committed && before.is_kept {
            self.used = self.used.saturating_add(units);
        }
    }
}

impl Entity for Counter {
    type Id = CounterId;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;

    /// Its state holds a grant of each order that claims it.
    const ANSWERS_WITH_STATE: bool = false;

    fn step_name(command: &Command) -> &'static str {
        match command {
            Command::Claim(_) => "claim",
            Command::Commit { .. } => "commit",
            Command::Release { .. } => "release",
            Command::Forget { .. } => "forget",
            Command::Wake | Command::Read | Command::Answer { .. } => "other",
        }
    }

    fn decide(&self, command: &Command, now: Timestamp) -> Decided {
        match command {
            Command::Wake => Ok(Decision::nothing(Reply::Done)),
            Command::Read => Ok(Decision::nothing(Reply::Taken { held: self.held, used: self.used })),
            Command::Claim(claim) => self.decide_claim(claim, now),
            Command::Commit { holder, number } => {
                Self::carry_out(self.grants.commit(holder.key(), *number), *holder, *number)
            }
            Command::Release { holder, number } => self.decide_release(*holder, *number),
            Command::Forget { holder, number } => {
                Self::carry_out(self.grants.forget(holder.key(), *number), *holder, *number)
            }
            Command::Answer { holder, number, says } => {
                Self::carry_out(self.grants.answer(holder.key(), *number, *says, now), *holder, *number)
            }
        }
    }

    /// Only orders claim.
    fn permitted<'c>(&self, _by: &Principal, _command: &'c Command) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        Err(Denied::NotYours)
    }

    fn evolve(&mut self, event: &Event) {
        self.version = self.version.saturating_add(1);
        match event {
            Event::Granted { claim, number, ask_at } => {
                self.held = self.held.saturating_add(u64::from(claim.units));
                let granted = Granted {
                    number: *number,
                    units: claim.units,
                    is_kept: claim.is_kept,
                    status: ClaimStatus::Held,
                    ask_at: *ask_at,
                };
                self.grants.insert(claim.holder.key(), granted);
            }
            Event::Kept { holder, ask_at } => self.grants.keep(holder.key(), *ask_at),
            Event::Committed { holder, number: _ } => self.end(*holder, ClaimStatus::Committed),
            Event::Released { holder, number: _ } => self.end(*holder, ClaimStatus::Released),
            Event::Forgotten { holder, number: _ } => self.grants.remove(holder.key()),
        }
    }

    fn owed(&self, now: Timestamp) -> Vec<EffectKey> {
        let of = |number| EffectKey::of_number(STEP_QUESTION, number);
        self.grants.questions(now).map(of).take(OWED_MAX).collect()
    }

    fn effect(&self, key: EffectKey) -> Option<Effect> {
        let number = key.number_of(STEP_QUESTION)?;
        let ((order, claim), _) = self.grants.by_number(number)?;
        let command = order::Command::StillClaimed { claim, number };
        Some(Effect::Ask { to: EntityId::Order(order), command: message::Command::Order(command) })
    }

    fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
        let number = key.number_of(STEP_QUESTION)?;
        let ((order, claim), _) = self.grants.by_number(number)?;
        Some(Command::Answer { holder: Holder { order, claim }, number, says: order_says(&outcome)? })
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.grants.next_question(now)
    }
}
