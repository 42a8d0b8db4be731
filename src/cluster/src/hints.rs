//! Who owns which shard, as far as this node has heard.
//!
//! Hints save a message to the wrong node. Safety does not depend on them (rules O1 to O5).

use doorbuster_storage::registry::NodeId;
use doorbuster_storage::{Epoch, Shard};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// The table of hints. The hint with the higher epoch wins, in whatever order they arrive.
#[derive(Debug, Default)]
pub struct OwnerHints {
    owners: RwLock<BTreeMap<Shard, (Epoch, NodeId)>>,
    changes: AtomicU64,
}

impl OwnerHints {
    /// Records that `node` owns the shard under `epoch`; returns `false` if a hint at least as new was known.
    pub fn learn(&self, shard: Shard, epoch: Epoch, node: &NodeId) -> bool {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        if owners.get(&shard).is_some_and(|(known, _)| *known >= epoch) {
            return false;
        }
        owners.insert(shard, (epoch, node.clone()));
        self.changes.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// A number that changes with each new owner of a shard: what was sent to the one before may be lost.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The believed owner of the shard and its epoch.
    #[must_use]
    pub fn owner(&self, shard: Shard) -> Option<(Epoch, NodeId)> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// All hints, by shard.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Shard, (Epoch, NodeId)> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId { name: name.to_owned(), incarnation: 1 }
    }

    #[test]
    fn the_newest_ownership_is_kept_in_whatever_order_word_comes() {
        let hints = OwnerHints::default();
        assert!(hints.learn(Shard(1), 5, &node("b")));
        assert!(!hints.learn(Shard(1), 4, &node("a")));
        assert!(!hints.learn(Shard(1), 5, &node("a")));
        assert_eq!(hints.owner(Shard(1)), Some((5, node("b"))));
        assert!(hints.learn(Shard(1), 6, &node("a")));
        assert_eq!(hints.owner(Shard(1)), Some((6, node("a"))));
        assert_eq!(hints.owner(Shard(2)), None);
    }
}
