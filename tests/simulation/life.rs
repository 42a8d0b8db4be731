//! The life of the node: started, cut off, stopped, failed, and started again on the same disk.

use crate::plan::{Mishap, Plan, rng_of};
use crate::world::{World, pass};
use doorbuster_actors::stats::Stats;
use doorbuster_actors::system::{Actors, Shards};
use doorbuster_clock::SharedClock;
use doorbuster_domain::ids::EntityId;
use doorbuster_node::provider::AnyProvider;
use doorbuster_storage::{Shard, Store};
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

/// How the node's present life is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// At once, in the middle of everything.
    Crash,
    /// In good order.
    Stop,
}

/// Starts the node whenever it is down, until the world ends.
pub(crate) async fn keep(world: Arc<World>, mut ends: UnboundedReceiver<End>) {
    let mut rng = rng_of(world.plan.seed, 1);
    loop {
        let Some(actors) = start(&world, &mut rng).await else { continue };
        let node = actors.handle();
        let found = actors.recovery();
        world.note(|| format!("node: up, {} events in the tail", found.tail_events));
        world.node_is_up(node.clone());
        let end = tokio::select! {
            biased;
            end = ends.recv() => end.unwrap_or(End::Crash),
            reason = node.failed() => {
                world.note(|| format!("node: failed: {reason}"));
                End::Crash
            }
        };
        let gone = world.node_leaves();
        match end {
            End::Crash => {
                gone();
                actors.end().await;
            }
            End::Stop => {
                let drained = actors.stop(Duration::from_secs(3)).await;
                gone();
                world.note(|| format!("node: stopped, drained: {drained}"));
            }
        }
        let (in_flight, there) = world.disk.crash();
        world.note(|| format!("node: down, {there} of {in_flight} batches in flight are there"));
        pass(rng.random_range(0..400)).await;
    }
}

/// One start; `None`: it was cut off before it was done.
async fn start(world: &Arc<World>, rng: &mut rand_chacha::ChaCha8Rng) -> Option<Actors> {
    let store = Store::Memory(world.disk.open());
    let clock: SharedClock = world.clock.clone();
    let (settings, stats) = (world.plan.settings, Arc::new(Stats::default()));
    let actors = Actors::start(
        store,
        Arc::<AnyProvider>::clone(&world.provider),
        clock,
        settings,
        stats,
        Shards::All("simulated"),
    );
    let patience = if rng.random_range(0..100) < world.plan.cut_starts { rng.random_range(0..40) } else { u32::MAX };
    let cut_off = async {
        if patience == u32::MAX {
            std::future::pending::<()>().await;
        }
        for _ in 0..patience {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = cut_off => {
            world.note(|| "node: dies while it starts".to_owned());
            world.disk.crash();
            pass(20).await;
            None
        }
        started = actors => match started {
            Ok(actors) => Some(actors),
            Err(error) => {
                world.broke(&format!("the node does not start: {error}"));
                pass(60_000).await;
                None
            }
        }
    }
}

/// Does what the plan says, when it says so.
pub(crate) async fn go_wrong(world: Arc<World>, ends: tokio::sync::mpsc::UnboundedSender<End>) {
    let mut rng = rng_of(world.plan.seed, 2);
    let opened = Instant::now();
    for (at_ms, trouble) in world.plan.chaos.clone() {
        tokio::time::sleep_until(opened + Duration::from_millis(at_ms)).await;
        world.note(|| format!("chaos: {trouble:?}"));
        match trouble {
            Mishap::Crash => ends.send(End::Crash).expect("the keeper lives as long as the world"),
            Mishap::Stop => ends.send(End::Stop).expect("the keeper lives as long as the world"),
            Mishap::Panic(times) => panic_an_entity(&world, &mut rng, times).await,
            Mishap::Lose(step, times) => {
                if let Some(node) = world.node() {
                    node.faults().arm_step(step, times);
                }
            }
            Mishap::Jump(millis) => world.clock.jump_ms(millis),
            Mishap::Outage(millis) => {
                let from = world.payments.provider().now();
                world.payments.provider().add_outage(from, from.plus_ms(millis));
            }
            Mishap::Fence => world.disk.fence(Shard(rng.random_range(0..world.plan.shards))),
            Mishap::SlowDisk(millis) => {
                if let Some(node) = world.node() {
                    node.faults().slow_disk(Duration::from_millis(millis), None);
                }
            }
            Mishap::SlowShard(millis) => {
                if let Some(node) = world.node() {
                    let shard = Shard(rng.random_range(0..world.plan.shards));
                    node.faults().slow_shard(shard, Duration::from_millis(millis));
                }
            }
        }
    }
}

/// Rule W2: an effect that waits is not joined by copies of itself, however long it waits. So no more commands between entities wait than
/// effects are owed; those that are owed and not yet in the journal, and those settled whose copy still waits, are a few for each client.
pub(crate) async fn watch_effects(world: Arc<World>) {
    const FOR_EACH_CLIENT: usize = 4;
    let clients = world.plan.clients + world.plan.shoppers + world.plan.reservers;
    let spare = usize::try_from(clients).expect("a few") * FOR_EACH_CLIENT;
    loop {
        pass(250).await;
        let Some(node) = world.node() else { continue };
        let waiting = node.stats().effects_waiting();
        if waiting > spare {
            let owed = world.judge().owed(node.now());
            if waiting > owed + spare {
                world.broke(&format!("an_effect_has_one_copy: {waiting} wait, {owed} are owed"));
            }
        }
    }
}

async fn panic_an_entity(world: &World, rng: &mut rand_chacha::ChaCha8Rng, times: u32) {
    let known: Vec<EntityId> = world.judge().models().map(|(entity, _)| entity.clone()).collect();
    if known.is_empty() {
        return;
    }
    let entity = known[rng.random_range(0..known.len())].clone();
    if let Some(node) = world.node() {
        node.faults().arm_panic(&entity, times);
        if rng.random_bool(0.5) {
            // It panics when it is next needed.
            return;
        }
        // A node that hangs does not answer; the fault is ordered all the same.
        drop(tokio::time::timeout(Duration::from_millis(50), node.panic_entity(&entity)).await);
    }
}

/// How far ahead of the true time the node's clock ever was in a plan: where it must be left, so that every deadline that was
/// computed under it comes.
pub(crate) fn furthest_ahead_ms(plan: &Plan) -> (i64, i64) {
    let (mut now, mut furthest) = (0_i64, 0_i64);
    for (_, trouble) in &plan.chaos {
        if let Mishap::Jump(millis) = trouble {
            now += millis;
            furthest = furthest.max(now);
        }
    }
    (now, furthest)
}
