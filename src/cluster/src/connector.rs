//! Accepts connections from other nodes and dials other nodes.
//!
//! The transport's own listener handshakes with one peer at a time and without a time limit, so this module replaces it. Accepted and dialled
//! connections both end in a guarded stream, which the transport's node server takes over.

use super::context::GatewayContext;
use super::guard::{Guard, Guarded};
use super::link::Link;
use super::peers::Peers;
use super::refusals::Refused;
use super::strangers::Strangers;
use super::tls::{Tls, name_of};
use doorbuster_storage::registry::NodeRow;
use ractor::ActorRef;
use ractor_cluster::NodeServerMessage;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

/// Connections at once that have not proved the cookie, those included that were closed and whose sessions are ending; one more is closed at once.
const UNAUTHENTICATED_MAX: usize = 512;
/// The pause after `accept` failed, most likely because the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Shared by the accept loop and the dial tasks.
#[derive(Debug)]
pub(super) struct Connector {
    context: Arc<GatewayContext>,
    peers: Arc<Peers>,
    tls: Option<Tls>,
    connections: AtomicU64,
    strangers: Strangers,
    server: Mutex<Option<ActorRef<NodeServerMessage>>>,
}

impl Connector {
    pub(super) fn new(context: Arc<GatewayContext>, peers: Arc<Peers>, tls: Option<Tls>) -> Arc<Self> {
        Arc::new(Self {
            context,
            peers,
            tls,
            connections: AtomicU64::new(0),
            strangers: Strangers::default(),
            server: Mutex::default(),
        })
    }

    /// Sets the node server that receives connections from now on.
    pub(super) fn set_server(&self, server: ActorRef<NodeServerMessage>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Accepts connections until the task is aborted.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let unauthenticated = Arc::new(Semaphore::new(UNAUTHENTICATED_MAX));
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "no connection could be accepted on the cluster port");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&unauthenticated).try_acquire_owned() else {
                self.too_many(from);
                continue;
            };
            let guard = self.guard(&from.to_string(), Some(permit));
            if self.strangers.admit(from.ip(), &guard) {
                self.too_many(from);
            }
            let connector = Arc::clone(&self);
            tokio::spawn(async move {
                let label = guard.label.clone();
                if let Err(error) = connector.accept_one(stream, guard).await
                    && let Some(unlogged) = connector.context.refusals.note(Refused::Failed)
                {
                    warn!(connection = label, %error, unlogged, "a connection to the cluster port failed");
                }
            });
        }
    }

    fn too_many(&self, from: SocketAddr) {
        if let Some(unlogged) = self.context.refusals.note(Refused::TooMany) {
            warn!(%from, unlogged, "too many unauthenticated connections on the cluster port, one is closed");
        }
    }

    async fn accept_one(&self, stream: TcpStream, guard: Arc<Guard>) -> Result<(), Error> {
        stream.set_nodelay(true)?;
        let timeout = self.context.settings.handshake_timeout;
        match &self.tls {
            None => {
                let (read, write) = stream.into_split();
                self.hand_over(&guard, Guarded::new(Arc::clone(&guard), read, write, timeout), true)
            }
            Some(tls) => {
                let stream = tokio::select! {
                    biased;
                    () = guard.ended() => return Err(Error::from(ErrorKind::ConnectionAborted)),
                    accepted = tokio::time::timeout(timeout, tls.acceptor.accept(stream)) => accepted??,
                };
                let (read, write) = tokio::io::split(stream);
                self.hand_over(&guard, Guarded::new(Arc::clone(&guard), read, write, timeout), true)
            }
        }
    }

    /// Dials a member until a session exists or the node is no longer a member.
    pub(super) async fn dial(self: Arc<Self>, row: NodeRow, link: Arc<Link>) {
        let settings = &self.context.settings;
        let mut pause = settings.reconnect_min;
        while let Some(address) = self.peers.address_of(&row.id) {
            let connected = async {
                self.connect(&address).await?;
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

    async fn connect(&self, address: &str) -> Result<(), Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let timeout = self.context.settings.handshake_timeout;
        let guard = self.guard(address, None);
        match &self.tls {
            None => {
                let (read, write) = stream.into_split();
                self.hand_over(&guard, Guarded::new(Arc::clone(&guard), read, write, timeout), false)
            }
            Some(tls) => {
                let name = name_of(address).ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
                let stream = tls.connector.connect(name, stream).await?;
                let (read, write) = tokio::io::split(stream);
                self.hand_over(&guard, Guarded::new(Arc::clone(&guard), read, write, timeout), false)
            }
        }
    }

    fn guard(&self, with: &str, permit: Option<OwnedSemaphorePermit>) -> Arc<Guard> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        Guard::new(format!("{with}#{number}"), permit, Arc::clone(&self.context.refusals))
    }

    fn hand_over(&self, guard: &Arc<Guard>, stream: Guarded, is_server: bool) -> Result<(), Error> {
        self.peers.watch(guard);
        let stream = Box::new(stream);
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let server = server.ok_or_else(|| Error::from(ErrorKind::NotConnected))?;
        server
            .send_message(NodeServerMessage::ConnectionOpenedExternal { stream, is_server })
            .map_err(|_gone| Error::from(ErrorKind::NotConnected))
    }
}
