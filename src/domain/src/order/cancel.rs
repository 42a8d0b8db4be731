//! Cancels an order, or units of it. Before the sale it releases the units; after the sale it takes back what has not shipped.
//!
//! A cancellation is journaled as requested (rule R6): a step with an unknown outcome is queried until it is known, and only then undone.

use super::command::{CancelReason, LineUnits, Made, Refusal};
use super::event::{CancelledLine, Event};
use super::line::{pick, units_of};
use super::saga::{Decided, ending, made};
use super::{EndReason, LineNumber, Order, Stage};
use crate::ids::Request;
use crate::inventory::Units;
use crate::time::Timestamp;
use std::collections::BTreeMap;

impl Order {
    pub(super) fn cancel(
        &self,
        request: &Request,
        lines: &[LineUnits],
        reason: CancelReason,
        now: Timestamp,
    ) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let whole =
            || Ok(self.follow(vec![ending(EndReason::Cancelled(reason), Some(*request), now)], now, made(Made::Order)));
        match self.stage {
            Stage::Freezing | Stage::Reserving if lines.is_empty() => whole(),
            Stage::Held if lines.is_empty() => whole(),
            Stage::Held if self.awaits_payment() => {
                let cut = self.cut(lines)?;
                if self.leaves_nothing(&cut) { whole() } else { self.cancel_lines(request, cut, reason, now) }
            }
            // The sale is in progress: its units are taken back as soon as its outcome is known.
            Stage::Committing if lines.is_empty() && self.cancel_requested.is_none() => {
                let requested = Event::CancelRequested { request: *request, reason };
                Ok(self.follow(vec![requested], now, made(Made::Order)))
            }
            Stage::Confirmed if lines.is_empty() => {
                if self.lines.iter().all(|line| line.left() == 0) {
                    return Err(self.wrong_state());
                }
                let number = Self::next_number(&self.cancels);
                let cancelled = self.cancel_unshipped(Some(*request), reason);
                Ok(self.follow(vec![cancelled], now, made(Made::Cancel(number))))
            }
            Stage::Confirmed => {
                let cut = self.cut(lines)?;
                self.cancel_lines(request, cut, reason, now)
            }
            Stage::Nothing
            | Stage::Freezing
            | Stage::Reserving
            | Stage::Held
            | Stage::Committing
            | Stage::Ending(_)
            | Stage::Ended(_) => Err(self.wrong_state()),
        }
    }

    fn cancel_lines(
        &self,
        request: &Request,
        lines: Vec<CancelledLine>,
        reason: CancelReason,
        now: Timestamp,
    ) -> Decided {
        let number = Self::next_number(&self.cancels);
        let cancelled = self.cancelled_event(Some(*request), lines, reason);
        Ok(self.follow(vec![cancelled], now, made(Made::Cancel(number))))
    }

    /// The units by warehouse.
    fn cut(&self, lines: &[LineUnits]) -> Result<Vec<CancelledLine>, Refusal> {
        self.distinct(lines)?
            .iter()
            .map(|one| {
                let line = self.line(one.line).ok_or(Refusal::UnknownPart)?;
                if one.units > line.left() {
                    return Err(Refusal::TooMany { line: one.line, left: line.left() });
                }
                Ok(CancelledLine { line: one.line, from: pick(&line.unshipped, one.units) })
            })
            .collect()
    }

    /// Does the cut take every unit that is neither shipped nor cancelled?
    pub(super) fn leaves_nothing(&self, cut: &[CancelledLine]) -> bool {
        let cut: BTreeMap<LineNumber, Units> = cut.iter().map(|one| (one.line, units_of(&one.from))).collect();
        self.numbered().all(|(number, line)| line.left() == cut.get(&number).copied().unwrap_or(0))
    }
}
