//! The queue of a commit group's log writer: many hand over, one takes all that has gathered.
//!
//! To wake a thread costs more than most of what an order costs, so the writer is woken only when somebody waits: for a record that nobody waits
//! for yet (an order was placed, its stock is being asked for) what it causes will wake it, and then one sync carries the whole checkout. The
//! shards' tick sees to a record that causes nothing.

use super::output::Submission;
use super::stats::Stats;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TryRecvError};

/// What both ends share.
#[derive(Debug, Default)]
struct Bell {
    /// Rung for what somebody waits for.
    ring: Notify,
    /// Something is in the queue for which it was not rung.
    silent: AtomicBool,
}

/// The entities' end.
#[derive(Debug, Clone)]
pub(crate) struct WriterHandle(Arc<Entrance>);

#[derive(Debug)]
struct Entrance {
    /// Absent only while it is being dropped.
    queue: Option<mpsc::UnboundedSender<Submission>>,
    bell: Arc<Bell>,
    stats: Arc<Stats>,
}

impl Drop for Entrance {
    fn drop(&mut self) {
        // First the end, then the word of it.
        self.queue = None;
        self.bell.ring.notify_one();
    }
}

impl WriterHandle {
    /// Hands over a decision. `false`: the writer has stopped, and what is held was dropped, which its callers hear as *unknown*; nothing
    /// may follow from the decision.
    pub(crate) fn submit(&self, submission: Submission) -> bool {
        let Entrance { queue, bell, stats } = &*self.0;
        let urgent = submission.is_urgent();
        stats.log_queue_entered();
        let taken = queue.as_ref().is_some_and(|queue| queue.send(submission).is_ok());
        if !taken {
            stats.log_queue_left(1);
        } else if urgent {
            bell.ring.notify_one();
        } else {
            bell.silent.store(true, Ordering::Release);
        }
        taken
    }

    /// Time has passed: what nobody waits for is written now.
    pub(crate) fn nudge(&self) {
        if self.0.bell.silent.swap(false, Ordering::AcqRel) {
            self.0.bell.ring.notify_one();
        }
    }
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Queue {
    queue: mpsc::UnboundedReceiver<Submission>,
    bell: Arc<Bell>,
    stats: Arc<Stats>,
    /// More may lie in it than was taken the last time.
    more: bool,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(stats: Arc<Stats>) -> (WriterHandle, Self) {
        let (sender, queue) = mpsc::unbounded_channel();
        let bell = Arc::new(Bell::default());
        let entrance = Entrance { queue: Some(sender), bell: Arc::clone(&bell), stats: Arc::clone(&stats) };
        (WriterHandle(Arc::new(entrance)), Self { queue, bell, stats, more: false })
    }

    /// Waits until somebody waits, or time has passed, unless something is left in `waiting`; takes in what has gathered by then, up to `max` in
    /// all. `false`: every handle is gone and nothing is left.
    pub(crate) async fn gather(&mut self, waiting: &mut VecDeque<Submission>, max: usize) -> bool {
        loop {
            if waiting.is_empty() && !self.more {
                self.bell.ring.notified().await;
            }
            // What is handed over from here on, and not seen below, says so again.
            self.bell.silent.store(false, Ordering::Release);
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
                        // The bell is not rung again.
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

    /// `count` of them have left.
    pub(crate) fn left(&self, count: usize) {
        self.stats.log_queue_left(count);
    }

    /// Takes nothing more; gives what was handed over before.
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
    use super::super::messages::ask::Answer;
    use super::super::output::PendingOutput;
    use super::*;
    use doorbuster_domain::any::Refusal;
    use doorbuster_storage::Shard;
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    fn silent() -> Submission {
        Submission { shard: Shard(0), record: Some((1, bytes::Bytes::new())), outputs: Vec::new(), notice: None }
    }

    fn urgent() -> Submission {
        let (caller, _) = oneshot::channel::<Answer>();
        let outputs = vec![PendingOutput::Refused(caller, Box::new(Refusal::WrongKind))];
        Submission { shard: Shard(0), record: None, outputs, notice: None }
    }

    fn new() -> (WriterHandle, Queue, VecDeque<Submission>) {
        let (handle, queue) = Queue::new(Arc::default());
        (handle, queue, VecDeque::new())
    }

    #[test]
    fn what_nobody_waits_for_goes_with_what_somebody_waits_for() {
        let (handle, mut queue, mut waiting) = new();
        assert!(handle.submit(silent()) && handle.submit(silent()));
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), None, "it gives no reason to write");
        assert!(handle.submit(urgent()));
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), Some(true));
        assert_eq!(waiting.len(), 3, "in one batch, in order");
    }

    #[test]
    fn what_nobody_waits_for_is_written_once_time_has_passed() {
        let (handle, mut queue, mut waiting) = new();
        assert!(handle.submit(silent()));
        handle.nudge();
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), Some(true));
        waiting.clear();
        handle.nudge();
        assert_eq!(queue.gather(&mut waiting, 9).now_or_never(), None, "nothing is there");
    }

    #[test]
    fn what_does_not_fit_is_taken_next_without_another_word() {
        let (handle, mut queue, mut waiting) = new();
        assert!(handle.submit(silent()) && handle.submit(silent()) && handle.submit(urgent()));
        assert_eq!(queue.gather(&mut waiting, 2).now_or_never(), Some(true));
        waiting.clear();
        assert_eq!(queue.gather(&mut waiting, 2).now_or_never(), Some(true));
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn it_ends_when_nobody_can_hand_anything_over_any_more_and_all_is_taken() {
        let (handle, mut queue, mut waiting) = new();
        let other = handle.clone();
        assert!(handle.submit(silent()));
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
        assert!(handle.submit(silent()));
        assert_eq!(queue.close().len(), 1);
        assert!(!handle.submit(urgent()));
    }
}
