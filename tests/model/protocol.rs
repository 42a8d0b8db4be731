//! The protocol as `stateright` explores it: from a state, every statement that any process could execute next.

use crate::laws;
use crate::owner::{At, Flush, Owner, Turn};
use crate::rules::{Rule, Size};
use crate::store::{Statement, Store};
use crate::world::{Ghost, OWNERS, UNDER_WAY, World};
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

/// One CQL statement, executed and answered, or lost on its way. The number is the owner's epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// O2 (1).
    Claim(u8),
    /// The statement an owner stands at: O2 (2) to (8), replay, O5's repetition, O3's fence.
    Step(u8),
    /// A batch of this many events; with or without the reservation of the one unit.
    Append(u8, bool, u8),
    /// O4.
    Answer(u8),
    /// O3: read the next bucket.
    Roll(u8),
    /// S2: begin a checkpoint with its first statement, or go on with it.
    Flush(u8),
    /// The answer to such a statement is lost; it lands later, or never, and the sender does not know.
    LoseStep(u8),
    LoseAppend(u8, bool, u8),
    LoseFlush(u8),
    /// A statement that was under way lands.
    Land(usize),
}

impl Protocol {
    pub(crate) fn new(size: Size, without: &[Rule]) -> Self {
        Self { size, without: without.to_vec(), shown: Mutex::default() }
    }

    /// What the run has come by.
    pub(crate) fn shown(&self) -> BTreeSet<&'static str> {
        self.shown.lock().expect("nobody panics with it").clone()
    }

    fn may_flush(&self, world: &World, owner: &Owner) -> bool {
        let undurable = owner.at == At::Unsettled && self.without.contains(&Rule::FlushDurable);
        world.checkpoints > 0 && owner.believes() && (owner.end > owner.flushed || undurable)
    }

    fn actions_of(&self, world: &World, epoch: u8, owner: &Owner, actions: &mut Vec<Action>) {
        let may_lose = world.losses > 0;
        match owner.at {
            At::Gone => {}
            At::Absent if world.store.epoch + 1 == epoch => actions.push(Action::Claim(epoch)),
            At::Absent => {}
            At::Serving => self.actions_of_serving(world, epoch, owner, actions),
            At::RaiseFence | At::RollRaise | At::Unsettled => {
                actions.push(Action::Step(epoch));
                if may_lose {
                    actions.push(Action::LoseStep(epoch));
                }
            }
            _ => actions.push(Action::Step(epoch)),
        }
        if owner.flush != Flush::None || self.may_flush(world, owner) {
            actions.push(Action::Flush(epoch));
            if may_lose {
                actions.push(Action::LoseFlush(epoch));
            }
        }
    }

    fn actions_of_serving(&self, world: &World, epoch: u8, owner: &Owner, actions: &mut Vec<Action>) {
        if owner.must_roll(&self.size) {
            actions.push(Action::Roll(epoch));
            if self.without.contains(&Rule::AskTheTail) {
                actions.push(Action::Answer(epoch));
            }
            return;
        }
        actions.push(Action::Answer(epoch));
        for length in 1..=self.size.batch {
            let last = owner.end + length;
            if last > self.size.seqs || self.size.bucket_of(last) != owner.bucket {
                continue;
            }
            for reserve in [false, true] {
                if reserve && (length > 1 || !owner.has_unit()) {
                    continue;
                }
                actions.push(Action::Append(epoch, reserve, length));
                if world.losses > 0 {
                    actions.push(Action::LoseAppend(epoch, reserve, length));
                }
            }
        }
    }

    fn turn<'a>(&'a self, world: &'a mut World, me: u8) -> Turn<'a> {
        Turn { world, size: &self.size, without: &self.without, me, shows: None }
    }

    fn act(&self, world: &mut World, action: Action) -> Option<&'static str> {
        match action {
            Action::Claim(me) => {
                let mut turn = self.turn(world, me);
                turn.claim();
                turn.shows
            }
            Action::Step(me) => {
                let mut turn = self.turn(world, me);
                turn.step();
                turn.shows
            }
            Action::Append(me, reserve, length) => {
                let mut turn = self.turn(world, me);
                turn.append(reserve, length, true);
                turn.shows
            }
            Action::Answer(me) => {
                let mut turn = self.turn(world, me);
                turn.answer();
                turn.shows
            }
            Action::Roll(me) => {
                let mut turn = self.turn(world, me);
                turn.roll();
                turn.shows
            }
            Action::Flush(me) => {
                let mut turn = self.turn(world, me);
                if turn.owner().flush == Flush::None {
                    turn.begin_flush();
                }
                turn.flush();
                turn.shows
            }
            Action::LoseStep(me) => {
                self.turn(world, me).lose_step();
                None
            }
            Action::LoseAppend(me, reserve, length) => {
                self.turn(world, me).append(reserve, length, false);
                None
            }
            Action::LoseFlush(me) => {
                let mut turn = self.turn(world, me);
                if turn.owner().flush == Flush::None {
                    turn.begin_flush();
                }
                let statement = turn.flush_statement();
                world.lose(statement);
                None
            }
            Action::Land(slot) => Some(self.land(world, slot)),
        }
    }

    fn land(&self, world: &mut World, slot: usize) -> &'static str {
        let statement = std::mem::take(&mut world.under_way[slot]);
        world.under_way.sort_unstable();
        let applied = world.execute(&self.size, &self.without, statement);
        let Statement::Append { epoch, seq, event, .. } = statement else {
            return if applied { "a late write lands" } else { "a late write changes nothing" };
        };
        let owner = &world.owners[usize::from(epoch - 1)];
        let waits = owner.at == At::Unsettled && owner.pending.0 == event && owner.end + 1 == seq;
        if applied && waits {
            let memory = owner.memory;
            world.ghost.answer_from(&memory);
        }
        if applied { "a late append lands" } else { "a late append is refused" }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    /// The old owner serves an empty shard, its fence on the first bucket.
    fn init_states(&self) -> Vec<World> {
        let mut store = Store { epoch: 1, ..Store::default() };
        let first = self.size.bucket_of(1);
        store.fence[usize::from(first)] = 1;
        let mut owners = [Owner::default(); OWNERS];
        owners[0] = Owner { at: At::Serving, bucket: first, ..Owner::default() };
        vec![World {
            store,
            owners,
            under_way: [Statement::None; UNDER_WAY],
            losses: self.size.losses,
            checkpoints: self.size.checkpoints,
            ghost: Ghost::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (epoch, owner) in (1..=self.size.owners).zip(&world.owners) {
            self.actions_of(world, epoch, owner, actions);
        }
        for (slot, statement) in world.under_way.iter().enumerate() {
            if *statement != Statement::None {
                actions.push(Action::Land(slot));
            }
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
