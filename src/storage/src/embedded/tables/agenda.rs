//! The agenda of a shard on disk: one row a checkpoint with what it changed, not one row an entity.
//!
//! ```text
//! row = entry entry entry …       entry = entity │ flags u8 │ wake_at u64, if the flags say so       no flag: the entity is off the agenda
//! rows in order of their numbers, later entries before earlier ones ──► the agenda
//! ```
//!
//! When the rows have grown to a multiple of what they say, the next checkpoint replaces all of them by the agenda itself. A version before this one
//! wrote a row an entity (`a`); they count as the earliest, and the first checkpoint replaces them too.

use super::super::writes::{Table, Writes};
use super::{Tables, corrupt, entity_in, failed, key, number, with_u64};
use crate::journal::{AgendaRow, ReadError, Shard};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use fjall::Readable;
use std::collections::BTreeMap;

/// Rows of at most this length, unless one entry is longer, in bytes.
const ROW_BYTES: usize = 256 << 10;
/// Rows that are shorter than this together are not worth replacing, in bytes.
const REPLACED_BYTES_MIN: usize = 64 << 10;
/// Flag: the entity owes an effect.
const OWES: u8 = 1;
/// Flag: it has a deadline, which follows.
const WAKES: u8 = 2;

/// What is known of the rows of one shard's agenda.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AgendaRows {
    /// The number of the next row.
    next: u64,
    /// The length of all rows.
    bytes: usize,
    /// Their length when they were last replaced by the agenda itself; 0 where that is not known.
    replaced: usize,
    /// There are rows of a version before this one.
    has_older: bool,
}

impl AgendaRows {
    const fn must_replace(&self) -> bool {
        self.has_older || self.bytes > self.replaced.saturating_mul(2).saturating_add(REPLACED_BYTES_MIN)
    }
}

type Agenda = BTreeMap<EntityId, AgendaRow>;

impl Tables {
    /// The stored agenda of a shard, by entity.
    pub(crate) fn agenda(&self, shard: Shard) -> Result<Vec<AgendaRow>, ReadError> {
        self.whole_agenda(shard).map(|agenda| agenda.into_values().collect())
    }

    fn whole_agenda(&self, shard: Shard) -> Result<Agenda, ReadError> {
        let mut agenda = Agenda::new();
        // Both kinds of rows as of one moment: a checkpoint replaces one by the other.
        let snapshot = self.database.snapshot();
        for row in snapshot.prefix(&self.states, key(b'a', shard)) {
            let (key, value) = row.into_inner().map_err(|error| failed(&error))?;
            take_in(&mut agenda, older_row(&key, &value)?);
        }
        for row in snapshot.prefix(&self.states, key(b'd', shard)) {
            let value = row.value().map_err(|error| failed(&error))?;
            let mut rest: &[u8] = &value;
            while !rest.is_empty() {
                let (entry, behind) = read_entry(rest).ok_or_else(|| corrupt("an agenda row"))?;
                rest = behind;
                take_in(&mut agenda, entry);
            }
        }
        Ok(agenda)
    }

    /// Looks at the rows of a shard's agenda.
    pub(crate) fn agenda_rows(&self, shard: Shard) -> Result<AgendaRows, ReadError> {
        let has_older = self.states.prefix(key(b'a', shard)).next().is_some();
        let mut rows = AgendaRows { next: 1, bytes: 0, replaced: 0, has_older };
        for row in self.states.prefix(key(b'd', shard)) {
            let (key, value) = row.into_inner().map_err(|error| failed(&error))?;
            let last = key.last_chunk().copied().map(u64::from_be_bytes).ok_or_else(|| corrupt("an agenda key"))?;
            rows.next = last.saturating_add(1);
            rows.bytes = rows.bytes.saturating_add(value.len());
        }
        Ok(rows)
    }

    /// Adds what changed in a shard's agenda to `into`, with all its rows anew where they have grown too long. They belong into the write that moves
    /// `flushed_upto`.
    pub(crate) fn put_agenda(
        &self,
        shard: Shard,
        changes: Vec<AgendaRow>,
        rows: &mut AgendaRows,
        into: &mut Writes,
    ) -> Result<(), ReadError> {
        if !rows.must_replace() {
            put_entries(shard, &changes, rows, into);
            return Ok(());
        }
        let mut agenda = self.whole_agenda(shard)?;
        changes.into_iter().for_each(|entry| take_in(&mut agenda, entry));
        for tag in [b'a', b'd'] {
            for row in self.states.prefix(key(tag, shard)) {
                into.remove(Table::States, &row.key().map_err(|error| failed(&error))?);
            }
        }
        (rows.bytes, rows.has_older) = (0, false);
        let agenda: Vec<AgendaRow> = agenda.into_values().collect();
        put_entries(shard, &agenda, rows, into);
        rows.replaced = rows.bytes;
        Ok(())
    }
}

fn put_entries(shard: Shard, entries: &[AgendaRow], rows: &mut AgendaRows, into: &mut Writes) {
    let mut row = Vec::with_capacity(entries.len().saturating_mul(32).min(ROW_BYTES));
    let mut close = |row: &mut Vec<u8>| {
        into.put(Table::States, &with_u64(key(b'd', shard), rows.next), &[row]);
        rows.next = rows.next.saturating_add(1);
        rows.bytes = rows.bytes.saturating_add(row.len());
        row.clear();
    };
    for entry in entries {
        entry.entity.write_key(&mut row);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        row.push(flag(entry.owes, OWES) | flag(entry.wake_at.is_some(), WAKES));
        if let Some(wake_at) = entry.wake_at {
            row.extend_from_slice(&wake_at.0.to_le_bytes());
        }
        if row.len() >= ROW_BYTES {
            close(&mut row);
        }
    }
    if !row.is_empty() {
        close(&mut row);
    }
}

fn read_entry(row: &[u8]) -> Option<(AgendaRow, &[u8])> {
    let (entity, rest) = EntityId::read_key(row).ok()?;
    let (flags, rest) = rest.split_first()?;
    let owes = flags & OWES != 0;
    if flags & WAKES == 0 {
        return Some((AgendaRow { entity, wake_at: None, owes }, rest));
    }
    let (wake_at, rest) = rest.split_first_chunk()?;
    let wake_at = Some(Timestamp(u64::from_le_bytes(*wake_at)));
    Some((AgendaRow { entity, wake_at, owes }, rest))
}

fn take_in(agenda: &mut Agenda, entry: AgendaRow) {
    if entry.owes || entry.wake_at.is_some() {
        agenda.insert(entry.entity.clone(), entry);
    } else {
        agenda.remove(&entry.entity);
    }
}

/// A row of a version before this one.
fn older_row(key: &[u8], value: &[u8]) -> Result<AgendaRow, ReadError> {
    let entity = entity_in(key)?;
    let (owes, wake_at) = value.split_first().ok_or_else(|| corrupt("an agenda row that is empty"))?;
    let wake_at = if wake_at.is_empty() { None } else { Some(Timestamp(number(wake_at)?)) };
    Ok(AgendaRow { entity, wake_at, owes: *owes != 0 })
}

#[cfg(test)]
mod tests {
    use super::super::key_of;
    use super::super::tests::tables_in;
    use super::*;
    use doorbuster_domain::ids::{OrderId, Sku};
    use std::path::Path;

    const SHARD: Shard = Shard(0);

    fn order(number: u128) -> EntityId {
        EntityId::Order(OrderId(number << 16))
    }

    fn waits(number: u128, wake_at: u64) -> AgendaRow {
        AgendaRow { entity: order(number), wake_at: Some(Timestamp(wake_at)), owes: false }
    }

    fn gone(number: u128) -> AgendaRow {
        AgendaRow { entity: order(number), wake_at: None, owes: false }
    }

    fn write(tables: &Tables, changes: &[AgendaRow], rows: &mut AgendaRows) {
        let mut writes = Writes::default();
        tables.put_agenda(SHARD, changes.to_vec(), rows, &mut writes).unwrap();
        tables.write(&mut writes, true).unwrap();
    }

    fn rows_with(tables: &Tables, tag: u8) -> usize {
        tables.states.prefix(key(tag, SHARD)).count()
    }

    fn tables(folder: &Path) -> Tables {
        tables_in(&folder.join("states"))
    }

    #[test]
    fn later_entries_count_and_a_checkpoint_is_one_row() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables(folder.path());
        let mut rows = tables.agenda_rows(SHARD).unwrap();
        let sku = AgendaRow { entity: EntityId::Inventory(Sku::parse("pan").unwrap()), wake_at: None, owes: true };
        write(&tables, &[waits(2, 20), waits(1, 10), sku.clone()], &mut rows);
        write(&tables, &[waits(3, 30), gone(2), waits(1, u64::MAX), gone(4)], &mut rows);
        write(&tables, &[], &mut rows);
        let mut expected = vec![sku, waits(1, u64::MAX), waits(3, 30)];
        expected.sort_by(|one, other| one.entity.cmp(&other.entity));
        assert_eq!(tables.agenda(SHARD).unwrap(), expected);
        assert_eq!(rows_with(&tables, b'd'), 2);
        assert_eq!(tables.agenda_rows(SHARD).unwrap(), rows, "a restart goes on where it was");
        assert_eq!(tables.agenda(Shard(1)).unwrap(), []);
    }

    #[test]
    fn rows_that_say_less_than_they_are_long_are_replaced_by_the_agenda() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables(folder.path());
        let mut rows = tables.agenda_rows(SHARD).unwrap();
        let mut longest = 0;
        for round in 0..200_u64 {
            let changes: Vec<_> = (0..100).map(|number| waits(number, round)).collect();
            write(&tables, &changes, &mut rows);
            longest = longest.max(rows.bytes);
        }
        let live = 100 * (18 + 8);
        assert!(longest < REPLACED_BYTES_MIN + 4 * live, "{longest}");
        assert_eq!(tables.agenda(SHARD).unwrap().len(), 100);
        assert!(tables.agenda(SHARD).unwrap().iter().all(|row| row.wake_at == Some(Timestamp(199))));
        let stored = tables.agenda_rows(SHARD).unwrap();
        assert_eq!((stored.bytes, stored.next), (rows.bytes, rows.next));
    }

    #[test]
    fn a_long_agenda_is_several_rows() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables(folder.path());
        let mut rows = tables.agenda_rows(SHARD).unwrap();
        let all: Vec<_> = (0..30_000).map(|number| waits(number, 1)).collect();
        write(&tables, &all, &mut rows);
        assert_eq!(rows_with(&tables, b'd'), 3);
        assert_eq!(tables.agenda(SHARD).unwrap(), all);
    }

    #[test]
    fn rows_of_the_version_before_are_read_and_replaced_at_the_first_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables(folder.path());
        let mut older = Writes::default();
        older.put(Table::States, &key_of(b'a', SHARD, &order(1)), &[&[0], &10_u64.to_le_bytes()]);
        older.put(Table::States, &key_of(b'a', SHARD, &order(2)), &[&[1]]);
        older.put(Table::States, &key_of(b'a', SHARD, &order(3)), &[&[1], &30_u64.to_le_bytes()]);
        tables.write(&mut older, true).unwrap();
        let owing = AgendaRow { owes: true, ..gone(2) };
        let expected = [waits(1, 10), owing.clone(), AgendaRow { owes: true, ..waits(3, 30) }];
        assert_eq!(tables.agenda(SHARD).unwrap(), expected);
        let mut rows = tables.agenda_rows(SHARD).unwrap();
        write(&tables, &[gone(1), waits(3, 31)], &mut rows);
        assert_eq!(tables.agenda(SHARD).unwrap(), [owing, waits(3, 31)]);
        assert_eq!((rows_with(&tables, b'a'), rows_with(&tables, b'd')), (0, 1));
    }

    #[test]
    fn an_entry_that_ends_too_soon_is_none() {
        let mut row = Vec::new();
        order(1).write_key(&mut row);
        row.extend_from_slice(&[WAKES | OWES, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(read_entry(&row).unwrap().1.is_empty());
        (0..row.len()).for_each(|length| assert_eq!(read_entry(&row[..length]), None, "{length}"));
    }
}
