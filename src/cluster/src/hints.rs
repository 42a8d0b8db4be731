//! Who owns which shard, as far as this node has heard: hints that save a wrong turn, never what safety hangs on (rules O1 to O5).

use doorbuster_storage::registry::NodeId;
use doorbuster_storage::{Epoch, Shard};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// The table. Of two words on a shard the one of the newer ownership stays, whatever order they come in.
#[derive(Debug, Default)]
pub struct OwnerHints {
    owners: RwLock<BTreeMap<Shard, (Epoch, NodeId)>>,
}

impl OwnerHints {
    /// Takes in that `node` owns the shard under `epoch`; `false`: something at least as new was known.
    pub fn learn(&self, shard: Shard, epoch: Epoch, node: &NodeId) -> bool {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        if owners.get(&shard).is_some_and(|(known, _)| *known >= epoch) {
            return false;
        }
        owners.insert(shard, (epoch, node.clone()));
        true
    }

    /// Who owns the shard.
    #[must_use]
    pub fn owner(&self, shard: Shard) -> Option<(Epoch, NodeId)> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// All that is known, by shard.
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
