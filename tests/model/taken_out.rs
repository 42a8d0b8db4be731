//! What each rule is for: the protocol without it, and the law that the checker then finds broken.

use crate::laws;
use crate::protocol::Protocol;
use crate::rules::{Rule, Size};
use stateright::{Checker, HasDiscoveries, Model};

/// Does the checker find this law broken when these rules are taken out? Prints the way there.
fn breaks(without: &[Rule], size: Size, law: &'static str) -> bool {
    let until = HasDiscoveries::AnyOf([law].into());
    let checker = Protocol::new(size, without).checker().finish_when(until).spawn_bfs().join();
    let found = checker.discovery(law);
    if let Some(path) = &found {
        eprintln!("without {without:?}, not \"{law}\": {:?}", path.clone().into_actions());
    }
    found.is_some()
}

#[test]
fn without_the_second_read_of_flushed_upto_two_owners_acknowledge_one_seq() {
    assert!(breaks(&[Rule::ReadFlushedAgain], Size::LONGER, laws::ONE_ACKNOWLEDGEMENT)); // O2 (5)
}

#[test]
fn without_the_last_read_of_the_owner_epochs_fall_in_the_log() {
    assert!(breaks(&[Rule::ReadOwnerLast], Size::THREE_OWNERS, laws::EPOCHS_RISE)); // O2 (8)
}

#[test]
fn without_the_fence_in_the_append_the_last_unit_is_sold_twice() {
    assert!(breaks(&[Rule::Fence], Size::LONGER, laws::ONE_BUYER));
    assert!(breaks(&[Rule::Fence], Size::LONGER, laws::ONE_ACKNOWLEDGEMENT));
}

#[test]
fn a_fence_written_blindly_lets_a_late_statement_bring_back_a_former_owner() {
    assert!(breaks(&[Rule::UpwardsOnly], Size::LATE, laws::ONE_ACKNOWLEDGEMENT)); // O2 (3)
}

#[test]
fn a_claimant_that_stops_at_a_full_bucket_answers_without_what_lies_behind_it() {
    assert!(breaks(&[Rule::NextBucketToo], Size::THREE_OWNERS, laws::NO_OLD_ANSWER)); // O2 (6)
    assert!(breaks(&[Rule::NextBucketToo], Size::THREE_OWNERS, laws::ONE_ACKNOWLEDGEMENT));
}

#[test]
fn an_owner_that_rolls_over_a_higher_fence_acknowledges_what_another_has() {
    assert!(breaks(&[Rule::HigherFenceStops], Size::LONGER, laws::ONE_ACKNOWLEDGEMENT)); // O3
}

/// O3's other condition, that the bucket is empty, is a second line of defence. While O2 holds no owner ever rolls on to rows, and nothing
/// breaks without it. It stops an owner whose claim did not look behind a full bucket.
#[test]
fn rows_in_the_next_bucket_stop_an_owner_whose_claim_was_not_careful() {
    const STOPPED: &str = "an owner that rolls on finds rows";
    let without_it = Protocol::new(Size::THREE_OWNERS, &[Rule::EmptyBucketOnly]).checker().spawn_bfs().join();
    without_it.assert_properties();
    let careless = Protocol::new(Size::THREE_OWNERS, &[Rule::NextBucketToo]).checker().spawn_bfs().join();
    assert!(careless.model().shown().contains(STOPPED));
    let careful = Protocol::new(Size::THREE_OWNERS, &[]).checker().spawn_bfs().join();
    assert!(!careful.model().shown().contains(STOPPED));
}

#[test]
fn an_answer_from_memory_is_older_than_what_the_new_owner_has_said() {
    assert!(breaks(&[Rule::AskBeforeAnswer], Size::LONGER, laws::NO_OLD_ANSWER)); // O4
}

#[test]
fn the_fence_of_a_full_bucket_says_nothing_about_who_owns_the_next() {
    assert!(breaks(&[Rule::AskTheTail], Size::LONGER, laws::NO_OLD_ANSWER)); // O4
}

#[test]
fn an_append_that_was_already_on_its_way_answers_no_later_question() {
    assert!(breaks(&[Rule::AskedBeforeAppend], Size::LONGER, laws::NO_OLD_ANSWER)); // O4
}

#[test]
fn an_append_acknowledged_at_its_timeout_is_lost() {
    assert!(breaks(&[Rule::SettleFirst], Size::LONGER, laws::NOTHING_LOST)); // O5
}

#[test]
fn an_append_tried_again_under_another_batch_id_counts_twice() {
    assert!(breaks(&[Rule::SameBatch], Size::LONGER, laws::DECIDED_ONCE)); // O5
}

#[test]
fn a_state_flushed_before_its_events_are_durable_holds_what_never_happened() {
    assert!(breaks(&[Rule::FlushDurable], Size::LONGER, laws::STATES_DURABLE)); // S1
}

#[test]
fn a_replay_that_does_not_skip_counts_an_event_twice() {
    assert!(breaks(&[Rule::ReplaySkips], Size::LONGER, laws::DECIDED_ONCE)); // S1
}

#[test]
fn flushed_upto_before_the_states_loses_what_lies_between() {
    assert!(breaks(&[Rule::StatesFirst], Size::LONGER, laws::NOTHING_LOST)); // S2
}

#[test]
fn truncation_before_flushed_upto_loses_what_was_truncated() {
    assert!(breaks(&[Rule::MarkBeforeTruncation], Size::LONGER, laws::NOTHING_LOST)); // S2
}

#[test]
fn flushes_stamped_by_a_clock_that_is_behind_are_lost() {
    assert!(breaks(&[Rule::SeqIsTimestamp], Size::TWO_CHECKPOINTS, laws::NOTHING_LOST)); // S3
}

#[test]
fn a_truncation_that_takes_the_fence_with_it_lets_a_zombie_roll_on() {
    assert!(breaks(&[Rule::KeepFences], Size::LONGER, laws::ONE_ACKNOWLEDGEMENT)); // S2, O3
}

#[test]
fn a_replay_overtaken_by_a_zombies_checkpoint_looks_like_a_damaged_log() {
    assert!(breaks(&[Rule::ReplayLooksAgain], Size::LONGER, laws::NO_FALSE_ALARM)); // O2 (7)
}

#[test]
fn a_replay_that_goes_on_behind_a_zombies_checkpoint_has_missed_what_it_moved() {
    assert!(breaks(&[Rule::ReplayStartsOver], Size::LONGER, laws::NEW_OWNER_KNOWS)); // S1, S5
    assert!(breaks(&[Rule::ReplayStartsOver], Size::LONGER, laws::ONE_BUYER));
}
