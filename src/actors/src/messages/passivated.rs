//! An entity without an actor, as its last instance left it.

use bytes::{Buf, BufMut, Bytes};
use doorbuster_domain::any::State;
use doorbuster_domain::entity::Residency;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::{self, Dirty, Meta};
use std::sync::Arc;

/// The state of an entity without an actor; all of it is durable.
#[derive(Debug, Clone)]
pub(crate) struct PassivatedState {
    pub(crate) form: StateForm,
    pub(crate) meta: Meta,
    /// Rows that are not stored yet.
    pub(crate) dirty: Dirty,
}

/// The form in which a state waits for its checkpoint.
#[derive(Debug, Clone)]
pub(crate) enum StateForm {
    /// As the machine has it: long-lived kinds, few and large, of which a checkpoint takes single rows.
    Live(Arc<State>),
    /// All its rows as they are stored, a third of the size: short-lived kinds, many and small.
    Encoded(EncodedRows),
}

/// Bytes before the first row in [`EncodedRows`].
const HEAD_BYTES: usize = size_of::<u8>() + size_of::<u64>();
/// Bytes of a row there beside its body.
const ROW_HEAD_BYTES: usize = size_of::<u16>() + size_of::<u32>();
/// Flag: the state has a deadline.
const WAKES: u8 = 1;
/// Flag: its personal data must be deleted from what is stored.
const ERASED: u8 = 2;

/// The stored rows of a state in one allocation of exactly their length: there are as many as there are waiting orders. Clones share it.
///
/// ```text
/// flags u8 │ earliest deadline u64 │ chunk u16 │ length u32 │ body │ chunk … until the end
/// ```
#[derive(Debug, Clone)]
pub(crate) struct EncodedRows(Arc<[u8]>);

impl EncodedRows {
    /// All rows of `state`, with its deadline and whether it is erased.
    pub(crate) fn of(state: &State, meta: &Meta) -> Self {
        let mut every = Dirty::default();
        every.mark(wire::HEAD);
        let rows = wire::rows_of(state, meta, &every);
        Self::pack(&rows, state.wake_at(Timestamp::default()), state.is_erased())
    }

    fn pack(rows: &[(u16, Bytes)], wake_at: Option<Timestamp>, erased: bool) -> Self {
        let lengths = rows.iter().map(|(_, body)| body.len().saturating_add(ROW_HEAD_BYTES));
        let mut packed = Vec::with_capacity(lengths.fold(HEAD_BYTES, usize::saturating_add));
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        packed.put_u8(flag(wake_at.is_some(), WAKES) | flag(erased, ERASED));
        packed.put_u64_le(wake_at.unwrap_or_default().0);
        for (chunk, body) in rows {
            packed.put_u16_le(*chunk);
            packed.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
            packed.put_slice(body);
        }
        Self(packed.into())
    }

    fn has(&self, flag: u8) -> bool {
        self.0.first().is_some_and(|flags| flags & flag != 0)
    }

    /// Must its personal data be deleted from what is stored?
    pub(crate) fn is_erased(&self) -> bool {
        self.has(ERASED)
    }

    /// Its earliest deadline.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        let at = self.0.get(1..).and_then(<[u8]>::first_chunk).copied().map(u64::from_le_bytes);
        at.filter(|_| self.has(WAKES)).map(Timestamp)
    }

    /// Chunk and body of each.
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
    /// In the form of its kind.
    pub(crate) fn new(entity: &EntityId, state: State, meta: Meta, dirty: Dirty) -> Self {
        let form = if entity.residency() == Residency::LongLived {
            StateForm::Live(Arc::new(state))
        } else {
            StateForm::Encoded(EncodedRows::of(&state, &meta))
        };
        Self { form, meta, dirty }
    }

    /// Must its personal data be deleted from what is stored?
    pub(crate) fn is_erased(&self) -> bool {
        match &self.form {
            StateForm::Live(state) => state.is_erased(),
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
