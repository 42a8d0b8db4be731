//! The shop as the API sees it: the actors, the views of stock, and the provider's webhooks.

use crate::actors::ask::{Answer, Ask};
use crate::actors::system::Handle;
use crate::actors::view::Stock;
use crate::api::{Journaled, Shop, Unavailable, Webhook, WebhookError};
use crate::domain::any::Command;
use crate::domain::entity::{By, Wait};
use crate::domain::ids::{EntityId, Sku};
use crate::domain::order;
use crate::domain::time::Timestamp;
use crate::payments::simulator::Deliver;
use crate::payments::{self, AnyProvider, Provider, SignedWebhook, WebhookHeaders};
use crate::storage::{Journal, wire};
use hyper::HeaderMap;
use std::sync::{Arc, OnceLock};

/// How long the order of a webhook may take to take it in, in ms.
const WEBHOOK_TIMEOUT_MS: u64 = 10_000;

/// This node's shop.
#[derive(Debug, Clone)]
pub struct NodeShop {
    handle: Handle,
    provider: Arc<AnyProvider>,
}

impl NodeShop {
    pub(super) fn new(handle: Handle, provider: Arc<AnyProvider>) -> Self {
        Self { handle, provider }
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
                        deadline: now.plus_ms(WEBHOOK_TIMEOUT_MS),
                        if_version: None,
                        unless_known: None,
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
        self.handle.ask(ask).await
    }

    fn availability(&self, sku: &Sku) -> Option<Stock> {
        self.handle.views().get(sku).map(|view| view.stock())
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
            Err(payments::WebhookError::Body) => Err(WebhookError::Malformed),
            Err(_unauthentic) => Err(WebhookError::Unauthentic),
        }
    }
}

/// The way webhooks of a provider inside the process take: it exists before the shop does.
#[derive(Debug, Clone, Default)]
pub(super) struct Webhooks(Arc<OnceLock<NodeShop>>);

impl Webhooks {
    /// For the provider: `false` means "not now, offer it again".
    pub(super) fn deliver(&self) -> Deliver {
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
