//! The socket below `hyper`: it passes on what [`Framing`] has checked, and sees whether the peer still takes its answers.
//!
//! A head is held back until it is whole. Instead of one that is refused `hyper` gets a head that it cannot parse, so that it answers, after all
//! earlier answers, and closes; what it answers is replaced by the reason.
//!
//! `hyper` waits for ever for a peer that sends requests and does not read. Here a write that has to wait starts a timeout within which the peer
//! must take everything; a peer that takes a byte now and then does not restart it.

use super::Shared;
use super::framing::{Framing, Refusal};
use super::timer::ConnectionTimer;
use super::unparsable;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// What `hyper` gets instead of a head that is refused: no method begins with this byte.
const REFUSED_HEAD: &[u8] = b"\0\r\n\r\n";

/// How long, and for how many bytes, a socket is read after the last answer: closing it with unread bytes resets the
/// connection, and the client may lose the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Sockets that linger at once; further ones are closed at once. They hold file descriptors, but no connection permit.
const LINGERING_MAX: usize = 1_024;

/// A socket that reads whole heads, and that lingers when it is dropped before its peer closed.
#[derive(Debug)]
pub(super) struct MonitoredSocket {
    stream: Option<TcpStream>,
    framing: Framing,
    /// Bytes that were checked and that `hyper` has not taken yet.
    checked: Bytes,
    /// A head that is not whole yet.
    held: Vec<u8>,
    /// Why nothing more is read.
    refusal: Option<Refusal>,
    ended: bool,
    timer: ConnectionTimer,
    /// Deadline of pending writes; `None`: no write waits.
    write_deadline: Option<Instant>,
    /// Bytes that replace what `hyper` wrote, and how many of them are written.
    replacement: Option<(Vec<u8>, usize)>,
    shared: Arc<Shared>,
}

impl MonitoredSocket {
    /// `first`: the bytes that were read from it already.
    pub(super) fn new(stream: TcpStream, mut first: Bytes, timer: ConnectionTimer, shared: Arc<Shared>) -> Self {
        let mut framing = Framing::new(shared.limits.head_bytes_max);
        let (passed, refusal) = framing.check(&first);
        let mut socket = Self {
            stream: Some(stream),
            framing,
            checked: first.split_to(passed),
            held: first.into(),
            refusal: None,
            ended: false,
            timer,
            write_deadline: None,
            replacement: None,
            shared,
        };
        socket.refuse(refusal);
        socket
    }

    /// Keeps the refusal, if there is one, and lets `hyper` see it behind what was checked.
    fn refuse(&mut self, refusal: Option<Refusal>) {
        if refusal.is_none() {
            return;
        }
        self.held = Vec::new();
        if matches!(refusal, Some(Refusal::Head(..))) {
            self.checked = [self.checked.as_ref(), REFUSED_HEAD].concat().into();
        }
        self.refusal = refusal;
    }

    /// Checks what was read into `buffer` behind its first `before` bytes, and takes out of it what may not be passed on yet.
    fn check(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let new = buffer.filled().get(before..).unwrap_or_default();
        let refusal = if self.held.is_empty() {
            let (passed, refusal) = self.framing.check(new);
            self.held.extend_from_slice(new.get(passed..).unwrap_or_default());
            buffer.set_filled(before.saturating_add(passed));
            refusal
        } else {
            self.held.extend_from_slice(new);
            buffer.set_filled(before);
            let (passed, refusal) = self.framing.check(&self.held);
            let rest = self.held.split_off(passed);
            self.checked = std::mem::replace(&mut self.held, rest).into();
            refusal
        };
        self.refuse(refusal);
    }

    /// Writes the replacement of `bytes`, then reports `bytes` as written.
    fn write_replacement(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((own, written_so_far)) = self.replacement.take() {
            let rest = own.get(written_so_far..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let written = self.stream().poll_write(context, rest);
            let written = self.in_time(written, context);
            match written {
                Poll::Ready(Ok(more)) if more > 0 => self.replacement = Some((own, written_so_far + more)),
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.replacement = Some((own, written_so_far));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Is there a replacement for `bytes`?
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if self.replacement.is_none() {
            self.replacement =
                unparsable::replacement(bytes, self.refusal, &self.shared.request_ids).map(|own| (own, 0));
        }
        self.replacement.is_some()
    }

    /// The result of a write, or `TimedOut` once the peer has taken too long.
    fn in_time(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            return written;
        }
        let write_timeout = self.shared.limits.write_timeout;
        let write_deadline = *self.write_deadline.get_or_insert_with(|| ConnectionTimer::deadline(write_timeout));
        if self.timer.poll_until(write_deadline, context).is_pending() {
            return Poll::Pending;
        }
        // Nothing more is read from this peer.
        self.ended = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("the socket is there until this is dropped"))
    }
}

impl Drop for MonitoredSocket {
    fn drop(&mut self) {
        let (Some(stream), false) = (self.stream.take(), self.ended) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let shared = Arc::clone(&self.shared);
        runtime.spawn(async move { linger(stream, &shared).await });
    }
}

/// Closes the socket for writing and reads on for a moment.
pub(super) async fn linger(stream: TcpStream, shared: &Shared) {
    if shared.lingering.fetch_add(1, Ordering::Relaxed) < LINGERING_MAX {
        read_on(stream).await;
    }
    shared.lingering.fetch_sub(1, Ordering::Relaxed);
}

async fn read_on(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let rest = async {
        let mut scratch = [0_u8; 4096];
        let mut total = 0;
        while total < LINGER_BYTES_MAX {
            match stream.read(&mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(read) => total += read,
            }
        }
    };
    if tokio::time::timeout(LINGER, rest).await.is_err() {
        tracing::trace!("a peer kept its side open");
    }
}

impl AsyncRead for MonitoredSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.checked.is_empty() {
                let length = buffer.remaining().min(self.checked.len());
                let checked = self.checked.split_to(length);
                buffer.put_slice(&checked);
                return Poll::Ready(Ok(()));
            }
            match self.refusal {
                None => {}
                // The refused head was the last thing to be read.
                Some(Refusal::Head(..)) => return Poll::Ready(Ok(())),
                Some(Refusal::Body(detail)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, detail)));
                }
            }
            let before = buffer.filled().len();
            let polled = self.stream().poll_read(context, buffer);
            if buffer.filled().len() == before {
                // The peer has closed, or is gone: lingering is pointless.
                self.ended |= polled.is_ready();
                return polled;
            }
            self.check(buffer, before);
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for MonitoredSocket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_replaced(bytes) {
            return self.write_replacement(bytes, context);
        }
        let written = self.stream().poll_write(context, bytes);
        self.in_time(written, context)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(bytes) = unparsable::only(slices)
            && self.is_replaced(bytes)
        {
            return self.write_replacement(bytes, context);
        }
        let written = self.stream().poll_write_vectored(context, slices);
        self.in_time(written, context)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // `hyper` flushes once everything is written: the peer keeps up.
        self.write_deadline = None;
        self.stream().poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
