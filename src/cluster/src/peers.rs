//! The other nodes: the sessions with them, and their heartbeats.
//!
//! ```text
//! membership ──set_members──► peers ──dial (the greater name)──► session ──ready──► link ──► heartbeats
//!                               └── no longer a member: the session is stopped
//! ```
//!
//! A restarted node is another peer, because a peer's name holds its incarnation. A session with a node that is not yet a member is kept; it ends
//! when the node has been a member and is one no longer.

use super::context::{GatewayContext, count, group_of};
use super::gateway::GatewayMsg;
use super::guard::Guard;
use super::link::{Link, LinkSession};
use super::refusals::Refused;
use doorbuster_storage::registry::{NodeId, NodeRow};
use doorbuster_storage::{Epoch, Shard};
use ractor::{ActorId, ActorRef};
use ractor_cluster::NodeSessionMessage;
use ractor_cluster::node::NodeServerSessionInformation as Session;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

/// A member's heartbeat, as seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerHeartbeat {
    /// Consecutive heartbeats that were not answered; each interval without a session counts.
    pub misses: u32,
    /// Milliseconds since the last answer; `None`: there was none.
    pub last_ms_ago: Option<u64>,
    /// Whether a session exists.
    pub connected: bool,
}

#[derive(Debug)]
struct Peer {
    row: NodeRow,
    link: Arc<Link>,
    misses: u32,
    last: Option<Instant>,
    /// Whether a ping is in flight.
    pinged: bool,
    /// Whether a dial is in progress.
    dialled: bool,
}

#[derive(Debug)]
struct PeerSession {
    peer: Option<NodeId>,
    actor: ActorRef<NodeSessionMessage>,
    guard: Option<Arc<Guard>>,
}

#[derive(Debug, Default)]
struct PeerTable {
    members: BTreeMap<NodeId, Peer>,
    links: BTreeMap<NodeId, Arc<Link>>,
    sessions: HashMap<ActorId, PeerSession>,
    guards: HashMap<String, Weak<Guard>>,
}

/// The peers of this node.
#[derive(Debug)]
pub struct Peers {
    context: Arc<GatewayContext>,
    table: Mutex<PeerTable>,
    /// Notified when a member came or a session ended, so that missing sessions are dialled.
    pub(super) changed: Notify,
}

/// The node that a session's peer claims to be.
fn peer_of(session: &Session) -> Option<NodeId> {
    let (name, _) = session.peer_name.as_ref()?.name.split_once('@')?;
    NodeId::parse(name)
}

impl Peers {
    pub(super) fn new(context: Arc<GatewayContext>) -> Arc<Self> {
        Arc::new(Self { context, table: Mutex::default(), changed: Notify::new() })
    }

    fn table(&self) -> MutexGuard<'_, PeerTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the members; this node may be among them. Sessions with nodes that are no longer members are stopped. New members are dialled by the node
    /// with the greater name.
    pub fn set_members(&self, rows: Vec<NodeRow>) {
        let mut table = self.table();
        let before = std::mem::take(&mut table.members);
        let mut gone = before;
        for row in rows.into_iter().filter(|row| row.id != self.context.own) {
            let id = row.id.clone();
            let member = match gone.remove(&id) {
                Some(member) => Peer { row, ..member },
                None => {
                    let link = table.link(&id, &self.context);
                    Peer { row, link, misses: 0, last: None, pinged: false, dialled: false }
                }
            };
            table.members.insert(id, member);
        }
        for id in gone.keys() {
            table.links.remove(id);
        }
        drop(table);
        for (id, member) in gone {
            if member.link.is_connected() {
                info!(peer = %id, "no longer a member: its session is stopped");
            }
            member.link.cut("no longer a member");
        }
        self.changed.notify_one();
    }

    /// The heartbeats of all members but this node.
    #[must_use]
    pub fn heartbeats(&self) -> BTreeMap<NodeId, PeerHeartbeat> {
        let shown = |member: &Peer| PeerHeartbeat {
            misses: member.misses,
            last_ms_ago: member
                .last
                .map(|last| u64::try_from(doorbuster_clock::since(last).as_millis()).unwrap_or(u64::MAX)),
            connected: member.link.is_connected(),
        };
        self.table().members.iter().map(|(id, member)| (id.clone(), shown(member))).collect()
    }

    /// Stops the session with a node; a member is dialled again.
    pub fn cut(&self, node: &NodeId, why: &str) {
        let link = self.table().links.get(node).cloned();
        if let Some(link) = link {
            warn!(peer = %node, why, "a session is stopped");
            link.cut(why);
            self.changed.notify_one();
        }
    }

    /// Stops all sessions.
    pub(super) fn cut_all(&self, why: &str) {
        let (links, sessions): (Vec<_>, Vec<_>) = {
            let table = self.table();
            let sessions =
                table.sessions.values().map(|peer_session| (peer_session.actor.clone(), peer_session.guard.clone()));
            (table.links.values().cloned().collect(), sessions.collect())
        };
        links.iter().for_each(|link| link.cut(why));
        for (actor, guard) in sessions {
            actor.stop(Some(why.to_owned()));
            if let Some(guard) = guard {
                guard.close();
            }
        }
    }

    pub(super) fn link(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.table().links.get(node).cloned()
    }

    pub(super) fn link_named(&self, name: &str) -> Option<Arc<Link>> {
        self.link(&NodeId::parse(name)?)
    }

    /// Sends every connected peer the hint that this node owns a shard. A peer that does not receive it learns the owner from the store.
    pub(super) fn send_owner_hint(&self, shard: Shard, epoch: Epoch) {
        let links: Vec<_> = self.table().links.values().filter(|link| link.is_connected()).cloned().collect();
        links.iter().for_each(|link| link.send_owner_hint(shard, epoch, &self.context.own));
    }

    /// Registers the guard of a new connection; it is found by its label once the transport reports the session.
    pub(super) fn watch(&self, guard: &Arc<Guard>) {
        let mut table = self.table();
        table.guards.retain(|_, guard| guard.strong_count() > 0);
        table.guards.insert(guard.label.clone(), Arc::downgrade(guard));
    }

    /// The transport reports a new session.
    pub(super) fn opened(&self, session: &Session) {
        let mut table = self.table();
        let guard = table.guards.remove(&session.peer_addr).and_then(|guard| guard.upgrade());
        table.sessions.insert(session.actor.get_id(), PeerSession { peer: None, actor: session.actor.clone(), guard });
    }

    /// The transport reports that the peer has proved the cookie. This comes before any other message of the peer.
    pub(super) fn authenticated(&self, session: &Session) {
        let Some(peer) = peer_of(session) else {
            warn!(connection = %session.peer_addr, "a peer with an invalid node name, closed");
            session.actor.stop(Some("no name".to_owned()));
            return;
        };
        let mut table = self.table();
        table.link(&peer, &self.context);
        if let Some(peer_session) = table.sessions.get_mut(&session.actor.get_id()) {
            peer_session.peer = Some(peer);
            if let Some(guard) = &peer_session.guard {
                guard.prove();
            }
        }
    }

    /// The transport reports the peer's gateways: the session can carry frames.
    pub(super) fn ready(&self, session: &Session) {
        let id = session.actor.get_id();
        // The transport would notify each session of every actor that starts or ends, and each order is an actor. It has announced the gateways;
        // nothing else is ever announced. A restart of a gateway ends all sessions.
        ractor::registry::pid_registry::demonitor(id);
        let mut table = self.table();
        let Some((peer, guard)) = table
            .sessions
            .get(&id)
            .and_then(|peer_session| Some((peer_session.peer.clone()?, peer_session.guard.clone())))
        else {
            return;
        };
        let theirs = |id: ActorId| matches!(id, ActorId::Remote { node_id, .. } if node_id == session.node_id);
        let gateways: Vec<ActorRef<GatewayMsg>> = ractor::pg::get_members(&group_of(&peer))
            .into_iter()
            .filter(|cell| theirs(cell.get_id()))
            .map(ActorRef::from)
            .collect();
        if gateways.is_empty() {
            warn!(%peer, connection = %session.peer_addr, "a peer without gateways, closed");
            session.actor.stop(Some("no gateways".to_owned()));
            return;
        }
        let link = table.link(&peer, &self.context);
        if let Some(member) = table.members.get_mut(&peer) {
            (member.misses, member.pinged) = (0, false);
        }
        drop(table);
        info!(%peer, connection = %session.peer_addr, gateways = gateways.len(), dialled = !session.is_server, "connected");
        link.connect(LinkSession { actor: session.actor.clone(), guard, gateways });
        for (shard, (epoch, owner)) in self.context.hints.all() {
            if owner == self.context.own {
                link.send_owner_hint(shard, epoch, &owner);
            }
        }
        self.changed.notify_one();
    }

    /// The transport reports the end of a session.
    pub(super) fn closed(&self, session: &Session) {
        let id = session.actor.get_id();
        let mut table = self.table();
        let Some(peer_session) = table.sessions.remove(&id) else { return };
        let link = peer_session.peer.as_ref().and_then(|peer| table.links.get(peer).cloned());
        if let (Some(peer), Some(link)) = (&peer_session.peer, &link)
            && !table.members.contains_key(peer)
            && link.is_carried_by(id)
        {
            table.links.remove(peer);
        }
        drop(table);
        count(&self.context.sessions_ended, 1);
        if let Some(guard) = &peer_session.guard {
            guard.close();
        }
        let connection = &session.peer_addr;
        match (&peer_session.peer, &session.peer_name) {
            (Some(peer), _) => info!(%peer, %connection, "disconnected"),
            (None, Some(name)) => {
                count(&self.context.counters.unreadable, 1);
                if let Some(unlogged) = self.context.refusals.note(Refused::Cookie) {
                    warn!(%connection, name = %name.name, unlogged, "a connection to the cluster port ended before the cookie was proved: the peer has another cookie");
                }
            }
            (None, None) => {
                count(&self.context.counters.unreadable, 1);
                if let Some(unlogged) = self.context.refusals.note(Refused::Nameless) {
                    warn!(%connection, unlogged, "a connection to the cluster port ended before the peer sent its name");
                }
            }
        }
        if let Some(link) = link {
            link.disconnect(id);
        }
        self.changed.notify_one();
    }

    /// One heartbeat interval: counts missed heartbeats and pings every connected member.
    pub(super) fn beat(self: &Arc<Self>) {
        let mut hung = Vec::new();
        let mut table = self.table();
        for (id, member) in &mut table.members {
            let gateway = member.link.any_gateway();
            if gateway.is_none() || member.pinged {
                member.misses = member.misses.saturating_add(1);
            }
            let Some(gateway) = gateway else { continue };
            if member.misses >= self.context.settings.cut_misses_max {
                hung.push(id.clone());
            } else if !member.pinged {
                let (reply, pong) = oneshot::channel();
                member.pinged = gateway.send_message(GatewayMsg::Ping(reply.into())).is_ok();
                tokio::spawn(Arc::clone(self).await_pong(id.clone(), pong));
            }
        }
        drop(table);
        for id in hung {
            self.cut(&id, "it does not answer");
        }
    }

    async fn await_pong(self: Arc<Self>, peer: NodeId, pong: oneshot::Receiver<Vec<u8>>) {
        let answered = pong.await.is_ok();
        if let Some(member) = self.table().members.get_mut(&peer) {
            member.pinged = false;
            if answered {
                member.misses = 0;
                member.last = Some(doorbuster_clock::monotonic());
            }
        }
    }

    /// The members to dial now: those with lesser names than this node's that have no session and no dial in progress. Marks them as being dialled.
    pub(super) fn to_dial(&self) -> Vec<(NodeRow, Arc<Link>)> {
        let mut table = self.table();
        let own = &self.context.own;
        let due = |id: &NodeId, member: &Peer| id < own && !member.dialled && !member.link.is_connected();
        let due = table.members.iter_mut().filter(|(id, member)| due(id, member));
        due.map(|(_, member)| {
            member.dialled = true;
            (member.row.clone(), Arc::clone(&member.link))
        })
        .collect()
    }

    /// The address to dial; `None`: no longer a member.
    pub(super) fn address_of(&self, id: &NodeId) -> Option<String> {
        self.table().members.get(id).map(|member| member.row.cluster.clone())
    }

    /// A dial has ended: the member is connected, or is one no longer.
    pub(super) fn dialled(&self, id: &NodeId) {
        if let Some(member) = self.table().members.get_mut(id) {
            member.dialled = false;
        }
        self.changed.notify_one();
    }
}

impl PeerTable {
    fn link(&mut self, id: &NodeId, context: &Arc<GatewayContext>) -> Arc<Link> {
        let link = self.links.entry(id.clone()).or_insert_with(|| Link::new(id.clone(), Arc::clone(context)));
        Arc::clone(link)
    }
}
