//! Small pieces every stored form is made of: numbers, texts, entity ids, and a reader that never panics.
//!
//! An entity id sorts as bytes exactly as [`EntityId`] sorts, and none is a prefix of another: it is a kind's tag, then 16 bytes
//! big-endian, or a name and a zero byte (no name contains one). So it serves as a key of an ordered store.

use super::WireError;
use bytes::Bytes;
use compact_str::CompactString;
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::{CartId, EntityId, OrderId, ProductId, ReservationId, Sku, WarehouseId};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;

/// Where postcard writes: behind what is there. Its own way into a vector (`to_extend`) goes byte by byte.
struct Behind<'a>(&'a mut Vec<u8>);

impl Flavor for Behind<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends a value in postcard's form.
pub(super) fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    // Postcard refuses only sequences of unknown length, which no wire struct has.
    postcard::serialize_with_flavor(value, Behind(out)).expect("wire structs have only sequences of known length");
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
/// A scratch that has grown beyond this is not kept.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// The bytes that `fill` writes, in memory of just their length: what is stored waits in memory for its checkpoint, and there are many.
pub(super) fn exact<T>(fill: impl FnOnce(&mut Vec<u8>) -> T) -> (Bytes, T) {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let said = fill(&mut scratch);
    let bytes = Bytes::copy_from_slice(&scratch);
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    (bytes, said)
}

/// Reads a value in postcard's form; every byte must belong to it.
pub(super) fn read<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes::<T>(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(damaged(what, &format!("{} bytes too many", rest.len()))),
        Err(error) => Err(damaged(what, &error.to_string())),
    }
}

/// The error for bytes that are not what they should be.
pub(super) fn damaged(what: &'static str, why: &str) -> WireError {
    WireError::Damaged { what, why: why.to_owned() }
}

/// Takes pieces from the front of stored bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| damaged(self.what, "it ends too soon"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes behind their length (`u32`).
    pub(super) fn sized(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, WireError> {
        let what = self.what;
        std::str::from_utf8(self.bytes(length)?).map_err(|error| damaged(what, &error.to_string()))
    }

    /// An entity id as [`write_entity`] writes it.
    pub(super) fn entity(&mut self) -> Result<EntityId, WireError> {
        let what = self.what;
        let unnamed = |error: doorbuster_domain::ids::IdError| damaged(what, &error.to_string());
        match self.u8()? {
            1 => Sku::parse(self.name()?).map(EntityId::Inventory).map_err(unnamed),
            2 => Ok(EntityId::Cart(CartId(u128::from_be_bytes(self.array()?)))),
            3 => Ok(EntityId::Order(OrderId(u128::from_be_bytes(self.array()?)))),
            4 => ProductId::parse(self.name()?).map(EntityId::Product).map_err(unnamed),
            5 => WarehouseId::parse(self.name()?).map(EntityId::Warehouse).map_err(unnamed),
            6 => Ok(EntityId::Reservation(ReservationId(u128::from_be_bytes(self.array()?)))),
            tag => Err(damaged(what, &format!("kind {tag} of entity"))),
        }
    }

    fn name(&mut self) -> Result<&'a str, WireError> {
        let length =
            self.rest.iter().position(|byte| *byte == 0).ok_or_else(|| damaged(self.what, "a name has no end"))?;
        let name = self.text(length)?;
        self.bytes(1)?;
        Ok(name)
    }

    /// Who, as [`write_by`] writes it.
    pub(super) fn by(&mut self) -> Result<By, WireError> {
        let tag = self.u8()?;
        let who = |reader: &mut Self| {
            let length = reader.u16()?;
            reader.text(usize::from(length)).map(CompactString::new)
        };
        match tag {
            0 => Ok(By::System),
            1 => who(self).map(By::Seller),
            2 => who(self).map(By::Shopper),
            3 => who(self).map(By::Guest),
            4 => who(self).map(By::Provider),
            5 => Ok(By::Operator),
            _ => Err(damaged(self.what, &format!("kind {tag} of principal"))),
        }
    }
}

/// Appends an entity id: see the drawing of this file.
pub(crate) fn write_entity(entity: &EntityId, out: &mut Vec<u8>) {
    let mut name = |tag: u8, name: &str| {
        out.push(tag);
        out.extend_from_slice(name.as_bytes());
        out.push(0);
    };
    match entity {
        EntityId::Inventory(id) => name(1, id.as_str()),
        EntityId::Product(id) => name(4, id.as_str()),
        EntityId::Warehouse(id) => name(5, id.as_str()),
        EntityId::Cart(id) => {
            out.push(2);
            out.extend_from_slice(&id.0.to_be_bytes());
        }
        EntityId::Order(id) => {
            out.push(3);
            out.extend_from_slice(&id.0.to_be_bytes());
        }
        EntityId::Reservation(id) => {
            out.push(6);
            out.extend_from_slice(&id.0.to_be_bytes());
        }
    }
}

/// Reads an entity id from the front of a key; also gives what follows it.
pub(crate) fn read_entity(bytes: &[u8]) -> Result<(EntityId, &[u8]), WireError> {
    let mut reader = Reader::new("an entity id", bytes);
    let entity = reader.entity()?;
    Ok((entity, reader.rest()))
}

/// Appends who caused an event.
pub(super) fn write_by(by: &By, out: &mut Vec<u8>) {
    let mut who = |tag: u8, who: &str| {
        // A principal's name is bounded at the door far below this; a longer one is cut rather than refused, because the
        // decision has been taken.
        let mut length = who.len().min(usize::from(u16::MAX));
        while !who.is_char_boundary(length) {
            length = length.saturating_sub(1);
        }
        out.push(tag);
        out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(who.as_bytes().get(..length).unwrap_or_default());
    };
    match by {
        By::System => out.push(0),
        By::Seller(id) => who(1, id),
        By::Shopper(id) => who(2, id),
        By::Guest(id) => who(3, id),
        By::Provider(id) => who(4, id),
        By::Operator => out.push(5),
    }
}

/// Appends bytes behind their length (`u32`). `fill` writes them and gives what it has to say.
pub(super) fn write_sized<T>(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let said = fill(out);
    let length = u32::try_from(out.len().saturating_sub(at).saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(at..at.saturating_add(4)) {
        slot.copy_from_slice(&length.to_le_bytes());
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entities() -> impl Strategy<Value = EntityId> {
        prop_oneof![
            "[A-Z ~+]{1,5}".prop_map(|id| EntityId::Inventory(Sku::parse(&id).unwrap())),
            any::<u128>().prop_map(|id| EntityId::Cart(CartId(id))),
            any::<u128>().prop_map(|id| EntityId::Order(OrderId(id))),
            any::<u128>().prop_map(|id| EntityId::Reservation(ReservationId(id))),
            "[a-z0-9]{1,5}".prop_map(|id| EntityId::Product(ProductId::parse(&id).unwrap())),
            "[a-z0-9]{1,64}".prop_map(|id| EntityId::Warehouse(WarehouseId::parse(&id).unwrap())),
        ]
    }

    fn key(entity: &EntityId) -> Vec<u8> {
        let mut key = Vec::new();
        write_entity(entity, &mut key);
        key
    }

    proptest! {
        #[test]
        fn keys_sort_as_entities_do_and_none_is_a_prefix_of_another(a in entities(), b in entities()) {
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            prop_assert!(a == b || !key(&b).starts_with(&key(&a)));
        }

        #[test]
        fn an_entity_reads_back_from_its_key(entity in entities(), behind: Vec<u8>) {
            let mut bytes = key(&entity);
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(read_entity(&bytes), Ok((entity, behind.as_slice())));
        }

        #[test]
        fn random_bytes_are_read_as_an_entity_or_refused(bytes: Vec<u8>) {
            let _either = read_entity(&bytes);
        }
    }
}
