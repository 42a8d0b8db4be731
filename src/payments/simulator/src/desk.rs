//! The simulated provider at work: the engine behind a lock, its ledger's file, its courier. Inside a node and as a process alike.
//!
//! ```text
//! call ─► engine (under the lock) ─► line to the file (under the lock, so in order) ─► synced, if asked for ─► reply, webhooks
//! ```

use super::book::{Book, Line};
use super::courier::Courier;
use super::engine::{Act, Engine, Planned, Reply};
use super::ledger_file::{LedgerFile, LedgerFileError, Syncer};
use super::odds::Odds;
use compact_str::CompactString;
use doorbuster_clock::SharedClock;
use doorbuster_domain::payment::{LedgerLine, ProviderAnswer, ProviderCall, Reference};
use doorbuster_domain::time::Timestamp;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How the ledger outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep<'a> {
    /// Not at all.
    Volatile,
    /// In this file, handed to the kernel before the answer: survives `kill -9`, not a power cut.
    Written(&'a Path),
    /// In this file, synced before the answer.
    Synced(&'a Path),
}

/// The provider at work.
#[derive(Debug)]
pub struct Desk {
    work: Mutex<Work>,
    syncer: Option<Syncer>,
    courier: Courier,
    clock: SharedClock,
    lost: Notify,
}

#[derive(Debug)]
struct Work {
    engine: Engine,
    file: Option<LedgerFile>,
    /// An append failed: the engine knows what the file does not, so nothing may leave any more.
    failed: bool,
}

/// What reaches a caller, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// What.
    pub reply: Reply,
    /// After so many milliseconds.
    pub latency_ms: u64,
}

/// What became of a shopper's act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActDone {
    /// What is true of the operation now; `None` when there is nothing to act on.
    pub answer: Option<ProviderAnswer>,
    /// Where the shopper goes now.
    pub return_url: Option<CompactString>,
}

/// The ledger can no longer be written, so nothing may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payment ledger cannot be written")]
pub struct LedgerLost;

impl Desk {
    /// Opens the ledger, if there is one, and goes on from it. Also says how many bytes of a torn last line were cut.
    pub fn open(
        odds: Odds,
        seed: u64,
        action_url: &str,
        keep: Keep<'_>,
        courier: Courier,
        clock: SharedClock,
    ) -> Result<(Self, u64), LedgerFileError> {
        let (file, read) = match keep {
            Keep::Volatile => (None, Default::default()),
            Keep::Written(path) | Keep::Synced(path) => {
                let (file, read) = LedgerFile::open(path)?;
                (Some(file), read)
            }
        };
        let syncer = match (&file, keep) {
            (Some(file), Keep::Synced(_)) => Some(file.syncer()?),
            _ => None,
        };
        let engine = Engine::new(odds, seed, action_url, read.book);
        let work = Mutex::new(Work { engine, file, failed: false });
        Ok((Self { work, syncer, courier, clock, lost: Notify::new() }, read.torn_bytes))
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // The engine changes its book in one last step, so a panic before it leaves nothing half done.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The provider's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Nothing but 5xx from `from` up to `to`.
    pub fn add_outage(&self, from: Timestamp, to: Timestamp) {
        self.work().engine.add_outage(from, to);
    }

    /// Carries a call out. Everything up to the file happens before the first wait, so a caller who goes away loses at most a webhook.
    pub async fn call(&self, call: &ProviderCall) -> Result<Handled, LedgerLost> {
        let (Planned { reply, latency_ms, webhooks, .. }, position) = {
            let mut work = self.work();
            let planned = work.engine.call(call, self.clock.now());
            let position = work.write(planned.line.as_ref()).inspect_err(|LedgerLost| self.lost.notify_one())?;
            (planned, position)
        };
        self.synced(position).await?;
        self.courier.hand(webhooks);
        Ok(Handled { reply, latency_ms })
    }

    /// The shopper acts.
    pub async fn act(&self, reference: Reference, act: Act) -> Result<ActDone, LedgerLost> {
        let (acted, position) = {
            let mut work = self.work();
            let acted = work.engine.act(reference, act, self.clock.now());
            let position = work.write(acted.line.as_ref()).inspect_err(|LedgerLost| self.lost.notify_one())?;
            (acted, position)
        };
        self.synced(position).await?;
        self.courier.hand(acted.webhooks);
        Ok(ActDone { answer: acted.answer, return_url: acted.return_url })
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

    /// Waits until the ledger could not be written: the process then has nothing left to say.
    pub async fn ledger_lost(&self) {
        self.lost.notified().await;
    }

    /// The ledger after place `after`, at most `limit` lines with their places.
    #[must_use]
    pub fn lines(&self, after: u64, limit: usize) -> Vec<(u64, LedgerLine)> {
        let now = self.clock.now();
        self.work().engine.book().lines(after, limit, now)
    }

    /// What the provider holds to be true, as of now.
    #[must_use]
    pub fn book(&self) -> Book {
        self.work().engine.book().clone()
    }
}

impl Work {
    /// The position up to which the file must be synced before anything leaves: all of it, also when nothing was written now, since an
    /// answer may repeat what another call wrote a moment ago.
    fn write(&mut self, line: Option<&Line>) -> Result<Option<u64>, LedgerLost> {
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
