//! What an order is placed with: everything the saga needs to know later, so that it never asks the configuration again.

use super::personal::Personal;
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The lines of a cart, which is frozen for it.
    Cart(CartId),
    /// These; several of one SKU are summed.
    Lines(Vec<Wanted>),
}

/// Units of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Of this SKU.
    pub sku: Sku,
    /// At least 1.
    pub units: Units,
    /// Another price ends the order `rejected`.
    pub expected_unit_price: Option<Money>,
}

/// The facts an order is placed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// One currency per order.
    pub currency: Currency,
    /// Whose shop.
    pub seller: CompactString,
    /// The principal that placed it: who may read and change it beside the seller and the holder of its token.
    pub owner: CompactString,
    /// Where it goes, as far as tax and warehouse need it.
    pub destination: Destination,
    /// How it travels; `None`: it does not.
    pub shipping: Option<Shipping>,
    /// The destination's tax.
    pub tax: TaxTable,
    /// Seconds the order may hold stock before it is paid.
    pub hold_s: u64,
    /// How it is paid.
    pub payment: PaymentPolicy,
    /// How it may come back.
    pub returns: ReturnPolicy,
    /// Warehouses by preference (journaled, so that a later setting changes nothing).
    pub ranking: Vec<WarehouseId>,
    /// Another total ends the order `rejected`.
    pub expected_total: Option<Money>,
    /// The caller's own pairs, never read by us.
    pub metadata: Vec<(CompactString, CompactString)>,
}

/// What of an address decides tax and warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Destination {
    /// ISO 3166-1 alpha-2; empty when nothing travels and nobody said.
    pub country: CompactString,
    /// The leading part of the postal code, too coarse to name a person.
    pub postal_area: Option<CompactString>,
}

/// A way to travel and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipping {
    /// The option's id in the configuration.
    pub option: CompactString,
    /// What it costs.
    pub price: Money,
    /// Is tax inside the price?
    pub tax_included: bool,
}

/// Tax of one destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaxTable {
    /// As it is shown: `VAT`.
    pub name: CompactString,
    /// The rate of every class that is not listed, and of shipping, in parts per million.
    pub rate_ppm: u32,
    /// Rates of single tax classes.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CapturePolicy {
    /// As soon as the order is confirmed.
    #[default]
    OnConfirmation,
    /// With every shipment, for what is in it.
    OnShipment,
    /// When the seller says so, at the latest before the authorization lapses.
    Manual,
}

/// How an order is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentPolicy {
    /// The provider's name, as shown.
    pub provider: CompactString,
    /// Unless the payment says otherwise.
    pub capture: CapturePolicy,
    /// Most attempts to pay one order.
    pub attempts_max: u16,
    /// Seconds the provider remembers our references: afterwards we only ask (rule M2).
    pub keys_life_s: u64,
    /// Seconds after which an attempt that waits for the shopper or the provider is asked about.
    pub query_after_s: u64,
    /// Seconds before an authorization lapses at which what is due is captured.
    pub lapse_margin_s: u64,
    /// Seconds a method may hold stock from the attempt on (rule M3); a method that is not listed leaves the deadline alone.
    pub method_hold_s: Vec<(CompactString, u64)>,
}

/// How an order may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnPolicy {
    /// Days from delivery (or shipment, while nobody says it was delivered).
    pub window_days: u32,
    /// Is a return approved by asking for it?
    pub auto_approve: bool,
}

/// How the shopper means to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// `card`, `wallet`, `bank_transfer`, `manual`.
    pub method: CompactString,
    /// The shopper's tokenised means; absent: the shopper confirms with the provider.
    pub token: Option<CompactString>,
    /// Where the provider sends the shopper back to.
    pub return_url: Option<CompactString>,
    /// Instead of the policy's.
    pub capture: Option<CapturePolicy>,
}
