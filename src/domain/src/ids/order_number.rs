//! The number of an order: what people read out and write down.

use super::{IdError, OrderId};
use compact_str::CompactString;
use std::fmt;
use std::str::FromStr;

/// The digits: Crockford's base 32, without the letters that are taken for digits.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The number of digits.
const LENGTH: u32 = 12;

/// Sixty bits of an order's id in twelve digits and two hyphens, in no sequence: `8ACB-8BF1-2EB5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderNumber(u64);

impl OrderNumber {
    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// As people see it.
    #[must_use]
    pub fn text(self) -> CompactString {
        let mut text = CompactString::default();
        for place in (0..LENGTH).rev() {
            let bits = self.0.checked_shr(place.saturating_mul(5)).unwrap_or_default() & 31;
            let digit = usize::try_from(bits).unwrap_or(0);
            text.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
            if place == 8 || place == 4 {
                text.push('-');
            }
        }
        text
    }
}

impl From<OrderId> for OrderNumber {
    /// The first 48 bits, and the 12 after the four that are the version of a UUID.
    fn from(order: OrderId) -> Self {
        let bits = ((order.0 >> 80) << 12) | ((order.0 >> 64) & 0xfff);
        Self(u64::try_from(bits).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for OrderNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text())
    }
}

impl FromStr for OrderNumber {
    type Err = IdError;

    /// Reads it as people write it: in either case, with its hyphens or without.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (mut bits, mut digits): (u64, u32) = (0, 0);
        for letter in text.bytes().filter(|letter| *letter != b'-') {
            let digit = DIGITS.iter().position(|digit| *digit == letter.to_ascii_uppercase());
            let digit = digit.filter(|_| digits < LENGTH).and_then(|digit| u64::try_from(digit).ok());
            bits = (bits << 5) | digit.ok_or(IdError::Uid)?;
            digits = digits.saturating_add(1);
        }
        if digits == LENGTH { Ok(Self(bits)) } else { Err(IdError::Uid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_three_groups_of_four_digits() {
        let text = OrderNumber::from(OrderId(0x0123_4567_89ab_4cde_8000_0000_0000_0000)).to_string();
        assert_eq!(text.len(), 14);
        assert!(text.split('-').all(|part| part.len() == 4), "{text}");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "----", "0000-0000-000", "0000-0000-00000", "0000-0000-000U", "0000-0000-000\u{e9}"] {
            assert!(text.parse::<OrderNumber>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_is_shown_in_either_case_and_without_hyphens(order: u128) {
            let number = OrderNumber::from(OrderId(order));
            let text = number.to_string();
            prop_assert_eq!(text.parse(), Ok(number));
            prop_assert_eq!(text.to_lowercase().replace('-', "").parse(), Ok(number));
        }
    }
}
