//! How far a build has followed the journal: what a list's `as_of` says, and what a reader may wait for (rule V7).

use doorbuster_domain::time::Timestamp;
use doorbuster_storage::index::Cursor;
use doorbuster_storage::{Seq, Shard};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How far a build has followed each shard: this node's, and on a shared store also the others', as they say it there.
#[derive(Debug)]
pub struct Progress {
    /// The number of shards of the journal.
    shards: u16,
    cursors: Mutex<BTreeMap<Shard, Cursor>>,
    moved: Notify,
}

impl Progress {
    /// Nothing of a journal with this number of shards.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self { shards, cursors: Mutex::default(), moved: Notify::new() }
    }

    fn cursors(&self) -> MutexGuard<'_, BTreeMap<Shard, Cursor>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: the build is made again.
    pub(crate) fn begin_again(&self) {
        self.cursors().clear();
    }

    /// Takes over what another node says of its shard, if it is later than what is known.
    pub(crate) fn learned(&self, shard: Shard, cursor: Cursor) {
        let known = self.cursors().get(&shard).copied();
        if known.is_none_or(|known| (known.seq, known.at) < (cursor.seq, cursor.at)) {
            self.reached(shard, cursor);
        }
    }

    pub(crate) fn reached(&self, shard: Shard, cursor: Cursor) {
        self.cursors().insert(shard, cursor);
        self.moved.notify_waiters();
    }

    /// Everything that any shard decided up to this moment is in; `None`: a shard was not followed yet.
    #[must_use]
    pub fn as_of(&self) -> Option<Timestamp> {
        let cursors = self.cursors();
        if cursors.len() < usize::from(self.shards) {
            return None;
        }
        cursors.values().map(|cursor| cursor.at).min()
    }

    /// Waits until this event of a shard is in.
    pub async fn until(&self, shard: Shard, seq: Seq) {
        loop {
            // Before the look, so that what is reached after it wakes this.
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.cursors().get(&shard).is_some_and(|cursor| cursor.seq >= seq) {
                return;
            }
            moved.await;
        }
    }

    /// The sum of the cursors, for a figure.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.cursors().values().fold(0, |sum, cursor| sum.saturating_add(cursor.seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: Seq) -> Cursor {
        Cursor { seq, at: Timestamp(seq) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_as_of_the_slowest_shard_and_of_nothing_while_one_is_missing() {
        let progress = Progress::new(2);
        progress.reached(Shard(0), at(9));
        assert_eq!(progress.as_of(), None);
        progress.reached(Shard(1), at(4));
        assert_eq!(progress.as_of(), Some(Timestamp(4)));
        progress.begin_again();
        assert_eq!(progress.as_of(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_node_says_late_takes_nothing_back() {
        let progress = Progress::new(1);
        progress.learned(Shard(0), at(7));
        progress.learned(Shard(0), at(5));
        assert_eq!((progress.as_of(), progress.events()), (Some(Timestamp(7)), 7));
        progress.learned(Shard(0), Cursor { seq: 7, at: Timestamp(9) });
        assert_eq!(progress.as_of(), Some(Timestamp(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_waits_for_its_event_and_no_longer() {
        let progress = Progress::new(2);
        let waiting = async {
            progress.until(Shard(1), 5).await;
            progress.events()
        };
        let moving = async {
            for (shard, seq) in [(0, 9), (1, 4), (1, 5)] {
                tokio::task::yield_now().await;
                progress.reached(Shard(shard), at(seq));
            }
        };
        let (events, ()) = tokio::join!(waiting, moving);
        assert_eq!(events, 14);
    }
}
