//! A server of its own for each test: the filters over real actors, the memory store and the simulated provider, behind a socket.

use crate::client::Client;
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::settings::Settings as ActorSettings;
use doorbuster_actors::system::{Actors, Handle, Shards};
use doorbuster_actors::view::Stock;
use doorbuster_api::keys::{Keys, Scope};
use doorbuster_api::secret::Secret;
use doorbuster_api::{
    Api, ApiSettings, Journaled, OverloadGate, Page, PageRequest, PipelineCounts, Shop, SocketCounts, SocketLimits,
    Unavailable, Webhook, WebhookError,
};
use doorbuster_api::{bind, serve};
use doorbuster_clock::{SharedClock, SystemClock};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId, Sku};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_node::provider::AnyProvider;
use doorbuster_payments::{Provider, WebhookHeaders, WebhookSecret};
use doorbuster_projections::orders::OrderIndex;
use doorbuster_projections::reader::Reader;
use doorbuster_projections::runner::Runner;
use doorbuster_projections::{Feed, Lists, Progress, Projection};
use doorbuster_storage::index::{Build, Index};
use doorbuster_storage::memory::{Groups, MemoryStore};
use doorbuster_storage::{Journal, Layout, Store, wire};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A key of the shop's own account with every scope.
pub(crate) const KEY: &str = "sk_everything";
/// A key of the shop's own account that may only set products.
pub(crate) const CATALOG_KEY: &str = "sk_catalog";
/// A key of another account with every scope.
pub(crate) const FOREIGN_KEY: &str = "sk_foreign";
const SECRET: [u8; 32] = [7; 32];
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Clone)]
pub(crate) struct TestShop {
    node: Handle,
    provider: Arc<AnyProvider>,
    lists: Lists,
    feed: Feed<Store>,
}

impl Shop for TestShop {
    async fn ask(&self, ask: Ask) -> Answer {
        self.node.ask(ask).await
    }
    fn availability(&self, sku: &Sku) -> Option<Stock> {
        self.node.views().get(sku).map(|view| view.stock())
    }
    async fn history(&self, entity: &EntityId, from: u64, limit: usize) -> Result<Vec<Journaled>, Unavailable> {
        let shard = self.node.shard_of(entity);
        let records =
            self.node.store().history(shard, entity, from, limit).await.map_err(|_unread| Unavailable::Failed)?;
        let journaled = records.into_iter().map(|record| Journaled {
            shard: record.shard,
            seq: record.seq,
            decided: wire::decode(&record.body).expect("what was written can be read"),
        });
        Ok(journaled.collect())
    }
    fn lists(&self) -> Option<&Lists> {
        Some(&self.lists)
    }
    fn feed(&self) -> Option<&Feed<Store>> {
        Some(&self.feed)
    }
    fn now(&self) -> Timestamp {
        self.node.now()
    }
    fn random(&self) -> [u8; 16] {
        rand::random()
    }
    async fn provider_page(&self, request: PageRequest<'_>) -> Option<Page> {
        self.provider.page(request).await
    }
    fn webhook(&self, provider: &str, headers: &hyper::HeaderMap, body: &[u8]) -> Result<Webhook, WebhookError> {
        if provider != self.provider.name() {
            return Err(WebhookError::UnknownProvider);
        }
        let headers = WebhookHeaders::read(headers).map_err(|_malformed| WebhookError::Unauthentic)?;
        match self.provider.verify_webhook(headers, body, self.node.now()) {
            Ok(event) => Ok(Webhook { report: event.report }),
            Err(doorbuster_payments::WebhookError::Body) => Err(WebhookError::Malformed),
            Err(_) => Err(WebhookError::Unauthentic),
        }
    }
}

/// Indexes in memory that follow a node's journal until the task ends.
fn start_lists(node: &Handle, platform: &str) -> (Lists, JoinHandle<()>) {
    let projection = OrderIndex::new(&SECRET, platform);
    let index = Index::Memory(Arc::default());
    let build = Build { name: OrderIndex::NAME, version: projection.version(), generation: 0 };
    let layout = node.store().layout();
    let progress = Arc::new(Progress::new(layout.shards));
    let orders = Reader::new(projection.clone(), index.clone(), layout, build, Arc::clone(&progress));
    let stores = (node.store().clone(), index);
    let mut runner = Runner::new(projection, build, stores, progress, Arc::default());
    let node = node.clone();
    let following = tokio::spawn(async move {
        loop {
            let now = node.now();
            // A node that stops cannot be followed any more.
            drop(runner.round(&node.owned(), now).await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    (Lists { orders: Arc::new(orders) }, following)
}

/// A running server; it stops when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<SocketCounts>,
    pub(crate) pipeline: Arc<PipelineCounts>,
    pub(crate) gate: OverloadGate,
    stop: Option<oneshot::Sender<()>>,
    done: Option<JoinHandle<usize>>,
    actors: Actors,
    disk: MemoryStore,
    following: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(SocketLimits::default(), ApiSettings::default()).await
    }

    pub(crate) async fn with(limits: SocketLimits, settings: ApiSettings) -> Self {
        Self::with_keys(limits, settings, &[]).await
    }

    /// The same, with further keys: token, account, scopes.
    pub(crate) async fn with_keys(
        limits: SocketLimits,
        settings: ApiSettings,
        further: &[(&str, &str, &[Scope])],
    ) -> Self {
        Self::open(limits, settings, Self::provider(), Self::disk(), further).await
    }

    /// A simulated provider, which several servers may use.
    pub(crate) fn provider() -> Arc<AnyProvider> {
        let clock: SharedClock = Arc::new(SystemClock);
        let terms = doorbuster_node::config::Payments {
            webhook_secret: doorbuster_settings::Secret(WEBHOOK_SECRET.to_owned()),
            ..doorbuster_node::config::Payments::default()
        };
        Arc::new(
            doorbuster_node::provider::build(&terms, "http://localhost/simulated-provider", None, clock, None)
                .expect("it is simulated"),
        )
    }

    /// An empty disk.
    pub(crate) fn disk() -> MemoryStore {
        MemoryStore::new(Layout { shards: 3, hash_version: 1 }, Groups::One, 7)
    }

    pub(crate) async fn of(
        limits: SocketLimits,
        settings: ApiSettings,
        provider: Arc<AnyProvider>,
        disk: MemoryStore,
    ) -> Self {
        Self::open(limits, settings, provider, disk, &[]).await
    }

    async fn open(
        limits: SocketLimits,
        settings: ApiSettings,
        provider: Arc<AnyProvider>,
        disk: MemoryStore,
        further: &[(&str, &str, &[Scope])],
    ) -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let actor_settings = ActorSettings { writer_thread: false, ..ActorSettings::default() };
        let actors = Actors::start(
            Store::Memory(disk.open()),
            Arc::<AnyProvider>::clone(&provider),
            clock,
            actor_settings,
            Arc::default(),
            Shards::All("test"),
        )
        .await
        .expect("it starts");
        let (lists, following) = start_lists(&actors.handle(), "sel_main");
        let feed = Feed::new(actors.handle().store().clone());
        let shop = TestShop { node: actors.handle(), provider, lists, feed };
        let usual: [(&str, &str, &[Scope]); 3] = [
            (KEY, "sel_main", &Scope::ALL),
            (CATALOG_KEY, "sel_main", &[Scope::Catalog]),
            (FOREIGN_KEY, "sel_other", &Scope::ALL),
        ];
        let keys = Keys::in_memory(&[usual.as_slice(), further].concat());
        let api = Api::new(shop, settings, keys, Secret::new(&SECRET));
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), limits.backlog).expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (stop, stopped) = oneshot::channel();
        let counts = Arc::new(SocketCounts::default());
        let serving = serve(
            listener,
            doorbuster_api::server::Runtimes::current(),
            Some(api.gate()),
            api.filter(),
            limits,
            Arc::clone(&counts),
            async move {
                // However the channel resolves, it ends.
                drop(stopped.await);
            },
        );
        let done = Some(tokio::spawn(serving.expect("room for a thread")));
        Self {
            address,
            counts,
            pipeline: api.counts(),
            gate: api.gate(),
            stop: Some(stop),
            done,
            actors,
            disk,
            following,
        }
    }

    /// Was an actor started for a SKU?
    pub(crate) fn has_started(&self, sku: &str) -> bool {
        self.actors.handle().views().get(&Sku::parse(sku).expect("lawful")).is_some()
    }

    /// Entities that the store was asked for.
    pub(crate) fn loads(&self) -> u64 {
        self.disk.loads()
    }

    /// Erases the personal data of an order.
    pub(crate) async fn erase(&self, order: &str) {
        let entity = EntityId::Order(OrderId::parse(order).expect("an id"));
        let handle = self.actors.handle();
        let ask = Ask {
            command: entity.erasure().expect("it has personal data"),
            entity,
            by: Principal::Operator,
            wait: Wait::Decided,
            deadline: handle.now().plus_ms(10_000),
            if_version: None,
            reject_if_absent: None,
        };
        let answer = handle.ask(ask).await;
        assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
    }

    /// Stops it; how many connections were cut off.
    pub(crate) async fn stop(&mut self) -> usize {
        drop(self.stop.take());
        let done = self.done.take().expect("stopped once");
        tokio::time::timeout(Duration::from_secs(30), done).await.expect("it drains").expect("it does not panic")
    }

    /// A client with the key that may do everything.
    pub(crate) fn seller(&self) -> Client {
        Client::new(self.address).bearer(KEY)
    }

    pub(crate) fn anyone(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) async fn guest(&self) -> Client {
        let answer = self.anyone().post("/v1/guests", None, None).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        self.anyone().bearer(answer.body["token"].as_str().expect("a token"))
    }

    /// A product with one SKU at 129.99 GBP.
    pub(crate) async fn with_product(&self, sku: &str) {
        let path = format!("/v1/products/p-{sku}");
        let product = json!({ "title": "Nova Low", "skus": [{ "sku": sku, "prices": [{ "amount": 12999, "currency": "GBP" }] }] });
        let put = self.seller().put(&path, &product).await;
        assert_eq!(put.status, 201, "{put:?}");
    }

    /// The same, and stock of it in `lon1`.
    pub(crate) async fn with_stock(&self, sku: &str, units: u32) {
        let seller = self.seller();
        self.with_product(sku).await;
        let warehouse = seller.put("/v1/warehouses/lon1", &json!({ "name": "London", "country": "GB" })).await;
        assert!(warehouse.status == 200 || warehouse.status == 201, "{warehouse:?}");
        let receipt = json!({ "warehouse": "lon1", "units": units });
        let received =
            seller.post(&format!("/v1/inventory/{sku}/receipts"), Some(&format!("r-{sku}")), Some(&receipt)).await;
        assert_eq!(received.status, 201, "{received:?}");
    }
}

/// A webhook as the provider signs it.
pub(crate) fn signed(event: &doorbuster_payments::WebhookEvent, at: Timestamp) -> doorbuster_payments::SignedWebhook {
    WebhookSecret::parse(WEBHOOK_SECRET).expect("lawful").sign(event, at)
}

/// One line of one SKU, sent to Leeds.
pub(crate) fn order_of(sku: &str, quantity: u32) -> serde_json::Value {
    json!({
        "lines": [{ "sku": sku, "quantity": quantity }],
        "buyer": { "email": "a@b.example", "name": "A. Buyer" },
        "ship_to": { "name": "A. Buyer", "line1": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB" }
    })
}

/// The same, paid at once.
pub(crate) fn paid_order_of(sku: &str, quantity: u32, token: &str) -> serde_json::Value {
    let mut order = order_of(sku, quantity);
    order["payment"] = json!({ "method": "card", "token": token });
    order
}
