//! A node whose shards are divided among cores: what crosses from one to another is neither lost nor overtaken.

use super::cores::Cores;
use super::messages::ask::Answer;
use super::messages::caller::{Answers, Caller};
use super::system::{Actors, Handle, Shards};
use super::tests::{World, buy, levels, open_shop, status};
use doorbuster_clock::SharedClock;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::order::Status;
use doorbuster_storage::Store;
use doorbuster_storage::memory::Groups;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

async fn start_on(world: &World, cores: &Cores) -> Actors {
    let (store, clock): (_, SharedClock) = (Store::Memory(world.disk.open()), world.clock.clone());
    Actors::start_on(cores.all(), store, world.calls(), clock, world.settings, Arc::default(), Shards::All("test"))
        .await
        .expect("it starts")
}

/// Buyers who come at once, on the core of the caller.
async fn crowd(node: Handle, from: usize, buyers: usize, token: Option<&'static str>, wait: Wait) -> Vec<Status> {
    let buying = (from..from + buyers).map(|number| {
        let node = node.clone();
        async move { status(&buy(&node, &format!("order-{number}"), token, wait).await.1) }
    });
    join_all(buying).await
}

async fn sale(groups: Groups, own_thread: bool) {
    const UNITS: u32 = 150;
    const EACH: usize = 80;
    let cores = Cores::start(2).expect("room for threads");
    let mut world = World::new(groups);
    world.settings.writer_thread = own_thread;
    let actors = start_on(&world, &cores).await;
    let node = actors.handle();
    open_shop(&node, UNITS).await;
    // From both cores, and from a thread that is none: the last pays, which passes the provider.
    let [one, two] = cores.all() else { panic!("two were wanted") };
    let (one, two, outside) = tokio::join!(
        one.carry_out(crowd(node.clone(), 0, EACH, None, Wait::Held)),
        two.carry_out(crowd(node.clone(), EACH, EACH, None, Wait::Held)),
        crowd(node.clone(), 2 * EACH, EACH, Some("tok_ok"), Wait::Settled)
    );
    let ends = [one.expect("no panic"), two.expect("no panic"), outside].concat();
    let count = |wanted| u32::try_from(ends.iter().filter(|end| **end == wanted).count()).expect("few");
    let (held, confirmed, sold_out) =
        (count(Status::AwaitingPayment), count(Status::Confirmed), count(Status::SoldOut));
    assert_eq!((held + confirmed, sold_out), (UNITS, 3 * 80 - UNITS));
    let level = levels(&node).await;
    assert_eq!((u64::from(held), u64::from(confirmed)), (level.reserved, level.sold));
    let report = doorbuster_audit::audit_store(node.store(), None, node.now(), Arc::default()).await.expect("it reads");
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(actors.stop(Duration::from_secs(10)).await, "nothing is left under way");
    cores.end().await;
    // The number of cores may change from start to start.
    let cores = Cores::start(3).expect("room for threads");
    let actors = start_on(&world, &cores).await;
    let level = levels(&actors.handle()).await;
    assert_eq!((u64::from(held), u64::from(confirmed)), (level.reserved, level.sold));
    actors.end().await;
    cores.end().await;
}

#[tokio::test]
async fn a_sale_over_two_cores_sells_each_unit_once() {
    sale(Groups::One, false).await;
}

#[tokio::test]
async fn the_same_with_the_log_on_a_thread_of_its_own() {
    sale(Groups::One, true).await;
}

#[tokio::test]
async fn the_same_with_a_commit_group_for_each_shard() {
    sale(Groups::PerShard, false).await;
}

#[tokio::test]
async fn the_shards_are_divided_among_the_cores() {
    let cores = Cores::start(2).expect("room for threads");
    let world = World::new(Groups::One);
    let actors = start_on(&world, &cores).await;
    let node = actors.handle();
    let mut of_core = [0, 0];
    for (shard, actor) in node.router.routes.owned() {
        let index = cores.all().iter().position(|core| actor.core().is_same(core)).expect("on one of them");
        assert_eq!(index, usize::from(shard.0) % 2);
        of_core[index] += 1;
    }
    assert_eq!(of_core, [2, 1]);
    actors.end().await;
    cores.end().await;
}

#[tokio::test]
async fn the_answers_of_a_batch_are_one_piece_of_work_for_each_core() {
    let cores = Cores::start(2).expect("room for threads");
    let mut answers = Answers::default();
    let mut waiting = Vec::new();
    for core in cores.all().iter().cycle().take(20) {
        let (caller, answer) = core.carry_out(async { Caller::new() }).await.expect("it runs");
        answers.push(caller, Answer::Late);
        waiting.push(answer);
    }
    assert_eq!(answers.pieces(), 2);
    answers.send();
    for answer in waiting {
        assert!(matches!(answer.await, Ok(Answer::Late)));
    }
    cores.end().await;
}
