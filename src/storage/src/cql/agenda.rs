//! The agenda: a fixed number of chunks per shard, selected by the entity's hash and overwritten whole (rule S4).
//!
//! ```text
//! chunk = epoch u64, checkpoint u64, big-endian │ form u8 = 1 │ entity, owes u8, wakes u8, wake_at u64 or nothing │ … │ crc u32
//! ```
//!
//! Two checkpoints of one owner may end at the same seq, and so carry the same timestamp; the store then keeps the greater value. The first
//! sixteen bytes make the later one greater.

use super::session::{Cql, append_error, shard_key, timestamp};
use crate::journal::{AgendaRow, AppendError, Epoch, ReadError, Seq, Shard};
use bytes::Buf;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The number of chunks of a shard's agenda. It never changes, because an entity is looked up in the chunk of its hash.
const CHUNKS: u16 = 64;
const FORM: u8 = 1;
const CRC_BYTES: usize = 4;

type Rows = BTreeMap<EntityId, AgendaRow>;

fn chunk_of(entity: &EntityId) -> i32 {
    // The low bits chose the shard; the high ones are still free.
    i32::try_from((entity.stable_hash() >> 48) % u64::from(CHUNKS)).unwrap_or(0)
}

fn encode(epoch: Epoch, checkpoint: u64, rows: &Rows) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len().saturating_mul(32).saturating_add(32));
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&checkpoint.to_be_bytes());
    out.push(FORM);
    for row in rows.values() {
        row.entity.write_key(&mut out);
        out.extend_from_slice(&[u8::from(row.owes), u8::from(row.wake_at.is_some())]);
        if let Some(wake_at) = row.wake_at {
            out.extend_from_slice(&wake_at.0.to_le_bytes());
        }
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn decode(body: &[u8]) -> Result<Rows, ReadError> {
    let damaged = |why: &str| ReadError::Corrupt(format!("a chunk of the agenda cannot be read: {why}"));
    let end = body.len().checked_sub(CRC_BYTES).ok_or_else(|| damaged("it ends too soon"))?;
    let (mut rest, mut crc) = body.split_at_checked(end).ok_or_else(|| damaged("it ends too soon"))?;
    let short = |_: bytes::TryGetError| damaged("it ends too soon");
    if crc.try_get_u32_le().map_err(short)? != crc32fast::hash(rest) {
        return Err(damaged("its checksum is wrong"));
    }
    let (_epoch, _checkpoint) = (rest.try_get_u64().map_err(short)?, rest.try_get_u64().map_err(short)?);
    let form = rest.try_get_u8().map_err(short)?;
    if form != FORM {
        return Err(damaged(&format!("it is of form {form}, which this version does not know")));
    }
    let mut rows = Rows::new();
    while !rest.is_empty() {
        let (entity, mut behind) = EntityId::read_key(rest).map_err(|error| damaged(&error.to_string()))?;
        let owes = behind.try_get_u8().map_err(short)? != 0;
        let wakes = behind.try_get_u8().map_err(short)? != 0;
        let wake_at = if wakes { Some(Timestamp(behind.try_get_u64_le().map_err(short)?)) } else { None };
        rest = behind;
        rows.insert(entity.clone(), AgendaRow { entity, wake_at, owes });
    }
    Ok(rows)
}

impl Cql {
    /// All rows of a shard's agenda, by entity.
    pub(super) async fn agenda(&self, shard: Shard) -> Result<Vec<AgendaRow>, ReadError> {
        let mut all = Rows::new();
        for (_, rows) in self.agenda_chunks(shard).await? {
            all.extend(rows);
        }
        Ok(all.into_values().collect())
    }

    async fn agenda_chunks(&self, shard: Shard) -> Result<BTreeMap<i32, Rows>, ReadError> {
        let stored = self.all::<(i32, Option<Vec<u8>>)>(&self.statements.agenda, (shard_key(shard),)).await?;
        stored.into_iter().map(|(chunk, body)| Ok((chunk, decode(&body.unwrap_or_default())?))).collect()
    }

    /// Puts rows on the agenda, and removes entities whose rows are empty. `checkpoint` is its number under this epoch.
    pub(super) async fn put_agenda(
        &self,
        shard: Shard,
        changed: &[AgendaRow],
        (epoch, checkpoint): (Epoch, u64),
        upto: Seq,
    ) -> Result<(), AppendError> {
        if changed.is_empty() {
            return Ok(());
        }
        let mut chunks = self.agenda_chunks(shard).await.map_err(append_error)?;
        let mut touched = BTreeSet::new();
        for row in changed {
            let chunk = chunk_of(&row.entity);
            touched.insert(chunk);
            let rows = chunks.entry(chunk).or_default();
            if row.owes || row.wake_at.is_some() {
                rows.insert(row.entity.clone(), row.clone());
            } else {
                rows.remove(&row.entity);
            }
        }
        let put = touched.into_iter().map(|chunk| {
            let body = chunks.get(&chunk).map(|rows| encode(epoch, checkpoint, rows)).unwrap_or_default();
            self.write(&self.statements.put_agenda, (shard_key(shard), chunk, body, timestamp(upto)))
        });
        self.in_parallel(put).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::OrderId;
    use proptest::prelude::*;

    fn rows() -> Rows {
        let order = |n: u128| EntityId::Order(OrderId(n << 16));
        let row = |n, wake_at: Option<u64>, owes| AgendaRow { entity: order(n), wake_at: wake_at.map(Timestamp), owes };
        [row(1, None, true), row(2, Some(7), false)].into_iter().map(|row| (row.entity.clone(), row)).collect()
    }

    /// What is written once is readable for ever: these bytes never change.
    #[test]
    fn a_chunk_is_these_bytes() {
        let bytes = encode(2, 3, &rows());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(decode(&bytes), Ok(rows()));
    }
    const GOLDEN: &str = "000000000000000200000000000000030103000000000000000000000000000100000100030000000000000000000000000002000000010700000000000000a236da20";

    #[test]
    fn the_later_checkpoint_is_the_greater_value_whatever_it_holds() {
        let (full, empty) = (rows(), Rows::new());
        assert!(encode(2, 3, &empty) < encode(2, 4, &full) && encode(2, 4, &empty) > encode(2, 3, &full));
        assert!(encode(3, 0, &empty) > encode(2, u64::MAX, &full));
        assert!(encode(2, 256, &empty) > encode(2, 255, &full));
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _either = decode(&bytes);
            let mut sealed = bytes;
            let crc = crc32fast::hash(&sealed);
            sealed.extend_from_slice(&crc.to_le_bytes());
            let _either = decode(&sealed);
        }
    }
}
