//! An entity under load: requests whose callers no longer wait (rule E4), and bounds on how many may wait.

use super::messages::ask::Answer;
use super::tests::{World, ask_until, buy, figure, levels, open_shop, place, read, sku, stock};
use doorbuster_domain::any::{Command, Refusal};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::inventory;
use doorbuster_domain::order;
use doorbuster_storage::memory::Groups;
use futures_util::future::join_all;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_request_whose_caller_has_gone_is_not_decided() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 5).await;
    let (id, command) = place("gone", None);
    {
        // Asked, and dropped before any actor had its turn: the runtime has one thread.
        let mut asked = pin!(ask_until(&node, EntityId::Order(id), command, Wait::Held));
        let once = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await;
        assert!(once);
    }
    assert!(matches!(read(&node, id).await, Answer::Refused(Refusal::Order(order::Refusal::Unknown))));
    assert_eq!(figure(&node, "dropped_gone"), 1);
    assert_eq!(levels(&node).await.reserved, 0);
    // The same request, waited for, is decided as if it came for the first time.
    let (_, placed) = buy(&node, "gone", None, Wait::Held).await;
    assert!(!placed.repeated);
}

#[tokio::test(start_paused = true)]
async fn a_request_past_its_deadline_is_not_decided_and_starts_no_actor() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 5).await;
    let (id, command) = place("late", None);
    let residents = figure(&node, "entities_resident");
    let mut asked = pin!(ask_until(&node, EntityId::Order(id), command, Wait::Held));
    assert!(poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await);
    world.clock.jump_ms(60_000);
    assert!(matches!(asked.await, Answer::Late));
    assert_eq!((figure(&node, "dropped_late"), figure(&node, "entities_resident")), (1, residents));
    world.clock.jump_ms(-60_000);
    assert!(matches!(read(&node, id).await, Answer::Refused(Refusal::Order(order::Refusal::Unknown))));
}

#[tokio::test(start_paused = true)]
async fn requests_that_find_no_room_are_refused_at_once_and_effects_still_come_through() {
    let mut world = World::new(Groups::One);
    world.settings.mailbox_max = 8;
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 100).await;
    // Twelve orders at once: each asks the SKU, more than callers might.
    let orders = join_all((0..12).map(|number| {
        let node = &node;
        async move { buy(node, &format!("k{number}"), None, Wait::Held).await }
    }));
    let read_stock = || {
        let command = Command::Inventory(inventory::Command::Read);
        ask_until(&node, EntityId::Inventory(sku()), command, Wait::Decided)
    };
    let reads = join_all((0..40).map(|_| read_stock()));
    let (orders, reads) = tokio::join!(orders, reads);
    assert_eq!(orders.len(), 12);
    let busy = reads.iter().filter(|answer| matches!(answer, Answer::Busy { .. })).count();
    assert!(busy > 0 && busy < 40, "{busy} of 40 were refused");
    assert!(matches!(stock(&node, inventory::Command::Read).await, inventory::Reply::Levels(_)));
    assert_eq!(levels(&node).await.reserved, 12);
}

/// Rule W2: what waits at a slow entity is not joined by copies of itself, and all of it is through soon after.
#[tokio::test(start_paused = true)]
async fn a_slow_shard_is_sent_nothing_twice_and_is_as_before_when_it_is_fast_again() {
    for groups in [Groups::One, Groups::PerShard] {
        let world = World::new(groups);
        let actors = world.start().await;
        let node = actors.handle();
        open_shop(&node, 100).await;
        let shard = node.shard_of(&EntityId::Inventory(sku()));
        node.faults().slow_shard(shard, Duration::from_secs(5));
        let buying = async {
            let buys = (0..12_i64).map(|number| {
                let (id, command) = place(&format!("slow{number}"), None);
                let node = &node;
                async move { ask_until(node, EntityId::Order(id), command, Wait::Decided).await }
            });
            join_all(buys).await
        };
        let watching = async {
            let mut most = 0;
            for _ in 0..300 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                most = most.max(figure(&node, "effects_waiting"));
            }
            most
        };
        let (_, most) = tokio::join!(buying, watching);
        assert!((1..=12).contains(&most), "{groups:?}: {most} copies of 12 effects waited");
        node.faults().slow_shard(shard, Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(figure(&node, "effects_waiting"), 0, "{groups:?}");
        let levels = levels(&node).await;
        assert_eq!(levels.reserved + levels.available(), 100);
        assert!(levels.reserved > 0, "{groups:?}: orders that wait were served");
        actors.stop(Duration::from_secs(10)).await;
    }
}

/// Rule W2: with more commands between entities under way than there is room for, requests are refused, and what was let in goes on.
#[tokio::test(start_paused = true)]
async fn requests_are_refused_while_too_many_effects_wait_and_taken_again_after_them() {
    let mut world = World::new(Groups::One);
    world.settings.effects_max = 4;
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 100).await;
    let shard = node.shard_of(&EntityId::Inventory(sku()));
    node.faults().slow_shard(shard, Duration::from_secs(1));
    let mut busy = 0;
    for number in 0..12 {
        let (id, command) = place(&format!("full{number}"), None);
        let asked = ask_until(&node, EntityId::Order(id), command, Wait::Decided);
        match tokio::time::timeout(Duration::from_millis(10), asked).await {
            Ok(Answer::Busy { .. }) => busy += 1,
            Ok(Answer::Accepted(_)) | Err(_) => {}
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert!(busy > 0, "none was refused");
    assert!(figure(&node, "effects_waiting") <= 8, "{}", figure(&node, "effects_waiting"));
    node.faults().slow_shard(shard, Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, placed) = buy(&node, "after", None, Wait::Held).await;
    assert!(!placed.repeated);
}

/// Rule W2: whatever drops a copy says so, and the effect is sent again after its pause, not after twice its life.
#[tokio::test(start_paused = true)]
async fn an_effect_that_found_no_room_is_sent_again_after_its_pause() {
    for groups in [Groups::One, Groups::PerShard] {
        let mut world = World::new(groups);
        world.settings.mailbox_max = 1;
        let actors = world.start().await;
        let node = actors.handle();
        open_shop(&node, 100).await;
        let orders = join_all((0..12).map(|number| {
            let node = &node;
            async move { buy(node, &format!("room{number}"), None, Wait::Held).await }
        }));
        let orders = tokio::time::timeout(Duration::from_secs(15), orders).await.expect("each order is held in time");
        assert_eq!((orders.len(), levels(&node).await.reserved), (12, 12), "{groups:?}");
        assert!(figure(&node, "refused_busy") > 0, "{groups:?}: some found no room");
        actors.stop(Duration::from_secs(10)).await;
    }
}
