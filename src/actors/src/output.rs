//! What an entity hands to the log writer. Nothing here becomes visible before the batch that holds what it depends on is durable
//! (rule L2).
//!
//! ```text
//! Submission ──► PendingOutput ──► dispatcher ──► callers, provider, other groups, availability views
//!          └───► ShardNotice   ──► the shard
//! ```

use super::messages::ask::Accepted;
use super::messages::caller::Caller;
use super::messages::remote::OneWay;
use super::messages::shard::ShardNotice;
use super::view::{AvailabilityView, Stock};
use bytes::Bytes;
use doorbuster_domain::any::Refusal;
use doorbuster_domain::effect::EffectKey;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::payment::ProviderCall;
use doorbuster_storage::Shard;
use std::sync::Arc;

/// What goes out of the commit group.
#[derive(Debug)]
pub(crate) enum PendingOutput {
    /// An acceptance for a caller.
    Accepted(Caller, Box<Accepted>),
    /// A refusal for a caller.
    Refused(Caller, Box<Refusal>),
    /// For a caller who expected another version than this one.
    Stale(Caller, u64),
    /// A call to the payment provider.
    Provider { entity: EntityId, key: EffectKey, call: Box<ProviderCall> },
    /// A command or an answer to an entity of another commit group.
    CrossGroup(OneWay),
    /// What shoppers may see of stock.
    Publish(Arc<AvailabilityView>, Stock),
}

/// The events of one decision, if any, and what waits for them.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) shard: Shard,
    /// Number of events and the record's body; `None`: nothing to journal.
    pub(crate) record: Option<(u32, Bytes)>,
    pub(crate) outputs: Vec<PendingOutput>,
    pub(crate) notice: Option<ShardNotice>,
}

impl PendingOutput {
    /// Could its receiver learn of a state that another owner of the shard has changed since (rule O4)?
    pub(crate) const fn needs_confirmed_owner(&self) -> bool {
        match self {
            Self::Accepted(..) | Self::Refused(..) | Self::Stale(..) | Self::Provider { .. } | Self::CrossGroup(_) => {
                true
            }
            Self::Publish(..) => false,
        }
    }
}

impl Submission {
    /// Does anything wait for it to be durable?
    pub(crate) fn is_urgent(&self) -> bool {
        let notice = match self.notice {
            Some(ShardNotice::Passivate(_) | ShardNotice::Flushed(_) | ShardNotice::Barrier(_)) => true,
            Some(ShardNotice::Agenda { .. }) | None => false,
        };
        notice || self.outputs.iter().any(PendingOutput::needs_confirmed_owner)
    }
}
