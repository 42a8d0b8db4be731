//! One shard at a time: what is known in, what to do out.

use super::*;
use doorbuster_clock::monotonic;
use std::collections::BTreeSet;

const SHARD: Shard = Shard(0);

fn id(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.to_owned(), incarnation }
}

/// What node `me.2` knows of one shard, and its plan.
struct Desk {
    plan: Plan,
    origin: Instant,
    now_ms: u64,
    read_ms: u64,
    map: u64,
    placed: BTreeMap<Shard, String>,
    owners: BTreeMap<Shard, OwnerRow>,
    held: BTreeMap<Shard, Epoch>,
    living: BTreeSet<String>,
    may_give: bool,
    leaving: bool,
}

impl Desk {
    fn new() -> Self {
        let plan = Plan::new(id("me", 2), 1, Settings::default());
        let living = BTreeSet::from(["me".to_owned(), "other".to_owned()]);
        let (placed, owners, held) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            plan,
            origin: monotonic(),
            now_ms: 0,
            read_ms: 0,
            map: 1,
            placed,
            owners,
            held,
            living,
            may_give: true,
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

    fn held(&mut self, epoch: Option<Epoch>) -> &mut Self {
        self.held = epoch.map(|epoch| (SHARD, epoch)).into_iter().collect();
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
        self.held = BTreeMap::new();
        self.plan.fenced(now, SHARD, self.map);
        self
    }

    fn released(&mut self) -> &mut Self {
        let now = self.now();
        self.held = BTreeMap::new();
        self.plan.released(now, SHARD, false);
        self
    }

    fn failed(&mut self) -> &mut Self {
        let now = self.now();
        self.held = BTreeMap::new();
        self.plan.failed(now, SHARD);
        self
    }

    fn next(&mut self) -> Option<(&'static str, Why)> {
        let standing = |node: &NodeId| match node {
            node if node.name == "me" && node.incarnation < 2 => Standing::Replaced,
            node if self.living.contains(&node.name) => Standing::Live,
            _ => Standing::Gone,
        };
        let sight = Sight {
            now: self.now(),
            map: self.map,
            placed: &self.placed,
            read_began: self.origin + Duration::from_millis(self.read_ms),
            owners: &self.owners,
            held: &self.held,
            standing: &standing,
            may_give: self.may_give,
            leaving: self.leaving,
        };
        let actions = self.plan.next(&sight);
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
        (None, Why::NeverClaimed),
        (Some(None), Why::Released),
        (Some(Some(id("me", 2))), Why::ClaimedAnew),
        (Some(Some(id("me", 1))), Why::OwnerReplaced),
        (Some(Some(id("dead", 1))), Why::OwnerGone),
    ] {
        let mut desk = Desk::new().placed("me");
        if let Some(owner) = owner {
            desk.owner(3, owner);
        }
        assert_eq!(desk.next(), Some(("claim", why)));
        assert_eq!(desk.next(), None, "it is under way");
    }
}

#[test]
fn what_another_serves_is_waited_for_and_claimed_after_the_time_out() {
    let mut desk = Desk::new().placed("me");
    assert_eq!(desk.owner(3, Some(id("other", 1))).next(), None);
    assert!(desk.plan.is_waiting(desk.now()));
    assert_eq!(desk.after(14_999).next(), None);
    assert_eq!(desk.after(1).next(), Some(("claim", Why::TimedOut)));
}

#[test]
fn the_wait_begins_anew_when_the_shard_was_not_wanted_meanwhile() {
    let mut desk = Desk::new().placed("me");
    assert_eq!(desk.owner(3, Some(id("other", 1))).next(), None);
    desk.placed.insert(SHARD, "other".to_owned());
    assert_eq!(desk.after(10_000).next(), None);
    desk.placed.insert(SHARD, "me".to_owned());
    assert_eq!(desk.after(10_000).next(), None);
}

#[test]
fn what_is_anothers_is_given_away_and_what_is_mine_is_kept() {
    let mut desk = Desk::new().placed("me");
    assert_eq!(desk.owner(3, Some(id("me", 2))).held(Some(3)).next(), None);
    let mut desk = Desk::new().placed("other");
    desk.may_give = false;
    assert_eq!(desk.owner(3, Some(id("me", 2))).held(Some(3)).next(), None, "the other may not know of it yet");
    desk.may_give = true;
    assert_eq!(desk.next(), Some(("release", Why::GivenAway)));
    assert_eq!(desk.next(), None, "it is under way");
}

#[test]
fn what_nobody_may_have_is_served_on_unless_the_node_ends() {
    let mut desk = Desk::new();
    assert_eq!(desk.owner(3, Some(id("me", 2))).held(Some(3)).next(), None);
    desk.leaving = true;
    assert_eq!(desk.next(), Some(("release", Why::Leaving)));
}

/// A stopped node wakes up: nobody has asked it anything, so no fence has told it yet.
#[test]
fn what_the_store_says_is_anothers_is_dropped_and_not_claimed_back() {
    let mut desk = Desk::new().placed("me");
    assert_eq!(desk.owner(4, Some(id("other", 1))).held(Some(3)).next(), Some(("release", Why::Superseded)));
    desk.released();
    for _ in 0..100 {
        desk.after(1_000).owner(4, Some(id("other", 1)));
        assert_eq!(desk.next(), None);
    }
    assert_eq!(desk.owner(4, None).next(), Some(("claim", Why::Released)));
}

#[test]
fn a_reading_from_before_our_own_claim_supersedes_nothing() {
    let mut desk = Desk::new().placed("me");
    assert_eq!(desk.owner(3, Some(id("other", 1))).held(Some(4)).next(), None);
}

/// O6: two nodes that both think the shard is theirs.
#[test]
fn a_fenced_node_claims_again_only_after_its_view_changed() {
    let mut desk = Desk::new().placed("me");
    desk.owner(3, Some(id("me", 2))).held(Some(3)).next();
    desk.fenced();
    for _ in 0..100 {
        desk.after(1_000).owner(4, Some(id("other", 1)));
        assert_eq!(desk.next(), None);
    }
    desk.map += 1;
    assert_eq!(desk.next(), Some(("claim", Why::TimedOut)));
}

#[test]
fn a_fenced_node_claims_what_its_new_owner_released_or_left() {
    for (owner, why) in [(None, Why::Released), (Some(id("dead", 1)), Why::OwnerGone)] {
        let mut desk = Desk::new().placed("me");
        desk.owner(3, Some(id("me", 2))).held(Some(3)).next();
        desk.fenced().after(1).owner(4, owner);
        assert_eq!(desk.next(), Some(("claim", why)));
    }
}

#[test]
fn a_fenced_node_does_not_claim_by_what_it_read_before() {
    let mut desk = Desk::new().placed("me");
    desk.owner(3, Some(id("me", 2))).held(Some(3)).next();
    // The row as read still names this node.
    assert_eq!(desk.after(100).fenced().next(), None);
}

#[test]
fn what_ended_without_a_word_is_not_claimed_before_the_word_comes() {
    let mut desk = Desk::new().placed("me");
    desk.owner(3, Some(id("me", 2))).held(Some(3)).next();
    assert_eq!(desk.held(None).after(50).next(), None);
    // The word never comes: the shard is not lost for ever.
    assert_eq!(desk.after(200).owner(3, Some(id("me", 2))).next(), Some(("claim", Why::ClaimedAnew)));
}

#[test]
fn what_was_released_is_not_claimed_back_by_an_old_reading() {
    let mut desk = Desk::new().placed("other");
    assert_eq!(desk.owner(3, Some(id("me", 2))).held(Some(3)).next(), Some(("release", Why::GivenAway)));
    desk.after(100).released();
    desk.placed.insert(SHARD, "me".to_owned());
    assert_eq!(desk.next(), None, "the other may have claimed it since");
    desk.after(100).owner(4, Some(id("other", 1)));
    assert_eq!(desk.next(), None);
}

#[test]
fn a_release_that_does_not_release_is_tried_again_later_and_later() {
    let mut desk = Desk::new().placed("other");
    desk.owner(3, Some(id("me", 2))).held(Some(3));
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let from = desk.now_ms;
        while desk.next().is_none() {
            desk.after(10);
        }
        pauses.push(desk.now_ms - from);
        let now = desk.now();
        desk.plan.released(now, SHARD, true);
    }
    assert_eq!(pauses, [0, 200, 400, 800]);
}

#[test]
fn a_claim_that_fails_is_tried_again_later_and_later() {
    let mut desk = Desk::new().placed("me");
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let from = desk.now_ms;
        while desk.owner(3, None).next().is_none() {
            desk.after(10);
        }
        pauses.push(desk.now_ms - from);
        let now = desk.now();
        desk.plan.not_claimed(now, SHARD);
    }
    assert_eq!(pauses, [0, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
}

#[test]
fn a_shard_that_ends_as_soon_as_it_is_served_does_not_spin() {
    let mut desk = Desk::new().placed("me");
    let mut claims = 0;
    for _ in 0..6_000 {
        if desk.after(10).owner(3, Some(id("me", 2))).next().is_some() {
            claims += 1;
            desk.plan.claimed(SHARD);
            desk.held(Some(3)).next();
            desk.failed();
        }
    }
    assert!((10..20).contains(&claims), "{claims} in a minute");
    // Once it has been served for a while the next accident is a first one.
    desk.held(Some(3)).after(11_000).next();
    desk.failed();
    assert_eq!(desk.after(200).owner(3, Some(id("me", 2))).next(), Some(("claim", Why::ClaimedAnew)));
}

#[test]
fn so_many_at_once_and_no_more() {
    let mut plan = Plan::new(id("me", 2), 100, Settings::default());
    let now = monotonic();
    let mine: BTreeMap<Shard, String> = (0..100).map(|shard| (Shard(shard), "me".to_owned())).collect();
    let theirs: BTreeMap<Shard, String> = (0..100).map(|shard| (Shard(shard), "other".to_owned())).collect();
    let held: BTreeMap<Shard, Epoch> = (0..100).map(|shard| (Shard(shard), 1)).collect();
    let none = BTreeMap::new();
    let owners = BTreeMap::new();
    let standing = |_: &NodeId| Standing::Live;
    let sight = |placed, held| Sight {
        now,
        map: 1,
        placed,
        read_began: now,
        owners: &owners,
        held,
        standing: &standing,
        may_give: true,
        leaving: false,
    };
    assert_eq!(plan.next(&sight(&mine, &none)).len(), 4);
    assert_eq!(plan.next(&sight(&mine, &none)).len(), 0);
    plan.claimed(Shard(0));
    assert_eq!(plan.next(&sight(&mine, &none)).len(), 1);
    let mut plan = Plan::new(id("me", 2), 100, Settings::default());
    assert_eq!(plan.next(&sight(&theirs, &held)).len(), 2);
    assert_eq!(plan.next(&sight(&theirs, &held)).len(), 0);
}
