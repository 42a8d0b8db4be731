//! The gateway as the rest of the node has it: opened, served, asked, stopped.
//!
//! ```text
//! bind ──► open(who we are) ──► serve(what takes questions in) ──► … ──► stop
//!
//! Watch ── supervises ──► node server ── sessions        (a failed one is started again, and all sessions are made anew)
//!       └─ supervises ──► gateway, gateway, …
//! ```

use super::common::{Common, Traffic, group_of};
use super::door::Door;
use super::gateway::{GatewayActor, GatewayMsg, Intake};
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
use std::sync::{Arc, OnceLock};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

/// Why the gateway could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The address is taken, or not ours.
    #[error("listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An actor could not be started.
    #[error("start the gateway's actors: {0}")]
    Spawn(#[from] SpawnErr),
}

/// A gateway that has its port, and is nobody yet: the port belongs into the row by which this node joins the others.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: String,
    tls: Option<Tls>,
    settings: GatewaySettings,
}

impl Bound {
    /// Takes the port and reads the keys.
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

    /// Where other nodes reach it, `host:port`: what belongs into this node's row.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens the gateway as `own`. Until it is told whom to hand questions to ([`Gateway::serve`]), it answers that nothing is here.
    ///
    /// # Errors
    /// [`OpenError::Spawn`], [`OpenError::Tls`].
    pub async fn open(self, own: NodeId, clock: SharedClock) -> Result<Gateway, OpenError> {
        let Self { listener, address, tls, settings } = self;
        let heartbeat = settings.heartbeat;
        let common = Arc::new(Common::new(own, address, settings, clock));
        let peers = Peers::new(Arc::clone(&common));
        let intake = Arc::new(Intake { common, peers: Arc::clone(&peers), inbound: OnceLock::new() });
        let door = Door::new(Arc::clone(&intake.common), Arc::clone(&peers), tls);
        let house = House { intake: Arc::clone(&intake), door: Arc::clone(&door) };
        let (watch, _) = Watch::spawn(None, Watch, house).await?;
        let accepting = tokio::spawn(Arc::clone(&door).accept(listener));
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
                    tokio::spawn(Arc::clone(&door).dial(row, link));
                }
                peers.changed.notified().await;
            }
        });
        info!(node = %intake.common.own, address = intake.common.address, "the cluster port is open");
        Ok(Gateway(Arc::new(Inner { intake, watch, tasks: [accepting, beating, dialling] })))
    }
}

/// The way between this node and all others. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    intake: Arc<Intake>,
    watch: ActorRef<WatchMsg>,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.watch.kill();
    }
}

impl Gateway {
    /// From here on what other nodes send goes to `inbound`. Once only; a second call changes nothing and gives `false`.
    pub fn serve(&self, inbound: Arc<dyn Inbound>) -> bool {
        self.0.intake.inbound.set(inbound).is_ok()
    }

    /// Who this node is.
    #[must_use]
    pub fn own(&self) -> &NodeId {
        &self.0.intake.common.own
    }

    /// The other nodes.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.0.intake.peers
    }

    /// Who owns which shard, as far as this node has heard.
    #[must_use]
    pub fn hints(&self) -> &OwnerHints {
        &self.0.intake.common.hints
    }

    /// This node owns a shard now: it and its peers learn it; whom it does not reach learns it from the store, or by asking elsewhere.
    pub fn announce(&self, shard: Shard, epoch: Epoch) {
        self.hints().learn(shard, epoch, self.own());
        self.peers().say_owner(shard, epoch);
    }

    /// What has travelled since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.intake.common.counters.shown()
    }

    /// Ends all sessions and closes the port. What is under way ends *unknown*, here and there.
    pub async fn stop(&self) {
        self.0.tasks.iter().for_each(JoinHandle::abort);
        self.peers().cut_all("the node stops");
        // Nobody is left who could hear of a failure.
        self.0.watch.stop_and_wait(Some("the node stops".to_owned()), None).await.ok();
    }
}

impl Remote for Gateway {
    fn ask(&self, shard: Shard, ask: Ask) -> BoxFuture<'static, Delivered> {
        let link = self.hints().owner(shard).and_then(|(_, owner)| self.0.intake.peers.link(&owner));
        match link {
            Some(link) => Box::pin(link.ask(shard, ask)),
            None => Box::pin(std::future::ready(Delivered::NotDelivered)),
        }
    }

    fn send(&self, shard: Shard, told: OneWay) {
        let link = self.hints().owner(shard).and_then(|(_, owner)| self.0.intake.peers.link(&owner));
        match link {
            Some(link) => link.tell(shard, &told),
            None => super::common::count(&self.0.intake.common.counters.dropped, 1),
        }
    }
}

/// Passes on what the transport says of its sessions.
struct Listening(Arc<Peers>);

impl NodeEventSubscription for Listening {
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

/// What the supervisor starts, and starts again.
#[derive(Debug, Clone)]
struct House {
    intake: Arc<Intake>,
    door: Arc<Door>,
}

impl House {
    async fn start_server(&self, watch: ActorCell) -> Result<ActorRef<NodeServerMessage>, ActorProcessingErr> {
        let common = &self.intake.common;
        let server = NodeServer::new(
            0,
            common.settings.cookie.reveal(),
            common.name.clone(),
            common.address.clone(),
            Some(IncomingEncryptionMode::Tls(closed()?)),
            Some(NodeConnectionMode::Isolated),
        )
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_max_inbound_frame_size(WIRE_FRAME_BYTES_MAX);
        let (server, _) = NodeServer::spawn_linked(None, server, (), watch).await?;
        let subscription = Box::new(Listening(Arc::clone(&self.intake.peers)));
        server.send_message(NodeServerMessage::SubscribeToEvents { id: "doorbuster".to_owned(), subscription })?;
        self.door.lead_to(server.clone());
        Ok(server)
    }

    async fn start_gateway(&self, watch: ActorCell) -> Result<ActorRef<GatewayMsg>, ActorProcessingErr> {
        let (gateway, _) = GatewayActor::spawn_linked(None, GatewayActor, Arc::clone(&self.intake), watch).await?;
        ractor::pg::join(group_of(&self.intake.common.own), vec![gateway.get_cell()]);
        Ok(gateway)
    }
}

/// What the supervisor understands: nothing.
#[derive(Debug)]
enum WatchMsg {}

impl ractor::Message for WatchMsg {}

#[derive(Debug)]
struct Watch;

#[derive(Debug)]
struct Watched {
    house: House,
    server: ActorRef<NodeServerMessage>,
}

impl Actor for Watch {
    type Msg = WatchMsg;
    type State = Watched;
    type Arguments = House;

    async fn pre_start(&self, own: ActorRef<WatchMsg>, house: House) -> Result<Watched, ActorProcessingErr> {
        // Gateways first: a session announces those that are there when it begins, and none that come later.
        for _ in 0..house.intake.common.settings.gateways {
            house.start_gateway(own.get_cell()).await?;
        }
        let server = house.start_server(own.get_cell()).await?;
        Ok(Watched { house, server })
    }

    async fn handle_supervisor_evt(
        &self,
        own: ActorRef<WatchMsg>,
        event: SupervisionEvent,
        state: &mut Watched,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell, why.unwrap_or_default()),
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => return Ok(()),
        };
        let is_server = cell.get_id() == state.server.get_id();
        error!(actor = %cell.get_id(), is_server, why, "an actor of the gateway ended; started again, all sessions are made anew");
        if is_server {
            state.server = state.house.start_server(own.get_cell()).await?;
        } else {
            state.house.start_gateway(own.get_cell()).await?;
        }
        state.house.intake.peers.cut_all("an actor of the gateway was started again");
        Ok(())
    }
}
