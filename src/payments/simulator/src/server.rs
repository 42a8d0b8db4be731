//! The simulated provider over HTTP: what `payment-simulator` serves.
//!
//! ```text
//! POST /v1/operations                          Idempotency-Key: the reference        200 | 409 other parameters | 429 | 500 | no answer
//! GET  /v1/operations/{reference}                                                    200 | 404
//! GET  /v1/ledger?after=&limit=                NDJSON                                200
//! POST /v1/actions/{reference}/complete        { "outcome": "ok" | "fail" }          200 | 404
//! GET  /actions/{reference}                    the page a shopper is sent to         200
//! POST /actions/{reference}                    its two buttons                       303 | 200 | 403 | 404
//! GET  /healthz                                                                      200
//! ```

use super::engine::{Reply, ShopperAction};
use super::page::{Page, PageRequest};
use super::provider::{ActionResult, CallResult, SimulatedProvider};
use bytes::Bytes;
use doorbuster_domain::payment::{ProviderAnswer, ProviderCall, ProviderReport, Reference};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::wire::{AnsweredForm, CallForm, LineForm};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// The largest request body, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// The number of concurrent connections.
const CONNECTIONS_MAX: usize = 4_096;
/// The time limit for a request's headers, and for its body.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// How long a request without an answer keeps its connection.
const SILENCE: Duration = Duration::from_secs(60);
/// The most lines of one ledger page.
const PAGE_MAX: usize = 10_000;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

type Answered = Result<Response<Full<Bytes>>, NoAnswer>;

/// Serves until the listener fails or the future is dropped.
pub async fn serve(listener: TcpListener, provider: Arc<SimulatedProvider>) -> std::io::Result<()> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return Ok(()) };
        let (socket, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Out of file descriptors, or the peer has disconnected: the next one may succeed.
            Err(error) => {
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let provider = Arc::clone(&provider);
        tokio::spawn(async move {
            connection(socket, provider).await;
            drop(permit);
        });
    }
}

async fn connection(socket: TcpStream, provider: Arc<SimulatedProvider>) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "set nodelay");
    }
    let service = service_fn(move |request| {
        let provider = Arc::clone(&provider);
        async move { route(&provider, request).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn route(provider: &SimulatedProvider, request: Request<Incoming>) -> Answered {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["healthz"]) => Ok(text(StatusCode::OK, "text/plain", "ok")),
        (&Method::POST, ["v1", "operations"]) => post_operation(provider, request).await,
        (&Method::GET, ["v1", "operations", reference]) => match Reference::parse(reference) {
            Some(reference) => operation(provider, &query(reference)).await,
            None => Ok(problem(StatusCode::BAD_REQUEST, "not a reference")),
        },
        (&Method::GET, ["v1", "ledger"]) => Ok(ledger(provider, request.uri().query().unwrap_or_default())),
        (&Method::POST, ["v1", "actions", reference, "complete"]) => {
            let reference = Reference::parse(reference);
            complete(provider, reference, request).await
        }
        (&Method::GET | &Method::POST, ["actions", reference]) => shopper_page(provider, reference, request).await,
        _ => Ok(problem(StatusCode::NOT_FOUND, "no such route")),
    }
}

/// A call that queries a reference.
fn query(reference: Reference) -> ProviderCall {
    ProviderCall {
        reference,
        amount: Default::default(),
        method: None,
        token: None,
        provider_reference: None,
        return_url: None,
        query_only: true,
        cancel: false,
        send_before: Timestamp(u64::MAX),
    }
}

async fn post_operation(provider: &SimulatedProvider, request: Request<Incoming>) -> Answered {
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).and_then(Reference::parse);
    let Some(body) = body_of(request).await else {
        return Ok(problem(StatusCode::BAD_REQUEST, "the body did not come, or is too large"));
    };
    let call = serde_json::from_slice::<CallForm>(&body).ok().and_then(CallForm::read);
    let Some(call) = call else { return Ok(problem(StatusCode::UNPROCESSABLE_ENTITY, "not a call")) };
    if key != Some(call.reference) {
        return Ok(problem(StatusCode::BAD_REQUEST, "Idempotency-Key must be the reference"));
    }
    operation(provider, &call).await
}

async fn operation(provider: &SimulatedProvider, call: &ProviderCall) -> Answered {
    let Ok(CallResult { reply, latency_ms }) = provider.call(call).await else {
        return Ok(problem(StatusCode::INTERNAL_SERVER_ERROR, "the ledger cannot be written"));
    };
    tokio::time::sleep(if reply == Reply::Silence { SILENCE } else { Duration::from_millis(latency_ms) }).await;
    match reply {
        Reply::Answer(report) => {
            let status = match report.answer {
                ProviderAnswer::NotFound => StatusCode::NOT_FOUND,
                ProviderAnswer::Conflict => StatusCode::CONFLICT,
                _ => StatusCode::OK,
            };
            Ok(json(status, &AnsweredForm::from(&report)))
        }
        Reply::TooMany => {
            let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, "too many requests");
            answer.headers_mut().insert(RETRY_AFTER, 1.into());
            Ok(answer)
        }
        Reply::Broken => Ok(problem(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong")),
        Reply::Unavailable => Ok(problem(StatusCode::SERVICE_UNAVAILABLE, "come back later")),
        Reply::Silence => Err(NoAnswer),
    }
}

fn ledger(provider: &SimulatedProvider, query: &str) -> Response<Full<Bytes>> {
    let number = |name: &str| {
        let named =
            |pair: &'_ str| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        query.split('&').find_map(named).and_then(|value| value.parse::<u64>().ok())
    };
    let after = number("after").unwrap_or(0);
    let limit = number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let mut body = Vec::new();
    for (place, line) in provider.lines(after, limit) {
        serde_json::to_writer(&mut body, &LineForm::new(place, &line)).expect("a line has only texts and numbers");
        body.push(b'\n');
    }
    text(StatusCode::OK, "application/x-ndjson", body)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Completion {
    outcome: ActionOutcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionOutcome {
    Ok,
    Fail,
}

async fn complete(provider: &SimulatedProvider, reference: Option<Reference>, request: Request<Incoming>) -> Answered {
    let body = body_of(request).await.unwrap_or_default();
    let Ok(Completion { outcome }) = serde_json::from_slice(&body) else {
        return Ok(problem(StatusCode::UNPROCESSABLE_ENTITY, "outcome is ok or fail"));
    };
    let act = match outcome {
        ActionOutcome::Ok => ShopperAction::Ok,
        ActionOutcome::Fail => ShopperAction::Fail,
    };
    match acted(provider, reference, act).await {
        Ok((reference, ActionResult { answer: Some(answer), .. })) => {
            Ok(json(StatusCode::OK, &AnsweredForm::from(&ProviderReport { reference, amount: None, answer })))
        }
        Ok(_) => Ok(problem(StatusCode::NOT_FOUND, "nothing to act on")),
        Err(answer) => Ok(answer),
    }
}

/// The page of an action, and its buttons.
async fn shopper_page(provider: &SimulatedProvider, reference: &str, request: Request<Incoming>) -> Answered {
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let posted = match *request.method() {
        Method::POST => Some(body_of(request).await.unwrap_or_default()),
        _ => None,
    };
    let host = header("host").unwrap_or_default();
    let (origin, site) = (header("origin"), header("sec-fetch-site"));
    let asked = PageRequest { reference, host, origin, site, posted: posted.as_deref() };
    let Ok(Page { status, location, policy, html }) = provider.page(asked).await else {
        return Ok(problem(StatusCode::INTERNAL_SERVER_ERROR, "the ledger cannot be written"));
    };
    let mut answer = Response::new(Full::new(Bytes::from(html)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fixed = Page::HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let own = [("content-security-policy", policy)].into_iter().chain(location.map(|location| ("location", location)));
    for (name, value) in fixed.chain(own) {
        if let Ok(value) = hyper::header::HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}

async fn acted(
    provider: &SimulatedProvider,
    reference: Option<Reference>,
    act: ShopperAction,
) -> Result<(Reference, ActionResult), Response<Full<Bytes>>> {
    let reference = reference.ok_or_else(|| problem(StatusCode::NOT_FOUND, "not a reference"))?;
    let lost = |_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the ledger cannot be written");
    provider.act(reference, act).await.map(|done| (reference, done)).map_err(lost)
}

async fn body_of(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    tokio::time::timeout(REQUEST_MAX, body).await.ok()?.ok().map(|body| body.to_bytes())
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    answer
}

fn json(status: StatusCode, form: &AnsweredForm) -> Response<Full<Bytes>> {
    text(status, "application/json", serde_json::to_vec(form).expect("an answer has only texts and numbers"))
}

fn problem(status: StatusCode, title: &'static str) -> Response<Full<Bytes>> {
    text(status, "application/problem+json", format!("{{\"title\":\"{title}\",\"status\":{}}}", status.as_u16()))
}
