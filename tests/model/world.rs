//! One state of the explored world: the store, the owners, what is still under way, and what an onlooker remembers.

use crate::owner::Owner;
use crate::store::{PerSeq, Statement, Store, reserves};

/// Ownerships that fit: the old owner and up to three claimants.
pub(crate) const OWNERS: usize = 4;
/// Statements under way that fit.
pub(crate) const UNDER_WAY: usize = 2;

/// Everything there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) store: Store,
    /// The owner at place 0 has epoch 1, and so on: a claimant is named by the epoch it gets, so that two runs which
    /// differ only in the names of the claimants are one.
    pub(crate) owners: [Owner; OWNERS],
    /// Statements whose sender no longer waits for them, in order.
    pub(crate) under_way: [Statement; UNDER_WAY],
    /// Answers that may still be lost.
    pub(crate) losses: u8,
    /// Checkpoints that may still begin.
    pub(crate) checkpoints: u8,
    pub(crate) ghost: Ghost,
}

/// What no part of the system knows: the onlooker's memory, from which the laws are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ghost {
    /// What the log has held at each seq, truncated or not.
    pub(crate) durable: PerSeq,
    /// What was acknowledged, or caused an effect, at each seq.
    pub(crate) acknowledged: PerSeq,
    /// How often the one unit was promised.
    pub(crate) sold: u8,
    /// Laws that a step has broken.
    pub(crate) broken: Broken,
}

/// A set of laws that a step, rather than a state, can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Broken(pub(crate) u16);

impl Broken {
    pub(crate) const DOUBLE: Self = Self(1);
    pub(crate) const REWRITTEN: Self = Self(2);
    pub(crate) const EPOCH_FELL: Self = Self(4);
    pub(crate) const FENCE_FELL: Self = Self(8);
    pub(crate) const FLUSHED_FELL: Self = Self(16);
    pub(crate) const STALE: Self = Self(32);
    pub(crate) const TWICE: Self = Self(64);
    pub(crate) const HOLE: Self = Self(128);
    pub(crate) const IGNORANT: Self = Self(256);
    pub(crate) const FALSE_ALARM: Self = Self(512);

    pub(crate) fn has(self, law: Self) -> bool {
        self.0 & law.0 != 0
    }
}

impl std::ops::BitOrAssign for Broken {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Ghost {
    /// An owner says of this seq that this event happened: an answer, or an effect.
    pub(crate) fn acknowledge(&mut self, seq: u8, event: u8) {
        let known = &mut self.acknowledged[usize::from(seq)];
        if *known == event {
            return;
        }
        if *known == 0 {
            *known = event;
        } else {
            self.broken |= Broken::DOUBLE;
        }
        self.sold += u8::from(reserves(event));
    }

    /// An owner answers from this memory: it must hold everything that was ever answered.
    pub(crate) fn answer_from(&mut self, memory: &PerSeq) {
        if self.acknowledged.iter().zip(memory).any(|(answered, known)| *answered != 0 && answered != known) {
            self.broken |= Broken::STALE;
        }
    }
}

impl World {
    /// Keeps a statement aside whose answer was lost. The order of those under way says nothing, so there is but one.
    pub(crate) fn lose(&mut self, statement: Statement) {
        self.losses -= 1;
        let free = self.under_way.iter().position(|slot| *slot == Statement::None).expect("as many slots as losses");
        self.under_way[free] = statement;
        self.under_way.sort_unstable();
    }
}
