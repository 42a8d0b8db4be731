//! A provider over HTTP: the client of `payment-simulator`.
//!
//! Every reply that is not a readable answer counts as *unknown*: refused connections, timeouts, 429s, 503s, other bodies. Another 5xx is no answer
//! either, and its key is not sent again (rule M7).

use super::provider::{LedgerError, LedgerPage, Provider};
use super::webhook::{WebhookError, WebhookEvent, WebhookHeaders, WebhookSecret};
use super::wire::{AnsweredForm, CallForm, LineForm};
use bytes::Bytes;
use doorbuster_clock::SharedClock;
use doorbuster_domain::payment::{ProviderAnswer, ProviderCall, ProviderReport, Reference};
use doorbuster_domain::time::Timestamp;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Semaphore;

/// The largest answer to a call, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// The largest page of a ledger, in bytes.
const PAGE_MAX: usize = 16 * 1024 * 1024;
/// The life of an idle connection; shorter than the provider's own limit, so that the provider does not close it under a request.
const IDLE: Duration = Duration::from_secs(8);

/// A text that is not the address of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not an address of the form http://host:port")]
pub struct InvalidAddress(pub String);

/// The client. Clones share connections and the limit of calls in flight.
#[derive(Debug, Clone)]
pub struct HttpProvider {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    permits: Arc<Semaphore>,
    secret: WebhookSecret,
    timeout_ms: u64,
    clock: SharedClock,
}

impl HttpProvider {
    /// A client of the provider at `url`, with a time limit for each answer and a limit of calls in flight.
    pub fn new(
        url: &str,
        secret: WebhookSecret,
        timeout_ms: u64,
        in_flight_max: u32,
        clock: SharedClock,
    ) -> Result<Self, InvalidAddress> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed: Uri = base.parse().map_err(|_not_a_uri| InvalidAddress(url.to_owned()))?;
        if parsed.scheme_str() != Some("http") || parsed.host().is_none() {
            return Err(InvalidAddress(url.to_owned()));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_millis(timeout_ms)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let permits = usize::try_from(in_flight_max.max(1)).unwrap_or(1).min(Semaphore::MAX_PERMITS);
        Ok(Self { base, client, permits: Arc::new(Semaphore::new(permits)), secret, timeout_ms, clock })
    }

    /// Sends a request unless its time has come while it waited.
    async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
        send_before: Timestamp,
    ) -> Result<(StatusCode, Bytes), NoReply> {
        let _permit = self.permits.acquire().await.map_err(NoReply::because)?;
        if self.clock.latest() >= send_before {
            return Err(NoReply::because("the key is too old to be sent"));
        }
        let answer = self.client.request(request).await.map_err(NoReply::because)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), most).collect().await.map_err(NoReply::because)?;
        Ok((status, body.to_bytes()))
    }

    fn request_of(&self, call: &ProviderCall) -> Option<Request<Full<Bytes>>> {
        if call.query_only {
            let address = format!("{}/v1/operations/{}", self.base, call.reference);
            return Request::get(address).body(Full::default()).ok();
        }
        let body = serde_json::to_vec(&CallForm::from(call)).ok()?;
        Request::post(format!("{}/v1/operations", self.base))
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", call.reference.to_string())
            .body(Full::new(body.into()))
            .ok()
    }
}

/// Why there is no reply, for a log.
#[derive(Debug)]
struct NoReply(String);

impl NoReply {
    fn because(error: impl Display) -> Self {
        Self(error.to_string())
    }
}

/// Decodes a reply about `reference`. A reply about another reference counts as *unknown* (rule M6).
///
/// A 503 says that nothing was done; another 5xx may be stored under the key for ever (rule M7).
fn read(status: StatusCode, body: &[u8], reference: Reference) -> ProviderReport {
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        return ProviderReport { reference, amount: None, answer: ProviderAnswer::Broken };
    }
    if !matches!(status, StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::CONFLICT) {
        return ProviderReport::unknown(reference);
    }
    let form = serde_json::from_slice::<AnsweredForm>(body).ok().filter(|form| form.reference == reference);
    form.and_then(AnsweredForm::read).unwrap_or(ProviderReport::unknown(reference))
}

impl Provider for HttpProvider {
    fn name(&self) -> &'static str {
        // The same name as the provider inside a node: routes and records do not depend on where it runs.
        "simulated"
    }

    async fn send(&self, call: &ProviderCall, deadline: Timestamp) -> ProviderReport {
        let unknown = ProviderReport::unknown(call.reference);
        let Some(request) = self.request_of(call) else { return unknown };
        let timeout_ms = self.timeout_ms.min(deadline.since_ms(self.clock.now()));
        let asked = self.ask(request, ANSWER_MAX, call.send_before);
        match tokio::time::timeout(Duration::from_millis(timeout_ms), asked).await {
            Ok(Ok((status, body))) => read(status, &body, call.reference),
            Ok(Err(NoReply(error))) => {
                tracing::debug!(%error, "ask the payment provider");
                unknown
            }
            Err(_) => unknown,
        }
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
        let unavailable = |NoReply(why)| LedgerError::Unavailable(why);
        let request = Request::get(format!("{}/v1/ledger?after={after}&limit={limit}", self.base))
            .body(Full::default())
            .map_err(NoReply::because)
            .map_err(unavailable)?;
        let asked = tokio::time::timeout(
            Duration::from_millis(self.timeout_ms),
            self.ask(request, PAGE_MAX, Timestamp(u64::MAX)),
        );
        let (status, body) = asked.await.map_err(NoReply::because).and_then(|asked| asked).map_err(unavailable)?;
        if status != StatusCode::OK {
            return Err(LedgerError::Unavailable(format!("status {status}")));
        }
        let mut page = LedgerPage::default();
        for text in body.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
            let form: LineForm = serde_json::from_slice(text).map_err(NoReply::because).map_err(unavailable)?;
            page.next = Some(form.number);
            page.lines.push(form.read().ok_or_else(|| LedgerError::Unavailable("not an amount".to_owned()))?);
        }
        Ok(page)
    }
}
