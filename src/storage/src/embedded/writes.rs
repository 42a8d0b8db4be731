//! A batch of writes to the tables.

/// The memory that stays allocated between two batches, in bytes: once for rows, and once for their positions.
const KEPT_BYTES: usize = 1 << 20;

/// One of the three keyspaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    States,
    History,
    Personal,
}

/// The position of a row in [`Writes`]: its key, followed by its value.
#[derive(Debug)]
struct Row {
    table: Table,
    key: usize,
    value: usize,
    end: usize,
    /// There is no value: the row is deleted.
    removed: bool,
}

/// Writes to make together; the last one of a key counts. Keys and values lie in one buffer that is reused: a checkpoint writes tens of thousands of
/// rows, and memory that was never touched before costs more than the copy into it.
#[derive(Debug, Default)]
pub(super) struct Writes {
    packed: Vec<u8>,
    rows: Vec<Row>,
}

impl Writes {
    /// Adds a row whose value is the concatenation of these parts.
    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[&[u8]]) {
        self.push(table, key, value, false);
    }

    pub(super) fn remove(&mut self, table: Table, key: &[u8]) {
        self.push(table, key, &[], true);
    }

    fn push(&mut self, table: Table, key: &[u8], value: &[&[u8]], removed: bool) {
        let at = self.packed.len();
        self.packed.extend_from_slice(key);
        let value_at = self.packed.len();
        value.iter().for_each(|part| self.packed.extend_from_slice(part));
        self.rows.push(Row { table, key: at, value: value_at, end: self.packed.len(), removed });
    }

    /// The number of writes.
    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The total length of keys and values, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.packed.len()
    }

    /// Removes all writes; keeps the memory up to a bound.
    pub(super) fn clear(&mut self) {
        self.packed.clear();
        self.packed.shrink_to(KEPT_BYTES);
        self.rows.clear();
        self.rows.shrink_to(KEPT_BYTES / size_of::<Row>());
    }

    /// Sorts by table and key: neighbouring keys are written faster.
    pub(super) fn in_order(&mut self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        let Self { packed, rows } = self;
        let packed = packed.as_slice();
        let key = |row: &Row| packed.get(row.key..row.value).unwrap_or_default();
        rows.sort_unstable_by(|one, other| {
            // Of one key, the later write has the greater position.
            (one.table, key(one), one.key).cmp(&(other.table, key(other), other.key))
        });
        let mut rows = rows.iter().peekable();
        std::iter::from_fn(move || {
            let mut row = rows.next()?;
            while let Some(later) = rows.next_if(|next| next.table == row.table && key(next) == key(row)) {
                row = later;
            }
            let value = if row.removed { None } else { packed.get(row.value..row.end) };
            Some((row.table, key(row), value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_of_a_key_counts_and_rows_come_in_order() {
        let mut writes = Writes::default();
        let (states, personal) = (Table::States, Table::Personal);
        for _again_in_the_same_memory in 0..2 {
            writes.put(personal, &[1], &[&[1]]);
            writes.put(states, &[2], &[&[1]]);
            writes.remove(states, &[1]);
            writes.put(states, &[2], &[&[2], &[], &[4, 5]]);
            writes.put(states, &[1], &[&[3]]);
            writes.put(states, &[1, 0], &[]);
            writes.remove(personal, &[1]);
            let rows: Vec<_> = writes.in_order().collect();
            let value: [&[u8]; 3] = [&[3], &[], &[2, 4, 5]];
            let expected = [
                (states, [1].as_slice(), Some(value[0])),
                (states, &[1, 0], Some(value[1])),
                (states, &[2], Some(value[2])),
                (personal, &[1], None),
            ];
            assert_eq!(rows, expected);
            assert_eq!((writes.len(), writes.bytes()), (7, 14));
            writes.clear();
            assert_eq!((writes.len(), writes.bytes()), (0, 0));
        }
    }

    #[test]
    fn the_memory_that_is_kept_has_a_bound() {
        let mut writes = Writes::default();
        writes.put(Table::States, &[1], &[&vec![0; KEPT_BYTES * 2]]);
        (0..KEPT_BYTES / size_of::<Row>() * 2).for_each(|_row| writes.remove(Table::States, &[]));
        writes.clear();
        assert!(writes.packed.capacity() <= KEPT_BYTES && writes.rows.capacity() <= KEPT_BYTES / size_of::<Row>());
    }
}
