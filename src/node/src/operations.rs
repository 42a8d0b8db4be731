//! The answers of this node to its operator port.

use super::auditor::{AuditBounds, AuditFailure, Auditor};
use super::cluster_admin::{self, ClusterAdmin, Figure};
use super::ledger;
use super::metrics::NodeMetrics;
use super::projections::ProjectionFigures;
use crate::config::Config;
use crate::provider::AnyProvider;
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::system::{Handle, ShardStatus};
use doorbuster_api::operator::{
    Cluster, Fault, Node, NodeStanding, OperationError, Operations, Readiness, Saga, SetAside, Shard as ShardShown,
    ShardHere,
};
use doorbuster_api::view::At;
use doorbuster_api::{PipelineCounts, SocketCounts};
use doorbuster_audit::{Ledger, Progress, Report, RoundLimits};
use doorbuster_cluster::shard_manager::{ClusterStatus, MemberState, MemberStatus};
use doorbuster_domain::any::{Command, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::order::{self, Order};
use doorbuster_domain::payment::{LedgerLine, ProviderAnswer, Reference};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::{Journal, Shard};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A scrape of the metrics waits for the shards this long at most.
const SCRAPE_WAIT_MAX: Duration = Duration::from_secs(1);
/// The deadline of an operator's command to an order, in ms.
const COMMAND_TIMEOUT_MS: u64 = 10_000;
/// A member that has not read the nodes' rows for longer than this is not ready, in ms.
const STORE_SILENT_MS_MAX: u64 = 2_500;
/// The refusal of a node without a cluster that is to give shards away.
const NO_CLUSTER: &str =
    "this node has no cluster: its journal is its own, and there is no other node to give its shards to";

/// This node, for its operator.
#[derive(Debug, Clone)]
pub struct NodeOperations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: Handle,
    provider: Arc<AnyProvider>,
    name: String,
    public: String,
    operator: String,
    faults_allowed: bool,
    started_at: Timestamp,
    metrics: NodeMetrics,
    /// `None`: a node without a cluster.
    cluster: Option<Arc<dyn ClusterAdmin>>,
    /// The node is stopping: it gives its shards away, with the ports still open.
    leaving: AtomicBool,
    patience: RoundLimits,
    auditor: Arc<Auditor>,
}

impl NodeOperations {
    pub(super) fn new(
        handle: Handle,
        provider: Arc<AnyProvider>,
        config: &Config,
        addresses: Addresses,
        (door, sockets, projections): (Arc<PipelineCounts>, Arc<SocketCounts>, ProjectionFigures),
        cluster: Option<Arc<dyn ClusterAdmin>>,
    ) -> Self {
        let started_at = handle.now();
        let name = config.node.name.clone();
        let metrics = NodeMetrics::new(handle.clone(), door, sockets, projections);
        Self(Arc::new(Inner {
            handle,
            provider,
            name,
            public: addresses.public.to_string(),
            operator: addresses.operator.to_string(),
            faults_allowed: config.faults.allowed,
            started_at,
            metrics,
            cluster,
            leaving: AtomicBool::new(false),
            patience: super::settings::audit(config),
            auditor: Auditor::new(AuditBounds {
                memory_bytes_max: config.audit.memory_bytes_max,
                timeout: Duration::from_millis(config.audit.timeout_ms),
            }),
        }))
    }

    fn up_s(&self) -> u64 {
        self.0.handle.now().since_ms(self.0.started_at) / 1_000
    }

    /// The cluster and its state; a node without a cluster refuses.
    async fn cluster_status(&self) -> Result<(&dyn ClusterAdmin, ClusterStatus), OperationError> {
        let admin = self.0.cluster.as_deref().ok_or_else(|| OperationError::Refused(NO_CLUSTER.to_owned()))?;
        Ok((admin, status_of(admin).await?))
    }

    /// The node is stopping: from now on `/readyz` sends load balancers to other nodes.
    pub(super) fn leave(&self) {
        self.0.leaving.store(true, Ordering::Release);
    }

    /// The node is stopping: ends an audit that runs, and waits until it no longer reads the store.
    pub(super) async fn end_audit(&self) {
        self.0.auditor.stop().await;
    }

    /// How many orders of this node's shards only an operator can take further. `None`: a shard is too busy to say.
    async fn need_attention(&self) -> Option<Figure> {
        let shards = tokio::time::timeout(SCRAPE_WAIT_MAX, self.0.handle.shards()).await.ok()?;
        let orders = shards.iter().map(|shard| shard.for_operator).fold(0_usize, usize::saturating_add);
        let help = "orders that only an operator can take further; /admin/sagas lists them";
        Some(Figure::gauge("orders_need_attention", help, u64::try_from(orders).unwrap_or(u64::MAX)))
    }

    fn standing(&self) -> NodeStanding {
        let handle = &self.0.handle;
        if handle.failure().is_some() {
            NodeStanding::Failed
        } else if handle.is_serving() {
            NodeStanding::Up
        } else {
            NodeStanding::Draining
        }
    }

    async fn ask(&self, entity: EntityId, command: Command) -> Result<Answer, OperationError> {
        let handle = &self.0.handle;
        let answer = handle
            .ask(Ask {
                entity,
                command,
                by: Principal::Operator,
                wait: Wait::Decided,
                deadline: handle.now().plus_ms(COMMAND_TIMEOUT_MS),
                if_version: None,
                reject_if_absent: None,
            })
            .await;
        match answer {
            Answer::Accepted(_) => Ok(answer),
            Answer::Refused(doorbuster_domain::any::Refusal::Order(order::Refusal::Unknown)) => {
                Err(OperationError::Unknown)
            }
            Answer::Refused(refusal) => Err(OperationError::Refused(format!("{refusal:?}"))),
            Answer::Panicked => Err(OperationError::Refused("its decision panicked".to_owned())),
            Answer::Stale { .. }
            | Answer::Unknown
            | Answer::Late
            | Answer::Busy { .. }
            | Answer::Quarantined
            | Answer::NotServing => Err(OperationError::Unavailable(format!("{answer:?}"))),
        }
    }
}

/// The addresses of the node's ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) public: SocketAddr,
    pub(super) operator: SocketAddr,
}

async fn status_of(admin: &dyn ClusterAdmin) -> Result<ClusterStatus, OperationError> {
    let gone = || OperationError::Unavailable("this node no longer follows its cluster: it is about to end".to_owned());
    admin.status().await.ok_or_else(gone)
}

/// The member of this name.
fn member<'a>(status: &'a ClusterStatus, name: &str) -> Result<&'a MemberStatus, OperationError> {
    status.members.iter().find(|member| member.name == name).ok_or_else(|| {
        let names: Vec<&str> = status.members.iter().map(|member| member.name.as_str()).collect();
        OperationError::NoSuch(format!("there is no node {name:?}; there are {}", names.join(", ")))
    })
}

/// The audit of this node's store. It is carried out on a thread of its own; the provider's connections stay on the runtime that `serving` names.
async fn audit(
    node: Arc<Inner>,
    serving: tokio::runtime::Handle,
    progress: Arc<Progress>,
) -> Result<Report, AuditFailure> {
    let handle = &node.handle;
    let now = handle.now();
    if handle.store().is_shared() {
        let ledger = async {
            // A provider inside each node has that node's charges only: no ledger has all of them.
            if matches!(*node.provider, AnyProvider::Simulated(_)) {
                return None;
            }
            let read_at = handle.now();
            match read_ledger(&node, &serving, &progress).await {
                Ok(lines) => Some(Ledger { lines, read_at }),
                Err(error) => {
                    tracing::warn!(%error, "the provider's ledger cannot be read; the audit goes without");
                    None
                }
            }
        };
        return Ok(doorbuster_audit::audit_shared(handle.store(), node.patience, ledger, Arc::clone(&progress)).await?);
    }
    // The ledger is read first. A charge that is made meanwhile belongs to an order that is in flight at the cut, or to none yet; an
    // order that came to rest before this instant has all its charges in the ledger.
    let ledger = read_ledger(&node, &serving, &progress).await?;
    Ok(doorbuster_audit::audit_store(handle.store(), Some(&ledger), now, progress).await?)
}

/// The provider's whole ledger, within the audit's bound on memory.
async fn read_ledger(
    node: &Arc<Inner>,
    serving: &tokio::runtime::Handle,
    progress: &Arc<Progress>,
) -> Result<Vec<LedgerLine>, AuditFailure> {
    if matches!(*node.provider, AnyProvider::Simulated(_)) {
        return ledger::read(&node.provider, progress).await;
    }
    let (provider, progress) = (Arc::clone(&node.provider), Arc::clone(progress));
    let read = serving.spawn(async move { ledger::read(&provider, &progress).await });
    read.await.unwrap_or_else(|error| Err(AuditFailure::Ledger(error.to_string())))
}

fn unavailable(error: impl std::fmt::Display) -> OperationError {
    OperationError::Unavailable(error.to_string())
}

fn here(status: &ShardStatus) -> ShardHere {
    ShardHere {
        seq: status.seq,
        flushed_upto: status.flushed_upto,
        lag: status.seq.saturating_sub(status.flushed_upto),
        resident: status.residents,
        waiting_for_checkpoint: status.passivated,
        deadlines: status.agenda,
        set_aside: status.quarantined,
        queue_depth: status.queue_depth,
    }
}

fn saga(order: &Order, placed_at: Timestamp, now: Timestamp) -> Saga {
    Saga {
        order: order.id.to_string(),
        step: format!("{:?}", order.stage).to_lowercase(),
        status: doorbuster_api::core::words::status_word(order.status()).to_owned(),
        age_s: now.since_ms(placed_at) / 1_000,
        trouble: troubles(order),
    }
}

/// What needs an operator: calls and steps that cannot go on, and refunds that the provider refused for good.
fn troubles(order: &Order) -> Vec<String> {
    let refused = order.refunds.iter().filter(|refund| refund.status == order::RefundStatus::Failed);
    let refused =
        refused.map(|refund| format!("RefundRefused {{ refund: {}, amount: {} }}", refund.number, refund.amount));
    order.troubles.iter().map(|trouble| format!("{trouble:?}")).chain(refused).collect()
}

impl Operations for NodeOperations {
    async fn metrics(&self) -> String {
        let mut figures: Vec<Figure> = self.need_attention().await.into_iter().collect();
        if let Some(admin) = self.0.cluster.as_deref()
            && let Some(status) = admin.status().await
        {
            figures.extend(cluster_admin::figures_of(admin, &status));
        }
        self.0.metrics.encode(figures)
    }

    async fn health(&self) -> Result<(), String> {
        self.0.handle.failure().map_or(Ok(()), Err)
    }

    async fn readiness(&self) -> Readiness {
        let standing = self.standing();
        let serves = standing == NodeStanding::Up;
        let owned = self.0.handle.owned().len();
        let Some(admin) = self.0.cluster.as_deref() else {
            let all = usize::from(self.0.handle.store().layout().shards);
            let shards = (if serves { owned } else { 0 }, all);
            return Readiness { ready: serves, status: cluster_admin::readiness_status(standing).to_owned(), shards };
        };
        let status = admin.status().await;
        let me = status.as_ref().and_then(|status| status.members.iter().find(|one| cluster_admin::is_me(one, status)));
        let in_cluster = me.map_or(NodeStanding::Joining, |me| cluster_admin::standing(me, 0, u32::MAX));
        // A member answers every request: for shards of other nodes it asks their owners.
        let is_member = matches!(in_cluster, NodeStanding::Up | NodeStanding::Draining);
        // A node that cannot read the store soon loses its shards: shoppers are better sent to other nodes.
        let read_ms_ago = status.as_ref().and_then(|status| status.registry_read_ms_ago);
        let is_cut_off = read_ms_ago.is_none_or(|ago| ago > STORE_SILENT_MS_MAX);
        let word = cluster_admin::readiness_status(if serves { in_cluster } else { standing });
        let is_leaving = self.0.leaving.load(Ordering::Acquire);
        let word = match () {
            () if is_leaving => "stopping",
            () if serves && is_member && is_cut_off => "cut off from the store",
            () => word,
        };
        let shards = (owned, me.map_or(0, |me| me.shards_placed));
        Readiness { ready: serves && is_member && !is_cut_off && !is_leaving, status: word.to_owned(), shards }
    }

    async fn cluster(&self) -> Result<Cluster, OperationError> {
        if let Some(admin) = self.0.cluster.as_deref() {
            return Ok(cluster_admin::cluster(admin, status_of(admin).await?, self.up_s()));
        }
        let inner = &self.0;
        let shards = inner.handle.owned().len();
        let node = Node {
            name: inner.name.clone(),
            incarnation: 0,
            state: self.standing(),
            drain_wished: false,
            heartbeats_missed: 0,
            last_heartbeat_ms_ago: None,
            beat: 0,
            beat_age_ms: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: None,
            public: inner.public.clone(),
            operator: inner.operator.clone(),
            shards_owned: shards,
            shards_placed: shards,
            shards_claimed: Some(shards),
            shards_serving: Some(shards),
            up_s: Some(self.up_s()),
        };
        Ok(Cluster {
            node: inner.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            view: None,
            registry: None,
            members: vec![node],
        })
    }

    async fn shards(&self) -> Result<Vec<ShardShown>, OperationError> {
        let statuses = self.0.handle.shards().await;
        if let Some(admin) = self.0.cluster.as_deref() {
            let here = statuses.iter().map(|status| (status.shard.0, here(status))).collect();
            return Ok(cluster_admin::shards(status_of(admin).await?, here));
        }
        let shown = |status: ShardStatus| ShardShown {
            shard: status.shard.0,
            owner: Some(self.0.name.clone()),
            epoch: status.epoch,
            placed: Some(self.0.name.clone()),
            moved: false,
            serving: true,
            doing: None,
            last_handoff: None,
            here: Some(here(&status)),
        };
        Ok(statuses.into_iter().map(shown).collect())
    }

    async fn drain(&self, node: &str, drained: bool) -> Result<(), OperationError> {
        let (admin, status) = self.cluster_status().await?;
        member(&status, node)?;
        admin.set_desired_drain(node, drained).await.map_err(unavailable)
    }

    async fn move_shard(&self, shard: u16, to: Option<&str>) -> Result<(), OperationError> {
        let (admin, status) = self.cluster_status().await?;
        let shards = self.0.handle.store().layout().shards;
        if shard >= shards {
            let last = shards.saturating_sub(1);
            return Err(OperationError::NoSuch(format!("there is no shard {shard}; there are 0 to {last}")));
        }
        if let Some(name) = to {
            let refused = |why: &str| Err(OperationError::Refused(format!("{name} {why}")));
            match member(&status, name)?.state {
                MemberState::Up | MemberState::Joining => {}
                MemberState::Draining => return refused("gives its shards away; resume it first"),
                MemberState::Down => return refused("is gone: its row stands still"),
            }
        }
        admin.set_desired_owner(Shard(shard), to).await.map_err(unavailable)
    }

    async fn sagas(&self, limit: usize) -> Result<Vec<Saga>, OperationError> {
        let handle = &self.0.handle;
        let mut sagas = Vec::new();
        for entity in handle.under_way(limit).await {
            if !matches!(entity, EntityId::Order(_)) {
                continue;
            }
            if let Ok(Answer::Accepted(accepted)) = self.ask(entity, Command::Order(order::Command::Read)).await
                && let Some(State::Order(order)) = accepted.state.as_deref()
                && !order.is_at_rest()
            {
                sagas.push(saga(order, accepted.meta.created_at, handle.now()));
            }
        }
        sagas.sort_by_key(|saga| std::cmp::Reverse(saga.age_s));
        Ok(sagas)
    }

    async fn set_aside(&self) -> Result<Vec<SetAside>, OperationError> {
        let shown = |aside: doorbuster_actors::system::QuarantinedEntity| SetAside {
            retry: format!("POST /admin/entities/{}/retry", aside.entity),
            entity: aside.entity.to_string(),
            reason: aside.reason,
            failures: aside.failures,
            since: At(aside.since).to_string(),
        };
        Ok(self.0.handle.quarantined().await.into_iter().map(shown).collect())
    }

    async fn retry(&self, entity: EntityId) -> Result<(), OperationError> {
        let handle = &self.0.handle;
        let shard = handle.shard_of(&entity);
        if let Some(admin) = self.0.cluster.as_deref()
            && !handle.owned().contains_key(&shard)
        {
            let status = status_of(admin).await?;
            return Err(OperationError::Refused(cluster_admin::elsewhere(&status, shard)));
        }
        if handle.retry(&entity).await { Ok(()) } else { Err(OperationError::Unknown) }
    }

    async fn audit(&self) -> Result<Value, OperationError> {
        let (node, serving) = (Arc::clone(&self.0), tokio::runtime::Handle::current());
        self.0.auditor.audit(self.0.handle.now(), move |progress| audit(node, serving, progress)).await
    }

    async fn audits(&self) -> Result<Value, OperationError> {
        Ok(self.0.auditor.shown())
    }

    async fn fault(&self, fault: Fault) -> Result<(), OperationError> {
        if !self.0.faults_allowed {
            return Err(OperationError::NotAllowed);
        }
        let handle = &self.0.handle;
        match fault {
            Fault::Panic { entity, times } => {
                let entity = EntityId::parse(&entity).map_err(|error| OperationError::Refused(error.to_string()))?;
                handle.faults().arm_panic(&entity, times.unwrap_or(1));
                if handle.panic_entity(&entity).await { Ok(()) } else { Err(OperationError::Unknown) }
            }
            Fault::FailStep { step, times } => {
                if doorbuster_domain::effect::STEPS.contains(&step.as_str()) {
                    handle.faults().arm_step(&step, times.unwrap_or(1));
                    Ok(())
                } else {
                    let steps = doorbuster_domain::effect::STEPS.join(", ");
                    Err(OperationError::Refused(format!("no such step; there are {steps}")))
                }
            }
            Fault::SlowDisk { millis, for_s } => {
                let until = for_s.map(|seconds| handle.now().plus_s(seconds));
                handle.faults().slow_disk(Duration::from_millis(millis), until);
                Ok(())
            }
        }
    }

    async fn settle(&self, reference: Reference, answer: ProviderAnswer) -> Result<(), OperationError> {
        let entity = EntityId::Order(reference.order);
        self.ask(entity, Command::Order(order::Command::Settle { reference, answer })).await.map(|_accepted| ())
    }

    async fn erase(&self, entity: EntityId) -> Result<(), OperationError> {
        let Some(erasure) = entity.erasure() else {
            let why = format!("entities of kind {} hold no personal data", entity.kind());
            return Err(OperationError::Refused(why));
        };
        self.ask(entity, erasure).await.map(|_accepted| ())
    }
}

#[cfg(test)]
pub(super) mod tests;
