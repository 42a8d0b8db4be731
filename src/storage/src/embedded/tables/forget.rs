//! Erasure on disk: removes deleted rows from the files too.
//!
//! ```text
//! rows removed, and a mark set, in one write ──► files rewritten ──► mark removed
//!                                  a crash here ──► the next start finds the mark and rewrites
//! ```

use super::super::writes::{Table, Writes};
use super::{Tables, failed};
use crate::journal::ReadError;
use fjall::{Keyspace, PersistMode};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

/// The length above which the database closes a file of its journal, in bytes (fixed in fjall 3.1, `worker_pool.rs`).
const JOURNAL_BYTES: usize = 64_000_000;

/// The key of the mark, which is set from the removal of personal data until no file holds it any more.
const OWED: &[u8] = b"g";

impl Writes {
    /// Removals that must leave the disk too.
    pub(crate) fn owe_forgetting(&mut self) {
        self.put(Table::States, OWED, &[]);
    }
}

impl Tables {
    /// At the start: [`Self::forget`], if a crash came between a removal of personal data and the rewriting of its files.
    pub(crate) fn forget_what_is_owed(&self) -> Result<(), ReadError> {
        let forgotten = self.owes_forgetting().and_then(|owed| if owed { self.forget() } else { Ok(()) });
        forgotten.map_err(|error| failed(&error))
    }

    /// Whether removed rows may still be in a file.
    fn owes_forgetting(&self) -> fjall::Result<bool> {
        self.states.contains_key(OWED)
    }

    /// [`Self::forget_removed`]; rows that remain in files go with the next erasure or the next start.
    pub(crate) fn forget(&self) -> fjall::Result<()> {
        if !self.forget_removed()? {
            tracing::warn!(folder = %self.folder.display(), "erased personal data is still in files of the tables");
        }
        Ok(())
    }

    /// Rewrites the files that hold personal data, so that removed rows are no longer on the disk. Returns `false` if some files, or the database's own
    /// journal, may still hold them.
    ///
    /// The database starts a new journal file only when the current one is longer than [`JOURNAL_BYTES`] and a keyspace is written out, and deletes old
    /// ones once all keyspaces are. On a quiet node that could take for ever. So this fills the current file up, which costs a fraction of a second, and
    /// erasures are rare.
    fn forget_removed(&self) -> fjall::Result<bool> {
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
                // A keyspace without changes is not written out, and one without rows counts as never written. Either would keep the journal's file for
                // ever.
                keyspace.insert(FILLER, [])?;
                self.write_out(keyspace)?;
            }
            let files = files_of(&self.personal)?;
            // Rewritten files are deleted when something is next written out. The current journal file was begun after the removal and is the only one.
            // (Its length says nothing, because it is extended in advance.)
            if old.as_ref().is_some_and(|old| old.is_disjoint(&files)) && self.database.journal_count() == 1 {
                self.states.remove(OWED)?;
                return Ok(true);
            }
            self.personal.major_compact()?;
            old.get_or_insert(files);
        }
        Ok(false)
    }

    /// Writes out the memory of a keyspace, or fails. The database's own wait never ends once its worker thread has failed: then the checkpoint would
    /// hang for ever and the log grow with it.
    pub(super) fn write_out(&self, keyspace: &Keyspace) -> fjall::Result<()> {
        const LOOK_AGAIN: Duration = Duration::from_millis(5);
        keyspace.rotate_memtable()?;
        while keyspace.sealed_memtable_count() > 0 {
            // Reports whether a write has failed meanwhile.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::park_timeout(LOOK_AGAIN);
        }
        Ok(())
    }
}

/// The files that hold a keyspace's rows; names are never reused.
fn files_of(keyspace: &Keyspace) -> fjall::Result<BTreeSet<OsString>> {
    let files = fs::read_dir(keyspace.path().join("tables"))?;
    Ok(files.map(|file| file.map(|file| file.file_name())).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::super::EmbeddedJournal;
    use super::super::tests::tables_in;
    use super::super::{EmbeddedOptions, Tables, key_of};
    use super::{Table, Writes};
    use crate::journal::{Journal, Layout, Shard, StateFlush};
    use doorbuster_domain::ids::{EntityId, OrderId};
    use doorbuster_domain::time::Timestamp;
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

    fn journal_in(folder: &Path) -> EmbeddedJournal {
        let options = EmbeddedOptions::new(Layout { shards: 1, hash_version: 1 }, || Timestamp(0));
        EmbeddedJournal::open(folder, options).unwrap().0
    }

    /// In a file of the tables, too, not only in their journal.
    fn write_out_secret(tables: &Tables, key: &[u8]) {
        let mut writes = Writes::default();
        writes.put(Table::Personal, key, &[SECRET]);
        tables.write(&mut writes, true).unwrap();
        tables.write_out(&tables.personal).unwrap();
    }

    /// More than once: the journal's file that the first erasure began is as long as any will ever be.
    #[test]
    fn what_was_removed_is_forgotten_and_known_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("states");
        let tables = tables_in(&path);
        for round in 0..2_u8 {
            write_out_secret(&tables, &[round]);
            assert!(is_on_disk(&path.join("keyspaces")) && is_on_disk(&path), "it was there");
            let mut writes = Writes::default();
            writes.remove(Table::Personal, &[round]);
            tables.write(&mut writes, true).unwrap();
            assert!(tables.forget_removed().unwrap(), "round {round}");
            assert!(!is_on_disk(&path), "round {round}");
        }
    }

    #[test]
    fn what_a_predecessor_removed_and_did_not_forget_is_forgotten_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        drop(journal_in(folder.path()));
        let path = folder.path().join("states");
        let tables = tables_in(&path);
        write_out_secret(&tables, &[1]);
        let mut writes = Writes::default();
        writes.remove(Table::Personal, &[1]);
        writes.owe_forgetting();
        tables.write(&mut writes, true).unwrap();
        drop(tables);
        assert!(is_on_disk(&path), "it was cut off before the files were rewritten");
        drop(journal_in(folder.path()));
        assert!(!is_on_disk(&path));
    }

    /// The tables keep a file that is being read; a process killed in between leaves the same.
    #[tokio::test]
    async fn what_a_checkpoint_could_not_forget_is_forgotten_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("states");
        let journal = journal_in(folder.path());
        let claim = journal.claim(Shard(0), "node").await.unwrap();
        let order = EntityId::Order(OrderId(1));
        write_out_secret(journal.tables(), &key_of(b's', Shard(0), &order));
        let mut reader = journal.tables().personal.iter();
        assert!(reader.next().is_some());
        let flush = StateFlush { erase: vec![order], ..StateFlush::default() };
        journal.checkpoint(&claim, flush, 0).await.unwrap();
        assert!(is_on_disk(&path) && journal.tables().owes_forgetting().unwrap(), "it is being read");
        drop(reader);
        drop(journal);
        drop(journal_in(folder.path()));
        assert!(!is_on_disk(&path));
    }

    #[test]
    fn forgetting_is_owed_until_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("states");
        let tables = tables_in(&path);
        assert!(!tables.owes_forgetting().unwrap());
        let mut writes = Writes::default();
        writes.owe_forgetting();
        tables.write(&mut writes, true).unwrap();
        drop(tables);
        let tables = tables_in(&path);
        assert!(tables.owes_forgetting().unwrap());
        assert!(tables.forget_removed().unwrap());
        assert!(!tables.owes_forgetting().unwrap());
    }
}
