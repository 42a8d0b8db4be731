//! Opening a log: the decision which bytes count (rules L3 to L7).
//!
//! [`examine`] only reads, and decides: whole frames up to an end, then zeros, a torn tail, or corruption. [`mend`] makes the disk agree with the
//! decision before the log serves: it syncs the names, copies the torn tail aside and zeroes it, and writes and syncs the last frame again.

use super::disk::{Disk, read_padded, write_whole, write_zeros};
use super::error::{Damage, LogError, Why};
use super::seal::{self, Seal};
use super::segment::{ALIGN_BYTES, Name, Segment};
use super::walk::{Walk, Walked, damage};
use super::{Position, Recovered, Tail, TornTail, frame, u64_of, usize_of};
use crate::journal::Shard;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The contents of a log folder.
#[derive(Debug)]
pub(super) struct Examined {
    /// Kept segments, then live ones, without gaps.
    pub(super) segments: Vec<Arc<Segment>>,
    /// The generation of the first live segment.
    pub(super) live_from: u64,
    /// The current segment, which is the last.
    pub(super) current: Arc<Segment>,
    /// The offset in its file at which the frames end.
    pub(super) end_offset: u64,
    /// The CRC of the last frame.
    pub(super) chain: u32,
    pub(super) tails: BTreeMap<Shard, Tail>,
    pub(super) recovered: Recovered,
    /// The last frame of the live segments.
    last: Option<Walked>,
    /// The bytes from the end of the frames to the last one that is not zero; empty: nothing was torn.
    torn: Vec<u8>,
    /// Whether the current segment's file is shorter than its header says.
    shortened: bool,
}

/// Reads everything that recovery needs, without changes; `None`: there is no log yet.
pub(super) fn examine(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Option<Examined>, LogError> {
    let names = disk.names(folder).map_err(|error| LogError::io("list", folder, &error))?;
    let Some(Headers { segments, live_from }) = headers(disk.as_ref(), folder, &names)? else { return Ok(None) };
    let live: Vec<Arc<Segment>> = segments.iter().filter(|segment| segment.generation >= live_from).cloned().collect();
    let (Some(first), Some(current)) = (live.first().cloned(), live.last().cloned()) else { return Ok(None) };

    let mut walk = Walk::new(Arc::clone(disk), folder.to_owned(), live, None);
    let mut recovered = Recovered::default();
    let mut last = None;
    while let Some(walked) = walk.next_frame()? {
        recovered.frames = recovered.frames.saturating_add(1);
        recovered.bytes = recovered.bytes.saturating_add(u64_of(walked.raw.len()));
        last = Some(walked);
    }
    let end_offset = walk.offset();
    let (torn, shortened) = behind(disk.as_ref(), folder, &current, end_offset)?;
    let end = Position(current.base.saturating_add(end_offset));
    recovered.sealed = check_seal(disk.as_ref(), folder, &current, end_offset, walk.chain())?;
    recovered.end = end;
    recovered.ends = walk.tails().clone();
    recovered.bases = first.before.iter().map(|(shard, tail)| (*shard, tail.seq)).collect();
    if !torn.is_empty() {
        recovered.torn = Some(TornTail { position: end, bytes: u64_of(torn.len()), copied_to: None });
    }
    Ok(Some(Examined {
        chain: walk.chain(),
        tails: walk.tails().clone(),
        segments,
        live_from,
        current,
        end_offset,
        recovered,
        last,
        torn,
        shortened,
    }))
}

/// The segments of a folder, kept ones first, and the generation of the first live one.
struct Headers {
    segments: Vec<Arc<Segment>>,
    live_from: u64,
}

/// Reads every segment's header; `None`: there are no segments.
fn headers(disk: &dyn Disk, folder: &Path, names: &[String]) -> Result<Option<Headers>, LogError> {
    let mut live_from = None;
    let mut found: BTreeMap<u64, Name> = BTreeMap::new();
    for name in names.iter().filter_map(|name| Name::parse(name)) {
        match name {
            Name::Live(generation) => {
                live_from = Some(live_from.map_or(generation, |lowest: u64| lowest.min(generation)));
                found.insert(generation, name);
            }
            Name::Kept(generation) => {
                found.entry(generation).or_insert(name);
            }
            Name::Spare(_) => {}
        }
    }
    let missing = |segment: u64, base: u64| {
        LogError::Corrupt(Damage { segment, position: Position(base), byte: 0, why: Why::SegmentMissing })
    };
    let Some(live_from) = live_from else {
        // A kept segment or a seal exists only beside a live segment.
        return match found.last_key_value() {
            Some((generation, _)) => Err(missing(generation.saturating_add(1), 0)),
            None if names.iter().any(|name| name == seal::NAME) => Err(missing(1, 0)),
            None => Ok(None),
        };
    };
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(found.len());
    for (generation, name) in found {
        let before = segments.last();
        let base = before.map_or(0, |before| before.base.saturating_add(before.bytes));
        if let Some(expected) = before.map(|before| before.generation.saturating_add(1))
            && expected != generation
        {
            return Err(missing(expected, base));
        }
        if generation > live_from && matches!(name, Name::Kept(_)) {
            return Err(missing(generation, base));
        }
        segments.push(Arc::new(header(disk, folder, name, generation, base)?));
    }
    Ok(Some(Headers { segments, live_from }))
}

fn header(disk: &dyn Disk, folder: &Path, name: Name, generation: u64, base: u64) -> Result<Segment, LogError> {
    let path = name.path(folder);
    let file = disk.open(&path, false).map_err(|error| LogError::io("open", &path, &error))?;
    let damaged = |why| LogError::Corrupt(Damage { segment: generation, position: Position(base), byte: 0, why });
    let read = |bytes: u64| {
        let mut header = vec![0; usize_of(bytes)];
        read_padded(file.as_ref(), &mut header, 0).map_err(|error| LogError::io("read", &path, &error))?;
        Ok::<_, LogError>(header)
    };
    let bytes = Segment::header_bytes_of(&read(ALIGN_BYTES)?).ok_or_else(|| damaged(Why::Header))?;
    let segment = Segment::decode(&read(bytes)?).ok_or_else(|| damaged(Why::Header))?;
    if segment.generation != generation {
        return Err(damaged(Why::OtherSegment(segment.generation)));
    }
    Ok(segment)
}

/// The bytes after the last whole frame: none, or a torn tail. A valid frame among them is corruption, because a frame is written only after
/// everything before it was synced (rule L3).
fn behind(disk: &dyn Disk, folder: &Path, current: &Segment, end_offset: u64) -> Result<(Vec<u8>, bool), LogError> {
    let path = Name::Live(current.generation).path(folder);
    let failed = |error| LogError::io("read", &path, &error);
    let file = disk.open(&path, false).map_err(failed)?;
    let mut rest = vec![0; usize_of(current.bytes.saturating_sub(end_offset))];
    read_padded(file.as_ref(), &mut rest, end_offset).map_err(failed)?;
    let torn_bytes = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    // The frame that is looked for may end in zeros.
    if let Some(valid) =
        (torn_bytes > 0).then(|| frame::valid_one_behind(current.location(end_offset), &rest)).flatten()
    {
        return Err(damage(current, end_offset, Why::Frame(Position(valid))));
    }
    rest.truncate(torn_bytes);
    let shortened = file.length().map_err(failed)? < current.bytes;
    Ok((rest, shortened))
}

/// Rule L5: while a seal exists, the log must end exactly at its position.
fn check_seal(
    disk: &dyn Disk,
    folder: &Path,
    current: &Segment,
    end_offset: u64,
    chain: u32,
) -> Result<bool, LogError> {
    let Some(seal) = seal::read(disk, folder)? else { return Ok(false) };
    let end = current.base.saturating_add(end_offset);
    let why = match seal {
        Err(()) => Why::Seal,
        Ok(seal) if end < seal.end => Why::CutBeforeSeal(Position(seal.end)),
        Ok(seal) if end > seal.end => Why::BehindSeal(Position(seal.end)),
        Ok(seal) if seal != (Seal { generation: current.generation, end, chain }) => Why::Seal,
        Ok(_) => return Ok(true),
    };
    Err(damage(current, end_offset, why))
}

/// Makes the disk agree with the decision, before the log serves.
pub(super) fn mend(disk: &dyn Disk, folder: &Path, examined: &mut Examined) -> Result<(), LogError> {
    // The names too may be only in this machine's memory: the predecessor may have been killed between renaming a new segment and syncing the
    // name.
    disk.sync_folder(folder).map_err(|error| LogError::io("sync", folder, &error))?;
    let current = &examined.current;
    if let Some(torn) = &mut examined.recovered.torn {
        torn.copied_to = Some(copy_aside(disk, folder, torn.position, &examined.torn)?);
    }
    if examined.recovered.torn.is_some() || examined.shortened {
        let path = Name::Live(current.generation).path(folder);
        let failed = |error| LogError::io("zero", &path, &error);
        let file = disk.open(&path, true).map_err(failed)?;
        write_zeros(file.as_ref(), examined.end_offset, current.bytes).map_err(failed)?;
    }
    // Rule L6. All frames before it were synced before it was written.
    if let Some(last) = examined.last.take() {
        let path = Name::Live(last.segment.generation).path(folder);
        let failed = |error| LogError::io("write again", &path, &error);
        let file = disk.open(&path, true).map_err(failed)?;
        write_whole(file.as_ref(), &last.raw, last.offset).map_err(failed)?;
        file.sync_data().map_err(failed)?;
    }
    examined.torn = Vec::new();
    Ok(())
}

/// The names of the files that hold a copy of a torn tail begin like this.
const TORN_PREFIX: &str = "torn-";

/// Is it the name of a file with a copy of a torn tail?
pub(super) fn is_torn_copy(name: &str) -> bool {
    name.starts_with(TORN_PREFIX)
}

/// Copies a torn tail to a file with an unused name, for inspection.
fn copy_aside(
    disk: &dyn Disk,
    folder: &Path,
    position: Position,
    bytes: &[u8],
) -> Result<std::path::PathBuf, LogError> {
    let names = disk.names(folder).map_err(|error| LogError::io("list", folder, &error))?;
    let mut attempt: u64 = 1;
    let name = loop {
        let name = format!("{TORN_PREFIX}{:020}-{attempt}", position.0);
        if !names.contains(&name) {
            break name;
        }
        attempt = attempt.saturating_add(1);
    };
    let path = folder.join(name);
    let failed = |error| LogError::io("copy the torn tail to", &path, &error);
    let file = disk.create(&path).map_err(failed)?;
    write_whole(file.as_ref(), bytes, 0).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    disk.sync_folder(folder).map_err(failed)?;
    Ok(path)
}
