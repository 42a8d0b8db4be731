//! Version by version: each is made by the operation that claims it, or by one that was not answered; each answer is the shelf's.
//!
//! Where a version is claimed by no operation, those that may have made it are tried in the order in which they must have been done at the
//! latest; a wrong choice is found by what comes after it, and taken back.

use super::Checked;
use super::model::{Shelf, Undo};
use super::times::{Claims, Window};
use super::words::{Effect, Operation};

/// Choices that may be taken back in one SKU's history; more, and the history says too little to be judged.
const RETRIES_MAX: u64 = 1_000_000;

/// A version that no operation claims: the state before it, and the other operations that may have made it.
struct Choice {
    version: u64,
    others: Vec<usize>,
    made: usize,
    placed: Vec<bool>,
    waiting: Vec<usize>,
    next: usize,
}

struct Replay<'h> {
    operations: &'h [&'h Operation],
    claims: &'h Claims,
    windows: &'h [Window],
    /// Who saw which version: sorted by it.
    seen: Vec<(u64, usize)>,
    /// May have made a version, or not.
    maybe: Vec<usize>,
    /// Answered without a version, by the first at which they may stand.
    unplaced: Vec<usize>,
    shelf: Shelf,
    undo: Vec<Undo>,
    /// Of `maybe`.
    placed: Vec<bool>,
    /// Of `unplaced`: their time has come, and no version was theirs yet.
    waiting: Vec<usize>,
    next: usize,
    searched: u64,
}

/// Replays a SKU's history.
pub fn replay(operations: &[&Operation], claims: &Claims, windows: &[Window]) -> Result<Checked, String> {
    let places = || 0..operations.len();
    let mut seen: Vec<(u64, usize)> = places().filter_map(|place| Some((operations[place].seen?, place))).collect();
    seen.sort_unstable();
    let maybe: Vec<usize> = places().filter(|place| operations[*place].effect() == Effect::Maybe).collect();
    let is_unplaced = |place: &usize| {
        let one = operations[*place];
        one.answer.is_some() && one.seen.is_none() && claims.made_by(*place, one).is_none()
    };
    let mut unplaced: Vec<usize> = places().filter(is_unplaced).collect();
    unplaced.sort_by_key(|place| windows[*place].from);
    let counted = unplaced.len();
    let mut replay = Replay {
        operations,
        claims,
        windows,
        seen,
        placed: vec![false; maybe.len()],
        maybe,
        unplaced,
        shelf: Shelf::default(),
        undo: Vec::new(),
        waiting: Vec::new(),
        next: 0,
        searched: 0,
    };
    replay.run()?;
    Ok(Checked {
        operations: operations.len(),
        unanswered: operations.iter().filter(|one| one.answer.is_none()).count(),
        versions: claims.last,
        searched: replay.searched,
        unplaced: counted,
    })
}

impl Replay<'_> {
    fn run(&mut self) -> Result<(), String> {
        let mut choices: Vec<Choice> = Vec::new();
        let mut retries = 0;
        // The anomaly met furthest on is reported: earlier choices were wrong for another reason.
        let mut furthest: Option<(u64, String)> = None;
        let mut result = self.look();
        loop {
            if let Err(why) = result {
                if furthest.as_ref().is_none_or(|(version, _)| *version < self.shelf.version()) {
                    furthest = Some((self.shelf.version(), why));
                }
                retries += 1;
                if retries > RETRIES_MAX {
                    return Err(format!(
                        "more than {RETRIES_MAX} orders were tried and none is lawful; the best one ends so: {}",
                        described(furthest)
                    ));
                }
                result = match self.take_back(&mut choices) {
                    Some(made) => self.place(made),
                    None => return Err(described(furthest)),
                };
                continue;
            }
            let version = self.shelf.version() + 1;
            if version > self.claims.last {
                result = self.all_are_placed();
                if result.is_ok() {
                    return Ok(());
                }
                continue;
            }
            result = match self.claims.maker(version) {
                Some(maker) => self.make(maker, version),
                None => self.choose(version, &mut choices),
            };
        }
    }

    /// The version's claimed maker must make it, and be answered so.
    fn make(&mut self, maker: usize, version: u64) -> Result<(), String> {
        let operation = self.operations[maker];
        let (answer, makes) = self.shelf.answer(operation.op);
        if makes && answer.is(operation.answer) {
            self.undo.push(self.shelf.make(operation.op));
            return self.look();
        }
        let before = self.maker_of(version - 1);
        let instead = if makes { "" } else { ", and that makes no version" };
        Err(format!(
            "{operation} claims version {version}; one hand at a time answers «{answer}»{instead}: before it there is {} ({before})",
            self.shelf
        ))
    }

    /// No operation claims the version: one that was not answered made it.
    fn choose(&mut self, version: u64, choices: &mut Vec<Choice>) -> Result<(), String> {
        let mut able: Vec<usize> = (0..self.maybe.len())
            .filter(|place| {
                let at = self.maybe[*place];
                let window = self.windows[at];
                let latest = window.to.min(self.operations[at].seen.unwrap_or(u64::MAX));
                !self.placed[*place]
                    && window.from < version
                    && version <= latest
                    && self.shelf.answer(self.operations[at].op).1
            })
            .collect();
        // The most urgent one last, where it is taken from.
        able.sort_by_key(|place| {
            let at = self.maybe[*place];
            std::cmp::Reverse(self.windows[at].to.min(self.operations[at].seen.unwrap_or(u64::MAX)))
        });
        let Some(first) = able.pop() else {
            let (before, after) = (self.maker_of(version - 1), self.maker_of(version + 1));
            return Err(format!("version {version} was made by no operation: before it {before}, after it {after}"));
        };
        self.searched += 1;
        choices.push(Choice {
            version,
            others: able,
            made: self.undo.len(),
            placed: self.placed.clone(),
            waiting: self.waiting.clone(),
            next: self.next,
        });
        self.place(first)
    }

    fn place(&mut self, which: usize) -> Result<(), String> {
        self.placed[which] = true;
        self.undo.push(self.shelf.make(self.operations[self.maybe[which]].op));
        self.look()
    }

    /// Back to the last choice that has another way left; gives that way.
    fn take_back(&mut self, choices: &mut Vec<Choice>) -> Option<usize> {
        loop {
            let choice = choices.last_mut()?;
            while self.undo.len() > choice.made {
                let undo = self.undo.pop().expect("more than none");
                self.shelf.unmake(undo);
            }
            debug_assert_eq!(self.shelf.version() + 1, choice.version, "as it was");
            if let Some(other) = choice.others.pop() {
                self.placed.clone_from(&choice.placed);
                self.waiting.clone_from(&choice.waiting);
                self.next = choice.next;
                return Some(other);
            }
            choices.pop();
        }
    }

    /// Every operation that saw this version was answered as the shelf answers now, and no operation's time passes without its answer being right.
    fn look(&mut self) -> Result<(), String> {
        let version = self.shelf.version();
        let from = self.seen.partition_point(|(seen, _)| *seen < version);
        for (_, place) in self.seen[from..].iter().take_while(|(seen, _)| *seen == version) {
            let operation = self.operations[*place];
            if self.claims.made_by(*place, operation) == Some(version) {
                continue;
            }
            let (answer, makes) = self.shelf.answer(operation.op);
            if makes || !answer.is(operation.answer) {
                let maker = self.maker_of(version);
                return Err(format!(
                    "{operation} is not what there was: {} answers «{answer}»; that version was made by {maker}",
                    self.shelf
                ));
            }
        }
        while let Some(place) = self.unplaced.get(self.next).filter(|place| self.windows[**place].from <= version) {
            self.waiting.push(*place);
            self.next += 1;
        }
        self.answer_the_waiting(version)
    }

    /// Answers without a version: each is right at the first version of its time at which it can be, but never before one that had
    /// returned when it was begun.
    fn answer_the_waiting(&mut self, version: u64) -> Result<(), String> {
        loop {
            let first_return = |but: usize| {
                let others = self.waiting.iter().filter(|place| **place != but);
                others.filter_map(|place| self.operations[*place].returned).min().unwrap_or(u64::MAX)
            };
            let right = self.waiting.iter().position(|place| {
                let operation = self.operations[*place];
                let (answer, makes) = self.shelf.answer(operation.op);
                !makes && answer.is(operation.answer) && first_return(*place) > operation.invoked
            });
            match right {
                Some(at) => {
                    self.waiting.remove(at);
                }
                None => break,
            }
        }
        let late = self.waiting.iter().find(|place| self.windows[**place].to <= version);
        match late {
            None => Ok(()),
            Some(place) => {
                let (operation, window) = (self.operations[*place], self.windows[*place]);
                let maker = self.maker_of(version);
                let (from, to) = (window.from, window.to);
                Err(format!(
                    "{operation} was not so at any version from {from} to {to}: the last is {} ({maker})",
                    self.shelf
                ))
            }
        }
    }

    fn all_are_placed(&self) -> Result<(), String> {
        match self.waiting.first() {
            None => Ok(()),
            Some(place) => {
                Err(format!("{} was not so at any version of its time, up to {}", self.operations[*place], self.shelf))
            }
        }
    }

    fn maker_of(&self, version: u64) -> String {
        match self.claims.maker(version) {
            Some(maker) => self.operations[maker].to_string(),
            None => format!("version {version} by an operation that was not answered, or nothing"),
        }
    }
}

fn described(furthest: Option<(u64, String)>) -> String {
    furthest.map(|(_, why)| why).unwrap_or_default()
}
