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
use scylla::value::CqlValue;
use uuid::Uuid;

const A: Shard = Shard(0);
const B: Shard = Shard(1);

/// A keyspace whose buckets are small, those of history and those of the logs, or `None` without a server.
fn keyspace(claim: &str, bucket: u64) -> Option<Keyspace> {
    Keyspace::is_there(claim)
        .then(|| Keyspace::with(LAYOUT, |options| (options.bucket_events, options.log_bucket_rows) = (bucket, bucket)))
}

/// The log that the shard's owner appends to.
async fn log_of(store: &Keyspace, shard: Shard) -> Uuid {
    let rows = store.say(&format!("SELECT log FROM KS.shard_owner WHERE shard = {shard}")).await;
    rows[0].columns[0].as_ref().and_then(CqlValue::as_uuid).unwrap()
}

/// The fence of a bucket of a log; empty: none.
async fn fence_of(store: &Keyspace, log: Uuid, bucket: u64) -> String {
    let select = format!("SELECT DISTINCT fence FROM KS.node_log WHERE log = {log} AND bucket = {bucket}");
    let rows = store.say(&select).await;
    let fence = rows.first().and_then(|row| row.columns[0].as_ref());
    fence.and_then(CqlValue::as_text).cloned().unwrap_or_default()
}

/// The positions in a bucket of a log.
async fn positions_in(store: &Keyspace, log: Uuid, bucket: u64) -> Vec<i64> {
    let rows = store.say(&format!("SELECT position FROM KS.node_log WHERE log = {log} AND bucket = {bucket}")).await;
    rows.iter().filter_map(|row| row.columns[0].as_ref().and_then(CqlValue::as_bigint)).collect()
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
