//! One timer for a whole connection, however many deadlines its requests have.
//!
//! `hyper` makes a new sleep for each request it waits for, and a request's own deadline is one more. Entering and leaving the
//! timer wheel that often costs up to 8 % of the throughput. So all deadlines of a connection share one sleep, which is moved
//! only when it fires too early or lies too late: at most once per few seconds.

use doorbuster_clock::monotonic;
use hyper::rt::{Sleep, Timer};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The timer of one connection; its clones are the same timer.
#[derive(Clone)]
pub(super) struct ConnectionTimer {
    sleep: Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>,
}

impl fmt::Debug for ConnectionTimer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ConnectionTimer")
    }
}

impl ConnectionTimer {
    /// A timer whose sleep first fires after `period`: the longest deadline it will usually be asked for.
    pub(super) fn new(period: Duration) -> Self {
        Self { sleep: Arc::new(Mutex::new(Box::pin(tokio::time::sleep(period)))) }
    }

    /// The instant `after` from now.
    pub(super) fn deadline(after: Duration) -> Instant {
        monotonic().into_std() + after
    }

    /// Ready once `deadline` is past. Only the connection's own task may poll it: the one sleep wakes one task.
    pub(super) fn poll_until(&self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let mut sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if monotonic() >= deadline {
                // A later deadline of this connection moves the sleep when it is next polled.
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Self::deadline(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(SharedSleep { timer: self.clone(), deadline })
    }

    fn now(&self) -> Instant {
        monotonic().into_std()
    }
}

struct SharedSleep {
    timer: ConnectionTimer,
    deadline: Instant,
}

impl Future for SharedSleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.timer.poll_until(self.deadline, context)
    }
}

impl Sleep for SharedSleep {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn deadlines_that_share_one_sleep_each_fire_in_their_own_time() {
        let timer = ConnectionTimer::new(Duration::from_secs(60));
        let began = monotonic();
        let near = ConnectionTimer::deadline(Duration::from_secs(5));
        let far = ConnectionTimer::deadline(Duration::from_secs(35));
        poll_fn(|context| timer.poll_until(near, context)).await;
        assert_eq!(doorbuster_clock::since(began).as_secs(), 5);
        poll_fn(|context| timer.poll_until(far, context)).await;
        assert_eq!(doorbuster_clock::since(began).as_secs(), 35);
    }
}
