//! The porch: a thread of its own, where a connection stands until it has said a whole head.
//!
//! ```text
//! accept ──► bounds on connections ──► a whole head, or what can be none ──► the node's threads: hyper, filters
//!              └─► turned away           └─► silent, dripping, gone: closed here
//! ```
//!
//! Sockets that open and say nothing cost a node more than requests do, and anybody can open them. On the threads that serve they would stand in
//! one queue with every request; here the kernel deals out the processor, and this thread steps back for those that serve: a flood takes what they
//! leave. Whoever has said a head is handed over with what it has said, once per connection.

use super::head::linger;
use super::{Place, Shared, failure};
use crate::problem::{Code, Problem};
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

/// After so many accepted ones, those who stand here have their turn. Too few: a sale's opening is let in slowly. Too many: a flood of connects
/// makes the porch late for its own clocks.
const ACCEPTS_PER_TURN: u32 = 32;
/// Room for the first bytes of a connection: most heads fit.
const FIRST_BYTES: usize = 1_024;
/// So long a connection that is turned away may take to hear why.
const TURNED_AWAY_WITHIN: Duration = Duration::from_secs(1);
/// How far the porch steps back where processors are scarce: ten levels down it weighs a tenth of a thread that serves (`sched(7)`, the table is
/// `sched_prio_to_weight` in Linux's `kernel/sched/core.c`). Too little: floods slow down who is inside. Too much: at the height of a sale a shopper who
/// has just come is heard late.
const STEPS_BACK: i32 = 10;
/// Accepting failed, by want of file handles as a rule: pause so long.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection that has said a whole head, on its way to those who serve.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    /// What it has said so far.
    pub(super) first: Bytes,
    pub(super) place: Place,
}

/// Opens the porch; whatever arrives is given to `hand_over`. It closes when the first of these is dropped, and the second one says when it is closed:
/// then nobody stands there any more.
pub(super) fn open(
    listener: TcpListener,
    shared: Arc<Shared>,
    hand_over: impl Fn(Arrived) + Send + Sync + 'static,
) -> io::Result<(oneshot::Sender<()>, oneshot::Receiver<()>)> {
    let listener = listener.into_std()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (closed, seen_closed) = oneshot::channel::<()>();
    let (opened, seen_opened) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("porch".to_owned()).spawn(move || {
        step_back();
        // Made here, not by the caller: a runtime must not be let go of within another.
        let (runtime, listener) = match prepare(listener) {
            Ok(prepared) => prepared,
            Err(error) => return drop(opened.send(Err(error))),
        };
        // The caller waits for it.
        drop(opened.send(Ok(())));
        runtime.block_on(stand(listener, shared, Arc::new(hand_over), stopped));
        // Whoever still stands here is let go of with the runtime: nothing was asked yet.
        drop(runtime);
        drop(closed);
    })?;
    seen_opened.recv().map_err(io::Error::other)??;
    Ok((stop, seen_closed))
}

fn prepare(listener: std::net::TcpListener) -> io::Result<(Runtime, TcpListener)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _here = runtime.enter();
        TcpListener::from_std(listener)?
    };
    Ok((runtime, listener))
}

/// Only this thread: Linux has a niceness for each. Elsewhere it would be the whole node.
fn step_back() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(STEPS_BACK)
    {
        tracing::debug!(%error, "the porch could not step back");
    }
}

async fn stand<H>(listener: TcpListener, shared: Arc<Shared>, hand_over: Arc<H>, stopped: oneshot::Receiver<()>)
where
    H: Fn(Arrived) + Send + Sync + 'static,
{
    let mut stopped = pin!(stopped);
    let mut in_turn = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            _told = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => welcome(stream, peer, &shared, &hand_over),
            Err(error) => {
                // Out of file handles, or the peer was gone already: neither is a reason to stop, the first is one to pause.
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
        in_turn += 1;
        if in_turn == ACCEPTS_PER_TURN {
            in_turn = 0;
            tokio::task::yield_now().await;
        }
    }
}

fn welcome<H>(mut stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, hand_over: &Arc<H>)
where
    H: Fn(Arrived) + Send + Sync + 'static,
{
    shared.counts.accepted.fetch_add(1, Ordering::Relaxed);
    if shared.counts.open.load(Ordering::Relaxed) >= shared.limits.connections_max {
        return turn_away(stream, shared, Code::Overloaded);
    }
    if !shared.addresses.enter(peer.ip(), shared.limits.connections_per_address_max) {
        return turn_away(stream, shared, Code::TooManyRequests);
    }
    shared.counts.open.fetch_add(1, Ordering::Relaxed);
    let place = Place { shared: Arc::clone(shared), address: peer.ip() };
    let hand_over = Arc::clone(hand_over);
    tokio::spawn(async move {
        let limits = &place.shared.limits;
        let said = tokio::time::timeout(limits.header_read_timeout, listen(&stream, limits.head_bytes_max)).await;
        match said {
            Ok(Ok(Said::Enough(first))) => match stream.into_std() {
                Ok(stream) => hand_over(Arrived { stream, peer, first, place }),
                Err(error) => tracing::debug!(%error, "a connection was lost on the porch"),
            },
            Ok(Ok(Said::TooMuch)) => {
                let answer = failure::answer(Code::HeadTooLarge);
                if say(&mut stream, &answer).await {
                    linger(stream, &place.shared).await;
                }
            }
            // Silent, dripping, or gone: nobody is there to be answered.
            Ok(Ok(Said::Nothing) | Err(_)) | Err(_) => {}
        }
    });
}

/// What a connection says first.
enum Said {
    /// A whole head, or what can be none: what to answer to that is not decided here.
    Enough(Bytes),
    /// More than a head may be, without an end.
    TooMuch,
    /// It has nothing more to say.
    Nothing,
}

async fn listen(stream: &TcpStream, head_bytes_max: usize) -> io::Result<Said> {
    let mut said = Vec::new();
    loop {
        stream.readable().await?;
        let before = said.len();
        said.reserve(FIRST_BYTES);
        match stream.try_read_buf(&mut said) {
            Ok(0) => return Ok(Said::Nothing),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if is_enough(&said, before) {
            return Ok(Said::Enough(said.into()));
        }
        if said.len() > head_bytes_max {
            return Ok(Said::TooMuch);
        }
    }
}

/// Is there a whole head, or what no head begins with? All but the last of the first `before` bytes were looked at earlier.
fn is_enough(said: &[u8], before: usize) -> bool {
    let is_head = said.first().is_some_and(u8::is_ascii_uppercase);
    let new = said.get(before.saturating_sub(3)..).unwrap_or_default();
    !is_head || new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

/// Says why and closes: a refusal costs one write, never a place.
fn turn_away(mut stream: TcpStream, shared: &Arc<Shared>, code: Code) {
    if shared.counts.refused.fetch_add(1, Ordering::Relaxed).is_multiple_of(1_000) {
        tracing::warn!(code = code.as_str(), "connections are being turned away");
    }
    let problem = Problem::new(code).retry_after(1);
    tokio::spawn(async move { say(&mut stream, &problem.to_raw_http()).await });
}

/// The last words to a connection; `false`: they were not taken.
async fn say(stream: &mut TcpStream, answer: &[u8]) -> bool {
    let written = tokio::time::timeout(TURNED_AWAY_WITHIN, stream.write_all(answer)).await;
    matches!(written, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::is_enough;

    #[test]
    fn a_head_is_whole_at_its_empty_line_however_its_bytes_come() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 1..head.len() {
            let (said, last) = (&head[..end], end - 1);
            assert!(!is_enough(said, last), "{end}");
        }
        for before in 0..head.len() {
            assert!(is_enough(head, before), "the rest came after {before}");
        }
        assert!(is_enough(b"GET / HTTP/1.1\n\n", 15));
    }

    #[test]
    fn what_can_be_no_head_is_not_waited_for() {
        assert!(is_enough(b"\x16\x03\x01", 0));
        assert!(!is_enough(b"G", 0));
    }
}
