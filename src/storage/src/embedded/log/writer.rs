//! Appending: one frame, one write, one sync (rules L1, L3, L8); and the beginning and end of a segment.
//!
//! ```text
//! append ── does not fit ──► rotate: spare zeros get a header, synced, then their name, synced
//! checkpoint ──► retire: segment ──► kept (for its retention time) ──► spare (zeros again)
//! ```

use super::disk::{Disk, DiskFile, RealDisk, write_whole};
use super::error::LogError;
use super::prepare::Preparer;
use super::reader::{LogReader, Shared, Table};
use super::recover::{self, Examined};
use super::seal::{self, Seal};
use super::segment::{Name, Segment, header_bytes};
use super::walk::follow;
use super::{Appended, LogOptions, Position, Recovered, Retired, Tail, frame};
use crate::journal::{Record, Seq, Shard};
use doorbuster_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log of a node, open for appending by one thread. [`Log::reader`] gives readers.
#[derive(Debug)]
pub struct Log {
    pub(super) shared: Arc<Shared>,
    pub(super) options: LogOptions,
    preparer: Preparer,
    pub(super) current: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    /// The offset of the next frame in the file.
    offset: u64,
    /// The CRC of the last frame.
    chain: u32,
    tails: BTreeMap<Shard, Tail>,
    /// The frame being built; its memory is reused.
    buffer: Vec<u8>,
    /// Whether the seal of the last clean stop still exists (rule L5).
    seal_stands: bool,
    /// The failure after which the log takes no more appends (rule L8).
    failed: Option<String>,
    /// The argument of the last [`Log::retire`].
    flushed_before: Option<BTreeMap<Shard, Seq>>,
    /// The time of the current segment's first record; `None`: it has none, or was not looked at yet.
    pub(super) begun_at: Option<Timestamp>,
}

impl Log {
    /// Opens or creates the log in a folder. The folder is this log's alone; the caller holds its lock.
    ///
    /// Errors: [`LogError::Corrupt`] if what is stored contradicts itself (then nothing was changed), [`LogError::Io`].
    pub fn open(folder: &Path, options: LogOptions) -> Result<(Self, Recovered), LogError> {
        Self::open_on(Arc::new(RealDisk), folder, options)
    }

    /// [`Log::open`] on another disk.
    pub fn open_on(disk: Arc<dyn Disk>, folder: &Path, options: LogOptions) -> Result<(Self, Recovered), LogError> {
        disk.create_folder(folder).map_err(|error| LogError::io("create", folder, &error))?;
        let mut examined = recover::examine(&disk, folder)?;
        if let Some(examined) = &mut examined {
            recover::mend(disk.as_ref(), folder, examined)?;
        }
        remove_spares(disk.as_ref(), folder)?;
        let preparer = Preparer::start(Arc::clone(&disk), folder, options)?;
        match examined {
            Some(examined) => Self::go_on(disk, folder, options, preparer, examined),
            None => Self::begin(disk, folder, options, preparer),
        }
    }

    fn begin(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: LogOptions,
        preparer: Preparer,
    ) -> Result<(Self, Recovered), LogError> {
        let tails = BTreeMap::new();
        let (current, file) = install(disk.as_ref(), folder, &preparer, None, 0, 0, &tails)?;
        let offset = current.data_start();
        let end = Position(current.base.saturating_add(offset));
        let table = Table { segments: vec![Arc::clone(&current)], live_from: current.generation, end: end.0 };
        let log = Self {
            shared: Arc::new(Shared::new(disk, folder.to_owned(), table)),
            options,
            preparer,
            current,
            file,
            offset,
            chain: 0,
            tails,
            buffer: Vec::new(),
            seal_stands: false,
            failed: None,
            flushed_before: None,
            begun_at: None,
        };
        Ok((log, Recovered { end, ..Recovered::default() }))
    }

    fn go_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: LogOptions,
        preparer: Preparer,
        examined: Examined,
    ) -> Result<(Self, Recovered), LogError> {
        let recovered = examined.recovered;
        let path = Name::Live(examined.current.generation).path(folder);
        let file = disk.open(&path, true).map_err(|error| LogError::io("open", &path, &error))?;
        let table = Table { segments: examined.segments, live_from: examined.live_from, end: recovered.end.0 };
        let log = Self {
            shared: Arc::new(Shared::new(disk, folder.to_owned(), table)),
            options,
            preparer,
            current: examined.current,
            file,
            offset: examined.end_offset,
            chain: examined.chain,
            tails: examined.tails,
            buffer: Vec::new(),
            seal_stands: recovered.sealed,
            failed: None,
            flushed_before: None,
            begun_at: None,
        };
        Ok((log, recovered))
    }

    /// Makes records durable, all or nothing, in this order. An empty list does nothing.
    ///
    /// After any error but [`LogError::TooLarge`] the log takes no more appends (rule L8): the records may or may not be stored, and only a new
    /// [`Log::open`] can tell.
    pub fn append(&mut self, records: &[Record]) -> Result<Appended, LogError> {
        self.takes_more()?;
        if records.is_empty() {
            return Ok(Appended { position: self.position(), bytes: 0, sync_ns: 0 });
        }
        let bytes = frame::bytes_of(records);
        let room = self.options.segment_bytes.saturating_sub(header_bytes(self.tails.len()));
        let max = self.options.frame_bytes_max.min(room).min(u64::from(u32::MAX));
        if bytes > max {
            return Err(LogError::TooLarge { bytes, max });
        }
        let appended = self.append_frame(records, bytes);
        self.failed = appended.as_ref().err().map(ToString::to_string);
        appended
    }

    /// Rule L8: refuses an append after a failure.
    fn takes_more(&self) -> Result<(), LogError> {
        self.failed.clone().map_or(Ok(()), |first| Err(LogError::Failed { first }))
    }

    fn append_frame(&mut self, records: &[Record], bytes: u64) -> Result<Appended, LogError> {
        self.break_seal()?;
        if self.offset.saturating_add(bytes) > self.current.bytes {
            self.rotate()?;
        }
        for record in records {
            let tail = self.tails.entry(record.shard).or_default();
            let last = *tail;
            follow(tail, record).map_err(|_why| LogError::OutOfOrder {
                shard: record.shard,
                seq: record.seq,
                epoch: record.epoch,
                last_seq: last.seq,
                last_epoch: last.epoch,
            })?;
        }
        let too_large = LogError::TooLarge { bytes, max: u64::from(u32::MAX) };
        let crc = frame::encode(self.current.location(self.offset), self.chain, records, &mut self.buffer)
            .ok_or(too_large)?;
        let failed = |verb| {
            let path = self.path();
            move |error| LogError::io(verb, &path, &error)
        };
        write_whole(self.file.as_ref(), &self.buffer, self.offset).map_err(failed("write"))?;
        let took = self.file.sync_data().map_err(failed("sync"))?;
        self.chain = crc;
        self.offset = self.offset.saturating_add(bytes);
        let position = self.position();
        self.shared.moved_to(position.0);
        let sync_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Ok(Appended { position, bytes, sync_ns })
    }

    /// Rule L5: the seal goes before anything is written.
    pub(super) fn break_seal(&mut self) -> Result<(), LogError> {
        if self.seal_stands {
            seal::remove(self.shared.disk(), self.shared.folder())?;
            self.seal_stands = false;
        }
        Ok(())
    }

    /// Does the current segment hold anything?
    pub(super) fn has_frames(&self) -> bool {
        self.offset > self.current.data_start()
    }

    pub(super) fn rotate(&mut self) -> Result<(), LogError> {
        let end = self.position();
        let (segment, file) = install(
            self.shared.disk(),
            self.shared.folder(),
            &self.preparer,
            Some(&self.current),
            end.0,
            self.chain,
            &self.tails,
        )?;
        self.offset = segment.data_start();
        self.file = file;
        self.current = segment;
        self.begun_at = None;
        self.shared.rotated(Arc::clone(&self.current), self.position().0);
        Ok(())
    }

    /// Retires segments that the states make unnecessary. Call it once per round of checkpoints, with the durable (`SyncAll`) position of every
    /// shard.
    ///
    /// The log is kept one round longer than needed (rule L7): a segment retires when the *previous* call's `flushed_upto` covers it. It retires in
    /// two steps: first recovery no longer reads it; then, once its last write is `keep_ms` before `now`, it is overwritten with zeros for reuse or
    /// removed. A segment that a reader still reads waits for the next call.
    ///
    /// A current segment that is too old ends first, and copies of torn tails go after `keep_ms`.
    pub fn retire(
        &mut self,
        flushed_upto: &BTreeMap<Shard, Seq>,
        now: Timestamp,
        keep_ms: u64,
    ) -> Result<Retired, LogError> {
        self.takes_more()?;
        let retired = self.retire_by_time(now, keep_ms);
        self.flushed_before = Some(flushed_upto.clone());
        self.failed = retired.as_ref().err().map(ToString::to_string);
        retired
    }

    fn retire_by_time(&mut self, now: Timestamp, keep_ms: u64) -> Result<Retired, LogError> {
        self.rotate_by_age(now)?;
        self.preparer.remove_unused(now)?;
        self.remove_torn_copies(now, keep_ms)?;
        self.retire_segments(now, keep_ms)
    }

    fn retire_segments(&self, now: Timestamp, keep_ms: u64) -> Result<Retired, LogError> {
        let mut retired = Retired::default();
        let disk = self.shared.disk();
        let folder = self.shared.folder();
        while let Some(flushed) = &self.flushed_before
            && let Some(generation) = self.shared.first_live_covered_by(flushed)
        {
            let live = Name::Live(generation).path(folder);
            disk.rename(&live, &Name::Kept(generation).path(folder))
                .map_err(|error| LogError::io("rename", &live, &error))?;
            // One after the other, so that the live segments have no gap, whichever of these names survive a power cut.
            disk.sync_folder(folder).map_err(|error| LogError::io("sync", folder, &error))?;
            self.shared.keep(generation);
            retired.kept = retired.kept.saturating_add(1);
        }
        while let Some(generation) = self.shared.oldest_kept() {
            let kept = Name::Kept(generation).path(folder);
            let written = disk.modified_ms(&kept).map_err(|error| LogError::io("look at", &kept, &error))?;
            if now.0 < written.saturating_add(keep_ms) || !self.shared.forget(generation) {
                break;
            }
            self.preparer.retire(&kept, now)?;
            retired.recycled = retired.recycled.saturating_add(1);
        }
        Ok(retired)
    }

    /// Stops cleanly: records durably where the log ends (rule L5).
    pub fn seal(self) -> Result<(), LogError> {
        self.takes_more()?;
        if self.seal_stands {
            return Ok(());
        }
        let seal = Seal { generation: self.current.generation, end: self.position().0, chain: self.chain };
        seal::set(self.shared.disk(), self.shared.folder(), seal)
    }

    /// A reader of the durable part, for any thread.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::of(Arc::clone(&self.shared))
    }

    /// The position of the next frame.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.current.base.saturating_add(self.offset))
    }

    fn path(&self) -> PathBuf {
        Name::Live(self.current.generation).path(self.shared.folder())
    }
}

/// Begins the next segment: a spare of synced zeros gets a header, which is synced, and then its name, which is synced.
fn install(
    disk: &dyn Disk,
    folder: &Path,
    preparer: &Preparer,
    predecessor: Option<&Segment>,
    predecessor_end: u64,
    chain: u32,
    tails: &BTreeMap<Shard, Tail>,
) -> Result<(Arc<Segment>, Arc<dyn DiskFile>), LogError> {
    let spare = preparer.take()?;
    let segment = Segment {
        generation: predecessor.map_or(1, |before| before.generation.saturating_add(1)),
        salt: disk.salt(),
        base: predecessor.map_or(0, |before| before.base.saturating_add(before.bytes)),
        bytes: spare.bytes,
        predecessor_end,
        predecessor: chain,
        before: tails.clone(),
    };
    let max = spare.bytes;
    let header = segment.encode().ok_or(LogError::TooLarge { bytes: segment.data_start(), max })?;
    let path = Name::Live(segment.generation).path(folder);
    let failed = |error| LogError::io("begin", &path, &error);
    write_whole(spare.file.as_ref(), &header, 0).map_err(failed)?;
    spare.file.sync_data().map_err(failed)?;
    disk.rename(&spare.path, &path).map_err(failed)?;
    disk.sync_folder(folder).map_err(failed)?;
    Ok((Arc::new(segment), spare.file))
}

/// A spare of a predecessor may not be zeroed yet, or its zeros may not be on the disk.
fn remove_spares(disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
    let names = disk.names(folder).map_err(|error| LogError::io("list", folder, &error))?;
    for name in names.iter().filter_map(|name| Name::parse(name)) {
        if let Name::Spare(_) = name {
            let path = name.path(folder);
            disk.remove(&path).map_err(|error| LogError::io("remove", &path, &error))?;
        }
    }
    Ok(())
}
