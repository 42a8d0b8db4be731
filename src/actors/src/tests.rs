//! The actors as a whole, on the memory store: a sale, a crash, a panic, an entity that leaves memory and comes back.

use super::messages::ask::{Accepted, Answer, Ask};
use super::provider::ProviderCalls;
use super::settings::Settings;
use super::system::{Actors, Handle, Shards};
use doorbuster_clock::{SharedClock, TestClock};
use doorbuster_domain::any::{Command, Refusal, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId, ProductId, Request, RequestFingerprint, RequestId, Sku, WarehouseId};
use doorbuster_domain::inventory::{self, Offer, Price};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{
    self, CapturePolicy, Destination, Instruction, PaymentPolicy, Personal, PlaceOrder, ReturnPolicy,
};
use doorbuster_domain::order::{OrderTerms, Source, Status, TaxTable, Wanted};
use doorbuster_domain::payment::{ProviderCall, ProviderReport};
use doorbuster_domain::principal::{Account, Principal, Scopes};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::{Provider, WebhookSecret};
use doorbuster_simulator::{Behaviour, InProcess, Profile, SimulatorOptions};
use doorbuster_storage::memory::{Fault, Faults, Groups, MemoryStore};
use doorbuster_storage::{Layout, Store};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

const START: Timestamp = Timestamp(1_750_000_000_000);

pub(super) struct World {
    pub(super) disk: MemoryStore,
    pub(super) clock: Arc<TestClock>,
    pub(super) provider: Arc<InProcess>,
    pub(super) settings: Settings,
}

impl World {
    pub(super) fn new(groups: Groups) -> Self {
        let disk = MemoryStore::new(Layout { shards: 3, hash_version: 1 }, groups, 7);
        let clock = TestClock::starting_at(START);
        let shared: SharedClock = clock.clone();
        let options = SimulatorOptions {
            behaviour: Behaviour::of(Profile::Instant),
            seed: 1,
            action_url: "",
            secret: WebhookSecret::of(&[7; 32]).expect("long enough"),
            timeout_ms: 10_000,
            ledger: None,
        };
        let provider = InProcess::open(&options, shared, None).expect("a provider without a ledger file opens");
        let settings = Settings { writer_thread: false, checkpoint_interval_ms: 1_000, ..Settings::default() };
        Self { disk, clock, provider: Arc::new(provider), settings }
    }

    /// The provider as the actors are given it.
    pub(super) fn calls(&self) -> Arc<dyn ProviderCalls> {
        Arc::clone(&self.provider) as Arc<dyn ProviderCalls>
    }

    pub(super) async fn start(&self) -> Actors {
        let clock: SharedClock = self.clock.clone();
        let store = Store::Memory(self.disk.open());
        Actors::start(store, self.calls(), clock, self.settings, Arc::default(), Shards::All("test"))
            .await
            .expect("it starts")
    }
}

pub(super) fn figure(node: &Handle, name: &str) -> i64 {
    node.stats().figures().into_iter().find(|(found, ..)| *found == name).map_or(-1, |(.., value)| value)
}

pub(super) fn sku() -> Sku {
    Sku::parse("NOVA-42").expect("lawful")
}

pub(super) fn warehouse() -> WarehouseId {
    WarehouseId::parse("lon1").expect("lawful")
}

pub(super) fn gbp(amount: i64) -> Money {
    Money { amount, currency: Currency::GBP }
}

pub(super) fn request(key: &str) -> Request {
    Request { id: RequestId::new("sel_main", "/test", key), terms: RequestFingerprint(1) }
}

/// The account that runs the shop.
pub(super) fn platform() -> Principal {
    Principal::Platform(Account { id: "sel_main".into(), scopes: Scopes::default() })
}

pub(super) async fn ask_until(node: &Handle, entity: EntityId, command: Command, wait: Wait) -> Answer {
    let deadline = node.now().plus_s(20);
    let by = platform();
    node.ask(Ask { entity, command, by, wait, deadline, if_version: None, reject_if_absent: None }).await
}

pub(super) async fn stock(node: &Handle, command: inventory::Command) -> inventory::Reply {
    match ask_until(node, EntityId::Inventory(sku()), Command::Inventory(command), Wait::Decided).await {
        Answer::Accepted(accepted) => match accepted.reply {
            doorbuster_domain::any::Reply::Inventory(reply) => reply,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

pub(super) async fn open_shop(node: &Handle, units: u32) {
    let offer = Offer {
        sku: sku(),
        product: ProductId::parse("nova").expect("lawful"),
        version: 1,
        seller: "sel_main".into(),
        title: "Nova".into(),
        on_sale: true,
        prices: vec![Price { unit: gbp(12_999), was: None, tax_included: true }],
        max_per_order: None,
        hold_s: None,
        tax_class: "standard".into(),
        weight_g: 0,
    };
    stock(node, inventory::Command::Offer(Box::new(offer))).await;
    let receive = inventory::Command::Receive {
        request: request("receipt"),
        warehouse: warehouse(),
        units,
        reference: None,
        expected_at: None,
    };
    stock(node, receive).await;
}

pub(super) fn place(key: &str, token: Option<&str>) -> (OrderId, Command) {
    let request = request(key);
    let id = OrderId::of_request(request.id);
    let terms = OrderTerms {
        currency: Currency::GBP,
        seller: "sel_main".into(),
        owner: "sel_main".into(),
        destination: Destination { country: "GB".into(), postal_area: None },
        shipping: None,
        tax: TaxTable { name: "VAT".into(), rate_ppm: 200_000, classes: Vec::new() },
        hold_s: 600,
        payment: PaymentPolicy {
            provider: "simulated".into(),
            capture: CapturePolicy::OnConfirmation,
            attempts_max: 3,
            keys_life_s: 86_400,
            query_after_s: 30,
            lapse_margin_s: 3_600,
            method_hold_s: Vec::new(),
        },
        returns: ReturnPolicy { window_days: 30, auto_approve: false },
        ranking: Vec::new(),
        expected_total: None,
        metadata: Vec::new(),
        claims: None,
    };
    let payment = token.map(|token| Instruction {
        method: "card".into(),
        token: Some(token.into()),
        return_url: None,
        capture: None,
        goods_first: None,
    });
    let wanted = Wanted { sku: sku(), units: 1, expected_unit_price: None };
    let place = PlaceOrder {
        request,
        source: Source::Lines(vec![wanted]),
        terms,
        personal: Personal::default(),
        payment,
        installation: None,
    };
    (id, Command::Order(order::Command::Place(Box::new(place))))
}

/// As the API asks when nothing is left: an order that exists answers for itself, any other key is refused with `Unknown` (rule R5).
pub(super) fn place_if_known(node: &Handle, key: &str, token: Option<&str>, wait: Wait) -> Ask {
    let (id, command) = place(key, token);
    Ask {
        entity: EntityId::Order(id),
        command,
        by: platform(),
        wait,
        deadline: node.now().plus_s(20),
        if_version: None,
        reject_if_absent: Some(Box::new(Refusal::Order(order::Refusal::Unknown))),
    }
}

pub(super) fn status(accepted: &Accepted) -> Status {
    match accepted.state.as_deref() {
        Some(State::Order(order)) => order.status(),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn buy(node: &Handle, key: &str, token: Option<&str>, wait: Wait) -> (OrderId, Accepted) {
    let (id, command) = place(key, token);
    match ask_until(node, EntityId::Order(id), command, wait).await {
        Answer::Accepted(accepted) => (id, *accepted),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn read(node: &Handle, id: OrderId) -> Answer {
    ask_until(node, EntityId::Order(id), Command::Order(order::Command::Read), Wait::Decided).await
}

pub(super) async fn levels(node: &Handle) -> inventory::Level {
    match stock(node, inventory::Command::Read).await {
        inventory::Reply::Levels(levels) => levels.levels[0].clone(),
        other => panic!("{other:?}"),
    }
}

async fn sale(groups: Groups) {
    let world = World::new(groups);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 2).await;
    let (_, first) = buy(&node, "a", Some("tok_ok"), Wait::Settled).await;
    assert_eq!(status(&first), Status::Confirmed);
    let (_, second) = buy(&node, "b", None, Wait::Held).await;
    assert_eq!(status(&second), Status::AwaitingPayment);
    let (_, third) = buy(&node, "c", None, Wait::Held).await;
    assert_eq!(status(&third), Status::SoldOut);
    let (_, again) = buy(&node, "a", Some("tok_ok"), Wait::Settled).await;
    assert!(again.repeated);
    let level = levels(&node).await;
    assert_eq!((level.on_hand, level.reserved, level.sold), (1, 1, 1));
    let report = doorbuster_audit::audit_store(node.store(), None, node.now(), Arc::default()).await.expect("it reads");
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(actors.stop(Duration::from_secs(5)).await);
}

#[tokio::test(start_paused = true)]
async fn the_last_unit_goes_to_one_buyer_when_all_shards_share_one_log() {
    sale(Groups::One).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_unit_goes_to_one_buyer_when_each_shard_has_its_own_log() {
    sale(Groups::PerShard).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 5).await;
    let (id, _) = buy(&node, "a", Some("tok_ok"), Wait::Settled).await;
    actors.end().await;
    world.disk.crash();
    let actors = world.start().await;
    let node = actors.handle();
    match read(&node, id).await {
        Answer::Accepted(accepted) => assert_eq!(status(&accepted), Status::Confirmed),
        other => panic!("{other:?}"),
    }
    assert_eq!(levels(&node).await.sold, 1);
}

/// Checkpoints in quick succession on a disk that takes its time, so that whatever can happen in between does.
fn busy_disk() -> World {
    let mut world = World::new(Groups::One);
    world.settings.checkpoint_interval_ms = 50;
    let append_takes = (Duration::from_millis(1), Duration::from_millis(30));
    let checkpoint_takes = Duration::from_millis(120);
    world.disk.set_faults(Faults { append_takes, checkpoint_takes, ..Faults::default() });
    world
}

async fn assert_held(node: &Handle, id: OrderId) {
    match read(node, id).await {
        Answer::Accepted(accepted) => assert_eq!(status(&accepted), Status::AwaitingPayment),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_asked_while_its_state_is_being_stored_is_the_order_as_it_is() {
    let world = busy_disk();
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 100).await;
    for number in 0..40_u64 {
        let (id, _) = buy(&node, &format!("k{number}"), None, Wait::Held).await;
        for look in 0..8 {
            tokio::time::sleep(Duration::from_millis((number * 7 + look * 11) % 37)).await;
            assert_held(&node, id).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_is_whole_whenever_a_crash_meets_a_checkpoint() {
    let world = busy_disk();
    let mut held = Vec::new();
    for crash in 0..60_u64 {
        let actors = world.start().await;
        let node = actors.handle();
        if crash == 0 {
            open_shop(&node, 100).await;
        }
        for id in &held {
            assert_held(&node, *id).await;
        }
        let (id, _) = buy(&node, &format!("k{crash}"), None, Wait::Held).await;
        held.push(id);
        for look in 0..crash % 9 {
            tokio::time::sleep(Duration::from_millis((crash * 5 + look * 13) % 41)).await;
            assert_held(&node, id).await;
        }
        actors.end().await;
        world.disk.crash();
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_changed_after_the_ledger_was_read_is_compared_the_next_time() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let read_at = node.now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    buy(&node, "a", Some("tok_ok"), Wait::Settled).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let early =
        doorbuster_audit::audit_store(node.store(), Some(&[]), read_at, Arc::default()).await.expect("it reads");
    assert_eq!(early.violations, Vec::<String>::new());
    let late =
        doorbuster_audit::audit_store(node.store(), Some(&[]), node.now(), Arc::default()).await.expect("it reads");
    assert!(late.violations.iter().any(|found| found.contains("Missing")), "{:?}", late.violations);
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_actor_has_left_expires_at_its_deadline() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let (id, held) = buy(&node, "a", None, Wait::Held).await;
    assert_eq!(status(&held), Status::AwaitingPayment);
    tokio::time::sleep(Duration::from_secs(590)).await;
    let residents: usize = node.shards().await.iter().map(|shard| shard.residents).sum();
    assert_eq!(residents, 0, "order and SKU have left memory");
    tokio::time::sleep(Duration::from_secs(15)).await;
    match read(&node, id).await {
        Answer::Accepted(accepted) => assert_eq!(status(&accepted), Status::Expired),
        other => panic!("{other:?}"),
    }
    assert_eq!(levels(&node).await.available(), 1, "the unit is free again");
}

#[tokio::test(start_paused = true)]
async fn an_entity_that_panics_starts_again_and_nothing_is_lost() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 5).await;
    buy(&node, "a", None, Wait::Held).await;
    node.faults().arm_panic(&EntityId::Inventory(sku()), 1);
    assert!(node.panic_entity(&EntityId::Inventory(sku())).await);
    let (_, held) = buy(&node, "b", None, Wait::Held).await;
    assert_eq!(status(&held), Status::AwaitingPayment);
    assert_eq!(levels(&node).await.reserved, 2);
}

#[tokio::test(start_paused = true)]
async fn an_entity_that_keeps_failing_is_quarantined_until_an_operator_retries_it() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 5).await;
    let entity = EntityId::Inventory(sku());
    node.faults().arm_panic(&entity, world.settings.quarantine_after);
    assert!(node.panic_entity(&entity).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let aside = node.quarantined().await;
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(aside[0].reason.contains("a fault was ordered"), "{aside:?}");
    let read = Command::Inventory(inventory::Command::Read);
    let answer = ask_until(&node, entity.clone(), read, Wait::Decided).await;
    assert!(matches!(answer, Answer::Quarantined), "{answer:?}");
    assert!(node.retry(&entity).await);
    assert_eq!(levels(&node).await.on_hand, 5);
}

#[tokio::test(start_paused = true)]
async fn sold_out_without_the_journal_starts_no_actor_and_binds_no_key() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let ask = place_if_known(&node, "a", None, Wait::Held);
    let before = world.disk.appends();
    let refused = node.ask(ask.clone()).await;
    assert!(matches!(refused, Answer::Refused(Refusal::Order(order::Refusal::Unknown))), "{refused:?}");
    assert_eq!(world.disk.appends(), before, "nothing was journaled");
    let (_, held) = buy(&node, "a", None, Wait::Held).await;
    assert!(!held.repeated, "the key was free");
    // Rule R5: once the order exists, its own answer counts, not the refusal.
    assert!(matches!(node.ask(ask).await, Answer::Accepted(accepted) if accepted.repeated));
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_is_answered_unknown_and_ends_the_node() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    let next = world.disk.appends() + 1;
    let appends = [(next, Fault::Fail { written: false })].into();
    world.disk.set_faults(Faults { appends, ..Faults::default() });
    let (id, command) = place("a", None);
    let answer = ask_until(&node, EntityId::Order(id), command, Wait::Held).await;
    assert!(matches!(answer, Answer::Unknown), "{answer:?}");
    assert!(node.failure().is_some());
}

impl ProviderCalls for InProcess {
    fn name(&self) -> &'static str {
        Provider::name(self)
    }

    fn send<'call>(&'call self, call: &'call ProviderCall, deadline: Timestamp) -> BoxFuture<'call, ProviderReport> {
        Box::pin(Provider::send(self, call, deadline))
    }
}

#[tokio::test]
async fn a_name_that_nothing_has_occupies_nothing_that_readers_share() {
    let world = World::new(Groups::One);
    let node = world.start().await;
    for number in 0..50 {
        let entity = EntityId::Inventory(Sku::parse(&format!("SKU-{number}")).expect("lawful"));
        let read = Command::Inventory(inventory::Command::Read);
        let answer = ask_until(&node.handle(), entity, read, Wait::Decided).await;
        assert!(matches!(answer, Answer::Refused(Refusal::Inventory(inventory::Refusal::Unknown))), "{answer:?}");
    }
    assert_eq!(node.handle().views().listed(), 0);
    open_shop(&node.handle(), 5).await;
    assert_eq!(node.handle().views().listed(), 1);
}
