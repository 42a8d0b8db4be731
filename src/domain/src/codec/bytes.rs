//! Arrays of bytes as fields: `#[cbor(n(3), with = "bytes")]`. Without it each byte would be a number of its own.

use super::Encoder;
use super::encode::{Write, Written};

pub use minicbor::bytes::decode;

/// Bytes, or their absence.
pub trait Bytes {
    /// The bytes; `None`: absent.
    fn stored(&self) -> Option<&[u8]>;
}

impl<const N: usize> Bytes for [u8; N] {
    fn stored(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl<const N: usize> Bytes for Option<[u8; N]> {
    fn stored(&self) -> Option<&[u8]> {
        self.as_ref().map(<[u8; N]>::as_slice)
    }
}

/// Appends a field.
///
/// # Errors
/// None.
pub fn encode<C, W: Write, T: Bytes>(value: &T, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
    match value.stored() {
        Some(bytes) => to.bytes(bytes),
        None => to.null(),
    }
}
