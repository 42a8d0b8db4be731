//! What both harness programs share: a node that they start, requests, load, figures.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks on its standard output")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the real clock, and paces itself by it")]
#![allow(clippy::missing_panics_doc, reason = "only the harness calls these")]

pub mod api;
pub mod catalogue;
pub mod closed;
pub mod error;
pub mod fsync;
pub mod node;
pub mod number;
pub mod output;
pub mod prometheus;
pub mod scan;
pub mod scripts;
pub mod shopper;

/// Comes back when the run is to end from outside: ctrl-c or SIGTERM. Dropping what runs then kills its children and removes its folder.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Can a file be written? Asked before a run, not after it. A file that is there keeps what it has.
///
/// # Errors
/// It cannot.
pub fn writable(path: &std::path::Path) -> Result<(), error::BenchError> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened
        .map(drop)
        .map_err(|source| error::BenchError::Input(format!("{} cannot be written: {source}", path.display())))
}
