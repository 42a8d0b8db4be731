//! A value that many rows share, as a field: `#[cbor(n(2), with = "interned")]` writes it once a chunk, and its place after that.
//!
//! The value must be a struct: its array is told from the number of a place.

use super::encode::{Write, Written};
use super::reader::is_array;
use super::{Encode, Encoder};
use minicbor::decode::{self, Decode, Decoder};
use std::sync::Arc;

/// What is shared within the chunk that is being written or read.
pub trait Interns<T> {
    /// The place of a value that was written before; `None`: it is the first of its kind, and has a place from now on.
    fn place(&mut self, value: &Arc<T>) -> Option<u32>;

    /// Takes in a value that was read.
    fn intern(&mut self, value: T) -> Arc<T>;

    /// The value that was read at a place.
    fn at(&self, place: u32) -> Option<Arc<T>>;
}

/// The values of one chunk by their places, and those of all chunks that were read before.
#[derive(Debug)]
pub struct Interned<T> {
    places: Vec<Arc<T>>,
    known: Vec<Arc<T>>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { places: Vec::new(), known: Vec::new() }
    }
}

impl<T> Interned<T> {
    /// Begins a chunk: places are counted from 0 again. Equal values of other chunks stay shared.
    pub fn begin_chunk(&mut self) {
        self.places.clear();
    }
}

impl<T: PartialEq> Interns<T> for Interned<T> {
    fn place(&mut self, value: &Arc<T>) -> Option<u32> {
        // Backwards: neighbours in time share the newest.
        let same = |other: &Arc<T>| Arc::ptr_eq(other, value) || **other == **value;
        let place = self.places.iter().rposition(same);
        if place.is_none() {
            self.places.push(Arc::clone(value));
        }
        place.and_then(|place| u32::try_from(place).ok())
    }

    fn intern(&mut self, value: T) -> Arc<T> {
        let shared = self.known.iter().find(|known| ***known == value).cloned().unwrap_or_else(|| {
            let shared = Arc::new(value);
            self.known.push(Arc::clone(&shared));
            shared
        });
        self.places.push(Arc::clone(&shared));
        shared
    }

    fn at(&self, place: u32) -> Option<Arc<T>> {
        self.places.get(usize::try_from(place).ok()?).cloned()
    }
}

/// Appends the value, or the place where it stands already.
///
/// # Errors
/// None.
pub fn encode<C: Interns<T>, W: Write, T: Encode<()>>(
    value: &Arc<T>,
    to: &mut Encoder<W>,
    context: &mut C,
) -> Written<W> {
    match context.place(value) {
        Some(place) => to.u64(u64::from(place)),
        None => value.as_ref().encode(to, &mut ()),
    }
}

/// Takes the value, or the one at the place that stands there.
///
/// # Errors
/// When something else stands there, or no value at the place.
pub fn decode<'b, C: Interns<T>, T: Decode<'b, ()>>(
    from: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Arc<T>, decode::Error> {
    let at = from.position();
    if is_array(from) {
        return T::decode(from, &mut ()).map(|value| context.intern(value));
    }
    let place = from.u32()?;
    context.at(place).ok_or_else(|| decode::Error::message("a place without a value").at(at))
}
