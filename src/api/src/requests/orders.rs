//! Bodies about carts, orders, payments, shipments and returns.

use super::words::{AllocationWord, CancelWord, CaptureWord, ConditionWord, MethodWord};
use crate::edge::{Code4217, Country, Id, Metadata, MoneyIn, Prose, Quantity, Text, present};
use doorbuster_domain::ids::{CartId, Sku, WarehouseId};
use schemars::JsonSchema;
use serde::Deserialize;

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
