//! What a shard and its entities share for one ownership.

use super::context::Context;
use super::cores::Core;
use super::messages::entity::Envelope;
use super::messages::shard::ShardNotice;
use super::output::{PendingOutput, Submission};
use super::queue::WriterHandle;
use super::router::Router;
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::Shard;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;

/// One per ownership of a shard: the shard's actor and its entities hold it.
#[derive(Debug)]
pub(crate) struct ShardContext {
    pub(crate) shard: Shard,
    pub(crate) context: Arc<Context>,
    pub(crate) router: Arc<Router>,
    /// The core on which the shard's actor and its entities run.
    pub(crate) core: Core,
    writer: WriterHandle,
    /// Dropped with this: then no actor of the ownership is left (rule E1).
    _alive: mpsc::Sender<Infallible>,
}

impl ShardContext {
    /// For the shard's ownership that writes through `writer`. The receiver ends once no actor of it is left.
    pub(crate) fn new(
        shard: Shard,
        context: Arc<Context>,
        router: Arc<Router>,
        writer: WriterHandle,
    ) -> (Self, mpsc::Receiver<Infallible>) {
        let core = context.core_of(shard).clone();
        let (alive, ended) = mpsc::channel(1);
        (Self { shard, context, router, core, writer, _alive: alive }, ended)
    }

    /// Hands a decision and what waits for it to the writer. `false`: the ownership is over, nothing may follow from the decision.
    pub(crate) fn submit(
        &self,
        record: Option<(u32, Bytes)>,
        outputs: Vec<PendingOutput>,
        notice: Option<ShardNotice>,
    ) -> bool {
        self.writer.submit(Submission { shard: self.shard, record, outputs, notice })
    }

    /// Hands a notice to the writer: it comes back to the shard once everything before it is durable.
    pub(crate) fn notify(&self, notice: ShardNotice) {
        self.submit(None, Vec::new(), Some(notice));
    }

    /// Has the writer write submissions that are not urgent.
    pub(crate) fn flush_writer(&self) {
        self.writer.flush();
    }

    /// Does what the entity decides go to the same writer at this moment? A number that is computed from its shard cannot say that: a shard moves.
    pub(crate) fn is_in_group(&self, entity: &EntityId) -> bool {
        self.router.routes.writer(self.router.shard_of(entity)) == Some(self.writer.id())
    }

    /// The writer of its commit group.
    pub(crate) fn writer(&self) -> u64 {
        self.writer.id()
    }

    /// Was it sent inside another group? Its shard was in that of the sender when it left, and is not any more: what the sender decided may never become
    /// durable, so nothing may follow from it here (rule L2). The sender hears that the copy is gone, and sends another, from group to group.
    pub(crate) fn is_of_other_group(&self, envelope: &Envelope) -> bool {
        envelope.sent_in_group().is_some_and(|writer| writer != self.writer.id())
    }
}
