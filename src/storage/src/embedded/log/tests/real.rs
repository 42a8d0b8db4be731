//! The same on this machine's files, with the thread that writes zeros ahead.

use super::*;
use std::fs;

const AHEAD: LogOptions =
    LogOptions { segment_bytes: 16384, segments_ahead: 2, frame_bytes_max: 8192, segment_age_max_ms: u64::MAX };

fn stored(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entry = |entry: fs::DirEntry| (entry.path(), fs::read(entry.path()).unwrap());
    fs::read_dir(folder).unwrap().map(|found| entry(found.unwrap())).collect()
}

#[test]
fn a_log_on_real_files_rotates_stops_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data/log");
    let mut written = Vec::new();
    for round in 0..3 {
        let (mut log, recovered) = Log::open(&folder, AHEAD).unwrap();
        assert_eq!(recovered.sealed, round > 0);
        for batch in Batches::after(written.len(), &recovered).take(150) {
            log.append(&batch).unwrap();
            written.push(batch);
        }
        assert_same(&frames(&log.reader()), &written, "all of it");
        log.seal().unwrap();
    }
}

#[test]
fn a_reader_follows_on_another_thread_and_sees_whole_frames_only() {
    let home = tempfile::tempdir().unwrap();
    let (mut log, recovered) = Log::open(home.path(), AHEAD).unwrap();
    let batches: Vec<_> = Batches::after(0, &recovered).take(200).collect();
    let reader = log.reader();
    let expected = batches.clone();
    let following = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < expected.len() {
            let found = frames(&reader);
            assert!(found.len() >= seen, "what was durable stays");
            assert_same(&found, &expected[..found.len()], "in order");
            seen = found.len();
        }
    });
    for batch in &batches {
        log.append(batch).unwrap();
    }
    following.join().unwrap();
}

#[test]
fn reading_a_stopped_nodes_log_changes_nothing_not_even_a_torn_tail() {
    let home = tempfile::tempdir().unwrap();
    let (mut log, recovered) = Log::open(home.path(), AHEAD).unwrap();
    for batch in Batches::after(0, &recovered).take(10) {
        log.append(&batch).unwrap();
    }
    drop(log);
    let segment = super::super::segment::Name::Live(1).path(home.path());
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let before = stored(home.path());
    let (reader, recovered) = LogReader::open(home.path()).unwrap();
    assert_eq!(frames(&reader).len(), 9);
    assert!(recovered.torn.is_some());
    assert_eq!(stored(home.path()), before);
    assert!(LogReader::open(&home.path().join("elsewhere")).is_err(), "a folder that is not there is not made");
}
