//! One keep-alive HTTP/1.1 connection: bytes out, status and body in.
//!
//! The load generator lives on the cores of the server it measures, so it does the least that is correct: requests are
//! finished bytes, the head is scanned once, the body is lent from the read buffer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// An answer is refused when it grows beyond this many bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One connection to one server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    body: Vec<u8>,
    closed: bool,
}

/// What the server said.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, in whole seconds.
    pub retry_after: Option<Duration>,
    /// The content.
    pub body: &'a [u8],
    head: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The headers, in the order in which they came; one that is not text is left out.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let head = std::str::from_utf8(self.head).unwrap_or_default();
        head.split("\r\n").skip(1).filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()))
    }
}

impl Connection {
    /// Connects, without Nagle's delay.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::of(TcpStream::connect(address).await?)
    }

    /// The same from an address of this machine, such as 127.0.0.2: servers count by addresses.
    pub async fn open_from(from: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(from, 0))?;
        Self::of(socket.connect(address).await?)
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 << 10), body: Vec::new(), closed: false })
    }

    /// Has the server said that this was the last answer?
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Has the server closed it while it was idle? Servers do, and a client that keeps connections looks before it uses one again.
    pub fn is_gone(&self) -> bool {
        !matches!(self.stream.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends `request` and reads its answer. After an error the connection is of no more use.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some(head) = Head::read(&self.buffer)? {
                break head;
            }
            self.fill().await?;
        };
        self.closed = head.close;
        let body = if head.chunked {
            self.read_chunks(head.length).await?;
            self.body.as_slice()
        } else {
            let end = head.length.saturating_add(head.content_length.unwrap_or(0));
            while self.buffer.len() < end {
                self.fill().await?;
            }
            self.buffer.get(head.length..end).unwrap_or_default()
        };
        let (status, retry_after) = (head.status, head.retry_after);
        Ok(Reply { status, retry_after, body, head: self.buffer.get(..head.length).unwrap_or_default() })
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.buffer.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn read_chunks(&mut self, from: usize) -> io::Result<()> {
        self.body.clear();
        let mut at = from;
        loop {
            let line_end = self.find_line_end(at).await?;
            let size = self.buffer.get(at..line_end).and_then(chunk_size);
            let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a chunk size"))?;
            at = line_end + 2;
            if size == 0 {
                // Trailers, if any, end with an empty line.
                loop {
                    let end = self.find_line_end(at).await?;
                    let empty = end == at;
                    at = end + 2;
                    if empty {
                        return Ok(());
                    }
                }
            }
            let end = at.saturating_add(size).saturating_add(2);
            while self.buffer.len() < end {
                self.fill().await?;
            }
            self.body.extend_from_slice(self.buffer.get(at..at + size).unwrap_or_default());
            at = end;
        }
    }

    async fn find_line_end(&mut self, from: usize) -> io::Result<usize> {
        loop {
            let found = self.buffer.get(from..).and_then(|rest| rest.windows(2).position(|pair| pair == b"\r\n"));
            if let Some(position) = found {
                return Ok(from + position);
            }
            self.fill().await?;
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|byte| *byte == b';').next()?;
    usize::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()
}

/// The parts of an answer's head that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    length: usize,
    status: u16,
    content_length: Option<usize>,
    chunked: bool,
    close: bool,
    retry_after: Option<Duration>,
}

impl Head {
    /// `None` while the empty line that ends the head has not come.
    fn read(buffer: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP/1.1 answer");
        let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default()).map_err(|_not_text| bad())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).and_then(|line| line.get(2..5));
        let status = status.and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        let mut read = Self { length: end + 4, status, ..Self::default() };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                read.content_length = Some(value.parse().map_err(|_not_a_length| bad())?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                read.chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                read.close = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("retry-after") {
                read.retry_after = value.parse().ok().map(Duration::from_secs);
            }
        }
        Ok(Some(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answering(pieces: Vec<&'static [u8]>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut asked = [0_u8; 1024];
            assert!(stream.read(&mut asked).await.unwrap() > 0);
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        address
    }

    #[tokio::test]
    async fn an_answer_in_pieces_is_read_whole() {
        let address = answering(vec![
            b"HTTP/1.1 503 Service Unav",
            b"ailable\r\nRetry-After: 2\r\ncontent-LENGTH: 5\r\n\r\nab",
            b"cde",
        ])
        .await;
        let mut connection = Connection::open(address).await.unwrap();
        let reply = connection.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!((reply.status, reply.retry_after, reply.body), (503, Some(Duration::from_secs(2)), &b"abcde"[..]));
        assert_eq!(reply.headers().collect::<Vec<_>>(), [("Retry-After", "2"), ("content-LENGTH", "5")]);
    }

    #[tokio::test]
    async fn a_chunked_answer_is_put_together() {
        let address = answering(vec![
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nWiki\r\n",
            b"3;x=y\r\nped\r\n0\r\n\r\n",
        ])
        .await;
        let mut connection = Connection::open(address).await.unwrap();
        assert_eq!(connection.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap().body, b"Wikiped");
    }

    #[tokio::test]
    async fn a_connection_that_ends_early_is_an_error() {
        let address = answering(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"]).await;
        let mut connection = Connection::open(address).await.unwrap();
        assert_eq!(
            connection.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
