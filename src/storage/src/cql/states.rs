//! States, and the list of entities that have one.
//!
//! ```text
//! one entity = one partition:   head (chunk 0) │ chunk 1 … 256, each in slot 0 or 1 │ personal (chunk 65535)
//! ```
//!
//! Rule S2 requires the head to be written last. A reader must never find chunks newer than their head, because replay would apply their events
//! again. Rows that fit into one write of one partition are atomic, head and chunks together. Other chunks go into the slots that the stored head
//! does not name; the new head, written last, names all of them at once.

use super::history::{entity_key, erased, kept, personal_in};
use super::session::{Cql, bigint, number, shard_key, timestamp};
use crate::journal::{AppendError, ReadError, Seq, Shard, StateRow};
use crate::wire::{HEAD, PERSONAL, in_chunks};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::value::MaybeUnset;
use std::collections::{BTreeMap, BTreeSet};

/// The most bytes in one atomic write, well below what a server refuses (half a segment of its commit log).
const ATOMIC_BYTES_MAX: usize = 1 << 20;
/// The number of partitions of a shard's list of entities.
const ENTITY_SLOTS: u16 = 16;
/// The number of attempts to read a state of several pages that is stored meanwhile.
const READS_MAX: u32 = 16;

/// `chunk`, `slot`, `seq`, `body`, `slots`.
type Stored = (i32, i8, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>);
type New = (i32, Vec<u8>, i32, i8, i64, Vec<u8>, MaybeUnset<Vec<u8>>, i64);

/// The chunks whose rows are in slot 1.
fn slots_of(bytes: &[u8]) -> BTreeSet<u16> {
    bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(u16::from_le_bytes).collect()
}

fn slots_as_bytes(slots: &BTreeSet<u16>) -> Vec<u8> {
    slots.iter().flat_map(|chunk| chunk.to_le_bytes()).collect()
}

fn slot_of(entity: &EntityId) -> i32 {
    // The low bits chose the shard; the high ones are still free.
    i32::try_from((entity.stable_hash() >> 48) % u64::from(ENTITY_SLOTS)).unwrap_or(0)
}

impl Cql {
    /// The rows of an entity, by chunk.
    pub(super) async fn load(&self, shard: Shard, entity: &EntityId) -> Result<Vec<StateRow>, ReadError> {
        let key = (shard_key(shard), entity_key(entity));
        for _ in 0..READS_MAX {
            let (mut rows, mut next) = self.page::<Stored>(&self.statements.state, &key, None).await?;
            let pages = next.is_some();
            while let Some(state) = next {
                let (more, behind) = self.page::<Stored>(&self.statements.state, &key, Some(state)).await?;
                rows.extend(more);
                next = behind;
            }
            let Some(head) = rows.iter().find(|row| row.0 == 0 && row.1 == 0) else { return Ok(Vec::new()) };
            let seq = head.2;
            // Pages are not read at one instant: a write between two pages would give chunks of two states.
            if pages
                && self.first::<(Option<i64>, Option<Vec<u8>>)>(&self.statements.head, &key).await?.map(|row| row.0)
                    != Some(seq)
            {
                continue;
            }
            return chosen(entity, rows);
        }
        Err(ReadError::Failed(format!("{entity} is stored faster than it can be read")))
    }

    /// Stores rows; leaves out the personal data of `gone`, and overwrites it where it is stored.
    pub(super) async fn put_states(
        &self,
        shard: Shard,
        states: &[StateRow],
        gone: &BTreeSet<EntityId>,
        upto: Seq,
    ) -> Result<(), AppendError> {
        let mut by_entity: BTreeMap<&EntityId, Vec<&StateRow>> = BTreeMap::new();
        for row in states {
            by_entity.entry(&row.entity).or_default().push(row);
        }
        for entity in gone {
            by_entity.entry(entity).or_default();
        }
        let mut put = Vec::with_capacity(by_entity.len());
        for (entity, rows) in by_entity {
            put.push(self.put_state(shard, entity, rows, gone.contains(entity), upto));
        }
        self.in_parallel(put.into_iter()).await
    }

    async fn put_state(
        &self,
        shard: Shard,
        entity: &EntityId,
        rows: Vec<&StateRow>,
        gone: bool,
        upto: Seq,
    ) -> Result<(), ReadError> {
        let key = entity_key(entity);
        let newest = rows.iter().map(|row| row.seq).max().unwrap_or(0).max(upto);
        // The last row of a chunk counts.
        let mut last: BTreeMap<u16, &StateRow> = BTreeMap::new();
        for row in rows {
            last.insert(row.chunk, row);
        }
        let bytes: usize = last.values().map(|row| row.body.len()).fold(0, usize::saturating_add);
        let mut slots = BTreeSet::new();
        let aside = in_chunks(entity) && bytes > ATOMIC_BYTES_MAX && last.contains_key(&HEAD);
        if in_chunks(entity) {
            let head =
                self.first::<(Option<i64>, Option<Vec<u8>>)>(&self.statements.head, (shard_key(shard), &key)).await?;
            slots = slots_of(&head.and_then(|(_, slots)| slots).unwrap_or_default());
        }
        let (mut chunks, mut heads): (Vec<New>, Vec<New>) = (Vec::new(), Vec::new());
        for (chunk, row) in &last {
            let place = |slot: i8, body: Vec<u8>| {
                let (seq, at) = (bigint(row.seq), timestamp(row.seq));
                (shard_key(shard), key.clone(), i32::from(*chunk), slot, seq, body, MaybeUnset::Unset, at)
            };
            match *chunk {
                HEAD => heads.push(place(0, row.body.to_vec())),
                PERSONAL if gone => {}
                PERSONAL => chunks.push(place(0, kept(&row.body))),
                chunk => {
                    if aside && !slots.remove(&chunk) {
                        slots.insert(chunk);
                    }
                    chunks.push(place(i8::from(slots.contains(&chunk)), row.body.to_vec()));
                }
            }
        }
        if gone {
            let (seq, at) = (bigint(newest), timestamp(newest));
            chunks.push((shard_key(shard), key.clone(), i32::from(PERSONAL), 0, seq, erased(), MaybeUnset::Unset, at));
        }
        for head in &mut heads {
            head.6 = MaybeUnset::Set(slots_as_bytes(&slots));
        }
        let listed = !heads.is_empty();
        if bytes <= ATOMIC_BYTES_MAX {
            chunks.append(&mut heads);
            self.write_together(&self.statements.put_state, chunks).await?;
        } else {
            // One write each, and the head after all of them.
            let put = chunks.into_iter().map(|row| self.write_together(&self.statements.put_state, vec![row]));
            let put = stream::iter(put).buffer_unordered(self.options.writes_in_flight_max.max(1));
            put.try_collect::<()>().await?;
            for head in heads {
                self.write_together(&self.statements.put_state, vec![head]).await?;
            }
        }
        if listed {
            let values = (shard_key(shard), slot_of(entity), key, timestamp(newest));
            self.write(&self.statements.put_entity, values).await?;
        }
        Ok(())
    }

    /// Entities with a state, in order, from after `after` on: the lists of all slots, merged.
    pub(super) async fn entities(
        &self,
        shard: Shard,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<EntityId>, ReadError> {
        let after = after.map(entity_key).unwrap_or_default();
        let most = i32::try_from(limit).unwrap_or(i32::MAX);
        if most == 0 {
            return Ok(Vec::new());
        }
        let read = (0..ENTITY_SLOTS).map(|slot| {
            let values = (shard_key(shard), i32::from(slot), after.clone(), most);
            async move { self.some_entities(values, limit).await }
        });
        let read = stream::iter(read).buffered(usize::from(ENTITY_SLOTS));
        let slots: Vec<Vec<Vec<u8>>> = read.try_collect().await?;
        let mut keys: Vec<Vec<u8>> = slots.into_iter().flatten().collect();
        keys.sort_unstable();
        keys.truncate(limit);
        let entity = |key: Vec<u8>| match EntityId::read_key(&key) {
            Ok((entity, [])) => Ok(entity),
            Ok(_) => Err(ReadError::Corrupt("an entity's key is too long".to_owned())),
            Err(error) => Err(ReadError::Corrupt(error.to_string())),
        };
        keys.into_iter().map(entity).collect()
    }

    async fn some_entities(&self, values: (i32, i32, Vec<u8>, i32), limit: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        let rows = self.all::<(Vec<u8>,)>(&self.statements.entities, values).await?;
        Ok(rows.into_iter().take(limit).map(|(key,)| key).collect())
    }
}

/// The rows that the head names.
fn chosen(entity: &EntityId, rows: Vec<Stored>) -> Result<Vec<StateRow>, ReadError> {
    let head = rows.iter().find(|row| row.0 == 0 && row.1 == 0).and_then(|row| row.4.as_deref());
    let slots = slots_of(head.unwrap_or_default());
    let mut found = Vec::with_capacity(rows.len());
    for (chunk, slot, seq, body, _) in rows {
        let damaged = |what: &str| ReadError::Corrupt(format!("the state of {entity}: chunk {chunk} {what}"));
        let chunk = u16::try_from(chunk).map_err(|_range| damaged("is none"))?;
        let (Some(seq), Some(body)) = (seq, body) else { return Err(damaged("is not whole")) };
        let seq = number("the seq of a state", seq)?;
        let body = match chunk {
            PERSONAL => match personal_in(&body) {
                Some(personal) => Bytes::copy_from_slice(personal),
                None => continue,
            },
            HEAD => Bytes::from(body),
            chunk if i8::from(slots.contains(&chunk)) == slot => Bytes::from(body),
            _ => continue,
        };
        found.push(StateRow { entity: entity.clone(), chunk, seq, body });
    }
    Ok(found)
}
