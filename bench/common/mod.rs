//! What both harness programs share: a cheap HTTP client, a node of one's own, load, figures.

pub(crate) mod api;
pub(crate) mod catalogue;
pub(crate) mod closed;
pub(crate) mod fsync;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod number;
pub(crate) mod prometheus;
pub(crate) mod scan;
pub(crate) mod scripts;
pub(crate) mod shopper;
pub(crate) mod trouble;

/// Comes back when the run is to end from outside: ctrl-c or SIGTERM. Dropping what runs then kills its children and removes its folder.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
