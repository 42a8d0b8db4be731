//! The connection: sends statements and reads their answers.
//!
//! The driver repeats nothing by itself (`FallthroughRetryPolicy`, no speculative execution, nothing marked idempotent). Its default policy retries
//! a transaction that was unavailable, which can then find its own write and report "not applied". This module repeats only plain reads, and plain
//! writes whose timestamp makes the second copy equal to the first.

use super::options::{Buckets, Counts, CqlOptions, Reach, SETTLE_PAUSE_MAX, SETTLE_PAUSE_MIN, TIMESTAMP_BASE};
use super::statements::Statements;
use crate::journal::{AppendError, ClaimError, ReadError, Seq, Shard};
use crate::wire::RECORD_FORMAT;
use doorbuster_clock::{Clock, SystemClock, monotonic};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::policies::timestamp_generator::TimestampGenerator;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::batch::BatchValues;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::{CqlValue, Row};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use uuid::Uuid;

/// Why a store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CqlError {
    /// No server answers, or none accepts the login.
    #[error("no CQL server of {points} can be used: {why}")]
    Connect {
        /// The contact points.
        points: String,
        /// The driver's error.
        why: String,
    },
    /// The certificates cannot be used.
    #[error("the certificates of cql.tls_ca: {0}")]
    Certificates(String),
    /// The name is not valid for a keyspace.
    #[error("`{0}` cannot be a keyspace: letters, digits and _ are, a letter first, 48 at most")]
    Keyspace(String),
    /// Files of the schema are missing or differ from the applied ones.
    #[error(
        "the schema of keyspace {keyspace} is not the one this version was built with: {why}; `doorbuster schema apply` applies what is missing"
    )]
    Schema {
        /// The name of the keyspace.
        keyspace: String,
        /// The file and the difference.
        why: String,
    },
    /// The store was created with other settings (rule O1).
    #[error(
        "the store in keyspace {keyspace} was made with {setting} = {stored}, the configuration says {configured}; it is fixed when a store is made"
    )]
    Layout {
        /// The name of the keyspace.
        keyspace: String,
        /// The setting that differs.
        setting: &'static str,
        /// The stored value.
        stored: String,
        /// The configured value.
        configured: String,
    },
    /// Its records and states have another form: see [`crate::wire::RECORD_FORMAT`].
    #[error(
        "the store in keyspace {keyspace} was written by another version of Doorbuster, in form {stored} of its records; this version reads form \
         {RECORD_FORMAT}: make a new keyspace, or start the version that wrote this one"
    )]
    Format {
        /// Where.
        keyspace: String,
        /// Fixed when it was made; 1 where none is named.
        stored: String,
    },
    /// A statement failed.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// The interval at which a schema change checks whether all servers agree.
const SCHEMA_LOOK: Duration = Duration::from_millis(20);

/// The connection and its prepared statements.
pub(super) struct Cql {
    pub(super) session: Session,
    pub(super) statements: Statements,
    pub(super) options: CqlOptions,
    pub(super) buckets: Buckets,
    pub(super) counts: Arc<Counts>,
}

impl fmt::Debug for Cql {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cql").field("keyspace", &self.options.keyspace).finish_non_exhaustive()
    }
}

/// The answer to a lightweight transaction. ScyllaDB returns all columns always, Cassandra only when nothing was applied. So callers read `applied`
/// first, and other columns by name.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) applied: bool,
    columns: Vec<(String, Option<CqlValue>)>,
}

impl Answer {
    fn column(&self, name: &str) -> Option<&CqlValue> {
        self.columns.iter().find(|(column, _)| column == name).and_then(|(_, value)| value.as_ref())
    }

    pub(super) fn uuid(&self, name: &str) -> Option<Uuid> {
        self.column(name).and_then(CqlValue::as_uuid)
    }

    pub(super) fn blob(&self, name: &str) -> Option<Vec<u8>> {
        self.column(name).and_then(CqlValue::as_blob).cloned()
    }
}

/// The consistency of plain statements, and of transactions.
pub(super) const fn levels(reach: Reach) -> (Consistency, SerialConsistency, Consistency) {
    match reach {
        Reach::Everywhere => (Consistency::Quorum, SerialConsistency::Serial, Consistency::Serial),
        Reach::Local => (Consistency::LocalQuorum, SerialConsistency::LocalSerial, Consistency::LocalSerial),
    }
}

fn tls(options: &CqlOptions) -> Result<Option<Arc<rustls::ClientConfig>>, CqlError> {
    let Some(path) = &options.tls_ca else { return Ok(None) };
    let named = |why: String| CqlError::Certificates(format!("{}: {why}", path.display()));
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| named(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| named(error.to_string()))?;
        roots.add(certificate).map_err(|error| named(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(named("there is none in it".to_owned()));
    }
    // Chosen here and not left to a process-wide default, which another library may have set.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| named(error.to_string()))?;
    Ok(Some(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

/// A clock that is off.
#[derive(Debug)]
struct Skewed(i64);

impl TimestampGenerator for Skewed {
    fn next_timestamp(&self) -> i64 {
        let now = i64::try_from(SystemClock.now().0).unwrap_or(i64::MAX);
        now.saturating_add(self.0.saturating_mul(1_000)).saturating_mul(1_000)
    }
}

/// Whether it consists of letters, digits and `_`: the name is part of the statements.
fn check_keyspace(name: &str) -> Result<(), CqlError> {
    let lawful = name.len() <= 48
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if lawful { Ok(()) } else { Err(CqlError::Keyspace(name.to_owned())) }
}

/// Connects without selecting a keyspace.
pub(super) async fn connect(options: &CqlOptions) -> Result<Session, CqlError> {
    check_keyspace(&options.keyspace)?;
    let (consistency, serial, _) = levels(options.reach);
    let balancing = DefaultPolicy::builder().token_aware(true);
    let balancing = if options.datacenter.is_empty() {
        balancing
    } else {
        balancing.prefer_datacenter(options.datacenter.clone()).permit_dc_failover(false)
    };
    let profile = ExecutionProfile::builder()
        .consistency(consistency)
        .serial_consistency(Some(serial))
        .request_timeout(Some(options.request_timeout))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None)
        .load_balancing_policy(balancing.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.contact_points)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(options.connect_timeout)
        .schema_agreement_interval(SCHEMA_LOOK)
        .tls_context(tls(options)?);
    if options.driver_clock_skew_s != 0 {
        builder = builder.timestamp_generator(Arc::new(Skewed(options.driver_clock_skew_s)));
    }
    if let Some(credentials) = &options.credentials {
        builder = builder.user(&credentials.user, &credentials.password);
    }
    let failed = |why: String| CqlError::Connect { points: options.contact_points.join(", "), why };
    builder.build().await.map_err(|error| failed(error.to_string()))
}

/// A number as CQL's `bigint`. Seqs and epochs count events and claims and stay far below its limit.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The number of a `bigint`.
pub(super) fn number(what: &str, number: i64) -> Result<u64, ReadError> {
    u64::try_from(number).map_err(|_negative| ReadError::Corrupt(format!("{what} is {number}")))
}

/// The key of a shard.
pub(super) fn shard_key(shard: Shard) -> i32 {
    i32::from(shard.0)
}

/// The key of a bucket. A shard never fills two thousand million buckets.
pub(super) fn bucket_key(bucket: u64) -> i32 {
    i32::try_from(bucket).unwrap_or(i32::MAX)
}

/// The timestamp of a seq (rule S3), which never comes from a clock.
pub(super) fn timestamp(seq: Seq) -> i64 {
    TIMESTAMP_BASE.saturating_add(bigint(seq))
}

pub(super) fn append_error(error: ReadError) -> AppendError {
    AppendError::Failed(match error {
        ReadError::Corrupt(why) | ReadError::Failed(why) => why,
    })
}

pub(super) fn claim_error(error: ReadError) -> ClaimError {
    match error {
        ReadError::Corrupt(why) => ClaimError::Corrupt(why),
        ReadError::Failed(why) => ClaimError::Failed(why),
    }
}

/// Waits, longer each time.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) const fn new() -> Self {
        Self(SETTLE_PAUSE_MIN)
    }

    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = self.0.saturating_mul(2).min(SETTLE_PAUSE_MAX);
    }
}

/// A page of rows, and where the next begins.
pub(super) type Page<R> = (Vec<R>, Option<PagingState>);

impl Cql {
    /// Sends a transaction once. After an error its outcome is unknown.
    pub(super) async fn transact(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Answer, String> {
        Counts::add(&self.counts.transactions);
        let result = self.session.execute_unpaged(statement, values).await.map_err(|error| error.to_string())?;
        let result = result.into_rows_result().map_err(|error| error.to_string())?;
        let names: Vec<String> = result.column_specs().iter().map(|column| column.name().to_owned()).collect();
        let row = result.first_row::<Row>().map_err(|error| error.to_string())?;
        let mut answer = Answer { applied: false, columns: names.into_iter().zip(row.columns).collect() };
        let applied = answer.column("[applied]").and_then(CqlValue::as_boolean);
        answer.applied = applied.ok_or_else(|| "an answer to a transaction without [applied]".to_owned())?;
        Ok(answer)
    }

    /// Repeats a statement until it is answered or the time for settling is over.
    async fn persist<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, String>>,
    {
        let begun = monotonic();
        let mut pauses = Pauses::new();
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(why) if doorbuster_clock::since(begun) >= self.options.settle_timeout => {
                    return Err(ReadError::Failed(why));
                }
                Err(_) => {
                    Counts::add(&self.counts.retries);
                    pauses.pause().await;
                }
            }
        }
    }

    /// One page of a statement's rows.
    pub(super) async fn page<R>(
        &self,
        statement: &PreparedStatement,
        values: &(impl SerializeRow + Sync),
        state: Option<PagingState>,
    ) -> Result<Page<R>, ReadError>
    where
        R: for<'frame> DeserializeRow<'frame, 'frame> + Send,
    {
        self.persist(|| {
            let state = state.clone().unwrap_or_else(PagingState::start);
            async move {
                let page = self.session.execute_single_page(statement, values, state).await;
                let (result, next) = page.map_err(|error| error.to_string())?;
                let result = result.into_rows_result().map_err(|error| error.to_string())?;
                let rows = result.rows::<R>().map_err(|error| error.to_string())?;
                let rows = rows.collect::<Result<Vec<R>, _>>().map_err(|error| error.to_string())?;
                let next = match next {
                    PagingStateResponse::HasMorePages { state } => Some(state),
                    PagingStateResponse::NoMorePages => None,
                };
                Ok((rows, next))
            }
        })
        .await
    }

    /// All rows of a statement.
    pub(super) async fn all<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<Vec<R>, ReadError>
    where
        R: for<'frame> DeserializeRow<'frame, 'frame> + Send,
    {
        let (mut rows, mut next) = self.page::<R>(statement, &values, None).await?;
        while let Some(state) = next {
            let (more, behind) = self.page::<R>(statement, &values, Some(state)).await?;
            rows.extend(more);
            next = behind;
        }
        Ok(rows)
    }

    /// The first row of a statement, if any.
    pub(super) async fn first<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<Option<R>, ReadError>
    where
        R: for<'frame> DeserializeRow<'frame, 'frame> + Send,
    {
        Ok(self.page::<R>(statement, &values, None).await?.0.into_iter().next())
    }

    /// A plain write with its own timestamp: sent twice, it has the effect of one.
    pub(super) async fn write(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<(), ReadError> {
        let values = &values;
        self.persist(|| async move {
            let done = self.session.execute_unpaged(statement, values).await;
            done.map(|_nothing| ()).map_err(|error| error.to_string())
        })
        .await
    }

    /// Several plain writes to one partition: all or none take effect.
    pub(super) async fn write_together<V>(&self, statement: &PreparedStatement, values: Vec<V>) -> Result<(), ReadError>
    where
        V: SerializeRow + Sync + Send,
        Vec<V>: BatchValues,
    {
        let mut batch = Batch::new(BatchType::Unlogged);
        values.iter().for_each(|_| batch.append_statement(statement.clone()));
        let (batch, values) = (&batch, &values);
        self.persist(|| async move {
            let done = self.session.batch(batch, values).await;
            done.map(|_nothing| ()).map_err(|error| error.to_string())
        })
        .await
    }
}
