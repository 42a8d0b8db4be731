//! Returns: requested within a window, approved, received. Received units are refunded and go back to their warehouse. A return's line may name
//! the refund by which the money of its units, or a part of it, went back ahead; what goes back with them is less by so much (rule M9).

use super::command::{LineUnits, Made, ReceivedLine, Refusal};
use super::event::Event;
use super::line::pick;
use super::saga::{Decided, made};
use super::{LineNumber, Order, OrderLine, Receipt, Refund, RefundCause, Return, ReturnLine, ReturnStatus, Stage};
use crate::entity::Decision;
use crate::ids::Request;
use crate::inventory::Units;
use crate::money::Money;
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
        self.check_named(lines)?;
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
        let named_ahead = self.named_ahead();
        let refunds: BTreeMap<LineNumber, &Refund> =
            one.lines.iter().filter_map(|line| Some((line.line, self.refund(line.refund?)?))).collect();
        let mut credits: BTreeMap<u16, i64> = BTreeMap::new();
        for got in lines {
            let line = match touched.entry(got.line) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.line(got.line).ok_or(Refusal::UnknownPart)?.clone()),
            };
            let left = expected.entry(got.line).or_insert(0);
            if got.units > *left {
                return Err(Refusal::TooMany { line: got.line, left: *left });
            }
            // A unit's money goes back once: the units that come back first are those that were refunded ahead of their return, and that no
            // other return names.
            let refund = refunds.get(&got.line).copied();
            let ahead = match refund {
                Some(refund) if !refund.lines.is_empty() => got.units,
                Some(_) | None => line.refunded_ahead.saturating_sub(named_ahead.get(&got.line).copied().unwrap_or(0)),
            };
            let settled = got.units.saturating_sub(ahead).min(line.units.saturating_sub(line.settled));
            let credit = refund.filter(|refund| refund.lines.is_empty()).map(|refund| {
                credits.entry(refund.number).or_insert(refund.amount.saturating_sub(refund.credited.unwrap_or(0)))
            });
            let back = self.money_back(line, settled, credit.as_deref().copied().unwrap_or(0), due, got.money)?;
            let credited = credit.map(|left| {
                *left = left.saturating_sub(back.credited);
                back.credited
            });
            let receipt = Receipt {
                receipt: next_receipt,
                line: got.line,
                settled,
                to: pick(&line.out, got.units),
                condition: got.condition,
                restock: got.restock,
                money: (credited.is_some() || got.money.is_some()).then_some(back.money),
                credited,
            };
            let worth = back.money;
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

    /// What goes back for units of a line that were not refunded ahead. `credit`: what the refund that their return names gave ahead.
    fn money_back(
        &self,
        line: &OrderLine,
        settled: Units,
        credit: i64,
        due: i64,
        named: Option<Money>,
    ) -> Result<MoneyBack, Refusal> {
        let worth = line.worth(settled, named.is_some());
        let credited = worth.min(credit);
        let most = worth.saturating_sub(credited).min(due).max(0);
        match named {
            None => Ok(MoneyBack { money: most, credited }),
            Some(money) if money != self.money(money.amount) => Err(Refusal::CurrencyMismatch),
            Some(money) if money.amount < 0 || money.amount > most => {
                Err(Refusal::RefundTooLarge { refundable: self.money(most) })
            }
            Some(money) => Ok(MoneyBack { money: money.amount, credited }),
        }
    }

    /// Checks the refunds that lines of a new return name: each gave money ahead, for that line or for the order as a whole, and for as many
    /// units of it that no other return names.
    fn check_named(&self, lines: &[ReturnLine]) -> Result<(), Refusal> {
        if lines.iter().all(|one| one.refund.is_none()) {
            return Ok(());
        }
        let named_ahead = self.named_ahead();
        let mut named: BTreeMap<(u16, LineNumber), Units> = BTreeMap::new();
        for one in self.returns.iter().filter(|one| one.status != ReturnStatus::Rejected) {
            for line in &one.lines {
                let Some(refund) = line.refund else { continue };
                let units = named.entry((refund, line.line)).or_insert(0);
                *units = units.saturating_add(line.units);
            }
        }
        for one in lines {
            let Some(number) = one.refund else { continue };
            let (Some(refund), Some(line)) = (self.refund(number), self.line(one.line)) else {
                return Err(Refusal::UnknownPart);
            };
            if refund.cause != RefundCause::Goodwill {
                return Err(Refusal::UnknownPart);
            }
            if refund.lines.is_empty() {
                let seller = line.agreed.as_ref().map(|agreed| &agreed.seller);
                if refund.seller.as_ref().is_some_and(|own| Some(own) != seller) {
                    return Err(Refusal::UnknownPart);
                }
                continue;
            }
            let given = refund.lines.iter().find(|given| given.line == one.line).ok_or(Refusal::UnknownPart)?.units;
            let of_refund = given.saturating_sub(named.get(&(number, one.line)).copied().unwrap_or(0));
            let of_line = line.refunded_ahead.saturating_sub(named_ahead.get(&one.line).copied().unwrap_or(0));
            let left = of_refund.min(of_line);
            if one.units > left {
                return Err(Refusal::TooMany { line: one.line, left });
            }
        }
        Ok(())
    }

    /// Units by line that returns name as refunded ahead, and that have not arrived.
    pub(super) fn named_ahead(&self) -> BTreeMap<LineNumber, Units> {
        let mut named: BTreeMap<LineNumber, Units> = BTreeMap::new();
        for one in self.returns.iter().filter(|one| one.status != ReturnStatus::Rejected) {
            let units_of = |number| self.refund(number).is_some_and(|refund| !refund.lines.is_empty());
            if !one.lines.iter().filter_map(|line| line.refund).any(units_of) {
                continue;
            }
            let expected = one.expected();
            for line in one.lines.iter().filter(|line| line.refund.is_some_and(units_of)) {
                let units = named.entry(line.line).or_insert(0);
                *units = units.saturating_add(expected.get(&line.line).copied().unwrap_or(0));
            }
        }
        named
    }
}

/// What goes back for units that arrived, in minor units.
#[derive(Debug, Clone, Copy)]
struct MoneyBack {
    /// Now.
    money: i64,
    /// Of what went back ahead, by the refund that their return names.
    credited: i64,
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
