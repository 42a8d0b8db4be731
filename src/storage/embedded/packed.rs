//! Records of one shard, one behind the other: in blocks of history, and in the tail that is kept in memory.
//!
//! ```text
//! record = epoch u64 │ seq u64 │ events u32 │ length u32 │ body
//! ```
//!
//! Numbers are little-endian.

use super::tables::corrupt;
use crate::storage::journal::{ReadError, Record, Shard};
use bytes::{Buf, BufMut, Bytes};

const HEAD_BYTES: usize = 24;

/// The length of a record with such a body.
pub(super) const fn packed_bytes(body: usize) -> usize {
    body.saturating_add(HEAD_BYTES)
}

/// Writes a record, with this body for its own.
pub(super) fn pack(record: &Record, body: &[u8], out: &mut impl BufMut) {
    out.put_u64_le(record.epoch);
    out.put_u64_le(record.seq);
    out.put_u32_le(record.events);
    out.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.put_slice(body);
}

/// Takes the first record off.
pub(super) fn unpack(shard: Shard, records: &mut Bytes) -> Result<Record, ReadError> {
    let damaged = || corrupt("a block of history");
    let epoch = records.try_get_u64_le().map_err(|_short| damaged())?;
    let seq = records.try_get_u64_le().map_err(|_short| damaged())?;
    let events = records.try_get_u32_le().map_err(|_short| damaged())?;
    let length = records.try_get_u32_le().map_err(|_short| damaged())?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > records.len() {
        return Err(damaged());
    }
    Ok(Record { shard, epoch, seq, events, body: records.split_to(length) })
}
