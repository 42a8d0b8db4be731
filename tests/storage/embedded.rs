//! What a data folder on a real disk must hold besides: one process, one layout, and nothing lost without a word.

use crate::given::{Backend, LAYOUT, OnDisk, Owner, append, everything, first_error, options, order_on, state};
use crate::holding::files_with;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::embedded::{EmbeddedJournal, Stopped};
use doorbuster_storage::wire::{HEAD, PERSONAL};
use doorbuster_storage::{Journal, Layout, Record, Shard, StateFlush};
use std::fs;
use std::path::{Path, PathBuf};

const A: Shard = Shard(0);

fn refused(path: &Path) -> String {
    EmbeddedJournal::open(path, options()).unwrap_err().to_string()
}

#[tokio::test]
async fn a_folder_in_use_is_refused_by_name() {
    let disk = OnDisk::default();
    let journal = disk.open().await;
    let error = refused(disk.0.path());
    assert!(error.contains("in use") && error.contains(&disk.0.path().display().to_string()), "{error}");
    assert!(Stopped::open(disk.0.path()).unwrap_err().to_string().contains("in use"));
    disk.stop(journal, false);
    disk.open().await;
}

/// Rule O1.
#[tokio::test]
async fn another_layout_is_refused_and_both_are_named() {
    let disk = OnDisk::default();
    disk.stop(disk.open().await, true);
    for layout in [Layout { shards: 8, hash_version: 1 }, Layout { shards: 4, hash_version: 2 }] {
        let mut other = options();
        other.layout = layout;
        let error = EmbeddedJournal::open(disk.0.path(), other).unwrap_err().to_string();
        assert!(error.contains("4 shards and version 1"), "{error}");
        assert!(error.contains(&format!("{} and {}", layout.shards, layout.hash_version)), "{error}");
    }
    disk.open().await;
}

#[tokio::test]
async fn a_folder_of_another_form_of_records_is_refused_with_a_sentence() {
    let disk = OnDisk::default();
    disk.stop(disk.open().await, true);
    let path = disk.0.path().join("LAYOUT");
    let layout = fs::read_to_string(&path).unwrap();
    for (line, words) in [
        ("", "an earlier version of Doorbuster, in form 1 of its records; this version reads forms 2 and 3"),
        ("record_format = 1", "an earlier version of Doorbuster, in form 1 of its records; this version reads forms 2"),
        (
            "record_format = 4",
            "a later version of Doorbuster, in form 4 of its records; this version reads forms 2 and 3",
        ),
    ] {
        fs::write(&path, layout.replace("record_format = 3", line)).unwrap();
        let error = refused(disk.0.path());
        assert!(error.contains(words) && error.contains("start with an empty folder"), "{error}");
        assert_eq!(Stopped::open(disk.0.path()).unwrap_err().to_string(), error);
    }
    fs::write(&path, layout).unwrap();
    disk.open().await;
}

/// The version before reads a folder of form 2 only, and would not find what this version writes into it.
#[tokio::test]
async fn a_folder_of_the_form_before_opens_and_is_of_this_form_before_anything_is_written() {
    let disk = OnDisk::default();
    disk.stop(disk.open().await, true);
    let path = disk.0.path().join("LAYOUT");
    let layout = fs::read_to_string(&path).unwrap();
    fs::write(&path, layout.replace("record_format = 3", "record_format = 2")).unwrap();
    drop(Stopped::open(disk.0.path()).unwrap());
    assert_ne!(fs::read_to_string(&path).unwrap(), layout, "a reader changes nothing");
    let journal = disk.open().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), layout);
    disk.stop(journal, true);
}

#[tokio::test]
async fn data_without_a_layout_is_refused() {
    let disk = OnDisk::default();
    disk.stop(disk.open().await, true);
    fs::write(disk.0.path().join("LAYOUT"), "shards = many").unwrap();
    assert!(refused(disk.0.path()).contains("LAYOUT cannot be read"));
    fs::remove_file(disk.0.path().join("LAYOUT")).unwrap();
    assert!(refused(disk.0.path()).contains("LAYOUT is gone"));
    assert!(Stopped::open(disk.0.path()).unwrap_err().to_string().contains("not a data folder"));
}

async fn with_a_checkpoint(disk: &OnDisk, events: u64, upto: u64) {
    let journal = disk.open().await;
    let mut owner = Owner::of(&journal, A).await;
    for number in 1..=events {
        owner.write(&journal, &order_on(A, 0), number).await;
    }
    owner.checkpoint(&journal, upto).await;
    disk.stop(journal, true);
}

/// Rule L7: states are stored up to an event that the log does not have.
#[tokio::test]
async fn a_log_that_is_gone_is_noticed_and_the_shard_named() {
    let disk = OnDisk::default();
    with_a_checkpoint(&disk, 5, 3).await;
    fs::remove_dir_all(disk.0.path().join("log")).unwrap();
    let error = refused(disk.0.path());
    assert!(error.contains("shard 0") && error.contains("something was lost"), "{error}");
}

/// Rule L7: segments were retired because states covered them, and now the states are gone.
#[tokio::test]
async fn states_that_are_gone_are_noticed_once_the_log_before_them_is_retired() {
    let disk = OnDisk::default();
    let journal = disk.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let mut number = 0;
    for _ in 0..4 {
        for _ in 0..6 {
            let batch: Vec<_> = (0..500)
                .map(|_| {
                    number += 1;
                    owner.record(&order_on(A, 0), number, 1, Some("some personal data to fill a segment"))
                })
                .collect();
            append(&journal, batch).await.unwrap();
        }
        owner.checkpoint(&journal, owner.next - 1).await;
    }
    assert_eq!(everything(&journal, A).await.len(), 12_000);
    disk.stop(journal, true);
    let kept = fs::read_dir(disk.0.path().join("log")).unwrap();
    assert!(kept.flatten().any(|file| file.file_name().to_string_lossy().starts_with("kept")), "segments retired");
    let saved = disk.0.path().join("saved");
    fs::rename(disk.0.path().join("states"), &saved).unwrap();
    let error = refused(disk.0.path());
    assert!(error.contains("shard 0") && error.contains("something was lost"), "{error}");
    fs::remove_dir_all(disk.0.path().join("states")).unwrap();
    fs::rename(saved, disk.0.path().join("states")).unwrap();
    assert_eq!(everything(&disk.open().await, A).await.len(), 12_000);
}

#[tokio::test]
async fn a_small_memory_for_the_tail_changes_nothing_but_speed() {
    let disk = OnDisk::default();
    let mut small = options();
    small.tail_bytes = 500;
    let journal = EmbeddedJournal::open(disk.0.path(), small).unwrap().0;
    let mut owner = Owner::of(&journal, A).await;
    let mut written = Vec::new();
    for number in 1..=30 {
        written.push(owner.write(&journal, &order_on(A, 0), number).await);
        assert_eq!(journal.history(A, &order_on(A, 0), 0, 100).await.unwrap(), written);
        if number % 4 == 0 {
            owner.checkpoint(&journal, number - 1).await;
        }
    }
    assert_eq!(everything(&journal, A).await, written);
}

#[tokio::test]
async fn appends_go_on_while_a_checkpoint_is_under_way() {
    let disk = OnDisk::default();
    let journal = disk.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let (mut written, mut flushed) = (Vec::new(), 0);
    for round in 0..6_u64 {
        for number in 0..50 {
            written.push(owner.write(&journal, &order_on(A, 0), round * 100 + number + 1).await);
        }
        let (claim, upto) = (owner.claim, owner.next - 1);
        let flushing = journal.clone();
        let checkpoint = tokio::spawn(async move { flushing.checkpoint(&claim, StateFlush::default(), upto).await });
        for number in 50..100 {
            written.push(owner.write(&journal, &order_on(A, 0), round * 100 + number + 1).await);
            tokio::task::yield_now().await;
        }
        checkpoint.await.unwrap().unwrap();
        flushed = upto;
        assert_eq!(everything(&journal, A).await, written);
    }
    disk.stop(journal, false);
    let journal = disk.open().await;
    assert_eq!(journal.claim(A, "n1").await.unwrap().flushed_upto, flushed);
    assert_eq!(everything(&journal, A).await, written);
}

#[tokio::test]
async fn what_is_erased_is_in_no_file_of_the_tables() {
    const SECRET: &str = "Ada Lovelace, 12 St James's Square";
    let disk = OnDisk::default();
    let journal = disk.open().await;
    let (mut owner, order) = (Owner::of(&journal, A).await, order_on(A, 0));
    let record = owner.record(&order, 1, 1, Some(SECRET));
    append(&journal, vec![record]).await.unwrap();
    let states = vec![state(&order, HEAD, 1, "facts"), state(&order, PERSONAL, 1, SECRET)];
    journal.checkpoint(&owner.claim, StateFlush { states, ..StateFlush::default() }, 1).await.unwrap();
    assert!(!files_with(&disk.0.path().join("states"), SECRET).is_empty(), "it was there");
    let flush = StateFlush { erase: vec![order], ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 1).await.unwrap();
    disk.stop(journal, true);
    disk.stop(disk.open().await, true);
    assert_eq!(files_with(&disk.0.path().join("states"), SECRET), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn segments_go_after_their_retention_time_and_history_stays() {
    let disk = OnDisk::default();
    let mut brief = options();
    brief.keep_ms = 0;
    brief.now = || Timestamp(u64::MAX);
    let journal = EmbeddedJournal::open(disk.0.path(), brief).unwrap().0;
    let mut owner = Owner::of(&journal, A).await;
    let mut written: Vec<Record> = Vec::new();
    for round in 0..12_u64 {
        let batch: Vec<_> =
            (0..600).map(|number| owner.record(&order_on(A, 0), round * 600 + number + 1, 1, None)).collect();
        append(&journal, batch.clone()).await.unwrap();
        written.extend(batch);
        owner.checkpoint(&journal, owner.next - 1).await;
    }
    let names = |prefix: &str| {
        let files = fs::read_dir(disk.0.path().join("log")).unwrap().flatten();
        files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix)).count()
    };
    assert_eq!(names("kept"), 0);
    assert!(names("segment") <= 4, "{} segments live", names("segment"));
    assert_eq!(everything(&journal, A).await, written);
}

#[tokio::test]
async fn a_stopped_folder_shows_all_it_holds_and_is_not_changed_by_it() {
    let disk = OnDisk::default();
    let journal = disk.open().await;
    let (mut owner, order) = (Owner::of(&journal, A).await, order_on(A, 0));
    let mut written = Vec::new();
    for number in 1..=9 {
        written.push(owner.write(&journal, &order, number).await);
    }
    let states = vec![state(&order, HEAD, 5, "at five")];
    journal.checkpoint(&owner.claim, StateFlush { states: states.clone(), ..StateFlush::default() }, 5).await.unwrap();
    disk.stop(journal, false);
    for _ in 0..2 {
        let stopped = Stopped::open(disk.0.path()).unwrap();
        assert_eq!((stopped.layout(), stopped.shards().count(), stopped.flushed_upto(A)), (LAYOUT, 4, 5));
        assert!(!stopped.recovered().sealed);
        assert_eq!(stopped.records(A).collect::<Result<Vec<_>, _>>().unwrap(), written);
        assert_eq!(stopped.history(&order).unwrap(), written);
        assert_eq!(stopped.entities(A, None, 10).unwrap(), std::slice::from_ref(&order));
        assert_eq!(stopped.load(&order).unwrap(), states);
        assert_eq!(stopped.agenda(A).unwrap(), []);
    }
    let journal = disk.open().await;
    assert_eq!(first_error(&journal, A).await, None);
    assert_eq!(everything(&journal, A).await, written);
}

#[tokio::test]
async fn nothing_is_appended_after_the_seal() {
    let disk = OnDisk::default();
    let journal = disk.open().await;
    let mut owner = Owner::of(&journal, A).await;
    owner.write(&journal, &order_on(A, 0), 1).await;
    journal.close().unwrap();
    journal.close().unwrap();
    let record = owner.record(&order_on(A, 0), 2, 1, None);
    assert!(append(&journal, vec![record]).await.is_err());
    drop(journal);
    let (_journal, recovered) = EmbeddedJournal::open(disk.0.path(), options()).unwrap();
    assert!(recovered.sealed && recovered.torn.is_none());
}
