//! Values behind an [`Arc`] as fields: `#[cbor(n(2), with = "shared")]`. The bytes are those of the value.

use super::encode::{Write, Written};
use super::reader::{take_length, take_null};
use super::{Encode, Encoder};
use minicbor::decode::{self, Decode, Decoder};
use std::sync::Arc;

/// A shared value, one that may be absent, or a list of them.
pub trait Shared<C>: Sized {
    /// Appends it.
    ///
    /// # Errors
    /// None.
    fn write<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W>;
}

/// What [`Shared`] wrote, read from bytes that live for `'b`.
pub trait SharedFrom<'b, C>: Sized {
    /// Takes it from the front.
    ///
    /// # Errors
    /// When something else stands there.
    fn read(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error>;
}

/// Appends a field.
///
/// # Errors
/// None.
pub fn encode<C, W: Write, T: Shared<C>>(value: &T, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
    value.write(to, context)
}

/// Takes a field from the front.
///
/// # Errors
/// When something else stands there.
pub fn decode<'b, C, T: SharedFrom<'b, C>>(from: &mut Decoder<'b>, context: &mut C) -> Result<T, decode::Error> {
    T::read(from, context)
}

impl<C, T: Encode<C>> Shared<C> for Arc<T> {
    fn write<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        self.as_ref().encode(to, context)
    }
}

impl<'b, C, T: Decode<'b, C>> SharedFrom<'b, C> for Arc<T> {
    fn read(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        T::decode(from, context).map(Self::new)
    }
}

impl<C, T: Encode<C>> Shared<C> for Option<Arc<T>> {
    fn write<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        match self {
            Some(value) => value.as_ref().encode(to, context),
            None => to.null(),
        }
    }
}

impl<'b, C, T: Decode<'b, C>> SharedFrom<'b, C> for Option<Arc<T>> {
    fn read(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        if take_null(from)? { Ok(None) } else { T::decode(from, context).map(|value| Some(Arc::new(value))) }
    }
}

impl<C, T: Encode<C>> Shared<C> for Vec<Arc<T>> {
    fn write<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        to.list(self.len())?;
        self.iter().try_for_each(|value| value.as_ref().encode(to, context))
    }
}

impl<'b, C, T: Decode<'b, C>> SharedFrom<'b, C> for Vec<Arc<T>> {
    fn read(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        (0..take_length(from)?).map(|_| T::decode(from, context).map(Arc::new)).collect()
    }
}
