//! Small pieces every stored form is made of: tagged values, bytes behind their length, and a reader that never panics.

use super::WireError;
use bytes::Bytes;
pub(super) use doorbuster_domain::codec::write;
use doorbuster_domain::codec::{Decode, Decoder, decode};
use doorbuster_domain::ids::EntityId;
use std::cell::Cell;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
/// A scratch that has grown beyond this is not kept.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// The bytes that `fill` writes, in memory of just their length: what is stored waits in memory for its checkpoint, and there are many.
pub(super) fn exact<T>(fill: impl FnOnce(&mut Vec<u8>) -> T) -> (Bytes, T) {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let filled = fill(&mut scratch);
    let bytes = Bytes::copy_from_slice(&scratch);
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    (bytes, filled)
}

/// Reads a value in its tagged form; every byte must belong to it.
pub(super) fn read<'b, T: Decode<'b, C>, C>(
    what: &'static str,
    bytes: &'b [u8],
    context: &mut C,
) -> Result<T, WireError> {
    let mut reader = Reader::new(what, bytes);
    let value = reader.value(context)?;
    reader.end()?;
    Ok(value)
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

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        let (byte, rest) = self.rest.split_first().ok_or_else(|| damaged(self.what, "it ends too soon"))?;
        self.rest = rest;
        Ok(*byte)
    }

    /// A value as [`write`] appends it.
    pub(super) fn value<T: Decode<'a, C>, C>(&mut self, context: &mut C) -> Result<T, WireError> {
        self.take(|decoder| T::decode(decoder, context))
    }

    /// Bytes as [`write_sized`] writes them.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], WireError> {
        self.take(Decoder::bytes)
    }

    /// An entity's key.
    pub(super) fn entity(&mut self) -> Result<EntityId, WireError> {
        let (entity, rest) = EntityId::read_key(self.rest).map_err(|error| damaged(self.what, &error.to_string()))?;
        self.rest = rest;
        Ok(entity)
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(damaged(self.what, &format!("{} bytes too many", self.rest.len())))
        }
    }

    fn take<T>(&mut self, take: impl FnOnce(&mut Decoder<'a>) -> Result<T, decode::Error>) -> Result<T, WireError> {
        let mut decoder = Decoder::new(self.rest);
        let taken = take(&mut decoder).map_err(|error| damaged(self.what, &error.to_string()))?;
        self.rest = self.rest.get(decoder.position()..).unwrap_or_default();
        Ok(taken)
    }
}

/// The heads of a CBOR byte string whose length is in the next 1, 2 or 4 bytes.
const SIZED: [u8; 3] = [0x58, 0x59, 0x5a];
/// Bytes of the shortest head: left free before what is written, since nearly all is shorter than 256 bytes.
const HEAD: usize = 2;

/// Appends bytes behind their length. `fill` writes them.
pub(super) fn write_sized<T>(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let begin = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let filled = fill(out);
    set_size(out, begin);
    filled
}

/// Puts their length before the bytes from `begin` on.
pub(super) fn size_from(out: &mut Vec<u8>, begin: usize) {
    make_room(out, begin, HEAD);
    set_size(out, begin);
}

/// Writes the length of what stands behind the room for it.
fn set_size(out: &mut Vec<u8>, begin: usize) {
    let length = out.len().saturating_sub(begin).saturating_sub(HEAD);
    let [byte, short, long] = SIZED;
    if let Ok(length) = u8::try_from(length) {
        set_head(out, begin, &[byte, length]);
    } else if let Ok(length) = u16::try_from(length) {
        let [high, low] = length.to_be_bytes();
        make_room(out, begin, 1);
        set_head(out, begin, &[short, high, low]);
    } else {
        // A record is bounded far below four gibibytes (`log.batch_bytes_max`).
        let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        make_room(out, begin, 3);
        set_head(out, begin, &[long, a, b, c, d]);
    }
}

/// Moves what was written from `begin` on by `bytes`.
fn make_room(out: &mut Vec<u8>, begin: usize, bytes: usize) {
    let end = out.len();
    out.resize(end.saturating_add(bytes), 0);
    out.copy_within(begin..end, begin.saturating_add(bytes));
}

fn set_head(out: &mut [u8], at: usize, head: &[u8]) {
    if let Some(slot) = out.get_mut(at..at.saturating_add(head.len())) {
        slot.copy_from_slice(head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_are_read_behind_their_length() {
        for length in [0, 1, 23, 255, 256, 65_535, 65_536, 70_000] {
            let mut out = vec![7];
            let bytes: Vec<u8> = (0..length).map(|number| u8::try_from(number % 251).unwrap()).collect();
            write_sized(&mut out, |out| out.extend_from_slice(&bytes));
            let begin = out.len();
            out.extend_from_slice(&bytes);
            size_from(&mut out, begin);
            out.push(9);
            let mut reader = Reader::new("test", &out);
            assert_eq!(reader.u8(), Ok(7));
            assert_eq!(reader.sized(), Ok(bytes.as_slice()), "{length}");
            assert_eq!(reader.sized(), Ok(bytes.as_slice()), "{length}");
            assert_eq!(reader.rest(), [9]);
        }
    }
}
