//! Settings of the API: the bounds on requests, admission, and the shop's settings that an order is placed with.

use super::address::Network;
use compact_str::CompactString;
use doorbuster_domain::ids::{InstallationId, WarehouseId};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{CapturePolicy, PaymentPolicy, ReturnPolicy, Shipping, TaxTable};
use std::collections::BTreeMap;

/// A shipping option that an order may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippingOption {
    /// Its name for shoppers.
    pub label: CompactString,
    /// Its price by currency, in minor units; it is not offered in other currencies.
    pub price: BTreeMap<CompactString, i64>,
    /// The countries it delivers to (ISO 3166-1 alpha-2); empty: all.
    pub countries: Vec<CompactString>,
    /// Days until delivery.
    pub days: u64,
}

/// The most units that orders may hold unpaid at once; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnpaidUnits {
    /// For one buyer, by e-mail address.
    pub buyer: u32,
    /// For one delivery address.
    pub address: u32,
}

/// Settings of the shop. What an order needs of them later is journaled with it, so a change never affects a placed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopSettings {
    /// The installation whose orders these are; `None`: it has no id, and its orders' ids depend on their requests alone.
    pub installation: Option<Installation>,
    /// The account of the shop: the seller named on orders.
    pub seller: CompactString,
    /// The currency of a request that names none.
    pub currency: Currency,
    /// Time for which an order holds stock until it is paid, in seconds.
    pub hold_s: u64,
    /// Time for which a reservation holds stock, in seconds: the default, and the most that a request may ask for.
    pub reservation_hold_s: (u64, u64),
    /// Greatest number of reservations in one batch.
    pub batch_items_max: usize,
    /// Greatest number of lines of a cart or an order.
    pub lines_max: usize,
    /// The most units that may be held unpaid.
    pub unpaid_units: UnpaidUnits,
    /// Tax by destination country; there is none in other countries.
    pub taxes: BTreeMap<CompactString, TaxTable>,
    /// The country of an order without an address.
    pub home_country: CompactString,
    /// Shipping options, by their ids.
    pub shipping: BTreeMap<CompactString, ShippingOption>,
    /// The shipping option of an order that has an address and names none.
    pub default_shipping: CompactString,
    /// Do shipping prices include tax?
    pub shipping_tax_included: bool,
    /// The payment policy of orders.
    pub payment: PaymentPolicy,
    /// May the goods of a `manual` payment go before the seller has its money?
    pub goods_first: bool,
    /// The return policy of orders.
    pub returns: ReturnPolicy,
    /// Warehouses by preference; it decides among those that have equally many lines whole.
    pub warehouses: Vec<WarehouseId>,
    /// Time until a cart expires after its last change, in seconds.
    pub cart_life_s: u64,
    /// Stock at or below this number of units is `low_stock`.
    pub low_stock_at: u64,
}

/// The installation: one data folder, or one keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installation {
    /// Its id, part of what the ids of its orders are made of.
    pub id: InstallationId,
    /// Did it have orders before it had an id? Their ids depend on their requests alone, so a repeated request looks for its order there first.
    pub has_older_orders: bool,
}

impl ShopSettings {
    /// The tax of a destination country.
    #[must_use]
    pub fn tax_of(&self, country: &str) -> TaxTable {
        self.taxes.get(country).cloned().unwrap_or_default()
    }

    /// A shipping option as an order takes it; `None`: there is none of this id for this country and currency.
    #[must_use]
    pub fn shipping_of(&self, option: &str, country: &str, currency: Currency) -> Option<Shipping> {
        let (id, chosen) = self.shipping.get_key_value(option)?;
        let served = chosen.countries.is_empty() || chosen.countries.iter().any(|code| code == country);
        let amount = chosen.price.get(currency.as_str()).copied().filter(|_| served)?;
        let price = Money::new(amount, currency).ok()?;
        Some(Shipping { option: id.clone(), price, tax_included: self.shipping_tax_included })
    }
}

impl Default for ShopSettings {
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
            installation: None,
            seller: "sel_main".into(),
            currency: Currency::GBP,
            hold_s: 600,
            reservation_hold_s: (600, 86_400),
            batch_items_max: 4_096,
            lines_max: 2_000,
            unpaid_units: UnpaidUnits::default(),
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
            goods_first: false,
            returns: ReturnPolicy { window_days: 30, auto_approve: false },
            warehouses: Vec::new(),
            cart_life_s: 7 * 24 * 60 * 60,
            low_stock_at: 20,
        }
    }
}

/// Bounds on requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSettings {
    /// Time for a whole body, in ms; then 408.
    pub body_timeout_ms: u64,
    /// Longest body of a request with lines or SKUs, in bytes.
    pub body_bytes_max: usize,
    /// Longest body of every other request, in bytes.
    pub small_body_bytes_max: usize,
    /// How long a `POST /v1/orders` without `Prefer` waits for its stock to be held, in ms.
    pub order_wait_ms: u64,
    /// Deadline of the command of any other request, in ms from its arrival.
    pub command_timeout_ms: u64,
    /// The longest `Prefer: wait`, in seconds.
    pub prefer_wait_max_s: u64,
    /// The most callers that wait for events at once.
    pub event_followers_max: usize,
    /// The most lists that are exported at once.
    pub exports_max: usize,
    /// `Retry-After` of a 202, in seconds.
    pub retry_after_s: u32,
    /// Time until a guest's token expires, in seconds.
    pub guest_life_s: u64,
    /// Time from an order's placement until its token ends, in seconds.
    pub order_token_life_s: u64,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Origins whose pages may read answers, like `https://shop.example`.
    pub cors_origins: Vec<String>,
    /// Which requests are written to the log.
    pub access_log: AccessLog,
    /// The least answer to a read that is compressed for callers who ask for it, in bytes; 0: none is.
    pub compress_from_bytes: usize,
}

/// Which requests are written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// None.
    #[default]
    Off,
    /// Those with a status of 400 or more.
    Errors,
    /// All.
    All,
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            body_timeout_ms: 8_000,
            body_bytes_max: 1024 * 1024,
            small_body_bytes_max: 256 * 1024,
            order_wait_ms: 5_000,
            command_timeout_ms: 10_000,
            prefer_wait_max_s: 30,
            event_followers_max: 64,
            exports_max: 4,
            retry_after_s: 1,
            guest_life_s: 7 * 24 * 60 * 60,
            order_token_life_s: 90 * 24 * 60 * 60,
            trusted_proxies: Network::loopback().to_vec(),
            cors_origins: Vec::new(),
            access_log: AccessLog::Off,
            compress_from_bytes: 2_048,
        }
    }
}

/// A rate limit: a token bucket. A token is one unit of [work](super::work), which an ordinary request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens per second, sustained; 0: no limit.
    pub per_s: u32,
    /// Tokens at once after a pause.
    pub burst: u32,
}

/// Bounds on requests in flight, on the wait queue and on what one caller may send. The fields have the names of their keys in `cluster.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Permits when the node starts, until it has measured its throughput.
    pub places_start: usize,
    /// The least number of permits.
    pub places_min: usize,
    /// The greatest number of permits.
    pub places_max: usize,
    /// Target delay: the limit is what is answered within this time at the measured throughput, in ms.
    pub delay_target_ms: u64,
    /// Length of a measuring window, in ms.
    pub delay_window_ms: u64,
    /// Per cent of the permits reserved for [`Completion`](super::priority_class::PriorityClass::Completion).
    pub completion_reserved_percent: u8,
    /// Further per cent reserved for [`Checkout`](super::priority_class::PriorityClass::Checkout) and above.
    pub checkout_reserved_percent: u8,
    /// Further per cent reserved for [`Cart`](super::priority_class::PriorityClass::Cart) and above.
    pub cart_reserved_percent: u8,
    /// Longest time in the wait queue, in ms; 0: requests are refused without waiting.
    pub line_wait_ms: u64,
    /// Requests in the wait queue at once; further ones are refused.
    pub line_max: usize,
    /// Least `Retry-After` of a 503, in seconds.
    pub retry_after_s: u32,
    /// Greatest `Retry-After` of a 503, in seconds.
    pub retry_after_max_s: u32,
    /// Bytes that have arrived of all request bodies that did not arrive with their heads and are not whole.
    pub slow_bodies_bytes_max: u64,
    /// The same of webhooks, which are read before it is known who sent them.
    pub slow_webhooks_bytes_max: u64,
    /// Of those bytes, the part that one address may have, in percent; 0: no bound. It does not count for sellers, who are known.
    pub slow_bodies_address_percent: u8,
    /// Callers whose token buckets are kept at once, and as many addresses.
    pub callers_max: usize,
    /// The rate limit of one secret key.
    pub key: Rate,
    /// The rate limit of one guest, or of one order's token.
    pub guest: Rate,
    /// The rate limit of one address, for requests without a valid credential.
    pub address: Rate,
    /// The rate limit of all guests, and holders of order tokens, of one address.
    pub address_guest: Rate,
    /// How many guests one address may make.
    pub address_new_guests: Rate,
    /// The rate limit of one address for webhooks.
    pub webhook: Rate,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            places_start: 4_096,
            places_min: 256,
            places_max: 16_384,
            delay_target_ms: 500,
            delay_window_ms: 100,
            completion_reserved_percent: 5,
            checkout_reserved_percent: 25,
            cart_reserved_percent: 20,
            line_wait_ms: 2_000,
            line_max: 16_384,
            retry_after_s: 1,
            retry_after_max_s: 8,
            slow_bodies_bytes_max: 256 * 1024 * 1024,
            slow_webhooks_bytes_max: 8 * 1024 * 1024,
            slow_bodies_address_percent: 10,
            callers_max: 65_536,
            key: Rate { per_s: 0, burst: 1_000 },
            guest: Rate { per_s: 200, burst: 2_000 },
            address: Rate { per_s: 5_000, burst: 20_000 },
            address_guest: Rate { per_s: 5_000, burst: 20_000 },
            address_new_guests: Rate { per_s: 100, burst: 2_000 },
            webhook: Rate { per_s: 5_000, burst: 20_000 },
        }
    }
}

/// All settings of the API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiSettings {
    /// Bounds on requests.
    pub requests: RequestSettings,
    /// Admission under overload.
    pub admission: AdmissionSettings,
    /// The shop.
    pub shop: ShopSettings,
}
