//! A disk in memory with chosen faults: short writes, failing calls, power cuts.
//!
//! ```text
//! write ──► visible (page cache) ──sync──► durable        names: now ──sync_folder──► durable
//! process killed: the visible bytes stay     power cut: the durable bytes, and a random choice of the other sectors and names
//! ```
//!
//! A failed sync forgets that the sectors were dirty, as Linux does: a later successful sync does not write them.

use super::disk::{Disk, DiskFile};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const SECTOR_BYTES: usize = 512;
pub(crate) const SYNC_TOOK: Duration = Duration::from_nanos(1234);

/// The fault of the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call has no effect and fails; all others work.
    Fails,
    /// A write writes its first half and fails; any other call fails.
    HalfThenFails,
    /// The machine stops during the call, and every later call fails.
    Stops,
}

#[derive(Debug, Default, Clone)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    written_ms: u64,
}

#[derive(Debug, Clone)]
enum NameChange {
    Made(PathBuf, usize),
    /// An atomic rename.
    Moved(PathBuf, PathBuf, usize),
    Gone(PathBuf, usize),
}

impl NameChange {
    fn file(&self) -> usize {
        match self {
            Self::Made(_, number) | Self::Moved(_, _, number) | Self::Gone(_, number) => *number,
        }
    }
}

#[derive(Debug, Default, Clone)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
    changes: u64,
    fault: Option<(u64, Fault)>,
    stopped: bool,
    short_writes: bool,
    salts: u64,
    pub(crate) now_ms: u64,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    number: usize,
}

fn broken() -> io::Error {
    io::Error::other("injected")
}

impl State {
    /// Counts a call that changes something; returns the fault if this call is the chosen one.
    fn change(&mut self) -> Result<(), Fault> {
        if self.stopped {
            return Err(Fault::Fails);
        }
        self.changes += 1;
        match self.fault {
            Some((at, fault)) if at == self.changes => {
                self.stopped = fault == Fault::Stops;
                Err(fault)
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, number: usize, from: &[u8], offset: usize) {
        let now_ms = self.now_ms;
        let file = &mut self.files[number];
        let end = offset + from.len();
        if file.seen.len() < end {
            file.seen.resize(end, 0);
        }
        file.seen[offset..end].copy_from_slice(from);
        file.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        file.written_ms = now_ms;
    }
}

impl Content {
    fn persist(&mut self, sector: usize) {
        let from = sector * SECTOR_BYTES;
        let to = (from + SECTOR_BYTES).min(self.seen.len());
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        self.durable[from..to].copy_from_slice(&self.seen[from..to]);
    }
}

impl FaultDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The number of calls so far that changed something: writes, syncs, names.
    pub(crate) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Makes the `at`-th changing call from now fail; the next call is 1.
    pub(crate) fn fail_at(&self, at: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.changes + at, fault));
    }

    /// Makes every write of more than one byte short from now on.
    pub(crate) fn write_short(&self) {
        self.state().short_writes = true;
    }

    /// An independent copy of the disk, without faults to come.
    pub(crate) fn copy(&self) -> Self {
        let mut state = self.state().clone();
        state.stopped = false;
        state.fault = None;
        Self(Arc::new(Mutex::new(state)))
    }

    /// The disk after a power cut: of what was not synced, a random choice of sectors and names remains.
    pub(crate) fn after_power_cut(&self, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = self.copy();
        {
            let mut state = disk.state();
            let state = &mut *state;
            // Some power cuts keep nothing and some keep everything.
            let chance = [0.0, 0.5, 0.5, 0.9, 1.0][rng.random_range(0..5)];
            for file in &mut state.files {
                for sector in std::mem::take(&mut file.dirty) {
                    if rng.random_bool(chance) {
                        file.persist(sector);
                    }
                }
                file.seen = file.durable.clone();
            }
            let changes = std::mem::take(&mut state.name_changes);
            // The changes of one file come in order; those of different files need not.
            let mut lost = BTreeSet::new();
            for change in changes {
                if lost.contains(&change.file()) || !rng.random_bool(chance) {
                    lost.insert(change.file());
                    continue;
                }
                match change {
                    NameChange::Made(path, number) => drop(state.durable_names.insert(path, number)),
                    NameChange::Moved(from, to, number) => {
                        state.durable_names.remove(&from);
                        state.durable_names.insert(to, number);
                    }
                    NameChange::Gone(path, _) => drop(state.durable_names.remove(&path)),
                }
            }
            state.names = state.durable_names.clone();
        }
        disk
    }

    /// Changes a file directly and durably.
    pub(crate) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let number = state.names[path];
        let file = &mut state.files[number];
        change(&mut file.seen);
        file.durable = file.seen.clone();
        file.dirty.clear();
    }

    /// Deletes a file directly.
    pub(crate) fn lose(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path).unwrap();
        state.durable_names.remove(path);
    }

    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[path]].seen.clone()
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// Sets the time that later writes are dated with.
    pub(crate) fn set_now_ms(&self, now_ms: u64) {
        self.state().now_ms = now_ms;
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.state().names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for FaultDisk {
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let in_folder = |path: &PathBuf| path.strip_prefix(folder).ok().map(|name| name.display().to_string());
        Ok(self.state().names.keys().filter_map(in_folder).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.change().map_err(|_lost| broken())?;
        let number = state.files.len();
        state.files.push(Content::default());
        state.names.insert(path.to_owned(), number);
        state.name_changes.push(NameChange::Made(path.to_owned(), number));
        Ok(Arc::new(FaultFile { disk: self.clone(), number }))
    }

    fn open(&self, path: &Path, _for_writing: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultFile { disk: self.clone(), number: self.find(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let number = self.find(from)?;
        let mut state = self.state();
        state.change().map_err(|_lost| broken())?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), number);
        state.name_changes.push(NameChange::Moved(from.to_owned(), to.to_owned(), number));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let number = self.find(path)?;
        let mut state = self.state();
        state.change().map_err(|_lost| broken())?;
        state.names.remove(path);
        state.name_changes.push(NameChange::Gone(path.to_owned(), number));
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change().map_err(|_lost| broken())?;
        state.durable_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }

    fn modified_ms(&self, path: &Path) -> io::Result<u64> {
        let number = self.find(path)?;
        Ok(self.state().files[number].written_ms)
    }

    fn salt(&self) -> u64 {
        let mut state = self.state();
        state.salts += 1;
        state.salts.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let seen = &state.files[self.number].seen;
        let rest = seen.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.disk.state();
        let done = match state.change() {
            Ok(()) if state.short_writes => from.len().div_ceil(3),
            Ok(()) => from.len(),
            Err(Fault::Fails) => return Err(broken()),
            Err(Fault::HalfThenFails | Fault::Stops) => {
                state.write(self.number, &from[..from.len() / 2], offset);
                return Err(broken());
            }
        };
        state.write(self.number, &from[..done], offset);
        Ok(done)
    }

    fn sync_data(&self) -> io::Result<Duration> {
        let mut state = self.disk.state();
        let outcome = state.change();
        let file = &mut state.files[self.number];
        let dirty = std::mem::take(&mut file.dirty);
        match outcome {
            Ok(()) => {
                dirty.into_iter().for_each(|sector| file.persist(sector));
                Ok(SYNC_TOOK)
            }
            Err(Fault::Stops) => {
                file.dirty = dirty;
                Err(broken())
            }
            Err(_) => Err(broken()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(super::u64_of(self.disk.state().files[self.number].seen.len()))
    }
}
