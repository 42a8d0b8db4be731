//! One process with its one log: where it stands, and its next CQL statement.
//!
//! ```text
//! claim of a shard:  read its row ─► [close its log, bucket by bucket] ─► read the logs ─► flushed_upto ─► own (compare-and-set) ─► load ─► serve
//!                                          not if it was released                                          another was quicker: give up
//! its log:           append ─► … ─► full: seal ─► open the next ─► append …           closed by another: lost, and all its shards with it
//! ```
//!
//! What a process does without the store is part of the statement before it. A process that is stopped, or killed, is one whose next step
//! does not come, or comes late: no step of its own.

use super::rules::{Rule, Size};
use super::store::{
    Fence, LOGS, NO_ROW, Ownership, PerSeq, Record, Row, SEQS, SHARDS, State, Statement, event, reserves,
};
use super::world::{Broken, World};

/// Where a process's log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum LogAt {
    /// Not begun.
    #[default]
    Absent,
    /// Takes rows in the bucket `tip`.
    Open,
    /// `tip` is sealed, the next is not open yet.
    Rolling,
    /// Closed by another, as this process has heard.
    Lost,
}

/// Where a claim stands: the statement that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum At {
    #[default]
    Idle,
    /// The shard's row, at SERIAL.
    ReadOwner,
    /// The fence of a bucket of the log that the row names …
    ReadFence,
    /// … and close it, by compare-and-set on what was read.
    Close,
    /// The rows of a bucket of a log that may hold events behind `flushed_upto`, at SERIAL.
    ReadRows,
    /// `flushed_upto`.
    ReadFlushed,
    /// The compare-and-set on the shard's row.
    Own,
    /// The stored state.
    Load,
}

/// A claim in progress; a process makes one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Claim {
    pub(crate) at: At,
    pub(crate) shard: u8,
    /// The row as it was read.
    pub(crate) found: Ownership,
    /// The log that is closed or read, the bucket, and the fence that was read.
    log: u8,
    bucket: u8,
    fence: Fence,
    /// The events that were read, and the logs that had them.
    events: PerSeq,
    logs: [u8; SEQS],
    flushed: u8,
    end: u8,
}

/// A shard that a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Held {
    /// 0: it does not.
    pub(crate) epoch: u8,
    pub(crate) end: u8,
    pub(crate) flushed: u8,
    /// The events its entities have evolved.
    pub(crate) memory: PerSeq,
}

/// A checkpoint in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Flush {
    /// 0: none is. 1: the first statement comes next. 2: the second.
    pub(crate) stage: u8,
    shard: u8,
    epoch: u8,
    state: State,
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Process {
    pub(crate) log: LogAt,
    /// The bucket it works in, and the position of its next row.
    pub(crate) tip: u8,
    pub(crate) next: u8,
    /// The row of unknown outcome.
    pub(crate) pending: Row,
    pub(crate) claim: Claim,
    pub(crate) held: [Held; SHARDS],
    pub(crate) flush: Flush,
}

impl Process {
    pub(crate) fn is_unsettled(&self) -> bool {
        self.pending != NO_ROW
    }

    /// Is the one unit, of shard 0, free as far as it knows?
    pub(crate) fn has_unit(&self) -> bool {
        !self.held[0].memory.iter().any(|event| reserves(*event))
    }
}

/// One process's turn: the world, who, and what was taken out of the protocol.
pub(crate) struct Turn<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) size: &'a Size,
    pub(crate) without: &'a [Rule],
    pub(crate) me: u8,
    /// What this step shows, for the tests that ask whether the run came by.
    pub(crate) shows: Option<&'static str>,
}

impl Turn<'_> {
    fn lacks(&self, rule: Rule) -> bool {
        self.without.contains(&rule)
    }

    pub(crate) fn mine(&mut self) -> &mut Process {
        &mut self.world.processes[usize::from(self.me)]
    }

    /// The log it writes.
    fn log(&self) -> u8 {
        if self.lacks(Rule::FreshLog) { 0 } else { self.me }
    }

    fn execute(&mut self, statement: Statement) -> bool {
        self.world.execute(self.size, self.without, statement)
    }

    fn go(&mut self, at: At) {
        self.mine().claim.at = at;
    }

    /// Its log was closed: all its shards have ended. A checkpoint that is under way may still go on.
    fn lose(&mut self, why: &'static str) {
        self.shows = Some(why);
        let mine = self.mine();
        *mine = Process { log: LogAt::Lost, flush: mine.flush, ..Process::default() };
    }

    // The claim.

    /// Begins a claim, and before the first of them its log.
    pub(crate) fn begin_claim(&mut self, shard: u8) {
        if self.mine().log == LogAt::Absent {
            let log = self.log();
            let rows = self.world.store.rows[usize::from(log)];
            // A log of its own is empty.
            let next = u8::try_from(rows.iter().filter(|row| **row != NO_ROW).count()).unwrap_or(0);
            let tip = self.size.bucket_of(next);
            self.execute(Statement::Fence { log, bucket: tip, from: Fence::Never, to: Fence::Open, by_compare: false });
            let mine = self.mine();
            (mine.log, mine.next, mine.tip) = (LogAt::Open, next, tip);
        }
        self.mine().claim = Claim { at: At::ReadOwner, shard, ..Claim::default() };
    }

    /// The statement that its claim stands at.
    pub(crate) fn claim(&mut self) {
        let claim = self.mine().claim;
        match claim.at {
            At::Idle => {}
            At::ReadOwner => self.read_owner(),
            At::ReadFence => self.read_fence(),
            At::Close => self.close(),
            At::ReadRows => self.read_rows(),
            At::ReadFlushed => self.read_flushed(),
            At::Own => self.own(),
            At::Load => self.load(),
        }
    }

    fn read_owner(&mut self) {
        let shard = usize::from(self.mine().claim.shard);
        let found = self.world.store.owners[shard];
        self.mine().claim.found = found;
        // A row that names its own log is that of a claim whose answer it never had.
        let closes = !found.released && found.log != self.log() && !self.lacks(Rule::Close);
        if closes && !self.lacks(Rule::CloseBeforeRead) {
            self.begin_close();
        } else {
            self.begin_read();
        }
    }

    fn begin_close(&mut self) {
        let claim = &mut self.mine().claim;
        (claim.log, claim.bucket) = (claim.found.log, 0);
        self.go(At::ReadFence);
    }

    fn closed(&mut self) {
        if self.lacks(Rule::CloseBeforeRead) {
            self.go(At::ReadFlushed);
        } else {
            self.begin_read();
        }
    }

    fn read_fence(&mut self) {
        let Claim { log, bucket, .. } = self.mine().claim;
        match self.world.store.fence(log, bucket) {
            Fence::Closed => {
                self.shows = Some("a claimant finds the log closed by another");
                self.closed();
            }
            Fence::Sealed if self.lacks(Rule::FollowSealed) => self.closed(),
            Fence::Sealed => {
                self.mine().claim.bucket += 1;
                self.shows = Some("a claimant goes on to the next bucket");
            }
            open => {
                self.mine().claim.fence = open;
                self.go(At::Close);
            }
        }
    }

    fn close_statement(&mut self) -> Statement {
        let by_compare = !self.lacks(Rule::CloseByCompare);
        let Claim { log, bucket, fence, .. } = self.mine().claim;
        Statement::Fence { log, bucket, from: fence, to: Fence::Closed, by_compare }
    }

    fn close(&mut self) {
        let was = self.mine().claim.fence;
        let statement = self.close_statement();
        let applied = self.execute(statement);
        self.mine().claim.fence = Fence::Never;
        if applied {
            self.shows = Some(if was == Fence::Never {
                "a claimant closes a bucket that was never open"
            } else {
                "a claimant closes a log"
            });
            self.closed();
        } else {
            self.go(At::ReadFence);
        }
    }

    fn begin_read(&mut self) {
        let first = self.next_log(0);
        let claim = &mut self.mine().claim;
        claim.bucket = 0;
        if self.lacks(Rule::RowsBeforeFlushed) {
            let claim = self.mine().claim;
            self.mine().claim.flushed = self.world.store.flushed[usize::from(claim.shard)];
        }
        self.read_from(first);
    }

    /// The next log at or after `from` that the row names.
    fn next_log(&mut self, from: usize) -> Option<u8> {
        let logs = self.mine().claim.found.logs;
        (from..LOGS).find(|log| logs >> log & 1 == 1).and_then(|log| u8::try_from(log).ok())
    }

    fn read_from(&mut self, log: Option<u8>) {
        match log {
            Some(log) => {
                self.mine().claim.log = log;
                self.go(At::ReadRows);
            }
            None if self.lacks(Rule::CloseBeforeRead) && !self.mine().claim.found.released => self.begin_close(),
            None => self.go(At::ReadFlushed),
        }
    }

    fn read_rows(&mut self) {
        let (store, size) = (self.world.store, *self.size);
        let claim = &mut self.mine().claim;
        for position in (0..size.positions).filter(|position| size.bucket_of(*position) == claim.bucket) {
            let record = store.rows[usize::from(claim.log)][usize::from(position)][usize::from(claim.shard)];
            if record.seq > 0 {
                claim.events[usize::from(record.seq)] = record.event;
                claim.logs[usize::from(record.seq)] = claim.log + 1;
            }
        }
        let (log, bucket) = (claim.log, claim.bucket);
        if store.fence(log, bucket) == Fence::Sealed && bucket < size.bucket_of(size.positions - 1) {
            claim.bucket += 1;
        } else {
            claim.bucket = 0;
            let next = self.next_log(usize::from(log) + 1);
            self.read_from(next);
        }
    }

    fn read_flushed(&mut self) {
        let shard = usize::from(self.mine().claim.shard);
        if !self.lacks(Rule::RowsBeforeFlushed) {
            self.mine().claim.flushed = self.world.store.flushed[shard];
        }
        let claim = &mut self.mine().claim;
        claim.log = 0;
        let (mut end, mut hole) = (claim.flushed, false);
        for seq in 1..SEQS {
            if seq <= usize::from(claim.flushed) {
                // The state has it.
                (claim.events[seq], claim.logs[seq]) = (0, 0);
            } else if claim.events[seq] != 0 {
                hole |= seq != usize::from(end) + 1;
                end = u8::try_from(seq).unwrap_or(end);
            }
        }
        claim.end = end;
        if hole {
            self.world.ghost.broken |= Broken::FALSE_ALARM;
            self.mine().claim = Claim::default();
        } else {
            self.go(At::Own);
        }
    }

    fn own_statement(&mut self) -> Statement {
        let (log, keeps) = (self.log(), !self.lacks(Rule::KeepLogs));
        let claim = self.mine().claim;
        let named = claim.logs.iter().filter(|log| **log > 0 && keeps).fold(1 << log, |all, log| all | 1 << (log - 1));
        let to = Ownership { epoch: claim.found.epoch + 1, log, released: false, logs: named };
        Statement::Own { shard: claim.shard, found: claim.found.epoch, to }
    }

    fn own(&mut self) {
        let (log, claim) = (self.log(), self.mine().claim);
        let statement = self.own_statement();
        let other = self.world.store.owners[1 - usize::from(claim.shard)];
        let applied = self.execute(statement);
        let row = self.world.store.owners[usize::from(claim.shard)];
        // Not applied, and it is there all the same: the copy whose answer was lost.
        if !applied && (row.log != log || row.epoch != claim.found.epoch + 1) {
            self.shows = Some("a claimant loses the shard to another");
            self.mine().claim = Claim::default();
            return;
        }
        let came_back = claim.found.log != log && claim.found.logs >> log & 1 == 1;
        let read: u8 = claim.logs.iter().filter(|log| **log > 0).fold(0, |all, log| all | 1 << log);
        self.shows = if read.count_ones() > 1 {
            Some("a claim reads two logs")
        } else if came_back {
            Some("a shard comes back to a log it was in")
        } else if claim.found.released {
            Some("a shard moves and nothing is closed")
        } else if other.epoch > 1 && other.log != log {
            Some("the two shards of one log have two new owners")
        } else {
            None
        };
        self.go(At::Load);
    }

    /// It has everything: what the states owe the world is sent now, for every event it knows.
    fn load(&mut self) {
        let Claim { shard, found, events, flushed, end, .. } = self.mine().claim;
        let at = usize::from(shard);
        let stored = self.world.store.states[at];
        let mut memory = events;
        let known = usize::from(stored.seq) + 1;
        memory[..known].copy_from_slice(&stored.events[..known]);
        let epoch = found.epoch + 1;
        let newest = self.world.store.owners[at].epoch == epoch;
        let durable = self.world.ghost.durable[at];
        let knows = durable
            .iter()
            .zip(memory)
            .enumerate()
            .all(|(seq, (real, known))| *real == known || (known == 0 && seq > usize::from(end) && !newest));
        if !knows {
            self.world.ghost.broken |= Broken::IGNORANT;
        }
        for seq in 1..=end {
            self.world.ghost.acknowledge(at, Record { seq, event: memory[usize::from(seq)] });
        }
        let mine = self.mine();
        mine.held[at] = Held { epoch, end, flushed, memory };
        mine.claim = Claim::default();
    }

    /// The claim is dropped while a copy of its compare-and-set is under way.
    pub(crate) fn abandon(&mut self) {
        self.mine().claim = Claim::default();
    }

    // The log.

    /// Decides, and appends what was decided: an event of each shard in `shards`. `answered` false: the answer is lost, and the statement is on
    /// its way.
    pub(crate) fn append(&mut self, shards: [bool; SHARDS], reserve: bool, answered: bool) {
        let mine = self.mine();
        for (shard, held) in mine.held.iter().enumerate().filter(|(shard, _)| shards[*shard]) {
            mine.pending[shard] = Record { seq: held.end + 1, event: event(held.epoch, reserve && shard == 0) };
        }
        let statement = self.append_statement();
        if !answered {
            self.world.under_way = statement;
            self.world.losses -= 1;
            if self.lacks(Rule::SettleFirst) {
                self.committed();
            }
            return;
        }
        if self.execute(statement) {
            // O4: what was asked before it began is answered with it, of whatever shard.
            self.answer_all();
            self.committed();
        } else {
            self.lose("a zombie's append is refused");
        }
    }

    fn append_statement(&mut self) -> Statement {
        let log = self.log();
        let mine = self.mine();
        Statement::Append { log, position: mine.next, row: mine.pending }
    }

    fn committed(&mut self) {
        let row = std::mem::replace(&mut self.mine().pending, NO_ROW);
        self.mine().next += 1;
        for (shard, record) in row.into_iter().enumerate().filter(|(_, record)| record.seq > 0) {
            let held = &mut self.mine().held[shard];
            // A shard that was released while this was under way is answered all the same.
            if held.epoch > 0 {
                held.end = record.seq;
                held.memory[usize::from(record.seq)] = record.event;
            }
            self.world.ghost.acknowledge(shard, record);
        }
    }

    /// O5: the identical statement, with the same batch id.
    pub(crate) fn settle(&mut self) {
        let (log, Process { next, pending, .. }) = (self.log(), *self.mine());
        let statement = self.append_statement();
        if self.execute(statement) {
            self.shows = Some("an unknown outcome is settled: it was not there, and is now");
            self.committed();
        } else if self.world.store.rows[usize::from(log)][usize::from(next)] == pending {
            self.shows = Some("an unknown outcome is settled: it was there");
            if self.lacks(Rule::AskedBeforeAppend) {
                self.answer_all();
            }
            self.committed();
        } else {
            self.lose("an unknown outcome is settled: closed");
        }
    }

    fn answer_all(&mut self) {
        let held = self.mine().held;
        for (shard, held) in held.iter().enumerate().filter(|(_, held)| held.epoch > 0) {
            self.world.ghost.answer_from(shard, &held.memory);
        }
    }

    /// O4: an answer that appends nothing, after one SERIAL read of the tip's fence. It serves all shards of the log.
    pub(crate) fn answer(&mut self) {
        let (log, Process { tip, .. }) = (self.log(), *self.mine());
        let fence = self.world.store.fence(log, tip);
        let tail_unasked = self.lacks(Rule::AskTheTail) && fence == Fence::Sealed;
        if fence == Fence::Open || tail_unasked || self.lacks(Rule::AskBeforeAnswer) {
            self.answer_all();
        } else {
            self.lose("a zombie's answer is held back");
        }
    }

    fn roll_statement(&mut self) -> Statement {
        let (log, size) = (self.log(), *self.size);
        let once = !self.lacks(Rule::OpenOnce);
        let opens = (self.mine().log == LogAt::Rolling) != self.lacks(Rule::SealFirst);
        let mine = self.mine();
        if opens {
            let bucket = size.bucket_of(mine.next);
            Statement::Fence { log, bucket, from: Fence::Never, to: Fence::Open, by_compare: once }
        } else {
            Statement::Fence { log, bucket: mine.tip, from: Fence::Open, to: Fence::Sealed, by_compare: true }
        }
    }

    /// Seals the full bucket, then opens the next. A fence that is as it should be was set by the copy whose answer was lost.
    pub(crate) fn roll(&mut self) {
        let (log, statement) = (self.log(), self.roll_statement());
        let Statement::Fence { bucket, to, .. } = statement else { return };
        if !self.execute(statement) && self.world.store.fence(log, bucket) != to {
            // Without the rule, the next bucket is open already, and what becomes of the full one is of no interest.
            if !(self.lacks(Rule::SealFirst) && to == Fence::Sealed) {
                return self.lose("a log that rolls on finds itself closed");
            }
        }
        let next = self.size.bucket_of(self.mine().next);
        if self.mine().log == LogAt::Rolling {
            self.shows = Some("a log rolls on");
            (self.mine().log, self.mine().tip) = (LogAt::Open, next);
        } else {
            self.mine().log = LogAt::Rolling;
        }
    }

    /// The shard is another's to claim: `released`, under its own epoch.
    pub(crate) fn release(&mut self, shard: u8, answered: bool) {
        self.world.releases -= 1;
        let at = usize::from(shard);
        let Held { epoch, end, flushed, .. } = self.mine().held[at];
        let is_stored = end == flushed;
        if is_stored && end > 0 {
            self.shows = Some("a shard that is stored is released and names no log");
        }
        let statement = Statement::Release { shard, epoch, is_stored };
        if answered {
            self.execute(statement);
        } else {
            self.world.under_way = statement;
            self.world.losses -= 1;
            if self.lacks(Rule::ReleaseIsFinal) {
                return;
            }
        }
        self.mine().held[at] = Held::default();
    }

    /// Sends the statement it stands at, and its answer is lost: it will send the same again.
    pub(crate) fn lose_step(&mut self) {
        let claim = self.mine().claim;
        let statement = match claim.at {
            At::Close => self.close_statement(),
            _ => self.own_statement(),
        };
        self.world.under_way = statement;
        self.world.losses -= 1;
    }

    /// Likewise for what it does to its own log.
    pub(crate) fn lose_roll(&mut self) {
        self.world.under_way = self.roll_statement();
        self.world.losses -= 1;
    }

    // The checkpoint.

    /// Begins a checkpoint of a shard up to what is durable (S1).
    pub(crate) fn begin_flush(&mut self, shard: u8) {
        self.world.checkpoints -= 1;
        let mine = self.mine();
        let held = mine.held[usize::from(shard)];
        mine.flush = Flush { stage: 1, shard, epoch: held.epoch, state: State { seq: held.end, events: held.memory } };
        self.flush();
    }

    /// S2: the state, then `flushed_upto`.
    pub(crate) fn flush(&mut self) {
        let Flush { stage, shard, epoch, state } = self.mine().flush;
        if (stage == 1) != self.lacks(Rule::StatesFirst) {
            self.execute(Statement::State { shard, state });
        } else {
            self.execute(Statement::Flushed { shard, seq: state.seq });
            let held = &mut self.mine().held[usize::from(shard)];
            if held.epoch == epoch {
                held.flushed = held.flushed.max(state.seq);
            }
        }
        if self.world.store.owners[usize::from(shard)].epoch > epoch {
            self.shows = Some("a checkpoint goes on under a later epoch");
        }
        self.mine().flush = if stage == 1 { Flush { stage: 2, ..self.mine().flush } } else { Flush::default() };
    }
}
