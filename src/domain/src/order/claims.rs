//! The order as the holder of its claims: of stock, one for each line.

use super::command::Shortage;
use super::step::{Step, Todo};
use super::{Hold, Order, Stage};
use crate::claims::{ClaimId, ClaimStage, ClaimStep, Holder};
use std::ops::RangeInclusive;

impl Step {
    /// The step of a claim.
    #[must_use]
    pub const fn of_claim(step: ClaimStep, claim: ClaimId) -> Self {
        match step {
            ClaimStep::Ask => Self::Reserve(claim),
            ClaimStep::Release => Self::Release(claim),
            ClaimStep::Commit => Self::Commit(claim),
            ClaimStep::Forget => Self::Forget(claim),
        }
    }
}

impl Holder for Order {
    type Why = Shortage;

    fn hold_mut(&mut self, claim: ClaimId) -> Option<&mut Hold> {
        self.line_mut(claim).map(|line| &mut line.hold)
    }

    fn claims_that(&self, stage: ClaimStage, is: fn(&Hold) -> bool) -> Vec<ClaimId> {
        match stage {
            ClaimStage::Stock => self.numbered().filter(|(_, line)| is(&line.hold)).map(|(number, _)| number).collect(),
            ClaimStage::Place | ClaimStage::Allowances | ClaimStage::Instrument => Vec::new(),
        }
    }

    fn owes(&self, step: ClaimStep, claims: RangeInclusive<ClaimId>) -> bool {
        let todo = |claim| Todo::Step(Step::of_claim(step, claim));
        self.todo.range(todo(*claims.start())..=todo(*claims.end())).next().is_some()
    }

    fn owe(&mut self, step: ClaimStep, claims: &[ClaimId]) {
        self.todo.extend(claims.iter().map(|claim| Todo::Step(Step::of_claim(step, *claim))));
    }

    fn settle(&mut self, step: ClaimStep, claim: ClaimId) {
        self.todo.remove(&Todo::Step(Step::of_claim(step, claim)));
    }

    fn open_mut(&mut self) -> &mut usize {
        &mut self.open
    }

    fn is_undoing(&self) -> bool {
        matches!(self.stage, Stage::Ending(_) | Stage::Ended(_))
    }

    fn forgets_commit(&self, _claim: ClaimId) -> bool {
        true
    }
}
