//! The pipeline: the checks that every request passes, in this order.
//!
//! ```text
//! route (404, 405) ─► permit (503) ─► caller (401) ─► rate limit (429) ─► scope (403) ─► key (400) ─► body (408, 413, 415) ─► its work (429, 503) ─► handler ─► answer
//! ```
//!
//! One warp filter passes every request on; the table of routes decides. Handlers only submit commands and wait: when a request is cancelled (its
//! connection closes, its deadline passes), what was decided stands.

use super::admission::{Account, Admission, NoRoom, Permit, PriorityClass, SlowBody};
use super::compression;
use super::cors::Cors;
use super::export::Export;
use super::meter::{RequestMeter, too_many};
use super::overload_gate::{Gated, OverloadGate};
use super::request_id::{RequestIds, X_REQUEST_ID, named};
use super::router::{Found, Router};
use super::server::Peer;
use crate::core::address::client_address;
use crate::core::caller::{Access, Caller, ON_BEHALF_OF, allow, identify, may_stand_in};
use crate::core::followers::Followers;
use crate::core::headers;
use crate::core::keys::Keys;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::{Context, Params, Request};
use crate::core::route::{Body, Route};
use crate::core::secret::Secret;
use crate::core::service::Shop;
use crate::core::settings::{AccessLog, ApiSettings};
use crate::core::work::{Meter, units_of_answer, units_of_body};
use crate::docs::openapi;
use crate::payments::UnmatchedWebhooks;
use crate::routes::routes;
use bytes::{Buf, Bytes, BytesMut};
use doorbuster_domain::time::Timestamp;
use futures_util::{FutureExt, Stream, StreamExt};
use hyper::Method;
use hyper::body::Body as _;
use hyper::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use warp::Filter;
use warp::reply::Response;

/// Counters of the pipeline, for metrics.
#[derive(Debug, Default)]
pub struct PipelineCounts {
    /// Webhooks about orders of this installation that are unknown here.
    pub unmatched: Arc<UnmatchedWebhooks>,
    /// Callers that wait for events.
    pub followers: Arc<Followers>,
    /// Callers to whom a list is exported.
    pub exports: Arc<Followers>,
    /// Makes the ids of requests that bring none.
    pub(super) request_ids: RequestIds,
    /// Requests in flight, queued and refused.
    pub admission: Admission,
    /// Answers since the start, by the hundreds of their status: 2xx at 2, 4xx at 4, …
    pub answers: [AtomicU64; 6],
}

impl PipelineCounts {
    /// Counts an answer.
    pub(super) fn count(&self, response: &Response) {
        if let Some(count) = self.answers.get(usize::from(response.status().as_u16() / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The public API over a shop; its clones are the same API.
pub struct Api<S: 'static>(Arc<Pipeline<S>>);

impl<S> Clone for Api<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Api<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Api")
    }
}

struct Pipeline<S: 'static> {
    context: Arc<Context<S>>,
    router: Router<S>,
    cors: Cors,
    counts: Arc<PipelineCounts>,
}

/// A request as it arrived.
struct Arrived<'a> {
    method: &'a Method,
    path: &'a str,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    address: Option<IpAddr>,
    /// Seconds of `Prefer: wait`, bounded.
    prefer_wait: Option<u64>,
}

impl Arrived<'_> {
    fn long_wait(&self) -> bool {
        self.prefer_wait.is_some_and(|seconds| seconds > 0)
    }
}

/// A request that has a permit.
struct Admitted<'a, S: 'static> {
    route: &'static Route<S>,
    params: Params,
    permit: Permit<'a>,
    now: Timestamp,
}

/// Why a request is refused.
enum Refused {
    /// There is no permit: the prepared response is the answer.
    NoPermit,
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl<S: Shop> Api<S> {
    /// The API of `shop`.
    #[must_use]
    pub fn new(shop: S, settings: ApiSettings, keys: Keys, secret: Secret) -> Self {
        let unmatched = Arc::<UnmatchedWebhooks>::default();
        let admission = Admission::new(settings.admission);
        let followers = Arc::<Followers>::default();
        let counts = PipelineCounts {
            unmatched: Arc::clone(&unmatched),
            followers: Arc::clone(&followers),
            admission,
            ..PipelineCounts::default()
        };
        let openapi = openapi::document(routes::<S>()).into();
        let cors = Cors::new(settings.requests.cors_origins.clone());
        Self(Arc::new(Pipeline {
            cors,
            context: Arc::new(Context { shop, settings, keys, secret, openapi, unmatched, followers }),
            router: Router::new(routes()),
            counts: Arc::new(counts),
        }))
    }

    /// The counters of the pipeline.
    #[must_use]
    pub fn counts(&self) -> Arc<PipelineCounts> {
        Arc::clone(&self.0.counts)
    }

    /// The overload gate before this pipeline, for the server.
    #[must_use]
    pub fn gate(&self) -> OverloadGate {
        OverloadGate::new(Arc::<Pipeline<S>>::clone(&self.0))
    }

    /// The filter that serves every route. It needs no socket.
    pub fn filter(&self) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
        let (api, refusing) = (Arc::clone(&self.0), Arc::clone(&self.0));
        warp::method()
            .and(warp::path::full())
            .and(warp::query::<Vec<(String, String)>>())
            .and(warp::header::headers_cloned())
            .and(warp::ext::optional::<Peer>())
            .and(warp::body::stream())
            .then(
                move |method: Method,
                      path: warp::path::FullPath,
                      query,
                      headers: HeaderMap,
                      peer: Option<Peer>,
                      body| {
                    let api = Arc::clone(&api);
                    async move {
                        let settings = &api.context.settings.requests;
                        let address = peer.map(|peer| client_address(peer.0.ip(), &headers, &settings.trusted_proxies));
                        let wait_max_s = settings.prefer_wait_max_s;
                        let prefer_wait = headers::prefer_wait(&headers, wait_max_s);
                        let arrived =
                            Arrived { method: &method, path: path.as_str(), query, headers, address, prefer_wait };
                        api.serve(arrived, pin!(body)).await
                    }
                },
            )
            .recover(move |_rejection: warp::Rejection| {
                // Only a query that cannot be parsed gets here: everything else is decided by the table of routes.
                let problem = Problem::new(Code::MalformedRequest).detail("the query cannot be parsed");
                let response = named(problem, &refusing.counts.request_ids.make());
                async { Ok::<_, Infallible>(response) }
            })
            .unify()
    }
}

impl<S: Shop> Gated for Pipeline<S> {
    fn counts(&self) -> &PipelineCounts {
        &self.counts
    }

    fn class_of(&self, method: &Method, path: &str) -> Option<PriorityClass> {
        match self.router.find(method, path) {
            Found::Route(route, _) => Some(route.class),
            Found::Methods(_) | Found::Undecodable | Found::Nothing => None,
        }
    }

    fn now(&self) -> Timestamp {
        self.context.shop.now()
    }
}

impl<S: Shop> Pipeline<S> {
    async fn serve<B: Buf, E: fmt::Display>(
        &self,
        arrived: Arrived<'_>,
        body: Pin<&mut impl Stream<Item = Result<B, E>>>,
    ) -> Response {
        let admission = &self.counts.admission;
        let id = self.counts.request_ids.of(&arrived.headers);
        let origin = self.cors.origin(&arrived.headers);
        let log = self.context.settings.requests.access_log;
        let begun = (log != AccessLog::Off).then(|| self.now());
        let (method, path) = (arrived.method, arrived.path);
        let coding = compression::wanted(method, &arrived.headers);
        let compress_from_bytes = self.context.settings.requests.compress_from_bytes;
        let mut response = match AssertUnwindSafe(self.answer(arrived, body)).catch_unwind().await {
            Ok(Ok(reply)) => compression::apply(reply.into_response(), coding, compress_from_bytes),
            Ok(Err(Refused::NoPermit)) => admission.overloaded_response(),
            // An entity had no room: the `Retry-After` is spread as for requests without a permit.
            Ok(Err(Refused::Problem(problem))) if problem.code() == Code::Overloaded => {
                named(problem.retry_after(admission.next_retry_after_s()), &id)
            }
            Ok(Err(Refused::Problem(problem))) => named(problem, &id),
            Err(_panic) => {
                tracing::error!(request = ?id, "a handler panicked");
                named(internal(), &id)
            }
        };
        self.counts.count(&response);
        self.cors.expose(&mut response, origin);
        if let Some(begun) = begun {
            self.log(log, method, path, &response, &id, begun);
        }
        response.headers_mut().insert(&X_REQUEST_ID, id);
        response
    }

    /// A line of the access log. It names the route and not the path, and nobody: what is in it is not personal.
    fn log(
        &self,
        log: AccessLog,
        method: &Method,
        path: &str,
        response: &Response,
        id: &HeaderValue,
        begun: Timestamp,
    ) {
        let status = response.status().as_u16();
        if log == AccessLog::Errors && status < 400 {
            return;
        }
        let route = match self.router.find(method, path) {
            Found::Route(route, _) => route.path,
            Found::Methods(_) | Found::Undecodable | Found::Nothing => "",
        };
        let took_ms = self.now().since_ms(begun);
        let bytes = response.body().size_hint().exact().unwrap_or(0);
        let request = id.to_str().unwrap_or_default();
        tracing::info!(target: "access", %method, route, status, took_ms, bytes, request);
    }

    /// The answer to a browser that asks what a page of another origin may send.
    fn preflight(&self, arrived: &Arrived<'_>) -> Result<Reply, Problem> {
        let admission = &self.counts.admission;
        let account = admission.account(&Caller::Anyone, arrived.address);
        admission.charge(account, 1, self.now()).map_err(too_many)?;
        match self.router.find(arrived.method, arrived.path) {
            Found::Methods(methods) => self.cors.preflight(&arrived.headers, &methods),
            Found::Route(..) | Found::Undecodable | Found::Nothing => Err(not_found()),
        }
    }

    async fn answer<B: Buf, E: fmt::Display>(
        &self,
        arrived: Arrived<'_>,
        body: Pin<&mut impl Stream<Item = Result<B, E>>>,
    ) -> Result<Reply, Refused> {
        if self.cors.is_preflight(arrived.method, &arrived.headers) {
            return self.preflight(&arrived).map_err(Refused::Problem);
        }
        let Admitted { route, params, permit, now } = self.admit(&arrived)?;
        let (caller, account) = self.authorize(route, &arrived, now)?;
        let (body, permit) = self.read_body(route, &arrived, &caller, body, permit).await?;
        let admission = &self.counts.admission;
        let meter = RequestMeter { admission, permit: &permit, account, address: arrived.address, now };
        let answer = match units_of_body(body.len()) {
            0 => Ok(()),
            units => meter.charge(units),
        };
        let (context, template) = (&self.context, route.path);
        let Arrived { query, headers, prefer_wait, address, .. } = arrived;
        let export = headers::wanted_export(&headers, &route.docs);
        let known = if route.writes() { None } else { headers.get(IF_NONE_MATCH).cloned() };
        let meter = &meter;
        let request = Request { context, template, params, caller, meter, headers, query, body, prefer_wait, now };
        let answer = match answer {
            Ok(()) => match export {
                None => (route.handler)(request).await,
                Some(kind) => {
                    let shared = (Arc::clone(&self.context), Arc::clone(&self.counts));
                    Box::pin(Export::begin(kind, route, shared, (account, address), request)).await
                }
            },
            Err(problem) => Err(problem),
        };
        match &answer {
            Ok(reply) => match units_of_answer(reply.body_bytes()) {
                0 => {}
                units => admission.charge_done(account, units, now),
            },
            Err(problem) if problem.code() == Code::Overloaded => permit.release_refused(),
            Err(_problem) => {}
        }
        let reply = answer?;
        let reply = if route.access == Access::Anyone { reply } else { reply.private() };
        Ok(match known {
            Some(known) => reply.unless_known(&known),
            None => reply,
        })
    }

    /// The route of a request, and a permit for it.
    fn admit(&self, arrived: &Arrived<'_>) -> Result<Admitted<'_, S>, Refused> {
        let (route, params) = match self.router.find(arrived.method, arrived.path) {
            Found::Route(route, params) => (route, params),
            Found::Methods(methods) => {
                let allowed = methods.join(", ");
                let problem = Problem::new(Code::MethodNotAllowed).detail(format!("only {allowed}"));
                return Err(problem.header(ALLOW, &allowed).into());
            }
            Found::Undecodable => {
                return Err(Problem::new(Code::InvalidId).detail("the path cannot be decoded").into());
            }
            Found::Nothing => return Err(not_found().into()),
        };
        let now = self.context.shop.now();
        let permit = self.acquire(route, arrived, now)?;
        Ok(Admitted { route, params, permit, now })
    }

    /// A permit of the route's priority class.
    fn acquire(&self, route: &Route<S>, arrived: &Arrived<'_>, now: Timestamp) -> Result<Permit<'_>, Refused> {
        self.counts.admission.acquire(route.class, arrived.long_wait(), now).ok_or(Refused::NoPermit)
    }

    /// The caller, which may use the route and is within its rate limit.
    fn authorize(&self, route: &Route<S>, arrived: &Arrived<'_>, now: Timestamp) -> Result<(Caller, Account), Problem> {
        let (caller, account) = self.identify(route, arrived, now)?;
        allow(&caller, route.access)?;
        if route.access != Access::Anyone && arrived.headers.contains_key(ON_BEHALF_OF) {
            may_stand_in(&caller, &self.context.settings.shop.seller)?;
        }
        // What a payment provider adds to its webhooks is its own.
        if route.access != Access::Provider {
            headers::understood(&arrived.headers, &arrived.query, route.writes(), &route.docs)?;
            headers::acceptable(&arrived.headers, &route.docs)?;
        }
        if route.key {
            headers::idempotency_key(&arrived.headers)?;
        }
        Ok((caller, account))
    }

    /// The caller, within its rate limit. A request with an invalid credential counts for its address, like one without.
    fn identify(&self, route: &Route<S>, arrived: &Arrived<'_>, now: Timestamp) -> Result<(Caller, Account), Problem> {
        let admission = &self.counts.admission;
        let (caller, account) = if route.access == Access::Provider {
            // A provider sends the webhooks of a whole crowd from a few addresses: it has a quota of its own.
            (Ok(Caller::Anyone), admission.account_of_webhook(arrived.address))
        } else {
            let caller = identify(&arrived.headers, route.writes(), &self.context.keys, &self.context.secret, now);
            let account = admission.account(caller.as_ref().unwrap_or(&Caller::Anyone), arrived.address);
            (caller, account)
        };
        admission.charge(account, 1, now).map_err(too_many)?;
        Ok((caller?, account))
    }

    async fn read_body<'a, B: Buf, E: fmt::Display>(
        &'a self,
        route: &Route<S>,
        arrived: &Arrived<'_>,
        caller: &Caller,
        mut body: Pin<&mut impl Stream<Item = Result<B, E>>>,
        permit: Permit<'a>,
    ) -> Result<(Bytes, Permit<'a>), Refused> {
        let settings = &self.context.settings.requests;
        let (most, optional) = match route.body {
            Body::None => return Ok((Bytes::new(), permit)),
            Body::Raw | Body::JsonOrNothing(_) => (settings.small_body_bytes_max, true),
            Body::Json(_) => (settings.small_body_bytes_max, false),
            Body::LargeJson(_) => (settings.body_bytes_max, false),
        };
        let headers = &arrived.headers;
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(too_large(most).into());
        }
        let json = !matches!(route.body, Body::Raw);
        if json && !(optional && length.unwrap_or(0) == 0 && !headers.contains_key(CONTENT_TYPE)) && !is_json(headers) {
            return Err(Problem::new(Code::UnsupportedMediaType)
                .detail("Content-Type must be application/json")
                .into());
        }
        let mut collected = Collected::new(most, length.unwrap_or(0));
        // Nearly every body arrives with its head: only one that does not costs a timer.
        let at_once = futures_util::poll!(pin!(collected.collect(body.as_mut(), None)));
        let (read, permit) = match at_once {
            Poll::Ready(read) => (read, Some(permit)),
            Poll::Pending => {
                // A slow body takes no permit from requests that are ready. The memory of slow bodies has a bound of its own.
                permit.release_unanswered();
                let shared = !caller.is_seller();
                let address = arrived.address.filter(|_| shared);
                let slow = self.counts.admission.slow_body(route.access == Access::Provider, address);
                let timeout = Duration::from_millis(settings.body_timeout_ms);
                let rest = collected.collect(body.as_mut(), Some(slow));
                (tokio::time::timeout(timeout, rest).await.unwrap_or(Err(Cut::Slow)), None)
            }
        };
        match read {
            Ok(()) => {
                let permit = permit.map_or_else(|| self.acquire(route, arrived, self.context.shop.now()), Ok)?;
                let bytes = collected.into_bytes();
                let nothing = bytes.is_empty() && optional && json;
                Ok((if nothing { Bytes::from_static(b"{}") } else { bytes }, permit))
            }
            Err(cut) => Err(cut.refused(most)),
        }
    }
}

/// Why a body was not read to its end.
enum Cut {
    TooLarge,
    Slow,
    NoRoom(NoRoom),
    Broken(String),
}

impl Cut {
    fn refused(self, most: usize) -> Refused {
        let problem = match self {
            Self::TooLarge => too_large(most),
            Self::Slow => {
                Problem::new(Code::RequestTimeout).detail("the body did not arrive in time").header(CONNECTION, "close")
            }
            Self::NoRoom(NoRoom::ForAll) => return Refused::NoPermit,
            Self::NoRoom(NoRoom::ForAddress) => Problem::new(Code::TooManyRequests)
                .detail("too many bodies of this address are on their way")
                .header(CONNECTION, "close"),
            Self::Broken(error) => Problem::new(Code::MalformedRequest)
                .detail(format!("the body cannot be read: {error}"))
                .header(CONNECTION, "close"),
        };
        problem.into()
    }
}

fn too_large(most: usize) -> Problem {
    Problem::new(Code::BodyTooLarge).detail(format!("at most {most} bytes")).with("limit", most)
}

/// A body as far as it has arrived.
struct Collected {
    first: Bytes,
    all: Option<BytesMut>,
    bytes_max: usize,
    announced: usize,
}

impl Collected {
    const fn new(bytes_max: usize, announced: usize) -> Self {
        Self { first: Bytes::new(), all: None, bytes_max, announced }
    }

    fn length(&self) -> usize {
        self.first.len().saturating_add(self.all.as_ref().map_or(0, BytesMut::len))
    }

    fn into_bytes(self) -> Bytes {
        self.all.map_or(self.first, BytesMut::freeze)
    }

    /// Reads on to the end of the body; `slow`: what is charged for its bytes. When it is dropped, what has arrived is kept.
    async fn collect<B: Buf, E: fmt::Display>(
        &mut self,
        mut body: Pin<&mut impl Stream<Item = Result<B, E>>>,
        mut slow: Option<SlowBody<'_>>,
    ) -> Result<(), Cut> {
        loop {
            if let Some(slow) = slow.as_mut() {
                slow.grow_to(u64::try_from(self.length()).unwrap_or(u64::MAX)).map_err(Cut::NoRoom)?;
            }
            let Some(chunk) = body.next().await else { return Ok(()) };
            let mut chunk = chunk.map_err(|error| Cut::Broken(error.to_string()))?;
            let chunk_length = chunk.remaining();
            let length = self.length().saturating_add(chunk_length);
            if length > self.bytes_max {
                return Err(Cut::TooLarge);
            }
            let chunk = chunk.copy_to_bytes(chunk_length);
            if let Some(all) = self.all.as_mut() {
                all.extend_from_slice(&chunk);
            } else if self.first.is_empty() {
                // A body of one chunk, as nearly all are, is not copied.
                self.first = chunk;
            } else {
                // Not as large as announced: that is only said. It doubles as more arrives.
                let mut joined = BytesMut::with_capacity(self.announced.min(length.saturating_mul(2)).max(length));
                joined.extend_from_slice(&self.first);
                joined.extend_from_slice(&chunk);
                self.first = Bytes::new();
                self.all = Some(joined);
            }
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// The answer, or a 500 when making it panics: the connection and all other requests go on.
pub(crate) async fn catch_panic(answer: impl Future<Output = Result<Reply, Problem>>) -> Response {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(reply)) => reply.into_response(),
        Ok(Err(problem)) => problem.into_response(),
        Err(_panic) => panicked(),
    }
}

fn panicked() -> Response {
    tracing::error!("a handler panicked");
    internal().into_response()
}

fn internal() -> Problem {
    Problem::new(Code::Internal).detail("an internal error occurred")
}
