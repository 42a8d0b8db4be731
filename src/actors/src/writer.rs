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
use doorbuster_storage::{AppendError, Batch, Epoch, Group, Journal, Record, Seq, Shard};
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchBounds {
    pub(crate) bytes: usize,
    pub(crate) records: usize,
}

/// Where a shard's log ends.
#[derive(Debug, Default)]
struct End {
    epoch: Epoch,
    seq: Seq,
    bytes: u64,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Writer {
    context: Arc<Context>,
    group: Group,
    queue: Queue,
    dispatcher: Dispatcher,
    ends: BTreeMap<Shard, End>,
    bounds: BatchBounds,
    batches: u128,
}

impl Writer {
    /// A writer for `group`, whose shards were claimed with these epochs and ends.
    pub(crate) fn new(
        context: Arc<Context>,
        router: Arc<Router>,
        group: Group,
        ends: BTreeMap<Shard, (Epoch, Seq)>,
        bounds: BatchBounds,
        provider: ProviderRunner,
    ) -> (WriterHandle, Self) {
        let (handle, queue) = Queue::new(Arc::clone(&context.stats));
        let dispatcher = Dispatcher::new(Arc::clone(&context), router, provider);
        let ends = ends.into_iter().map(|(shard, (epoch, seq))| (shard, End { epoch, seq, bytes: 0 })).collect();
        (handle, Self { context, group, queue, dispatcher, ends, bounds, batches: 0 })
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

    /// Takes submissions in order until the batch is full; at least one. A batch never crosses the end of what the store keeps together.
    fn gather(&mut self, waiting: &mut VecDeque<Submission>) -> (Batch, Vec<Batched>) {
        self.batches = self.batches.wrapping_add(1);
        let mut batch = Batch { id: self.batches, records: Vec::with_capacity(waiting.len()) };
        let mut batched = Vec::with_capacity(waiting.len());
        let mut bytes: usize = 0;
        let mut room: Option<u64> = None;
        while let Some(next) = waiting.front() {
            let size = next.record.as_ref().map_or(0, |(_, body)| body.len());
            let events = next.record.as_ref().map_or(0, |(events, _)| u64::from(*events));
            if events > 0 && batch.records.is_empty() {
                let end = self.ends.get(&next.shard).map_or(0, |end| end.seq);
                room = self.context.store.room(end.saturating_add(1));
            }
            let full = bytes.saturating_add(size) > self.bounds.bytes
                || batch.records.len() >= self.bounds.records
                || (!batch.records.is_empty() && room.is_some_and(|room| events > room));
            if full && !batched.is_empty() {
                break;
            }
            room = room.map(|room| room.saturating_sub(events));
            bytes = bytes.saturating_add(size);
            let Some(submission) = waiting.pop_front() else { break };
            let end = self.ends.entry(submission.shard).or_default();
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
        (batch, batched)
    }

    /// Rule O4: an answer that appends nothing leaves only once the store has said, after the request came, that this node still owns the
    /// shard. One read of the store serves all answers of the batch.
    async fn confirm(&self, batched: &[Batched]) -> Result<(), AppendError> {
        if !self.context.store.is_shared() {
            return Ok(());
        }
        let leaving = batched.iter().filter(|one| one.outputs.iter().any(PendingOutput::needs_confirmed_owner));
        let confirmed: BTreeMap<Shard, Epoch> = leaving.map(|one| (one.shard, one.epoch)).collect();
        for (shard, epoch) in confirmed {
            self.context.store.confirm(shard, epoch).await?;
        }
        Ok(())
    }

    /// An append failed: nothing it covered was visible, nothing more is written (rules L8, E2, E5).
    fn stop(self, error: &AppendError, batched: Vec<Batched>, waiting: VecDeque<Submission>) {
        for (shard, end) in &self.ends {
            self.context.lose(*shard, end.epoch, &format!("append to group {}", self.group.0), error);
        }
        self.queue.left(batched.len().saturating_add(waiting.len()));
        let unknown = |outputs: Vec<PendingOutput>| {
            for output in outputs {
                if let PendingOutput::Accepted(caller, _)
                | PendingOutput::Refused(caller, _)
                | PendingOutput::Stale(caller, _) = output
                {
                    caller.answer(Answer::Unknown);
                }
            }
        };
        batched.into_iter().for_each(|one| unknown(one.outputs));
        waiting.into_iter().for_each(|one| unknown(one.outputs));
        self.queue.close().into_iter().for_each(|one| unknown(one.outputs));
    }
}
