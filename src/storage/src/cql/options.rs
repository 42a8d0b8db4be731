//! The options of a CQL store, the parts of its layout, and its counters.

use crate::OnAppend;
use crate::journal::{Layout, Seq};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The constant of rule S3: states are written `USING TIMESTAMP base + seq`. It never changes, because it is part of the stored data.
pub const TIMESTAMP_BASE: i64 = 1_000_000;
/// The pause before a statement with an unknown outcome is sent again; it doubles up to [`SETTLE_PAUSE_MAX`].
pub(super) const SETTLE_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest such pause.
pub(super) const SETTLE_PAUSE_MAX: Duration = Duration::from_millis(500);

/// The scope of a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Over all data centres: `QUORUM` and `SERIAL`.
    #[default]
    Everywhere,
    /// Within one data centre: `LOCAL_QUORUM` and `LOCAL_SERIAL`. Every node of the cluster must be in it.
    Local,
}

impl Reach {
    /// The name stored with the layout: nodes with different scopes would not see each other's fences.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Everywhere => "serial",
            Self::Local => "local_serial",
        }
    }
}

/// A role and a password; `Debug` does not print them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the role.
    pub user: String,
    /// The role's password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credentials")
    }
}

/// The measurements of one append, for histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The length of the row's payload, in bytes.
    pub bytes: u64,
    /// The number of events in it.
    pub events: u64,
    /// The time from the first sending to the answer that settled it.
    pub took: Duration,
}

/// The options of a store.
#[derive(Debug, Clone)]
pub struct CqlOptions {
    /// Contact points, `host:port`; the driver learns the other servers from them.
    pub contact_points: Vec<String>,
    /// The keyspace: letters, digits and `_`, a letter first.
    pub keyspace: String,
    /// The data centre whose servers are used, and in which the keyspace is created; empty: all.
    pub datacenter: String,
    /// Copies of each row, per data centre, when `schema apply` creates the keyspace.
    pub replication_factor: u16,
    /// The scope of a quorum.
    pub reach: Reach,
    /// The role to log in with; `None`: the servers require none.
    pub credentials: Option<Credentials>,
    /// A PEM file of certificates; one of them must vouch for a server. `None`: connections are plain.
    pub tls_ca: Option<PathBuf>,
    /// The time limit for a connection.
    pub connect_timeout: Duration,
    /// The time limit for a statement; after it the outcome is unknown.
    pub request_timeout: Duration,
    /// The time within which an unknown outcome is settled (rule O5), and a failed read repeated.
    pub settle_timeout: Duration,
    /// The most plain writes of a checkpoint in flight.
    pub writes_in_flight_max: usize,
    /// Memory for records after the last checkpoint, over all shards, in bytes, so that the next checkpoint need not read the log.
    pub tail_bytes_max: u64,
    /// Shards and hash version: fixed when the store is created.
    pub layout: Layout,
    /// N of `bucket = seq / N`: fixed when the store is created.
    pub bucket_events: u64,
    /// Called after each append.
    pub on_append: OnAppend<Appended>,
    /// An offset of the clock with which the driver stamps statements without a timestamp of their own: for the test that it does not matter. 0: the
    /// servers stamp them.
    pub driver_clock_skew_s: i64,
}

impl CqlOptions {
    /// Options for one server without a password.
    #[must_use]
    pub fn new(contact_point: &str, keyspace: &str, layout: Layout) -> Self {
        Self {
            contact_points: vec![contact_point.to_owned()],
            keyspace: keyspace.to_owned(),
            datacenter: String::new(),
            replication_factor: 1,
            reach: Reach::default(),
            credentials: None,
            tls_ca: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(2),
            settle_timeout: Duration::from_secs(10),
            writes_in_flight_max: 32,
            tail_bytes_max: 64 << 20,
            layout,
            bucket_events: 50_000,
            on_append: OnAppend::default(),
            driver_clock_skew_s: 0,
        }
    }
}

/// The counters of a store since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    /// The number of batches appended.
    pub appends: AtomicU64,
    /// Lightweight transactions sent, repetitions included.
    pub transactions: AtomicU64,
    /// Reads of the store for which answers that append nothing waited (rule O4).
    pub confirmations: AtomicU64,
    /// Transactions whose outcome was unknown at first (rule O5).
    pub unknown_outcomes: AtomicU64,
    /// Transactions with an unknown outcome that turned out to be committed.
    pub settled_as_committed: AtomicU64,
    /// Transactions whose outcome stayed unknown, which stopped the shard.
    pub never_settled: AtomicU64,
    /// Appends, confirmations and checkpoints refused because another node owns the shard.
    pub fenced: AtomicU64,
    /// Compare-and-sets that found another value than the one read.
    pub conflicts: AtomicU64,
    /// The number of shards claimed.
    pub claims: AtomicU64,
    /// Claims that another node won.
    pub claims_lost: AtomicU64,
    /// Buckets begun (rule O3).
    pub rolls: AtomicU64,
    /// Plain reads and writes that were repeated.
    pub retries: AtomicU64,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Name, description and value of each counter.
    #[must_use]
    pub fn figures(&self) -> [(&'static str, &'static str, u64); 12] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("cql_appends", "batches appended by a lightweight transaction", read(&self.appends)),
            ("cql_transactions", "lightweight transactions sent, repetitions included", read(&self.transactions)),
            (
                "cql_confirmations",
                "reads of the store for which answers that append nothing waited",
                read(&self.confirmations),
            ),
            (
                "cql_unknown_outcomes",
                "transactions that were cut between question and answer",
                read(&self.unknown_outcomes),
            ),
            ("cql_settled_as_committed", "of these, found to have been committed", read(&self.settled_as_committed)),
            ("cql_never_settled", "of these, unknown beyond the bound", read(&self.never_settled)),
            ("cql_fenced", "writes and answers refused because another node owns the shard", read(&self.fenced)),
            ("cql_conflicts", "compare-and-sets that met another value", read(&self.conflicts)),
            ("cql_claims", "shards claimed", read(&self.claims)),
            ("cql_claims_lost", "claims that another node won", read(&self.claims_lost)),
            ("cql_rolls", "buckets of the log begun", read(&self.rolls)),
            ("cql_retries", "plain reads and writes tried again", read(&self.retries)),
        ]
    }
}

/// The bucket of an event, and the events that still fit into it (rule O1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buckets(u64);

impl Buckets {
    pub(super) fn new(events: u64) -> Self {
        Self(events.max(1))
    }

    pub(super) const fn of(self, seq: Seq) -> u64 {
        match seq.checked_div(self.0) {
            Some(bucket) => bucket,
            None => 0,
        }
    }

    /// The last seq of a bucket.
    pub(super) const fn last(self, bucket: u64) -> Seq {
        bucket.saturating_add(1).saturating_mul(self.0).saturating_sub(1)
    }

    /// The most events of a row that begins at `seq`.
    pub(super) const fn room(self, seq: Seq) -> u64 {
        self.last(self.of(seq)).saturating_sub(seq).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        let buckets = Buckets::new(10);
        assert_eq!((buckets.of(9), buckets.of(10), buckets.last(0), buckets.last(1)), (0, 1, 9, 19));
        assert_eq!((buckets.room(1), buckets.room(9), buckets.room(10)), (9, 1, 10));
    }

    #[test]
    fn credentials_are_never_shown() {
        let credentials = Credentials { user: "u".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
