//! Which runtime serves a connection: the one that serves the fewest.
//!
//! A connection stays where it is put, so this is decided once for each, by the acceptor, which knows how many are open where. The kernel, with a
//! listener for each runtime (`SO_REUSEPORT`), chooses by a hash of addresses and ports: of 64 connections it gives one of two runtimes 40 or more in
//! one run of seventeen, and it never makes up for those that closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;

/// The runtimes that serve the connections of one port.
#[derive(Debug, Clone)]
pub struct Runtimes(Arc<[Serving]>);

#[derive(Debug)]
struct Serving {
    runtime: Handle,
    /// Connections that it serves now.
    connections: Arc<AtomicUsize>,
}

/// A connection counts for its runtime until this is dropped.
#[derive(Debug)]
pub(super) struct OnRuntime(Arc<AtomicUsize>);

impl Drop for OnRuntime {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Runtimes {
    /// Several, or one.
    ///
    /// # Panics
    /// There is none, and the caller is outside a runtime.
    #[must_use]
    pub fn new(runtimes: Vec<Handle>) -> Self {
        let runtimes = if runtimes.is_empty() { vec![Handle::current()] } else { runtimes };
        let serving = |runtime| Serving { runtime, connections: Arc::default() };
        Self(runtimes.into_iter().map(serving).collect())
    }

    /// The one the caller is on.
    ///
    /// # Panics
    /// Outside a runtime.
    #[must_use]
    pub fn current() -> Self {
        Self::new(Vec::new())
    }

    /// Serves a connection where the fewest are.
    pub(super) fn spawn<Serve: Future<Output = ()> + Send + 'static>(&self, serve: impl FnOnce(OnRuntime) -> Serve) {
        let fewest = self.0.iter().min_by_key(|serving| serving.connections.load(Ordering::Relaxed));
        let Serving { runtime, connections } = fewest.expect("there is at least one runtime");
        connections.fetch_add(1, Ordering::Relaxed);
        runtime.spawn(serve(OnRuntime(Arc::clone(connections))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    fn served(runtimes: &Runtimes) -> Vec<usize> {
        runtimes.0.iter().map(|serving| serving.connections.load(Ordering::Relaxed)).collect()
    }

    #[tokio::test]
    async fn each_connection_goes_where_the_fewest_are() {
        let runtimes = Runtimes::new(vec![Handle::current(); 3]);
        let (open, mut opened) = mpsc::unbounded_channel();
        for _ in 0..7 {
            let open = open.clone();
            runtimes.spawn(|on_runtime| async move { open.send(on_runtime).expect("the test waits") });
        }
        assert_eq!(served(&runtimes), [3, 2, 2]);
        let mut connections = Vec::new();
        for _ in 0..7 {
            connections.push(opened.recv().await.expect("it was opened"));
        }
        // The first runtime's connections close; its place is filled before the others get more.
        let first = Arc::clone(&runtimes.0[0].connections);
        connections.retain(|connection| !Arc::ptr_eq(&connection.0, &first));
        assert_eq!(served(&runtimes), [0, 2, 2]);
        for _ in 0..2 {
            let open = open.clone();
            runtimes.spawn(|on_runtime| async move { open.send(on_runtime).expect("the test waits") });
        }
        assert_eq!(served(&runtimes), [2, 2, 2]);
    }
}
