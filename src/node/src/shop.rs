//! The shop as the API sees it: the actors, the views of stock, and the provider's webhooks.

use crate::provider::AnyProvider;
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::system::Handle;
use doorbuster_actors::view::Stock;
use doorbuster_api::{Journaled, Shop, Unavailable, Webhook, WebhookError};
use doorbuster_domain::any::{Command, State};
use doorbuster_domain::entity::{By, Wait};
use doorbuster_domain::ids::{EntityId, Sku, WarehouseId};
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::{order, warehouse};
use doorbuster_payments::{Provider, SignedWebhook, WebhookHeaders};
use doorbuster_projections::availability_cache::AvailabilityCache;
use doorbuster_simulator::DeliverWebhook;
use doorbuster_storage::{Journal, wire};
use hyper::HeaderMap;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// How long a question of the node's own may take, in ms: a webhook told to its order, a warehouse looked up.
const OWN_TIMEOUT_MS: u64 = 10_000;

/// This node's shop.
#[derive(Debug, Clone)]
pub struct NodeShop {
    handle: Handle,
    provider: Arc<AnyProvider>,
    availability_cache: Option<AvailabilityCache>,
    /// What sellers said of their warehouses, as last seen.
    warehouses: Arc<RwLock<BTreeMap<WarehouseId, Option<Arc<warehouse::Details>>>>>,
}

impl NodeShop {
    pub(super) fn new(
        handle: Handle,
        provider: Arc<AnyProvider>,
        availability_cache: Option<AvailabilityCache>,
    ) -> Self {
        Self { handle, provider, availability_cache, warehouses: Arc::default() }
    }

    fn remember(&self, id: &WarehouseId, details: Option<Arc<warehouse::Details>>) {
        self.warehouses.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), details);
    }

    /// Asks for a warehouse in the background: whoever wants to know goes on without.
    fn look_up(&self, id: &WarehouseId) {
        self.remember(id, None);
        let (shop, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            // Its answer is remembered on its way through `ask`.
            shop.ask(Ask {
                entity: EntityId::Warehouse(id),
                command: Command::Warehouse(warehouse::Command::Read),
                by: By::System,
                if_version: None,
                wait: Wait::Decided,
                deadline: shop.now().plus_ms(OWN_TIMEOUT_MS),
                reject_if_absent: None,
            })
            .await;
        });
    }

    /// A webhook that did not come over HTTP: verified like every other, then told to its order.
    async fn webhook_in_process(&self, webhook: SignedWebhook) {
        let now = self.handle.now();
        match self.provider.verify_webhook(webhook.headers(), &webhook.body, now) {
            Ok(event) => {
                let command = order::Command::ProviderSays { reference: event.reference, answer: event.answer };
                let answer = self
                    .ask(Ask {
                        entity: EntityId::Order(event.reference.order),
                        command: Command::Order(command),
                        by: By::Provider(self.provider.name().into()),
                        wait: Wait::Decided,
                        deadline: now.plus_ms(OWN_TIMEOUT_MS),
                        if_version: None,
                        reject_if_absent: None,
                    })
                    .await;
                tracing::debug!(order = %event.reference.order, ?answer, "a webhook was told to its order");
            }
            Err(error) => tracing::warn!(%error, "the simulated provider's own webhook was not believed"),
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
            | EntityId::Reservation(_) => None,
        };
        let answer = self.handle.ask(ask).await;
        if let (Some(id), Answer::Accepted(accepted)) = (warehouse, &answer)
            && let Some(State::Warehouse(state)) = accepted.state.as_deref()
        {
            self.remember(&id, state.details().cloned().map(Arc::new));
        }
        answer
    }

    fn warehouse(&self, id: &WarehouseId) -> Option<Arc<warehouse::Details>> {
        let known = self.warehouses.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        known.unwrap_or_else(|| {
            self.look_up(id);
            None
        })
    }

    fn availability(&self, sku: &Sku) -> Option<Stock> {
        self.handle.views().get(sku).map(|view| view.stock())
    }

    fn cached_availability(&self, sku: &Sku) -> Option<Stock> {
        self.availability(sku).or_else(|| {
            let snapshot = self.availability_cache.as_ref()?.get(sku)?;
            let (available, reserved, version) = (snapshot.available, snapshot.reserved, snapshot.version);
            Some(Stock { available, reserved, version, levels: snapshot.levels.clone() })
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
                tracing::error!(%entity, %error, "read a record of an entity's history");
                Unavailable::Failed
            })?;
            journaled.push(Journaled { shard: record.shard, seq: record.seq, decided });
        }
        Ok(journaled)
    }

    fn now(&self) -> Timestamp {
        self.handle.now()
    }

    fn random(&self) -> [u8; 16] {
        rand::random()
    }

    fn webhook(&self, provider: &str, headers: &HeaderMap, body: &[u8]) -> Result<Webhook, WebhookError> {
        if provider != self.provider.name() {
            return Err(WebhookError::UnknownProvider);
        }
        let headers = WebhookHeaders::read(headers).map_err(|_headers| WebhookError::Unauthentic)?;
        match self.provider.verify_webhook(headers, body, self.handle.now()) {
            Ok(event) => Ok(Webhook { reference: event.reference, answer: event.answer }),
            Err(doorbuster_payments::WebhookError::Body) => Err(WebhookError::Malformed),
            Err(_unauthentic) => Err(WebhookError::Unauthentic),
        }
    }
}

/// The way webhooks of a provider inside the process take: it exists before the shop does.
#[derive(Debug, Clone, Default)]
pub(super) struct Webhooks(Arc<OnceLock<NodeShop>>);

impl Webhooks {
    /// For the provider: `false` means "not now, offer it again".
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
            tracing::error!("a node was connected twice");
        }
    }
}
