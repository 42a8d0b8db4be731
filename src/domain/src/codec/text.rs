//! Short texts ([`CompactString`]) as fields: `#[cbor(n(3), with = "text")]`. Neither crate knows the other, so a field that holds one says so.

use super::Encoder;
use super::encode::{Write, Written};
use super::reader::{take_length, take_null, take_text};
use compact_str::CompactString;
use minicbor::decode::{self, Decoder};
use std::collections::BTreeMap;

/// A text, or what is made of texts.
pub trait Text: Sized {
    /// Appends it.
    ///
    /// # Errors
    /// None.
    fn write<W: Write>(&self, to: &mut Encoder<W>) -> Written<W>;

    /// Takes it from the front.
    ///
    /// # Errors
    /// When something else stands there.
    fn read(from: &mut Decoder<'_>) -> Result<Self, decode::Error>;
}

/// Appends a field.
///
/// # Errors
/// None.
pub fn encode<C, W: Write, T: Text>(value: &T, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
    value.write(to)
}

/// Takes a field from the front.
///
/// # Errors
/// When something else stands there.
pub fn decode<C, T: Text>(from: &mut Decoder<'_>, _context: &mut C) -> Result<T, decode::Error> {
    T::read(from)
}

impl Text for CompactString {
    fn write<W: Write>(&self, to: &mut Encoder<W>) -> Written<W> {
        to.str(self)
    }

    fn read(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        take_text(from).map(Self::new)
    }
}

/// Beside a text: a tax class has a rate, a method has seconds.
macro_rules! numbers {
    ($($number:ident)+) => { $(
        impl Text for $number {
            fn write<W: Write>(&self, to: &mut Encoder<W>) -> Written<W> {
                to.u64(u64::from(*self))
            }

            fn read(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
                from.$number()
            }
        }
    )+ };
}
numbers!(u32 u64);

impl<T: Text> Text for Option<T> {
    fn write<W: Write>(&self, to: &mut Encoder<W>) -> Written<W> {
        match self {
            Some(value) => value.write(to),
            None => to.null(),
        }
    }

    fn read(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        if take_null(from)? { Ok(None) } else { T::read(from).map(Some) }
    }
}

impl<A: Text, B: Text> Text for (A, B) {
    fn write<W: Write>(&self, to: &mut Encoder<W>) -> Written<W> {
        to.array(2)?;
        self.0.write(to)?;
        self.1.write(to)
    }

    fn read(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        let at = from.position();
        if take_length(from)? == 2 {
            Ok((A::read(from)?, B::read(from)?))
        } else {
            Err(decode::Error::message("not a pair").at(at))
        }
    }
}

impl<T: Text> Text for Vec<T> {
    fn write<W: Write>(&self, to: &mut Encoder<W>) -> Written<W> {
        to.list(self.len())?;
        self.iter().try_for_each(|item| item.write(to))
    }

    fn read(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        (0..take_length(from)?).map(|_| T::read(from)).collect()
    }
}

impl<T: Text> Text for BTreeMap<CompactString, T> {
    fn write<W: Write>(&self, to: &mut Encoder<W>) -> Written<W> {
        to.map(self.len())?;
        self.iter().try_for_each(|(key, value)| {
            key.write(to)?;
            value.write(to)
        })
    }

    fn read(from: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        let at = from.position();
        let length = from.map()?.ok_or_else(|| decode::Error::message("a map without a length").at(at))?;
        (0..length).map(|_| Ok((CompactString::read(from)?, T::read(from)?))).collect()
    }
}
