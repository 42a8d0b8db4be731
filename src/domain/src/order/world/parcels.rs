//! Shipments that were recorded by mistake, or are lost: their units are to ship again.

use super::super::{Answer, Refusal, Reply, ShipmentStatus, Status, Step};
use super::desk::Desk;
use super::*;
use crate::inventory::Command as Ask;

fn shipped() -> Desk {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[2]);
    desk.ship(1, 2).unwrap();
    desk
}

fn undo(desk: &mut Desk) -> Result<Reply, Refusal> {
    let request = desk.request();
    desk.tell(&Command::UndoShipment { request, shipment: 1 })
}

fn lose_and_resend(desk: &mut Desk) -> Result<Reply, Refusal> {
    let request = desk.request();
    desk.tell(&Command::Lose { request, shipment: 1 }).unwrap();
    let request = desk.request();
    desk.tell(&Command::Resend { request, shipment: 1 })
}

const SHIP: Step = Step::Ship { shipment: 1, line: 1 };
const UNSHIP: Step = Step::Unship { shipment: 1, line: 1 };
const SHIP_AGAIN: Step = Step::Ship { shipment: 2, line: 1 };

#[test]
fn a_shipment_made_by_mistake_is_undone_and_its_units_ship_again() {
    let mut desk = shipped();
    undo(&mut desk).unwrap();
    assert_eq!((desk.order.status(), desk.order.shipments[0].status), (Status::Confirmed, ShipmentStatus::Undone));
    desk.ship(1, 2).unwrap();
    assert!(desk.owes(SHIP) && !desk.owes(UNSHIP) && !desk.owes(SHIP_AGAIN), "the SKU learns of them in their order");
    desk.answer(SHIP, Answer::Done);
    assert!(desk.owes(UNSHIP) && !desk.owes(SHIP_AGAIN));
    desk.answer(UNSHIP, Answer::Done);
    assert!(desk.owes(SHIP_AGAIN) && desk.owes(Step::ForgetUnship { shipment: 1, line: 1 }));
    assert_eq!(desk.order.status(), Status::Shipped);
}

#[test]
fn what_was_delivered_or_comes_back_was_no_mistake() {
    let mut desk = shipped();
    let request = desk.request();
    desk.tell(&Command::Deliver { request, shipment: 1 }).unwrap();
    assert!(matches!(undo(&mut desk), Err(Refusal::WrongState { .. })));
    let mut desk = shipped();
    let request = desk.request();
    let lines = vec![ReturnLine { line: 1, units: 1, reason: "".into(), refund: None }];
    desk.tell(&Command::RequestReturn { request, lines }).unwrap();
    assert!(matches!(undo(&mut desk), Err(Refusal::WrongState { .. })));
}

#[test]
fn in_place_of_lost_units_others_are_sent_once_the_warehouse_has_them() {
    let mut desk = shipped();
    desk.answer(SHIP, Answer::Done);
    let request = desk.request();
    let early = desk.tell(&Command::Resend { request, shipment: 1 });
    assert!(matches!(early, Err(Refusal::WrongState { .. })), "it is not lost");
    lose_and_resend(&mut desk).unwrap();
    assert!(desk.ship(1, 2).is_err(), "nothing is promised twice");
    let request = desk.request();
    let lines = vec![ReturnLine { line: 1, units: 2, reason: "".into(), refund: None }];
    assert_eq!(
        desk.tell(&Command::RequestReturn { request, lines }),
        Err(Refusal::TooMany { line: 1, left: 0 }),
        "what others are asked for does not come back"
    );
    let asked = desk.order.effect(UNSHIP.key());
    let Some(Effect::Ask { command: message::Command::Inventory(Ask::Unship { lost: true, .. }), .. }) = asked else {
        panic!("{asked:?}");
    };
    desk.answer(UNSHIP, Answer::Done);
    assert_eq!(desk.order.shipments[0].status, ShipmentStatus::Resent);
    desk.ship(1, 2).unwrap();
    assert!(desk.owes(SHIP_AGAIN));
}

#[test]
fn without_other_units_the_warehouse_is_asked_again_until_it_has_them() {
    let mut desk = shipped();
    desk.answer(SHIP, Answer::Done);
    lose_and_resend(&mut desk).unwrap();
    let none = Outcome::Refused(message::Refusal::Inventory(inventory::Refusal::NotThatMany));
    assert_eq!(desk.order.answered(UNSHIP.key(), none), None);
    assert!(desk.owes(UNSHIP));
    assert_eq!((desk.order.shipments[0].status, desk.order.troubles.len()), (ShipmentStatus::Resending, 0));
}

#[test]
fn what_was_refunded_is_not_sent_again() {
    let mut desk = shipped();
    desk.answer(SHIP, Answer::Done);
    desk.succeed(crate::payment::Operation::Capture, 1);
    desk.refund(RefundWhat::Everything).unwrap();
    assert!(matches!(lose_and_resend(&mut desk), Err(Refusal::WrongState { .. })));
}

/// The one unit of the first parcel is back. As long as the warehouse has not heard of the second, it cannot tell whose unit is out.
#[test]
fn a_later_shipment_does_not_stand_for_units_that_are_back() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[3]);
    desk.ship(1, 1).unwrap();
    desk.answer(SHIP, Answer::Done);
    let request = desk.request();
    let lines = vec![ReturnLine { line: 1, units: 1, reason: "".into(), refund: None }];
    desk.tell(&Command::RequestReturn { request, lines }).unwrap();
    desk.ship(1, 1).unwrap();
    assert!(desk.owes(SHIP_AGAIN));
    assert!(matches!(undo(&mut desk), Err(Refusal::WrongState { .. })));
    assert!(matches!(lose_and_resend(&mut desk), Err(Refusal::WrongState { .. })));
    desk.answer(SHIP_AGAIN, Answer::Done);
    let request = desk.request();
    desk.tell(&Command::Resend { request, shipment: 1 }).unwrap();
    assert!(desk.owes(UNSHIP));
}

/// The warehouse has none to send yet; what leaves it meanwhile is told all the same.
#[test]
fn what_ships_waits_for_no_unit_that_is_asked_for_in_place_of_a_lost_one() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[2]);
    desk.ship(1, 1).unwrap();
    desk.answer(SHIP, Answer::Done);
    lose_and_resend(&mut desk).unwrap();
    desk.ship(1, 1).unwrap();
    assert!(desk.owes(UNSHIP) && desk.owes(SHIP_AGAIN));
}

/// The warehouse has nothing to send: what is cancelled, or comes back, may be the very unit that it waits for.
#[test]
fn what_is_cancelled_waits_for_no_unit_that_is_asked_for_in_place_of_a_lost_one() {
    let mut desk = Desk::confirmed(CapturePolicy::OnConfirmation, &[2]);
    desk.ship(1, 1).unwrap();
    desk.answer(SHIP, Answer::Done);
    lose_and_resend(&mut desk).unwrap();
    assert!(desk.owes(UNSHIP));
    desk.cancel(vec![LineUnits { line: 1, units: 1 }]).unwrap();
    assert!(desk.owes(Step::Unsell { cancel: 1, line: 1 }) && desk.owes(UNSHIP));
}
