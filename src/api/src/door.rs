//! The door: what every request passes, whatever it wants.
//!
//! ```text
//! route (404, 405) ─► place (503) ─► caller (401) ─► quota (429) ─► scope (403) ─► key (400) ─► body (408, 413, 415) ─► handler ─► answer
//! ```
//!
//! One warp filter hands everything over; the table of routes decides. Handlers only submit and wait: whoever stops waiting (a closed
//! connection, a deadline) changes nothing of what was decided.

use super::admission::{Admission, Lane, Place};
use super::callers::{Access, Caller, allow, identify};
use super::conventions;
use super::gate::Gate;
use super::keys::Keys;
use super::openapi;
use super::problem::{Code, Problem};
use super::refusals::{accepted, not_found};
use super::reply::Reply;
use super::routes::{Body, Found, Op, Params, ROUTES, Route, Router};
use super::seam::Shop;
use super::secret::Secret;
use super::server::Peer;
use super::settings::Settings;
use super::{carts, catalog, guests, orders, parcels, paying, reservations, stock, webhooks};
use bytes::{Buf, Bytes, BytesMut};
use compact_str::CompactString;
use doorbuster_actors::ask::{Accepted, Answer, Ask};
use doorbuster_domain::any::Command;
use doorbuster_domain::entity::{By, Wait};
use doorbuster_domain::ids::{EntityId, Request as RequestKey, RequestId};
use doorbuster_domain::time::Timestamp;
use futures_util::{FutureExt, Stream, StreamExt};
use hyper::Method;
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use warp::Filter;
use warp::reply::Response;

/// What an operator wants to know of the door.
#[derive(Debug, Default)]
pub struct DoorCounts {
    /// Who is inside, and who was not let in.
    pub admission: Admission,
    /// Answers by the hundreds of their status: 2xx at 2, 4xx at 4, …
    pub answers: [AtomicU64; 6],
}

impl DoorCounts {
    /// One more answer.
    pub(super) fn answered(&self, response: &Response) {
        if let Some(count) = self.answers.get(usize::from(response.status().as_u16() / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The public API over a shop.
#[derive(Clone)]
pub struct Api<S>(Arc<Inner<S>>);

impl<S> fmt::Debug for Api<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Api")
    }
}

pub(super) struct Inner<S> {
    pub(super) shop: S,
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) secret: Secret,
    router: Arc<Router>,
    openapi: Bytes,
    counts: Arc<DoorCounts>,
}

/// A request as it came, before anything is known of it.
struct Arrived<'a> {
    method: &'a Method,
    path: &'a str,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    address: Option<IpAddr>,
}

/// A request that has a place.
struct Admitted<'a> {
    route: &'static Route,
    params: Params,
    place: Place<'a>,
    now: Timestamp,
}

/// Why a request was not answered as it wished.
enum Refused {
    /// There is no place: nothing but the ready answer is made for it.
    NoPlace,
    Because(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Because(problem)
    }
}

/// A request that passed the door.
pub(super) struct Request<'a, S> {
    pub(super) api: &'a Inner<S>,
    pub(super) route: &'static Route,
    pub(super) params: Params,
    pub(super) caller: Caller,
    pub(super) headers: HeaderMap,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) now: Timestamp,
}

impl<S: Shop> Api<S> {
    /// The API of `shop`.
    #[must_use]
    pub fn new(shop: S, settings: Settings, keys: Keys, secret: Secret) -> Self {
        let counts = DoorCounts { admission: Admission::new(settings.admission), answers: Default::default() };
        Self(Arc::new(Inner {
            shop,
            settings,
            keys,
            secret,
            router: Arc::new(Router::new(ROUTES)),
            openapi: openapi::document().into(),
            counts: Arc::new(counts),
        }))
    }

    /// What the operator port shows of the door.
    #[must_use]
    pub fn counts(&self) -> Arc<DoorCounts> {
        Arc::clone(&self.0.counts)
    }

    /// The gate before this door, for whoever serves it on sockets.
    #[must_use]
    pub fn gate(&self) -> Gate {
        let api = Arc::clone(&self.0);
        Gate::new(self.counts(), Arc::clone(&self.0.router), Arc::new(move || api.shop.now()))
    }

    /// The filter that serves every route; it needs no socket.
    pub fn filter(&self) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
        let api = Arc::clone(&self.0);
        warp::method()
            .and(warp::path::full())
            .and(warp::query::<Vec<(String, String)>>())
            .and(warp::header::headers_cloned())
            .and(warp::ext::optional::<Peer>())
            .and(warp::body::stream())
            .then(move |method: Method, path: warp::path::FullPath, query, headers, peer: Option<Peer>, body| {
                let api = Arc::clone(&api);
                let address = peer.map(|peer| peer.0.ip());
                async move {
                    api.serve(Arrived { method: &method, path: path.as_str(), query, headers, address }, body).await
                }
            })
            .recover(|_rejection: warp::Rejection| async {
                // Only a query that is no query gets here: everything else is decided by the table.
                let problem = Problem::new(Code::MalformedRequest).detail("the query cannot be read");
                Ok::<_, Infallible>(problem.into_response())
            })
            .unify()
    }
}

impl<S: Shop> Inner<S> {
    async fn serve<B: Buf, E: fmt::Display>(
        &self,
        arrived: Arrived<'_>,
        body: impl Stream<Item = Result<B, E>>,
    ) -> Response {
        let admission = &self.counts.admission;
        let answer = async {
            // Whoever finds no place costs no more than this; the way of all others is long, and lives in a box.
            let admitted = self.admit(&arrived)?;
            Box::pin(self.answer(admitted, arrived, body)).await
        };
        let response = match AssertUnwindSafe(answer).catch_unwind().await {
            Ok(Ok(reply)) => reply.into_response(),
            Ok(Err(Refused::NoPlace)) => admission.no_place(),
            // Further inside there was no room: those who hear it are spread like those who hear it at the door.
            Ok(Err(Refused::Because(problem))) if problem.code() == Code::Overloaded => {
                problem.retry_after(admission.come_back_s()).into_response()
            }
            Ok(Err(Refused::Because(problem))) => problem.into_response(),
            Err(_panic) => panicked(),
        };
        self.counts.answered(&response);
        response
    }

    /// What is wanted, and a place for it.
    fn admit(&self, arrived: &Arrived<'_>) -> Result<Admitted<'_>, Refused> {
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
        let now = self.shop.now();
        let place = self.enter(route, &arrived.headers, now)?;
        Ok(Admitted { route, params, place, now })
    }

    async fn answer<B: Buf, E: fmt::Display>(
        &self,
        admitted: Admitted<'_>,
        arrived: Arrived<'_>,
        body: impl Stream<Item = Result<B, E>>,
    ) -> Result<Reply, Refused> {
        let Admitted { route, params, place, now } = admitted;
        let Arrived { query, headers, address, .. } = arrived;
        let caller = self.identify(route, &headers, address, now)?;
        allow(&caller, route.access)?;
        if route.key {
            conventions::idempotency_key(&headers)?;
        }
        let (body, place) = self.read_body(route, &headers, body, place).await?;
        let request = Request { api: self, route, params, caller, headers, query, body, now };
        let answer = dispatch(request).await;
        if answer.as_ref().is_err_and(|problem| problem.code() == Code::Overloaded) {
            place.turned_away();
        }
        Ok(answer?)
    }

    /// A place in the lane of what is wanted.
    fn enter(&self, route: &Route, headers: &HeaderMap, now: Timestamp) -> Result<Place<'_>, Refused> {
        let patient = conventions::prefer_wait(headers, 1).is_some_and(|seconds| seconds > 0);
        self.counts.admission.enter(Lane::of(route.op), patient, now).ok_or(Refused::NoPlace)
    }

    /// Who asks, and may they send this much? Who guesses at keys is charged to their address like everybody without one.
    fn identify(
        &self,
        route: &Route,
        headers: &HeaderMap,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Caller, Problem> {
        if route.access == Access::Provider {
            // A provider sends what a crowd has caused, all from a few addresses: it is bounded by its lane.
            return Ok(Caller::Anyone);
        }
        let caller = identify(headers, route.writes(), &self.keys, &self.secret, now);
        let charged = self.counts.admission.charge(caller.as_ref().unwrap_or(&Caller::Anyone), address, now);
        charged.map_err(|seconds| {
            Problem::new(Code::TooManyRequests).detail("more requests than you may send").retry_after(seconds)
        })?;
        caller
    }

    async fn read_body<'door, B: Buf, E: fmt::Display>(
        &'door self,
        route: &Route,
        headers: &HeaderMap,
        body: impl Stream<Item = Result<B, E>>,
        place: Place<'door>,
    ) -> Result<(Bytes, Place<'door>), Refused> {
        let door = &self.settings.door;
        let (most, optional) = match route.body {
            Body::None => return Ok((Bytes::new(), place)),
            Body::Raw => (door.small_body_bytes_max, true),
            Body::JsonOrNothing(_) => (door.small_body_bytes_max, true),
            Body::Json(_) => (door.small_body_bytes_max, false),
            Body::LargeJson(_) => (door.body_bytes_max, false),
        };
        let too_large = || Problem::new(Code::BodyTooLarge).detail(format!("at most {most} bytes")).with("limit", most);
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(too_large().into());
        }
        let json = !matches!(route.body, Body::Raw);
        if json && !(optional && length.unwrap_or(0) == 0 && !headers.contains_key(CONTENT_TYPE)) && !is_json(headers) {
            return Err(Problem::new(Code::UnsupportedMediaType).detail("application/json is needed").into());
        }
        let mut body = pin!(collect(body, most, length.unwrap_or(0)));
        // Nearly every body has come with its head: only one that has not costs a timer.
        let (read, place) = match futures_util::poll!(body.as_mut()) {
            std::task::Poll::Ready(read) => (read, Some(place)),
            std::task::Poll::Pending => {
                // Whoever drips takes no place from those who are ready; the memory they may fill is bounded by itself.
                place.leave();
                let announced = u64::try_from(length.unwrap_or(most)).unwrap_or(u64::MAX);
                let slow = self.counts.admission.slow_body(announced).ok_or(Refused::NoPlace)?;
                let patience = Duration::from_millis(door.body_timeout_ms);
                let read = tokio::time::timeout(patience, body).await.unwrap_or(Err(Cut::Slow));
                drop(slow);
                (read, None)
            }
        };
        match read {
            Ok(bytes) => {
                let place = place.map_or_else(|| self.enter(route, headers, self.shop.now()), Ok)?;
                let nothing = bytes.is_empty() && optional && json;
                Ok((if nothing { Bytes::from_static(b"{}") } else { bytes }, place))
            }
            Err(Cut::TooLarge) => Err(too_large().into()),
            Err(Cut::Slow) => Err(Problem::new(Code::RequestTimeout)
                .detail("the body did not come in time")
                .header(hyper::header::CONNECTION, "close")
                .into()),
            Err(Cut::Broken(error)) => Err(Problem::new(Code::MalformedRequest)
                .detail(format!("the body cannot be read: {error}"))
                .header(hyper::header::CONNECTION, "close")
                .into()),
        }
    }
}

/// Why a body was not read to its end.
enum Cut {
    TooLarge,
    Slow,
    Broken(String),
}

async fn collect<B: Buf, E: fmt::Display>(
    body: impl Stream<Item = Result<B, E>>,
    most: usize,
    expected: usize,
) -> Result<Bytes, Cut> {
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut all: Option<BytesMut> = None;
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| Cut::Broken(error.to_string()))?;
        let length = chunk.remaining();
        if first.len() + all.as_ref().map_or(0, BytesMut::len) + length > most {
            return Err(Cut::TooLarge);
        }
        let chunk = chunk.copy_to_bytes(length);
        if let Some(all) = all.as_mut() {
            all.extend_from_slice(&chunk);
        } else if first.is_empty() {
            // A body in one piece, as nearly all are, is not copied.
            first = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(expected.max(first.len() + length));
            joined.extend_from_slice(&first);
            joined.extend_from_slice(&chunk);
            first = Bytes::new();
            all = Some(joined);
        }
    }
    Ok(all.map_or(first, BytesMut::freeze))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// A panic is a bug of ours; the caller gets an answer, and the connection and everybody else go on.
pub(super) async fn no_panic(answer: impl Future<Output = Result<Reply, Problem>>) -> Response {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(reply)) => reply.into_response(),
        Ok(Err(problem)) => problem.into_response(),
        Err(_panic) => panicked(),
    }
}

fn panicked() -> Response {
    tracing::error!("a handler panicked");
    Problem::new(Code::Internal).detail("a bug of ours").into_response()
}

async fn dispatch<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    // Those that a sale is made of run in place; the others are boxed, so that they do not make every request's future larger.
    match request.route.op {
        Op::PlaceOrder => orders::place(request).await,
        Op::GetAvailability => stock::availability(request).await,
        Op::MakeReservation => reservations::make(request).await,
        op => seldom(op, request).await,
    }
}

async fn seldom<S: Shop>(op: Op, request: Request<'_, S>) -> Result<Reply, Problem> {
    let served: std::pin::Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send + '_>> = match op {
        Op::OpenApi => {
            let document = request.api.openapi.clone();
            Box::pin(async move { Ok(Reply::bytes(200, "application/json", document).cache("max-age=60")) })
        }
        Op::Docs => page("text/html; charset=utf-8", include_str!("docs/docs.html")),
        Op::DocsScript => page("text/javascript; charset=utf-8", include_str!("docs/docs.js")),
        Op::DocsStyle => page("text/css; charset=utf-8", include_str!("docs/docs.css")),
        Op::PutProduct => Box::pin(catalog::put_product(request)),
        Op::GetProduct => Box::pin(catalog::get_product(request)),
        Op::PutWarehouse => Box::pin(catalog::put_warehouse(request)),
        Op::GetWarehouse => Box::pin(catalog::get_warehouse(request)),
        Op::GetInventory => Box::pin(stock::get(request)),
        Op::Receive => Box::pin(stock::receive(request)),
        Op::Adjust => Box::pin(stock::adjust(request)),
        Op::Count => Box::pin(stock::count(request)),
        Op::GetAvailability => Box::pin(stock::availability(request)),
        Op::MakeGuest => Box::pin(guests::make(request)),
        Op::MakeCart => Box::pin(carts::make(request)),
        Op::GetCart => Box::pin(carts::get(request)),
        Op::PutCartLine => Box::pin(carts::put_line(request)),
        Op::DeleteCartLine => Box::pin(carts::delete_line(request)),
        Op::PlaceOrder => Box::pin(orders::place(request)),
        Op::GetOrder => Box::pin(orders::get(request)),
        Op::PatchOrder => Box::pin(orders::patch(request)),
        Op::CancelOrder => Box::pin(orders::cancel(request)),
        Op::OrderEvents => Box::pin(orders::events(request)),
        Op::RefundOrder => Box::pin(paying::refund(request)),
        Op::CaptureOrder => Box::pin(paying::capture(request)),
        Op::PayOrder => Box::pin(paying::pay(request)),
        Op::GetPayment => Box::pin(paying::get(request)),
        Op::ShipOrder => Box::pin(parcels::ship(request)),
        Op::GetShipment => Box::pin(parcels::get_shipment(request)),
        Op::DeliverShipment => Box::pin(parcels::deliver(request)),
        Op::LoseShipment => Box::pin(parcels::lose(request)),
        Op::ReturnOrder => Box::pin(parcels::request_return(request)),
        Op::GetReturn => Box::pin(parcels::get_return(request)),
        Op::ApproveReturn => Box::pin(parcels::approve(request)),
        Op::RejectReturn => Box::pin(parcels::reject(request)),
        Op::ReceiveReturn => Box::pin(parcels::receive(request)),
        Op::Webhook => Box::pin(webhooks::take(request)),
        Op::MakeReservation => Box::pin(reservations::make(request)),
        Op::MakeReservations => Box::pin(reservations::make_many(request)),
        Op::ListReservations => Box::pin(reservations::list(request)),
        Op::GetReservation => Box::pin(reservations::get(request)),
        Op::CommitReservation => Box::pin(reservations::commit(request)),
        Op::ReleaseReservation => Box::pin(reservations::release(request)),
        Op::ExtendReservation => Box::pin(reservations::extend(request)),
    };
    served.await
}

type Served<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send + 'a>>;

fn page<'a>(content_type: &'static str, text: &'static str) -> Served<'a> {
    // Scripts from here only, and nothing is sent anywhere else: a key typed into the page stays with this node.
    let policy = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'";
    Box::pin(async move {
        let reply = Reply::bytes(200, content_type, Bytes::from_static(text.as_bytes())).cache("max-age=60");
        Ok(reply.with("content-security-policy", policy).with("x-content-type-options", "nosniff"))
    })
}

impl<S: Shop> Request<'_, S> {
    /// The caller's name for requests and possessions.
    pub(super) fn principal(&self) -> Result<CompactString, Problem> {
        self.caller.principal().ok_or_else(|| Problem::new(Code::Unauthenticated).detail("a key or a token is needed"))
    }

    /// What makes this request and its repetitions one: principal, path and key, and the facts of its body.
    pub(super) fn request_key(&self, terms: doorbuster_domain::ids::Terms) -> Result<RequestKey, Problem> {
        let key = conventions::idempotency_key(&self.headers)?;
        let path = self.params.path_of(self.route);
        Ok(RequestKey { id: RequestId::new(&self.principal()?, &path, key), terms })
    }

    /// Waits as `Prefer` says, if it says anything.
    pub(super) fn prefer_wait(&self) -> Option<u64> {
        conventions::prefer_wait(&self.headers, self.api.settings.door.prefer_wait_max_s)
    }

    /// Asks an entity on behalf of the caller and takes what was accepted.
    pub(super) async fn ask(&self, entity: EntityId, command: Command) -> Result<Accepted, Problem> {
        let deadline = self.now.plus_ms(self.api.settings.door.command_timeout_ms);
        self.ask_until(entity, command, Wait::Decided, deadline, None).await
    }

    /// The same, waiting for the entity to get so far, but not beyond the deadline: then it is answered as it stands. The command
    /// carries its request, so asking it again has no second effect.
    pub(super) async fn ask_patiently(
        &self,
        entity: EntityId,
        command: Command,
        wait: Wait,
        deadline: Timestamp,
    ) -> Result<Accepted, Problem> {
        let by = self.caller.by();
        let (if_version, reject_if_absent) = (None, None);
        let ask = Ask { entity, command, by, if_version, wait, deadline, reject_if_absent };
        let again = (wait > Wait::Decided).then(|| ask.clone());
        match (self.api.ask(ask).await, again) {
            (Answer::Late, Some(ask)) => {
                let deadline = self.api.shop.now().plus_ms(self.api.settings.door.command_timeout_ms);
                let mut accepted = accepted(self.api.ask(Ask { wait: Wait::Decided, deadline, ..ask }).await)?;
                // It is this request's own effect that is shown.
                accepted.repeated = false;
                Ok(accepted)
            }
            (answer, _) => accepted(answer),
        }
    }

    /// The same, waiting for the entity to get so far until a deadline.
    pub(super) async fn ask_until(
        &self,
        entity: EntityId,
        command: Command,
        wait: Wait,
        deadline: Timestamp,
        if_version: Option<u64>,
    ) -> Result<Accepted, Problem> {
        let by = self.caller.by();
        accepted(self.api.ask(Ask { entity, command, by, if_version, wait, deadline, reject_if_absent: None }).await)
    }
}

impl<S: Shop> Inner<S> {
    pub(super) fn ask(&self, ask: Ask) -> impl Future<Output = Answer> + Send {
        self.shop.ask(ask)
    }

    /// A question of the API's own: no caller stands behind it.
    pub(super) async fn ask_as(
        &self,
        by: By,
        entity: EntityId,
        command: Command,
        now: Timestamp,
    ) -> Result<Accepted, Problem> {
        let deadline = now.plus_ms(self.settings.door.command_timeout_ms);
        let (wait, if_version, reject_if_absent) = (Wait::Decided, None, None);
        accepted(self.shop.ask(Ask { entity, command, by, if_version, wait, deadline, reject_if_absent }).await)
    }
}
