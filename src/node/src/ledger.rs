//! The payment provider's whole ledger, page by page, for audits.

use super::auditor::AuditFailure;
use crate::provider::AnyProvider;
use doorbuster_audit::Progress;
use doorbuster_domain::payment::LedgerLine;
use doorbuster_payments::Provider;

/// Lines read at a time.
const PAGE: usize = 10_000;
/// Estimated memory of a line with its texts, in bytes.
const LINE_BYTES: u64 = 512;

/// All lines of the ledger, oldest first; the bound of `progress` covers them.
pub(super) async fn read(provider: &AnyProvider, progress: &Progress) -> Result<Vec<LedgerLine>, AuditFailure> {
    let mut lines = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = provider.ledger(from, PAGE).await.map_err(|error| AuditFailure::Ledger(error.to_string()))?;
        after = if page.lines.is_empty() { None } else { page.next };
        progress.take_memory(u64::try_from(page.lines.len()).unwrap_or(u64::MAX).saturating_mul(LINE_BYTES))?;
        lines.extend(page.lines);
        // A provider inside the process answers without waiting: an audit can be cancelled between two pages all the same.
        tokio::task::yield_now().await;
    }
    Ok(lines)
}
