//! The types that request bodies consist of: each checks its value when it is read.
//!
//! Each also states the same rule in its JSON schema, so what OpenAPI says is what is checked.

use super::card_number::holds_card_number;
use super::headers::KEY_LENGTH_MAX;
use compact_str::CompactString;
use doorbuster_domain::country::is_country;
use doorbuster_domain::ids::{CartId, IdError, ProductId, RefundId, Sku, WarehouseId};
use doorbuster_domain::money::{AMOUNT_MAX, Currency, Money};
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::web_address::WebAddress;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Greatest quantity of a line, a receipt or a correction, in units.
pub const QUANTITY_MAX: u32 = 1_000_000;
/// Bounds of `metadata`: number of pairs, characters of a key, characters of a value.
pub const METADATA_MAX: (usize, usize, usize) = (50, 40, 500);
/// The most bytes of all keys and values of a resource's metadata together: a character may have four.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// The keyword in schemas of texts that must not contain a card number.
pub const NO_CARD: &str = "x-no-card-number";

fn is_clean(text: &str, max: usize) -> bool {
    (text.len() <= max || text.chars().count() <= max)
        && !text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t' && letter != '\r')
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $cards:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name<const MAX: usize>(pub CompactString);

        impl<'de, const MAX: usize> Deserialize<'de> for $name<MAX> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor<const MAX: usize>;
                impl<const MAX: usize> Visitor<'_> for TextVisitor<MAX> {
                    type Value = CompactString;
                    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(out, "a text of at most {MAX} characters")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<CompactString, E> {
                        if is_clean(text, MAX) && ($cards || !holds_card_number(text)) {
                            Ok(CompactString::new(text))
                        } else {
                            Err(E::invalid_value(de::Unexpected::Other("this text"), &self))
                        }
                    }
                }
                deserializer.deserialize_str(TextVisitor::<MAX>).map(Self)
            }
        }

        impl<const MAX: usize> JsonSchema for $name<MAX> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                format!("{}{MAX}", stringify!($name)).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                if $cards {
                    json_schema!({ "type": "string", "maxLength": MAX })
                } else {
                    json_schema!({ "type": "string", "maxLength": MAX, (NO_CARD): true })
                }
            }
        }
    };
}

text!(
    /// A text of at most `MAX` characters, without control characters except tabs and line ends.
    Text, true
);
text!(
    /// The same, without a card number: names, notes, metadata.
    Prose, false
);

/// A JSON number as an integer. `2.0` is whole, as in JSON Schema: JSON has numbers without types. `None`: it is not whole, or beyond
/// 2^53 − 1, up to which every JSON parser is exact.
#[must_use]
pub fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    let is_whole = number.fract() == 0.0 && number.abs() <= EXACT_MAX;
    is_whole.then(|| format!("{number:.0}").parse().ok()).flatten()
}

struct WholeNumber;

impl Visitor<'_> for WholeNumber {
    type Value = i64;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a whole number")
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(|_too_large| E::custom("out of range"))
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<i64, E> {
        whole(number).ok_or_else(|| E::custom("must be a whole number"))
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $min:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = deserializer.deserialize_i64(WholeNumber)?;
                <$inner>::try_from(number)
                    .ok()
                    .filter(|number| (($min)..=($max)).contains(number))
                    .map(Self)
                    .ok_or_else(|| de::Error::custom("out of range"))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "integer", "minimum": $min, "maximum": $max })
            }
        }
    };
}

number!(
    /// Units of a line, a receipt or a shipment.
    Quantity(u32), 1, QUANTITY_MAX
);
number!(
    /// Units counted by a stocktake.
    Counted(u32), 0, u32::MAX
);
number!(
    /// A correction of stock, in units.
    Delta(i64), -1_000_000_000_000_i64, 1_000_000_000_000_i64
);
number!(
    /// An amount in minor units.
    Amount(i64), 0, AMOUNT_MAX
);
number!(
    /// A whole number that is not negative: seconds, grams, millimetres.
    Whole(u32), 0, u32::MAX
);

/// A type of ids that a body may contain.
pub trait NamedId: Sized {
    /// The `format` of its schema; a body that violates it is answered 400 `invalid_id`.
    const FORMAT: &'static str;
    /// Parses it.
    ///
    /// # Errors
    /// When the text is no lawful id.
    fn read(text: &str) -> Result<Self, IdError>;
}

macro_rules! named_id {
    ($($name:ty, $format:literal;)+) => {
        $(impl NamedId for $name {
            const FORMAT: &'static str = $format;
            fn read(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        })+
    };
}
named_id! { Sku, "name"; ProductId, "name"; WarehouseId, "name"; CartId, "cart-id"; RefundId, "refund-id"; }

/// An id in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id<T>(pub T);

impl<'de, T: NamedId> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor<T>(PhantomData<T>);
        impl<T: NamedId> Visitor<'_> for IdVisitor<T> {
            type Value = T;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an id")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
                T::read(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(IdVisitor(PhantomData)).map(Self)
    }
}

impl<T: NamedId> JsonSchema for Id<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::FORMAT.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": (T::FORMAT) })
    }
}

/// Does a text satisfy a format of this file? `None`: the format is not one of them.
#[must_use]
pub fn has_format(format: &str, text: &str) -> Option<bool> {
    match format {
        "name" => Some(Sku::parse(text).is_ok()),
        "cart-id" => Some(CartId::parse(text).is_ok()),
        "refund-id" => Some(RefundId::parse(text).is_ok()),
        "currency" => Some(Currency::parse(text).is_ok()),
        "country" => Some(is_country(text)),
        "e-mail" => Some(is_email(text)),
        "date-time" => Some(Instant::read(text).is_some()),
        "reference" => Some(is_reference(text)),
        "web-address" => Some(is_return_url(text)),
        _ => None,
    }
}

/// A reference serves as a key, and has the form of one.
fn is_reference(text: &str) -> bool {
    (1..=KEY_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Longest e-mail address, in characters (RFC 5321, 4.5.3.1).
pub const EMAIL_LENGTH_MAX: usize = 254;
/// The same shape as `is_email` knows, for the description.
pub const EMAIL: &str = r#"^[^\x00-\x20"(),.:;<>@\[\]\\\x7f-\xa0]+(\.[^\x00-\x20"(),.:;<>@\[\]\\\x7f-\xa0]+)*@[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\xa0]([^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x60\x7b-\xa0]*[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\xa0])?(\.[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\xa0]([^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x60\x7b-\xa0]*[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\xa0])?)+$"#;

/// Does it have the shape of an e-mail address: words with points between them, `@`, labels with points between them? Whether somebody reads it, only a
/// letter to it can tell.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let beyond_ascii = |letter: char| letter > '\u{a0}';
    let is_atom =
        |letter: char| beyond_ascii(letter) || (letter.is_ascii_graphic() && !"\"(),.:;<>@[]\\".contains(letter));
    let is_word = |word: &str| !word.is_empty() && word.chars().all(is_atom);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|letter| beyond_ascii(letter) || letter.is_ascii_alphanumeric() || letter == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.chars().count() <= EMAIL_LENGTH_MAX
        && local.split('.').all(is_word)
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

/// The most characters of a `return_url`.
pub const RETURN_URL_LENGTH_MAX: usize = 2_000;

fn is_return_url(text: &str) -> bool {
    let address = WebAddress::parse(text);
    text.len() <= RETURN_URL_LENGTH_MAX && address.is_some_and(|address| !address.host.starts_with('['))
}

macro_rules! formatted {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal, $read:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = CompactString::deserialize(deserializer)?;
                let read: fn(&str) -> Option<$inner> = $read;
                read(&text).map(Self).ok_or_else(|| de::Error::custom(concat!("not a ", $format)))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $format.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }
    };
}

formatted!(
    /// An ISO 4217 currency code.
    Code4217(Currency), "currency", |text| Currency::parse(text).ok()
);
formatted!(
    /// An ISO 3166-1 alpha-2 country code.
    Country(CompactString), "country", |text| is_country(text).then(|| CompactString::new(text))
);
formatted!(
    /// An e-mail address, by its shape.
    Email(CompactString), "e-mail", |text| is_email(text).then(|| CompactString::new(text))
);
formatted!(
    /// The caller's own name for a resource, which serves as the idempotency key of the request: 1 to 255 visible ASCII characters.
    Reference(CompactString), "reference", |text| is_reference(text).then(|| CompactString::new(text))
);
formatted!(
    /// The page to which a shopper returns: `http` or `https`, a host by name or IPv4 address, no user before it.
    ReturnUrl(CompactString), "web-address", |text| is_return_url(text).then(|| CompactString::new(text))
);
formatted!(
    /// An RFC 3339 instant.
    Instant(Timestamp), "date-time", Instant::read
);

impl Instant {
    /// Reads it.
    pub(crate) fn read(text: &str) -> Option<Timestamp> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(instant.as_millisecond()).ok().map(Timestamp)
    }
}

/// Money in a body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoneyIn {
    /// In minor units.
    pub amount: Amount,
    /// ISO 4217 code.
    pub currency: Code4217,
}

impl From<MoneyIn> for Money {
    fn from(money: MoneyIn) -> Self {
        Self { amount: money.amount.0, currency: money.currency.0 }
    }
}

/// The caller's own pairs, which the API stores and does not interpret: sorted by key, each key once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Metadata(pub Vec<(CompactString, CompactString)>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Metadata;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("pairs of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let (mut pairs, mut bytes) = (Vec::new(), 0_usize);
                while let Some((key, value)) = map.next_entry::<Prose<40>, Prose<500>>()? {
                    bytes = bytes.saturating_add(key.0.len()).saturating_add(value.0.len());
                    if pairs.len() >= METADATA_MAX.0 || bytes > METADATA_BYTES_MAX {
                        let detail = format!("more than {} pairs or {METADATA_BYTES_MAX} bytes", METADATA_MAX.0);
                        return Err(de::Error::custom(detail));
                    }
                    pairs.push((key.0, value.0));
                }
                pairs.sort();
                let repeated = pairs.windows(2).any(|two| matches!(two, [one, other] if one.0 == other.0));
                if repeated {
                    return Err(de::Error::custom("a repeated key"));
                }
                Ok(Metadata(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

impl JsonSchema for Metadata {
    fn schema_name() -> Cow<'static, str> {
        "Metadata".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (pairs, key, value) = METADATA_MAX;
        json_schema!({
            "type": "object",
            "maxProperties": pairs,
            "propertyNames": { "type": "string", "maxLength": key, (NO_CARD): true },
            "additionalProperties": { "type": "string", "maxLength": value, (NO_CARD): true }
        })
    }
}

/// A body without fields.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

/// Reads a field for which `null` (clear it) differs from absent (keep it): `Some(None)` for `null`.
///
/// # Errors
/// When the value is no `T`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_a_whole_number_from_1_to_a_million() {
        for text in ["0", "-1", "1.5", "1e308", "2147483648", "1000001", "\"1\"", "null"] {
            assert!(serde_json::from_str::<Quantity>(text).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<Quantity>("1000000").unwrap(), Quantity(1_000_000));
    }

    #[test]
    fn an_email_address_is_told_by_its_shape() {
        for text in ["a@b.example", "o'hara+shop@mail.b-c.co.uk", "jörg@müller.example", "a@xn--mller-kva.example"] {
            assert!(is_email(text), "{text}");
        }
        let long = format!("{}@b.example", "a".repeat(EMAIL_LENGTH_MAX));
        let hosts = ["a@b", "a@", "a@.example", "a@b..example", "a@-b.example", "a@b-.example", "a@b.example."];
        let people = ["", "a", "@b.example", "a b@c.example", ".a@b.example", "a..b@c.example", "a@b@c.example", &long];
        for text in hosts.into_iter().chain(people).chain(["a@b.example\n", "a@b.exam ple", "<a@b.example>"]) {
            assert!(!is_email(text), "{text}");
        }
    }

    #[test]
    fn metadata_has_each_key_once() {
        assert!(serde_json::from_str::<Metadata>(r#"{"a":"1","a":"2"}"#).is_err());
        assert_eq!(serde_json::from_str::<Metadata>(r#"{"b":"2","a":"1"}"#).unwrap().0.first().unwrap().0, "a");
    }
}
