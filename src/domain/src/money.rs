//! Money: whole minor units with a currency. Nothing here rounds silently, and nothing is a float.

use crate::codec::encode::{Write, Written};
use crate::codec::{self as minicbor, Decode, Decoder, Encode, Encoder, decode, take_text};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use thiserror::Error;

/// The largest amount, in minor units: every JSON reader holds it exactly (2^53 − 1).
pub const AMOUNT_MAX: i64 = (1 << 53) - 1;
/// Rates are parts per million: 200,000 ppm is 20 %.
pub const PPM: i64 = 1_000_000;

/// An ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

/// Why an amount is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// Not three capital letters of a known currency.
    #[error("not a currency of ISO 4217")]
    Currency,
    /// The amount exceeds [`AMOUNT_MAX`].
    #[error("the amount is too large")]
    Overflow,
    /// Two currencies in one sum.
    #[error("two currencies in one sum")]
    Mismatch,
}

/// Active ISO 4217 codes whose minor unit is not a hundredth, with their digits.
const UNUSUAL_DIGITS: [(&str, u8); 26] = [
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("ISK", 0),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("PYG", 0),
    ("RWF", 0),
    ("UGX", 0),
    ("UYI", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
    ("BHD", 3),
    ("IQD", 3),
    ("JOD", 3),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("TND", 3),
    ("CLF", 4),
    ("UYW", 4),
];

/// Active ISO 4217 codes with two digits.
const TWO_DIGITS: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD \
CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS \
INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN \
NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB \
TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG";

impl Currency {
    /// The codes of all currencies that are known.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        UNUSUAL_DIGITS.iter().map(|(code, _)| *code).chain(TWO_DIGITS.split(' '))
    }

    /// Pound sterling, with two decimals.
    pub const GBP: Self = Self(*b"GBP");

    /// Reads an ISO 4217 code in capitals.
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        let known = UNUSUAL_DIGITS.iter().any(|(other, _)| *other == code)
            || (code.len() == 3 && TWO_DIGITS.split(' ').any(|other| other == code));
        let bytes: [u8; 3] = code.as_bytes().try_into().map_err(|_length| MoneyError::Currency)?;
        if known { Ok(Self(bytes)) } else { Err(MoneyError::Currency) }
    }

    /// The ISO 4217 code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// How many digits the minor unit has: JPY 0, GBP 2, KWD 3.
    #[must_use]
    pub fn digits(self) -> u8 {
        UNUSUAL_DIGITS.iter().find(|(code, _)| *code == self.as_str()).map_or(2, |(_, digits)| *digits)
    }
}

/// As its code where people read it (`"GBP"`), as three bytes between nodes.
impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.serialize_str(self.as_str()) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
        } else {
            <[u8; 3]>::deserialize(from).map(Self)
        }
    }
}

impl<C> Encode<C> for Currency {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
        to.code(self.0)
    }
}

impl<'b, C> Decode<'b, C> for Currency {
    fn decode(from: &mut Decoder<'b>, _context: &mut C) -> Result<Self, decode::Error> {
        let at = from.position();
        let code = take_text(from)?.as_bytes();
        match <[u8; 3]>::try_from(code) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            Ok(_) | Err(_) => Err(decode::Error::message("not three capital letters").at(at)),
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self::GBP
    }
}

/// An amount of minor units in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default, Encode, Decode)]
pub struct Money {
    /// Minor units; between `-AMOUNT_MAX` and `AMOUNT_MAX`.
    #[n(0)]
    pub amount: i64,
    /// ISO 4217 code.
    #[n(1)]
    pub currency: Currency,
}

impl Money {
    /// `amount` minor units, or [`MoneyError::Overflow`] beyond [`AMOUNT_MAX`].
    pub const fn new(amount: i64, currency: Currency) -> Result<Self, MoneyError> {
        if amount > AMOUNT_MAX || amount < -AMOUNT_MAX {
            return Err(MoneyError::Overflow);
        }
        Ok(Self { amount, currency })
    }

    /// Nothing, in `currency`.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { amount: 0, currency }
    }

    /// The sum, in one currency and within bounds.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        Self::new(self.amount.saturating_add(other.amount), self.currency)
    }

    /// The difference, in one currency and within bounds.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        Self::new(self.amount.saturating_sub(other.amount), self.currency)
    }

    /// `quantity` times this amount.
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        let product = i128::from(self.amount).saturating_mul(i128::from(quantity));
        Self::new(i64::try_from(product).map_err(|_beyond| MoneyError::Overflow)?, self.currency)
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency { Ok(()) } else { Err(MoneyError::Mismatch) }
    }
}

/// `numerator / denominator`, halves away from zero. The denominator is positive.
#[must_use]
pub fn divide_half_away(numerator: i128, denominator: i128) -> i128 {
    let sign = if numerator < 0 { -1 } else { 1 };
    // floor((2m + d) / 2d) is floor(m/d + 1/2) for every d, odd or even.
    let doubled = numerator.saturating_mul(sign).saturating_mul(2).saturating_add(denominator);
    doubled.checked_div(denominator.saturating_mul(2)).unwrap_or(0).saturating_mul(sign)
}

/// The tax inside (`included`) or on top of an amount of minor units at a rate in parts per million, rounded once,
/// halves away from zero.
#[must_use]
pub fn tax_of(amount: i64, rate_ppm: u32, included: bool) -> i64 {
    let product = i128::from(amount).saturating_mul(i128::from(rate_ppm));
    let base = i128::from(PPM);
    let denominator = if included { base.saturating_add(i128::from(rate_ppm)) } else { base };
    i64::try_from(divide_half_away(product, denominator)).unwrap_or(0)
}

/// Spreads `total` over parts in proportion to `weights`, so that the shares add up to it exactly.
///
/// By largest remainder, ties to the earlier part. All-zero weights are taken as equal ones; no weights give no shares.
#[must_use]
pub fn spread(total: i64, weights: &[i64]) -> Vec<i64> {
    if weights.len() <= 1 {
        // Most orders have one line.
        return vec![total; weights.len()];
    }
    let weights: Vec<i128> = if weights.iter().all(|weight| *weight <= 0) {
        vec![1; weights.len()]
    } else {
        weights.iter().map(|weight| i128::from((*weight).max(0))).collect()
    };
    let sum: i128 = weights.iter().sum();
    let sign: i128 = if total < 0 { -1 } else { 1 };
    let magnitude = i128::from(total).saturating_mul(sign);
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let product = magnitude.saturating_mul(*weight);
        shares.push(product.checked_div(sum).unwrap_or(0));
        remainders.push((product.checked_rem(sum).unwrap_or(0), index));
    }
    let left = magnitude.saturating_sub(shares.iter().sum());
    remainders.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    for (_, index) in remainders.iter().take(usize::try_from(left).unwrap_or(0)) {
        if let Some(share) = shares.get_mut(*index) {
            *share = share.saturating_add(1);
        }
    }
    shares.into_iter().map(|share| i64::try_from(share.saturating_mul(sign)).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn twenty_percent_inside_129_99_is_21_67() {
        assert_eq!(tax_of(12_999, 200_000, true), 2_167);
        assert_eq!(tax_of(13_498, 200_000, true), 2_250);
    }

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!(divide_half_away(5, 2), 3);
        assert_eq!(divide_half_away(-5, 2), -3);
        assert_eq!(divide_half_away(4, 3), 1);
        assert_eq!(divide_half_away(5, 3), 2);
    }

    #[test]
    fn digits_follow_iso_4217() {
        for (code, digits) in [("JPY", 0), ("GBP", 2), ("KWD", 3)] {
            assert_eq!(Currency::parse(code).map(Currency::digits), Ok(digits));
        }
        assert_eq!(Currency::parse("gbp"), Err(MoneyError::Currency));
        assert_eq!(Currency::parse("XYZ"), Err(MoneyError::Currency));
    }

    proptest! {
        #[test]
        fn shares_add_up_and_none_is_a_unit_off(total in -1_000_000_i64..1_000_000, weights in prop::collection::vec(0_i64..10_000, 1..20)) {
            let shares = spread(total, &weights);
            prop_assert_eq!(shares.iter().sum::<i64>(), total);
        }
    }
}
