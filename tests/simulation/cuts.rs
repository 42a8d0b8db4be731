//! One sale, cut off at each of its batches: the batch is there, its writer never hears of it, and the process is gone. From every
//! such moment a node recovers, every saga ends, and the laws hold all the way (rules L1, L2, L8).
//!
//! The payment provider is the same before and after, as in production: each cut is the whole sale anew from its seed, up to the batch and beyond.

use crate::plan::Plan;
use crate::run;
use crate::seeds::hush;
use crate::world::World;
use doorbuster_storage::memory::{Fault, Groups};

/// Batches that are cut off, one in each run of the sale.
const CUTS: u64 = 200;

fn busy(groups: Groups) -> Plan {
    Plan { groups, clients: 20, ..Plan::busy(11) }
}

fn cut_at(groups: Groups, batch: u64, written: bool) {
    let mut plan = busy(groups);
    plan.faults.appends.insert(batch, Fault::Fail { written });
    run::in_virtual_time(async {
        let world = World::new(plan.clone(), World::disk_of(&plan), false);
        run::live(&world).await;
        assert!(world.disk.appends() >= batch, "the sale has no batch {batch}");
        assert_eq!(world.broken(), None, "cut at batch {batch}, written: {written}");
    });
}

fn every_batch(groups: Groups) {
    hush();
    for batch in 1..=CUTS {
        cut_at(groups, batch, true);
        cut_at(groups, batch, false);
    }
}

#[test]
fn a_sale_cut_off_at_any_batch_goes_on_when_all_shards_share_one_log() {
    every_batch(Groups::One);
}

#[test]
fn a_sale_cut_off_at_any_batch_goes_on_when_each_shard_has_its_own_log() {
    every_batch(Groups::PerShard);
}
