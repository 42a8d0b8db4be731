//! The order as the holder of its claims: of stock, one for each line, and of what is counted one by one.

use super::command::Shortage;
use super::event::Event;
use super::saga::ending;
use super::step::{Step, Todo};
use super::{EndReason, Hold, Order, Rejection, Stage};
use crate::claims::{ClaimId, ClaimStage, ClaimStep, Holder, Wanted};
use crate::codec::{self as minicbor, Decode, Encode};
use crate::counter;
use crate::effect::Effect;
use crate::ids::EntityId;
use crate::message::Command as Ask;
use crate::time::Timestamp;
use serde::Serialize;
use std::ops::RangeInclusive;

/// A claim of an order that is not of stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct OrderClaim {
    /// Its number within the order.
    #[n(0)]
    pub id: ClaimId,
    /// What is claimed, and where.
    #[n(1)]
    pub wanted: Wanted,
    /// How much of it.
    #[n(2)]
    pub units: u32,
    /// How far it got.
    #[n(3)]
    pub hold: Hold,
    /// Number of the counter's event that granted it (rule R1).
    #[n(4)]
    pub number: Option<u64>,
}

impl Order {
    /// A claim that is not of stock.
    #[must_use]
    pub fn claim(&self, id: ClaimId) -> Option<&OrderClaim> {
        self.claims.iter().flatten().find(|claim| claim.id == id)
    }

    fn claim_mut(&mut self, id: ClaimId) -> Option<&mut OrderClaim> {
        self.claims.iter_mut().flatten().find(|claim| claim.id == id)
    }

    /// What the order claims beside these lines.
    pub(super) fn claims_of(&self, lines: &[super::Wanted]) -> Option<Vec<OrderClaim>> {
        let wanted = self.terms()?.claims.as_ref()?;
        let units = lines.iter().fold(0_u32, |sum, line| sum.saturating_add(line.units));
        let mut claims: Vec<OrderClaim> = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let id = Self::next_claim(&claims, wanted.kind.stage());
            claims.push(OrderClaim {
                id,
                wanted: *wanted,
                units: wanted.kind.units(units),
                hold: Hold::Asked,
                number: None,
            });
        }
        Some(claims)
    }

    /// The first number of a stage that no claim has had.
    pub(super) fn next_claim(claims: &[OrderClaim], stage: ClaimStage) -> ClaimId {
        let used = claims.iter().map(|claim| claim.id).filter(|id| stage.ids().contains(id)).max();
        used.map_or(*stage.ids().start(), |id| id.saturating_add(1))
    }

    /// A counter granted a claim.
    pub(super) fn counted(&mut self, id: ClaimId, number: u64) {
        if let Some(claim) = self.claim_mut(id) {
            claim.number = Some(number);
        }
        self.granted(id);
    }

    /// A claim that an edit replaced is over. The last number of a stage is kept, so that no number is ever used twice.
    pub(super) fn drop_replaced(&mut self, id: ClaimId) {
        let stage = ClaimStage::of(id).ids();
        if let Some(claims) = &mut self.claims
            && claims.iter().any(|claim| claim.id > id && stage.contains(&claim.id))
        {
            claims.retain(|claim| claim.id != id || claim.hold != Hold::Released);
        }
    }

    /// The order is confirmed: its claims are what they are for ever.
    pub(super) fn forget_claims(&mut self) {
        let committed = self.claims.iter().flatten().filter(|claim| claim.hold == Hold::Committed);
        let committed: Vec<ClaimId> = committed.map(|claim| claim.id).collect();
        self.owe(ClaimStep::Forget, &committed);
    }

    /// How the order ends because a claim was refused.
    pub(super) fn refused_claim(&self, now: Timestamp) -> Option<Event> {
        let outcome = self.claims.iter().flatten().find_map(|claim| match claim.hold {
            Hold::Refused(Shortage::TooLate) => Some(EndReason::Expired),
            Hold::Refused(_) => Some(EndReason::Rejected(Rejection::Claim(claim.wanted.kind))),
            Hold::Asked | Hold::Held | Hold::Releasing | Hold::Released | Hold::Committed | Hold::Vanished => None,
        })?;
        Some(ending(outcome, None, now))
    }

    /// Was a claim unknown at its commit?
    pub(super) fn has_lost_a_claim(&self) -> bool {
        self.claims.iter().flatten().any(|claim| claim.hold == Hold::Vanished)
    }

    /// A step of a claim, to its counter.
    pub(super) fn ask_counter(&self, id: ClaimId, step: Step) -> Option<Effect> {
        let claim = self.claim(id)?;
        let holder = counter::Holder { order: self.id, claim: id };
        let command = if step == Step::Reserve(id) {
            counter::Command::Claim(counter::Claim {
                holder,
                units: claim.units,
                limit: claim.wanted.limit,
                is_kept: claim.wanted.kind.is_kept(),
                expires_at: self.expires_at,
            })
        } else {
            let number = claim.number?;
            if step == Step::Commit(id) {
                counter::Command::Commit { holder, number }
            } else if step == Step::Release(id) {
                counter::Command::Release { holder, number }
            } else {
                counter::Command::Forget { holder, number }
            }
        };
        Some(Effect::Ask { to: EntityId::Counter(claim.wanted.at), command: Ask::Counter(command) })
    }
}

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
        match ClaimStage::of(claim) {
            ClaimStage::Stock => self.line_mut(claim).map(|line| &mut line.hold),
            ClaimStage::Place | ClaimStage::Allowances | ClaimStage::Instrument => {
                self.claim_mut(claim).map(|claim| &mut claim.hold)
            }
        }
    }

    fn claims_that(&self, stage: ClaimStage, is: fn(&Hold) -> bool) -> Vec<ClaimId> {
        match stage {
            ClaimStage::Stock => self.numbered().filter(|(_, line)| is(&line.hold)).map(|(number, _)| number).collect(),
            ClaimStage::Place | ClaimStage::Allowances | ClaimStage::Instrument => {
                let claims = self.claims.iter().flatten();
                let here = claims.filter(|claim| ClaimStage::of(claim.id) == stage && is(&claim.hold));
                here.map(|claim| claim.id).collect()
            }
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

    /// Sold stock is taken back by a movement of its own. The other claims are given back by a release, if the order ends after all, so they are
    /// forgotten only when it is confirmed.
    fn forgets_commit(&self, claim: ClaimId) -> bool {
        ClaimStage::of(claim) == ClaimStage::Stock
    }
}
