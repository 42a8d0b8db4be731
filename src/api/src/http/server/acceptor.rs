//! The acceptor: a thread of its own that accepts connections and keeps each until it has sent a whole head.
//!
//! ```text
//! accept ──► bounds on connections ──► a whole head ──► the node's threads: hyper, filters
//!              └─► refused               └─► no lawful head, silent, dripping, closed: ended here
//! ```
//!
//! Sockets that open and send nothing cost a node more than requests do, and any client can open them. On the threads that serve they would share one
//! queue with every request. Here the kernel divides the processor, and this thread has a lower priority than those that serve: a flood gets what they
//! leave. A connection that has sent a head is handed over with the bytes it sent, once per connection.

use super::framing::{HeadScan, Scanned};
use super::socket::linger;
use super::{ConnectionPermit, Shared, unparsable};
use crate::core::problem::{Code, Problem};
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Connections accepted before those that send their heads get a turn. Too few: a sale's opening is accepted slowly. Too many: a flood of connects
/// delays the timeouts of this thread.
const ACCEPTS_PER_TURN: u32 = 32;
/// First size of the buffer for a head, in bytes: most heads fit.
const FIRST_BYTES: usize = 1_024;
/// Time for a refused connection to take its answer.
const REFUSAL_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// By how much the niceness of this thread is raised: ten levels give it a tenth of the weight of a thread that serves (`sched(7)`, the table is
/// `sched_prio_to_weight` in Linux's `kernel/sched/core.c`). Too little: floods slow down requests. Too much: at the height of a sale new
/// connections wait long.
const NICENESS_RAISE: i32 = 10;
/// Pause after a failed accept, which as a rule means that file handles ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A connection that has sent a whole head.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    /// The bytes it has sent so far.
    pub(super) first: Bytes,
    pub(super) permit: ConnectionPermit,
}

/// Starts the acceptor; each connection that has sent a head is given to `hand_over`. The acceptor ends when the first of the returned channels is
/// dropped. The second one resolves when it has ended and no connection is left in it.
pub(super) fn start(
    listener: TcpListener,
    shared: Arc<Shared>,
    hand_over: impl Fn(Accepted) + Send + Sync + 'static,
) -> io::Result<(oneshot::Sender<()>, oneshot::Receiver<()>)> {
    let listener = listener.into_std()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (closed, seen_closed) = oneshot::channel::<()>();
    let (started, seen_started) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
        lower_thread_priority();
        // Made on this thread: a runtime must not be dropped within another.
        let (runtime, listener) = match prepare(listener) {
            Ok(prepared) => prepared,
            Err(error) => return drop(started.send(Err(error))),
        };
        // The caller waits for it.
        drop(started.send(Ok(())));
        runtime.block_on(run(listener, shared, Arc::new(hand_over), stopped));
        // Connections that are still here are dropped with the runtime: they have not sent a request yet.
        drop(runtime);
        drop(closed);
    })?;
    seen_started.recv().map_err(io::Error::other)??;
    Ok((stop, seen_closed))
}

fn prepare(listener: std::net::TcpListener) -> io::Result<(Runtime, TcpListener)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener)?
    };
    Ok((runtime, listener))
}

/// Only on Linux, where each thread has a niceness of its own; elsewhere this would slow down the whole node.
fn lower_thread_priority() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(NICENESS_RAISE)
    {
        tracing::debug!(%error, "lower the priority of the acceptor");
    }
}

async fn run<H>(listener: TcpListener, shared: Arc<Shared>, hand_over: Arc<H>, stopped: oneshot::Receiver<()>)
where
    H: Fn(Accepted) + Send + Sync + 'static,
{
    let mut stopped = pin!(stopped);
    let mut in_turn = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            _dropped = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => accept_connection(stream, peer, &shared, &hand_over),
            Err(error) => {
                // Either file handles ran out, which a pause helps, or the peer is gone already: the acceptor goes on.
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        in_turn += 1;
        if in_turn == ACCEPTS_PER_TURN {
            in_turn = 0;
            tokio::task::yield_now().await;
        }
    }
}

fn accept_connection<H>(mut stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, hand_over: &Arc<H>)
where
    H: Fn(Accepted) + Send + Sync + 'static,
{
    shared.counts.accepted.fetch_add(1, Ordering::Relaxed);
    if shared.counts.open.load(Ordering::Relaxed) >= shared.limits.connections_max {
        return refuse(stream, shared, Code::Overloaded);
    }
    if !shared.addresses.enter(peer.ip(), shared.limits.connections_per_address_max) {
        return refuse(stream, shared, Code::TooManyRequests);
    }
    shared.counts.open.fetch_add(1, Ordering::Relaxed);
    let permit = ConnectionPermit { shared: Arc::clone(shared), address: peer.ip() };
    let hand_over = Arc::clone(hand_over);
    tokio::spawn(async move {
        let limits = &permit.shared.limits;
        let read = tokio::time::timeout(limits.header_read_timeout, read_first_head(&stream, limits.head_bytes_max));
        match read.await {
            Ok(Ok(FirstHead::Whole(first))) => match stream.into_std() {
                Ok(stream) => hand_over(Accepted { stream, peer, first, permit }),
                Err(error) => tracing::debug!(%error, "hand over a connection"),
            },
            Ok(Ok(FirstHead::Refused(code, detail))) => {
                let answer = unparsable::answer(code, detail, &permit.shared.request_ids);
                if write_refusal(&mut stream, &answer).await {
                    linger(stream, &permit.shared).await;
                }
            }
            // Silent, dripping or closed: no client is there to read an answer.
            Ok(Ok(FirstHead::Closed) | Err(_)) | Err(_) => {}
        }
    });
}

/// What a connection sends first.
enum FirstHead {
    /// A whole head, possibly with bytes behind it.
    Whole(Bytes),
    /// Bytes that are no lawful head: what answers them.
    Refused(Code, &'static str),
    /// The peer closed its side before the end of a head.
    Closed,
}

async fn read_first_head(stream: &TcpStream, head_bytes_max: usize) -> io::Result<FirstHead> {
    let (mut bytes, mut head) = (Vec::new(), HeadScan::default());
    loop {
        stream.readable().await?;
        bytes.reserve(FIRST_BYTES);
        match stream.try_read_buf(&mut bytes) {
            Ok(0) => return Ok(FirstHead::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        match head.scan(&bytes, head_bytes_max) {
            Scanned::Incomplete => {}
            Scanned::Whole(..) => return Ok(FirstHead::Whole(bytes.into())),
            Scanned::Refused(code, detail) => return Ok(FirstHead::Refused(code, detail)),
        }
    }
}

/// Writes the refusal and closes: it costs one write, and no connection permit.
fn refuse(mut stream: TcpStream, shared: &Arc<Shared>, code: Code) {
    if shared.counts.refused.fetch_add(1, Ordering::Relaxed).is_multiple_of(1_000) {
        tracing::warn!(code = code.as_str(), "connections are refused");
    }
    let answer = unparsable::raw(Problem::new(code).retry_after(1), &shared.request_ids);
    tokio::spawn(async move { write_refusal(&mut stream, &answer).await });
}

/// Writes a last answer; `false`: the peer did not take it.
async fn write_refusal(stream: &mut TcpStream, answer: &[u8]) -> bool {
    let written = tokio::time::timeout(REFUSAL_WRITE_TIMEOUT, stream.write_all(answer)).await;
    matches!(written, Ok(Ok(())))
}
