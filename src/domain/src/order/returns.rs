//! Returns: requested within a window, approved, received. Received units are refunded and go back to their warehouse.

use super::command::{LineUnits, Made, ReceivedLine, Refusal};
use super::event::{Event, Receipt};
use super::line::pick;
use super::saga::{Decided, made};
use super::{LineNumber, Order, OrderLine, Return, ReturnLine, ReturnStatus, Stage};
use crate::entity::Decision;
use crate::ids::Request;
use crate::inventory::Units;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

const DAY_S: u64 = 86_400;

impl Order {
    pub(super) fn request_return(&self, request: &Request, lines: &[ReturnLine], now: Timestamp) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        if self.stage != Stage::Confirmed || lines.is_empty() {
            return Err(if lines.is_empty() && self.exists() { Refusal::Malformed } else { self.wrong_state() });
        }
        let units: Vec<LineUnits> = lines.iter().map(|one| LineUnits { line: one.line, units: one.units }).collect();
        let mut ends_at = Timestamp(u64::MAX);
        let departures = self.last_departures();
        for one in self.distinct(&units)? {
            let left = self.line(one.line).map_or(0, |line| self.returnable_of(one.line, line));
            if one.units > left {
                return Err(Refusal::TooMany { line: one.line, left });
            }
            ends_at = ends_at.min(self.window_after(departures.get(&one.line).copied()));
        }
        if now > ends_at {
            return Err(Refusal::ReturnWindowClosed { ended_at: ends_at });
        }
        let number = Self::next_number(&self.returns);
        let approved = self.terms().is_some_and(|terms| terms.returns.auto_approve);
        let event = Event::ReturnRequested {
            number,
            request: *request,
            lines: lines.to_vec(),
            approved,
            window_ends_at: ends_at,
        };
        Ok(Decision::one(event, made(Made::Return(number))))
    }

    /// The end of the return window of a line: counted from its latest delivery, or from its shipment while no delivery is known.
    #[must_use]
    pub fn window_of(&self, line: u16) -> Timestamp {
        self.window_after(self.last_departures().get(&line).copied())
    }

    fn window_after(&self, last: Option<Timestamp>) -> Timestamp {
        let days = self.terms().map_or(0, |terms| terms.returns.window_days);
        last.unwrap_or_default().plus_s(u64::from(days).saturating_mul(DAY_S))
    }

    /// When units of each line were last delivered, or shipped while no delivery is known.
    fn last_departures(&self) -> BTreeMap<LineNumber, Timestamp> {
        let mut last: BTreeMap<LineNumber, Timestamp> = BTreeMap::new();
        let left = |shipment: &&super::Shipment| shipment.status != super::ShipmentStatus::Undone;
        for shipment in self.shipments.iter().filter(left) {
            let at = shipment.delivered_at.unwrap_or(shipment.started.at);
            for one in &shipment.started.lines {
                let latest = last.entry(one.line).or_default();
                *latest = at.max(*latest);
            }
        }
        last
    }

    fn known_return(&self, number: u16) -> Result<&Return, Refusal> {
        self.return_(number).ok_or(if self.exists() { Refusal::UnknownPart } else { Refusal::Unknown })
    }

    pub(super) fn approve_return(&self, request: &Request, number: u16) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let reply = made(Made::Return(number));
        match self.known_return(number)?.status {
            ReturnStatus::Requested => Ok(Decision::one(Event::ReturnApproved { number, request: *request }, reply)),
            ReturnStatus::Approved => Ok(Decision::nothing(reply)),
            ReturnStatus::Rejected | ReturnStatus::Received | ReturnStatus::Closed => Err(self.wrong_state()),
        }
    }

    pub(super) fn reject_return(&self, request: &Request, number: u16, reason: &str) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let reply = made(Made::Return(number));
        match self.known_return(number)?.status {
            ReturnStatus::Requested | ReturnStatus::Approved => {
                let event = Event::ReturnRejected { number, request: *request, reason: reason.into() };
                Ok(Decision::one(event, reply))
            }
            ReturnStatus::Rejected => Ok(Decision::nothing(reply)),
            ReturnStatus::Received | ReturnStatus::Closed => Err(self.wrong_state()),
        }
    }

    pub(super) fn receive_return(
        &self,
        request: &Request,
        number: u16,
        lines: &[ReceivedLine],
        now: Timestamp,
    ) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let one = self.known_return(number)?;
        match one.status {
            ReturnStatus::Approved | ReturnStatus::Received => {}
            ReturnStatus::Requested | ReturnStatus::Rejected | ReturnStatus::Closed => return Err(self.wrong_state()),
        }
        if lines.is_empty() || lines.iter().any(|line| line.units == 0) {
            return Err(Refusal::Malformed);
        }
        // Each receipt is counted from the state that the one before it leaves: of this line, and of the amount due.
        let mut expected = one.expected();
        let mut touched: BTreeMap<LineNumber, OrderLine> = BTreeMap::new();
        let mut due = self.due();
        let mut next_receipt = Self::next_number(&one.receipts);
        let mut receipts = Vec::with_capacity(lines.len());
        let mut amount = 0_i64;
        for got in lines {
            let line = match touched.entry(got.line) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.line(got.line).ok_or(Refusal::UnknownPart)?.clone()),
            };
            let left = expected.entry(got.line).or_insert(0);
            if got.units > *left {
                return Err(Refusal::TooMany { line: got.line, left: *left });
            }
            // A unit's money goes back once: the units that come back first are those that were refunded ahead of their return.
            let open = line.units.saturating_sub(line.settled);
            let settled = got.units.saturating_sub(line.refunded_ahead).min(open);
            let worth = line.worth(settled, false).min(due).max(0);
            let receipt = Receipt {
                receipt: next_receipt,
                line: got.line,
                settled,
                to: pick(&line.out, got.units),
                condition: got.condition,
                restock: got.restock,
            };
            amount = amount.saturating_add(worth);
            due = due.saturating_sub(worth);
            *left = left.saturating_sub(super::line::units_of(&receipt.to));
            line.receive(&receipt);
            next_receipt = next_receipt.saturating_add(1);
            receipts.push(receipt);
        }
        let event = Event::ReturnReceived { number, request: *request, receipts, amount };
        Ok(self.follow(vec![event], now, made(Made::Return(number))))
    }
}

impl Return {
    /// Units of a line announced and not yet received.
    #[must_use]
    pub fn expected_of(&self, line: u16) -> Units {
        self.expected().get(&line).copied().unwrap_or(0)
    }

    /// Units announced and not yet received, by line.
    fn expected(&self) -> BTreeMap<LineNumber, Units> {
        let mut expected: BTreeMap<LineNumber, Units> = BTreeMap::new();
        for announced in &self.lines {
            let units = expected.entry(announced.line).or_insert(0);
            *units = units.saturating_add(announced.units);
        }
        for receipt in &self.receipts {
            let units = expected.entry(receipt.line).or_insert(0);
            *units = units.saturating_sub(super::line::units_of(&receipt.to));
        }
        expected
    }
}
