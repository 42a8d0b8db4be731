//! A caller of the API: requests that are either answered or lost, and never hang.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Longer than anything here may take; a request that needs longer hangs.
const HANGS: Duration = Duration::from_secs(50);

/// One request, as it can be sent again.
#[derive(Debug, Clone)]
pub struct Call {
    /// GET, POST, …
    pub method: Method,
    /// With its query.
    pub path: String,
    /// `Idempotency-Key`
    pub key: Option<String>,
    /// JSON.
    pub body: Option<Value>,
    /// `Prefer: wait=…`
    pub wait_s: Option<u32>,
    /// Another bearer token than the seller's key.
    pub bearer: Option<String>,
}

impl Call {
    /// Reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), key: None, body: None, wait_s: None, bearer: None }
    }

    /// Sets.
    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::PUT, body: Some(body), ..Self::get(path) }
    }

    /// Does something once.
    pub fn post(path: impl Into<String>, key: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), key: Some(key.into()), ..Self::get(path) }
    }

    /// Wants to hear the outcome, if it is known by then.
    pub fn waiting(self, seconds: u32) -> Self {
        Self { wait_s: Some(seconds), ..self }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.path)?;
        if let Some(key) = &self.key {
            write!(out, " (key {key})")?;
        }
        Ok(())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or null if it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// 2xx?
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The problem's stable word.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// A text of the body.
    pub fn text_at(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Was it said before?
    pub fn is_replayed(&self) -> bool {
        self.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
    }

    /// Binds nothing, or leaves open what it bound: the same request must be sent again (API, "What binds a key").
    pub fn is_to_be_repeated(&self) -> bool {
        matches!(self.status, 429 | 503)
    }

    /// Fails with the whole answer unless it is `status`.
    #[track_caller]
    pub fn expect(self, call: &Call, status: u16) -> Self {
        assert_eq!(self.status, status, "{call} answered {}: {}", self.status, self.text);
        self
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.status, self.text)
    }
}

/// There was no answer: nothing listens, the connection broke, the process died. What became of the request is not known.
#[derive(Debug, Clone)]
pub struct Lost(pub String);

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no answer: {}", self.0)
    }
}

/// Connections, kept and shared.
#[derive(Debug, Clone)]
pub struct Client(Pool<HttpConnector, Full<Bytes>>);

impl Client {
    /// One without connections yet.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Pool::builder(TokioExecutor::new()).build(connector))
    }

    /// Sends a call to `address` with `bearer`, unless the call has its own.
    pub async fn send(&self, address: SocketAddr, bearer: &str, call: &Call) -> Result<Answer, Lost> {
        let mut request = Request::builder().method(&call.method).uri(format!("http://{address}{}", call.path));
        let bearer = call.bearer.as_deref().unwrap_or(bearer);
        if !bearer.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(seconds) = call.wait_s {
            request = request.header("prefer", format!("wait={seconds}"));
        }
        let body = match &call.body {
            Some(json) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(json.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(body)).expect("a lawful request");
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| Lost(format!("{error:?}")))?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|error| Lost(format!("{error:?}")))?.to_bytes();
            Ok((head, body))
        };
        let waited = tokio::time::timeout(HANGS, exchange).await;
        let (head, body) = waited.unwrap_or_else(|_| panic!("{call} hangs: no answer after {HANGS:?}"))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body, text };
        assert_ne!(head.status, StatusCode::INTERNAL_SERVER_ERROR, "{call} answered {answer}");
        Ok(answer)
    }
}
