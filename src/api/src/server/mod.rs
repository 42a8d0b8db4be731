//! The sockets: accept, bound, time out, drain. What a request means is for the filters behind it.
//!
//! ```text
//! porch: accept, bounds on connections, a first head ──► hyper http1 ──► framing, Host ──► gate ──► total timeout ──► warp filters
//! ```
//!
//! Every bound is in [`Limits`], with what goes wrong without it. `warp::serve` would leave idle and dripping sockets open for ever.

mod connection;
mod failure;
mod head;
mod porch;
mod timer;

use super::gate::Gate;
use connection::{Serving, serve_connection};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use porch::Arrived;
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

/// The bounds on sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once. Too many: file handles and memory run out. Too few: shoppers are refused at rest.
    pub connections_max: usize,
    /// Connections of one address. Too many: one client takes all. Too few: shoppers behind one gateway are refused.
    pub connections_per_address_max: usize,
    /// A head must be whole within this time, counted from when the connection last fell idle: it bounds idle connections too.
    pub header_read_timeout: Duration,
    /// A request that was read must be answered within this time. Longer than the longest `Prefer: wait` (30 s).
    pub request_timeout: Duration,
    /// Once a peer takes no more of its answers, it must have taken them all within this time. Too long: whoever asks and does not read keeps
    /// its place and our memory. Too short: large answers on bad lines are cut off.
    pub write_timeout: Duration,
    /// Longest head, in bytes, above which it is 431.
    pub head_bytes_max: usize,
    /// How many connections the kernel keeps for us while we accept. Too few: connects are lost when a sale opens.
    pub backlog: u32,
    /// How long a stopping server lets requests finish.
    pub drain_timeout: Duration,
}

impl Default for Limits {
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

/// What an operator wants to know of the sockets.
#[derive(Debug, Default)]
pub struct SocketCounts {
    /// Open now.
    pub open: AtomicUsize,
    /// Ever accepted.
    pub accepted: AtomicUsize,
    /// Refused at once because a bound was reached.
    pub refused: AtomicUsize,
}

/// Who a request comes from; an extension of the request, absent where there is no socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Binds a listener with our backlog; `shared` lets several runtimes of one process listen on one port.
pub fn bind(address: SocketAddr, backlog: u32, shared: bool) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(shared)?;
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

/// What all connections of one server share.
pub(super) struct Shared {
    limits: Limits,
    gate: Option<Gate>,
    addresses: Addresses,
    counts: Arc<SocketCounts>,
    /// Sockets that are closed and still read on for a moment.
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

/// Holds a connection's place; dropping it gives the place back, whatever ended the connection.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.addresses.leave(self.address);
        let open = self.shared.counts.open.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        if self.shared.draining.load(Ordering::Relaxed) {
            self.shared.idle.send_replace(open);
        }
    }
}

/// Serves `filter` on `listener` from now on, until `stop` ends; what it gives must be driven, and ends with how many were cut off.
///
/// Once `stop` ends no connection is accepted, idle ones are closed, and requests under way have [`Limits::drain_timeout`] to finish. With a gate
/// requests wait there while the node is crowded, before anything is made of them.
///
/// # Errors
/// There is no thread, or no file handle, for the porch: nobody could come in.
///
/// # Panics
/// Outside a runtime of tokio.
pub fn serve<F>(
    listener: TcpListener,
    gate: Option<Gate>,
    filter: F,
    limits: Limits,
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
        addresses: Addresses::default(),
        counts,
        lingering: AtomicUsize::new(0),
        draining: AtomicBool::new(false),
        drain: Notify::new(),
        idle,
    });
    let runtime = tokio::runtime::Handle::current();
    let hand_over = {
        let shared = Arc::clone(&shared);
        move |arrived: Arrived| {
            let service = TowerToHyperService::new(warp::service(filter.clone()));
            runtime.spawn(receive(arrived, Arc::clone(&shared), service));
        }
    };
    let (porch, closed) = porch::open(listener, Arc::clone(&shared), hand_over)?;
    Ok(async move {
        stop.await;
        drop(porch);
        // Dropped or told: either way nobody is let in any more, and the listener is gone.
        drop(closed.await);
        drained(&shared, idle_seen).await
    })
}

/// Lets requests finish; how many were cut off.
async fn drained(shared: &Shared, mut idle_seen: watch::Receiver<usize>) -> usize {
    shared.draining.store(true, Ordering::SeqCst);
    shared.drain.notify_waiters();
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

/// Serves a connection that has come through the porch.
async fn receive<S>(arrived: Arrived, shared: Arc<Shared>, service: S)
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let Arrived { stream, peer, first, place } = arrived;
    match TcpStream::from_std(stream) {
        Ok(stream) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "setting TCP_NODELAY failed");
            }
            serve_connection(stream, first, Serving { shared, service, peer }).await;
        }
        Err(error) => tracing::warn!(%error, "a connection was lost behind the porch"),
    }
    drop(place);
}
