//! Reads and instants in, views out.

use super::*;
use doorbuster_clock::monotonic;
use proptest::prelude::*;

const SETTINGS: FailureDetection = FailureDetection {
    renew_interval: Duration::from_millis(500),
    stale_after: Duration::from_millis(4_000),
    stale_after_if_suspect: Duration::from_millis(1_400),
    stale_reads_min: 3,
    suspect_misses_min: 4,
    settle_time: Duration::from_millis(300),
};

fn id(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.to_owned(), incarnation }
}

fn row(name: &str, incarnation: u64, beat: u64) -> NodeRow {
    let text = String::new;
    let id = id(name, incarnation);
    NodeRow { id, beat, state: NodeState::Up, cluster: text(), public: text(), operator: text(), version: text() }
}

/// An observer `me`, and the time.
struct Observer {
    membership: Membership,
    origin: Instant,
    now_ms: u64,
}

impl Observer {
    fn new() -> Self {
        Self { membership: Membership::new(id("me", 1), SETTINGS), origin: monotonic(), now_ms: 0 }
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_millis(self.now_ms)
    }

    /// So much later.
    fn after(&mut self, millis: u64) -> &mut Self {
        self.now_ms += millis;
        self
    }

    /// Reads these rows beside its own, in no time.
    fn read(&mut self, rows: &[NodeRow]) -> &mut Self {
        let mut all = vec![row("me", 1, self.now_ms)];
        all.extend_from_slice(rows);
        self.membership.observe(self.now(), self.now(), &all);
        self
    }

    /// Reads the same so often, a beat apart.
    fn reads(&mut self, times: u64, rows: &[NodeRow]) -> &mut Self {
        for _ in 0..times {
            self.after(500).read(rows);
        }
        self
    }

    fn misses(&mut self, name: &str, incarnation: u64, misses: u32) -> &mut Self {
        self.membership.missed(self.now(), BTreeMap::from([(id(name, incarnation), misses)]));
        self
    }

    /// The members of the view once the last change has lasted long enough.
    fn settled(&mut self) -> Vec<String> {
        let now = self.after(400).now();
        self.membership.settle(now);
        self.names()
    }

    fn names(&self) -> Vec<String> {
        self.membership.view().values().map(|member| member.id.to_string()).collect()
    }
}

#[test]
fn a_fresh_observer_gives_everyone_full_grace() {
    let mut observer = Observer::new();
    let dead = [row("a", 1, 7)];
    observer.read(&dead).reads(7, &dead);
    assert_eq!(observer.settled(), ["a.1", "me.1"]);
    observer.after(100).read(&dead);
    assert_eq!(observer.settled(), ["me.1"], "a row that stands still for stale_ms is dead");
}

#[test]
fn missed_heartbeats_shorten_the_patience_with_a_row_that_stands_still() {
    let mut observer = Observer::new();
    let dead = [row("a", 1, 7)];
    observer.read(&dead).misses("a", 1, 4).reads(3, &dead);
    assert_eq!(observer.settled(), ["me.1"]);
    let mut observer = Observer::new();
    observer.read(&dead).misses("a", 1, 3).reads(3, &dead);
    assert_eq!(observer.settled(), ["a.1", "me.1"], "three misses are no suspicion");
}

#[test]
fn a_suspicion_that_comes_after_the_last_read_is_judged_at_once() {
    let mut observer = Observer::new();
    let dead = [row("a", 1, 7)];
    observer.read(&dead).reads(3, &dead).misses("a", 1, 4);
    assert_eq!(observer.settled(), ["me.1"]);
}

/// O6: the cut is one way, both renew their rows.
#[test]
fn missed_heartbeats_condemn_nobody_who_renews_its_row() {
    let mut observer = Observer::new();
    for beat in 0..100 {
        observer.after(500).read(&[row("a", 1, beat)]).misses("a", 1, 1_000);
        observer.membership.settle(observer.now());
    }
    assert_eq!(observer.settled(), ["a.1", "me.1"]);
    assert_eq!(observer.membership.version(), 1);
}

#[test]
fn after_a_gap_in_our_own_reads_everyone_has_full_grace() {
    let mut observer = Observer::new();
    let stalled = [row("a", 1, 7)];
    observer.read(&stalled).reads(7, &stalled);
    assert_eq!(observer.settled(), ["a.1", "me.1"]);
    observer.after(30_000).read(&stalled).misses("a", 1, 9);
    assert_eq!(observer.settled(), ["a.1", "me.1"], "the store stood still for us too");
    observer.reads(9, &stalled);
    assert_eq!(observer.settled(), ["me.1"]);
}

#[test]
fn slow_reads_count_no_more_than_two_beats_each() {
    let mut observer = Observer::new();
    let dead = [row("a", 1, 7)];
    observer.read(&dead);
    for _ in 0..3 {
        observer.after(3_000).read(&dead);
    }
    assert_eq!(observer.settled(), ["a.1", "me.1"], "nine seconds, and three of them seen");
    observer.after(3_000).read(&dead);
    assert_eq!(observer.settled(), ["me.1"]);
}

#[test]
fn a_few_reads_are_not_enough_however_far_apart() {
    let mut observer = Observer::new();
    let dead = [row("a", 1, 7)];
    observer.read(&dead).misses("a", 1, 9).after(1_000).read(&dead).after(1_000).read(&dead);
    assert_eq!(observer.settled(), ["a.1", "me.1"]);
    observer.after(600).read(&dead);
    assert_eq!(observer.settled(), ["me.1"]);
}

#[test]
fn a_read_that_takes_long_is_not_counted_against_anyone() {
    let mut observer = Observer::new();
    let earlier = [row("a", 1, 6), row("me", 1, 1)];
    observer.membership.observe(observer.now(), observer.now(), &earlier);
    let rows = [row("a", 1, 7), row("me", 1, 1)];
    for _ in 0..5 {
        // Each takes 400 ms of the 500 ms between two beginnings; the first that shows this beat may have been answered at its end.
        observer.after(500);
        let ended = observer.now() + Duration::from_millis(400);
        observer.membership.observe(observer.now(), ended, &rows);
        observer.membership.missed(ended, BTreeMap::from([(id("a", 1), 4)]));
        if observer.now_ms <= 2_000 {
            assert!(
                observer.membership.observations().all(|observation| !observation.out),
                "at {} ms",
                observer.now_ms
            );
        }
    }
    assert!(observer.membership.observations().any(|observation| observation.out));
}

#[test]
fn a_newer_process_of_a_name_takes_the_older_ones_place_at_once() {
    let mut observer = Observer::new();
    observer.read(&[row("a", 1, 7)]);
    assert_eq!(observer.settled(), ["a.1", "me.1"]);
    observer.after(500).read(&[row("a", 1, 8), row("a", 2, 1)]);
    assert_eq!(observer.membership.liveness(&id("a", 1)), OwnerLiveness::Replaced);
    assert_eq!(observer.settled(), ["a.2", "me.1"]);
    observer.after(500).read(&[row("a", 1, 9)]);
    assert_eq!(observer.settled(), ["me.1"], "the older one does not come back when the newer has left");
}

#[test]
fn who_takes_its_row_away_has_left() {
    let mut observer = Observer::new();
    observer.read(&[row("a", 1, 7)]);
    assert_eq!(observer.settled(), ["a.1", "me.1"]);
    observer.after(500).read(&[]);
    assert_eq!(observer.membership.liveness(&id("a", 1)), OwnerLiveness::Live, "the change does not stand yet");
    assert_eq!(observer.settled(), ["me.1"]);
    assert_eq!(observer.membership.liveness(&id("a", 1)), OwnerLiveness::Gone);
}

#[test]
fn who_is_about_to_join_lives() {
    let mut observer = Observer::new();
    observer.read(&[]);
    assert_eq!(observer.settled(), ["me.1"]);
    observer.after(500).read(&[row("a", 1, 1)]);
    assert_eq!(observer.names(), ["me.1"]);
    assert_eq!(observer.membership.liveness(&id("a", 1)), OwnerLiveness::Live);
}

#[test]
fn a_change_that_does_not_stand_makes_no_view() {
    let mut observer = Observer::new();
    observer.read(&[]);
    assert_eq!(observer.settled(), ["me.1"]);
    observer.after(100).read(&[row("a", 1, 1)]).after(299);
    assert!(!observer.membership.settle(observer.now()));
    observer.read(&[]);
    assert_eq!(observer.settled(), ["me.1"]);
    assert_eq!(observer.membership.version(), 1);
}

#[test]
fn changes_that_never_end_do_not_keep_the_view_for_ever() {
    let mut observer = Observer::new();
    observer.read(&[row("dead", 1, 1)]);
    assert_eq!(observer.settled().len(), 2);
    // A node that starts anew five times a second must not keep us from seeing that another left.
    let mut views = 0;
    for incarnation in 1..=10 {
        observer.after(200).read(&[row("crashing", incarnation, 1)]);
        views += usize::from(observer.membership.settle(observer.now()));
    }
    assert_eq!(views, 1);
    assert!(!observer.names().contains(&"dead.1".to_owned()));
}

#[test]
fn who_was_out_is_back_after_several_beats_not_after_one() {
    let mut observer = Observer::new();
    observer.read(&[row("a", 1, 1)]).reads(9, &[row("a", 1, 1)]);
    assert_eq!(observer.settled(), ["me.1"]);
    for beat in [2, 3] {
        observer.after(500).read(&[row("a", 1, beat)]);
        assert_eq!(observer.settled(), ["me.1"], "beat {beat}");
    }
    observer.after(500).read(&[row("a", 1, 4)]);
    assert_eq!(observer.settled(), ["a.1", "me.1"]);
}

#[test]
fn a_later_process_of_our_own_name_is_noticed() {
    let mut observer = Observer::new();
    observer.read(&[]);
    assert_eq!(observer.membership.replaced_by(), None);
    observer.after(500).read(&[row("me", 2, 1)]);
    assert_eq!(observer.membership.replaced_by(), Some(id("me", 2)));
}

proptest! {
    /// Whatever the gaps between our reads, the misses and the jumps of its beat: who is seen beating at each read is never out.
    #[test]
    fn who_beats_between_our_reads_is_never_out(
        steps in prop::collection::vec((1_u64..20_000, 0_u32..100, any::<u64>()), 1..50),
    ) {
        let mut observer = Observer::new();
        let mut last = None;
        for (gap, misses, beat) in steps {
            let beat = if last == Some(beat) { beat.wrapping_add(1) } else { beat };
            last = Some(beat);
            observer.after(gap).read(&[row("a", 1, beat)]).misses("a", 1, misses);
            prop_assert!(observer.membership.observations().all(|observation| !observation.out));
        }
    }

    /// The other way round: whatever happened before, a row that stands still while we read is out within the bound.
    #[test]
    fn a_row_that_stands_still_is_out_within_the_bound(
        steps in prop::collection::vec((1_u64..20_000, any::<bool>()), 0..20),
    ) {
        let mut observer = Observer::new();
        let mut beat = 0;
        for (gap, moves) in steps {
            beat += u64::from(moves);
            observer.after(gap).read(&[row("a", 1, beat)]);
        }
        observer.after(500).read(&[row("a", 1, beat)]).reads(9, &[row("a", 1, beat)]);
        prop_assert_eq!(observer.settled(), ["me.1"]);
    }

    /// Two that read the same settle on the same, whatever they thought before.
    #[test]
    fn who_reads_the_same_agrees(
        before in prop::collection::vec((1_u64..6_000, any::<bool>()), 0..20),
        living in prop::collection::btree_set("[a-f]", 0..6),
    ) {
        let (mut one, mut other) = (Observer::new(), Observer::new());
        for (gap, sees) in before {
            let odd = row("a", 1, gap);
            one.after(gap).read(if sees { std::slice::from_ref(&odd) } else { &[] });
        }
        for beat in 100_000..100_020 {
            let rows: Vec<NodeRow> = living.iter().map(|name| row(name, 1, beat)).collect();
            for observer in [&mut one, &mut other] {
                observer.after(500).read(&rows);
                observer.membership.settle(observer.now());
            }
        }
        prop_assert_eq!(one.membership.view(), other.membership.view());
        prop_assert_eq!(one.names().len(), living.len() + 1);
    }
}
