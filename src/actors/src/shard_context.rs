//! What a shard and its entities share for one ownership.

use super::context::Context;
use super::cores::Core;
use super::messages::shard::ShardNotice;
use super::output::{PendingOutput, Submission};
use super::queue::WriterHandle;
use super::router::Router;
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::{Group, Journal, Shard};
use std::sync::Arc;

/// One per ownership of a shard. The writer runs as long as one of these lives: the shard's actor and its entities hold it.
#[derive(Debug)]
pub(crate) struct ShardContext {
    pub(crate) shard: Shard,
    pub(crate) context: Arc<Context>,
    pub(crate) router: Arc<Router>,
    /// The core on which the shard's actor and its entities run.
    pub(crate) core: Core,
    group: Group,
    writer: WriterHandle,
}

impl ShardContext {
    /// For the shard's ownership that writes through `writer`.
    pub(crate) fn new(shard: Shard, context: Arc<Context>, router: Arc<Router>, writer: WriterHandle) -> Self {
        let (group, core) = (context.store.group_of(shard), context.core_of(shard).clone());
        Self { shard, group, context, router, core, writer }
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

    /// Does the entity belong to the same commit group?
    pub(crate) fn is_in_group(&self, entity: &EntityId) -> bool {
        self.context.store.group_of(self.context.layout.shard_of(entity)) == self.group
    }
}
