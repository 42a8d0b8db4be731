//! Reading frames in order, with all checks: own CRC, chain, generations, dense seqs, epochs that never fall (rule L3).
//!
//! Recovery and every reader use this walk, so a reader accepts what recovery accepted, and detects damage that happens later.

use super::disk::{Disk, DiskFile, read_padded};
use super::error::{Damage, LogError, Why};
use super::frame::{self, HEAD_BYTES, Head};
use super::segment::{Name, Segment};
use super::{Position, Tail, u64_of, usize_of};
use crate::journal::{Record, Shard};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A frame that passed all checks.
#[derive(Debug, Clone)]
pub(super) struct Walked {
    pub(super) segment: Arc<Segment>,
    /// Its offset in the segment's file.
    pub(super) offset: u64,
    /// Its bytes, as stored.
    pub(super) raw: Bytes,
    pub(super) records: Vec<Record>,
}

/// The position of a walk.
#[derive(Debug)]
pub(super) struct Walk {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    segments: Vec<Arc<Segment>>,
    /// Where the last segment's frames end; `None`: where no valid frame follows.
    end: Option<u64>,
    index: usize,
    file: Option<Arc<dyn DiskFile>>,
    /// The offset of the next frame in the segment's file.
    offset: u64,
    /// The CRC of the last frame.
    chain: u32,
    tails: BTreeMap<Shard, Tail>,
}

impl Walk {
    /// A walk over these segments, oldest first.
    pub(super) fn new(disk: Arc<dyn Disk>, folder: PathBuf, segments: Vec<Arc<Segment>>, end: Option<u64>) -> Self {
        let first = segments.first();
        let offset = first.map_or(0, |segment| segment.data_start());
        let chain = first.map_or(0, |segment| segment.predecessor);
        let tails = first.map(|segment| segment.before.clone()).unwrap_or_default();
        Self { disk, folder, segments, end, index: 0, file: None, offset, chain, tails }
    }

    /// The current segment; at the start the oldest.
    pub(super) fn first(&self) -> Option<&Segment> {
        self.segments.get(self.index).map(AsRef::as_ref)
    }

    /// The offset of the next frame in the current segment's file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The CRC of the last frame.
    pub(super) fn chain(&self) -> u32 {
        self.chain
    }

    /// Every shard's last event so far.
    pub(super) fn tails(&self) -> &BTreeMap<Shard, Tail> {
        &self.tails
    }

    /// The next frame; `None` at the end.
    pub(super) fn next_frame(&mut self) -> Result<Option<Walked>, LogError> {
        loop {
            let Some(segment) = self.segments.get(self.index).cloned() else { return Ok(None) };
            let successor = self.segments.get(self.index.saturating_add(1)).cloned();
            let known_end = successor.as_ref().map(|successor| successor.predecessor_end).or(self.end);
            let limit = match known_end.map(|end| end.checked_sub(segment.base).filter(|end| *end <= segment.bytes)) {
                None => segment.bytes,
                Some(Some(limit)) if limit >= self.offset => limit,
                Some(_) => {
                    let named_by = successor.as_ref().unwrap_or(&segment);
                    return Err(damage(named_by, 0, Why::HeaderDisagrees));
                }
            };
            if known_end.is_some() && limit == self.offset {
                let Some(successor) = successor else { return Ok(None) };
                self.enter(&segment, &successor)?;
                continue;
            }
            let file = self.file_of(&segment)?;
            let loaded = load(file.as_ref(), &segment, self.offset, limit)
                .map_err(|error| LogError::io("read", &Name::Live(segment.generation).path(&self.folder), &error))?;
            return match (loaded, known_end) {
                (Some((head, raw)), _) => self.accept(segment, head, raw).map(Some),
                (None, Some(end)) => Err(damage(&segment, self.offset, Why::Frame(Position(end)))),
                (None, None) => Ok(None),
            };
        }
    }

    /// Checks that a segment's header agrees with the frames before it.
    fn enter(&mut self, segment: &Segment, successor: &Segment) -> Result<(), LogError> {
        let continues = segment.generation.checked_add(1) == Some(successor.generation)
            && segment.base.checked_add(segment.bytes) == Some(successor.base)
            && successor.predecessor == self.chain
            && successor.before == self.tails;
        if !continues {
            return Err(damage(successor, 0, Why::HeaderDisagrees));
        }
        self.index = self.index.saturating_add(1);
        self.file = None;
        self.offset = successor.data_start();
        Ok(())
    }

    fn accept(&mut self, segment: Arc<Segment>, head: Head, raw: Bytes) -> Result<Walked, LogError> {
        let offset = self.offset;
        if head.predecessor != self.chain {
            return Err(damage(&segment, offset, Why::Chain));
        }
        let records = frame::records(head, &raw).ok_or_else(|| damage(&segment, offset, Why::Records))?;
        for record in &records {
            let tail = self.tails.entry(record.shard).or_default();
            follow(tail, record).map_err(|why| damage(&segment, offset, why))?;
        }
        self.chain = head.crc;
        self.offset = offset.saturating_add(u64_of(raw.len()));
        Ok(Walked { segment, offset, raw, records })
    }

    /// A segment that retires meanwhile has another name; a reader's segments are never removed.
    fn file_of(&mut self, segment: &Segment) -> Result<Arc<dyn DiskFile>, LogError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let path = Name::Live(segment.generation).path(&self.folder);
        let opened = match self.disk.open(&path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.open(&Name::Kept(segment.generation).path(&self.folder), false)
            }
            other => other,
        };
        let file = opened.map_err(|error| LogError::io("open", &path, &error))?;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// Advances a shard's last event by a record, which must follow it.
pub(super) fn follow(tail: &mut Tail, record: &Record) -> Result<(), Why> {
    let expected = tail.seq.saturating_add(1);
    if record.seq != expected {
        return Err(Why::Hole { shard: record.shard, expected, found: record.seq });
    }
    if record.epoch < tail.epoch {
        return Err(Why::EpochFell { shard: record.shard, seq: record.seq, was: tail.epoch, found: record.epoch });
    }
    *tail = Tail { seq: record.last_seq(), epoch: record.epoch };
    Ok(())
}

/// The frame at an offset, if a valid one is there and ends by `limit`.
fn load(file: &dyn DiskFile, segment: &Segment, offset: u64, limit: u64) -> io::Result<Option<(Head, Bytes)>> {
    let location = segment.location(offset);
    let room = limit.saturating_sub(offset);
    if room < u64_of(HEAD_BYTES) {
        return Ok(None);
    }
    let mut start = [0; HEAD_BYTES];
    read_padded(file, &mut start, offset)?;
    let Some(head) = frame::head(location, &start) else { return Ok(None) };
    let bytes = head.payload_bytes.saturating_add(u64_of(HEAD_BYTES));
    if bytes > room {
        return Ok(None);
    }
    let mut raw = vec![0; usize_of(bytes)];
    let (head_part, payload) = raw.split_at_mut(HEAD_BYTES);
    head_part.copy_from_slice(&start);
    read_padded(file, payload, offset.saturating_add(u64_of(HEAD_BYTES)))?;
    Ok(frame::holds(location, head, &raw).then(|| (head, Bytes::from(raw))))
}

pub(super) fn damage(segment: &Segment, byte: u64, why: Why) -> LogError {
    let position = Position(segment.base.saturating_add(byte));
    LogError::Corrupt(Damage { segment: segment.generation, position, byte, why })
}
