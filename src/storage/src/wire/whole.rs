//! The rows of a state: a head row with the meta data, and personal data in a row of its own.
//!
//! ```text
//! head      = version u16 │ meta │ state        version: of the kind's snapshots; an unknown one is rebuilt from history
//! personal  = version u16 │ personal            chunk 65535: can be deleted without touching the state
//! ```

use super::form::{self, Reader, damaged};
use super::{HEAD, Meta, PERSONAL, WireError};
use bytes::Bytes;
use doorbuster_domain::time::Timestamp;

const WHAT: &str = "a stored state";

/// The head row of a state: `fill` writes the state behind the meta data.
pub(super) fn head_row<T>(version: u16, meta: &Meta, fill: impl FnOnce(&mut Vec<u8>) -> T) -> ((u16, Bytes), T) {
    let (row, said) = form::exact(|out| {
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&meta.version.to_le_bytes());
        out.extend_from_slice(&meta.created_at.0.to_le_bytes());
        out.extend_from_slice(&meta.updated_at.0.to_le_bytes());
        fill(out)
    });
    ((HEAD, row), said)
}

/// Takes a head row apart: version of the snapshot, meta data, state.
pub(super) fn read_head_row(rows: &[(u16, Bytes)]) -> Result<(u16, Meta, &[u8]), WireError> {
    let body = rows.iter().find(|(chunk, _)| *chunk == HEAD).ok_or_else(|| damaged(WHAT, "its head row is missing"))?;
    let mut reader = Reader::new(WHAT, &body.1);
    let version = reader.u16()?;
    let meta =
        Meta { version: reader.u64()?, created_at: Timestamp(reader.u64()?), updated_at: Timestamp(reader.u64()?) };
    Ok((version, meta, reader.rest()))
}

/// The rows of a kind whose state is one row: `fill` writes the facts and gives the personal data apart.
pub(super) fn rows_of(
    version: u16,
    meta: &Meta,
    fill: impl FnOnce(&mut Vec<u8>) -> Option<Vec<u8>>,
) -> Vec<(u16, Bytes)> {
    let (head, personal) = head_row(version, meta, fill);
    let mut rows = vec![head];
    if let Some(personal) = personal {
        let (row, ()) = form::exact(|out| {
            out.extend_from_slice(&version.to_le_bytes());
            out.extend_from_slice(&personal);
        });
        rows.push((PERSONAL, row));
    }
    rows
}

/// Reads what [`rows_of`] made: `read` gets version, facts and, if it is still there, the personal data.
pub(super) fn state_of<T>(
    rows: &[(u16, Bytes)],
    read: impl FnOnce(u16, &[u8], Option<&[u8]>) -> Result<T, WireError>,
) -> Result<(T, Meta), WireError> {
    let (version, meta, facts) = read_head_row(rows)?;
    let personal = match rows.iter().find(|(chunk, _)| *chunk == PERSONAL) {
        None => None,
        Some((_, row)) => {
            let mut reader = Reader::new(WHAT, row);
            let written = reader.u16()?;
            if written != version {
                return Err(WireError::Version { what: WHAT, version: written });
            }
            Some(reader.rest())
        }
    };
    read(version, facts, personal).map(|state| (state, meta))
}

/// The error for a snapshot of a version that is not `known`; its state is rebuilt from history.
pub(super) const fn known(version: u16, known: u16) -> Result<(), WireError> {
    if version == known { Ok(()) } else { Err(WireError::Version { what: WHAT, version }) }
}

/// Reads a snapshot in postcard's form.
pub(super) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    form::read(WHAT, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const META: Meta = Meta { version: 3, created_at: Timestamp(1), updated_at: Timestamp(2) };

    fn rows() -> Vec<(u16, Bytes)> {
        rows_of(5, &META, |out| {
            out.extend_from_slice(b"facts");
            Some(b"Ada".to_vec())
        })
    }

    fn texts(version: u16, facts: &[u8], personal: Option<&[u8]>) -> Result<(String, Option<String>), WireError> {
        known(version, 5)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(facts), personal.map(text)))
    }

    /// What is written once is readable for as long as its version is known: these bytes never change.
    #[test]
    fn rows_are_these_bytes() {
        let mut head = vec![5, 0];
        for number in [3_u64, 1, 2] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(b"facts");
        assert_eq!(rows(), [(HEAD, Bytes::from(head)), (PERSONAL, Bytes::from_static(b"\x05\0Ada"))]);
    }

    #[test]
    fn a_state_is_read_without_personal_data_once_that_is_erased() {
        assert_eq!(state_of(&rows(), texts), Ok((("facts".to_owned(), Some("Ada".to_owned())), META)));
        assert_eq!(state_of(&rows()[..1], texts), Ok((("facts".to_owned(), None), META)));
    }

    #[test]
    fn another_version_is_named_so_that_the_state_is_rebuilt() {
        let other = rows_of(6, &META, |_out| None);
        assert_eq!(state_of(&other, texts), Err(WireError::Version { what: WHAT, version: 6 }));
        let mixed = [rows()[0].clone(), (PERSONAL, Bytes::from_static(b"\x06\0Ada"))];
        assert_eq!(state_of(&mixed, texts), Err(WireError::Version { what: WHAT, version: 6 }));
    }

    #[test]
    fn a_state_without_its_head_row_is_damaged() {
        assert!(matches!(state_of(&rows()[1..], texts), Err(WireError::Damaged { .. })));
        assert!(matches!(state_of(&[], texts), Err(WireError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn random_rows_of_every_kind_are_read_or_refused(head: Vec<u8>, personal: Vec<u8>) {
            use doorbuster_domain::ids::{CartId, EntityId, OrderId, ProductId, ReservationId, Sku, WarehouseId};
            let mut known_version = 1_u16.to_le_bytes().to_vec();
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
