//! What an order costs grows with its lines, not with their square (rule W3): counted in bytes that are allocated while it is placed, refused, paid,
//! shipped, cancelled and returned.

use super::super::{Answer, Event, Step};
use super::desk::Desk;
use super::*;
use crate::inventory::Reserved;
use crate::payment::Operation;
use allocation_counter::measure;

/// 20 times the lines may take this many times the bytes: a little more than 20, for growing lists are copied as they grow.
const TIMES_MAX: u64 = 30;
const FEW: u16 = 100;
const MANY: u16 = 2_000;

/// An order without the checks of [`Desk`], which would be most of the work.
struct Lean {
    order: Order,
    requests: u64,
}

impl Lean {
    fn placed(lines: u16, payment: Option<Instruction>) -> Self {
        let mut lean = Self { order: Order::default(), requests: 0 };
        let units = vec![2; usize::from(lines)];
        let place = Desk::place_with(terms(CapturePolicy::OnConfirmation), &units, payment);
        lean.tell(&Command::Place(Box::new(place)));
        lean
    }

    fn tell(&mut self, command: &Command) -> usize {
        let decision = self.order.decide(command, Timestamp(START)).expect("accepted");
        for event in &decision.events {
            self.order.evolve(event);
        }
        decision.events.len()
    }

    fn request(&mut self) -> Request {
        self.requests += 1;
        request("work", self.requests)
    }

    /// Every line is answered by its SKU.
    fn answer_reserve(&mut self, lines: u16, answer: impl Fn(u16) -> Answer) {
        for line in 1..=lines {
            let events = self.tell(&Command::Answered { step: Step::Reserve(line), answer: answer(line) });
            assert!(events > 0, "an answer that changes nothing is no work");
        }
    }

    /// Every step that is owed is done, with what follows from it.
    fn work_off(&mut self) {
        while let Some(step) = self.order.todo.iter().find_map(|todo| match todo {
            super::super::Todo::Step(step) => Some(*step),
            super::super::Todo::Call(_) => None,
        }) {
            self.tell(&Command::Answered { step, answer: Answer::Done });
        }
    }

    fn money_moves(&mut self, operation: Operation) {
        let call = self.order.open_calls().find(|call| call.operation == operation).expect("under way");
        let answer = ProviderAnswer::Succeeded { provider_reference: "p".into() };
        let answer = if operation == Operation::Authorize {
            ProviderAnswer::Authorized { provider_reference: "p".into(), lapses_at: Timestamp(u64::MAX) }
        } else {
            answer
        };
        let report =
            ProviderReport { reference: self.order.reference(call), amount: self.order.money_of(call), answer };
        self.tell(&Command::ProviderSays { report: Box::new(report) });
    }

    fn confirmed(lines: u16) -> Self {
        let mut lean = Self::placed(lines, Some(instruction("card")));
        lean.answer_reserve(lines, |line| Answer::Reserved(Box::new(reserved(line))));
        lean.money_moves(Operation::Authorize);
        lean.work_off();
        assert_eq!(lean.order.stage, Stage::Confirmed);
        lean
    }
}

fn reserved(line: u16) -> Reserved {
    Reserved {
        reservation: u64::from(line),
        allocations: vec![inventory::Allocation { warehouse: warehouse(0), units: 2 }],
        price: Price { unit: gbp(333), was: None, tax_included: true },
        title: "A thing".into(),
        seller: "sel_main".into(),
        tax_class: "standard".into(),
        hold_s: None,
    }
}

fn grows_with_the_lines(what: &str, work: impl Fn(u16)) {
    let bytes = |lines| measure(|| work(lines)).bytes_total;
    let (few, many) = (bytes(FEW), bytes(MANY));
    assert!(many <= few * TIMES_MAX, "{what}: {few} bytes for {FEW} lines, {many} for {MANY}");
}

#[test]
fn an_order_whose_every_line_is_refused_costs_what_its_lines_cost() {
    grows_with_the_lines("refused", |lines| {
        let mut lean = Lean::placed(lines, None);
        lean.answer_reserve(lines, |_| Answer::Short(super::super::Shortage::Unknown));
        assert!(matches!(lean.order.stage, Stage::Ended(_)));
    });
}

#[test]
fn an_order_that_is_half_refused_costs_what_its_lines_cost() {
    grows_with_the_lines("half refused", |lines| {
        let mut lean = Lean::placed(lines, None);
        lean.answer_reserve(lines, |line| match line % 2 {
            0 => Answer::Reserved(Box::new(reserved(line))),
            _ => Answer::Short(super::super::Shortage::Unknown),
        });
        lean.work_off();
        assert!(matches!(lean.order.stage, Stage::Ended(_)));
    });
}

#[test]
fn a_paid_shipped_and_returned_order_costs_what_its_lines_cost() {
    grows_with_the_lines("paid, shipped, returned", |lines| {
        let mut lean = Lean::confirmed(lines);
        lean.money_moves(Operation::Capture);
        let request = lean.request();
        let ship = Command::Ship {
            request,
            lines: Vec::new(),
            warehouse: None,
            carrier: None,
            tracking_number: None,
            tracking_url: None,
        };
        lean.tell(&ship);
        lean.work_off();
        let request = lean.request();
        let wanted =
            (1..=lines).map(|line| ReturnLine { line, units: 2, reason: "other".into(), refund: None }).collect();
        lean.tell(&Command::RequestReturn { request, lines: wanted });
        let request = lean.request();
        let got = (1..=lines).map(|line| ReceivedLine {
            line,
            units: 2,
            condition: Condition::AsNew,
            restock: true,
            money: None,
        });
        lean.tell(&Command::ReceiveReturn { request, number: 1, lines: got.collect() });
        lean.work_off();
        assert_eq!(lean.order.returns.first().map(|one| one.status), Some(ReturnStatus::Closed));
    });
}

#[test]
fn a_paid_order_that_is_cancelled_costs_what_its_lines_cost() {
    grows_with_the_lines("cancelled", |lines| {
        let mut lean = Lean::confirmed(lines);
        let request = lean.request();
        lean.tell(&Command::Cancel { request, lines: Vec::new(), reason: CancelReason::Customer });
        lean.work_off();
        assert_eq!(lean.order.cancels.len(), 1);
    });
}

#[test]
fn the_measure_sees_what_grows_with_the_square() {
    let squared = |lines: u16| {
        for _ in 0..lines {
            drop(std::hint::black_box(vec![Event::Ended; usize::from(lines)]));
        }
    };
    let bytes = |lines| measure(|| squared(lines)).bytes_total;
    assert!(bytes(MANY) > bytes(FEW) * TIMES_MAX);
}
