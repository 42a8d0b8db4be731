//! Forgetting: what was removed leaves the disk too.

use super::Tables;
use fjall::{Keyspace, PersistMode};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

/// A file of the database's journal is closed when it is longer than this (fixed in fjall 3.1, `worker_pool.rs`).
const JOURNAL_BYTES: usize = 64_000_000;

impl Tables {
    /// Rewrites the files that hold personal data, so that what was removed is no longer on the disk. `false`: some of them, or
    /// the database's own journal, may still hold it.
    ///
    /// A file of that journal is left behind only once it is longer than [`JOURNAL_BYTES`] and some keyspace is written out,
    /// and deleted once all are; on a quiet node that could take for ever. So it is filled up, which costs a fraction of a
    /// second, and erasing is rare.
    pub(in crate::storage::embedded) fn forget_removed(&self) -> fjall::Result<bool> {
        const FILLER: &[u8] = b"z";
        const PIECE: usize = 1 << 20;
        const ATTEMPTS_MAX: usize = 20;
        let mut filled = 0;
        while filled <= JOURNAL_BYTES {
            self.personal.insert(FILLER, vec![0; PIECE])?;
            filled = filled.saturating_add(PIECE);
        }
        let mut old: Option<BTreeSet<OsString>> = None;
        for _ in 0..ATTEMPTS_MAX {
            for keyspace in [&self.personal, &self.states, &self.history] {
                // A keyspace without anything new is not written out, and one without any row at all counts as never
                // written: either would keep the journal's file for ever.
                keyspace.insert(FILLER, [])?;
                self.write_out(keyspace)?;
            }
            let files = files_of(&self.personal)?;
            // What was rewritten is deleted when something is next written out. The present file of the journal was begun after the removal, and
            // is the only one. (Its length says nothing: it is made longer than it will get.)
            if old.as_ref().is_some_and(|old| old.is_disjoint(&files)) && self.database.journal_count() == 1 {
                return Ok(true);
            }
            self.personal.major_compact()?;
            old.get_or_insert(files);
        }
        Ok(false)
    }

    /// Writes out what a keyspace has in memory, or fails. The database's own way of waiting for that never ends once the thread that was to
    /// do it has failed: the checkpoint would hang for ever, and the log grow with it.
    pub(super) fn write_out(&self, keyspace: &Keyspace) -> fjall::Result<()> {
        const LOOK_AGAIN: Duration = Duration::from_millis(5);
        keyspace.rotate_memtable()?;
        while keyspace.sealed_memtable_count() > 0 {
            // Says whether anything has failed meanwhile.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::park_timeout(LOOK_AGAIN);
        }
        Ok(())
    }
}

/// The files that hold a keyspace's rows; no two in its life have one name.
fn files_of(keyspace: &Keyspace) -> fjall::Result<BTreeSet<OsString>> {
    let files = fs::read_dir(keyspace.path().join("tables"))?;
    Ok(files.map(|file| file.map(|file| file.file_name())).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::tables_in;
    use super::super::{Table, Writes};
    use std::fs;
    use std::path::Path;

    const SECRET: &[u8] = b"Ada Lovelace, 12 St James's Square";

    fn is_on_disk(folder: &Path) -> bool {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.into_iter().any(|path| match path.is_dir() {
            true => is_on_disk(&path),
            false => {
                fs::read(&path).unwrap().split(|byte| *byte == SECRET[0]).any(|rest| rest.starts_with(&SECRET[1..]))
            }
        })
    }

    /// More than once: the journal's file that the first erasure began is as long as any will ever be.
    #[test]
    fn what_was_removed_is_forgotten_and_known_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("states");
        let tables = tables_in(&path);
        for round in 0..2_u8 {
            let mut writes = Writes::default();
            writes.put(Table::Personal, vec![round], SECRET.to_vec());
            tables.write(writes, true).unwrap();
            // In a file of the tables, too, not only in their journal.
            tables.write_out(&tables.personal).unwrap();
            assert!(is_on_disk(&path.join("keyspaces")) && is_on_disk(&path), "it was there");
            let mut writes = Writes::default();
            writes.remove(Table::Personal, vec![round]);
            tables.write(writes, true).unwrap();
            assert!(tables.forget_removed().unwrap(), "round {round}");
            assert!(!is_on_disk(&path), "round {round}");
        }
    }
}
