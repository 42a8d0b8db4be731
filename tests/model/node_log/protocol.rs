//! The protocol as `stateright` explores it: from a state, every statement that any process could execute next.

use super::laws;
use super::process::{At, Held, LogAt, Process, Turn};
use super::rules::{Rule, Size};
use super::store::{Fence, LOGS, NO_ROW, Ownership, POSITIONS, SHARDS, Statement, Store};
use super::world::{Ghost, World};
use stateright::{Model, Property};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// The protocol, less what a test takes out.
#[derive(Debug)]
pub(crate) struct Protocol {
    pub(crate) size: Size,
    pub(crate) without: Vec<Rule>,
    /// What the run has come by.
    shown: Mutex<BTreeSet<&'static str>>,
}

/// One CQL statement, executed and answered, or lost on its way. The first number is the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Begins to claim a shard.
    Begin(u8, u8),
    /// The statement its claim stands at.
    Claim(u8),
    /// Drops its claim.
    Abandon(u8),
    /// A batch with an event of these shards; with or without the reservation of the one unit.
    Append(u8, [bool; SHARDS], bool),
    /// O5.
    Settle(u8),
    /// O4.
    Answer(u8),
    /// Seals the full bucket, or opens the next.
    Roll(u8),
    /// Releases a shard.
    Release(u8, u8),
    /// S2: begins a checkpoint of a shard with its first statement, or goes on with it.
    BeginFlush(u8, u8),
    Flush(u8),
    /// The answer to such a statement is lost; it lands later, or never, and the sender does not know.
    LoseClaim(u8),
    LoseAppend(u8, [bool; SHARDS], bool),
    LoseRoll(u8),
    LoseRelease(u8, u8),
    /// Whoever it is deletes the rows of a bucket of a log that states hold.
    Delete(u8, u8),
    /// The statement that was under way lands.
    Land,
}

impl Protocol {
    pub(crate) fn new(size: Size, without: &[Rule]) -> Self {
        Self { size, without: without.to_vec(), shown: Mutex::default() }
    }

    /// What the run has come by.
    pub(crate) fn shown(&self) -> BTreeSet<&'static str> {
        self.shown.lock().expect("nobody panics with it").clone()
    }

    fn lacks(&self, rule: Rule) -> bool {
        self.without.contains(&rule)
    }

    fn actions_of(&self, world: &World, me: u8, process: &Process, actions: &mut Vec<Action>) {
        if process.flush.stage > 0 {
            actions.push(Action::Flush(me));
        }
        if process.log == LogAt::Lost {
            return;
        }
        self.actions_of_claim(world, me, process, actions);
        if process.log == LogAt::Absent || process.held.iter().all(|held| held.epoch == 0) && !process.is_unsettled() {
            return;
        }
        for (shard, held) in (0..).zip(&process.held) {
            self.actions_of_held(world, me, process, shard, held, actions);
        }
        if process.is_unsettled() {
            actions.push(Action::Settle(me));
            return;
        }
        let may_lose = world.losses > 0;
        let full = process.next < self.size.positions && self.size.bucket_of(process.next) != process.tip;
        if process.log == LogAt::Rolling || full {
            actions.push(Action::Roll(me));
            if may_lose {
                actions.push(Action::LoseRoll(me));
            }
        }
        if process.log == LogAt::Open || self.lacks(Rule::AskTheTail) {
            actions.push(Action::Answer(me));
        }
        if process.log != LogAt::Open || full || process.next >= self.size.positions {
            return;
        }
        let room = |shard: usize| {
            let held = &process.held[shard];
            held.epoch > 0 && held.end < self.size.seqs[shard]
        };
        for shards in [[true, false], [false, true], [true, true]] {
            if (0..SHARDS).any(|shard| shards[shard] && !room(shard)) {
                continue;
            }
            for reserve in [false, true] {
                if reserve && (!shards[0] || !process.has_unit()) {
                    continue;
                }
                actions.push(Action::Append(me, shards, reserve));
                if may_lose {
                    actions.push(Action::LoseAppend(me, shards, reserve));
                }
            }
        }
    }

    fn actions_of_claim(&self, world: &World, me: u8, process: &Process, actions: &mut Vec<Action>) {
        let may_lose = world.losses > 0;
        match process.claim.at {
            At::Idle => {
                // Claimants differ only in their names, so they begin in order.
                let in_order = me < 2 || world.processes[usize::from(me) - 1].log != LogAt::Absent;
                for shard in 0..2_u8 {
                    let at = usize::from(shard);
                    if in_order && process.held[at].epoch == 0 && world.store.owners[at].epoch < self.size.epochs[at] {
                        actions.push(Action::Begin(me, shard));
                    }
                }
            }
            At::Close | At::Own => {
                let shard = process.claim.shard;
                actions.push(Action::Claim(me));
                if may_lose {
                    actions.push(Action::LoseClaim(me));
                }
                if matches!(world.under_way, Statement::Own { shard: lost, to, .. } if lost == shard && to.log == me) {
                    actions.push(Action::Abandon(me));
                }
            }
            _ => actions.push(Action::Claim(me)),
        }
    }

    fn actions_of_held(
        &self,
        world: &World,
        me: u8,
        process: &Process,
        shard: u8,
        held: &Held,
        actions: &mut Vec<Action>,
    ) {
        if held.epoch == 0 {
            return;
        }
        let unsettled = process.pending[usize::from(shard)].seq > 0;
        if world.releases > 0 && (!unsettled || self.lacks(Rule::ReleaseSettled)) {
            actions.push(Action::Release(me, shard));
            if world.losses > 0 {
                actions.push(Action::LoseRelease(me, shard));
            }
        }
        if world.checkpoints > 0 && process.flush.stage == 0 && held.end > held.flushed {
            actions.push(Action::BeginFlush(me, shard));
        }
    }

    fn turn<'a>(&'a self, world: &'a mut World, me: u8) -> Turn<'a> {
        Turn { world, size: &self.size, without: &self.without, me, shows: None }
    }

    fn act(&self, world: &mut World, action: Action) -> Option<&'static str> {
        let me = match action {
            Action::Begin(me, _)
            | Action::Claim(me)
            | Action::Abandon(me)
            | Action::Append(me, ..)
            | Action::Settle(me)
            | Action::Answer(me)
            | Action::Roll(me)
            | Action::Release(me, _)
            | Action::BeginFlush(me, _)
            | Action::Flush(me)
            | Action::LoseClaim(me)
            | Action::LoseAppend(me, ..)
            | Action::LoseRoll(me)
            | Action::LoseRelease(me, _) => me,
            Action::Delete(log, bucket) => return Some(self.delete(world, log, bucket)),
            Action::Land => return Some(self.land(world)),
        };
        let mut turn = self.turn(world, me);
        match action {
            Action::Begin(_, shard) => turn.begin_claim(shard),
            Action::Claim(_) => turn.claim(),
            Action::Abandon(_) => turn.abandon(),
            Action::Append(_, shards, reserve) => turn.append(shards, reserve, true),
            Action::Settle(_) => turn.settle(),
            Action::Answer(_) => turn.answer(),
            Action::Roll(_) => turn.roll(),
            Action::Release(_, shard) => turn.release(shard, true),
            Action::BeginFlush(_, shard) => turn.begin_flush(shard),
            Action::Flush(_) => turn.flush(),
            Action::LoseClaim(_) => turn.lose_step(),
            Action::LoseAppend(_, shards, reserve) => turn.append(shards, reserve, false),
            Action::LoseRoll(_) => turn.lose_roll(),
            Action::LoseRelease(_, shard) => turn.release(shard, false),
            Action::Delete(..) | Action::Land => {}
        }
        turn.shows
    }

    /// May the rows of a bucket go? Only where none can come any more.
    fn may_delete(&self, world: &World, log: u8, bucket: u8) -> bool {
        let store = &world.store;
        matches!(store.fence(log, bucket), Fence::Sealed | Fence::Closed)
            && store.has_rows(&self.size, log, bucket)
            && store.is_stored(&self.size, log, bucket, !self.lacks(Rule::DeleteForAll))
    }

    fn delete(&self, world: &mut World, log: u8, bucket: u8) -> &'static str {
        for position in (0..self.size.positions).filter(|position| self.size.bucket_of(*position) == bucket) {
            world.store.rows[usize::from(log)][usize::from(position)] = NO_ROW;
        }
        if self.lacks(Rule::KeepFences) {
            world.store.fences[usize::from(log)][usize::from(bucket)] = Fence::Never;
        }
        let reads = |process: &Process| {
            matches!(process.claim.at, At::ReadRows | At::ReadFlushed) && process.claim.found.logs >> log & 1 == 1
        };
        if world.processes.iter().any(reads) { "rows go while a claimant reads" } else { "a bucket is deleted" }
    }

    fn land(&self, world: &mut World) -> &'static str {
        let statement = std::mem::take(&mut world.under_way);
        let applied = world.execute(&self.size, &self.without, statement);
        match statement {
            Statement::Append { log, position, row } => {
                let process = world.processes[usize::from(log)];
                if applied && process.pending == row && process.next == position {
                    for (shard, held) in process.held.iter().enumerate().filter(|(_, held)| held.epoch > 0) {
                        world.ghost.answer_from(shard, &held.memory);
                    }
                }
                if applied { "a late append lands" } else { "a late append is refused" }
            }
            Statement::Release { .. } if applied => "a late release lands",
            Statement::Release { .. } => "a late release changes nothing",
            Statement::Own { .. } if applied => "a late claim lands",
            Statement::Own { .. } => "a late claim changes nothing",
            _ if applied => "a late fence lands",
            _ => "a late fence changes nothing",
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    /// The old owner serves two empty shards, its log open.
    fn init_states(&self) -> Vec<World> {
        let owned = Ownership { epoch: 1, log: 0, released: false, logs: 1 };
        let mut store = Store { owners: [owned; SHARDS], ..Store::default() };
        store.fences[0][0] = Fence::Open;
        let mut processes = [Process::default(); LOGS];
        processes[0].log = LogAt::Open;
        processes[0].held = [Held { epoch: 1, ..Held::default() }; SHARDS];
        assert!(usize::from(self.size.positions) <= POSITIONS);
        vec![World {
            store,
            processes,
            under_way: Statement::None,
            losses: self.size.losses,
            checkpoints: self.size.checkpoints,
            releases: self.size.releases,
            ghost: Ghost::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (me, process) in (0..self.size.processes).zip(&world.processes) {
            self.actions_of(world, me, process, actions);
        }
        for log in 0..self.size.processes {
            for bucket in 0..=self.size.bucket_of(self.size.positions - 1) {
                if self.may_delete(world, log, bucket) {
                    actions.push(Action::Delete(log, bucket));
                }
            }
        }
        if world.under_way != Statement::None {
            actions.push(Action::Land);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = *world;
        let shows = self.act(&mut next, action);
        if let Some(what) = shows {
            self.shown.lock().expect("nobody panics with it").insert(what);
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        laws::all()
    }
}
