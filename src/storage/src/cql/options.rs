//! How a CQL store is reached, what is fixed when it is made, and what it counts.

use crate::OnAppend;
use crate::journal::{Layout, Seq};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The constant of rule S3: states are written `USING TIMESTAMP base + seq`. Never a clock, and never changed: it is stored in the schema.
pub const TIMESTAMP_BASE: i64 = 1_000_000;
/// Pause before a statement whose outcome is unknown is sent again; it doubles up to [`SETTLE_PAUSE_MAX`].
pub(super) const SETTLE_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest such pause.
pub(super) const SETTLE_PAUSE_MAX: Duration = Duration::from_millis(500);

/// How far a quorum reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Over all data centres: `QUORUM` and `SERIAL`.
    #[default]
    Everywhere,
    /// Within one data centre: `LOCAL_QUORUM` and `LOCAL_SERIAL`. Every node of the cluster must be in it.
    Local,
}

impl Reach {
    /// The word that is stored with the layout: nodes that differ would not see each other's fences.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Everywhere => "serial",
            Self::Local => "local_serial",
        }
    }
}

/// A name and a password; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credentials")
    }
}

/// One append as it went: for histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Length of the row's payload.
    pub bytes: u64,
    /// Events in it.
    pub events: u64,
    /// From the first sending to the answer that settled it.
    pub took: Duration,
}

/// How a store is reached.
#[derive(Debug, Clone)]
pub struct CqlOptions {
    /// Servers to begin with, `host:port`; the others are learned from them.
    pub contact_points: Vec<String>,
    /// The keyspace: letters, digits and `_`, a letter first.
    pub keyspace: String,
    /// The data centre whose servers are asked, and in which the keyspace is made; empty: all.
    pub datacenter: String,
    /// Copies of each row, per data centre, when `schema apply` makes the keyspace.
    pub replication_factor: u16,
    /// How far a quorum reaches.
    pub reach: Reach,
    /// `None`: the servers ask for none.
    pub credentials: Option<Credentials>,
    /// A file of PEM certificates; servers must prove that one of these vouches for them. `None`: plain text.
    pub tls_ca: Option<PathBuf>,
    /// A connection is made within this.
    pub connect_timeout: Duration,
    /// A statement is answered within this; else its outcome is unknown.
    pub request_timeout: Duration,
    /// An outcome that is unknown is settled within this (rule O5), and a read that fails is tried again so long.
    pub settle_timeout: Duration,
    /// Plain writes of a checkpoint under way at once.
    pub writes_in_flight_max: usize,
    /// Records behind the last checkpoint that are kept in memory, over all shards, so that the next one need not read the log.
    pub tail_bytes_max: u64,
    /// Shards and hash: fixed when the store is made.
    pub layout: Layout,
    /// N of `bucket = seq / N`: fixed when the store is made.
    pub bucket_events: u64,
    /// Told of each append.
    pub on_append: OnAppend<Appended>,
    /// How far the clock is off by which the driver stamps statements that say no time of their own: for the test that it does not matter. 0: it stamps
    /// none, the servers do.
    pub driver_clock_skew_s: i64,
}

impl CqlOptions {
    /// For one server that asks for no password.
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

/// What happened so far: for the operator's figures.
#[derive(Debug, Default)]
pub struct Counts {
    /// Batches appended.
    pub appends: AtomicU64,
    /// Transactions whose outcome was unknown at first (rule O5).
    pub unknown_outcomes: AtomicU64,
    /// Of these, found to have been committed.
    pub settled_as_committed: AtomicU64,
    /// Unknown beyond the bound: the shard stopped.
    pub never_settled: AtomicU64,
    /// Appends, confirmations and checkpoints refused because somebody else owns the shard.
    pub fenced: AtomicU64,
    /// Compare-and-sets that met another value than the one read.
    pub conflicts: AtomicU64,
    /// Shards claimed.
    pub claims: AtomicU64,
    /// Claims that another won.
    pub claims_lost: AtomicU64,
    /// Buckets rolled on to (rule O3).
    pub rolls: AtomicU64,
    /// Plain reads and writes that had to be tried again.
    pub retries: AtomicU64,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Name, meaning and value of each, for the page of figures.
    #[must_use]
    pub fn figures(&self) -> [(&'static str, &'static str, u64); 10] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("cql_appends", "batches appended by a lightweight transaction", read(&self.appends)),
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

/// Which bucket an event is in, and what is left of it (rule O1).
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

    /// How many events a row that begins at `seq` may hold.
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
