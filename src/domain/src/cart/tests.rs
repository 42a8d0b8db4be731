//! Claims about a cart: one create, lines that are set, a freeze for one order, an end by itself.

use super::*;
use crate::laws;
use crate::money::Money;

const NOW: Timestamp = Timestamp(1_000_000);
const DEADLINE: Timestamp = Timestamp(1_600_000);
const WEEK_S: u64 = 604_800;

/// A cart under test, its events, and what it was told.
struct Trolley {
    cart: Cart,
    events: Vec<Event>,
    now: Timestamp,
}

impl Trolley {
    fn new() -> Self {
        let mut trolley = Self { cart: Cart::default(), events: Vec::new(), now: NOW };
        trolley.tell(create(1)).unwrap();
        trolley
    }

    fn filled() -> Self {
        let mut trolley = Self::new();
        trolley.tell(set("A", 2, None)).unwrap();
        trolley
    }

    fn decide(&self, command: &Command) -> Decided {
        self.cart.decide(command, self.now)
    }

    fn tell(&mut self, command: Command) -> Result<Reply, Refusal> {
        let decision = self.decide(&command)?;
        for event in decision.events {
            self.cart.evolve(&event);
            self.events.push(event);
        }
        assert_eq!(self.cart.version(), u64::try_from(self.events.len()).unwrap());
        laws::replay_equals_state(&self.events, &self.cart).unwrap();
        Ok(decision.reply)
    }
}

fn create(terms: u128) -> Command {
    let owner = Owner::Guest("gst_1".into());
    Command::Create { terms: RequestFingerprint(terms), owner, currency: Currency::GBP, life_s: WEEK_S }
}

fn snapshot(amount: i64) -> Snapshot {
    let unit_price = Money { amount, currency: Currency::GBP };
    Snapshot { title: "A thing".into(), seller: "sel_main".into(), unit_price }
}

fn set(sku: &str, quantity: u32, expected_version: Option<u64>) -> Command {
    Command::SetLine { sku: Sku::parse(sku).unwrap(), quantity, snapshot: snapshot(100), expected_version }
}

fn order(number: u128) -> OrderId {
    OrderId(number << 16)
}

fn freeze(number: u128) -> Command {
    Command::Freeze { order: order(number), expires_at: DEADLINE }
}

#[test]
fn the_same_create_twice_is_one_cart_and_another_body_is_refused() {
    let trolley = Trolley::new();
    assert_eq!(trolley.decide(&create(1)), Ok(Decision::again(Reply::Done)));
    assert_eq!(trolley.decide(&create(2)), Err(Refusal::RequestReused));
    assert_eq!(Cart::default().decide(&set("A", 1, None), NOW), Err(Refusal::Unknown));
}

#[test]
fn setting_a_line_sets_and_never_adds() {
    let mut trolley = Trolley::filled();
    assert_eq!(trolley.decide(&set("A", 2, None)), Ok(Decision::again(Reply::Done)));
    trolley.tell(set("A", 5, None)).unwrap();
    assert_eq!(trolley.cart.lines().iter().map(|line| line.quantity).collect::<Vec<_>>(), [5]);
    trolley.tell(set("A", 0, None)).unwrap();
    assert_eq!(trolley.cart.lines(), []);
    assert_eq!(trolley.decide(&set("A", 0, None)), Ok(Decision::again(Reply::Done)));
}

#[test]
fn a_line_keeps_the_price_it_was_added_at() {
    let mut trolley = Trolley::filled();
    let sku = Sku::parse("A").unwrap();
    let dearer = Command::SetLine { sku, quantity: 3, snapshot: snapshot(150), expected_version: None };
    trolley.tell(dearer).unwrap();
    assert_eq!(trolley.cart.lines()[0].unit_price.amount, 100);
}

#[test]
fn one_who_saw_another_version_is_refused() {
    let mut trolley = Trolley::filled();
    assert_eq!(trolley.tell(set("A", 3, Some(1))), Err(Refusal::Stale { current: 2 }));
    assert_eq!(trolley.tell(set("A", 3, Some(2))), Ok(Reply::Done));
}

#[test]
fn too_many_lines_too_many_units_and_another_currency_are_refused() {
    let mut trolley = Trolley::new();
    for number in 0..LINES_MAX {
        let event = trolley.decide(&set(&format!("S{number}"), 1, None)).unwrap().events.remove(0);
        trolley.cart.evolve(&event);
    }
    assert_eq!(trolley.decide(&set("more", 1, None)), Err(Refusal::TooManyLines { limit: LINES_MAX }));
    assert!(trolley.decide(&set("S7", 2, None)).is_ok(), "a line that is there may change");
    let limit = QUANTITY_MAX;
    assert_eq!(trolley.decide(&set("S7", limit + 1, None)), Err(Refusal::TooMany { limit }));
    let euro = Money { amount: 1, currency: Currency::parse("EUR").unwrap() };
    let snapshot = Snapshot { unit_price: euro, ..snapshot(1) };
    let sku = Sku::parse("S7").unwrap();
    let foreign = Command::SetLine { sku, quantity: 2, snapshot, expected_version: None };
    assert_eq!(trolley.decide(&foreign), Err(Refusal::CurrencyMismatch { currency: Currency::GBP }));
}

#[test]
fn a_frozen_cart_does_not_change_and_gives_its_order_the_same_lines_again() {
    let mut trolley = Trolley::filled();
    let first = trolley.tell(freeze(1)).unwrap();
    let Reply::Frozen(taken) = &first else { panic!("{first:?}") };
    assert_eq!((taken.lines.len(), taken.version), (1, trolley.cart.version()));
    assert_eq!(trolley.decide(&freeze(1)), Ok(Decision::again(first)));
    let frozen = Refusal::Frozen { order: order(1) };
    assert_eq!(trolley.tell(freeze(2)), Err(frozen.clone()));
    assert_eq!(trolley.tell(set("A", 9, None)), Err(frozen));
}

#[test]
fn a_cart_becomes_an_order_exactly_once() {
    let mut trolley = Trolley::filled();
    trolley.tell(freeze(1)).unwrap();
    let close = Command::Close { order: order(1) };
    assert_eq!(trolley.tell(Command::Close { order: order(2) }), Ok(Reply::Unknown));
    assert_eq!(trolley.tell(close.clone()), Ok(Reply::Done));
    assert_eq!(trolley.decide(&close), Ok(Decision::again(Reply::Done)));
    let ordered = Refusal::AlreadyOrdered { order: order(1) };
    assert_eq!(trolley.tell(freeze(2)), Err(ordered.clone()));
    assert_eq!(trolley.tell(set("A", 9, None)), Err(ordered));
    assert_eq!(trolley.tell(Command::Thaw { order: order(1) }), Ok(Reply::Unknown));
    assert_eq!(trolley.cart.status(), Status::Ordered { order: order(1) });
}

#[test]
fn an_order_that_ends_unconfirmed_thaws_its_cart_unchanged_for_another() {
    let mut trolley = Trolley::filled();
    let before = trolley.cart.lines().to_vec();
    trolley.tell(freeze(1)).unwrap();
    let thaw = Command::Thaw { order: order(1) };
    assert_eq!(trolley.tell(thaw.clone()), Ok(Reply::Done));
    assert_eq!(trolley.decide(&thaw), Ok(Decision::again(Reply::Done)));
    assert_eq!(trolley.cart.lines(), before);
    assert_eq!(trolley.tell(freeze(1)), Err(Refusal::Ended), "a late copy");
    assert!(matches!(trolley.tell(freeze(2)), Ok(Reply::Frozen(_))));
    assert_eq!(trolley.tell(thaw), Ok(Reply::Unknown), "the first order no longer holds it");
}

#[test]
fn an_empty_cart_and_a_freeze_past_its_deadline_freeze_nothing() {
    let mut trolley = Trolley::new();
    assert_eq!(trolley.tell(freeze(1)), Err(Refusal::Empty));
    trolley.tell(set("A", 1, None)).unwrap();
    trolley.now = DEADLINE;
    assert_eq!(trolley.tell(freeze(1)), Err(Refusal::Ended));
}

#[test]
fn a_late_freeze_of_a_dead_order_does_not_keep_the_cart_for_ever_r3() {
    let mut trolley = Trolley::filled();
    trolley.tell(freeze(1)).unwrap();
    let due = DEADLINE.plus_s(claims::QUESTION_GRACE_S);
    assert_eq!((trolley.cart.owed(NOW), trolley.cart.wake_at(NOW)), (vec![], Some(due)));
    trolley.now = due;
    let [key] = trolley.cart.owed(due)[..] else { panic!("one question") };
    let command = message::Command::Order(order::Command::StillWanted { reservation: None, sku: None });
    let question = Effect::Ask { to: EntityId::Order(order(1)), command };
    assert_eq!(trolley.cart.effect(key), Some(question));

    let until = due.plus_s(3_600);
    let keep = Outcome::Replied(message::Reply::Order(order::Reply::Keep { until }));
    let answer = trolley.cart.answered(key, keep).unwrap();
    trolley.tell(answer).unwrap();
    assert_eq!((trolley.cart.owed(due), trolley.cart.wake_at(due)), (vec![], Some(until)));

    trolley.now = until;
    let never_was = Outcome::Refused(message::Refusal::Order(order::Refusal::Unknown));
    let answer = trolley.cart.answered(key, never_was).unwrap();
    trolley.tell(answer.clone()).unwrap();
    assert_eq!(trolley.cart.status(), Status::Open);
    // The next freeze is another question: the old answer does not open it.
    trolley.tell(Command::Freeze { order: order(2), expires_at: until.plus_s(600) }).unwrap();
    assert_eq!(trolley.tell(answer), Ok(Reply::Unknown));
    assert_eq!(trolley.cart.effect(key), None);
}

#[test]
fn a_confirmed_order_that_is_asked_closes_its_cart_r3() {
    let mut trolley = Trolley::filled();
    trolley.tell(freeze(1)).unwrap();
    let [key] = trolley.cart.owed(DEADLINE.plus_s(3_600))[..] else { panic!("one question") };
    let taken = Outcome::Replied(message::Reply::Order(order::Reply::Taken));
    let answer = trolley.cart.answered(key, taken).unwrap();
    trolley.tell(answer).unwrap();
    assert_eq!(trolley.cart.status(), Status::Ordered { order: order(1) });
}

#[test]
fn a_cart_nobody_comes_for_ends_and_a_look_moves_its_end_at_most_once_a_day() {
    let mut trolley = Trolley::filled();
    trolley.now = NOW.plus_s(3_600);
    trolley.tell(Command::Access).unwrap();
    assert_eq!(trolley.cart.expires_at(), NOW.plus_s(WEEK_S));
    trolley.now = NOW.plus_s(24 * 3_600);
    trolley.tell(Command::Access).unwrap();
    let end = trolley.now.plus_s(WEEK_S);
    assert_eq!((trolley.cart.expires_at(), trolley.cart.wake_at(trolley.now)), (end, Some(end)));
    trolley.now = end;
    assert_eq!(trolley.tell(set("A", 3, None)), Err(Refusal::Expired), "even before it woke");
    trolley.tell(Command::Wake).unwrap();
    assert_eq!((trolley.cart.status(), trolley.cart.wake_at(end)), (Status::Expired, None));
    assert_eq!(trolley.tell(Command::Freeze { order: order(1), expires_at: end.plus_s(9) }), Err(Refusal::Expired));
}

#[test]
fn a_frozen_cart_does_not_end_before_its_order_does() {
    let mut trolley = Trolley::filled();
    trolley.tell(freeze(1)).unwrap();
    trolley.now = NOW.plus_s(WEEK_S + 1);
    trolley.tell(Command::Wake).unwrap();
    assert!(matches!(trolley.cart.status(), Status::Frozen { .. }));
    trolley.tell(Command::Thaw { order: order(1) }).unwrap();
    assert!(trolley.cart.wake_at(trolley.now).is_some(), "it is due at once");
    trolley.tell(Command::Wake).unwrap();
    assert_eq!(trolley.cart.status(), Status::Expired);
}
