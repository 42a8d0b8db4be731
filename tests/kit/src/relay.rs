//! One address that stands for another, on a path that can be cut: a TCP relay whose two directions are gates.
//!
//! ```text
//! dialler ──► [gate out] ──► relay ──► dialled
//!         ◄── [gate back] ◄──
//! ```
//!
//! A closed gate loses nothing and lets nothing pass: as on a network that is down, TCP keeps what was sent and delivers it late. So a
//! message from before the cut arrives after it, when its sender may have lost its shards: the harder case. A new connection waits until
//! both its gates are open.
//!
//! The target may change: a process that is killed comes back on another port. While there is no target, a relay closes what it accepts,
//! as a dead host would.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What one direction of one connection holds at most.
const BUFFER_BYTES: usize = 64 << 10;

/// One direction between two processes.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// Everything passes.
    pub fn open() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }

    /// From now on everything passes, or nothing.
    pub fn set(&self, open: bool) {
        self.0.send_replace(open);
    }

    /// Does everything pass?
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    async fn passes(&self) {
        // The sender lives as long as `self` does.
        drop(self.0.subscribe().wait_for(|open| *open).await);
    }
}

/// The gates of one connection: what the dialling side sends, and what it hears.
#[derive(Debug, Clone)]
pub struct Gates {
    /// From the process that dials to the one it dials.
    pub out: Gate,
    /// From the dialled process back.
    pub back: Gate,
}

/// A relay that listens until it is dropped; its connections end with it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port of loopback, has no target yet, and is never cut.
    pub async fn without_target() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::start(listener, None, |_dialler| Gates { out: Gate::open(), back: Gate::open() })
    }

    /// Passes connections to `listener` on to `target`. `gates` gives those of a connection, by the address it was dialled from.
    pub fn start(
        listener: TcpListener,
        target: Option<SocketAddr>,
        gates: impl Fn(SocketAddr) -> Gates + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let target = Arc::new(Mutex::new(target));
        let (gates, present) = (Arc::new(gates), Arc::clone(&target));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        // A dialler that is gone already, or no descriptor left: the next one may fare better.
                        let Ok((stream, from)) = accepted else { continue };
                        let Some(target) = *present.lock().unwrap() else { continue };
                        let gates = Arc::clone(&gates);
                        connections.spawn(async move {
                            let found = tokio::task::spawn_blocking(move || gates(from)).await;
                            if let Ok(gates) = found {
                                // Either side may end at any moment; both then learn it from their own socket.
                                drop(relay(stream, target, gates).await);
                            }
                        });
                    }
                    Some(_ended) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, target, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go to `target` from now on; `None`: nowhere.
    pub fn point_to(&self, target: Option<SocketAddr>) {
        *self.target.lock().unwrap() = target;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A free port on each of `addresses`: drivers expect the nodes of a store to share one.
pub async fn listen_on_all(addresses: &[IpAddr]) -> io::Result<Vec<TcpListener>> {
    const TRIES: usize = 20;
    let mut last = None;
    for _ in 0..TRIES {
        let mut listeners = Vec::new();
        let mut port = 0;
        for ip in addresses {
            match TcpListener::bind(SocketAddr::new(*ip, port)).await {
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    listeners.push(listener);
                }
                Err(error) => last = Some(error),
            }
        }
        if listeners.len() == addresses.len() {
            return Ok(listeners);
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

async fn relay(from: TcpStream, target: SocketAddr, gates: Gates) -> io::Result<()> {
    gates.out.passes().await;
    gates.back.passes().await;
    let to = TcpStream::connect(target).await?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    let ((read_near, write_near), (read_far, write_far)) = (from.into_split(), to.into_split());
    let out = pour(read_near, write_far, gates.out);
    let back = pour(read_far, write_near, gates.back);
    // A half-closed connection goes on in its other half.
    tokio::try_join!(out, back).map(drop)
}

async fn pour(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, gate: Gate) -> io::Result<()> {
    let mut state = gate.0.subscribe();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        gate.passes().await;
        state.mark_unchanged();
        let read = tokio::select! {
            biased;
            _changed = state.changed() => continue,
            read = from.read(&mut buffer) => read?,
        };
        // What was read as the gate closed waits with the rest.
        gate.passes().await;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn echoing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    drop(tokio::io::copy(&mut read, &mut write).await);
                });
            }
        });
        address
    }

    async fn relayed() -> (Relay, SocketAddr, Gates) {
        let target = echoing().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gates = Gates { out: Gate::open(), back: Gate::open() };
        let own = gates.clone();
        (Relay::start(listener, Some(target), move |_| own.clone()).unwrap(), address, gates)
    }

    async fn heard(stream: &mut TcpStream, wanted: &[u8], patience: Duration) -> bool {
        let mut buffer = vec![0; wanted.len()];
        match tokio::time::timeout(patience, stream.read_exact(&mut buffer)).await {
            Ok(read) => read.is_ok() && buffer == wanted,
            Err(_elapsed) => false,
        }
    }

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_closed_gate_holds_what_is_sent_and_delivers_it_once_it_opens() {
        for side in [|gates: &Gates| gates.out.clone(), |gates: &Gates| gates.back.clone()] {
            let (_relay, address, gates) = relayed().await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"before").await.unwrap();
            assert!(heard(&mut stream, b"before", LONG).await);
            side(&gates).set(false);
            stream.write_all(b"during").await.unwrap();
            assert!(!heard(&mut stream, b"during", SHORT).await);
            side(&gates).set(true);
            assert!(heard(&mut stream, b"during", LONG).await);
        }
    }

    #[tokio::test]
    async fn a_new_connection_waits_for_the_end_of_the_cut() {
        let (_relay, address, gates) = relayed().await;
        gates.back.set(false);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        assert!(!heard(&mut stream, b"hello", SHORT).await);
        gates.back.set(true);
        assert!(heard(&mut stream, b"hello", LONG).await);
    }

    #[tokio::test]
    async fn a_side_that_closes_is_noticed_on_the_other() {
        let (relay, address, _gates) = relayed().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"last words").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        tokio::time::timeout(LONG, stream.read_to_end(&mut all)).await.unwrap().unwrap();
        assert_eq!(all, b"last words");
        drop(relay);
    }

    #[tokio::test]
    async fn several_addresses_share_one_port() {
        let addresses = ["127.0.0.1", "127.0.0.2"].map(|text| text.parse().unwrap());
        let listeners = listen_on_all(&addresses).await.unwrap();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert_eq!(ports.first(), ports.last());
    }

    #[tokio::test]
    async fn a_relay_follows_its_target_and_closes_while_there_is_none() {
        let relay = Relay::without_target().await.unwrap();
        let mut closed = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(closed.read(&mut [0; 1]).await.unwrap_or(0), 0);
        for answer in [b'a', b'b'] {
            let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
            relay.point_to(Some(behind.local_addr().unwrap()));
            tokio::spawn(async move { behind.accept().await.unwrap().0.write_all(&[answer]).await });
            let mut heard = [0; 1];
            TcpStream::connect(relay.address()).await.unwrap().read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, [answer]);
        }
    }
}
