//! The stored form of events and states: CBOR (RFC 8949), in which every field and every variant has a tag, `#[n(k)]`.
//!
//! ```text
//! struct   array, in which the place of a field is its tag; missing fields at its end are left out
//! enum     array: the variant's tag, then its fields (`flat`); a bare number where no variant has fields (`index_only`)
//! ```
//!
//! What holds for every type with a tag, so that what was written once can be read for ever:
//!
//! - A field can be added: it takes the next free tag, and is an `Option` or has `#[cbor(default)]`. Old bytes give `None` or the default;
//!   a reader that does not know the tag skips it.
//! - A field can be left out: an `Option` no longer written is `None`. Its tag is never used again.
//! - A name can be changed. A tag, a type and a meaning cannot: that is a new version with an upcaster (`storage::wire::versions`). So is
//!   a new variant, which an older reader must refuse by its version.
//!
//! The tags of all types stand in `tags.txt`, which a test compares with the sources.

pub mod apart;
pub mod interned;
pub mod shared;
#[cfg(test)]
mod tags;
pub mod text;
mod write;

pub use apart::{Apart, KeepsApart};
pub use interned::{Interned, Interns};
pub use write::write;
pub(crate) use write::{put_bits, put_code, put_instant, put_text};

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};

/// Takes the `null` of an absent value; `false`, and nothing taken, where a value stands.
fn take_null(from: &mut Decoder<'_>) -> Result<bool, Error> {
    let is_null = from.datatype()? == Type::Null;
    if is_null {
        from.skip()?;
    }
    Ok(is_null)
}

/// Takes the head of an array: how many items follow. Nothing is reserved for them: a damaged count must not take memory.
fn take_length(from: &mut Decoder<'_>) -> Result<u64, Error> {
    let at = from.position();
    from.array()?.ok_or_else(|| Error::message("an array without a length").at(at))
}
