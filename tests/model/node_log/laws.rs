//! What must hold in every state, wherever a process has stopped: the names by which the tests ask.

use super::protocol::Protocol;
use super::store::{SHARDS, epoch_of};
use super::world::{Broken, World};
use stateright::Property;

pub(crate) const ONE_ACKNOWLEDGEMENT: &str = "of each seq one event is acknowledged, never two";
pub(crate) const NOTHING_LOST: &str = "what was acknowledged is in a log that the shard's row names, or in its state";
pub(crate) const ONE_BUYER: &str = "the last unit is promised once";
pub(crate) const EPOCHS_RISE: &str = "epochs never fall";
pub(crate) const NO_OLD_ANSWER: &str = "no answer is older than one that was given before it";
pub(crate) const STATES_DURABLE: &str = "states hold only what is durable";
pub(crate) const DENSE: &str = "seqs are dense";
pub(crate) const WRITTEN_ONCE: &str = "a seq is written once";
pub(crate) const NEW_OWNER_KNOWS: &str = "a new owner knows exactly what is durable";
pub(crate) const NO_FALSE_ALARM: &str = "nobody takes a log whose rows were deleted for a damaged one";

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
        Property::always(NEW_OWNER_KNOWS, |_, world: &World| !world.ghost.broken.has(Broken::IGNORANT)),
        Property::always(NO_FALSE_ALARM, |_, world: &World| !world.ghost.broken.has(Broken::FALSE_ALARM)),
    ]
}

/// Would an owner that claims now find everything that was ever answered?
fn nothing_lost(world: &World) -> bool {
    let store = &world.store;
    (0..SHARDS).all(|shard| {
        let (state, flushed) = (&store.states[shard], store.flushed[shard]);
        (1..).zip(world.ghost.acknowledged[shard].into_iter().skip(1)).all(|(seq, event)| {
            event == 0
                || if seq <= flushed {
                    seq <= state.seq && state.events[usize::from(seq)] == event
                } else {
                    store.in_logs(store.owners[shard].logs, shard, seq) == event
                }
        })
    })
}

fn states_durable(world: &World) -> bool {
    (0..SHARDS).all(|shard| {
        let (state, durable) = (&world.store.states[shard], &world.ghost.durable[shard]);
        let there = durable.iter().skip(1).take_while(|event| epoch_of(**event) > 0).count();
        usize::from(state.seq) <= there
            && state.events.iter().zip(durable).all(|(held, real)| *held == 0 || held == real)
    })
}
