//! Several nodes over one store, in one process: shards are dealt between them, given away and taken, with nothing lost and nothing
//! answered by a former owner.

use super::messages::ask::{Answer, Ask};
use super::messages::remote::{Delivered, OneWay, Remote};
use super::system::{Actors, Handle, Shards};
use super::tests::{World, ask_until, buy, levels, open_shop, place_if_known, read, sku, status};
use doorbuster_clock::SharedClock;
use doorbuster_domain::any::Command;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::inventory;
use doorbuster_domain::order::Status;
use doorbuster_storage::memory::Groups;
use doorbuster_storage::{Shard, Store};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);

/// A network that never fails: it asks every other node until one is the owner.
#[derive(Debug, Clone, Default)]
struct Wire {
    others: Arc<Mutex<Vec<Handle>>>,
}

impl Wire {
    fn others(&self) -> Vec<Handle> {
        self.others.lock().expect("no test panics with it").clone()
    }
}

impl Remote for Wire {
    fn ask(&self, _shard: Shard, ask: Ask) -> BoxFuture<'static, Delivered> {
        let others = self.others();
        async move {
            for other in others {
                if let Delivered::Answered(answer) = other.deliver(ask.clone()).await {
                    return Delivered::Answered(answer);
                }
            }
            Delivered::NotDelivered
        }
        .boxed()
    }

    /// To the node that has the shard, as the gateway sends it; that node says what became of it.
    fn send(&self, shard: Shard, message: OneWay) -> Result<(), OneWay> {
        match self.others().iter().find(|other| other.owned().contains_key(&shard)) {
            Some(owner) => owner.receive(message),
            None => return Err(message),
        }
        Ok(())
    }

    fn losses(&self) -> u64 {
        0
    }
}

/// Nodes without shards, connected to each other.
async fn cluster<const NODES: usize>(world: &World) -> [Actors; NODES] {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let clock: SharedClock = world.clock.clone();
        let (store, provider) = (Store::Memory(world.disk.open()), world.calls());
        let node = Actors::start(store, provider, clock, world.settings, Arc::default(), Shards::Assigned).await;
        nodes.push(node.expect("it starts"));
    }
    let handles: Vec<Handle> = nodes.iter().map(Actors::handle).collect();
    for (own, handle) in handles.iter().enumerate() {
        let wire = Wire::default();
        let others = handles.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, handle)| handle.clone());
        wire.others.lock().expect("no other thread has it").extend(others);
        handle.connect(Arc::new(wire));
    }
    nodes.try_into().expect("as many as were asked for")
}

async fn acquire(node: &Handle, shards: &[u16], name: &str) {
    for shard in shards {
        node.acquire(Shard(*shard), name).await.expect("no other node claims it");
    }
}

async fn assert_lawful(node: &Handle) {
    let report = doorbuster_audit::audit_store(node.store(), None, node.now(), Arc::default()).await.expect("it reads");
    assert_eq!(report.violations, Vec::<String>::new());
}

fn sku_shard(node: &Handle) -> Shard {
    node.shard_of(&EntityId::Inventory(sku()))
}

#[tokio::test(start_paused = true)]
async fn any_node_answers_for_shards_of_any_other() {
    let world = World::new(Groups::PerShard);
    let [a, b] = cluster(&world).await;
    let (one, two) = (a.handle(), b.handle());
    acquire(&one, &[0], "a.1").await;
    acquire(&two, &[1, 2], "b.1").await;
    open_shop(&one, 10).await;
    for (number, node) in [&one, &two, &one, &two, &one, &two].into_iter().enumerate() {
        let (id, bought) = buy(node, &format!("order {number}"), Some("tok_ok"), Wait::Settled).await;
        assert_eq!(status(&bought), Status::Confirmed);
        for asked in [&one, &two] {
            assert!(matches!(read(asked, id).await, Answer::Accepted(read) if status(&read) == Status::Confirmed));
        }
    }
    let (_, again) = buy(&two, "order 0", Some("tok_ok"), Wait::Settled).await;
    assert!(again.repeated, "the same key is the same order on every node");
    let level = levels(&two).await;
    assert_eq!((level.on_hand, level.reserved, level.sold), (4, 0, 6));
    assert_lawful(&one).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_an_owner_and_is_refused_as_undecided_when_none_comes() {
    let world = World::new(Groups::PerShard);
    let [a, b] = cluster(&world).await;
    let (one, two) = (a.handle(), b.handle());
    acquire(&one, &[0, 1, 2], "a.1").await;
    open_shop(&one, 1).await;
    let home = sku_shard(&one);
    assert!(one.release(home, BOUND).await);
    let asking = tokio::spawn({
        let two = two.clone();
        async move { levels(&two).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    two.acquire(home, "b.1").await.expect("it is free");
    assert_eq!(asking.await.expect("it is answered").on_hand, 1);
    assert!(two.release(home, BOUND).await);
    let read = Command::Inventory(inventory::Command::Read);
    let answer = ask_until(&two, EntityId::Inventory(sku()), read, Wait::Decided).await;
    assert!(matches!(answer, Answer::Busy { .. }), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn shards_change_owners_in_the_middle_of_a_sale_and_no_shopper_notices() {
    let world = World::new(Groups::PerShard);
    let [a, b] = cluster(&world).await;
    let (one, two) = (a.handle(), b.handle());
    acquire(&one, &[0, 1, 2], "a.1").await;
    open_shop(&one, 40).await;
    let mut buyers = tokio::task::JoinSet::new();
    for number in 0..60 {
        let node = if number % 2 == 0 { one.clone() } else { two.clone() };
        buyers.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 5)).await;
            status(&buy(&node, &format!("order {number}"), Some("tok_ok"), Wait::Settled).await.1)
        });
    }
    for (from, to, name) in [(&one, &two, "b.1"), (&two, &one, "a.1"), (&one, &two, "b.1")] {
        for shard in [0, 1, 2].map(Shard) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(from.release(shard, BOUND).await, "it was drained within the bound");
            to.acquire(shard, name).await.expect("it is free");
        }
    }
    let mut confirmed = 0;
    while let Some(status) = buyers.join_next().await {
        match status.expect("every buyer is answered") {
            Status::Confirmed => confirmed += 1,
            Status::SoldOut => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(confirmed, 40);
    assert_lawful(&two).await;
    assert!(one.owned().is_empty());
    assert_eq!(two.owned().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_in_a_shard_that_is_released_is_answered_by_its_next_owner() {
    let world = World::new(Groups::PerShard);
    let [a, b] = cluster(&world).await;
    let (one, two) = (a.handle(), b.handle());
    acquire(&one, &[0, 1, 2], "a.1").await;
    open_shop(&one, 1).await;
    one.faults().arm_step("authorize", u32::MAX);
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { buy(&one, "mine", Some("tok_ok"), Wait::Settled).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished(), "its payment hangs");
    for shard in [0, 1, 2].map(Shard) {
        assert!(one.release(shard, BOUND).await, "it does not wait for the payment");
        two.acquire(shard, "b.1").await.expect("it is free");
    }
    let (_, bought) = waiting.await.expect("it is answered");
    assert_eq!(status(&bought), Status::Confirmed);
    assert_lawful(&two).await;
}

/// Rules O4 and E5: the old owner still has everything in memory, and must not answer from it.
#[tokio::test(start_paused = true)]
async fn a_stopped_owner_that_wakes_up_answers_nothing_from_memory() {
    let world = World::new(Groups::PerShard);
    let [a, b] = cluster(&world).await;
    let (old, new) = (a.handle(), b.handle());
    let mut losses = a.losses().expect("given out once");
    acquire(&old, &[0, 1, 2], "a.1").await;
    open_shop(&old, 1).await;
    acquire(&new, &[0, 1, 2], "b.1").await;
    let (_, bought) = buy(&new, "the last one", Some("tok_ok"), Wait::Settled).await;
    assert_eq!(status(&bought), Status::Confirmed);
    // A read, a refusal without the journal, a new order: each would be answered from a state that is no longer so.
    let stale_read = Command::Inventory(inventory::Command::Read);
    let answer = ask_until(&old, EntityId::Inventory(sku()), stale_read, Wait::Decided).await;
    assert!(matches!(answer, Answer::Unknown), "{answer:?}");
    let lost = losses.recv().await.expect("the loss is reported");
    assert!(lost.fenced, "{lost:?}");
    assert_eq!(lost.shard, sku_shard(&old));
    // From now on it asks the new owner.
    assert_eq!(levels(&old).await.on_hand, 0);
    assert!(old.failure().is_none(), "one lost shard does not end the node");
    assert_lawful(&new).await;
}

/// Rule R5 meets O4: sold out without the journal is an answer without an append too.
#[tokio::test(start_paused = true)]
async fn a_stopped_owner_rejects_no_order_as_absent() {
    let world = World::new(Groups::PerShard);
    let [a, b] = cluster(&world).await;
    let (old, new) = (a.handle(), b.handle());
    acquire(&old, &[0, 1, 2], "a.1").await;
    open_shop(&old, 1).await;
    acquire(&new, &[0, 1, 2], "b.1").await;
    let (_, bought) = buy(&new, "mine", Some("tok_ok"), Wait::Settled).await;
    assert_eq!(status(&bought), Status::Confirmed);
    let answer = old.ask(place_if_known(&old, "mine", Some("tok_ok"), Wait::Settled)).await;
    assert!(matches!(answer, Answer::Unknown), "the order exists, whatever this node remembers: {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_acquires_again_what_it_released() {
    let world = World::new(Groups::PerShard);
    let [a] = cluster(&world).await;
    let node = a.handle();
    acquire(&node, &[0, 1, 2], "a.1").await;
    open_shop(&node, 5).await;
    for round in 0..5 {
        let (_, bought) = buy(&node, &format!("round {round}"), Some("tok_ok"), Wait::Settled).await;
        assert_eq!(status(&bought), Status::Confirmed);
        let home = sku_shard(&node);
        let before = node.owned().get(&home).copied();
        assert!(node.release(home, BOUND).await);
        let acquired = node.acquire(home, "a.1").await.expect("it is free");
        assert!(Some(acquired.epoch) > before, "epochs never fall");
        assert_eq!(acquired.tail_events, 0, "what was given away was stored");
    }
    assert_eq!(levels(&node).await.sold, 5);
    assert!(!node.release(Shard(99), BOUND).await, "no node owns what is not there");
    assert!(node.acquire(Shard(99), "a.1").await.is_err());
}
