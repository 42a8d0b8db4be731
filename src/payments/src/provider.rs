//! What the shop expects of a payment provider, whoever it is.

use super::webhook::{WebhookError, WebhookEvent, WebhookHeaders};
use doorbuster_domain::payment::{LedgerLine, ProviderAnswer, ProviderCall};
use doorbuster_domain::time::Timestamp;
use std::future::Future;
use thiserror::Error;

/// Part of a provider's ledger, in the order in which it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerPage {
    /// The lines.
    pub lines: Vec<LedgerLine>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// Why a ledger could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// The provider did not answer, or not with a ledger.
    #[error("read the provider's ledger: {0}")]
    Unavailable(String),
}

/// A payment provider.
pub trait Provider: Send + Sync {
    /// The provider's word in `/v1/providers/{provider}/webhooks`, in records and metrics.
    fn name(&self) -> &'static str;

    /// Sends a call, or asks what became of its reference (`query_only`). Never fails: what is not answered by `deadline`, or by the
    /// provider's own time limit, is [`ProviderAnswer::Unknown`], and so is a 429, a 5xx or an answer that cannot be read (rule M1).
    fn send(&self, call: &ProviderCall, deadline: Timestamp) -> impl Future<Output = ProviderAnswer> + Send;

    /// Is this webhook the provider's own, and young enough? Says what it tells.
    fn verify_webhook(
        &self,
        headers: WebhookHeaders<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<WebhookEvent, WebhookError>;

    /// The provider's own ledger from line `after` on, at most `limit` lines: for audit and reconciliation.
    fn ledger(&self, after: u64, limit: usize) -> impl Future<Output = Result<LedgerPage, LedgerError>> + Send;
}
