//! The table of all settings: which keys there are, and what may stand there.
//!
//! Every source is held against it before it is merged. `*` stands for one name the reader chooses (a country, a shipping option).

use doorbuster_domain::money::Currency;
use figment::value::Value;
use std::net::SocketAddr;

/// What may stand at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number from the first to the second, both allowed.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
    /// A text that is not empty.
    Name,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// A text that no error may show.
    Secret,
    /// A currency of ISO 4217.
    Currency,
    /// A two-letter country code.
    Country,
    /// A list of those.
    Countries,
    /// A list of texts that are not empty.
    Names,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`.
    pub key: &'static str,
    /// What may stand there.
    pub kind: Kind,
}

const fn setting(key: &'static str, kind: Kind) -> Setting {
    Setting { key, kind }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_S: u64 = 24 * 60 * 60;
const YEAR_S: u64 = 366 * DAY_S;

/// All settings, in the order of `cluster.toml`.
pub const SETTINGS: &[Setting] = &[
    setting("node.name", Kind::Name),
    setting("node.data_folder", Kind::Name),
    setting("node.shards", Kind::Number(1, 4_096)),
    setting("node.worker_threads", Kind::Number(0, 1_024)),
    setting("node.drain_timeout_ms", Kind::Number(0, HOUR_MS)),
    setting("shop.seller", Kind::Name),
    setting("shop.currency", Kind::Currency),
    setting("shop.home_country", Kind::Country),
    setting("shop.warehouses", Kind::Names),
    setting("api.listen", Kind::Address),
    setting("api.operator_listen", Kind::Address),
    setting("api.connections_max", Kind::Number(1, 1_000_000)),
    setting("api.connections_per_address_max", Kind::Number(1, 1_000_000)),
    setting("api.backlog", Kind::Number(1, 65_535)),
    setting("api.requests_in_flight_max", Kind::Number(1, 1_000_000)),
    setting("api.header_read_timeout_ms", Kind::Number(10, HOUR_MS)),
    setting("api.header_bytes_max", Kind::Number(8_192, MIB)),
    setting("api.body_timeout_ms", Kind::Number(10, HOUR_MS)),
    setting("api.body_bytes_max", Kind::Number(KIB, 64 * MIB)),
    setting("api.small_body_bytes_max", Kind::Number(KIB, 64 * MIB)),
    setting("api.request_timeout_ms", Kind::Number(100, HOUR_MS)),
    setting("api.write_timeout_ms", Kind::Number(10, HOUR_MS)),
    setting("api.command_timeout_ms", Kind::Number(100, HOUR_MS)),
    setting("api.order_wait_ms", Kind::Number(0, 60_000)),
    setting("api.prefer_wait_max_s", Kind::Number(0, 300)),
    setting("api.retry_after_s", Kind::Number(1, 3_600)),
    setting("admission.delay_target_ms", Kind::Number(1, 60_000)),
    setting("admission.delay_window_ms", Kind::Number(1, 60_000)),
    setting("admission.places_start", Kind::Number(1, 1_000_000)),
    setting("admission.places_min", Kind::Number(1, 1_000_000)),
    setting("admission.completion_reserved_percent", Kind::Number(0, 30)),
    setting("admission.checkout_reserved_percent", Kind::Number(0, 30)),
    setting("admission.cart_reserved_percent", Kind::Number(0, 30)),
    setting("admission.line_wait_ms", Kind::Number(0, 30_000)),
    setting("admission.line_max", Kind::Number(0, 1_000_000)),
    setting("admission.retry_after_max_s", Kind::Number(1, 3_600)),
    setting("admission.slow_bodies_bytes_max", Kind::Number(MIB, 64 * GIB)),
    setting("admission.callers_max", Kind::Number(4, 100_000_000)),
    setting("admission.key_requests_per_s", Kind::Number(0, 1_000_000)),
    setting("admission.key_burst_max", Kind::Number(1, 10_000_000)),
    setting("admission.guest_requests_per_s", Kind::Number(0, 1_000_000)),
    setting("admission.guest_burst_max", Kind::Number(1, 10_000_000)),
    setting("admission.address_requests_per_s", Kind::Number(0, 1_000_000)),
    setting("admission.address_burst_max", Kind::Number(1, 10_000_000)),
    setting("entities.resident_max", Kind::Number(16, 100_000_000)),
    setting("entities.idle_ms", Kind::Number(0, HOUR_MS)),
    setting("entities.mailbox_max", Kind::Number(1, 1_000_000)),
    setting("entities.command_life_s", Kind::Number(1, 1_800)),
    setting("entities.effect_retry_min_ms", Kind::Number(1, HOUR_MS)),
    setting("entities.effect_retry_max_ms", Kind::Number(1, HOUR_MS)),
    setting("entities.restart_delay_min_ms", Kind::Number(1, HOUR_MS)),
    setting("entities.restart_delay_max_ms", Kind::Number(1, HOUR_MS)),
    setting("entities.set_aside_after", Kind::Number(1, 1_000)),
    setting("journal.kind", Kind::OneOf(&["embedded", "memory", "cql"])),
    setting("journal.segment_bytes", Kind::Number(64 * KIB, 4 * GIB)),
    setting("journal.segments_ahead", Kind::Number(0, 64)),
    setting("journal.batch_bytes_max", Kind::Number(16 * KIB, 64 * MIB)),
    setting("journal.batch_events_max", Kind::Number(1, 1_000_000)),
    setting("journal.queue_max", Kind::Number(1, 1_000_000)),
    setting("journal.checkpoint_interval_ms", Kind::Number(1, HOUR_MS)),
    setting("journal.checkpoint_bytes", Kind::Number(64 * KIB, 64 * GIB)),
    setting("journal.retention_days", Kind::Number(0, 30)),
    setting("journal.cache_bytes", Kind::Number(MIB, 1_024 * GIB)),
    setting("cql.contact_points", Kind::Names),
    setting("cql.keyspace", Kind::Name),
    setting("cql.datacenter", Kind::Text),
    setting("cql.replication_factor", Kind::Number(1, 15)),
    setting("cql.quorum", Kind::OneOf(&["everywhere", "local"])),
    setting("cql.user", Kind::Text),
    setting("cql.password", Kind::Secret),
    setting("cql.tls_ca", Kind::Text),
    setting("cql.connect_timeout_ms", Kind::Number(10, HOUR_MS)),
    setting("cql.request_timeout_ms", Kind::Number(10, HOUR_MS)),
    setting("cql.settle_timeout_ms", Kind::Number(0, HOUR_MS)),
    setting("cql.bucket_events", Kind::Number(100, 10_000_000)),
    setting("cql.batch_bytes_max", Kind::Number(64 * KIB, 8 * MIB)),
    setting("cql.writes_in_flight_max", Kind::Number(1, 4_096)),
    setting("cql.tail_bytes_max", Kind::Number(0, 64 * GIB)),
    setting("cluster.listen", Kind::Address),
    setting("cluster.advertise", Kind::Text),
    setting("cluster.cookie", Kind::Secret),
    setting("cluster.tls_certificate", Kind::Text),
    setting("cluster.tls_key", Kind::Text),
    setting("cluster.tls_authority", Kind::Text),
    setting("cluster.gateways", Kind::Number(2, 8)),
    setting("cluster.heartbeat_ms", Kind::Number(10, 60_000)),
    setting("cluster.cut_misses_max", Kind::Number(2, 1_000_000)),
    setting("cluster.in_flight_per_peer_max", Kind::Number(1, 1_000_000)),
    setting("cluster.queue_bytes_per_peer_max", Kind::Number(4 * MIB, 4 * GIB)),
    setting("cluster.frames_in_flight_max", Kind::Number(1, 1_024)),
    setting("cluster.frame_bytes_max", Kind::Number(KIB, 4 * MIB)),
    setting("cluster.handshake_timeout_ms", Kind::Number(100, HOUR_MS)),
    setting("cluster.reconnect_min_ms", Kind::Number(1, HOUR_MS)),
    setting("cluster.reconnect_max_ms", Kind::Number(1, HOUR_MS)),
    setting("cluster.beat_ms", Kind::Number(50, 60_000)),
    setting("cluster.stale_ms", Kind::Number(150, HOUR_MS)),
    setting("cluster.stale_missed_ms", Kind::Number(50, HOUR_MS)),
    setting("cluster.stale_reads", Kind::Number(1, 1_000)),
    setting("cluster.suspect_at", Kind::Number(1, 1_000)),
    setting("cluster.settle_ms", Kind::Number(0, 60_000)),
    setting("cluster.handoff_poll_ms", Kind::Number(10, 60_000)),
    setting("cluster.handoff_timeout_ms", Kind::Number(100, HOUR_MS)),
    setting("cluster.release_timeout_ms", Kind::Number(0, HOUR_MS)),
    setting("cluster.releases_in_flight_max", Kind::Number(1, 4_096)),
    setting("cluster.claims_in_flight_max", Kind::Number(1, 4_096)),
    setting("cluster.claim_timeout_ms", Kind::Number(100, HOUR_MS)),
    setting("cluster.claim_retry_min_ms", Kind::Number(1, HOUR_MS)),
    setting("cluster.claim_retry_max_ms", Kind::Number(1, HOUR_MS)),
    setting("cluster.registry_timeout_ms", Kind::Number(10, 60_000)),
    setting("orders.hold_s", Kind::Number(1, 30 * DAY_S)),
    setting("orders.lines_max", Kind::Number(1, 2_000)),
    setting("orders.payment_attempts_max", Kind::Number(1, 1_000)),
    setting("orders.capture", Kind::OneOf(&["on_confirmation", "on_shipment", "manual"])),
    setting("orders.authorization_margin_s", Kind::Number(0, 5 * DAY_S)),
    setting("orders.return_window_days", Kind::Number(0, 3_650)),
    setting("orders.returns_auto_approve", Kind::Flag),
    setting("reservations.hold_s", Kind::Number(1, 30 * DAY_S)),
    setting("reservations.hold_max_s", Kind::Number(1, 30 * DAY_S)),
    setting("reservations.batch_items_max", Kind::Number(1, 16_384)),
    setting("carts.guest_life_s", Kind::Number(60, YEAR_S)),
    setting("carts.lines_max", Kind::Number(1, 2_000)),
    setting("inventory.low_stock_at", Kind::Number(0, 1_000_000_000)),
    setting("tax.charge", Kind::Flag),
    setting("tax.countries.*.name", Kind::Name),
    setting("tax.countries.*.rate_ppm", Kind::Number(0, 1_000_000)),
    setting("tax.countries.*.classes_ppm.*", Kind::Number(0, 1_000_000)),
    setting("shipping.charge", Kind::Flag),
    setting("shipping.tax_included", Kind::Flag),
    setting("shipping.default_option", Kind::Name),
    setting("shipping.options.*.label", Kind::Name),
    setting("shipping.options.*.price.*", Kind::Number(0, 1_000_000_000_000)),
    setting("shipping.options.*.countries", Kind::Countries),
    setting("shipping.options.*.days", Kind::Number(0, 365)),
    setting("payments.provider", Kind::OneOf(&["simulated", "http"])),
    setting("payments.url", Kind::Name),
    setting("payments.webhook_secret", Kind::Secret),
    setting("payments.webhook_age_max_s", Kind::Number(1, DAY_S)),
    setting("payments.profile", Kind::OneOf(&["instant", "fast", "realistic"])),
    setting("payments.seed", Kind::Number(0, 1 << 62)),
    setting("payments.action_url", Kind::Text),
    setting("payments.timeout_ms", Kind::Number(10, HOUR_MS)),
    setting("payments.in_flight_max", Kind::Number(1, 1_000_000)),
    setting("payments.query_after_s", Kind::Number(1, DAY_S)),
    setting("payments.key_life_s", Kind::Number(60, YEAR_S)),
    setting("payments.method_hold_s.*", Kind::Number(1, 30 * DAY_S)),
    setting("redis.url", Kind::Secret),
    setting("redis.prefix", Kind::Name),
    setting("redis.timeout_ms", Kind::Number(1, 10_000)),
    setting("redis.failures_max", Kind::Number(1, 1_000)),
    setting("redis.rest_min_ms", Kind::Number(1, HOUR_MS)),
    setting("redis.rest_max_ms", Kind::Number(1, HOUR_MS)),
    setting("redis.publish_interval_ms", Kind::Number(1, HOUR_MS)),
    setting("redis.check_interval_ms", Kind::Number(10, HOUR_MS)),
    setting("redis.queue_max", Kind::Number(1, 1_000_000)),
    setting("redis.fresh_ms", Kind::Number(0, HOUR_MS)),
    setting("redis.stale_ms", Kind::Number(0, HOUR_MS)),
    setting("redis.skus_max", Kind::Number(2, 100_000_000)),
    setting("redis.stream_events_max", Kind::Number(0, 1_000_000_000)),
    setting("audit.rounds_max", Kind::Number(0, 10_000)),
    setting("audit.pause_ms", Kind::Number(1, HOUR_MS)),
    setting("audit.timeout_ms", Kind::Number(1_000, 24 * HOUR_MS)),
    setting("faults.allowed", Kind::Flag),
    setting("log.format", Kind::OneOf(&["text", "json"])),
    setting("log.level", Kind::Name),
];

impl Setting {
    /// Is this the setting at `key`?
    #[must_use]
    pub fn is(&self, key: &str) -> bool {
        self.matches(key, false)
    }

    /// Does `key` name this setting, or a group it is in?
    #[must_use]
    pub fn is_at_or_under(&self, key: &str) -> bool {
        self.matches(key, true)
    }

    fn matches(&self, key: &str, group: bool) -> bool {
        let mut pattern = self.key.split('.');
        let begins = key.split('.').all(|part| pattern.next().is_some_and(|own| own == "*" || own == part));
        begins && (group || pattern.next().is_none())
    }
}

impl Kind {
    /// Whether `value` may stand there.
    #[must_use]
    pub fn allows(self, value: &Value) -> bool {
        match self {
            Self::Number(low, high) => {
                // TOML has signed numbers only, variables unsigned ones: take both.
                let number = value.to_num().and_then(figment::value::Num::to_u128_lossy);
                number.is_some_and(|number| (u128::from(low)..=u128::from(high)).contains(&number))
            }
            Self::Flag => value.to_bool().is_some(),
            Self::Text | Self::Secret => value.as_str().is_some(),
            Self::Name => is_name(value),
            Self::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            Self::Address => value.as_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok()),
            Self::Currency => value.as_str().is_some_and(|code| Currency::parse(code).is_ok()),
            Self::Country => is_country(value),
            Self::Names => value.as_array().is_some_and(|names| names.iter().all(is_name)),
            Self::Countries => value.as_array().is_some_and(|codes| codes.iter().all(is_country)),
        }
    }

    /// Is it one text, which a variable or a flag gives as it is?
    #[must_use]
    pub const fn is_text(self) -> bool {
        match self {
            Self::Text
            | Self::Name
            | Self::Secret
            | Self::OneOf(_)
            | Self::Address
            | Self::Currency
            | Self::Country => true,
            Self::Number(..) | Self::Flag | Self::Countries | Self::Names => false,
        }
    }

    /// The same in words.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Number(low, high) => format!("a whole number from {low} to {high}"),
            Self::Flag => "true or false".to_owned(),
            Self::Text | Self::Secret => "a text".to_owned(),
            Self::Currency => "a currency of ISO 4217, like GBP".to_owned(),
            Self::Country => "a two-letter country code in capitals, like GB".to_owned(),
            Self::Names => "a list of texts, like [\"lon1\", \"lon2\"]".to_owned(),
            Self::Name => "a text that is not empty".to_owned(),
            Self::OneOf(words) => words.join(", "),
            Self::Address => "an IP address and a port, like 127.0.0.1:8080".to_owned(),
            Self::Countries => "a list of two-letter country codes in capitals, like [\"GB\", \"IE\"]".to_owned(),
        }
    }
}

fn is_name(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}

fn is_country(value: &Value) -> bool {
    value.as_str().is_some_and(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// The setting at `key`.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.is(key))
}

/// The setting that is written most like `key`, if any is near.
#[must_use]
pub fn nearest(key: &str) -> Option<&'static str> {
    let near = |setting: &Setting| (distance(setting.key, key), setting.key);
    let (steps, name) = SETTINGS.iter().map(near).min()?;
    (steps <= 1 + key.len() / 5).then_some(name)
}

/// How many letters must be put in, left out or exchanged to make one text of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, theirs) in row.iter().skip(1).zip(other.chars()) {
            left = (diagonal + usize::from(letter != theirs)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_typing_error_is_answered_with_the_setting_that_was_meant() {
        assert_eq!(nearest("api.conections_max"), Some("api.connections_max"));
        assert_eq!(nearest("node.shard"), Some("node.shards"));
        assert_eq!(nearest("moon.phase"), None);
    }

    #[test]
    fn a_star_stands_for_one_name() {
        assert!(find("tax.countries.GB.name").is_some());
        assert!(find("tax.countries.name").is_none());
        assert!(find("tax.countries").is_none());
        assert!(SETTINGS.iter().any(|setting| setting.is_at_or_under("tax.countries")));
    }

    proptest! {
        #[test]
        fn a_distance_is_the_same_both_ways_and_zero_only_to_itself(one in "[a-c]{0,6}", other in "[a-c]{0,6}") {
            prop_assert_eq!(distance(&one, &other), distance(&other, &one));
            prop_assert_eq!(distance(&one, &other) == 0, one == other);
        }
    }
}
