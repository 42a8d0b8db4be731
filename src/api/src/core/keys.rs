//! Secret keys of sellers' accounts: `sk_…`, shown once, kept as hashes in a file of the data folder.
//!
//! The file is append-only: one JSON line per key that is made or revoked, synced before the key is shown. A running node reads it again
//! when it has changed. A key that was verified once is found again by comparison, without a second hash.

use super::secret::{create_private, hex, unhex};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compact_str::CompactString;
pub use doorbuster_domain::principal::Scope;
use doorbuster_domain::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// Name of the file in the data folder.
pub const FILE: &str = "keys.jsonl";
/// Prefix of every key.
pub const PREFIX: &str = "sk_";
/// Interval at which a running node checks whether the file has changed, in ms.
const RELOAD_CHECK_MS: u64 = 1_000;

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id for operators: `key_` and the first digits of its hash.
    pub id: CompactString,
    /// The seller's account, which acts. Its keys rotate; what was done with them belongs to the account.
    pub account: CompactString,
    /// What it permits. A scope that this version does not have permits nothing.
    #[serde(deserialize_with = "known_scopes")]
    pub scopes: Vec<Scope>,
    /// When it was made, in ms since the epoch.
    pub created_at_ms: u64,
}

fn known_scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Scope>, D::Error> {
    let words = Vec::<Cow<'de, str>>::deserialize(from)?;
    Ok(words.iter().filter_map(|word| Scope::parse(word)).collect())
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Made { hash: String, key: Key },
    Revoked { id: CompactString, at_ms: u64 },
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
    /// A line of the file has another form. (A last line that a crash cut off belongs to a key that was never shown; it is skipped.)
    #[error("{path}: line {line} cannot be read")]
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

#[derive(Debug, Default)]
struct Table {
    by_hash: BTreeMap<[u8; 32], Arc<Key>>,
    /// Keys verified since the file was read, by a keyed hash that only this process knows.
    verified: BTreeMap<u64, (Box<str>, Arc<Key>)>,
}

/// The keys of a node; its clones are the same keys.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    path: Option<PathBuf>,
    table: RwLock<Table>,
    hasher: RandomState,
    checked_at_ms: AtomicU64,
    seen: RwLock<Option<Stamp>>,
}

/// Modification time and length of the file: another stamp means that it was written.
type Stamp = (std::time::SystemTime, u64);

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keys").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// The text of a key, from random bytes.
#[must_use]
pub fn token(secret: &[u8; 32]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn key_of(token: &str, account: &str, scopes: &[Scope], now: Timestamp) -> (String, Key) {
    let hash = hex(&hash(token));
    let id = format!("key_{}", hash.get(..12).unwrap_or_default()).into();
    (hash, Key { id, account: account.into(), scopes: scopes.to_vec(), created_at_ms: now.0 })
}

/// Adds a key to a folder's file and makes it durable; returns its text, which is shown once and not stored.
///
/// # Errors
/// When the file cannot be written.
pub fn create(
    folder: &Path,
    account: &str,
    scopes: &[Scope],
    secret: &[u8; 32],
    now: Timestamp,
) -> Result<(String, Key), KeysError> {
    let token = token(secret);
    let (hash, key) = key_of(&token, account, scopes, now);
    append(folder, &Line::Made { hash, key: key.clone() })?;
    Ok((token, key))
}

/// A key for a store that several nodes share: its text, which is shown once, the key, and the line to store.
///
/// # Errors
/// Never in practice: every line can be written as JSON.
pub fn create_line(
    account: &str,
    scopes: &[Scope],
    secret: &[u8; 32],
    now: Timestamp,
) -> Result<(String, Key, Vec<u8>), KeysError> {
    let token = token(secret);
    let (hash, key) = key_of(&token, account, scopes, now);
    let failed = |error: serde_json::Error| KeysError::File { path: PathBuf::from("shared"), error: error.into() };
    let line = serde_json::to_vec(&Line::Made { hash, key: key.clone() }).map_err(failed)?;
    Ok((token, key, line))
}

/// Revokes a key, durably; a running node notices within two seconds.
///
/// # Errors
/// When no key has this id, or the file cannot be written.
pub fn revoke(folder: &Path, id: &str, now: Timestamp) -> Result<(), KeysError> {
    if !list(folder)?.iter().any(|key| key.id == id) {
        return Err(KeysError::Unknown(id.to_owned()));
    }
    append(folder, &Line::Revoked { id: id.into(), at_ms: now.0 })
}

/// The valid keys of a folder.
///
/// # Errors
/// When the file cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Key>, KeysError> {
    let table = read(&folder.join(FILE))?;
    Ok(table.by_hash.into_values().map(|key| Key::clone(&key)).collect())
}

fn append(folder: &Path, line: &Line) -> Result<(), KeysError> {
    let path = folder.join(FILE);
    let write = || -> io::Result<()> {
        if !path.exists() {
            drop(create_private(&path)?);
            fs::File::open(folder)?.sync_all()?;
        }
        let mut file = OpenOptions::new().append(true).open(&path)?;
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        // The new line must not become part of a line that a crash cut off.
        if fs::read(&path)?.last().is_some_and(|last| *last != b'\n') {
            bytes.insert(0, b'\n');
        }
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().map_err(|error| KeysError::File { path: path.clone(), error })
}

fn read(path: &Path) -> Result<Table, KeysError> {
    match fs::read_to_string(path) {
        Ok(text) => read_lines(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Table::default()),
        Err(error) => Err(KeysError::File { path: path.to_owned(), error }),
    }
}

fn read_lines(path: &Path, text: &str) -> Result<Table, KeysError> {
    let mut table = Table::default();
    let whole = text.lines().filter(|line| !line.is_empty()).count();
    for (index, line) in text.lines().filter(|line| !line.is_empty()).enumerate() {
        let damaged = KeysError::Damaged { path: path.to_owned(), line: index + 1 };
        let parsed = serde_json::from_str::<Line>(line);
        match parsed {
            Ok(Line::Made { hash, key }) => {
                table.by_hash.insert(unhex(&hash).ok_or(damaged)?, Arc::new(key));
            }
            Ok(Line::Revoked { id, .. }) => table.by_hash.retain(|_, key| key.id != id),
            Err(_cut_off) if index + 1 == whole => {}
            // A line that a crash cut off and that the next key stands behind: see `append`.
            Err(error) if error.is_eof() => {}
            Err(_unreadable) => return Err(damaged),
        }
    }
    Ok(table)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Keys {
    /// The keys of a folder.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read. Without a file there are no keys.
    pub fn of_folder(folder: &Path) -> Result<Self, KeysError> {
        let path = folder.join(FILE);
        let seen = stamp(&path);
        Ok(Self::new(read(&path)?, Some(path), seen))
    }

    /// Keys in memory only, for the simulation and the tests.
    #[must_use]
    pub fn in_memory(keys: &[(&str, &str, &[Scope])]) -> Self {
        let mut table = Table::default();
        for (token, account, scopes) in keys {
            let (_, key) = key_of(token, account, scopes, Timestamp::default());
            table.by_hash.insert(hash(token), Arc::new(key));
        }
        Self::new(table, None, None)
    }

    /// Keys whose lines are in a store that several nodes share.
    ///
    /// # Errors
    /// When a line has another form.
    pub fn of_lines(lines: &str) -> Result<Self, KeysError> {
        Ok(Self::new(read_lines(Path::new("shared"), lines)?, None, None))
    }

    /// Replaces the keys by the lines of that store.
    ///
    /// # Errors
    /// When a line has another form; then the keys stay as they were.
    pub fn replace(&self, lines: &str) -> Result<(), KeysError> {
        let newest = read_lines(Path::new("shared"), lines)?;
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        if !table.by_hash.keys().eq(newest.by_hash.keys()) {
            *table = newest;
        }
        Ok(())
    }

    fn new(table: Table, path: Option<PathBuf>, seen: Option<Stamp>) -> Self {
        Self(Arc::new(Inner {
            path,
            table: RwLock::new(table),
            hasher: RandomState::new(),
            checked_at_ms: AtomicU64::new(0),
            seen: RwLock::new(seen),
        }))
    }

    /// Is there no key? Then this is a first start.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).by_hash.is_empty()
    }

    /// The key of a token, if it is valid.
    #[must_use]
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Arc<Key>> {
        self.reload_if_changed(now);
        // A keyed SipHash finds the candidate; the comparison that decides takes the same time for every guess.
        let slot = self.0.hasher.hash_one(token);
        {
            let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, key)) = table.verified.get(&slot)
                && bool::from(known.as_bytes().ct_eq(token.as_bytes()))
            {
                return Some(Arc::clone(key));
            }
        }
        let hash = hash(token);
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::clone(table.by_hash.get(&hash)?);
        table.verified.insert(slot, (token.into(), Arc::clone(&key)));
        Some(key)
    }

    fn reload_if_changed(&self, now: Timestamp) {
        let Some(path) = &self.0.path else { return };
        let last = self.0.checked_at_ms.load(Ordering::Relaxed);
        if now.0.saturating_sub(last) < RELOAD_CHECK_MS {
            return;
        }
        if self.0.checked_at_ms.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let found = stamp(path);
        if found == *self.0.seen.read().unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        match read(path) {
            Ok(table) => {
                *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = table;
                *self.0.seen.write().unwrap_or_else(PoisonError::into_inner) = found;
                tracing::info!("read the secret keys again");
            }
            // The keys read before stay valid: a damaged file must not lock all sellers out during a sale.
            Err(error) => tracing::error!(%error, "read the secret keys again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_made_or_revoked_beside_a_running_node_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::of_folder(folder.path()).unwrap();
        assert!(keys.is_empty());
        let (token, key) = create(folder.path(), "sel_main", &Scope::ALL, &[3; 32], Timestamp(5)).unwrap();
        assert_eq!(keys.verify(&token, Timestamp(10_000)).as_deref(), Some(&key));
        assert_eq!(keys.verify(&token, Timestamp(10_001)).as_deref(), Some(&key));
        revoke(folder.path(), &key.id, Timestamp(10_002)).unwrap();
        assert_eq!(keys.verify(&token, Timestamp(20_000)), None);
    }

    #[test]
    fn a_scope_that_is_no_more_permits_nothing_and_the_key_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (token, _) = create(folder.path(), "sel_main", &[Scope::Orders], &[3; 32], Timestamp(5)).unwrap();
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(r#"["orders"]"#, r#"["drops","orders","events"]"#)).unwrap();
        let key = Keys::of_folder(folder.path()).unwrap().verify(&token, Timestamp(6)).unwrap();
        assert_eq!(key.scopes, [Scope::Orders]);
    }

    #[test]
    fn the_file_holds_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (token, _) = create(folder.path(), "sel_main", &[Scope::Orders], &[3; 32], Timestamp(5)).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!text.contains(token.trim_start_matches(PREFIX)), "{text}");
    }

    #[test]
    fn a_line_that_a_crash_cut_off_loses_no_other_key() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = create(folder.path(), "a", &[], &[1; 32], Timestamp(1)).unwrap();
        let mut file = OpenOptions::new().append(true).open(folder.path().join(FILE)).unwrap();
        file.write_all(b"{\"made\":{\"hash\":\"12").unwrap();
        assert!(Keys::of_folder(folder.path()).unwrap().verify(&first, Timestamp(2)).is_some());
        let (second, _) = create(folder.path(), "b", &[], &[2; 32], Timestamp(3)).unwrap();
        let keys = Keys::of_folder(folder.path()).unwrap();
        assert!(keys.verify(&first, Timestamp(4)).is_some() && keys.verify(&second, Timestamp(4)).is_some());
    }

    #[test]
    fn an_unknown_key_is_not_verified() {
        let keys = Keys::in_memory(&[("sk_right", "sel_main", &[Scope::Orders])]);
        assert!(keys.verify("sk_right", Timestamp(0)).is_some());
        for token in ["sk_wrong", "sk_", "", "sk_right "] {
            assert!(keys.verify(token, Timestamp(0)).is_none(), "{token}");
        }
    }
}
