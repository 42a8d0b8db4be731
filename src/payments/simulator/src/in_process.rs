//! The simulated provider inside a node: calls are function calls, latency is a sleep, webhooks are signed as over HTTP.

use super::behaviour::Behaviour;
use super::engine::{Reply, ShopperAction};
use super::ledger_file::LedgerFileError;
use super::provider::{ActionResult, LedgerLost, LedgerStorage, SimulatedProvider};
use super::webhook_sender::{DeliverWebhook, WebhookSender, WebhookTarget};
use doorbuster_clock::SharedClock;
use doorbuster_domain::payment::{ProviderAnswer, ProviderCall, ProviderReport, Reference};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::provider::{LedgerError, LedgerPage, Provider};
use doorbuster_payments::webhook::{WebhookError, WebhookEvent, WebhookHeaders, WebhookSecret};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The options of a simulated provider inside a node.
#[derive(Debug, Clone)]
pub struct SimulatorOptions<'a> {
    /// Its latencies and failures.
    pub behaviour: Behaviour,
    /// The seed of the random numbers: the same seed gives the same behaviour.
    pub seed: u64,
    /// The prefix of action addresses.
    pub action_url: &'a str,
    /// The secret that signs its webhooks.
    pub secret: WebhookSecret,
    /// The longest time a call waits for its answer, in milliseconds.
    pub timeout_ms: u64,
    /// Its ledger's file. Each line is written before the answer, without a sync: it survives `kill -9` of the node, which an audit after a
    /// crash needs, but not a power cut.
    pub ledger: Option<&'a Path>,
}

/// The simulated provider inside a node. Clones share one provider.
#[derive(Debug, Clone)]
pub struct InProcess {
    provider: Arc<SimulatedProvider>,
    secret: WebhookSecret,
    timeout_ms: u64,
}

impl InProcess {
    /// Opens the ledger and starts the webhook sender on the current runtime. `clock` may differ from the node's, for tests.
    pub fn open(
        options: &SimulatorOptions<'_>,
        clock: SharedClock,
        deliver: Option<DeliverWebhook>,
    ) -> Result<Self, LedgerFileError> {
        let sender = match deliver {
            Some(deliver) => {
                WebhookSender::start(WebhookTarget::InProcess(deliver), options.secret.clone(), Arc::clone(&clock))
            }
            None => WebhookSender::disabled(Arc::clone(&clock)),
        };
        let storage = options.ledger.map_or(LedgerStorage::Volatile, LedgerStorage::Written);
        let (provider, torn_bytes) =
            SimulatedProvider::open(options.behaviour, options.seed, options.action_url, storage, sender, clock)?;
        if torn_bytes > 0 {
            tracing::warn!(torn_bytes, "cut a torn line off the simulated provider's ledger");
        }
        Ok(Self { provider: Arc::new(provider), secret: options.secret.clone(), timeout_ms: options.timeout_ms })
    }

    /// A shopper acts on an authorization (`tok_action`).
    pub async fn act(&self, reference: Reference, act: ShopperAction) -> Result<ActionResult, LedgerLost> {
        self.provider.act(reference, act).await
    }

    /// Waits until its ledger cannot be written any more. It then answers no call, so the node must end: its orders could never be paid.
    pub async fn lost(&self) -> String {
        self.provider.ledger_lost().await;
        LedgerLost.to_string()
    }

    /// The provider itself, for its ledger and its outages.
    #[must_use]
    pub fn provider(&self) -> &SimulatedProvider {
        &self.provider
    }
}

impl Provider for InProcess {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn send(&self, call: &ProviderCall, deadline: Timestamp) -> ProviderReport {
        let timeout_ms = self.timeout_ms.min(deadline.since_ms(self.provider.now()));
        let unknown = ProviderReport::unknown(call.reference);
        let Ok(result) = self.provider.call(call).await else { return unknown };
        let (report, wait_ms) = match result.reply {
            Reply::Answer(report) if result.latency_ms <= timeout_ms => (report, result.latency_ms),
            Reply::Answer(_) | Reply::Silence => (unknown, timeout_ms),
            Reply::TooMany | Reply::Unavailable => (unknown, result.latency_ms.min(timeout_ms)),
            Reply::Broken => (ProviderReport::of(call, ProviderAnswer::Broken), result.latency_ms.min(timeout_ms)),
        };
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        report
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
        let numbered = self.provider.lines(after, limit);
        let next = (numbered.len() == limit).then(|| numbered.last().map(|(number, _)| *number)).flatten();
        Ok(LedgerPage { lines: numbered.into_iter().map(|(_, line)| line).collect(), next })
    }
}
