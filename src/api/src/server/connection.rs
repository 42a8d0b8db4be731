//! One connection: its requests one after the other, each with a deadline, until it ends or the server drains.

use super::head::{Seen, Watched};
use super::timer::ConnectionTimer;
use super::{Peer, Shared};
use crate::admission::Lane;
use crate::gate::Gate;
use crate::problem::{Code, Problem};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
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

/// What a connection serves, and to whom.
#[derive(Debug)]
pub(super) struct Serving<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) service: S,
    pub(super) peer: SocketAddr,
}

/// Serves a connection, which has said `first` already, to its end.
pub(super) async fn serve_connection<S>(stream: TcpStream, first: Bytes, serving: Serving<S>)
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let Serving { shared, service, peer } = serving;
    let timer = ConnectionTimer::new(shared.limits.request_timeout);
    let seen = Seen::default();
    let watched = Watched::new(stream, first, seen.clone(), timer.clone(), Arc::clone(&shared));
    let timeout = shared.limits.request_timeout;
    let guarded = {
        let (timer, seen, shared) = (timer.clone(), seen.clone(), Arc::clone(&shared));
        service_fn(move |mut request: Request<Incoming>| {
            let answering = match refusal(&request, &seen) {
                Some(problem) => Answering::Refused(problem),
                None => {
                    request.extensions_mut().insert(Peer(peer));
                    let gate = shared.gate.as_ref();
                    match gate.and_then(|gate| gate.stops(request.method(), request.uri().path()).zip(Some(gate))) {
                        None => Answering::Served(service.call(request)),
                        Some((lane, gate)) => {
                            let (gate, service, timer) = (gate.clone(), service.clone(), timer.clone());
                            Answering::Waits(Box::pin(wait(gate, lane, service, request, timer, timeout)))
                        }
                    }
                }
            };
            let timer = timer.clone();
            async move {
                match answering {
                    Answering::Served(answering) => within(answering, &timer, ConnectionTimer::deadline(timeout)).await,
                    Answering::Refused(problem) => Ok(closing(problem)),
                    Answering::Waits(waits) => waits.await,
                }
            }
        })
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(timer)
        .header_read_timeout(shared.limits.header_read_timeout)
        .max_header_size(shared.limits.head_bytes_max)
        .serve_connection(TokioIo::new(watched), guarded);
    let mut connection = pin!(connection);
    let mut drain = pin!(shared.drain.notified());
    // From here on a drain is not missed: it is either seen in the flag or wakes this task.
    drain.as_mut().enable();
    let mut told = false;
    let mut waiting = false;
    let ended = poll_fn(|context| {
        // The notification needs this task's waker once; afterwards the flag tells, which costs nothing.
        if !waiting {
            waiting = true;
            if drain.as_mut().poll(context).is_ready() {
                tracing::trace!("drain was told before the first request");
            }
        }
        if !told && shared.draining.load(Ordering::Relaxed) {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await;
    if let Err(error) = ended {
        // A peer that went away, sent no HTTP or was too slow: nothing for the person awake at three.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// How a request comes to its answer.
enum Answering<F> {
    Served(F),
    Refused(Problem),
    /// In a box: only a crowd pays for it.
    Waits(Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>),
}

/// Waits for room, and is then served like everybody; or hears when to come back.
async fn wait<S>(
    gate: Gate,
    lane: Lane,
    service: S,
    request: Request<Incoming>,
    timer: ConnectionTimer,
    timeout: Duration,
) -> Result<Response, Infallible>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let late = ConnectionTimer::deadline(gate.patience());
    if !gate.wait(lane, |context| timer.poll_until(late, context)).await {
        return Ok(gate.refusal());
    }
    within(service.call(request), &timer, ConnectionTimer::deadline(timeout)).await
}

/// What only the server can know of a request: its framing and its `Host`.
fn refusal(request: &Request<Incoming>, seen: &Seen) -> Option<Problem> {
    let headers = request.headers();
    let framed = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    let framed_twice = framed && seen.framed_twice();
    seen.clear();
    if framed_twice {
        return Some(Problem::new(Code::MalformedRequest).detail("the body's length is given more than once"));
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11 && request.uri().authority().is_none()) {
        return Some(Problem::new(Code::MalformedRequest).detail("one Host header is needed"));
    }
    if request.method() == Method::CONNECT {
        return Some(Problem::new(Code::MethodNotAllowed).detail("this is no proxy"));
    }
    None
}

/// The answer, or at the deadline a problem. The handler's future is dropped then: it only submitted. Whether it happened is
/// not known, so sending the same key again is the way on.
async fn within(
    answering: impl Future<Output = Result<Response, Infallible>>,
    timer: &ConnectionTimer,
    deadline: Instant,
) -> Result<Response, Infallible> {
    let mut answering = pin!(answering);
    poll_fn(|context| {
        if let Poll::Ready(answer) = answering.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        timer
            .poll_until(deadline, context)
            .map(|()| Ok(closing(Problem::new(Code::OutcomeUnknown).detail("not answered in time").retry_after(1))))
    })
    .await
}

fn closing(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
