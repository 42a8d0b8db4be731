//! What a SKU external under callers' references, claim by claim.

use super::random::offer;
use super::*;
use crate::ids::{Request, RequestFingerprint, WarehouseId};
use crate::laws;
use compact_str::{CompactString, format_compact};

const NOW: Timestamp = Timestamp(1_000_000);
const SHOP: &str = "seller:sel_main";

/// A SKU under test.
struct Shelf {
    stock: Inventory,
    events: Vec<Event>,
    now: Timestamp,
}

impl Shelf {
    fn with(units: &[Units]) -> Self {
        let mut shelf = Self { stock: Inventory::default(), events: Vec::new(), now: NOW };
        shelf.tell(Command::Offer(Box::new(Offer { max_per_order: None, ..offer(1, 100) }))).unwrap();
        for (index, units) in (1_u128..).zip(units) {
            let request = Request { id: RequestId(index), terms: RequestFingerprint(index) };
            let warehouse = WarehouseId::parse(&format!("w{index}")).unwrap();
            shelf
                .tell(Command::Receive { request, warehouse, units: *units, reference: None, expected_at: None })
                .unwrap();
        }
        shelf
    }

    fn tell(&mut self, command: Command) -> Result<Reply, Refusal> {
        let decision = self.stock.decide(&command, self.now)?;
        for event in decision.events {
            self.stock.evolve(&event);
            self.events.push(event);
        }
        laws::stock_is_lawful(&self.stock).unwrap();
        laws::a_unit_is_sold_at_most_once(&self.events).unwrap();
        laws::replay_equals_state(&self.events, &self.stock).unwrap();
        let mut books = AuditFold::default();
        self.events.iter().for_each(|event| books.take(event));
        laws::books_agree(&books, &self.stock).unwrap();
        Ok(decision.reply)
    }

    fn ask(&mut self, requests: Vec<ExternalRequest>) -> Vec<Result<Box<ExternalAnswer>, Refusal>> {
        match self.tell(Command::ReserveExternal { decider: Decider::Stock, ranking: vec![], requests, seller: None }) {
            Ok(Reply::ReservedExternal(answers)) => answers,
            other => panic!("{other:?}"),
        }
    }

    fn reservation(&mut self, reference: &str, units: Units) -> Result<Box<ExternalAnswer>, Refusal> {
        let wanted = self.request(reference, units);
        self.ask(vec![wanted]).remove(0)
    }

    fn request(&self, reference: &str, units: Units) -> ExternalRequest {
        ExternalRequest {
            id: id(reference),
            reference: reference.into(),
            units,
            hold_s: 600,
            expires_at: self.now.plus_s(600),
            buyer_key: None,
        }
    }

    fn end(&mut self, reference: &str, end: ExternalEnd) -> Result<ExternalStatus, Refusal> {
        match self.tell(Command::EndExternal { id: id(reference), requester: shop(), end })? {
            Reply::External(now) => Ok(now.reservation.status),
            other => panic!("{other:?}"),
        }
    }

    fn extend(&mut self, reference: &str, key: u128, terms: u128, seconds: u64) -> Result<Timestamp, Refusal> {
        let request = Request { id: RequestId(key), terms: RequestFingerprint(terms) };
        let expires_at = self.now.plus_s(seconds);
        match self.tell(Command::ExtendExternal { id: id(reference), requester: shop(), request, expires_at })? {
            Reply::External(now) => Ok(now.reservation.expires_at),
            other => panic!("{other:?}"),
        }
    }

    fn available(&self) -> u64 {
        self.stock.read().available()
    }

    fn wait_s(&mut self, seconds: u64) {
        self.now = self.now.plus_s(seconds);
        self.tell(Command::Wake).unwrap();
    }
}

fn id(reference: &str) -> ReservationId {
    ReservationId::of_reference(SHOP, reference)
}

fn shop() -> Requester {
    Requester::Caller(SHOP.into())
}

fn sold_out(wanted: Units, available: u64) -> Refusal {
    Refusal::SoldOut { wanted, available, all_reserved: true }
}

#[test]
fn the_last_unit_goes_to_one_reference() {
    let mut shelf = Shelf::with(&[1]);
    assert!(!shelf.reservation("a", 1).unwrap().repeated);
    assert_eq!(shelf.reservation("b", 1).unwrap_err(), sold_out(1, 0));
    assert!(shelf.reservation("a", 1).unwrap().repeated, "and stays there");
}

#[test]
fn several_requests_of_one_command_are_answered_each_on_its_own_and_never_take_the_same_unit() {
    let mut shelf = Shelf::with(&[2, 3]);
    let mut requests: Vec<ExternalRequest> = ["a", "b", "c"].iter().map(|name| shelf.request(name, 2)).collect();
    requests.push(shelf.request("d", 1));
    requests.push(shelf.request("a", 2));
    requests.push(shelf.request("a", 1));
    let answers = shelf.ask(requests);
    let told: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|one| one.repeated)).collect();
    let short = sold_out(2, 1);
    assert_eq!(told, [Ok(false), Ok(false), Err(&short), Ok(false), Ok(true), Err(&Refusal::OtherTerms)]);
    assert_eq!(shelf.available(), 0);
}

#[test]
fn numbers_of_one_command_are_those_of_its_events_r1() {
    let mut shelf = Shelf::with(&[9]);
    let requests = ["a", "b"].iter().map(|name| shelf.request(name, 1)).collect();
    let answers = shelf.ask(requests);
    for answer in answers {
        let reserved = answer.unwrap();
        assert_eq!(
            shelf.stock.external_reservation(reserved.id),
            Some(&reserved.reservation),
            "the answer is the state after it"
        );
    }
}

#[test]
fn the_same_reference_for_something_else_is_refused() {
    let mut shelf = Shelf::with(&[9]);
    shelf.reservation("a", 1).unwrap();
    assert_eq!(shelf.reservation("a", 2).unwrap_err(), Refusal::OtherTerms);
    let mut longer = shelf.request("a", 1);
    longer.hold_s += 1;
    let mut other_buyer = shelf.request("a", 1);
    other_buyer.buyer_key = Some("u".into());
    for wanted in [longer, other_buyer] {
        assert_eq!(shelf.ask(vec![wanted]).remove(0).unwrap_err(), Refusal::OtherTerms);
    }
    assert_eq!(shelf.available(), 8);
}

#[test]
fn what_is_committed_is_sold_once_however_often_it_is_said() {
    let mut shelf = Shelf::with(&[5]);
    shelf.reservation("a", 2).unwrap();
    for _ in 0..3 {
        assert_eq!(shelf.end("a", ExternalEnd::Commit), Ok(ExternalStatus::Committed));
    }
    let level = shelf.stock.levels().next().unwrap();
    assert_eq!((level.on_hand, level.reserved, level.sold, level.to_ship), (3, 0, 2, 2));
    let ended = Refusal::ExternalEnded { status: ExternalStatus::Committed };
    assert_eq!(shelf.end("a", ExternalEnd::Release), Err(ended));
}

#[test]
fn what_is_committed_is_to_ship_until_it_is_shipped_and_a_stocktake_then_finds_it_no_longer() {
    let mut shelf = Shelf::with(&[5]);
    shelf.reservation("a", 2).unwrap();
    let held = Refusal::ExternalEnded { status: ExternalStatus::Held };
    assert_eq!(shelf.end("a", ExternalEnd::Ship), Err(held), "nothing is sold yet");
    shelf.end("a", ExternalEnd::Commit).unwrap();
    let level = |shelf: &Shelf| shelf.stock.levels().next().unwrap().clone();
    assert_eq!((level(&shelf).to_ship, level(&shelf).in_building()), (2, 5));
    for _ in 0..2 {
        assert_eq!(shelf.end("a", ExternalEnd::Ship), Ok(ExternalStatus::Committed));
        assert_eq!((level(&shelf).to_ship, level(&shelf).in_building()), (0, 3));
    }
    shelf.reservation("b", 1).unwrap();
    for _ in 0..2 {
        assert_eq!(shelf.end("b", ExternalEnd::CommitAndShip), Ok(ExternalStatus::Committed));
        assert_eq!((level(&shelf).to_ship, level(&shelf).in_building(), level(&shelf).sold), (0, 2, 3));
    }
}

/// Work grows with what is decided, not with what the SKU holds (rule W3).
#[test]
fn the_end_of_one_reservation_costs_the_same_among_many() {
    let bytes_to_end_one_of = |count: u64| {
        let mut shelf = Shelf::with(&[5_000]);
        let numbers: Vec<u64> = (0..count).collect();
        for some in numbers.chunks(EXTERNAL_PER_DECISION_MAX) {
            let requests = some.iter().map(|number| shelf.request(&number.to_string(), 1)).collect();
            shelf.ask(requests);
        }
        [ExternalEnd::CommitAndShip, ExternalEnd::Release].map(|end| {
            let command = Command::EndExternal { id: id("7"), requester: shop(), end };
            allocation_counter::measure(|| drop(shelf.stock.decide(&command, shelf.now))).bytes_total
        })
    };
    assert_eq!(bytes_to_end_one_of(10), bytes_to_end_one_of(1_000));
}

#[test]
fn what_is_released_is_free_and_cannot_be_sold() {
    let mut shelf = Shelf::with(&[1]);
    shelf.reservation("a", 1).unwrap();
    assert_eq!(shelf.end("a", ExternalEnd::Release), Ok(ExternalStatus::Released));
    assert_eq!(shelf.end("a", ExternalEnd::Release), Ok(ExternalStatus::Released));
    shelf.reservation("b", 1).unwrap();
    let ended = Refusal::ExternalEnded { status: ExternalStatus::Released };
    assert_eq!(shelf.end("a", ExternalEnd::Commit), Err(ended));
    assert_eq!(
        shelf.reservation("a", 1).unwrap().reservation.status,
        ExternalStatus::Released,
        "the first outcome again"
    );
}

#[test]
fn an_external_reservation_ends_by_itself_and_then_cannot_be_sold() {
    let mut shelf = Shelf::with(&[1]);
    shelf.reservation("a", 1).unwrap();
    assert_eq!(shelf.stock.wake_at(shelf.now), Some(NOW.plus_s(600)));
    shelf.wait_s(599);
    assert_eq!(shelf.available(), 0);
    shelf.wait_s(1);
    assert_eq!(shelf.available(), 1);
    assert_eq!(shelf.stock.wake_at(shelf.now), None);
    assert_eq!(shelf.end("a", ExternalEnd::Commit), Err(Refusal::ExternalEnded { status: ExternalStatus::Expired }));
    assert_eq!(
        shelf.end("a", ExternalEnd::Release),
        Ok(ExternalStatus::Expired),
        "nothing is held, which is what was asked"
    );
}

#[test]
fn until_its_end_is_journaled_an_external_reservation_can_be_sold_r4() {
    let mut shelf = Shelf::with(&[1]);
    shelf.reservation("a", 1).unwrap();
    shelf.now = shelf.now.plus_s(601);
    assert_eq!(shelf.stock.wake_at(shelf.now), Some(shelf.now.plus_ms(1)), "a wake that was missed is not lost");
    assert_eq!(shelf.end("a", ExternalEnd::Commit), Ok(ExternalStatus::Committed));
    shelf.wait_s(1);
    assert_eq!(shelf.available(), 0);
}

#[test]
fn more_external_reservations_end_at_once_than_one_decision_takes() {
    let most = external::ENDS_PER_DECISION_MAX;
    let mut shelf = Shelf::with(&[10_000]);
    for part in 0..2 * most / EXTERNAL_PER_DECISION_MAX {
        let requests = (0..EXTERNAL_PER_DECISION_MAX).map(|n| shelf.request(&format!("{part}-{n}"), 1)).collect();
        assert!(shelf.ask(requests).iter().all(Result::is_ok));
    }
    shelf.wait_s(600);
    assert_eq!(shelf.available(), 10_000 - u64::try_from(most).unwrap());
    assert_eq!(shelf.stock.wake_at(shelf.now), Some(shelf.now.plus_ms(1)));
    shelf.wait_s(1);
    assert_eq!(shelf.available(), 10_000);
}

#[test]
fn who_comes_in_vain_makes_room_for_the_next() {
    let mut shelf = Shelf::with(&[1]);
    shelf.reservation("a", 1).unwrap();
    shelf.now = shelf.now.plus_s(601);
    assert_eq!(shelf.reservation("b", 1).unwrap_err(), sold_out(1, 0), "until its end is journaled it is held");
    assert!(shelf.reservation("b", 1).is_ok());
}

#[test]
fn a_decision_about_too_many_requests_is_refused() {
    let mut shelf = Shelf::with(&[1_000]);
    let requests = (0..=EXTERNAL_PER_DECISION_MAX).map(|n| shelf.request(&n.to_string(), 1)).collect();
    let many = Command::ReserveExternal { decider: Decider::Stock, ranking: vec![], requests, seller: None };
    assert!(matches!(shelf.tell(many), Err(Refusal::LimitExceeded { .. })));
}

#[test]
fn an_extension_counts_once_and_never_shortens() {
    let mut shelf = Shelf::with(&[1]);
    shelf.reservation("a", 1).unwrap();
    assert_eq!(shelf.extend("a", 1, 1, 900), Ok(NOW.plus_s(900)));
    shelf.now = NOW.plus_s(100);
    assert_eq!(shelf.extend("a", 1, 1, 900), Ok(NOW.plus_s(900)), "a copy that comes later changes nothing");
    assert_eq!(shelf.extend("a", 1, 2, 900), Err(Refusal::RequestReused));
    assert_eq!(shelf.extend("a", 2, 1, 10), Ok(NOW.plus_s(900)));
    shelf.wait_s(799);
    assert_eq!(shelf.available(), 0);
    shelf.wait_s(1);
    assert_eq!(shelf.available(), 1);
    let ended = Refusal::ExternalEnded { status: ExternalStatus::Expired };
    assert_eq!(shelf.extend("a", 3, 1, 900), Err(ended));
}

#[test]
fn an_external_reservation_is_extended_a_bounded_number_of_times() {
    let mut shelf = Shelf::with(&[1]);
    shelf.reservation("a", 1).unwrap();
    for key in 0..u128::try_from(EXTENSIONS_MAX).unwrap() {
        shelf.extend("a", key, 1, 900).unwrap();
    }
    assert!(matches!(shelf.extend("a", 999, 1, 900), Err(Refusal::LimitExceeded { .. })));
}

#[test]
fn another_caller_learns_and_changes_nothing() {
    let mut shelf = Shelf::with(&[1]);
    shelf.reservation("a", 1).unwrap();
    for requester in [Requester::Caller("seller:other".into()), Requester::Reservation] {
        let (id, end) = (id("a"), ExternalEnd::Release);
        assert_eq!(shelf.tell(Command::ReadExternal { id, requester: requester.clone() }), Ok(Reply::Unknown));
        assert_eq!(shelf.tell(Command::EndExternal { id, requester, end }), Ok(Reply::Unknown));
    }
    let list = Command::ListExternal { owner: "seller:other".into(), status: None, before: None, limit: 9 };
    assert_eq!(shelf.tell(list), Ok(Reply::ExternalList { found: vec![], next: None }));
    assert_eq!(shelf.available(), 0);
}

#[test]
fn an_ended_external_reservation_is_forgotten_after_its_time_and_its_reference_is_free_again() {
    let mut shelf = Shelf::with(&[3]);
    shelf.reservation("a", 1).unwrap();
    shelf.end("a", ExternalEnd::Commit).unwrap();
    shelf.wait_s(EXTERNAL_MEMORY_S - 1);
    shelf.reservation("b", 1).unwrap();
    assert!(shelf.stock.external_reservation(id("a")).is_some());
    shelf.wait_s(1);
    shelf.reservation("c", 1).unwrap();
    assert_eq!(shelf.stock.external_reservation(id("a")), None);
    assert_eq!(
        shelf.reservation("a", 1).unwrap_err(),
        Refusal::SoldOut { wanted: 1, available: 0, all_reserved: true }
    );
}

#[test]
fn a_hot_sku_does_not_grow_for_ever() {
    let mut stock = Inventory::default();
    let mut tell = |command: Command, now: Timestamp| {
        let decision = stock.decide(&command, now).unwrap();
        decision.events.iter().for_each(|event| stock.evolve(event));
        stock.external.newest_before(u64::MAX).count()
    };
    let request = Request { id: RequestId(1), terms: RequestFingerprint(1) };
    let warehouse = WarehouseId::parse("w1").unwrap();
    tell(Command::Offer(Box::new(offer(1, 100))), NOW);
    tell(Command::Receive { request, warehouse, units: 10, reference: None, expected_at: None }, NOW);
    let mut most = 0;
    // One an hour for 60 days, each of which expires: those of seven days are remembered.
    for hour in 0..24 * 60_u64 {
        let now = NOW.plus_s(hour * 3_600);
        let reference: CompactString = format_compact!("{hour}");
        let wanted = ExternalRequest {
            id: id(&reference),
            reference,
            units: 1,
            hold_s: 600,
            expires_at: now.plus_s(600),
            buyer_key: None,
        };
        tell(
            Command::ReserveExternal { decider: Decider::Stock, ranking: vec![], requests: vec![wanted], seller: None },
            now,
        );
        most = most.max(tell(Command::Wake, now.plus_s(600)));
    }
    assert!(most <= 24 * 7 + 2, "{most}");
}

#[test]
fn a_list_is_newest_first_and_goes_on_from_where_it_ended() {
    let mut shelf = Shelf::with(&[9]);
    for name in ["a", "b", "c", "d"] {
        shelf.reservation(name, 1).unwrap();
    }
    shelf.end("c", ExternalEnd::Commit).unwrap();
    let list = |shelf: &mut Shelf, status, before, limit| match shelf.tell(Command::ListExternal {
        owner: SHOP.into(),
        status,
        before,
        limit,
    }) {
        Ok(Reply::ExternalList { found, next }) => {
            let names: Vec<String> = found.iter().map(|one| one.reservation.reference.to_string()).collect();
            (names, next)
        }
        other => panic!("{other:?}"),
    };
    let (first, next) = list(&mut shelf, None, None, 2);
    assert_eq!(first, ["d", "c"]);
    // What comes in between does not shift the pages.
    shelf.reservation("e", 1).unwrap();
    assert_eq!(list(&mut shelf, None, next, 2), (vec!["b".to_owned(), "a".to_owned()], None));
    assert_eq!(list(&mut shelf, Some(ExternalStatus::Held), None, 9).0, ["e", "d", "b", "a"]);
    assert_eq!(list(&mut shelf, Some(ExternalStatus::Committed), None, 9).0, ["c"]);
}

#[test]
fn the_newest_offer_is_believed() {
    let mut shelf = Shelf::with(&[99]);
    shelf.reservation("a", 50).unwrap();
    shelf.tell(Command::Offer(Box::new(offer(2, 100)))).unwrap();
    assert_eq!(shelf.reservation("b", 41).unwrap_err(), Refusal::LimitExceeded { limit: 40, wanted: 41 });
    let mut archived = offer(3, 100);
    archived.on_sale = false;
    shelf.tell(Command::Offer(Box::new(archived))).unwrap();
    assert_eq!(shelf.reservation("b", 1).unwrap_err(), Refusal::NotOnSale);
    assert_eq!(shelf.end("a", ExternalEnd::Commit), Ok(ExternalStatus::Committed), "what was reserved is kept");
}

#[test]
fn stock_cannot_be_taken_from_under_an_external_reservation() {
    let mut shelf = Shelf::with(&[5]);
    shelf.reservation("a", 3).unwrap();
    let request = Request { id: RequestId(77), terms: RequestFingerprint(1) };
    let warehouse = WarehouseId::parse("w1").unwrap();
    let lost = Command::Adjust { request, warehouse, delta: -3, reason: AdjustmentReason::Lost, note: None };
    assert_eq!(shelf.tell(lost), Err(Refusal::UnitsReserved { orders: vec![], reservations: vec![id("a")] }));
}

fn reserve(order: u128, units: Units, instead_of: Option<Predecessor>) -> Command {
    Command::Reserve {
        order: OrderId(order << 16),
        units,
        currency: Currency::GBP,
        expected_unit_price: None,
        ranking: vec![],
        expires_at: NOW.plus_s(600),
        instead_of,
    }
}

#[test]
fn a_hold_on_the_last_unit_passes_to_its_own_order_in_one_decision_c3() {
    let mut shelf = Shelf::with(&[2]);
    let held = shelf.reservation("cart", 2).unwrap();
    let before = Predecessor { id: held.id, number: held.reservation.number };
    assert!(
        matches!(shelf.tell(reserve(1, 2, None)), Err(Refusal::SoldOut { available: 0, .. })),
        "the hold is in its way"
    );
    let wrong = Predecessor { number: before.number + 1, ..before };
    assert!(
        matches!(shelf.tell(reserve(1, 2, Some(wrong))), Err(Refusal::SoldOut { .. })),
        "another number is another hold"
    );
    assert!(matches!(shelf.tell(reserve(1, 3, Some(before))), Err(Refusal::SoldOut { available: 2, .. })));
    assert_eq!(
        shelf.stock.external_reservation(held.id).unwrap().status,
        ExternalStatus::Held,
        "a refusal changes nothing"
    );

    let events = shelf.events.len();
    let Ok(Reply::Reserved(first)) = shelf.tell(reserve(1, 2, Some(before))) else { panic!("they are its own") };
    assert!(matches!(shelf.events[events..], [Event::ExternalReleased { .. }, Event::Reserved { .. }]));
    let Ok(Reply::Reserved(again)) = shelf.tell(reserve(1, 2, Some(before))) else { panic!("a copy") };
    assert_eq!(
        (first.reservation, shelf.events.len()),
        (again.reservation, events + 2),
        "once, however often it comes"
    );
    // A late copy of another order finds the number gone.
    assert!(matches!(shelf.tell(reserve(2, 2, Some(before))), Err(Refusal::SoldOut { .. })));
    let end = Command::EndExternal { id: held.id, requester: Requester::Caller(SHOP.into()), end: ExternalEnd::Commit };
    assert_eq!(
        shelf.tell(end),
        Err(Refusal::ExternalEnded { status: ExternalStatus::Released }),
        "it holds nothing now"
    );
}

#[test]
fn a_hold_passes_with_more_units_than_it_had_and_with_fewer_c3() {
    let mut shelf = Shelf::with(&[2, 2]);
    let held = shelf.reservation("one", 1).unwrap();
    let before = Predecessor { id: held.id, number: held.reservation.number };
    let Ok(Reply::Reserved(more)) = shelf.tell(reserve(1, 3, Some(before))) else { panic!("there are four") };
    assert_eq!(memory::units_of(&more.allocations), 3);
    assert_eq!(shelf.stock.levels().map(|level| level.reserved).sum::<u64>(), 3);
    let mut shelf = Shelf::with(&[3]);
    let held = shelf.reservation("three", 3).unwrap();
    let before = Predecessor { id: held.id, number: held.reservation.number };
    assert!(shelf.tell(reserve(1, 1, Some(before))).is_ok());
    assert!(shelf.tell(reserve(2, 2, None)).is_ok(), "the rest is free");
}
