//! The words of the contract for values of the domain, read from bodies and shown in views.

use compact_str::CompactString;
use doorbuster_domain::inventory::{AdjustmentReason, ExternalStatus};
use doorbuster_domain::order::{CancelReason, CapturePolicy, Condition, Status};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use std::borrow::Cow;

/// A type that reads one of several words. With a second name, also the function that gives the word of a value.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $function:ident => $domain:ty { $($word:literal = $variant:path),+ $(,)? }) => {
        words!($(#[$doc])* $name => $domain { $($word = $variant),+ });

        /// The word of a value.
        #[must_use]
        pub const fn $function(value: $domain) -> &'static str {
            match value { $($variant => $word),+ }
        }
    };
    ($(#[$doc:meta])* $name:ident => $domain:ty { $($word:literal = $variant:path),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub $domain);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match CompactString::deserialize(deserializer)?.as_str() {
                    $($word => Ok(Self($variant)),)+
                    _ => Err(serde::de::Error::custom("not one of the allowed values")),
                }
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
                json_schema!({ "type": "string", "enum": [$($word),+] })
            }
        }
    };
}

words!(
    /// The reason of a stock correction.
    AdjustmentWord, adjustment_word => AdjustmentReason {
        "damaged" = AdjustmentReason::Damaged,
        "lost" = AdjustmentReason::Lost,
        "found" = AdjustmentReason::Found,
        "correction" = AdjustmentReason::Correction,
        "return_unmatched" = AdjustmentReason::ReturnUnmatched,
        "other" = AdjustmentReason::Other,
    }
);
words!(
    /// The reason of a cancellation.
    CancelWord => CancelReason {
        "customer" = CancelReason::Customer,
        "fraud" = CancelReason::Fraud,
        "stock" = CancelReason::Stock,
        "declined" = CancelReason::Declined,
        "staff" = CancelReason::Staff,
        "other" = CancelReason::Other,
    }
);
words!(
    /// When an authorized payment is captured.
    CaptureWord, capture_word => CapturePolicy {
        "on_confirmation" = CapturePolicy::OnConfirmation,
        "on_shipment" = CapturePolicy::OnShipment,
        "manual" = CapturePolicy::Manual,
    }
);
words!(
    /// The condition of a returned unit.
    ConditionWord, condition_word => Condition {
        "as_new" = Condition::AsNew,
        "used" = Condition::Used,
        "damaged" = Condition::Damaged,
    }
);
words!(
    /// The method of a payment.
    MethodWord => &'static str {
        "card" = CARD,
        "wallet" = WALLET,
        "bank_transfer" = BANK_TRANSFER,
        "manual" = MANUAL,
    }
);
const CARD: &str = "card";
const WALLET: &str = "wallet";
const BANK_TRANSFER: &str = "bank_transfer";
pub(crate) const MANUAL: &str = "manual";
words!(
    /// What an order takes when there are not enough units.
    AllocationWord => () { "all_or_none" = ALL_OR_NONE }
);
const ALL_OR_NONE: () = ();
words!(
    /// The kind of a SKU.
    KindWord => () { "physical" = PHYSICAL }
);
const PHYSICAL: () = ();
words!(
    /// How the stock of a SKU is kept.
    StockWord => () { "counted" = COUNTED }
);
const COUNTED: () = ();
words!(
    /// The status of a product or a SKU.
    StatusWord => doorbuster_domain::product::Status {
        "draft" = doorbuster_domain::product::Status::Draft,
        "active" = doorbuster_domain::product::Status::Active,
        "archived" = doorbuster_domain::product::Status::Archived,
    }
);

/// The word for the status of an order.
#[must_use]
pub const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Placed => "placed",
        Status::AwaitingPayment => "awaiting_payment",
        Status::Authorizing => "authorizing",
        Status::RequiresAction => "requires_action",
        Status::Confirmed => "confirmed",
        Status::Picking => "picking",
        Status::Shipped => "shipped",
        Status::Delivered => "delivered",
        Status::Returned => "returned",
        Status::Refunded => "refunded",
        Status::SoldOut => "sold_out",
        Status::Rejected => "rejected",
        Status::Expired => "expired",
        Status::PaymentFailed => "payment_failed",
        Status::Cancelled => "cancelled",
    }
}

/// The word for the status of a reservation.
#[must_use]
pub const fn external_status_word(status: ExternalStatus) -> &'static str {
    match status {
        ExternalStatus::Held => "held",
        ExternalStatus::Committed => "committed",
        ExternalStatus::Released => "released",
        ExternalStatus::Expired => "expired",
    }
}
