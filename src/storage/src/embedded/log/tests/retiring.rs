//! Segments that go, and come back as others (rules L3, L7).

use super::*;
use crate::embedded::log::{Retired, Why};
use doorbuster_domain::time::Timestamp;

const DAY_MS: u64 = 86_400_000;

fn seqs(recovered: &Recovered) -> BTreeMap<Shard, u64> {
    recovered.ends.iter().map(|(shard, tail)| (*shard, tail.seq)).collect()
}

fn names(disk: &FaultDisk) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    disk.paths().iter().map(name).filter(|name| !name.starts_with("spare")).collect()
}

#[test]
fn the_log_is_kept_one_checkpoint_longer_than_needed() {
    let (disk, _) = recorded(150);
    let (mut log, recovered) = open(&disk).unwrap();
    let all = seqs(&recovered);
    let later = Timestamp(0);
    assert_eq!(log.retire(&all, later, DAY_MS).unwrap(), Retired::default(), "L7: one longer");
    let retired = log.retire(&all, later, DAY_MS).unwrap();
    assert!(retired.kept >= 2, "{retired:?}");
    assert_eq!(retired.recycled, 0, "their retention time is not over");
    let (log, again) = open(&disk).unwrap();
    assert_eq!(again.ends, recovered.ends);
    assert!(again.frames < recovered.frames, "recovery no longer reads them");
    assert_eq!(frames(&log.reader()).len(), 150, "the audit does");
    assert!(again.bases.values().all(|base| *base > 0));
    again.check_flushed(&all).unwrap();
    assert!(again.check_flushed(&BTreeMap::new()).is_err());
}

#[test]
fn a_segment_stays_while_one_shard_needs_it() {
    let (disk, _) = recorded(150);
    let (mut log, recovered) = open(&disk).unwrap();
    let mut flushed = seqs(&recovered);
    flushed.insert(Shard(2), 3);
    for _ in 0..3 {
        assert_eq!(log.retire(&flushed, Timestamp(DAY_MS), 0).unwrap(), Retired::default());
    }
    assert_eq!(open(&disk).unwrap().1.frames, 150);
}

#[test]
fn what_is_replayed_begins_where_it_was_asked_to_and_what_is_gone_is_an_error() {
    let (disk, written) = recorded(150);
    let (mut log, recovered) = open(&disk).unwrap();
    let all: Vec<Record> = written.concat();
    for shard in [Shard(0), Shard(1), Shard(2)] {
        for from in 0..=recovered.ends[&shard].seq + 1 {
            let found: Vec<Record> = log.reader().replay(shard, from).map(Result::unwrap).collect();
            let expected: Vec<Record> =
                all.iter().filter(|record| record.shard == shard && record.last_seq() >= from).cloned().collect();
            assert_eq!(found, expected, "shard {shard} from {from}");
        }
    }
    let from = BTreeMap::from([(Shard(0), 5), (Shard(2), 9)]);
    let found: Vec<Record> = log.reader().replay_all(from.clone()).map(Result::unwrap).collect();
    let wanted = |record: &&Record| from.get(&record.shard).is_some_and(|from| record.last_seq() >= *from);
    assert_eq!(found, all.iter().filter(wanted).cloned().collect::<Vec<_>>());

    let flushed = seqs(&recovered);
    log.retire(&flushed, Timestamp(DAY_MS), 0).unwrap();
    assert!(log.retire(&flushed, Timestamp(DAY_MS), 0).unwrap().recycled > 0);
    let mut gone = log.reader().replay(Shard(0), 1);
    assert!(matches!(gone.next(), Some(Err(LogError::Retired { from: 1, .. }))));
    assert!(gone.next().is_none());
    let base = open(&disk).unwrap().1.bases[&Shard(0)];
    assert_eq!(log.reader().replay(Shard(0), base + 1).next().unwrap().unwrap().seq, base + 1);
}

#[test]
fn a_kept_segment_is_recycled_when_its_retention_time_is_over() {
    let disk = FaultDisk::default();
    disk.set_now_ms(5 * DAY_MS);
    let (mut log, recovered) = open(&disk).unwrap();
    for batch in Batches::after(0, &recovered).take(150) {
        log.append(&batch).unwrap();
    }
    let flushed = seqs(&read(&disk).unwrap().1);
    log.retire(&flushed, Timestamp(5 * DAY_MS), 2 * DAY_MS).unwrap();
    assert_eq!(log.retire(&flushed, Timestamp(7 * DAY_MS - 1), 2 * DAY_MS).unwrap().recycled, 0);
    assert!(log.retire(&flushed, Timestamp(7 * DAY_MS), 2 * DAY_MS).unwrap().recycled > 0);
}

#[test]
fn a_segment_that_a_reader_walks_over_is_not_taken_away() {
    let (disk, written) = recorded(150);
    let (mut log, recovered) = open(&disk).unwrap();
    let flushed = seqs(&recovered);
    let reader = log.reader();
    let mut walk = reader.frames();
    assert_eq!(walk.next().unwrap().unwrap().records, written[0]);
    for _ in 0..3 {
        assert_eq!(log.retire(&flushed, Timestamp(DAY_MS), 0).unwrap().recycled, 0);
    }
    let rest: Vec<_> = walk.by_ref().map(|frame| frame.unwrap().records).collect();
    assert_same(&rest, &written[1..], "all of it");
    drop(walk);
    assert!(log.retire(&flushed, Timestamp(DAY_MS), 0).unwrap().recycled > 0);
}

#[test]
fn what_a_recycled_segment_held_is_gone_and_never_comes_back() {
    let disk = FaultDisk::default();
    let (mut log, recovered) = open(&disk).unwrap();
    let mut all = Vec::new();
    let mut batches = Batches::after(0, &recovered);
    let first = batches.next().unwrap();
    log.append(&first).unwrap();
    all.push(first);
    let mut oldest = 0;
    for batch in batches.take(400) {
        log.append(&batch).unwrap();
        all.push(batch);
        if all.len() % 20 == 0 {
            let ends = read(&disk).unwrap().1;
            oldest += log.retire(&seqs(&ends), Timestamp(DAY_MS), 0).unwrap().recycled;
        }
    }
    assert!(oldest > 3, "segments went round");
    drop(log);
    for seed in 0..10 {
        let (log, recovered) = open(&disk.after_power_cut(seed)).unwrap();
        let found = frames(&log.reader());
        assert_same(&found, &all[all.len() - found.len()..], "the newest frames, in order");
        assert_eq!(recovered.torn, None, "nothing of an earlier use lies behind the end");
    }
}

#[test]
fn frames_of_an_earlier_generation_do_not_count_even_where_a_frame_would_be() {
    let (disk, written) = recorded(150);
    let places = locations(&disk);
    let (generation, last, length) = *places.last().unwrap();
    let old = disk.bytes(&segment_path(1));
    let end = last + length;
    // As if the zeros had never been written: the bytes of the file's earlier use, everywhere behind the end.
    disk.tamper(&segment_path(generation), |bytes| bytes[end..].copy_from_slice(&old[end..]));
    let (log, recovered) = open(&disk).unwrap();
    assert!(recovered.torn.is_some(), "L3: no valid frame, so no corruption; but not zeros either");
    assert_same(&frames(&log.reader()), &written, "all of it");
}

#[test]
fn kept_segments_are_checked_when_they_are_read() {
    let (disk, _) = recorded(150);
    let (mut log, recovered) = open(&disk).unwrap();
    let flushed = seqs(&recovered);
    for _ in 0..2 {
        log.retire(&flushed, Timestamp(0), DAY_MS).unwrap();
    }
    drop(log);
    let kept = folder().join("kept-000000000001");
    assert!(names(&disk).contains(&"kept-000000000001".to_owned()));
    disk.tamper(&kept, |bytes| bytes[4200] ^= 1);
    let (log, _) = open(&disk).unwrap();
    let Some(Err(LogError::Corrupt(damage))) = log.reader().frames().find(Result::is_err) else {
        panic!("the audit sees it")
    };
    assert_eq!(damage.segment, 1);
    assert!(matches!(damage.why, Why::Frame(_)));
}

#[test]
fn a_power_cut_at_any_call_of_a_retirement_or_of_what_follows_leaves_a_log_that_opens() {
    let (disk, written) = recorded(150);
    let (_, before) = read(&disk).unwrap();
    let flushed = seqs(&before);
    for at in 1..=60 {
        for seed in 0..8 {
            let disk = disk.copy();
            let (mut log, _) = open(&disk).unwrap();
            log.retire(&flushed, Timestamp(DAY_MS), 0).unwrap();
            disk.fail_at(at, super::super::fault_disk::Fault::Stops);
            let mut acknowledged = 150;
            let mut all = written.clone();
            if log.retire(&flushed, Timestamp(DAY_MS), 0).is_ok() {
                // Large ones, so that the next rotation comes soon and uses a retired segment again.
                let more: Vec<_> = Batches { large: true, ..Batches::after(150, &before) }.take(20).collect();
                acknowledged += more.iter().take_while(|batch| log.append(batch).is_ok()).count();
                all.extend(more);
            }
            drop(log);
            let (log, recovered) = open(&disk.after_power_cut(seed)).unwrap();
            recovered.check_flushed(&flushed).unwrap();
            let found = frames(&log.reader());
            let last = all.iter().position(|batch| Some(batch) == found.last()).map_or(150, |last| last + 1);
            assert!((acknowledged..=acknowledged + 1).contains(&last), "call {at}, seed {seed}");
            assert_same(&found, &all[last - found.len()..last], "the newest frames, in order");
        }
    }
}

#[test]
fn a_retired_segment_of_another_length_does_not_come_back_with_its_old_bytes() {
    let disk = FaultDisk::default();
    let longer = LogOptions { segment_bytes: 12288, ..OPTIONS };
    let (mut log, recovered) = Log::open_on(Arc::new(disk.clone()), folder(), longer).unwrap();
    let batches: Vec<_> = Batches::after(0, &recovered).take(400).collect();
    for batch in &batches[..200] {
        log.append(batch).unwrap();
    }
    drop(log);
    let (mut log, recovered) = open(&disk).unwrap();
    let flushed = seqs(&recovered);
    for _ in 0..2 {
        log.retire(&flushed, Timestamp(DAY_MS), 0).unwrap();
    }
    for batch in &batches[200..] {
        log.append(batch).unwrap();
    }
    let live = |path: &PathBuf| path.to_string_lossy().contains("segment");
    let lengths: Vec<usize> =
        disk.paths().iter().filter(|path| live(path)).map(|path| disk.bytes(path).len()).collect();
    assert!(lengths.len() > 3, "the retired files were used again");
    assert!(lengths[1..].iter().all(|length| *length == 8192), "{lengths:?}");
}
