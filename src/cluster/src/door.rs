//! Connections between nodes, as they are accepted and as they are dialled.
//!
//! Our own, because the transport's accept one at a time and hold no stranger to a time. Both ways end in a guarded stream that the transport's node
//! server takes over.

use super::common::Common;
use super::guard::{Guard, Guarded};
use super::link::Link;
use super::peers::Peers;
use super::tls::{Tls, name_of};
use doorbuster_storage::registry::NodeRow;
use ractor::ActorRef;
use ractor_cluster::NodeServerMessage;
use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

/// Strangers at the cluster port at once; one more is turned away.
const STRANGERS_MAX: usize = 256;
/// The pause after the system would give no connection: it is out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What both ways need.
#[derive(Debug)]
pub(super) struct Door {
    common: Arc<Common>,
    peers: Arc<Peers>,
    tls: Option<Tls>,
    connections: AtomicU64,
    server: Mutex<Option<ActorRef<NodeServerMessage>>>,
}

impl Door {
    pub(super) fn new(common: Arc<Common>, peers: Arc<Peers>, tls: Option<Tls>) -> Arc<Self> {
        Arc::new(Self { common, peers, tls, connections: AtomicU64::new(0), server: Mutex::default() })
    }

    /// The node server that takes connections over from here on.
    pub(super) fn lead_to(&self, server: ActorRef<NodeServerMessage>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Accepts for ever.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "no connection could be accepted on the cluster port");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&strangers).try_acquire_owned() else {
                warn!(%from, "too many strangers on the cluster port, turned away");
                continue;
            };
            let door = Arc::clone(&self);
            tokio::spawn(async move {
                let label = from.to_string();
                if let Err(error) = door.admit(stream, &label, Some(place)).await {
                    warn!(connection = label, %error, "a connection to the cluster port failed");
                }
            });
        }
    }

    async fn admit(&self, stream: TcpStream, from: &str, place: Option<OwnedSemaphorePermit>) -> Result<(), Error> {
        stream.set_nodelay(true)?;
        let patience = self.common.settings.handshake_timeout;
        match &self.tls {
            None => {
                let (read, write) = stream.into_split();
                self.hand_over(|guard| Guarded::new(guard, read, write, patience), from, place, true)
            }
            Some(tls) => {
                let stream = tokio::time::timeout(patience, tls.acceptor.accept(stream)).await??;
                let (read, write) = tokio::io::split(stream);
                self.hand_over(|guard| Guarded::new(guard, read, write, patience), from, place, true)
            }
        }
    }

    /// Dials a member until there is a session or it is a member no more.
    pub(super) async fn dial(self: Arc<Self>, row: NodeRow, link: Arc<Link>) {
        let settings = &self.common.settings;
        let mut pause = settings.reconnect_min;
        while let Some(address) = self.peers.address_of(&row.id) {
            let connected = async {
                self.call(&address).await?;
                link.connected().await;
                Ok::<(), Error>(())
            };
            match tokio::time::timeout(settings.handshake_timeout, connected).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => debug!(peer = %row.id, address, %error, "a peer cannot be reached"),
                Err(_) => warn!(peer = %row.id, address, "a peer does not finish the handshake"),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(settings.reconnect_max);
        }
        self.peers.dialled(&row.id);
    }

    async fn call(&self, address: &str) -> Result<(), Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let patience = self.common.settings.handshake_timeout;
        match &self.tls {
            None => {
                let (read, write) = stream.into_split();
                self.hand_over(|guard| Guarded::new(guard, read, write, patience), address, None, false)
            }
            Some(tls) => {
                let name = name_of(address).ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
                let stream = tls.connector.connect(name, stream).await?;
                let (read, write) = tokio::io::split(stream);
                self.hand_over(|guard| Guarded::new(guard, read, write, patience), address, None, false)
            }
        }
    }

    fn hand_over(
        &self,
        guarded: impl FnOnce(Arc<Guard>) -> Guarded,
        with: &str,
        place: Option<OwnedSemaphorePermit>,
        is_server: bool,
    ) -> Result<(), Error> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let guard = Guard::new(format!("{with}#{number}"), place);
        self.peers.watch(&guard);
        let stream = Box::new(guarded(guard));
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let server = server.ok_or_else(|| Error::from(ErrorKind::NotConnected))?;
        server
            .send_message(NodeServerMessage::ConnectionOpenedExternal { stream, is_server })
            .map_err(|_gone| Error::from(ErrorKind::NotConnected))
    }
}
