//! What the shop requires of a payment provider.

use super::webhook::{WebhookError, WebhookEvent, WebhookHeaders};
use doorbuster_domain::payment::{LedgerLine, ProviderCall, ProviderReport};
use doorbuster_domain::time::Timestamp;
use std::future::Future;
use thiserror::Error;

/// One page of a provider's ledger, in the order of acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerPage {
    /// The lines of the page.
    pub lines: Vec<LedgerLine>,
    /// The position after which the next page begins; `None`: this is the last page.
    pub next: Option<u64>,
}

/// Why a ledger could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// The provider did not answer, or its answer is not a ledger.
    #[error("read the provider's ledger: {0}")]
    Unavailable(String),
}

/// A payment provider.
pub trait Provider: Send + Sync {
    /// The provider's name in `/v1/providers/{provider}/webhooks`, in records and in metrics.
    fn name(&self) -> &'static str;

    /// Sends a call, or queries its reference (`query_only`). It never fails: without an answer by `deadline`, or within the provider's own time
    /// limit, the result is [`ProviderReport::unknown`]; so it is after a 429, a 5xx or an unreadable answer (rule M1).
    fn send(&self, call: &ProviderCall, deadline: Timestamp) -> impl Future<Output = ProviderReport> + Send;

    /// Checks a webhook's signature and age, and decodes it.
    fn verify_webhook(
        &self,
        headers: WebhookHeaders<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<WebhookEvent, WebhookError>;

    /// At most `limit` lines of the provider's ledger after line `after`: for audit and reconciliation.
    fn ledger(&self, after: u64, limit: usize) -> impl Future<Output = Result<LedgerPage, LedgerError>> + Send;
}
