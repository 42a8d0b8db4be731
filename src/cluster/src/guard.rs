//! A guard on every connection to the cluster port. It limits frame size and time until the peer has proved the cookie, and it ends both
//! halves of a connection at once when the connection is given up.
//!
//! ```text
//! socket ──► buffer ──► guard ──► ractor_cluster's session        frame = length u64 │ message
//! ```
//!
//! `ractor_cluster` bounds a frame, but neither the time an unauthenticated peer may take for one nor the number of such peers. A session
//! whose write blocks on a stopped peer also outlives its own actor. The guard covers all three.

use super::message::FRAME_BYTES_MAX;
use super::refusals::{Refusals, Refused};
use futures_util::task::AtomicWaker;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Sleep;
use tracing::warn;

/// The longest frame before the cookie is proved, in bytes: names, challenges, and the announcement of the gateways.
pub(super) const HANDSHAKE_FRAME_BYTES_MAX: u64 = 16 * 1024;
/// The longest frame after it, in bytes: one of our frames and what the transport adds to it.
pub(super) const WIRE_FRAME_BYTES_MAX: u64 = wire_frame_bytes_max();
/// The size of the read buffer, in bytes.
const READ_BYTES: usize = 64 * 1024;

const fn wire_frame_bytes_max() -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::as_conversions, reason = "a constant of a few MiB")]
    let ours = FRAME_BYTES_MAX as u64;
    ours + HANDSHAKE_FRAME_BYTES_MAX
}

/// The state of one connection, shared by both its halves and the peer table.
#[derive(Debug)]
pub(super) struct Guard {
    /// A label unique in this process: `address#number`.
    pub(super) label: String,
    proved: AtomicBool,
    closed: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// Notified when it is closed.
    ended: Notify,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    refusals: Arc<Refusals>,
}

impl Guard {
    /// An unauthenticated connection. `permit` counts it among those; a dialled connection has none.
    pub(super) fn new(label: String, permit: Option<OwnedSemaphorePermit>, refusals: Arc<Refusals>) -> Arc<Self> {
        Arc::new(Self {
            label,
            proved: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            ended: Notify::new(),
            permit: Mutex::new(permit),
            refusals,
        })
    }

    /// The peer has proved the cookie.
    pub(super) fn prove(&self) {
        self.proved.store(true, Ordering::Release);
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether the peer has proved the cookie.
    pub(super) fn is_proved(&self) -> bool {
        self.proved.load(Ordering::Acquire)
    }

    /// Whether the connection is open and the peer has not proved the cookie yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_proved() && !self.closed.load(Ordering::Acquire)
    }

    /// Waits until the connection is closed.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Ends both halves and wakes their tasks.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // The permit of a notification is kept for who waits later.
        self.ended.notify_one();
        self.reader.wake();
        self.writer.wake();
    }

    fn is_closed(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::from(ErrorKind::ConnectionAborted)) } else { Ok(()) }
    }
}

/// A connection with its guard, in the form that the transport takes.
pub(super) struct Guarded {
    guard: Arc<Guard>,
    read: BoxRead,
    write: BoxWrite,
}

impl Guarded {
    /// Wraps the two halves of a connection.
    pub(super) fn new<R, W>(guard: Arc<Guard>, read: R, write: W, handshake: Duration) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let read = GuardedRead {
            inner: BufReader::with_capacity(READ_BYTES, read),
            guard: Arc::clone(&guard),
            handshake_timer: Box::pin(tokio::time::sleep(handshake)),
            frames: Frames::default(),
        };
        let write = GuardedWrite { inner: write, guard: Arc::clone(&guard) };
        Self { guard, read: Box::new(read), write: Box::new(write) }
    }
}

impl ClusterBidiStream for Guarded {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (self.read, self.write)
    }
    fn peer_label(&self) -> Option<String> {
        Some(self.guard.label.clone())
    }
}

/// Tracks frame lengths in the byte stream.
#[derive(Debug, Default)]
struct Frames {
    length: [u8; 8],
    have: usize,
    left: u64,
}

impl Frames {
    /// Takes in received bytes; returns the length of a frame that is longer than `most`.
    fn pass(&mut self, bytes: &[u8], most: u64) -> Option<u64> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let skip = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
            self.left = self.left.saturating_sub(u64::try_from(skip).unwrap_or(u64::MAX));
            rest = rest.get(skip..).unwrap_or_default();
            let Some((first, behind)) = rest.split_first() else { break };
            if let Some(slot) = self.length.get_mut(self.have) {
                *slot = *first;
            }
            self.have = self.have.saturating_add(1);
            rest = behind;
            if self.have == self.length.len() {
                self.have = 0;
                self.left = u64::from_be_bytes(self.length);
                if self.left > most {
                    return Some(self.left);
                }
            }
        }
        None
    }
}

struct GuardedRead<R> {
    inner: BufReader<R>,
    guard: Arc<Guard>,
    handshake_timer: Pin<Box<Sleep>>,
    frames: Frames,
}

impl<R: AsyncRead + Unpin> AsyncRead for GuardedRead<R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        this.guard.reader.register(context.waker());
        this.guard.is_closed()?;
        let proved = this.guard.is_proved();
        if !proved && this.handshake_timer.as_mut().poll(context).is_ready() {
            let unlogged = this.guard.refusals.note(Refused::Slow);
            if let Some(unlogged) = unlogged {
                warn!(connection = %this.guard.label, unlogged, "a connection to the cluster port took too long to prove the cookie, closed");
            }
            return Poll::Ready(Err(Error::from(ErrorKind::TimedOut)));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(context, buffer)?;
        let passed = buffer.filled().get(before..).unwrap_or_default();
        let most = if proved { WIRE_FRAME_BYTES_MAX } else { HANDSHAKE_FRAME_BYTES_MAX };
        if let Some(length) = this.frames.pass(passed, most) {
            let connection = &this.guard.label;
            if let Some(unlogged) = this.guard.refusals.note(Refused::LongFrame) {
                warn!(%connection, length, most, proved, unlogged, "an invalid or too long frame on the cluster port, closed");
            }
            return Poll::Ready(Err(Error::from(ErrorKind::InvalidData)));
        }
        read.map(Ok)
    }
}

struct GuardedWrite<W> {
    inner: W,
    guard: Arc<Guard>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for GuardedWrite<W> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.guard.writer.register(context.waker());
        this.guard.is_closed()?;
        Pin::new(&mut this.inner).poll_write(context, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        this.guard.writer.register(context.waker());
        this.guard.is_closed()?;
        Pin::new(&mut this.inner).poll_flush(context)
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn guarded(handshake_timer: Duration) -> (Arc<Guard>, BoxRead, BoxWrite, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let guard = Guard::new("test#1".to_owned(), None, Arc::default());
        let (read, write) = tokio::io::split(ours);
        let (read, write) = Box::new(Guarded::new(Arc::clone(&guard), read, write, handshake_timer)).split();
        (guard, read, write, theirs)
    }

    fn frame(length: u64) -> Vec<u8> {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.resize(8 + usize::try_from(length).unwrap().min(1 << 16), 7);
        bytes
    }

    #[tokio::test]
    async fn a_stranger_gets_short_frames_only_and_a_peer_longer_ones() {
        let (guard, mut read, _write, mut theirs) = guarded(Duration::from_secs(60));
        theirs.write_all(&frame(9)).await.unwrap();
        let mut taken = [0; 17];
        read.read_exact(&mut taken).await.unwrap();
        guard.prove();
        theirs.write_all(&frame(HANDSHAKE_FRAME_BYTES_MAX + 1)).await.unwrap();
        let mut longer = vec![0; 8 + usize::try_from(HANDSHAKE_FRAME_BYTES_MAX + 1).unwrap()];
        read.read_exact(&mut longer).await.unwrap();
        theirs.write_all(&(1_u64 << 60).to_be_bytes()).await.unwrap();
        assert_eq!(read.read_u64().await.unwrap_err().kind(), ErrorKind::InvalidData);

        let (_guard, mut read, _write, mut theirs) = guarded(Duration::from_secs(60));
        theirs.write_all(&frame(HANDSHAKE_FRAME_BYTES_MAX + 1)).await.unwrap();
        assert_eq!(read.read_u64().await.unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_that_drips_is_closed_and_a_peer_may_be_silent() {
        let (_guard, mut read, _write, mut theirs) = guarded(Duration::from_secs(5));
        theirs.write_all(&[0, 0]).await.unwrap();
        assert_eq!(read.read_u64().await.unwrap_err().kind(), ErrorKind::TimedOut);

        let (guard, mut read, _write, _theirs) = guarded(Duration::from_secs(5));
        guard.prove();
        assert!(tokio::time::timeout(Duration::from_secs(3_600), read.read_u64()).await.is_err());
    }

    #[tokio::test]
    async fn a_closed_connection_ends_even_where_its_write_hangs() {
        let (guard, mut read, mut write, _theirs) = guarded(Duration::from_secs(60));
        let writing = tokio::spawn(async move { write.write_all(&vec![0; 4 << 20]).await });
        let reading = tokio::spawn(async move { read.read_u64().await });
        tokio::task::yield_now().await;
        guard.close();
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}
