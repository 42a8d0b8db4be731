//! Shipments: units given to a carrier from one warehouse, which arrive or are lost. One that was recorded by mistake is undone; in place of a
//! lost one, others are sent.

use super::amended::{Amended, Tracking};
use super::command::{LineUnits, Made, Refusal};
use super::event::{Event, ShipmentStarted};
use super::saga::{Decided, made};
use super::step::{Step, Todo};
use super::{Order, OrderLine, Shipment, ShipmentStatus, Stage};
use crate::entity::Decision;
use crate::ids::{Request, WarehouseId};
use crate::inventory::Units;
use crate::time::Timestamp;
use compact_str::CompactString;

/// The carrier of a shipment and its tracking data.
#[derive(Debug)]
pub(super) struct Carriage<'a> {
    pub(super) carrier: Option<&'a CompactString>,
    pub(super) tracking_number: Option<&'a CompactString>,
    pub(super) tracking_url: Option<&'a CompactString>,
}

impl Order {
    pub(super) fn ship(
        &self,
        request: &Request,
        lines: &[LineUnits],
        warehouse: Option<&WarehouseId>,
        carriage: &Carriage<'_>,
        now: Timestamp,
    ) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        // What its shopper has not paid any more does not leave (rule M13).
        let stops = self.stage != Stage::Confirmed || self.is_unpaid_again();
        if stops || self.lines.iter().all(|line| line.left() == 0) {
            return Err(self.wrong_state());
        }
        let lines = if lines.is_empty() { self.all_left(warehouse) } else { self.distinct(lines)? };
        for one in &lines {
            let left = self.line(one.line).map_or(0, OrderLine::left);
            if one.units > left {
                return Err(Refusal::TooMany { line: one.line, left });
            }
        }
        let warehouse = self.holder_of(&lines, warehouse).ok_or(Refusal::NotInOneWarehouse)?;
        let number = Self::next_number(&self.shipments);
        let started = ShipmentStarted {
            number,
            request: *request,
            lines,
            warehouse,
            carrier: carriage.carrier.cloned(),
            tracking_number: carriage.tracking_number.cloned(),
            tracking_url: carriage.tracking_url.cloned(),
            at: now,
        };
        Ok(self.follow(vec![Event::Shipped(Box::new(started))], now, made(Made::Shipment(number))))
    }

    /// Everything that has not shipped, from one warehouse if it is given.
    fn all_left(&self, warehouse: Option<&WarehouseId>) -> Vec<LineUnits> {
        self.numbered()
            .map(|(line, it)| LineUnits { line, units: warehouse.map_or_else(|| it.left(), |here| it.left_in(here)) })
            .filter(|one| one.units > 0)
            .collect()
    }

    /// The warehouse that holds all of these units.
    fn holder_of(&self, lines: &[LineUnits], named: Option<&WarehouseId>) -> Option<WarehouseId> {
        let has_all = |here: &WarehouseId| {
            lines.iter().all(|one| self.line(one.line).is_some_and(|line| line.left_in(here) >= one.units))
        };
        let first = self.line(lines.first()?.line)?;
        let mut candidates = first.unshipped.iter().map(|allocation| &allocation.warehouse);
        match named {
            Some(named) => has_all(named).then(|| named.clone()),
            None => candidates.find(|here| has_all(here)).cloned(),
        }
    }

    /// Puts carrier and tracking data right; `None`: a field stays.
    pub(super) fn correct_tracking(
        &self,
        number: u16,
        carrier: Option<&Option<CompactString>>,
        tracking_number: Option<&Option<CompactString>>,
        tracking_url: Option<&Option<CompactString>>,
    ) -> Decided {
        let shipment =
            self.shipment(number).ok_or(if self.exists() { Refusal::UnknownPart } else { Refusal::Unknown })?;
        // After the erasure there is no personal data to put right.
        if self.personal.is_none() {
            return Err(self.wrong_state());
        }
        let known = &shipment.started;
        let reply = made(Made::Shipment(number));
        let tracking = Tracking {
            shipment: number,
            carrier: carrier.unwrap_or(&known.carrier).clone(),
            tracking_number: tracking_number.unwrap_or(&known.tracking_number).clone(),
            tracking_url: tracking_url.unwrap_or(&known.tracking_url).clone(),
        };
        let is_known = tracking.carrier == known.carrier
            && tracking.tracking_number == known.tracking_number
            && tracking.tracking_url == known.tracking_url;
        if is_known {
            return Ok(Decision::nothing(reply));
        }
        self.room_for_edit()?;
        let amended = Amended { tracking: Some(tracking), ..Amended::default() };
        Ok(Decision::one(Event::Amended(Box::new(amended)), reply))
    }

    pub(super) fn deliver(&self, request: &Request, number: u16, now: Timestamp) -> Decided {
        self.end_of(
            request,
            number,
            ShipmentStatus::Delivered,
            Event::Delivered { shipment: number, request: *request, at: now },
        )
    }

    pub(super) fn lose(&self, request: &Request, number: u16) -> Decided {
        self.end_of(request, number, ShipmentStatus::Lost, Event::Lost { shipment: number, request: *request })
    }

    /// The units of a shipment that never left are to ship again. One that was delivered, or of which units come back, has left.
    pub(super) fn undo_shipment(&self, request: &Request, number: u16, now: Timestamp) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let shipment = self.known_shipment(number)?;
        let reply = made(Made::Shipment(number));
        match shipment.status {
            ShipmentStatus::Shipped | ShipmentStatus::Lost if self.none_came_back(shipment) => {
                Ok(self.follow(vec![Event::ShipmentUndone { shipment: number, request: *request }], now, reply))
            }
            ShipmentStatus::Undone => Ok(Decision::nothing(reply)),
            ShipmentStatus::Shipped
            | ShipmentStatus::Lost
            | ShipmentStatus::Delivered
            | ShipmentStatus::Resending
            | ShipmentStatus::Resent => Err(self.wrong_state()),
        }
    }

    /// Units of the same warehouse are to be sent in place of those of a lost shipment.
    pub(super) fn resend(&self, request: &Request, number: u16, now: Timestamp) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let shipment = self.known_shipment(number)?;
        let reply = made(Made::Shipment(number));
        // What was refunded is not sent as well.
        let wanted =
            shipment.started.lines.iter().all(|one| {
                self.line(one.line).is_some_and(|line| line.units.saturating_sub(line.settled) >= one.units)
            });
        match shipment.status {
            ShipmentStatus::Lost if wanted && self.none_came_back(shipment) => {
                Ok(self.follow(vec![Event::ResendStarted { shipment: number, request: *request }], now, reply))
            }
            ShipmentStatus::Resending | ShipmentStatus::Resent => Ok(Decision::nothing(reply)),
            ShipmentStatus::Lost | ShipmentStatus::Shipped | ShipmentStatus::Delivered | ShipmentStatus::Undone => {
                Err(self.wrong_state())
            }
        }
    }

    /// Is it lost, and are others asked for in place of its units?
    pub(super) fn is_resending(&self, number: u16) -> bool {
        self.shipment(number).is_some_and(|shipment| shipment.status == ShipmentStatus::Resending)
    }

    fn known_shipment(&self, number: u16) -> Result<&Shipment, Refusal> {
        self.shipment(number).ok_or(if self.exists() { Refusal::UnknownPart } else { Refusal::Unknown })
    }

    /// Whether all units of a shipment can still be where it was sent, whatever came back of the others. What the SKU does not know of yet has not shipped
    /// for it: a later shipment would stand for units of this one that are back.
    fn none_came_back(&self, shipment: &Shipment) -> bool {
        let is_untold = |other: &&Shipment, line| {
            let step = Step::Ship { shipment: other.started.number, line };
            other.started.number != shipment.started.number && self.todo.contains(&Todo::Step(step))
        };
        let out = |one: &LineUnits| {
            let untold = self.shipments.iter().filter(|other| is_untold(other, one.line));
            let untold = untold.flat_map(|other| &other.started.lines).filter(|other| other.line == one.line);
            let out = self.line(one.line).map_or(0, |line| self.returnable_of(one.line, line));
            untold.fold(out, |out, other| out.saturating_sub(other.units))
        };
        shipment.started.lines.iter().all(|one| one.units <= out(one))
    }

    /// Units of a line that may be sent back: those of a shipment for which others are asked are not counted.
    pub(super) fn returnable_of(&self, number: u16, line: &OrderLine) -> Units {
        let resending = self.shipments.iter().filter(|shipment| shipment.status == ShipmentStatus::Resending);
        let lines = resending.flat_map(|shipment| &shipment.started.lines).filter(|one| one.line == number);
        lines.fold(line.returnable(), |left, one| left.saturating_sub(one.units))
    }

    fn end_of(&self, request: &Request, number: u16, end: ShipmentStatus, event: Event) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let shipment =
            self.shipment(number).ok_or(if self.exists() { Refusal::UnknownPart } else { Refusal::Unknown })?;
        let reply = made(Made::Shipment(number));
        match shipment.status {
            ShipmentStatus::Shipped => Ok(Decision::one(event, reply)),
            status if status == end => Ok(Decision::nothing(reply)),
            ShipmentStatus::Delivered
            | ShipmentStatus::Lost
            | ShipmentStatus::Undone
            | ShipmentStatus::Resending
            | ShipmentStatus::Resent => Err(self.wrong_state()),
        }
    }
}
