//! What answers carry: resources as the contract shows them, written straight from the state.
//!
//! Fields that can be empty are shown as `null`. Views borrow; nothing is copied to be written.

mod cart;
mod catalog;
mod event;
mod order;
mod part;
mod reservation;
mod stock;

pub use cart::{CartLineView, CartView, GuestView, NoticeView};
pub use catalog::{ProductView, WarehouseView};
pub use event::{EventView, events_of};
pub use order::{OrderView, allowed_words, is_decided, order_number, status_word};
pub use part::{PaymentErrorView, PaymentView, RefundView, ReturnView, ShipmentView, line_id};
pub use reservation::{
    BatchView, ReservationLineView, ReservationListView, ReservationParts, ReservationView, ResultView, promise_word,
};
pub use stock::{AvailabilityView, InventoryView, LevelView, stock_of, stock_word};

use compact_str::CompactString;
use doorbuster_domain::money::Money;
use doorbuster_domain::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt::{self, Display};

/// Whatever shows itself as text, such as an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<T> JsonSchema for Shown<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Money as `{ "amount", "currency" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Money")]
pub struct MoneyView {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    #[schemars(with = "String")]
    pub currency: Iso4217,
}

/// A currency as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iso4217(doorbuster_domain::money::Currency);

impl Serialize for Iso4217 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
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
    /// Digit by digit: every answer has several, and the formatting machinery costs as much as the rest of a line.
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
        // Digits and a few signs; `from_utf8_lossy` would push them one by one.
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
