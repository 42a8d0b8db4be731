//! One shard at a time: what is known in, what to do out.

use super::*;
use doorbuster_clock::monotonic;
use std::collections::BTreeSet;

const SHARD: Shard = Shard(0);

fn id(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.to_owned(), incarnation }
}

/// What node `me.2` knows of one shard, and its plan.
struct PlanTest {
    plan: Plan,
    origin: Instant,
    now_ms: u64,
    read_ms: u64,
    map: u64,
    placed: BTreeMap<Shard, String>,
    owners: BTreeMap<Shard, OwnerRow>,
    owned: BTreeMap<Shard, Epoch>,
    living: BTreeSet<String>,
    may_release: bool,
    leaving: bool,
}

impl PlanTest {
    fn new() -> Self {
        let plan = Plan::new(id("me", 2), 1, ShardManagerSettings::default());
        let living = BTreeSet::from(["me".to_owned(), "other".to_owned()]);
        let (placed, owners, owned) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            plan,
            origin: monotonic(),
            now_ms: 0,
            read_ms: 0,
            map: 1,
            placed,
            owners,
            owned,
            living,
            may_release: true,
            leaving: false,
        }
    }

    fn placed(mut self, name: &str) -> Self {
        self.placed.insert(SHARD, name.to_owned());
        self
    }

    fn owner(&mut self, epoch: Epoch, node: Option<NodeId>) -> &mut Self {
        self.owners.insert(SHARD, OwnerRow { shard: SHARD, epoch, node });
        self.read_ms = self.now_ms;
        self
    }

    fn owned(&mut self, epoch: Option<Epoch>) -> &mut Self {
        self.owned = epoch.map(|epoch| (SHARD, epoch)).into_iter().collect();
        self
    }

    fn after(&mut self, millis: u64) -> &mut Self {
        self.now_ms += millis;
        self
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_millis(self.now_ms)
    }

    fn fenced(&mut self) -> &mut Self {
        let now = self.now();
        self.owned = BTreeMap::new();
        self.plan.fenced(now, SHARD, self.map);
        self
    }

    fn released(&mut self) -> &mut Self {
        let now = self.now();
        self.owned = BTreeMap::new();
        self.plan.released(now, SHARD, false);
        self
    }

    fn failed(&mut self) -> &mut Self {
        let now = self.now();
        self.owned = BTreeMap::new();
        self.plan.failed(now, SHARD);
        self
    }

    fn next(&mut self) -> Option<(&'static str, HandoffReason)> {
        let liveness = |node: &NodeId| match node {
            node if node.name == "me" && node.incarnation < 2 => OwnerLiveness::Replaced,
            node if self.living.contains(&node.name) => OwnerLiveness::Live,
            _ => OwnerLiveness::Gone,
        };
        let input = PlanInput {
            now: self.now(),
            map: self.map,
            placed: &self.placed,
            read_started: self.origin + Duration::from_millis(self.read_ms),
            owners: &self.owners,
            owned: &self.owned,
            liveness: &liveness,
            may_release: self.may_release,
            leaving: self.leaving,
        };
        let actions = self.plan.next(&input);
        assert!(actions.len() <= 1);
        actions.into_iter().next().map(|action| match action {
            Action::Claim { why, .. } => ("claim", why),
            Action::Release { why, .. } => ("release", why),
        })
    }
}

#[test]
fn what_nobody_serves_is_claimed_at_once() {
    for (owner, why) in [
        (None, HandoffReason::NeverClaimed),
        (Some(None), HandoffReason::Released),
        (Some(Some(id("me", 2))), HandoffReason::ClaimedAnew),
        (Some(Some(id("me", 1))), HandoffReason::OwnerReplaced),
        (Some(Some(id("dead", 1))), HandoffReason::OwnerGone),
    ] {
        let mut test = PlanTest::new().placed("me");
        if let Some(owner) = owner {
            test.owner(3, owner);
        }
        assert_eq!(test.next(), Some(("claim", why)));
        assert_eq!(test.next(), None, "it is under way");
    }
}

#[test]
fn what_another_serves_is_waited_for_and_claimed_after_the_time_out() {
    let mut test = PlanTest::new().placed("me");
    assert_eq!(test.owner(3, Some(id("other", 1))).next(), None);
    assert!(test.plan.is_waiting(test.now()));
    assert_eq!(test.after(14_999).next(), None);
    assert_eq!(test.after(1).next(), Some(("claim", HandoffReason::TimedOut)));
}

#[test]
fn the_wait_begins_anew_when_the_shard_was_not_wanted_meanwhile() {
    let mut test = PlanTest::new().placed("me");
    assert_eq!(test.owner(3, Some(id("other", 1))).next(), None);
    test.placed.insert(SHARD, "other".to_owned());
    assert_eq!(test.after(10_000).next(), None);
    test.placed.insert(SHARD, "me".to_owned());
    assert_eq!(test.after(10_000).next(), None);
}

#[test]
fn what_is_anothers_is_given_away_and_what_is_mine_is_kept() {
    let mut test = PlanTest::new().placed("me");
    assert_eq!(test.owner(3, Some(id("me", 2))).owned(Some(3)).next(), None);
    let mut test = PlanTest::new().placed("other");
    test.may_release = false;
    assert_eq!(test.owner(3, Some(id("me", 2))).owned(Some(3)).next(), None, "the other may not know of it yet");
    test.may_release = true;
    assert_eq!(test.next(), Some(("release", HandoffReason::GivenAway)));
    assert_eq!(test.next(), None, "it is under way");
}

#[test]
fn what_nobody_may_have_is_served_on_unless_the_node_ends() {
    let mut test = PlanTest::new();
    assert_eq!(test.owner(3, Some(id("me", 2))).owned(Some(3)).next(), None);
    test.leaving = true;
    assert_eq!(test.next(), Some(("release", HandoffReason::Leaving)));
}

/// A stopped node wakes up: it has served no request since, so no fence has reached it yet.
#[test]
fn what_the_store_says_is_anothers_is_dropped_and_not_claimed_back() {
    let mut test = PlanTest::new().placed("me");
    assert_eq!(test.owner(4, Some(id("other", 1))).owned(Some(3)).next(), Some(("release", HandoffReason::Superseded)));
    test.released();
    for _ in 0..100 {
        test.after(1_000).owner(4, Some(id("other", 1)));
        assert_eq!(test.next(), None);
    }
    assert_eq!(test.owner(4, None).next(), Some(("claim", HandoffReason::Released)));
}

#[test]
fn a_reading_from_before_our_own_claim_supersedes_nothing() {
    let mut test = PlanTest::new().placed("me");
    assert_eq!(test.owner(3, Some(id("other", 1))).owned(Some(4)).next(), None);
}

/// O6: two nodes that both think the shard is theirs.
#[test]
fn a_fenced_node_claims_again_only_after_its_view_changed() {
    let mut test = PlanTest::new().placed("me");
    test.owner(3, Some(id("me", 2))).owned(Some(3)).next();
    test.fenced();
    for _ in 0..100 {
        test.after(1_000).owner(4, Some(id("other", 1)));
        assert_eq!(test.next(), None);
    }
    test.map += 1;
    assert_eq!(test.next(), Some(("claim", HandoffReason::TimedOut)));
}

#[test]
fn a_fenced_node_claims_what_its_new_owner_released_or_left() {
    for (owner, why) in [(None, HandoffReason::Released), (Some(id("dead", 1)), HandoffReason::OwnerGone)] {
        let mut test = PlanTest::new().placed("me");
        test.owner(3, Some(id("me", 2))).owned(Some(3)).next();
        test.fenced().after(1).owner(4, owner);
        assert_eq!(test.next(), Some(("claim", why)));
    }
}

#[test]
fn a_fenced_node_does_not_claim_by_what_it_read_before() {
    let mut test = PlanTest::new().placed("me");
    test.owner(3, Some(id("me", 2))).owned(Some(3)).next();
    // The row as read still names this node.
    assert_eq!(test.after(100).fenced().next(), None);
}

#[test]
fn what_ended_without_a_word_is_not_claimed_before_the_word_comes() {
    let mut test = PlanTest::new().placed("me");
    test.owner(3, Some(id("me", 2))).owned(Some(3)).next();
    assert_eq!(test.owned(None).after(50).next(), None);
    // The word never comes: the shard is not lost for ever.
    assert_eq!(test.after(200).owner(3, Some(id("me", 2))).next(), Some(("claim", HandoffReason::ClaimedAnew)));
}

#[test]
fn what_was_released_is_not_claimed_back_by_an_old_reading() {
    let mut test = PlanTest::new().placed("other");
    assert_eq!(test.owner(3, Some(id("me", 2))).owned(Some(3)).next(), Some(("release", HandoffReason::GivenAway)));
    test.after(100).released();
    test.placed.insert(SHARD, "me".to_owned());
    assert_eq!(test.next(), None, "the other may have claimed it since");
    test.after(100).owner(4, Some(id("other", 1)));
    assert_eq!(test.next(), None);
}

#[test]
fn a_release_that_does_not_release_is_tried_again_later_and_later() {
    let mut test = PlanTest::new().placed("other");
    test.owner(3, Some(id("me", 2))).owned(Some(3));
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let from = test.now_ms;
        while test.next().is_none() {
            test.after(10);
        }
        pauses.push(test.now_ms - from);
        let now = test.now();
        test.plan.released(now, SHARD, true);
    }
    assert_eq!(pauses, [0, 200, 400, 800]);
}

#[test]
fn a_claim_that_fails_is_tried_again_later_and_later() {
    let mut test = PlanTest::new().placed("me");
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let from = test.now_ms;
        while test.owner(3, None).next().is_none() {
            test.after(10);
        }
        pauses.push(test.now_ms - from);
        let now = test.now();
        test.plan.not_claimed(now, SHARD);
    }
    assert_eq!(pauses, [0, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
}

#[test]
fn a_shard_that_ends_as_soon_as_it_is_served_does_not_spin() {
    let mut test = PlanTest::new().placed("me");
    let mut claims = 0;
    for _ in 0..6_000 {
        if test.after(10).owner(3, Some(id("me", 2))).next().is_some() {
            claims += 1;
            test.plan.claimed(SHARD);
            test.owned(Some(3)).next();
            test.failed();
        }
    }
    assert!((10..20).contains(&claims), "{claims} in a minute");
    // Once it has been served for a while the next accident is a first one.
    test.owned(Some(3)).after(11_000).next();
    test.failed();
    assert_eq!(test.after(200).owner(3, Some(id("me", 2))).next(), Some(("claim", HandoffReason::ClaimedAnew)));
}

#[test]
fn so_many_at_once_and_no_more() {
    let mut plan = Plan::new(id("me", 2), 100, ShardManagerSettings::default());
    let now = monotonic();
    let mine: BTreeMap<Shard, String> = (0..100).map(|shard| (Shard(shard), "me".to_owned())).collect();
    let theirs: BTreeMap<Shard, String> = (0..100).map(|shard| (Shard(shard), "other".to_owned())).collect();
    let owned: BTreeMap<Shard, Epoch> = (0..100).map(|shard| (Shard(shard), 1)).collect();
    let none = BTreeMap::new();
    let owners = BTreeMap::new();
    let liveness = |_: &NodeId| OwnerLiveness::Live;
    let input = |placed, owned| PlanInput {
        now,
        map: 1,
        placed,
        read_started: now,
        owners: &owners,
        owned,
        liveness: &liveness,
        may_release: true,
        leaving: false,
    };
    assert_eq!(plan.next(&input(&mine, &none)).len(), 4);
    assert_eq!(plan.next(&input(&mine, &none)).len(), 0);
    plan.claimed(Shard(0));
    assert_eq!(plan.next(&input(&mine, &none)).len(), 1);
    let mut plan = Plan::new(id("me", 2), 100, ShardManagerSettings::default());
    assert_eq!(plan.next(&input(&theirs, &owned)).len(), 2);
    assert_eq!(plan.next(&input(&theirs, &owned)).len(), 0);
}
