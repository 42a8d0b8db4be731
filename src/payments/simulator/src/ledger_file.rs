//! The ledger's file: one JSON line per record, with its checksum and length in front. Records are appended, and replayed at the start.
//!
//! ```text
//! 5d1f03aa 000000e7 {"accepted":{"number":1,"reference":"ord_….authorize.1.1",…}}
//! ```
//!
//! A line is written before the answer leaves, so it survives `kill -9`. The process also waits for the [`Syncer`], so its lines survive a power
//! cut; a provider inside a node does not wait.

use super::ledger::{Ledger, LedgerRecord, LedgerSequenceError};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use thiserror::Error;
use tokio::sync::watch;

/// Why a ledger could not be opened.
#[derive(Debug, Error)]
pub enum LedgerFileError {
    /// The file system refused an operation.
    #[error("open the ledger: {0}")]
    Io(#[from] io::Error),
    /// The file system refused an operation on a named file.
    #[error("open the ledger {}: {error}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Another process has locked it.
    #[error("the ledger is in use by another process")]
    InUse,
    /// A line before the last is damaged, so the lines after it cannot be trusted.
    #[error("line {0} of the ledger is damaged")]
    Damaged(usize),
    /// A line does not fit those before it.
    #[error("line {line} of the ledger: {why}")]
    Ledger {
        /// The line's number, from 1.
        line: usize,
        /// The contradiction in words.
        why: LedgerSequenceError,
    },
}

/// The result of the replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// The ledger rebuilt from the lines.
    pub ledger: Ledger,
    /// The length of a torn last line that was cut, in bytes. Its answer never left.
    pub torn_bytes: u64,
}

/// A ledger that is open for appending.
#[derive(Debug)]
pub struct LedgerFile {
    path: PathBuf,
    file: File,
    written: u64,
}

impl LedgerFile {
    /// Opens or creates the file, replays it, and cuts a torn last line.
    pub fn open(path: &Path) -> Result<(Self, Replayed), LedgerFileError> {
        Self::open_file(path).map_err(|error| match error {
            LedgerFileError::Io(error) => LedgerFileError::File { path: path.to_owned(), error },
            other => other,
        })
    }

    fn open_file(path: &Path) -> Result<(Self, Replayed), LedgerFileError> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LedgerFileError::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut ledger = Ledger::default();
        let mut whole: usize = 0;
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((index, text)) = lines.next() {
            let line = index.saturating_add(1);
            match decode(text) {
                Some(read) => ledger.take(read).map_err(|why| LedgerFileError::Ledger { line, why })?,
                None if lines.peek().is_none() && torn(text) => break,
                None => return Err(LedgerFileError::Damaged(line)),
            }
            whole = whole.saturating_add(text.len());
        }
        let torn = bytes.len().saturating_sub(whole);
        let written = u64::try_from(whole).unwrap_or(u64::MAX);
        if torn > 0 {
            file.set_len(written)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(written))?;
        Ok((
            Self { path: path.to_owned(), file, written },
            Replayed { ledger, torn_bytes: u64::try_from(torn).unwrap_or(u64::MAX) },
        ))
    }

    /// Appends a record. After an error nothing more may be appended, because a part of the line may be in the file.
    pub fn append(&mut self, line: &LedgerRecord) -> io::Result<()> {
        let text = encode(line)?;
        self.file.write_all(&text)?;
        self.written = self.written.saturating_add(u64::try_from(text.len()).unwrap_or(0));
        Ok(())
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length of the file: the position that must be synced for all lines to be durable.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Starts a thread that syncs the appended lines.
    pub fn syncer(&self) -> io::Result<Syncer> {
        Syncer::start(self.file.try_clone()?, self.written)
    }
}

/// Bytes before the JSON: checksum of all that follows, length of the JSON, each as eight hexadecimal digits and a space.
const HEAD: usize = 18;

fn encode(line: &LedgerRecord) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(line)?;
    let mut summed = format!("{:08x} ", json.len()).into_bytes();
    summed.extend_from_slice(&json);
    let mut text = format!("{:08x} ", crc32fast::hash(&summed)).into_bytes();
    text.append(&mut summed);
    text.push(b'\n');
    Ok(text)
}

fn decode(text: &[u8]) -> Option<LedgerRecord> {
    let (sum, summed) = text.strip_suffix(b"\n")?.split_at_checked(HEAD / 2)?;
    let (length, json) = summed.split_at_checked(HEAD / 2)?;
    let whole = hex(sum)? == crc32fast::hash(summed) && usize::try_from(hex(length)?).ok()? == json.len();
    if whole { serde_json::from_slice(json).ok() } else { None }
}

fn hex(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?.strip_suffix(' ')?, 16).ok()
}

/// Whether the writing of this last line was cut off: it is shorter than its head says, or holds zeros. Any other invalid line was whole once
/// and is damaged; to cut it would forget a charge.
fn torn(text: &[u8]) -> bool {
    let Some((head, rest)) = text.split_at_checked(HEAD) else { return true };
    let length = head.get(HEAD / 2..).and_then(hex).and_then(|length| usize::try_from(length).ok());
    text.contains(&0) || length.is_some_and(|length| rest.len() <= length)
}

/// Syncs the file in a thread of its own; concurrent waiters share the next sync.
#[derive(Debug, Clone)]
pub struct Syncer {
    wanted: mpsc::Sender<u64>,
    synced: watch::Receiver<u64>,
}

impl Syncer {
    fn start(file: File, written: u64) -> io::Result<Self> {
        let (wanted, requests) = mpsc::channel::<u64>();
        let (done, synced) = watch::channel(written);
        // The thread ends with the last `Syncer`, or at the first failed sync. Then `done` is dropped, which fails every waiter.
        std::thread::Builder::new().name("ledger-sync".into()).spawn(move || {
            while let Ok(first) = requests.recv() {
                let upto = requests.try_iter().fold(first, u64::max);
                if let Err(error) = file.sync_data() {
                    tracing::error!(%error, "sync the payment ledger");
                    return;
                }
                done.send_replace(upto);
            }
        })?;
        Ok(Self { wanted, synced })
    }

    /// Waits until everything before `position` is on disk. Returns `false` if a sync failed; then no answer may leave.
    pub async fn upto(&self, position: u64) -> bool {
        if *self.synced.borrow() >= position {
            return true;
        }
        if self.wanted.send(position).is_err() {
            return false;
        }
        self.synced.clone().wait_for(|synced| *synced >= position).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{authorize, engine, order};
    use doorbuster_domain::time::Timestamp;

    fn lines(count: u128) -> (Vec<LedgerRecord>, Ledger) {
        let mut engine = engine();
        let lines = (0..count)
            .filter_map(|number| engine.call(&authorize(order(number), "tok_ok", 100), Timestamp(5)).line)
            .collect();
        (lines, engine.ledger().clone())
    }

    #[test]
    fn a_torn_last_line_is_cut_at_every_byte_and_the_rest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let (lines, _) = lines(3);
        let texts: Vec<Vec<u8>> = lines.iter().map(|line| encode(line).unwrap()).collect();
        let whole: Vec<u8> = texts[..2].concat();
        for kept in 0..texts[2].len() {
            std::fs::write(&path, [whole.as_slice(), &texts[2][..kept]].concat()).unwrap();
            let (mut file, read) = LedgerFile::open(&path).unwrap();
            assert_eq!(read.torn_bytes, u64::try_from(kept).unwrap());
            assert_eq!(read.ledger.next_number(), 3);
            file.append(&lines[2]).unwrap();
            drop(file);
            assert_eq!(LedgerFile::open(&path).unwrap().1.ledger.next_number(), 4);
        }
    }

    #[test]
    fn a_flipped_byte_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let (lines, _) = lines(2);
        let texts: Vec<Vec<u8>> = lines.iter().map(|line| encode(line).unwrap()).collect();
        let first = 0..texts[0].len();
        // Of the last line all but its length, which says whether it is whole.
        let last = texts[0].len() + HEAD..texts.concat().len();
        for at in first.chain(last) {
            let mut bytes = texts.concat();
            bytes[at] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            let refused = matches!(LedgerFile::open(&path), Err(LedgerFileError::Damaged(_)));
            assert!(refused, "byte {at}");
        }
    }

    #[test]
    fn the_file_read_again_is_the_book() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let (lines, ledger) = lines(20);
        let (mut file, _) = LedgerFile::open(&path).unwrap();
        for line in &lines {
            file.append(line).unwrap();
        }
        drop(file);
        assert_eq!(LedgerFile::open(&path).unwrap().1, Replayed { ledger, torn_bytes: 0 });
    }

    #[test]
    fn a_ledger_in_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let held = LedgerFile::open(&path).unwrap();
        assert!(matches!(LedgerFile::open(&path), Err(LedgerFileError::InUse)));
        drop(held);
    }
}
