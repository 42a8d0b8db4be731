//! One connection: its requests one after the other, each with a deadline, until it ends or the server drains.

use super::socket::MonitoredSocket;
use super::timer::ConnectionTimer;
use super::{Peer, Shared};
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::http::overload_gate::OverloadGate;
use crate::http::request_id::{named, own};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Version};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use warp::reply::Response;

/// What serves a connection, and the peer it serves.
#[derive(Debug)]
pub(super) struct Serving<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) service: S,
    pub(super) peer: SocketAddr,
}

/// Serves a connection to its end; `first` are the bytes that were read from it already.
pub(super) async fn serve_connection<S>(stream: TcpStream, first: Bytes, serving: Serving<S>)
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let Serving { shared, service, peer } = serving;
    let timer = ConnectionTimer::new(shared.limits.request_timeout);
    let socket = MonitoredSocket::new(stream, first, timer.clone(), Arc::clone(&shared));
    let timeout = shared.limits.request_timeout;
    let guarded = {
        let (timer, shared) = (timer.clone(), Arc::clone(&shared));
        service_fn(move |mut request: Request<Incoming>| {
            let own = own(request.headers());
            let answering = match head_problem(&request) {
                Some(problem) => Answering::Refused(problem),
                None => {
                    request.extensions_mut().insert(Peer(peer));
                    let gate = shared.gate.as_ref();
                    match gate.and_then(|gate| gate.must_wait(request.method(), request.uri().path()).zip(Some(gate))) {
                        None => Answering::Served(service.call(request)),
                        Some((class, gate)) => {
                            let (gate, service) = (gate.clone(), service.clone());
                            let timer = (timer.clone(), timeout);
                            Answering::Queued(Box::pin(wait(gate, class, service, request, timer)))
                        }
                    }
                }
            };
            let (timer, shared) = (timer.clone(), Arc::clone(&shared));
            async move {
                // The id is made only for those that the server answers itself.
                let id = || own.unwrap_or_else(|| shared.request_ids.make());
                let answer = match answering {
                    Answering::Served(answering) => within(answering, &timer, ConnectionTimer::deadline(timeout)).await,
                    Answering::Refused(problem) => Err(problem),
                    Answering::Queued(answering) => answering.await,
                };
                Ok::<_, Infallible>(answer.unwrap_or_else(|problem| closing(problem, &id())))
            }
        })
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(timer)
        .header_read_timeout(shared.limits.header_read_timeout)
        .max_header_size(shared.limits.head_bytes_max)
        .serve_connection(TokioIo::new(socket), guarded);
    let mut connection = pin!(connection);
    let mut drain = pin!(shared.drain.notified());
    // From here on no drain is missed: either the flag is set already, or the notification wakes this task.
    drain.as_mut().enable();
    let mut shutting_down = false;
    let mut registered = false;
    let ended = poll_fn(|context| {
        // The notification needs this task's waker once; afterwards reading the flag is enough and costs nothing.
        if !registered {
            registered = true;
            if drain.as_mut().poll(context).is_ready() {
                tracing::trace!("the server drains before the first request of a connection");
            }
        }
        if !shutting_down && shared.draining.load(Ordering::Relaxed) {
            shutting_down = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await;
    if let Err(error) = ended {
        // The peer disconnected, sent no HTTP or was too slow: no operator has to act.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// How a request gets its answer.
enum Answering<F> {
    Served(F),
    Refused(Problem),
    /// Boxed: only requests during overload pay for it.
    Queued(Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>),
}

/// Waits for room and is then served like every request, or is refused with a `Retry-After`.
async fn wait<S>(
    gate: OverloadGate,
    class: PriorityClass,
    service: S,
    request: Request<Incoming>,
    (timer, timeout): (ConnectionTimer, Duration),
) -> Result<Response, Problem>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let wait_until = ConnectionTimer::deadline(gate.wait_max());
    if !gate.wait(class, |context| timer.poll_until(wait_until, context)).await {
        return Ok(gate.overloaded_response());
    }
    within(service.call(request), &timer, ConnectionTimer::deadline(timeout)).await
}

/// What only the server checks of a request that `hyper` has parsed: its `Host` and its method.
fn head_problem(request: &Request<Incoming>) -> Option<Problem> {
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11 && request.uri().authority().is_none()) {
        return Some(Problem::new(Code::MalformedRequest).detail("exactly one Host header is needed"));
    }
    if request.method() == Method::CONNECT {
        return Some(Problem::new(Code::MethodNotAllowed).detail("CONNECT is not supported"));
    }
    None
}

/// The answer, or at the deadline 503 `outcome_unknown`. The handler's future is dropped then. Whether its command was decided is not known, so
/// the client sends the same key again.
async fn within(
    answering: impl Future<Output = Result<Response, Infallible>>,
    timer: &ConnectionTimer,
    deadline: Instant,
) -> Result<Response, Problem> {
    let mut answering = pin!(answering);
    poll_fn(|context| {
        if let Poll::Ready(answer) = answering.as_mut().poll(context) {
            return Poll::Ready(answer.map_err(|never| match never {}));
        }
        timer
            .poll_until(deadline, context)
            .map(|()| Err(Problem::new(Code::OutcomeUnknown).detail("not answered in time").retry_after(1)))
    })
    .await
}

fn closing(problem: Problem, id: &HeaderValue) -> Response {
    let mut response = named(problem, id);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
