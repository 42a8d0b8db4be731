//! The cluster as its nodes see it: each is asked twenty times a second who is a member and who owns which shard.
//!
//! One view per node, because that is the question: a node is noticed to be gone when *every* other node says so.

use super::fleet::is_ready;
use crate::load::Sale;
use doorbuster_bench::api::{Caller, Request, Target};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often a node is asked: the resolution of "noticed".
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A node that does not answer us within this time is not seen.
const LOOK_LIMIT: Duration = Duration::from_millis(500);
/// How often a load balancer looks whether a node is ready; two unanswered looks shut its door.
const BALANCER_EVERY: Duration = Duration::from_millis(250);
/// A view older than this says nothing any more.
const FRESH: Duration = Duration::from_secs(2);

/// How one node sees another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberSeen {
    /// `up`, `draining`, `joining`, `suspect`, `gone`, `failed`.
    pub(crate) state: String,
    /// Greater at each start.
    pub(crate) incarnation: u64,
    /// Shards that the store says it owns.
    pub(crate) owned: u64,
    /// Shards it serves, if it is the one that was asked.
    pub(crate) serving: Option<u64>,
}

/// How one node sees a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardSeen {
    /// The name of its owner, without the incarnation.
    pub(crate) owner: Option<String>,
    /// The name of the node that should own it.
    pub(crate) placed: Option<String>,
    /// Is it served?
    pub(crate) serving: bool,
}

/// What one node said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// By name.
    pub(crate) members: BTreeMap<String, MemberSeen>,
    /// By number.
    pub(crate) shards: BTreeMap<u64, ShardSeen>,
    /// When it said so.
    pub(crate) at: Instant,
}

impl View {
    /// From the answers of `/admin/cluster` and `/admin/shards`.
    pub(crate) fn read(cluster: &Value, shards: &Value, at: Instant) -> Option<Self> {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let members = cluster.get("members")?.as_array()?.iter().filter_map(|member| {
            let number = |name: &str| member.get(name).and_then(Value::as_u64);
            let seen = MemberSeen {
                state: text(member, "state")?,
                incarnation: number("incarnation").unwrap_or(0),
                owned: number("shards_owned").unwrap_or(0),
                serving: number("shards_serving"),
            };
            Some((text(member, "name")?, seen))
        });
        let shards = shards.get("data")?.as_array()?.iter().filter_map(|shard| {
            let seen = ShardSeen {
                owner: text(shard, "owner").map(|owner| bare_name(&owner)),
                placed: text(shard, "placed"),
                serving: shard.get("serving")?.as_bool()?,
            };
            Some((shard.get("shard")?.as_u64()?, seen))
        });
        Some(Self { members: members.collect(), shards: shards.collect(), at })
    }

    /// Does this node count that process among the living? A suspicion alone changes nothing.
    fn counts(&self, name: &str, incarnation: u64) -> bool {
        self.members.get(name).is_some_and(|seen| {
            seen.incarnation == incarnation && matches!(seen.state.as_str(), "up" | "suspect" | "joining")
        })
    }

    /// Is every node up, and every shard served by the node it is assigned to?
    fn is_whole(&self, names: &[String]) -> bool {
        let up = |name: &String| self.members.get(name).is_some_and(|seen| seen.state == "up");
        let settled = |shard: &ShardSeen| {
            shard.serving
                && shard.owner.is_some()
                && shard.placed.as_ref().is_none_or(|placed| shard.owner.as_ref() == Some(placed))
        };
        names.iter().all(up) && !self.shards.is_empty() && self.shards.values().all(settled)
    }
}

/// `node1.3` without the number of its start.
fn bare_name(id: &str) -> String {
    match id.rsplit_once('.') {
        Some((name, number)) if number.parse::<u64>().is_ok() => name.to_owned(),
        _ => id.to_owned(),
    }
}

/// What is known of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    /// What it last said; `None`: it does not answer.
    pub(crate) view: Option<View>,
    /// Did it say that it serves?
    pub(crate) ready: bool,
}

/// All views, kept up to date by a task per node until it is dropped.
#[derive(Debug)]
pub(crate) struct Board {
    names: Vec<String>,
    looks: Arc<Vec<Mutex<Look>>>,
    _watchers: JoinSet<()>,
}

impl Board {
    /// Begins to look. The sale's load balancer sends no buyer to a node that is not ready.
    pub(crate) fn watch(names: Vec<String>, operators: &[Target], sale: &Arc<Sale>) -> Self {
        let looks: Arc<Vec<Mutex<Look>>> = Arc::new(names.iter().map(|_| Mutex::new(Look::default())).collect());
        let mut watchers = JoinSet::new();
        for (index, operator) in operators.iter().enumerate() {
            watchers.spawn(look_at(index, operator.clone(), Arc::clone(&looks)));
            watchers.spawn(balance(index, operator.clone(), Arc::clone(&looks), Arc::clone(sale)));
        }
        Self { names, looks, _watchers: watchers }
    }

    /// The names of the nodes, by index.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// What is known of each node.
    pub(crate) fn looks(&self) -> Vec<Look> {
        self.looks.iter().map(|look| look.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    fn fresh_views(&self) -> Vec<Option<View>> {
        let fresh = |view: &View| view.at.elapsed() < FRESH;
        self.looks().into_iter().map(|look| look.view.filter(fresh)).collect()
    }

    /// The process that bears the name of this index now, by the first view that knows it.
    pub(crate) fn incarnation(&self, index: usize) -> u64 {
        let name = self.names.get(index);
        let known = |view: View| name.and_then(|name| view.members.get(name)).map(|seen| seen.incarnation);
        self.fresh_views().into_iter().flatten().filter_map(known).max().unwrap_or(0)
    }

    /// Do all other nodes say that this process of the node of this index is no member any more?
    pub(crate) fn is_noticed(&self, index: usize, incarnation: u64, since: Instant) -> bool {
        let Some(name) = self.names.get(index) else { return false };
        let views = self.fresh_views();
        let others = || views.iter().enumerate().filter(|(other, _)| *other != index);
        others().count() > 0
            && others()
                .all(|(_, view)| view.as_ref().is_some_and(|view| view.at > since && !view.counts(name, incarnation)))
    }

    /// Does another node say that the node of this index owns nothing any more?
    pub(crate) fn is_emptied(&self, index: usize, since: Instant) -> bool {
        let name = self.names.get(index);
        let others = self.fresh_views();
        let mut others =
            others.iter().enumerate().filter(|(other, _)| *other != index).filter_map(|(_, view)| view.as_ref());
        others.any(|view| {
            view.at > since
                && !view.shards.is_empty()
                && view.shards.values().all(|shard| shard.serving && shard.owner.as_ref() != name)
        })
    }

    /// Do all nodes say that all are up, and every shard is served by whom it is dealt to?
    pub(crate) fn is_whole(&self, since: Instant) -> bool {
        let views = self.fresh_views();
        views.iter().all(|view| view.as_ref().is_some_and(|view| view.at > since && view.is_whole(&self.names)))
    }
}

/// One request that is not waited for beyond [`LOOK_LIMIT`]; `None`: no answer, or not a good one.
async fn ask(caller: &mut Caller, path: &str) -> Option<Value> {
    let asked = caller.once(Request { method: "GET", path, key: None, wait_s: None, body: b"" });
    match tokio::time::timeout(LOOK_LIMIT, asked).await {
        Ok(Ok((answer, _))) if answer.is_ok() => Some(answer.json()),
        _ => None,
    }
}

async fn look_at(index: usize, operator: Target, looks: Arc<Vec<Mutex<Look>>>) {
    let mut caller = Caller::new(operator);
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let at = Instant::now();
        let cluster = ask(&mut caller, "/admin/cluster").await;
        let shards = ask(&mut caller, "/admin/shards").await;
        let view = cluster.zip(shards).and_then(|(cluster, shards)| View::read(&cluster, &shards, at));
        if let Some(look) = looks.get(index) {
            look.lock().unwrap_or_else(PoisonError::into_inner).view = view;
        }
    }
}

async fn balance(index: usize, operator: Target, looks: Arc<Vec<Mutex<Look>>>, sale: Arc<Sale>) {
    let mut caller = Caller::new(operator);
    let mut tick = tokio::time::interval(BALANCER_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let ready = tokio::time::timeout(LOOK_LIMIT, is_ready(&mut caller)).await.unwrap_or(false);
        sale.doors.set_open(index, ready);
        if let Some(look) = looks.get(index) {
            look.lock().unwrap_or_else(PoisonError::into_inner).ready = ready;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    fn said(states: [&str; 3], owners: [&str; 4]) -> View {
        let members: Vec<Value> = states
            .iter()
            .zip(["node1", "node2", "node3"])
            .map(|(state, name)| json!({ "name": name, "incarnation": 7, "state": state, "shards_owned": 1, "shards_serving": null }))
            .collect();
        let shards: Vec<Value> = (0..4)
            .zip(owners)
            .map(|(number, owner)| {
                let placed = owner.split('.').next();
                json!({ "shard": number, "owner": if owner.is_empty() { Value::Null } else { json!(owner) }, "placed": placed, "serving": !owner.is_empty() })
            })
            .collect();
        View::read(&json!({ "node": "node1.7", "members": members }), &json!({ "data": shards }), Instant::now())
            .unwrap()
    }

    fn board(views: [Option<View>; 3]) -> Board {
        let looks = views.into_iter().map(|view| Mutex::new(Look { view, ready: true })).collect();
        let names = ["node1", "node2", "node3"].map(str::to_owned).to_vec();
        Board { names, looks: Arc::new(looks), _watchers: JoinSet::new() }
    }

    const OWNED: [&str; 4] = ["node1.7", "node2.7", "node3.7", "node1.7"];

    #[test]
    fn a_node_is_noticed_when_every_other_says_so() {
        let start = Instant::now();
        let (all, without) = (|| Some(said(["up"; 3], OWNED)), || Some(said(["up", "gone", "up"], OWNED)));
        assert!(!board([without(), None, all()]).is_noticed(1, 7, start));
        assert!(!board([without(), None, None]).is_noticed(1, 7, start), "who does not answer has noticed nothing");
        let noticed = board([without(), all(), without()]);
        assert!(noticed.is_noticed(1, 7, start) && !noticed.is_noticed(0, 7, start));
        assert!(!noticed.is_noticed(1, 7, Instant::now() + Duration::from_secs(1)), "a view from before says nothing");
        assert!(board([all(), None, all()]).is_noticed(1, 6, start), "an earlier process of the name is gone");
        assert!(!board([Some(said(["up", "suspect", "up"], OWNED)), None, all()]).is_noticed(1, 7, start));
    }

    #[test]
    fn the_cluster_is_whole_when_all_are_up_and_all_shards_served_where_they_belong() {
        let start = Instant::now();
        let all = || Some(said(["up"; 3], OWNED));
        assert!(board([all(), all(), all()]).is_whole(start));
        assert!(!board([all(), all(), None]).is_whole(start));
        assert!(!board([all(), all(), Some(said(["up"; 3], ["node1.7", "", "node3.7", "node1.7"]))]).is_whole(start));
        assert!(!board([all(), all(), Some(said(["up", "draining", "up"], OWNED))]).is_whole(start));
    }

    #[test]
    fn a_drained_node_is_empty_once_all_shards_are_served_elsewhere() {
        let start = Instant::now();
        let drained = || Some(said(["up", "draining", "up"], ["node1.7", "node3.7", "node3.7", "node1.7"]));
        assert!(board([drained(), None, drained()]).is_emptied(1, start));
        assert!(!board([drained(), None, drained()]).is_emptied(0, start));
        assert!(
            !board([Some(said(["up"; 3], ["node1.7", "", "node3.7", "node1.7"])), None, None]).is_emptied(1, start)
        );
    }

    #[test]
    fn a_name_loses_only_the_number_of_its_start() {
        assert_eq!(
            [bare_name("node1.12"), bare_name("shop.example.3"), bare_name("node1")],
            ["node1", "shop.example", "node1"]
        );
    }
}
