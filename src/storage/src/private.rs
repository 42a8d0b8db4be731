//! Files and folders that only the user of the node can read: 0600 and 0700.
//!
//! The program also starts with [`UMASK`], because the database of the tables makes its files itself. What an earlier version, a copy or a restore left
//! wider is narrowed when the folder is opened.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The mode of a file: its owner reads and writes it.
pub const FILE_MODE: u32 = 0o600;
/// The mode of a folder: its owner lists and changes it.
pub const FOLDER_MODE: u32 = 0o700;
/// The permission bits that no new file or folder of the program gets.
pub const UMASK: u32 = 0o077;

/// Options to open a file; one that is created gets [`FILE_MODE`].
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// Creates a folder with [`FOLDER_MODE`].
///
/// # Errors
/// As [`fs::create_dir`].
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Creates a folder and those above it that are missing, with [`FOLDER_MODE`].
///
/// # Errors
/// As [`fs::create_dir_all`].
pub fn create_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Takes all permissions of other users from a file or a folder; does not follow links. Was there anything to take?
///
/// # Errors
/// When the path cannot be looked at, or belongs to another user.
pub fn narrow(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let mode = if metadata.is_dir() { FOLDER_MODE } else { FILE_MODE };
    if metadata.is_symlink() || metadata.permissions().mode() & UMASK == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(true)
}

/// [`narrow`] for a folder and everything in it; returns the number of files and folders that were narrowed.
///
/// # Errors
/// As [`narrow`].
pub fn narrow_all(folder: &Path) -> io::Result<u64> {
    let mut narrowed = u64::from(narrow(folder)?);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let one =
            if entry.file_type()?.is_dir() { narrow_all(&entry.path())? } else { u64::from(narrow(&entry.path())?) };
        narrowed = narrowed.saturating_add(one);
    }
    Ok(narrowed)
}
