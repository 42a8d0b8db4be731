//! A fixed address for a process that is killed and comes back elsewhere: bytes in, bytes out.
//!
//! Provider and node must know each other's address before either runs, and ports are the system's to give. While nobody is
//! behind it, a relay closes what it accepts, as a dead host would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A relay that runs.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let target: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let behind = Arc::clone(&target);
        let accepting = tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                let target = *behind.lock().unwrap();
                tokio::spawn(carry(outside, target));
            }
        });
        Self { address, target, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go there from now on; `None`: nowhere.
    pub fn point_to(&self, target: Option<SocketAddr>) {
        *self.target.lock().unwrap() = target;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut outside: TcpStream, target: Option<SocketAddr>) {
    let Some(target) = target else { return };
    let Ok(mut inside) = TcpStream::connect(target).await else { return };
    outside.set_nodelay(true).ok();
    inside.set_nodelay(true).ok();
    // However it ended, both sides are closed now.
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_relay_follows_its_target_and_closes_while_there_is_none() {
        let relay = Relay::start().await;
        let mut nobody = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(nobody.read(&mut [0; 1]).await.unwrap_or(0), 0);
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
