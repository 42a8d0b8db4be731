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
pub mod apart_text;
pub mod bytes;
mod encoder;
pub mod interned;
mod reader;
pub mod shared;
#[cfg(test)]
mod tags;
pub mod text;

pub use apart::{Apart, KeepsApart};
pub use derived::*;
pub use encoder::{Encode, Encoder, encode, write};
pub use interned::{Interned, Interns};
pub(crate) use reader::{take_bytes, take_text};

/// What derived code names, and the two derives; the trait [`Encode`] is the one above.
mod derived {
    pub use minicbor::{__minicbor_cfg, Decode, Decoder, Encode, data, decode};
}
