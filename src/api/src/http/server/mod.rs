//! The server: accepts connections, bounds and times them out, and drains. What a request means is decided by the filters behind it.
//!
//! ```text
//! acceptor: bounds on connections, a first head ──► framing ──► hyper http1 ──► Host ──► overload gate ──► total timeout ──► warp filters
//! ```
//!
//! Every bound is in [`SocketLimits`], with what goes wrong without it. `warp::serve` would leave idle and dripping sockets open for ever.

mod acceptor;
mod connection;
mod framing;
mod runtimes;
mod socket;
mod timer;
mod unparsable;

use super::overload_gate::OverloadGate;
use super::request_id::RequestIds;
use acceptor::Accepted;
use connection::{Serving, serve_connection};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use runtimes::OnRuntime;
pub use runtimes::Runtimes;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use warp::Filter;
use warp::reply::Response;

/// The bounds on sockets and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketLimits {
    /// Connections open at once. Too many: file handles and memory run out. Too few: shoppers are refused on an idle node.
    pub connections_max: usize,
    /// Connections of one address. Too many: one client takes all. Too few: shoppers behind one gateway are refused.
    pub connections_per_address_max: usize,
    /// Time for a whole head, counted from when the connection last became idle: it bounds idle connections too.
    pub header_read_timeout: Duration,
    /// Time for the answer to a request that was read. Longer than the longest `Prefer: wait` (30 s).
    pub request_timeout: Duration,
    /// Time for a peer to take all of its answers, counted from the first write that had to wait. Too long: a peer that does not read keeps its
    /// connection and memory. Too short: large answers on slow lines are cut off.
    pub write_timeout: Duration,
    /// Longest head in bytes; a longer one is answered 431.
    pub head_bytes_max: usize,
    /// Connections that the kernel queues before they are accepted. Too few: connects are lost when a sale opens.
    pub backlog: u32,
    /// Time for requests in flight when the server stops.
    pub drain_timeout: Duration,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connections_per_address_max: 8_192,
            header_read_timeout: Duration::from_secs(4),
            request_timeout: Duration::from_secs(35),
            write_timeout: Duration::from_secs(6),
            head_bytes_max: 16 * 1024,
            backlog: 4_096,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Counters of the sockets, for metrics.
#[derive(Debug, Default)]
pub struct SocketCounts {
    /// Connections open now.
    pub open: AtomicUsize,
    /// Connections accepted since the start.
    pub accepted: AtomicUsize,
    /// Connections refused since the start because a bound was reached.
    pub refused: AtomicUsize,
}

/// The peer that sent a request: an extension of the request, absent where there is no socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Binds a listener with this backlog.
///
/// # Errors
/// The address is in use or cannot be bound.
pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    fn enter(&self, address: IpAddr, max: usize) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        let room = *count < max;
        if room {
            *count += 1;
        }
        room
    }

    fn leave(&self, address: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// State that all connections of one server share.
pub(super) struct Shared {
    limits: SocketLimits,
    gate: Option<OverloadGate>,
    /// Name the requests that only the server answers.
    request_ids: RequestIds,
    addresses: Addresses,
    counts: Arc<SocketCounts>,
    /// Sockets that are closed for writing and still read for a moment.
    lingering: AtomicUsize,
    draining: AtomicBool,
    drain: Notify,
    idle: watch::Sender<usize>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A connection's permit; dropping it releases it, whatever ended the connection.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.shared.addresses.leave(self.address);
        let open = self.shared.counts.open.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        if self.shared.draining.load(Ordering::Relaxed) {
            self.shared.idle.send_replace(open);
        }
    }
}

/// Serves `filter` on `listener` until `stop` resolves. The returned future must be polled; it resolves to the number of connections that were cut
/// off.
///
/// Once `stop` resolves no connection is accepted, idle ones are closed, and requests in flight have [`SocketLimits::drain_timeout`] to finish. With
/// a gate, requests wait there while the node is overloaded. `runtimes` serve the connections.
///
/// # Errors
/// There is no thread or no file handle for the acceptor.
///
/// # Panics
/// Outside a tokio runtime.
pub fn serve<F>(
    listener: TcpListener,
    runtimes: Runtimes,
    gate: Option<OverloadGate>,
    filter: F,
    limits: SocketLimits,
    counts: Arc<SocketCounts>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<impl Future<Output = usize> + Send>
where
    F: Filter<Error = Infallible> + Clone + Send + Sync + 'static,
    F::Extract: warp::Reply,
{
    let (idle, idle_seen) = watch::channel(0);
    let shared = Arc::new(Shared {
        limits,
        gate,
        request_ids: RequestIds::default(),
        addresses: Addresses::default(),
        counts,
        lingering: AtomicUsize::new(0),
        draining: AtomicBool::new(false),
        drain: Notify::new(),
        idle,
    });
    let hand_over = {
        let shared = Arc::clone(&shared);
        move |accepted: Accepted| {
            let service = TowerToHyperService::new(warp::service(filter.clone()));
            runtimes.spawn(|on_runtime| serve_accepted(accepted, on_runtime, Arc::clone(&shared), service));
        }
    };
    let (acceptor, closed) = acceptor::start(listener, Arc::clone(&shared), hand_over)?;
    Ok(async move {
        stop.await;
        drop(acceptor);
        // However the channel resolves: no connection is accepted any more, and the listener is closed.
        drop(closed.await);
        drained(&shared, idle_seen).await
    })
}

/// Waits for requests in flight; returns the number of connections that were cut off.
async fn drained(shared: &Shared, mut idle_seen: watch::Receiver<usize>) -> usize {
    shared.draining.store(true, Ordering::SeqCst);
    shared.drain.notify_waiters();
    if let Some(gate) = &shared.gate {
        gate.stop_followers();
    }
    let drained = async {
        while shared.counts.open.load(Ordering::SeqCst) > 0 {
            if idle_seen.changed().await.is_err() {
                break;
            }
        }
    };
    match tokio::time::timeout(shared.limits.drain_timeout, drained).await {
        Ok(()) => 0,
        Err(_late) => shared.counts.open.load(Ordering::SeqCst),
    }
}

/// Serves a connection that the acceptor handed over.
async fn serve_accepted<S>(accepted: Accepted, on_runtime: OnRuntime, shared: Arc<Shared>, service: S)
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let Accepted { stream, peer, first, permit } = accepted;
    match TcpStream::from_std(stream) {
        Ok(stream) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "set TCP_NODELAY");
            }
            serve_connection(stream, first, Serving { shared, service, peer }).await;
        }
        Err(error) => tracing::warn!(%error, "register an accepted connection"),
    }
    drop((permit, on_runtime));
}
