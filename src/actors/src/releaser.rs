//! Lets go of what has become durable, in order: answers to callers, calls to the provider, figures to the views, and to each shard
//! what it must know, as one message a batch.

use super::ask::Answer;
use super::context::Context;
use super::held::{Abroad, Held};
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
    held: Vec<(Seq, Held)>,
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
        for Released { shard, epoch, seq, bytes, held } in batch {
            for held in held {
                match held {
                    Held::Accepted(caller, mut accepted) => {
                        accepted.seq = seq;
                        // Whoever asked may have gone.
                        drop(caller.send(Answer::Accepted(accepted)));
                    }
                    Held::Stale(caller, version) => drop(caller.send(Answer::Stale { version })),
                    Held::Refused(caller, refusal) => drop(caller.send(Answer::Refused(*refusal))),
                    Held::Provider { entity, key, call } => self.provider.call(entity, key, *call),
                    Held::Abroad(abroad) => match *abroad {
                        Abroad::Ask(ask, reply_to) => self.context.tell(ask, reply_to),
                        Abroad::Answer { entity, key, outcome } => self.context.router().answer(entity, key, outcome),
                    },
                    Held::Publish(view, stock) => self.context.views.publish(&view, stock),
                    Held::Idle(_) | Held::Agenda { .. } | Held::Flushed(_) | Held::Marker(_) => {
                        let of_shard = self.by_shard.entry((shard, epoch)).or_default();
                        of_shard.bytes = bytes;
                        of_shard.held.push((seq, held));
                    }
                }
            }
        }
        for ((shard, epoch), Durable { bytes, held }) in std::mem::take(&mut self.by_shard) {
            self.context.router().send(shard, ShardMsg::Durable { epoch, bytes, held });
        }
    }
}
