//! One ownership: where it stands, and its next CQL statement. Names and numbers of the steps are those of `docs/ownership.md`.
//!
//! ```text
//! Absent ─(1)─► (2) ─► (3) read, raise ─► (4) ─► (5) ─┬─► (8) ─► replay ─► load ─► Serving ◄──► Unsettled, Roll
//!                       ▲    later or full bucket (6) ─┘                              │
//!                       └─────────────────────────────┘                              ▼
//!  anywhere: another owner has it ───────────────────────────────────────────────► Gone
//! ```
//!
//! What a process does without the store is part of the statement before it. A process that is stopped, or killed, is one
//! whose next step does not come, or comes late: no step of its own.

use crate::rules::{Rule, Size};
use crate::store::{PerSeq, StateRow, Statement, event, reserves};
use crate::world::{Broken, Ghost, World};

/// Where an owner stands: the statement it executes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum At {
    /// Has not claimed: O2 (1), epoch + 1 on `shard_owner`, comes next.
    #[default]
    Absent,
    /// O2 (2): read `flushed_upto`.
    ReadFlushed,
    /// O2 (3): read the fence of the bucket …
    ReadFence,
    /// … and raise it by compare-and-set on what was read.
    RaiseFence,
    /// O2 (4): read the bucket at SERIAL.
    ReadBucket,
    /// O2 (5): read `flushed_upto` again; then (6) and (7), which need no statement.
    ReadFlushedAgain,
    /// O2 (8): read `shard_owner` at SERIAL.
    ReadOwner,
    /// Replay: read a bucket's rows.
    Replay,
    /// Replay missed a row: has a zombie's checkpoint moved it into the states meanwhile?
    ReplayFlushed,
    /// Load the chunk row of the state …
    LoadChunk,
    /// … and its head row.
    LoadHead,
    /// Owns the shard, as far as it knows.
    Serving,
    /// O5: an append timed out; the identical statement comes next.
    Unsettled,
    /// O3: the next bucket was read; raise its fence.
    RollRaise,
    /// Has heard that it lost the shard, or given up.
    Gone,
}

/// Where its checkpoint stands (S2): it runs beside the appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Flush {
    #[default]
    None,
    Chunk,
    Head,
    Flushed,
    Truncate,
}

/// One ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Owner {
    pub(crate) at: At,
    /// The last event it knows in the log.
    pub(crate) end: u8,
    /// `flushed_upto`, as last read or written.
    pub(crate) flushed: u8,
    /// The bucket it works on while it claims, then the newest that carries its fence.
    pub(crate) bucket: u8,
    /// The bucket to replay next.
    pub(crate) cursor: u8,
    /// The fence that was read.
    pub(crate) found: u8,
    /// The seqs that the rows read in (4) cover.
    pub(crate) seen: PerSeq,
    /// What it holds in memory: the events its entities have evolved.
    pub(crate) memory: PerSeq,
    /// The batch of unknown outcome, and how many events it has.
    pub(crate) pending: (u8, u8),
    pub(crate) flush: Flush,
    /// The checkpoint reaches up to here.
    pub(crate) upto: u8,
    /// The bucket to truncate next.
    pub(crate) truncate: u8,
}

impl Owner {
    /// Does it own the shard, as far as it knows?
    pub(crate) fn believes(&self) -> bool {
        matches!(self.at, At::Serving | At::Unsettled | At::RollRaise)
    }

    /// Must it roll before it can append, or answer (O3)?
    pub(crate) fn must_roll(&self, size: &Size) -> bool {
        size.bucket_of(self.end + 1) != self.bucket
    }

    /// Is the one unit free, as far as it knows?
    pub(crate) fn has_unit(&self) -> bool {
        !self.memory.iter().any(|event| reserves(*event))
    }

    fn rows_of_state(&self, chunk: bool, timestamp: u8) -> StateRow {
        let mut row = StateRow { seq: self.upto, timestamp, events: self.memory };
        for (seq, event) in row.events.iter_mut().enumerate() {
            if seq > usize::from(self.upto) || reserves(*event) != chunk {
                *event = 0;
            }
        }
        row
    }
}

/// One owner's turn: the world, who, and what was taken out of the protocol.
pub(crate) struct Turn<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) size: &'a Size,
    pub(crate) without: &'a [Rule],
    /// Its epoch.
    pub(crate) me: u8,
    /// What this step shows, for the tests that ask whether the run came by.
    pub(crate) shows: Option<&'static str>,
}

impl Turn<'_> {
    fn lacks(&self, rule: Rule) -> bool {
        self.without.contains(&rule)
    }

    pub(crate) fn owner(&mut self) -> &mut Owner {
        &mut self.world.owners[usize::from(self.me - 1)]
    }

    fn ghost(&mut self) -> &mut Ghost {
        &mut self.world.ghost
    }

    fn execute(&mut self, statement: Statement) -> bool {
        self.world.execute(self.size, self.without, statement)
    }

    fn go(&mut self, at: At) {
        self.owner().at = at;
    }

    /// It has heard that the shard is not its own. Its checkpoint, if one is under way, may still go on.
    fn stop(&mut self, why: &'static str) {
        self.shows = Some(why);
        let owner = self.owner();
        owner.at = At::Gone;
        if owner.flush == Flush::None {
            *owner = Owner { at: At::Gone, ..Owner::default() };
        } else {
            (owner.found, owner.cursor, owner.pending) = (0, 0, (0, 0));
        }
    }

    /// O2 (1): epoch + 1 on `shard_owner`. One that loses the compare-and-set changes nothing, so only the winner is shown.
    pub(crate) fn claim(&mut self) {
        self.world.store.epoch = self.me;
        self.go(At::ReadFlushed);
        if self.world.owners[..usize::from(self.me - 1)].iter().any(Owner::believes) {
            self.shows = Some("somebody claims while another serves");
        }
    }

    /// The statement that comes next on its way.
    pub(crate) fn step(&mut self) {
        let store = self.world.store;
        let (size, me) = (*self.size, self.me);
        let owner = *self.owner();
        match owner.at {
            At::Absent | At::Serving | At::Gone => {}
            At::ReadFlushed => self.start_behind(store.flushed.0),
            At::ReadFence => {
                let found = store.fence[usize::from(owner.bucket)];
                if found >= me && !self.lacks(Rule::UpwardsOnly) {
                    return self.stop("a claimant gives up at a higher fence");
                }
                self.owner().found = found;
                self.go(At::RaiseFence);
            }
            At::RaiseFence => self.raise_fence(At::ReadBucket, At::ReadFence),
            At::ReadBucket => {
                for seq in (1..=size.seqs).filter(|seq| size.bucket_of(*seq) == owner.bucket) {
                    self.owner().seen[usize::from(seq)] = u8::from(store.covering(seq) != 0);
                }
                if self.lacks(Rule::ReadFlushedAgain) {
                    self.after_bucket(owner.flushed);
                } else {
                    self.go(At::ReadFlushedAgain);
                }
            }
            At::ReadFlushedAgain => {
                if size.bucket_of(store.flushed.0) > owner.bucket {
                    self.shows = Some("a claimant finds that flushed_upto has moved to a later bucket");
                    self.start_behind(store.flushed.0);
                } else {
                    self.after_bucket(store.flushed.0);
                }
            }
            At::ReadOwner => {
                if store.epoch != me {
                    return self.stop("a claimant gives up because a later one came");
                }
                self.begin_replay();
            }
            At::Replay => self.replay_bucket(),
            At::ReplayFlushed => {
                if store.flushed.0 == owner.flushed || self.lacks(Rule::ReplayLooksAgain) {
                    self.ghost().broken |= Broken::FALSE_ALARM;
                    return self.stop("replay meets a hole");
                }
                self.shows = Some("rows go while they are replayed, and the replay starts over");
                self.owner().flushed = store.flushed.0;
                if self.lacks(Rule::ReplayStartsOver) {
                    self.replay();
                } else {
                    self.owner().memory = PerSeq::default();
                    self.begin_replay();
                }
            }
            At::LoadChunk => {
                self.fold(&store.chunk, true);
                self.go(At::LoadHead);
            }
            At::LoadHead => {
                self.fold(&store.head, false);
                if self.lacks(Rule::ReplayStartsOver) {
                    self.replay();
                } else {
                    self.serve();
                }
            }
            At::Unsettled => self.settle(),
            At::RollRaise => self.raise_fence(At::Serving, At::Serving),
        }
    }

    /// O2 (2) and (5): the bucket to fence is that of the first event that no state holds.
    fn start_behind(&mut self, flushed: u8) {
        let bucket = self.size.bucket_of(flushed + 1);
        *self.owner() = Owner { at: At::ReadFence, flushed, end: flushed, bucket, ..Owner::default() };
    }

    /// O2 (3) and O3. A fence that is already ours was raised by the copy whose answer was lost.
    fn raise_fence(&mut self, then: At, again: At) {
        let owner = *self.owner();
        let bucket = if owner.at == At::RollRaise { self.size.bucket_of(owner.end + 1) } else { owner.bucket };
        let raised = self.execute(Statement::Fence { epoch: self.me, bucket, found: owner.found });
        let stands = self.world.store.fence[usize::from(bucket)];
        if !raised && stands > self.me {
            return self.stop("a claimant gives up at a higher fence");
        }
        self.owner().found = 0;
        if raised || stands == self.me {
            if owner.at == At::RollRaise {
                self.shows =
                    Some(if owner.found == 0 { "an owner rolls on" } else { "an owner rolls over a lower fence" });
            }
            self.owner().bucket = bucket;
            self.go(then);
        } else {
            self.go(again);
        }
    }

    /// O2 (6) and (7), with `flushed_upto` as the bucket's rows were read, or later.
    fn after_bucket(&mut self, flushed: u8) {
        let size = *self.size;
        let owner = self.owner();
        owner.flushed = flushed;
        owner.end = owner.end.max(flushed);
        let (mut end, mut hole) = (owner.end, false);
        for seq in owner.end + 1..=size.seqs {
            if owner.seen[usize::from(seq)] != 0 {
                hole |= seq != end + 1;
                end = seq;
            }
        }
        owner.end = end;
        owner.seen = PerSeq::default();
        if hole {
            self.ghost().broken |= Broken::FALSE_ALARM;
            return self.stop("a claimant meets a hole");
        }
        let owner = self.owner();
        let full = size.last_of(owner.bucket) <= end;
        if full && !self.lacks(Rule::NextBucketToo) {
            self.owner().bucket += 1;
            self.shows = Some("a claimant goes on to the next bucket");
            self.go(At::ReadFence);
        } else if self.lacks(Rule::ReadOwnerLast) {
            self.begin_replay();
        } else {
            self.go(At::ReadOwner);
        }
    }

    fn begin_replay(&mut self) {
        if self.lacks(Rule::ReplayStartsOver) {
            self.go(At::LoadChunk);
        } else {
            self.replay();
        }
    }

    /// The tail behind `flushed_upto`, if there is any.
    fn replay(&mut self) {
        let size = *self.size;
        let owner = self.owner();
        if owner.flushed < owner.end {
            (owner.at, owner.cursor) = (At::Replay, size.bucket_of(owner.flushed + 1));
        } else {
            self.replayed();
        }
    }

    fn replayed(&mut self) {
        self.owner().cursor = 0;
        if self.lacks(Rule::ReplayStartsOver) {
            self.serve();
        } else {
            self.go(At::LoadChunk);
        }
    }

    /// The rows of one bucket, from `flushed_upto + 1` to the end that the claim found.
    fn replay_bucket(&mut self) {
        let (store, size) = (self.world.store, *self.size);
        let owner = self.owner();
        let last = size.last_of(owner.cursor).min(owner.end);
        for seq in (owner.flushed + 1..=last).filter(|seq| size.bucket_of(*seq) == owner.cursor) {
            if store.covering(seq) == 0 {
                owner.cursor = 0;
                return self.go(At::ReplayFlushed);
            }
            owner.memory[usize::from(seq)] = store.covering(seq);
        }
        owner.cursor += 1;
        if last == owner.end {
            self.replayed();
        }
    }

    /// A stored row of the state: replay skips what it has seen (S1).
    fn fold(&mut self, row: &StateRow, chunk: bool) {
        let skips = !self.lacks(Rule::ReplaySkips);
        for seq in 1..=usize::from(row.seq) {
            let replayed = self.owner().memory[seq];
            if replayed != 0 && reserves(replayed) != chunk {
                continue;
            }
            if replayed != 0 && replayed == row.events[seq] && !skips {
                self.ghost().broken |= Broken::TWICE;
            }
            if replayed != 0 || row.events[seq] != 0 {
                self.owner().memory[seq] = row.events[seq];
            }
        }
    }

    /// It has everything: what the states owe the world is sent now, for every event it knows.
    fn serve(&mut self) {
        let owner = *self.owner();
        let newest = self.world.store.epoch == self.me;
        let knows = self
            .world
            .ghost
            .durable
            .iter()
            .zip(owner.memory)
            .enumerate()
            .all(|(seq, (real, known))| *real == known || (known == 0 && seq > usize::from(owner.end) && !newest));
        if !knows {
            self.ghost().broken |= Broken::IGNORANT;
        }
        for seq in 1..=owner.end {
            self.ghost().acknowledge(seq, owner.memory[usize::from(seq)]);
        }
        self.shows = Some(if self.me > 2 { "the second claimant serves" } else { "a claimant serves" });
        self.go(At::Serving);
    }

    fn append_statement(&mut self) -> Statement {
        let me = self.me;
        let owner = self.owner();
        Statement::Append { epoch: me, seq: owner.end + 1, event: owner.pending.0, length: owner.pending.1 }
    }

    /// Decides, and appends what was decided. `answered` false: the answer is lost, and the statement is on its way.
    pub(crate) fn append(&mut self, reserve: bool, length: u8, answered: bool) {
        self.owner().pending = (event(self.me, 0, reserve), length);
        let statement = self.append_statement();
        if !answered {
            self.world.lose(statement);
            self.go(At::Unsettled);
            if self.lacks(Rule::SettleFirst) {
                self.committed();
            }
            return;
        }
        if self.execute(statement) {
            let memory = self.owner().memory;
            self.ghost().answer_from(&memory); // O4: what was asked before it began is answered with it.
            self.committed();
        } else {
            self.stop("a zombie's append is refused");
        }
    }

    fn committed(&mut self) {
        let owner = self.owner();
        let (event, length) = owner.pending;
        for _ in 0..length {
            self.owner().end += 1;
            let end = self.owner().end;
            self.owner().memory[usize::from(end)] = event;
            self.ghost().acknowledge(end, event);
        }
        self.owner().pending = (0, 0);
        self.go(At::Serving);
    }

    /// O5: the identical statement, with the same batch id.
    fn settle(&mut self) {
        let statement = self.append_statement();
        let (seq, pending, me) = (self.owner().end + 1, self.owner().pending, self.me);
        if self.lacks(Rule::SameBatch) {
            return self.settle_anew(seq);
        }
        if self.execute(statement) {
            self.shows = Some("an unknown outcome is settled: it was not there, and is now");
            self.committed();
        } else if self.world.store.rows[usize::from(seq)] == pending.0 {
            self.shows = Some("an unknown outcome is settled: it was there");
            if self.lacks(Rule::AskedBeforeAppend) {
                let memory = self.owner().memory;
                self.ghost().answer_from(&memory);
            }
            self.committed();
        } else {
            let fence = self.world.store.fence[usize::from(self.size.bucket_of(seq))];
            self.stop(if fence > me { "an unknown outcome is settled: fenced" } else { "fenced by nobody" });
        }
    }

    /// O5 broken: the decision is written again under a new batch id, and where a row stands, behind it.
    fn settle_anew(&mut self, seq: u8) {
        let row = self.world.store.rows[usize::from(seq)];
        let retry = self.owner().pending.0 | 2;
        if row != 0 && usize::from(self.owner().end) < usize::from(self.size.seqs) - 1 {
            self.owner().end += 1;
            self.owner().memory[usize::from(seq)] = row;
        }
        self.owner().pending.0 = retry;
        let statement = self.append_statement();
        if self.execute(statement) {
            self.committed();
        } else {
            self.stop("a zombie's append is refused");
        }
    }

    /// O4: an answer that appends nothing, after one SERIAL read of the tail's fence.
    pub(crate) fn answer(&mut self) {
        let owner = *self.owner();
        let tail = if self.lacks(Rule::AskTheTail) { owner.bucket } else { self.size.bucket_of(owner.end + 1) };
        let fence = self.world.store.fence[usize::from(tail)];
        if fence == self.me || self.lacks(Rule::AskBeforeAnswer) {
            self.ghost().answer_from(&owner.memory);
        } else {
            self.stop("a zombie's answer is held back");
        }
    }

    /// O3: reads the next bucket. Rows or a higher fence: the shard is lost.
    pub(crate) fn roll(&mut self) {
        let store = self.world.store;
        let next = self.size.bucket_of(self.owner().end + 1);
        let found = store.fence[usize::from(next)];
        let taken = found > self.me && !self.lacks(Rule::HigherFenceStops);
        let used = store.has_rows(self.size, next) && !self.lacks(Rule::EmptyBucketOnly);
        if taken {
            return self.stop("an owner that rolls on finds a higher fence");
        }
        if used {
            return self.stop("an owner that rolls on finds rows");
        }
        self.owner().found = found;
        self.go(At::RollRaise);
    }

    /// Sends the statement it stands at, and its answer is lost: it will send the same again.
    pub(crate) fn lose_step(&mut self) {
        let owner = *self.owner();
        let me = self.me;
        let statement = match owner.at {
            At::RaiseFence => Statement::Fence { epoch: me, bucket: owner.bucket, found: owner.found },
            At::RollRaise => {
                Statement::Fence { epoch: me, bucket: self.size.bucket_of(owner.end + 1), found: owner.found }
            }
            _ => self.append_statement(),
        };
        self.world.lose(statement);
    }

    /// Begins a checkpoint up to what is durable (S1).
    pub(crate) fn begin_flush(&mut self) {
        self.world.checkpoints -= 1;
        let undurable = self.lacks(Rule::FlushDurable);
        let marks_first = self.lacks(Rule::StatesFirst);
        let size = *self.size;
        let owner = self.owner();
        owner.upto = owner.end;
        owner.truncate = size.bucket_of(owner.flushed + 1);
        owner.flush = if marks_first { Flush::Flushed } else { Flush::Chunk };
        if undurable && owner.at == At::Unsettled {
            owner.upto += owner.pending.1;
            let (event, upto) = (owner.pending.0, owner.upto);
            owner.memory[usize::from(upto)] = event;
        }
    }

    /// S3: the seq is the timestamp. Without it: a clock, and the old owner's is an hour ahead.
    fn timestamp(&mut self, seq: u8) -> u8 {
        if self.lacks(Rule::SeqIsTimestamp) && self.me == 1 { 128 + seq } else { seq }
    }

    /// The statement that its checkpoint stands at (S2).
    pub(crate) fn flush_statement(&mut self) -> Statement {
        let upto = self.owner().upto;
        let timestamp = self.timestamp(upto);
        let owner = *self.owner();
        match owner.flush {
            Flush::None => Statement::None,
            Flush::Chunk => Statement::Chunk(owner.rows_of_state(true, timestamp)),
            Flush::Head => Statement::Head(owner.rows_of_state(false, timestamp)),
            Flush::Flushed => Statement::Flushed { seq: upto, timestamp },
            Flush::Truncate => Statement::Truncate { bucket: owner.truncate, upto },
        }
    }

    /// The next statement of its checkpoint: chunk, head, `flushed_upto`, truncation.
    pub(crate) fn flush(&mut self) {
        let statement = self.flush_statement();
        let applied = self.execute(statement);
        if self.world.ghost.durable[usize::from(self.owner().upto)] / 4 < self.world.store.epoch {
            self.shows =
                Some(if applied { "a checkpoint goes on under a later epoch" } else { "a late flush changes nothing" });
        }
        let marks_first = self.lacks(Rule::StatesFirst);
        let truncates_first = self.lacks(Rule::MarkBeforeTruncation);
        let size = *self.size;
        let owner = self.owner();
        owner.flush = match owner.flush {
            Flush::None => Flush::None,
            Flush::Chunk => Flush::Head,
            Flush::Head if truncates_first || marks_first => Flush::Truncate,
            Flush::Head => Flush::Flushed,
            Flush::Flushed if truncates_first => Flush::None,
            Flush::Flushed if marks_first => Flush::Chunk,
            Flush::Flushed => Flush::Truncate,
            Flush::Truncate if owner.truncate < size.bucket_of(owner.upto) => Flush::Truncate,
            Flush::Truncate if truncates_first => Flush::Flushed,
            Flush::Truncate => Flush::None,
        };
        match statement {
            Statement::Flushed { seq, .. } => owner.flushed = seq,
            Statement::Truncate { bucket, .. } => {
                owner.truncate = bucket + 1;
                self.shows = Some("the log is truncated");
            }
            _ => {}
        }
        let owner = self.owner();
        if owner.flush == Flush::None {
            (owner.upto, owner.truncate) = (0, 0);
            if owner.at == At::Gone {
                *owner = Owner { at: At::Gone, ..Owner::default() };
            }
        }
    }
}
