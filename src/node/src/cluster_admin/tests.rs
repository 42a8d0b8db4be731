//! The operator's answers about a cluster that is made up.

use super::*;
use doorbuster_cluster::shard_manager::{HandoffReason, ShardActivity, ShardStatus};
use std::sync::Mutex;

/// A cluster of two live nodes and one that is gone; it records the desired states that are set.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    pub(crate) desired: Mutex<Vec<String>>,
    /// The state of the node that answers.
    pub(crate) own: Option<MemberState>,
    /// Milliseconds since it last read the nodes' rows.
    pub(crate) silent_ms: Option<u64>,
}

impl Quiet {
    fn record(&self, what: String) -> BoxFuture<'_, Result<(), RegistryError>> {
        self.desired.lock().expect("no test panicked").push(what);
        Box::pin(async { Ok(()) })
    }
}

impl ClusterAdmin for Quiet {
    fn status(&self) -> BoxFuture<'_, Option<ClusterStatus>> {
        let mut status = two_nodes();
        if let (Some(own), Some(me)) = (self.own, status.members.first_mut()) {
            me.state = own;
        }
        status.registry_read_ms_ago = self.silent_ms.or(status.registry_read_ms_ago);
        Box::pin(async { Some(status) })
    }
    fn heartbeats(&self) -> BTreeMap<NodeId, PeerHeartbeat> {
        let b = NodeId { name: "b".to_owned(), incarnation: 2 };
        BTreeMap::from([(b, PeerHeartbeat { missed: 5, last_ms_ago: Some(2_600) })])
    }
    fn suspect_at(&self) -> u32 {
        4
    }
    fn figures(&self) -> Vec<Figure> {
        vec![Figure::counter("cluster_questions", "questions asked of peers", 9)]
    }
    fn set_desired_drain<'a>(&'a self, name: &'a str, drained: bool) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.record(format!("drain {name} {drained}"))
    }
    fn set_desired_owner<'a>(&'a self, shard: Shard, to: Option<&'a str>) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.record(format!("move {shard} {to:?}"))
    }
}

fn member(name: &str, incarnation: u64, state: MemberState) -> MemberStatus {
    MemberStatus {
        name: name.to_owned(),
        incarnation,
        state,
        drain_wished: false,
        beat: 1,
        beat_age_ms: 2,
        heartbeats_missed: 0,
        version: "0".to_owned(),
        cluster: String::new(),
        public: String::new(),
        operator: format!("{name}:8081"),
        shards_owned: 1,
        shards_placed: 3,
        shards_claimed: (name == "a").then_some(2),
    }
}

fn shard(shard: u16, owner: Option<&str>, serving_epoch: Option<u64>) -> ShardStatus {
    ShardStatus {
        shard,
        placed: Some("a".to_owned()),
        moved: false,
        owner: owner.map(str::to_owned),
        epoch: 4,
        serving_epoch,
        doing: (shard == 1).then_some(ShardActivity::Claiming),
        last_handoff: (shard == 0).then(|| shard_manager::Handoff {
            at_ms: 0,
            from: Some("b.2".to_owned()),
            to: Some("a.1".to_owned()),
            why: HandoffReason::OwnerGone,
            took_ms: Some(3),
        }),
    }
}

fn two_nodes() -> ClusterStatus {
    ClusterStatus {
        me: "a.1".to_owned(),
        view: 3,
        registry_read_ms_ago: Some(1),
        registry_failure: None,
        registry_failures: 0,
        members: vec![
            member("a", 1, MemberState::Up),
            member("b", 2, MemberState::Up),
            member("c", 1, MemberState::Down),
        ],
        shards: vec![
            shard(0, Some("a.1"), Some(4)),
            shard(1, Some("a.1"), Some(4)),
            shard(2, Some("b.2"), None),
            shard(3, Some("b.1"), None),
            shard(4, Some("c.1"), None),
            shard(5, None, None),
        ],
    }
}

#[test]
fn a_member_that_misses_heartbeats_is_suspect_and_one_whose_row_stands_still_is_gone() {
    let shown = cluster(&Quiet::default(), two_nodes(), 77);
    let states: Vec<NodeStanding> = shown.members.iter().map(|member| member.state).collect();
    assert_eq!(states, [NodeStanding::Up, NodeStanding::Suspect, NodeStanding::Gone]);
    let up: Vec<Option<u64>> = shown.members.iter().map(|member| member.up_s).collect();
    assert_eq!(up, [Some(77), None, None], "only of itself a node knows since when it is up");
}

#[test]
fn a_shard_is_served_by_an_owner_that_lives_and_has_recovered_it() {
    let serving: Vec<bool> = shards(two_nodes(), BTreeMap::new()).iter().map(|shard| shard.serving).collect();
    // Recovered here; claimed here and not recovered yet; a live node's; an earlier process's; a dead node's; without an owner.
    assert_eq!(serving, [true, false, true, false, false, false]);
}

#[test]
fn a_hand_off_has_its_time_and_its_reason() {
    let all = shards(two_nodes(), BTreeMap::new());
    let handoff = all.first().and_then(|shard| shard.last_handoff.clone()).expect("it was handed off");
    assert_eq!((handoff.at.as_str(), handoff.why.as_str()), ("1970-01-01T00:00:00.000Z", "owner_gone"));
    assert_eq!(all.get(1).and_then(|shard| shard.doing.as_deref()), Some("claiming"));
}

#[test]
fn a_question_about_another_nodes_shard_is_answered_with_the_address_to_ask() {
    assert_eq!(elsewhere(&two_nodes(), Shard(2)), "it belongs to shard 2 of b.2: ask b:8081");
    assert!(elsewhere(&two_nodes(), Shard(3)).contains("which is gone"));
    assert!(elsewhere(&two_nodes(), Shard(5)).contains("no node owns"));
}

#[test]
fn shards_placed_claimed_and_serving_are_three_figures_that_do_not_change_places() {
    let shown = cluster(&Quiet::default(), two_nodes(), 77);
    let counts: Vec<_> = shown
        .members
        .iter()
        .map(|member| (member.shards_owned, member.shards_placed, member.shards_claimed, member.shards_serving))
        .collect();
    // Of another node only the store and the placement are known here.
    assert_eq!(counts, [(1, 3, Some(2), Some(1)), (1, 3, None, None), (1, 3, None, None)]);
    let figures = figures_of(&Quiet::default(), &two_nodes());
    let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    let counts = ["owned", "placed", "claimed", "serving"].map(|what| value(&format!("cluster_shards_{what}")));
    assert_eq!(counts, [Some(1), Some(3), Some(2), Some(1)]);
}

#[test]
fn the_figures_count_who_lives_and_what_is_served() {
    let figures = figures_of(&Quiet::default(), &two_nodes());
    let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert_eq!(value("cluster_members_live"), Some(2));
    assert_eq!(value("cluster_members_known"), Some(3));
    assert_eq!(value("cluster_shards_serving"), Some(1));
    assert_eq!(value("cluster_shards_unowned"), Some(1));
    assert_eq!(value("cluster_heartbeats_missed"), Some(5));
    assert_eq!(value("cluster_questions"), Some(9));
}
