//! The types that views consist of. A view is a resource as the contract shows it, serialized straight from the state.
//!
//! Fields that can be empty are `null`. Views borrow: nothing is copied to be serialized.

use compact_str::{CompactString, format_compact};
use doorbuster_domain::ids::{
    CartId, GuestId, OrderId, PaymentId, ProductId, RefundId, ReservationId, ReservationName, ReturnId, ShipmentId,
    Sku, WarehouseId,
};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::LineNumber;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::{Seq, Shard};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt::{self, Display};

/// A value that is shown as its text, such as an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A type of ids in answers.
pub trait ShownId {
    /// The schema of its text.
    fn schema() -> Schema;
}

impl<T: ShownId> ShownId for &T {
    fn schema() -> Schema {
        T::schema()
    }
}

/// Ids that are made here: a prefix and 26 digits of Crockford's base32, which hold 128 bits.
macro_rules! shown_uids {
    ($($id:ident)+) => { $(
        impl ShownId for $id {
            fn schema() -> Schema {
                json_schema!({ "type": "string", "pattern": (format!("^{}{UID}$", $id::PREFIX)) })
            }
        }
    )+ };
}
shown_uids! { CartId GuestId OrderId PaymentId RefundId ReturnId ShipmentId }

/// Ids that a seller chose; the description adds the pattern of their format.
macro_rules! shown_names {
    ($($id:ident)+) => { $(
        impl ShownId for $id {
            fn schema() -> Schema {
                json_schema!({ "type": "string", "format": "name" })
            }
        }
    )+ };
}
shown_names! { ProductId Sku WarehouseId }

impl ShownId for ReservationName {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": (format!("^{}{UID}(~.{{1,64}})?$", ReservationId::PREFIX)) })
    }
}

/// The digits of an id that is made here, as a pattern.
pub const UID: &str = "[0-7][0-9a-hjkmnp-tv-z]{25}";

impl<T: ShownId> JsonSchema for Shown<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// Money as `{ "amount", "currency" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Money")]
pub struct MoneyView {
    /// In minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: Iso4217,
}

/// A currency as its ISO 4217 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iso4217(pub Currency);

impl Serialize for Iso4217 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl JsonSchema for Iso4217 {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "currency" })
    }
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> Self {
        Self { amount: money.amount, currency: Iso4217(money.currency) }
    }
}

/// An instant as RFC 3339, UTC, milliseconds, `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At(pub Timestamp);

impl At {
    /// Written digit by digit: every answer has several, and `format!` costs as much as the rest of a line.
    fn text(self) -> CompactString {
        let millis = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        let instant = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        let utc = jiff::tz::TimeZone::UTC.to_datetime(instant);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut part = |end: usize, value: i16, digits: usize| {
            let mut rest = value.unsigned_abs();
            for place in text.iter_mut().take(end).rev().take(digits) {
                *place = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
                rest /= 10;
            }
        };
        part(4, utc.year(), 4);
        part(7, i16::from(utc.month()), 2);
        part(10, i16::from(utc.day()), 2);
        part(13, i16::from(utc.hour()), 2);
        part(16, i16::from(utc.minute()), 2);
        part(19, i16::from(utc.second()), 2);
        part(23, utc.millisecond(), 3);
        // All of it is ASCII; `from_utf8_lossy` would push it byte by byte.
        CompactString::from_utf8(text).unwrap_or_default()
    }
}

impl Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text())
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl JsonSchema for At {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// What is left of a resource under `Prefer: return=minimal`: enough to go on with it, however many lines it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Minimal")]
pub struct MinimalView {
    /// Its id.
    #[schemars(with = "MinimalId")]
    pub id: CompactString,
    /// Its status.
    pub status: &'static str,
    /// Its version.
    pub version: u64,
    /// The sum of a cart's lines at current prices, or the total of an order.
    pub total: Option<MoneyView>,
    /// When it expires, unless it goes on.
    pub expires_at: At,
}

/// Texts that are shown as they are made, and how they look.
macro_rules! shown_texts {
    ($($(#[$doc:meta])* $name:ident, $pattern:expr;)+) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": ($pattern) })
            }
        }
    )+ };
}
shown_texts! {
    /// The schema of the id of a cart, an order or a reservation.
    MinimalId, format!("^(crt|ord|rsv)_{UID}(~.{{1,64}})?$");
    /// The schema of a line's id.
    LineId, "^[1-9][0-9]{0,4}$";
    /// The schema of the number of an order.
    OrderNumberText, "^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$";
}

/// The id of a line: its number as text.
#[must_use]
pub fn line_id(line: LineNumber) -> CompactString {
    format_compact!("{line}")
}

/// The id of an event: the shard and seq of its decision, and its place in it.
pub(crate) fn event_id(shard: Shard, seq: Seq, index: u64) -> String {
    format!("evt_{shard}-{seq}-{index}")
}

/// Pairs as a JSON object.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a>(pub &'a [(CompactString, CompactString)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl JsonSchema for Pairs<'_> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Pairs".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_has_milliseconds_and_a_z() {
        assert_eq!(At(Timestamp(0)).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(At(Timestamp(1_764_547_200_007)).to_string(), "2025-12-01T00:00:00.007Z");
        assert_eq!(At(Timestamp(1_709_164_799_999)).to_string(), "2024-02-28T23:59:59.999Z");
        assert_eq!(At(Timestamp(u64::MAX)).to_string().len(), 24);
    }
}
