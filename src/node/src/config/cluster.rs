//! The settings of many nodes: the store they share, and each other.

use super::settings::Secret;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// How far a quorum reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quorum {
    /// Over all data centres.
    Everywhere,
    /// Within `cql.datacenter`.
    Local,
}

/// `[cql]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Cql {
    pub contact_points: Vec<String>,
    pub keyspace: String,
    /// Empty: all.
    pub datacenter: String,
    pub replication_factor: u16,
    pub quorum: Quorum,
    /// Empty: the servers ask for none.
    pub user: String,
    pub password: Secret,
    /// Empty: plain text.
    pub tls_ca: String,
    pub connect_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub settle_timeout_ms: u64,
    /// Fixed once the store is made (rule O1).
    pub bucket_events: u64,
    pub batch_bytes_max: u64,
    pub writes_in_flight_max: usize,
    pub tail_bytes_max: u64,
}

impl Default for Cql {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".to_owned()],
            keyspace: "doorbuster".to_owned(),
            datacenter: String::new(),
            replication_factor: 1,
            quorum: Quorum::Everywhere,
            user: String::new(),
            password: Secret::default(),
            tls_ca: String::new(),
            connect_timeout_ms: 5_000,
            request_timeout_ms: 2_000,
            settle_timeout_ms: 10_000,
            bucket_events: 50_000,
            batch_bytes_max: 2 * 1_048_576,
            writes_in_flight_max: 32,
            tail_bytes_max: 67_108_864,
        }
    }
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Cluster {
    pub listen: SocketAddr,
    /// `host:port`; empty: where it listens.
    pub advertise: String,
    pub cookie: Secret,
    /// PEM files; all three or none.
    pub tls_certificate: String,
    pub tls_key: String,
    pub tls_authority: String,
    pub gateways: usize,
    pub heartbeat_ms: u64,
    pub cut_misses_max: u32,
    pub in_flight_per_peer_max: usize,
    pub queue_bytes_per_peer_max: usize,
    pub frames_in_flight_max: usize,
    pub frame_bytes_max: usize,
    pub handshake_timeout_ms: u64,
    pub reconnect_min_ms: u64,
    pub reconnect_max_ms: u64,
    pub beat_ms: u64,
    pub stale_ms: u64,
    pub stale_missed_ms: u64,
    pub stale_reads: u32,
    pub suspect_at: u32,
    pub settle_ms: u64,
    pub handoff_poll_ms: u64,
    pub handoff_timeout_ms: u64,
    pub release_timeout_ms: u64,
    pub releases_in_flight_max: usize,
    pub claims_in_flight_max: usize,
    pub claim_timeout_ms: u64,
    pub claim_retry_min_ms: u64,
    pub claim_retry_max_ms: u64,
    pub registry_timeout_ms: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7100),
            advertise: String::new(),
            cookie: Secret::default(),
            tls_certificate: String::new(),
            tls_key: String::new(),
            tls_authority: String::new(),
            gateways: 2,
            heartbeat_ms: 500,
            cut_misses_max: 20,
            in_flight_per_peer_max: 16_384,
            queue_bytes_per_peer_max: 67_108_864,
            frames_in_flight_max: 8,
            frame_bytes_max: 262_144,
            handshake_timeout_ms: 5_000,
            reconnect_min_ms: 100,
            reconnect_max_ms: 2_000,
            beat_ms: 500,
            stale_ms: 4_000,
            stale_missed_ms: 1_400,
            stale_reads: 3,
            suspect_at: 4,
            settle_ms: 300,
            handoff_poll_ms: 100,
            handoff_timeout_ms: 15_000,
            release_timeout_ms: 5_000,
            releases_in_flight_max: 2,
            claims_in_flight_max: 4,
            claim_timeout_ms: 30_000,
            claim_retry_min_ms: 200,
            claim_retry_max_ms: 5_000,
            registry_timeout_ms: 2_000,
        }
    }
}
