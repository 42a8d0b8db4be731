//! Rules M7, M10 and M13: after a 5xx the key is never sent again and the call is cancelled by its reference; a success is not final.

use super::super::{CallKey, Refusal, Status};
use super::desk::Desk;
use super::*;
use crate::payment::Operation;

fn paying() -> Desk {
    Desk::held(terms(CapturePolicy::OnConfirmation), &[1], Some(instruction("card")))
}

/// What is asked of the provider: operation, attempt, is it cancelled?
fn asked(desk: &Desk) -> Vec<(Operation, u16, bool)> {
    desk.calls().into_iter().map(|call| (call.reference.operation, call.reference.attempt, call.cancel)).collect()
}

fn cancelled() -> ProviderAnswer {
    ProviderAnswer::Declined { code: "cancelled".into(), retry: Retry::SameMethod }
}

#[test]
fn m7_after_a_5xx_the_key_is_never_sent_again_and_m10_a_charge_that_never_was_is_settled() {
    let mut desk = paying();
    let sent = desk.order.owed(desk.now);
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Broken);
    assert_eq!(desk.order.effect(sent[0]), None);
    assert_eq!((asked(&desk), desk.order.troubles.len()), (vec![(Operation::Authorize, 1, true)], 0));
    for nothing in [ProviderAnswer::Broken, ProviderAnswer::NotFound, ProviderAnswer::Unknown] {
        desk.says(Operation::Authorize, 1, 1, nothing);
    }
    desk.pass_s(3_600);
    assert_eq!((desk.order.stage, asked(&desk)), (Stage::Held, vec![(Operation::Authorize, 1, true)]), "M1");
    desk.says(Operation::Authorize, 1, 1, cancelled());
    assert_eq!(desk.order.status(), Status::Expired);
}

#[test]
fn m10_a_charge_that_took_effect_before_its_5xx_pays_for_the_order() {
    let mut desk = paying();
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Broken);
    desk.authorize(1);
    desk.commit_all();
    assert_eq!((desk.order.status(), asked(&desk)), (Status::Confirmed, vec![(Operation::Capture, 1, false)]));
    desk.says(Operation::Capture, 1, 1, ProviderAnswer::Broken);
    assert_eq!(asked(&desk), [(Operation::Capture, 1, true)]);
    desk.says(Operation::Capture, 1, 1, cancelled());
    assert_eq!(asked(&desk), [(Operation::Capture, 2, false)], "another key only once the first is settled");
    desk.succeed(Operation::Capture, 2);
    assert_eq!(desk.order.captured(), 13_498);
}

#[test]
fn m7_a_call_says_until_when_its_bytes_may_leave() {
    let desk = paying();
    let life_s = desk.order.terms().unwrap().payment.keys_life_s;
    assert_eq!(desk.calls()[0].send_before, Timestamp(START).plus_s(life_s));
}

#[test]
fn m13_a_capture_that_is_taken_back_stops_what_has_not_shipped_until_somebody_looks() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[2]);
    desk.succeed(Operation::Capture, 1);
    desk.ship(1, 1).unwrap();
    desk.pass_s(3 * 86_400);
    let back = ProviderAnswer::Reversed { code: "capture_failed".into() };
    desk.says(Operation::Capture, 1, 1, back.clone());
    let call = CallKey { operation: Operation::Capture, payment: 1, attempt: 1 };
    assert_eq!(desk.order.troubles, [AttentionReason::Reversed { call, code: "capture_failed".into() }]);
    assert_eq!((desk.order.captured(), asked(&desk)), (0, Vec::new()), "nothing is taken again by itself");
    assert!(matches!(desk.ship(1, 1), Err(Refusal::WrongState { .. })));
    let records = desk.records.len();
    desk.says(Operation::Capture, 1, 1, back);
    assert_eq!(desk.records.len(), records, "said again it is still so");
    let reference = desk.order.reference(call);
    let looked = ProviderAnswer::Declined { code: "taken again".into(), retry: Retry::SameMethod };
    desk.tell(&Command::Settle { reference, answer: looked }).unwrap();
    assert_eq!(asked(&desk), [(Operation::Capture, 2, false)]);
    desk.ship(1, 1).unwrap();
}

#[test]
fn m13_a_refund_that_is_taken_back_is_owed_again() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    desk.succeed(Operation::Capture, 1);
    desk.refund(RefundWhat::Everything).unwrap();
    desk.succeed(Operation::Refund, 1);
    assert_eq!(desk.order.refunded(), 13_498);
    desk.says(Operation::Refund, 1, 1, ProviderAnswer::Reversed { code: "account_closed".into() });
    assert_eq!((desk.order.refunded(), desk.order.troubles.len(), asked(&desk)), (0, 1, Vec::new()));
    desk.succeed(Operation::Refund, 1);
    assert_eq!(desk.order.refunded(), 0, "a late copy of the success that was taken back");
    let reference = desk.order.reference(CallKey { operation: Operation::Refund, payment: 1, attempt: 1 });
    let looked = ProviderAnswer::Declined { code: "another account".into(), retry: Retry::SameMethod };
    desk.tell(&Command::Settle { reference, answer: looked }).unwrap();
    assert_eq!(asked(&desk), [(Operation::Refund, 2, false)]);
}

/// Its answer was lost, and when the provider is asked it has taken the success back already.
#[test]
fn m13_what_is_taken_back_before_its_success_was_heard_of_has_failed() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    desk.says(Operation::Capture, 1, 1, ProviderAnswer::Reversed { code: "capture_failed".into() });
    let is_asked = asked(&desk).iter().any(|(operation, ..)| *operation == Operation::Capture);
    assert_eq!((desk.order.captured(), is_asked), (0, false), "it is settled, and not asked again");
    let mut desk = paying();
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Reversed { code: "no_funds".into() });
    assert!(desk.order.awaits_payment(), "another attempt may be made");
}

#[test]
fn m13_a_debit_that_is_returned_leaves_the_order_unpaid() {
    let mut desk = paying();
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Succeeded { provider_reference: "debit".into() });
    desk.commit_all();
    assert_eq!(desk.order.captured(), 13_498);
    desk.says(Operation::Authorize, 1, 1, ProviderAnswer::Reversed { code: "no_funds".into() });
    assert_eq!((desk.order.captured(), desk.order.troubles.len()), (0, 1));
    assert!(matches!(desk.ship(1, 1), Err(Refusal::WrongState { .. })));
}
