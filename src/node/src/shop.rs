//! The shop that the API asks: the actors, the availability of SKUs, the details of warehouses, and the provider's webhooks.

use crate::provider::AnyProvider;
use crate::warehouses::{Cached, REFRESH_EVERY, WarehouseCache};
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::system::Handle;
use doorbuster_actors::view::Stock;
use doorbuster_api::{Journaled, Page, PageRequest, Shop, Unavailable, Webhook, WebhookError};
use doorbuster_domain::any::{Command, Reply};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, Sku, WarehouseId};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::{order, warehouse};
use doorbuster_payments::{Provider, SignedWebhook, WebhookHeaders};
use doorbuster_projections::availability_cache::AvailabilityCache;
use doorbuster_projections::{Feed, Lists};
use doorbuster_simulator::DeliverWebhook;
use doorbuster_storage::{Journal, Store, wire};
use futures_util::{StreamExt, stream};
use hyper::HeaderMap;
use std::sync::{Arc, OnceLock};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// The deadline of what the node itself asks of an entity, in ms: a webhook for its order, a warehouse to be read.
const OWN_TIMEOUT_MS: u64 = 10_000;
/// Warehouses read at once in a round.
const REFRESHES_MAX: usize = 8;

/// This node's shop. Copies are the same one.
#[derive(Debug, Clone)]
pub struct NodeShop {
    handle: Handle,
    provider: Arc<AnyProvider>,
    /// Availability of SKUs of other nodes; `None`: it is not cached, and the SKU itself is asked.
    availability_cache: Option<AvailabilityCache>,
    /// `None`: it keeps none.
    lists: Option<Lists>,
    /// `None`: not all of the journal is this node's.
    feed: Option<Feed<Store>>,
    warehouses: WarehouseCache,
}

impl NodeShop {
    pub(super) fn new(
        handle: Handle,
        provider: Arc<AnyProvider>,
        availability_cache: Option<AvailabilityCache>,
        lists: Option<Lists>,
    ) -> Self {
        let store = handle.store();
        let feed = (!store.is_shared()).then(|| Feed::new(store.clone()));
        Self { handle, provider, availability_cache, lists, feed, warehouses: WarehouseCache::default() }
    }

    /// An entity is asked by the node itself.
    async fn ask_as(&self, by: Principal, entity: EntityId, command: Command) -> Answer {
        let deadline = self.now().plus_ms(OWN_TIMEOUT_MS);
        self.ask(Ask { entity, command, by, wait: Wait::Decided, deadline, if_version: None, reject_if_absent: None })
            .await
    }

    /// Reads a warehouse; [`Shop::ask`] puts the answer into the cache.
    async fn read_warehouse(&self, id: WarehouseId) {
        let command = Command::Warehouse(warehouse::Command::Read);
        let answer = self.ask_as(Principal::System, EntityId::Warehouse(id), command).await;
        tracing::trace!(?answer, "read a warehouse for the cache");
    }

    /// Begins to refresh the warehouses in the cache, until the answer is dropped.
    pub(super) fn start_refreshing(&self) -> Refreshing {
        Refreshing(tokio::spawn(self.clone().refresh_warehouses()))
    }

    /// Reads again, once a second, the warehouses that requests have used: they may have been changed through another node.
    async fn refresh_warehouses(self) {
        let mut ticks = tokio::time::interval(REFRESH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let used = self.warehouses.begin_round();
            stream::iter(used).for_each_concurrent(REFRESHES_MAX, |id| self.read_warehouse(id)).await;
        }
    }

    /// A webhook of the provider inside the process: verified like one that came over HTTP, then sent to its order.
    async fn webhook_in_process(&self, webhook: SignedWebhook) {
        match self.provider.verify_webhook(webhook.headers(), &webhook.body, self.now()) {
            Ok(event) => {
                let order = event.report.reference.order;
                let command = order::Command::ProviderSays { report: Box::new(event.report) };
                let by = Principal::Provider(self.provider.name().into());
                let answer = self.ask_as(by, EntityId::Order(order), Command::Order(command)).await;
                tracing::debug!(%order, ?answer, "sent a webhook to its order");
            }
            Err(error) => tracing::warn!(%error, "refused a webhook of the simulated provider"),
        }
    }
}

impl Shop for NodeShop {
    async fn ask(&self, ask: Ask) -> Answer {
        let warehouse = match &ask.entity {
            EntityId::Warehouse(id) => Some(id.clone()),
            EntityId::Order(_)
            | EntityId::Inventory(_)
            | EntityId::Cart(_)
            | EntityId::Product(_)
            | EntityId::Reservation(_)
            | EntityId::Counter(_) => None,
        };
        let answer = self.handle.ask(ask).await;
        if let (Some(id), Answer::Accepted(accepted)) = (warehouse, &answer)
            && let Reply::Warehouse(warehouse::Reply::Described { details, .. }) = &accepted.reply
        {
            self.warehouses.put(&id, Some(Arc::from(details.clone())));
        }
        answer
    }

    fn warehouse(&self, id: &WarehouseId) -> Option<Arc<warehouse::Details>> {
        match self.warehouses.get(id) {
            Cached::Details(details) => details,
            Cached::Missing => {
                // The caller goes on without it. Marked as asked for, so that the next caller does not read it, too.
                self.warehouses.put(id, None);
                let (shop, id) = (self.clone(), id.clone());
                tokio::spawn(async move { shop.read_warehouse(id).await });
                None
            }
        }
    }

    fn availability(&self, sku: &Sku) -> Option<Stock> {
        self.handle.views().get(sku).map(|view| view.stock())
    }

    fn cached_availability(&self, sku: &Sku) -> Option<Stock> {
        self.availability(sku).or_else(|| {
            let snapshot = self.availability_cache.as_ref()?.get(sku)?;
            Some(Stock {
                available: snapshot.available,
                reserved: snapshot.reserved,
                next_release_at: snapshot.next_release_at,
                version: snapshot.version,
                levels: snapshot.levels.clone(),
            })
        })
    }

    async fn history(&self, entity: &EntityId, from: u64, limit: usize) -> Result<Vec<Journaled>, Unavailable> {
        if !self.handle.is_serving() {
            return Err(Unavailable::NotServing);
        }
        let shard = self.handle.shard_of(entity);
        let records = self.handle.store().history(shard, entity, from, limit).await.map_err(|error| {
            tracing::error!(%entity, %error, "read an entity's history");
            Unavailable::Failed
        })?;
        let mut journaled = Vec::with_capacity(records.len());
        for record in records {
            let decided = wire::decode(&record.body).map_err(|error| {
                tracing::error!(%entity, %error, "decode a record of an entity's history");
                Unavailable::Failed
            })?;
            journaled.push(Journaled { shard: record.shard, seq: record.seq, decided });
        }
        Ok(journaled)
    }

    fn lists(&self) -> Option<&Lists> {
        self.lists.as_ref()
    }

    fn feed(&self) -> Option<&Feed<Store>> {
        self.feed.as_ref()
    }

    fn now(&self) -> Timestamp {
        self.handle.now()
    }

    fn random(&self) -> [u8; 16] {
        rand::random()
    }

    async fn provider_page(&self, request: PageRequest<'_>) -> Option<Page> {
        self.provider.page(request).await
    }

    fn webhook(&self, provider: &str, headers: &HeaderMap, body: &[u8]) -> Result<Webhook, WebhookError> {
        if provider != self.provider.name() {
            return Err(WebhookError::UnknownProvider);
        }
        let headers = WebhookHeaders::read(headers).map_err(|_headers| WebhookError::Unauthentic)?;
        match self.provider.verify_webhook(headers, body, self.handle.now()) {
            Ok(event) => Ok(Webhook { report: event.report }),
            Err(doorbuster_payments::WebhookError::Body) => Err(WebhookError::Malformed),
            Err(_unauthentic) => Err(WebhookError::Unauthentic),
        }
    }
}

/// The task that refreshes the warehouses in the cache; dropped, it ends.
#[derive(Debug)]
pub(super) struct Refreshing(JoinHandle<()>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the provider inside the process delivers its webhooks. It exists before the shop does, which is connected to it later.
#[derive(Debug, Clone, Default)]
pub(super) struct Webhooks(Arc<OnceLock<NodeShop>>);

impl Webhooks {
    /// The function that the provider calls; it returns `false` while no shop is connected, and the provider delivers again later.
    pub(super) fn deliver(&self) -> DeliverWebhook {
        let shop = Arc::clone(&self.0);
        Arc::new(move |webhook| match shop.get() {
            Some(shop) => {
                let shop = shop.clone();
                tokio::spawn(async move { shop.webhook_in_process(webhook).await });
                true
            }
            None => false,
        })
    }

    pub(super) fn connect(&self, shop: NodeShop) {
        if self.0.set(shop).is_err() {
            tracing::error!("a shop was connected twice");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_actors::settings::Settings as ActorSettings;
    use doorbuster_actors::system::{Actors, Shards};
    use doorbuster_clock::{SharedClock, SystemClock};
    use doorbuster_domain::warehouse::Details;
    use doorbuster_storage::memory::{Groups, MemoryStore};
    use doorbuster_storage::{Layout, Store};
    use std::time::Duration;

    async fn shop() -> (Actors, NodeShop) {
        let clock: SharedClock = Arc::new(SystemClock);
        let payments = crate::config::Payments::default();
        let provider = crate::provider::build(&payments, "", None, Arc::clone(&clock), None);
        let provider = Arc::new(provider.expect("the simulated provider needs nothing"));
        let store = Store::Memory(MemoryStore::new(Layout { shards: 2, hash_version: 1 }, Groups::One, 1).open());
        let settings = ActorSettings { writer_thread: false, ..ActorSettings::default() };
        let calls = Arc::<AnyProvider>::clone(&provider);
        let actors = Actors::start(store, calls, clock, settings, Arc::default(), Shards::All("alone")).await;
        let actors = actors.expect("it starts");
        let shop = NodeShop::new(actors.handle(), provider, None, None);
        (actors, shop)
    }

    /// Changes the warehouse where it lives, past this node's shop: as another node's request does.
    async fn changed_elsewhere(actors: &Actors, id: &WarehouseId, active: bool) {
        let details = Details { name: "London".into(), country: "GB".into(), active, ..Details::default() };
        let handle = actors.handle();
        let answer = handle
            .ask(Ask {
                entity: EntityId::Warehouse(id.clone()),
                command: Command::Warehouse(warehouse::Command::Put { details, expected_version: None, owner: None }),
                by: Principal::System,
                wait: Wait::Decided,
                deadline: handle.now().plus_ms(OWN_TIMEOUT_MS),
                if_version: None,
                reject_if_absent: None,
            })
            .await;
        assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
    }

    async fn is_active(shop: &NodeShop, id: &WarehouseId, wanted: bool) -> bool {
        for _ in 0..500 {
            if shop.warehouse(id).is_some_and(|details| details.active == wanted) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn a_warehouse_that_another_node_changes_is_seen_changed_here() {
        let (actors, shop) = shop().await;
        let _refreshing = shop.start_refreshing();
        let id = WarehouseId::parse("lon1").expect("lawful");
        assert_eq!(shop.warehouse(&id), None, "it is not known, and no request waits for it");
        changed_elsewhere(&actors, &id, true).await;
        assert!(is_active(&shop, &id, true).await, "an unknown warehouse is read again, too");
        changed_elsewhere(&actors, &id, false).await;
        assert!(is_active(&shop, &id, false).await, "what was read once is not kept for ever");
    }
}
