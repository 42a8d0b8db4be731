//! Claims about one order.

use super::super::{
    Allowed, Answer, Attempt, Cancelled, CartRefusal, EDITS_MAX, EndReason, Event, Hold, Made, Patch, PaymentStatus,
    RefundStatus, Refusal, Rejection, Reply, ReturnLine, Shortage, Status, Step,
};
use super::desk::Desk;
use super::*;
use crate::entity::Wait;
use crate::inventory::{Allocation, Reserved};
use crate::payment::{NextAction, Operation, Reference};

fn on_confirmation() -> OrderTerms {
    terms(CapturePolicy::OnConfirmation)
}

fn soldout() -> Answer {
    Answer::Short(Shortage::SoldOut { available: 0, all_reserved: true })
}

#[test]
fn an_order_of_one_line_is_two_records_until_it_is_held() {
    let desk = Desk::held(on_confirmation(), &[1], None);
    assert_eq!(desk.records.len(), 2, "{:?}", desk.records);
    assert_eq!(desk.order.status(), Status::AwaitingPayment);
    let totals = desk.order.totals();
    assert_eq!((totals.total, totals.tax), (gbp(13_498), gbp(2_250)));
    assert!(desk.order.reached(Wait::Held));
    assert_eq!(desk.order.allowed(), [Allowed::Pay, Allowed::Edit, Allowed::Cancel]);
}

#[test]
fn the_last_reservation_the_price_and_the_first_attempt_are_one_record() {
    let desk = Desk::held(on_confirmation(), &[1, 2], Some(instruction("card")));
    assert_eq!(desk.records.last().map(Vec::len), Some(3));
    assert_eq!(desk.calls().first().map(|call| (call.amount, call.query_only)), Some((gbp(13_498 + 666), false)));
}

#[test]
fn the_same_order_placed_again_is_the_same_order() {
    let mut desk = Desk::held(on_confirmation(), &[1], None);
    let place = Desk::place_with(on_confirmation(), &[1], None);
    let mut salted = place.clone();
    salted.personal.salt = [9; 16];
    let again = desk.order.decide(&Command::Place(Box::new(salted)), desk.now).unwrap();
    assert!(again.repeated && again.events.is_empty() && again.reply == Reply::Made(Made::Order));
    let mut other = place.clone();
    other.request.terms = RequestFingerprint(99);
    assert_eq!(desk.tell(&Command::Place(Box::new(other))), Err(Refusal::RequestReused));
    let mut somebody = place;
    somebody.personal = personal("B");
    assert_eq!(desk.tell(&Command::Place(Box::new(somebody.clone()))), Err(Refusal::RequestReused));
    desk.tell(&Command::Erase).unwrap();
    assert_eq!(desk.order.personal, None);
    assert_eq!(desk.tell(&Command::Place(Box::new(somebody))), Ok(Reply::Made(Made::Order)));
}

#[test]
fn lines_of_one_sku_are_summed_before_reserving() {
    let mut place = Desk::place_with(on_confirmation(), &[1, 1], None);
    let twice = |units| Wanted { sku: sku(0), units, expected_unit_price: None };
    place.source = Source::Lines(vec![twice(2), twice(3)]);
    let mut desk = Desk::new();
    desk.tell(&Command::Place(Box::new(place.clone()))).unwrap();
    assert_eq!(desk.order.lines.iter().map(|line| line.units).collect::<Vec<_>>(), [5]);
    place.source = Source::Lines(vec![twice(u32::MAX), twice(1)]);
    assert_eq!(Desk::new().tell(&Command::Place(Box::new(place))), Err(Refusal::Malformed));
}

#[test]
fn one_sku_sold_out_and_every_other_reservation_is_released_before_the_refusal() {
    let mut desk = Desk::placed(on_confirmation(), &[1, 1, 1], None);
    desk.reserved(1, 1);
    desk.answer(Step::Reserve(2), soldout());
    assert!(desk.owes(Step::Release(1)) && desk.owes(Step::Reserve(3)), "R6: what is not known is still asked");
    desk.reserved(3, 1);
    desk.answer(Step::Release(1), Answer::Done);
    assert!(!desk.order.reached(Wait::Held));
    desk.answer(Step::Release(3), Answer::Done);
    assert_eq!(desk.order.stage, Stage::Ended(EndReason::SoldOut));
    assert!(desk.order.reached(Wait::Held));
    assert!(matches!(desk.order.lines[1].hold, Hold::Refused(Shortage::SoldOut { .. })));
}

#[test]
fn another_price_or_another_total_rejects_the_order() {
    let mut desk = Desk::placed(on_confirmation(), &[1], None);
    desk.answer(Step::Reserve(1), Answer::Short(Shortage::PriceChanged { expected: gbp(1), now: gbp(2) }));
    assert_eq!(desk.order.stage, Stage::Ended(EndReason::Rejected(Rejection::PriceChanged)));
    let mut desk = Desk::held(
        OrderTerms { expected_total: Some(gbp(13_497)), ..on_confirmation() },
        &[1],
        Some(instruction("card")),
    );
    let rejection = Rejection::TotalChanged { expected: gbp(13_497), now: gbp(13_498) };
    assert_eq!(desk.order.stage, Stage::Ending(EndReason::Rejected(rejection)));
    assert_eq!(desk.calls(), [], "nothing is charged");
    desk.answer(Step::Release(1), Answer::Done);
    assert_eq!(desk.order.stage, Stage::Ended(EndReason::Rejected(rejection)));
}

#[test]
fn a_free_order_is_confirmed_without_a_payment() {
    let mut place = Desk::place_with(OrderTerms { shipping: None, ..on_confirmation() }, &[1], None);
    place.terms.expected_total = Some(gbp(0));
    let mut desk = Desk::new();
    desk.tell(&Command::Place(Box::new(place))).unwrap();
    let reserved = Reserved {
        reservation: 1,
        allocations: vec![Allocation { warehouse: warehouse(0), units: 1 }],
        price: Price { unit: gbp(0), was: None, tax_included: true },
        title: "t".into(),
        seller: "s".into(),
        tax_class: "standard".into(),
        hold_s: None,
    };
    desk.answer(Step::Reserve(1), Answer::Reserved(Box::new(reserved)));
    desk.commit_all();
    assert_eq!(desk.order.stage, Stage::Confirmed);
    assert_eq!(desk.order.payment_status(desk.now), PaymentStatus::NotRequired);
}

#[test]
fn r4_the_shortest_hold_time_of_a_line_counts_from_the_placement_for_the_whole_order() {
    let mut desk = Desk::new();
    let placed_at = desk.now;
    desk.tell(&Command::Place(Box::new(Desk::place_with(on_confirmation(), &[1, 1, 1], None)))).unwrap();
    desk.pass_s(2);
    desk.reserved_for(1, 1, Some(180));
    desk.reserved_for(2, 1, Some(5_000));
    desk.reserved(3, 1);
    assert_eq!((desk.order.stage, desk.order.expires_at), (Stage::Held, placed_at.plus_s(180)));
    assert_eq!(desk.order.wake_at(desk.now), Some(placed_at.plus_s(180)));
    desk.pass_s(178);
    assert!(desk.owes(Step::Release(1)) && desk.owes(Step::Release(2)) && desk.owes(Step::Release(3)));
}

#[test]
fn r3_a_deadline_releases_what_is_held_and_an_unknown_order_wants_nothing() {
    let mut desk = Desk::held(on_confirmation(), &[1], None);
    assert_eq!(desk.order.wake_at(desk.now), Some(Timestamp(START).plus_s(600)));
    desk.pass_s(600);
    assert!(desk.owes(Step::Release(1)));
    desk.answer(Step::Release(1), Answer::Done);
    assert_eq!(desk.order.status(), Status::Expired);
    assert!(desk.owes(Step::Forget(1)));
    let ask = Command::StillWanted { reservation: Some(71), sku: Some(sku(0)) };
    assert_eq!(desk.tell(&ask), Ok(Reply::Release));
    assert_eq!(Desk::new().tell(&ask), Ok(Reply::Release));
    assert_eq!(Desk::new().tell(&Command::StillWanted { reservation: None, sku: None }), Ok(Reply::Release));
}

#[test]
fn r1_only_the_reservation_the_order_knows_is_kept() {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("card")));
    let ask = |reservation| Command::StillWanted { reservation: Some(reservation), sku: Some(sku(0)) };
    assert_eq!(desk.tell(&ask(71)), Ok(Reply::Keep { until: desk.order.expires_at }));
    assert_eq!(desk.tell(&ask(72)), Ok(Reply::Release));
    desk.authorize(1);
    desk.commit_all();
    assert_eq!((desk.tell(&ask(71)), desk.tell(&ask(72))), (Ok(Reply::Taken), Ok(Reply::Release)));
}

#[test]
fn m1_stock_is_kept_past_the_deadline_until_the_charge_is_known() {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("card")));
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Unknown);
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::NotFound);
    desk.pass_s(3_600);
    assert_eq!(desk.order.stage, Stage::Held);
    assert_eq!(desk.order.payment_status(desk.now), PaymentStatus::Unknown);
    let calls = desk.calls();
    assert_eq!(calls.iter().map(|call| (call.reference.attempt, call.query_only)).collect::<Vec<_>>(), [(1, false)]);
    let mut paid = Desk { order: desk.order.clone(), now: desk.now, records: Vec::new(), keys: 9 };
    paid.authorize(1);
    paid.commit_all();
    assert_eq!(paid.order.status(), Status::Confirmed);
    desk.decline(Operation::Authorize, 1, 1, Retry::SameMethod);
    assert_eq!(desk.order.status(), Status::Expired);
}

#[test]
fn m2_no_new_attempt_while_one_is_unsettled_and_no_more_than_the_policy_has() {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("card")));
    assert_eq!(desk.pay(), Err(Refusal::WrongState { status: Status::Authorizing }));
    desk.decline(Operation::Authorize, 1, 1, Retry::OtherMethod);
    assert_eq!(desk.order.status(), Status::AwaitingPayment);
    assert_eq!(desk.pay(), Ok(Reply::Made(Made::Payment(2))));
    desk.decline(Operation::Authorize, 2, 1, Retry::OtherMethod);
    assert_eq!(desk.pay(), Ok(Reply::Made(Made::Payment(3))));
    desk.decline(Operation::Authorize, 3, 1, Retry::Never);
    assert_eq!(desk.order.status(), Status::PaymentFailed);
}

#[test]
fn m2_beyond_the_life_of_the_keys_we_only_ask_and_an_operator_settles() {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("card")));
    let sent = desk.order.owed(desk.now);
    let sent_at = desk.now;
    desk.now = sent_at.plus_s(86_400);
    assert!(desk.calls()[0].query_only, "also while nobody has woken it yet");
    desk.now = sent_at;
    desk.pass_s(86_400);
    assert_eq!(desk.order.effect(sent[0]), None, "never sent again");
    assert_eq!(desk.calls().iter().map(|call| call.query_only).collect::<Vec<_>>(), [true]);
    let reference = desk.calls()[0].reference;
    assert_eq!(desk.order.troubles.len(), 1);
    let maybe = Command::Settle { reference, answer: ProviderAnswer::NotFound };
    assert!(matches!(desk.tell(&maybe), Err(Refusal::WrongState { .. })), "an operator says how it ended, or nothing");
    let answer = ProviderAnswer::Declined { code: "never charged".into(), retry: Retry::SameMethod };
    desk.tell(&Command::Settle { reference, answer }).unwrap();
    assert_eq!((desk.order.status(), desk.order.troubles.len()), (Status::Expired, 0));
    desk.answer(Step::Release(1), Answer::Done);
    desk.authorize(1);
    assert_eq!(desk.calls().iter().map(|call| call.reference.operation).collect::<Vec<_>>(), [Operation::Void], "M5");
}

#[test]
fn m3_the_shopper_acts_in_the_methods_own_time() {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("bank_transfer")));
    assert_eq!(desk.order.expires_at, Timestamp(START).plus_s(600), "the provider has said nothing yet");
    let action = NextAction { kind: "redirect".into(), url: None, expires_at: desk.now.plus_s(900) };
    let answer = ProviderAnswer::RequiresAction { provider_reference: "pi_1".into(), action };
    desk.says(Operation::Authorize, 1, 1, answer.clone());
    assert_eq!(desk.order.expires_at, Timestamp(START).plus_s(1_200), "R4: moved by a journaled event");
    assert_eq!((desk.order.status(), desk.calls()), (Status::RequiresAction, Vec::new()));
    assert!(desk.order.reached(Wait::Settled));
    assert_eq!(desk.order.wake_at(desk.now), Some(desk.now.plus_s(10)));
    desk.pass_s(10);
    assert_eq!(desk.calls().iter().map(|call| call.query_only).collect::<Vec<_>>(), [true]);
    let key = desk.order.owed(desk.now)[0];
    assert_eq!(
        desk.order.answered(key, Outcome::Provider(Box::new(ProviderReport::of(&desk.calls()[0], answer)))),
        None,
        "nothing new: asked again later"
    );
    desk.authorize(1);
    assert_eq!(desk.order.stage, Stage::Committing);
}

fn pending_transfer() -> Desk {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("bank_transfer")));
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Processing { provider_reference: "pi_1".into() });
    assert_eq!(desk.order.expires_at, Timestamp(START).plus_s(1_200));
    desk
}

#[test]
fn m3_a_transfer_that_is_declined_at_once_holds_nothing_longer_than_a_card() {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("bank_transfer")));
    desk.decline(Operation::Authorize, 1, 1, Retry::OtherMethod);
    assert_eq!((desk.order.status(), desk.order.expires_at), (Status::AwaitingPayment, Timestamp(START).plus_s(600)));
    desk.pass_s(600);
    assert!(desk.owes(Step::Release(1)));
}

#[test]
fn m3_a_longer_hold_ends_with_the_payment_that_was_pending() {
    let mut early = pending_transfer();
    early.pass_s(100);
    early.decline(Operation::Authorize, 1, 1, Retry::OtherMethod);
    let awaiting = (Status::AwaitingPayment, Timestamp(START).plus_s(600), None);
    assert_eq!((early.order.status(), early.order.expires_at, early.order.ordinary_deadline), awaiting);
    assert_eq!(early.order.wake_at(early.now), Some(Timestamp(START).plus_s(600)));

    let mut late = pending_transfer();
    late.pass_s(900);
    assert_eq!(late.order.stage, Stage::Held, "the transfer may still come");
    late.decline(Operation::Authorize, 1, 1, Retry::OtherMethod);
    assert_eq!(late.order.status(), Status::Expired, "the ordinary deadline has passed");
    assert!(late.owes(Step::Release(1)));
}

#[test]
fn m3_the_deadline_of_a_longer_hold_is_that_of_the_attempt_however_often_the_provider_speaks() {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("bank_transfer")));
    let action = NextAction { kind: "transfer_to".into(), url: None, expires_at: desk.now.plus_s(900) };
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::RequiresAction { provider_reference: "pi_1".into(), action });
    desk.pass_s(300);
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Processing { provider_reference: "pi_1".into() });
    assert_eq!(desk.order.expires_at, Timestamp(START).plus_s(1_200));
    assert_eq!(desk.order.ordinary_deadline, Some(Timestamp(START).plus_s(600)));
}

#[test]
fn an_order_is_changed_as_often_as_its_journal_can_bear_and_no_more() {
    let mut desk = Desk::held(on_confirmation(), &[1], None);
    let edit = |number: u32| {
        let metadata = Some(vec![("number".into(), number.to_string().into())]);
        Command::Patch(Box::new(Patch { metadata, ..Patch::default() }))
    };
    for number in 1..=EDITS_MAX {
        desk.tell(&edit(number)).unwrap();
    }
    assert_eq!(desk.tell(&edit(0)), Err(Refusal::TooManyEdits { limit: EDITS_MAX }));
    assert_eq!(desk.tell(&edit(EDITS_MAX)), Ok(Reply::Made(Made::Order)), "nothing changes: nothing is journaled");
}

#[test]
fn m5_a_charge_that_lands_after_its_order_ended_is_voided_or_refunded() {
    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("card")));
    desk.cancel(Vec::new()).unwrap();
    desk.answer(Step::Release(1), Answer::Done);
    assert_eq!(
        desk.order.stage,
        Stage::Ending(EndReason::Cancelled(CancelReason::Customer)),
        "the charge is not known"
    );
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Succeeded { provider_reference: "bank".into() });
    assert_eq!(desk.calls().iter().map(|call| call.reference.operation).collect::<Vec<_>>(), [Operation::Refund]);
    desk.succeed(Operation::Refund, 1);
    assert_eq!(desk.order.stage, Stage::Ended(EndReason::Cancelled(CancelReason::Customer)));
    assert_eq!((desk.order.captured(), desk.order.refunded()), (13_498, 13_498));

    let mut desk = Desk::held(on_confirmation(), &[1], Some(instruction("card")));
    desk.cancel(Vec::new()).unwrap();
    desk.answer(Step::Release(1), Answer::Done);
    desk.authorize(1);
    assert_eq!(desk.calls().iter().map(|call| call.reference.operation).collect::<Vec<_>>(), [Operation::Void]);
    desk.succeed(Operation::Void, 1);
    assert_eq!(desk.order.stage, Stage::Ended(EndReason::Cancelled(CancelReason::Customer)));
}

#[test]
fn r6_a_cancel_while_it_is_being_sold_unsells_it_once_that_is_known() {
    let mut desk = Desk::held(on_confirmation(), &[1, 1], Some(instruction("card")));
    desk.authorize(1);
    desk.answer(Step::Commit(1), Answer::Done);
    desk.cancel(Vec::new()).unwrap();
    assert!(desk.owes(Step::Commit(2)) && !desk.owes(Step::Unsell { cancel: 1, line: 1 }));
    desk.answer(Step::Commit(2), Answer::Done);
    assert!(desk.owes(Step::Unsell { cancel: 1, line: 1 }) && desk.owes(Step::Unsell { cancel: 1, line: 2 }));
    assert_eq!(desk.calls().iter().map(|call| call.reference.operation).collect::<Vec<_>>(), [Operation::Void]);
    assert_eq!(desk.order.status(), Status::Cancelled);
}

#[test]
fn a_reservation_that_vanished_ends_the_order_and_gives_everything_back() {
    let mut desk = Desk::held(on_confirmation(), &[1, 2], Some(instruction("card")));
    desk.authorize(1);
    desk.answer(Step::Commit(1), Answer::Done);
    desk.answer(Step::Commit(2), Answer::Gone);
    assert_eq!(desk.order.status(), Status::Expired);
    assert!(desk.owes(Step::Unsell { cancel: 1, line: 1 }));
    desk.answer(Step::Unsell { cancel: 1, line: 1 }, Answer::Done);
    desk.succeed(Operation::Void, 1);
    assert_eq!(desk.order.stage, Stage::Ended(EndReason::Expired));
}

#[test]
fn a_cart_is_frozen_closed_by_the_confirmed_and_thawed_by_the_ended() {
    let cart = |desk: &mut Desk| {
        let mut place = Desk::place_with(on_confirmation(), &[1], Some(instruction("card")));
        place.source = Source::Cart(CartId(5));
        desk.tell(&Command::Place(Box::new(place))).unwrap();
        assert!(desk.owes(Step::Freeze));
    };
    let mut desk = Desk::new();
    cart(&mut desk);
    desk.answer(Step::Freeze, Answer::Frozen(vec![Wanted { sku: sku(0), units: 1, expected_unit_price: None }]));
    desk.reserved(1, 1);
    let ask = Command::StillWanted { reservation: None, sku: None };
    assert!(matches!(desk.tell(&ask), Ok(Reply::Keep { .. })));
    let mut declined = Desk { order: desk.order.clone(), now: desk.now, records: Vec::new(), keys: 9 };
    desk.authorize(1);
    desk.commit_all();
    assert!(desk.owes(Step::Close));
    assert_eq!(desk.tell(&ask), Ok(Reply::Taken));
    declined.cancel(Vec::new()).unwrap();
    assert!(declined.owes(Step::Thaw));
    assert_eq!(declined.tell(&ask), Ok(Reply::Release));
    let mut refused = Desk::new();
    cart(&mut refused);
    refused.answer(Step::Freeze, Answer::NoCart(CartRefusal::Frozen { order: OrderId(1 << 16) }));
    assert!(matches!(refused.order.stage, Stage::Ended(EndReason::Rejected(Rejection::Cart(_)))));
    let mut foreign = Desk::new();
    cart(&mut foreign);
    foreign.answer(Step::Freeze, Answer::NoCart(CartRefusal::Currency));
    assert!(foreign.owes(Step::Thaw), "it is frozen for this order all the same");
}

#[test]
fn money_is_taken_when_the_policy_says() {
    let desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    assert_eq!(desk.calls().iter().map(|call| call.amount).collect::<Vec<_>>(), [gbp(13_498)]);
    let mut desk = Desk::confirmed(CapturePolicy::OnShipment, &[1, 2]);
    assert_eq!(desk.calls(), []);
    desk.ship(2, 1).unwrap();
    let first = desk.calls()[0].amount;
    desk.succeed(Operation::Capture, 1);
    desk.ship(2, 1).unwrap();
    desk.succeed(Operation::Capture, 2);
    desk.ship(1, 1).unwrap();
    desk.succeed(Operation::Capture, 3);
    assert_eq!(desk.order.captured(), desk.order.total());
    assert!(first.amount > 0 && desk.order.status() == Status::Shipped);
    let mut desk = Desk::confirmed(CapturePolicy::Manual, &[1]);
    let request = desk.request();
    let too_much = Command::Capture { request, amount: Some(gbp(13_499)) };
    assert_eq!(desk.tell(&too_much), Err(Refusal::CaptureTooLarge { capturable: gbp(13_498) }));
    let request = desk.request();
    let capture = Command::Capture { request, amount: Some(gbp(1_000)) };
    assert_eq!(desk.tell(&capture), Ok(Reply::Made(Made::Capture { payment: 1, attempt: 1 })));
}

#[test]
fn m4_an_authorization_is_captured_before_it_lapses() {
    let mut desk = Desk::confirmed(CapturePolicy::Manual, &[1]);
    let by = Timestamp(START).plus_s(7 * 86_400 - 3_600);
    assert_eq!(desk.order.wake_at(desk.now), Some(by));
    desk.now = by;
    desk.tell(&Command::Wake).unwrap();
    assert_eq!(desk.calls().iter().map(|call| call.amount).collect::<Vec<_>>(), [gbp(13_498)]);
}

#[test]
fn m4_a_capture_refused_for_good_unsells_what_has_not_shipped_and_shows_the_rest() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    desk.decline(Operation::Capture, 1, 1, Retry::SameMethod);
    desk.decline(Operation::Capture, 1, 2, Retry::SameMethod);
    desk.decline(Operation::Capture, 1, 3, Retry::SameMethod);
    assert!(desk.owes(Step::Unsell { cancel: 1, line: 1 }));
    assert_eq!(desk.calls().iter().map(|call| call.reference.operation).collect::<Vec<_>>(), [Operation::Void]);
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    desk.ship(1, 1).unwrap();
    desk.decline(Operation::Capture, 1, 1, Retry::Never);
    assert!(matches!(desk.order.troubles[..], [AttentionReason::Refused { .. }]));
    assert_eq!(desk.order.wake_at(desk.now), Some(Timestamp::NEVER), "it stays where the operator looks");
}

#[test]
fn m4_a_refund_refused_for_good_is_shown_and_tried_again_when_the_operator_says() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    desk.succeed(Operation::Capture, 1);
    desk.refund(RefundWhat::Everything).unwrap();
    desk.decline(Operation::Refund, 1, 1, Retry::Never);
    assert_eq!(desk.order.refunds[0].status, RefundStatus::Failed);
    assert_eq!((desk.calls(), desk.order.refundable()), (Vec::new(), 0));
    assert!(desk.order.needs_attention() && !desk.order.is_at_rest());
    assert_eq!(desk.order.wake_at(desk.now), Some(Timestamp::NEVER), "it stays where the operator looks");
    let reference = Reference { order: desk.order.id, operation: Operation::Refund, payment: 1, attempt: 1 };
    let answer = ProviderAnswer::Declined { code: "again".into(), retry: Retry::SameMethod };
    desk.tell(&Command::Settle { reference, answer }).unwrap();
    desk.succeed(Operation::Refund, 2);
    assert_eq!((desk.order.status(), desk.order.refunded()), (Status::Refunded, 13_498));
    assert_eq!((desk.order.needs_attention(), desk.order.wake_at(desk.now)), (false, None));
}

#[test]
fn units_refunded_one_by_one_add_up_to_the_line_and_the_last_takes_the_remainder() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[3]);
    desk.succeed(Operation::Capture, 1);
    let one = || RefundWhat::Lines { lines: vec![LineUnits { line: 1, units: 1 }], shipping: true };
    for _ in 0..3 {
        desk.refund(one()).unwrap();
    }
    let amounts: Vec<i64> = desk.order.refunds.iter().map(|refund| refund.amount).collect();
    assert_eq!((amounts.iter().sum::<i64>(), amounts[2] >= amounts[0]), (3 * 12_999 + 499, true));
    assert_eq!(desk.refund(one()), Err(Refusal::TooMany { line: 1, left: 0 }));
    assert_eq!(desk.refund(RefundWhat::Amount(gbp(1))), Err(Refusal::RefundTooLarge { refundable: gbp(0) }));
}

#[test]
fn lines_cancelled_before_paying_are_not_charged() {
    let mut desk = Desk::held(on_confirmation(), &[1, 2], None);
    desk.cancel(vec![LineUnits { line: 1, units: 1 }, LineUnits { line: 2, units: 1 }]).unwrap();
    assert!(desk.owes(Step::Release(1)) && !desk.owes(Step::Release(2)));
    let due = desk.order.due();
    desk.pay().unwrap();
    assert_eq!(desk.calls()[0].amount, gbp(due));
    desk.authorize(1);
    desk.answer(Step::Commit(2), Answer::Done);
    assert!(desk.owes(Step::Unsell { cancel: 1, line: 2 }), "the unit that was reserved and is not wanted");
    assert!(!desk.owes(Step::Unsell { cancel: 1, line: 1 }));
    desk.cancel(Vec::new()).unwrap();
    assert_eq!((desk.order.due(), desk.order.status()), (0, Status::Cancelled));
}

#[test]
fn what_came_back_is_given_back_once_and_only_within_the_window() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1, 2]);
    desk.succeed(Operation::Capture, 1);
    desk.ship(2, 2).unwrap();
    let lines = vec![ReturnLine { line: 2, units: 2, reason: "small".into(), refund: None }];
    let request = desk.request();
    desk.tell(&Command::RequestReturn { request, lines: lines.clone() }).unwrap();
    desk.refund(RefundWhat::Lines { lines: vec![LineUnits { line: 2, units: 1 }], shipping: false }).unwrap();
    let request = desk.request();
    let got = ReceivedLine { line: 2, units: 2, condition: Condition::AsNew, restock: true, money: None };
    let receive = Command::ReceiveReturn { request, number: 1, lines: vec![got] };
    desk.tell(&receive).unwrap();
    assert_eq!(desk.tell(&receive), Ok(Reply::Made(Made::Return(1))), "the same receipt again");
    assert_eq!(desk.order.refunds.iter().map(|refund| refund.amount).sum::<i64>(), 666);
    assert!(!desk.owes(Step::Restock { number: 1, receipt: 1 }), "the SKU does not know yet that they left");
    desk.answer(Step::Ship { shipment: 1, line: 2 }, Answer::Done);
    assert!(desk.owes(Step::Restock { number: 1, receipt: 1 }));
    desk.ship(1, 1).unwrap();
    desk.pass_s(31 * 86_400);
    let request = desk.request();
    let late = Command::RequestReturn {
        request,
        lines: vec![ReturnLine { line: 1, units: 1, reason: "".into(), refund: None }],
    };
    assert!(matches!(desk.tell(&late), Err(Refusal::ReturnWindowClosed { .. })));
}

#[test]
fn an_order_is_priced_anew_only_while_it_waits_for_money() {
    let mut desk = Desk::held(on_confirmation(), &[1], None);
    let express = Shipping { option: "exp".into(), price: gbp(999), tax_included: true };
    let patch = Command::Patch(Box::new(Patch { shipping: Some(express), ..Patch::default() }));
    desk.tell(&patch).unwrap();
    assert_eq!(desk.order.total(), 13_998);
    desk.pay().unwrap();
    assert!(matches!(desk.tell(&patch), Err(Refusal::WrongState { .. })));
    let pairs = vec![("follows".into(), "ord_1".into())];
    desk.tell(&Command::Patch(Box::new(Patch { metadata: Some(pairs), ..Patch::default() }))).unwrap();
}

#[test]
fn a_large_order_journals_one_event_per_answer() {
    let mut desk = Desk::placed(on_confirmation(), &[1; 1_200], None);
    for line in 1..=1_200 {
        assert_eq!(desk.order.owed(desk.now).len(), 1_201 - usize::from(line));
        desk.reserved(line, 1);
    }
    assert!(desk.records.iter().rev().skip(1).all(|events| events.len() == 1));
    assert_eq!(desk.order.stage, Stage::Held);
}

#[test]
fn a_command_for_an_order_that_is_not_there_is_refused() {
    let mut desk = Desk::new();
    let request = desk.request();
    assert_eq!(desk.tell(&Command::Read), Err(Refusal::Unknown));
    assert_eq!(desk.pay(), Err(Refusal::Unknown));
    assert_eq!(desk.cancel(Vec::new()), Err(Refusal::Unknown));
    assert_eq!(desk.ship(1, 1), Err(Refusal::Unknown));
    assert_eq!(desk.tell(&Command::Deliver { request, shipment: 1 }), Err(Refusal::Unknown));
    assert_eq!(desk.tell(&Command::Erase), Err(Refusal::Unknown));
    assert_eq!(desk.order, Order::default());
}

#[test]
fn the_laws_see_what_breaks_them() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    desk.succeed(Operation::Capture, 1);
    let broken = |change: fn(&mut Order)| {
        let mut order = desk.order.clone();
        change(&mut order);
        laws::all(&order).err().map(|violation| violation.law)
    };
    assert_eq!(broken(|_| {}), None);
    assert_eq!(broken(|order| order.lines[0].hold = Hold::Held), Some("confirmed_order_has_every_commit"));
    assert_eq!(broken(|order| order.reduced += 1), Some("charges_cover_exactly_what_is_due"));
    assert_eq!(broken(|order| order.payments[0].refunded += 1), Some("charges_cover_exactly_what_is_due"));
    assert_eq!(broken(|order| order.lines[0].priced.total += 1), Some("lines_add_up_to_the_order"));
    assert_eq!(broken(|order| order.lines[0].shipped = 2), Some("units_are_in_one_place"));
    assert_eq!(broken(|order| order.lines[0].hold = Hold::Releasing), Some("confirmed_order_has_every_commit"));
    assert_eq!(
        broken(|order| order.payments[0].attempt = Attempt::Asked),
        Some("money_never_exceeds_what_was_promised")
    );
    assert_eq!(broken(|order| order.stage = Stage::Ended(EndReason::Expired)), Some("an_ended_order_holds_nothing"));
    let nothing = Cancelled { number: 1, request: None, lines: Vec::new(), reason: CancelReason::Other, amount: 1 };
    let mut order = desk.order.clone();
    order.evolve(&Event::Cancelled(Box::new(nothing)));
    assert_eq!(laws::all(&order).err().map(|violation| violation.law), Some("charges_cover_exactly_what_is_due"));
}

#[test]
fn m5_a_charge_that_lands_after_another_payment_paid_is_voided() {
    let terms = OrderTerms { hold_s: 200_000, ..on_confirmation() };
    let mut desk = Desk::held(terms, &[1], Some(instruction("card")));
    desk.pass_s(86_400);
    let reference = desk.calls()[0].reference;
    let answer = ProviderAnswer::Declined { code: "never charged".into(), retry: Retry::OtherMethod };
    desk.tell(&Command::Settle { reference, answer }).unwrap();
    desk.pay().unwrap();
    desk.authorize(2);
    desk.commit_all();
    desk.says(Operation::Capture, 2, 1, ProviderAnswer::Succeeded { provider_reference: "ch".into() });
    desk.authorize(1);
    let calls = desk.calls();
    assert_eq!(calls.iter().map(|call| call.reference.operation).collect::<Vec<_>>(), [Operation::Void]);
    assert_eq!(calls[0].reference.payment, 1);
}
