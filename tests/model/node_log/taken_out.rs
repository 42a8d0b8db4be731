//! What each rule is for: the protocol without it, and the law that the checker then finds broken.

use super::laws;
use super::protocol::Protocol;
use super::rules::{Rule, Size};
use stateright::{Checker, HasDiscoveries, Model};

/// Does the checker find this law broken when the rule is taken out? Prints the way there.
fn breaks(without: Rule, size: Size, law: &'static str) -> bool {
    let until = HasDiscoveries::AnyOf([law].into());
    let checker = Protocol::new(size, &[without]).checker().finish_when(until).spawn_bfs().join();
    let found = checker.discovery(law);
    if let Some(path) = &found {
        eprintln!("without {without:?}, not \"{law}\": {:?}", path.clone().into_actions());
    }
    found.is_some()
}

#[test]
fn an_append_that_does_not_ask_for_the_fence_sells_the_last_unit_twice() {
    assert!(breaks(Rule::Fence, Size::TWO_SHARDS, laws::ONE_BUYER)); // N1
    assert!(breaks(Rule::Fence, Size::TWO_SHARDS, laws::ONE_ACKNOWLEDGEMENT));
}

#[test]
fn a_bucket_opened_before_the_last_is_sealed_is_not_found_by_who_closes_the_log() {
    assert!(breaks(Rule::SealFirst, Size::ROLLING, laws::ONE_BUYER)); // N2
    assert!(breaks(Rule::SealFirst, Size::ROLLING, laws::ONE_ACKNOWLEDGEMENT));
}

#[test]
fn a_bucket_opened_over_its_fence_opens_a_closed_log_again() {
    assert!(breaks(Rule::OpenOnce, Size::ROLLING, laws::ONE_BUYER)); // N2
    assert!(breaks(Rule::OpenOnce, Size::ROLLING, laws::ONE_ACKNOWLEDGEMENT));
}

#[test]
fn a_log_that_is_not_closed_lets_two_owners_sell_the_last_unit() {
    assert!(breaks(Rule::Close, Size::TWO_SHARDS, laws::ONE_BUYER)); // N3
}

#[test]
fn a_log_read_before_it_is_closed_hides_what_was_acknowledged_between() {
    assert!(breaks(Rule::CloseBeforeRead, Size::TWO_SHARDS, laws::ONE_ACKNOWLEDGEMENT)); // N3
    assert!(breaks(Rule::CloseBeforeRead, Size::TWO_SHARDS, laws::NEW_OWNER_KNOWS));
}

#[test]
fn a_fence_closed_blindly_hides_that_the_log_went_on() {
    assert!(breaks(Rule::CloseByCompare, Size::ROLLING, laws::ONE_ACKNOWLEDGEMENT)); // N3
}

#[test]
fn a_claimant_that_stops_at_a_sealed_bucket_leaves_the_log_open() {
    assert!(breaks(Rule::FollowSealed, Size::ROLLING, laws::ONE_BUYER)); // N3
    assert!(breaks(Rule::FollowSealed, Size::ROLLING, laws::NO_OLD_ANSWER));
}

#[test]
fn flushed_upto_read_before_the_rows_takes_what_was_deleted_for_damage() {
    assert!(breaks(Rule::RowsBeforeFlushed, Size::CHECKPOINTS, laws::NO_FALSE_ALARM)); // N4
}

#[test]
fn a_row_of_a_shard_written_blindly_gives_it_two_owners() {
    assert!(breaks(Rule::OwnByCompare, Size::TWO_SHARDS, laws::EPOCHS_RISE)); // N5
    assert!(breaks(Rule::OwnByCompare, Size::TWO_SHARDS, laws::ONE_ACKNOWLEDGEMENT));
}

#[test]
fn a_row_that_names_only_the_newest_log_forgets_what_lies_in_those_before() {
    assert!(breaks(Rule::KeepLogs, Size::COMES_BACK, laws::NOTHING_LOST)); // N5
    assert!(breaks(Rule::KeepLogs, Size::TWO_SHARDS, laws::ONE_BUYER));
}

#[test]
fn a_shard_released_in_the_middle_of_an_append_is_written_by_two() {
    assert!(breaks(Rule::ReleaseSettled, Size::LATE, laws::ONE_ACKNOWLEDGEMENT)); // N6
}

#[test]
fn a_release_that_is_taken_back_because_it_was_not_answered_counts_all_the_same() {
    assert!(breaks(Rule::ReleaseIsFinal, Size::LATE, laws::ONE_ACKNOWLEDGEMENT)); // N6
    assert!(breaks(Rule::ReleaseIsFinal, Size::LATE, laws::ONE_BUYER));
}

#[test]
fn a_release_without_its_epoch_releases_what_another_owns() {
    assert!(breaks(Rule::ReleaseByEpoch, Size { epochs: [3, 1], ..Size::LATE }, laws::ONE_ACKNOWLEDGEMENT)); // N6
}

#[test]
fn a_process_that_comes_back_into_its_closed_log_lets_its_former_self_append() {
    assert!(breaks(Rule::FreshLog, Size::LATE, laws::NO_OLD_ANSWER)); // N7
}

#[test]
fn a_bucket_deleted_for_one_of_its_shards_is_lost_for_the_other() {
    assert!(breaks(Rule::DeleteForAll, Size::CHECKPOINTS, laws::NOTHING_LOST)); // N8
}

#[test]
fn a_fence_deleted_with_its_rows_hides_where_the_log_goes_on() {
    assert!(breaks(Rule::KeepFences, Size::CHECKPOINTS, laws::ONE_ACKNOWLEDGEMENT)); // N8
}

#[test]
fn an_answer_from_memory_is_older_than_what_the_new_owner_has_said() {
    assert!(breaks(Rule::AskBeforeAnswer, Size::TWO_SHARDS, laws::NO_OLD_ANSWER)); // O4
}

#[test]
fn the_fence_of_a_sealed_bucket_says_nothing_about_the_log() {
    assert!(breaks(Rule::AskTheTail, Size::ROLLING, laws::NO_OLD_ANSWER)); // O4
}

#[test]
fn an_append_that_was_already_on_its_way_answers_no_later_question() {
    assert!(breaks(Rule::AskedBeforeAppend, Size::LATE, laws::NO_OLD_ANSWER)); // O4
}

#[test]
fn an_append_acknowledged_at_its_timeout_is_lost() {
    assert!(breaks(Rule::SettleFirst, Size::LATE, laws::NOTHING_LOST)); // O5
}

#[test]
fn flushed_upto_before_the_states_loses_what_lies_between() {
    assert!(breaks(Rule::StatesFirst, Size::CHECKPOINTS, laws::NOTHING_LOST)); // S2
}
