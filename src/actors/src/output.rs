//! What waits for durability: nothing here becomes visible before the batch that holds what it depends on is synced (rule L2).

use super::ask::{Accepted, Answer};
use super::entity::{EntityMsg, is_erased, is_long_lived};
use super::view::AvailabilityView;
use bytes::{Buf, BufMut, Bytes};
use doorbuster_domain::any::{Refusal, State};
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::payment::ProviderCall;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Shard;
use doorbuster_storage::wire::{self, Dirty, Meta};
use ractor::ActorRef;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Who wants to hear the answer.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// Somebody outside, who waits for durability.
    Caller(oneshot::Sender<Answer>),
    /// An entity that owes an effect.
    Entity {
        /// Its name.
        entity: EntityId,
        /// The effect this settles.
        key: EffectKey,
        /// Its actor, so that inside a commit group the answer travels straight …
        actor: ActorRef<EntityMsg>,
        /// … and the life of it that asked: the actor may host another entity by then.
        instance: u64,
    },
    /// An entity of another node that owes an effect.
    OtherGroup {
        /// Its name.
        entity: EntityId,
        /// The effect this settles.
        key: EffectKey,
    },
    /// Nobody.
    Nobody,
}

/// The newest word on an entity, given when it may leave memory.
#[derive(Debug)]
pub(crate) struct Passivate {
    pub(crate) entity: EntityId,
    pub(crate) instance: u64,
    /// How many of the shard's messages it had handled.
    pub(crate) handled: u64,
    pub(crate) state: PassivatedState,
    pub(crate) wake_at: Option<Timestamp>,
}

/// An entity between two lives, as the last one left it.
#[derive(Debug, Clone)]
pub(crate) struct PassivatedState {
    pub(crate) form: StateForm,
    pub(crate) meta: Meta,
    /// Rows that are not stored yet.
    pub(crate) dirty: Dirty,
}

/// In what form a state waits.
#[derive(Debug, Clone)]
pub(crate) enum StateForm {
    /// As it lives: the few large ones, of which a checkpoint takes single rows.
    Live(Arc<State>),
    /// As it is stored, all its rows: the many small ones, a third of the size.
    Encoded(EncodedRows),
}

/// Bytes before the first row in [`EncodedRows`].
const HEAD_BYTES: usize = size_of::<u8>() + size_of::<u64>();
/// What a row costs there beside its body.
const ROW_HEAD_BYTES: usize = size_of::<u16>() + size_of::<u32>();
/// Of the first byte there: there is a deadline.
const WAKES: u8 = 1;
/// Of the same: its personal data is to go.
const ERASED: u8 = 2;

/// A state as it is stored, in one piece of memory of just its length, for there are as many as orders wait. Its clones are the same piece.
///
/// ```text
/// flags u8 │ earliest deadline u64 │ chunk u16 │ length u32 │ body │ chunk … until the end
/// ```
#[derive(Debug, Clone)]
pub(crate) struct EncodedRows(Arc<[u8]>);

impl EncodedRows {
    /// All rows of `state`, and what a checkpoint must know of it.
    pub(crate) fn of(state: &State, meta: &Meta) -> Self {
        let mut every = Dirty::default();
        every.mark(wire::HEAD);
        let rows = wire::rows_of(state, meta, &every);
        Self::pack(&rows, state.wake_at(Timestamp::default()), is_erased(state))
    }

    fn pack(rows: &[(u16, Bytes)], wake_at: Option<Timestamp>, erased: bool) -> Self {
        let lengths = rows.iter().map(|(_, body)| body.len().saturating_add(ROW_HEAD_BYTES));
        let mut packed = Vec::with_capacity(lengths.fold(HEAD_BYTES, usize::saturating_add));
        let flag = |says: bool, flag: u8| if says { flag } else { 0 };
        packed.put_u8(flag(wake_at.is_some(), WAKES) | flag(erased, ERASED));
        packed.put_u64_le(wake_at.unwrap_or_default().0);
        for (chunk, body) in rows {
            packed.put_u16_le(*chunk);
            packed.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
            packed.put_slice(body);
        }
        Self(packed.into())
    }

    fn says(&self, flag: u8) -> bool {
        self.0.first().is_some_and(|flags| flags & flag != 0)
    }

    /// Its personal data is to go from what is stored.
    pub(crate) fn is_erased(&self) -> bool {
        self.says(ERASED)
    }

    /// Its earliest deadline.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        let at = self.0.get(1..).and_then(<[u8]>::first_chunk).copied().map(u64::from_le_bytes);
        at.filter(|_| self.says(WAKES)).map(Timestamp)
    }

    /// All of them.
    pub(crate) fn rows(&self) -> Vec<(u16, Bytes)> {
        // Most have a head and a personal row.
        let mut rows = Vec::with_capacity(2);
        let mut rest = Bytes::from_owner(Arc::clone(&self.0));
        rest.advance(rest.len().min(HEAD_BYTES));
        while let (Ok(chunk), Ok(length)) = (rest.try_get_u16_le(), rest.try_get_u32_le()) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            rows.push((chunk, rest.split_to(length.min(rest.len()))));
        }
        rows
    }
}

impl PassivatedState {
    /// What an entity leaves that was found in the journal.
    pub(crate) fn new(entity: &EntityId, state: State, meta: Meta, dirty: Dirty) -> Self {
        let form = if is_long_lived(entity) {
            StateForm::Live(Arc::new(state))
        } else {
            StateForm::Encoded(EncodedRows::of(&state, &meta))
        };
        Self { form, meta, dirty }
    }

    /// Its personal data is to go from what is stored.
    pub(crate) fn is_erased(&self) -> bool {
        match &self.form {
            StateForm::Live(state) => is_erased(state),
            StateForm::Encoded(rows) => rows.is_erased(),
        }
    }

    /// Its earliest deadline.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        match &self.form {
            StateForm::Live(state) => state.wake_at(Timestamp::default()),
            StateForm::Encoded(rows) => rows.wake_at(),
        }
    }

    /// The rows that a checkpoint must store.
    pub(crate) fn rows(&self) -> Vec<(u16, Bytes)> {
        match &self.form {
            StateForm::Live(state) => wire::rows_of(state, &self.meta, &self.dirty),
            StateForm::Encoded(rows) => rows.rows(),
        }
    }
}

/// The rows an entity gives to a checkpoint.
#[derive(Debug)]
pub(crate) struct Flushed {
    pub(crate) checkpoint: u64,
    pub(crate) entity: EntityId,
    pub(crate) rows: Vec<(u16, Bytes)>,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) owes: bool,
    /// Its personal data is to go from what is stored.
    pub(crate) erased: bool,
}

/// One thing that waits.
#[derive(Debug)]
pub(crate) enum PendingOutput {
    /// An acceptance for a caller.
    Accepted(oneshot::Sender<Answer>, Box<Accepted>),
    /// A refusal for a caller.
    Refused(oneshot::Sender<Answer>, Box<Refusal>),
    /// A caller who knew another version than this one.
    Stale(oneshot::Sender<Answer>, u64),
    /// A call to the payment provider.
    Provider { entity: EntityId, key: EffectKey, call: Box<ProviderCall> },
    /// A question or an answer to an entity of another commit group.
    CrossGroup(Box<CrossGroup>),
    /// The entity may leave memory.
    Passivate(Box<Passivate>),
    /// The agenda's entry of an entity that stays.
    Agenda { entity: EntityId, wake_at: Option<Timestamp>, owes: bool },
    /// Rows for a checkpoint.
    Flushed(Box<Flushed>),
    /// Everything its shard submitted before is durable.
    Barrier(Barrier),
    /// What shoppers may see of a SKU's stock.
    Publish(Arc<AvailabilityView>, super::view::Stock),
}

/// Why a shard wants to know how far its log is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// A checkpoint of this number begins here.
    Checkpoint(u64),
    /// A failed instance's last submissions are durable; the next may start (rule E1).
    Exit { entity: EntityId, instance: u64 },
}

/// What crosses from one commit group into another.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it only travels boxed, in `PendingOutput::CrossGroup`")]
pub(crate) enum CrossGroup {
    /// A question.
    Ask(super::ask::Ask, ReplyTo),
    /// An answer.
    Answer { entity: EntityId, key: EffectKey, outcome: Outcome },
}

/// What an entity hands to the log writer: the events of one decision, if any, and what waits for them.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) shard: Shard,
    /// Number of events and the record's body; `None`: only something that waits.
    pub(crate) record: Option<(u32, Bytes)>,
    pub(crate) outputs: Vec<PendingOutput>,
}

impl PendingOutput {
    /// Does it go out of the commit group, to somebody who might otherwise hear what is no longer so (rule O4)?
    pub(crate) const fn leaves(&self) -> bool {
        match self {
            Self::Accepted(..) | Self::Refused(..) | Self::Stale(..) | Self::Provider { .. } | Self::CrossGroup(_) => {
                true
            }
            Self::Passivate(_) | Self::Agenda { .. } | Self::Flushed(_) | Self::Barrier(_) | Self::Publish(..) => false,
        }
    }
}

impl Submission {
    /// Does anybody wait for it to be durable?
    pub(crate) fn is_urgent(&self) -> bool {
        self.outputs.iter().any(|output| match output {
            PendingOutput::Publish(..) | PendingOutput::Agenda { .. } => false,
            PendingOutput::Accepted(..)
            | PendingOutput::Refused(..)
            | PendingOutput::Stale(..)
            | PendingOutput::Provider { .. }
            | PendingOutput::CrossGroup(_)
            | PendingOutput::Passivate(_)
            | PendingOutput::Flushed(_)
            | PendingOutput::Barrier(_) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_rows_come_back_with_what_a_checkpoint_must_know() {
        let rows = [(0, Bytes::from_static(b"head")), (7, Bytes::new()), (u16::MAX, Bytes::from(vec![3; 70_000]))];
        for length in 0..=rows.len() {
            for wake_at in [None, Some(Timestamp(0)), Some(Timestamp(u64::MAX))] {
                for erased in [false, true] {
                    let packed = EncodedRows::pack(&rows[..length], wake_at, erased);
                    assert_eq!(packed.rows(), rows[..length]);
                    assert_eq!((packed.wake_at(), packed.is_erased()), (wake_at, erased));
                }
            }
        }
    }

    #[test]
    fn a_state_that_waits_takes_little_beside_its_rows() {
        assert_eq!((size_of::<EncodedRows>(), size_of::<PassivatedState>()), (16, 56));
    }
}
