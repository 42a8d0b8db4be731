//! The settings of the process: its name and ports, its actors, what it writes down. Those of the trade are in `trade`, those of many nodes in
//! `cluster`.

use super::cluster::{Cluster, Cql};
use super::keys::Keys;
use super::trade::{Carts, Inventory, Orders, Payments, Reservations, Shipping, Shop, Tax};
use doorbuster_settings::{DAY_S, GIB, HOUR_MS, KIB, Kind, MIB, Rules, Secret, Section, Text, settings, words};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// An address that only this machine reaches.
pub(super) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Declares [`Config`]: a field for each section of `cluster.toml`, in its order.
macro_rules! config {
    ($($(#[$doc:meta])* $section:ident: $type:ty,)+) => {
        /// All settings.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
        #[serde(deny_unknown_fields)]
        pub struct Config {
            $($(#[$doc])* pub $section: $type,)+
        }

        impl Config {
            /// Every setting as declared, in the order of `cluster.toml`.
            #[must_use]
            pub fn keys() -> Keys {
                let mut all = Vec::new();
                $(for mut setting in <$type as Section>::settings() {
                    setting.key = format!("{}.{}", stringify!($section), setting.key);
                    all.push(setting);
                })+
                Keys(all)
            }

            /// The rules between settings, in one section or in several.
            pub(super) fn check(&self, rules: &mut Rules) {
                $(self.$section.check(rules);)+
                self.check_sections(rules);
            }
        }
    };
}

config! {
    /// The process.
    node: Node,
    /// The seller.
    shop: Shop,
    /// The two ports, and the bounds of requests.
    api: Api,
    /// Who is admitted when there is no room for all.
    admission: Admission,
    /// The actors.
    entities: Entities,
    /// The journal and its checkpoints.
    journal: Journal,
    /// The store that nodes share.
    cql: Cql,
    /// The other nodes.
    cluster: Cluster,
    /// Checkout.
    orders: Orders,
    /// Stock for shops with a checkout of their own.
    reservations: Reservations,
    /// Carts.
    carts: Carts,
    /// Stock.
    inventory: Inventory,
    /// Tax.
    tax: Tax,
    /// Shipping.
    shipping: Shipping,
    /// The payment provider.
    payments: Payments,
    /// Caches and streams.
    redis: Redis,
    /// The indexes of lists.
    lists: Lists,
    /// The proof from the journal.
    audit: Audit,
    /// Faults on demand.
    faults: Faults,
    /// The log for people.
    log: Log,
}

words! {
    /// How the threads that serve share their work.
    pub enum Runtimes {
        /// Each has its own connections and shards.
        PerCore = "per_core",
        /// Any of them does whatever is next.
        Shared = "shared",
    }
}

settings! {
    /// `[node]`
    pub struct Node {
        name: String = "node1".into(), Text::NAME;
        data_folder: PathBuf = "./data".into(), Text::NAME;
        /// Fixed once the data folder is made (rule O1).
        shards: u16 = 8, 1..=4_096;
        runtimes: Runtimes = Runtimes::PerCore, Runtimes::WORDS;
        /// 0: one per core.
        worker_threads: usize = 0, 0..=1_024;
        drain_timeout_ms: u64 = 10_000, 0..=HOUR_MS;
        /// 0: nine tenths of the container's or the machine's memory.
        memory_bytes_max: u64 = 0, 0..=1_024 * GIB;
    }
}

/// The least characters of `api.operator_token`: fewer can be guessed.
const OPERATOR_TOKEN_LENGTH_MIN: usize = 16;

words! {
    /// Where requests to the operator port must carry the operator token.
    pub enum OperatorAuth {
        /// Where the port listens on another address than loopback, or a token is set.
        Exposed = "exposed",
        /// Everywhere.
        Always = "always",
        /// Nowhere.
        Never = "never",
    }
}

words! {
    /// Which requests to the public port are written to the log.
    pub enum AccessLog {
        /// None.
        Off = "off",
        /// Those with a status of 400 or more.
        Errors = "errors",
        /// All.
        All = "all",
    }
}

/// An origin, as browsers send it.
const ORIGIN: Text = Text {
    allowed: "an origin, like https://shop.example",
    list_allowed: "a list of origins, like [\"https://shop.example\", \"http://localhost:5173\"]",
    holds: is_origin,
};

/// Scheme, host and port, in lower case and without a path: what stands in `Origin` must be equal to it.
fn is_origin(text: &str) -> bool {
    let Some(host) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let is_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_host)
}

/// An address or a network of addresses.
const NETWORK: Text = Text {
    allowed: "an IP address or a network, like 10.0.0.0/8",
    list_allowed: "a list of IP addresses or networks, like [\"127.0.0.1\", \"10.0.0.0/8\"]",
    holds: |text| text.parse::<doorbuster_api::address::Network>().is_ok(),
};

settings! {
    /// `[api]`
    pub struct Api {
        listen: SocketAddr = loopback(8080), Text::ADDRESS;
        operator_listen: SocketAddr = loopback(8081), Text::ADDRESS;
        operator_auth: OperatorAuth = OperatorAuth::Exposed, OperatorAuth::WORDS;
        operator_token: Secret = Secret::default(), Kind::Secret;
        operator_hosts: Vec<String> = Vec::new(), Kind::List(Text::NAME);
        connections_max: usize = 16_384, 1..=1_000_000;
        connections_per_address_max: usize = 8_192, 1..=1_000_000;
        trusted_proxies: Vec<String> = vec!["127.0.0.1".to_owned(), "::1".to_owned()], Kind::List(NETWORK);
        backlog: u32 = 4_096, 1..=65_535;
        requests_in_flight_max: usize = 16_384, 1..=1_000_000;
        header_read_timeout_ms: u64 = 4_000, 10..=HOUR_MS;
        header_bytes_max: usize = 16_384, 8_192..=MIB;
        body_timeout_ms: u64 = 8_000, 10..=HOUR_MS;
        body_bytes_max: usize = 1_048_576, KIB..=64 * MIB;
        small_body_bytes_max: usize = 262_144, KIB..=64 * MIB;
        request_timeout_ms: u64 = 35_000, 100..=HOUR_MS;
        write_timeout_ms: u64 = 6_000, 10..=HOUR_MS;
        command_timeout_ms: u64 = 10_000, 100..=HOUR_MS;
        order_wait_ms: u64 = 5_000, 0..=60_000;
        prefer_wait_max_s: u64 = 30, 0..=300;
        event_followers_max: usize = 64, 0..=4_096;
        exports_max: usize = 4, 0..=256;
        retry_after_s: u32 = 1, 1..=3_600;
        cors_origins: Vec<String> = Vec::new(), Kind::List(ORIGIN);
        access_log: AccessLog = AccessLog::Off, AccessLog::WORDS;
        compress_from_bytes: usize = 2_048, 0..=1_048_576;
    } check check_api
}

fn check_api(api: &Api, rules: &mut Rules) {
    rules.must(
        api.listen != api.operator_listen || api.listen.port() == 0,
        "api.operator_listen",
        &api.operator_listen,
        format_args!("shoppers and operators must not share an address (api.listen)"),
    );
    let token = &api.operator_token.0;
    rules.must(
        token.is_empty() || (token.len() >= OPERATOR_TOKEN_LENGTH_MIN && token.bytes().all(|byte| byte.is_ascii_graphic())),
        "api.operator_token",
        &"(secret)",
        format_args!(
            "a token has at least {OPERATOR_TOKEN_LENGTH_MIN} characters, letters, digits and signs (`openssl rand -hex 32` makes one)"
        ),
    );
    let longest_wait_ms = api.order_wait_ms.max(api.prefer_wait_max_s.saturating_mul(1_000));
    rules.must(
        api.request_timeout_ms > longest_wait_ms,
        "api.request_timeout_ms",
        &api.request_timeout_ms,
        format_args!(
            "a request may wait {longest_wait_ms} ms (api.order_wait_ms, api.prefer_wait_max_s) and must be answered after that"
        ),
    );
    rules.must(
        api.command_timeout_ms < api.request_timeout_ms,
        "api.command_timeout_ms",
        &api.command_timeout_ms,
        format_args!(
            "the request that carries the command ends after {} ms (api.request_timeout_ms)",
            api.request_timeout_ms
        ),
    );
}

settings! {
    /// `[admission]`
    #[derive(Copy)]
    pub struct Admission {
        delay_target_ms: u64 = 500, 1..=60_000;
        delay_window_ms: u64 = 100, 1..=60_000;
        places_start: usize = 4_096, 1..=1_000_000;
        places_min: usize = 256, 1..=1_000_000;
        completion_reserved_percent: u8 = 5, 0..=30;
        checkout_reserved_percent: u8 = 25, 0..=30;
        cart_reserved_percent: u8 = 20, 0..=30;
        /// 0: no request waits.
        line_wait_ms: u64 = 2_000, 0..=30_000;
        line_max: usize = 16_384, 0..=1_000_000;
        retry_after_max_s: u32 = 8, 1..=3_600;
        slow_bodies_bytes_max: u64 = 256 * MIB, MIB..=64 * GIB;
        slow_webhooks_bytes_max: u64 = 8 * MIB, MIB..=64 * GIB;
        /// 0: no bound.
        slow_bodies_address_percent: u8 = 10, 0..=100;
        callers_max: usize = 65_536, 4..=100_000_000;
        /// 0: no quota.
        key_requests_per_s: u32 = 0, 0..=1_000_000;
        key_burst_max: u32 = 1_000, 1..=10_000_000;
        /// 0: no quota.
        guest_requests_per_s: u32 = 200, 0..=1_000_000;
        guest_burst_max: u32 = 2_000, 1..=10_000_000;
        /// 0: no quota.
        address_requests_per_s: u32 = 5_000, 0..=1_000_000;
        address_burst_max: u32 = 20_000, 1..=10_000_000;
        /// 0: no quota.
        address_guest_requests_per_s: u32 = 5_000, 0..=1_000_000;
        address_guest_burst_max: u32 = 20_000, 1..=10_000_000;
        /// 0: no quota.
        address_new_guests_per_s: u32 = 100, 0..=1_000_000;
        address_new_guests_burst_max: u32 = 2_000, 1..=10_000_000;
        /// 0: no quota.
        webhook_requests_per_s: u32 = 5_000, 0..=1_000_000;
        webhook_burst_max: u32 = 20_000, 1..=10_000_000;
    }
}

settings! {
    /// `[entities]`
    pub struct Entities {
        resident_max: usize = 100_000, 16..=100_000_000;
        idle_ms: u64 = 10_000, 0..=HOUR_MS;
        mailbox_max: u32 = 4_096, 1..=1_000_000;
        absence_reads_max: usize = 1_024, 1..=1_000_000;
        effects_max: usize = 65_536, 1..=10_000_000;
        command_life_s: u64 = 60, 1..=1_800;
        effect_retry_min_ms: u64 = 100, 1..=HOUR_MS;
        effect_retry_max_ms: u64 = 5_000, 1..=HOUR_MS;
        restart_delay_min_ms: u64 = 50, 1..=HOUR_MS;
        restart_delay_max_ms: u64 = 5_000, 1..=HOUR_MS;
        set_aside_after: u32 = 5, 1..=1_000;
    } check check_entities
}

fn check_entities(entities: &Entities, rules: &mut Rules) {
    rules.must(
        entities.effect_retry_min_ms <= entities.effect_retry_max_ms,
        "entities.effect_retry_min_ms",
        &entities.effect_retry_min_ms,
        format_args!("entities.effect_retry_max_ms is {}", entities.effect_retry_max_ms),
    );
    rules.must(
        entities.restart_delay_min_ms <= entities.restart_delay_max_ms,
        "entities.restart_delay_min_ms",
        &entities.restart_delay_min_ms,
        format_args!("entities.restart_delay_max_ms is {}", entities.restart_delay_max_ms),
    );
}

words! {
    /// Where the journal is.
    pub enum JournalKind {
        /// The segment log and the states in the data folder.
        Embedded = "embedded",
        /// In memory: gone with the process.
        Memory = "memory",
        /// In ScyllaDB or Apache Cassandra, which any number of nodes share.
        Cql = "cql",
    }
}

settings! {
    /// `[journal]`
    pub struct Journal {
        kind: JournalKind = JournalKind::Embedded, JournalKind::WORDS;
        segment_bytes: u64 = 64 * MIB, 64 * KIB..=4 * GIB;
        segments_ahead: usize = 1, 0..=64;
        batch_bytes_max: u64 = 4 * MIB, 16 * KIB..=64 * MIB;
        batch_events_max: usize = 8_192, 1..=1_000_000;
        queue_max: usize = 16_384, 1..=1_000_000;
        checkpoint_interval_ms: u64 = 10_000, 1..=HOUR_MS;
        checkpoint_bytes: u64 = 32 * MIB, 64 * KIB..=64 * GIB;
        segment_age_max_s: u64 = DAY_S, 3_600..=7 * DAY_S;
        retention_days: u64 = 30, 0..=30;
        cache_bytes: u64 = 64 * MIB, MIB..=1_024 * GIB;
    } check check_journal
}

fn check_journal(journal: &Journal, rules: &mut Rules) {
    rules.must(
        journal.segment_bytes >= journal.batch_bytes_max.saturating_mul(2),
        "journal.segment_bytes",
        &journal.segment_bytes,
        format_args!(
            "a segment must hold two of the largest batches (journal.batch_bytes_max is {})",
            journal.batch_bytes_max
        ),
    );
}

settings! {
    /// `[redis]`
    pub struct Redis {
        /// It may hold a password. Empty: there is no Redis.
        url: Secret = Secret::default(), Kind::Secret;
        prefix: String = "doorbuster".into(), Text::NAME;
        timeout_ms: u64 = 100, 1..=10_000;
        failures_max: u32 = 3, 1..=1_000;
        rest_min_ms: u64 = 200, 1..=HOUR_MS;
        rest_max_ms: u64 = 5_000, 1..=HOUR_MS;
        publish_interval_ms: u64 = 50, 1..=HOUR_MS;
        check_interval_ms: u64 = 1_000, 10..=HOUR_MS;
        queue_max: usize = 10_000, 1..=1_000_000;
        fresh_ms: u64 = 200, 0..=HOUR_MS;
        stale_ms: u64 = 2_000, 0..=HOUR_MS;
        skus_max: usize = 100_000, 2..=100_000_000;
        /// 0: no streams.
        stream_events_max: u64 = 100_000, 0..=1_000_000_000;
    } check check_redis
}

fn check_redis(redis: &Redis, rules: &mut Rules) {
    rules.must(
        redis.rest_min_ms <= redis.rest_max_ms,
        "redis.rest_min_ms",
        &redis.rest_min_ms,
        format_args!("redis.rest_max_ms is {}", redis.rest_max_ms),
    );
    rules.must(
        redis.fresh_ms <= redis.stale_ms,
        "redis.fresh_ms",
        &redis.fresh_ms,
        format_args!("redis.stale_ms is {}: what is fresh is not stale", redis.stale_ms),
    );
}

settings! {
    /// `[lists]`
    #[derive(Copy)]
    pub struct Lists {
        interval_ms: u64 = 50, 1..=HOUR_MS;
        cache_bytes: u64 = 32 * MIB, MIB..=64 * GIB;
        memtable_bytes: u64 = 16 * MIB, MIB..=4 * GIB;
    }
}

settings! {
    /// `[audit]`
    #[derive(Copy)]
    pub struct Audit {
        rounds_max: u32 = 10, 0..=10_000;
        pause_ms: u64 = 500, 1..=HOUR_MS;
        timeout_ms: u64 = 600_000, 1_000..=24 * HOUR_MS;
        memory_bytes_max: u64 = 4_294_967_296, MIB..=1_024 * GIB;
    }
}

settings! {
    /// `[faults]`
    #[derive(Copy)]
    pub struct Faults {
        allowed: bool = false, Kind::Flag;
    }
}

words! {
    /// How log lines are written.
    pub enum LogFormat {
        /// For a person at a terminal.
        Text = "text",
        /// One JSON object a line, for a collector.
        Json = "json",
    }
}

settings! {
    /// `[log]`
    pub struct Log {
        format: LogFormat = LogFormat::Text, LogFormat::WORDS;
        level: String = "info".into(), Text::NAME;
    }
}

impl Config {
    /// The rules between settings of several sections.
    fn check_sections(&self, rules: &mut Rules) {
        let (api, journal, payments) = (&self.api, &self.journal, &self.payments);
        rules.must(
            self.admission.retry_after_max_s >= api.retry_after_s,
            "admission.retry_after_max_s",
            &self.admission.retry_after_max_s,
            format_args!("the least is {} s (api.retry_after_s)", api.retry_after_s),
        );
        let body_bytes_max = u64::try_from(api.body_bytes_max).unwrap_or(u64::MAX);
        rules.must(
            journal.batch_bytes_max / 2 >= body_bytes_max,
            "journal.batch_bytes_max",
            &journal.batch_bytes_max,
            format_args!(
                "the events of one request are one batch, and need up to twice api.body_bytes_max ({body_bytes_max})"
            ),
        );
        rules.must(
            self.cql.batch_bytes_max / 2 >= body_bytes_max,
            "cql.batch_bytes_max",
            &self.cql.batch_bytes_max,
            format_args!(
                "the events of one request are one row, and need up to twice api.body_bytes_max ({body_bytes_max})"
            ),
        );
        let is_shared = journal.kind == JournalKind::Cql;
        rules.must(
            !is_shared || payments.is_outside(),
            "payments.provider",
            &"simulated",
            format_args!(
                "the simulated provider's ledger lives in one process: nodes that share a journal (journal.kind = \"cql\") need \"http\""
            ),
        );
        rules.must(
            !is_shared || !self.cluster.cookie.0.is_empty(),
            "cluster.cookie",
            &"empty",
            format_args!("nodes that share a journal (journal.kind = \"cql\") prove to each other that they belong together: `openssl rand -hex 32`"),
        );
    }
}
