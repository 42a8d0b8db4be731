//! The settings of the trade: the seller, orders, carts, stock, tax, shipping, payments.

use doorbuster_domain::money::Currency;
use doorbuster_settings::{DAY_S, HOUR_MS, Kind, Rules, Secret, Text, YEAR_S, each, groups, settings, words};
use doorbuster_simulator::Profile;
use std::collections::BTreeMap;

/// A currency that the shop may trade in.
const CURRENCY: Text = Text {
    allowed: "a currency of ISO 4217, like GBP",
    list_allowed: "a list of currencies of ISO 4217, like [\"GBP\", \"EUR\"]",
    holds: |code| Currency::parse(code).is_ok(),
};
/// Shorter webhook secrets can be found by trying, in characters.
const WEBHOOK_SECRET_LENGTH_MIN: usize = 16;

settings! {
    /// `[shop]`
    pub struct Shop {
        seller: String = "sel_main".into(), Text::NAME;
        /// ISO 4217.
        currency: String = "GBP".into(), CURRENCY;
        /// ISO 3166.
        home_country: String = "GB".into(), Text::COUNTRY;
        /// By preference.
        warehouses: Vec<String> = Vec::new(), Kind::List(Text::NAME);
    }
}

words! {
    /// When authorized money is taken.
    pub enum Capture {
        /// As soon as the order is confirmed.
        OnConfirmation = "on_confirmation",
        /// Shipment by shipment.
        OnShipment = "on_shipment",
        /// When the seller asks for it.
        Manual = "manual",
    }
}

settings! {
    /// `[orders]`
    pub struct Orders {
        hold_s: u64 = 600, 1..=30 * DAY_S;
        lines_max: usize = 2_000, 1..=2_000;
        unpaid_units_per_buyer_max: u32 = 0, 0..=1_000_000;
        unpaid_units_per_address_max: u32 = 0, 0..=1_000_000;
        payment_attempts_max: u16 = 5, 1..=1_000;
        capture: Capture = Capture::OnConfirmation, Capture::WORDS;
        goods_first: bool = false, Kind::Flag;
        authorization_margin_s: u64 = DAY_S, 0..=5 * DAY_S;
        return_window_days: u32 = 30, 0..=3_650;
        returns_auto_approve: bool = false, Kind::Flag;
        token_life_days: u64 = 90, 1..=3_650;
    }
}

settings! {
    /// `[reservations]`
    pub struct Reservations {
        hold_s: u64 = 600, 1..=30 * DAY_S;
        hold_max_s: u64 = DAY_S, 1..=30 * DAY_S;
        batch_items_max: usize = 4_096, 1..=16_384;
    } check check_reservations
}

fn check_reservations(reservations: &Reservations, rules: &mut Rules) {
    rules.must(
        reservations.hold_s <= reservations.hold_max_s,
        "reservations.hold_s",
        &reservations.hold_s,
        format_args!("reservations.hold_max_s is {}", reservations.hold_max_s),
    );
}

settings! {
    /// `[carts]`
    pub struct Carts {
        guest_life_s: u64 = 7 * DAY_S, 60..=YEAR_S;
        lines_max: usize = 2_000, 1..=2_000;
    }
}

settings! {
    /// `[inventory]`
    pub struct Inventory {
        low_stock_at: u64 = 20, 0..=1_000_000_000;
    }
}

settings! {
    /// `[tax]`
    pub struct Tax {
        charge: bool = true, Kind::Flag;
        /// By ISO 3166 code of the destination.
        countries: BTreeMap<String, Country> = home_tax(), groups::<Country>();
    }
}

settings! {
    /// `[tax.countries.XX]`
    pub group Country {
        name: String, Text::NAME;
        rate_ppm: u32, 0..=1_000_000;
        /// Other rates, by the product's `tax_class`; `shipping` is that of delivery, which otherwise follows the goods.
        classes_ppm: BTreeMap<String, u32>, each(0..=1_000_000);
    }
}

fn home_tax() -> BTreeMap<String, Country> {
    let classes_ppm = BTreeMap::from([("reduced".to_owned(), 50_000), ("zero".to_owned(), 0)]);
    BTreeMap::from([("GB".to_owned(), Country { name: "VAT".to_owned(), rate_ppm: 200_000, classes_ppm })])
}

settings! {
    /// `[shipping]`
    pub struct Shipping {
        charge: bool = true, Kind::Flag;
        tax_included: bool = true, Kind::Flag;
        default_option: String = "std".into(), Text::NAME;
        /// By the option's id, as an order names it.
        options: BTreeMap<String, ShippingOption> = standard_delivery(), groups::<ShippingOption>();
    } check check_shipping
}

settings! {
    /// `[shipping.options.ID]`
    pub group ShippingOption {
        label: String, Text::NAME;
        /// ISO 3166 codes; empty: everywhere.
        countries: Vec<String>, Kind::List(Text::COUNTRY);
        days: u64, 0..=365;
        /// Minor units by ISO 4217 code.
        price: BTreeMap<String, u64>, each(0..=1_000_000_000_000);
    }
}

fn standard_delivery() -> BTreeMap<String, ShippingOption> {
    let price = [("GBP", 499), ("EUR", 599), ("USD", 699)];
    let standard = ShippingOption {
        label: "Standard delivery".to_owned(),
        countries: Vec::new(),
        days: 3,
        price: price.into_iter().map(|(currency, amount)| (currency.to_owned(), amount)).collect(),
    };
    BTreeMap::from([("std".to_owned(), standard)])
}

fn check_shipping(shipping: &Shipping, rules: &mut Rules) {
    rules.must(
        shipping.options.contains_key(&shipping.default_option),
        "shipping.default_option",
        &shipping.default_option,
        format_args!("shipping.options has no such option"),
    );
}

words! {
    /// Which payment provider the node calls.
    pub enum PaymentProvider {
        /// The simulated provider inside the process; its ledger ends with it.
        Simulated = "simulated",
        /// A provider of its own at `payments.url`, such as `payment-simulator`.
        Http = "http",
    }
}

settings! {
    /// `[payments]`
    pub struct Payments {
        provider: PaymentProvider = PaymentProvider::Simulated, PaymentProvider::WORDS;
        url: String = "http://127.0.0.1:8090".into(), Text::NAME;
        webhook_secret: Secret = Secret::default(), Kind::Secret;
        webhook_age_max_s: u64 = 300, 1..=DAY_S;
        profile: Profile = Profile::Instant, Profile::WORDS;
        seed: u64 = 1, 0..=1 << 62;
        action_url: String = String::new(), Text::ANY;
        timeout_ms: u64 = 10_000, 10..=HOUR_MS;
        in_flight_max: u32 = 512, 1..=1_000_000;
        query_after_s: u64 = 30, 1..=DAY_S;
        key_life_s: u64 = DAY_S, 60..=YEAR_S;
        /// By the payment's method.
        method_hold_s: BTreeMap<String, u64> = [("bank_transfer".to_owned(), 3 * DAY_S)].into(), each(1..=30 * DAY_S);
    } check check_payments
}

impl Payments {
    /// Is the provider a process of its own?
    pub(super) fn is_outside(&self) -> bool {
        self.provider == PaymentProvider::Http
    }
}

fn check_payments(payments: &Payments, rules: &mut Rules) {
    rules.must(
        !payments.is_outside() || payments.url.starts_with("http://"),
        "payments.url",
        &payments.url,
        format_args!("a provider outside the process is reached at http://host:port"),
    );
    rules.must(
        !payments.is_outside() || payments.webhook_secret.0.len() >= WEBHOOK_SECRET_LENGTH_MIN,
        "payments.webhook_secret",
        &format_args!("{} characters long", payments.webhook_secret.0.len()),
        format_args!("a provider outside the process must sign with a secret of at least {WEBHOOK_SECRET_LENGTH_MIN}"),
    );
}
