//! A shard's checkpoints: what changed goes into the store, so that the log before it can go.
//!
//! A barrier goes through the log writer first: every event up to it belongs to an entity that is then asked for its rows, or whose
//! state is passivated in the shard's table. Rows and states come back through the same queue, so nothing that is stored was ever undone
//! by a crash (rule S1).

use super::slot::{Passivated, Slot};
use crate::messages::entity::EntityMsg;
use crate::messages::passivated::PassivatedState;
use crate::messages::shard::{Barrier, Flushed, ShardMsg, ShardNotice};
use crate::settings::Settings;
use crate::shard_context::ShardContext;
use doorbuster_clock::monotonic;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::keyed::KeyedMap;
use doorbuster_storage::{AgendaRow, AppendError, Claim, Journal, Seq, Shard, StateFlush, StateRow};
use ractor::ActorRef;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The unit of [`head_start`]: the whole.
const HEAD_START_PARTS: u64 = 1 << 16;
/// A checkpoint that would write much more than happened is put off, at most for so many intervals.
const PUT_OFF_INTERVALS_MAX: u32 = 6;

type Slots = KeyedMap<EntityId, Slot>;

/// The checkpoint under way, when the next is due, and who waits for one.
#[derive(Debug)]
pub(super) struct Checkpointing {
    under_way: Option<Checkpoint>,
    /// Checkpoints begun; the number of the last.
    begun: u64,
    begun_at: Instant,
    /// States are stored up to here.
    stored_upto: Seq,
    /// Bytes of records appended since the claim.
    bytes: u64,
    /// The same when the last checkpoint began.
    bytes_at_begin: u64,
    /// Bytes of states that the last checkpoint took from residents.
    rewritten: u64,
    /// Erased at the last checkpoint's cut or shortly before: erased again at the next, so that events behind the cut are erased too.
    erase_again: BTreeSet<EntityId>,
    /// Answered when everything is stored.
    waiters: Vec<oneshot::Sender<()>>,
    /// One more checkpoint follows before the waiters are answered.
    again: bool,
    /// A checkpoint failed: nothing more is stored, the ownership is at its end.
    failed: bool,
}

/// A checkpoint under way.
#[derive(Debug)]
struct Checkpoint {
    number: u64,
    /// The barrier's position, once it is durable.
    upto: Option<Seq>,
    /// Residents that have not given their rows yet.
    pending: BTreeSet<EntityId>,
    flush: StateFlush,
    /// The store is at work.
    storing: bool,
    /// The passivated entities in it, each with its version.
    passivated: Vec<(EntityId, u64)>,
}

/// A passivated entity on its way into the store.
type PassivatedRow = (EntityId, PassivatedState, Seq);

impl Checkpointing {
    /// None begun yet.
    pub(super) fn new(claim: &Claim) -> Self {
        Self {
            under_way: None,
            begun: 0,
            begun_at: monotonic(),
            stored_upto: claim.flushed_upto,
            bytes: 0,
            bytes_at_begin: 0,
            rewritten: 0,
            erase_again: BTreeSet::new(),
            waiters: Vec::new(),
            again: false,
            failed: false,
        }
    }

    /// States are stored up to here.
    pub(super) const fn stored_upto(&self) -> Seq {
        self.stored_upto
    }

    /// Is one under way?
    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Is nothing stored any more?
    pub(super) fn has_ended(&self, shared: &ShardContext) -> bool {
        self.failed || shared.context.must_end()
    }

    /// So many bytes of records were appended since the claim.
    pub(super) fn appended(&mut self, bytes: u64) {
        self.bytes = self.bytes.max(bytes);
    }

    /// A checkpoint of a SKU with very many reservations writes most of them again. So the log must have grown by as much as the last one
    /// wrote, or a hot shard would do nothing else: what is written stays within a small multiple of what happened. `seq`: the last durable
    /// event.
    pub(super) fn is_due(&self, shard: Shard, seq: Seq, settings: &Settings) -> bool {
        if seq <= self.stored_upto {
            return false;
        }
        let grown = self.bytes.saturating_sub(self.bytes_at_begin);
        let waited = doorbuster_clock::since(self.begun_at);
        let ahead = if self.begun == 0 { head_start(shard) } else { 0 };
        let rest = |of: u64| of.saturating_sub(of.saturating_mul(ahead) / HEAD_START_PARTS);
        let interval = Duration::from_millis(rest(settings.checkpoint_interval_ms));
        let worth = grown >= self.rewritten;
        (worth && (waited >= interval || grown >= rest(settings.checkpoint_bytes)))
            || waited >= interval * PUT_OFF_INTERVALS_MAX
    }

    /// Begins one, unless one is under way or nothing is stored any more: a checkpoint that failed took rows with it that no entity gives
    /// again, and the next would let the log behind them go (rule L8).
    pub(super) fn begin(&mut self, shared: &ShardContext, slots: &Slots) {
        if self.under_way.is_some() || self.has_ended(shared) {
            return;
        }
        self.begun = self.begun.wrapping_add(1);
        let number = self.begun;
        self.begun_at = monotonic();
        self.bytes_at_begin = self.bytes;
        // Before any entity is asked: what one decides after it gave its rows must lie behind the barrier.
        shared.notify(ShardNotice::Barrier(Barrier::Checkpoint(number)));
        let mut pending = BTreeSet::new();
        for (entity, slot) in slots {
            if let Slot::Resident(resident) = slot
                && !resident.stopping
            {
                resident.send(EntityMsg::Flush(number));
                pending.insert(entity.clone());
            }
        }
        self.under_way = Some(Checkpoint {
            number,
            upto: None,
            pending,
            flush: StateFlush::default(),
            storing: false,
            passivated: Vec::new(),
        });
    }

    /// The barrier of a checkpoint is durable at this position.
    pub(super) fn reached(&mut self, number: u64, seq: Seq) {
        if let Some(checkpoint) = self.under_way.as_mut().filter(|one| one.number == number) {
            checkpoint.upto = Some(seq);
        }
    }

    /// A resident gave its rows.
    pub(super) fn flushed(&mut self, flushed: Flushed, seq: Seq) {
        let Some(checkpoint) = self.under_way.as_mut().filter(|one| one.number == flushed.checkpoint) else { return };
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

    /// An entity is started while rows are gathered: it must give its own. Gives the checkpoint's number; `None`: none is gathering.
    pub(super) fn will_flush(&mut self, entity: &EntityId) -> Option<u64> {
        let checkpoint = self.under_way.as_mut().filter(|one| !one.storing)?;
        checkpoint.pending.insert(entity.clone());
        Some(checkpoint.number)
    }

    /// A resident failed before it gave its rows: its events go into history, and its next instance replays them from there.
    pub(super) fn will_not_flush(&mut self, entity: &EntityId) {
        if let Some(checkpoint) = self.under_way.as_mut() {
            checkpoint.pending.remove(entity);
        }
    }

    /// Once the barrier is durable and all rows are in, the store gets to work.
    pub(super) fn finish(&mut self, shared: &ShardContext, claim: &Claim, slots: &Slots, myself: &ActorRef<ShardMsg>) {
        let Some(checkpoint) = self.under_way.as_mut() else { return };
        let Some(upto) = checkpoint.upto else { return };
        if checkpoint.storing || !checkpoint.pending.is_empty() {
            return;
        }
        checkpoint.storing = true;
        let mut flush = std::mem::take(&mut checkpoint.flush);
        let rewritten: usize = flush.states.iter().map(|row| row.body.len()).fold(0, usize::saturating_add);
        self.rewritten = u64::try_from(rewritten).unwrap_or(u64::MAX);
        // Those without an actor, and those whose actor is stopping.
        let mut leaving: Vec<(&EntityId, &Passivated)> = Vec::with_capacity(slots.len());
        checkpoint.passivated.reserve(slots.len());
        for (entity, slot) in slots {
            match slot {
                Slot::Passivated(passivated) => {
                    checkpoint.passivated.push((entity.clone(), passivated.state.meta.version));
                    leaving.push((entity, passivated));
                }
                Slot::Resident(resident) => {
                    leaving.extend(resident.passivated.as_deref().map(|passivated| (entity, passivated)));
                }
                Slot::Restarting(_) | Slot::Quarantined(_) => {
                    flush.agenda.push(AgendaRow { entity: entity.clone(), wake_at: None, owes: true });
                }
            }
        }
        let mut erased: BTreeSet<EntityId> = flush.erase.drain(..).collect();
        let erased_too = leaving.iter().filter(|(_, passivated)| passivated.state.is_erased());
        erased.extend(erased_too.map(|(entity, _)| (*entity).clone()));
        let mut rows: Vec<PassivatedRow> = Vec::with_capacity(leaving.len());
        rows.extend(leaving.into_iter().filter_map(|(entity, passivated)| row_of(entity, passivated)));
        // The erasure itself may lie behind the cut: then its older events are only erased by the next checkpoint.
        flush.erase.extend(erased.union(&self.erase_again).cloned());
        self.erase_again = erased;
        let (store, claim, myself) = (shared.context.store.clone(), *claim, myself.clone());
        tokio::spawn(async move {
            add_passivated(&mut flush, rows);
            let result = store.checkpoint(&claim, flush, upto).await;
            // A shard that is gone needs no answer.
            drop(myself.send_message(ShardMsg::Checkpointed { upto, result }));
        });
    }

    /// The store is done. `seq`: the last durable event.
    pub(super) fn stored(
        &mut self,
        shared: &ShardContext,
        claim: &Claim,
        slots: &mut Slots,
        seq: Seq,
        upto: Seq,
        result: Result<(), AppendError>,
    ) {
        let Some(checkpoint) = self.under_way.take() else { return };
        match result {
            Ok(()) => {
                self.stored_upto = self.stored_upto.max(upto);
                for (entity, version) in checkpoint.passivated {
                    if let Some(Slot::Passivated(passivated)) = slots.get(&entity)
                        && passivated.state.meta.version == version
                    {
                        slots.remove(&entity);
                    }
                }
                // What was passivated while the checkpoint was under way, and gave everything to it, is in the store now.
                slots.retain(
                    |_, slot| !matches!(slot, Slot::Passivated(passivated) if passivated.state.dirty.is_empty()),
                );
                shared.context.stats.checkpointed();
            }
            Err(error) => {
                // Nothing that was acknowledged is in danger: the log still has it. But this ownership cannot store any more; it ends, and
                // the next one reads what is there (rule L8).
                self.failed = true;
                let what = format!("checkpoint of shard {}", shared.shard);
                shared.context.lose(shared.shard, claim.epoch, &what, &error);
            }
        }
        if !self.waiters.is_empty() {
            let again = std::mem::take(&mut self.again) && !self.has_ended(shared);
            if again && seq > self.stored_upto {
                self.begin(shared, slots);
            } else {
                self.waiters.drain(..).for_each(|done| {
                    done.send(()).ok();
                });
            }
        }
    }

    /// Stores everything, and answers when it is done. A checkpoint that is under way may have begun too early, so one more follows it.
    pub(super) fn store_all(&mut self, shared: &ShardContext, slots: &Slots, done: oneshot::Sender<()>) {
        if self.has_ended(shared) {
            // Nothing will be stored any more: the receiver hears it, because `done` is dropped.
            return;
        }
        self.waiters.push(done);
        self.again = self.under_way.is_some();
        self.begin(shared, slots);
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

/// Shards take turns with their checkpoints: all at once would take cores, disk and fresh memory from the orders in one moment. So the first
/// of each comes earlier by a share of its own; after it, all go the same way. Multiples of the golden ratio are spread evenly over any
/// number of shards. In parts of [`HEAD_START_PARTS`].
fn head_start(shard: Shard) -> u64 {
    u64::from(shard.0.wrapping_mul(40_503))
}
