//! What must hold in every state, wherever a process has stopped: the names by which the tests ask.

use crate::protocol::Protocol;
use crate::store::{PerSeq, StateRow, epoch_of, reserves};
use crate::world::{Broken, World};
use stateright::Property;

pub(crate) const ONE_ACKNOWLEDGEMENT: &str = "of each seq one event is acknowledged, never two";
pub(crate) const NOTHING_LOST: &str = "what was acknowledged is in the log or in the flushed states";
pub(crate) const ONE_BUYER: &str = "the last unit is promised once";
pub(crate) const EPOCHS_RISE: &str = "epochs never fall in the log";
pub(crate) const NO_OLD_ANSWER: &str = "no answer is older than one that was given before it";
pub(crate) const STATES_DURABLE: &str = "states hold only what is durable";
pub(crate) const DENSE: &str = "seqs are dense";
pub(crate) const WRITTEN_ONCE: &str = "a seq is written once";
pub(crate) const DECIDED_ONCE: &str = "an event counts once";
pub(crate) const FENCES_RISE: &str = "fences never fall";
pub(crate) const FLUSHED_RISES: &str = "flushed_upto never falls";
pub(crate) const NEW_OWNER_KNOWS: &str = "a new owner knows exactly what is durable";
pub(crate) const NO_FALSE_ALARM: &str = "nobody takes a truncated log for a damaged one";

/// The laws, for the checker.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ONE_ACKNOWLEDGEMENT, |_, world: &World| !world.ghost.broken.has(Broken::DOUBLE)),
        Property::always(NOTHING_LOST, |_, world: &World| nothing_lost(world)),
        Property::always(ONE_BUYER, |_, world: &World| world.ghost.sold <= 1),
        Property::always(EPOCHS_RISE, |_, world: &World| !world.ghost.broken.has(Broken::EPOCH_FELL)),
        Property::always(NO_OLD_ANSWER, |_, world: &World| !world.ghost.broken.has(Broken::STALE)),
        Property::always(STATES_DURABLE, |_, world: &World| states_durable(world)),
        Property::always(DENSE, |_, world: &World| !world.ghost.broken.has(Broken::HOLE)),
        Property::always(WRITTEN_ONCE, |_, world: &World| !world.ghost.broken.has(Broken::REWRITTEN)),
        Property::always(DECIDED_ONCE, |_, world: &World| !world.ghost.broken.has(Broken::TWICE)),
        Property::always(FENCES_RISE, |_, world: &World| !world.ghost.broken.has(Broken::FENCE_FELL)),
        Property::always(FLUSHED_RISES, |_, world: &World| !world.ghost.broken.has(Broken::FLUSHED_FELL)),
        Property::always(NEW_OWNER_KNOWS, |_, world: &World| !world.ghost.broken.has(Broken::IGNORANT)),
        Property::always(NO_FALSE_ALARM, |_, world: &World| !world.ghost.broken.has(Broken::FALSE_ALARM)),
    ]
}

/// Would an owner that claims now find everything that was ever answered? It takes from the states what `flushed_upto`
/// covers, and from the log what comes after.
fn nothing_lost(world: &World) -> bool {
    let store = &world.store;
    let acknowledged = |at: usize| world.ghost.acknowledged[at];
    (1..).zip(world.ghost.acknowledged.iter().enumerate().skip(1)).all(|(seq, (at, event))| {
        let row = if reserves(*event) { &store.chunk } else { &store.head };
        *event == 0
            || if seq <= store.flushed.0 {
                seq <= row.seq && row.events[at] == acknowledged(at)
            } else {
                store.covering(seq) == acknowledged(at)
            }
    })
}

fn states_durable(world: &World) -> bool {
    let holds = |row: &StateRow, durable: &PerSeq| {
        let there = durable.iter().skip(1).take_while(|event| epoch_of(**event) > 0).count();
        usize::from(row.seq) <= there && row.events.iter().zip(durable).all(|(held, real)| *held == 0 || held == real)
    };
    holds(&world.store.chunk, &world.ghost.durable) && holds(&world.store.head, &world.ghost.durable)
}
