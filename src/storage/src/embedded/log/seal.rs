//! The seal of a clean stop: a file that records where the log ends (rule L5).
//!
//! While it exists, no byte before that end may be cut as a torn tail. It is written under another name, synced, then renamed. It is removed, and
//! the removal synced, before the first append.

use super::disk::{Disk, read_padded, write_whole};
use super::error::LogError;
use bytes::Buf;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"DBseal01";
const BYTES: usize = 32;
pub(super) const NAME: &str = "seal";
const NAME_UNFINISHED: &str = "seal.new";

/// The end of a log that was stopped cleanly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    /// The generation of the last segment.
    pub(super) generation: u64,
    /// The position of the next frame.
    pub(super) end: u64,
    /// The CRC of the last frame.
    pub(super) chain: u32,
}

impl Seal {
    fn encode(self) -> [u8; BYTES] {
        let mut out = Vec::with_capacity(BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.end.to_le_bytes());
        out.extend_from_slice(&self.chain.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.try_into().expect("8 + 8 + 8 + 4 + 4 are 32 bytes")
    }

    fn decode(bytes: &[u8; BYTES]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let seal = Self {
            generation: rest.try_get_u64_le().ok()?,
            end: rest.try_get_u64_le().ok()?,
            chain: rest.try_get_u32_le().ok()?,
        };
        (seal.encode() == *bytes).then_some(seal)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// Reads the seal; `None`: there is none; `Err(())`: it is damaged.
pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<Option<Result<Seal, ()>>, LogError> {
    let path = path(folder);
    let file = match disk.open(&path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("open", &path, &error)),
    };
    let mut bytes = [0; BYTES];
    read_padded(file.as_ref(), &mut bytes, 0).map_err(|error| LogError::io("read", &path, &error))?;
    let longer = file.length().map_err(|error| LogError::io("measure", &path, &error))? > super::u64_of(BYTES);
    Ok(Some(Seal::decode(&bytes).filter(|_| !longer).ok_or(())))
}

/// Writes the seal, durably.
pub(super) fn set(disk: &dyn Disk, folder: &Path, seal: Seal) -> Result<(), LogError> {
    let unfinished = folder.join(NAME_UNFINISHED);
    let path = path(folder);
    let file = disk.create(&unfinished).map_err(|error| LogError::io("create", &unfinished, &error))?;
    write_whole(file.as_ref(), &seal.encode(), 0).map_err(|error| LogError::io("write", &unfinished, &error))?;
    file.sync_data().map_err(|error| LogError::io("sync", &unfinished, &error))?;
    disk.rename(&unfinished, &path).map_err(|error| LogError::io("rename", &unfinished, &error))?;
    disk.sync_folder(folder).map_err(|error| LogError::io("sync", folder, &error))
}

/// Removes the seal, durably.
pub(super) fn remove(disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
    let path = path(folder);
    disk.remove(&path).map_err(|error| LogError::io("remove", &path, &error))?;
    disk.sync_folder(folder).map_err(|error| LogError::io("sync", folder, &error))
}
