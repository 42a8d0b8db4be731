//! What a store that nodes share must hold beside the suite: one owner, whatever is cut, late, asleep or asked twice.
//!
//! Each test has a keyspace of its own on the server that `DOORBUSTER_TEST_CQL` names; without one it says on standard error what was not tried.

mod board;
mod claims;
mod clocks;
mod log;
mod outcomes;
mod proxy;
mod schema;
mod states;
mod zombies;

use crate::given::{LAYOUT, Owner, order_on};
use crate::server::Keyspace;
use doorbuster_storage::cql::CqlJournal;
use doorbuster_storage::{AppendError, Batch, Journal, Record, Seq, Shard};

const A: Shard = Shard(0);

/// A keyspace whose buckets are small, or `None` without a server.
fn keyspace(claim: &str, bucket_events: u64) -> Option<Keyspace> {
    Keyspace::is_there(claim).then(|| Keyspace::with(LAYOUT, |options| options.bucket_events = bucket_events))
}

/// One record of `events` events at the shard's end. Whose it is makes no difference to the log: it is an order's, on whatever shard.
async fn write(journal: &CqlJournal, owner: &mut Owner, events: u32) -> Record {
    let number = owner.next;
    let record = owner.record(&order_on(A, 0), number, events, None);
    put(journal, &record).await.unwrap();
    record
}

/// Writes records of one event up to and including `last`.
async fn fill(journal: &CqlJournal, owner: &mut Owner, last: Seq) -> Vec<Record> {
    let mut written = Vec::new();
    while owner.next <= last {
        written.push(write(journal, owner, 1).await);
    }
    written
}

async fn put(journal: &CqlJournal, record: &Record) -> Result<(), AppendError> {
    let batch = Batch { id: 7, records: vec![record.clone()] };
    journal.append(journal.group_of(record.shard), &batch).await
}

fn fenced(owner: &Owner) -> Result<(), AppendError> {
    Err(AppendError::Fenced { shard: owner.claim.shard, epoch: owner.epoch() })
}
