//! A shard's checkpoint: what changed goes into the store, so that the log before it can go.
//!
//! A barrier goes through the log writer first: every event up to it belongs to an entity that is then asked for its rows, or whose
//! state is passivated in the shard's table. Rows and states come back through the same queue, so nothing that is stored was ever undone by a
//! crash (rule S1).

use super::entity::EntityMsg;
use super::output::{Barrier, Flushed, PassivatedState, PendingOutput};
use super::shard::{ShardMsg, ShardState};
use super::slot::{Passivated, Slot};
use doorbuster_clock::monotonic;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::{AgendaRow, AppendError, Journal, Seq, StateFlush, StateRow};
use ractor::ActorRef;
use std::collections::BTreeSet;

/// A checkpoint under way.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) number: u64,
    /// The barrier's position, once it is durable.
    pub(super) upto: Option<Seq>,
    /// Residents that have not given their rows yet.
    pending: BTreeSet<EntityId>,
    flush: StateFlush,
    /// The store is at work.
    storing: bool,
    /// Passivated entities in it, and in which version.
    passivated: Vec<(EntityId, u64)>,
}

/// A passivated entity on its way into the store.
type PassivatedRow = (EntityId, PassivatedState, Seq);

impl ShardState {
    /// Begins a checkpoint, unless one is under way or the node must end: one that failed took rows with it that nobody will give
    /// again, and the next would let go of the log behind them (rule L8).
    pub(super) fn begin_checkpoint(&mut self) {
        if self.checkpoint.is_some() || self.must_end() {
            return;
        }
        self.checkpoints = self.checkpoints.wrapping_add(1);
        let number = self.checkpoints;
        self.checkpointed_at = monotonic();
        self.bytes_checkpointed = self.bytes;
        self.submit(vec![PendingOutput::Barrier(Barrier::Checkpoint(number))]);
        let mut pending = BTreeSet::new();
        for (entity, slot) in &mut self.slots {
            if let Slot::Resident(resident) = slot
                && !resident.stopping
            {
                resident.send(EntityMsg::Flush(number));
                pending.insert(entity.clone());
            }
        }
        self.checkpoint = Some(Checkpoint {
            number,
            upto: None,
            pending,
            flush: StateFlush::default(),
            storing: false,
            passivated: Vec::new(),
        });
    }

    /// A resident gave its rows.
    pub(super) fn flushed(&mut self, flushed: Flushed, seq: Seq) {
        let Some(checkpoint) = self.checkpoint.as_mut().filter(|one| one.number == flushed.checkpoint) else { return };
        if !checkpoint.pending.remove(&flushed.entity) || flushed.rows.is_empty() {
            return;
        }
        let Flushed { entity, rows, wake_at, owes, erased, .. } = flushed;
        if erased {
            checkpoint.flush.erase.push(entity.clone());
        }
        checkpoint.flush.agenda.push(AgendaRow { entity: entity.clone(), wake_at, owes });
        let rows = rows.into_iter().map(|(chunk, body)| StateRow { entity: entity.clone(), chunk, seq, body });
        checkpoint.flush.states.extend(rows);
    }

    /// An entity comes back while rows are gathered: it is asked for its own. Gives the checkpoint's number; `None`: none is
    /// gathering.
    pub(super) fn will_flush(&mut self, entity: &EntityId) -> Option<u64> {
        let checkpoint = self.checkpoint.as_mut().filter(|one| !one.storing)?;
        checkpoint.pending.insert(entity.clone());
        Some(checkpoint.number)
    }

    /// A resident failed before it gave its rows: its events go into history, and whoever recovers it replays them from there.
    pub(super) fn will_not_flush(&mut self, entity: &EntityId) {
        if let Some(checkpoint) = self.checkpoint.as_mut() {
            checkpoint.pending.remove(entity);
        }
    }

    /// Once the barrier is durable and all rows are in, the store gets to work.
    pub(super) fn finish_checkpoint(&mut self, myself: &ActorRef<ShardMsg>) {
        let Some(checkpoint) = self.checkpoint.as_mut() else { return };
        let Some(upto) = checkpoint.upto else { return };
        if checkpoint.storing || !checkpoint.pending.is_empty() {
            return;
        }
        checkpoint.storing = true;
        let mut flush = std::mem::take(&mut checkpoint.flush);
        let rewritten: usize = flush.states.iter().map(|row| row.body.len()).fold(0, usize::saturating_add);
        self.rewritten = u64::try_from(rewritten).unwrap_or(u64::MAX);
        // What has no actor any more, or will have none in a moment.
        let mut without_actor: Vec<(&EntityId, &Passivated)> = Vec::with_capacity(self.slots.len());
        checkpoint.passivated.reserve(self.slots.len());
        for (entity, slot) in &self.slots {
            match slot {
                Slot::Passivated(passivated) => {
                    checkpoint.passivated.push((entity.clone(), passivated.state.meta.version));
                    without_actor.push((entity, passivated));
                }
                Slot::Resident(resident) => {
                    without_actor.extend(resident.passivated.as_deref().map(|passivated| (entity, passivated)));
                }
                Slot::Restarting(_) | Slot::Quarantined(_) => {
                    flush.agenda.push(AgendaRow { entity: entity.clone(), wake_at: None, owes: true });
                }
            }
        }
        let mut erased: BTreeSet<EntityId> = flush.erase.drain(..).collect();
        let gone = without_actor.iter().filter(|(_, passivated)| passivated.state.is_erased());
        erased.extend(gone.map(|(entity, _)| (*entity).clone()));
        let mut passivated_rows: Vec<PassivatedRow> = Vec::with_capacity(without_actor.len());
        passivated_rows.extend(without_actor.into_iter().filter_map(|(entity, passivated)| row_of(entity, passivated)));
        // The erasure itself may lie behind the cut: then its older events are only seen to by the next checkpoint.
        flush.erase.extend(erased.union(&self.erase_again).cloned());
        self.erase_again = erased;
        let (store, claim, myself) = (self.context.store.clone(), self.claim, myself.clone());
        tokio::spawn(async move {
            add_passivated(&mut flush, passivated_rows);
            let result = store.checkpoint(&claim, flush, upto).await;
            // A shard that is gone needs no answer.
            drop(myself.send_message(ShardMsg::Checkpointed { upto, result }));
        });
    }

    /// The store is done.
    pub(super) fn checkpointed(&mut self, upto: Seq, result: Result<(), AppendError>) {
        let Some(checkpoint) = self.checkpoint.take() else { return };
        match result {
            Ok(()) => {
                self.flushed_upto = self.flushed_upto.max(upto);
                for (entity, version) in checkpoint.passivated {
                    if let Some(Slot::Passivated(passivated)) = self.slots.get(&entity)
                        && passivated.state.meta.version == version
                    {
                        self.slots.remove(&entity);
                    }
                }
                // What without_actor while the checkpoint was under way, and gave everything to it, is in the store now.
                self.slots.retain(
                    |_, slot| !matches!(slot, Slot::Passivated(passivated) if passivated.state.dirty.is_empty()),
                );
                self.context.stats.checkpointed();
            }
            Err(error) => {
                // Nothing that was acknowledged is in danger: the log still has it. But a store that does not store is no
                // store; this ownership ends and the next one looks at what is there (rule L8).
                self.lost = true;
                let what = format!("checkpoint of shard {}", self.shard);
                self.context.lose(self.shard, self.claim.epoch, &what, &error);
            }
        }
        if !self.flush_waiters.is_empty() {
            let again = std::mem::take(&mut self.flush_again) && !self.must_end();
            if again && self.seq > self.flushed_upto {
                self.begin_checkpoint();
            } else {
                self.flush_waiters.drain(..).for_each(|done| {
                    done.send(()).ok();
                });
            }
        }
    }

    /// Stores everything, and says when it is done: a checkpoint that is under way may have begun too early, so one more follows.
    pub(super) fn flush_all(&mut self, done: tokio::sync::oneshot::Sender<()>) {
        if self.must_end() {
            // Nothing will be stored any more: whoever waits hears it, because `done` is dropped.
            return;
        }
        self.flush_waiters.push(done);
        self.flush_again = self.checkpoint.is_some();
        self.begin_checkpoint();
    }
}

fn row_of(entity: &EntityId, passivated: &Passivated) -> Option<PassivatedRow> {
    (!passivated.state.dirty.is_empty()).then(|| (entity.clone(), passivated.state.clone(), passivated.seq))
}

fn add_passivated(flush: &mut StateFlush, passivated: Vec<PassivatedRow>) {
    // Most have a head and a personal row.
    flush.states.reserve(passivated.len().saturating_mul(2));
    flush.agenda.reserve(passivated.len());
    for (entity, state, seq) in passivated {
        for (chunk, body) in state.rows() {
            flush.states.push(StateRow { entity: entity.clone(), chunk, seq, body });
        }
        flush.agenda.push(AgendaRow { entity, wake_at: state.wake_at(), owes: false });
    }
}
