//! The socket below `hyper`: it sees what `hyper` no longer shows of a request's head (`Content-Length` twice, or together with
//! `Transfer-Encoding`), and whether the peer still takes its answers.
//!
//! `hyper` takes such a request (dropping the length, as RFC 9112 allows), but a proxy before us may have read it the other
//! way, and then the next request on the connection is smuggled. We refuse it, which RFC 9112 allows too. For that the last
//! bytes read are kept beside the connection.
//!
//! `hyper` waits for ever for a peer that asks and does not read. Here a write that has to wait begins a time within which everything must be
//! taken; a peer that takes a byte now and then does not begin it anew.

use super::Shared;
use super::failure;
use super::timer::ConnectionTimer;
use bytes::Bytes;
use std::io::{self, BufRead};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// So many of the last bytes read are looked at: more than the longest head that is accepted.
const KEPT_MAX: usize = 64 * 1024;

/// The last bytes read from a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn add(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() + bytes.len() > KEPT_MAX {
            kept.clear();
        }
        let from = bytes.len().saturating_sub(KEPT_MAX);
        kept.extend_from_slice(bytes.get(from..).unwrap_or_default());
    }

    /// Begins anew: the head of a request was taken from what was seen so far.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Does a head among what was seen frame its body in two ways?
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
            // An empty line ends a head: what follows is a body, or the next request.
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

/// After the last answer we read on so long, and so much, before we close: closing with unread bytes resets the
/// connection, and the client may lose the answer that says why.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// So many sockets linger at once; beyond it they are closed hard: they hold file descriptors, but no place among the connections.
const LINGERING_MAX: usize = 1_024;

/// A socket that remembers what it read last, and that lingers when it is let go of before its peer has said everything.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Option<TcpStream>,
    /// What was read on the porch, as far as it was not taken yet.
    first: Bytes,
    seen: Seen,
    ended: bool,
    timer: ConnectionTimer,
    /// A write had to wait: by then everything must be taken.
    taken_by: Option<Instant>,
    /// Goes out in place of what `hyper` wrote, and how much of it has gone.
    instead: Option<(Vec<u8>, usize)>,
    shared: Arc<Shared>,
}

impl Watched {
    pub(super) const fn new(
        stream: TcpStream,
        first: Bytes,
        seen: Seen,
        timer: ConnectionTimer,
        shared: Arc<Shared>,
    ) -> Self {
        Self { stream: Some(stream), first, seen, ended: false, timer, taken_by: None, instead: None, shared }
    }

    /// Writes what stands for `bytes`, then says that they are written.
    fn write_instead(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((own, gone)) = self.instead.take() {
            let rest = own.get(gone..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let written = self.stream().poll_write(context, rest);
            let written = self.in_time(written, context);
            match written {
                Poll::Ready(Ok(more)) if more > 0 => self.instead = Some((own, gone + more)),
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.instead = Some((own, gone));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Is there something to be written instead of `bytes`?
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_none() {
            self.instead = failure::instead_of(bytes).map(|own| (own, 0));
        }
        self.instead.is_some()
    }

    /// What became of a write, unless the peer has taken too long by now.
    fn in_time(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            return written;
        }
        let write_timeout = self.shared.limits.write_timeout;
        let taken_by = *self.taken_by.get_or_insert_with(|| ConnectionTimer::deadline(write_timeout));
        if self.timer.poll_until(taken_by, context).is_pending() {
            return Poll::Pending;
        }
        // Nothing it might still say is waited for.
        self.ended = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("the socket is there until it is dropped"))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (Some(stream), false) = (self.stream.take(), self.ended) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let shared = Arc::clone(&self.shared);
        runtime.spawn(async move { linger(stream, &shared).await });
    }
}

/// Ends our side of the connection and reads on for a moment.
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

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = buffer.remaining().min(self.first.len());
            let first = self.first.split_to(length);
            self.seen.add(&first);
            buffer.put_slice(&first);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = self.stream().poll_read(context, buffer);
        match (&polled, buffer.filled().get(before..)) {
            (_, Some(new)) if !new.is_empty() => self.seen.add(new),
            // The peer has said everything, or is gone: there is nothing to linger for.
            (Poll::Ready(_), _) => self.ended = true,
            (Poll::Pending, _) => {}
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_replaced(bytes) {
            return self.write_instead(bytes, context);
        }
        let written = self.stream().poll_write(context, bytes);
        self.in_time(written, context)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(bytes) = failure::only(slices)
            && self.is_replaced(bytes)
        {
            return self.write_instead(bytes, context);
        }
        let written = self.stream().poll_write_vectored(context, slices);
        self.in_time(written, context)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for once everything is written: the peer keeps up.
        self.taken_by = None;
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
