//! Which node should own a shard: the eligible node with the highest rendezvous hash, unless an operator moved the shard.
//!
//! Nodes that know the same members and the same desired state compute the same answer without a message. A node that leaves changes the answer for
//! its own shards only; a node that joins changes it only for those it receives.

use doorbuster_storage::Shard;
use std::collections::{BTreeMap, BTreeSet};

/// The name of the node that should own `shard`; `None`: no node is eligible.
///
/// Assigned by name, not by incarnation, so that a restarted node gets its own shards back. A move by an operator counts while its target is
/// eligible.
#[must_use]
pub fn owner<'a>(shard: Shard, eligible: &'a BTreeSet<String>, moved: &BTreeMap<Shard, String>) -> Option<&'a str> {
    let desired = moved.get(&shard).and_then(|name| eligible.get(name));
    desired.or_else(|| eligible.iter().max_by_key(|name| (weight(shard, name), *name))).map(String::as_str)
}

/// The owner of each of `shards` shards; a shard without an eligible node is left out.
#[must_use]
pub fn assign(shards: u16, eligible: &BTreeSet<String>, moved: &BTreeMap<Shard, String>) -> BTreeMap<Shard, String> {
    (0..shards).map(Shard).filter_map(|shard| Some((shard, owner(shard, eligible, moved)?.to_owned()))).collect()
}

/// FNV-1a over the name and the shard, then the 64-bit finaliser of `MurmurHash3`. It must stay the same on every node and in every version, or
/// two nodes with the same knowledge would assign differently.
fn weight(shard: Shard, name: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in name.bytes().chain([0]).chain(shard.0.to_be_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHARDS: u16 = 512;

    fn names(count: usize) -> BTreeSet<String> {
        (1..=count).map(|number| format!("node{number}")).collect()
    }

    fn load(assigned: &BTreeMap<Shard, String>) -> BTreeMap<&str, usize> {
        let mut load = BTreeMap::new();
        assigned.values().for_each(|name| *load.entry(name.as_str()).or_default() += 1);
        load
    }

    #[test]
    fn the_deal_is_the_same_in_every_version() {
        let eligible = names(3);
        let owners: Vec<&str> = (0..8).map(|shard| owner(Shard(shard), &eligible, &BTreeMap::new()).unwrap()).collect();
        assert_eq!(owners, ["node3", "node1", "node3", "node1", "node2", "node2", "node1", "node3"]);
    }

    #[test]
    fn many_shards_are_dealt_about_evenly() {
        for count in 2..=8 {
            let eligible = names(count);
            let assigned = assign(SHARDS, &eligible, &BTreeMap::new());
            let fair = usize::from(SHARDS) / count;
            for (name, shards) in load(&assigned) {
                assert!(shards * 3 >= fair * 2 && shards * 2 <= fair * 3, "{name} of {count}: {shards}, fair {fair}");
            }
        }
    }

    #[test]
    fn a_moved_shard_is_where_it_was_wished_while_that_node_may_have_it() {
        let mut eligible = names(3);
        let shard = Shard(7);
        let without = owner(shard, &eligible, &BTreeMap::new()).unwrap().to_owned();
        let desired = eligible.iter().find(|name| **name != without).unwrap().clone();
        let moved = BTreeMap::from([(shard, desired.clone())]);
        assert_eq!(owner(shard, &eligible, &moved), Some(desired.as_str()));
        eligible.remove(&desired);
        assert_eq!(owner(shard, &eligible, &moved), Some(without.as_str()));
    }

    #[test]
    fn where_nobody_may_nobody_owns() {
        assert_eq!(owner(Shard(1), &BTreeSet::new(), &BTreeMap::from([(Shard(1), "node1".to_owned())])), None);
    }

    proptest! {
        #[test]
        fn a_leave_moves_only_the_leavers_shards_and_a_join_only_to_the_joiner(
            eligible in prop::collection::btree_set("[a-z]{1,8}", 2..9),
            which in any::<prop::sample::Index>(),
        ) {
            let other = eligible.iter().nth(which.index(eligible.len())).unwrap().clone();
            let mut fewer = eligible.clone();
            fewer.remove(&other);
            let (with, without) = (assign(SHARDS, &eligible, &BTreeMap::new()), assign(SHARDS, &fewer, &BTreeMap::new()));
            for (shard, owner) in &with {
                // Read one way it is a leave, the other way a join.
                prop_assert_eq!(*owner == other, without.get(shard) != Some(owner), "shard {}", shard);
            }
        }
    }
}
