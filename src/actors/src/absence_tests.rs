//! Rule R5 while the store takes its time: an order that comes to be known meanwhile answers for itself.

use super::messages::ask::{Answer, Ask};
use super::system::Handle;
use super::tests::{World, ask_until, buy, figure, levels, open_shop, place, place_if_known, sku, status};
use doorbuster_domain::any::{Command, Refusal};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_domain::inventory;
use doorbuster_domain::order::{self, Source, Status, Wanted};
use doorbuster_storage::memory::{Faults, Groups};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The next `count` loads take `pause`.
fn stall_loads(world: &World, count: u64, pause: Duration) {
    let next = world.disk.loads() + 1;
    let load_stalls = (next..next + count).map(|load| (load, pause)).collect();
    world.disk.set_faults(Faults { load_stalls, ..Faults::default() });
}

/// Asks in a task of its own, and waits until the read of the store is under way.
async fn ask_in_background(node: &Handle, ask: Ask) -> JoinHandle<Answer> {
    let node = node.clone();
    let asked = tokio::spawn(async move { node.ask(ask).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!asked.is_finished(), "it waits for the store");
    asked
}

/// Orders whose shard is that of the SKU.
fn keys_of_the_skus_shard(node: &Handle) -> impl Iterator<Item = String> {
    let home = node.shard_of(&EntityId::Inventory(sku()));
    let is_home = move |key: &String| node.shard_of(&EntityId::Order(place(key, None).0)) == home;
    (0..).map(|number| format!("key {number}")).filter(is_home)
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(Refusal::Order(order::Refusal::Unknown)))
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_arrives_while_the_store_is_read_ends_the_wait() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    stall_loads(&world, 1, Duration::from_secs(15));
    let begun = node.now();
    let first = ask_in_background(&node, place_if_known(&node, "a", None, Wait::Held)).await;
    let (_, bought) = buy(&node, "a", None, Wait::Held).await;
    assert_eq!((status(&bought), bought.repeated), (Status::AwaitingPayment, false));
    let answer = first.await.expect("it is answered");
    assert!(matches!(&answer, Answer::Accepted(accepted) if accepted.repeated), "{answer:?}");
    assert!(node.now().since_ms(begun) < 1_000, "it did not wait for the store");
}

/// The store read before the order was placed, and says so long after the order has left memory again.
#[tokio::test(start_paused = true)]
async fn a_read_that_is_older_than_the_order_refuses_no_later_copy_of_it() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    stall_loads(&world, 1, Duration::from_secs(15));
    let first = ask_in_background(&node, place_if_known(&node, "a", None, Wait::Held)).await;
    buy(&node, "a", None, Wait::Held).await;
    first.await.expect("it is answered");
    // The order is stored and leaves memory; then a later copy reads the store, while the first read is still under way.
    tokio::time::sleep(Duration::from_secs(10)).await;
    stall_loads(&world, 1, Duration::from_secs(10));
    let last = ask_in_background(&node, place_if_known(&node, "a", None, Wait::Held)).await;
    let answer = last.await.expect("it is answered");
    assert!(matches!(&answer, Answer::Accepted(accepted) if accepted.repeated), "{answer:?}");
}

/// The second look: when the read is back, memory knows the order, though no copy has reached it.
#[tokio::test(start_paused = true)]
async fn an_order_that_memory_knows_when_the_read_is_back_answers_for_itself() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    stall_loads(&world, 1, Duration::from_millis(50));
    let asked = ask_in_background(&node, place_if_known(&node, "a", None, Wait::Held)).await;
    let order = EntityId::Order(place("a", None).0);
    node.faults().arm_panic(&order, 1);
    assert!(node.panic_entity(&order).await, "it is started, fails, and will start again");
    let answer = asked.await.expect("it is answered");
    match answer {
        Answer::Accepted(accepted) => assert_eq!(status(&accepted), Status::AwaitingPayment),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_holds_up_no_other_command_of_the_shard() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let key = keys_of_the_skus_shard(&node).next().expect("there are many");
    stall_loads(&world, 1, Duration::from_secs(15));
    let begun = node.now();
    let asked = ask_in_background(&node, place_if_known(&node, &key, None, Wait::Held)).await;
    assert_eq!(levels(&node).await.on_hand, 1);
    assert!(node.now().since_ms(begun) < 1_000, "it did not wait for the store");
    let answer = asked.await.expect("it is answered");
    assert!(is_refused(&answer), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_commands_wait_for_the_store_than_the_bound_allows() {
    let mut world = World::new(Groups::One);
    world.settings.absence_reads_max = 2;
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let keys: Vec<String> = keys_of_the_skus_shard(&node).take(3).collect();
    stall_loads(&world, 2, Duration::from_secs(5));
    let before = world.disk.loads();
    let mut waiting = Vec::new();
    for key in &keys[..2] {
        waiting.push(ask_in_background(&node, place_if_known(&node, key, None, Wait::Held)).await);
    }
    let answer = node.ask(place_if_known(&node, &keys[2], None, Wait::Held)).await;
    assert!(matches!(answer, Answer::Busy { .. }), "{answer:?}");
    assert_eq!(world.disk.loads(), before + 2, "the store was not asked for the third");
    for asked in waiting {
        let answer = asked.await.expect("it is answered");
        assert!(is_refused(&answer), "{answer:?}");
    }
    let answer = node.ask(place_if_known(&node, &keys[2], None, Wait::Held)).await;
    assert!(is_refused(&answer), "there is room again: {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn copies_share_one_read_and_count_towards_the_bound() {
    let mut world = World::new(Groups::One);
    world.settings.absence_reads_max = 2;
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    stall_loads(&world, 1, Duration::from_secs(5));
    let before = world.disk.loads();
    let first = ask_in_background(&node, place_if_known(&node, "a", None, Wait::Held)).await;
    let second = ask_in_background(&node, place_if_known(&node, "a", None, Wait::Held)).await;
    let third = node.ask(place_if_known(&node, "a", None, Wait::Held)).await;
    assert!(matches!(third, Answer::Busy { .. }), "{third:?}");
    for asked in [first, second] {
        let answer = asked.await.expect("it is answered");
        assert!(is_refused(&answer), "{answer:?}");
    }
    assert_eq!(world.disk.loads(), before + 1);
    assert_eq!(figure(&node, "refused_at_the_door"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_released_does_not_wait_for_a_slow_read() {
    let world = World::new(Groups::PerShard);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    stall_loads(&world, 1, Duration::from_secs(15));
    let asked = ask_in_background(&node, place_if_known(&node, "a", None, Wait::Held)).await;
    let shard = node.shard_of(&EntityId::Order(place("a", None).0));
    assert!(node.release(shard, Duration::from_secs(1)).await, "it was drained within the bound");
    let answer = asked.await.expect("it is answered");
    assert!(matches!(answer, Answer::NotServing), "its next owner answers: {answer:?}");
}

/// Rule W1: neither a shopper who asks nor an order that wants to reserve starts an actor for a name that does not exist.
#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_exist_starts_no_actor() {
    for groups in [Groups::One, Groups::PerShard] {
        let world = World::new(groups);
        let actors = world.start().await;
        let node = actors.handle();
        open_shop(&node, 1).await;
        let ghost = |number: usize| Sku::parse(&format!("GHOST-{number}")).expect("lawful");
        for number in 0..20 {
            let read = Command::Inventory(inventory::Command::Read);
            let answer = ask_until(&node, EntityId::Inventory(ghost(number)), read, Wait::Decided).await;
            assert!(matches!(answer, Answer::Refused(Refusal::Inventory(inventory::Refusal::Unknown))), "{answer:?}");
        }
        let (id, command) = place("ghosts", None);
        let Command::Order(order::Command::Place(mut place)) = command else { panic!("it places") };
        let wanted = |number| Wanted { sku: ghost(number), units: 1, expected_unit_price: None };
        place.source = Source::Lines((0..200).map(wanted).collect());
        let command = Command::Order(order::Command::Place(place));
        let answer = ask_until(&node, EntityId::Order(id), command, Wait::Held).await;
        match answer {
            Answer::Accepted(accepted) => assert!(matches!(status(&accepted), Status::Rejected), "{accepted:?}"),
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(figure(&node, "entities_resident"), 1, "{groups:?}: only the SKU that there is has an actor");
        assert_eq!(figure(&node, "effects_waiting"), 0);
        // What is made later is there.
        let buy = buy(&node, "real", None, Wait::Held).await;
        assert_eq!(status(&buy.1), Status::AwaitingPayment);
        actors.stop(Duration::from_secs(10)).await;
    }
}
