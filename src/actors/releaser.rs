//! Lets go of what has become durable, in order: answers to callers, calls to the provider, figures to the views, and to each shard
//! what it must know, as one message a batch.

use super::ask::Answer;
use super::context::Context;
use super::held::{Abroad, Held};
use super::provider::ProviderRunner;
use super::shard::ShardMsg;
use super::writer::Released;
use crate::storage::{Epoch, Seq, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What one ownership of a shard must be told of one batch.
#[derive(Debug, Default)]
struct Durable {
    bytes: u64,
    held: Vec<(Seq, Held)>,
}

/// Runs as long as the node.
pub(crate) async fn run(
    mut released: mpsc::UnboundedReceiver<Vec<Released>>,
    context: Arc<Context>,
    provider: ProviderRunner,
) {
    let mut by_shard: BTreeMap<(Shard, Epoch), Durable> = BTreeMap::new();
    while let Some(batch) = released.recv().await {
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
                    Held::Provider { entity, key, call } => provider.call(entity, key, *call),
                    Held::Abroad(abroad) => match *abroad {
                        Abroad::Ask(ask, reply_to) => context.tell(ask, reply_to),
                        Abroad::Answer { entity, key, outcome } => context.router().answer(entity, key, outcome),
                    },
                    Held::Publish(view, stock) => context.views.publish(&view, stock),
                    Held::Idle(_) | Held::Agenda { .. } | Held::Flushed(_) | Held::Marker(_) => {
                        let of_shard = by_shard.entry((shard, epoch)).or_default();
                        of_shard.bytes = bytes;
                        of_shard.held.push((seq, held));
                    }
                }
            }
        }
        for ((shard, epoch), Durable { bytes, held }) in std::mem::take(&mut by_shard) {
            context.router().send(shard, ShardMsg::Durable { epoch, bytes, held });
        }
    }
}
