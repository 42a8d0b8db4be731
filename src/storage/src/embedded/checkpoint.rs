//! A checkpoint: states, history and agenda go from the log into the tables, and then the log before the checkpoint may be deleted.
//!
//! ```text
//! slices: history, personal, states ──► last slice: agenda, rest, flushed_upto; SyncAll ──► once per round: log segments retire
//! ```
//!
//! Nothing takes effect before the last slice: history after `flushed_upto` is not read, and a state newer than `flushed_upto` has a greater
//! seq, so replay skips what it contains (rule S1). A crash between two slices loses nothing and repeats nothing.

use super::history::{self, Blocks};
use super::journal::Inner;
use super::tables::{AgendaRows, key, state_key};
use super::tail::Tail;
use super::writes::{Table, Writes};
use crate::journal::{AppendError, Claim, ReadError, Record, Seq, Shard, StateFlush, StateRow};
use doorbuster_domain::ids::EntityId;
use std::collections::{BTreeMap, BTreeSet};

/// The size of a slice, in bytes: reads and the log's syncs run between two slices.
const SLICE_BYTES: usize = 256 << 10;

/// The shards checkpointed since log segments were last retired. A shard that is checkpointed again begins a new round.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    seen: BTreeSet<Shard>,
    /// An empty set of writes, whose memory the next checkpoint reuses.
    writes: Writes,
    /// The rows of the agendas, of each shard since its first checkpoint.
    agendas: BTreeMap<Shard, AgendaRows>,
}

/// The records that a checkpoint moves.
struct Moved {
    /// The shard's records from memory, including those after the checkpoint.
    taken: Tail,
    /// The records read from the log, because not all were in memory.
    read: Option<Tail>,
    /// The first event that no checkpoint has stored.
    next: Seq,
}

impl Moved {
    fn tail(&self) -> &Tail {
        self.read.as_ref().unwrap_or(&self.taken)
    }

    fn records(&self, shard: Shard, upto: Seq) -> impl Iterator<Item = Result<Record, ReadError>> {
        up_to(upto, self.tail().records_from(shard, self.next))
    }
}

/// The records that end at or before `upto`, and read errors.
fn up_to(
    upto: Seq,
    records: impl Iterator<Item = Result<Record, ReadError>>,
) -> impl Iterator<Item = Result<Record, ReadError>> {
    records.take_while(move |record| record.as_ref().map_or(true, |record| record.last_seq() <= upto))
}

impl Inner {
    pub(super) fn checkpoint(&self, claim: Claim, flush: StateFlush, upto: Seq) -> Result<(), AppendError> {
        let mut rounds = self.rounds();
        let shard = claim.shard;
        let mut moved = self.records_to_move(claim, &flush, upto)?;
        let erased: BTreeSet<EntityId> = flush.erase.iter().cloned().collect();
        let mut writes = std::mem::take(&mut rounds.writes);
        self.move_records(shard, moved.records(shard, upto), &erased, &mut writes)?;
        self.put_states(shard, &flush, &erased, &mut writes)?;
        let read = |error: ReadError| AppendError::Failed(error.to_string());
        let mut agenda = match rounds.agendas.get(&shard) {
            Some(rows) => *rows,
            None => self.stored.tables.agenda_rows(shard).map_err(read)?,
        };
        self.stored.tables.put_agenda(shard, flush.agenda, &mut agenda, &mut writes).map_err(read)?;
        rounds.agendas.insert(shard, agenda);
        for entity in &erased {
            for key in self.stored.tables.personal_keys(shard, entity).map_err(read)? {
                writes.remove(Table::Personal, &key);
            }
        }
        history::erase(&self.stored.tables, shard, &erased, moved.next.saturating_sub(1), &mut writes).map_err(read)?;
        if !erased.is_empty() {
            writes.owe_forgetting();
        }
        writes.put(Table::States, &key(b'f', shard), &[&upto.to_le_bytes()]);
        self.stored.tables.write(&mut writes, true)?;
        rounds.writes = writes;
        // Not while appends wait for the lock of the shards.
        moved.taken.forget_upto(upto);
        if let Some(owned) = self.shards().get_mut(&shard) {
            owned.flushed = upto;
            owned.put_back(moved.taken);
        }
        if !erased.is_empty() {
            self.stored.tables.forget().map_err(|error| self.stored.tables.not_written(&error))?;
        }
        if !rounds.seen.insert(shard) {
            self.retire()?;
            rounds.seen = BTreeSet::from([shard]);
        }
        Ok(())
    }

    /// Checks that the claim still holds and that the whole flush is durable (rule S1), and takes the records in memory.
    fn records_to_move(&self, claim: Claim, flush: &StateFlush, upto: Seq) -> Result<Moved, AppendError> {
        let shard = claim.shard;
        let failed = |why: String| AppendError::Failed(format!("shard {shard}: {why}"));
        let (flushed, taken) = {
            let mut shards = self.shards();
            let fenced = || AppendError::Fenced { shard, epoch: claim.epoch };
            let owned = shards.get_mut(&shard).filter(|owned| owned.epoch == claim.epoch).ok_or_else(fenced)?;
            if let Some(row) = flush.states.iter().find(|row| row.seq > owned.end) {
                let (entity, seq, end) = (&row.entity, row.seq, owned.end);
                return Err(failed(format!("the state of {entity} holds event {seq}, durable is {end} (rule S1)")));
            }
            (owned.flushed, owned.take_tail())
        };
        let next = flushed.saturating_add(1);
        let in_memory = upto <= flushed || taken.first().is_some_and(|first| first <= next);
        let mut moved = Moved { taken, read: None, next };
        if !in_memory {
            let mut read = Tail::default();
            for record in up_to(upto, self.stored.log_from(shard, next)) {
                read.push(&record.map_err(|error| failed(error.to_string()))?);
            }
            moved.read = Some(read);
        }
        if upto < flushed || (upto > flushed && !moved.tail().has_end(shard, upto)) {
            return Err(failed(format!("event {upto} is not the last of a durable record behind {flushed}")));
        }
        Ok(moved)
    }

    fn move_records(
        &self,
        shard: Shard,
        records: impl Iterator<Item = Result<Record, ReadError>>,
        erased: &BTreeSet<EntityId>,
        writes: &mut Writes,
    ) -> Result<(), AppendError> {
        let mut blocks = Blocks::new(shard, erased);
        for record in records {
            let record = record.map_err(|error| AppendError::Failed(error.to_string()))?;
            blocks.push(&record, writes)?;
            self.write_slice(writes)?;
        }
        blocks.close(writes);
        Ok(())
    }

    /// All rows of an entity belong to one slice: a crash must not leave some of them old.
    fn put_states(
        &self,
        shard: Shard,
        flush: &StateFlush,
        erased: &BTreeSet<EntityId>,
        writes: &mut Writes,
    ) -> Result<(), AppendError> {
        let mut rows: Vec<&StateRow> = flush.states.iter().collect();
        rows.sort_by(|one, other| one.entity.cmp(&other.entity));
        for rows in rows.chunk_by(|one, other| one.entity == other.entity) {
            for row in rows {
                let (table, key) = state_key(shard, &row.entity, row.chunk);
                if table != Table::Personal || !erased.contains(&row.entity) {
                    writes.put(table, &key, &[&row.seq.to_le_bytes(), &row.body]);
                }
            }
            self.write_slice(writes)?;
        }
        Ok(())
    }

    fn write_slice(&self, writes: &mut Writes) -> Result<(), AppendError> {
        if writes.bytes() >= SLICE_BYTES {
            self.stored.tables.write(writes, false)?;
        }
        Ok(())
    }

    /// Every shard's `flushed_upto` is durable by now; the log keeps one round more than that requires (rule L7).
    pub(super) fn retire(&self) -> Result<(), AppendError> {
        let flushed = self.shards().iter().map(|(shard, owned)| (*shard, owned.flushed)).collect();
        let now = (self.options.now)();
        let mut log = self.log();
        let Some(log) = log.as_mut() else { return Ok(()) };
        let retired = log.retire(&flushed, now, self.options.keep_ms);
        retired.map(|_counts| ()).map_err(|error| AppendError::Failed(error.to_string()))
    }
}
