//! What the API is told by the configuration: bounds of the door, and the shop's terms an order is placed with.

use super::admission::AdmissionSettings;
use compact_str::CompactString;
use doorbuster_domain::ids::WarehouseId;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{CapturePolicy, PaymentPolicy, ReturnPolicy, Shipping, TaxTable};
use std::collections::BTreeMap;

/// A shipping option that an order may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippingOption {
    /// What a shopper reads.
    pub label: CompactString,
    /// What it costs, by currency, in minor units; a currency that is not listed is not served.
    pub price: BTreeMap<CompactString, i64>,
    /// The countries it reaches; empty: everywhere.
    pub countries: Vec<CompactString>,
    /// Days it takes.
    pub days: u64,
}

/// The shop's terms. What an order needs later is journaled with it, so a change here never touches a placed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Whose shop this node is: the seller named on orders.
    pub seller: CompactString,
    /// When a request names none.
    pub currency: Currency,
    /// Seconds an order may hold stock before it is paid.
    pub hold_s: u64,
    /// Seconds a reservation may hold stock when neither it nor its SKU says; the most it may ask for.
    pub reservation_hold_s: (u64, u64),
    /// Most reservations of one batch.
    pub batch_items_max: usize,
    /// Most lines of a cart or an order.
    pub lines_max: usize,
    /// Tax by destination country; a country that is not listed pays none.
    pub taxes: BTreeMap<CompactString, TaxTable>,
    /// The country of an order that travels nowhere and names none.
    pub home_country: CompactString,
    /// By the id an order names.
    pub shipping: BTreeMap<CompactString, ShippingOption>,
    /// When an order with an address names none.
    pub default_shipping: CompactString,
    /// Is tax inside shipping prices?
    pub shipping_tax_included: bool,
    /// How orders are paid.
    pub payment: PaymentPolicy,
    /// How orders come back.
    pub returns: ReturnPolicy,
    /// Warehouses by preference, after those that have everything.
    pub warehouses: Vec<WarehouseId>,
    /// Seconds a cart lives after its last change.
    pub cart_life_s: u64,
    /// At or below so many units a shopper is told they run low.
    pub low_stock_at: u64,
}

impl Terms {
    /// The tax of a destination.
    #[must_use]
    pub fn tax_of(&self, country: &str) -> TaxTable {
        self.taxes.get(country).cloned().unwrap_or_default()
    }

    /// A shipping option as an order takes it; `None`: not offered, not there, or not in that currency.
    #[must_use]
    pub fn shipping_of(&self, option: &str, country: &str, currency: Currency) -> Option<Shipping> {
        let (id, chosen) = self.shipping.get_key_value(option)?;
        let served = chosen.countries.is_empty() || chosen.countries.iter().any(|code| code == country);
        let amount = chosen.price.get(currency.as_str()).copied().filter(|_| served)?;
        let price = Money::new(amount, currency).ok()?;
        Some(Shipping { option: id.clone(), price, tax_included: self.shipping_tax_included })
    }
}

impl Default for Terms {
    fn default() -> Self {
        let prices = [("GBP", 499), ("EUR", 599), ("USD", 699)];
        let standard = ShippingOption {
            label: "Standard delivery".into(),
            price: prices.into_iter().map(|(code, amount)| (code.into(), amount)).collect(),
            countries: Vec::new(),
            days: 3,
        };
        let classes = vec![("reduced".into(), 50_000), ("zero".into(), 0)];
        let vat = TaxTable { name: "VAT".into(), rate_ppm: 200_000, classes };
        Self {
            seller: "sel_main".into(),
            currency: Currency::GBP,
            hold_s: 600,
            reservation_hold_s: (600, 86_400),
            batch_items_max: 4_096,
            lines_max: 2_000,
            taxes: BTreeMap::from([("GB".into(), vat)]),
            home_country: "GB".into(),
            shipping: BTreeMap::from([("std".into(), standard)]),
            default_shipping: "std".into(),
            shipping_tax_included: true,
            payment: PaymentPolicy {
                provider: "simulated".into(),
                capture: CapturePolicy::OnConfirmation,
                attempts_max: 5,
                keys_life_s: 24 * 60 * 60,
                query_after_s: 30,
                lapse_margin_s: 24 * 60 * 60,
                method_hold_s: Vec::new(),
            },
            returns: ReturnPolicy { window_days: 30, auto_approve: false },
            warehouses: Vec::new(),
            cart_life_s: 7 * 24 * 60 * 60,
            low_stock_at: 20,
        }
    }
}

/// Bounds of the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// A body must be whole within this time, else 408.
    pub body_timeout_ms: u64,
    /// Longest body of a request with lines or SKUs, in bytes.
    pub body_bytes_max: usize,
    /// Longest body of every other request, in bytes.
    pub small_body_bytes_max: usize,
    /// How long a `POST /v1/orders` without `Prefer` waits for the stock to be held.
    pub order_wait_ms: u64,
    /// How long any other request may take: the deadline its command travels with.
    pub command_timeout_ms: u64,
    /// The longest `Prefer: wait`, in seconds.
    pub prefer_wait_max_s: u64,
    /// What a 202 says in `Retry-After`.
    pub retry_after_s: u32,
    /// Seconds a guest's token lives.
    pub guest_life_s: u64,
    /// Seconds after which a provider's webhook is too old to be believed.
    pub webhook_age_max_s: u64,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            body_timeout_ms: 8_000,
            body_bytes_max: 1024 * 1024,
            small_body_bytes_max: 256 * 1024,
            order_wait_ms: 5_000,
            command_timeout_ms: 10_000,
            prefer_wait_max_s: 30,
            retry_after_s: 1,
            guest_life_s: 7 * 24 * 60 * 60,
            webhook_age_max_s: 300,
        }
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Bounds of the door.
    pub door: Door,
    /// Who comes in when there is no room for all.
    pub admission: AdmissionSettings,
    /// The shop's terms.
    pub terms: Terms,
}
