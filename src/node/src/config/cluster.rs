//! The settings of many nodes: the store that they share, and each other.

use super::settings::loopback;
use doorbuster_settings::{GIB, HOUR_MS, KIB, Kind, MIB, Rules, Secret, Text, settings, words};
use std::net::SocketAddr;

words! {
    /// How far a quorum reaches.
    pub enum Quorum {
        /// Over all data centres.
        Everywhere = "everywhere",
        /// Within `cql.datacenter`.
        Local = "local",
    }
}

settings! {
    /// `[cql]`
    pub struct Cql {
        contact_points: Vec<String> = vec!["127.0.0.1:9042".to_owned()], Kind::List(Text::NAME);
        keyspace: String = "doorbuster".into(), Text::NAME;
        /// Empty: all.
        datacenter: String = String::new(), Text::ANY;
        replication_factor: u16 = 1, 1..=15;
        quorum: Quorum = Quorum::Everywhere, Quorum::WORDS;
        /// Empty: the servers ask for none.
        user: String = String::new(), Text::ANY;
        password: Secret = Secret::default(), Kind::Secret;
        /// Empty: plain text.
        tls_ca: String = String::new(), Text::ANY;
        connect_timeout_ms: u64 = 5_000, 10..=HOUR_MS;
        request_timeout_ms: u64 = 2_000, 10..=HOUR_MS;
        settle_timeout_ms: u64 = 10_000, 0..=HOUR_MS;
        /// Fixed once the store is made (rule O1).
        bucket_events: u64 = 50_000, 100..=10_000_000;
        batch_bytes_max: u64 = 2 * MIB, 64 * KIB..=8 * MIB;
        writes_in_flight_max: usize = 32, 1..=4_096;
        tail_bytes_max: u64 = 64 * MIB, 0..=64 * GIB;
    }
}

settings! {
    /// `[cluster]`
    pub struct Cluster {
        listen: SocketAddr = loopback(7100), Text::ADDRESS;
        /// `host:port`; empty: where it listens.
        advertise: String = String::new(), Text::ANY;
        cookie: Secret = Secret::default(), Kind::Secret;
        /// PEM files; all three or none.
        tls_certificate: String = String::new(), Text::ANY;
        tls_key: String = String::new(), Text::ANY;
        tls_authority: String = String::new(), Text::ANY;
        gateways: usize = 2, 2..=8;
        heartbeat_ms: u64 = 500, 10..=60_000;
        cut_misses_max: u32 = 20, 2..=1_000_000;
        in_flight_per_peer_max: usize = 16_384, 1..=1_000_000;
        queue_bytes_per_peer_max: usize = 67_108_864, 4 * MIB..=4 * GIB;
        frames_in_flight_max: usize = 8, 1..=1_024;
        frame_bytes_max: usize = 262_144, KIB..=4 * MIB;
        handshake_timeout_ms: u64 = 5_000, 100..=HOUR_MS;
        reconnect_min_ms: u64 = 100, 1..=HOUR_MS;
        reconnect_max_ms: u64 = 2_000, 1..=HOUR_MS;
        beat_ms: u64 = 500, 50..=60_000;
        stale_ms: u64 = 4_000, 150..=HOUR_MS;
        stale_missed_ms: u64 = 1_400, 50..=HOUR_MS;
        stale_reads: u32 = 3, 1..=1_000;
        suspect_at: u32 = 4, 1..=1_000;
        settle_ms: u64 = 300, 0..=60_000;
        handoff_poll_ms: u64 = 100, 10..=60_000;
        handoff_timeout_ms: u64 = 15_000, 100..=HOUR_MS;
        release_timeout_ms: u64 = 5_000, 0..=HOUR_MS;
        releases_in_flight_max: usize = 2, 1..=4_096;
        claims_in_flight_max: usize = 4, 1..=4_096;
        claim_timeout_ms: u64 = 30_000, 100..=HOUR_MS;
        claim_retry_min_ms: u64 = 200, 1..=HOUR_MS;
        claim_retry_max_ms: u64 = 5_000, 1..=HOUR_MS;
        registry_timeout_ms: u64 = 2_000, 10..=60_000;
    } check check_cluster
}

fn check_cluster(cluster: &Cluster, rules: &mut Rules) {
    let tls = [&cluster.tls_certificate, &cluster.tls_key, &cluster.tls_authority];
    rules.must(
        tls.iter().all(|file| file.is_empty()) || tls.iter().all(|file| !file.is_empty()),
        "cluster.tls_certificate",
        &cluster.tls_certificate,
        format_args!("certificate, key and authority (cluster.tls_key, cluster.tls_authority) go together"),
    );
    rules.must(
        cluster.reconnect_min_ms <= cluster.reconnect_max_ms,
        "cluster.reconnect_min_ms",
        &cluster.reconnect_min_ms,
        format_args!("cluster.reconnect_max_ms is {}", cluster.reconnect_max_ms),
    );
    rules.must(
        cluster.stale_ms >= cluster.beat_ms.saturating_mul(3),
        "cluster.stale_ms",
        &cluster.stale_ms,
        format_args!("nodes renew their rows every {} ms (cluster.beat_ms) and may miss one", cluster.beat_ms),
    );
    rules.must(
        cluster.stale_missed_ms <= cluster.stale_ms,
        "cluster.stale_missed_ms",
        &cluster.stale_missed_ms,
        format_args!("without a missed heartbeat it is {} ms (cluster.stale_ms)", cluster.stale_ms),
    );
    rules.must(
        cluster.handoff_timeout_ms > cluster.release_timeout_ms,
        "cluster.handoff_timeout_ms",
        &cluster.handoff_timeout_ms,
        format_args!(
            "an owner may take {} ms to release a shard (cluster.release_timeout_ms)",
            cluster.release_timeout_ms
        ),
    );
    rules.must(
        cluster.claim_retry_min_ms <= cluster.claim_retry_max_ms,
        "cluster.claim_retry_min_ms",
        &cluster.claim_retry_min_ms,
        format_args!("cluster.claim_retry_max_ms is {}", cluster.claim_retry_max_ms),
    );
}
