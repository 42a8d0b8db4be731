//! Applies events about reserved and sold units to an order's state: cancellations, shipments, returns; and amendments.

use super::line::{add_to, take_from, units_of};
use super::{
    Amended, Cancelled, GroupNotes, Head, Hold, LineUnits, Made, Order, Receipt, ReceiptDone, Refund, Return,
    ReturnStatus, Shipment, ShipmentStarted, ShipmentStatus, Stage, Step, Todo,
};
use crate::claims::Holder;
use crate::inventory::{Allocation, Units};
use crate::time::Timestamp;
use std::sync::Arc;

impl Order {
    pub(super) fn cancelled(&mut self, cancelled: &Cancelled) {
        self.remember(cancelled.request.as_ref(), Made::Cancel(cancelled.number));
        if cancelled.request.map(|request| request.id) == self.cancel_requested.map(|(request, _)| request.id) {
            self.cancel_requested = None;
        }
        self.reduced = self.reduced.saturating_add(cancelled.amount);
        for one in &cancelled.lines {
            let units = units_of(&one.from);
            let mut whole = false;
            self.with_line(one.line, |line| {
                line.cancelled = line.cancelled.saturating_add(units);
                // Units that were refunded before count once.
                line.settled = line.settled.saturating_add(units).min(line.units);
                take_from(&mut line.unshipped, &one.from);
                whole = line.cancelled == line.units && line.hold == Hold::Held;
            });
            if self.stage == Stage::Confirmed {
                self.todo.insert(Todo::Step(Step::Unsell { cancel: cancelled.number, line: one.line }));
            } else if whole && self.stage == Stage::Held {
                self.release_all(&[one.line]);
            }
        }
        self.cancels.push(cancelled.clone());
        self.commit_if_free();
    }

    pub(super) fn shipped(&mut self, started: &ShipmentStarted) {
        self.remember(Some(&started.request), Made::Shipment(started.number));
        for LineUnits { line, units } in &started.lines {
            let moved = [Allocation { warehouse: started.warehouse.clone(), units: *units }];
            self.with_line(*line, |line| {
                line.shipped = line.shipped.saturating_add(*units);
                take_from(&mut line.unshipped, &moved);
                add_to(&mut line.out, &moved);
            });
            self.todo.insert(Todo::Step(Step::Ship { shipment: started.number, line: *line }));
        }
        self.shipments.push(Shipment { started: started.clone(), status: ShipmentStatus::Shipped, delivered_at: None });
    }

    /// The units of a shipment that never left are to ship again, as soon as the SKU knows.
    pub(super) fn shipment_undone(&mut self, number: u16) {
        self.unship(number, ShipmentStatus::Undone);
        for line in self.lines_of_shipment(number) {
            self.take_back(number, line);
        }
    }

    /// The SKUs of a shipment are asked for its units.
    pub(super) fn unship(&mut self, number: u16, status: ShipmentStatus) {
        if let Some(shipment) = self.shipment_mut(number) {
            shipment.status = status;
        }
        let lines = self.lines_of_shipment(number);
        self.todo.extend(lines.into_iter().map(|line| Todo::Step(Step::Unship { shipment: number, line })));
    }

    /// A SKU has the units of a line of a shipment. Where others were asked for, they are to ship now.
    pub(super) fn unshipped(&mut self, number: u16, line: u16) {
        if !self.is_resending(number) {
            return;
        }
        self.take_back(number, line);
        let is_open = |line: &u16| self.todo.contains(&Todo::Step(Step::Unship { shipment: number, line: *line }));
        if !self.lines_of_shipment(number).iter().any(is_open)
            && let Some(shipment) = self.shipment_mut(number)
        {
            shipment.status = ShipmentStatus::Resent;
        }
    }

    fn lines_of_shipment(&self, number: u16) -> Vec<u16> {
        let lines = |shipment: &Shipment| shipment.started.lines.iter().map(|one| one.line).collect();
        self.shipment(number).map_or_else(Vec::new, lines)
    }

    /// The units of a line of a shipment are to ship again.
    fn take_back(&mut self, number: u16, line: u16) {
        let Some(shipment) = self.shipment(number) else { return };
        let Some(units) = shipment.started.lines.iter().find(|one| one.line == line).map(|one| one.units) else {
            return;
        };
        let moved = [Allocation { warehouse: shipment.started.warehouse.clone(), units }];
        self.with_line(line, |line| {
            line.shipped = line.shipped.saturating_sub(units);
            take_from(&mut line.out, &moved);
            add_to(&mut line.unshipped, &moved);
        });
    }

    pub(super) fn arrived(&mut self, number: u16, at: Timestamp) {
        let lines = self.shipment_mut(number).map_or_else(Vec::new, |shipment| {
            shipment.status = ShipmentStatus::Delivered;
            shipment.delivered_at = Some(at);
            shipment.started.lines.clone()
        });
        for LineUnits { line, units } in lines {
            self.with_line(line, |line| line.delivered = line.delivered.saturating_add(units));
        }
    }

    pub(super) fn received(&mut self, number: u16, receipts: &[Receipt], amount: i64) {
        self.reduced = self.reduced.saturating_add(amount);
        let mut kept = 0_i64;
        for receipt in receipts {
            self.with_line(receipt.line, |line| {
                kept = kept.saturating_add(receipt.kept(line));
                line.receive(receipt);
            });
            self.todo.insert(Todo::Step(Step::Restock { number, receipt: receipt.receipt }));
            if let (Some(credited), Some(refund)) = (receipt.credited, self.refund_named(number, receipt.line)) {
                refund.credited = Some(refund.credited.unwrap_or(0).saturating_add(credited));
            }
        }
        if let Some(one) = self.return_mut(number) {
            one.amount = one.amount.saturating_add(amount);
            if kept > 0 {
                one.kept = Some(one.kept.unwrap_or(0).saturating_add(kept));
            }
            one.receipts.extend(receipts.iter().map(|receipt| ReceiptDone {
                line: receipt.line,
                to: receipt.to.clone(),
                condition: receipt.condition,
                restock: receipt.restock,
            }));
            let all = |units: &mut dyn Iterator<Item = Units>| units.fold(0, Units::saturating_add);
            let announced = all(&mut one.lines.iter().map(|line| line.units));
            let arrived = all(&mut one.receipts.iter().map(|receipt| units_of(&receipt.to)));
            one.status = if arrived >= announced { ReturnStatus::Closed } else { ReturnStatus::Received };
        }
    }

    /// The refund that a return names for a line.
    fn refund_named(&mut self, number: u16, line: u16) -> Option<&mut Refund> {
        let refund = self.return_(number)?.lines.iter().find(|one| one.line == line)?.refund?;
        self.refund_mut(refund)
    }

    pub(super) fn amended(&mut self, amended: &Amended) {
        self.edits = Some(self.edits.unwrap_or(0).saturating_add(1));
        // A change that waited for its claims has taken effect.
        if let Some(edit) = &mut self.edit {
            edit.amended = Amended::default();
        }
        let Amended { destination, shipping, metadata, priced, personal_hash, personal, tracking, notes } = amended;
        if let Some(notes) = notes {
            self.take_notes(notes);
        }
        if let Some(tracking) = tracking
            && let Some(shipment) = self.shipment_mut(tracking.shipment)
        {
            shipment.started.carrier.clone_from(&tracking.carrier);
            shipment.started.tracking_number.clone_from(&tracking.tracking_number);
            shipment.started.tracking_url.clone_from(&tracking.tracking_url);
        }
        if let Some(head) =
            self.head.as_mut().filter(|_| destination.is_some() || shipping.is_some() || metadata.is_some())
        {
            let terms = &mut Arc::<Head>::make_mut(head).terms;
            if let Some((destination, tax)) = destination {
                terms.destination = destination.clone();
                terms.tax = tax.clone();
            }
            if let Some(shipping) = shipping {
                terms.shipping = Some(shipping.clone());
            }
            if let Some(metadata) = metadata {
                terms.metadata.clone_from(metadata);
            }
        }
        if let Some(priced) = priced {
            self.set_price(priced);
        }
        if let Some(hash) = personal_hash {
            self.personal_hash = *hash;
            self.personal = personal.clone();
        }
        self.commit_if_free();
    }

    fn take_notes(&mut self, notes: &GroupNotes) {
        let all = self.group_notes.get_or_insert_default();
        all.retain(|known| known.seller != notes.seller);
        all.push(notes.clone());
    }

    pub(super) fn shipment_mut(&mut self, number: u16) -> Option<&mut Shipment> {
        self.shipments.get_mut(usize::from(number.checked_sub(1)?))
    }

    pub(super) fn return_mut(&mut self, number: u16) -> Option<&mut Return> {
        self.returns.get_mut(usize::from(number.checked_sub(1)?))
    }
}
