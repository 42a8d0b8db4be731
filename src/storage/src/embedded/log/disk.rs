//! The log's interface to files and folders, and its implementation for the operating system.
//!
//! Tests use a disk with short writes, failing syncs and power cuts.

use crate::private;
use doorbuster_clock::monotonic;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Files and folders.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Creates the folder and its parents, durably.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// The names in a folder, in any order.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Creates an empty file, readable and writable; replaces an existing one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file, for reading or also for writing.
    fn open(&self, path: &Path, for_writing: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file; durable after [`Disk::sync_folder`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file; durable after [`Disk::sync_folder`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// When the file was last written, in milliseconds since 1970.
    fn modified_ms(&self, path: &Path) -> io::Result<u64>;
    /// An unpredictable number: it seeds a segment's CRCs, so that no text of a shopper can pass for a frame.
    fn salt(&self) -> u64;
}

/// An open file.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Reads at an offset; may read less than asked for, and 0 bytes at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset; may write less than given.
    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes what was written durable; returns how long that took.
    fn sync_data(&self) -> io::Result<Duration>;
    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;
}

/// Writes all bytes, in as many calls as needed.
pub(super) fn write_whole(file: &dyn DiskFile, mut from: &[u8], mut offset: u64) -> io::Result<()> {
    while !from.is_empty() {
        match file.write_at(from, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                from = from.get(written..).unwrap_or_default();
                offset = offset.saturating_add(super::u64_of(written));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills the buffer; bytes after the file's end read as zeros.
pub(super) fn read_padded(file: &dyn DiskFile, into: &mut [u8], mut offset: u64) -> io::Result<()> {
    let mut rest = into;
    while !rest.is_empty() {
        match file.read_at(rest, offset) {
            Ok(0) => {
                rest.fill(0);
                return Ok(());
            }
            Ok(read) => {
                rest = rest.get_mut(read..).unwrap_or_default();
                offset = offset.saturating_add(super::u64_of(read));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes zeros from `from` to `to` and syncs them piece by piece, because one long sync would delay the appends.
pub(super) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    const PIECE_BYTES: u64 = 1 << 20;
    let zeros = vec![0; super::usize_of(PIECE_BYTES.min(to.saturating_sub(from)))];
    let mut offset = from;
    while offset < to {
        let bytes = PIECE_BYTES.min(to.saturating_sub(offset));
        write_whole(file, zeros.get(..super::usize_of(bytes)).unwrap_or_default(), offset)?;
        file.sync_data()?;
        offset = offset.saturating_add(bytes);
    }
    Ok(())
}

/// The files and folders of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

impl Disk for RealDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.create_folder(above)?;
        match private::create_folder(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.sync_folder(above),
        }
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = private::options().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path, for_writing: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(private::options().read(true).write(for_writing).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn modified_ms(&self, path: &Path) -> io::Result<u64> {
        let since = fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn salt(&self) -> u64 {
        rand::random()
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, into, offset)
    }

    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(&self.0, from, offset)
    }

    fn sync_data(&self) -> io::Result<Duration> {
        let begun = monotonic();
        self.0.sync_data()?;
        Ok(doorbuster_clock::since(begun))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
