//! Money that is not due, or not due any more, goes back once and entirely, and what is authorized beyond it is let go of.

use super::super::{Allowed, Patch, Refusal, Reply};
use super::desk::Desk;
use super::*;
use crate::payment::Operation;

fn unit(line: u16) -> Vec<LineUnits> {
    vec![LineUnits { line, units: 1 }]
}

fn asked(desk: &Desk) -> Vec<(Operation, i64)> {
    desk.calls().iter().map(|call| (call.reference.operation, call.amount.amount)).collect()
}

fn given_back(desk: &Desk) -> i64 {
    desk.order.refunds.iter().map(|refund| refund.amount).sum()
}

fn take_back(desk: &mut Desk, units: u32) {
    let request = desk.request();
    let number = u16::try_from(desk.order.returns.len() + 1).unwrap();
    let lines = vec![ReturnLine { line: 1, units, reason: "broken".into() }];
    desk.tell(&Command::RequestReturn { request, lines }).unwrap();
    let request = desk.request();
    let got = ReceivedLine { line: 1, units, condition: Condition::Damaged, restock: false };
    desk.tell(&Command::ReceiveReturn { request, number, lines: vec![got] }).unwrap();
}

/// The delivery charge of an order goes with the last unit that is still wanted, however the others went.
#[test]
fn an_order_of_which_nothing_is_left_owes_nothing_not_even_its_delivery() {
    for (units, refunded) in [(1, 1), (2, 1), (3, 3)] {
        let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[units]);
        desk.succeed(Operation::Capture, 1);
        let lines = vec![LineUnits { line: 1, units: refunded }];
        desk.refund(RefundWhat::Lines { lines, shipping: false }).unwrap();
        desk.cancel(Vec::new()).unwrap();
        assert_eq!((desk.order.due(), given_back(&desk)), (0, desk.order.captured()), "{units} units");
    }
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[2]);
    desk.succeed(Operation::Capture, 1);
    desk.ship(1, 1).unwrap();
    desk.cancel(unit(1)).unwrap();
    assert!(desk.order.due() > 12_999, "one unit was sent, with its share of the delivery: {}", desk.order.due());
}

#[test]
fn a_parcel_is_paid_with_one_capture_whatever_becomes_of_the_rest() {
    for units in 2..=7 {
        for shipped in 1..units {
            let mut desk = Desk::confirmed(CapturePolicy::OnShipment, &[units]);
            desk.ship(1, shipped).unwrap();
            desk.succeed(Operation::Capture, 1);
            desk.cancel(vec![LineUnits { line: 1, units: units - shipped }]).unwrap();
            let rest = desk.order.total() - desk.order.captured();
            assert_eq!(desk.order.due(), desk.order.captured(), "{shipped} of {units}");
            assert_eq!(asked(&desk), [(Operation::Void, rest)], "{shipped} of {units}: no capture of a penny");
        }
    }
}

#[test]
fn what_is_left_of_an_authorization_is_voided_once_nothing_more_is_due() {
    let mut desk = Desk::confirmed(CapturePolicy::Manual, &[2]);
    let (request, half) = (desk.request(), desk.order.total() / 2);
    desk.tell(&Command::Capture { request, amount: Some(gbp(half)) }).unwrap();
    desk.succeed(Operation::Capture, 1);
    assert_eq!(asked(&desk), [], "the rest is due still");
    desk.cancel(unit(1)).unwrap();
    let due = desk.order.due();
    assert_eq!(asked(&desk), if due > half { vec![] } else { vec![(Operation::Void, desk.order.total() - half)] });
    if due > half {
        let request = desk.request();
        desk.tell(&Command::Capture { request, amount: None }).unwrap();
        desk.succeed(Operation::Capture, 2);
    }
    let rest = desk.order.total() - desk.order.captured();
    assert_eq!(asked(&desk), [(Operation::Void, rest)]);
    desk.succeed(Operation::Void, 1);
    assert_eq!((asked(&desk), desk.order.capturable()), (Vec::new(), 0));
    // Where the provider does not let go of it, it lapses by itself and needs no attention.
    let mut desk = Desk::confirmed(CapturePolicy::OnShipment, &[2]);
    desk.ship(1, 1).unwrap();
    desk.succeed(Operation::Capture, 1);
    desk.cancel(unit(1)).unwrap();
    desk.decline(Operation::Void, 1, 1, Retry::Never);
    assert_eq!((asked(&desk), desk.order.troubles.len()), (Vec::new(), 0));
}

/// One of two units is refunded at once and comes back afterwards; the other is still with the customer.
#[test]
fn a_unit_that_was_refunded_ahead_of_its_return_is_not_refunded_again() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[2]);
    desk.succeed(Operation::Capture, 1);
    desk.ship(1, 2).unwrap();
    desk.refund(RefundWhat::Lines { lines: unit(1), shipping: false }).unwrap();
    take_back(&mut desk, 1);
    assert_eq!(given_back(&desk), 12_999, "one unit came back");
    take_back(&mut desk, 1);
    assert_eq!(given_back(&desk), 2 * 12_999, "and now the other");
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[3]);
    desk.succeed(Operation::Capture, 1);
    desk.ship(1, 3).unwrap();
    desk.refund(RefundWhat::Lines { lines: unit(1), shipping: false }).unwrap();
    take_back(&mut desk, 2);
    assert_eq!(given_back(&desk), 2 * 12_999, "two came back together, one of them paid for");
}

#[test]
fn an_order_of_which_nothing_is_left_cannot_be_edited() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[2]);
    let patch = Patch { note: Some(Some("ring twice".into())), ..Patch::default() };
    assert!(desk.order.allowed().contains(&Allowed::Edit));
    desk.cancel(unit(1)).unwrap();
    assert!(matches!(desk.tell(&Command::Patch(Box::new(patch.clone()))), Ok(Reply::Made(_))));
    desk.cancel(unit(1)).unwrap();
    assert!(!desk.order.allowed().contains(&Allowed::Edit));
    let other = Patch { note: Some(None), ..patch };
    assert!(matches!(desk.tell(&Command::Patch(Box::new(other))), Err(Refusal::WrongState { .. })));
}
