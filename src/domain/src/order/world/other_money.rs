//! Rule M6: a provider's record of another amount or currency is never a success.

use super::super::{Attempt, CallKey, Differing, Refusal, Status};
use super::desk::Desk;
use super::*;
use crate::money::Currency;
use crate::payment::Operation;

fn authorized() -> ProviderAnswer {
    ProviderAnswer::Authorized { provider_reference: "pi_1".into(), lapses_at: Timestamp(START).plus_s(600_000) }
}

fn paying() -> Desk {
    Desk::held(terms(CapturePolicy::OnConfirmation), &[1], Some(instruction("card")))
}

fn operations(desk: &Desk) -> Vec<(Operation, Money)> {
    let calls = desk.calls().into_iter().filter(|call| !call.query_only);
    calls.map(|call| (call.reference.operation, call.amount)).collect()
}

#[test]
fn m6_a_charge_of_another_amount_confirms_nothing_is_voided_and_then_declined() {
    for found in [gbp(500), Money { amount: 13_498, currency: Currency::parse("EUR").unwrap() }] {
        let mut desk = paying();
        desk.reports(Operation::Authorize, 1, 1, Some(found), authorized()).unwrap();
        assert_eq!((desk.order.stage, desk.order.paying), (Stage::Held, None));
        let call = CallKey::authorize(1);
        assert_eq!(desk.order.troubles, [AttentionReason::AmountDiffers { call, found }]);
        assert_eq!(operations(&desk), [(Operation::Void, found)]);
        desk.pass_s(3_600);
        assert_eq!(desk.order.stage, Stage::Held, "nothing is let go of while the charge stands");
        desk.succeed(Operation::Void, 1);
        assert_eq!(desk.order.status(), Status::Expired);
        let code = "amount_differs".into();
        assert_eq!(desk.order.payments[0].attempt, Attempt::Declined { code, retry: Retry::OtherMethod });
        assert_eq!(desk.order.troubles.len(), 1, "the operator sees it until he says that he has");
        let reference = desk.order.reference(call);
        let seen = ProviderAnswer::Declined { code: "seen".into(), retry: Retry::OtherMethod };
        desk.tell(&Command::Settle { reference, answer: seen }).unwrap();
        assert_eq!(desk.order.troubles, []);
    }
}

#[test]
fn m6_a_charge_that_may_be_another_installations_is_left_to_the_operator() {
    let mut place = Desk::place_with(terms(CapturePolicy::OnConfirmation), &[1], Some(instruction("card")));
    place.installation = None;
    let mut desk = Desk::new();
    desk.tell(&Command::Place(Box::new(place))).unwrap();
    desk.reserved(1, 1);
    desk.reports(Operation::Authorize, 1, 1, Some(gbp(500)), authorized()).unwrap();
    assert_eq!((desk.order.stage, operations(&desk)), (Stage::Held, Vec::new()));
    let reference = desk.order.reference(CallKey::authorize(1));
    let not_ours = ProviderAnswer::Declined { code: "not_ours".into(), retry: Retry::OtherMethod };
    desk.tell(&Command::Settle { reference, answer: not_ours }).unwrap();
    assert_eq!((desk.order.status(), operations(&desk)), (Status::AwaitingPayment, Vec::new()));
}

#[test]
fn m6_money_without_an_amount_settles_nothing() {
    let mut desk = paying();
    desk.reports(Operation::Authorize, 1, 1, None, authorized()).unwrap();
    assert_eq!(desk.order.payments[0].attempt, Attempt::Asked);
    assert_eq!(operations(&desk), [(Operation::Authorize, gbp(13_498))]);
}

#[test]
fn m6_not_even_an_operator_makes_a_success_of_it() {
    let mut desk = paying();
    desk.reports(Operation::Authorize, 1, 1, Some(gbp(500)), authorized()).unwrap();
    let reference = desk.order.reference(CallKey::authorize(1));
    let settled = desk.tell(&Command::Settle { reference, answer: authorized() });
    assert!(matches!(settled, Err(Refusal::WrongState { .. })), "{settled:?}");
}

#[test]
fn m6_a_pending_charge_of_another_amount_is_undone_once_it_lands() {
    let mut desk = paying();
    let pending = ProviderAnswer::Processing { provider_reference: "pi_1".into() };
    desk.reports(Operation::Authorize, 1, 1, Some(gbp(500)), pending).unwrap();
    assert_eq!(operations(&desk), []);
    let taken = ProviderAnswer::Succeeded { provider_reference: "pi_1".into() };
    desk.reports(Operation::Authorize, 1, 1, Some(gbp(500)), taken).unwrap();
    assert_eq!(operations(&desk), [(Operation::Refund, gbp(500))], "what was taken at once is paid back");
    desk.succeed(Operation::Refund, 1);
    assert_eq!((desk.order.status(), desk.order.captured()), (Status::AwaitingPayment, 0));
}

#[test]
fn m6_a_capture_of_another_amount_is_no_capture() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[1]);
    let taken = ProviderAnswer::Succeeded { provider_reference: "pr".into() };
    desk.reports(Operation::Capture, 1, 1, Some(gbp(500)), taken.clone()).unwrap();
    let call = CallKey { operation: Operation::Capture, payment: 1, attempt: 1 };
    assert_eq!((desk.order.captured(), desk.order.troubles.len()), (0, 1));
    assert_eq!(operations(&desk), [], "it is only asked about");
    let records = desk.records.len();
    desk.reports(Operation::Capture, 1, 1, Some(gbp(500)), taken).unwrap();
    assert_eq!(desk.records.len(), records, "the same again is not journaled again");
    desk.tell(&Command::Settle {
        reference: desk.order.reference(call),
        answer: ProviderAnswer::Succeeded { provider_reference: "pr".into() },
    })
    .unwrap();
    assert_eq!((desk.order.captured(), desk.order.troubles.len()), (13_498, 0));
}

#[test]
fn m6_an_answer_about_another_reference_is_no_answer() {
    let desk = paying();
    let key = desk.order.owed(desk.now)[0];
    let mut report = ProviderReport::of(&desk.calls()[0], authorized());
    report.reference.payment = 2;
    assert_eq!(desk.order.answered(key, Outcome::Provider(Box::new(report))), None);
}

#[test]
fn m6_a_late_charge_of_another_amount_is_undone_too() {
    let mut desk = paying();
    desk.decline(Operation::Authorize, 1, 1, Retry::OtherMethod);
    desk.reports(Operation::Authorize, 1, 1, Some(gbp(500)), authorized()).unwrap();
    assert_eq!(desk.order.payments[0].differs, Some(Differing { found: gbp(500), undo: Some(Operation::Void) }));
    assert_eq!(operations(&desk), [(Operation::Void, gbp(500))]);
}
