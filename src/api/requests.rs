//! What requests carry: one type per body, field by field as the contract has it. A field nobody knows is refused.

use super::edge::{
    Amount, Code4217, Counted, Country, Delta, Id, Instant, Metadata, MoneyIn, Prose, Quantity, Text, Whole, present,
};
use crate::domain::ids::{CartId, ProductId, Sku, WarehouseId};
use crate::domain::inventory::AdjustmentReason;
use crate::domain::order::{CancelReason, CapturePolicy, Condition};
use compact_str::CompactString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

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
    StatusWord => crate::domain::product::Status {
        "draft" = crate::domain::product::Status::Draft,
        "active" = crate::domain::product::Status::Active,
        "archived" = crate::domain::product::Status::Archived,
    }
);

/// A whole product with its SKUs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductBody {
    /// The id in the path, if it is repeated.
    pub id: Option<Id<ProductId>>,
    /// The caller's own account, if it is named.
    pub seller: Option<Text<64>>,
    /// What a shopper reads first.
    pub title: Prose<500>,
    /// In full.
    pub description: Option<Text<20000>>,
    /// From the root on.
    #[serde(default)]
    pub category: Vec<Text<100>>,
    /// Whose make.
    pub brand: Option<Text<100>>,
    /// Default: active.
    pub status: Option<StatusWord>,
    /// Free per category.
    #[serde(default)]
    pub attributes: BTreeMap<String, Text<500>>,
    /// The axes a page lets one choose from.
    #[serde(default)]
    pub option_names: Vec<Text<100>>,
    /// Pictures.
    #[serde(default)]
    pub images: Vec<ImageBody>,
    /// Chooses the tax rate; default: standard.
    pub tax_class: Option<Text<100>>,
    /// The variants; one with stock or orders that is left out is archived.
    #[serde(default)]
    pub skus: Vec<SkuBody>,
}

/// A picture.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageBody {
    /// Where it is.
    pub url: Text<2000>,
    /// What it shows.
    pub alt: Option<Text<500>>,
    /// Of this variant only.
    pub sku: Option<Id<Sku>>,
}

/// A variant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkuBody {
    /// Its name.
    pub sku: Id<Sku>,
    /// The product's id, if it is repeated.
    pub product: Option<Id<ProductId>>,
    /// One value per option name.
    #[serde(default)]
    pub options: BTreeMap<String, Text<500>>,
    /// Default: active.
    pub status: Option<StatusWord>,
    /// One per currency.
    #[serde(default)]
    pub prices: Vec<PriceBody>,
    /// Default: physical.
    pub kind: Option<KindWord>,
    /// Default: counted.
    pub stock: Option<StockWord>,
    /// Units one order may take.
    pub max_per_order: Option<Quantity>,
    /// Seconds for which an order may hold units.
    pub hold_s: Option<Whole>,
    /// A GTIN.
    pub barcode: Option<Text<100>>,
    /// Weight of one, in grams.
    pub weight_g: Option<Whole>,
    /// Length, width, height in millimetres.
    pub size_mm: Option<[Whole; 3]>,
    /// Country it was made in.
    pub origin: Option<Country>,
    /// For customs.
    pub hs_code: Option<Text<100>>,
}

/// A price in one currency.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceBody {
    /// Minor units.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: Code4217,
    /// What it was before, for show.
    pub was: Option<Amount>,
    /// Default: true.
    pub tax_included: Option<bool>,
}

/// A warehouse.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarehouseBody {
    /// The id in the path, if it is repeated.
    pub id: Option<Id<WarehouseId>>,
    /// Shown to sellers.
    pub name: Prose<100>,
    /// Where it is.
    pub country: Country,
    /// Where in the country.
    pub postal_code: Option<Text<20>>,
    /// May orders be sent from here? Default: true.
    pub active: Option<bool>,
    /// Lower comes first; default: 0.
    pub priority: Option<Whole>,
}

/// Units that have arrived, or will.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptBody {
    /// Here.
    pub warehouse: Id<WarehouseId>,
    /// So many.
    pub units: Quantity,
    /// The seller's own reference.
    pub reference: Option<Text<128>>,
    /// Announced for then; not there yet.
    pub expected_at: Option<Instant>,
}

/// A correction of stock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustmentBody {
    /// Here.
    pub warehouse: Id<WarehouseId>,
    /// By so many.
    pub delta: Delta,
    /// Because.
    pub reason: AdjustmentWord,
    /// In words; compared when the request is repeated, not kept.
    pub note: Option<Prose<500>>,
}

/// A stocktake.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountBody {
    /// Here.
    pub warehouse: Id<WarehouseId>,
    /// Units found in the building.
    pub counted: Counted,
    /// Only if the books said this before.
    pub expected_in_building: Option<Counted>,
}

/// A cart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CartBody {
    /// Of all its lines; default: the shop's.
    pub currency: Option<Code4217>,
}

/// A line of a cart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CartLineBody {
    /// Set, never added.
    pub quantity: Quantity,
}

/// An order.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderBody {
    /// The lines of this cart; either this or `lines`.
    pub cart_id: Option<Id<CartId>>,
    /// These; several of one SKU are summed.
    #[schemars(length(max = 2000))]
    pub lines: Option<Vec<OrderLineBody>>,
    /// Default: the currency of the cart or of the expected prices, else the shop's.
    pub currency: Option<Code4217>,
    /// Who buys.
    pub buyer: BuyerBody,
    /// Where it goes.
    pub ship_to: Option<AddressBody>,
    /// Who is billed, when it is somebody else.
    pub bill_to: Option<AddressBody>,
    /// How it travels; default: the shop's, if there is an address.
    pub shipping_option: Option<Text<64>>,
    /// The shopper's own words.
    pub note: Option<Prose<1000>>,
    /// Pay at once when the stock is held.
    pub payment: Option<PaymentBody>,
    /// Which units when there are not enough.
    pub allocation: Option<AllocationWord>,
    /// Refuse when the total is another.
    pub expected_total: Option<MoneyIn>,
    /// The other system's id.
    pub external_id: Option<Prose<128>>,
    /// The caller's own pairs.
    pub metadata: Option<Metadata>,
}

/// Units of one SKU.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderLineBody {
    /// Of this SKU.
    pub sku: Id<Sku>,
    /// So many.
    pub quantity: Quantity,
    /// Refuse when the price is another.
    pub expected_unit_price: Option<MoneyIn>,
}

/// Who buys.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuyerBody {
    /// Where the confirmation goes.
    pub email: Option<Text<254>>,
    /// As the shopper writes it.
    pub name: Option<Prose<200>>,
    /// For the carrier.
    pub phone: Option<Text<40>>,
    /// A BCP 47 tag.
    pub locale: Option<Text<35>>,
}

/// A postal address.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressBody {
    /// Who receives it.
    pub name: Option<Prose<200>>,
    /// Or which company.
    pub company: Option<Prose<200>>,
    /// Street and number.
    pub line1: Option<Prose<200>>,
    /// What else the street needs.
    pub line2: Option<Prose<200>>,
    /// Town.
    pub city: Option<Prose<100>>,
    /// County, state, province.
    pub region: Option<Prose<100>>,
    /// As the country writes it.
    pub postal_code: Option<Text<20>>,
    /// Decides tax and shipping.
    pub country: Country,
    /// For the carrier.
    pub phone: Option<Text<40>>,
    /// For customs and invoices.
    pub tax_id: Option<Text<40>>,
}

/// How the shopper means to pay.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentBody {
    /// By this means.
    pub method: MethodWord,
    /// The shopper's tokenised means; absent: the shopper confirms with the provider.
    pub token: Option<Prose<255>>,
    /// The provider, if it is named it must be the shop's.
    pub provider: Option<Text<40>>,
    /// Where the provider sends the shopper back to.
    pub return_url: Option<Text<2000>>,
    /// Instead of the shop's policy.
    pub capture: Option<CaptureWord>,
}

/// What may be changed of an order; what is absent stays, `null` clears.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderPatchBody {
    /// Who buys; replaced as a whole.
    pub buyer: Option<BuyerBody>,
    /// Where it goes; priced anew if that decides tax or shipping.
    pub ship_to: Option<AddressBody>,
    /// Who is billed.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<AddressBody>")]
    pub bill_to: Option<Option<AddressBody>>,
    /// How it travels.
    pub shipping_option: Option<Text<64>>,
    /// The shopper's own words.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<Prose<1000>>")]
    pub note: Option<Option<Prose<1000>>>,
    /// Replaces all pairs.
    pub metadata: Option<Metadata>,
}

/// Units of a line.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineUnitsBody {
    /// The line's id.
    pub line: Text<5>,
    /// So many.
    pub quantity: Quantity,
}

/// What is cancelled.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelBody {
    /// Absent: all that has not shipped.
    pub lines: Option<Vec<LineUnitsBody>>,
    /// Default: customer.
    pub reason: Option<CancelWord>,
}

/// What is given back without a return.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundBody {
    /// These units, at what was paid for them; or `amount`; neither: all that can be.
    pub lines: Option<Vec<LineUnitsBody>>,
    /// So much.
    pub amount: Option<MoneyIn>,
    /// With the units' share of the shipping?
    pub shipping: Option<bool>,
    /// In the seller's words.
    pub reason: Prose<500>,
}

/// What is taken.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureBody {
    /// Absent: all that is due.
    pub amount: Option<MoneyIn>,
}

/// What is handed to a carrier.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShipmentBody {
    /// Absent: all that has not shipped.
    pub lines: Option<Vec<LineUnitsBody>>,
    /// Absent: the one that holds them.
    pub warehouse: Option<Id<WarehouseId>>,
    /// Who carries it.
    pub carrier: Option<Text<100>>,
    /// The carrier's number.
    pub tracking_number: Option<Text<100>>,
    /// Where to look it up.
    pub tracking_url: Option<Text<2000>>,
}

/// What is to come back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnBody {
    /// Which units.
    pub lines: Vec<ReturnLineBody>,
}

/// Units of a line that are to come back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnLineBody {
    /// The line's id.
    pub line: Text<5>,
    /// So many.
    pub quantity: Quantity,
    /// In the shopper's words.
    pub reason: Option<Prose<500>>,
}

/// Why not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectBody {
    /// In the seller's words.
    pub reason: Prose<500>,
}

/// What came back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiveBody {
    /// Which units.
    pub lines: Vec<ReceivedLineBody>,
}

/// Units of a line that came back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceivedLineBody {
    /// The line's id.
    pub line: Text<5>,
    /// So many.
    pub quantity: Quantity,
    /// As found.
    pub condition: ConditionWord,
    /// Do they go back on sale?
    pub restock: bool,
}

/// Nothing is needed.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}
