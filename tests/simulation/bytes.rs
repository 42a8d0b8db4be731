//! A real sale in the real log, cut at every byte (rules L1, L3, L4): what is found is whole frames, none before the cut is lost, and
//! the log goes on from there.

use crate::judge::Judge;
use crate::paper::Paper;
use crate::plan::Plan;
use crate::run;
use crate::seeds::hush;
use crate::world::World;
use doorbuster_storage::embedded::log::{Log, LogOptions, Recovered};
use doorbuster_storage::{Batch, Record};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Frames of the recorded log.
const FRAMES: usize = 150;
/// One segment holds them all, so that a cut is one place in one file.
const OPTIONS: LogOptions =
    LogOptions { segment_bytes: 256 << 10, segments_ahead: 0, frame_bytes_max: 64 << 10, segment_age_max_ms: u64::MAX };

fn folder() -> &'static Path {
    Path::new("/log")
}

fn open(disk: &Paper) -> (Log, Recovered) {
    Log::open_on(Arc::new(disk.clone()), folder(), OPTIONS).expect("a torn tail is cut, nothing else is wrong")
}

/// The first batches of a sale without faults.
fn a_sale() -> Vec<Batch> {
    hush();
    run::in_virtual_time(async {
        let plan = Plan::busy(11);
        let world = World::new(plan.clone(), World::disk_of(&plan), false);
        run::live(&world).await;
        assert_eq!(world.broken(), None);
        let mut batches = world.disk.frames_from(0);
        assert!(batches.len() >= FRAMES, "{} batches are too few", batches.len());
        batches.truncate(FRAMES);
        batches
    })
}

/// The file of the log that holds frames.
fn segment(disk: &Paper) -> PathBuf {
    let mut largest = disk.paths();
    largest.retain(|path| path.parent() == Some(folder()));
    assert_eq!(largest.len(), 1, "one segment and nothing else: {largest:?}");
    largest.remove(0)
}

#[test]
fn a_sale_in_the_real_log_cut_at_any_byte_is_whole_frames() {
    let sale = a_sale();
    let disk = Paper::default();
    let mut ends: Vec<usize> = Vec::with_capacity(FRAMES);
    let (mut log, empty) = open(&disk);
    let begin = usize::try_from(empty.end.0).expect("small");
    for batch in &sale {
        log.append(&batch.records).expect("it is written");
        ends.push(usize::try_from(log.position().0).expect("small"));
    }
    drop(log);
    let path = segment(&disk);
    let last = *ends.last().expect("frames");
    let mut written = Vec::new();
    disk.tamper(&path, |bytes| written.clone_from(bytes));
    let expected: Vec<&[Record]> = sale.iter().map(|batch| batch.records.as_slice()).collect();
    // From the end to the beginning, on one disk: recovery itself makes zeros of what a cut leaves behind a whole frame.
    for offset in (begin..=last).rev() {
        disk.tamper(&path, |bytes| bytes[offset..=last].fill(0));
        let before = ends.partition_point(|end| *end <= offset);
        // A frame that ends in zeros is whole without them.
        let misses_nothing = ends.get(before).is_some_and(|end| written[offset..*end].iter().all(|byte| *byte == 0));
        let whole = before + usize::from(misses_nothing);
        let (log, recovered) = open(&disk);
        assert_eq!(recovered.frames, u64::try_from(whole).expect("few"), "cut at byte {offset}");
        let end = if whole == 0 { begin } else { ends[whole - 1] };
        assert_eq!(recovered.end.0, u64::try_from(end).expect("small"), "cut at byte {offset}");
        if ends.contains(&offset) {
            let found: Vec<Vec<Record>> = log.reader().frames().map(|frame| frame.expect("whole").records).collect();
            assert_eq!(found, expected[..whole], "cut at byte {offset}");
        }
        drop(log);
        for other in disk.paths().into_iter().filter(|other| *other != path) {
            doorbuster_storage::embedded::log::Disk::remove(&disk, &other).expect("the copy of the torn tail");
        }
    }
}

#[test]
fn what_the_real_log_gives_back_is_the_sale() {
    let sale = a_sale();
    let disk = Paper::default();
    let (mut log, _) = open(&disk);
    for batch in &sale {
        log.append(&batch.records).expect("it is written");
    }
    drop(log);
    let mut judge = Judge::default();
    for frame in open(&disk).0.reader().frames() {
        let records = frame.expect("whole").records;
        judge.take(&Batch { id: 0, records }).expect("lawful");
    }
    assert_eq!(judge.batches(), FRAMES);
}
