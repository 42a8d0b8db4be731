//! What the API needs of the rest of the node, as a trait: the same handlers serve the real node, the simulation and the tests.

use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::view::Stock;
use doorbuster_domain::ids::{EntityId, Sku, WarehouseId};
use doorbuster_domain::payment::ProviderReport;
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::warehouse;
use doorbuster_projections::{Feed, Lists};
use doorbuster_storage::wire::Decided;
use doorbuster_storage::{Seq, Shard, Store};
use hyper::HeaderMap;
use std::fmt;
use std::sync::Arc;

/// One decision of an entity's journal, with its position in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Journaled {
    /// The shard whose log has it.
    pub shard: Shard,
    /// The number of its first event in that log.
    pub seq: Seq,
    /// The decision.
    pub decided: Decided,
}

/// Why the journal could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// The node is starting or draining; a retry may succeed.
    NotServing,
    /// The store failed; the node has logged why.
    Failed,
}

/// The shop behind the API.
pub trait Shop: Clone + Send + Sync + 'static {
    /// Asks an entity. Dropping the future loses the answer; what was decided stands.
    fn ask(&self, ask: Ask) -> impl Future<Output = Answer> + Send;

    /// The stock of a SKU from this node's read model, which may be a moment old. `None`: the SKU is not resident here.
    fn availability(&self, sku: &Sku) -> Option<Stock>;

    /// The stock of a SKU to be shown, possibly another node's and older than [`availability`](Self::availability). No order is decided by it.
    fn cached_availability(&self, sku: &Sku) -> Option<Stock> {
        self.availability(sku)
    }

    /// At most `limit` durable decisions of an entity from its event number `from` on, oldest first.
    fn history(
        &self,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Journaled>, Unavailable>> + Send;

    /// What answers lists. `None`: this shop keeps no indexes.
    fn lists(&self) -> Option<&Lists> {
        None
    }

    /// The journal as a feed of events. `None`: not all of it is this node's.
    fn feed(&self) -> Option<&Feed<Store>> {
        None
    }

    /// The current time.
    fn now(&self) -> Timestamp;

    /// Fresh random bytes, for salts and guest ids.
    fn random(&self) -> [u8; 16];

    /// The details of a warehouse as last read. `None`: not known, so it counts as active.
    fn warehouse(&self, _id: &WarehouseId) -> Option<Arc<warehouse::Details>> {
        None
    }

    /// Answers a request for the page of the payment provider inside the process. `None`: the provider is elsewhere, and has pages of its own.
    fn provider_page(&self, _request: PageRequest<'_>) -> impl Future<Output = Option<Page>> + Send {
        std::future::ready(None)
    }

    /// Verifies and reads a provider's webhook.
    ///
    /// # Errors
    /// See [`WebhookError`].
    fn webhook(&self, provider: &str, headers: &HeaderMap, body: &[u8]) -> Result<Webhook, WebhookError>;
}

/// A request for a page of the payment provider inside the process, or the post of its form.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// The last segment of its path.
    pub reference: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The body of a post; `None`: a GET.
    pub posted: Option<&'a [u8]>,
}

/// A page of the payment provider inside the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The page.
    pub html: String,
}

/// A verified webhook of a payment provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// The provider's record of a call.
    pub report: ProviderReport,
}

/// Why a webhook is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookError {
    /// The node has no such provider.
    UnknownProvider,
    /// The signature is wrong, or the webhook is too old.
    Unauthentic,
    /// The signature is right, the body has another form.
    Malformed,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotServing => "not serving",
            Self::Failed => "the store failed",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A shop of which only the type is needed.
    #[derive(Clone)]
    pub(crate) enum NoShop {}

    impl Shop for NoShop {
        async fn ask(&self, _: Ask) -> Answer {
            match *self {}
        }
        fn availability(&self, _: &Sku) -> Option<Stock> {
            match *self {}
        }
        async fn history(&self, _: &EntityId, _: u64, _: usize) -> Result<Vec<Journaled>, Unavailable> {
            match *self {}
        }
        fn now(&self) -> Timestamp {
            match *self {}
        }
        fn random(&self) -> [u8; 16] {
            match *self {}
        }
        fn webhook(&self, _: &str, _: &HeaderMap, _: &[u8]) -> Result<Webhook, WebhookError> {
            match *self {}
        }
    }
}
