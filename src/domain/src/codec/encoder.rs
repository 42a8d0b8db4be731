//! The encoder behind the derived `Encode`: CBOR (RFC 8949) into memory.
//!
//! The derived code is `minicbor`'s, and so is all that reads. Its encoder writes to any writer and can fail, which costs each of the many
//! small writes of an event thirty instructions; this one writes to a vector, cannot fail, and becomes part of the derived code, where most
//! heads are known beforehand. The bytes are the same. Derived code names its crate, so a file with tagged types has this one under that
//! name: `use crate::codec::{self as minicbor, Decode, Encode}`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// A value that can be written; derived.
pub trait Encode<C> {
    /// Appends the value. `context` takes what is not written in place: see [`super::apart`] and [`super::interned`].
    ///
    /// # Errors
    /// None: the error has no value.
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W>;

    /// Is it absent? Absent values at the end of a struct are left out.
    fn is_nil(&self) -> bool {
        false
    }
}

/// What derived code names beside [`Encode`] and [`Encoder`].
pub mod encode {
    use std::convert::Infallible;

    /// Where bytes go.
    pub trait Write {
        /// Why they cannot.
        type Error;
        /// What was written so far.
        fn memory(&mut self) -> &mut Vec<u8>;
    }

    impl Write for &mut Vec<u8> {
        type Error = Infallible;

        #[inline(always)]
        fn memory(&mut self) -> &mut Vec<u8> {
            self
        }
    }

    /// Why a value cannot be written; none, where bytes go to memory.
    pub type Error<E> = E;

    /// That a value was written.
    pub type Written<W> = Result<(), <W as Write>::Error>;
}

use encode::{Write, Written};

/// Appends a value in its tagged form.
pub fn write<T: Encode<C>, C>(value: &T, out: &mut Vec<u8>, context: &mut C) {
    let Ok(()): Result<(), Infallible> = value.encode(&mut Encoder(out), context);
}

/// Major types (RFC 8949, section 3.1): the first three bits of a head.
const UNSIGNED: u8 = 0x00;
const NEGATIVE: u8 = 0x20;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
const MAP: u8 = 0xa0;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
/// The largest number that stands in a head of one byte.
const SHORT_MAX: u8 = 23;

/// Appends the pieces of values.
#[derive(Debug)]
pub struct Encoder<W>(W);

impl<W: Write> Encoder<W> {
    /// Bytes that are CBOR already.
    #[inline(always)]
    fn raw(&mut self, bytes: &[u8]) -> Written<W> {
        self.0.memory().extend_from_slice(bytes);
        Ok(())
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) -> Written<W> {
        self.0.memory().push(byte);
        Ok(())
    }

    #[inline(always)]
    fn head(&mut self, major: u8, number: u64) -> Written<W> {
        match u8::try_from(number) {
            Ok(short) if short <= SHORT_MAX => self.byte(major | short),
            Ok(_) | Err(_) => self.long_head(major, number),
        }
    }

    /// A head of more than one byte. Apart, so that the short one fits into its callers.
    #[inline(never)]
    fn long_head(&mut self, major: u8, number: u64) -> Written<W> {
        if let Ok(number) = u8::try_from(number) {
            self.raw(&[major | 24, number])
        } else if let Ok(number) = u16::try_from(number) {
            let [a, b] = number.to_be_bytes();
            self.raw(&[major | 25, a, b])
        } else if let Ok(number) = u32::try_from(number) {
            let [a, b, c, d] = number.to_be_bytes();
            self.raw(&[major | 26, a, b, c, d])
        } else {
            let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
            self.raw(&[major | 27, a, b, c, d, e, f, g, h])
        }
    }

    /// The head of an array of `length` items.
    ///
    /// # Errors
    /// None.
    #[inline(always)]
    pub fn array(&mut self, length: u64) -> Written<W> {
        self.head(ARRAY, length)
    }

    /// The head of a map of `length` pairs.
    ///
    /// # Errors
    /// None.
    pub(crate) fn map(&mut self, length: usize) -> Written<W> {
        self.head(MAP, size(length))
    }

    /// The head of an array of as many items as a list has.
    pub(crate) fn list(&mut self, length: usize) -> Written<W> {
        self.head(ARRAY, size(length))
    }

    /// A number.
    ///
    /// # Errors
    /// None.
    #[inline(always)]
    pub fn i64(&mut self, number: i64) -> Written<W> {
        match u64::try_from(number) {
            Ok(number) => self.head(UNSIGNED, number),
            Err(_below_zero) => self.head(NEGATIVE, (!number).cast_unsigned()),
        }
    }

    /// A number.
    #[inline(always)]
    pub(crate) fn u64(&mut self, number: u64) -> Written<W> {
        self.head(UNSIGNED, number)
    }

    /// The absent value.
    ///
    /// # Errors
    /// None.
    #[inline(always)]
    pub fn null(&mut self) -> Written<W> {
        self.byte(NULL)
    }

    /// Yes or no.
    #[inline(always)]
    pub(crate) fn bool(&mut self, value: bool) -> Written<W> {
        self.byte(if value { TRUE } else { FALSE })
    }

    /// A text.
    pub(crate) fn str(&mut self, text: &str) -> Written<W> {
        self.head(TEXT, size(text.len()))?;
        self.raw(text.as_bytes())
    }

    /// A byte string.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Written<W> {
        self.head(BYTES, size(bytes.len()))?;
        self.raw(bytes)
    }

    /// Sixteen bytes as a byte string.
    #[inline(always)]
    pub(crate) fn bits(&mut self, bits: u128) -> Written<W> {
        let mut bytes = [BYTES | 16; 17];
        let [_head, body @ ..] = &mut bytes;
        *body = bits.to_be_bytes();
        self.raw(&bytes)
    }

    /// A number as a byte string without leading zeros.
    pub(crate) fn instant(&mut self, number: u64) -> Written<W> {
        /// The head of six bytes: an instant from 2004 to 10889 has as many.
        const SIX: u64 = 0x46 << 48;
        if (16..24).contains(&number.leading_zeros()) {
            let [_none, six @ ..] = (SIX | number).to_be_bytes();
            return self.raw(&six);
        }
        let bytes = number.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        self.bytes(bytes.get(zeros..).unwrap_or_default())
    }

    /// Three capital letters as a text.
    #[inline(always)]
    pub(crate) fn code(&mut self, [a, b, c]: [u8; 3]) -> Written<W> {
        self.raw(&[TEXT | 3, a, b, c])
    }
}

/// A length as a head has it.
fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

macro_rules! numbers {
    ($($number:ty)+) => { $(
        impl<C> Encode<C> for $number {
            #[inline(always)]
            fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
                to.u64(u64::from(*self))
            }
        }
    )+ };
}
numbers!(u8 u16 u32 u64);

impl<C> Encode<C> for usize {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
        to.u64(size(*self))
    }
}

impl<C> Encode<C> for i64 {
    #[inline(always)]
    fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
        to.i64(*self)
    }
}

impl<C> Encode<C> for bool {
    #[inline(always)]
    fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
        to.bool(*self)
    }
}

impl<C> Encode<C> for String {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
        to.str(self)
    }
}

impl<C, T: Encode<C>> Encode<C> for Option<T> {
    #[inline(always)]
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        match self {
            Some(value) => value.encode(to, context),
            None => to.null(),
        }
    }

    #[inline(always)]
    fn is_nil(&self) -> bool {
        self.is_none()
    }
}

impl<C, T: Encode<C>> Encode<C> for &T {
    #[inline(always)]
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        (*self).encode(to, context)
    }

    #[inline(always)]
    fn is_nil(&self) -> bool {
        (*self).is_nil()
    }
}

impl<C, T: Encode<C>> Encode<C> for Box<T> {
    #[inline(always)]
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        self.as_ref().encode(to, context)
    }
}

impl<C, T: Encode<C> + Clone> Encode<C> for Cow<'_, T> {
    #[inline(always)]
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        self.as_ref().encode(to, context)
    }
}

impl<C, T: Encode<C>> Encode<C> for Vec<T> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        to.list(self.len())?;
        self.iter().try_for_each(|item| item.encode(to, context))
    }
}

impl<C, T: Encode<C>, const N: usize> Encode<C> for [T; N] {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        to.list(N)?;
        self.iter().try_for_each(|item| item.encode(to, context))
    }
}

impl<C, T: Encode<C>> Encode<C> for BTreeSet<T> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        to.list(self.len())?;
        self.iter().try_for_each(|item| item.encode(to, context))
    }
}

impl<C, K: Encode<C>, T: Encode<C>> Encode<C> for BTreeMap<K, T> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        to.map(self.len())?;
        self.iter().try_for_each(|(key, item)| {
            key.encode(to, context)?;
            item.encode(to, context)
        })
    }
}

impl<C, A: Encode<C>, B: Encode<C>> Encode<C> for (A, B) {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        to.array(2)?;
        self.0.encode(to, context)?;
        self.1.encode(to, context)
    }
}

impl<C, A: Encode<C>, B: Encode<C>, D: Encode<C>> Encode<C> for (A, B, D) {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
        to.array(3)?;
        self.0.encode(to, context)?;
        self.1.encode(to, context)?;
        self.2.encode(to, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What this encoder writes, and what `minicbor`'s does.
    fn both<T: Encode<()> + minicbor::Encode<()>>(value: &T) -> (Vec<u8>, Vec<u8>) {
        let mut ours = Vec::new();
        write(value, &mut ours, &mut ());
        let mut theirs = Vec::new();
        let Ok(()) = minicbor::encode(value, &mut theirs) else { panic!("memory takes every write") };
        (ours, theirs)
    }

    #[track_caller]
    fn same<T: Encode<()> + minicbor::Encode<()>>(value: &T) {
        let (ours, theirs) = both(value);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn every_length_of_a_head_is_that_of_minicbor() {
        for bits in 0..64 {
            for number in [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1, 23, 24] {
                same(&number);
                same(&i64::try_from(number >> 1).unwrap());
                same(&-i64::try_from(number >> 1).unwrap());
            }
        }
        same(&u64::MAX);
        same(&i64::MIN);
        for length in [0, 1, 23, 24, 255, 256, 65_535, 65_536] {
            same(&"x".repeat(length));
            same(&vec![1_u16; length]);
        }
    }

    proptest! {
        #[test]
        fn any_value_has_the_bytes_of_minicbor(
            numbers: (u8, u16, u32),
            text: String,
            flags: Vec<bool>,
            set in prop::collection::btree_set(any::<u64>(), 0..40),
            pairs in prop::collection::btree_map(any::<u32>(), any::<Option<i64>>(), 0..40),
            sizes: [u32; 3],
        ) {
            let value = ((numbers, Some(text)), (flags, set, Box::new(pairs)), Some((sizes, None::<bool>)));
            let (ours, theirs) = both(&value);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn ids_and_instants_are_byte_strings(bits: u128, instant: u64, shift in 0..64_u32) {
            let instant = instant >> shift;
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let mut encoder = Encoder(&mut ours);
            let (Ok(()), Ok(())) = (encoder.bits(bits), encoder.instant(instant));
            let bytes = instant.to_be_bytes();
            let zeros = usize::try_from(instant.leading_zeros() / 8).unwrap();
            let Ok(_) = minicbor::Encoder::new(&mut theirs).bytes(&bits.to_be_bytes()).unwrap().bytes(&bytes[zeros..]) else {
                panic!("memory takes every write")
            };
            prop_assert_eq!(ours, theirs);
        }
    }
}
