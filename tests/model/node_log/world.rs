//! One state of the explored world: the store, the processes, what is still under way, and what an onlooker remembers.

use super::process::Process;
use super::store::{LOGS, PerSeq, Record, SHARDS, Statement, Store, epoch_of, reserves};

/// Everything there is. The process at place n writes log n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) processes: [Process; LOGS],
    /// A statement whose sender no longer waits for it.
    pub(crate) under_way: Statement,
    /// Answers that may still be lost.
    pub(crate) losses: u8,
    /// Checkpoints that may still begin.
    pub(crate) checkpoints: u8,
    /// Releases that may still be made.
    pub(crate) releases: u8,
    pub(crate) ghost: Ghost,
}

/// What no part of the system knows: the onlooker's memory, from which the laws are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ghost {
    /// What the logs have held at each seq of each shard, deleted or not.
    pub(crate) durable: [PerSeq; SHARDS],
    /// What was acknowledged, or caused an effect.
    pub(crate) acknowledged: [PerSeq; SHARDS],
    /// How often the one unit was promised.
    pub(crate) sold: u8,
    /// Laws that a step has broken.
    pub(crate) broken: Broken,
}

/// A set of laws that a step, rather than a state, can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Broken(u8);

impl Broken {
    pub(crate) const DOUBLE: Self = Self(1);
    pub(crate) const REWRITTEN: Self = Self(2);
    pub(crate) const EPOCH_FELL: Self = Self(4);
    pub(crate) const STALE: Self = Self(8);
    pub(crate) const HOLE: Self = Self(16);
    pub(crate) const IGNORANT: Self = Self(32);
    pub(crate) const FALSE_ALARM: Self = Self(64);

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
    /// Remembers what a log has held.
    pub(crate) fn appended(&mut self, shard: usize, record: Record) {
        let (at, event) = (usize::from(record.seq), record.event);
        let durable = &mut self.durable[shard];
        if at > 1 && durable[at - 1] == 0 {
            self.broken |= Broken::HOLE;
        }
        if durable[at] != 0 && durable[at] != event {
            self.broken |= Broken::REWRITTEN;
        }
        if durable[..at].iter().any(|earlier| epoch_of(*earlier) > epoch_of(event)) {
            self.broken |= Broken::EPOCH_FELL;
        }
        if durable[at] == 0 {
            durable[at] = event;
        }
    }

    /// An owner says of this seq that this event happened: an answer, or an effect.
    pub(crate) fn acknowledge(&mut self, shard: usize, record: Record) {
        let known = &mut self.acknowledged[shard][usize::from(record.seq)];
        if *known == record.event {
            return;
        }
        if *known == 0 {
            *known = record.event;
        } else {
            self.broken |= Broken::DOUBLE;
        }
        self.sold += u8::from(reserves(record.event));
    }

    /// An owner answers from this memory: it must hold everything that was ever answered.
    pub(crate) fn answer_from(&mut self, shard: usize, memory: &PerSeq) {
        if self.acknowledged[shard].iter().zip(memory).any(|(answered, known)| *answered != 0 && answered != known) {
            self.broken |= Broken::STALE;
        }
    }
}
