//! The next segment, prepared in advance: a file of zeros that are on the disk.
//!
//! Retired segments are reused after they are overwritten with zeros. So erased personal data does not remain in a spare file, and no bytes of an
//! earlier use lie where frames will be.

use super::LogOptions;
use super::disk::{Disk, DiskFile, write_zeros};
use super::error::LogError;
use super::segment::Name;
use doorbuster_domain::time::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// How long a retired file waits for its reuse before it is removed, in milliseconds: it holds what it held until it is overwritten.
const UNUSED_MS_MAX: u64 = 3_600 * 1_000;

/// An empty segment without a header.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct Maker {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    bytes: u64,
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    /// The number of the last spare file.
    named: u64,
    /// Retired segments that are not yet zeroed, and since when.
    retired: Vec<(PathBuf, Timestamp)>,
}

/// Starts preparing spares, on its own thread if the options say so.
#[derive(Debug)]
pub(super) struct Preparer {
    maker: Arc<Maker>,
    retired_max: usize,
    ready: Option<Receiver<Result<Spare, LogError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    pub(super) fn start(disk: Arc<dyn Disk>, folder: &Path, options: LogOptions) -> Result<Self, LogError> {
        let maker = Arc::new(Maker {
            disk,
            folder: folder.to_owned(),
            bytes: options.segment_bytes,
            store: Mutex::new(Store::default()),
        });
        let retired_max = options.segments_ahead.max(1);
        // The thread holds one spare while it waits for room, so the channel is one shorter than the number kept ready.
        let Some(waiting_max) = options.segments_ahead.checked_sub(1) else {
            return Ok(Self { maker, retired_max, ready: None, thread: None });
        };
        let (send, ready) = sync_channel(waiting_max);
        let of_thread = Arc::clone(&maker);
        let thread = thread::Builder::new()
            .name("log-zeros".to_owned())
            .spawn(move || {
                loop {
                    let made = of_thread.make();
                    if let Err(error) = &made {
                        // Acknowledged records are in the current segment, which goes on; only the next one cannot begin (rule L8).
                        tracing::error!(%error, "the next segment cannot be prepared: the node ends when the current one is full");
                    }
                    let failed = made.is_err();
                    if send.send(made).is_err() || failed {
                        return;
                    }
                }
            })
            .map_err(|error| LogError::io("start a thread for", folder, &error))?;
        Ok(Self { maker, retired_max, ready: Some(ready), thread: Some(thread) })
    }

    /// An empty segment; waits if none is ready. Returns the thread's error if it failed.
    pub(super) fn take(&self) -> Result<Spare, LogError> {
        match &self.ready {
            None => self.maker.make(),
            Some(ready) => ready
                .recv()
                .unwrap_or_else(|_gone| Err(LogError::Failed { first: "the thread for the next segment".to_owned() })),
        }
    }

    /// Hands over a retired segment's file, to be reused or removed.
    pub(super) fn retire(&self, path: &Path, now: Timestamp) -> Result<(), LogError> {
        let disk = &self.maker.disk;
        let spare = self.maker.name();
        disk.rename(path, &spare).map_err(|error| LogError::io("rename", path, &error))?;
        disk.sync_folder(&self.maker.folder).map_err(|error| LogError::io("sync", &self.maker.folder, &error))?;
        let mut store = self.maker.store.lock().unwrap_or_else(PoisonError::into_inner);
        if store.retired.len() < self.retired_max {
            store.retired.push((spare, now));
            return Ok(());
        }
        drop(store);
        disk.remove(&spare).map_err(|error| LogError::io("remove", &spare, &error))
    }
}

impl Preparer {
    /// Removes retired files that no new segment has needed for [`UNUSED_MS_MAX`].
    pub(super) fn remove_unused(&self, now: Timestamp) -> Result<(), LogError> {
        let is_unused = |(_, since): &mut (PathBuf, Timestamp)| now.0 >= since.0.saturating_add(UNUSED_MS_MAX);
        let mut store = self.maker.store.lock().unwrap_or_else(PoisonError::into_inner);
        let unused: Vec<PathBuf> = store.retired.extract_if(.., is_unused).map(|(path, _)| path).collect();
        drop(store);
        for path in unused {
            self.maker.disk.remove(&path).map_err(|error| LogError::io("remove", &path, &error))?;
        }
        Ok(())
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        // Without a receiver the thread ends after the spare it is preparing.
        self.ready = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Maker {
    fn name(&self) -> PathBuf {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.named = store.named.saturating_add(1);
        Name::Spare(store.named).path(&self.folder)
    }

    fn make(&self) -> Result<Spare, LogError> {
        let retired = self.store.lock().unwrap_or_else(PoisonError::into_inner).retired.pop().map(|(path, _)| path);
        let path = retired.clone().unwrap_or_else(|| self.name());
        let failed = |error| LogError::io("prepare", &path, &error);
        let mut file = match &retired {
            Some(path) => self.disk.open(path, true),
            None => self.disk.create(&path),
        }
        .map_err(failed)?;
        if retired.is_some() && file.length().map_err(failed)? != self.bytes {
            // A file of a log with other options is written anew, because nothing may follow the end of the zeros.
            file = self.disk.create(&path).map_err(failed)?;
        }
        write_zeros(file.as_ref(), 0, self.bytes).map_err(failed)?;
        Ok(Spare { path, file, bytes: self.bytes })
    }
}
