//! The stored data, and the checks that a write must pass: owner, order, whole records.

use super::{Fault, Faults, Groups};
use crate::journal::{
    AgendaRow, AppendError, Batch, Claim, Epoch, Group, Layout, ReadError, Record, Seq, Shard, StateFlush, StateRow,
};
use crate::wire;
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What is known of one shard.
#[derive(Debug, Clone, Default)]
struct Stored {
    epoch: Epoch,
    end: Seq,
    flushed_upto: Seq,
    /// Records after `flushed_upto`.
    tail: VecDeque<Record>,
    /// Records up to `flushed_upto`, without personal data.
    history: Vec<Record>,
    /// The positions of an entity's records in `history`.
    index: BTreeMap<EntityId, Vec<usize>>,
    agenda: BTreeMap<EntityId, AgendaRow>,
}

/// Everything that survives a crash, and the plan of faults.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) layout: Layout,
    pub(super) groups: Groups,
    pub(super) faults: Faults,
    pub(super) incarnation: u64,
    pub(super) appends: u64,
    pub(super) checkpoints: u64,
    pub(super) loads: u64,
    shards: BTreeMap<Shard, Stored>,
    states: BTreeMap<EntityId, BTreeMap<u16, StateRow>>,
    /// Personal data by entity, then by the seq of its record.
    personal: BTreeMap<EntityId, BTreeMap<Seq, Bytes>>,
    in_flight: BTreeMap<Group, Batch>,
    /// An append failed: no further one until the group's owner begins anew (rules L8, E2).
    broken: BTreeSet<Group>,
    frames: Option<Vec<Batch>>,
    rng: ChaCha8Rng,
}

impl Disk {
    pub(super) fn new(layout: Layout, groups: Groups, seed: u64) -> Self {
        Self {
            layout,
            groups,
            faults: Faults::default(),
            incarnation: 1,
            appends: 0,
            checkpoints: 0,
            loads: 0,
            shards: BTreeMap::new(),
            states: BTreeMap::new(),
            personal: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            broken: BTreeSet::new(),
            frames: None,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(super) fn keep_frames(&mut self) {
        if self.frames.is_none() && self.shards.values().all(|stored| stored.end == 0) {
            self.frames = Some(Vec::new());
        }
    }

    pub(super) fn frames(&self) -> usize {
        self.frames.as_ref().map_or(0, Vec::len)
    }

    pub(super) fn frames_from(&self, from: usize) -> Vec<Batch> {
        self.frames.as_ref().and_then(|frames| frames.get(from..)).map(<[Batch]>::to_vec).unwrap_or_default()
    }

    pub(super) fn cut_at(&self, frames: usize) -> Option<Self> {
        let kept = self.frames.as_ref()?;
        let mut cut = Self::new(self.layout, self.groups, 0);
        cut.frames = Some(Vec::new());
        for batch in kept.iter().take(frames) {
            for record in &batch.records {
                let epoch = &mut cut.shards.entry(record.shard).or_default().epoch;
                *epoch = record.epoch.max(*epoch);
            }
            cut.make_durable(batch.clone());
        }
        Some(cut)
    }

    pub(super) fn crash(&mut self) -> (usize, usize) {
        let in_flight = std::mem::take(&mut self.in_flight);
        self.broken.clear();
        let all = in_flight.len();
        let mut there = 0;
        for batch in in_flight.into_values() {
            if self.rng.random_bool(0.5) && self.may_append(&batch).is_ok() {
                self.make_durable(batch);
                there += 1;
            }
        }
        self.incarnation += 1;
        (all, there)
    }

    pub(super) fn raise_epoch(&mut self, shard: Shard) -> Epoch {
        let stored = self.shards.entry(shard).or_default();
        stored.epoch += 1;
        stored.epoch
    }

    pub(super) fn epoch(&self, shard: Shard) -> Epoch {
        self.shards.get(&shard).map_or(0, |stored| stored.epoch)
    }

    pub(super) fn flushed_upto(&self, shard: Shard) -> Seq {
        self.shards.get(&shard).map_or(0, |stored| stored.flushed_upto)
    }

    pub(super) fn end(&self, shard: Shard) -> Seq {
        self.shards.get(&shard).map_or(0, |stored| stored.end)
    }

    pub(super) fn ends(&self) -> BTreeMap<Shard, Seq> {
        self.shards.iter().map(|(shard, stored)| (*shard, stored.end)).filter(|(_, end)| *end > 0).collect()
    }

    /// Refuses a batch of another owner, and one that does not continue the log, before any of it is stored.
    fn may_append(&self, batch: &Batch) -> Result<(), AppendError> {
        let mut ends: BTreeMap<Shard, Seq> = BTreeMap::new();
        for record in &batch.records {
            let (shard, epoch) = (record.shard, record.epoch);
            let (owner, stored_end) = self.shards.get(&shard).map_or((0, 0), |stored| (stored.epoch, stored.end));
            if epoch != owner || epoch == 0 {
                return Err(AppendError::Fenced { shard, epoch });
            }
            let end = ends.entry(shard).or_insert(stored_end);
            if record.seq != *end + 1 || record.events == 0 {
                let (seq, end) = (record.seq, *end);
                return Err(AppendError::Failed(format!("shard {shard}: event {seq} cannot follow event {end}")));
            }
            *end = record.last_seq();
        }
        Ok(())
    }

    pub(super) fn begin_append(
        &mut self,
        group: Group,
        batch: &Batch,
    ) -> Result<(Option<Fault>, Duration), AppendError> {
        self.appends += 1;
        self.may_append(batch)?;
        if self.broken.contains(&group) {
            return Err(AppendError::Failed("an append failed before".to_owned()));
        }
        if self.in_flight.contains_key(&group) {
            return Err(AppendError::Failed(format!("group {} has an append in flight already", group.0)));
        }
        let (least, most) = self.faults.append_takes;
        let mut pause = if least < most { self.rng.random_range(least..=most) } else { least };
        if let Some(stall) = self.faults.append_stalls.get(&self.appends) {
            pause += *stall;
        }
        self.in_flight.insert(group, batch.clone());
        Ok((self.faults.appends.get(&self.appends).copied(), pause))
    }

    pub(super) fn finish_append(&mut self, group: Group) -> Result<(), AppendError> {
        let Some(batch) = self.in_flight.remove(&group) else { return Ok(()) };
        // Another owner may have claimed a shard while the batch was in flight.
        self.may_append(&batch)?;
        self.make_durable(batch);
        Ok(())
    }

    /// The group's owner begins anew; the outcome of its predecessor's append is settled.
    pub(super) fn mend(&mut self, group: Group) {
        self.broken.remove(&group);
    }

    pub(super) fn break_append(&mut self, group: Group, written: bool) {
        self.broken.insert(group);
        if let Some(batch) = self.in_flight.remove(&group)
            && written
            && self.may_append(&batch).is_ok()
        {
            self.make_durable(batch);
        }
    }

    fn make_durable(&mut self, batch: Batch) {
        if let Some(frames) = &mut self.frames {
            frames.push(batch.clone());
        }
        for record in batch.records {
            let stored = self.shards.entry(record.shard).or_default();
            stored.end = record.last_seq();
            stored.tail.push_back(record);
        }
    }

    pub(super) fn tail(&self, shard: Shard, from: Seq) -> Vec<Record> {
        let Some(stored) = self.shards.get(&shard) else { return Vec::new() };
        let skipped = stored.tail.partition_point(|record| record.last_seq() < from);
        stored.tail.iter().skip(skipped).cloned().collect()
    }

    pub(super) fn records(&self, shard: Shard) -> Vec<Result<Record, ReadError>> {
        let Some(stored) = self.shards.get(&shard) else { return Vec::new() };
        let history = stored.history.iter().map(|record| self.with_personal(record));
        history.chain(stored.tail.iter().cloned().map(Ok)).collect()
    }

    pub(super) fn load(&self, entity: &EntityId) -> Vec<StateRow> {
        self.states.get(entity).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn agenda(&self, shard: Shard) -> Vec<AgendaRow> {
        self.shards.get(&shard).map(|stored| stored.agenda.values().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn entities(&self, shard: Shard, after: Option<&EntityId>, limit: usize) -> Vec<EntityId> {
        let ours = |entity: &&EntityId| self.layout.shard_of(entity) == shard;
        let behind = |entity: &&EntityId| after.is_none_or(|after| *entity > after);
        self.states.keys().filter(behind).filter(ours).take(limit).cloned().collect()
    }

    /// Counts a load; gives how long it takes.
    pub(super) fn begin_load(&mut self) -> Duration {
        self.loads += 1;
        self.faults.load_stalls.get(&self.loads).copied().unwrap_or_default()
    }

    pub(super) fn begin_checkpoint(&mut self) -> (Option<Fault>, Duration) {
        self.checkpoints += 1;
        (self.faults.checkpoints.get(&self.checkpoints).copied(), self.faults.checkpoint_takes)
    }

    pub(super) fn checkpoint(&mut self, claim: &Claim, flush: StateFlush, upto: Seq) -> Result<(), AppendError> {
        let shard = claim.shard;
        let failed = |why: String| AppendError::Failed(format!("shard {shard}: {why}"));
        let stored = self.shards.entry(shard).or_default();
        if stored.epoch != claim.epoch {
            return Err(AppendError::Fenced { shard, epoch: claim.epoch });
        }
        if let Some(row) = flush.states.iter().find(|row| row.seq > stored.end) {
            let (entity, seq, end) = (&row.entity, row.seq, stored.end);
            return Err(failed(format!("the state of {entity} holds event {seq}, durable is {end} (rule S1)")));
        }
        let moved = stored.tail.partition_point(|record| record.last_seq() <= upto);
        let reached =
            moved.checked_sub(1).and_then(|last| stored.tail.get(last)).map_or(stored.flushed_upto, Record::last_seq);
        if reached != upto {
            return Err(failed(format!(
                "event {upto} is not the last of a durable record behind {}",
                stored.flushed_upto
            )));
        }
        // All checks come before the first change: a checkpoint is all or nothing.
        let mut parts = Vec::with_capacity(moved);
        for record in stored.tail.iter().take(moved) {
            let damaged = |error: wire::WireError| failed(error.to_string());
            let head = wire::head(&record.body).map_err(damaged)?;
            let (facts, personal) = wire::split_personal(&record.body).map_err(damaged)?;
            parts.push((head.entity, Record { body: facts, ..record.clone() }, personal));
        }
        stored.tail.drain(..moved);
        stored.flushed_upto = upto;
        for (entity, record, personal) in parts {
            if let Some(personal) = personal {
                self.personal.entry(entity.clone()).or_default().insert(record.seq, personal);
            }
            stored.index.entry(entity).or_default().push(stored.history.len());
            stored.history.push(record);
        }
        for row in flush.agenda {
            if row.owes || row.wake_at.is_some() {
                stored.agenda.insert(row.entity.clone(), row);
            } else {
                stored.agenda.remove(&row.entity);
            }
        }
        for row in flush.states {
            self.states.entry(row.entity.clone()).or_default().insert(row.chunk, row);
        }
        for entity in flush.erase {
            self.personal.remove(&entity);
            if let Some(rows) = self.states.get_mut(&entity) {
                rows.remove(&wire::PERSONAL);
            }
        }
        Ok(())
    }

    fn with_personal(&self, record: &Record) -> Result<Record, ReadError> {
        let corrupt = |error: wire::WireError| ReadError::Corrupt(error.to_string());
        let entity = wire::head(&record.body).map_err(corrupt)?.entity;
        match self.personal.get(&entity).and_then(|apart| apart.get(&record.seq)) {
            None => Ok(record.clone()),
            Some(personal) => {
                let body = wire::join_personal(&record.body, personal).map_err(corrupt)?;
                Ok(Record { body, ..record.clone() })
            }
        }
    }

    pub(super) fn history(
        &self,
        shard: Shard,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let Some(stored) = self.shards.get(&shard) else { return Ok(Vec::new()) };
        let filed = stored.index.get(entity).into_iter().flatten();
        let history = filed.filter_map(|at| stored.history.get(*at)).map(|record| self.with_personal(record));
        let mut found = Vec::new();
        for record in history.chain(stored.tail.iter().cloned().map(Ok)) {
            if found.len() >= limit {
                break;
            }
            let record = record?;
            if wire::reaches(&record.body, entity, from).map_err(|error| ReadError::Corrupt(error.to_string()))? {
                found.push(record);
            }
        }
        Ok(found)
    }
}
