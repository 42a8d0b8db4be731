//! Sends on what has become durable, in order: answers to callers, calls to the provider, messages to other groups, figures to the
//! availability views, and to each shard its notices, as one message a batch. The answers of a batch are one message for each core.

use super::context::Context;
use super::messages::ask::Answer;
use super::messages::asker::OneWays;
use super::messages::caller::Answers;
use super::messages::shard::{ShardMsg, ShardNotice};
use super::output::PendingOutput;
use super::provider::ProviderRunner;
use super::router::Router;
use doorbuster_storage::{Epoch, Seq, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One submission in a batch, with its place in the log.
#[derive(Debug)]
pub(crate) struct Batched {
    pub(crate) shard: Shard,
    /// Of the ownership it was written under.
    pub(crate) epoch: Epoch,
    /// The last event of the shard that is durable once the batch is.
    pub(crate) seq: Seq,
    /// Bytes of records the shard has appended since it was claimed.
    pub(crate) bytes: u64,
    pub(crate) outputs: Vec<PendingOutput>,
    pub(crate) notice: Option<ShardNotice>,
}

/// The notices of one batch for one ownership of a shard.
#[derive(Debug, Default)]
struct Notices {
    bytes: u64,
    notices: Vec<(Seq, ShardNotice)>,
}

/// The last step of a writer; it runs where the writer runs.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    context: Arc<Context>,
    router: Arc<Router>,
    provider: ProviderRunner,
    by_shard: BTreeMap<(Shard, Epoch), Notices>,
}

impl Dispatcher {
    /// For one writer.
    pub(crate) const fn new(context: Arc<Context>, router: Arc<Router>, provider: ProviderRunner) -> Self {
        Self { context, router, provider, by_shard: BTreeMap::new() }
    }

    /// Sends on a batch that is durable.
    pub(crate) fn dispatch(&mut self, batch: Vec<Batched>) {
        let mut answers = Answers::default();
        for Batched { shard, epoch, seq, bytes, outputs, notice } in batch {
            for output in outputs {
                match output {
                    PendingOutput::Accepted(caller, mut accepted) => {
                        accepted.seq = seq;
                        answers.push(caller, Answer::Accepted(accepted));
                    }
                    PendingOutput::Stale(caller, version) => answers.push(caller, Answer::Stale { version }),
                    PendingOutput::Refused(caller, refusal) => answers.push(caller, Answer::Refused(*refusal)),
                    PendingOutput::Provider { entity, key, call } => self.provider.call(entity, key, *call),
                    PendingOutput::CrossGroup(message) => self.router.send_one_way(message),
                    PendingOutput::Publish(view, stock) => self.context.views.publish(&view, stock),
                }
            }
            if let Some(notice) = notice {
                let of_shard = self.by_shard.entry((shard, epoch)).or_default();
                of_shard.bytes = bytes;
                of_shard.notices.push((seq, notice));
            }
        }
        answers.send();
        for ((shard, epoch), Notices { bytes, notices }) in std::mem::take(&mut self.by_shard) {
            self.router.send_to_shard(shard, ShardMsg::Durable { epoch, bytes, notices });
        }
    }
}
