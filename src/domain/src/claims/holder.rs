//! The holder's side: asks for the claims of a stage at once, holds all of them or none, and undoes in reverse what it knows to be held.

use super::Says;
use crate::codec::{self as minicbor, Decode, Encode};
use crate::time::Timestamp;
use serde::Serialize;
use std::ops::RangeInclusive;

/// The number of a claim within its holder. A line's claim of stock has the number of the line; the others say their stage in their upper bits.
pub type ClaimId = u16;

/// The seconds after which an entity asks an undecided holder again.
pub const ASK_AGAIN_S: u64 = 60;

/// When a claim is asked for: one stage is held before the next is asked, and they are undone in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimStage {
    /// The place in a drop.
    Place,
    /// What a buyer may take, what a coupon may be used for, what only one may have.
    Allowances,
    /// Units of SKUs.
    Stock,
    /// What an instrument of payment may take: it is known only once the payment is authorized.
    Instrument,
}

impl ClaimStage {
    /// The stages before the payment, in the order in which they are asked.
    pub const BEFORE_PAYMENT: [Self; 3] = [Self::Place, Self::Allowances, Self::Stock];
    /// The order in which claims are committed: stock settles before what let its buyer in (rule D7).
    pub const COMMITS: [Self; 4] = [Self::Stock, Self::Instrument, Self::Allowances, Self::Place];
    /// The order in which claims are undone.
    pub const UNDOES: [Self; 4] = [Self::Instrument, Self::Stock, Self::Allowances, Self::Place];

    /// The stage of a claim.
    #[must_use]
    pub const fn of(claim: ClaimId) -> Self {
        match claim {
            ..0x8000 => Self::Stock,
            0x8000..0xa000 => Self::Place,
            0xa000..0xc000 => Self::Allowances,
            0xc000.. => Self::Instrument,
        }
    }

    /// The numbers of its claims.
    #[must_use]
    pub const fn ids(self) -> RangeInclusive<ClaimId> {
        match self {
            Self::Stock => 1..=0x7fff,
            Self::Place => 0x8000..=0x9fff,
            Self::Allowances => 0xa000..=0xbfff,
            Self::Instrument => 0xc000..=0xffff,
        }
    }
}

/// How far a claim got, at its holder; `W`: why it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Encode, Decode)]
#[cbor(flat)]
pub enum Hold<W> {
    /// It was not asked for yet, or is not answered.
    #[default]
    #[n(0)]
    Asked,
    /// It was refused.
    #[n(1)]
    Refused(#[n(0)] W),
    /// It is granted.
    #[n(2)]
    Held,
    /// It is to be released.
    #[n(3)]
    Releasing,
    /// It is released, or was never asked for.
    #[n(4)]
    Released,
    /// It is committed.
    #[n(5)]
    Committed,
    /// It was not known any more at the commit.
    #[n(6)]
    Vanished,
}

/// A command to the entity that a claim is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimStep {
    /// To grant it.
    Ask,
    /// To release it.
    Release,
    /// To commit it.
    Commit,
    /// To forget it: the holder has journaled how it ended.
    Forget,
}

/// What a stage has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<W> {
    /// Not all claims are answered.
    Open,
    /// A claim was refused: the first of them.
    Refused(W),
    /// All are held.
    Held,
}

/// All or none: what the claims of a stage have come to.
pub fn verdict<W>(holds: impl IntoIterator<Item = Hold<W>>) -> Verdict<W> {
    let mut verdict = Verdict::Held;
    for hold in holds {
        match hold {
            Hold::Refused(why) => return Verdict::Refused(why),
            Hold::Asked => verdict = Verdict::Open,
            Hold::Held | Hold::Releasing | Hold::Released | Hold::Committed | Hold::Vanished => {}
        }
    }
    verdict
}

/// Rule R3: the holder's answer about a claim.
///
/// `is_ours`: is it asked about the grant that the holder knows, if it knows one? A late copy may have made another (rule R1). `until`: when a claim
/// that is kept is asked about again.
pub const fn says<W>(hold: &Hold<W>, is_ours: bool, until: Timestamp) -> Says {
    match hold {
        _ if !is_ours => Says::Release,
        Hold::Asked | Hold::Held => Says::Keep { until },
        Hold::Committed => Says::Taken,
        Hold::Refused(_) | Hold::Releasing | Hold::Released | Hold::Vanished => Says::Release,
    }
}

/// What holds claims. The claims move by the events that it journals; what follows from each is written here once.
pub trait Holder {
    /// Why a claim is refused.
    type Why;

    /// How far a claim got; `None`: there is no such claim.
    fn hold_mut(&mut self, claim: ClaimId) -> Option<&mut Hold<Self::Why>>;
    /// The claims of a stage that got as far as `is`.
    fn claims_that(&self, stage: ClaimStage, is: fn(&Hold<Self::Why>) -> bool) -> Vec<ClaimId>;
    /// Is a step of one of these claims owed?
    fn owes(&self, step: ClaimStep, claims: RangeInclusive<ClaimId>) -> bool;
    /// Owes a step of these claims.
    fn owe(&mut self, step: ClaimStep, claims: &[ClaimId]);
    /// A step is answered.
    fn settle(&mut self, step: ClaimStep, claim: ClaimId);
    /// The claims that the present step of the stage still waits for.
    fn open_mut(&mut self) -> &mut usize;
    /// Are its claims being undone?
    fn is_undoing(&self) -> bool;
    /// Does it forget a commit as soon as it is journaled? If not, it says so later.
    fn forgets_commit(&self, claim: ClaimId) -> bool;

    /// A claim has come so far.
    fn set_hold(&mut self, claim: ClaimId, hold: Hold<Self::Why>) {
        if let Some(known) = self.hold_mut(claim) {
            *known = hold;
        }
    }

    /// Asks for all claims of the first of these stages that has any.
    fn ask_first_of(&mut self, stages: &[ClaimStage]) {
        for stage in stages {
            let claims = self.claims_that(*stage, |hold| matches!(hold, Hold::Asked));
            if !claims.is_empty() {
                *self.open_mut() = claims.len();
                self.owe(ClaimStep::Ask, &claims);
                return;
            }
        }
    }

    /// A claim is granted.
    fn granted(&mut self, claim: ClaimId) {
        self.answered(ClaimStep::Ask, claim);
        self.set_hold(claim, Hold::Held);
        if self.is_undoing() {
            self.release_all(&[claim]);
        } else if *self.open_mut() == 0 {
            self.ask_on(ClaimStage::of(claim));
        }
    }

    /// A stage is held: the next is asked. Once the instrument's is, all are committed.
    fn ask_on(&mut self, held: ClaimStage) {
        match held {
            ClaimStage::Place => self.ask_first_of(&[ClaimStage::Allowances, ClaimStage::Stock]),
            ClaimStage::Allowances => self.ask_first_of(&[ClaimStage::Stock]),
            ClaimStage::Stock => {}
            ClaimStage::Instrument => self.commit_first_of(&ClaimStage::COMMITS),
        }
    }

    /// A stage is committed: so is the next, unless something of it had vanished.
    fn commit_on(&mut self, committed: ClaimStage) {
        if self.claims_that(committed, |hold| matches!(hold, Hold::Vanished)).is_empty() {
            self.commit_first_of(&ClaimStage::COMMITS);
        }
    }

    /// A claim is refused.
    fn refused(&mut self, claim: ClaimId, why: Self::Why) {
        self.answered(ClaimStep::Ask, claim);
        self.set_hold(claim, Hold::Refused(why));
        self.undo_further(claim);
    }

    /// A step that the stage waits for is answered.
    fn answered(&mut self, step: ClaimStep, claim: ClaimId) {
        self.settle(step, claim);
        let open = self.open_mut();
        *open = open.saturating_sub(1);
    }

    /// Releases these claims, which are held.
    fn release_all(&mut self, claims: &[ClaimId]) {
        for claim in claims {
            self.set_hold(*claim, Hold::Releasing);
        }
        self.owe(ClaimStep::Release, claims);
    }

    /// Commits all claims of the first of these stages that holds any.
    fn commit_first_of(&mut self, stages: &[ClaimStage]) {
        for stage in stages {
            let claims = self.claims_that(*stage, |hold| matches!(hold, Hold::Held));
            if !claims.is_empty() {
                *self.open_mut() = claims.len();
                self.owe(ClaimStep::Commit, &claims);
                return;
            }
        }
    }

    /// What was not asked for yet never will be.
    fn drop_unasked(&mut self) {
        for stage in ClaimStage::UNDOES {
            for claim in self.claims_that(stage, |hold| matches!(hold, Hold::Asked)) {
                if !self.owes(ClaimStep::Ask, claim..=claim) {
                    self.set_hold(claim, Hold::Released);
                }
            }
        }
    }

    /// Begins to undo, with the last stage that has claims. A claim whose outcome is unknown is asked until it is known, and undone then (rule R6).
    fn undo(&mut self) {
        for stage in ClaimStage::UNDOES {
            if self.undo_stage(stage) {
                return;
            }
        }
    }

    /// Releases what a stage holds. `true`: the stage is not free yet.
    fn undo_stage(&mut self, stage: ClaimStage) -> bool {
        // Sold stock is taken back by a movement of its own, and other commits by a release.
        let held = match stage {
            ClaimStage::Stock => self.claims_that(stage, |hold| matches!(hold, Hold::Held)),
            ClaimStage::Place | ClaimStage::Allowances | ClaimStage::Instrument => {
                self.claims_that(stage, |hold| matches!(hold, Hold::Held | Hold::Committed))
            }
        };
        self.release_all(&held);
        let is_owed = |step| self.owes(step, stage.ids());
        is_owed(ClaimStep::Ask) || is_owed(ClaimStep::Release) || is_owed(ClaimStep::Commit)
    }

    /// A claim is free: once its whole stage is, the one before it is undone.
    fn undo_further(&mut self, freed: ClaimId) {
        if !self.is_undoing() {
            return;
        }
        let stage = ClaimStage::of(freed);
        let is_owed = |step| self.owes(step, stage.ids());
        if is_owed(ClaimStep::Ask) || is_owed(ClaimStep::Release) {
            return;
        }
        self.undo();
    }

    /// A step was carried out.
    fn step_done(&mut self, step: ClaimStep, claim: ClaimId) {
        match step {
            ClaimStep::Ask | ClaimStep::Forget => self.settle(step, claim),
            ClaimStep::Release => {
                self.settle(step, claim);
                self.set_hold(claim, Hold::Released);
                self.owe(ClaimStep::Forget, &[claim]);
                self.undo_further(claim);
            }
            ClaimStep::Commit => {
                self.answered(step, claim);
                self.set_hold(claim, Hold::Committed);
                if self.forgets_commit(claim) {
                    self.owe(ClaimStep::Forget, &[claim]);
                }
                if *self.open_mut() == 0 && !self.is_undoing() {
                    self.commit_on(ClaimStage::of(claim));
                }
            }
        }
    }

    /// The entity did not know the claim, or refused the step for good. `false`: an operator must look at it.
    fn step_gone(&mut self, step: ClaimStep, claim: ClaimId) -> bool {
        match step {
            ClaimStep::Commit => {
                self.answered(step, claim);
                self.set_hold(claim, Hold::Vanished);
                true
            }
            ClaimStep::Release => {
                self.settle(step, claim);
                self.set_hold(claim, Hold::Released);
                self.undo_further(claim);
                false
            }
            ClaimStep::Ask | ClaimStep::Forget => {
                self.settle(step, claim);
                false
            }
        }
    }
}
