//! Ids of entities, in memory, in the journal and in the API.
//!
//! Ids made here are UUIDs shown as a prefix and 26 lower-case Crockford base32 characters (`ord_…`). Ids chosen by
//! the seller (product, SKU, warehouse) are 1 to 64 letters and digits of any script, spaces and signs: see [`name`].
//!
//! What belongs to an order (payment, refund, shipment, return) carries the order's own bits and, in the low
//! [`CHILD_BITS`], its number within the order, so that any node finds the order without a look-up.

mod entity_id;
pub mod name;
mod order_number;

pub use entity_id::{EntityId, KeyError};
pub use order_number::OrderNumber;

use crate::codec::encode::{Write, Written};
use crate::codec::{self as minicbor, Decode, Decoder, Encode, Encoder, decode, take_bytes, take_text};
use compact_str::CompactString;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use thiserror::Error;
use uuid::Uuid;

/// The low bits of an order's UUID: zero in the order's own id, else the number of its payment, refund, shipment or return.
pub const CHILD_BITS: u32 = 16;
/// Longest id that a seller may choose, in characters.
pub const NAME_LENGTH_MAX: usize = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// The text is empty, longer than [`NAME_LENGTH_MAX`], has a character that is not allowed, or is `.` or `..`.
    #[error("an id is 1 to 64 letters, digits, spaces and . _ ~ : + - / % # & , ( ), and not '.' or '..'")]
    Name,
    /// The text is not the prefix of this kind followed by 26 lower-case Crockford base32 characters.
    #[error("not an id of this kind")]
    Uid,
}

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const UID_LENGTH: usize = 26;

fn write_crockford(value: u128, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [b'0'; UID_LENGTH];
    let mut rest = value;
    for slot in text.iter_mut().rev() {
        let digit = usize::try_from(rest & 31).map_err(|_above| fmt::Error)?;
        *slot = CROCKFORD.get(digit).copied().unwrap_or(b'0');
        rest >>= 5;
    }
    out.write_str(std::str::from_utf8(&text).map_err(|_not_ascii| fmt::Error)?)
}

fn read_crockford(text: &str) -> Option<u128> {
    if text.len() != UID_LENGTH {
        return None;
    }
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = CROCKFORD.iter().position(|candidate| *candidate == byte)?;
        value = value.checked_mul(32)?.checked_add(u128::try_from(digit).ok()?)?;
    }
    Some(value)
}

/// How 128 bits are written: stored as sixteen bytes (ids are random, so a number of variable length would take more), between nodes as a
/// number, and for people in hexadecimal.
macro_rules! bits {
    ($($name:ident)+) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let bits = self.0;
                if to.is_human_readable() {
                    to.collect_str(&format_args!("{bits:032x}"))
                } else {
                    to.serialize_newtype_struct(stringify!($name), &bits)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    let text = String::deserialize(from)?;
                    u128::from_str_radix(&text, 16).map(Self).map_err(D::Error::custom)
                } else {
                    u128::deserialize(from).map(Self)
                }
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
                to.bits(self.0)
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(from: &mut Decoder<'b>, _context: &mut C) -> Result<Self, decode::Error> {
                let at = from.position();
                let bits = take_bytes(from)?.try_into().map_err(|_length| decode::Error::message("not 16 bytes").at(at))?;
                Ok(Self(u128::from_be_bytes(bits)))
            }
        }
    )+ };
}
bits!(RequestId RequestFingerprint);

macro_rules! uid {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        // Aligned as its halves: an entity's id beside a number is a sixth smaller, and a shard has a million such pairs.
        #[repr(Rust, packed(8))]
        pub struct $name(pub u128);

        bits!($name);

        impl $name {
            /// The text before the 26 characters.
            pub const PREFIX: &'static str = $prefix;

            /// Reads the shown form; anything else is [`IdError::Uid`].
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let rest = text.strip_prefix($prefix).ok_or(IdError::Uid)?;
                read_crockford(rest).map(Self).ok_or(IdError::Uid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str($prefix)?;
                write_crockford(self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }
    };
}

uid!(
    /// The id of an order; its low [`CHILD_BITS`] are zero.
    OrderId, "ord_"
);
uid!(
    /// The id of a cart.
    CartId, "crt_"
);
uid!(
    /// The id of an attempt to pay an order.
    PaymentId, "pay_"
);
uid!(
    /// The id of a refund of an order.
    RefundId, "rfd_"
);
uid!(
    /// The id of a return of an order.
    ReturnId, "ret_"
);
uid!(
    /// The id of a shipment of an order.
    ShipmentId, "shp_"
);
uid!(
    /// The id of a guest.
    GuestId, "gst_"
);
uid!(
    /// The id of an external reservation: one of a shop with its own checkout.
    ReservationId, "rsv_"
);

uid!(
    /// The id of a counter: a keyed hash of what it counts (rule W4).
    CounterId, "cnt_"
);

const CHILD_MASK: u128 = (1 << CHILD_BITS) - 1;

impl OrderId {
    /// The order that `principal` makes by sending `key` to `path` where there is no installation id: `UUIDv5(principal, path, key)` with its
    /// low [`CHILD_BITS`] cleared. Orders from before there were such ids have these.
    #[must_use]
    pub fn of_request(request: RequestId) -> Self {
        Self(request.0 & !CHILD_MASK)
    }
}

/// An installation of the shop: one data folder, or one keyspace. It is random, so that orders of two installations never meet at a payment
/// provider that both use (rule M6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstallationId(pub u128);

bits!(InstallationId);

impl fmt::Debug for InstallationId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(out, "InstallationId({bits:032x})")
    }
}

impl InstallationId {
    /// The bits of an order's id, above those of its children, that are those of its installation. The others are a hash of installation and
    /// request: 88 bits, the first byte among them, by which an order belongs to a chunk of a SKU.
    const MARK: u128 = 0xff_ffff << CHILD_BITS;

    /// The order that a request makes in this installation: always the same one, and another one in every other installation.
    #[must_use]
    pub fn order_of(self, request: RequestId) -> OrderId {
        let digest = Sha256::new()
            .chain_update(b"doorbuster-order-1")
            .chain_update(self.0.to_be_bytes())
            .chain_update(request.0.to_be_bytes())
            .finalize();
        let hash = digest.iter().take(16).fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
        OrderId((hash & !Self::MARK & !CHILD_MASK) | (self.0 & Self::MARK))
    }

    /// Whether this installation can have made an order. One of another installation passes once in 2^24 times.
    #[must_use]
    pub const fn may_have_made(self, order: OrderId) -> bool {
        let id = order.0;
        (id ^ self.0) & Self::MARK == 0
    }
}

impl CartId {
    /// The cart that a request creates; see [`OrderId::of_request`].
    #[must_use]
    pub const fn of_request(request: RequestId) -> Self {
        Self(request.0)
    }
}

impl ReservationId {
    /// The reservation that `principal` makes under its own `reference`: the same two name the same reservation on every node and for ever.
    #[must_use]
    pub fn of_reference(principal: &str, reference: &str) -> Self {
        Self(RequestId::new(principal, "/v1/reservations", reference).0)
    }
}

macro_rules! child_of_order {
    ($name:ident) => {
        impl $name {
            /// The `number`-th of its kind in `order`.
            #[must_use]
            pub fn of(order: OrderId, number: u16) -> Self {
                Self(order.0 | u128::from(number))
            }
            /// The order it belongs to.
            #[must_use]
            pub const fn order(self) -> OrderId {
                OrderId(self.0 & !CHILD_MASK)
            }
            /// Its number within the order.
            #[must_use]
            #[allow(clippy::cast_possible_truncation, reason = "masked to 16 bits")]
            pub const fn number(self) -> u16 {
                (self.0 & CHILD_MASK) as u16
            }
        }
    };
}
child_of_order!(PaymentId);
child_of_order!(RefundId);
child_of_order!(ReturnId);
child_of_order!(ShipmentId);

/// The principal, full path and idempotency key of a request, as `UUIDv5` (RFC 9562, section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u128);

impl RequestId {
    /// The name space of the ids that are derived from requests.
    const NAMESPACE: Uuid = Uuid::from_u128(0x6f2c_1d0e_9a54_5b7c_8e11_d00b_b057_e401);

    /// The same three texts give the same id, for ever.
    #[must_use]
    pub fn new(principal: &str, path: &str, key: &str) -> Self {
        let name = [principal, path, key].join("\0");
        Self(Uuid::new_v5(&Self::NAMESPACE, name.as_bytes()).as_u128())
    }
}

/// A fingerprint of a request's body: the same key with another fingerprint is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestFingerprint(pub u128);

/// A request that takes effect once, however often it is sent: its id and the fingerprint of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
pub struct Request {
    /// Made of principal, path and idempotency key.
    #[n(0)]
    pub id: RequestId,
    /// Fingerprint of the body: the same request with another is refused.
    #[n(1)]
    pub terms: RequestFingerprint,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
        pub struct $name(CompactString);

        impl $name {
            /// Accepts only what a seller may choose as an id.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                name::read(text).map(Self)
            }
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
                to.str(&self.0)
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(from: &mut Decoder<'b>, _context: &mut C) -> Result<Self, decode::Error> {
                take_text(from).map(|name| Self(CompactString::new(name)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The sellable unit: a variant of a product.
    Sku
);
name!(
    /// A product with its SKUs.
    ProductId
);
name!(
    /// A place that holds stock.
    WarehouseId
);

/// The public id of a reservation: `rsv_…`, or `rsv_…~NOVA-LOW-42`.
///
/// If it has one line, which its SKU decides, the id contains the SKU. So
/// any node finds it without a look-up, as it finds the order of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReservationName {
    /// The part derived from the caller and the reference.
    pub id: ReservationId,
    /// The SKU that decides it; `None`: it has several lines and decides itself.
    pub sku: Option<Sku>,
}

impl ReservationName {
    /// Reads the shown form.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match text.split_once('~') {
            Some((id, sku)) => Ok(Self { id: ReservationId::parse(id)?, sku: Some(Sku::parse(sku)?) }),
            None => Ok(Self { id: ReservationId::parse(text)?, sku: None }),
        }
    }
}

impl fmt::Display for ReservationName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sku {
            Some(sku) => write!(out, "{}~{sku}", self.id),
            None => write!(out, "{}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_shown() {
        let order = OrderId::of_request(RequestId::new("sel_main", "/v1/orders", "k1"));
        assert_eq!(OrderId::parse(&order.to_string()), Ok(order));
        assert_eq!(EntityId::parse(&EntityId::Order(order).to_string()), Ok(EntityId::Order(order)));
    }

    #[test]
    fn an_id_above_128_bits_or_of_another_kind_is_refused() {
        assert_eq!(OrderId::parse("ord_zzzzzzzzzzzzzzzzzzzzzzzzzz"), Err(IdError::Uid));
        assert_eq!(OrderId::parse("crt_00000000000000000000000000"), Err(IdError::Uid));
    }

    #[test]
    fn m6_two_installations_make_two_orders_of_one_request_and_each_knows_its_own() {
        let request = RequestId::new("sel_main", "/v1/orders", "k1");
        let (one, other) = (InstallationId(7 << 20), InstallationId(9 << 20));
        let (first, second) = (one.order_of(request), other.order_of(request));
        assert_eq!(one.order_of(request), first);
        assert_ne!(first, second);
        assert_ne!(first, InstallationId((7 << 20) + 1).order_of(request), "all of its bits count");
        assert_ne!(first, one.order_of(RequestId::new("sel_main", "/v1/orders", "k2")));
        assert!(one.may_have_made(first) && other.may_have_made(second));
        assert!(!one.may_have_made(second) && !one.may_have_made(OrderId::of_request(request)));
        assert_eq!(PaymentId::of(first, 7).order(), first, "its low bits are free");
    }

    #[test]
    fn what_belongs_to_an_order_names_its_order() {
        let order = OrderId::of_request(RequestId::new("p", "/v1/orders", "k"));
        let payment = PaymentId::of(order, 7);
        assert_eq!((payment.order(), payment.number()), (order, 7));
    }

    #[test]
    fn a_reservation_s_name_reads_back_with_its_sku() {
        let id = ReservationId::of_reference("seller:sel_main", "shop-order-991");
        for sku in [None, Some(Sku::parse("a~b +:").unwrap()), Some(Sku::parse("~/%é").unwrap())] {
            let name = ReservationName { id, sku };
            assert_eq!(ReservationName::parse(&name.to_string()), Ok(name));
        }
        assert_eq!(ReservationName::parse(&format!("{id}~")), Err(IdError::Name));
        assert_ne!(id, ReservationId::of_reference("seller:sel_main", "shop-order-992"));
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in ["", ".", "..", "a'b", "a\0", &"x".repeat(65)] {
            assert_eq!(Sku::parse(name), Err(IdError::Name), "{name}");
        }
    }
}
