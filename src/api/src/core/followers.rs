//! Callers with an answer that goes on (events, exports): how many there are at once, and that they end when the node does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// Those of one kind of answer.
#[derive(Debug, Default)]
pub struct Followers {
    waiting: AtomicUsize,
    stop: watch::Sender<bool>,
}

/// A follower; dropped, it is none any more.
#[derive(Debug)]
pub(crate) struct Follower {
    all: Arc<Followers>,
    stopped: watch::Receiver<bool>,
}

impl Followers {
    /// One more; `None`: there are as many already as there may be.
    pub(crate) fn join(self: &Arc<Self>, most: usize) -> Option<Follower> {
        let joined =
            self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < most).then_some(now + 1));
        joined.is_ok().then(|| Follower { all: Arc::clone(self), stopped: self.stop.subscribe() })
    }

    /// Ends the wait of all, now and later.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Follower {
    /// Is the server being stopped?
    pub(crate) fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Waits until it is.
    pub(crate) async fn stopped(&mut self) {
        // A sender that is gone has stopped, too.
        self.stopped.wait_for(|stopped| *stopped).await.ok();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.all.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_so_many_at_once_and_each_ends_with_the_server() {
        let all = Arc::new(Followers::default());
        let mut first = all.join(2).unwrap();
        let second = all.join(2).unwrap();
        assert!(all.join(2).is_none() && !first.is_stopped());
        drop(second);
        assert_eq!(all.count(), 1);
        all.stop();
        first.stopped().await;
        assert!(all.join(2).unwrap().is_stopped(), "and who comes later");
    }
}
