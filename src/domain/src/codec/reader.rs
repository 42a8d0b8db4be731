//! The pieces that fields read by themselves. Most texts, ids and instants have a head of one byte: it is looked at here before the general
//! reader of `minicbor` is asked, which an order's state feels when its actor comes back.

use minicbor::decode::{Decoder, Error};

const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
const NULL: u8 = 0xf6;
/// The largest length that stands in a head of one byte.
const SHORT_MAX: u8 = 23;

/// The number in the one-byte head of a major type, and what stands behind it; `None`: something else stands there.
#[inline(always)]
fn short<'b>(from: &Decoder<'b>, major: u8) -> Option<(usize, &'b [u8])> {
    let (head, rest) = from.input().get(from.position()..)?.split_first()?;
    let number = head.wrapping_sub(major);
    (number <= SHORT_MAX).then_some((usize::from(number), rest))
}

/// The bytes behind a one-byte head; nothing is taken where something else stands.
#[inline(always)]
fn take_short<'b>(from: &mut Decoder<'b>, major: u8) -> Option<&'b [u8]> {
    let (length, rest) = short(from, major)?;
    let bytes = rest.get(..length)?;
    from.set_position(from.position().saturating_add(length).saturating_add(1));
    Some(bytes)
}

/// Takes the `null` of an absent value; `false`, and nothing taken, where a value stands.
pub(super) fn take_null(from: &mut Decoder<'_>) -> Result<bool, Error> {
    let at = from.position();
    let head = from.input().get(at).ok_or_else(Error::end_of_input)?;
    let is_null = *head == NULL;
    if is_null {
        from.set_position(at.saturating_add(1));
    }
    Ok(is_null)
}

/// Does an array stand there?
pub(super) fn is_array(from: &Decoder<'_>) -> bool {
    from.input().get(from.position()).is_some_and(|head| head & 0xe0 == ARRAY)
}

/// Takes the head of an array: how many items follow. Nothing is reserved for them: a damaged count must not take memory.
pub(super) fn take_length(from: &mut Decoder<'_>) -> Result<u64, Error> {
    let at = from.position();
    from.array()?.ok_or_else(|| Error::message("an array without a length").at(at))
}

/// Takes a text.
pub(crate) fn take_text<'b>(from: &mut Decoder<'b>) -> Result<&'b str, Error> {
    let at = from.position();
    match take_short(from, TEXT).map(std::str::from_utf8) {
        Some(Ok(text)) => Ok(text),
        // The general reader says what is wrong.
        Some(Err(_)) | None => {
            from.set_position(at);
            from.str()
        }
    }
}

/// Takes a byte string.
pub(crate) fn take_bytes<'b>(from: &mut Decoder<'b>) -> Result<&'b [u8], Error> {
    match take_short(from, BYTES) {
        Some(bytes) => Ok(bytes),
        None => from.bytes(),
    }
}
