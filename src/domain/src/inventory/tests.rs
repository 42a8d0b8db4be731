//! What the stock of a SKU external, claim by claim: the last unit goes to one buyer, and what is held comes back once.

use super::random::offer;
use super::*;
use crate::claims::{QUESTION_GRACE_S, Says};
use crate::ids::{ProductId, Request, RequestFingerprint, WarehouseId};
use crate::laws;
use crate::money::Money;

const NOW: Timestamp = Timestamp(1_000_000);
const DEADLINE: Timestamp = Timestamp(1_600_000);

/// A SKU under test: what is told it, and when.
struct Shelf {
    stock: Inventory,
    now: Timestamp,
    requests: u128,
}

impl Shelf {
    fn empty() -> Self {
        Self { stock: Inventory::default(), now: NOW, requests: 0 }
    }

    /// On sale at 100, with so many units in each of the warehouses w1, w2, …
    fn with(units: &[Units]) -> Self {
        let mut shelf = Self::empty();
        shelf.tell(Command::Offer(Box::new(offer(1, 100)))).unwrap();
        for (index, units) in (1..).zip(units) {
            shelf.receive(index, *units);
        }
        shelf
    }

    fn decide(&self, command: &Command) -> Result<Decision<Event, Reply>, Refusal> {
        self.stock.decide(command, self.now)
    }

    fn tell(&mut self, command: Command) -> Result<Reply, Refusal> {
        let decision = self.decide(&command)?;
        decision.events.iter().for_each(|event| self.stock.evolve(event));
        laws::stock_is_lawful(&self.stock).unwrap();
        Ok(decision.reply)
    }

    fn request(&mut self) -> Request {
        self.requests += 1;
        Request { id: RequestId(self.requests), terms: RequestFingerprint(self.requests) }
    }

    fn receive(&mut self, index: u32, units: Units) {
        let request = self.request();
        let warehouse = warehouse(index);
        self.tell(Command::Receive { request, warehouse, units, reference: None, expected_at: None }).unwrap();
    }

    fn hold(&mut self, number: u128, units: Units) -> Reserved {
        match self.tell(reserve(number, units)) {
            Ok(Reply::Reserved(held)) => *held,
            other => panic!("{other:?}"),
        }
    }

    fn sell(&mut self, number: u128, units: Units) -> Reserved {
        let held = self.hold(number, units);
        let commit = Command::Commit { order: order(number), reservation: held.reservation };
        assert_eq!(self.tell(commit), Ok(Reply::Done));
        held
    }

    fn level(&self, index: u32) -> Level {
        self.stock.levels().find(|level| level.warehouse == warehouse(index)).cloned().unwrap()
    }
}

fn warehouse(index: u32) -> WarehouseId {
    WarehouseId::parse(&format!("w{index}")).unwrap()
}

fn order(number: u128) -> OrderId {
    OrderId(number << 16)
}

fn from(index: u32, units: Units) -> Allocation {
    Allocation { warehouse: warehouse(index), units }
}

fn reserve_from(number: u128, units: Units, ranking: &[u32]) -> Command {
    Command::Reserve {
        order: order(number),
        units,
        currency: Currency::GBP,
        expected_unit_price: None,
        ranking: ranking.iter().map(|index| warehouse(*index)).collect(),
        expires_at: DEADLINE,
        instead_of: None,
    }
}

fn reserve(number: u128, units: Units) -> Command {
    reserve_from(number, units, &[])
}

fn gbp(amount: i64) -> Money {
    Money { amount, currency: Currency::GBP }
}

#[test]
fn the_last_unit_goes_to_one_buyer() {
    let mut shelf = Shelf::with(&[1]);
    shelf.hold(1, 1);
    let sold_out = Refusal::SoldOut { wanted: 1, available: 0, all_reserved: true };
    assert_eq!(shelf.tell(reserve(2, 1)), Err(sold_out));
    shelf.tell(Command::Commit { order: order(1), reservation: 3 }).unwrap();
    let sold_out = Refusal::SoldOut { wanted: 1, available: 0, all_reserved: false };
    assert_eq!(shelf.tell(reserve(2, 1)), Err(sold_out));
}

#[test]
fn a_reserve_sent_twice_holds_once_and_gives_the_first_answer_r1() {
    let mut shelf = Shelf::with(&[5]);
    let first = shelf.hold(1, 2);
    shelf.tell(Command::Offer(Box::new(offer(2, 999)))).unwrap();
    let again = shelf.decide(&reserve(1, 2));
    assert_eq!(again, Ok(Decision::again(Reply::Reserved(Box::new(first)))), "at the price it was reserved");
    assert_eq!(shelf.tell(reserve(1, 3)), Err(Refusal::OtherTerms));
    assert_eq!(shelf.level(1).reserved, 2);
}

#[test]
fn a_late_copy_of_reserve_and_commit_after_forget_sells_nothing_r1() {
    let mut shelf = Shelf::with(&[5]);
    let held = shelf.sell(1, 1);
    let reservation = held.reservation;
    shelf.tell(Command::Forget { order: order(1), reservation }).unwrap();
    let phantom = shelf.hold(1, 1);
    assert_ne!(phantom.reservation, reservation);
    assert_eq!(shelf.tell(Command::Commit { order: order(1), reservation }), Ok(Reply::Unknown));
    assert_eq!(shelf.level(1).sold, 1);
    // The order, asked about the second, knows nothing of it: it goes, and its memory with it.
    let answer = Command::Answer { order: order(1), reservation: phantom.reservation, says: Says::Release };
    assert_eq!(shelf.tell(answer), Ok(Reply::Done));
    assert_eq!((shelf.level(1).reserved, shelf.stock.reservation(order(1))), (0, None));
}

#[test]
fn a_reserve_that_comes_after_its_release_holds_nothing_r1() {
    let mut shelf = Shelf::with(&[5]);
    let reservation = shelf.hold(1, 2).reservation;
    let release = Command::Release { order: order(1), reservation };
    assert_eq!(shelf.tell(release.clone()), Ok(Reply::Done));
    assert_eq!(shelf.decide(&release), Ok(Decision::again(Reply::Done)));
    assert_eq!(shelf.tell(reserve(1, 2)), Err(Refusal::Ended));
    assert_eq!(shelf.tell(Command::Commit { order: order(1), reservation }), Err(Refusal::Ended));
    assert_eq!(shelf.level(1).available(), 5);
}

#[test]
fn a_reserve_after_its_own_deadline_holds_nothing() {
    let mut shelf = Shelf::with(&[5]);
    shelf.now = DEADLINE;
    assert_eq!(shelf.tell(reserve(1, 1)), Err(Refusal::Ended));
    shelf.now = NOW;
    let held = shelf.hold(1, 1);
    shelf.now = DEADLINE.plus_s(1);
    assert_eq!(shelf.tell(reserve(1, 1)), Ok(Reply::Reserved(Box::new(held))), "what is held is held");
}

#[test]
fn commit_twice_sells_once_and_a_sold_unit_is_not_released() {
    let mut shelf = Shelf::with(&[5]);
    let reservation = shelf.sell(1, 2).reservation;
    let commit = Command::Commit { order: order(1), reservation };
    assert_eq!(shelf.decide(&commit), Ok(Decision::again(Reply::Done)));
    assert_eq!(shelf.tell(Command::Release { order: order(1), reservation }), Err(Refusal::Ended));
    let level = shelf.level(1);
    assert_eq!((level.on_hand, level.sold, level.to_ship, level.in_building()), (3, 2, 2, 5));
}

#[test]
fn a_reservation_nobody_made_is_unknown_and_changes_nothing_r1() {
    let mut shelf = Shelf::with(&[5]);
    shelf.hold(1, 1);
    for command in [
        Command::Commit { order: order(1), reservation: 77 },
        Command::Release { order: order(2), reservation: 3 },
        Command::Forget { order: order(1), reservation: 77 },
    ] {
        assert_eq!(shelf.decide(&command), Ok(Decision::nothing(Reply::Unknown)), "{command:?}");
    }
    let reservation = 3;
    assert_eq!(shelf.tell(Command::Forget { order: order(1), reservation }), Err(Refusal::NotEnded));
}

#[test]
fn units_come_from_the_first_warehouse_that_has_them_all_else_from_the_fewest() {
    let mut shelf = Shelf::with(&[3, 10, 6]);
    assert_eq!(shelf.hold(1, 3).allocations, [from(1, 3)], "not named: by id");
    assert_eq!(shelf.hold(2, 4).allocations, [from(2, 4)], "w1 is empty");
    assert!(shelf.tell(reserve_from(3, 1, &[3])).is_ok());
    assert_eq!(shelf.level(3).reserved, 1, "the ranking comes first");
    assert_eq!(shelf.hold(4, 9).allocations, [from(2, 6), from(3, 3)], "the largest first");
}

#[test]
fn a_tie_between_warehouses_goes_by_the_ranking() {
    let mut shelf = Shelf::with(&[2, 2, 2]);
    let Ok(Reply::Reserved(held)) = shelf.tell(reserve_from(1, 3, &[3, 2])) else { panic!("there are six") };
    assert_eq!(held.allocations, [from(3, 2), from(2, 1)]);
}

#[test]
fn another_price_a_missing_price_and_a_limit_are_refused_with_what_the_caller_needs() {
    let mut shelf = Shelf::with(&[100]);
    let reserve = |units, currency, expected| Command::Reserve {
        order: order(1),
        units,
        currency,
        expected_unit_price: expected,
        ranking: vec![],
        expires_at: DEADLINE,
        instead_of: None,
    };
    let changed = Refusal::PriceChanged { expected: gbp(90), now: gbp(100) };
    assert_eq!(shelf.tell(reserve(1, Currency::GBP, Some(gbp(90)))), Err(changed));
    let euro = Currency::parse("EUR").unwrap();
    assert_eq!(shelf.tell(reserve(1, euro, None)), Err(Refusal::NoPrice { currency: euro }));
    let limit = Refusal::LimitExceeded { limit: 40, wanted: 41 };
    assert_eq!(shelf.tell(reserve(41, Currency::GBP, None)), Err(limit));
    assert_eq!(shelf.tell(reserve(0, Currency::GBP, None)), Err(Refusal::NotThatMany));
    let off = Offer { on_sale: false, ..offer(2, 100) };
    shelf.tell(Command::Offer(Box::new(off))).unwrap();
    assert_eq!(shelf.tell(reserve(1, Currency::GBP, None)), Err(Refusal::NotOnSale));
    assert_eq!(Shelf::empty().tell(reserve(1, Currency::GBP, None)), Err(Refusal::Unknown));
}

#[test]
fn the_order_is_asked_after_the_deadline_again_until_answered_and_alone_decides_r3() {
    let mut shelf = Shelf::with(&[5]);
    let reservation = shelf.hold(1, 1).reservation;
    let due = DEADLINE.plus_s(QUESTION_GRACE_S);
    assert_eq!(shelf.stock.wake_at(NOW), Some(due));
    assert_eq!(shelf.stock.owed(Timestamp(due.0 - 1)), []);
    let [key] = shelf.stock.owed(due)[..] else { panic!("one question") };
    let sku = Some(offer(1, 1).sku);
    let command = order::Command::StillWanted { reservation: Some(reservation), sku };
    let question = Effect::Ask { to: EntityId::Order(order(1)), command: message::Command::Order(command) };
    assert_eq!(shelf.stock.effect(key), Some(question));
    assert_eq!(shelf.level(1).reserved, 1, "the SKU does not expire it by itself");

    shelf.now = due;
    assert_eq!(shelf.tell(Command::Wake), Ok(Reply::Done));
    assert_eq!(shelf.level(1).reserved, 1, "nor when it is woken long after the deadline");
    let until = due.plus_s(3_600);
    let keep = Outcome::Replied(message::Reply::Order(order::Reply::Keep { until }));
    let answer = shelf.stock.answered(key, keep).unwrap();
    shelf.tell(answer).unwrap();
    assert_eq!((shelf.stock.owed(due), shelf.stock.wake_at(due)), (vec![], Some(until)));

    let taken = Outcome::Replied(message::Reply::Order(order::Reply::Taken));
    let answer = shelf.stock.answered(key, taken).unwrap();
    shelf.tell(answer.clone()).unwrap();
    assert_eq!((shelf.level(1).sold, shelf.stock.effect(key)), (1, None));
    assert_eq!(shelf.decide(&answer), Ok(Decision::nothing(Reply::Unknown)), "a second answer is no news");
}

#[test]
fn an_order_that_never_was_lets_go_and_an_answer_that_says_nothing_is_asked_again_r3() {
    let mut shelf = Shelf::with(&[5]);
    let reservation = shelf.hold(1, 1).reservation;
    let [key] = shelf.stock.owed(DEADLINE.plus_s(QUESTION_GRACE_S))[..] else { panic!("one question") };
    let nothing = Outcome::Replied(message::Reply::Order(order::Reply::Done));
    assert_eq!(shelf.stock.answered(key, nothing), None);
    let never_was = Outcome::Refused(message::Refusal::Order(order::Refusal::Unknown));
    let answer = Command::Answer { order: order(1), reservation, says: Says::Release };
    assert_eq!(shelf.stock.answered(key, never_was), Some(answer));
}

#[test]
fn a_shipment_and_a_return_are_booked_once_however_often_they_come_r2() {
    let mut shelf = Shelf::with(&[5]);
    let reservation = shelf.sell(1, 3).reservation;
    shelf.tell(Command::Forget { order: order(1), reservation }).unwrap();
    let ship = Command::Ship { order: order(1), shipment: 1, allocations: vec![from(1, 2)] };
    let key = ReturnKey::Return { number: 1, receipt: 1 };
    let send_back = Command::Return { order: order(1), key, allocations: vec![from(1, 1)], restock: true };
    for command in [&ship, &send_back] {
        assert_eq!(shelf.tell(command.clone()), Ok(Reply::Done));
        assert_eq!(shelf.decide(command), Ok(Decision::again(Reply::Done)));
    }
    let other = Command::Ship { order: order(1), shipment: 1, allocations: vec![from(1, 1)] };
    assert_eq!(shelf.tell(other), Err(Refusal::OtherTerms));
    let level = shelf.level(1);
    assert_eq!((level.on_hand, level.to_ship, level.returned, level.sold), (3, 1, 1, 3));
}

#[test]
fn a_shipment_is_taken_back_once_however_often_it_comes_and_its_units_are_in_the_building_again_r2() {
    let mut shelf = Shelf::with(&[5]);
    shelf.sell(1, 3);
    let unship = Command::Unship { order: order(1), shipment: 1, allocations: vec![from(1, 2)], lost: false };
    assert_eq!(shelf.tell(unship.clone()), Err(Refusal::NotThatMany), "nothing has left");
    shelf.tell(Command::Ship { order: order(1), shipment: 1, allocations: vec![from(1, 2)] }).unwrap();
    assert_eq!((shelf.level(1).to_ship, shelf.level(1).in_building()), (1, 3));
    assert_eq!(shelf.tell(unship.clone()), Ok(Reply::Done));
    assert_eq!(shelf.decide(&unship), Ok(Decision::again(Reply::Done)));
    let level = shelf.level(1);
    assert_eq!((level.on_hand, level.to_ship, level.sold, level.in_building()), (2, 3, 3, 5));
    let lost = Command::Unship { order: order(1), shipment: 1, allocations: vec![from(1, 2)], lost: true };
    assert_eq!(shelf.tell(lost), Err(Refusal::OtherTerms));
}

#[test]
fn what_is_sent_in_place_of_lost_units_is_taken_from_what_is_available() {
    let mut shelf = Shelf::with(&[5]);
    shelf.sell(1, 2);
    shelf.tell(Command::Ship { order: order(1), shipment: 1, allocations: vec![from(1, 2)] }).unwrap();
    shelf.sell(2, 2);
    let resend =
        |units| Command::Unship { order: order(1), shipment: 1, allocations: vec![from(1, units)], lost: true };
    assert_eq!(shelf.tell(resend(2)), Err(Refusal::NotThatMany), "the others are sold");
    assert_eq!(shelf.tell(resend(1)), Ok(Reply::Done));
    let level = shelf.level(1);
    assert_eq!((level.on_hand, level.to_ship, level.adjusted, level.available()), (0, 3, -1, 0));
    assert_eq!(level.in_building(), 3, "five came, two were lost on their way");
}

#[test]
fn a_late_copy_of_a_return_finds_its_key_until_no_copy_can_be_left_r2() {
    let mut shelf = Shelf::with(&[5]);
    shelf.sell(1, 2);
    let key = ReturnKey::Cancel { number: 1 };
    let cancel = Command::Return { order: order(1), key, allocations: vec![from(1, 1)], restock: true };
    shelf.tell(cancel.clone()).unwrap();
    let forget = |number| Command::ForgetMoves { order: order(1), moves: vec![MoveKey::Return(number)] };
    shelf.tell(forget(key)).unwrap();
    shelf.now = NOW.plus_s(MOVE_MEMORY_S - 1);
    assert_eq!(shelf.decide(&cancel), Ok(Decision::again(Reply::Done)));
    // A later word in the same chunk, after its time, takes the key along.
    shelf.now = NOW.plus_s(MOVE_MEMORY_S);
    let second = ReturnKey::Cancel { number: 2 };
    shelf.tell(Command::Return { order: order(1), key: second, allocations: vec![from(1, 1)], restock: true }).unwrap();
    let before = shelf.stock.remembered();
    shelf.tell(forget(second)).unwrap();
    assert_eq!(shelf.stock.remembered(), before - 1);
}

#[test]
fn what_does_not_go_back_on_sale_is_written_off_and_the_law_holds() {
    let mut shelf = Shelf::with(&[5]);
    shelf.sell(1, 3);
    let broken =
        |key, units| Command::Return { order: order(1), key, allocations: vec![from(1, units)], restock: false };
    shelf.tell(broken(ReturnKey::Cancel { number: 1 }, 1)).unwrap();
    shelf.tell(Command::Ship { order: order(1), shipment: 1, allocations: vec![from(1, 2)] }).unwrap();
    shelf.tell(broken(ReturnKey::Return { number: 1, receipt: 1 }, 2)).unwrap();
    let level = shelf.level(1);
    assert_eq!((level.on_hand, level.to_ship, level.returned, level.adjusted), (2, 0, 3, -3));
}

#[test]
fn more_than_was_sold_is_neither_shipped_nor_taken_back() {
    let mut shelf = Shelf::with(&[5, 5]);
    shelf.sell(1, 2);
    let twice = vec![from(1, 1), from(1, 2)];
    let ship = Command::Ship { order: order(1), shipment: 1, allocations: twice.clone() };
    assert_eq!(shelf.tell(ship), Err(Refusal::NotThatMany));
    let key = ReturnKey::Cancel { number: 1 };
    let cancel = Command::Return { order: order(1), key, allocations: twice, restock: true };
    assert_eq!(shelf.tell(cancel), Err(Refusal::NotThatMany));
    let key = ReturnKey::Return { number: 1, receipt: 1 };
    let unshipped = Command::Return { order: order(1), key, allocations: vec![from(1, 1)], restock: true };
    assert_eq!(shelf.tell(unshipped), Err(Refusal::NotThatMany), "it never left");
}

#[test]
fn a_sku_with_a_hold_time_of_its_own_names_it_and_is_released_by_it() {
    let mut shelf = Shelf::empty();
    shelf.tell(Command::Offer(Box::new(Offer { hold_s: Some(180), ..offer(1, 100) }))).unwrap();
    shelf.receive(1, 1);
    let held = shelf.hold(1, 1);
    assert_eq!(held.hold_s, Some(180));
    assert_eq!(shelf.stock.read().next_release_at, Some(NOW.plus_s(180)));
    let view = shelf.stock.public_view(false).expect("a SKU has one");
    assert_eq!(view.next_release_at, Some(NOW.plus_s(180)), "shoppers see it at once");
    assert_eq!(shelf.stock.wake_at(NOW), Some(NOW.plus_s(180 + QUESTION_GRACE_S)), "it asks the order then (R3)");
    shelf.tell(Command::Release { order: order(1), reservation: held.reservation }).unwrap();
    shelf.tell(Command::Offer(Box::new(Offer { hold_s: Some(9_999), ..offer(2, 100) }))).unwrap();
    shelf.hold(2, 1);
    assert_eq!(
        shelf.stock.read().next_release_at,
        Some(DEADLINE),
        "it shortens the order's time, and never prolongs it"
    );
}

#[test]
fn a_closed_warehouse_sells_nothing_and_keeps_what_it_has_promised() {
    let mut shelf = Shelf::with(&[1, 5]);
    let held = shelf.hold(1, 5);
    assert_eq!(held.allocations, [from(2, 5)]);
    let set = |active, version| Command::SetWarehouse { warehouse: warehouse(2), active, version };
    shelf.tell(set(false, 4)).unwrap();
    shelf.receive(2, 7);
    assert_eq!((shelf.stock.read().available(), shelf.stock.read().reserved()), (1, 0), "its levels count nowhere");
    let view = shelf.stock.public_view(false).expect("a SKU has one");
    assert_eq!((view.available, view.reserved), (1, 0));
    let sold_out = Refusal::SoldOut { wanted: 2, available: 1, all_reserved: false };
    assert_eq!(shelf.tell(reserve(2, 2)), Err(sold_out), "neither with its units nor with what it may get back");
    assert_eq!(shelf.hold(3, 1).allocations, [from(1, 1)]);
    assert_eq!(shelf.tell(Command::Commit { order: order(1), reservation: held.reservation }), Ok(Reply::Done));
    shelf.tell(set(true, 5)).unwrap();
    shelf.tell(set(false, 4)).unwrap();
    assert_eq!(shelf.hold(4, 7).allocations, [from(2, 7)], "an older word changes nothing");
}

#[test]
fn units_of_a_sku_that_no_product_lists_are_not_counted() {
    let mut shelf = Shelf::empty();
    let receive = |request: Request, expected_at: Option<Timestamp>| Command::Receive {
        request,
        warehouse: warehouse(1),
        units: 5,
        reference: None,
        expected_at,
    };
    for expected_at in [None, Some(DEADLINE)] {
        let request = shelf.request();
        assert_eq!(shelf.tell(receive(request, expected_at)), Err(Refusal::Unknown));
    }
    let request = shelf.request();
    let reason = AdjustmentReason::Found;
    assert_eq!(
        shelf.tell(Command::Adjust { request, warehouse: warehouse(1), delta: 1, reason, note: None }),
        Err(Refusal::Unknown)
    );
    let count = Command::Count { request, warehouse: warehouse(1), counted: 1, expected_in_building: None };
    assert_eq!(shelf.tell(count), Err(Refusal::Unknown));
    shelf.tell(Command::Offer(Box::new(Offer { on_sale: false, ..offer(1, 100) }))).unwrap();
    shelf.tell(receive(request, None)).expect("a product lists it, though it is not on sale yet");
}

#[test]
fn a_receipt_sent_twice_is_received_once_and_gives_the_first_answer_r2() {
    let mut shelf = Shelf::with(&[]);
    let request = shelf.request();
    let warehouse = warehouse(1);
    let receive = Command::Receive { request, warehouse, units: 5, reference: None, expected_at: None };
    let first = shelf.tell(receive.clone()).unwrap();
    let Reply::Levels(levels) = &first else { panic!("{first:?}") };
    assert_eq!((levels.available(), levels.version), (5, 2));
    shelf.hold(1, 2);
    shelf.now = NOW.plus_s(REQUEST_MEMORY_S - 1);
    assert_eq!(shelf.decide(&receive), Ok(Decision::again(first)));
    let other = Request { terms: RequestFingerprint(99), ..request };
    let reused = Command::Adjust {
        request: other,
        warehouse: self::warehouse(1),
        delta: 1,
        reason: AdjustmentReason::Found,
        note: None,
    };
    assert_eq!(shelf.tell(reused), Err(Refusal::RequestReused));
}

#[test]
fn an_adjustment_below_what_is_reserved_names_the_orders_in_the_way() {
    let mut shelf = Shelf::with(&[5, 5]);
    shelf.hold(1, 3);
    shelf.hold(2, 4);
    let request = shelf.request();
    let lost =
        |delta| Command::Adjust { request, warehouse: warehouse(1), delta, reason: AdjustmentReason::Lost, note: None };
    assert_eq!(shelf.tell(lost(-3)), Err(Refusal::UnitsReserved { orders: vec![order(1)], reservations: vec![] }));
    assert!(shelf.tell(lost(-2)).is_ok());
    assert_eq!(shelf.level(1).available(), 0);
    let empty = Shelf::empty().tell(lost(1));
    assert_eq!(empty, Err(Refusal::Unknown));
}

#[test]
fn a_count_sets_what_is_not_sold_and_refuses_other_books() {
    let mut shelf = Shelf::with(&[5]);
    shelf.sell(1, 2);
    let request = shelf.request();
    let count = |counted, expected| Command::Count {
        request,
        warehouse: warehouse(1),
        counted,
        expected_in_building: expected,
    };
    assert_eq!(shelf.tell(count(9, Some(4))), Err(Refusal::Stale { in_building: 5 }));
    assert_eq!(
        shelf.tell(count(1, None)),
        Err(Refusal::UnitsReserved { orders: vec![], reservations: vec![] }),
        "two are sold and still there"
    );
    assert!(shelf.tell(count(9, Some(5))).is_ok());
    let level = shelf.level(1);
    assert_eq!((level.on_hand, level.to_ship, level.in_building(), level.adjusted), (7, 2, 9, 4));
}

#[test]
fn an_announced_receipt_is_not_stock_until_its_reference_arrives() {
    let mut shelf = Shelf::with(&[]);
    let mut receive = |units, expected_at| {
        let request = shelf.request();
        let reference = Some("PO-17".into());
        shelf.tell(Command::Receive { request, warehouse: warehouse(1), units, reference, expected_at }).unwrap();
        let level = shelf.level(1);
        (level.available(), level.incoming.iter().map(|incoming| incoming.units).sum::<Units>())
    };
    assert_eq!(receive(100, Some(DEADLINE)), (0, 100));
    assert_eq!(receive(60, None), (60, 40));
    assert_eq!(receive(60, None), (120, 0));
}

#[test]
fn a_total_beyond_what_can_be_counted_is_refused() {
    let mut shelf = Shelf::with(&[5]);
    let request = shelf.request();
    let delta = i64::try_from(COUNT_MAX).unwrap();
    let found =
        Command::Adjust { request, warehouse: warehouse(1), delta, reason: AdjustmentReason::Found, note: None };
    assert_eq!(shelf.tell(found), Err(Refusal::Overflow));
    let found = Command::Adjust {
        request,
        warehouse: warehouse(1),
        delta: i64::MIN,
        reason: AdjustmentReason::Lost,
        note: None,
    };
    assert_eq!(shelf.tell(found), Err(Refusal::UnitsReserved { orders: vec![], reservations: vec![] }));
}

#[test]
fn the_newest_offer_wins_and_a_sku_stays_with_its_product() {
    let mut shelf = Shelf::with(&[5]);
    shelf.tell(Command::Offer(Box::new(offer(3, 300)))).unwrap();
    assert_eq!(shelf.decide(&Command::Offer(Box::new(offer(2, 200)))), Ok(Decision::again(Reply::Done)));
    let stranger = Offer { product: ProductId::parse("q").unwrap(), ..offer(9, 1) };
    let refusal = Refusal::OtherProduct { product: ProductId::parse("p").unwrap() };
    assert_eq!(shelf.tell(Command::Offer(Box::new(stranger))), Err(refusal));
    assert_eq!(shelf.stock.offer().map(|offer| offer.version), Some(3));
}

#[test]
fn shoppers_are_told_low_stock_all_reserved_and_sold_out_apart() {
    let state = |levels: &Levels| StockState::of(levels.available(), levels.reserved(), true, 2);
    let mut shelf = Shelf::with(&[5]);
    assert_eq!(state(&shelf.stock.read()), StockState::InStock);
    shelf.sell(1, 3);
    assert_eq!(state(&shelf.stock.read()), StockState::LowStock);
    shelf.hold(2, 2);
    let levels = shelf.stock.read();
    assert_eq!((state(&levels), levels.next_release_at), (StockState::AllReserved, Some(DEADLINE)));
    shelf.tell(Command::Commit { order: order(2), reservation: levels.version }).unwrap();
    assert_eq!(state(&shelf.stock.read()), StockState::SoldOut);
    assert_eq!(Shelf::empty().tell(Command::Read), Err(Refusal::Unknown));
}

#[test]
fn at_most_owed_max_orders_are_asked_at_once() {
    let mut shelf = Shelf::with(&[1_000_000]);
    for number in 0..u128::try_from(OWED_MAX + 100).unwrap() {
        let event = Event::Reserved {
            order: order(number + 1),
            reservation: shelf.stock.version() + 1,
            currency: Currency::GBP,
            allocations: vec![from(1, 1)],
            expires_at: DEADLINE,
            ask_at: DEADLINE,
        };
        shelf.stock.evolve(&event);
    }
    assert_eq!(shelf.stock.owed(DEADLINE).len(), OWED_MAX);
    assert_eq!(shelf.stock.wake_at(DEADLINE), None);
    let released: Vec<Event> =
        shelf.stock.live().take(50).map(|(order, held)| Event::Released { order, reservation: held.number }).collect();
    released.iter().for_each(|event| shelf.stock.evolve(event));
    assert_eq!(shelf.stock.owed(DEADLINE).len(), OWED_MAX, "the rest becomes owed as these are settled");
}
