//! The audit of a store that several nodes write, while they write (rule A1).
//!
//! ```text
//! round 1: every shard, orders and stock            the cut: orders on their way are noted
//! round 2 …: every shard, from where it was left    stock, and those orders alone, until they ended or patience has
//! the ledger, where there is one                    whoever changes after this is compared the next time
//! last round: stock once more                       what was in doubt before and is now is broken
//! ```
//!
//! There is no position that cuts all logs at once, so an order may be read confirmed and its SKU, read before, not sold yet. What an order
//! saw was durable before it saw it; so whatever is read of a SKU in a round that began *after* the order was read has it. A doubt between
//! an order and its stock is therefore a broken law only when two rounds, one after the other, both find it. No clock decides anything.

use super::books::{Audit, Doubts};
use super::{AuditError, Report};
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::payment::LedgerLine;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::{Journal, ReadError, Record, Seq, Shard};
use futures_util::{Stream, StreamExt};
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// A log is read again when a checkpoint moved records from under the reader, at most so often in a round.
const READS_MAX: u32 = 5;
/// The pause before that.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Others get a turn after so many records: the node serves meanwhile.
const RECORDS_A_TURN: u32 = 256;

/// How long an audit waits for orders to end that were on their way at the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Rounds to wait for them, at most.
    pub rounds_max: u32,
    /// The pause between two of these.
    pub pause: Duration,
}

/// A payment provider's ledger, and when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// Everything it has written down.
    pub lines: Vec<LedgerLine>,
    /// When we began to read it.
    pub read_at: Timestamp,
}

/// What an audit reads: the log of every shard, whoever owns it. Every journal is this; tests make others.
pub trait Logs: Sync {
    /// How many shards there are.
    fn shards(&self) -> u16;
    /// The durable records of a shard whose last event is at or after `from`, in order.
    fn read(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send;
}

impl<J: Journal> Logs for J {
    fn shards(&self) -> u16 {
        self.layout().shards
    }

    fn read(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        self.records_from(shard, from)
    }
}

/// An audit's way through the logs.
#[derive(Debug)]
struct Rounds<'logs, L> {
    logs: &'logs L,
    audit: Audit,
    rounds: u32,
    /// Orders on their way at the cut; before it, none is left out.
    followed: Option<FxHashSet<OrderId>>,
    /// Orders that had events in this round.
    moved: FxHashSet<OrderId>,
    /// Orders that had ended at the cut and have changed since, with their states here those of the cut; and those placed since.
    stale: FxHashSet<OrderId>,
}

/// Audits a store that several nodes share, whoever owns its shards. `ledger` is read when it is awaited, once; where it gives nothing the
/// money is not compared.
///
/// # Errors
/// The store fails, or a record has no meaning. A log that contradicts itself is no error: it is in the report.
pub async fn audit_shared<L: Logs>(
    logs: &L,
    patience: Patience,
    ledger: impl Future<Output = Option<Ledger>>,
) -> Result<Report, AuditError> {
    let mut rounds = Rounds {
        logs,
        audit: Audit::default(),
        rounds: 0,
        followed: None,
        moved: FxHashSet::default(),
        stale: FxHashSet::default(),
    };
    rounds.go_round().await?;
    let followed: FxHashSet<OrderId> = rounds.audit.under_way().collect();
    let at_the_cut = followed.len();
    rounds.followed = Some(followed);
    let mut doubts = rounds.audit.doubts();
    for _ in 0..patience.rounds_max {
        if doubts.is_empty() && rounds.audit.under_way().next().is_none() {
            break;
        }
        tokio::time::sleep(patience.pause).await;
        rounds.go_round().await?;
        doubts = rounds.audit.doubts();
    }
    let ledger = ledger.await;
    rounds.go_round().await?;
    Ok(rounds.end(doubts, ledger, at_the_cut))
}

impl<L: Logs> Rounds<'_, L> {
    /// Reads every log from where it was left.
    async fn go_round(&mut self) -> Result<(), AuditError> {
        self.rounds = self.rounds.saturating_add(1);
        self.moved.clear();
        for number in 0..self.logs.shards() {
            self.read_on(Shard(number)).await?;
        }
        Ok(())
    }

    /// Reads one log on. A checkpoint of its owner may move records into history while we read: what seems to be missing is looked for again.
    async fn read_on(&mut self, shard: Shard) -> Result<(), AuditError> {
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
                self.audit.cannot_read(shard, &why);
                Ok(())
            }
            other => other.map(|_all| ()),
        }
    }

    /// `false`: there seems to be a hole, and it was not `certain` that it is one.
    async fn read_to_the_end(&mut self, shard: Shard, certain: bool) -> Result<bool, AuditError> {
        let mut records = pin!(self.logs.read(shard, self.audit.end_of(shard).saturating_add(1)));
        let mut turn: u32 = 0;
        while let Some(record) = records.next().await {
            let record = record?;
            if record.seq != self.audit.end_of(shard).saturating_add(1) && !certain {
                return Ok(false);
            }
            let followed = self.followed.as_ref();
            let entity = self.audit.take_if(&record, |entity| match entity {
                EntityId::Order(order) => followed.is_none_or(|followed| followed.contains(order)),
                // In doubt about a reservation is only what two rounds say.
                EntityId::Inventory(_) | EntityId::Reservation(_) => true,
                EntityId::Cart(_) | EntityId::Product(_) | EntityId::Warehouse(_) => false,
            })?;
            if let EntityId::Order(order) = entity {
                self.moved.insert(order);
                if followed.is_some_and(|followed| !followed.contains(&order)) {
                    self.stale.insert(order);
                }
            }
            turn = turn.saturating_add(1);
            if turn.is_multiple_of(RECORDS_A_TURN) {
                tokio::task::yield_now().await;
            }
        }
        Ok(true)
    }

    /// `before`: what was in doubt when the last round began.
    fn end(self, before: Doubts, ledger: Option<Ledger>, at_the_cut: usize) -> Report {
        let mut broken = self.audit.doubts();
        // New doubts: what they are about changed in this very round, and is looked at the next time.
        let new = broken.keys().filter(|doubt| !before.contains_key(*doubt));
        let open: BTreeSet<OrderId> = new
            .filter_map(|(_, entity, _)| match entity {
                EntityId::Order(order) => Some(*order),
                _ => None,
            })
            .collect();
        broken.retain(|doubt, _| before.contains_key(doubt));
        let (moved, stale, rounds) = (self.moved, self.stale, self.rounds);
        let ledger = ledger.as_ref().map(|ledger| (ledger.lines.as_slice(), ledger.read_at));
        let changed = |order: OrderId| moved.contains(&order) || stale.contains(&order);
        let report = self.audit.judge(broken, &open, ledger, changed);
        Report { in_flight_at_the_cut: at_the_cut, rounds, ..report }
    }
}
