//! Bytes that change by themselves, files that go (rules L3, L5, L7).

use super::super::frame;
use super::super::segment::Segment;
use super::*;
use crate::embedded::log::{Damage, Why};

fn damage_of(outcome: Result<(Log, Recovered), LogError>) -> Damage {
    match outcome {
        Err(LogError::Corrupt(damage)) => damage,
        Err(other) => panic!("not corruption: {other}"),
        Ok((_, recovered)) => panic!("opened: {recovered:?}"),
    }
}

fn flipped(disk: &FaultDisk, path: &Path, at: usize) -> FaultDisk {
    let disk = disk.copy();
    disk.tamper(path, |bytes| bytes[at] ^= 1 << (at % 8));
    disk
}

#[test]
fn any_flipped_byte_of_an_unsealed_log_is_corruption_and_in_the_last_frame_a_torn_tail() {
    let (disk, written) = recorded(150);
    let places = locations(&disk);
    let (last_generation, last, _) = *places.last().unwrap();
    for (generation, offset, length) in places {
        for at in offset..offset + length {
            let disk = flipped(&disk, &segment_path(generation), at);
            if (generation, offset) == (last_generation, last) {
                let (log, recovered) = open(&disk).unwrap();
                assert!(recovered.torn.is_some(), "byte {at}");
                assert_same(&frames(&log.reader()), &written[..149], "all but the last");
            } else {
                let damage = damage_of(open(&disk));
                assert_eq!((damage.segment, damage.byte), (generation, u64::try_from(offset).unwrap()));
                assert!(LogError::Corrupt(damage).to_string().contains(&format!("in segment {generation} at")));
            }
        }
    }
}

#[test]
fn any_flipped_byte_of_a_sealed_log_is_corruption_to_its_very_end() {
    let (disk, _) = sealed(120);
    for (generation, offset, length) in locations(&disk).into_iter().rev().take(3) {
        for at in offset..offset + length {
            let disk = flipped(&disk, &segment_path(generation), at);
            let before = disk.copy();
            assert_eq!(damage_of(open(&disk)).segment, generation, "L5: byte {at}");
            assert_eq!(
                disk.bytes(&segment_path(generation)),
                before.bytes(&segment_path(generation)),
                "nothing is cut"
            );
            assert!(read(&disk).is_err());
        }
    }
}

#[test]
fn any_flipped_byte_of_a_header_or_of_the_seal_is_corruption() {
    let (disk, _) = sealed(120);
    for generation in [1, 2] {
        for at in 0..4096 {
            let damage = damage_of(open(&flipped(&disk, &segment_path(generation), at)));
            assert_eq!((damage.segment, damage.why), (generation, Why::Header), "byte {at}");
        }
    }
    for at in 0..32 {
        assert_eq!(damage_of(open(&flipped(&disk, &folder().join("seal"), at))).why, Why::Seal, "byte {at}");
    }
    let longer = disk.copy();
    longer.tamper(&folder().join("seal"), |bytes| bytes.push(0));
    assert_eq!(damage_of(open(&longer)).why, Why::Seal);
}

#[test]
fn a_sealed_log_may_not_end_before_its_seal() {
    let (disk, _) = sealed(120);
    let (generation, last, _) = *locations(&disk).last().unwrap();
    let cut = disk.copy();
    cut.tamper(&segment_path(generation), |bytes| bytes[last..].fill(0));
    assert!(matches!(damage_of(open(&cut)).why, Why::CutBeforeSeal(_)));
    disk.lose(&segment_path(generation));
    assert!(matches!(damage_of(open(&disk)).why, Why::CutBeforeSeal(_)), "a whole segment is gone");
}

#[test]
fn a_sealed_log_may_not_go_on_behind_its_seal() {
    let (disk, _) = sealed(9);
    let tail = read(&disk).unwrap().1.ends[&Shard(0)];
    forge(&disk, Record { shard: Shard(0), epoch: 9, seq: tail.seq + 1, events: 1, body: Bytes::new() }, false);
    assert!(matches!(damage_of(open(&disk)).why, Why::BehindSeal(_)), "L5: the seal goes before the first append");
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, _) = recorded(150);
    disk.lose(&segment_path(2));
    let damage = damage_of(open(&disk));
    assert_eq!((damage.segment, damage.why), (2, Why::SegmentMissing));
    let (disk, _) = sealed(1);
    disk.lose(&segment_path(1));
    assert_eq!(damage_of(open(&disk)).why, Why::SegmentMissing, "a seal without a log");
}

#[test]
fn a_segment_under_another_name_is_not_taken_for_that_one() {
    let (disk, _) = recorded(150);
    let second = disk.bytes(&segment_path(2));
    disk.tamper(&segment_path(1), |bytes| *bytes = second);
    assert_eq!(damage_of(open(&disk)).why, Why::OtherSegment(2));
}

#[test]
fn a_segment_of_another_log_does_not_fit_in() {
    let (disk, _) = recorded(150);
    let other = recorded(120).0;
    let foreign = other.bytes(&segment_path(1));
    disk.tamper(&segment_path(1), |bytes| {
        *bytes = foreign;
        let mut header = Segment::decode(&bytes[..4096]).unwrap();
        header.salt += 1;
        bytes[..4096].copy_from_slice(&header.encode().unwrap());
    });
    assert!(matches!(damage_of(open(&disk)).why, Why::Frame(_)), "L3: the salt seeds the frames' CRCs");
}

/// Puts a frame with a right CRC behind the log's last.
fn forge(disk: &FaultDisk, record: Record, chain_changes: bool) {
    let (generation, offset, length) = *locations(disk).last().unwrap();
    let end = offset + length;
    disk.tamper(&segment_path(generation), |bytes| {
        let segment = Segment::decode(&bytes[..4096]).unwrap();
        let chain = u32::from_le_bytes(bytes[offset + 32..offset + 36].try_into().unwrap());
        let mut forged = Vec::new();
        let location = segment.location(u64::try_from(end).unwrap());
        frame::encode(location, chain ^ u32::from(chain_changes), &[record], &mut forged).unwrap();
        bytes[end..end + forged.len()].copy_from_slice(&forged);
    });
}

#[test]
fn a_hole_a_falling_epoch_and_a_broken_chain_are_corruption_that_names_shard_and_event() {
    let (disk, _) = recorded(60);
    let shard = Shard(1);
    let tail = read(&disk).unwrap().1.ends[&shard];
    let next = Record { shard, epoch: tail.epoch, seq: tail.seq + 1, events: 1, body: Bytes::new() };
    let why = |record: Record, chain_changes: bool| {
        let disk = disk.copy();
        forge(&disk, record, chain_changes);
        damage_of(open(&disk)).why
    };
    let hole = Record { seq: tail.seq + 2, ..next.clone() };
    assert_eq!(why(hole, false), Why::Hole { shard, expected: tail.seq + 1, found: tail.seq + 2 });
    let fell = Record { epoch: tail.epoch - 1, ..next.clone() };
    let expected = Why::EpochFell { shard, seq: tail.seq + 1, was: tail.epoch, found: tail.epoch - 1 };
    assert_eq!(why(fell, false), expected);
    assert_eq!(why(next.clone(), true), Why::Chain);
    assert_eq!(why(Record { events: 0, ..next.clone() }, false), Why::Records);
    forge(&disk, next, false);
    assert!(open(&disk).is_ok(), "the forger's frame is good otherwise");
}

#[test]
fn a_header_must_continue_the_segment_before_it() {
    let (disk, _) = recorded(150);
    let change = |change: fn(&mut Segment)| {
        let disk = disk.copy();
        disk.tamper(&segment_path(2), |bytes| {
            let mut header = Segment::decode(&bytes[..4096]).unwrap();
            change(&mut header);
            bytes[..4096].copy_from_slice(&header.encode().unwrap());
        });
        damage_of(open(&disk)).why
    };
    assert_eq!(change(|header| header.before.get_mut(&Shard(0)).unwrap().seq += 1), Why::HeaderDisagrees);
    assert_eq!(change(|header| header.predecessor += 1), Why::HeaderDisagrees);
    assert_eq!(change(|header| header.base += 1), Why::HeaderDisagrees);
    assert_eq!(change(|header| header.predecessor_end = 1), Why::HeaderDisagrees);
    assert_eq!(change(|header| header.predecessor_end = u64::MAX), Why::HeaderDisagrees);
}

#[test]
fn states_and_log_must_meet_for_every_shard() {
    let shard = Shard(4);
    let recovered = Recovered {
        ends: BTreeMap::from([(shard, super::super::Tail { seq: 20, epoch: 1 })]),
        bases: BTreeMap::from([(shard, 10)]),
        ..Recovered::default()
    };
    let check = |flushed: u64| recovered.check_flushed(&BTreeMap::from([(shard, flushed)]));
    assert_eq!(check(10), Ok(()));
    assert_eq!(check(20), Ok(()));
    assert_eq!(check(9), Err(LogError::Lost { shard, base: 10, flushed: 9, end: 20 }), "L7: states were lost");
    assert_eq!(check(21), Err(LogError::Lost { shard, base: 10, flushed: 21, end: 20 }), "L7: the log was lost");
    assert!(recovered.check_flushed(&BTreeMap::new()).is_err());
}
