//! Secret keys of sellers' accounts: `sk_…`, shown once, kept as hashes.
//!
//! `lines` says how they are kept. A running node reads the file again when it has changed. A key that was verified once is found again by
//! comparison, without a second hash.

mod lines;

pub use lines::{
    FILE, FIRST_UNSEEN_S, FirstKey, KeysError, Known, ListedKey, Made, create, create_first, list, made, made_first,
    mark_shown, needs_first, revoke, revoked_line, shown_line,
};

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
use std::fs;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use subtle::ConstantTimeEq;

/// Prefix of every key.
pub const PREFIX: &str = "sk_";
/// Interval at which a running node checks whether the file has changed, in ms.
pub const RELOAD_CHECK_MS: u64 = 50;

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

/// Where lines come from that are not in a file, for errors.
const SHARED: &str = "the keys that the nodes share";

fn known_scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Scope>, D::Error> {
    let words = Vec::<Cow<'de, str>>::deserialize(from)?;
    Ok(words.iter().filter_map(|word| Scope::parse(word)).collect())
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
    /// When the file was last checked, in ms; the check has ended then.
    checked_at_ms: AtomicU64,
    seen: Mutex<Option<Stamp>>,
}

/// Modification time and length of the file: another stamp means that it was written.
type Stamp = (std::time::SystemTime, u64);

impl From<Known> for Table {
    fn from(known: Known) -> Self {
        Self { by_hash: known.by_hash, verified: BTreeMap::new() }
    }
}

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
        Ok(Self::new(lines::read(&path)?.into(), Some(path), seen))
    }

    /// Keys in memory only, for the simulation and the tests.
    #[must_use]
    pub fn in_memory(keys: &[(&str, &str, &[Scope])]) -> Self {
        let mut table = Table::default();
        for (token, account, scopes) in keys {
            let hash = hash(token);
            let key =
                Key { id: lines::id_of(&hash), account: (*account).into(), scopes: scopes.to_vec(), created_at_ms: 0 };
            table.by_hash.insert(hash, Arc::new(key));
        }
        Self::new(table, None, None)
    }

    /// Keys whose lines are in a store that several nodes share.
    ///
    /// # Errors
    /// When a line has another form.
    pub fn of_lines(lines: &str) -> Result<Self, KeysError> {
        Ok(Self::new(Known::read(Path::new(SHARED), lines)?.into(), None, None))
    }

    /// Replaces the keys by the lines of that store.
    ///
    /// # Errors
    /// When a line has another form; then the keys stay as they were.
    pub fn replace(&self, lines: &str) -> Result<(), KeysError> {
        let newest = Known::read(Path::new(SHARED), lines)?;
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        if !table.by_hash.keys().eq(newest.by_hash.keys()) {
            *table = newest.into();
        }
        Ok(())
    }

    fn new(table: Table, path: Option<PathBuf>, seen: Option<Stamp>) -> Self {
        Self(Arc::new(Inner {
            path,
            table: RwLock::new(table),
            hasher: RandomState::new(),
            checked_at_ms: AtomicU64::new(0),
            seen: Mutex::new(seen),
        }))
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

    /// Reads the file again if a check is due and finds it changed. A request that comes [`RELOAD_CHECK_MS`] after a change meets the changed keys:
    /// while a due check goes on, others wait for it.
    fn reload_if_changed(&self, now: Timestamp) {
        let Some(path) = &self.0.path else { return };
        // A clock that was set back makes a check due, too.
        let is_due = || now.0.abs_diff(self.0.checked_at_ms.load(Ordering::Acquire)) >= RELOAD_CHECK_MS;
        if !is_due() {
            return;
        }
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due() {
            return;
        }
        let found = stamp(path);
        if found != *seen {
            match lines::read(path) {
                Ok(known) => {
                    *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = known.into();
                    tracing::info!("read the secret keys again");
                }
                // The keys read before stay valid: a damaged file must not lock all sellers out during a sale.
                Err(error) => tracing::error!(%error, "read the secret keys again; the known ones stay valid"),
            }
            *seen = found;
        }
        self.0.checked_at_ms.store(now.0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_made_or_revoked_beside_a_running_node_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::of_folder(folder.path()).unwrap();
        let Made { token, key, .. } = create(folder.path(), "sel_main", &Scope::ALL, &[3; 32], Timestamp(5)).unwrap();
        assert_eq!(keys.verify(&token, Timestamp(10_000)).as_deref(), Some(&key));
        assert_eq!(keys.verify(&token, Timestamp(10_001)).as_deref(), Some(&key));
        revoke(folder.path(), &key.id, Timestamp(10_002)).unwrap();
        assert_eq!(keys.verify(&token, Timestamp(10_000 + RELOAD_CHECK_MS)), None);
    }

    #[test]
    fn a_key_revoked_after_the_clock_was_set_back_is_noticed_too() {
        let folder = tempfile::tempdir().unwrap();
        let made = create(folder.path(), "sel_main", &Scope::ALL, &[3; 32], Timestamp(5)).unwrap();
        let keys = Keys::of_folder(folder.path()).unwrap();
        assert!(keys.verify(&made.token, Timestamp(9_000_000)).is_some());
        revoke(folder.path(), &made.key.id, Timestamp(10)).unwrap();
        assert_eq!(keys.verify(&made.token, Timestamp(1_000)), None);
    }

    #[test]
    fn a_scope_that_is_no_more_permits_nothing_and_the_key_stays() {
        let folder = tempfile::tempdir().unwrap();
        let made = create(folder.path(), "sel_main", &[Scope::Orders], &[3; 32], Timestamp(5)).unwrap();
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(r#"["orders"]"#, r#"["drops","orders","gone"]"#)).unwrap();
        let key = Keys::of_folder(folder.path()).unwrap().verify(&made.token, Timestamp(6)).unwrap();
        assert_eq!(key.scopes, [Scope::Orders]);
    }

    #[test]
    fn the_file_holds_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let made = create(folder.path(), "sel_main", &[Scope::Orders], &[3; 32], Timestamp(5)).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!text.contains(made.token.trim_start_matches(PREFIX)), "{text}");
    }

    #[test]
    fn a_damaged_file_takes_no_key_from_a_running_node() {
        let folder = tempfile::tempdir().unwrap();
        let made = create(folder.path(), "sel_main", &Scope::ALL, &[3; 32], Timestamp(5)).unwrap();
        let keys = Keys::of_folder(folder.path()).unwrap();
        fs::write(folder.path().join(FILE), "damaged, and longer than it was\n").unwrap();
        assert!(keys.verify(&made.token, Timestamp(9_000_000)).is_some());
        assert!(Keys::of_folder(folder.path()).is_err(), "the next start says so");
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
