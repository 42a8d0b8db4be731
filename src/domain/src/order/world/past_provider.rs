//! Payments that go past the provider: only the seller knows when their money has come.

use super::super::{Answer, PaymentStatus, Refusal, Reply, Status, Step};
use super::desk::Desk;
use super::*;

fn mark_paid(desk: &mut Desk, reference: &str) -> Result<Reply, Refusal> {
    desk.tell(&Command::MarkPaid { payment: 1, reference: reference.into() })
}

fn held() -> Desk {
    Desk::held(terms(CapturePolicy::OnConfirmation), &[2], Some(instruction("manual")))
}

#[test]
fn nothing_is_asked_of_the_provider_and_nothing_is_taken_before_the_seller_says_so() {
    let mut desk = held();
    assert_eq!((desk.calls(), desk.order.captured()), (Vec::new(), 0));
    assert_eq!(desk.order.payments[0].status(desk.now), PaymentStatus::Processing);
    assert!(desk.ship(1, 1).is_err(), "no goods before their money");
    mark_paid(&mut desk, "cash book 17").unwrap();
    mark_paid(&mut desk, "cash book 17").unwrap();
    assert!(matches!(mark_paid(&mut desk, "cash book 18"), Err(Refusal::WrongState { .. })));
    desk.commit_all();
    assert_eq!((desk.order.stage, desk.order.captured()), (Stage::Confirmed, desk.order.total()));
    assert_eq!((desk.calls(), desk.order.due_at_provider()), (Vec::new(), 0));
    let mut card = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    assert!(matches!(mark_paid(&mut card, "x"), Err(Refusal::WrongState { .. })), "the provider knows about a card");
}

#[test]
fn a_refund_is_paid_out_by_the_seller_who_says_so_once() {
    let mut desk = held();
    mark_paid(&mut desk, "cash").unwrap();
    desk.commit_all();
    desk.cancel(vec![LineUnits { line: 1, units: 1 }]).unwrap();
    assert_eq!((desk.calls(), desk.order.refunded()), (Vec::new(), 0));
    let request = desk.request();
    let refunded = Command::MarkRefunded { request, payment: 1, reference: "cash".into() };
    desk.tell(&refunded).unwrap();
    desk.tell(&refunded).unwrap();
    assert_eq!(desk.order.captured() - desk.order.refunded(), desk.order.due());
    assert_eq!(desk.calls(), Vec::new());
    let request = desk.request();
    let again = Command::MarkRefunded { request, payment: 1, reference: "cash".into() };
    assert!(matches!(desk.tell(&again), Err(Refusal::WrongState { .. })), "nothing is owed back");
}

#[test]
fn money_that_does_not_come_ends_the_order_at_its_deadline_or_when_it_is_cancelled() {
    let mut desk = held();
    assert_eq!(desk.order.wake_at(desk.now), Some(desk.order.expires_at));
    desk.pass_s(600);
    desk.answer(Step::Release(1), Answer::Done);
    assert_eq!(desk.order.status(), Status::Expired);
    assert!(matches!(desk.order.stage, Stage::Ended(_)));
    let mut desk = held();
    desk.cancel(Vec::new()).unwrap();
    desk.answer(Step::Release(1), Answer::Done);
    assert!(matches!(desk.order.stage, Stage::Ended(_)), "{:?}", desk.order.stage);
    // It came all the same: it is owed back.
    mark_paid(&mut desk, "late").unwrap_err();
}

/// Where the shop lets goods go before their money, the order is confirmed and the payment waits.
fn confirmed_unpaid() -> Desk {
    let how = Instruction { goods_first: Some(true), ..instruction("manual") };
    let mut desk = Desk::held(terms(CapturePolicy::OnConfirmation), &[2], Some(how));
    desk.commit_all();
    assert_eq!((desk.order.stage, desk.order.captured()), (Stage::Confirmed, 0));
    desk
}

#[test]
fn goods_go_before_their_money_only_where_the_shop_says_so() {
    let mut desk = confirmed_unpaid();
    desk.ship(1, 1).unwrap();
    desk.pass_s(30 * 86_400);
    assert_eq!(desk.order.payment_status(desk.now), PaymentStatus::Processing, "an invoice does not lapse");
    desk.cancel(vec![LineUnits { line: 1, units: 1 }]).unwrap();
    let due = desk.order.due();
    mark_paid(&mut desk, "bank 3").unwrap();
    assert_eq!((desk.order.captured(), desk.order.refunds.len()), (due, 0), "what is due by now, and no more");
    assert_eq!((desk.calls(), desk.order.due_at_provider()), (Vec::new(), 0));
    // The shop's word is for money that comes past the provider; with a card it means nothing.
    let how = Instruction { goods_first: Some(true), ..instruction("card") };
    let desk = Desk::held(terms(CapturePolicy::OnConfirmation), &[2], Some(how));
    assert_eq!(desk.order.stage, Stage::Held);
}

#[test]
fn an_order_that_is_cancelled_before_its_invoice_is_paid_waits_for_no_money() {
    let mut desk = confirmed_unpaid();
    desk.cancel(Vec::new()).unwrap();
    assert_eq!((desk.order.due(), desk.order.payment_status(desk.now)), (0, PaymentStatus::Voided));
    assert!(mark_paid(&mut desk, "late").is_err());
}

#[test]
fn the_seller_does_without_the_money_of_goods_that_went_first() {
    let mut desk = confirmed_unpaid();
    let request = desk.request();
    assert!(matches!(desk.tell(&Command::Void { request, payment: 1 }), Err(Refusal::WrongState { .. })));
    desk.ship(1, 2).unwrap();
    desk.tell(&Command::Void { request, payment: 1 }).unwrap();
    assert_eq!((desk.order.due(), desk.order.payment_status(desk.now)), (0, PaymentStatus::Voided));
}
