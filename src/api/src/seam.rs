//! All that the API asks of the rest of the node: two traits, so that the same handlers serve the real node, the simulation and
//! the tests.

use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::view::Stock;
use doorbuster_domain::ids::{EntityId, Sku, WarehouseId};
use doorbuster_domain::payment::{ProviderAnswer, Reference};
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::warehouse;
use doorbuster_storage::wire::Decided;
use doorbuster_storage::{Seq, Shard};
use hyper::HeaderMap;
use std::fmt;
use std::sync::Arc;

/// One decision of an entity's journal, with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Journaled {
    /// The shard whose log it is in.
    pub shard: Shard,
    /// The number of its first event there.
    pub seq: Seq,
    /// What was decided.
    pub decided: Decided,
}

/// Why there is no answer from a reader of the journal or an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// Starting, draining: come back.
    NotServing,
    /// The store failed; the node logs why.
    Failed,
}

/// The shop behind the door.
pub trait Shop: Clone + Send + Sync + 'static {
    /// Asks an entity. Whoever drops the future no longer hears the answer; what was decided stands.
    fn ask(&self, ask: Ask) -> impl Future<Output = Answer> + Send;

    /// The stock of a SKU as last seen: a read model, perhaps a moment old, never the truth. `None`: never seen.
    fn availability(&self, sku: &Sku) -> Option<Stock>;

    /// The same to be shown and for nothing else: it may come from another node, a moment older still, and no order is decided by it.
    fn glimpse(&self, sku: &Sku) -> Option<Stock> {
        self.availability(sku)
    }

    /// The durable decisions of an entity from its event number `from` on, oldest first.
    fn history(
        &self,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Journaled>, Unavailable>> + Send;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Fresh random bytes: salts, guest ids.
    fn random(&self) -> [u8; 16];

    /// What a seller said of a warehouse, as last seen; `None`: nothing yet, so it counts as active.
    fn warehouse(&self, _id: &WarehouseId) -> Option<Arc<warehouse::Details>> {
        None
    }

    /// Checks a provider's webhook and reads it.
    fn webhook(&self, provider: &str, headers: &HeaderMap, body: &[u8]) -> Result<Webhook, WebhookError>;
}

/// What a provider says, verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Our reference.
    pub reference: Reference,
    /// What it says of it.
    pub answer: ProviderAnswer,
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookError {
    /// No such provider.
    UnknownProvider,
    /// Badly signed, or too old.
    Unauthentic,
    /// Signed, but not in the form agreed on.
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
