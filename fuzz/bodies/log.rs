//! The log on the disk: a folder that was written whole and then damaged, and frames whose checksum holds and whose content is anything.
//!
//! ```text
//! first byte even: damage, each as file u8 │ place u16 │ byte u8       odd: records u8 │ payload of a frame with a good checksum
//! ```

use super::taken::Bytes as Input;
use bytes::Bytes;
use doorbuster_storage::embedded::log::{Disk, DiskFile, Log, LogError, LogOptions, LogReader, Recovered};
use doorbuster_storage::{Record, Shard};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const FOLDER: &str = "/log";
/// Seeds the checksums; a real log's cannot be guessed.
const SALT: u64 = 7;
/// Places that are damaged in one try.
const DAMAGE_MAX: usize = 64;
const OPTIONS: LogOptions =
    LogOptions { segment_bytes: 16 << 10, segments_ahead: 0, frame_bytes_max: 8 << 10, segment_age_max_ms: u64::MAX };

/// Whatever stands in a folder is opened or refused; what is opened is a whole beginning of what was written, and goes on.
pub fn check(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first.is_multiple_of(2) { damaged(first & 2 != 0, rest) } else { forged(rest) }
}

/// Files in memory.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<PathBuf, Arc<File>>>);

#[derive(Debug, Default)]
struct File(Mutex<Vec<u8>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panicked while holding it")
}

fn count(of: usize) -> u64 {
    u64::try_from(of).expect("it fits into memory")
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for Memory {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let files = lock(&self.0);
        let below = files.keys().filter_map(|path| path.strip_prefix(folder).ok());
        Ok(below.map(|name| name.to_string_lossy().into_owned()).collect())
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::<File>::default();
        lock(&self.0).insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }
    fn open(&self, path: &Path, _for_writing: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file: Arc<File> = lock(&self.0).get(path).cloned().ok_or_else(not_found)?;
        Ok(file)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = lock(&self.0);
        let file = files.remove(from).ok_or_else(not_found)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).remove(path).map(|_| ()).ok_or_else(not_found)
    }
    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn modified_ms(&self, _: &Path) -> io::Result<u64> {
        Ok(0)
    }
    fn salt(&self) -> u64 {
        SALT
    }
}

impl DiskFile for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let there = &bytes[from..];
        let read = there.len().min(into.len());
        into[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }
    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = lock(&self.0);
        let at = usize::try_from(offset).expect("files are small here");
        let end = at + from.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at..end].copy_from_slice(from);
        Ok(from.len())
    }
    fn sync_data(&self) -> io::Result<Duration> {
        Ok(Duration::ZERO)
    }
    fn length(&self) -> io::Result<u64> {
        Ok(count(lock(&self.0).len()))
    }
}

/// A folder's files, to be copied.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn disk_of(files: &Files) -> Arc<Memory> {
    let files = files.iter().map(|(path, bytes)| (path.clone(), Arc::new(File(Mutex::new(bytes.clone())))));
    Arc::new(Memory(Mutex::new(files.collect())))
}

fn files_of(disk: &Memory) -> Files {
    lock(&disk.0).iter().map(|(path, file)| (path.clone(), lock(&file.0).clone())).collect()
}

fn record(shard: u16, seq: u64) -> Record {
    let body = Bytes::from(vec![u8::try_from(seq).unwrap_or(0); 900]);
    Record { shard: Shard(shard), epoch: 1, seq, events: 1, body }
}

/// What a log of two segments holds, frame by frame.
fn written() -> Vec<Vec<Record>> {
    (1..=16).map(|seq| vec![record(0, seq), record(3, seq)]).collect()
}

fn open(disk: &Arc<Memory>) -> Result<(Log, Recovered), LogError> {
    let disk: Arc<Memory> = Arc::clone(disk);
    Log::open_on(disk, Path::new(FOLDER), OPTIONS)
}

/// The records of a folder, read without changing it.
fn read(disk: &Arc<Memory>) -> Result<Vec<Vec<Record>>, LogError> {
    let disk: Arc<Memory> = Arc::clone(disk);
    let (reader, _) = LogReader::open_on(disk, Path::new(FOLDER))?;
    reader.frames().map(|frame| frame.map(|frame| frame.records)).collect()
}

fn a_whole_log(sealed: bool) -> Files {
    let disk = Arc::<Memory>::default();
    let (mut log, _) = open(&disk).expect("an empty folder");
    for records in written() {
        log.append(&records).expect("there is room");
    }
    if sealed {
        log.seal().expect("nothing failed");
    }
    files_of(&disk)
}

thread_local! {
    static WHOLE: [Files; 2] = [a_whole_log(false), a_whole_log(true)];
    static EMPTY: (Files, u64) = {
        let disk = Arc::<Memory>::default();
        let (_, recovered) = open(&disk).expect("an empty folder");
        (files_of(&disk), recovered.end.0)
    };
}

fn damaged(sealed: bool, bytes: &[u8]) {
    let mut files = WHOLE.with(|whole| whole[usize::from(sealed)].clone());
    let paths: Vec<PathBuf> = files.keys().cloned().collect();
    let whole = files.clone();
    for place in bytes.chunks_exact(4).take(DAMAGE_MAX) {
        let path = &paths[usize::from(place[0]) % paths.len()];
        let file = files.get_mut(path).expect("one of them");
        if !file.is_empty() {
            let at = usize::from(u16::from_le_bytes([place[1], place[2]])) % file.len();
            file[at] = place[3];
        }
    }
    let is_whole = files == whole;
    let disk = disk_of(&files);
    let written = written();
    let seen = read(&disk);
    assert_eq!(files_of(&disk), files, "reading changes nothing");
    match (&seen, open(&disk)) {
        (Ok(seen), Ok((mut log, _))) => {
            assert!(written.starts_with(seen), "what is not a beginning of what was written");
            assert!(!sealed || seen.len() == written.len(), "something before the seal was cut (rule L5)");
            let last = count(seen.len());
            let next = vec![record(0, last + 1), record(3, last + 1)];
            log.append(&next).expect("a log that opens goes on");
            drop(log);
            let mut all = seen.clone();
            all.push(next);
            assert_eq!(read(&disk).expect("it opened before"), all, "what was acknowledged is there");
        }
        (Err(_), Err(_)) => assert!(!is_whole, "nothing was damaged"),
        (seen, opened) => panic!("a reader says {seen:?}, the log {:?}", opened.map(|(_, recovered)| recovered)),
    }
}

/// A frame as the format has it (see the head of `frame.rs`), its checksum right whatever it holds.
fn forged(bytes: &[u8]) {
    let mut input = Input(bytes);
    let records = u32::from(input.u8().unwrap_or(0));
    let payload = input.at_most(4 << 10);
    let (mut files, end) = EMPTY.with(Clone::clone);
    let mut frame = Vec::from(*b"DBf1");
    frame.extend_from_slice(&u32::try_from(payload.len()).expect("bounded above").to_le_bytes());
    frame.extend_from_slice(&1_u64.to_le_bytes());
    frame.extend_from_slice(&end.to_le_bytes());
    frame.extend_from_slice(&0_u32.to_le_bytes());
    frame.extend_from_slice(&records.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&SALT.to_le_bytes());
    crc.update(&frame);
    crc.update(payload);
    frame.extend_from_slice(&crc.finalize().to_le_bytes());
    frame.extend_from_slice(payload);
    let segment = files.get_mut(&Path::new(FOLDER).join("segment-000000000001")).expect("the first segment");
    let at = usize::try_from(end).expect("a small file");
    segment[at..at + frame.len()].copy_from_slice(&frame);
    let disk = disk_of(&files);
    match (read(&disk), open(&disk)) {
        (Ok(seen), Ok(_)) => assert!(seen.iter().all(|frame| frame.len() == usize::try_from(records).unwrap_or(0))),
        (Err(LogError::Corrupt(_)), Err(LogError::Corrupt(_))) => {}
        (seen, opened) => panic!("a reader says {seen:?}, the log {:?}", opened.map(|(_, recovered)| recovered)),
    }
}
