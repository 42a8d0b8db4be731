//! The simulated provider: the engine behind a lock, its ledger's file and its webhook sender. A node and the process both use it.
//!
//! ```text
//! call ─► engine (under the lock) ─► line to the file (under the lock, so in order) ─► sync, if configured ─► reply, webhooks
//! ```

use super::behaviour::Behaviour;
use super::engine::{CallPlan, Engine, Reply, ShopperAction};
use super::ledger::{Ledger, LedgerRecord};
use super::ledger_file::{LedgerFile, LedgerFileError, Syncer};
use super::webhook_sender::WebhookSender;
use compact_str::CompactString;
use doorbuster_clock::SharedClock;
use doorbuster_domain::money::Money;
use doorbuster_domain::payment::{LedgerLine, ProviderAnswer, ProviderCall, Reference};
use doorbuster_domain::time::Timestamp;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How durable the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerStorage<'a> {
    /// In memory only.
    Volatile,
    /// Written to this file before the answer: it survives `kill -9`, but not a power cut.
    Written(&'a Path),
    /// Written to this file and synced before the answer.
    Synced(&'a Path),
}

/// The simulated provider.
#[derive(Debug)]
pub struct SimulatedProvider {
    work: Mutex<Work>,
    syncer: Option<Syncer>,
    sender: WebhookSender,
    clock: SharedClock,
    lost: Notify,
}

#[derive(Debug)]
struct Work {
    engine: Engine,
    file: Option<LedgerFile>,
    /// An append failed: the engine is ahead of the file, so every further call fails.
    failed: bool,
}

/// The reply to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallResult {
    /// The reply to the call.
    pub reply: Reply,
    /// The latency before it, in milliseconds.
    pub latency_ms: u64,
}

/// The result of a shopper's action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionResult {
    /// The operation's state; `None`: no operation waits for an action.
    pub answer: Option<ProviderAnswer>,
    /// The page to which the shopper returns.
    pub return_url: Option<CompactString>,
}

/// An authorization that waits for its shopper, or waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingAction {
    /// The amount to authorize.
    pub amount: Money,
    /// Its state.
    pub answer: ProviderAnswer,
    /// The page to which the shopper returns.
    pub return_url: Option<CompactString>,
}

/// The ledger can no longer be written, so no call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payment ledger cannot be written")]
pub struct LedgerLost;

impl SimulatedProvider {
    /// Opens the ledger and replays it. Also returns the length of a torn last line that was cut, in bytes.
    pub fn open(
        behaviour: Behaviour,
        seed: u64,
        action_url: &str,
        storage: LedgerStorage<'_>,
        sender: WebhookSender,
        clock: SharedClock,
    ) -> Result<(Self, u64), LedgerFileError> {
        let (file, read) = match storage {
            LedgerStorage::Volatile => (None, Default::default()),
            LedgerStorage::Written(path) | LedgerStorage::Synced(path) => {
                let (file, read) = LedgerFile::open(path)?;
                (Some(file), read)
            }
        };
        let syncer = match (&file, storage) {
            (Some(file), LedgerStorage::Synced(_)) => Some(file.syncer()?),
            _ => None,
        };
        let engine = Engine::new(behaviour, seed, action_url, read.ledger);
        let work = Mutex::new(Work { engine, file, failed: false });
        Ok((Self { work, syncer, sender, clock, lost: Notify::new() }, read.torn_bytes))
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // The engine changes its ledger in one last step, so a panic before it leaves no partial change.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The provider's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Answers every call between `from` and `to` with a 5xx.
    pub fn add_outage(&self, from: Timestamp, to: Timestamp) {
        self.work().engine.add_outage(from, to);
    }

    /// Handles a call. Everything up to the file happens before the first await, so a cancelled caller loses at most a webhook.
    pub async fn call(&self, call: &ProviderCall) -> Result<CallResult, LedgerLost> {
        let (CallPlan { reply, latency_ms, webhooks, .. }, position) = {
            let mut work = self.work();
            let plan = work.engine.call(call, self.clock.now());
            let position = work.write(plan.line.as_ref()).inspect_err(|LedgerLost| self.lost.notify_one())?;
            (plan, position)
        };
        self.synced(position).await?;
        self.sender.enqueue(webhooks);
        Ok(CallResult { reply, latency_ms })
    }

    /// Handles a shopper's action.
    pub async fn act(&self, reference: Reference, act: ShopperAction) -> Result<ActionResult, LedgerLost> {
        let (acted, position) = {
            let mut work = self.work();
            let acted = work.engine.act(reference, act, self.clock.now());
            let position = work.write(acted.line.as_ref()).inspect_err(|LedgerLost| self.lost.notify_one())?;
            (acted, position)
        };
        self.synced(position).await?;
        self.sender.enqueue(acted.webhooks);
        Ok(ActionResult { answer: acted.answer, return_url: acted.return_url })
    }

    /// An authorization that waits for its shopper, or waited.
    pub(super) fn waiting_action(&self, reference: Reference) -> Option<WaitingAction> {
        let now = self.clock.now();
        let work = self.work();
        let entry = work.engine.ledger().find(reference)?;
        if !matches!(entry.first, ProviderAnswer::RequiresAction { .. }) {
            return None;
        }
        let answer = entry.seen(now)?.clone();
        Some(WaitingAction { amount: entry.amount, answer, return_url: entry.return_url.clone() })
    }

    async fn synced(&self, position: Option<u64>) -> Result<(), LedgerLost> {
        let (Some(syncer), Some(position)) = (&self.syncer, position) else { return Ok(()) };
        if syncer.upto(position).await {
            return Ok(());
        }
        self.work().failed = true;
        self.lost.notify_one();
        Err(LedgerLost)
    }

    /// Waits until the ledger cannot be written any more; the process must then end.
    pub async fn ledger_lost(&self) {
        self.lost.notified().await;
    }

    /// At most `limit` lines of the ledger after position `after`, with their positions.
    #[must_use]
    pub fn lines(&self, after: u64, limit: usize) -> Vec<(u64, LedgerLine)> {
        let now = self.clock.now();
        self.work().engine.ledger().lines(after, limit, now)
    }

    /// A copy of the ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.work().engine.ledger().clone()
    }
}

impl Work {
    /// Returns the file position that must be synced before the reply leaves. It covers the whole file even if this call wrote nothing, because
    /// the answer may repeat what another call wrote a moment ago.
    fn write(&mut self, line: Option<&LedgerRecord>) -> Result<Option<u64>, LedgerLost> {
        if self.failed {
            return Err(LedgerLost);
        }
        let Some(file) = &mut self.file else { return Ok(None) };
        if let Some(line) = line
            && let Err(error) = file.append(line)
        {
            tracing::error!(%error, ledger = %file.path().display(), "append to the payment ledger");
            self.failed = true;
            return Err(LedgerLost);
        }
        Ok(Some(file.written()))
    }
}
