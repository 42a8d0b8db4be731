//! The data that an order is placed with: everything that the saga needs later, so that it never reads the configuration.

use super::personal::Personal;
use crate::claims;
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart, apart_text, text};
use crate::ids::{CartId, InstallationId, OrderId, Request, Sku, WarehouseId};
use crate::inventory::Units;
use crate::money::{Currency, Money};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The most lines of an order.
pub const LINES_MAX: usize = 2_000;

/// The command that places an order. The order's id is derived from its installation and the request: [`PlaceOrder::id`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceOrder {
    /// The request, which takes effect once; the order's id is derived from it.
    pub request: Request,
    /// The cart or the lines that are bought.
    pub source: Source,
    /// The facts that the order was placed with.
    pub terms: OrderTerms,
    /// The personal data, apart from the facts.
    pub personal: Personal,
    /// The payment to start once the stock is reserved; `None`: the shopper pays later.
    pub payment: Option<Instruction>,
    /// The installation that places it; `None`: it has no id.
    pub installation: Option<InstallationId>,
}

impl PlaceOrder {
    /// The id of the order that it makes.
    #[must_use]
    pub fn id(&self) -> OrderId {
        let request = self.request.id;
        self.installation.map_or_else(|| OrderId::of_request(request), |installation| installation.order_of(request))
    }
}

/// The cart or the lines that are bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Source {
    /// The lines of a cart, which is frozen for it.
    #[n(0)]
    Cart(#[n(0)] CartId),
    /// These lines; several lines of one SKU are summed.
    #[n(1)]
    Lines(#[n(0)] Vec<Wanted>),
}

/// A number of units of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Wanted {
    /// The SKU; an order has one line for each.
    #[n(0)]
    pub sku: Sku,
    /// Units of it, at least 1.
    #[n(1)]
    pub units: Units,
    /// The unit price that the caller expects; another price ends the order `rejected`.
    #[n(2)]
    pub expected_unit_price: Option<Money>,
}

/// The facts that an order is placed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct OrderTerms {
    /// Currency of every amount of the order.
    #[n(0)]
    pub currency: Currency,
    /// The seller's account.
    #[cbor(n(1), with = "text")]
    pub seller: CompactString,
    /// The principal that placed it, who may read and change it, as may the seller and the holder of its token.
    #[cbor(n(2), with = "text")]
    pub owner: CompactString,
    /// Where it goes, as far as tax and warehouses need it.
    #[n(3)]
    pub destination: Destination,
    /// The shipping option; `None`: nothing is shipped.
    #[n(4)]
    pub shipping: Option<Shipping>,
    /// The taxes of the destination.
    #[n(5)]
    pub tax: TaxTable,
    /// The seconds for which the order may hold stock before it is paid.
    #[n(6)]
    pub hold_s: u64,
    /// The payment policy.
    #[n(7)]
    pub payment: PaymentPolicy,
    /// How it may be returned.
    #[n(8)]
    pub returns: ReturnPolicy,
    /// Warehouses by preference, journaled so that a later setting changes nothing.
    #[n(9)]
    pub ranking: Vec<WarehouseId>,
    /// The total that the caller expects; another total ends the order `rejected`.
    #[n(10)]
    pub expected_total: Option<Money>,
    /// The caller's metadata, which the shop does not read.
    #[cbor(n(11), with = "apart_text")]
    pub metadata: Vec<(CompactString, CompactString)>,
    /// What it claims beside the stock of its lines; `None`: nothing.
    #[n(12)]
    pub claims: Option<Vec<claims::Wanted>>,
}

/// The part of an address that determines tax and warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Destination {
    /// ISO 3166-1 alpha-2; empty when nothing is shipped and none was given.
    #[cbor(n(0), with = "text")]
    pub country: CompactString,
    /// The leading part of the postal code, too coarse to identify a person.
    #[cbor(n(1), with = "text")]
    pub postal_area: Option<CompactString>,
}

/// A shipping option and its price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Shipping {
    /// The option's id in the configuration.
    #[cbor(n(0), with = "text")]
    pub option: CompactString,
    /// Price of the option.
    #[n(1)]
    pub price: Money,
    /// Does the price include tax?
    #[n(2)]
    pub tax_included: bool,
}

/// The tax rates of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct TaxTable {
    /// Name as it is shown: `VAT`.
    #[cbor(n(0), with = "text")]
    pub name: CompactString,
    /// The rate of every class that is not listed, in parts per million.
    #[n(1)]
    pub rate_ppm: u32,
    /// Rates of single tax classes, in parts per million; `shipping` is that of the shipping, whatever the goods.
    #[cbor(n(2), with = "text")]
    pub classes: Vec<(CompactString, u32)>,
}

impl TaxTable {
    /// The rate of the shipping in parts per million; `None`: it follows the goods.
    #[must_use]
    pub fn shipping_ppm(&self) -> Option<u32> {
        self.classes.iter().find(|(class, _)| class == "shipping").map(|(_, rate)| *rate)
    }

    /// The rate of a tax class in parts per million.
    #[must_use]
    pub fn rate_of(&self, tax_class: &str) -> u32 {
        self.classes.iter().find(|(class, _)| class == tax_class).map_or(self.rate_ppm, |(_, rate)| *rate)
    }
}

/// When the amount due is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum CapturePolicy {
    /// As soon as the order is confirmed.
    #[default]
    #[n(0)]
    OnConfirmation,
    /// With every shipment, for its units.
    #[n(1)]
    OnShipment,
    /// At the seller's request, at the latest before the authorization lapses.
    #[n(2)]
    Manual,
}

/// The payment policy of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct PaymentPolicy {
    /// The provider's name.
    #[cbor(n(0), with = "text")]
    pub provider: CompactString,
    /// When the money is captured, unless the payment says otherwise.
    #[n(1)]
    pub capture: CapturePolicy,
    /// The most attempts to pay.
    #[n(2)]
    pub attempts_max: u16,
    /// The seconds for which the provider remembers references; afterwards they are only queried (rule M2).
    #[n(3)]
    pub keys_life_s: u64,
    /// The seconds after which an attempt that waits for the shopper or the provider is queried.
    #[n(4)]
    pub query_after_s: u64,
    /// The seconds before the lapse of an authorization at which the amount due is captured.
    #[n(5)]
    pub lapse_margin_s: u64,
    /// The seconds for which a method may hold stock from the attempt on (rule M3); other methods do not change the deadline.
    #[cbor(n(6), with = "text")]
    pub method_hold_s: Vec<(CompactString, u64)>,
}

/// The return policy of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ReturnPolicy {
    /// Days from delivery, or from shipment while it is not delivered.
    #[n(0)]
    pub window_days: u32,
    /// Is a return approved as soon as it is asked for?
    #[n(1)]
    pub auto_approve: bool,
}

/// The shopper's payment instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Instruction {
    /// `card`, `wallet`, `bank_transfer` or `manual`.
    #[cbor(n(0), with = "text")]
    pub method: CompactString,
    /// Token of the shopper's means of payment; `None`: the shopper confirms with the provider.
    #[cbor(n(1), with = "apart_text")]
    pub token: Option<CompactString>,
    /// The page to which the provider returns the shopper.
    #[cbor(n(2), with = "apart_text")]
    pub return_url: Option<CompactString>,
    /// When the money is captured, instead of the policy's.
    #[n(3)]
    pub capture: Option<CapturePolicy>,
    /// Of a payment that comes past the provider: may the goods go before the seller has its money? `None`: no.
    #[n(4)]
    pub goods_first: Option<bool>,
}

impl Instruction {
    /// Does the order go on although only the seller's word about the money is missing?
    #[must_use]
    pub fn lets_goods_go_first(&self) -> bool {
        self.is_manual() && self.goods_first == Some(true)
    }

    /// Does the money come past the provider, as cash or by an invoice? Then the seller says when it has come.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.method == "manual"
    }
}
