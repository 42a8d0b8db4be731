//! Who owns which shard, as far as this node has heard.
//!
//! ```text
//! a peer's word ──► heard ──confirmed by the store──► stored          the word of the higher epoch counts, unless the store refutes it
//!                     └────not in so many reads──► refuted: no word of that epoch or a higher one counts until the store has it
//! ```
//!
//! Hints save a message to the wrong node. Safety does not depend on them (rules O1 to O5). But a peer that names an epoch that does not exist, by
//! mistake or on purpose, would keep all requests of this node from the shard for ever, so what peers say counts only for a while.

use doorbuster_storage::registry::NodeId;
use doorbuster_storage::{Epoch, Shard};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use tracing::warn;

/// Reads of the store that a peer's word outlives without being confirmed. An owner is in the store before it says that it is one, so the second read
/// after its word shows it; the first may have begun before. Too few: a true hint is dropped. Too many: a false one counts longer.
const UNCONFIRMED_READS_MAX: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    epoch: Epoch,
    node: NodeId,
}

/// What is known of one shard.
#[derive(Debug, Default)]
struct Known {
    stored: Option<Owner>,
    /// A peer's word with a higher epoch than the store's, and the reads of the store since.
    heard: Option<(Owner, u32)>,
    /// The lowest epoch that a peer named and the store did not have.
    refuted: Option<Epoch>,
}

impl Known {
    fn owner(&self) -> Option<&Owner> {
        self.heard.as_ref().map(|(owner, _)| owner).or(self.stored.as_ref())
    }

    fn take_from_store(&mut self, shard: Shard, owner: Owner) {
        let epoch = owner.epoch;
        if self.stored.as_ref().is_none_or(|stored| stored.epoch < epoch) {
            self.stored = Some(owner);
        }
        self.refuted = self.refuted.filter(|refuted| *refuted > epoch);
        let Some((heard, reads)) = &mut self.heard else { return };
        *reads = reads.saturating_add(1);
        if heard.epoch <= epoch {
            self.heard = None;
        } else if *reads >= UNCONFIRMED_READS_MAX {
            let (claimed_by, claimed) = (&heard.node, heard.epoch);
            warn!(%shard, %claimed_by, claimed, epoch, "an owner that the store does not know is not asked any more");
            self.refuted = Some(self.refuted.map_or(claimed, |lowest| lowest.min(claimed)));
            self.heard = None;
        }
    }
}

/// The table of hints. The hint with the higher epoch wins, in whatever order they arrive.
#[derive(Debug, Default)]
pub struct OwnerHints {
    shards: RwLock<BTreeMap<Shard, Known>>,
    changes: AtomicU64,
}

impl OwnerHints {
    /// Records that, by the word of a peer or of this node itself, `node` owns the shard under `epoch`; returns `false` if a hint at least as new was
    /// known, or the store has refuted such an epoch.
    pub fn learn(&self, shard: Shard, epoch: Epoch, node: &NodeId) -> bool {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let known = shards.entry(shard).or_default();
        let is_old = known.owner().is_some_and(|owner| owner.epoch >= epoch);
        if is_old || known.refuted.is_some_and(|refuted| epoch >= refuted) {
            return false;
        }
        known.heard = Some((Owner { epoch, node: node.clone() }, 0));
        self.changes.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// A number that changes with each new owner of a shard: what was sent to the one before may be lost.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Records what a read of the store showed: the owner of the shard and its epoch.
    pub fn learn_from_store(&self, shard: Shard, epoch: Epoch, node: &NodeId) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let known = shards.entry(shard).or_default();
        let before = known.owner().cloned();
        known.take_from_store(shard, Owner { epoch, node: node.clone() });
        if known.owner() != before.as_ref() {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The believed owner of the shard and its epoch.
    #[must_use]
    pub fn owner(&self, shard: Shard) -> Option<(Epoch, NodeId)> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.get(&shard)?.owner().map(|owner| (owner.epoch, owner.node.clone()))
    }

    /// All hints, by shard.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Shard, (Epoch, NodeId)> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let shown =
            |(shard, known): (&Shard, &Known)| known.owner().map(|owner| (*shard, (owner.epoch, owner.node.clone())));
        shards.iter().filter_map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: Shard = Shard(1);

    fn node(name: &str) -> NodeId {
        NodeId { name: name.to_owned(), incarnation: 1 }
    }

    #[test]
    fn the_newest_ownership_is_kept_in_whatever_order_word_comes() {
        let hints = OwnerHints::default();
        assert!(hints.learn(SHARD, 5, &node("b")));
        assert!(!hints.learn(SHARD, 4, &node("a")));
        assert!(!hints.learn(SHARD, 5, &node("a")));
        assert_eq!(hints.owner(SHARD), Some((5, node("b"))));
        assert!(hints.learn(SHARD, 6, &node("a")));
        assert_eq!(hints.owner(SHARD), Some((6, node("a"))));
        assert_eq!(hints.owner(Shard(2)), None);
    }

    #[test]
    fn a_word_that_the_store_confirms_stays_and_an_old_read_takes_nothing_back() {
        let hints = OwnerHints::default();
        hints.learn_from_store(SHARD, 5, &node("a"));
        assert!(hints.learn(SHARD, 6, &node("b")));
        // Reads that began before the new owner claimed.
        hints.learn_from_store(SHARD, 5, &node("a"));
        hints.learn_from_store(SHARD, 5, &node("a"));
        assert_eq!(hints.owner(SHARD), Some((6, node("b"))));
        hints.learn_from_store(SHARD, 6, &node("b"));
        for _ in 0..10 {
            hints.learn_from_store(SHARD, 6, &node("b"));
        }
        assert_eq!(hints.owner(SHARD), Some((6, node("b"))));
        hints.learn_from_store(SHARD, 5, &node("a"));
        assert_eq!(hints.owner(SHARD), Some((6, node("b"))), "reads may overtake each other");
    }

    #[test]
    fn a_peer_that_claims_an_epoch_of_its_own_is_believed_for_a_few_reads_and_not_again() {
        let hints = OwnerHints::default();
        hints.learn_from_store(SHARD, 5, &node("a"));
        assert!(hints.learn(SHARD, Epoch::MAX, &node("liar")));
        for _ in 0..UNCONFIRMED_READS_MAX {
            hints.learn_from_store(SHARD, 5, &node("a"));
        }
        assert_eq!(hints.owner(SHARD), Some((5, node("a"))));
        assert!(!hints.learn(SHARD, Epoch::MAX, &node("liar")), "said before");
        assert!(hints.learn(SHARD, 6, &node("b")), "an honest owner's word");
        hints.learn_from_store(SHARD, 6, &node("b"));
        // It claims the next epoch: honest owners of that epoch are heard of from the store.
        assert!(hints.learn(SHARD, 7, &node("liar")));
        for _ in 0..UNCONFIRMED_READS_MAX {
            hints.learn_from_store(SHARD, 6, &node("b"));
        }
        assert!(!hints.learn(SHARD, 7, &node("liar")) && !hints.learn(SHARD, 8, &node("liar")));
        hints.learn_from_store(SHARD, 7, &node("a"));
        assert_eq!(hints.owner(SHARD), Some((7, node("a"))));
        assert!(hints.learn(SHARD, 8, &node("b")), "the store has caught up");
    }
}
