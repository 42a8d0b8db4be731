//! The counted side: what an entity has granted, to which holder, under which number, and when it asks that holder.
//!
//! ```text
//! granted: held ──commit──► committed ──┐
//!            └───release──► released ───┴──forget──► unknown
//! ```
//!
//! The rules are looked up ([`Ruling`]) and the entity journals what they say, in events of its own.

use crate::codec::encode::{Write, Written};
use crate::codec::{self as minicbor, Decode, Decoder, Encode, Encoder, decode};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

/// The seconds from a grant's deadline to the question to its holder (rule R3): the holder's own `Release` should come first.
///
/// Smaller: needless questions; larger: what a lost order held stays counted longer.
pub const QUESTION_GRACE_S: u64 = 30;

/// The status of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ClaimStatus {
    /// It counts, and may be committed or released.
    #[n(0)]
    Held,
    /// It was used: of stock, the units were sold.
    #[n(1)]
    Committed,
    /// It is free again.
    #[n(2)]
    Released,
}

/// A holder's answer to the question of rule R3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Says {
    /// It is still wanted.
    Keep {
        /// When to ask again.
        until: Timestamp,
    },
    /// The holder ended, does not exist, or has no such claim: release it and forget it, because no `Forget` will follow.
    Release,
    /// It is used.
    Taken,
}

/// What has been granted to one holder.
pub trait Grant {
    /// The number of the entity's event that made it (rule R1).
    fn number(&self) -> u64;
    /// Held, or how it ended.
    fn status(&self) -> ClaimStatus;
    /// When the holder is asked whether it still needs it (rule R3).
    fn ask_at(&self) -> Timestamp;
    /// It ends.
    fn end(&mut self, status: ClaimStatus);
    /// The holder is asked later.
    fn keep(&mut self, ask_at: Timestamp);
}

/// What the rules say about a command to a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// No such grant: nothing changes, and the answer says so (rule R1).
    Unknown,
    /// It has been carried out before.
    Again,
    /// It has ended otherwise.
    Ended,
    /// It has not ended, so it may not be forgotten.
    NotEnded,
    /// The holder is asked again then.
    Keep {
        /// When.
        ask_at: Timestamp,
    },
    /// It is committed now.
    Commit,
    /// It is released now.
    Release,
    /// It is forgotten now.
    Forget,
    /// It is released, and forgotten at once.
    Drop,
}

/// The grants of an entity, live and ended, by holder; with the times of its questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger<H, G> {
    /// Ordered by holder, so that a chunk of a stored state is a range.
    grants: BTreeMap<H, G>,
    /// Live grants by the time of the question to their holder.
    asks: BTreeSet<(Timestamp, u64)>,
    /// Live grants by number.
    live: BTreeMap<u64, H>,
}

impl<C, H: Encode<C>, G: Encode<C>> Encode<C> for Ledger<H, G> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        self.grants.encode(to, context)
    }
}

impl<'b, C, H: Decode<'b, C> + Ord + Copy, G: Decode<'b, C> + Grant> Decode<'b, C> for Ledger<H, G> {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        let mut ledger = Self::default();
        for (holder, grant) in BTreeMap::<H, G>::decode(from, context)? {
            ledger.insert(holder, grant);
        }
        Ok(ledger)
    }
}

impl<H, G> Default for Ledger<H, G> {
    fn default() -> Self {
        Self { grants: BTreeMap::new(), asks: BTreeSet::new(), live: BTreeMap::new() }
    }
}

impl<H: Ord + Copy, G: Grant> Ledger<H, G> {
    /// The holder's grant, live or ended.
    #[must_use]
    pub fn get(&self, holder: H) -> Option<&G> {
        self.grants.get(&holder)
    }

    /// The holder's grant with this number (rule R1).
    #[must_use]
    pub fn named(&self, holder: H, number: u64) -> Option<&G> {
        self.grants.get(&holder).filter(|grant| grant.number() == number)
    }

    /// A live grant by its number.
    #[must_use]
    pub fn by_number(&self, number: u64) -> Option<(H, &G)> {
        let holder = self.live.get(&number)?;
        self.grants.get(holder).map(|grant| (*holder, grant))
    }

    /// All grants, by holder.
    pub fn iter(&self) -> impl Iterator<Item = (H, &G)> {
        self.grants.iter().map(|(holder, grant)| (*holder, grant))
    }

    /// The grants of a range of holders.
    pub fn range(&self, holders: impl RangeBounds<H>) -> impl Iterator<Item = (H, &G)> {
        self.grants.range(holders).map(|(holder, grant)| (*holder, grant))
    }

    /// Live grants, oldest first.
    pub fn live(&self) -> impl Iterator<Item = (H, &G)> {
        self.live.values().filter_map(|holder| self.grants.get(holder).map(|grant| (*holder, grant)))
    }

    /// The live grant whose holder is asked first.
    #[must_use]
    pub fn first(&self) -> Option<(H, &G)> {
        self.asks.first().and_then(|(_, number)| self.by_number(*number))
    }

    /// The numbers of the live grants whose holders must be asked by `now`.
    pub fn questions(&self, now: Timestamp) -> impl Iterator<Item = u64> {
        self.asks.range(..=(now, u64::MAX)).map(|(_, number)| *number)
    }

    /// The time of the first question after `now`.
    #[must_use]
    pub fn next_question(&self, now: Timestamp) -> Option<Timestamp> {
        self.asks.range((now.plus_ms(1), 0)..).next().map(|(at, _)| *at)
    }

    /// May the holder use the grant now?
    #[must_use]
    pub fn commit(&self, holder: H, number: u64) -> Ruling {
        match self.named(holder, number).map(Grant::status) {
            None => Ruling::Unknown,
            Some(ClaimStatus::Held) => Ruling::Commit,
            Some(ClaimStatus::Committed) => Ruling::Again,
            Some(ClaimStatus::Released) => Ruling::Ended,
        }
    }

    /// May the holder give the grant back now?
    #[must_use]
    pub fn release(&self, holder: H, number: u64) -> Ruling {
        match self.named(holder, number).map(Grant::status) {
            None => Ruling::Unknown,
            Some(ClaimStatus::Held) => Ruling::Release,
            Some(ClaimStatus::Released) => Ruling::Again,
            Some(ClaimStatus::Committed) => Ruling::Ended,
        }
    }

    /// May the grant be forgotten? The holder has journaled how it ended.
    #[must_use]
    pub fn forget(&self, holder: H, number: u64) -> Ruling {
        match self.named(holder, number).map(Grant::status) {
            None => Ruling::Unknown,
            Some(ClaimStatus::Held) => Ruling::NotEnded,
            Some(ClaimStatus::Committed | ClaimStatus::Released) => Ruling::Forget,
        }
    }

    /// What follows from the holder's answer to a question. After the end of the grant nothing does: the holder's own command was faster.
    #[must_use]
    pub fn answer(&self, holder: H, number: u64, says: Says, now: Timestamp) -> Ruling {
        let live = self.named(holder, number).filter(|grant| grant.status() == ClaimStatus::Held);
        let Some(grant) = live else { return Ruling::Unknown };
        match says {
            Says::Keep { until } => {
                // At least the grace period away: a holder that answers "until now" is not asked again at once.
                let ask_at = until.max(now.plus_s(QUESTION_GRACE_S));
                if ask_at == grant.ask_at() { Ruling::Again } else { Ruling::Keep { ask_at } }
            }
            Says::Release => Ruling::Drop,
            Says::Taken => Ruling::Commit,
        }
    }

    /// Takes a grant in, a new one or one that was stored.
    pub fn insert(&mut self, holder: H, grant: G) {
        if grant.status() == ClaimStatus::Held {
            self.asks.insert((grant.ask_at(), grant.number()));
            self.live.insert(grant.number(), holder);
        }
        self.grants.insert(holder, grant);
    }

    /// The holder is asked later.
    pub fn keep(&mut self, holder: H, ask_at: Timestamp) {
        if let Some(grant) = self.grants.get_mut(&holder) {
            self.asks.remove(&(grant.ask_at(), grant.number()));
            grant.keep(ask_at);
            self.asks.insert((ask_at, grant.number()));
        }
    }

    /// Ends a live grant; gives it as it is then.
    pub fn end(&mut self, holder: H, status: ClaimStatus) -> Option<&G> {
        let grant = self.grants.get_mut(&holder)?;
        grant.end(status);
        self.asks.remove(&(grant.ask_at(), grant.number()));
        self.live.remove(&grant.number());
        Some(grant)
    }

    /// Forgets a grant.
    pub fn remove(&mut self, holder: H) {
        if let Some(grant) = self.grants.remove(&holder)
            && grant.status() == ClaimStatus::Held
        {
            self.asks.remove(&(grant.ask_at(), grant.number()));
            self.live.remove(&grant.number());
        }
    }
}
