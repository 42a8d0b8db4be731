//! Bodies of orders, and the payment that an order may have with it.

use crate::core::types::{Code4217, Country, Email, Id, Metadata, MoneyIn, Prose, Quantity, ReturnUrl, Text, present};
use crate::core::words::{AllocationWord, CancelWord, CaptureWord, MethodWord};
use doorbuster_domain::ids::{CartId, Sku};
use schemars::JsonSchema;
use serde::Deserialize;

/// An order.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderBody {
    /// The cart whose lines are ordered; either this or `lines`.
    pub cart_id: Option<Id<CartId>>,
    /// The lines; several of one SKU are summed. Either this or `cart_id`.
    #[schemars(length(max = 2000))]
    pub lines: Option<Vec<OrderLineBody>>,
    /// Its currency. Default: that of the cart or of the expected prices, else the shop's.
    pub currency: Option<Code4217>,
    /// The buyer.
    pub buyer: BuyerBody,
    /// The delivery address.
    pub ship_to: Option<AddressBody>,
    /// The billing address, if it is another one.
    pub bill_to: Option<AddressBody>,
    /// The shipping option. Default: the shop's, if there is a delivery address.
    pub shipping_option: Option<Text<64>>,
    /// A note of the shopper.
    pub note: Option<Prose<1000>>,
    /// A payment, to be tried as soon as the stock is held.
    pub payment: Option<PaymentBody>,
    /// What to order when there are not enough units.
    pub allocation: Option<AllocationWord>,
    /// The expected total; another one is refused.
    pub expected_total: Option<MoneyIn>,
    /// The id of the order in another system.
    pub external_id: Option<Text<128>>,
    /// The caller's own pairs.
    pub metadata: Option<Metadata>,
}

/// Units of one SKU.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderLineBody {
    /// The SKU.
    pub sku: Id<Sku>,
    /// The number of units.
    pub quantity: Quantity,
    /// The expected price of one unit; another one is refused.
    pub expected_unit_price: Option<MoneyIn>,
}

/// A buyer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuyerBody {
    /// The address for the confirmation.
    pub email: Option<Email>,
    /// The full name.
    pub name: Option<Prose<200>>,
    /// A phone number for the carrier.
    pub phone: Option<Text<40>>,
    /// A BCP 47 language tag.
    pub locale: Option<Text<35>>,
}

/// A postal address.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressBody {
    /// The recipient.
    pub name: Option<Prose<200>>,
    /// The company.
    pub company: Option<Prose<200>>,
    /// Street and number.
    pub line1: Option<Prose<200>>,
    /// A second line.
    pub line2: Option<Prose<200>>,
    /// The city.
    pub city: Option<Prose<100>>,
    /// The county, state or province.
    pub region: Option<Prose<100>>,
    /// The postal code, in the form of the country.
    pub postal_code: Option<Text<20>>,
    /// The country, which decides tax and shipping.
    pub country: Country,
    /// A phone number for the carrier.
    pub phone: Option<Text<40>>,
    /// A tax id, for customs and invoices.
    pub tax_id: Option<Text<40>>,
}

/// A payment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentBody {
    /// The method.
    pub method: MethodWord,
    /// The provider's token for the shopper's card or account; absent: the shopper confirms with the provider.
    pub token: Option<Prose<255>>,
    /// The provider; if it is named it must be the shop's.
    pub provider: Option<Text<40>>,
    /// The page to which the provider returns the shopper.
    pub return_url: Option<ReturnUrl>,
    /// When to capture, instead of the shop's policy.
    pub capture: Option<CaptureWord>,
    /// Of a payment that comes past the provider (`manual`): may the goods go before it is marked paid, instead of the shop's policy?
    pub goods_first: Option<bool>,
}

/// A change of an order: an absent field stays, `null` clears it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderPatchBody {
    /// The buyer, replaced as a whole.
    pub buyer: Option<BuyerBody>,
    /// The delivery address; the order is priced again if tax or shipping change.
    pub ship_to: Option<AddressBody>,
    /// The billing address.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<AddressBody>")]
    pub bill_to: Option<Option<AddressBody>>,
    /// The shipping option.
    pub shipping_option: Option<Text<64>>,
    /// A note of the shopper.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<Prose<1000>>")]
    pub note: Option<Option<Prose<1000>>>,
    /// Pairs that replace all others.
    pub metadata: Option<Metadata>,
    /// The id of its own lines in the system of a seller who sees only those; any other is set when the order is placed.
    pub external_id: Option<Text<128>>,
}

/// Units of a line.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineUnitsBody {
    /// The line's id.
    pub line: Text<5>,
    /// The number of units.
    pub quantity: Quantity,
}

/// A cancellation.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelBody {
    /// The lines; absent: all units that have not shipped.
    pub lines: Option<Vec<LineUnitsBody>>,
    /// The reason; default: customer.
    pub reason: Option<CancelWord>,
}
