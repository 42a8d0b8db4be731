//! The payload of a log row: a batch's records, or a mark that the row only stands for events of an earlier decision.
//!
//! ```text
//! form u8 = 1 │ kind u8 │ …                                          │ crc u32, over shard, seq, epoch and everything before it
//! records (0)   count u32 │ events u32, length u32, body │ …
//! rest (1)      events u64: of the decision, after this row
//! ```
//!
//! Numbers are little-endian. A decision is never split: if it has more events than its bucket has room for, its row holds all of them and reaches
//! the bucket's end, and rest rows in the next buckets stand for the others (rule O1).

use super::options::Buckets;
use crate::journal::{Epoch, ReadError, Record, Seq, Shard};
use bytes::{Buf, Bytes};

const FORM: u8 = 1;
const RECORDS: u8 = 0;
const REST: u8 = 1;
const CRC_BYTES: usize = 4;

/// The position of a row, which its payload's checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowPosition {
    pub(super) shard: Shard,
    pub(super) seq: Seq,
    pub(super) epoch: Epoch,
}

/// The contents of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payload {
    /// Records of whole decisions.
    Records(Vec<Record>),
    /// Events of a decision in an earlier row.
    Rest {
        /// The number of its events after this row.
        behind: u64,
    },
}

fn seal(position: RowPosition, mut out: Vec<u8>) -> Vec<u8> {
    let crc = crc(position, &out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn crc(position: RowPosition, bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&position.shard.0.to_le_bytes());
    crc.update(&position.seq.to_le_bytes());
    crc.update(&position.epoch.to_le_bytes());
    crc.update(bytes);
    crc.finalize()
}

/// Encodes a batch.
pub(super) fn of_records(position: RowPosition, records: &[Record]) -> Vec<u8> {
    let bodies: usize = records.iter().map(|record| record.body.len().saturating_add(8)).sum();
    let mut out = Vec::with_capacity(bodies.saturating_add(16));
    out.extend_from_slice(&[FORM, RECORDS]);
    out.extend_from_slice(&u32::try_from(records.len()).unwrap_or(u32::MAX).to_le_bytes());
    for record in records {
        out.extend_from_slice(&record.events.to_le_bytes());
        out.extend_from_slice(&u32::try_from(record.body.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&record.body);
    }
    seal(position, out)
}

/// Encodes a rest row.
pub(super) fn of_rest(position: RowPosition, behind: u64) -> Vec<u8> {
    let mut out = vec![FORM, REST];
    out.extend_from_slice(&behind.to_le_bytes());
    seal(position, out)
}

/// Decodes a payload.
pub(super) fn read(position: RowPosition, payload: Vec<u8>) -> Result<Payload, ReadError> {
    let damaged = |why: &str| {
        ReadError::Corrupt(format!(
            "the row of event {} of shard {} cannot be read: {why}",
            position.seq, position.shard
        ))
    };
    let short = |_: bytes::TryGetError| damaged("it ends too soon");
    let mut rest = Bytes::from(payload);
    let end = rest.len().checked_sub(CRC_BYTES).ok_or_else(|| damaged("it ends too soon"))?;
    let stored = rest.split_off(end).try_get_u32_le().map_err(short)?;
    if stored != crc(position, &rest) {
        return Err(damaged("its checksum is wrong"));
    }
    let form = rest.try_get_u8().map_err(short)?;
    if form != FORM {
        return Err(damaged(&format!("it is of form {form}, which this version does not know")));
    }
    match rest.try_get_u8().map_err(short)? {
        RECORDS => {
            let count = rest.try_get_u32_le().map_err(short)?;
            let (mut records, mut seq) = (Vec::new(), position.seq);
            for _ in 0..count {
                let events = rest.try_get_u32_le().map_err(short)?;
                let length = usize::try_from(rest.try_get_u32_le().map_err(short)?).unwrap_or(usize::MAX);
                if length > rest.len() || events == 0 {
                    return Err(damaged("a record in it is not whole"));
                }
                let body = rest.split_to(length);
                records.push(Record { shard: position.shard, epoch: position.epoch, seq, events, body });
                seq = seq.saturating_add(u64::from(events));
            }
            if rest.is_empty() { Ok(Payload::Records(records)) } else { Err(damaged("there is more than it says")) }
        }
        REST => Ok(Payload::Rest { behind: rest.try_get_u64_le().map_err(short)? }),
        kind => Err(damaged(&format!("it is of kind {kind}"))),
    }
}

impl Payload {
    /// The number of events of the last decision after the row, which covers `events` from `seq` on.
    pub(super) fn behind(&self, seq: Seq, events: u64) -> u64 {
        match self {
            Self::Rest { behind } => *behind,
            Self::Records(records) => {
                let next = seq.saturating_add(events);
                records.last().map_or(0, |record| record.last_seq().saturating_add(1).saturating_sub(next))
            }
        }
    }

    /// Whether the records agree with their row, which covers `events` from `seq` on. Only a single decision may reach further, and only from a
    /// bucket's end.
    pub(super) fn fits(&self, buckets: Buckets, seq: Seq, events: u64) -> bool {
        let at_end = buckets.room(seq) == events;
        match self {
            Self::Rest { behind } => *behind == 0 || at_end,
            Self::Records(records) => {
                let all: u64 = records.iter().map(|record| u64::from(record.events)).sum();
                all == events || (all > events && records.len() == 1 && at_end)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: RowPosition = RowPosition { shard: Shard(3), seq: 7, epoch: 2 };

    fn record(seq: Seq, events: u32, body: &'static [u8]) -> Record {
        Record { shard: Shard(3), epoch: 2, seq, events, body: Bytes::from_static(body) }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is written once is readable for ever: these bytes never change.
    #[test]
    fn payloads_are_these_bytes() {
        let two = [record(7, 1, b"one"), record(8, 2, b"two")];
        let bytes = of_records(PLACE, &two);
        assert_eq!(hex(&bytes), "01000200000001000000030000006f6e65020000000300000074776fcaab9e54");
        assert_eq!(read(PLACE, bytes), Ok(Payload::Records(two.to_vec())));
        let rest = of_rest(PLACE, 5);
        assert_eq!(hex(&rest), "010105000000000000007211e0ef");
        assert_eq!(read(PLACE, rest), Ok(Payload::Rest { behind: 5 }));
    }

    #[test]
    fn a_payload_in_another_row_than_its_own_is_corruption() {
        let bytes = of_records(PLACE, &[record(7, 1, b"one")]);
        for position in [
            RowPosition { seq: 8, ..PLACE },
            RowPosition { shard: Shard(4), ..PLACE },
            RowPosition { epoch: 3, ..PLACE },
        ] {
            assert!(matches!(read(position, bytes.clone()), Err(ReadError::Corrupt(_))), "{position:?}");
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_every_cut_too() {
        let bytes = of_records(PLACE, &[record(7, 1, b"one"), record(8, 2, b"two")]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(matches!(read(PLACE, flipped), Err(ReadError::Corrupt(_))), "byte {at}");
            assert!(matches!(read(PLACE, bytes[..at].to_vec()), Err(ReadError::Corrupt(_))), "cut at {at}");
        }
    }

    /// Rule O1.
    #[test]
    fn only_a_single_decision_may_reach_over_a_bucket_s_end() {
        let buckets = Buckets::new(10);
        let one = Payload::Records(vec![record(8, 5, b"five")]);
        assert!(one.fits(buckets, 8, 2) && one.behind(8, 2) == 3);
        assert!(!one.fits(buckets, 8, 1), "the row must reach the end");
        assert!(one.fits(buckets, 8, 5));
        let two = Payload::Records(vec![record(8, 1, b"one"), record(9, 4, b"four")]);
        assert!(!two.fits(buckets, 8, 2));
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _either = read(PLACE, bytes.clone());
            let _either = read(PLACE, seal(PLACE, bytes));
        }
    }
}
