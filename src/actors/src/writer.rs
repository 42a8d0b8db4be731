//! The log writer of a commit group: one queue in, one append in flight, everything that waited out again, in order.
//!
//! ```text
//! entities ──Submission──► queue ──batch──► journal.append ──► dispatcher ──► callers, shards, provider, views
//! ```
//!
//! While one batch is being synced the next one gathers, so load makes batches larger, not slower. The writer gives each
//! record its number; what an entity submits before it sends a message is therefore always ahead of what the message causes
//! (rule L2). After a failed append nothing more is written, and everything pending is answered *unknown* (rules L8, E5).

use super::context::Context;
use super::dispatcher::{Batched, Dispatcher};
use super::messages::ask::Answer;
use super::output::{PendingOutput, Submission};
use super::provider::ProviderRunner;
use super::queue::{Queue, WriterHandle};
use super::router::Router;
use doorbuster_clock::monotonic;
use doorbuster_storage::{AppendError, Batch, Claim, Epoch, Group, Journal, Record, Seq, Shard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchBounds {
    pub(crate) bytes: usize,
    pub(crate) records: usize,
}

/// Where a shard ends.
#[derive(Debug)]
struct End {
    epoch: Epoch,
    seq: Seq,
    bytes: u64,
}

/// The shards of a commit group. They join once they are claimed, and leave once all that they submitted is durable. Clones are the same group.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupShards(Arc<Mutex<BTreeMap<Shard, End>>>);

impl GroupShards {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Shard, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard was claimed.
    pub(crate) fn join(&self, claim: &Claim) {
        self.lock().insert(claim.shard, End { epoch: claim.epoch, seq: claim.end, bytes: 0 });
    }

    /// The ownership has ended. Gives whether it was the last of the group.
    pub(crate) fn leave(&self, shard: Shard, epoch: Epoch) -> bool {
        let mut ends = self.lock();
        if ends.get(&shard).is_some_and(|end| end.epoch == epoch) {
            ends.remove(&shard);
        }
        ends.is_empty()
    }

    /// The ownerships in it.
    pub(crate) fn all(&self) -> BTreeMap<Shard, Epoch> {
        self.lock().iter().map(|(shard, end)| (*shard, end.epoch)).collect()
    }
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Writer {
    context: Arc<Context>,
    group: Group,
    queue: Queue,
    dispatcher: Dispatcher,
    group_shards: GroupShards,
    bounds: BatchBounds,
    batches: u128,
}

impl Writer {
    /// A writer for `group`, which shards join and leave.
    pub(crate) fn new(
        context: Arc<Context>,
        router: Arc<Router>,
        group: Group,
        group_shards: GroupShards,
        bounds: BatchBounds,
        provider: ProviderRunner,
    ) -> (WriterHandle, Self) {
        let (handle, queue) = Queue::new(Arc::clone(&context.stats));
        let dispatcher = Dispatcher::new(Arc::clone(&context), router, provider);
        (handle, Self { context, group, queue, dispatcher, group_shards, bounds, batches: 0 })
    }

    /// Runs until every handle is gone or an append fails.
    pub(crate) async fn run(mut self) {
        let mut waiting: VecDeque<Submission> = VecDeque::new();
        loop {
            if !self.queue.gather(&mut waiting, self.bounds.records).await {
                return;
            }
            let (batch, batched) = self.gather(&mut waiting);
            if batch.records.is_empty() {
                if let Err(error) = self.confirm(&batched).await {
                    self.stop(&error, batched, waiting);
                    return;
                }
            } else {
                if let Some(delay) = self.context.faults.disk_delay(|| self.context.clock.now()) {
                    tokio::time::sleep(delay).await;
                }
                let begun = monotonic();
                let events = batch.records.len();
                match self.context.store.append(self.group, &batch).await {
                    Ok(()) => self.context.stats.appended(events, doorbuster_clock::since(begun)),
                    Err(error) => {
                        self.stop(&error, batched, waiting);
                        return;
                    }
                }
            }
            self.queue.left(batched.len());
            self.dispatcher.dispatch(batched);
        }
    }

    /// Takes submissions in order until the batch is full; at least one.
    fn gather(&mut self, waiting: &mut VecDeque<Submission>) -> (Batch, Vec<Batched>) {
        self.batches = self.batches.wrapping_add(1);
        let mut batch = Batch { id: self.batches, records: Vec::with_capacity(waiting.len()) };
        let mut batched = Vec::with_capacity(waiting.len());
        let mut bytes: usize = 0;
        let mut ends = self.group_shards.lock();
        while let Some(next) = waiting.front() {
            let size = next.record.as_ref().map_or(0, |(_, body)| body.len());
            let full = bytes.saturating_add(size) > self.bounds.bytes || batch.records.len() >= self.bounds.records;
            if full && !batched.is_empty() {
                break;
            }
            bytes = bytes.saturating_add(size);
            let Some(submission) = waiting.pop_front() else { break };
            let Some(end) = ends.get_mut(&submission.shard) else {
                // The shard has left the group, so no actor of it is there to submit anything.
                tracing::error!(
                    shard = submission.shard.0,
                    "a shard that has left its commit group submitted something"
                );
                self.queue.left(1);
                unknown(submission.outputs);
                continue;
            };
            if let Some((events, body)) = submission.record {
                let seq = end.seq.saturating_add(1);
                end.seq = end.seq.saturating_add(u64::from(events));
                end.bytes = end.bytes.saturating_add(u64::try_from(body.len()).unwrap_or(u64::MAX));
                batch.records.push(Record { shard: submission.shard, epoch: end.epoch, seq, events, body });
            }
            batched.push(Batched {
                shard: submission.shard,
                epoch: end.epoch,
                seq: end.seq,
                bytes: end.bytes,
                outputs: submission.outputs,
                notice: submission.notice,
            });
        }
        drop(ends);
        (batch, batched)
    }

    /// Rule O4: an answer that appends nothing leaves only once the store has said, after the request came, that this node still owns the
    /// shards. One read of the store serves all answers of the batch.
    async fn confirm(&self, batched: &[Batched]) -> Result<(), AppendError> {
        if !self.context.store.is_shared() {
            return Ok(());
        }
        let leaving = batched.iter().filter(|one| one.outputs.iter().any(PendingOutput::needs_confirmed_owner));
        let confirmed: BTreeMap<Shard, Epoch> = leaving.map(|one| (one.shard, one.epoch)).collect();
        if confirmed.is_empty() {
            return Ok(());
        }
        self.context.store.confirm(&confirmed).await
    }

    /// An append failed: nothing it covered was visible, nothing more is written (rules L8, E2, E5).
    fn stop(self, error: &AppendError, batched: Vec<Batched>, waiting: VecDeque<Submission>) {
        for (shard, epoch) in self.group_shards.all() {
            self.context.lose(shard, epoch, &format!("append to group {}", self.group.0), error);
        }
        self.queue.left(batched.len().saturating_add(waiting.len()));
        batched.into_iter().for_each(|one| unknown(one.outputs));
        waiting.into_iter().for_each(|one| unknown(one.outputs));
        self.queue.close().into_iter().for_each(|one| unknown(one.outputs));
    }
}

/// Answers the callers that wait for outputs of which it is not known whether they will ever be true.
fn unknown(outputs: Vec<PendingOutput>) {
    for output in outputs {
        if let PendingOutput::Accepted(caller, _)
        | PendingOutput::Refused(caller, _)
        | PendingOutput::Stale(caller, _) = output
        {
            caller.answer(Answer::Unknown);
        }
    }
}
