//! One recorded sale, cut behind each of its batches, as a power cut would: from every prefix a node recovers, every saga ends, and
//! the laws hold all the way (rules L1, L2).

use crate::life;
use crate::plan::Plan;
use crate::run;
use crate::seeds::hush;
use crate::world::World;
use doorbuster::storage::memory::Groups;
use std::sync::Arc;

/// Batches that a recorded sale must have at least.
const FRAMES_MIN: usize = 200;

/// A sale without faults, of many small batches.
fn recorded(groups: Groups) -> Arc<World> {
    run::in_virtual_time(async {
        let mut plan = Plan::busy(11);
        plan.groups = groups;
        let world = World::new(plan.clone(), World::disk_of(&plan), false);
        run::live(&world).await;
        assert_eq!(world.broken(), None);
        world
    })
}

/// A node on what is left of the sale. The bank goes on knowing nothing: what was asked of the lost one is asked again.
fn recover_from(world: &World, frames: usize) {
    let disk = world.disk.cut_at(frames).expect("frames were kept");
    let plan = Plan { cut_starts: 0, chaos: Vec::new(), ..world.plan.clone() };
    run::in_virtual_time(async move {
        let world = World::new(plan, disk, false);
        let (_ends, orders) = tokio::sync::mpsc::unbounded_channel();
        let keeper = tokio::spawn(life::keep(Arc::clone(&world), orders));
        run::come_to_rest(&world).await;
        keeper.abort();
        let judge = world.judge();
        let lost = judge.records();
        assert_eq!(world.broken(), None, "cut behind batch {frames}, {lost} records");
    });
}

fn every_prefix(groups: Groups) {
    hush();
    let world = recorded(groups);
    let frames = world.disk.frames();
    assert!(frames >= FRAMES_MIN, "{frames} batches are too few");
    for cut in 0..=frames {
        recover_from(&world, cut);
    }
}

#[test]
fn a_sale_cut_behind_any_batch_goes_on_when_all_shards_share_one_log() {
    every_prefix(Groups::One);
}

#[test]
fn a_sale_cut_behind_any_batch_goes_on_when_each_shard_has_its_own_log() {
    every_prefix(Groups::PerShard);
}
