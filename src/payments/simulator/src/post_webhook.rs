//! Posts webhooks to an HTTP address.

use bytes::Bytes;
use doorbuster_payments::webhook::SignedWebhook;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

/// The time limit for the receiver's answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// An address and the connections to it.
#[derive(Debug, Clone)]
pub struct WebhookClient {
    url: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl WebhookClient {
    /// A client for an `http://…` address.
    #[must_use]
    pub fn to(url: Uri) -> Self {
        Self { url, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Posts a webhook; returns whether the receiver accepted it (2xx).
    pub(super) async fn send(&self, webhook: SignedWebhook) -> bool {
        let request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", webhook.id.as_str())
            .header("webhook-timestamp", webhook.timestamp.as_str())
            .header("webhook-signature", webhook.signature.as_str())
            .body(Full::new(webhook.body));
        let Ok(request) = request else { return false };
        match tokio::time::timeout(ANSWER_MAX, self.client.request(request)).await {
            Ok(Ok(answer)) => answer.status().is_success(),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
