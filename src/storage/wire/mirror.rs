//! Wire structs that mirror the domain's types: declared apart, converted both ways, held still by golden bytes.
//!
//! A mirror names every field of its type, so the compiler stops whoever adds one to the domain and forgets the journal. What is written stays
//! readable: a mirror is never changed; a new form is a new mirror with a new version, and an upcaster from the old one.

use crate::domain::ids::{CartId, OrderId, ProductId, RequestId, ReservationId, Sku, Terms, WarehouseId};
use crate::domain::money::{Currency, Money};
use crate::domain::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A stored form of `T`.
pub(super) trait Mirror<T> {
    /// As it is stored.
    fn of(value: &T) -> Self;
    /// As the domain knows it.
    fn back(self) -> T;
}

/// Types whose own form is the stored one: numbers, texts, and the newtypes around them.
macro_rules! atoms {
    ($($atom:ty),+ $(,)?) => { $(
        impl Mirror<$atom> for $atom {
            fn of(value: &$atom) -> Self { value.clone() }
            fn back(self) -> $atom { self }
        }
    )+ };
}
atoms!(
    u16,
    u32,
    u64,
    i64,
    bool,
    String,
    CompactString,
    Sku,
    WarehouseId,
    ProductId,
    Timestamp,
    Currency,
    [u32; 3],
    [u8; 16],
    [u8; 32]
);

/// 128 bits as sixteen bytes: ids are random, and a number of variable length would take nineteen. People see them in hexadecimal.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Id([u8; 16]);

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(self.0)))
        } else {
            self.0.serialize(serializer)
        }
    }
}

macro_rules! ids {
    ($($id:ident),+ $(,)?) => { $(
        impl Mirror<$id> for Id {
            fn of(value: &$id) -> Self { Self(value.0.to_be_bytes()) }
            fn back(self) -> $id { $id(u128::from_be_bytes(self.0)) }
        }
    )+ };
}
ids!(OrderId, CartId, RequestId, ReservationId, Terms);

impl<T, M: Mirror<T>> Mirror<Option<T>> for Option<M> {
    fn of(value: &Option<T>) -> Self {
        value.as_ref().map(M::of)
    }
    fn back(self) -> Option<T> {
        self.map(M::back)
    }
}

impl<T, M: Mirror<T>> Mirror<Vec<T>> for Vec<M> {
    fn of(value: &Vec<T>) -> Self {
        value.iter().map(M::of).collect()
    }
    fn back(self) -> Vec<T> {
        self.into_iter().map(M::back).collect()
    }
}

impl<T, M: Mirror<T>> Mirror<Box<T>> for Box<M> {
    fn of(value: &Box<T>) -> Self {
        Self::new(M::of(value))
    }
    fn back(self) -> Box<T> {
        Box::new(M::back(*self))
    }
}

impl<T, M: Mirror<T>> Mirror<BTreeMap<CompactString, T>> for BTreeMap<CompactString, M> {
    fn of(value: &BTreeMap<CompactString, T>) -> Self {
        value.iter().map(|(key, value)| (key.clone(), M::of(value))).collect()
    }
    fn back(self) -> BTreeMap<CompactString, T> {
        self.into_iter().map(|(key, value)| (key, M::back(value))).collect()
    }
}

impl<T, M: Mirror<T>> Mirror<std::sync::Arc<T>> for Box<M> {
    fn of(value: &std::sync::Arc<T>) -> Self {
        Self::new(M::of(value))
    }
    fn back(self) -> std::sync::Arc<T> {
        std::sync::Arc::new(M::back(*self))
    }
}

impl<A, B, MA: Mirror<A>, MB: Mirror<B>> Mirror<(A, B)> for (MA, MB) {
    fn of(value: &(A, B)) -> Self {
        (MA::of(&value.0), MB::of(&value.1))
    }
    fn back(self) -> (A, B) {
        (MA::back(self.0), MB::back(self.1))
    }
}

impl<A, B, C, MA: Mirror<A>, MB: Mirror<B>, MC: Mirror<C>> Mirror<(A, B, C)> for (MA, MB, MC) {
    fn of(value: &(A, B, C)) -> Self {
        (MA::of(&value.0), MB::of(&value.1), MC::of(&value.2))
    }
    fn back(self) -> (A, B, C) {
        (MA::back(self.0), MB::back(self.1), MC::back(self.2))
    }
}

/// Declares the mirror of a struct: `mirror_struct!(AskedV1 = Asked { request: RequestV1, at: Timestamp })`.
macro_rules! mirror_struct {
    ($mirror:ident = $domain:ident { $($field:ident : $type:ty),* $(,)? }) => {
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        pub(in crate::storage::wire) struct $mirror { $($field: $type),* }
        impl $crate::storage::wire::mirror::Mirror<$domain> for $mirror {
            fn of(value: &$domain) -> Self {
                let $domain { $($field),* } = value;
                Self { $($field: $crate::storage::wire::mirror::Mirror::of($field)),* }
            }
            fn back(self) -> $domain {
                let Self { $($field),* } = self;
                $domain { $($field: $crate::storage::wire::mirror::Mirror::back($field)),* }
            }
        }
    };
}

/// Declares the mirror of an enum: first its variants around one value, then those with named fields (or none: `{}`). The order is the
/// stored number of a variant, whatever the domain's own order is.
macro_rules! mirror_enum {
    ($mirror:ident = $domain:ident {
        $( $around:ident ( $inner:ty ) ),* $(,)? ;
        $( $variant:ident { $($field:ident : $type:ty),* $(,)? } ),* $(,)?
    }) => {
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        pub(in crate::storage::wire) enum $mirror { $( $around($inner), )* $( $variant { $($field: $type),* } ),* }
        impl $crate::storage::wire::mirror::Mirror<$domain> for $mirror {
            fn of(value: &$domain) -> Self {
                match value {
                    $( $domain::$around(value) => Self::$around($crate::storage::wire::mirror::Mirror::of(value)), )*
                    $( $domain::$variant { $($field),* } =>
                        Self::$variant { $($field: $crate::storage::wire::mirror::Mirror::of($field)),* } ),*
                }
            }
            fn back(self) -> $domain {
                match self {
                    $( Self::$around(value) => $domain::$around($crate::storage::wire::mirror::Mirror::back(value)), )*
                    $( Self::$variant { $($field),* } =>
                        $domain::$variant { $($field: $crate::storage::wire::mirror::Mirror::back($field)),* } ),*
                }
            }
        }
    };
}

/// How the events of a kind without personal data are written, shown and read: `plain_events!(Event as EventV1, EVENTS, WHAT)`. `EVENTS` is
/// the version they are written in, before it (`1 | EVENTS`) those that have the same form; `WHAT` names one in an error.
macro_rules! plain_events {
    ($event:ident as $mirror:ident, $($earlier:literal |)* $version:ident, $what:ident) => {
        /// Appends an event's facts; there is no personal data.
        pub(super) fn encode_event(event: &$event, facts: &mut Vec<u8>) -> Option<Vec<u8>> {
            let stored: $mirror = $crate::storage::wire::mirror::Mirror::of(event);
            $crate::storage::wire::form::write(&stored, facts);
            None
        }

        /// The facts of an event, for people and their tools.
        pub(super) fn shown(event: &$event) -> serde_json::Result<serde_json::Value> {
            let stored: $mirror = $crate::storage::wire::mirror::Mirror::of(event);
            serde_json::to_value(stored)
        }

        /// Reads an event back.
        pub(super) fn decode_event(
            version: u16,
            facts: &[u8],
            _personal: Option<&[u8]>,
        ) -> Result<$event, $crate::storage::wire::WireError> {
            match version {
                $($earlier |)* $version => {
                    let stored: $mirror = $crate::storage::wire::form::read($what, facts)?;
                    Ok($crate::storage::wire::mirror::Mirror::back(stored))
                }
                version => Err($crate::storage::wire::WireError::Version { what: $what, version }),
            }
        }
    };
}

/// How the state of a kind without personal data is written and read, whole: `plain_states!(Cart as StateV1, SNAPSHOT)`. `SNAPSHOT` is
/// the one version that can be read.
macro_rules! plain_states {
    ($state:ident as $mirror:ident, $version:ident) => {
        /// Appends a state's facts; there is no personal data.
        pub(super) fn encode_state(state: &$state, out: &mut Vec<u8>) -> Option<Vec<u8>> {
            let stored: $mirror = $crate::storage::wire::mirror::Mirror::of(state);
            $crate::storage::wire::form::write(&stored, out);
            None
        }

        /// Reads a state back.
        pub(super) fn decode_state(
            version: u16,
            facts: &[u8],
            _personal: Option<&[u8]>,
        ) -> Result<$state, $crate::storage::wire::WireError> {
            $crate::storage::wire::whole::known(version, $version)?;
            let stored: $mirror = $crate::storage::wire::whole::read(facts)?;
            Ok($crate::storage::wire::mirror::Mirror::back(stored))
        }
    };
}

pub(super) use {mirror_enum, mirror_struct, plain_events, plain_states};

mirror_struct!(MoneyV1 = Money { amount: i64, currency: Currency });
