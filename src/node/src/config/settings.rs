//! The settings as the program sees them: typed, complete, checked.
//!
//! What each one is for, and what goes wrong when it is too small or too large, stands in `cluster.toml` and nowhere else. Durations end
//! in `_ms`, `_s` or `_days`, sizes in `_bytes`, bounds in `_max`.

use super::admission::Admission;
use super::cluster::{Cluster, Cql};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

const MIB: u64 = 1024 * 1024;
const DAY_S: u64 = 24 * 60 * 60;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The process.
    pub node: Node,
    /// Whose shop.
    pub shop: Shop,
    /// The doors.
    pub api: Api,
    /// Who comes in.
    pub admission: Admission,
    /// The actors.
    pub entities: Entities,
    /// What is durable.
    pub journal: Journal,
    /// The store that nodes share.
    pub cql: Cql,
    /// The nodes.
    pub cluster: Cluster,
    /// Checkout.
    pub orders: Orders,
    /// Stock for shops with a checkout of their own.
    pub reservations: Reservations,
    /// Carts.
    pub carts: Carts,
    /// Stock.
    pub inventory: Inventory,
    /// Tax.
    pub tax: Tax,
    /// Shipping.
    pub shipping: Shipping,
    /// The payment provider.
    pub payments: Payments,
    /// What may be lost.
    pub redis: Redis,
    /// The proof from the journal.
    pub audit: Audit,
    /// Faults on demand.
    pub faults: Faults,
    /// The log for people.
    pub log: Log,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Node {
    pub name: String,
    pub data_folder: PathBuf,
    /// Fixed once the data folder is made (rule O1).
    pub shards: u16,
    /// 0: one per core.
    pub worker_threads: usize,
    pub drain_timeout_ms: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: "node1".to_owned(),
            data_folder: PathBuf::from("./data"),
            shards: 8,
            worker_threads: 0,
            drain_timeout_ms: 10_000,
        }
    }
}

/// `[shop]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Shop {
    pub seller: String,
    /// ISO 4217.
    pub currency: String,
    /// ISO 3166.
    pub home_country: String,
    /// By preference.
    pub warehouses: Vec<String>,
}

impl Default for Shop {
    fn default() -> Self {
        Self {
            seller: "sel_main".to_owned(),
            currency: "GBP".to_owned(),
            home_country: "GB".to_owned(),
            warehouses: Vec::new(),
        }
    }
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Api {
    pub listen: SocketAddr,
    pub operator_listen: SocketAddr,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub backlog: u32,
    pub requests_in_flight_max: usize,
    pub header_read_timeout_ms: u64,
    pub header_bytes_max: usize,
    pub body_timeout_ms: u64,
    pub body_bytes_max: usize,
    pub small_body_bytes_max: usize,
    pub request_timeout_ms: u64,
    pub write_timeout_ms: u64,
    pub command_timeout_ms: u64,
    pub order_wait_ms: u64,
    pub prefer_wait_max_s: u64,
    pub retry_after_s: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            operator_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081),
            connections_max: 16_384,
            connections_per_address_max: 8_192,
            backlog: 4_096,
            requests_in_flight_max: 16_384,
            header_read_timeout_ms: 4_000,
            header_bytes_max: 16_384,
            body_timeout_ms: 8_000,
            body_bytes_max: 1_048_576,
            small_body_bytes_max: 262_144,
            request_timeout_ms: 35_000,
            write_timeout_ms: 6_000,
            command_timeout_ms: 10_000,
            order_wait_ms: 5_000,
            prefer_wait_max_s: 30,
            retry_after_s: 1,
        }
    }
}

/// `[entities]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Entities {
    pub resident_max: usize,
    pub idle_ms: u64,
    pub mailbox_max: usize,
    pub command_life_s: u64,
    pub effect_retry_min_ms: u64,
    pub effect_retry_max_ms: u64,
    pub restart_delay_min_ms: u64,
    pub restart_delay_max_ms: u64,
    pub set_aside_after: u32,
}

impl Default for Entities {
    fn default() -> Self {
        Self {
            resident_max: 100_000,
            idle_ms: 10_000,
            mailbox_max: 4_096,
            command_life_s: 60,
            effect_retry_min_ms: 100,
            effect_retry_max_ms: 5_000,
            restart_delay_min_ms: 50,
            restart_delay_max_ms: 5_000,
            set_aside_after: 5,
        }
    }
}

/// Which journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalKind {
    /// The segment log and the states in the data folder.
    Embedded,
    /// In memory: gone with the process.
    Memory,
    /// In ScyllaDB or Apache Cassandra, which any number of nodes share.
    Cql,
}

/// `[journal]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Journal {
    pub kind: JournalKind,
    pub segment_bytes: u64,
    pub segments_ahead: usize,
    pub batch_bytes_max: u64,
    pub batch_events_max: usize,
    pub queue_max: usize,
    pub checkpoint_interval_ms: u64,
    pub checkpoint_bytes: u64,
    pub retention_days: u64,
    pub cache_bytes: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            kind: JournalKind::Embedded,
            segment_bytes: 64 * MIB,
            segments_ahead: 1,
            batch_bytes_max: 4 * MIB,
            batch_events_max: 8_192,
            queue_max: 16_384,
            checkpoint_interval_ms: 10_000,
            checkpoint_bytes: 32 * MIB,
            retention_days: 30,
            cache_bytes: 64 * MIB,
        }
    }
}

/// When authorized money is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// As soon as the order is confirmed.
    OnConfirmation,
    /// Shipment by shipment.
    OnShipment,
    /// When somebody asks for it.
    Manual,
}

/// `[orders]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Orders {
    pub hold_s: u64,
    pub lines_max: usize,
    pub payment_attempts_max: u16,
    pub capture: Capture,
    pub authorization_margin_s: u64,
    pub return_window_days: u64,
    pub returns_auto_approve: bool,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            hold_s: 600,
            lines_max: 2_000,
            payment_attempts_max: 5,
            capture: Capture::OnConfirmation,
            authorization_margin_s: DAY_S,
            return_window_days: 30,
            returns_auto_approve: false,
        }
    }
}

/// `[reservations]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Reservations {
    pub hold_s: u64,
    pub hold_max_s: u64,
    pub batch_items_max: usize,
}

impl Default for Reservations {
    fn default() -> Self {
        Self { hold_s: 600, hold_max_s: DAY_S, batch_items_max: 4_096 }
    }
}

/// `[carts]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Carts {
    pub guest_life_s: u64,
    pub lines_max: usize,
}

impl Default for Carts {
    fn default() -> Self {
        Self { guest_life_s: 7 * DAY_S, lines_max: 2_000 }
    }
}

/// `[inventory]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Inventory {
    pub low_stock_at: u64,
}

impl Default for Inventory {
    fn default() -> Self {
        Self { low_stock_at: 20 }
    }
}

/// `[tax]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Tax {
    pub charge: bool,
    /// By ISO 3166 code of the destination.
    pub countries: BTreeMap<String, Country>,
}

/// `[tax.countries.XX]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Country {
    pub name: String,
    pub rate_ppm: u32,
    /// Other rates, by the product's `tax_class`.
    pub classes_ppm: BTreeMap<String, u32>,
}

impl Default for Tax {
    fn default() -> Self {
        let classes_ppm = BTreeMap::from([("reduced".to_owned(), 50_000), ("zero".to_owned(), 0)]);
        let country = Country { name: "VAT".to_owned(), rate_ppm: 200_000, classes_ppm };
        Self { charge: true, countries: BTreeMap::from([("GB".to_owned(), country)]) }
    }
}

/// `[shipping]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Shipping {
    pub charge: bool,
    pub tax_included: bool,
    pub default_option: String,
    /// By the option's id, as an order names it.
    pub options: BTreeMap<String, ShippingOption>,
}

/// `[shipping.options.ID]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct ShippingOption {
    pub label: String,
    /// Minor units by ISO 4217 code.
    pub price: BTreeMap<String, u64>,
    /// ISO 3166 codes; empty: everywhere.
    pub countries: Vec<String>,
    pub days: u64,
}

impl Default for Shipping {
    fn default() -> Self {
        let price = [("GBP", 499), ("EUR", 599), ("USD", 699)];
        let standard = ShippingOption {
            label: "Standard delivery".to_owned(),
            price: price.into_iter().map(|(currency, amount)| (currency.to_owned(), amount)).collect(),
            countries: Vec::new(),
            days: 3,
        };
        Self {
            charge: true,
            tax_included: true,
            default_option: "std".to_owned(),
            options: BTreeMap::from([("std".to_owned(), standard)]),
        }
    }
}

/// Who moves the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentProvider {
    /// The simulated provider inside the process; its ledger ends with it.
    Simulated,
    /// A provider of its own at `url`: `payment-simulator`.
    Http,
}

/// A text that is not shown where settings are shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

/// How the simulated provider behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentProfile {
    /// Answers at once and does what the token says.
    Instant,
    /// A few milliseconds, with faults.
    Fast,
    /// The delays, declines, losses and repetitions of a real one.
    Realistic,
}

/// `[payments]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Payments {
    pub provider: PaymentProvider,
    pub url: String,
    pub webhook_secret: Secret,
    pub webhook_age_max_s: u64,
    pub profile: PaymentProfile,
    pub seed: u64,
    pub action_url: String,
    pub timeout_ms: u64,
    pub in_flight_max: u32,
    pub query_after_s: u64,
    pub key_life_s: u64,
    /// By the payment's method.
    pub method_hold_s: BTreeMap<String, u64>,
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            provider: PaymentProvider::Simulated,
            url: "http://127.0.0.1:8090".to_owned(),
            webhook_secret: Secret::default(),
            webhook_age_max_s: 300,
            profile: PaymentProfile::Instant,
            seed: 1,
            action_url: String::new(),
            timeout_ms: 10_000,
            in_flight_max: 512,
            query_after_s: 30,
            key_life_s: DAY_S,
            method_hold_s: BTreeMap::from([("bank_transfer".to_owned(), 3 * DAY_S)]),
        }
    }
}

/// `[redis]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Redis {
    /// It may hold a password. Empty: inside the process.
    pub url: Secret,
    pub prefix: String,
    pub timeout_ms: u64,
    pub failures_max: u32,
    pub rest_min_ms: u64,
    pub rest_max_ms: u64,
    pub publish_interval_ms: u64,
    pub check_interval_ms: u64,
    pub queue_max: usize,
    pub fresh_ms: u64,
    pub stale_ms: u64,
    pub skus_max: usize,
    /// 0: no streams.
    pub stream_events_max: u64,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            prefix: "doorbuster".to_owned(),
            timeout_ms: 100,
            failures_max: 3,
            rest_min_ms: 200,
            rest_max_ms: 5_000,
            publish_interval_ms: 50,
            check_interval_ms: 1_000,
            queue_max: 10_000,
            fresh_ms: 200,
            stale_ms: 2_000,
            skus_max: 100_000,
            stream_events_max: 100_000,
        }
    }
}

/// `[audit]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Audit {
    pub rounds_max: u32,
    pub pause_ms: u64,
    pub timeout_ms: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { rounds_max: 10, pause_ms: 500, timeout_ms: 600_000 }
    }
}

/// `[faults]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Faults {
    pub allowed: bool,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line, for a collector.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}
