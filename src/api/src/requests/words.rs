//! The words that bodies may use where the contract lists them.

use compact_str::CompactString;
use doorbuster_domain::inventory::AdjustmentReason;
use doorbuster_domain::order::{CancelReason, CapturePolicy, Condition};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use std::borrow::Cow;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident => $domain:ty { $($word:literal = $variant:path),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub $domain);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match CompactString::deserialize(deserializer)?.as_str() {
                    $($word => Ok(Self($variant)),)+
                    _ => Err(serde::de::Error::custom("not one of the words")),
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
    /// Why stock was corrected.
    AdjustmentWord => AdjustmentReason {
        "damaged" = AdjustmentReason::Damaged,
        "lost" = AdjustmentReason::Lost,
        "found" = AdjustmentReason::Found,
        "correction" = AdjustmentReason::Correction,
        "return_unmatched" = AdjustmentReason::ReturnUnmatched,
        "other" = AdjustmentReason::Other,
    }
);
words!(
    /// Why an order or a part of it is cancelled.
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
    /// When money is taken.
    CaptureWord => CapturePolicy {
        "on_confirmation" = CapturePolicy::OnConfirmation,
        "on_shipment" = CapturePolicy::OnShipment,
        "manual" = CapturePolicy::Manual,
    }
);
words!(
    /// How a returned unit looks.
    ConditionWord => Condition {
        "as_new" = Condition::AsNew,
        "used" = Condition::Used,
        "damaged" = Condition::Damaged,
    }
);
words!(
    /// How a shopper pays.
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
const MANUAL: &str = "manual";
words!(
    /// Which units an order takes when there are not enough.
    AllocationWord => () { "all_or_none" = ALL_OR_NONE }
);
const ALL_OR_NONE: () = ();
words!(
    /// What a SKU is.
    KindWord => () { "physical" = PHYSICAL }
);
const PHYSICAL: () = ();
words!(
    /// How its stock is kept.
    StockWord => () { "counted" = COUNTED }
);
const COUNTED: () = ();
words!(
    /// Whether it may be seen and sold.
    StatusWord => doorbuster_domain::product::Status {
        "draft" = doorbuster_domain::product::Status::Draft,
        "active" = doorbuster_domain::product::Status::Active,
        "archived" = doorbuster_domain::product::Status::Archived,
    }
);
