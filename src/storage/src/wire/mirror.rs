//! Wire structs that mirror the domain's types: declared apart, converted both ways, held still by golden bytes.
//!
//! A mirror names every field of its type, so the compiler stops whoever adds one to the domain and forgets the journal. What is written stays
//! readable: a mirror is never changed; a new form is a new mirror with a new version, and an upcaster from the old one.

use compact_str::CompactString;
use doorbuster_domain::ids::{CartId, OrderId, ProductId, RequestId, ReservationId, Sku, Terms, WarehouseId};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::time::Timestamp;
use serde::ser::{SerializeStructVariant, SerializeTuple};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A stored form of `T`.
pub(super) trait Mirror<T> {
    /// As it is stored.
    fn of(value: &T) -> Self;
    /// As the domain knows it.
    fn back(self) -> T;
    /// Writes what [`Mirror::of`] gives, without making it: what is journaled is written once and let go.
    fn write<S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error>;
}

/// A value that is written in its stored form `M`.
#[derive(Debug)]
pub(super) struct Stored<'a, M, T>(&'a T, PhantomData<M>);

impl<'a, M, T> Stored<'a, M, T> {
    /// For `value`.
    pub(super) const fn new(value: &'a T) -> Self {
        Self(value, PhantomData)
    }
}

impl<M: Mirror<T>, T> Serialize for Stored<'_, M, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        M::write(self.0, serializer)
    }
}

/// Types whose own form is the stored one: numbers, texts, and the newtypes around them.
macro_rules! atoms {
    ($($atom:ty),+ $(,)?) => { $(
        impl Mirror<$atom> for $atom {
            fn of(value: &$atom) -> Self { value.clone() }
            fn back(self) -> $atom { self }
            fn write<S: Serializer>(value: &$atom, to: S) -> Result<S::Ok, S::Error> { value.serialize(to) }
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
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
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
            fn write<S: Serializer>(value: &$id, to: S) -> Result<S::Ok, S::Error> { Self::of(value).serialize(to) }
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
    fn write<S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Stored::<M, T>::new).serialize(to)
    }
}

impl<T, M: Mirror<T>> Mirror<Vec<T>> for Vec<M> {
    fn of(value: &Vec<T>) -> Self {
        value.iter().map(M::of).collect()
    }
    fn back(self) -> Vec<T> {
        self.into_iter().map(M::back).collect()
    }
    fn write<S: Serializer>(value: &Vec<T>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(Stored::<M, T>::new))
    }
}

impl<T, M: Mirror<T>> Mirror<Box<T>> for Box<M> {
    fn of(value: &Box<T>) -> Self {
        Self::new(M::of(value))
    }
    fn back(self) -> Box<T> {
        Box::new(M::back(*self))
    }
    fn write<S: Serializer>(value: &Box<T>, to: S) -> Result<S::Ok, S::Error> {
        M::write(value, to)
    }
}

impl<T, M: Mirror<T>> Mirror<BTreeMap<CompactString, T>> for BTreeMap<CompactString, M> {
    fn of(value: &BTreeMap<CompactString, T>) -> Self {
        value.iter().map(|(key, value)| (key.clone(), M::of(value))).collect()
    }
    fn back(self) -> BTreeMap<CompactString, T> {
        self.into_iter().map(|(key, value)| (key, M::back(value))).collect()
    }
    fn write<S: Serializer>(value: &BTreeMap<CompactString, T>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(value.iter().map(|(key, value)| (key, Stored::<M, T>::new(value))))
    }
}

impl<T, M: Mirror<T>> Mirror<std::sync::Arc<T>> for Box<M> {
    fn of(value: &std::sync::Arc<T>) -> Self {
        Self::new(M::of(value))
    }
    fn back(self) -> std::sync::Arc<T> {
        std::sync::Arc::new(M::back(*self))
    }
    fn write<S: Serializer>(value: &std::sync::Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        M::write(value, to)
    }
}

impl<A, B, MA: Mirror<A>, MB: Mirror<B>> Mirror<(A, B)> for (MA, MB) {
    fn of(value: &(A, B)) -> Self {
        (MA::of(&value.0), MB::of(&value.1))
    }
    fn back(self) -> (A, B) {
        (MA::back(self.0), MB::back(self.1))
    }
    fn write<S: Serializer>(value: &(A, B), to: S) -> Result<S::Ok, S::Error> {
        let mut tuple = to.serialize_tuple(2)?;
        tuple.serialize_element(&Stored::<MA, A>::new(&value.0))?;
        tuple.serialize_element(&Stored::<MB, B>::new(&value.1))?;
        tuple.end()
    }
}

impl<A, B, C, MA: Mirror<A>, MB: Mirror<B>, MC: Mirror<C>> Mirror<(A, B, C)> for (MA, MB, MC) {
    fn of(value: &(A, B, C)) -> Self {
        (MA::of(&value.0), MB::of(&value.1), MC::of(&value.2))
    }
    fn back(self) -> (A, B, C) {
        (MA::back(self.0), MB::back(self.1), MC::back(self.2))
    }
    fn write<S: Serializer>(value: &(A, B, C), to: S) -> Result<S::Ok, S::Error> {
        let mut tuple = to.serialize_tuple(3)?;
        tuple.serialize_element(&Stored::<MA, A>::new(&value.0))?;
        tuple.serialize_element(&Stored::<MB, B>::new(&value.1))?;
        tuple.serialize_element(&Stored::<MC, C>::new(&value.2))?;
        tuple.end()
    }
}

/// Declares the mirror of a struct: `mirror_struct!(AskedV1 = Asked { request: RequestV1, at: Timestamp })`. What stands behind a semicolon is
/// stored apart, and comes back as its default: `{ at: Timestamp; personal }`.
macro_rules! mirror_struct {
    ($mirror:ident = $domain:ident { $($field:ident : $type:ty),* $(,)? $(; $($apart:ident),+)? }) => {
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        pub(crate) struct $mirror { $($field: $type),* }
        impl $crate::wire::mirror::Mirror<$domain> for $mirror {
            fn of(value: &$domain) -> Self {
                let $domain { $($field,)* $($($apart: _),+)? } = value;
                Self { $($field: $crate::wire::mirror::Mirror::of($field)),* }
            }
            fn back(self) -> $domain {
                let Self { $($field),* } = self;
                $domain {
                    $($field: $crate::wire::mirror::Mirror::back($field),)*
                    $($($apart: Default::default()),+)?
                }
            }
            fn write<S: serde::Serializer>(value: &$domain, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;
                let $domain { $($field,)* $($($apart: _),+)? } = value;
                let fields: &[&str] = &[$(stringify!($field)),*];
                let mut written = to.serialize_struct(stringify!($mirror), fields.len())?;
                $( written.serialize_field(
                    stringify!($field),
                    &$crate::wire::mirror::Stored::<$type, _>::new($field),
                )?; )*
                written.end()
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
        pub(crate) enum $mirror { $( $around($inner), )* $( $variant { $($field: $type),* } ),* }
        impl $crate::wire::mirror::Mirror<$domain> for $mirror {
            fn of(value: &$domain) -> Self {
                match value {
                    $( $domain::$around(value) => Self::$around($crate::wire::mirror::Mirror::of(value)), )*
                    $( $domain::$variant { $($field),* } =>
                        Self::$variant { $($field: $crate::wire::mirror::Mirror::of($field)),* } ),*
                }
            }
            fn back(self) -> $domain {
                match self {
                    $( Self::$around(value) => $domain::$around($crate::wire::mirror::Mirror::back(value)), )*
                    $( Self::$variant { $($field),* } =>
                        $domain::$variant { $($field: $crate::wire::mirror::Mirror::back($field)),* } ),*
                }
            }
            fn write<S: serde::Serializer>(value: &$domain, to: S) -> Result<S::Ok, S::Error> {
                /// The variants' stored numbers.
                enum Number { $( $around, )* $( $variant ),* }
                match value {
                    $( $domain::$around(value) => to.serialize_newtype_variant(
                        stringify!($mirror),
                        Number::$around as u32,
                        stringify!($around),
                        &$crate::wire::mirror::Stored::<$inner, _>::new(value),
                    ), )*
                    $( $domain::$variant { $($field),* } => {
                        let fields: &[&str] = &[$(stringify!($field)),*];
                        let (number, name) = (Number::$variant as u32, stringify!($variant));
                        let written = to.serialize_struct_variant(stringify!($mirror), number, name, fields.len())?;
                        $( let written = $crate::wire::mirror::with_field::<$type, _, _>(
                            written, stringify!($field), $field)?; )*
                        serde::ser::SerializeStructVariant::end(written)
                    } ),*
                }
            }
        }
    };
}

/// A variant with one more field in its stored form `M`.
pub(super) fn with_field<M: Mirror<T>, T, S: SerializeStructVariant>(
    mut variant: S,
    name: &'static str,
    value: &T,
) -> Result<S, S::Error> {
    variant.serialize_field(name, &Stored::<M, T>::new(value))?;
    Ok(variant)
}

/// How the events of a kind without personal data are written, shown and read: `plain_events!(Event as EventV1, EVENTS, WHAT)`. `EVENTS` is
/// the version they are written in, before it (`1 | EVENTS`) those that have the same form; `WHAT` names one in an error.
macro_rules! plain_events {
    ($event:ident as $mirror:ident, $($earlier:literal |)* $version:ident, $what:ident) => {
        /// Appends an event's facts; there is no personal data.
        pub(super) fn encode_event(event: &$event, facts: &mut Vec<u8>) -> Option<Vec<u8>> {
            $crate::wire::form::write(&$crate::wire::mirror::Stored::<$mirror, _>::new(event), facts);
            None
        }

        /// The facts of an event, for people and their tools.
        pub(super) fn shown(event: &$event) -> serde_json::Result<serde_json::Value> {
            serde_json::to_value($crate::wire::mirror::Stored::<$mirror, _>::new(event))
        }

        /// Reads an event back.
        pub(super) fn decode_event(
            version: u16,
            facts: &[u8],
            _personal: Option<&[u8]>,
        ) -> Result<$event, $crate::wire::WireError> {
            match version {
                $($earlier |)* $version => {
                    let stored: $mirror = $crate::wire::form::read($what, facts)?;
                    Ok($crate::wire::mirror::Mirror::back(stored))
                }
                version => Err($crate::wire::WireError::Version { what: $what, version }),
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
            $crate::wire::form::write(&$crate::wire::mirror::Stored::<$mirror, _>::new(state), out);
            None
        }

        /// Reads a state back.
        pub(super) fn decode_state(
            version: u16,
            facts: &[u8],
            _personal: Option<&[u8]>,
        ) -> Result<$state, $crate::wire::WireError> {
            $crate::wire::whole::known(version, $version)?;
            let stored: $mirror = $crate::wire::whole::read(facts)?;
            Ok($crate::wire::mirror::Mirror::back(stored))
        }
    };
}

pub(super) use {mirror_enum, mirror_struct, plain_events, plain_states};

mirror_struct!(MoneyV1 = Money { amount: i64, currency: Currency });
