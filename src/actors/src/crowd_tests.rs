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
