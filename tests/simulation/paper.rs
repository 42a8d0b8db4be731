//! A disk of memory for the real log: as fast as a test wants that opens a log a hundred thousand times.

use doorbuster_storage::embedded::log::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Its files. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paper {
    files: Arc<Mutex<BTreeMap<PathBuf, Sheet>>>,
}

/// One file.
#[derive(Debug, Clone, Default)]
struct Sheet(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Sheet>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sheet(&self, path: &Path) -> io::Result<Sheet> {
        self.files().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The files' names, in order.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files().keys().cloned().collect()
    }

    /// Changes a file without the store's knowledge.
    pub(crate) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.sheet(path).expect("a file that is there").bytes());
    }
}

impl Sheet {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("files of memory are small")
}

impl Disk for Paper {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        Ok(self.files().keys().filter(|path| path.parent() == Some(folder)).filter_map(name).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let sheet = Sheet::default();
        self.files().insert(path.to_owned(), sheet.clone());
        Ok(Arc::new(sheet))
    }

    fn open(&self, path: &Path, _: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.sheet(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let sheet = self.files().remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files().insert(to.to_owned(), sheet);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn modified_ms(&self, _: &Path) -> io::Result<u64> {
        Ok(0)
    }

    fn salt(&self) -> u64 {
        0x5eed
    }
}

impl DiskFile for Sheet {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let rest = bytes.get(place(offset)..).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = self.bytes();
        let (begin, end) = (place(offset), place(offset) + from.len());
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[begin..end].copy_from_slice(from);
        Ok(from.len())
    }

    fn sync_data(&self) -> io::Result<Duration> {
        Ok(Duration::ZERO)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.bytes().len()).expect("a length is no more"))
    }
}
