//! The payload of a row of a log: a batch's records, of any shards, in the order in which they were decided.
//!
//! ```text
//! form u8 = 2 │ count u32 │ shard u16, epoch u64, seq u64, events u32, length u32, body │ … │ crc u32, over log, bucket, position and everything before it
//! ```
//!
//! Numbers are little-endian. A decision is never split: a row holds all of it.

use crate::journal::{ReadError, Record, Shard};
use bytes::{Buf, Bytes, TryGetError};
use std::fmt;
use uuid::Uuid;

const FORM: u8 = 2;
const CRC_BYTES: usize = 4;
/// The bytes of a record before its body.
const HEAD_BYTES: usize = 26;

/// The position of a row, which its payload's checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowPosition {
    pub(super) log: Uuid,
    pub(super) bucket: u64,
    pub(super) position: u64,
}

impl fmt::Display for RowPosition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "row {} of log {} in bucket {}", self.position, self.log, self.bucket)
    }
}

fn crc(at: RowPosition, bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(at.log.as_bytes());
    crc.update(&at.bucket.to_le_bytes());
    crc.update(&at.position.to_le_bytes());
    crc.update(bytes);
    crc.finalize()
}

fn seal(at: RowPosition, mut out: Vec<u8>) -> Vec<u8> {
    let crc = crc(at, &out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Encodes a batch.
pub(super) fn of_records(at: RowPosition, records: &[Record]) -> Vec<u8> {
    let bodies: usize = records.iter().map(|record| record.body.len().saturating_add(HEAD_BYTES)).sum();
    let mut out = Vec::with_capacity(bodies.saturating_add(16));
    out.push(FORM);
    out.extend_from_slice(&u32::try_from(records.len()).unwrap_or(u32::MAX).to_le_bytes());
    for record in records {
        out.extend_from_slice(&record.shard.0.to_le_bytes());
        out.extend_from_slice(&record.epoch.to_le_bytes());
        out.extend_from_slice(&record.seq.to_le_bytes());
        out.extend_from_slice(&record.events.to_le_bytes());
        out.extend_from_slice(&u32::try_from(record.body.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&record.body);
    }
    seal(at, out)
}

/// Decodes a payload.
pub(super) fn read(at: RowPosition, payload: Vec<u8>) -> Result<Vec<Record>, ReadError> {
    let damaged = |why: &str| ReadError::Corrupt(format!("{at} cannot be read: {why}"));
    let short = |_: TryGetError| damaged("it ends too soon");
    let mut rest = Bytes::from(payload);
    let end = rest.len().checked_sub(CRC_BYTES).ok_or_else(|| damaged("it ends too soon"))?;
    let stored = rest.split_off(end).try_get_u32_le().map_err(short)?;
    if stored != crc(at, &rest) {
        return Err(damaged("its checksum is wrong"));
    }
    let form = rest.try_get_u8().map_err(short)?;
    if form != FORM {
        return Err(damaged(&format!("it is of form {form}, which this version does not know")));
    }
    let count = rest.try_get_u32_le().map_err(short)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let shard = Shard(rest.try_get_u16_le().map_err(short)?);
        let epoch = rest.try_get_u64_le().map_err(short)?;
        let seq = rest.try_get_u64_le().map_err(short)?;
        let events = rest.try_get_u32_le().map_err(short)?;
        let length = usize::try_from(rest.try_get_u32_le().map_err(short)?).unwrap_or(usize::MAX);
        if length > rest.len() || events == 0 {
            return Err(damaged("a record in it is not whole"));
        }
        records.push(Record { shard, epoch, seq, events, body: rest.split_to(length) });
    }
    if rest.is_empty() { Ok(records) } else { Err(damaged("there is more than it says")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Seq;
    use proptest::prelude::*;

    const AT: RowPosition = RowPosition { log: Uuid::from_u128(3), bucket: 1, position: 7 };

    fn record(shard: u16, seq: Seq, events: u32, body: &'static [u8]) -> Record {
        Record { shard: Shard(shard), epoch: 2, seq, events, body: Bytes::from_static(body) }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is written once is readable for ever: these bytes never change.
    #[test]
    fn payloads_are_these_bytes() {
        let two = [record(3, 7, 1, b"one"), record(4, 8, 2, b"two")];
        let bytes = of_records(AT, &two);
        let expected = "0202000000\
            0300020000000000000007000000000000000100000003000000\
            6f6e65\
            0400020000000000000008000000000000000200000003000000\
            74776f";
        assert_eq!(hex(&bytes[..bytes.len() - CRC_BYTES]), expected);
        assert_eq!(hex(&bytes[bytes.len() - CRC_BYTES..]), "a955ebdb");
        assert_eq!(read(AT, bytes), Ok(two.to_vec()));
    }

    #[test]
    fn a_payload_in_another_row_than_its_own_is_corruption() {
        let bytes = of_records(AT, &[record(3, 7, 1, b"one")]);
        let others = [
            RowPosition { log: Uuid::from_u128(4), ..AT },
            RowPosition { bucket: 2, ..AT },
            RowPosition { position: 8, ..AT },
        ];
        for other in others {
            assert!(matches!(read(other, bytes.clone()), Err(ReadError::Corrupt(_))), "{other}");
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_every_cut_too() {
        let bytes = of_records(AT, &[record(3, 7, 1, b"one"), record(3, 8, 2, b"two")]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(matches!(read(AT, flipped), Err(ReadError::Corrupt(_))), "byte {at}");
            assert!(matches!(read(AT, bytes[..at].to_vec()), Err(ReadError::Corrupt(_))), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _either = read(AT, bytes.clone());
            let _either = read(AT, seal(AT, bytes));
        }
    }
}
