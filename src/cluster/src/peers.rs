//! The other nodes: who they are, the sessions with them, and their heartbeats.
//!
//! ```text
//! membership ──set_members──► peers ──dial (the greater name)──► session ──ready──► link ──► heartbeats
//!                               └── no longer a member: the session is stopped
//! ```
//!
//! A restarted node is another peer: its name holds its incarnation. A session with a node that membership does not know (yet) is kept, and
//! goes when membership has known and dropped it.

use super::common::{Common, count, group_of};
use super::gateway::GatewayMsg;
use super::guard::Guard;
use super::link::{Carrier, Link};
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

/// How a member's heart beats, as seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// Beats missed in a row; without a session each is.
    pub misses: u32,
    /// Milliseconds since the last one; `None`: there was none.
    pub last_ms_ago: Option<u64>,
    /// Is there a session?
    pub connected: bool,
}

#[derive(Debug)]
struct Member {
    row: NodeRow,
    link: Arc<Link>,
    misses: u32,
    last: Option<Instant>,
    /// Is a ping under way?
    pinged: bool,
    /// Is a dial under way?
    dialled: bool,
}

#[derive(Debug)]
struct Live {
    peer: Option<NodeId>,
    actor: ActorRef<NodeSessionMessage>,
    guard: Option<Arc<Guard>>,
}

#[derive(Debug, Default)]
struct Table {
    members: BTreeMap<NodeId, Member>,
    links: BTreeMap<NodeId, Arc<Link>>,
    sessions: HashMap<ActorId, Live>,
    guards: HashMap<String, Weak<Guard>>,
}

/// All peers of this node.
#[derive(Debug)]
pub struct Peers {
    common: Arc<Common>,
    table: Mutex<Table>,
    /// A member came, or a session went: look whom to dial.
    pub(super) changed: Notify,
}

/// The node that a session's peer says it is.
fn named(session: &Session) -> Option<NodeId> {
    let (name, _) = session.peer_name.as_ref()?.name.split_once('@')?;
    NodeId::parse(name)
}

impl Peers {
    pub(super) fn new(common: Arc<Common>) -> Arc<Self> {
        Arc::new(Self { common, table: Mutex::default(), changed: Notify::new() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The members, this node among them or not. Sessions with those that no longer are one are stopped, new ones are dialled by whoever has the
    /// greater name.
    pub fn set_members(&self, rows: Vec<NodeRow>) {
        let mut table = self.table();
        let before = std::mem::take(&mut table.members);
        let mut gone = before;
        for row in rows.into_iter().filter(|row| row.id != self.common.own) {
            let id = row.id.clone();
            let member = match gone.remove(&id) {
                Some(member) => Member { row, ..member },
                None => {
                    let link = table.link(&id, &self.common);
                    Member { row, link, misses: 0, last: None, pinged: false, dialled: false }
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

    /// How all members are, this node not among them.
    #[must_use]
    pub fn heartbeats(&self) -> BTreeMap<NodeId, Heartbeat> {
        let shown = |member: &Member| Heartbeat {
            misses: member.misses,
            last_ms_ago: member.last.map(|last| u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX)),
            connected: member.link.is_connected(),
        };
        self.table().members.iter().map(|(id, member)| (id.clone(), shown(member))).collect()
    }

    /// Stops the session with a node; as long as it is a member it is dialled again.
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
            let sessions = table.sessions.values().map(|live| (live.actor.clone(), live.guard.clone()));
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

    /// Tells every connected peer that this node owns a shard; whom it does not reach learns it otherwise.
    pub(super) fn say_owner(&self, shard: Shard, epoch: Epoch) {
        let links: Vec<_> = self.table().links.values().filter(|link| link.is_connected()).cloned().collect();
        links.iter().for_each(|link| link.say_owner(shard, epoch, &self.common.own));
    }

    /// A connection was made or accepted: its guard is found by its label once the transport speaks of it.
    pub(super) fn watch(&self, guard: &Arc<Guard>) {
        let mut table = self.table();
        table.guards.retain(|_, guard| guard.strong_count() > 0);
        table.guards.insert(guard.label.clone(), Arc::downgrade(guard));
    }

    /// The transport has begun a session.
    pub(super) fn opened(&self, session: &Session) {
        let mut table = self.table();
        let guard = table.guards.remove(&session.peer_addr).and_then(|guard| guard.upgrade());
        table.sessions.insert(session.actor.get_id(), Live { peer: None, actor: session.actor.clone(), guard });
    }

    /// The peer has proved the cookie. Called before the transport says anything more to it, so nothing can come too early.
    pub(super) fn authenticated(&self, session: &Session) {
        let Some(peer) = named(session) else {
            warn!(connection = %session.peer_addr, "a peer whose name is none of ours, closed");
            session.actor.stop(Some("no name".to_owned()));
            return;
        };
        let mut table = self.table();
        table.link(&peer, &self.common);
        if let Some(live) = table.sessions.get_mut(&session.actor.get_id()) {
            live.peer = Some(peer);
            if let Some(guard) = &live.guard {
                guard.prove();
            }
        }
    }

    /// The peer's gateways are known: the session can carry frames.
    pub(super) fn ready(&self, session: &Session) {
        let id = session.actor.get_id();
        // The transport tells each session of every actor that starts or ends, and here each order is one. It has announced the gateways; nothing
        // else is ever announced. A gateway that is started again ends all sessions.
        ractor::registry::pid_registry::demonitor(id);
        let mut table = self.table();
        let Some((peer, guard)) =
            table.sessions.get(&id).and_then(|live| Some((live.peer.clone()?, live.guard.clone())))
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
        let link = table.link(&peer, &self.common);
        if let Some(member) = table.members.get_mut(&peer) {
            (member.misses, member.pinged) = (0, false);
        }
        drop(table);
        info!(%peer, connection = %session.peer_addr, gateways = gateways.len(), dialled = !session.is_server, "connected");
        link.connect(Carrier { session: session.actor.clone(), guard, gateways });
        for (shard, (epoch, owner)) in self.common.hints.all() {
            if owner == self.common.own {
                link.say_owner(shard, epoch, &owner);
            }
        }
        self.changed.notify_one();
    }

    /// A session has ended.
    pub(super) fn closed(&self, session: &Session) {
        let id = session.actor.get_id();
        let mut table = self.table();
        let Some(live) = table.sessions.remove(&id) else { return };
        let link = live.peer.as_ref().and_then(|peer| table.links.get(peer).cloned());
        if let (Some(peer), Some(link)) = (&live.peer, &link)
            && !table.members.contains_key(peer)
            && link.is_carried_by(id)
        {
            table.links.remove(peer);
        }
        drop(table);
        if let Some(guard) = &live.guard {
            guard.close();
        }
        let connection = &session.peer_addr;
        match (&live.peer, &session.peer_name) {
            (Some(peer), _) => info!(%peer, %connection, "disconnected"),
            (None, Some(name)) => {
                count(&self.common.counters.unreadable, 1);
                warn!(%connection, name = %name.name, "a connection to the cluster port ended without proof of the cookie: it is another one there");
            }
            (None, None) => {
                count(&self.common.counters.unreadable, 1);
                warn!(%connection, "a connection to the cluster port ended before it said who it was");
            }
        }
        if let Some(link) = link {
            link.disconnect(id);
        }
        self.changed.notify_one();
    }

    /// One beat: counts what was missed, and asks every connected member whether it is there.
    pub(super) fn beat(self: &Arc<Self>) {
        let mut hung = Vec::new();
        let mut table = self.table();
        for (id, member) in &mut table.members {
            let gateway = member.link.any_gateway();
            if gateway.is_none() || member.pinged {
                member.misses = member.misses.saturating_add(1);
            }
            let Some(gateway) = gateway else { continue };
            if member.misses >= self.common.settings.cut_misses_max {
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

    /// Whom to dial now: members with lesser names than ours, that have no session and are not being dialled. They count as dialled from here on.
    pub(super) fn to_dial(&self) -> Vec<(NodeRow, Arc<Link>)> {
        let mut table = self.table();
        let own = &self.common.own;
        let due = |id: &NodeId, member: &Member| id < own && !member.dialled && !member.link.is_connected();
        let due = table.members.iter_mut().filter(|(id, member)| due(id, member));
        due.map(|(_, member)| {
            member.dialled = true;
            (member.row.clone(), Arc::clone(&member.link))
        })
        .collect()
    }

    /// Is it still to be dialled, and where?
    pub(super) fn address_of(&self, id: &NodeId) -> Option<String> {
        self.table().members.get(id).map(|member| member.row.cluster.clone())
    }

    /// A dial has ended: the member is connected, or is one no more.
    pub(super) fn dialled(&self, id: &NodeId) {
        if let Some(member) = self.table().members.get_mut(id) {
            member.dialled = false;
        }
        self.changed.notify_one();
    }
}

impl Table {
    fn link(&mut self, id: &NodeId, common: &Arc<Common>) -> Arc<Link> {
        let link = self.links.entry(id.clone()).or_insert_with(|| Link::new(id.clone(), Arc::clone(common)));
        Arc::clone(link)
    }
}
