//! The audit of a store that several nodes write, while they write (rule A1).
//!
//! ```text
//! round 1: every shard, orders and stock            the cut: orders in flight are noted
//! round 2 …: every shard, from its last position    stock, and the noted orders, until they ended or the limit is reached
//! the ledger, if available                          an order that changes after this is compared in the next audit
//! last round: stock once more                       a contradiction found in two successive rounds is a violation
//! ```
//!
//! No position cuts all logs at once, so an order may be read as confirmed while its SKU, read earlier, is not yet sold. What an order saw
//! was durable before it saw it, so a read of the SKU in a round that began *after* the order was read includes it. A contradiction between
//! an order and its stock is therefore a violation only when two successive rounds find it. No clock takes part in the decision.

use super::replay::{Audit, Contradictions};
use super::{AuditError, Progress, RECORDS_A_TURN, Report};
use doorbuster_domain::entity::Books;
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::payment::LedgerLine;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::keyed::KeyedSet;
use doorbuster_storage::{Journal, ReadError, Record, Seq, Shard};
use futures_util::{Stream, StreamExt};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The most attempts to read a log in one round; a checkpoint may move records during a read.
const READS_MAX: u32 = 5;
/// The pause before another attempt.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long an audit waits for the orders in flight at the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundLimits {
    /// The most rounds that wait for them.
    pub rounds_max: u32,
    /// The pause between two rounds.
    pub pause: Duration,
}

/// A payment provider's ledger and the time of its reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// All its lines.
    pub lines: Vec<LedgerLine>,
    /// When the reading began.
    pub read_at: Timestamp,
}

/// The logs of all shards, whoever owns them. Every journal implements this; so do tests.
pub trait ShardLogs: Sync {
    /// The number of shards.
    fn shards(&self) -> u16;
    /// The durable records of a shard whose last event is at or after `from`, in order.
    fn read(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send;
}

impl<J: Journal> ShardLogs for J {
    fn shards(&self) -> u16 {
        self.layout().shards
    }

    fn read(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        self.records_from(shard, from)
    }
}

/// The progress of an audit through the logs.
#[derive(Debug)]
struct Rounds<'logs, L> {
    logs: &'logs L,
    audit: Audit,
    rounds: u32,
    /// Orders in flight at the cut; `None` before the cut, when every order is taken in.
    noted: Option<KeyedSet<OrderId>>,
    /// Orders with events in this round.
    changed_this_round: KeyedSet<OrderId>,
    /// Orders that changed after the cut although they had ended, or were placed after it. Their states here are those of the cut.
    changed_after_cut: KeyedSet<OrderId>,
}

/// Audits a store that several nodes share. `ledger` is awaited once, after the rounds; without it the payments are not compared.
///
/// # Errors
/// The store fails, a record cannot be decoded, or the bound of `progress` is reached. A log that contradicts itself is not an error: it is in the report.
pub async fn audit_shared<L: ShardLogs>(
    logs: &L,
    limits: RoundLimits,
    ledger: impl Future<Output = Option<Ledger>>,
    progress: Arc<Progress>,
) -> Result<Report, AuditError> {
    let mut rounds = Rounds {
        logs,
        audit: Audit::new(progress),
        rounds: 0,
        noted: None,
        changed_this_round: KeyedSet::default(),
        changed_after_cut: KeyedSet::default(),
    };
    rounds.read_all().await?;
    let noted: KeyedSet<OrderId> = rounds.audit.in_flight().collect();
    let in_flight_at_cut = noted.len();
    rounds.noted = Some(noted);
    let mut contradictions = rounds.audit.contradictions();
    for _ in 0..limits.rounds_max {
        if contradictions.is_empty() && rounds.audit.in_flight().next().is_none() {
            break;
        }
        tokio::time::sleep(limits.pause).await;
        rounds.read_all().await?;
        contradictions = rounds.audit.contradictions();
    }
    let ledger = ledger.await;
    rounds.read_all().await?;
    Ok(rounds.end(contradictions, ledger, in_flight_at_cut))
}

impl<L: ShardLogs> Rounds<'_, L> {
    /// Reads every log from its last position.
    async fn read_all(&mut self) -> Result<(), AuditError> {
        self.rounds = self.rounds.saturating_add(1);
        self.changed_this_round.clear();
        for number in 0..self.logs.shards() {
            self.read_further(Shard(number)).await?;
        }
        Ok(())
    }

    /// Reads one log further. The owner's checkpoint may move records into history during the read, so an apparent gap is read again.
    async fn read_further(&mut self, shard: Shard) -> Result<(), AuditError> {
        for _ in 1..READS_MAX {
            match self.read_to_the_end(shard, false).await {
                Ok(true) => return Ok(()),
                Ok(false) | Err(AuditError::Read(ReadError::Corrupt(_) | ReadError::Failed(_))) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(READ_AGAIN_AFTER).await;
        }
        match self.read_to_the_end(shard, true).await {
            Err(AuditError::Read(ReadError::Corrupt(why))) => {
                self.audit.note_unreadable(shard, &why);
                Ok(())
            }
            other => other.map(|_all| ()),
        }
    }

    /// Returns `false` at an apparent gap, unless `certain`.
    async fn read_to_the_end(&mut self, shard: Shard, certain: bool) -> Result<bool, AuditError> {
        let mut records = pin!(self.logs.read(shard, self.audit.last_seq_of(shard).saturating_add(1)));
        let mut turn: u32 = 0;
        while let Some(record) = records.next().await {
            let record = record?;
            if record.seq != self.audit.last_seq_of(shard).saturating_add(1) && !certain {
                return Ok(false);
            }
            let noted = self.noted.as_ref();
            let entity = self.audit.take_if(&record, |entity| match entity {
                EntityId::Order(order) => noted.is_none_or(|noted| noted.contains(order)),
                // All others are checked in every round; only two successive rounds decide.
                other => other.books() != Books::None,
            })?;
            if let EntityId::Order(order) = entity {
                self.changed_this_round.insert(order);
                if noted.is_some_and(|noted| !noted.contains(&order)) {
                    self.changed_after_cut.insert(order);
                }
            }
            turn = turn.saturating_add(1);
            if turn.is_multiple_of(RECORDS_A_TURN) {
                tokio::task::yield_now().await;
            }
        }
        Ok(true)
    }

    /// Ends the audit. `before`: the contradictions found when the last round began.
    fn end(self, before: Contradictions, ledger: Option<Ledger>, in_flight_at_cut: usize) -> Report {
        let mut broken = self.audit.contradictions();
        // New contradictions concern entities that changed in this round; the next audit checks them.
        let new = broken.keys().filter(|contradiction| !before.contains_key(*contradiction));
        let open: BTreeSet<OrderId> = new
            .filter_map(|(_, entity, _)| match entity {
                EntityId::Order(order) => Some(*order),
                _ => None,
            })
            .collect();
        broken.retain(|contradiction, _| before.contains_key(contradiction));
        let (changed_this_round, changed_after_cut, rounds) =
            (self.changed_this_round, self.changed_after_cut, self.rounds);
        let ledger = ledger.as_ref().map(|ledger| (ledger.lines.as_slice(), ledger.read_at));
        let changed = |order: OrderId| changed_this_round.contains(&order) || changed_after_cut.contains(&order);
        let report = self.audit.judge(broken, &open, ledger, changed);
        Report { in_flight_at_the_cut: in_flight_at_cut, rounds, ..report }
    }
}
