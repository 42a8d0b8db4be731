//! How secret keys are kept: one JSON line for each key that is made, shown or revoked, and no secret among them.
//!
//! ```text
//! made ──► shown ──► revoked        The first start's key is made, then shown, then marked as shown. A start that finds it unmarked makes another:
//!                                   whoever saw the first one keeps it, and whoever saw none is not locked out.
//! ```
//!
//! In a data folder the lines are a file that is only appended to, and only after it was read: a damaged file is left as it is. Nodes that share a
//! store keep each line as a row. The order of lines means nothing.

use super::{Key, Scope, hash, token};
use crate::core::secret::{create_private, hex, unhex};
use crate::core::view::At;
use compact_str::{CompactString, format_compact};
use doorbuster_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Name of the file in the data folder.
pub const FILE: &str = "keys.jsonl";
/// After this many seconds without a mark, another node's first key counts as never shown: that node ended in between.
pub const FIRST_UNSEEN_S: u64 = 60;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Made {
        hash: String,
        key: Key,
        /// The node whose first start made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_on: Option<CompactString>,
    },
    Shown {
        id: CompactString,
        at_ms: u64,
    },
    Revoked {
        id: CompactString,
        at_ms: u64,
    },
}

/// Why keys cannot be read or changed.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A line of the file has another form. (A line that a crash cut off was never acknowledged; it is skipped.)
    #[error(
        "{path}: line {line} cannot be read; nothing was changed. Restore the file; without the line a key is missing, or one that was revoked is valid again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// No key has this id.
    #[error("there is no key {0}")]
    Unknown(String),
}

/// A key that was made: its text, which is shown once and not stored, and the line to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The text.
    pub token: String,
    /// The key.
    pub key: Key,
    /// What to store.
    pub line: Vec<u8>,
}

/// The key of a first start, as long as it is not known to have been shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstKey {
    /// Its text.
    pub token: String,
    /// Its id.
    pub id: CompactString,
}

/// A valid key, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedKey {
    /// Its id.
    pub id: CompactString,
    /// The seller's account that it acts for.
    pub account: CompactString,
    /// What it permits.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: At,
    /// A first start made it, and it is not known that it was shown to anyone.
    pub never_shown: bool,
}

/// What the lines say together.
#[derive(Debug, Default)]
pub struct Known {
    pub(super) by_hash: BTreeMap<[u8; 32], Arc<Key>>,
    /// Keys of first starts that are not marked as shown, and the node that made each.
    unseen: BTreeMap<CompactString, CompactString>,
}

impl Known {
    /// Reads lines; `path` is where they come from, for errors.
    ///
    /// # Errors
    /// When a line has another form.
    pub fn read(path: &Path, text: &str) -> Result<Self, KeysError> {
        let mut known = Self::default();
        let (mut shown, mut revoked) = (BTreeSet::new(), BTreeSet::new());
        for (index, line) in text.split('\n').enumerate() {
            // A file system may lengthen a file before it writes the bytes: what a crash cut off ends in zeros.
            let line = line.trim_end_matches('\0');
            if line.is_empty() {
                continue;
            }
            let damaged = KeysError::Damaged { path: path.to_owned(), line: index.saturating_add(1) };
            match serde_json::from_str::<Line>(line) {
                Ok(Line::Made { hash, key, first_on }) => {
                    if let Some(node) = first_on {
                        known.unseen.insert(key.id.clone(), node);
                    }
                    known.by_hash.insert(unhex(&hash).ok_or(damaged)?, Arc::new(key));
                }
                Ok(Line::Shown { id, .. }) => drop(shown.insert(id)),
                Ok(Line::Revoked { id, .. }) => drop(revoked.insert(id)),
                // The beginning of a line, cut off by a crash. The next line stands behind it: see `append`.
                Err(error) if error.is_eof() => {}
                Err(_unreadable) => return Err(damaged),
            }
        }
        known.by_hash.retain(|_, key| !revoked.contains(&key.id));
        known.unseen.retain(|id, _| !shown.contains(id) && !revoked.contains(id));
        Ok(known)
    }

    /// The valid keys, by the time they were made.
    #[must_use]
    pub fn list(&self) -> Vec<ListedKey> {
        let listed = |key: &Arc<Key>| ListedKey {
            id: key.id.clone(),
            account: key.account.clone(),
            scopes: key.scopes.clone(),
            created_at: At(Timestamp(key.created_at_ms)),
            never_shown: self.unseen.contains_key(&key.id),
        };
        let mut keys: Vec<ListedKey> = self.by_hash.values().map(listed).collect();
        keys.sort_by(|one, other| (one.created_at.0, &one.id).cmp(&(other.created_at.0, &other.id)));
        keys
    }

    /// Must a start make a key, because nobody is known to have one? `node`: its name, where other nodes store lines, too.
    ///
    /// A node's own unmarked key is that of its earlier process, which has ended. Another node's may be about to be shown.
    #[must_use]
    pub fn needs_first(&self, node: Option<&str>, now: Timestamp) -> bool {
        self.by_hash.values().all(|key| match (self.unseen.get(&key.id), node) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(by), Some(node)) => by == node || key.created_at_ms.saturating_add(FIRST_UNSEEN_S * 1_000) < now.0,
        })
    }
}

/// The id of a key for operators: `key_` and the first digits of its hash.
pub(super) fn id_of(hash: &[u8; 32]) -> CompactString {
    format_compact!("key_{}", hex(hash).get(..12).unwrap_or_default())
}

fn json(line: &Line) -> Vec<u8> {
    serde_json::to_vec(line).expect("a line has only texts, numbers and lists")
}

fn line_of(first_on: Option<&str>, account: &str, scopes: &[Scope], secret: &[u8; 32], now: Timestamp) -> Made {
    let token = token(secret);
    let hash = hash(&token);
    let key = Key { id: id_of(&hash), account: account.into(), scopes: scopes.to_vec(), created_at_ms: now.0 };
    let line = json(&Line::Made { hash: hex(&hash), key: key.clone(), first_on: first_on.map(CompactString::from) });
    Made { token, key, line }
}

/// A key, with the line to store.
#[must_use]
pub fn made(account: &str, scopes: &[Scope], secret: &[u8; 32], now: Timestamp) -> Made {
    line_of(None, account, scopes, secret, now)
}

/// The key of the first start of `node`, with all scopes, and the line to store.
#[must_use]
pub fn made_first(node: &str, account: &str, secret: &[u8; 32], now: Timestamp) -> Made {
    line_of(Some(node), account, &Scope::ALL, secret, now)
}

/// The line that marks a first start's key as shown.
#[must_use]
pub fn shown_line(id: &str, now: Timestamp) -> Vec<u8> {
    json(&Line::Shown { id: id.into(), at_ms: now.0 })
}

/// The line that revokes a key.
#[must_use]
pub fn revoked_line(id: &str, now: Timestamp) -> Vec<u8> {
    json(&Line::Revoked { id: id.into(), at_ms: now.0 })
}

/// Adds a key to a folder's file and makes it durable.
///
/// # Errors
/// When the file is damaged or cannot be written.
pub fn create(
    folder: &Path,
    account: &str,
    scopes: &[Scope],
    secret: &[u8; 32],
    now: Timestamp,
) -> Result<Made, KeysError> {
    let made = made(account, scopes, secret, now);
    append(folder, |_known| Ok(made.line.clone()))?;
    Ok(made)
}

/// Must a start make a folder's first key? See [`Known::needs_first`].
///
/// # Errors
/// When the file is damaged or cannot be read.
pub fn needs_first(folder: &Path, now: Timestamp) -> Result<bool, KeysError> {
    Ok(read(&folder.join(FILE))?.needs_first(None, now))
}

/// Adds the key of a first start to a folder's file and makes it durable.
///
/// # Errors
/// When the file is damaged or cannot be written.
pub fn create_first(
    folder: &Path,
    node: &str,
    account: &str,
    secret: &[u8; 32],
    now: Timestamp,
) -> Result<FirstKey, KeysError> {
    let Made { token, key, line } = made_first(node, account, secret, now);
    append(folder, |_known| Ok(line))?;
    Ok(FirstKey { token, id: key.id })
}

/// Marks a folder's first key as shown, durably.
///
/// # Errors
/// When the file is damaged or cannot be written.
pub fn mark_shown(folder: &Path, id: &str, now: Timestamp) -> Result<(), KeysError> {
    append(folder, |_known| Ok(shown_line(id, now)))
}

/// Revokes a key, durably.
///
/// # Errors
/// When no key has this id, or the file is damaged or cannot be written.
pub fn revoke(folder: &Path, id: &str, now: Timestamp) -> Result<(), KeysError> {
    append(folder, |known| {
        if !known.by_hash.values().any(|key| key.id == id) {
            return Err(KeysError::Unknown(id.to_owned()));
        }
        Ok(revoked_line(id, now))
    })
}

/// The valid keys of a folder.
///
/// # Errors
/// When the file is damaged or cannot be read.
pub fn list(folder: &Path) -> Result<Vec<ListedKey>, KeysError> {
    Ok(read(&folder.join(FILE))?.list())
}

/// Appends the line that `decide` gives for what the file says, while no other process appends.
fn append(folder: &Path, decide: impl FnOnce(&Known) -> Result<Vec<u8>, KeysError>) -> Result<(), KeysError> {
    let path = folder.join(FILE);
    let failed = |error| KeysError::File { path: path.clone(), error };
    let open = || -> io::Result<File> {
        if !path.exists() {
            drop(create_private(&path)?);
            File::open(folder)?.sync_all()?;
        }
        let file = OpenOptions::new().append(true).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    let mut file = open().map_err(failed)?;
    let mut bytes = decide(&read(&path)?)?;
    bytes.push(b'\n');
    let mut write = || -> io::Result<()> {
        // The new line must not become part of a line that a crash cut off.
        if fs::read(&path)?.last().is_some_and(|last| *last != b'\n') {
            bytes.insert(0, b'\n');
        }
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().map_err(failed)
}

pub(super) fn read(path: &Path) -> Result<Known, KeysError> {
    match fs::read_to_string(path) {
        Ok(text) => Known::read(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::default()),
        Err(error) => Err(KeysError::File { path: path.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(folder: &Path) -> String {
        fs::read_to_string(folder.join(FILE)).unwrap()
    }

    #[test]
    fn a_damaged_file_is_refused_before_anything_is_appended() {
        let folder = tempfile::tempdir().unwrap();
        let first = create(folder.path(), "a", &[], &[1; 32], Timestamp(1)).unwrap();
        create(folder.path(), "b", &[], &[2; 32], Timestamp(2)).unwrap();
        revoke(folder.path(), &first.key.id, Timestamp(3)).unwrap();
        let whole = text(folder.path());
        // The last line, too: it is the one that revokes.
        for damaged in [whole.replacen("made", "mede", 1), whole.replace("revoked", "revxked")] {
            fs::write(folder.path().join(FILE), &damaged).unwrap();
            let refused =
                |done: Result<(), KeysError>| assert!(matches!(done, Err(KeysError::Damaged { .. })), "{done:?}");
            refused(create(folder.path(), "c", &[], &[3; 32], Timestamp(4)).map(drop));
            refused(create_first(folder.path(), "node1", "c", &[3; 32], Timestamp(4)).map(drop));
            refused(mark_shown(folder.path(), &first.key.id, Timestamp(4)));
            refused(revoke(folder.path(), &first.key.id, Timestamp(4)));
            refused(list(folder.path()).map(drop));
            assert_eq!(text(folder.path()), damaged);
        }
    }

    #[test]
    fn a_line_that_a_crash_cut_off_loses_no_other_key() {
        for cut_off in ["{\"made\":{\"hash\":\"12", "{\"made\":{\"ha\0\0\0", "\0\0\0\0"] {
            let folder = tempfile::tempdir().unwrap();
            create(folder.path(), "a", &[], &[1; 32], Timestamp(1)).unwrap();
            let mut file = OpenOptions::new().append(true).open(folder.path().join(FILE)).unwrap();
            file.write_all(cut_off.as_bytes()).unwrap();
            assert_eq!(list(folder.path()).unwrap().len(), 1, "{cut_off:?}");
            create(folder.path(), "b", &[], &[2; 32], Timestamp(3)).unwrap();
            assert_eq!(list(folder.path()).unwrap().len(), 2, "{cut_off:?}");
        }
    }

    #[test]
    fn a_first_key_that_is_not_known_to_have_been_shown_is_followed_by_another_and_stays_valid() {
        let folder = tempfile::tempdir().unwrap();
        let (path, now) = (folder.path(), Timestamp(1_000_000));
        assert!(needs_first(path, now).unwrap());
        let unseen = create_first(path, "node1", "sel_main", &[1; 32], now).unwrap();
        assert!(needs_first(path, now).unwrap(), "the process ended between writing and showing it");
        let seen = create_first(path, "node1", "sel_main", &[2; 32], now).unwrap();
        mark_shown(path, &seen.id, now).unwrap();
        assert!(!needs_first(path, now).unwrap());
        let listed: Vec<_> = list(path).unwrap().into_iter().map(|listed| (listed.id, listed.never_shown)).collect();
        assert_eq!(listed.len(), 2);
        assert!(listed.contains(&(unseen.id, true)) && listed.contains(&(seen.id.clone(), false)), "{listed:?}");
        revoke(path, &seen.id, now).unwrap();
        assert!(needs_first(path, now).unwrap(), "nobody is known to have the one that is left");
    }

    #[test]
    fn a_key_made_by_hand_is_one_that_somebody_has() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), "sel_main", &[Scope::Orders], &[1; 32], Timestamp(1)).unwrap();
        assert!(!needs_first(folder.path(), Timestamp(2)).unwrap());
    }

    #[test]
    fn another_nodes_first_key_may_be_about_to_be_shown() {
        let made = made_first("node1", "sel_main", &[1; 32], Timestamp(1_000));
        let known = Known::read(Path::new("shared"), &String::from_utf8(made.line).unwrap()).unwrap();
        assert!(known.needs_first(Some("node1"), Timestamp(1_001)), "its own earlier process has ended");
        assert!(!known.needs_first(Some("node2"), Timestamp(1_001)));
        assert!(known.needs_first(Some("node2"), Timestamp(1_001 + FIRST_UNSEEN_S * 1_000)));
    }

    #[test]
    fn the_order_of_lines_means_nothing() {
        let made = made("sel_main", &Scope::ALL, &[1; 32], Timestamp(1));
        let lines = [revoked_line(&made.key.id, Timestamp(2)), made.line].map(|line| String::from_utf8(line).unwrap());
        assert!(Known::read(Path::new("shared"), &lines.join("\n")).unwrap().list().is_empty());
    }
}
