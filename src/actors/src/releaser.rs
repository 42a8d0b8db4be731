//! Lets go of what has become durable, in order: answers to callers, calls to the provider, figures to the views, and to each shard
//! what it must know, as one message a batch.

use super::ask::Answer;
use super::context::Context;
use super::output::{CrossGroup, PendingOutput};
use super::provider::ProviderRunner;
use super::shard::ShardMsg;
use super::writer::Released;
use doorbuster_storage::{Epoch, Seq, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one ownership of a shard must be told of one batch.
#[derive(Debug, Default)]
struct Durable {
    bytes: u64,
    outputs: Vec<(Seq, PendingOutput)>,
}

/// The writer's last hand: it runs where the writer runs.
#[derive(Debug)]
pub(crate) struct Releaser {
    context: Arc<Context>,
    provider: ProviderRunner,
    by_shard: BTreeMap<(Shard, Epoch), Durable>,
}

impl Releaser {
    /// For one writer.
    pub(crate) const fn new(context: Arc<Context>, provider: ProviderRunner) -> Self {
        Self { context, provider, by_shard: BTreeMap::new() }
    }

    /// Lets go of a batch that is durable.
    pub(crate) fn release(&mut self, batch: Vec<Released>) {
        for Released { shard, epoch, seq, bytes, outputs } in batch {
            for output in outputs {
                match output {
                    PendingOutput::Accepted(caller, mut accepted) => {
                        accepted.seq = seq;
                        // Whoever asked may have gone.
                        drop(caller.send(Answer::Accepted(accepted)));
                    }
                    PendingOutput::Stale(caller, version) => drop(caller.send(Answer::Stale { version })),
                    PendingOutput::Refused(caller, refusal) => drop(caller.send(Answer::Refused(*refusal))),
                    PendingOutput::Provider { entity, key, call } => self.provider.call(entity, key, *call),
                    PendingOutput::CrossGroup(cross_group) => match *cross_group {
                        CrossGroup::Ask(ask, reply_to) => self.context.send(ask, reply_to),
                        CrossGroup::Answer { entity, key, outcome } => {
                            self.context.router().answer(entity, key, outcome);
                        }
                    },
                    PendingOutput::Publish(view, stock) => self.context.views.publish(&view, stock),
                    PendingOutput::Passivate(_)
                    | PendingOutput::Agenda { .. }
                    | PendingOutput::Flushed(_)
                    | PendingOutput::Barrier(_) => {
                        let of_shard = self.by_shard.entry((shard, epoch)).or_default();
                        of_shard.bytes = bytes;
                        of_shard.outputs.push((seq, output));
                    }
                }
            }
        }
        for ((shard, epoch), Durable { bytes, outputs }) in std::mem::take(&mut self.by_shard) {
            self.context.router().send_to_shard(shard, ShardMsg::Durable { epoch, bytes, outputs });
        }
    }
}
