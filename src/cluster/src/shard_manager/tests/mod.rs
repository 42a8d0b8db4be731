//! Several shard managers in one process, on one registry and one journal in memory, in a world whose time is paused: what happens to their shards
//! when nodes join, leave, die, stop, wake up, or cannot see the store or each other.
//!
//! Claims and fences are the memory journal's own; only the actors behind a shard are left out.

mod node;
mod random;
mod scenarios;

use self::node::{Link, Node};
use super::{ClusterStatus, ShardManagerSettings};
use crate::placement;
use doorbuster_clock::monotonic;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::memory::{Groups, MemoryJournal, MemoryRegistry, MemoryStore};
use doorbuster_storage::registry::{OwnerRow, Registry};
use doorbuster_storage::{Epoch, Layout, Shard};
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SHARDS: u16 = 48;
/// How often the world is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Nodes, what they share, and for how long shards had no owner that serves.
struct Cluster {
    journal: MemoryJournal,
    registry: MemoryRegistry,
    clock: Arc<doorbuster_clock::TestClock>,
    nodes: BTreeMap<String, Node>,
    /// One way: the first does not hear the second's answers.
    cuts: BTreeSet<(String, String)>,
    settings: ShardManagerSettings,
    unserved_since: BTreeMap<Shard, Instant>,
    longest_unserved: Duration,
    steps: u32,
}

impl Cluster {
    fn empty() -> Self {
        let store = MemoryStore::new(Layout { shards: SHARDS, hash_version: 1 }, Groups::PerShard, 7);
        Self {
            journal: store.open(),
            registry: MemoryRegistry::default(),
            clock: doorbuster_clock::TestClock::starting_at(Timestamp(1_700_000_000_000)),
            nodes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            settings: ShardManagerSettings::default(),
            unserved_since: BTreeMap::new(),
            longest_unserved: Duration::ZERO,
            steps: 0,
        }
    }

    /// `count` nodes, `n1`, `n2`, …, that have shared the shards.
    async fn of(count: usize) -> Self {
        let mut cluster = Self::empty();
        for number in 1..=count {
            cluster.join(&format!("n{number}")).await;
        }
        cluster.quiet().await;
        cluster.longest_unserved = Duration::ZERO;
        cluster
    }

    /// Starts a process of this name; an earlier one of the name is killed.
    async fn join(&mut self, name: &str) {
        self.nodes.remove(name);
        let node = Node::start(name, self).await;
        self.nodes.insert(name.to_owned(), node);
    }

    /// `kill -9`: nothing is said to anybody.
    fn kill(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// SIGSTOP: it does nothing and notices nothing, until it is woken.
    fn stop(&self, name: &str) {
        self.link(name).stop(true);
    }

    fn wake(&self, name: &str) {
        self.link(name).stop(false);
    }

    /// Neither the registry nor the journal can be reached by this node.
    fn lose_store(&self, name: &str, lost: bool) {
        self.link(name).fail(lost);
    }

    fn link(&self, name: &str) -> &Link {
        self.node(name).link()
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.get(name).expect("the scenario names a running node")
    }

    async fn status(&self, name: &str) -> ClusterStatus {
        self.node(name).shard_manager().status().await.expect("it keeps")
    }

    /// Lets time pass, with heartbeats between the nodes, and looks at every shard at each step.
    async fn pass(&mut self, time: Duration) {
        let until = monotonic() + time;
        while monotonic() < until {
            tokio::time::sleep(STEP).await;
            self.nodes.retain(|_, node| !node.has_ended());
            self.steps = self.steps.wrapping_add(1);
            if self.steps.is_multiple_of(10) {
                self.heartbeats();
            }
            self.look();
        }
    }

    async fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds)).await;
    }

    /// Longer than any bound.
    async fn quiet(&mut self) {
        self.seconds(40).await;
    }

    fn heartbeats(&self) {
        for (name, node) in &self.nodes {
            let answers = |other: &String| {
                let other_runs = self.nodes.get(other).is_some_and(|other| !other.link().is_stopped());
                other_runs && !self.cuts.contains(&(name.clone(), other.clone()))
            };
            node.heartbeats(answers);
        }
    }

    /// Who serves a shard: holds the ownership that the journal takes appends from, and runs.
    fn server(&self, shard: Shard) -> Option<(&str, Epoch)> {
        self.server_by(&self.owners(), shard)
    }

    fn server_by(&self, owners: &BTreeMap<Shard, OwnerRow>, shard: Shard) -> Option<(&str, Epoch)> {
        let newest = owners.get(&shard).map_or(0, |row| row.epoch);
        let serves = |node: &Node| !node.link().is_stopped() && !node.link().is_failing() && node.serves(shard, newest);
        let mut servers = self.nodes.iter().filter(|(_, node)| serves(node));
        let server = servers.next().map(|(name, _)| (name.as_str(), newest));
        assert_eq!(servers.next().map(|(name, _)| name), None, "two nodes own epoch {newest} of shard {shard}");
        server
    }

    fn look(&mut self) {
        let owners = self.owners();
        for shard in (0..SHARDS).map(Shard) {
            if self.server_by(&owners, shard).is_some() {
                self.unserved_since.remove(&shard);
            } else {
                let since = *self.unserved_since.entry(shard).or_insert_with(monotonic);
                self.longest_unserved = self.longest_unserved.max(doorbuster_clock::since(since));
            }
        }
    }

    fn owners(&self) -> BTreeMap<Shard, OwnerRow> {
        let rows = self.registry.owners().now_or_never().expect("memory answers at once").expect("the registry works");
        rows.into_iter().map(|row| (row.shard, row)).collect()
    }

    fn epochs(&self) -> BTreeMap<Shard, Epoch> {
        self.owners().into_iter().map(|(shard, row)| (shard, row.epoch)).collect()
    }

    /// How many shards each node serves.
    fn load(&self) -> BTreeMap<String, usize> {
        let mut load: BTreeMap<String, usize> = self.nodes.keys().map(|name| (name.clone(), 0)).collect();
        for (name, _) in (0..SHARDS).filter_map(|shard| self.server(Shard(shard))) {
            *load.entry(name.to_owned()).or_default() += 1;
        }
        load
    }

    /// Every shard is served by the one node that should own it, and by no other.
    async fn assert_placed(&self) {
        let desired = self.registry.desired_state().await.expect("the registry works");
        let may = self.nodes.keys().filter(|name| !desired.drained.contains(*name)).cloned().collect();
        let assigned = placement::assign(SHARDS, &may, &desired.moved);
        for (shard, name) in &assigned {
            let server = self.server(*shard).map(|(server, _)| server);
            assert_eq!(server, Some(name.as_str()), "shard {shard}; {:?}", self.owners().get(shard));
            let holders: Vec<&String> =
                self.nodes.iter().filter(|(_, node)| node.owned().contains_key(shard)).map(|(name, _)| name).collect();
            assert_eq!(holders, [name], "shard {shard}");
        }
        for node in self.nodes.values() {
            let status = node.shard_manager().status().await.expect("it keeps");
            let placed: BTreeMap<Shard, String> =
                status.shards.iter().filter_map(|row| Some((Shard(row.shard), row.placed.clone()?))).collect();
            assert_eq!(placed, assigned, "{} sees another placement", status.me);
        }
    }
}
