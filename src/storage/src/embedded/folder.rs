//! The data folder: its lock, which admits one process, and its fixed layout.

use super::log::LogError;
use crate::journal::Layout;
use crate::private;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a data folder cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has locked it.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The folder has no LAYOUT file, so no node has used it.
    #[error("{} is not a data folder: it has no LAYOUT", .0.display())]
    NotAFolder(PathBuf),
    /// Data without a layout, or an unreadable layout.
    #[error("the data folder {} is damaged: {why}", folder.display())]
    Damaged {
        /// The path of the folder.
        folder: PathBuf,
        /// The contradiction, in words.
        why: String,
    },
    /// The layout differs from the configuration (rule O1).
    #[error(
        "the data folder {} was made with {} shards and version {} of the hash, the configuration says {} and {}: \
         these cannot change", folder.display(), stored.shards, stored.hash_version, configured.shards, configured.hash_version
    )]
    OtherLayout {
        /// The path of the folder.
        folder: PathBuf,
        /// The layout fixed when the folder was created.
        stored: Layout,
        /// The configured layout.
        configured: Layout,
    },
    /// Its records, states or tables have another form: see `FOLDER_FORMAT`.
    #[error(
        "the data folder {} was written by {} version of Doorbuster, in form {stored} of its records; this version reads forms {EARLIER_FORMAT} and \
         {FOLDER_FORMAT}: start with an empty folder, or with the version that wrote this one", folder.display(),
        if *stored < FOLDER_FORMAT { "an earlier" } else { "a later" }
    )]
    OtherFormat {
        /// The path of the folder.
        folder: PathBuf,
        /// The form fixed when the folder was created; 1 where its LAYOUT names none.
        stored: u16,
    },
    /// The log is damaged, or does not join the states (rule L7).
    #[error(transparent)]
    Log(#[from] LogError),
    /// The tables cannot be opened.
    #[error("the tables in {} cannot be opened: {why}", folder.display())]
    Tables {
        /// The path of the folder.
        folder: PathBuf,
        /// The database's error.
        why: String,
    },
    /// The operating system refused an operation.
    #[error("{verb} {}: {error}", path.display())]
    Io {
        /// The operation, as a verb.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// The form of a folder, called `record_format` in its LAYOUT. Up to 2 it was that of its records ([`crate::wire::RECORD_FORMAT`]). In form 3 the
/// tables have rows in which no earlier version would look: it must refuse the folder, or it would miss deadlines.
const FOLDER_FORMAT: u16 = 3;
/// The form before it, whose rows are read too. Opening such a folder makes it one of [`FOLDER_FORMAT`].
const EARLIER_FORMAT: u16 = 2;
/// The form of a folder whose LAYOUT names none.
const UNNUMBERED_FORMAT: u16 = 1;

/// A data folder that this process holds locked.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) layout: Layout,
    path: PathBuf,
    /// The lock ends with the file's last handle, also when the process is killed.
    _lock: File,
}

impl Folder {
    /// Opens an existing folder, or creates one with this layout.
    pub(super) fn open_or_make(path: &Path, configured: Layout) -> Result<Self, OpenError> {
        private::create_folders(path).map_err(|error| io_error("create", path, error))?;
        let lock = take_lock(path)?;
        let (stored, form) = match read_layout(path)? {
            Some(stored) => stored,
            None => (make_layout(path, configured)?, FOLDER_FORMAT),
        };
        if stored != configured {
            return Err(OpenError::OtherLayout { folder: path.to_owned(), stored, configured });
        }
        if form != FOLDER_FORMAT {
            write_layout(path, stored)?;
        }
        narrow_what_is_ours(path);
        Ok(Self { layout: stored, path: path.to_owned(), _lock: lock })
    }

    /// Opens an existing folder of any layout.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        if !layout_path(path).is_file() {
            return Err(OpenError::NotAFolder(path.to_owned()));
        }
        let lock = take_lock(path)?;
        let (layout, _form) = read_layout(path)?.ok_or_else(|| OpenError::NotAFolder(path.to_owned()))?;
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

/// The folder of the indexes of lists in a data folder.
#[must_use]
pub fn index_path(folder: &Path) -> PathBuf {
    folder.join("index")
}

fn layout_path(folder: &Path) -> PathBuf {
    folder.join("LAYOUT")
}

fn io_error(verb: &'static str, path: &Path, error: io::Error) -> OpenError {
    OpenError::Io { verb, path: path.to_owned(), error }
}

/// Takes the permissions of other users from a data folder: from itself, the files in it, the log, the tables and the index. A folder of something else
/// beside them is left alone. The node starts also when it may not: then the operator learns of it.
fn narrow_what_is_ours(path: &Path) {
    let narrow = || -> io::Result<u64> {
        let mut narrowed = u64::from(private::narrow(path)?);
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                narrowed = narrowed.saturating_add(u64::from(private::narrow(&entry.path())?));
            }
        }
        for folder in [log_path(path), tables_path(path), index_path(path)] {
            if folder.is_dir() {
                narrowed = narrowed.saturating_add(private::narrow_all(&folder)?);
            }
        }
        Ok(narrowed)
    };
    let folder = path.display();
    match narrow() {
        Ok(0) => {}
        Ok(narrowed) => {
            tracing::warn!(%folder, narrowed, "took the permissions of other users from files of the data folder");
        }
        Err(error) => tracing::warn!(%folder, %error, "other users may read the data folder"),
    }
}

fn take_lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("LOCK");
    let file = private::options()
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

/// The layout of a folder and its form, if it has a layout.
fn read_layout(folder: &Path) -> Result<Option<(Layout, u16)>, OpenError> {
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
        (Some(shards), Some(hash_version)) if shards > 0 => {
            match number("record_format").unwrap_or(UNNUMBERED_FORMAT) {
                form @ (EARLIER_FORMAT | FOLDER_FORMAT) => Ok(Some((Layout { shards, hash_version }, form))),
                stored => Err(OpenError::OtherFormat { folder: folder.to_owned(), stored }),
            }
        }
        _ => Err(OpenError::Damaged { folder: folder.to_owned(), why: "its LAYOUT cannot be read".to_owned() }),
    }
}

/// Writes the layout of a new folder before anything else: a folder with data has a layout, even after a power cut.
fn make_layout(folder: &Path, layout: Layout) -> Result<Layout, OpenError> {
    if log_path(folder).exists() || tables_path(folder).exists() {
        let why = "it holds data, but its LAYOUT is gone".to_owned();
        return Err(OpenError::Damaged { folder: folder.to_owned(), why });
    }
    write_layout(folder, layout)?;
    Ok(layout)
}

/// Writes the layout in this version's form, by renaming it into place.
fn write_layout(folder: &Path, layout: Layout) -> Result<(), OpenError> {
    let made = folder.join("LAYOUT.new");
    let write = || -> io::Result<()> {
        let mut file = private::options().write(true).create(true).truncate(true).open(&made)?;
        writeln!(file, "shards = {}\nhash_version = {}", layout.shards, layout.hash_version)?;
        writeln!(file, "record_format = {FOLDER_FORMAT}")?;
        file.sync_all()?;
        fs::rename(&made, layout_path(folder))?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| io_error("write", &made, error))
}
