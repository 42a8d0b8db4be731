//! The simulated provider inside a node: calls are function calls, latency is slept, webhooks come as if over HTTP, signed.

use super::courier::{Courier, Deliver, Receiver};
use super::desk::{ActDone, Desk, Keep, LedgerLost};
use super::engine::{Act, Reply};
use super::ledger_file::LedgerFileError;
use super::odds::Odds;
use doorbuster_clock::SharedClock;
use doorbuster_domain::payment::{ProviderAnswer, ProviderCall, Reference};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::provider::{LedgerError, LedgerPage, Provider};
use doorbuster_payments::webhook::{WebhookError, WebhookEvent, WebhookHeaders, WebhookSecret};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How a simulated provider inside a node is made.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// How it behaves.
    pub odds: Odds,
    /// The same seed, the same fortunes.
    pub seed: u64,
    /// What action addresses begin with.
    pub action_url: &'a str,
    /// What it signs webhooks with.
    pub secret: WebhookSecret,
    /// The longest a call waits for its answer.
    pub timeout_ms: u64,
    /// Its ledger's file. Each line is handed to the kernel before the answer: that survives `kill -9` of the node, which is what an audit
    /// after a crash needs, but not a power cut.
    pub ledger: Option<&'a Path>,
}

/// The simulated provider inside a node. Copies are the same provider.
#[derive(Debug, Clone)]
pub struct InProcess {
    desk: Arc<Desk>,
    secret: WebhookSecret,
    timeout_ms: u64,
}

impl InProcess {
    /// Opens its ledger and starts its courier, on the current runtime. It lives by `clock`, so a test may let its time and the node's differ.
    pub fn open(terms: &Terms<'_>, clock: SharedClock, deliver: Option<Deliver>) -> Result<Self, LedgerFileError> {
        let courier = match deliver {
            Some(deliver) => Courier::start(Receiver::Inside(deliver), terms.secret.clone(), Arc::clone(&clock)),
            None => Courier::idle(Arc::clone(&clock)),
        };
        let keep = terms.ledger.map_or(Keep::Volatile, Keep::Written);
        let (desk, torn_bytes) = Desk::open(terms.odds, terms.seed, terms.action_url, keep, courier, clock)?;
        if torn_bytes > 0 {
            tracing::warn!(torn_bytes, "cut a torn line off the simulated provider's ledger");
        }
        Ok(Self { desk: Arc::new(desk), secret: terms.secret.clone(), timeout_ms: terms.timeout_ms })
    }

    /// The shopper acts (`tok_action`).
    pub async fn act(&self, reference: Reference, act: Act) -> Result<ActDone, LedgerLost> {
        self.desk.act(reference, act).await
    }

    /// Waits until its ledger could not be written: it answers nothing any more, and a node that served on would take orders that nobody
    /// can ever pay.
    pub async fn lost(&self) -> String {
        self.desk.ledger_lost().await;
        LedgerLost.to_string()
    }

    /// The provider itself: its book, for a referee; its outages.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }
}

impl Provider for InProcess {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn send(&self, call: &ProviderCall, deadline: Timestamp) -> ProviderAnswer {
        let patience_ms = self.timeout_ms.min(deadline.since_ms(self.desk.now()));
        let Ok(handled) = self.desk.call(call).await else { return ProviderAnswer::Unknown };
        let (answer, wait_ms) = match handled.reply {
            Reply::Answer(answer) if handled.latency_ms <= patience_ms => (answer, handled.latency_ms),
            Reply::Answer(_) | Reply::Silence => (ProviderAnswer::Unknown, patience_ms),
            Reply::TooMany | Reply::Broken => (ProviderAnswer::Unknown, handled.latency_ms.min(patience_ms)),
        };
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        answer
    }

    fn verify_webhook(
        &self,
        headers: WebhookHeaders<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<WebhookEvent, WebhookError> {
        self.secret.verify(headers, body, now)
    }

    async fn ledger(&self, after: u64, limit: usize) -> Result<LedgerPage, LedgerError> {
        let numbered = self.desk.lines(after, limit);
        let next = (numbered.len() == limit).then(|| numbered.last().map(|(number, _)| *number)).flatten();
        Ok(LedgerPage { lines: numbered.into_iter().map(|(_, line)| line).collect(), next })
    }
}
