//! The payment provider that `[payments]` names, as one type.

use crate::config::{PaymentProvider, Payments};
use doorbuster_actors::provider::ProviderCalls;
use doorbuster_api::{Page, PageRequest};
use doorbuster_clock::SharedClock;
use doorbuster_domain::payment::{ProviderCall, ProviderReport};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::http::{HttpProvider, InvalidAddress};
use doorbuster_payments::provider::{LedgerError, LedgerPage, Provider};
use doorbuster_payments::webhook::{InvalidSecret, WebhookError, WebhookEvent, WebhookHeaders, WebhookSecret};
use doorbuster_simulator::{Behaviour, DeliverWebhook, InProcess, LedgerFileError, SimulatorOptions};
use futures_util::future::BoxFuture;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// The payment provider of this node. Copies are the same one.
#[derive(Debug, Clone)]
pub enum AnyProvider {
    /// The simulated one, inside this process.
    Simulated(InProcess),
    /// A process of its own, reached over HTTP.
    Http(Arc<HttpProvider>),
}

/// Why the provider could not be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// `payments.webhook_secret`
    #[error("payments.webhook_secret: {0}")]
    Secret(#[from] InvalidSecret),
    /// `payments.url`
    #[error("payments.url: {0}")]
    Address(#[from] InvalidAddress),
    /// The simulated provider's ledger.
    #[error("the simulated provider: {0}")]
    Ledger(#[from] LedgerFileError),
}

/// Makes the provider that the settings name, on the current runtime.
///
/// `page_url` is where this node shows the page of a provider inside the process, unless `payments.action_url` says otherwise.
/// `ledger` (a file, usually `simulated-provider.ledger` in the data
/// folder) and `deliver` (where webhooks go) serve a provider inside the node; without a ledger it forgets everything with the process,
/// and an authorization cut off by a restart can then only be sent again, not asked after (rule M1).
pub fn build(
    settings: &Payments,
    page_url: &str,
    ledger: Option<&Path>,
    clock: SharedClock,
    deliver: Option<DeliverWebhook>,
) -> Result<AnyProvider, BuildError> {
    let age_max_s = settings.webhook_age_max_s;
    match settings.provider {
        PaymentProvider::Simulated => {
            let secret = match settings.webhook_secret.0.as_str() {
                "" => WebhookSecret::of(&rand::random::<[u8; 32]>())?,
                text => WebhookSecret::parse(text)?,
            };
            let options = SimulatorOptions {
                behaviour: Behaviour::of(settings.profile),
                seed: settings.seed,
                action_url: match settings.action_url.trim_end_matches('/') {
                    "" => page_url,
                    url => url,
                },
                secret: secret.accepting_age(age_max_s),
                timeout_ms: settings.timeout_ms,
                ledger,
            };
            Ok(AnyProvider::Simulated(InProcess::open(&options, clock, deliver)?))
        }
        PaymentProvider::Http => {
            let secret = WebhookSecret::parse(&settings.webhook_secret.0)?.accepting_age(age_max_s);
            let Payments { url, timeout_ms, in_flight_max, .. } = settings;
            let provider = HttpProvider::new(url, secret, *timeout_ms, *in_flight_max, clock)?;
            Ok(AnyProvider::Http(Arc::new(provider)))
        }
    }
}

impl AnyProvider {
    /// Waits until the provider can never answer again; gives the reason. One that is elsewhere may always come back.
    pub async fn lost(&self) -> String {
        match self {
            Self::Simulated(provider) => provider.lost().await,
            Self::Http(_) => std::future::pending().await,
        }
    }
}

impl AnyProvider {
    /// Answers a request for the page of a provider inside the process. `None`: the provider is elsewhere.
    pub async fn page(&self, asked: PageRequest<'_>) -> Option<Page> {
        let Self::Simulated(provider) = self else { return None };
        let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
        let request = doorbuster_simulator::PageRequest {
            reference: asked.reference,
            host: header("host").unwrap_or_default(),
            origin: header("origin"),
            site: header("sec-fetch-site"),
            posted: asked.posted,
        };
        let doorbuster_simulator::Page { status, location, policy, html } =
            match provider.provider().page(request).await {
                Ok(page) => page,
                Err(lost) => return Some(Page { status: 500, headers: Vec::new(), html: lost.to_string() }),
            };
        let fixed = doorbuster_simulator::Page::HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let own = [("content-security-policy", policy)].into_iter().chain(location.map(|url| ("location", url)));
        Some(Page { status, headers: fixed.chain(own).collect(), html })
    }
}

impl ProviderCalls for AnyProvider {
    fn name(&self) -> &'static str {
        Provider::name(self)
    }

    fn send<'call>(&'call self, call: &'call ProviderCall, deadline: Timestamp) -> BoxFuture<'call, ProviderReport> {
        Box::pin(Provider::send(self, call, deadline))
    }
}

impl Provider for AnyProvider {
    fn name(&self) -> &'static str {
        match self {
            Self::Simulated(provider) => provider.name(),
            Self::Http(provider) => provider.name(),
        }
    }

    async fn send(&self, call: &ProviderCall, deadline: Timestamp) -> ProviderReport {
        match self {
            Self::Simulated(provider) => provider.send(call, deadline).await,
            Self::Http(provider) => provider.send(call, deadline).await,
        }
    }

    fn verify_webhook(
        &self,
        headers: WebhookHeaders<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<WebhookEvent, WebhookError> {
        match self {
            Self::Simulated(provider) => provider.verify_webhook(headers, body, now),
            Self::Http(provider) => provider.verify_webhook(headers, body, now),
        }
    }

    async fn ledger(&self, after: u64, limit: usize) -> Result<LedgerPage, LedgerError> {
        match self {
            Self::Simulated(provider) => provider.ledger(after, limit).await,
            Self::Http(provider) => provider.ledger(after, limit).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_clock::SystemClock;

    fn built(settings: &Payments) -> Result<AnyProvider, BuildError> {
        build(settings, "", None, Arc::new(SystemClock), None)
    }

    #[tokio::test]
    async fn a_webhook_is_as_old_as_the_setting_allows_and_no_older() {
        use doorbuster_domain::ids::OrderId;
        use doorbuster_domain::money::{Currency, Money};
        use doorbuster_domain::payment::{Operation, ProviderAnswer, Reference};
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let reference = Reference { order: OrderId(1 << 16), operation: Operation::Capture, payment: 1, attempt: 1 };
        let answer = ProviderAnswer::Succeeded { provider_reference: "ch_1".into() };
        let amount = Some(Money { amount: 100, currency: Currency::GBP });
        let event = WebhookEvent { id: "evt_1".into(), report: ProviderReport { reference, amount, answer } };
        let sent = WebhookSecret::parse(text).unwrap().sign(&event, Timestamp(1_000_000));
        for (provider, url) in [(PaymentProvider::Simulated, ""), (PaymentProvider::Http, "http://127.0.0.1:9")] {
            let mut settings = Payments { provider, url: url.into(), webhook_age_max_s: 20, ..Payments::default() };
            settings.webhook_secret.0 = text.into();
            let provider = built(&settings).unwrap();
            let at = |now| provider.verify_webhook(sent.headers(), &sent.body, now);
            assert_eq!(at(Timestamp(1_020_000)), Ok(event.clone()));
            assert_eq!(at(Timestamp(1_021_000)), Err(WebhookError::Age));
        }
    }

    #[tokio::test]
    async fn the_configuration_alone_chooses_the_provider() {
        assert!(matches!(built(&Payments::default()), Ok(AnyProvider::Simulated(_))));
        let mut settings =
            Payments { provider: PaymentProvider::Http, url: "http://127.0.0.1:9".into(), ..Payments::default() };
        assert!(matches!(built(&settings), Err(BuildError::Secret(_))), "a shared secret has no default");
        settings.webhook_secret.0 = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
        assert!(matches!(built(&settings), Ok(AnyProvider::Http(_))));
        settings.url = "https://elsewhere".into();
        assert!(matches!(built(&settings), Err(BuildError::Address(_))), "no TLS here");
    }
}
