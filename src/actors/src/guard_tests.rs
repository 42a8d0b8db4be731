//! Guards of the actors that a whole sale would not miss at once: what a refusal waits for, what is too late, which order is known.

use super::messages::ask::{Answer, Ask};
use super::recovery::Loaded;
use super::shard::in_words;
use super::system::Handle;
use super::tests::{
    World, ask_until, buy, figure, levels, open_shop, place_if_known, read, request, sku, status, warehouse,
};
use doorbuster_domain::any::{Command, Event};
use doorbuster_domain::entity::{By, Wait};
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::inventory;
use doorbuster_domain::money::Currency;
use doorbuster_domain::order::Status;
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::memory::{Fault, Faults, Groups};
use doorbuster_storage::wire::Decided;
use std::time::Duration;

fn reserve(order: u128, until: Timestamp) -> Command {
    Command::Inventory(inventory::Command::Reserve {
        order: OrderId(order << 16),
        units: 1,
        currency: Currency::GBP,
        expected_unit_price: None,
        ranking: Vec::new(),
        expires_at: until,
        instead_of: None,
    })
}

async fn reserve_for(node: &Handle, order: u128) -> Answer {
    let command = reserve(order, node.now().plus_s(600));
    ask_until(node, EntityId::Inventory(sku()), command, Wait::Decided).await
}

/// Rule L2. The second buyer is refused because of the first, whom the log then loses: had the refusal left at once, it would have spoken of
/// a sale that never was.
#[tokio::test(start_paused = true)]
async fn a_refusal_waits_for_what_it_saw_to_be_durable() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let appends = [(world.disk.appends() + 1, Fault::Fail { written: false })].into();
    let second = Duration::from_secs(1);
    world.disk.set_faults(Faults { appends, append_takes: (second, second), ..Faults::default() });
    let (first, refused) = tokio::join!(reserve_for(&node, 1), reserve_for(&node, 2));
    assert!(matches!(first, Answer::Unknown), "{first:?}");
    assert!(matches!(refused, Answer::Unknown), "{refused:?}");
}

/// Rule E4: no caller waits any more, so nothing is decided.
#[tokio::test(start_paused = true)]
async fn a_request_past_its_deadline_is_not_decided() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let now = node.now();
    let ask = Ask {
        entity: EntityId::Inventory(sku()),
        command: reserve(1, now.plus_s(600)),
        by: Principal::System,
        wait: Wait::Decided,
        deadline: Timestamp(now.0 - 1),
        if_version: None,
        reject_if_absent: None,
    };
    let answer = node.ask(ask).await;
    assert!(matches!(answer, Answer::Late), "{answer:?}");
    assert_eq!(levels(&node).await.reserved, 0, "it was dropped at dequeue");
}

/// Rule R5: an order that has left memory, and the log too, is known to the store.
#[tokio::test(start_paused = true)]
async fn sold_out_is_not_said_of_an_order_that_is_only_stored() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    buy(&node, "a", None, Wait::Held).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let answer = node.ask(place_if_known(&node, "a", None, Wait::Held)).await;
    assert!(matches!(&answer, Answer::Accepted(accepted) if accepted.repeated), "{answer:?}");
}

/// Rule S5: it is on no stored agenda, only in the log's tail.
#[tokio::test(start_paused = true)]
async fn an_order_that_was_placed_after_the_last_checkpoint_expires_after_a_crash() {
    let mut world = World::new(Groups::One);
    world.settings.checkpoint_interval_ms = 3_600_000;
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let (id, _) = buy(&node, "a", None, Wait::Held).await;
    actors.end().await;
    world.disk.crash();
    let actors = world.start().await;
    let node = actors.handle();
    tokio::time::sleep(Duration::from_secs(610)).await;
    match read(&node, id).await {
        Answer::Accepted(accepted) => assert_eq!(status(&accepted), Status::Expired),
        other => panic!("{other:?}"),
    }
    assert_eq!(levels(&node).await.available(), 1, "the unit is free again");
}

/// All at once they would take the cores and the disk from the orders in one moment.
#[tokio::test(start_paused = true)]
async fn shards_take_turns_with_their_checkpoints() {
    let mut world = World::new(Groups::One);
    world.settings.checkpoint_interval_ms = 100_000;
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1_000).await;
    let stored = || figure(&node, "checkpoints");
    let (mut times, mut before) = (Vec::new(), 0);
    for time in (5..=220).step_by(5) {
        for number in 0..6 {
            buy(&node, &format!("{time} {number}"), None, Wait::Held).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let new = stored() - std::mem::replace(&mut before, stored());
        if new > 0 {
            times.push((time, new));
        }
    }
    assert_eq!(times, [(40, 1), (80, 1), (105, 1), (140, 1), (180, 1), (205, 1)], "three shards, twice each");
}

/// Rule S1: a checkpoint may store a state that is newer than the mark up to which the log may go, so its events come again.
#[test]
fn a_receipt_that_the_stored_state_covers_is_not_counted_again() {
    let entity = EntityId::Inventory(sku());
    let (at, until) = (Timestamp(1), Timestamp(2));
    let asked = inventory::SellerRequest { request: request("receipt"), at, until };
    let event = inventory::Event::Received { asked, warehouse: warehouse(), units: 5, reference: None };
    let events = vec![Event::Inventory(event)];
    let received = Decided { entity: entity.clone(), number: 1, at, by: By::System, events };
    let mut loaded = Loaded::empty(&entity);
    loaded.apply(&received).expect("it is the first");
    let once = loaded.state.clone();
    loaded.apply(&received).expect("it is known");
    assert_eq!(loaded.state, once);
}

#[test]
fn an_actor_that_a_stopping_shard_did_not_start_is_not_said_to_have_panicked() {
    let refused = ractor::SpawnErr::StartupFailed("Supervisor is shutting down".into());
    assert!(refused.to_string().contains("panicked"), "the library's own words");
    assert_eq!(in_words(&refused), "Supervisor is shutting down");
}
