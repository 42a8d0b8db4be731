//! The socket below `hyper`: it sees what `hyper` hides of a request's head (`Content-Length` twice, or together with
//! `Transfer-Encoding`), and whether the peer still takes its answers.
//!
//! `hyper` accepts such a request (dropping the length, as RFC 9112 allows), but a proxy before the node may have read it the other
//! way, and then the next request on the connection is smuggled. The node refuses it, which RFC 9112 allows too. For that the last
//! bytes read are kept beside the connection.
//!
//! `hyper` waits for ever for a peer that sends requests and does not read. Here a write that has to wait starts a timeout within which the peer
//! must take everything; a peer that takes a byte now and then does not restart it.

use super::Shared;
use super::timer::ConnectionTimer;
use super::unparsable;
use bytes::Bytes;
use std::io::{self, BufRead};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// How many of the last bytes read are kept: more than the longest head that is accepted.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The last bytes read from a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentBytes(Arc<Mutex<Vec<u8>>>);

impl RecentBytes {
    fn add(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() + bytes.len() > KEPT_BYTES_MAX {
            kept.clear();
        }
        let from = bytes.len().saturating_sub(KEPT_BYTES_MAX);
        kept.extend_from_slice(bytes.get(from..).unwrap_or_default());
    }

    /// Forgets the bytes: the head of a request was parsed from them.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Does a head among the bytes frame its body in two ways?
    pub(super) fn framed_twice(&self) -> bool {
        framed_twice(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn framed_twice(mut bytes: &[u8]) -> bool {
    let mut lengths = 0_u32;
    let mut encoded = false;
    while !bytes.is_empty() {
        let line = bytes;
        let length = bytes.skip_until(b'\n').unwrap_or(0);
        let line = line.get(..length).unwrap_or_default();
        match line.first() {
            Some(b'c' | b'C') if starts_with(line, b"content-length:") => lengths += 1,
            Some(b't' | b'T') if starts_with(line, b"transfer-encoding:") => encoded = true,
            // An empty line ends a head: a body or the next request follows.
            Some(b'\r' | b'\n') if line.len() <= 2 => (lengths, encoded) = (0, false),
            _ => {}
        }
        if lengths > 1 || (encoded && lengths > 0) {
            return true;
        }
    }
    false
}

fn starts_with(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// How long, and for how many bytes, a socket is read after the last answer: closing it with unread bytes resets the
/// connection, and the client may lose the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Sockets that linger at once; further ones are closed at once. They hold file descriptors, but no connection permit.
const LINGERING_MAX: usize = 1_024;

/// A socket that keeps the bytes it read last, and that lingers when it is dropped before its peer closed.
#[derive(Debug)]
pub(super) struct MonitoredSocket {
    stream: Option<TcpStream>,
    /// Bytes that the acceptor read and `hyper` has not taken yet.
    first: Bytes,
    recent: RecentBytes,
    ended: bool,
    timer: ConnectionTimer,
    /// Deadline of pending writes; `None`: no write waits.
    write_deadline: Option<Instant>,
    /// Bytes that replace what `hyper` wrote, and how many of them are written.
    replacement: Option<(Vec<u8>, usize)>,
    shared: Arc<Shared>,
}

impl MonitoredSocket {
    pub(super) const fn new(
        stream: TcpStream,
        first: Bytes,
        recent: RecentBytes,
        timer: ConnectionTimer,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            stream: Some(stream),
            first,
            recent,
            ended: false,
            timer,
            write_deadline: None,
            replacement: None,
            shared,
        }
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
            self.replacement = unparsable::replacement(bytes).map(|own| (own, 0));
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
        if !self.first.is_empty() {
            let length = buffer.remaining().min(self.first.len());
            let first = self.first.split_to(length);
            self.recent.add(&first);
            buffer.put_slice(&first);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = self.stream().poll_read(context, buffer);
        match (&polled, buffer.filled().get(before..)) {
            (_, Some(new)) if !new.is_empty() => self.recent.add(new),
            // The peer has closed, or is gone: lingering is pointless.
            (Poll::Ready(_), _) => self.ended = true,
            (Poll::Pending, _) => {}
        }
        polled
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

#[cfg(test)]
mod tests {
    use super::framed_twice;

    #[test]
    fn a_body_framed_in_two_ways_is_seen_in_any_order_and_case() {
        assert!(framed_twice(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"));
        assert!(framed_twice(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n"));
        assert!(framed_twice(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nCONTENT-LENGTH: 3\r\n\r\n"));
    }

    #[test]
    fn two_requests_in_one_read_are_not_one_request() {
        assert!(!framed_twice(
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
        ));
    }
}
