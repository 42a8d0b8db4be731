//! What a node of a cluster has beside its actors: the gateway to the other nodes, the manager of its shards.
//!
//! ```text
//! bind cluster port ─► join the registry ─► open gateway ─► shard manager ─► shards
//!                                               ▲ members          │ acquire, release
//!                                               └──────────────────┘ heartbeats
//! ```

use super::cluster_admin::{ClusterAdmin, Figure, PeerHeartbeat};
use super::operations::Addresses;
use super::shared_keys::SharedKeys;
use super::{NodeError, settings};
use crate::config::Config;
use doorbuster_actors::ask::Ask;
use doorbuster_actors::remote::{Delivered, OneWay};
use doorbuster_actors::system::{Actors, Handle, StartError};
use doorbuster_clock::SharedClock;
use doorbuster_cluster::shard_manager::{AcquireError, ClusterStatus, LostShard, ShardHost, ShardManager, Wiring};
use doorbuster_cluster::{Bound, Gateway, Inbound, InboundAnswer, Traffic};
use doorbuster_storage::cql::{Counts, CqlJournal, CqlRegistry};
use doorbuster_storage::registry::{NodeId, NodeRow, NodeState, Registry, RegistryError};
use doorbuster_storage::{ClaimError, Epoch, Journal, Shard, Store};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// This node's part in a cluster.
#[derive(Debug)]
pub(super) struct Clustered {
    gateway: Gateway,
    manager: Arc<ShardManager>,
    registry: Arc<CqlRegistry>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clustered {
    /// Joins the cluster and begins to claim shards.
    pub(super) async fn start(
        config: &Config,
        journal: &CqlJournal,
        shared: SharedKeys,
        actors: &Actors,
        clock: SharedClock,
        addresses: &Addresses,
    ) -> Result<Self, NodeError> {
        let gateway = settings::gateway(config)?;
        let heartbeat = gateway.heartbeat;
        let bound = Bound::bind(gateway).await?;
        let registry = Arc::new(journal.registry());
        let mut row = NodeRow {
            id: NodeId { name: config.node.name.clone(), incarnation: 0 },
            beat: 0,
            state: NodeState::Up,
            cluster: bound.address().to_owned(),
            public: addresses.public.to_string(),
            operator: addresses.operator.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        row.id = registry.join(&row).await?;
        let gateway = bound.open(row.id.clone(), Arc::clone(&clock)).await?;
        let handle = actors.handle();
        gateway.serve(Arc::new(Incoming(handle.clone())));
        handle.connect(Arc::new(gateway.clone()));
        let (beats, misses) = watch::channel(BTreeMap::new());
        let learn = gateway.clone();
        let losses = actors.losses();
        let wiring = Wiring {
            registry: Arc::clone(&registry),
            host: Arc::new(LocalShards { handle, gateway: gateway.clone() }),
            lost: stream::unfold(losses, |losses| async move {
                let mut losses = losses?;
                let lost = losses.recv().await?;
                let lost = LostShard { shard: lost.shard, epoch: lost.epoch, fenced: lost.fenced, why: lost.why };
                Some((lost, Some(losses)))
            })
            .boxed(),
            misses,
            on_owner: Arc::new(move |shard, epoch, node: &NodeId| {
                learn.hints().learn_from_store(shard, epoch, node);
            }),
            clock,
        };
        let manager =
            Arc::new(ShardManager::start(row, journal.layout().shards, settings::shard_manager(config), wiring));
        let tasks = vec![
            tokio::spawn(follow_members(manager.members(), gateway.clone())),
            tokio::spawn(report_heartbeats(gateway.clone(), heartbeat, beats)),
            tokio::spawn(shared.follow()),
        ];
        Ok(Self { gateway, manager, registry, tasks })
    }

    /// This node's name and incarnation.
    pub(super) fn id(&self) -> &NodeId {
        self.manager.id()
    }

    /// The cluster as the operator port needs it.
    pub(super) fn admin(&self, config: &Config, store: &Store) -> Arc<dyn ClusterAdmin> {
        Arc::new(GatewayAdmin {
            gateway: self.gateway.clone(),
            manager: Arc::clone(&self.manager),
            registry: Arc::clone(&self.registry),
            counts: match store {
                Store::Cql(journal) => Some(Arc::clone(journal.counts())),
                Store::Embedded(_) | Store::Memory(_) => None,
            },
            suspect_at: config.cluster.suspect_at,
        })
    }

    /// Waits until the node must end because a later process has joined under its name; gives the reason.
    pub(super) async fn ended(&self) -> String {
        self.manager.ended().await
    }

    /// Gives every shard away; `false`: some are still here when the time is over.
    pub(super) async fn drain(&self, bound: Duration) -> bool {
        self.manager.drain(bound).await
    }

    /// Deletes this node's row and closes the connections to the other nodes.
    pub(super) async fn leave(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Err(error) = self.manager.leave().await {
            tracing::warn!(%error, "the node's row was not deleted; the others notice that it is not renewed");
        }
        self.gateway.stop().await;
    }
}

async fn follow_members(mut members: watch::Receiver<Vec<NodeRow>>, gateway: Gateway) {
    loop {
        let rows = members.borrow_and_update().clone();
        gateway.peers().set_members(rows);
        if members.changed().await.is_err() {
            return;
        }
    }
}

async fn report_heartbeats(gateway: Gateway, every: Duration, beats: watch::Sender<BTreeMap<NodeId, u32>>) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let misses = gateway.peers().heartbeats().into_iter().map(|(node, heartbeat)| (node, heartbeat.misses));
        beats.send_replace(misses.collect());
    }
}

/// Deliveries of other nodes to this node's actors.
#[derive(Debug)]
struct Incoming(Handle);

impl Inbound for Incoming {
    fn deliver(&self, _shard: Shard, ask: Ask) -> BoxFuture<'static, InboundAnswer> {
        let handle = self.0.clone();
        async move {
            match handle.deliver(ask).await {
                Delivered::Answered(answer) => InboundAnswer::Answered(answer),
                Delivered::NotDelivered | Delivered::Unknown => InboundAnswer::NotOwner,
            }
        }
        .boxed()
    }

    fn deliver_one_way(&self, _shard: Shard, one_way: OneWay) {
        self.0.receive(one_way);
    }
}

/// The shards of this node's actors, which the shard manager acquires and releases.
#[derive(Debug)]
struct LocalShards {
    handle: Handle,
    gateway: Gateway,
}

impl ShardHost for LocalShards {
    async fn acquire(&self, shard: Shard, node: &NodeId) -> Result<Epoch, AcquireError> {
        let acquired = self.handle.acquire(shard, &node.to_string()).await.map_err(|error| match error {
            StartError::Claim { error: ClaimError::Lost(_), .. } => AcquireError::Conflict,
            StartError::Claim { error: ClaimError::Corrupt(why), .. } => AcquireError::Corrupt(why),
            StartError::Claim { error: ClaimError::Failed(why), .. } => AcquireError::Failed(why),
            StartError::Recover { error, .. } | StartError::Spawn { error, .. } => AcquireError::Failed(error),
        })?;
        self.gateway.announce(shard, acquired.epoch);
        Ok(acquired.epoch)
    }

    async fn release(&self, shard: Shard, bound: Duration) -> bool {
        self.handle.release(shard, bound).await
    }

    fn owned(&self) -> BTreeMap<Shard, Epoch> {
        self.handle.owned()
    }
}

/// What the gateway counts, for `/metrics`.
pub(super) fn gateway_figures(traffic: Traffic) -> Vec<Figure> {
    vec![
        Figure::counter("cluster_sent", "deliveries sent to other nodes", traffic.sent),
        Figure::counter("cluster_frames_sent", "frames that carried them", traffic.frames_sent),
        Figure::counter("cluster_received", "deliveries received from other nodes", traffic.received),
        Figure::counter("cluster_frames_received", "frames that carried them", traffic.frames_received),
        Figure::counter("cluster_busy", "deliveries refused for want of room", traffic.busy),
        Figure::counter("cluster_unknown", "deliveries sent and never answered", traffic.unknown),
        Figure::counter("cluster_dropped", "one-way deliveries that could not be sent", traffic.dropped),
        Figure::counter("cluster_unreadable", "frames and envelopes that could not be read", traffic.unreadable),
    ]
}

/// What the CQL store counts, for `/metrics`.
pub(super) fn store_figures(counts: &Counts) -> impl Iterator<Item = Figure> + use<> {
    counts.figures().into_iter().map(|(name, help, value)| Figure::counter(name, help, value))
}

/// The operator's requests to a cluster, carried out by this node's gateway, shard manager and registry.
#[derive(Debug)]
struct GatewayAdmin {
    gateway: Gateway,
    manager: Arc<ShardManager>,
    registry: Arc<CqlRegistry>,
    counts: Option<Arc<Counts>>,
    suspect_at: u32,
}

impl ClusterAdmin for GatewayAdmin {
    fn status(&self) -> BoxFuture<'_, Option<ClusterStatus>> {
        self.manager.status().boxed()
    }

    fn heartbeats(&self) -> BTreeMap<NodeId, PeerHeartbeat> {
        let beats = self.gateway.peers().heartbeats().into_iter();
        beats.map(|(node, beat)| (node, PeerHeartbeat { missed: beat.misses, last_ms_ago: beat.last_ms_ago })).collect()
    }

    fn suspect_at(&self) -> u32 {
        self.suspect_at
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = gateway_figures(self.gateway.traffic());
        figures.extend(self.counts.iter().flat_map(|counts| store_figures(counts)));
        figures
    }

    fn set_desired_drain<'a>(&'a self, name: &'a str, drained: bool) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.registry.set_drained(name, drained).boxed()
    }

    fn set_desired_owner<'a>(&'a self, shard: Shard, to: Option<&'a str>) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.registry.set_placement(shard, to).boxed()
    }
}
