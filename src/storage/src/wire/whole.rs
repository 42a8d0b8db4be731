//! The rows of a state: a head row with the meta data, and personal data in a row of its own.
//!
//! ```text
//! head      = [version, events, created_at, updated_at] │ state      version: of the kind's states; a later one is rebuilt from history
//! personal  = version │ personal                                     chunk 65535: can be deleted without touching the state
//! ```

use super::form::{self, Reader, damaged};
use super::versions::Versioned;
use super::{HEAD, Meta, PERSONAL, WireError};
use bytes::Bytes;
use doorbuster_domain::codec::{self as minicbor, Apart, Decode, Encode};
use doorbuster_domain::time::Timestamp;

const WHAT: &str = "a stored state";

/// What a head row says of itself.
#[derive(Encode, Decode)]
struct Head {
    #[n(0)]
    version: u16,
    #[n(1)]
    events: u64,
    #[n(2)]
    created_at: Timestamp,
    #[n(3)]
    updated_at: Timestamp,
}

/// Appends what stands in a head row before the state.
pub(super) fn write_head(version: u16, meta: &Meta, out: &mut Vec<u8>) {
    let head = Head { version, events: meta.version, created_at: meta.created_at, updated_at: meta.updated_at };
    form::write(&head, out, &mut ());
}

/// Takes a head row apart: version of the state, meta data, state.
pub(super) fn read_head_row(rows: &[(u16, Bytes)]) -> Result<(u16, Meta, &[u8]), WireError> {
    let body = rows.iter().find(|(chunk, _)| *chunk == HEAD).ok_or_else(|| damaged(WHAT, "its head row is missing"))?;
    let mut reader = Reader::new(WHAT, &body.1);
    let Head { version, events, created_at, updated_at } = reader.value(&mut ())?;
    Ok((version, Meta { version: events, created_at, updated_at }, reader.rest()))
}

/// A row that is a value behind its version.
pub(super) fn write_versioned<T: Encode<C>, C>(value: &T, version: u16, context: &mut C) -> Bytes {
    let (row, ()) = form::exact(|out| {
        form::write(&version, out, &mut ());
        form::write(value, out, context);
    });
    row
}

/// Reads a row that [`write_versioned`] made.
pub(super) fn read_versioned<'b, T: Versioned + Decode<'b, C>, C>(
    row: &'b [u8],
    context: &mut C,
) -> Result<T, WireError> {
    let mut reader = Reader::new(T::WHAT, row);
    let version = reader.value(&mut ())?;
    T::read_as(version, reader.rest(), context)
}

/// The rows of a kind whose state is one row: its facts, and its personal data if it has any.
pub(super) fn rows_of<T: Versioned + for<'a> Encode<Apart<'a>>>(state: &T, meta: &Meta) -> Vec<(u16, Bytes)> {
    let mut personal = Vec::new();
    let (head, has_personal) = form::exact(|out| {
        let mut apart = Apart::to(&mut personal);
        write_head(T::newest(), meta, out);
        form::write(state, out, &mut apart);
        apart.is_written()
    });
    let mut rows = vec![(HEAD, head)];
    if has_personal {
        let (row, ()) = form::exact(|out| {
            form::write(&T::newest(), out, &mut ());
            out.extend_from_slice(&personal);
        });
        rows.push((PERSONAL, row));
    }
    rows
}

/// Reads what [`rows_of`] made; without its personal data once that is erased.
pub(super) fn state_of<T: Versioned + for<'a, 'b> Decode<'b, Apart<'a>>>(
    rows: &[(u16, Bytes)],
) -> Result<(T, Meta), WireError> {
    let (version, meta, facts) = read_head_row(rows)?;
    let personal = match rows.iter().find(|(chunk, _)| *chunk == PERSONAL) {
        None => None,
        Some((_, row)) => {
            let mut reader = Reader::new(T::WHAT, row);
            let written: u16 = reader.value(&mut ())?;
            if written != version {
                return Err(WireError::Version { what: T::WHAT, version: written });
            }
            Some(reader.rest())
        }
    };
    read_with(version, facts, personal).map(|state| (state, meta))
}

/// Reads facts of a version, with the personal data that stood apart from them.
pub(super) fn read_with<T: Versioned + for<'a, 'b> Decode<'b, Apart<'a>>>(
    version: u16,
    facts: &[u8],
    personal: Option<&[u8]>,
) -> Result<T, WireError> {
    let mut apart = Apart::stored(personal);
    let value = T::read_as(version, facts, &mut apart)?;
    if apart.is_left_over() { Err(damaged(T::WHAT, "more personal data than there are fields")) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::codec::{KeepsApart, apart};
    use proptest::prelude::*;
    use std::sync::Arc;

    const META: Meta = Meta { version: 3, created_at: Timestamp(1), updated_at: Timestamp(2) };

    /// A state with a fact and with personal data.
    #[derive(Debug, PartialEq, Encode, Decode)]
    #[cbor(context_bound = "KeepsApart")]
    struct Named {
        #[n(0)]
        fact: u8,
        #[cbor(n(1), with = "apart")]
        name: Option<Arc<String>>,
    }

    impl Versioned for Named {
        const WHAT: &'static str = "a named state";
        const UPCASTERS: &'static [fn(Self) -> Self] = &[];
    }

    fn named() -> Named {
        Named { fact: 5, name: Some(Arc::new("Ada".to_owned())) }
    }

    fn rows() -> Vec<(u16, Bytes)> {
        rows_of(&named(), &META)
    }

    /// What is written once is readable for as long as its version is known: these bytes never change.
    #[test]
    fn rows_are_these_bytes() {
        let head = Bytes::from_static(b"\x84\x01\x03\x41\x01\x41\x02\x82\x05\xf5");
        assert_eq!(rows(), [(HEAD, head), (PERSONAL, Bytes::from_static(b"\x01\x63Ada"))]);
    }

    #[test]
    fn a_state_is_read_without_personal_data_once_that_is_erased() {
        assert_eq!(state_of(&rows()), Ok((named(), META)));
        assert_eq!(state_of(&rows()[..1]), Ok((Named { name: None, ..named() }, META)));
    }

    #[test]
    fn another_version_is_named_so_that_the_state_is_rebuilt() {
        let later = Err(WireError::Version { what: Named::WHAT, version: 2 });
        let mut head = vec![];
        write_head(2, &META, &mut head);
        assert_eq!(state_of::<Named>(&[(HEAD, Bytes::from(head))]), later);
        let mixed = [rows()[0].clone(), (PERSONAL, Bytes::from_static(b"\x02\x63Ada"))];
        assert_eq!(state_of::<Named>(&mixed), later);
    }

    #[test]
    fn a_state_without_its_head_row_is_damaged() {
        assert!(matches!(state_of::<Named>(&rows()[1..]), Err(WireError::Damaged { .. })));
        assert!(matches!(state_of::<Named>(&[]), Err(WireError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn random_rows_of_every_kind_are_read_or_refused(head: Vec<u8>, personal: Vec<u8>) {
            use doorbuster_domain::ids::{CartId, EntityId, OrderId, ProductId, ReservationId, Sku, WarehouseId};
            let mut known_version = Vec::new();
            write_head(1, &META, &mut known_version);
            known_version.extend_from_slice(&head);
            for head in [head, known_version] {
                let rows = [(HEAD, Bytes::from(head)), (1, Bytes::from(personal.clone())), (PERSONAL, Bytes::from(personal.clone()))];
                for entity in [
                    EntityId::Inventory(Sku::parse("a").unwrap()),
                    EntityId::Cart(CartId(1)),
                    EntityId::Order(OrderId(1 << 16)),
                    EntityId::Reservation(ReservationId(1)),
                    EntityId::Product(ProductId::parse("a").unwrap()),
                    EntityId::Warehouse(WarehouseId::parse("a").unwrap()),
                ] {
                    let _either = super::super::state_of(&entity, &rows);
                }
            }
        }
    }
}
