//! Histories by hand: lawful ones, and each kind of unlawful one with its message.

use super::words::{Answer, Op, Operation};
use super::{Checked, check};

/// Operations one by one, each begun when the one before it has returned.
struct History(Vec<Operation>);

impl History {
    /// A SKU on sale with `units`, at version 2.
    fn of(units: u32) -> Self {
        let mut history = Self(Vec::new());
        history.then(Op::Offer, Answer::Done, 1);
        let on_hand = u64::from(units);
        history.then(Op::Receive { request: 1, units }, Answer::Received { on_hand, version: 2 }, 2);
        history
    }

    fn then(&mut self, op: Op, answer: Answer, seen: u64) -> &mut Self {
        let invoked = self.0.last().map_or(0, |last| last.returned.unwrap_or(last.invoked)) + 10;
        self.0.push(Operation {
            client: 1,
            sku: 1,
            invoked,
            returned: Some(invoked + 5),
            op,
            answer: Some(answer),
            seen: Some(seen),
            repeated: false,
        });
        self
    }

    fn unanswered(&mut self, op: Op) -> &mut Self {
        self.then(op, Answer::Done, 0);
        let last = self.last();
        (last.returned, last.answer, last.seen) = (None, None, None);
        self
    }

    fn last(&mut self) -> &mut Operation {
        self.0.last_mut().unwrap()
    }

    fn is_lawful(&self) -> Checked {
        check(&self.0).unwrap_or_else(|anomalies| panic!("{}", anomalies[0]))
    }

    /// Unlawful, and all these words are in what is said of it.
    fn is_described(&self, words: &[&str]) {
        let anomalies = check(&self.0).expect_err("an anomaly");
        let why = anomalies[0].to_string();
        for word in words {
            assert!(why.contains(word), "«{word}» is not in: {why}");
        }
    }
}

fn reserve(order: u64, units: u32) -> Op {
    Op::Reserve { order, units }
}

fn reserved(number: u64) -> Answer {
    Answer::Reserved { number }
}

fn levels(on_hand: u64, reserved: u64) -> Answer {
    Answer::Levels { on_hand, reserved }
}

const fn sold_out(available: u64, all_reserved: bool) -> Answer {
    Answer::SoldOut { available, all_reserved: Some(all_reserved) }
}

#[test]
fn a_sale_one_by_one_is_lawful() {
    let mut history = History::of(3);
    history.then(reserve(7, 2), reserved(3), 3).then(Op::Read, levels(3, 2), 3);
    history.then(reserve(8, 2), sold_out(1, true), 3);
    history.then(Op::Commit { order: 7, number: 3 }, Answer::Done, 4).then(Op::Read, levels(1, 0), 4);
    history.then(Op::Release { order: 7, number: 3 }, Answer::Ended, 4);
    history.then(Op::Forget { order: 7, number: 3 }, Answer::Done, 5);
    history.then(Op::Commit { order: 7, number: 3 }, Answer::Unknown, 5);
    assert_eq!(history.is_lawful().versions, 5);
}

#[test]
fn operations_at_the_same_time_may_stand_in_any_order() {
    let mut history = History::of(3);
    history.then(reserve(7, 1), reserved(4), 4).then(reserve(8, 1), reserved(3), 3);
    let (first, second) = (history.0[2], history.0[3]);
    history.is_described(&["saw version 3", "order 7", "had returned before it was begun, and knew 4"]);
    history.0[3].invoked = first.invoked;
    history.0[3].returned = second.returned;
    history.is_lawful();
}

#[test]
fn a_unit_given_twice_is_found() {
    let mut history = History::of(1);
    history.then(reserve(7, 1), reserved(3), 3).then(reserve(8, 1), reserved(4), 4);
    history.is_described(&["reserve 1 for order 8", "sold out, 0 free", "order 7"]);
}

#[test]
fn a_version_made_twice_is_found() {
    let mut history = History::of(5);
    history.then(reserve(7, 1), reserved(3), 3).then(reserve(8, 1), reserved(3), 3);
    history.is_described(&["version 3 was made twice", "order 7", "order 8"]);
}

#[test]
fn a_stale_read_is_found() {
    let mut history = History::of(5);
    history.then(reserve(7, 1), reserved(3), 3).then(Op::Read, levels(5, 0), 2);
    history.is_described(&["read", "saw version 2", "order 7", "had returned before it was begun, and knew 3"]);
}

#[test]
fn a_read_of_what_never_was_is_found() {
    let mut history = History::of(5);
    history.then(reserve(7, 1), reserved(3), 3).then(Op::Read, levels(4, 1), 3);
    history.is_described(&["4 on hand", "5 on hand, 1 promised", "order 7"]);
}

#[test]
fn a_lost_update_is_found() {
    let mut history = History::of(5);
    history.then(reserve(7, 1), reserved(3), 3);
    history.then(Op::Release { order: 7, number: 3 }, Answer::Done, 4);
    // The release is gone, and what comes next has its version.
    history.then(reserve(8, 1), reserved(4), 4);
    history.is_described(&["version 4 was made twice", "release", "order 8"]);
}

#[test]
fn a_version_that_no_operation_made_is_found() {
    let mut history = History::of(5);
    history.then(reserve(7, 1), reserved(3), 3).then(reserve(8, 1), reserved(5), 5);
    history.is_described(&["version 4 was made by no operation", "order 7", "order 8"]);
}

#[test]
fn what_was_not_answered_may_have_happened_or_not() {
    for happened in [true, false] {
        let mut history = History::of(5);
        history.unanswered(reserve(7, 2));
        let (promised, version) = if happened { (2, 3) } else { (0, 2) };
        history.then(Op::Read, levels(5, promised), version).then(reserve(8, 1), reserved(version + 1), version + 1);
        assert_eq!(history.is_lawful().searched, u64::from(happened));
    }
}

#[test]
fn what_was_not_answered_cannot_have_happened_before_it_was_sent() {
    let mut history = History::of(5);
    history.then(Op::Read, levels(5, 2), 3).unanswered(reserve(7, 2));
    history.is_described(&["version 3 was made by no operation"]);
}

#[test]
fn a_wrong_guess_is_taken_back() {
    let mut history = History::of(9);
    history.unanswered(reserve(7, 2)).unanswered(reserve(8, 1));
    // It was the second one; only a later read shows it.
    history.then(reserve(9, 1), reserved(4), 4).then(Op::Read, levels(9, 2), 4);
    history.is_lawful();
    history.last().answer = Some(levels(9, 5));
    history.is_described(&["9 on hand, 5 promised"]);
}

#[test]
fn a_request_sent_twice_is_one() {
    let mut history = History::of(5);
    history.then(reserve(7, 2), reserved(3), 3).then(reserve(7, 2), reserved(3), 3);
    history.last().repeated = true;
    history.is_lawful();
    // The second copy promised once more.
    history.0.pop();
    history.then(reserve(7, 2), reserved(4), 4);
    history.is_described(&["claims version 4", "reserved under number 3", "makes no version"]);
}

#[test]
fn a_try_that_was_not_answered_is_found_by_the_next_one() {
    let mut history = History::of(5);
    history.then(reserve(7, 2), reserved(3), 3);
    history.then(Op::Release { order: 7, number: 3 }, Answer::Done, 5);
    history.last().repeated = true;
    // Another one between the try that was not answered and the one that was.
    history.0.push(Operation { client: 2, op: reserve(8, 5), answer: Some(reserved(5)), ..history.0[3] });
    let last = history.last();
    (last.repeated, last.seen) = (false, Some(5));
    assert_eq!(history.is_lawful().searched, 1, "version 4 is the release");
}

#[test]
fn a_refusal_without_a_version_must_be_right_at_some_version_of_its_time() {
    let mut history = History::of(2);
    history.then(reserve(7, 2), reserved(3), 3).then(reserve(8, 1), sold_out(0, true), 3);
    history.last().seen = None;
    history.then(Op::Release { order: 7, number: 3 }, Answer::Done, 4).then(Op::Read, levels(2, 0), 4);
    assert_eq!(history.is_lawful().unplaced, 1);
    // After the release was answered, no answer may say that all is reserved.
    let late = history.0.remove(3);
    history.then(late.op, sold_out(0, true), 4);
    history.last().seen = None;
    history.then(Op::Read, levels(2, 0), 4);
    history.is_described(&["reserve 1 for order 8", "sold out, 0 free", "was not so at any version from 4 to 4"]);
}

#[test]
fn refusals_without_a_version_keep_their_own_order() {
    let mut history = History::of(1);
    let refused = |history: &mut History, available, promised| {
        history.then(reserve(9, 2), sold_out(available, promised), 0);
        history.last().seen = None;
    };
    // Both versions lie in the time of both, but the one that was answered first saw the later one.
    refused(&mut history, 0, true);
    refused(&mut history, 1, false);
    let meanwhile = Operation { invoked: 26, returned: Some(90), ..history.0[1] };
    history.0.push(Operation { op: reserve(7, 1), answer: Some(reserved(3)), seen: Some(3), ..meanwhile });
    history.is_described(&["was not so at any version"]);
    let (first, second) = (history.0[2].answer, history.0[3].answer);
    (history.0[2].answer, history.0[3].answer) = (second, first);
    history.is_lawful();
}
