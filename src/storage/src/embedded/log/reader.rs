//! Reading the durable part of a log: on any thread while it is appended to, or offline without changes.

use super::disk::{Disk, RealDisk};
use super::error::LogError;
use super::recover;
use super::segment::Segment;
use super::walk::Walk;
use super::{Frame, Position, Recovered, u64_of};
use crate::journal::{Record, Seq, Shard};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the log and its readers share.
#[derive(Debug)]
pub(super) struct Shared {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    table: Mutex<Table>,
}

/// The segments, and the position up to which they are durable.
#[derive(Debug)]
pub(super) struct Table {
    /// Oldest first, without gaps.
    pub(super) segments: Vec<Arc<Segment>>,
    /// The number of segments at the front that are only kept for their retention time.
    pub(super) live_from: u64,
    /// The position from which on nothing is read.
    pub(super) end: u64,
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, folder: PathBuf, table: Table) -> Self {
        Self { disk, folder, table: Mutex::new(table) }
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a frame is durable.
    pub(super) fn moved_to(&self, end: u64) {
        self.table().end = end;
    }

    pub(super) fn rotated(&self, segment: Arc<Segment>, end: u64) {
        let mut table = self.table();
        table.segments.push(segment);
        table.end = end;
    }

    /// The oldest live segment, if another follows it and the states cover all of it.
    pub(super) fn first_live_covered_by(&self, flushed_upto: &BTreeMap<Shard, Seq>) -> Option<u64> {
        let table = self.table();
        let mut live = table.segments.iter().skip_while(|segment| segment.generation < table.live_from);
        let first = live.next()?;
        let successor = live.next()?;
        let covers = |(shard, last): (&Shard, &super::Tail)| flushed_upto.get(shard).copied().unwrap_or(0) >= last.seq;
        successor.before.iter().all(covers).then_some(first.generation)
    }

    /// Records that recovery does not need the segment any more.
    pub(super) fn keep(&self, generation: u64) {
        self.table().live_from = generation.saturating_add(1);
    }

    pub(super) fn oldest_kept(&self) -> Option<u64> {
        let table = self.table();
        table.segments.first().map(|first| first.generation).filter(|generation| *generation < table.live_from)
    }

    /// Removes the oldest segment from the list, unless a reader may still read it. Readers take their segments under the same lock, so none can
    /// begin after the removal.
    pub(super) fn forget(&self, generation: u64) -> bool {
        let mut table = self.table();
        let free =
            table.segments.first().is_some_and(|first| first.generation == generation && Arc::strong_count(first) == 1);
        if free {
            table.segments.remove(0);
        }
        free
    }
}

/// Reads a log. Cheap to clone; each walk sees what was durable when it began.
#[derive(Debug, Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogReader {
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Opens a stopped node's log for reading only: nothing is cut, repaired or written. The caller ensures that no node uses the folder.
    ///
    /// Errors: as [`super::Log::open`]. A torn tail is reported and not read.
    pub fn open(folder: &Path) -> Result<(Self, Recovered), LogError> {
        Self::open_on(Arc::new(RealDisk), folder)
    }

    /// [`LogReader::open`] on another disk.
    pub fn open_on(disk: Arc<dyn Disk>, folder: &Path) -> Result<(Self, Recovered), LogError> {
        let (table, recovered) = match recover::examine(&disk, folder)? {
            Some(examined) => {
                let end = examined.recovered.end.0;
                let table = Table { segments: examined.segments, live_from: examined.live_from, end };
                (table, examined.recovered)
            }
            None => (Table { segments: Vec::new(), live_from: 1, end: 0 }, Recovered::default()),
        };
        Ok((Self { shared: Arc::new(Shared::new(disk, folder.to_owned(), table)) }, recovered))
    }

    /// Every frame, from the oldest kept segment on.
    #[must_use]
    pub fn frames(&self) -> Frames {
        Frames { walk: Some(self.walk_from(|_any| false)) }
    }

    /// Every frame of this segment and of those after it.
    pub(super) fn frames_from(&self, generation: u64) -> Frames {
        Frames { walk: Some(self.walk_from(|segment| segment.generation <= generation)) }
    }

    /// One shard's records whose last event is at or after `from`, in order. [`LogError::Retired`]: some are gone.
    #[must_use]
    pub fn replay(&self, shard: Shard, from: Seq) -> Records {
        self.replay_all(BTreeMap::from([(shard, from)]))
    }

    /// The records of several shards in one pass, in the order of their appends.
    #[must_use]
    pub fn replay_all(&self, from: BTreeMap<Shard, Seq>) -> Records {
        let reaches_back = |segment: &Segment| from.iter().all(|(shard, from)| gone(segment, *shard) < (*from).max(1));
        let walk = self.walk_from(reaches_back);
        let too_late = walk.first().and_then(|first| first_behind(first, &from));
        Records { frames: Frames { walk: Some(walk) }, from, ready: Vec::new().into_iter(), too_late }
    }

    /// A walk from the last segment that begins early enough, else from the oldest.
    fn walk_from(&self, early_enough: impl Fn(&Segment) -> bool) -> Walk {
        let table = self.shared.table();
        let skipped = table.segments.iter().rposition(|segment| early_enough(segment)).unwrap_or(0);
        let segments = table.segments.iter().skip(skipped).cloned().collect();
        Walk::new(Arc::clone(&self.shared.disk), self.shared.folder.clone(), segments, Some(table.end))
    }

    /// The position at which the durable log ends.
    #[must_use]
    pub fn end(&self) -> Position {
        Position(self.shared.table().end)
    }
}

/// A shard whose requested events begin before the first segment.
fn first_behind(first: &Segment, from: &BTreeMap<Shard, Seq>) -> Option<LogError> {
    from.iter().find_map(|(shard, from)| {
        let base = gone(first, *shard);
        (base >= (*from).max(1)).then_some(LogError::Retired { shard: *shard, from: *from, base })
    })
}

/// The shard's last event before a segment.
fn gone(segment: &Segment, shard: Shard) -> Seq {
    segment.before.get(&shard).map_or(0, |tail| tail.seq)
}

/// Frames, oldest first; ends after an error.
#[derive(Debug)]
pub struct Frames {
    walk: Option<Walk>,
}

impl Iterator for Frames {
    type Item = Result<Frame, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let walked = self.walk.as_mut()?.next_frame();
        if !matches!(walked, Ok(Some(_))) {
            self.walk = None;
        }
        let frame = walked.transpose()?;
        Some(frame.map(|walked| Frame {
            generation: walked.segment.generation,
            position: Position(walked.segment.base.saturating_add(walked.offset)),
            bytes: u64_of(walked.raw.len()),
            records: walked.records,
        }))
    }
}

/// Records of some shards, in the order of their appends; ends after an error.
#[derive(Debug)]
pub struct Records {
    frames: Frames,
    from: BTreeMap<Shard, Seq>,
    ready: std::vec::IntoIter<Record>,
    too_late: Option<LogError>,
}

impl Iterator for Records {
    type Item = Result<Record, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.too_late.take() {
            self.frames.walk = None;
            return Some(Err(error));
        }
        loop {
            for record in self.ready.by_ref() {
                if self.from.get(&record.shard).is_some_and(|from| record.last_seq() >= *from) {
                    return Some(Ok(record));
                }
            }
            match self.frames.next()? {
                Ok(frame) => self.ready = frame.records.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
