//! Claims of one counter: given events, when a command, then events.

use super::*;
use crate::claims::Says;

const NOW: Timestamp = Timestamp(1_000_000);
const DEADLINE: Timestamp = Timestamp(1_600_000);

fn holder(order: u128) -> Holder {
    Holder { order: OrderId(order << 16), claim: 0xa000 }
}

fn claim(order: u128, units: u32) -> Claim {
    Claim { holder: holder(order), units, limit: 3, is_kept: true, expires_at: DEADLINE }
}

fn run(counter: &mut Counter, command: &Command) -> Result<Reply, Refusal> {
    let decision = counter.decide(command, NOW)?;
    decision.events.iter().for_each(|event| counter.evolve(event));
    Ok(decision.reply)
}

#[test]
fn no_grant_is_given_beyond_the_limit_and_what_is_released_is_free_again() {
    let mut counter = Counter::default();
    assert_eq!(run(&mut counter, &Command::Claim(claim(1, 2))), Ok(Reply::Granted { number: 1 }));
    assert_eq!(
        run(&mut counter, &Command::Claim(claim(2, 2))),
        Err(Refusal::LimitReached { limit: 3, taken: 2 }),
        "two and two are more than three"
    );
    assert_eq!(run(&mut counter, &Command::Claim(claim(3, 1))), Ok(Reply::Granted { number: 2 }));
    let commit = Command::Commit { holder: holder(1), number: 1 };
    assert_eq!(run(&mut counter, &commit), Ok(Reply::Done));
    assert_eq!((counter.held(), counter.used()), (1, 2));
    assert_eq!(
        run(&mut counter, &Command::Claim(claim(4, 1))),
        Err(Refusal::LimitReached { limit: 3, taken: 3 }),
        "what is used counts"
    );
    assert_eq!(run(&mut counter, &Command::Release { holder: holder(3), number: 2 }), Ok(Reply::Done));
    assert_eq!(run(&mut counter, &Command::Claim(claim(4, 1))), Ok(Reply::Granted { number: 5 }));
}

#[test]
fn a_claim_sent_twice_counts_once_and_a_late_copy_after_forget_is_dropped_when_its_order_is_asked_r1_r3() {
    let mut counter = Counter::default();
    for _ in 0..2 {
        assert_eq!(run(&mut counter, &Command::Claim(claim(1, 1))), Ok(Reply::Granted { number: 1 }));
    }
    assert_eq!(counter.held(), 1);
    assert_eq!(run(&mut counter, &Command::Forget { holder: holder(1), number: 1 }), Err(Refusal::NotEnded));
    for _ in 0..2 {
        assert_eq!(run(&mut counter, &Command::Release { holder: holder(1), number: 1 }), Ok(Reply::Done));
    }
    assert_eq!(run(&mut counter, &Command::Claim(claim(1, 1))), Err(Refusal::Ended), "it was released");
    assert_eq!(run(&mut counter, &Command::Forget { holder: holder(1), number: 1 }), Ok(Reply::Done));
    assert_eq!(run(&mut counter, &Command::Claim(claim(1, 1))), Ok(Reply::Granted { number: 4 }), "a late copy");
    assert_eq!(run(&mut counter, &Command::Commit { holder: holder(1), number: 1 }), Ok(Reply::Unknown));
    let due = DEADLINE.plus_s(QUESTION_GRACE_S);
    assert_eq!(counter.wake_at(NOW), Some(due));
    let [key] = counter.owed(due)[..] else { panic!("one question") };
    let asked = order::Command::StillClaimed { claim: 0xa000, number: 4 };
    let expected = Effect::Ask { to: EntityId::Order(OrderId(1 << 16)), command: message::Command::Order(asked) };
    assert_eq!(counter.effect(key), Some(expected));
    let outcome = Outcome::Replied(message::Reply::Order(order::Reply::Release));
    let answer = counter.answered(key, outcome).unwrap();
    assert_eq!(answer, Command::Answer { holder: holder(1), number: 4, says: Says::Release });
    assert_eq!(run(&mut counter, &answer), Ok(Reply::Done));
    assert_eq!((counter.held(), counter.used(), counter.grants().count()), (0, 0, 0));
}

#[test]
fn what_is_not_kept_is_free_once_it_is_committed_and_what_is_kept_can_be_given_back_until_it_is_forgotten() {
    let mut counter = Counter::default();
    let passing = Claim { is_kept: false, ..claim(1, 3) };
    assert_eq!(run(&mut counter, &Command::Claim(passing)), Ok(Reply::Granted { number: 1 }));
    assert_eq!(run(&mut counter, &Command::Commit { holder: holder(1), number: 1 }), Ok(Reply::Done));
    assert_eq!((counter.held(), counter.used()), (0, 0));
    assert_eq!(run(&mut counter, &Command::Claim(claim(2, 3))), Ok(Reply::Granted { number: 3 }));
    assert_eq!(run(&mut counter, &Command::Commit { holder: holder(2), number: 3 }), Ok(Reply::Done));
    assert_eq!(counter.used(), 3);
    for _ in 0..2 {
        assert_eq!(run(&mut counter, &Command::Release { holder: holder(2), number: 3 }), Ok(Reply::Done));
        assert_eq!(counter.used(), 0, "the order ended after all");
    }
}

#[test]
fn a_claim_past_its_deadline_is_refused_and_one_with_other_terms_too() {
    let mut counter = Counter::default();
    let late = Claim { expires_at: NOW, ..claim(1, 1) };
    assert_eq!(run(&mut counter, &Command::Claim(late)), Err(Refusal::Ended));
    assert_eq!(run(&mut counter, &Command::Claim(claim(1, 1))), Ok(Reply::Granted { number: 1 }));
    assert_eq!(run(&mut counter, &Command::Claim(claim(1, 2))), Err(Refusal::OtherTerms));
    assert_eq!(run(&mut counter, &Command::Claim(late)), Ok(Reply::Granted { number: 1 }), "it is known, however late");
}
