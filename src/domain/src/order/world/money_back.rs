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
    let number = send_back(desk, units, None).unwrap();
    receive(desk, number, units, None).unwrap();
}

/// A return of units of the first line that names a refund; its number.
fn send_back(desk: &mut Desk, units: u32, refund: Option<u16>) -> Result<u16, Refusal> {
    let request = desk.request();
    let lines = vec![ReturnLine { line: 1, units, reason: "broken".into(), refund }];
    desk.tell(&Command::RequestReturn { request, lines })?;
    Ok(u16::try_from(desk.order.returns.len()).unwrap())
}

/// Units of a return arrive, and the seller may say what goes back for them.
fn receive(desk: &mut Desk, number: u16, units: u32, money: Option<i64>) -> Result<Reply, Refusal> {
    let request = desk.request();
    let money = money.map(gbp);
    let got = ReceivedLine { line: 1, units, condition: Condition::Damaged, restock: false, money };
    desk.tell(&Command::ReceiveReturn { request, number, lines: vec![got] })
}

/// Everything is captured and sent.
fn sent(units: u32) -> Desk {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[units]);
    desk.succeed(Operation::Capture, 1);
    desk.ship(1, units).unwrap();
    desk
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

/// Money that went back ahead without naming units counts for the units whose return names it.
#[test]
fn what_a_return_names_as_paid_back_ahead_is_not_paid_back_again() {
    let mut desk = sent(2);
    desk.refund(RefundWhat::Amount(gbp(5_000))).unwrap();
    let number = send_back(&mut desk, 1, Some(1)).unwrap();
    receive(&mut desk, number, 1, None).unwrap();
    assert_eq!(given_back(&desk), 12_999, "the rest of one unit's money");
    // The refund is used up: the other unit's money goes back whole.
    let number = send_back(&mut desk, 1, Some(1)).unwrap();
    receive(&mut desk, number, 1, None).unwrap();
    assert_eq!(given_back(&desk), 2 * 12_999);
    // More than the units are worth counts for the next of them.
    let mut desk = sent(2);
    desk.refund(RefundWhat::Amount(gbp(20_000))).unwrap();
    for _ in 0..2 {
        let number = send_back(&mut desk, 1, Some(1)).unwrap();
        receive(&mut desk, number, 1, None).unwrap();
    }
    assert_eq!((given_back(&desk), desk.order.refunds[0].credited), (2 * 12_999, Some(20_000)));
}

#[test]
fn a_return_names_only_a_refund_that_gave_money_for_its_units() {
    let mut desk = sent(3);
    assert_eq!(send_back(&mut desk, 1, Some(1)), Err(Refusal::UnknownPart), "there is none");
    desk.refund(RefundWhat::Lines { lines: unit(1), shipping: false }).unwrap();
    assert_eq!(send_back(&mut desk, 2, Some(1)), Err(Refusal::TooMany { line: 1, left: 1 }));
    let named = send_back(&mut desk, 1, Some(1)).unwrap();
    assert_eq!(send_back(&mut desk, 1, Some(1)), Err(Refusal::TooMany { line: 1, left: 0 }), "another return names it");
    // A unit that arrives meanwhile is not the one that was refunded.
    take_back(&mut desk, 1);
    assert_eq!(given_back(&desk), 2 * 12_999);
    receive(&mut desk, named, 1, None).unwrap();
    assert_eq!(given_back(&desk), 2 * 12_999, "its money went back ahead");
    let request = desk.request();
    // What a rejected return named can be named again.
    let mut desk = sent(2);
    desk.refund(RefundWhat::Lines { lines: unit(1), shipping: false }).unwrap();
    let number = send_back(&mut desk, 1, Some(1)).unwrap();
    desk.tell(&Command::RejectReturn { request, number, reason: "worn".into() }).unwrap();
    send_back(&mut desk, 1, Some(1)).unwrap();
}

/// Refunds that follow from what is not due any more are no money of units ahead of their return.
#[test]
fn the_refund_of_a_return_cannot_be_named_by_another() {
    let mut desk = sent(2);
    take_back(&mut desk, 1);
    assert_eq!(desk.order.refunds.len(), 1);
    assert_eq!(send_back(&mut desk, 1, Some(1)), Err(Refusal::UnknownPart));
}

#[test]
fn the_seller_says_what_goes_back_for_what_arrived_and_never_more_than_was_paid() {
    let mut desk = sent(2);
    let number = send_back(&mut desk, 2, None).unwrap();
    receive(&mut desk, number, 1, Some(10_000)).unwrap();
    assert_eq!((given_back(&desk), desk.order.returns[0].kept), (10_000, Some(2_999)));
    let share = desk.order.lines[0].worth(1, true);
    let most = gbp(share);
    assert_eq!(receive(&mut desk, number, 1, Some(share + 1)), Err(Refusal::RefundTooLarge { refundable: most }));
    receive(&mut desk, number, 1, Some(share)).unwrap();
    assert_eq!((given_back(&desk), desk.order.returns[0].kept), (10_000 + share, Some(2_999)), "with its delivery");
    // Of a unit whose money went back ahead there is nothing to give.
    let mut desk = sent(1);
    desk.refund(RefundWhat::Lines { lines: unit(1), shipping: false }).unwrap();
    let number = send_back(&mut desk, 1, Some(1)).unwrap();
    assert_eq!(receive(&mut desk, number, 1, Some(1)), Err(Refusal::RefundTooLarge { refundable: gbp(0) }));
    let request = desk.request();
    let euros = Some(Money { amount: 0, currency: Currency::parse("EUR").unwrap() });
    let got = ReceivedLine { line: 1, units: 1, condition: Condition::Used, restock: false, money: euros };
    let other = Command::ReceiveReturn { request, number, lines: vec![got] };
    assert_eq!(desk.tell(&other), Err(Refusal::CurrencyMismatch));
    receive(&mut desk, number, 1, Some(0)).unwrap();
    assert_eq!(given_back(&desk), 12_999);
}

/// A seller who takes less than was set aside does without the rest, once its units are sent or cancelled.
#[test]
fn the_rest_of_an_authorization_is_voided_by_hand_and_no_longer_due() {
    let mut desk = Desk::confirmed(CapturePolicy::Manual, &[2]);
    let void = |desk: &mut Desk| {
        let request = desk.request();
        desk.tell(&Command::Void { request, payment: 1 })
    };
    assert!(!desk.order.allowed().contains(&Allowed::Void), "it pays for units that are to ship");
    assert!(matches!(void(&mut desk), Err(Refusal::WrongState { .. })));
    desk.ship(1, 2).unwrap();
    let request = desk.request();
    desk.tell(&Command::Capture { request, amount: Some(gbp(20_000)) }).unwrap();
    assert!(matches!(void(&mut desk), Err(Refusal::WrongState { .. })), "a capture is under way");
    desk.succeed(Operation::Capture, 1);
    assert!(desk.order.allowed().contains(&Allowed::Void));
    let rest = desk.order.total() - 20_000;
    let (request, command) = (desk.request(), |request| Command::Void { request, payment: 1 });
    let first = desk.tell(&command(request)).unwrap();
    assert_eq!((asked(&desk), desk.order.due()), (vec![(Operation::Void, rest)], 20_000));
    assert_eq!(desk.tell(&command(request)), Ok(first), "the same request again is one request");
    desk.succeed(Operation::Void, 1);
    assert_eq!(
        (asked(&desk), desk.order.capturable(), desk.order.allowed().contains(&Allowed::Void)),
        (vec![], 0, false)
    );
    let request = desk.request();
    assert_eq!(desk.tell(&Command::Void { request, payment: 9 }), Err(Refusal::UnknownPart));
}
