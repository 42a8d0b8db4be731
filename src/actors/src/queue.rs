//! The queue of a commit group's log writer: many hand over, one takes all that has gathered.
//!
//! To wake a thread costs more than most of an order, so only an urgent submission wakes the writer: one that something waits for. A record
//! that nothing waits for yet (an order was placed, its stock is being reserved) is written with what it causes, and one sync carries
//! the whole checkout. A record that causes nothing is written at the shards' next tick.

use super::output::Submission;
use super::stats::Stats;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TryRecvError};

/// Wakes the writer.
#[derive(Debug, Default)]
struct Wakeup {
    /// Notified for urgent submissions.
    urgent: Notify,
    /// The queue holds a submission that did not wake the writer.
    unannounced: AtomicBool,
}

/// The entities' end.
#[derive(Debug, Clone)]
pub(crate) struct WriterHandle(Arc<Sender>);

#[derive(Debug)]
struct Sender {
    /// Absent only while it is being dropped.
    queue: Option<mpsc::UnboundedSender<Submission>>,
    wakeup: Arc<Wakeup>,
    stats: Arc<Stats>,
}

impl Drop for Sender {
    fn drop(&mut self) {
        // The queue ends before the writer looks at it.
        self.queue = None;
        self.wakeup.urgent.notify_one();
    }
}

impl WriterHandle {
    /// Hands over a decision. `false`: the writer has stopped and the submission was dropped, which its callers hear as *unknown*; nothing
    /// may follow from the decision.
    pub(crate) fn submit(&self, submission: Submission) -> bool {
        let Sender { queue, wakeup, stats } = &*self.0;
        let urgent = submission.is_urgent();
        stats.log_queue_entered();
        let taken = queue.as_ref().is_some_and(|queue| queue.send(submission).is_ok());
        if !taken {
            stats.log_queue_left(1);
        } else if urgent {
            wakeup.urgent.notify_one();
        } else {
            wakeup.unannounced.store(true, Ordering::Release);
        }
        taken
    }

    /// Time has passed: submissions that are not urgent are written now.
    pub(crate) fn flush(&self) {
        if self.0.wakeup.unannounced.swap(false, Ordering::AcqRel) {
            self.0.wakeup.urgent.notify_one();
        }
    }
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Queue {
    queue: mpsc::UnboundedReceiver<Submission>,
    wakeup: Arc<Wakeup>,
    stats: Arc<Stats>,
    /// More may lie in it than was taken the last time.
    more: bool,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(stats: Arc<Stats>) -> (WriterHandle, Self) {
        let (sender, queue) = mpsc::unbounded_channel();
        let wakeup = Arc::new(Wakeup::default());
        let sender = Sender { queue: Some(sender), wakeup: Arc::clone(&wakeup), stats: Arc::clone(&stats) };
        (WriterHandle(Arc::new(sender)), Self { queue, wakeup, stats, more: false })
    }

    /// Waits for an urgent submission or a flush, unless something is left in `waiting`; then takes in what has gathered, up to `max` in all.
    /// `false`: every handle is gone and nothing is left.
    pub(crate) async fn gather(&mut self, waiting: &mut VecDeque<Submission>, max: usize) -> bool {
        loop {
            if waiting.is_empty() && !self.more {
                self.wakeup.urgent.notified().await;
            }
            // A submission that comes from here on, and is not taken below, sets it again.
            self.wakeup.unannounced.store(false, Ordering::Release);
            self.more = false;
            loop {
                if waiting.len() >= max {
                    self.more = true;
                    return true;
                }
                match self.queue.try_recv() {
                    Ok(submission) => waiting.push_back(submission),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) if waiting.is_empty() => return false,
                    Err(TryRecvError::Disconnected) => {
                        // There is no further notification.
                        self.more = true;
                        break;
                    }
                }
            }
            if !waiting.is_empty() {
                return true;
            }
        }
    }

    /// `count` submissions were written.
    pub(crate) fn left(&self, count: usize) {
        self.stats.log_queue_left(count);
    }

    /// Takes no more submissions; gives those handed over before.
    pub(crate) fn close(mut self) -> Vec<Submission> {
        self.queue.close();
        let mut last = Vec::new();
        while let Ok(submission) = self.queue.try_recv() {
            last.push(submission);
        }
        self.stats.log_queue_left(last.len());
        last
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::caller::Caller;
    use super::super::output::PendingOutput;
    use super::*;
    use doorbuster_domain::any::Refusal;
    use doorbuster_storage::Shard;
    use futures_util::FutureExt;

    fn not_urgent() -> Submission {
        Submission { shard: Shard(0), record: Some((1, bytes::Bytes::new())), outputs: Vec::new(), notice: None }
    }

    fn urgent() -> Submission {
        let (caller, _) = Caller::new();
        let outputs = vec![PendingOutput::Refused(caller, Box::new(Refusal::WrongKind))];
        Submission { shard: Shard(0), record: None, outputs, notice: None }
    }

    fn new() -> (WriterHandle, Queue, VecDeque<Submission>) {
        let (handle, queue) = Queue::new(Arc::default());
        (handle, queue, VecDeque::new())
    }

    #[test]
    fn what_is_not_urgent_goes_with_what_is_urgent() {
        let (handle, mut queue, mut waiting) = new();
        assert!(handle.submit(not_urgent()) && handle.submit(not_urgent()));
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), None, "it gives no reason to write");
        assert!(handle.submit(urgent()));
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), Some(true));
        assert_eq!(waiting.len(), 3, "in one batch, in order");
    }

    #[test]
    fn what_is_not_urgent_is_written_once_time_has_passed() {
        let (handle, mut queue, mut waiting) = new();
        assert!(handle.submit(not_urgent()));
        handle.flush();
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), Some(true));
        waiting.clear();
        handle.flush();
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), None, "nothing is there");
    }

    #[test]
    fn what_does_not_fit_is_taken_next_without_another_wakeup() {
        let (handle, mut queue, mut waiting) = new();
        assert!(handle.submit(not_urgent()) && handle.submit(not_urgent()) && handle.submit(urgent()));
        assert_eq!(queue.gather(&mut waiting, 2).now_or_never(), Some(true));
        waiting.clear();
        assert_eq!(queue.gather(&mut waiting, 2).now_or_never(), Some(true));
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn it_ends_when_no_handle_is_left_and_all_is_taken() {
        let (handle, mut queue, mut waiting) = new();
        let other = handle.clone();
        assert!(handle.submit(not_urgent()));
        drop(handle);
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), None, "there is another handle");
        drop(other);
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), Some(true), "what was handed over is written");
        waiting.clear();
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), Some(false));
    }

    #[test]
    fn a_queue_that_is_closed_takes_nothing_and_gives_what_it_had() {
        let (handle, queue, _) = new();
        assert!(handle.submit(not_urgent()));
        assert_eq!(queue.close().len(), 1);
        assert!(!handle.submit(urgent()));
    }
}
