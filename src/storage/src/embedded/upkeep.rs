//! What the log's retention does when nothing happens: a shop that closes for a month makes no checkpoints, and its erased data must go all the same.

use super::journal::Inner;
use super::{EmbeddedOptions, KEEP_MS_MAX};
use crate::journal::AppendError;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the log is looked at beside the checkpoints. A round of checkpoints (rule L7) is shorter on a node that is busy.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// What may pass beside retention and age until a segment's bytes are gone, in milliseconds: some intervals, and the wait of a retired file.
const SLACK_MS: u64 = 3 * 3_600 * 1_000;

/// Ends the thread when it is dropped.
#[derive(Debug)]
pub(super) struct Upkeep {
    _ends_with: Sender<()>,
}

/// How long retired segments are kept, so that what is erased is gone [`KEEP_MS_MAX`] after it was written: a segment's first record waits for its last.
pub(super) fn keep_ms(options: &EmbeddedOptions) -> u64 {
    options.keep_ms.min(KEEP_MS_MAX.saturating_sub(options.log.segment_age_max_ms).saturating_sub(SLACK_MS))
}

impl Upkeep {
    /// Starts the thread. It holds nothing of the journal while it waits.
    pub(super) fn start(journal: &Arc<Inner>) -> io::Result<Self> {
        let (ends_with, ended) = channel();
        let journal = Arc::downgrade(journal);
        std::thread::Builder::new().name("log-upkeep".to_owned()).spawn(move || run(&journal, &ended))?;
        Ok(Self { _ends_with: ends_with })
    }
}

fn run(journal: &Weak<Inner>, ended: &Receiver<()>) {
    while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let Some(inner) = journal.upgrade() else { return };
        if let Err(error) = inner.keep_up() {
            // Appends fail from here on (rule L8), and the process ends with the next one.
            tracing::error!(%error, "the log's old segments cannot be retired");
            return;
        }
    }
}

impl Inner {
    /// What a round of checkpoints does for the log, without one.
    pub(super) fn keep_up(&self) -> Result<(), AppendError> {
        let _rounds = self.rounds();
        self.retire()
    }
}

#[cfg(test)]
mod tests {
    use super::super::EmbeddedJournal;
    use super::super::log::LogOptions;
    use super::*;
    use crate::journal::{Batch, Group, Journal, Layout, Record, Shard, StateFlush};
    use crate::private;
    use doorbuster_domain::entity::By;
    use doorbuster_domain::ids::{EntityId, Sku};
    use doorbuster_domain::time::Timestamp;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    const HOUR_MS: u64 = 3_600 * 1_000;
    const DAY_MS: u64 = 24 * HOUR_MS;
    const SECRET: &[u8] = b"ada@lovelace.example";

    fn layout() -> Layout {
        Layout { shards: 1, hash_version: 1 }
    }

    fn options(now: fn() -> Timestamp) -> EmbeddedOptions {
        let mut options = EmbeddedOptions::new(layout(), now);
        options.log = LogOptions { segment_bytes: 1 << 20, segments_ahead: 1, ..LogOptions::default() };
        options.keep_ms = KEEP_MS_MAX;
        options
    }

    /// A record of this time whose text is the secret.
    fn record(epoch: u64, seq: u64, at: Timestamp) -> Record {
        let entity = EntityId::Inventory(Sku::parse("pan").unwrap());
        let head = crate::wire::Head {
            entity,
            number: seq,
            at,
            by: By::Shopper(compact_str::CompactString::from("ada@lovelace.example")),
            events: 1,
        };
        let body = crate::wire::assemble(&head, 1, |_facts| None);
        Record { shard: Shard(0), epoch, seq, events: 1, body }
    }

    fn files_with_the_secret(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && fs::read(&path).unwrap().windows(SECRET.len()).any(|window| window == SECRET) {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
        found
    }

    /// Files are dated by the system's clock, which the test does not set: it counts from there.
    fn start_ms() -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let made = fs::metadata(folder.path()).unwrap().modified().unwrap();
        u64::try_from(made.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
    }

    #[tokio::test]
    async fn a_shop_with_one_order_a_day_has_nothing_in_its_log_that_is_older_than_thirty_days() {
        static NOW_MS: AtomicU64 = AtomicU64::new(0);
        let start = start_ms();
        NOW_MS.store(start, Ordering::SeqCst);
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let (journal, _) =
            EmbeddedJournal::open(folder.path(), options(|| Timestamp(NOW_MS.load(Ordering::SeqCst)))).unwrap();
        let claim = journal.claim(Shard(0), "node").await.unwrap();
        let batch = Batch { id: 1, records: vec![record(claim.epoch, 1, Timestamp(start))] };
        journal.append(Group(0), &batch).await.unwrap();
        journal.checkpoint(&claim, StateFlush::default(), 1).await.unwrap();
        let pass = |ms: u64| {
            NOW_MS.fetch_add(ms, Ordering::SeqCst);
            journal.inner().keep_up().unwrap();
            journal.inner().keep_up().unwrap();
            files_with_the_secret(&log)
        };
        assert_eq!(pass(DAY_MS - 1), ["segment-000000000001"], "it is being written");
        assert_eq!(pass(1), ["kept-000000000001"], "the next segment began, and the states cover this one");
        assert_eq!(pass(27 * DAY_MS).len(), 1, "it is kept for an audit");
        pass(2 * DAY_MS - HOUR_MS);
        assert_eq!(pass(HOUR_MS), Vec::<String>::new(), "30 days are over");
    }

    #[tokio::test]
    async fn a_segment_of_a_predecessor_is_as_old_as_its_first_record() {
        static NOW_MS: AtomicU64 = AtomicU64::new(0);
        let now = || Timestamp(NOW_MS.load(Ordering::SeqCst));
        let start = start_ms();
        let folder = tempfile::tempdir().unwrap();
        NOW_MS.store(start, Ordering::SeqCst);
        let (journal, _) = EmbeddedJournal::open(folder.path(), options(now)).unwrap();
        let claim = journal.claim(Shard(0), "node").await.unwrap();
        let batch = Batch { id: 1, records: vec![record(claim.epoch, 1, Timestamp(start))] };
        journal.append(Group(0), &batch).await.unwrap();
        journal.close().unwrap();
        drop(journal);
        let (journal, recovered) = EmbeddedJournal::open(folder.path(), options(now)).unwrap();
        assert!(recovered.sealed);
        let live = || {
            fs::read_dir(folder.path().join("log"))
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("segment"))
                .count()
        };
        NOW_MS.fetch_add(DAY_MS - 1, Ordering::SeqCst);
        journal.inner().keep_up().unwrap();
        assert_eq!(live(), 1);
        NOW_MS.fetch_add(1, Ordering::SeqCst);
        journal.inner().keep_up().unwrap();
        assert_eq!(live(), 2);
        journal.inner().keep_up().unwrap();
        assert_eq!(live(), 2, "an empty segment has no age");
        drop(journal);
        let (_, recovered) = EmbeddedJournal::open(folder.path(), options(now)).unwrap();
        assert_eq!(recovered.ends[&Shard(0)].seq, 1, "no seal stands over a later segment (rule L5)");
    }

    #[test]
    fn a_copy_of_a_torn_tail_goes_with_the_segments_of_its_time() {
        static NOW_MS: AtomicU64 = AtomicU64::new(0);
        let folder = tempfile::tempdir().unwrap();
        NOW_MS.store(start_ms(), Ordering::SeqCst);
        let (journal, _) =
            EmbeddedJournal::open(folder.path(), options(|| Timestamp(NOW_MS.load(Ordering::SeqCst)))).unwrap();
        let torn = folder.path().join("log/torn-00000000000000004096-1");
        fs::write(&torn, SECRET).unwrap();
        journal.inner().keep_up().unwrap();
        assert!(torn.exists(), "an operator may look at it");
        NOW_MS.fetch_add(30 * DAY_MS, Ordering::SeqCst);
        journal.inner().keep_up().unwrap();
        assert!(!torn.exists());
    }

    #[test]
    fn retention_and_the_age_of_a_segment_are_thirty_days_together() {
        let with = |keep_ms, age_ms| {
            let mut options = options(Timestamp::default);
            (options.keep_ms, options.log.segment_age_max_ms) = (keep_ms, age_ms);
            super::keep_ms(&options)
        };
        assert_eq!(with(DAY_MS, DAY_MS), DAY_MS, "a shorter one holds");
        assert_eq!(with(KEEP_MS_MAX, 7 * DAY_MS), 23 * DAY_MS - SLACK_MS);
        assert_eq!(with(KEEP_MS_MAX, u64::MAX), 0);
    }

    #[test]
    fn a_data_folder_that_others_may_read_is_narrowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        drop(EmbeddedJournal::open(&path, options(Timestamp::default)).unwrap());
        let neighbour = path.join("other");
        fs::create_dir(&neighbour).unwrap();
        for wide in [path.clone(), neighbour.clone(), path.join("log"), path.join("states")] {
            fs::set_permissions(wide, Permissions::from_mode(0o755)).unwrap();
        }
        for wide in ["LAYOUT", "LOCK", "log/segment-000000000001"] {
            fs::set_permissions(path.join(wide), Permissions::from_mode(0o644)).unwrap();
        }
        drop(EmbeddedJournal::open(&path, options(Timestamp::default)).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for folder in [path.clone(), path.join("log"), path.join("states")] {
            assert_eq!(mode(&folder), private::FOLDER_MODE, "{}", folder.display());
        }
        for file in ["LAYOUT", "LOCK", "log/segment-000000000001"] {
            assert_eq!(mode(&path.join(file)), private::FILE_MODE, "{file}");
        }
        assert_eq!(mode(&neighbour), 0o755, "it is not the node's");
    }
}
