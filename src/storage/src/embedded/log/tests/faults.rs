//! Calls that fail, processes that are killed, power that goes (rules L3, L5, L6, L8).

use super::super::fault_disk::{Fault, SYNC_TOOK};
use super::*;

/// Opens, appends, stops cleanly, over and over, until the disk refuses; how many frames were acknowledged before.
fn work(disk: &FaultDisk, written: &mut Vec<Vec<Record>>) -> usize {
    let mut acknowledged = written.len();
    for _ in 0..3 {
        let Ok((mut log, recovered)) = open(disk) else { return acknowledged };
        for batch in (Batches { large: true, ..Batches::after(acknowledged, &recovered) }).take(25) {
            written.push(batch.clone());
            if let Err(first) = log.append(&batch) {
                let failed = LogError::Failed { first: first.to_string() };
                assert_eq!(log.append(&batch), Err(failed.clone()), "L8");
                assert_eq!(log.seal(), Err(failed), "L8");
                return acknowledged;
            }
            acknowledged += 1;
        }
        drop(log.seal());
    }
    acknowledged
}

/// All that was acknowledged, perhaps the one frame that was under way, whole; nothing else.
fn check(disk: &FaultDisk, written: &[Vec<Record>], acknowledged: usize, case: &str) -> usize {
    let (log, _) = open(disk).unwrap_or_else(|error| panic!("{case}: {error}"));
    let found = frames(&log.reader());
    assert!((acknowledged..=acknowledged + 1).contains(&found.len()), "{case}: {} of {acknowledged}", found.len());
    assert_same(&found, &written[..found.len()], case);
    found.len()
}

fn changes_of_all_work() -> u64 {
    let disk = FaultDisk::default();
    assert_eq!(work(&disk, &mut Vec::new()), 75);
    disk.changes()
}

#[test]
fn a_power_cut_at_any_call_leaves_what_was_acknowledged_and_no_part_of_a_frame() {
    for at in 1..=changes_of_all_work() {
        for seed in 0..6 {
            let disk = FaultDisk::default();
            disk.fail_at(at, Fault::Stops);
            let mut written = Vec::new();
            let acknowledged = work(&disk, &mut written);
            let case = format!("call {at}, seed {seed}");
            let disk = disk.after_power_cut(seed);
            let served = check(&disk, &written, acknowledged, &case);
            // What recovery served stays, whatever happens next: this is what L6 is for.
            let again = disk.after_power_cut(seed.wrapping_mul(31) + at);
            let found = check(&again, &written, served, &format!("{case}, again"));
            assert_eq!(found, served, "{case}, again");
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Frames of any size up to many sectors, the power going in the middle of any call, twice.
    #[test]
    fn whatever_sectors_a_power_cut_keeps_frames_are_whole_or_absent(
        sizes in proptest::collection::vec(0_usize..3500, 1..30), at in 1_u64..120, seed: u64,
    ) {
        let disk = FaultDisk::default();
        disk.fail_at(at, Fault::Stops);
        let record = |(number, size): (usize, &usize)| {
            let seq = u64::try_from(number).unwrap() + 1;
            vec![Record { shard: Shard(3), epoch: 1, seq, events: 1, body: Bytes::from(vec![0xA5; *size]) }]
        };
        let written: Vec<_> = sizes.iter().enumerate().map(record).collect();
        let acknowledged = match open(&disk) {
            Ok((mut log, _)) => written.iter().take_while(|batch| log.append(batch).is_ok()).count(),
            Err(_) => 0,
        };
        let disk = disk.after_power_cut(seed);
        let served = check(&disk, &written, acknowledged, "the power went");
        let found = check(&disk.after_power_cut(!seed), &written, served, "and again");
        proptest::prop_assert_eq!(found, served);
    }
}

#[test]
fn a_call_that_fails_ends_the_log_and_the_successor_finds_what_was_acknowledged() {
    for at in 1..=changes_of_all_work() {
        for fault in [Fault::Fails, Fault::HalfThenFails] {
            let disk = FaultDisk::default();
            disk.fail_at(at, fault);
            let mut written = Vec::new();
            let acknowledged = work(&disk, &mut written);
            let case = format!("{fault:?} at call {at}");
            let disk = disk.copy();
            let served = check(&disk, &written, acknowledged, &case);
            for seed in 0..4 {
                let found = check(&disk.after_power_cut(seed), &written, served, &case);
                assert_eq!(found, served, "L6: {case}, then the power goes, seed {seed}");
            }
        }
    }
}

#[test]
fn a_power_cut_during_recovery_loses_nothing() {
    let (disk, written) = recorded(30);
    let (generation, last, length) = *locations(&disk).last().unwrap();
    disk.tamper(&segment_path(generation), |bytes| bytes[last + length - 1] ^= 1);
    let calls = {
        let disk = disk.copy();
        let before = disk.changes();
        drop(open(&disk).unwrap());
        disk.changes() - before
    };
    for at in 1..=calls {
        for seed in 0..10 {
            let disk = disk.copy();
            disk.fail_at(at, Fault::Stops);
            drop(open(&disk));
            check(&disk.after_power_cut(seed), &written[..29], 29, &format!("call {at}, seed {seed}"));
        }
    }
}

#[test]
fn recovery_writes_the_last_frame_again_since_it_may_be_in_memory_only() {
    let (disk, mut written) = recorded(10);
    let (mut log, recovered) = open(&disk).unwrap();
    let batch = Batches::after(10, &recovered).next().unwrap();
    disk.fail_at(2, Fault::Fails);
    assert!(matches!(log.append(&batch), Err(LogError::Io { verb: "sync", .. })));
    drop(log);
    written.push(batch);
    for seed in 0..20 {
        let disk = disk.copy();
        let (log, _) = open(&disk).unwrap();
        assert_same(&frames(&log.reader()), &written, "the successor reads it, and serves it");
        let (log, _) = open(&disk.after_power_cut(seed)).unwrap();
        assert_same(&frames(&log.reader()), &written, &format!("L6: so it must stay, seed {seed}"));
    }
}

#[test]
fn recovery_syncs_names_that_may_be_in_memory_only() {
    // The rotation gave the new segment its name, and failed before that was durable.
    let disk = FaultDisk::default();
    let (mut log, recovered) = open(&disk).unwrap();
    let batches: Vec<_> = Batches::after(0, &recovered).take(100).collect();
    for batch in &batches {
        let second = segment_path(2);
        let rotation = disk.copy();
        log.append(batch).unwrap();
        if disk.paths().contains(&second) {
            drop(log);
            // Create, zeros and their sync, header and its sync, rename; then the folder's sync.
            let begun = rotation.copy();
            let (mut log, recovered) = open(&begun).unwrap();
            begun.fail_at(7, Fault::Fails);
            assert!(log.append(batch).is_err());
            assert!(begun.paths().contains(&second), "the name is given");
            let mut written = batches[..usize::try_from(recovered.frames).unwrap()].to_vec();
            let (mut log, _) = open(&begun).unwrap();
            log.append(batch).unwrap();
            written.push(batch.clone());
            for seed in 0..20 {
                check(&begun.after_power_cut(seed), &written, written.len(), &format!("L6: seed {seed}"));
            }
            return;
        }
    }
    panic!("no rotation");
}

#[test]
fn what_a_killed_process_was_preparing_is_cleared_away() {
    let disk = FaultDisk::default();
    super::super::Disk::create(&disk, &super::super::segment::Name::Spare(7).path(folder())).unwrap();
    let spares = |disk: &FaultDisk| disk.paths().iter().filter(|path| path.to_string_lossy().contains("spare")).count();
    assert_eq!(spares(&disk), 1);
    drop(open(&disk).unwrap());
    assert_eq!(spares(&disk), 0);
}

#[test]
fn a_failed_write_or_sync_is_never_retried() {
    for (at, fault) in [(1, Fault::Fails), (1, Fault::HalfThenFails), (2, Fault::Fails)] {
        let (disk, written) = recorded(3);
        let (mut log, recovered) = open(&disk).unwrap();
        let batch = Batches::after(3, &recovered).next().unwrap();
        disk.fail_at(at, fault);
        let first = log.append(&batch).unwrap_err();
        let changes = disk.changes();
        // The next failure may be the first that is reported, so it names what failed and the file.
        let failed = LogError::Failed { first: first.to_string() };
        assert!(failed.to_string().contains("segment-"), "{failed}");
        assert_eq!(log.append(&batch), Err(failed.clone()), "L8");
        assert_eq!(log.retire(&BTreeMap::new(), Default::default(), 0), Err(failed.clone()), "L8");
        assert_same(&frames(&log.reader()), &written, "readers see only what is durable");
        assert_eq!(log.seal(), Err(failed), "L8");
        assert_eq!(disk.changes(), changes, "the disk is not touched again");
    }
}

#[test]
fn the_seal_goes_before_the_first_append_and_not_earlier() {
    let (disk, mut written) = sealed(8);
    let (log, recovered) = open(&disk).unwrap();
    assert!(recovered.sealed);
    drop(log);
    let (mut log, recovered) = open(&disk).unwrap();
    assert!(recovered.sealed, "L5: it stands while nothing was appended");
    let batch = Batches::after(8, &recovered).next().unwrap();
    log.append(&batch).unwrap();
    written.push(batch);
    for seed in 0..20 {
        let (log, recovered) = open(&disk.after_power_cut(seed)).unwrap();
        assert!(!recovered.sealed, "L5: the removal was synced before the frame");
        assert_same(&frames(&log.reader()), &written, "all of it");
    }
}

#[test]
fn a_write_that_falls_short_is_continued() {
    let disk = FaultDisk::default();
    disk.write_short();
    let mut written = Vec::new();
    assert_eq!(work(&disk, &mut written), 75);
    check(&disk.after_power_cut(1), &written, 75, "short writes");
}

#[test]
fn an_append_says_where_it_ended_and_how_long_its_sync_took() {
    let (mut log, recovered) = open(&FaultDisk::default()).unwrap();
    let appended = log.append(&Batches::default().next().unwrap()).unwrap();
    assert_eq!(appended.position.0, recovered.end.0 + appended.bytes);
    assert_eq!(u128::from(appended.sync_ns), SYNC_TOOK.as_nanos());
    assert_eq!(log.append(&[]).unwrap().bytes, 0, "nothing to do");
}

#[test]
fn an_append_too_large_is_refused_and_smaller_ones_go_on() {
    let (mut log, _) = open(&FaultDisk::default()).unwrap();
    let batch = Batches::default().next().unwrap();
    let mut large = batch.clone();
    large[0].body = Bytes::from(vec![1; 5000]);
    assert!(matches!(log.append(&large), Err(LogError::TooLarge { max: 4096, .. })));
    log.append(&batch).unwrap();
}

#[test]
fn records_out_of_order_are_refused_before_they_are_written() {
    let (disk, written) = recorded(4);
    let (mut log, _) = open(&disk).unwrap();
    let (_, before) = read(&disk).unwrap();
    assert!(matches!(log.append(&written[0]), Err(LogError::OutOfOrder { seq: 1, .. })));
    assert!(matches!(log.append(&written[0]), Err(LogError::Failed { .. })));
    assert_eq!(read(&disk).unwrap().1, before);
}
