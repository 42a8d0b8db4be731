//! How a value is written into memory.

use minicbor::Encode;
use minicbor::encode::{Encoder, Error, Write};
use std::convert::Infallible;

/// Appends a value in its tagged form.
///
/// # Panics
/// When a type refuses to be written: none with tags does.
pub fn write<T: Encode<C>, C>(value: &T, out: &mut Vec<u8>, context: &mut C) {
    value.encode(&mut Encoder::new(Memory(out)), context).expect("memory takes what is written");
}

/// Appends bytes that are CBOR already.
#[inline(always)]
pub(crate) fn put<W: Write>(to: &mut Encoder<W>, bytes: &[u8]) -> Result<(), Error<W::Error>> {
    to.writer_mut().write_all(bytes).map_err(Error::write)
}

/// The head of a text of no bytes; as many as 23 are added to it.
const TEXT: u8 = 0x60;
/// The head of a byte string of no bytes; as many as 23 are added to it.
const BYTES: u8 = 0x40;
const SHORT_MAX: usize = 23;

/// Appends a text. Most have a head of one byte.
pub(crate) fn put_text<W: Write>(to: &mut Encoder<W>, text: &str) -> Result<(), Error<W::Error>> {
    match u8::try_from(text.len()) {
        Ok(length) if text.len() <= SHORT_MAX => {
            put(to, &[TEXT | length])?;
            put(to, text.as_bytes())
        }
        Ok(_) | Err(_) => to.str(text)?.ok(),
    }
}

/// Appends sixteen bytes as a byte string.
pub(crate) fn put_bits<W: Write>(to: &mut Encoder<W>, bits: u128) -> Result<(), Error<W::Error>> {
    let mut bytes = [BYTES | 16; 17];
    let [_head, body @ ..] = &mut bytes;
    *body = bits.to_be_bytes();
    put(to, &bytes)
}

/// Appends a number as a byte string without leading zeros.
pub(crate) fn put_instant<W: Write>(to: &mut Encoder<W>, number: u64) -> Result<(), Error<W::Error>> {
    /// The head of six bytes: an instant from 2004 to 10889 has as many.
    const SIX: u64 = 0x46 << 48;
    if (16..24).contains(&number.leading_zeros()) {
        let [_none, six @ ..] = (SIX | number).to_be_bytes();
        return put(to, &six);
    }
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    to.bytes(bytes.get(zeros..).unwrap_or_default())?.ok()
}

/// Appends three capital letters as a text.
pub(crate) fn put_code<W: Write>(to: &mut Encoder<W>, [a, b, c]: [u8; 3]) -> Result<(), Error<W::Error>> {
    put(to, &[TEXT | 3, a, b, c])
}

/// A vector as a writer.
///
/// Most writes are one byte: the head of a number, of a text or of a list. A vector's own way of taking a slice (`minicbor`'s writer for it)
/// calls a copying function for each, and costs an order as much again as all the rest of its encoding.
struct Memory<'a>(&'a mut Vec<u8>);

impl Write for Memory<'_> {
    type Error = Infallible;

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        match bytes {
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }
}
