//! Free text about a person as a field: `#[cbor(n(3), with = "apart_text")]`.
//!
//! It is written beside the facts, as [`super::apart`] does with personal data, so that it can be erased alone. An absent or empty one stands among the
//! facts: it says nothing. Erased, it reads as empty. What was written among the facts, before the field stood apart, is read from there.

use super::apart::KeepsApart;
use super::encode::{Write, Written};
use super::text::Text;
use super::{Encode, Encoder};
use minicbor::decode::{self, Decode, Decoder};

/// CBOR's `true`: the text is apart. No [`Text`] begins with it.
const IS_APART: u8 = 0xf5;

struct Put<'a, T>(&'a T);

impl<T: Text> Encode<()> for Put<'_, T> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut ()) -> Written<W> {
        self.0.write(to)
    }
}

struct Taken<T>(T);

impl<T: Text> Decode<'_, ()> for Taken<T> {
    fn decode(from: &mut Decoder<'_>, _context: &mut ()) -> Result<Self, decode::Error> {
        T::read(from).map(Self)
    }
}

/// Puts the text apart, and appends the byte that says so.
///
/// # Errors
/// None.
pub fn encode<C: KeepsApart, W: Write, T: Text + Default + PartialEq>(
    value: &T,
    to: &mut Encoder<W>,
    context: &mut C,
) -> Written<W> {
    if *value == T::default() {
        return value.write(to);
    }
    context.put(&Put(value));
    to.bool(true)
}

/// Takes a text that stands apart; the default when it was erased.
///
/// # Errors
/// When something else stands there.
pub fn decode<C: KeepsApart, T: Text + Default>(from: &mut Decoder<'_>, context: &mut C) -> Result<T, decode::Error> {
    if from.input().get(from.position()) != Some(&IS_APART) {
        return T::read(from);
    }
    from.bool()?;
    Ok(context.take::<Taken<T>>()?.map(|taken| taken.0).unwrap_or_default())
}
