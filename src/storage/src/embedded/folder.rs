//! One data folder, one process, one layout.

use super::log::LogError;
use crate::journal::Layout;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a data folder cannot be opened. Each says what a person should look at.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// No node ever ran here.
    #[error("{} is not a data folder: it has no LAYOUT", .0.display())]
    NotAFolder(PathBuf),
    /// Data without a layout, or a layout that cannot be read.
    #[error("the data folder {} is damaged: {why}", folder.display())]
    Damaged {
        /// Which.
        folder: PathBuf,
        /// In words.
        why: String,
    },
    /// Rule O1.
    #[error(
        "the data folder {} was made with {} shards and version {} of the hash, the configuration says {} and {}: \
         these cannot change", folder.display(), stored.shards, stored.hash_version, configured.shards, configured.hash_version
    )]
    OtherLayout {
        /// Which.
        folder: PathBuf,
        /// Fixed when it was made.
        stored: Layout,
        /// Asked for.
        configured: Layout,
    },
    /// The log is damaged, or does not meet the states (rule L7).
    #[error(transparent)]
    Log(#[from] LogError),
    /// The tables cannot be read.
    #[error("the tables in {} cannot be opened: {why}", folder.display())]
    Tables {
        /// Which.
        folder: PathBuf,
        /// In the store's words.
        why: String,
    },
    /// The operating system refused.
    #[error("{verb} {}: {error}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// In the system's words.
        error: io::Error,
    },
}

/// A data folder that is ours while this lives.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) layout: Layout,
    path: PathBuf,
    /// The lock goes with the file's last handle, also when the process is killed.
    _lock: File,
}

impl Folder {
    /// Takes an existing folder, or makes one of this layout.
    pub(super) fn open_or_make(path: &Path, configured: Layout) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(|error| io_error("create", path, error))?;
        let lock = take_lock(path)?;
        let stored = match read_layout(path)? {
            Some(stored) => stored,
            None => make_layout(path, configured)?,
        };
        if stored != configured {
            return Err(OpenError::OtherLayout { folder: path.to_owned(), stored, configured });
        }
        Ok(Self { layout: stored, path: path.to_owned(), _lock: lock })
    }

    /// Takes an existing folder, whatever its layout.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        if !layout_path(path).is_file() {
            return Err(OpenError::NotAFolder(path.to_owned()));
        }
        let lock = take_lock(path)?;
        let layout = read_layout(path)?.ok_or_else(|| OpenError::NotAFolder(path.to_owned()))?;
        Ok(Self { layout, path: path.to_owned(), _lock: lock })
    }

    pub(super) fn log(&self) -> PathBuf {
        log_path(&self.path)
    }

    pub(super) fn tables(&self) -> PathBuf {
        tables_path(&self.path)
    }
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn tables_path(folder: &Path) -> PathBuf {
    folder.join("states")
}

fn layout_path(folder: &Path) -> PathBuf {
    folder.join("LAYOUT")
}

fn io_error(verb: &'static str, path: &Path, error: io::Error) -> OpenError {
    OpenError::Io { verb, path: path.to_owned(), error }
}

fn take_lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| io_error("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path, error)),
    }
}

fn read_layout(folder: &Path) -> Result<Option<Layout>, OpenError> {
    let path = layout_path(folder);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", &path, error)),
    };
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix('='));
        line.and_then(|value| value.trim().parse::<u16>().ok())
    };
    match (number("shards"), number("hash_version")) {
        (Some(shards), Some(hash_version)) if shards > 0 => Ok(Some(Layout { shards, hash_version })),
        _ => Err(OpenError::Damaged { folder: folder.to_owned(), why: "its LAYOUT cannot be read".to_owned() }),
    }
}

/// Written before anything else, and renamed into place: a folder with data has a layout, whatever moment the power went.
fn make_layout(folder: &Path, layout: Layout) -> Result<Layout, OpenError> {
    if log_path(folder).exists() || tables_path(folder).exists() {
        let why = "it holds data, but its LAYOUT is gone".to_owned();
        return Err(OpenError::Damaged { folder: folder.to_owned(), why });
    }
    let made = folder.join("LAYOUT.new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&made)?;
        writeln!(file, "shards = {}\nhash_version = {}", layout.shards, layout.hash_version)?;
        file.sync_all()?;
        fs::rename(&made, layout_path(folder))?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| io_error("write", &made, error))?;
    Ok(layout)
}
