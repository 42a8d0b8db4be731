//! Reads and instants in, views out.

use super::*;
use doorbuster_clock::monotonic;
use proptest::prelude::*;

const PATIENCE: Patience = Patience {
    beat: Duration::from_millis(500),
    stale: Duration::from_millis(4_000),
    stale_missed: Duration::from_millis(1_400),
    stale_reads: 3,
    suspect_at: 4,
    settle: Duration::from_millis(300),
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
struct Watch {
    membership: Membership,
    origin: Instant,
    now_ms: u64,
}

impl Watch {
    fn new() -> Self {
        Self { membership: Membership::new(id("me", 1), PATIENCE), origin: monotonic(), now_ms: 0 }
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

    /// Whoever is in the view once what was seen has stood for long enough.
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
    let mut watch = Watch::new();
    let dead = [row("a", 1, 7)];
    watch.read(&dead).reads(7, &dead);
    assert_eq!(watch.settled(), ["a.1", "me.1"]);
    watch.after(100).read(&dead);
    assert_eq!(watch.settled(), ["me.1"], "a row that stands still for stale_ms is dead");
}

#[test]
fn missed_heartbeats_shorten_the_patience_with_a_row_that_stands_still() {
    let mut watch = Watch::new();
    let dead = [row("a", 1, 7)];
    watch.read(&dead).misses("a", 1, 4).reads(3, &dead);
    assert_eq!(watch.settled(), ["me.1"]);
    let mut watch = Watch::new();
    watch.read(&dead).misses("a", 1, 3).reads(3, &dead);
    assert_eq!(watch.settled(), ["a.1", "me.1"], "three misses are no suspicion");
}

#[test]
fn a_suspicion_that_comes_after_the_last_read_is_judged_at_once() {
    let mut watch = Watch::new();
    let dead = [row("a", 1, 7)];
    watch.read(&dead).reads(3, &dead).misses("a", 1, 4);
    assert_eq!(watch.settled(), ["me.1"]);
}

/// O6: the cut is one way, both renew their rows.
#[test]
fn missed_heartbeats_condemn_nobody_who_renews_its_row() {
    let mut watch = Watch::new();
    for beat in 0..100 {
        watch.after(500).read(&[row("a", 1, beat)]).misses("a", 1, 1_000);
        watch.membership.settle(watch.now());
    }
    assert_eq!(watch.settled(), ["a.1", "me.1"]);
    assert_eq!(watch.membership.version(), 1);
}

#[test]
fn after_a_gap_in_our_own_reads_everyone_has_full_grace() {
    let mut watch = Watch::new();
    let stalled = [row("a", 1, 7)];
    watch.read(&stalled).reads(7, &stalled);
    assert_eq!(watch.settled(), ["a.1", "me.1"]);
    watch.after(30_000).read(&stalled).misses("a", 1, 9);
    assert_eq!(watch.settled(), ["a.1", "me.1"], "the store stood still for us too");
    watch.reads(9, &stalled);
    assert_eq!(watch.settled(), ["me.1"]);
}

#[test]
fn slow_reads_count_no_more_than_two_beats_each() {
    let mut watch = Watch::new();
    let dead = [row("a", 1, 7)];
    watch.read(&dead);
    for _ in 0..3 {
        watch.after(3_000).read(&dead);
    }
    assert_eq!(watch.settled(), ["a.1", "me.1"], "nine seconds, and three of them seen");
    watch.after(3_000).read(&dead);
    assert_eq!(watch.settled(), ["me.1"]);
}

#[test]
fn a_few_reads_are_not_enough_however_far_apart() {
    let mut watch = Watch::new();
    let dead = [row("a", 1, 7)];
    watch.read(&dead).misses("a", 1, 9).after(1_000).read(&dead).after(1_000).read(&dead);
    assert_eq!(watch.settled(), ["a.1", "me.1"]);
    watch.after(600).read(&dead);
    assert_eq!(watch.settled(), ["me.1"]);
}

#[test]
fn a_read_that_takes_long_is_not_counted_against_anyone() {
    let mut watch = Watch::new();
    let earlier = [row("a", 1, 6), row("me", 1, 1)];
    watch.membership.observe(watch.now(), watch.now(), &earlier);
    let rows = [row("a", 1, 7), row("me", 1, 1)];
    for _ in 0..5 {
        // Each takes 400 ms of the 500 ms between two beginnings; the first that shows this beat may have been answered at its end.
        watch.after(500);
        let ended = watch.now() + Duration::from_millis(400);
        watch.membership.observe(watch.now(), ended, &rows);
        watch.membership.missed(ended, BTreeMap::from([(id("a", 1), 4)]));
        if watch.now_ms <= 2_000 {
            assert!(watch.membership.sightings().all(|sighting| !sighting.out), "at {} ms", watch.now_ms);
        }
    }
    assert!(watch.membership.sightings().any(|sighting| sighting.out));
}

#[test]
fn a_newer_process_of_a_name_takes_the_older_ones_place_at_once() {
    let mut watch = Watch::new();
    watch.read(&[row("a", 1, 7)]);
    assert_eq!(watch.settled(), ["a.1", "me.1"]);
    watch.after(500).read(&[row("a", 1, 8), row("a", 2, 1)]);
    assert_eq!(watch.membership.standing(&id("a", 1)), Standing::Replaced);
    assert_eq!(watch.settled(), ["a.2", "me.1"]);
    watch.after(500).read(&[row("a", 1, 9)]);
    assert_eq!(watch.settled(), ["me.1"], "the older one does not come back when the newer has left");
}

#[test]
fn who_takes_its_row_away_has_left() {
    let mut watch = Watch::new();
    watch.read(&[row("a", 1, 7)]);
    assert_eq!(watch.settled(), ["a.1", "me.1"]);
    watch.after(500).read(&[]);
    assert_eq!(watch.membership.standing(&id("a", 1)), Standing::Live, "the change does not stand yet");
    assert_eq!(watch.settled(), ["me.1"]);
    assert_eq!(watch.membership.standing(&id("a", 1)), Standing::Gone);
}

#[test]
fn who_is_about_to_join_lives() {
    let mut watch = Watch::new();
    watch.read(&[]);
    assert_eq!(watch.settled(), ["me.1"]);
    watch.after(500).read(&[row("a", 1, 1)]);
    assert_eq!(watch.names(), ["me.1"]);
    assert_eq!(watch.membership.standing(&id("a", 1)), Standing::Live);
}

#[test]
fn a_change_that_does_not_stand_makes_no_view() {
    let mut watch = Watch::new();
    watch.read(&[]);
    assert_eq!(watch.settled(), ["me.1"]);
    watch.after(100).read(&[row("a", 1, 1)]).after(299);
    assert!(!watch.membership.settle(watch.now()));
    watch.read(&[]);
    assert_eq!(watch.settled(), ["me.1"]);
    assert_eq!(watch.membership.version(), 1);
}

#[test]
fn changes_that_never_end_do_not_keep_the_view_for_ever() {
    let mut watch = Watch::new();
    watch.read(&[row("dead", 1, 1)]);
    assert_eq!(watch.settled().len(), 2);
    // A node that starts anew five times a second must not keep us from seeing that another left.
    let mut views = 0;
    for incarnation in 1..=10 {
        watch.after(200).read(&[row("crashing", incarnation, 1)]);
        views += usize::from(watch.membership.settle(watch.now()));
    }
    assert_eq!(views, 1);
    assert!(!watch.names().contains(&"dead.1".to_owned()));
}

#[test]
fn who_was_out_is_back_after_several_beats_not_after_one() {
    let mut watch = Watch::new();
    watch.read(&[row("a", 1, 1)]).reads(9, &[row("a", 1, 1)]);
    assert_eq!(watch.settled(), ["me.1"]);
    for beat in [2, 3] {
        watch.after(500).read(&[row("a", 1, beat)]);
        assert_eq!(watch.settled(), ["me.1"], "beat {beat}");
    }
    watch.after(500).read(&[row("a", 1, 4)]);
    assert_eq!(watch.settled(), ["a.1", "me.1"]);
}

#[test]
fn a_later_process_of_our_own_name_is_noticed() {
    let mut watch = Watch::new();
    watch.read(&[]);
    assert_eq!(watch.membership.replaced_by(), None);
    watch.after(500).read(&[row("me", 2, 1)]);
    assert_eq!(watch.membership.replaced_by(), Some(id("me", 2)));
}

proptest! {
    /// Whatever the gaps between our reads, the misses and the jumps of its beat: who is seen beating at each read is never out.
    #[test]
    fn who_beats_between_our_reads_is_never_out(
        steps in prop::collection::vec((1_u64..20_000, 0_u32..100, any::<u64>()), 1..50),
    ) {
        let mut watch = Watch::new();
        let mut last = None;
        for (gap, misses, beat) in steps {
            let beat = if last == Some(beat) { beat.wrapping_add(1) } else { beat };
            last = Some(beat);
            watch.after(gap).read(&[row("a", 1, beat)]).misses("a", 1, misses);
            prop_assert!(watch.membership.sightings().all(|sighting| !sighting.out));
        }
    }

    /// The other way round: whatever happened before, a row that stands still while we read is out within the bound.
    #[test]
    fn a_row_that_stands_still_is_out_within_the_bound(
        steps in prop::collection::vec((1_u64..20_000, any::<bool>()), 0..20),
    ) {
        let mut watch = Watch::new();
        let mut beat = 0;
        for (gap, moves) in steps {
            beat += u64::from(moves);
            watch.after(gap).read(&[row("a", 1, beat)]);
        }
        watch.after(500).read(&[row("a", 1, beat)]).reads(9, &[row("a", 1, beat)]);
        prop_assert_eq!(watch.settled(), ["me.1"]);
    }

    /// Two that read the same settle on the same, whatever they thought before.
    #[test]
    fn who_reads_the_same_agrees(
        before in prop::collection::vec((1_u64..6_000, any::<bool>()), 0..20),
        living in prop::collection::btree_set("[a-f]", 0..6),
    ) {
        let (mut one, mut other) = (Watch::new(), Watch::new());
        for (gap, sees) in before {
            let odd = row("a", 1, gap);
            one.after(gap).read(if sees { std::slice::from_ref(&odd) } else { &[] });
        }
        for beat in 100_000..100_020 {
            let rows: Vec<NodeRow> = living.iter().map(|name| row(name, 1, beat)).collect();
            for watch in [&mut one, &mut other] {
                watch.after(500).read(&rows);
                watch.membership.settle(watch.now());
            }
        }
        prop_assert_eq!(one.membership.view(), other.membership.view());
        prop_assert_eq!(one.names().len(), living.len() + 1);
    }
}
