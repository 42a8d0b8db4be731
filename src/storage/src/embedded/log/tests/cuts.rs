//! A recorded log, cut at every byte (rules L1, L3, L4).

use super::*;

/// The log as it was when only `offset` bytes of segment `generation` had been written.
fn cut(disk: &FaultDisk, generation: u64, offset: usize, shorten: bool) -> FaultDisk {
    let disk = disk.copy();
    disk.tamper(&segment_path(generation), |bytes| {
        bytes.truncate(offset);
        if !shorten {
            bytes.resize(usize::try_from(OPTIONS.segment_bytes).unwrap(), 0);
        }
    });
    for later in generation + 1..100 {
        if disk.paths().contains(&segment_path(later)) {
            disk.lose(&segment_path(later));
        }
    }
    disk
}

#[test]
fn a_log_cut_at_any_byte_recovers_to_whole_frames_and_loses_none_before_the_cut() {
    let (disk, written) = recorded(200);
    let locations = locations(&disk);
    assert_eq!(locations.len(), 200);
    assert!(locations.last().unwrap().0 >= 3, "over several segments");
    for generation in 1..=locations.last().unwrap().0 {
        let begin = locations.iter().find(|location| location.0 == generation).unwrap().1;
        let end = locations
            .iter()
            .rfind(|location| location.0 == generation)
            .map(|location| location.1 + location.2)
            .unwrap();
        for offset in begin..=end {
            let whole = locations
                .iter()
                .filter(|location| (location.0, location.1 + location.2) <= (generation, offset))
                .count();
            let on_a_boundary =
                offset == begin || locations.iter().any(|at| (at.0, at.1 + at.2) == (generation, offset));
            let disk = cut(&disk, generation, offset, offset % 2 == 0);
            let (log, recovered) = open(&disk).unwrap();
            assert_same(
                &frames(&log.reader()),
                &written[..whole],
                &format!("cut at byte {offset} of segment {generation}"),
            );
            let length = disk.bytes(&segment_path(generation)).len();
            assert_eq!(u64::try_from(length).unwrap(), OPTIONS.segment_bytes, "what is missing is zeros again");
            assert_eq!(recovered.torn.is_none(), on_a_boundary, "cut at byte {offset} of segment {generation}");
        }
    }
}

#[test]
fn a_log_goes_on_after_a_cut_and_the_torn_tail_never_comes_back() {
    let (disk, written) = recorded(20);
    let (generation, last, length) = *locations(&disk).last().unwrap();
    for offset in last + 1..last + length {
        let disk = cut(&disk, generation, offset, false);
        let (mut log, recovered) = open(&disk).unwrap();
        let more: Vec<_> = Batches::after(19, &recovered).take(3).collect();
        for batch in &more {
            log.append(batch).unwrap();
        }
        drop(log);
        let (log, recovered) = open(&disk).unwrap();
        assert_same(&frames(&log.reader()), &[&written[..19], &more[..]].concat(), "after the cut");
        assert_eq!(recovered.torn, None);
    }
}

#[test]
fn a_torn_tail_is_copied_aside_and_zeroed_to_the_segments_end_before_anything_is_served() {
    let (disk, _) = recorded(20);
    let (generation, last, length) = *locations(&disk).last().unwrap();
    let path = segment_path(generation);
    // Its first byte never came, and a sector of it lies far behind.
    disk.tamper(&path, |bytes| {
        bytes[last] = 0;
        bytes[last + 2000] = 7;
    });
    let before = disk.bytes(&path);
    let (_, read_only) = read(&disk).unwrap();
    let (log, recovered) = open(&disk).unwrap();
    let torn = recovered.torn.unwrap();
    assert_eq!((torn.position, torn.bytes), (recovered.end, 2001), "L4: reported");
    assert!(length < 2000);
    assert_eq!(read_only.torn.unwrap().copied_to, None, "reading cuts nothing");
    drop(log);
    // Even if the power goes at once.
    for seed in 0..10 {
        let disk = disk.after_power_cut(seed);
        assert_eq!(disk.bytes(torn.copied_to.as_ref().unwrap()), before[last..=last + 2000], "L4: copied");
        assert!(disk.bytes(&path)[last..].iter().all(|byte| *byte == 0), "L4: zeroed and synced");
    }
}

#[test]
fn a_second_torn_tail_at_the_same_place_does_not_overwrite_the_first_copy() {
    let (disk, _) = recorded(5);
    let (generation, last, _) = *locations(&disk).last().unwrap();
    let tear = |bytes: &mut Vec<u8>| bytes[last] = 1;
    disk.tamper(&segment_path(generation), tear);
    let first = open(&disk).unwrap().1.torn.unwrap().copied_to.unwrap();
    let kept = disk.bytes(&first);
    disk.tamper(&segment_path(generation), tear);
    let second = open(&disk).unwrap().1.torn.unwrap().copied_to.unwrap();
    assert_ne!(first, second);
    assert_eq!(disk.bytes(&first), kept);
}

#[test]
fn a_torn_first_frame_is_zeroed_and_synced_too() {
    let (disk, _) = recorded(1);
    let path = segment_path(1);
    let (_, first, _) = locations(&disk)[0];
    disk.tamper(&path, |bytes| bytes[first] ^= 1);
    drop(open(&disk).unwrap());
    for seed in 0..10 {
        assert!(disk.after_power_cut(seed).bytes(&path)[first..].iter().all(|byte| *byte == 0), "L4: seed {seed}");
    }
}
