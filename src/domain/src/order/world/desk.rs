//! One order on a desk: told things one by one, its laws looked at after each.

use super::super::{Answer, CallKey, Event, Refusal, Reply, Step};
use super::*;
use crate::entity::Decision;
use crate::inventory::{Allocation, Reserved};
use crate::payment::{Operation, Reference};

/// One order and the clock.
pub(super) struct Desk {
    pub(super) order: Order,
    pub(super) now: Timestamp,
    pub(super) records: Vec<Vec<Event>>,
    pub(super) keys: u64,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self { order: Order::default(), now: Timestamp(START), records: Vec::new(), keys: 0 }
    }

    pub(super) fn tell(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let Decision { events, reply, .. } = self.order.decide(command, self.now)?;
        for event in &events {
            let before = self.order.clone();
            self.order.evolve(event);
            laws::stages_move_along_the_drawing(&before, &self.order).unwrap();
        }
        laws::all(&self.order).unwrap();
        if !events.is_empty() {
            self.records.push(events);
        }
        Ok(reply)
    }

    pub(super) fn request(&mut self) -> Request {
        self.keys += 1;
        request("claims", self.keys)
    }

    pub(super) fn place_with(terms: OrderTerms, units: &[u32], payment: Option<Instruction>) -> PlaceOrder {
        let wanted =
            |(number, units): (usize, &u32)| Wanted { sku: sku(number), units: *units, expected_unit_price: None };
        let lines = units.iter().enumerate().map(wanted).collect();
        PlaceOrder {
            request: request("orders", 1),
            source: Source::Lines(lines),
            terms,
            personal: personal("A"),
            payment,
            installation: Some(INSTALLATION),
        }
    }

    pub(super) fn placed(terms: OrderTerms, units: &[u32], payment: Option<Instruction>) -> Self {
        let mut desk = Self::new();
        desk.tell(&Command::Place(Box::new(Self::place_with(terms, units, payment)))).unwrap();
        desk
    }

    /// Every line is reserved at its SKU at 129.99, 3.33, 6.66, … with 4.99 for shipping.
    pub(super) fn held(terms: OrderTerms, units: &[u32], payment: Option<Instruction>) -> Self {
        let mut desk = Self::placed(terms, units, payment);
        for (number, units) in (1..).zip(units) {
            desk.reserved(number, *units);
        }
        desk
    }

    pub(super) fn confirmed(capture: CapturePolicy, units: &[u32]) -> Self {
        let mut desk = Self::held(terms(capture), units, Some(instruction("card")));
        desk.authorize(1);
        desk.commit_all();
        assert_eq!(desk.order.stage, Stage::Confirmed);
        desk
    }

    pub(super) fn reserved(&mut self, line: u16, units: u32) {
        self.reserved_for(line, units, None);
    }

    /// The same, by a SKU with a hold time of its own.
    pub(super) fn reserved_for(&mut self, line: u16, units: u32, hold_s: Option<u64>) {
        let unit = if line == 1 { 12_999 } else { 333 * i64::from(line - 1) };
        let reserved = Reserved {
            reservation: 70 + u64::from(line),
            allocations: vec![Allocation { warehouse: warehouse(0), units }],
            price: Price { unit: gbp(unit), was: None, tax_included: true },
            title: "A thing".into(),
            seller: "sel_main".into(),
            tax_class: "standard".into(),
            hold_s,
        };
        self.answer(Step::Reserve(line), Answer::Reserved(Box::new(reserved)));
    }

    pub(super) fn answer(&mut self, step: Step, answer: Answer) {
        self.tell(&Command::Answered { step, answer }).unwrap();
    }

    pub(super) fn commit_all(&mut self) {
        for line in 1..=u16::try_from(self.order.lines.len()).unwrap() {
            self.answer(Step::Commit(line), Answer::Done);
        }
    }

    pub(super) fn says(&mut self, operation: Operation, payment: u16, attempt: u16, answer: ProviderAnswer) {
        let amount = self.order.money_of(CallKey { operation, payment, attempt });
        self.reports(operation, payment, attempt, amount, answer).unwrap();
    }

    /// The provider's record, with an amount that need not be the call's.
    pub(super) fn reports(
        &mut self,
        operation: Operation,
        payment: u16,
        attempt: u16,
        amount: Option<Money>,
        answer: ProviderAnswer,
    ) -> Result<Reply, Refusal> {
        let reference = Reference { order: self.order.id, operation, payment, attempt };
        self.tell(&Command::ProviderSays { report: Box::new(ProviderReport { reference, amount, answer }) })
    }

    pub(super) fn authorize(&mut self, payment: u16) {
        let lapses_at = self.now.plus_s(7 * 86_400);
        let answer = ProviderAnswer::Authorized { provider_reference: "pi_1".into(), lapses_at };
        self.says(Operation::Authorize, payment, 1, answer);
    }

    pub(super) fn succeed(&mut self, operation: Operation, attempt: u16) {
        self.says(operation, 1, attempt, ProviderAnswer::Succeeded { provider_reference: "pr".into() });
    }

    pub(super) fn decline(&mut self, operation: Operation, payment: u16, attempt: u16, retry: Retry) {
        self.says(operation, payment, attempt, ProviderAnswer::Declined { code: "no".into(), retry });
    }

    pub(super) fn pay(&mut self) -> Result<Reply, Refusal> {
        let request = self.request();
        self.tell(&Command::Pay { request, instruction: instruction("card") })
    }

    pub(super) fn owed(&self) -> Vec<Effect> {
        let keys = self.order.owed(self.now);
        keys.into_iter().map(|key| self.order.effect(key).unwrap()).collect()
    }

    pub(super) fn calls(&self) -> Vec<ProviderCall> {
        let call = |effect| match effect {
            Effect::Provider(call) => Some(call),
            Effect::Ask { .. } => None,
        };
        self.owed().into_iter().filter_map(call).collect()
    }

    pub(super) fn owes(&self, step: Step) -> bool {
        self.order.owed(self.now).contains(&step.key())
    }

    pub(super) fn pass_s(&mut self, seconds: u64) {
        self.now = self.now.plus_s(seconds);
        self.tell(&Command::Wake).unwrap();
    }

    pub(super) fn cancel(&mut self, lines: Vec<LineUnits>) -> Result<Reply, Refusal> {
        let request = self.request();
        self.tell(&Command::Cancel { request, lines, reason: CancelReason::Customer })
    }

    pub(super) fn ship(&mut self, line: u16, units: u32) -> Result<Reply, Refusal> {
        let request = self.request();
        self.tell(&Command::Ship {
            request,
            lines: vec![LineUnits { line, units }],
            warehouse: None,
            carrier: None,
            tracking_number: None,
            tracking_url: None,
        })
    }

    pub(super) fn refund(&mut self, what: RefundWhat) -> Result<Reply, Refusal> {
        let request = self.request();
        self.tell(&Command::Refund { request, what, reason: "sorry".into(), seller: None })
    }
}
