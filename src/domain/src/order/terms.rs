//! What an order is placed with: everything the saga needs to know later, so that it never asks the configuration again.

use super::personal::Personal;
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{CartId, Request, Sku, WarehouseId};
use crate::inventory::Units;
use crate::money::{Currency, Money};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Most lines an order may have.
pub const LINES_MAX: usize = 2_000;

/// The command that makes an order. Its id follows from the request: [`crate::ids::OrderId::of_request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Once only; names the order.
    pub request: Request,
    /// What is bought.
    pub source: Source,
    /// The facts.
    pub terms: Terms,
    /// About people; apart from the facts.
    pub personal: Personal,
    /// Pay at once when the stock is held.
    pub payment: Option<Instruction>,
}

/// What is bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Source {
    /// The lines of a cart, which is frozen for it.
    #[n(0)]
    Cart(#[n(0)] CartId),
    /// These; several of one SKU are summed.
    #[n(1)]
    Lines(#[n(0)] Vec<Wanted>),
}

/// Units of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Wanted {
    /// The SKU.
    #[n(0)]
    pub sku: Sku,
    /// Units of it, at least 1.
    #[n(1)]
    pub units: Units,
    /// Another price ends the order `rejected`.
    #[n(2)]
    pub expected_unit_price: Option<Money>,
}

/// The facts an order is placed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Terms {
    /// Currency of every amount of the order.
    #[n(0)]
    pub currency: Currency,
    /// The seller's account.
    #[cbor(n(1), with = "text")]
    pub seller: CompactString,
    /// The principal that placed it: who may read and change it beside the seller and the holder of its token.
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
    /// Seconds the order may hold stock before it is paid.
    #[n(6)]
    pub hold_s: u64,
    /// How it is paid.
    #[n(7)]
    pub payment: PaymentPolicy,
    /// How it may be returned.
    #[n(8)]
    pub returns: ReturnPolicy,
    /// Warehouses by preference (journaled, so that a later setting changes nothing).
    #[n(9)]
    pub ranking: Vec<WarehouseId>,
    /// Another total ends the order `rejected`.
    #[n(10)]
    pub expected_total: Option<Money>,
    /// The caller's own pairs, never read by us.
    #[cbor(n(11), with = "text")]
    pub metadata: Vec<(CompactString, CompactString)>,
}

/// What of an address decides tax and warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Destination {
    /// ISO 3166-1 alpha-2; empty when nothing is shipped and none was given.
    #[cbor(n(0), with = "text")]
    pub country: CompactString,
    /// The leading part of the postal code, too coarse to name a person.
    #[cbor(n(1), with = "text")]
    pub postal_area: Option<CompactString>,
}

/// A way to travel and what it costs.
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

/// Tax of one destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct TaxTable {
    /// Name as it is shown: `VAT`.
    #[cbor(n(0), with = "text")]
    pub name: CompactString,
    /// The rate of every class that is not listed, and of shipping, in parts per million.
    #[n(1)]
    pub rate_ppm: u32,
    /// Rates of single tax classes, in parts per million.
    #[cbor(n(2), with = "text")]
    pub classes: Vec<(CompactString, u32)>,
}

impl TaxTable {
    /// The rate of a tax class in parts per million.
    #[must_use]
    pub fn rate_of(&self, tax_class: &str) -> u32 {
        self.classes.iter().find(|(class, _)| class == tax_class).map_or(self.rate_ppm, |(_, rate)| *rate)
    }
}

/// When money is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum CapturePolicy {
    /// As soon as the order is confirmed.
    #[default]
    #[n(0)]
    OnConfirmation,
    /// With every shipment, for what is in it.
    #[n(1)]
    OnShipment,
    /// When the seller says so, at the latest before the authorization lapses.
    #[n(2)]
    Manual,
}

/// How an order is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct PaymentPolicy {
    /// The provider's name.
    #[cbor(n(0), with = "text")]
    pub provider: CompactString,
    /// When the money is captured, unless the payment says otherwise.
    #[n(1)]
    pub capture: CapturePolicy,
    /// Most attempts to pay one order.
    #[n(2)]
    pub attempts_max: u16,
    /// Seconds the provider remembers our references: afterwards we only ask (rule M2).
    #[n(3)]
    pub keys_life_s: u64,
    /// Seconds after which an attempt that waits for the shopper or the provider is asked about.
    #[n(4)]
    pub query_after_s: u64,
    /// Seconds before an authorization lapses at which what is due is captured.
    #[n(5)]
    pub lapse_margin_s: u64,
    /// Seconds a method may hold stock from the attempt on (rule M3); a method that is not listed leaves the deadline alone.
    #[cbor(n(6), with = "text")]
    pub method_hold_s: Vec<(CompactString, u64)>,
}

/// How an order may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ReturnPolicy {
    /// Days from delivery, or from shipment while it is not delivered.
    #[n(0)]
    pub window_days: u32,
    /// Is a return approved as soon as it is asked for?
    #[n(1)]
    pub auto_approve: bool,
}

/// How the shopper means to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Instruction {
    /// `card`, `wallet`, `bank_transfer` or `manual`.
    #[cbor(n(0), with = "text")]
    pub method: CompactString,
    /// Token of the shopper's means of payment; `None`: the shopper confirms with the provider.
    #[cbor(n(1), with = "text")]
    pub token: Option<CompactString>,
    /// Where the provider sends the shopper back to.
    #[cbor(n(2), with = "text")]
    pub return_url: Option<CompactString>,
    /// When the money is captured, instead of the policy's.
    #[n(3)]
    pub capture: Option<CapturePolicy>,
}
