//! Personal data as a field: `#[cbor(n(3), with = "apart")]` writes it beside the facts, not among them, so that it can be erased alone.
//!
//! The facts keep one byte: there was personal data. A type that has such a field, and every type around it, says
//! `#[cbor(context_bound = "KeepsApart")]`.

use super::encode::{Write, Written};
use super::reader::take_null;
use super::{Encode, Encoder};
use minicbor::decode::{self, Decode, Decoder};
use std::sync::Arc;

/// Where personal data is put while facts are written, and taken from while they are read.
pub trait KeepsApart {
    /// Puts one value behind those that are there.
    fn put<T: Encode<()>>(&mut self, value: &T);

    /// Takes the next value; `None`: it was erased.
    ///
    /// # Errors
    /// When something else stands there.
    fn take<T: for<'b> Decode<'b, ()>>(&mut self) -> Result<Option<T>, decode::Error>;
}

/// The personal data of one event or state, beside its facts.
#[derive(Debug)]
pub struct Apart<'a> {
    written: Option<&'a mut Vec<u8>>,
    is_written: bool,
    stored: Option<Decoder<'a>>,
}

/// Room that is taken for personal data when there is any, in bytes: most of it fits.
const ROOM: usize = 128;

impl<'a> Apart<'a> {
    /// To write behind what `out` holds.
    pub const fn to(out: &'a mut Vec<u8>) -> Self {
        Self { written: Some(out), is_written: false, stored: None }
    }

    /// To read what is `stored`; `None`: it was erased, or there never was any.
    #[must_use]
    pub fn stored(stored: Option<&'a [u8]>) -> Self {
        Self { written: None, is_written: false, stored: stored.map(Decoder::new) }
    }

    /// Was there personal data to write?
    #[must_use]
    pub const fn is_written(&self) -> bool {
        self.is_written
    }

    /// Was less read than is stored? Nothing read is not less: facts without personal data leave what was not erased yet alone.
    #[must_use]
    pub fn is_left_over(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| (1..stored.input().len()).contains(&stored.position()))
    }
}

impl KeepsApart for Apart<'_> {
    fn put<T: Encode<()>>(&mut self, value: &T) {
        if let Some(written) = &mut self.written {
            written.reserve(ROOM);
            super::write(value, written, &mut ());
            self.is_written = true;
        }
    }

    fn take<T: for<'b> Decode<'b, ()>>(&mut self) -> Result<Option<T>, decode::Error> {
        self.stored.as_mut().map(|stored| T::decode(stored, &mut ())).transpose()
    }
}

/// Appends the byte that says whether there is personal data, and puts it apart.
///
/// # Errors
/// None.
pub fn encode<C: KeepsApart, W: Write, T: Encode<()>>(
    value: &Option<Arc<T>>,
    to: &mut Encoder<W>,
    context: &mut C,
) -> Written<W> {
    match value {
        Some(value) => {
            context.put(value.as_ref());
            to.bool(true)
        }
        None => to.null(),
    }
}

/// Takes a field whose personal data stands apart; `None`: there was none, or it was erased.
///
/// # Errors
/// When something else stands there.
pub fn decode<C: KeepsApart, T: for<'b> Decode<'b, ()>>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Option<Arc<T>>, decode::Error> {
    if take_null(from)? {
        return Ok(None);
    }
    let at = from.position();
    if from.bool()? {
        Ok(context.take()?.map(Arc::new))
    } else {
        Err(decode::Error::message("neither personal data nor none").at(at))
    }
}
