//! Which entity: the one list of kinds, from which everything that names, stores or reads an [`EntityId`] is made.
//!
//! As a key of an ordered store an id is its kind's tag, then 16 bytes big-endian, or a name and a zero byte (no name contains one). So keys
//! sort as bytes exactly as [`EntityId`] sorts, and none is a prefix of another.

use super::IdError;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Why bytes are not an entity's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Fewer bytes than an id has, or a name without its zero byte.
    #[error("it ends too soon")]
    Ends,
    /// No kind has this tag.
    #[error("kind {0} of entity")]
    Kind(u8),
    /// The name is not one.
    #[error(transparent)]
    Id(#[from] IdError),
}

/// The part of an entity's id behind its kind.
trait Key: Sized {
    /// Hands over its bytes: those that are hashed, and stored.
    fn with_bytes<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T;
    /// Appends it to a key, behind the tag of its kind.
    fn write(&self, tag: u8, out: &mut Vec<u8>);
    /// Takes it from the front of a key, and gives what follows.
    fn read(from: &[u8]) -> Result<(Self, &[u8]), KeyError>;
}

/// Writes the [`Key`] of an id, of one of the two forms: 16 bytes, or a name.
macro_rules! key {
    (number $id:ident) => {
        impl Key for $id {
            fn with_bytes<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
                take(&self.0.to_be_bytes())
            }
            fn write(&self, tag: u8, out: &mut Vec<u8>) {
                let mut key = [tag; 17];
                let [_tag, id @ ..] = &mut key;
                *id = self.0.to_be_bytes();
                out.extend_from_slice(&key);
            }
            fn read(from: &[u8]) -> Result<(Self, &[u8]), KeyError> {
                let (id, rest) = from.split_first_chunk().ok_or(KeyError::Ends)?;
                Ok((Self(u128::from_be_bytes(*id)), rest))
            }
        }
    };
    (name $id:ident) => {
        impl Key for $id {
            fn with_bytes<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
                take(self.as_str().as_bytes())
            }
            fn write(&self, tag: u8, out: &mut Vec<u8>) {
                out.push(tag);
                out.extend_from_slice(self.as_str().as_bytes());
                out.push(0);
            }
            fn read(from: &[u8]) -> Result<(Self, &[u8]), KeyError> {
                let end = from.iter().position(|byte| *byte == 0).ok_or(KeyError::Ends)?;
                let (name, rest) = from.split_at_checked(end).ok_or(KeyError::Ends)?;
                let name = std::str::from_utf8(name).map_err(|_not_text| IdError::Name)?;
                Ok((Self::parse(name)?, rest.get(1..).unwrap_or_default()))
            }
        }
    };
}

/// Makes [`EntityId`] of its kinds, each with the tag of its keys (fixed for ever; kinds stand in the order of their tags), its name, and the form
/// of its id in a key.
macro_rules! entities {
    ($($(#[$doc:meta])* $tag:literal $kind:literal $variant:ident($form:ident $id:ident)),+ $(,)?) => {
        use super::{$($id),+};
        $(key!($form $id);)+

        /// One cart, one order, one SKU's inventory, …: what an actor is of, and what a shard is chosen by.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum EntityId { $($(#[$doc])* $variant($id)),+ }

        impl EntityId {
            /// The names of all kinds, in the order of their tags.
            pub const KINDS: &'static [&'static str] = &[$($kind),+];

            /// The kind as the API, the logs and the command line call it.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind),+ }
            }

            /// Reads `kind/id`, the form that [`fmt::Display`] shows.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let (kind, id) = text.split_once('/').ok_or(IdError::Name)?;
                match kind {
                    $($kind => $id::parse(id).map(Self::$variant),)+
                    _ => Err(IdError::Name),
                }
            }

            /// Appends the key: see the head of this file.
            pub fn write_key(&self, out: &mut Vec<u8>) {
                match self { $(Self::$variant(id) => id.write($tag, out)),+ }
            }

            /// Reads an id from the front of a key, and gives what follows.
            ///
            /// # Errors
            /// [`KeyError`] when no id stands there.
            pub fn read_key(key: &[u8]) -> Result<(Self, &[u8]), KeyError> {
                let (tag, key) = key.split_first().ok_or(KeyError::Ends)?;
                match tag {
                    $($tag => $id::read(key).map(|(id, rest)| (Self::$variant(id), rest)),)+
                    tag => Err(KeyError::Kind(*tag)),
                }
            }

            fn with_bytes<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
                match self { $(Self::$variant(id) => id.with_bytes(take)),+ }
            }
        }

        impl fmt::Display for EntityId {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$variant(id) => write!(out, concat!($kind, "/{}"), id)),+ }
            }
        }

        /// One id of each kind.
        #[cfg(test)]
        fn samples() -> Vec<EntityId> {
            vec![$(EntityId::$variant(tests::sample::<$id>())),+]
        }
    };
}

entities! {
    /// Stock of one SKU.
    1 "inventory" Inventory(name Sku),
    /// The id of a cart.
    2 "cart" Cart(number CartId),
    /// One order and its checkout saga.
    3 "order" Order(number OrderId),
    /// One product and its SKUs.
    4 "product" Product(name ProductId),
    /// The id of a warehouse.
    5 "warehouse" Warehouse(name WarehouseId),
    /// One reservation of several lines.
    6 "reservation" Reservation(number ReservationId),
    /// Something of which there is so much and no more.
    7 "counter" Counter(number CounterId),
}

impl EntityId {
    /// The same on every node and in every version: which shard an entity belongs to is decided by this (version 1:
    /// FNV-1a over the kind and the id, then the 64-bit finaliser of `MurmurHash3`).
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut feed = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        feed(self.kind().as_bytes());
        feed(b"/");
        self.with_bytes(feed);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

impl fmt::Debug for EntityId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The id whose bytes are these; a kind with ids of another form does not compile until it is said here what that is.
    pub(super) fn sample<T: Key>() -> T {
        T::read(b"ABCDEFGHIJKLMNOP\0").expect("16 bytes and a name").0
    }

    fn key(entity: &EntityId) -> Vec<u8> {
        let mut key = Vec::new();
        entity.write_key(&mut key);
        key
    }

    /// Shards are chosen by these numbers and found by these bytes for ever.
    #[test]
    fn every_kind_keeps_its_hash_its_key_and_its_text() {
        let known: Vec<(u64, u8, String)> =
            samples().iter().map(|entity| (entity.stable_hash(), key(entity)[0], entity.to_string())).collect();
        let expected = [
            (0x6bb9_7350_93f7_ced4, 1, "inventory/ABCDEFGHIJKLMNOP"),
            (0x1769_346a_a0e7_ee49, 2, "cart/crt_21891m8ha68x44jjjb9h6mwktg"),
            (0x8acb_8bf1_2eb5_33ca, 3, "order/ord_21891m8ha68x44jjjb9h6mwktg"),
            (0x8e2d_1bd6_02fa_7ce9, 4, "product/ABCDEFGHIJKLMNOP"),
            (0xe551_564c_c4ce_b420, 5, "warehouse/ABCDEFGHIJKLMNOP"),
            (0xb711_9b84_dda2_c3ea, 6, "reservation/rsv_21891m8ha68x44jjjb9h6mwktg"),
            (0x0170_30bb_6017_4ee9, 7, "counter/cnt_21891m8ha68x44jjjb9h6mwktg"),
        ];
        assert_eq!(known, expected.map(|(hash, tag, text)| (hash, tag, text.to_owned())));
    }

    #[test]
    fn every_kind_is_read_as_it_was_written_and_shown() {
        for (entity, kind) in samples().iter().zip(EntityId::KINDS) {
            assert_eq!(entity.kind(), *kind);
            assert_eq!(EntityId::read_key(&key(entity)), Ok((entity.clone(), [].as_slice())));
            assert_eq!(EntityId::parse(&entity.to_string()), Ok(entity.clone()));
        }
        assert_eq!(samples().len(), EntityId::KINDS.len());
    }

    #[test]
    fn a_key_that_is_cut_or_of_no_kind_is_refused() {
        for entity in samples() {
            let whole = key(&entity);
            for length in 0..whole.len() {
                assert_eq!(EntityId::read_key(&whole[..length]), Err(KeyError::Ends), "{entity} cut at {length}");
            }
        }
        assert_eq!(EntityId::read_key(b"\x63ABCDEFGHIJKLMNOP\0"), Err(KeyError::Kind(0x63)));
        assert_eq!(EntityId::read_key(b"\x01a?b\0"), Err(KeyError::Id(IdError::Name)));
    }

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
            prop_assert_eq!(EntityId::read_key(&bytes), Ok((entity, behind.as_slice())));
        }

        #[test]
        fn random_bytes_are_read_as_an_entity_or_refused(bytes: Vec<u8>) {
            let _either = EntityId::read_key(&bytes);
        }
    }
}
