//! The payment provider's whole ledger, page by page, for audits.

use crate::provider::AnyProvider;
use doorbuster_domain::payment::LedgerLine;
use doorbuster_payments::{LedgerError, Provider};

/// Lines read at a time.
const PAGE: usize = 10_000;

/// All lines of the ledger, oldest first.
pub(super) async fn read(provider: &AnyProvider) -> Result<Vec<LedgerLine>, LedgerError> {
    let mut lines = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = provider.ledger(from, PAGE).await?;
        after = if page.lines.is_empty() { None } else { page.next };
        lines.extend(page.lines);
    }
    Ok(lines)
}
