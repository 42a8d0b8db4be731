//! A world from its first moment to its last: opened, lived in, healed, brought to rest, and looked over.

use crate::client::{Client, read_of};
use crate::door::Shopper;
use crate::judge::Broken;
use crate::life::{self, End};
use crate::plan::{Mishap, Plan};
use crate::world::{World, pass};
use doorbuster_actors::ask::Answer;
use doorbuster_audit::audit_store;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::principal::Principal;
use doorbuster_payments::Provider;
use doorbuster_storage::memory::Faults;
use doorbuster_storage::{Shard, Store};
use std::sync::Arc;
use std::time::Duration;

/// Virtual time that everything under way may take after its last deadline.
const REST_WITHIN_S: u64 = 60;
/// Virtual time within which commands between entities that still wait at the end must be through.
const THROUGH_WITHIN_MS: u64 = 5_000;
/// The provider's own patience with a shopper, and ours until we ask: the last of these deadlines is no later.
const BANKS_OWN_S: u64 = 15;
/// Panics that may still be ordered for an entity at the end are fewer.
const LAST_LOOKS: u32 = 10;

/// How a world ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// What is broken; `None`: nothing.
    pub(crate) broken: Option<Broken>,
    /// The world as one number.
    pub(crate) hash: String,
    /// What happened in it.
    pub(crate) summary: String,
    /// Line by line, if that was asked for.
    pub(crate) story: String,
    /// How many records became durable.
    pub(crate) records: u64,
}

/// Runs something on a runtime of its own whose time is virtual.
pub(crate) fn in_virtual_time<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(what)
}

/// The world of a seed, from beginning to end.
pub(crate) fn seed(seed: u64, tell: bool) -> Ended {
    in_virtual_time(async {
        let plan = Plan::of(seed);
        let disk = World::disk_of(&plan);
        let world = World::new(plan, disk, tell);
        live(&world).await;
        ended(&world)
    })
}

fn ended(world: &World) -> Ended {
    let broken = world.broken();
    let judge = world.judge();
    Ended { broken, hash: judge.hash(), summary: judge.summary(), story: world.story(), records: judge.records() }
}

pub(crate) async fn live(world: &Arc<World>) {
    world.note(|| format!("{:?}", world.plan));
    let (ends, orders) = tokio::sync::mpsc::unbounded_channel();
    let keeper = tokio::spawn(life::keep(Arc::clone(world), orders));
    Client::new(world, 0).open_shop().await;
    let chaos = tokio::spawn(life::go_wrong(Arc::clone(world), ends.clone()));
    let watch = tokio::spawn(life::watch_effects(Arc::clone(world)));
    let mut clients: Vec<_> =
        (1..=world.plan.clients).map(|number| tokio::spawn(Client::new(world, number).live())).collect();
    // Their numbers, and so their generators, are apart from the others'.
    let reserver = |number| tokio::spawn(Client::new(world, 1_000 + number).live_reserving());
    clients.extend((1..=world.plan.reservers).map(reserver));
    clients.extend((1..=world.plan.shoppers).map(|number| tokio::spawn(Shopper::new(world, number).live())));
    for client in clients {
        if let Err(panic) = client.await {
            world.broke(&format!("a client: {panic}"));
        }
    }
    if let Err(panic) = chaos.await {
        world.broke(&format!("the chaos: {panic}"));
    }
    heal(world, &ends).await;
    come_to_rest(world).await;
    look_over(world).await;
    nothing_waits(world).await;
    watch.abort();
    keeper.abort();
}

/// Rule W2: what was sent between entities is through, or given up.
async fn nothing_waits(world: &World) {
    pass(THROUGH_WITHIN_MS).await;
    let waiting = world.node().map_or(0, |node| node.stats().effects_waiting());
    if waiting > 0 && world.broken().is_none() {
        world.broke(&format!("{waiting} commands between entities wait at the end"));
    }
}

/// Nothing goes wrong any more; what hangs is ended.
async fn heal(world: &Arc<World>, ends: &tokio::sync::mpsc::UnboundedSender<End>) {
    world.note(|| "healed".to_owned());
    world.disk.set_faults(Faults::default());
    let (now, furthest) = life::furthest_ahead_ms(&world.plan);
    world.clock.jump_ms(furthest - now);
    let hangs = world.plan.faults.appends.values().chain(world.plan.faults.checkpoints.values());
    let slow = world.plan.chaos.iter().any(|(_, trouble)| matches!(trouble, Mishap::SlowDisk(_) | Mishap::Fence));
    if slow || hangs.clone().any(|fault| matches!(fault, doorbuster_storage::memory::Fault::Hang)) {
        ends.send(End::Crash).expect("the keeper lives as long as the world");
    }
    if let Some(node) = world.node() {
        node.faults().slow_shard(Shard(0), Duration::ZERO);
    }
    pass(1_000).await;
}

/// Waits until every saga has ended, at most for as long as is promised.
pub(crate) async fn come_to_rest(world: &World) {
    let last = {
        let judge = world.judge();
        judge.last_deadline().max(world.now().plus_s(BANKS_OWN_S))
    };
    let bound = last.plus_s(REST_WITHIN_S);
    loop {
        if world.broken().is_some() {
            return;
        }
        let left = world.judge().under_way();
        if left.is_empty() {
            return;
        }
        if world.now() > bound {
            world.broke(&format!("not at rest: {}", left.join("; ")));
            return;
        }
        retry_what_is_set_aside(world).await;
        pass(1_000).await;
    }
}

async fn retry_what_is_set_aside(world: &World) {
    let Some(node) = world.node() else { return };
    let Ok(aside) = tokio::time::timeout(Duration::from_secs(1), node.quarantined()).await else { return };
    for one in aside {
        world.note(|| format!("operator: retries {}: {}", one.entity, one.reason));
        node.retry(&one.entity).await;
    }
}

/// Reads an entity until it is shown: a panic that is still ordered for it takes the question with it.
async fn last_look(world: &World, entity: &EntityId) -> Result<(), Answer> {
    let mut last = Answer::NotServing;
    for _ in 0..LAST_LOOKS {
        let ask = world.question(entity.clone(), read_of(entity), Principal::Operator, Wait::Decided, 10_000);
        last = world.ask("last look", ask).await;
        if matches!(last, Answer::Accepted(_)) {
            return Ok(());
        }
        retry_what_is_set_aside(world).await;
        pass(1_000).await;
    }
    Err(last)
}

/// The node shows what the journal says, the audit is clean, and the provider's ledger agrees.
pub(crate) async fn look_over(world: &Arc<World>) {
    if world.broken().is_some() {
        return;
    }
    let entities: Vec<EntityId> = world.judge().models().map(|(entity, _)| entity.clone()).collect();
    for entity in entities {
        if matches!(entity, EntityId::Cart(_) | EntityId::Warehouse(_)) {
            continue;
        }
        if let Err(other) = last_look(world, &entity).await {
            world.broke(&format!("{entity} cannot be read at the end: {other:?}"));
        }
    }
    let ended = world.judge().at_the_end();
    world.check(ended);
    let ledger = world.provider.ledger(0, usize::MAX).await.expect("a ledger in memory").lines;
    let store = Store::Memory(world.disk.open());
    match audit_store(&store, Some(&ledger), world.payments.provider().now(), Arc::default()).await {
        Ok(report) if report.clean => {}
        Ok(report) => world.broke(&format!("the audit: {}", report.violations.join("; "))),
        Err(error) => world.broke(&format!("the audit: {error}")),
    }
}
