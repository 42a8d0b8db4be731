//! A change of an order claims the new, prices, then releases the old; a refused one changes nothing.

use super::super::{Answer, EndReason, Event, Hold, Patch, Refusal, Shortage, Step};
use super::desk::Desk;
use super::*;
use crate::claims::{self, ClaimKind};
use crate::ids::CounterId;

const OLD: u16 = 0xa000;
const NEW: u16 = 0xa001;

fn wanted(at: u128) -> claims::Wanted {
    claims::Wanted { kind: ClaimKind::UnpaidByBuyer, at: CounterId(at), limit: 5 }
}

/// An order that holds its claim of a buyer's units and its stock.
fn held() -> Desk {
    let terms = OrderTerms { claims: Some(vec![wanted(1)]), ..terms(CapturePolicy::OnConfirmation) };
    let mut desk = Desk::placed(terms, &[2], None);
    assert!(desk.owes(Step::Reserve(OLD)) && !desk.owes(Step::Reserve(1)), "allowances come before stock");
    desk.answer(Step::Reserve(OLD), Answer::Granted(11));
    desk.reserved(1, 2);
    assert_eq!(desk.order.stage, Stage::Held);
    desk
}

/// To another mailbox, and a dearer delivery.
fn patch() -> Command {
    let buyer = Buyer { email: Some("c@d.example".into()), name: Some("A".into()), phone: None, locale: None };
    let shipping = Shipping { option: "express".into(), price: gbp(999), tax_included: true };
    let claims = vec![(ClaimKind::UnpaidByBuyer, Some(wanted(2)))];
    Command::Patch(Box::new(Patch { buyer: Some(buyer), shipping: Some(shipping), claims, ..Patch::default() }))
}

#[test]
fn a_change_claims_the_new_then_prices_then_releases_the_old() {
    let mut desk = held();
    let total = desk.order.totals().total;
    desk.tell(&patch()).unwrap();
    assert!(desk.owes(Step::Reserve(NEW)) && !desk.owes(Step::Release(OLD)));
    assert_eq!((desk.order.totals().total, desk.order.awaits_payment()), (total, false), "nothing has changed yet");
    assert!(matches!(desk.tell(&patch()), Err(Refusal::WrongState { .. })), "one change at a time");
    assert!(matches!(desk.pay(), Err(Refusal::WrongState { .. })), "nobody pays what is about to change");
    desk.answer(Step::Reserve(NEW), Answer::Granted(12));
    let last = desk.records.last().unwrap();
    assert!(
        matches!(last[..], [Event::Granted { .. }, Event::Amended(_), Event::EditEnded { refused: None }]),
        "{last:?}"
    );
    assert!(desk.owes(Step::Release(OLD)) && !desk.owes(Step::Release(NEW)));
    assert_eq!(desk.order.totals().total, gbp(total.amount + 500));
    assert_eq!(desk.order.personal.as_ref().unwrap().buyer.email.as_deref(), Some("c@d.example"));
    desk.answer(Step::Release(OLD), Answer::Done);
    desk.answer(Step::Forget(OLD), Answer::Done);
    assert_eq!(desk.order.claim(OLD), None, "it is over");
    desk.pay().unwrap();
    desk.authorize(1);
    desk.commit_all();
    assert!(desk.owes(Step::Commit(NEW)), "stock settles before what let its buyer in");
    desk.answer(Step::Commit(NEW), Answer::Done);
    assert_eq!(desk.order.stage, Stage::Confirmed);
}

#[test]
fn a_refused_change_changes_nothing() {
    let mut desk = held();
    let mut before = desk.order.clone();
    desk.tell(&patch()).unwrap();
    desk.answer(Step::Reserve(NEW), Answer::Short(Shortage::LimitReached { limit: 5, taken: 4 }));
    let refused = desk.order.edit_refused.take().unwrap();
    assert_eq!((refused.wanted, refused.units), (wanted(2), 2));
    // Its number is remembered, so that no other claim ever has it.
    let spent = desk.order.claims.as_mut().unwrap().pop().unwrap();
    assert_eq!((spent.id, spent.hold), (NEW, Hold::Released));
    before.open = 0;
    assert_eq!(desk.order, before);
}

#[test]
fn an_order_that_ends_during_a_change_releases_the_old_and_the_new_r6() {
    let mut desk = held();
    desk.tell(&patch()).unwrap();
    desk.cancel(Vec::new()).unwrap();
    assert!(desk.owes(Step::Release(1)) && desk.owes(Step::Reserve(NEW)) && !desk.owes(Step::Release(OLD)));
    desk.answer(Step::Reserve(NEW), Answer::Granted(12));
    assert!(desk.owes(Step::Release(NEW)), "what was asked is known, and undone then");
    desk.answer(Step::Release(1), Answer::Done);
    for claim in [OLD, NEW] {
        desk.answer(Step::Release(claim), Answer::Done);
    }
    assert_eq!(desk.order.stage, Stage::Ended(EndReason::Cancelled(CancelReason::Customer)));
}

#[test]
fn stages_are_undone_in_reverse_and_a_stage_that_was_not_reached_is_not_asked() {
    let terms = OrderTerms { claims: Some(vec![wanted(1)]), ..terms(CapturePolicy::OnConfirmation) };
    let mut desk = Desk::placed(terms.clone(), &[1, 1], None);
    desk.answer(Step::Reserve(OLD), Answer::Granted(11));
    desk.reserved(1, 1);
    desk.answer(Step::Reserve(2), Answer::Short(Shortage::SoldOut { available: 0, all_reserved: false }));
    assert!(desk.owes(Step::Release(1)) && !desk.owes(Step::Release(OLD)), "stock first");
    desk.answer(Step::Release(1), Answer::Done);
    assert!(desk.owes(Step::Release(OLD)), "then what let its buyer in");
    desk.answer(Step::Release(OLD), Answer::Done);
    assert_eq!(desk.order.stage, Stage::Ended(EndReason::SoldOut));

    let mut desk = Desk::placed(terms, &[1, 1], None);
    desk.answer(Step::Reserve(OLD), Answer::Short(Shortage::LimitReached { limit: 5, taken: 5 }));
    let rejected = EndReason::Rejected(super::super::Rejection::Claim(ClaimKind::UnpaidByBuyer));
    assert_eq!(desk.order.stage, Stage::Ended(rejected), "no SKU was asked, so nothing is undone");
}

#[test]
fn what_an_instrument_may_take_is_claimed_between_authorize_and_commit() {
    let instrument = claims::Wanted { kind: ClaimKind::UnpaidByInstrument, at: CounterId(3), limit: 5 };
    let terms = OrderTerms { claims: Some(vec![instrument]), ..terms(CapturePolicy::OnConfirmation) };
    let claim = 0xc000;
    for granted in [true, false] {
        let mut desk = Desk::held(terms.clone(), &[1], Some(instruction("card")));
        assert!(!desk.owes(Step::Reserve(claim)), "it is not known yet");
        desk.authorize(1);
        assert!(desk.owes(Step::Reserve(claim)) && !desk.owes(Step::Commit(1)));
        if granted {
            desk.answer(Step::Reserve(claim), Answer::Granted(9));
            desk.answer(Step::Commit(1), Answer::Done);
            desk.answer(Step::Commit(claim), Answer::Done);
            assert_eq!(desk.order.stage, Stage::Confirmed);
        } else {
            desk.answer(Step::Reserve(claim), Answer::Short(Shortage::LimitReached { limit: 5, taken: 5 }));
            assert!(desk.owes(Step::Release(1)));
            assert!(desk.calls().iter().any(|call| call.reference.operation == crate::payment::Operation::Void));
        }
    }
}
