//! Hostile sockets, by kind: what each does, and the time within which a node must have closed it.

use hdrhistogram::Histogram;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Between two drips.
const DRIP: Duration = Duration::from_millis(500);
/// Whatever is still open so long after its time counts as never closed.
pub(super) const TOO_LONG: Duration = Duration::from_secs(20);
/// A socket that was closed is opened anew after this.
const REST: Duration = Duration::from_millis(200);
/// One that opens only to close rests this long.
const CHURN_REST: Duration = Duration::from_millis(20);

/// What a socket does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Nothing.
    Idle,
    /// A byte of its head now and then.
    DrippingHead,
    /// A whole head, then a byte of the body now and then.
    DrippingBody,
    /// Asks, and does not read what it is answered.
    StalledReader,
    /// Sends half a head and says that it has said everything.
    HalfClosed,
    /// A head without an end.
    HugeHead,
    /// A request, and behind it something that is none.
    Junk,
    /// Opens and closes.
    Churn,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Idle,
        Self::DrippingHead,
        Self::DrippingBody,
        Self::StalledReader,
        Self::HalfClosed,
        Self::HugeHead,
        Self::Junk,
        Self::Churn,
    ];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::DrippingHead => "dripping head",
            Self::DrippingBody => "dripping body",
            Self::StalledReader => "stalled reader",
            Self::HalfClosed => "half-closed",
            Self::HugeHead => "huge head",
            Self::Junk => "pipelined junk",
            Self::Churn => "open and close",
        }
    }

    /// A node must be rid of it within this time.
    pub(super) const fn limit(self) -> Duration {
        match self {
            Self::DrippingBody | Self::StalledReader => Duration::from_secs(10),
            _ => Duration::from_secs(5),
        }
    }
}

/// What the sockets of one kind met.
#[derive(Debug, Clone)]
pub(super) struct Met {
    /// Milliseconds until the node had closed.
    pub(super) closed: Histogram<u64>,
    /// Still open long after their time.
    pub(super) never: u64,
    /// Not let in, or lost before they did anything.
    pub(super) refused: u64,
}

impl Met {
    pub(super) fn new() -> Self {
        Self { closed: Histogram::new_with_max(600_000, 3).expect("lawful bounds"), never: 0, refused: 0 }
    }
    pub(super) fn add(&mut self, other: &Self) {
        self.closed.add(&other.closed).expect("both have the same bounds");
        self.never += other.never;
        self.refused += other.refused;
    }
}

/// One socket after the other, until then.
pub(super) async fn live(kind: Kind, address: SocketAddr, key: &str, until: Instant) -> Met {
    let mut met = Met::new();
    while Instant::now() < until {
        // One that begins shortly before the end is still seen to its own end, or the slow ones would never be counted.
        match tokio::time::timeout(TOO_LONG + kind.limit(), once(kind, address, key)).await {
            Ok(Ok(took)) if kind != Kind::Churn => {
                met.closed.saturating_record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            }
            Ok(Ok(_)) => {}
            Ok(Err(_)) => met.refused += 1,
            Err(_elapsed) => met.never += 1,
        }
        tokio::time::sleep(if kind == Kind::Churn { CHURN_REST } else { REST }).await;
    }
    met
}

/// Opens one, does what it does; how long it took the node to close it, from when it could have known.
async fn once(kind: Kind, address: SocketAddr, key: &str) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(address).await?;
    let mut since = Instant::now();
    let post = format!(
        "POST /v1/carts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nidempotency-key: k\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    match kind {
        Kind::Idle => until_closed(&mut stream).await,
        Kind::Churn => drop(stream),
        Kind::DrippingHead => drip(stream, b"GET /docs HTTP/1.1\r\nhost: x\r\nx-slow: ", b"a").await?,
        Kind::DrippingBody => drip(stream, post.as_bytes(), b" ").await?,
        Kind::StalledReader => since = stall(&mut stream).await?,
        Kind::HalfClosed => {
            stream.write_all(b"GET /docs HTTP/1.1\r\nho").await?;
            stream.shutdown().await?;
            until_closed(&mut stream).await;
        }
        Kind::HugeHead => {
            let head = format!("GET /docs HTTP/1.1\r\nhost: x\r\nx-huge: {}", "x".repeat(256 << 10));
            // It may be refused before all of it is said.
            drop(stream.write_all(head.as_bytes()).await);
            until_closed(&mut stream).await;
        }
        Kind::Junk => {
            stream.write_all(b"GET /docs HTTP/1.1\r\nhost: x\r\n\r\n\x16\x03\x01\x00\xff junk\r\n\r\n").await?;
            until_closed(&mut stream).await;
        }
    }
    Ok(since.elapsed())
}

async fn until_closed(stream: &mut TcpStream) {
    let mut scratch = [0_u8; 4_096];
    while matches!(stream.read(&mut scratch).await, Ok(1..)) {}
}

/// Says `first`, then `drop` now and then, until the other side is gone.
async fn drip(stream: TcpStream, first: &[u8], drop: &[u8]) -> io::Result<()> {
    let (mut reading, mut writing) = stream.into_split();
    writing.write_all(first).await?;
    let mut scratch = [0_u8; 4_096];
    loop {
        tokio::select! {
            read = reading.read(&mut scratch) => if !matches!(read, Ok(1..)) { return Ok(()) },
            () = tokio::time::sleep(DRIP) => if writing.write_all(drop).await.is_err() { return Ok(()) },
        }
    }
}

/// Asks until no more questions are taken, and then does not read; since when.
async fn stall(stream: &mut TcpStream) -> io::Result<Instant> {
    let questions = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(200);
    let mut stalled: Option<Instant> = None;
    loop {
        match stream.try_write(&questions) {
            // A partial write leaves a cut request, which is junk; by then the node no longer reads.
            Ok(_) => stalled = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stalled.get_or_insert_with(Instant::now);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(_) => return Ok(stalled.unwrap_or_else(Instant::now)),
        }
        tokio::task::yield_now().await;
    }
}
