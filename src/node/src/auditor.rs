//! The audits of this node: one at a time, on a thread of its own, visible while it runs.
//!
//! ```text
//! request ──► is one running? ──yes──► refused; `audits` shows how far it is
//!                  └─no──► a thread of low priority ──► report ──► the one that asked, and `audits`
//! ```
//!
//! A second request does not join the audit that runs: its cut lies before the request, so its report would not cover what the caller has just done.
//! An audit goes on when its caller has gone, within `audit.timeout_ms`; the report is kept until the next one ends.

use super::background;
use doorbuster_api::operator::OperationError;
use doorbuster_api::view::At;
use doorbuster_audit::{AuditError, Progress, Report};
use doorbuster_clock::{monotonic, since};
use doorbuster_domain::time::Timestamp;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Time between two lines of the log about an audit that runs.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How long a node that stops waits for its audit, which ends where it next yields; checking the laws of a large shop does not. Too short: the store
/// is still open when the node says that it has stopped. Too long: the node takes that long to end.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// The bounds of one audit.
#[derive(Debug, Clone, Copy)]
pub(super) struct AuditBounds {
    /// `audit.memory_bytes_max`.
    pub(super) memory_bytes_max: u64,
    /// `audit.timeout_ms`.
    pub(super) timeout: Duration,
}

/// Why an audit gave no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditFailure {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the provider's ledger: {0}")]
    Ledger(String),
    #[error("it took longer than audit.timeout_ms ({0} ms)")]
    TooSlow(u128),
    #[error("the node stops")]
    Stopping,
    #[error("it panicked")]
    Panicked,
    #[error("it could not be started: {0}")]
    NotStarted(std::io::Error),
}

/// Starts audits and knows them.
#[derive(Debug)]
pub(super) struct Auditor {
    bounds: AuditBounds,
    state: Mutex<State>,
    /// `true`: the node stops, and the audit ends at its next yield.
    stopping: watch::Sender<bool>,
    /// Is an audit running?
    runs: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    last: Option<Last>,
}

#[derive(Debug, Clone)]
struct Running {
    started_at: Timestamp,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Last {
    started_at: Timestamp,
    took_ms: u128,
    report: Result<Value, String>,
}

impl Auditor {
    pub(super) fn new(bounds: AuditBounds) -> Arc<Self> {
        let (stopping, runs) = (watch::Sender::new(false), watch::Sender::new(false));
        Arc::new(Self { bounds, state: Mutex::default(), stopping, runs })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the audit that `make` gives, unless one runs; waits for its report.
    pub(super) async fn audit<Work>(
        self: &Arc<Self>,
        now: Timestamp,
        make: impl FnOnce(Arc<Progress>) -> Work + Send + 'static,
    ) -> Result<Value, OperationError>
    where
        Work: Future<Output = Result<Report, AuditFailure>>,
    {
        let running = self.begin(now)?;
        let (bounds, mut stopping) = (self.bounds, self.stopping.subscribe());
        let progress = Arc::clone(&running.progress);
        let work = move || async move {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => Err(AuditFailure::Stopping),
                report = tokio::time::timeout(bounds.timeout, make(progress)) => {
                    report.unwrap_or(Err(AuditFailure::TooSlow(bounds.timeout.as_millis())))
                }
            }
        };
        let started = background::spawn("audit", work);
        // On a task of its own: the caller may go, and the audit has to be recorded as ended all the same.
        let auditor = Arc::clone(self);
        let recorded = tokio::spawn(async move {
            let begun = monotonic();
            let report = match started {
                Ok(report) => followed(report, &running.progress).await,
                Err(error) => Err(AuditFailure::NotStarted(error)),
            };
            let report = report.map_err(|error| error.to_string());
            let report = report.and_then(|report| serde_json::to_value(report).map_err(|error| error.to_string()));
            auditor.end(&running, since(begun).as_millis(), report.clone());
            report
        });
        let report = recorded.await.unwrap_or_else(|_panicked| Err(AuditFailure::Panicked.to_string()));
        report.map_err(|why| OperationError::Unavailable(format!("the audit: {why}")))
    }

    fn begin(&self, now: Timestamp) -> Result<Running, OperationError> {
        let mut state = self.state();
        if let Some(running) = &state.running {
            let since = At(running.started_at);
            let why = format!("an audit runs since {since}; GET /admin/audit/progress shows how far it is");
            return Err(OperationError::Busy(why));
        }
        let progress = Arc::new(Progress::new(self.bounds.memory_bytes_max));
        let running = Running { started_at: now, progress };
        state.running = Some(running.clone());
        self.runs.send_replace(true);
        tracing::info!("an audit begins");
        Ok(running)
    }

    fn end(&self, running: &Running, took_ms: u128, report: Result<Value, String>) {
        match &report {
            Ok(report) => tracing::info!(duration_ms = took_ms, clean = %report["clean"], "an audit ends"),
            Err(error) => tracing::warn!(duration_ms = took_ms, error, "an audit gives no report"),
        }
        let mut state = self.state();
        state.running = None;
        state.last = Some(Last { started_at: running.started_at, took_ms, report });
        self.runs.send_replace(false);
    }

    /// The audit that runs and the last one that ended, as the operator port shows them.
    pub(super) fn shown(&self) -> Value {
        let state = self.state();
        let running = state.running.as_ref().map(
            |running| json!({ "started_at": At(running.started_at).to_string(), "progress": running.progress.shown() }),
        );
        let last = state.last.as_ref().map(|last| {
            let (report, error) = (last.report.as_ref().ok(), last.report.as_ref().err());
            let started_at = At(last.started_at).to_string();
            json!({ "started_at": started_at, "took_ms": u64::try_from(last.took_ms).ok(), "report": report, "error": error })
        });
        json!({ "running": running, "last": last })
    }

    /// Ends the audit that runs, and waits until it has let go of the store, for at most [`STOP_LIMIT`]; it ends with the process otherwise.
    pub(super) async fn stop(&self) {
        self.stopping.send_replace(true);
        let mut runs = self.runs.subscribe();
        if tokio::time::timeout(STOP_LIMIT, runs.wait_for(|runs| !runs)).await.is_err() {
            tracing::warn!("an audit does not end; the node stops without waiting for it");
        }
    }
}

/// Waits for the report, and writes the progress to the log meanwhile.
async fn followed(
    mut report: tokio::sync::oneshot::Receiver<Result<Report, AuditFailure>>,
    progress: &Progress,
) -> Result<Report, AuditFailure> {
    loop {
        match tokio::time::timeout(LOG_INTERVAL, &mut report).await {
            Ok(report) => return report.unwrap_or(Err(AuditFailure::Panicked)),
            Err(_elapsed) => {
                let shown = progress.shown();
                let (of_events, of_entities) = (shown.events_total, shown.entities_to_check);
                let (events, entities, checked) = (shown.events, shown.entities, shown.entities_checked);
                tracing::info!(events, ?of_events, entities, checked, ?of_entities, "an audit runs");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn auditor(timeout: Duration) -> Arc<Auditor> {
        Auditor::new(AuditBounds { memory_bytes_max: 1_000, timeout })
    }

    /// An audit that has begun and ends when the sender is used.
    async fn begun(
        auditor: &Arc<Auditor>,
    ) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<Value, OperationError>>) {
        let (end, ended) = oneshot::channel();
        let (begins, has_begun) = oneshot::channel();
        let auditor = Arc::clone(auditor);
        let asked = tokio::spawn(async move {
            let make = move |progress: Arc<Progress>| async move {
                // Not one of the threads that serve.
                assert_eq!(std::thread::current().name(), Some("audit"));
                progress.take_memory(7).expect("below the bound");
                begins.send(()).expect("the test waits");
                ended.await.map_err(|_gone| AuditFailure::Stopping)?;
                Ok(Report { clean: true, ..Report::default() })
            };
            auditor.audit(Timestamp(1_000), make).await
        });
        has_begun.await.expect("it begins");
        (end, asked)
    }

    #[tokio::test]
    async fn one_audit_runs_at_a_time_and_is_visible() {
        let auditor = auditor(Duration::from_secs(60));
        assert_eq!(auditor.shown(), json!({ "running": null, "last": null }));
        let (end, asked) = begun(&auditor).await;
        let second = auditor.audit(Timestamp(2_000), |_| async { panic!("it must not begin") }).await;
        assert!(matches!(&second, Err(OperationError::Busy(why)) if why.contains("1970-01-01T00:00:01")), "{second:?}");
        assert_eq!(auditor.shown()["running"]["progress"]["memory_bytes"], 7);
        end.send(()).expect("it waits");
        assert_eq!(asked.await.expect("no panic").expect("a report")["clean"], true);
        let shown = auditor.shown();
        assert_eq!((&shown["running"], &shown["last"]["report"]["clean"]), (&Value::Null, &Value::Bool(true)));
        let (end, asked) = begun(&auditor).await;
        drop(end);
        assert!(asked.await.expect("no panic").is_err(), "the next one began");
    }

    #[tokio::test]
    async fn an_audit_whose_caller_has_gone_goes_on_and_leaves_its_report() {
        let auditor = auditor(Duration::from_secs(60));
        let (end, asked) = begun(&auditor).await;
        asked.abort();
        assert!(asked.await.expect_err("aborted").is_cancelled());
        end.send(()).expect("it still runs");
        auditor.runs.subscribe().wait_for(|runs| !runs).await.expect("it ends");
        assert_eq!(auditor.shown()["last"]["report"]["clean"], true);
    }

    #[tokio::test]
    async fn a_node_stops_even_if_its_audit_does_not_yield() {
        let auditor = auditor(Duration::from_secs(60));
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (begins, has_begun) = oneshot::channel();
        let asked = tokio::spawn({
            let auditor = Arc::clone(&auditor);
            async move {
                let make = move |_progress| async move {
                    begins.send(()).expect("the test waits");
                    // It computes, and yields to nothing.
                    wait.recv().ok();
                    Ok(Report::default())
                };
                auditor.audit(Timestamp(0), make).await
            }
        });
        has_begun.await.expect("it begins");
        auditor.stop().await;
        assert!(!auditor.shown()["running"].is_null(), "it was not waited for");
        drop(go_on);
        asked.await.expect("no panic").expect("it came to its own end");
    }

    #[tokio::test]
    async fn a_node_that_stops_waits_for_no_audit_and_one_that_is_too_slow_or_panics_ends() {
        let stopped = auditor(Duration::from_secs(60));
        let (_end, asked) = begun(&stopped).await;
        stopped.stop().await;
        assert!(asked.await.expect("no panic").is_err());
        assert_eq!(stopped.shown()["last"]["error"], "the node stops");
        let slow = auditor(Duration::from_millis(1));
        let late = slow.audit(Timestamp(0), |_| std::future::pending()).await;
        assert!(matches!(&late, Err(OperationError::Unavailable(why)) if why.contains("audit.timeout_ms")), "{late:?}");
        let panics = slow.audit(Timestamp(0), |_| async { panic!("as the test wants") }).await;
        assert!(matches!(&panics, Err(OperationError::Unavailable(why)) if why.contains("panicked")), "{panics:?}");
    }
}
