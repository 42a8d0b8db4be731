//! An order's lines in groups by seller: what of an order a principal sees, and what it may do with it (rule P4).
//!
//! ```text
//! buyer, holder of the token   the whole order; pays, edits, cancels, sends back
//! the platform's account       the whole order, everything
//! another seller               its group: its lines with their shares; cancels, ships, refunds and takes back those; notes of its own
//! ```
//!
//! A seller's command that names no lines means its own. One that names another's line is refused like one that names none: to this seller there
//! is no such line.

use super::command::{Command, LineUnits, Patch, Refusal};
use super::{Allowed, GroupNotes, LineNumber, Order, OrderLine, Refund, Return, Shipment, Totals};
use crate::ids::{Request, WarehouseId};
use crate::principal::{Denied, Principal};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// One seller's lines of an order.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    order: &'a Order,
    seller: &'a str,
}

/// What of an order a principal sees.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Only this group of it; `None`: the whole order.
    pub group: Option<Group<'a>>,
    /// Buyer, addresses and note? Of a group only the delivery address, and only where its seller ships it.
    pub personal: bool,
}

impl Sight<'_> {
    /// Is the line in sight?
    #[must_use]
    pub fn has(&self, line: LineNumber) -> bool {
        self.group.is_none_or(|group| group.has(line))
    }

    /// Is one of the shipment's lines in sight?
    #[must_use]
    pub fn has_shipment(&self, shipment: &Shipment) -> bool {
        shipment.started.lines.iter().any(|one| self.has(one.line))
    }

    /// Is one of the return's lines in sight?
    #[must_use]
    pub fn has_return(&self, one: &Return) -> bool {
        one.lines.iter().any(|one| self.has(one.line))
    }
}

impl Order {
    /// Did this principal place it, or does it hold its token?
    fn is_buyers(&self, by: &Principal) -> bool {
        let holds = |by: &Principal| matches!(by, Principal::Holder(order) if *order == self.id);
        holds(by) || self.terms().is_some_and(|terms| by.is_named(&terms.owner))
    }

    /// The lines of a seller; `None`: it has none.
    #[must_use]
    pub fn group<'a>(&'a self, seller: &'a str) -> Option<Group<'a>> {
        let group = Group { order: self, seller };
        self.lines.iter().any(|line| group.has_line(line)).then_some(group)
    }

    /// What of the order `by` sees; `None`: nothing.
    #[must_use]
    pub fn sight<'a>(&'a self, by: &'a Principal) -> Option<Sight<'a>> {
        let personal = by.sees_personal();
        if matches!(by, Principal::Platform(_)) || by.is_inside() || self.is_buyers(by) {
            return Some(Sight { group: None, personal });
        }
        let Principal::Seller(account) = by else { return None };
        self.group(&account.id).map(|group| Sight { group: Some(group), personal })
    }

    pub(super) fn permitted_to<'c>(
        &self,
        by: &Principal,
        command: &'c Command,
    ) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        if !self.exists() || matches!(by, Principal::Platform(_)) || (is_for_buyers(command) && self.is_buyers(by)) {
            return Ok(Cow::Borrowed(command));
        }
        let Principal::Seller(account) = by else { return Err(Denied::NotYours) };
        self.group(&account.id).ok_or(Denied::NotYours)?.meant(command)
    }
}

/// May whoever placed an order, or holds its token, ask this of it?
const fn is_for_buyers(command: &Command) -> bool {
    match command {
        Command::Read
        | Command::Place(_)
        | Command::Pay { .. }
        | Command::Cancel { .. }
        | Command::RequestReturn { .. } => true,
        Command::Patch(patch) => patch.seller.is_none(),
        Command::Wake
        | Command::StillWanted { .. }
        | Command::StillClaimed { .. }
        | Command::Answered { .. }
        | Command::ProviderSays { .. }
        | Command::Settle { .. }
        | Command::Capture { .. }
        | Command::Refund { .. }
        | Command::Ship { .. }
        | Command::Deliver { .. }
        | Command::Lose { .. }
        | Command::UndoShipment { .. }
        | Command::Resend { .. }
        | Command::ApproveReturn { .. }
        | Command::RejectReturn { .. }
        | Command::ReceiveReturn { .. }
        | Command::Erase
        | Command::CorrectTracking { .. }
        | Command::MarkPaid { .. }
        | Command::Void { .. }
        | Command::MarkRefunded { .. } => false,
    }
}

impl<'a> Group<'a> {
    fn has_line(&self, line: &OrderLine) -> bool {
        line.agreed.as_ref().is_some_and(|agreed| agreed.seller == self.seller)
    }

    /// Is it a line of the group?
    #[must_use]
    pub fn has(&self, line: LineNumber) -> bool {
        self.order.line(line).is_some_and(|line| self.has_line(line))
    }

    /// The lines of the group.
    pub fn lines(&self) -> impl Iterator<Item = (LineNumber, &'a OrderLine)> {
        let group = *self;
        self.order.numbered().filter(move |(_, line)| group.has_line(line))
    }

    /// The warehouses from which its units come.
    #[must_use]
    pub fn warehouses(&self) -> BTreeSet<&'a WarehouseId> {
        let agreed = self.lines().filter_map(|(_, line)| line.agreed.as_ref());
        agreed.flat_map(|agreed| &agreed.allocations).map(|part| &part.warehouse).collect()
    }

    /// What its seller keeps with it.
    #[must_use]
    pub fn notes(&self) -> &'a [(compact_str::CompactString, compact_str::CompactString)] {
        let all = self.order.group_notes.as_deref().unwrap_or_default();
        all.iter().find(|notes| notes.seller == self.seller).map_or(&[], |notes: &GroupNotes| &notes.metadata)
    }

    /// Does it have all lines of the order?
    fn is_whole(&self) -> bool {
        self.order.lines.iter().all(|line| self.has_line(line))
    }

    /// What a command of its seller means.
    fn meant<'c>(&self, command: &'c Command) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        match command {
            Command::Read => {}
            Command::Cancel { request, lines, reason } => match self.own(request, lines, None)? {
                None => {}
                Some(lines) => {
                    return Ok(Cow::Owned(Command::Cancel { request: *request, lines, reason: *reason }));
                }
            },
            Command::Ship { request, lines, warehouse, carrier, tracking_number, tracking_url } => {
                if let Some(lines) = self.own(request, lines, warehouse.as_ref())? {
                    return Ok(Cow::Owned(Command::Ship {
                        request: *request,
                        lines,
                        warehouse: warehouse.clone(),
                        carrier: carrier.clone(),
                        tracking_number: tracking_number.clone(),
                        tracking_url: tracking_url.clone(),
                    }));
                }
            }
            Command::Refund { request, what, reason, seller: _ } => {
                return Ok(Cow::Owned(Command::Refund {
                    request: *request,
                    what: what.clone(),
                    reason: reason.clone(),
                    seller: Some(self.seller.into()),
                }));
            }
            Command::Deliver { shipment, .. }
            | Command::Lose { shipment, .. }
            | Command::UndoShipment { shipment, .. }
            | Command::Resend { shipment, .. }
            | Command::CorrectTracking { shipment, .. } => self.whole_shipment(*shipment)?,
            Command::RequestReturn { lines, .. } => {
                self.only(lines.iter().map(|one| one.line))?;
                // A refund of the whole order's money is not this seller's to name.
                let is_own = |number| self.order.refund(number).is_some_and(|refund| self.has_refund(refund));
                if !lines.iter().filter_map(|one| one.refund).all(is_own) {
                    return Err(Denied::Refused(Refusal::UnknownPart));
                }
            }
            Command::ApproveReturn { number, .. } | Command::RejectReturn { number, .. } => {
                self.whole_return(*number)?;
            }
            Command::ReceiveReturn { number, lines, .. } => {
                let known =
                    self.order.return_(*number).is_some_and(|one| one.lines.iter().any(|one| self.has(one.line)));
                if !known {
                    return Err(Denied::NotYours);
                }
                self.only(lines.iter().map(|one| one.line))?;
            }
            Command::Patch(patch) => {
                let own = Patch { metadata: patch.metadata.clone(), ..Patch::default() };
                if patch.metadata.is_none() || **patch != own {
                    return Err(Denied::NotYours);
                }
                return Ok(Cow::Owned(Command::Patch(Box::new(Patch { seller: Some(self.seller.into()), ..own }))));
            }
            Command::Wake
            | Command::Place(_)
            | Command::StillWanted { .. }
            | Command::StillClaimed { .. }
            | Command::Answered { .. }
            | Command::ProviderSays { .. }
            | Command::Pay { .. }
            | Command::Settle { .. }
            | Command::Capture { .. }
            | Command::Erase
            | Command::MarkPaid { .. }
            | Command::Void { .. }
            | Command::MarkRefunded { .. } => return Err(Denied::NotYours),
        }
        Ok(Cow::Borrowed(command))
    }

    /// The group's lines in place of "everything that has not shipped"; `None`: the command says what it means.
    fn own(
        &self,
        request: &Request,
        lines: &[LineUnits],
        warehouse: Option<&WarehouseId>,
    ) -> Result<Option<Vec<LineUnits>>, Denied<Refusal>> {
        if !lines.is_empty() {
            self.only(lines.iter().map(|one| one.line))?;
            return Ok(None);
        }
        if self.is_whole() || self.order.requests.contains_key(&request.id) {
            return Ok(None);
        }
        let units = |line: &OrderLine| warehouse.map_or_else(|| line.left(), |here| line.left_in(here));
        let left = self.lines().map(|(number, line)| LineUnits { line: number, units: units(line) });
        let left: Vec<LineUnits> = left.filter(|one| one.units > 0).collect();
        if left.is_empty() { Err(Denied::Refused(self.order.wrong_state())) } else { Ok(Some(left)) }
    }

    /// Is it a refund of its lines, or taken from its seller's share?
    fn has_refund(&self, refund: &Refund) -> bool {
        match refund.lines.as_slice() {
            [] => refund.seller.as_deref() == Some(self.seller),
            lines => lines.iter().any(|one| self.has(one.line)),
        }
    }

    /// Are all of these lines of the group?
    fn only(&self, mut lines: impl Iterator<Item = LineNumber>) -> Result<(), Denied<Refusal>> {
        if lines.all(|line| self.has(line)) { Ok(()) } else { Err(Denied::Refused(Refusal::UnknownPart)) }
    }

    fn whole_shipment(&self, number: u16) -> Result<(), Denied<Refusal>> {
        let shipment = self.order.shipment(number).ok_or(Denied::NotYours)?;
        let own = shipment.started.lines.iter().all(|one| self.has(one.line));
        if own { Ok(()) } else { Err(Denied::NotYours) }
    }

    fn whole_return(&self, number: u16) -> Result<(), Denied<Refusal>> {
        let one = self.order.return_(number).ok_or(Denied::NotYours)?;
        let own = one.lines.iter().all(|one| self.has(one.line));
        if own { Ok(()) } else { Err(Denied::NotYours) }
    }

    /// Refunded from its share without naming lines, in minor units.
    fn refunded_aside(&self) -> i64 {
        let own = self.order.refunds.iter().filter(|refund| refund.seller.as_deref() == Some(self.seller));
        own.fold(0, |sum, refund| sum.saturating_add(refund.amount))
    }

    /// What its units that are not settled are worth with their delivery, less what was refunded without naming lines; minor units.
    fn due(&self) -> i64 {
        let worth = |line: &OrderLine| line.worth(line.units.saturating_sub(line.settled), true);
        let left = self.lines().fold(0_i64, |sum, (_, line)| sum.saturating_add(worth(line)));
        left.saturating_sub(self.refunded_aside()).max(0).min(self.order.due())
    }

    /// The amount that its seller can still refund, in minor units: of its own units, captured and not refunded.
    #[must_use]
    pub fn refundable(&self) -> i64 {
        self.order.refundable().min(self.due())
    }

    /// Its share of the order's totals. What is captured covers the lines in their order.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let order = self.order;
        let sum = |of: &dyn Fn(&OrderLine) -> i64| {
            order.money(self.lines().fold(0_i64, |sum, (_, line)| sum.saturating_add(of(line))))
        };
        let whole = |line: &OrderLine| line.priced.total.saturating_add(line.priced.shipping_share);
        let mut left = order.captured();
        let mut captured = 0_i64;
        for line in &order.lines {
            let covered = left.min(whole(line));
            left = left.saturating_sub(covered);
            if self.has_line(line) {
                captured = captured.saturating_add(covered);
            }
        }
        let refunded = sum(&|line| line.refunded);
        Totals {
            subtotal: sum(&|line| line.priced.subtotal),
            shipping: sum(&|line| line.priced.shipping_share),
            tax: sum(&|line| line.priced.tax),
            total: sum(&whole),
            due: order.money(self.due()),
            captured: order.money(captured),
            refunded: order.money(refunded.amount.saturating_add(self.refunded_aside())),
            refundable: order.money(self.refundable()),
            ..order.totals()
        }
    }

    /// What its seller may do now.
    #[must_use]
    pub fn allowed(&self) -> Vec<Allowed> {
        let mut allowed = self.order.allowed();
        let any = |of: fn(&OrderLine) -> u32| self.lines().any(|(_, line)| of(line) > 0);
        allowed.retain(|what| match what {
            Allowed::Cancel | Allowed::Ship => any(OrderLine::left),
            Allowed::Refund => self.refundable() > 0,
            Allowed::Return => any(OrderLine::returnable),
            Allowed::Pay | Allowed::Edit | Allowed::Capture | Allowed::Void => false,
        });
        allowed
    }
}
