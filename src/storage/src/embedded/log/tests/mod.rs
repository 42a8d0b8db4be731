//! The L rules, each as claims that fail without it. What the tests share is here.

mod corruption;
mod cuts;
mod faults;
mod real;
mod retiring;

use super::fault_disk::FaultDisk;
use super::{Log, LogError, LogOptions, LogReader, Recovered};
use crate::journal::{Record, Shard};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Small, so that a few dozen frames fill it; without a thread, so that calls come in one order.
const OPTIONS: LogOptions =
    LogOptions { segment_bytes: 8192, segments_ahead: 0, frame_bytes_max: 4096, segment_age_max_ms: u64::MAX };

fn folder() -> &'static Path {
    Path::new("/log")
}

fn segment_path(generation: u64) -> PathBuf {
    super::segment::Name::Live(generation).path(folder())
}

fn open(disk: &FaultDisk) -> Result<(Log, Recovered), LogError> {
    Log::open_on(Arc::new(disk.clone()), folder(), OPTIONS)
}

fn read(disk: &FaultDisk) -> Result<(LogReader, Recovered), LogError> {
    LogReader::open_on(Arc::new(disk.clone()), folder())
}

/// Every frame's records.
fn frames(reader: &LogReader) -> Vec<Vec<Record>> {
    reader.frames().map(|frame| frame.unwrap().records).collect()
}

/// The same frames, or a message that names the first that differs.
fn assert_same(found: &[Vec<Record>], expected: &[Vec<Record>], case: &str) {
    let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert!(differs.is_none(), "{case}: frame {} is another", differs.unwrap_or(0));
    assert_eq!(found.len(), expected.len(), "{case}: frames");
}

/// Makes batches that continue each other: some of one shard, some of all three.
#[derive(Debug, Clone, Default)]
struct Batches {
    made: u64,
    /// Every third batch covers several sectors, so that a power cut can tear it.
    large: bool,
    ends: BTreeMap<Shard, u64>,
}

impl Batches {
    /// Goes on where a log ends.
    fn after(made: usize, recovered: &Recovered) -> Self {
        let ends = recovered.ends.iter().map(|(shard, tail)| (*shard, tail.seq)).collect();
        Self { made: u64::try_from(made).unwrap(), large: false, ends }
    }
}

impl Iterator for Batches {
    type Item = Vec<Record>;

    fn next(&mut self) -> Option<Vec<Record>> {
        self.made += 1;
        let shards: Vec<u16> = match self.made % 4 {
            0 => vec![0, 1, 0, 2],
            1 => vec![0],
            2 => vec![1],
            _ => vec![2, 1],
        };
        let mut record = |shard: u16| {
            let shard = Shard(shard);
            let events = u32::try_from(self.made % 3).unwrap() + 1;
            let end = self.ends.entry(shard).or_default();
            let seq = *end + 1;
            *end += u64::from(events);
            let repeat = if self.large && self.made.is_multiple_of(3) { 70 } else { 1 };
            let body = Bytes::from(format!("batch {}", self.made).repeat(repeat).into_bytes());
            Record { shard, epoch: 1 + self.made / 50, seq, events, body }
        };
        Some(shards.into_iter().map(&mut record).collect())
    }
}

/// A log of `count` frames, not sealed, and those frames.
fn recorded(count: usize) -> (FaultDisk, Vec<Vec<Record>>) {
    let disk = FaultDisk::default();
    let (mut log, _) = open(&disk).unwrap();
    let written: Vec<_> = Batches::default().take(count).collect();
    for batch in &written {
        log.append(batch).unwrap();
    }
    (disk, written)
}

/// The same, stopped cleanly.
fn sealed(count: usize) -> (FaultDisk, Vec<Vec<Record>>) {
    let (disk, written) = recorded(count);
    open(&disk).unwrap().0.seal().unwrap();
    (disk, written)
}

/// Where each frame lies: generation, offset in the file, length.
fn locations(disk: &FaultDisk) -> Vec<(u64, usize, usize)> {
    let (reader, _) = read(disk).unwrap();
    let location = |frame: super::Frame| {
        let base = (frame.generation - 1) * OPTIONS.segment_bytes;
        let offset = usize::try_from(frame.position.0 - base).unwrap();
        (frame.generation, offset, usize::try_from(frame.bytes).unwrap())
    };
    reader.frames().map(|frame| location(frame.unwrap())).collect()
}
