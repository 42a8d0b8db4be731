//! What each crate takes from the settings, where a section is not passed on as it is.

use super::{HASH_VERSION, NodeError, Opened};
use crate::config::{AccessLog, Capture, Config, JournalKind, Quorum, Runtimes};
use doorbuster_actors::settings::Settings as ActorSettings;
use doorbuster_actors::stats::Stats;
use doorbuster_api::SocketLimits;
use doorbuster_api::address::Network;
use doorbuster_api::admission::{AdmissionSettings, Rate};
use doorbuster_api::settings::{RequestSettings, ShippingOption, ShopSettings, UnpaidUnits};
use doorbuster_audit::RoundLimits;
use doorbuster_clock::{Clock, SystemClock};
use doorbuster_cluster::membership;
use doorbuster_cluster::settings::{Cookie, GatewaySettings, TlsFiles};
use doorbuster_cluster::shard_manager;
use doorbuster_domain::ids::WarehouseId;
use doorbuster_domain::money::Currency;
use doorbuster_domain::order::{CapturePolicy, PaymentPolicy, ReturnPolicy, TaxTable};
use doorbuster_storage::cql::{CqlJournal, CqlOptions, Credentials, Reach};
use doorbuster_storage::embedded::log::LogOptions;
use doorbuster_storage::embedded::{EmbeddedJournal, EmbeddedOptions};
use doorbuster_storage::{Layout, OnAppend};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A frame holds a batch and each record's head beside it.
const FRAME_OVERHEAD: u64 = 4;

pub(super) fn layout(config: &Config) -> Layout {
    Layout { shards: config.node.shards, hash_version: HASH_VERSION }
}

/// The options of the store that nodes share, from `[cql]`.
pub(super) fn cql(config: &Config, stats: Option<&Arc<Stats>>) -> CqlOptions {
    let cql = &config.cql;
    let mut options = CqlOptions::new("", &cql.keyspace, layout(config));
    options.contact_points.clone_from(&cql.contact_points);
    options.datacenter.clone_from(&cql.datacenter);
    options.replication_factor = cql.replication_factor;
    options.reach = match cql.quorum {
        Quorum::Everywhere => Reach::Everywhere,
        Quorum::Local => Reach::Local,
    };
    options.credentials =
        (!cql.user.is_empty()).then(|| Credentials { user: cql.user.clone(), password: cql.password.0.clone() });
    options.tls_ca = (!cql.tls_ca.is_empty()).then(|| PathBuf::from(&cql.tls_ca));
    options.connect_timeout = Duration::from_millis(cql.connect_timeout_ms);
    options.request_timeout = Duration::from_millis(cql.request_timeout_ms);
    options.settle_timeout = Duration::from_millis(cql.settle_timeout_ms);
    options.writes_in_flight_max = cql.writes_in_flight_max;
    options.tail_bytes_max = cql.tail_bytes_max;
    options.bucket_events = cql.bucket_events;
    if let Some(stats) = stats {
        let stats = Arc::clone(stats);
        options.on_append = OnAppend(Arc::new(move |appended| {
            stats.synced(appended.bytes, u64::try_from(appended.took.as_nanos()).unwrap_or(u64::MAX));
        }));
    }
    options
}

/// The gateway's settings, from `[cluster]`.
pub(super) fn gateway(config: &Config) -> Result<GatewaySettings, NodeError> {
    let cluster = &config.cluster;
    let cookie = Cookie::parse(&cluster.cookie.0)
        .map_err(|error| NodeError::Setting(format!("cluster.cookie: {error} (`openssl rand -hex 32` makes one)")))?;
    let tls = (!cluster.tls_certificate.is_empty()).then(|| TlsFiles {
        certificate: PathBuf::from(&cluster.tls_certificate),
        key: PathBuf::from(&cluster.tls_key),
        authority: PathBuf::from(&cluster.tls_authority),
    });
    Ok(GatewaySettings {
        listen: cluster.listen,
        advertise: cluster.advertise.clone(),
        cookie,
        gateways: cluster.gateways,
        heartbeat: Duration::from_millis(cluster.heartbeat_ms),
        cut_misses_max: cluster.cut_misses_max,
        in_flight_per_peer_max: cluster.in_flight_per_peer_max,
        queue_bytes_per_peer_max: cluster.queue_bytes_per_peer_max,
        frames_in_flight_max: cluster.frames_in_flight_max,
        frame_bytes_max: cluster.frame_bytes_max,
        handshake_timeout: Duration::from_millis(cluster.handshake_timeout_ms),
        reconnect_min: Duration::from_millis(cluster.reconnect_min_ms),
        reconnect_max: Duration::from_millis(cluster.reconnect_max_ms),
        tls,
    })
}

/// The shard manager's settings, from `[cluster]`.
pub(super) const fn shard_manager(config: &Config) -> shard_manager::ShardManagerSettings {
    let cluster = &config.cluster;
    shard_manager::ShardManagerSettings {
        failure_detection: membership::FailureDetection {
            renew_interval: Duration::from_millis(cluster.beat_ms),
            stale_after: Duration::from_millis(cluster.stale_ms),
            stale_after_if_suspect: Duration::from_millis(cluster.stale_missed_ms),
            stale_reads_min: cluster.stale_reads,
            suspect_misses_min: cluster.suspect_at,
            settle_time: Duration::from_millis(cluster.settle_ms),
        },
        handoff_poll: Duration::from_millis(cluster.handoff_poll_ms),
        handoff_timeout: Duration::from_millis(cluster.handoff_timeout_ms),
        release_timeout: Duration::from_millis(cluster.release_timeout_ms),
        releases_in_flight_max: cluster.releases_in_flight_max,
        claims_in_flight_max: cluster.claims_in_flight_max,
        claim_timeout: Duration::from_millis(cluster.claim_timeout_ms),
        claim_retry_min: Duration::from_millis(cluster.claim_retry_min_ms),
        claim_retry_max: Duration::from_millis(cluster.claim_retry_max_ms),
        registry_timeout: Duration::from_millis(cluster.registry_timeout_ms),
    }
}

pub(super) async fn open_store(config: &Config, stats: &Arc<Stats>) -> Result<Opened, NodeError> {
    let layout = layout(config);
    match config.journal.kind {
        JournalKind::Memory => Ok(Opened::memory(layout)),
        JournalKind::Cql => Ok(Opened::cql(CqlJournal::open(cql(config, Some(stats))).await?)),
        JournalKind::Embedded => {
            let mut options = EmbeddedOptions::new(layout, || SystemClock.now());
            options.log = LogOptions {
                segment_bytes: config.journal.segment_bytes,
                segments_ahead: config.journal.segments_ahead,
                frame_bytes_max: config.journal.batch_bytes_max.saturating_mul(FRAME_OVERHEAD),
                segment_age_max_ms: config.journal.segment_age_max_s.saturating_mul(1_000),
            };
            options.keep_ms = config.journal.retention_days.saturating_mul(24 * 60 * 60 * 1_000);
            options.cache_bytes = config.journal.cache_bytes;
            let stats = Arc::clone(stats);
            options.on_append = OnAppend(Arc::new(move |appended| stats.synced(appended.bytes, appended.sync_ns)));
            let (journal, recovered) = EmbeddedJournal::open(&config.node.data_folder, options)?;
            Ok(Opened::embedded(journal, &recovered))
        }
    }
}

pub(super) fn actors(config: &Config) -> ActorSettings {
    let shards = usize::from(config.node.shards.max(1));
    let entities = &config.entities;
    let batch_bytes_max = match config.journal.kind {
        JournalKind::Cql => config.cql.batch_bytes_max,
        JournalKind::Embedded | JournalKind::Memory => config.journal.batch_bytes_max,
    };
    ActorSettings {
        mailbox_max: entities.mailbox_max,
        absence_reads_max: entities.absence_reads_max,
        effects_max: entities.effects_max,
        log_queue_max: config.journal.queue_max,
        batch_bytes_max: usize::try_from(batch_bytes_max).unwrap_or(usize::MAX),
        batch_records_max: config.journal.batch_events_max,
        residents_per_shard_max: entities.resident_max.div_ceil(shards),
        idle_ms: entities.idle_ms,
        effect_retry_min_ms: entities.effect_retry_min_ms,
        effect_retry_max_ms: entities.effect_retry_max_ms,
        command_life_s: entities.command_life_s,
        restart_delay_min_ms: entities.restart_delay_min_ms,
        restart_delay_max_ms: entities.restart_delay_max_ms,
        quarantine_after: entities.set_aside_after,
        checkpoint_interval_ms: config.journal.checkpoint_interval_ms,
        checkpoint_bytes: config.journal.checkpoint_bytes.div_ceil(u64::try_from(shards).unwrap_or(1)),
        provider_calls_max: usize::try_from(config.payments.in_flight_max).unwrap_or(usize::MAX),
        provider_timeout_ms: config.payments.timeout_ms,
        ..ActorSettings::default()
    }
}

/// How many threads serve, each with its own shards and connections; `None`: all share one runtime.
pub(super) fn serving_cores(config: &Config) -> Option<usize> {
    let of_machine = || std::thread::available_parallelism().map_or(1, NonZero::get);
    match (config.node.runtimes, config.node.worker_threads) {
        (Runtimes::Shared, _) => None,
        (Runtimes::PerCore, 0) => Some(of_machine()),
        (Runtimes::PerCore, threads) => Some(threads),
    }
}

pub(super) fn limits(config: &Config) -> SocketLimits {
    SocketLimits {
        connections_max: config.api.connections_max,
        connections_per_address_max: config.api.connections_per_address_max,
        header_read_timeout: Duration::from_millis(config.api.header_read_timeout_ms),
        request_timeout: Duration::from_millis(config.api.request_timeout_ms),
        write_timeout: Duration::from_millis(config.api.write_timeout_ms),
        head_bytes_max: config.api.header_bytes_max,
        backlog: config.api.backlog,
        drain_timeout: Duration::from_millis(config.node.drain_timeout_ms),
    }
}

/// The limits of the operator port: a client waits for its audit, which reads every log, so it has a longer timeout.
pub(super) fn operator_limits(config: &Config) -> SocketLimits {
    SocketLimits { request_timeout: Duration::from_millis(config.audit.timeout_ms), ..limits(config) }
}

pub(super) fn audit(config: &Config) -> RoundLimits {
    let audit = config.audit;
    RoundLimits { rounds_max: audit.rounds_max, pause: Duration::from_millis(audit.pause_ms) }
}

pub(super) fn api(config: &Config) -> Result<doorbuster_api::ApiSettings, NodeError> {
    let requests = RequestSettings {
        body_timeout_ms: config.api.body_timeout_ms,
        body_bytes_max: config.api.body_bytes_max,
        small_body_bytes_max: config.api.small_body_bytes_max,
        order_wait_ms: config.api.order_wait_ms,
        command_timeout_ms: config.api.command_timeout_ms,
        prefer_wait_max_s: config.api.prefer_wait_max_s,
        event_followers_max: config.api.event_followers_max,
        exports_max: config.api.exports_max,
        retry_after_s: config.api.retry_after_s,
        guest_life_s: config.carts.guest_life_s,
        order_token_life_s: config.orders.token_life_days.saturating_mul(24 * 60 * 60),
        trusted_proxies: networks(&config.api.trusted_proxies)?,
        cors_origins: config.api.cors_origins.clone(),
        compress_from_bytes: config.api.compress_from_bytes,
        access_log: match config.api.access_log {
            AccessLog::Off => doorbuster_api::settings::AccessLog::Off,
            AccessLog::Errors => doorbuster_api::settings::AccessLog::Errors,
            AccessLog::All => doorbuster_api::settings::AccessLog::All,
        },
    };
    Ok(doorbuster_api::ApiSettings { requests, admission: admission(config), shop: shop(config)? })
}

fn networks(texts: &[String]) -> Result<Vec<Network>, NodeError> {
    let read = |text: &String| {
        text.parse().map_err(|error| NodeError::Setting(format!("api.trusted_proxies: {text:?} {error}")))
    };
    texts.iter().map(read).collect()
}

/// Permits and quotas, from `[admission]` and `[api]`.
fn admission(config: &Config) -> AdmissionSettings {
    let admission = config.admission;
    let rate = |per_s, burst| Rate { per_s, burst };
    AdmissionSettings {
        places_start: admission.places_start,
        places_min: admission.places_min,
        places_max: config.api.requests_in_flight_max,
        delay_target_ms: admission.delay_target_ms,
        delay_window_ms: admission.delay_window_ms,
        completion_reserved_percent: admission.completion_reserved_percent,
        checkout_reserved_percent: admission.checkout_reserved_percent,
        cart_reserved_percent: admission.cart_reserved_percent,
        line_wait_ms: admission.line_wait_ms,
        line_max: admission.line_max,
        retry_after_s: config.api.retry_after_s,
        retry_after_max_s: admission.retry_after_max_s,
        slow_bodies_bytes_max: admission.slow_bodies_bytes_max,
        slow_webhooks_bytes_max: admission.slow_webhooks_bytes_max,
        slow_bodies_address_percent: admission.slow_bodies_address_percent,
        callers_max: admission.callers_max,
        key: rate(admission.key_requests_per_s, admission.key_burst_max),
        guest: rate(admission.guest_requests_per_s, admission.guest_burst_max),
        address: rate(admission.address_requests_per_s, admission.address_burst_max),
        address_guest: rate(admission.address_guest_requests_per_s, admission.address_guest_burst_max),
        address_new_guests: rate(admission.address_new_guests_per_s, admission.address_new_guests_burst_max),
        webhook: rate(admission.webhook_requests_per_s, admission.webhook_burst_max),
    }
}

fn shop(config: &Config) -> Result<ShopSettings, NodeError> {
    let currency = Currency::parse(&config.shop.currency)
        .map_err(|error| NodeError::Setting(format!("shop.currency: {error}")))?;
    let mut warehouses = Vec::new();
    for id in &config.shop.warehouses {
        let id = WarehouseId::parse(id).map_err(|error| NodeError::Setting(format!("shop.warehouses: {error}")))?;
        warehouses.push(id);
    }
    let mut taxes = BTreeMap::new();
    if config.tax.charge {
        for (country, tax) in &config.tax.countries {
            let classes = tax.classes_ppm.iter().map(|(class, rate)| (class.into(), *rate)).collect();
            let table = TaxTable { name: tax.name.as_str().into(), rate_ppm: tax.rate_ppm, classes };
            taxes.insert(country.into(), table);
        }
    }
    let mut shipping = BTreeMap::new();
    for (id, option) in &config.shipping.options {
        let charged = |amount: u64| if config.shipping.charge { i64::try_from(amount).unwrap_or(i64::MAX) } else { 0 };
        let price = option.price.iter().map(|(code, amount)| (code.into(), charged(*amount))).collect();
        let countries = option.countries.iter().map(Into::into).collect();
        let option = ShippingOption { label: option.label.as_str().into(), price, countries, days: option.days };
        shipping.insert(id.into(), option);
    }
    let orders = &config.orders;
    Ok(ShopSettings {
        // It is read when the store is open.
        installation: None,
        seller: config.shop.seller.as_str().into(),
        currency,
        hold_s: orders.hold_s,
        reservation_hold_s: (config.reservations.hold_s, config.reservations.hold_max_s),
        batch_items_max: config.reservations.batch_items_max,
        lines_max: orders.lines_max,
        unpaid_units: UnpaidUnits {
            buyer: orders.unpaid_units_per_buyer_max,
            address: orders.unpaid_units_per_address_max,
        },
        taxes,
        home_country: config.shop.home_country.as_str().into(),
        shipping,
        default_shipping: config.shipping.default_option.as_str().into(),
        shipping_tax_included: config.shipping.tax_included,
        payment: PaymentPolicy {
            provider: "simulated".into(),
            capture: match orders.capture {
                Capture::OnConfirmation => CapturePolicy::OnConfirmation,
                Capture::OnShipment => CapturePolicy::OnShipment,
                Capture::Manual => CapturePolicy::Manual,
            },
            attempts_max: orders.payment_attempts_max,
            // Two hours less, so that no key is sent that the provider may have forgotten by the time it arrives (rule M7).
            keys_life_s: config.payments.key_life_s.saturating_sub(2 * 60 * 60).max(config.payments.key_life_s / 2),
            query_after_s: config.payments.query_after_s,
            lapse_margin_s: orders.authorization_margin_s,
            method_hold_s: config
                .payments
                .method_hold_s
                .iter()
                .map(|(method, seconds)| (method.into(), *seconds))
                .collect(),
        },
        goods_first: orders.goods_first,
        returns: ReturnPolicy { window_days: orders.return_window_days, auto_approve: orders.returns_auto_approve },
        warehouses,
        cart_life_s: config.carts.guest_life_s,
        low_stock_at: config.inventory.low_stock_at,
    })
}

/// The address at which a client on this machine reaches a port: one that listens everywhere is reached at loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_has_the_same_defaults_as_the_settings() {
        let config = Config::default();
        assert_eq!(limits(&config), SocketLimits::default());
        let (said, own) = (api(&config).expect("lawful"), doorbuster_api::ApiSettings::default());
        assert_eq!((said.requests, said.admission), (own.requests, own.admission));
    }

    #[test]
    fn each_core_serves_alone_unless_all_are_to_share() {
        let mut config = Config::default();
        assert!(serving_cores(&config).is_some_and(|cores| cores > 0), "as many as the machine has");
        config.node.worker_threads = 3;
        assert_eq!(serving_cores(&config), Some(3));
        config.node.runtimes = Runtimes::Shared;
        assert_eq!(serving_cores(&config), None);
    }
}
