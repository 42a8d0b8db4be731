//! The gateway as the rest of the node uses it: bind, open, serve, stop.
//!
//! ```text
//! bind ──► open(this node's id) ──► serve(the receiver of requests) ──► … ──► stop
//!
//! GatewaySupervisor ──► node server ── sessions        (one that fails is restarted, and all sessions are made anew)
//!       └─────────────► gateway, gateway, …
//! ```

use super::connector::Connector;
use super::context::{GatewayContext, Traffic, group_of};
use super::gateway::{FrameHandler, GatewayActor, GatewayMsg};
use super::guard::WIRE_FRAME_BYTES_MAX;
use super::hints::OwnerHints;
use super::inbound::Inbound;
use super::peers::Peers;
use super::settings::GatewaySettings;
use super::tls::{Tls, TlsError, closed};
use doorbuster_actors::ask::Ask;
use doorbuster_actors::remote::{Delivered, OneWay, Remote};
use doorbuster_clock::SharedClock;
use doorbuster_storage::registry::NodeId;
use doorbuster_storage::{Epoch, Shard};
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation as Session};
use ractor_cluster::{IncomingEncryptionMode, NodeEventSubscription, NodeServer, NodeServerMessage};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

/// Why the gateway could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The address cannot be bound.
    #[error("listen on {address}: {error}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the system answered.
        error: std::io::Error,
    },
    /// Certificates or keys are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An actor could not be started.
    #[error("start the gateway's actors: {0}")]
    Spawn(#[from] SpawnErr),
}

/// A gateway with an open port but no node id yet: the port is part of the row by which this node joins the cluster.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: String,
    tls: Option<Tls>,
    settings: GatewaySettings,
}

impl Bound {
    /// Binds the port and reads the keys.
    ///
    /// # Errors
    /// [`OpenError::Listen`], [`OpenError::Tls`].
    pub async fn bind(settings: GatewaySettings) -> Result<Self, OpenError> {
        let tls = settings.tls.as_ref().map(Tls::read).transpose()?;
        let failed = |error| OpenError::Listen { address: settings.listen, error };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = match settings.advertise.as_str() {
            "" => listener.local_addr().map_err(failed)?.to_string(),
            advertised => advertised.to_owned(),
        };
        Ok(Self { listener, address, tls, settings })
    }

    /// The address at which other nodes reach it, `host:port`; it belongs into this node's row.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens the gateway as `own`. Until [`Gateway::serve`] sets the receiver, it answers every request with *not the owner*.
    ///
    /// # Errors
    /// [`OpenError::Spawn`], [`OpenError::Tls`].
    pub async fn open(self, own: NodeId, clock: SharedClock) -> Result<Gateway, OpenError> {
        let Self { listener, address, tls, settings } = self;
        let heartbeat = settings.heartbeat;
        let context = Arc::new(GatewayContext::new(own, address, settings, clock));
        let peers = Peers::new(Arc::clone(&context));
        let handler = Arc::new(FrameHandler { context, peers: Arc::clone(&peers), inbound: OnceLock::new() });
        let connector = Connector::new(Arc::clone(&handler.context), Arc::clone(&peers), tls);
        let parts = GatewayParts { handler: Arc::clone(&handler), connector: Arc::clone(&connector) };
        let (supervisor, _) = GatewaySupervisor::spawn(None, GatewaySupervisor, parts).await?;
        let accepting = tokio::spawn(Arc::clone(&connector).accept(listener));
        let beating = tokio::spawn({
            let peers = Arc::clone(&peers);
            async move {
                let mut beats = tokio::time::interval(heartbeat);
                beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    beats.tick().await;
                    peers.beat();
                }
            }
        });
        let dialling = tokio::spawn(async move {
            loop {
                for (row, link) in peers.to_dial() {
                    tokio::spawn(Arc::clone(&connector).dial(row, link));
                }
                peers.changed.notified().await;
            }
        });
        info!(node = %handler.context.own, address = handler.context.address, "the cluster port is open");
        Ok(Gateway(Arc::new(Inner { handler, supervisor, tasks: [accepting, beating, dialling] })))
    }
}

/// The connections between this node and all others. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handler: Arc<FrameHandler>,
    supervisor: ActorRef<SupervisorMsg>,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.supervisor.kill();
    }
}

impl Gateway {
    /// Delivers messages from other nodes to `inbound` from now on. A second call changes nothing and returns `false`.
    pub fn serve(&self, inbound: Arc<dyn Inbound>) -> bool {
        self.0.handler.inbound.set(inbound).is_ok()
    }

    /// This node's id.
    #[must_use]
    pub fn own(&self) -> &NodeId {
        &self.0.handler.context.own
    }

    /// The other nodes.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.0.handler.peers
    }

    /// Who owns which shard, as far as this node has heard.
    #[must_use]
    pub fn hints(&self) -> &OwnerHints {
        &self.0.handler.context.hints
    }

    /// Records that this node owns a shard and sends its peers a hint. A peer that does not receive it learns the owner from the store.
    pub fn announce(&self, shard: Shard, epoch: Epoch) {
        self.hints().learn(shard, epoch, self.own());
        self.peers().send_owner_hint(shard, epoch);
    }

    /// Messages and frames exchanged since the process started.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.handler.context.counters.shown()
    }

    /// Ends all sessions and closes the port. Requests in flight end *unknown*, on both nodes.
    pub async fn stop(&self) {
        self.0.tasks.iter().for_each(JoinHandle::abort);
        self.peers().cut_all("the node stops");
        // A failure to stop has no receiver any more.
        self.0.supervisor.stop_and_wait(Some("the node stops".to_owned()), None).await.ok();
    }
}

impl Remote for Gateway {
    fn ask(&self, shard: Shard, ask: Ask) -> BoxFuture<'static, Delivered> {
        let link = self.hints().owner(shard).and_then(|(_, owner)| self.0.handler.peers.link(&owner));
        match link {
            Some(link) => Box::pin(link.ask(shard, ask)),
            None => Box::pin(std::future::ready(Delivered::NotDelivered)),
        }
    }

    fn send(&self, shard: Shard, one_way: OneWay) -> Result<(), OneWay> {
        let link = self.hints().owner(shard).and_then(|(_, owner)| self.0.handler.peers.link(&owner));
        match link {
            Some(link) if link.send(shard, &one_way) => Ok(()),
            Some(_) => Err(one_way),
            None => {
                super::context::count(&self.0.handler.context.counters.dropped, 1);
                Err(one_way)
            }
        }
    }

    fn losses(&self) -> u64 {
        let context = &self.0.handler.context;
        context.hints.changes().wrapping_add(context.sessions_ended.load(Ordering::Acquire))
    }
}

/// Forwards the transport's session events to the peers.
struct SessionEvents(Arc<Peers>);

impl NodeEventSubscription for SessionEvents {
    fn node_session_opened(&self, session: Session) {
        self.0.opened(&session);
    }
    fn node_session_disconnected(&self, session: Session) {
        self.0.closed(&session);
    }
    fn node_session_authenticated(&self, session: Session) {
        self.0.authenticated(&session);
    }
    fn node_session_ready(&self, session: Session) {
        self.0.ready(&session);
    }
}

/// What the supervisor starts and restarts.
#[derive(Debug, Clone)]
struct GatewayParts {
    handler: Arc<FrameHandler>,
    connector: Arc<Connector>,
}

impl GatewayParts {
    async fn start_server(&self, supervisor: ActorCell) -> Result<ActorRef<NodeServerMessage>, ActorProcessingErr> {
        let context = &self.handler.context;
        let server = NodeServer::new(
            0,
            context.settings.cookie.reveal(),
            context.name.clone(),
            context.address.clone(),
            Some(IncomingEncryptionMode::Tls(closed()?)),
            Some(NodeConnectionMode::Isolated),
        )
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_max_inbound_frame_size(WIRE_FRAME_BYTES_MAX);
        let (server, _) = NodeServer::spawn_linked(None, server, (), supervisor).await?;
        let subscription = Box::new(SessionEvents(Arc::clone(&self.handler.peers)));
        server.send_message(NodeServerMessage::SubscribeToEvents { id: "doorbuster".to_owned(), subscription })?;
        self.connector.set_server(server.clone());
        Ok(server)
    }

    async fn start_gateway(&self, supervisor: ActorCell) -> Result<ActorRef<GatewayMsg>, ActorProcessingErr> {
        let (gateway, _) =
            GatewayActor::spawn_linked(None, GatewayActor, Arc::clone(&self.handler), supervisor).await?;
        ractor::pg::join(group_of(&self.handler.context.own), vec![gateway.get_cell()]);
        Ok(gateway)
    }
}

/// The supervisor accepts no messages.
#[derive(Debug)]
enum SupervisorMsg {}

impl ractor::Message for SupervisorMsg {}

#[derive(Debug)]
struct GatewaySupervisor;

#[derive(Debug)]
struct SupervisorState {
    parts: GatewayParts,
    server: ActorRef<NodeServerMessage>,
}

impl Actor for GatewaySupervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = GatewayParts;

    async fn pre_start(
        &self,
        own: ActorRef<SupervisorMsg>,
        parts: GatewayParts,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        // Gateways first: a session announces those that exist when it begins, and none that come later.
        for _ in 0..parts.handler.context.settings.gateways {
            parts.start_gateway(own.get_cell()).await?;
        }
        let server = parts.start_server(own.get_cell()).await?;
        Ok(SupervisorState { parts, server })
    }

    async fn handle_supervisor_evt(
        &self,
        own: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell, why.unwrap_or_default()),
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => return Ok(()),
        };
        let is_server = cell.get_id() == state.server.get_id();
        error!(actor = %cell.get_id(), is_server, why, "an actor of the gateway ended and is restarted; all sessions are made anew");
        if is_server {
            state.server = state.parts.start_server(own.get_cell()).await?;
        } else {
            state.parts.start_gateway(own.get_cell()).await?;
        }
        state.parts.handler.peers.cut_all("an actor of the gateway was started again");
        Ok(())
    }
}
