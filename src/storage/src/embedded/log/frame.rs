//! The format of a frame: everything that one sync covers, under one CRC (rules L1, L3).
//!
//! ```text
//! magic 4 │ payload length 4 │ generation 8 │ position 8 │ predecessor's CRC 4 │ records 4 │ own CRC 4 │ payload
//! record: shard 2 │ events 4 │ epoch 8 │ seq 8 │ body length 4 │ body
//! ```
//!
//! All numbers are little-endian. The own CRC covers the segment's salt, everything else in the head, and the payload. A frame names its
//! generation and position, so a valid frame after a damaged one is recognised without the frames before it, and a frame of an earlier use of
//! the file, or of another log, is not taken for one.

use super::{u64_of, usize_of};
use crate::journal::{Record, Shard};
use bytes::{Buf, Bytes};

pub(super) const HEAD_BYTES: usize = 36;
const CRC_AT: usize = 32;
const RECORD_HEAD_BYTES: u64 = 26;
const MAGIC: [u8; 4] = *b"DBf1";

/// The only place at which a frame is valid: its segment and position.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameLocation {
    pub(super) salt: u64,
    pub(super) generation: u64,
    pub(super) position: u64,
}

/// The fields of a frame's head, checked as far as its place allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) payload_bytes: u64,
    pub(super) predecessor: u32,
    pub(super) records: u32,
    pub(super) crc: u32,
}

/// The length of the frame for these records, in bytes.
pub(super) fn bytes_of(records: &[Record]) -> u64 {
    let payload: u64 = records.iter().map(|record| RECORD_HEAD_BYTES.saturating_add(u64_of(record.body.len()))).sum();
    payload.saturating_add(u64_of(HEAD_BYTES))
}

/// Builds the frame in `out` and returns its CRC; `None`: a length does not fit its field.
pub(super) fn encode(location: FrameLocation, predecessor: u32, records: &[Record], out: &mut Vec<u8>) -> Option<u32> {
    out.clear();
    let payload_bytes = bytes_of(records).checked_sub(u64_of(HEAD_BYTES))?;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&u32::try_from(payload_bytes).ok()?.to_le_bytes());
    out.extend_from_slice(&location.generation.to_le_bytes());
    out.extend_from_slice(&location.position.to_le_bytes());
    out.extend_from_slice(&predecessor.to_le_bytes());
    out.extend_from_slice(&u32::try_from(records.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for record in records {
        out.extend_from_slice(&record.shard.0.to_le_bytes());
        out.extend_from_slice(&record.events.to_le_bytes());
        out.extend_from_slice(&record.epoch.to_le_bytes());
        out.extend_from_slice(&record.seq.to_le_bytes());
        out.extend_from_slice(&u32::try_from(record.body.len()).ok()?.to_le_bytes());
        out.extend_from_slice(&record.body);
    }
    let crc = crc_of(location, out)?;
    out.get_mut(CRC_AT..HEAD_BYTES)?.copy_from_slice(&crc.to_le_bytes());
    Some(crc)
}

/// Decodes the head; `None`: it cannot belong to this location.
pub(super) fn head(location: FrameLocation, bytes: &[u8]) -> Option<Head> {
    let mut rest = bytes.get(..HEAD_BYTES)?.strip_prefix(&MAGIC)?;
    let payload_bytes = u64::from(rest.try_get_u32_le().ok()?);
    let generation = rest.try_get_u64_le().ok()?;
    let position = rest.try_get_u64_le().ok()?;
    let head = Head {
        payload_bytes,
        predecessor: rest.try_get_u32_le().ok()?,
        records: rest.try_get_u32_le().ok()?,
        crc: rest.try_get_u32_le().ok()?,
    };
    (generation == location.generation && position == location.position).then_some(head)
}

/// Whether the CRC of a whole frame is right for this location.
pub(super) fn holds(location: FrameLocation, head: Head, frame: &[u8]) -> bool {
    crc_of(location, frame) == Some(head.crc)
}

fn crc_of(location: FrameLocation, frame: &[u8]) -> Option<u32> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&location.salt.to_le_bytes());
    crc.update(frame.get(..CRC_AT)?);
    crc.update(frame.get(HEAD_BYTES..)?);
    Some(crc.finalize())
}

/// Whether a whole valid frame begins after the first of these bytes. `location` is that of the first byte.
pub(super) fn valid_one_behind(location: FrameLocation, bytes: &[u8]) -> Option<u64> {
    let mut from = 1;
    while let Some(found) = find_magic(bytes, from) {
        let location = FrameLocation { position: location.position.checked_add(u64_of(found))?, ..location };
        let there = bytes.get(found..)?;
        if let Some(head) = head(location, there)
            && let Some(frame) = there.get(..HEAD_BYTES.checked_add(usize_of(head.payload_bytes))?)
            && holds(location, head, frame)
        {
            return Some(location.position);
        }
        from = found.checked_add(1)?;
    }
    None
}

fn find_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    from.checked_add(found)
}

/// The records of a frame with a valid CRC, as slices of it. `None`: they do not fill it exactly.
pub(super) fn records(head: Head, frame: &Bytes) -> Option<Vec<Record>> {
    let mut rest = frame.clone();
    rest.try_advance(HEAD_BYTES)?;
    let mut records = Vec::new();
    for _ in 0..head.records {
        let shard = Shard(rest.try_get_u16_le().ok()?);
        let events = rest.try_get_u32_le().ok()?;
        let epoch = rest.try_get_u64_le().ok()?;
        let seq = rest.try_get_u64_le().ok()?;
        let body_bytes = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
        if events == 0 || seq == 0 || body_bytes > rest.len() {
            return None;
        }
        records.push(Record { shard, epoch, seq, events, body: rest.split_to(body_bytes) });
    }
    rest.is_empty().then_some(records)
}

trait TryAdvance {
    fn try_advance(&mut self, bytes: usize) -> Option<()>;
}

impl TryAdvance for Bytes {
    fn try_advance(&mut self, bytes: usize) -> Option<()> {
        (bytes <= self.len()).then(|| self.advance(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCATION: FrameLocation = FrameLocation { salt: 7, generation: 3, position: 8192 };

    fn record(seq: u64, body: &'static [u8]) -> Record {
        Record { shard: Shard(5), epoch: 2, seq, events: 2, body: Bytes::from_static(body) }
    }

    #[test]
    fn the_bytes_of_a_frame_never_change() {
        let mut frame = Vec::new();
        encode(LOCATION, 0x0102_0304, &[record(9, b"body")], &mut frame).unwrap();
        let expected: &[u8] = &[
            b'D', b'B', b'f', b'1', 30, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1, 1, 0, 0,
            0,
        ];
        assert_eq!(frame.get(..CRC_AT).unwrap(), expected);
        let payload: &[u8] =
            &[5, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, b'b', b'o', b'd', b'y'];
        assert_eq!(frame.get(HEAD_BYTES..).unwrap(), payload);
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let written = vec![record(1, b"one"), record(3, b""), record(5, b"three")];
        let mut frame = Vec::new();
        encode(LOCATION, 1, &written, &mut frame).unwrap();
        assert_eq!(u64_of(frame.len()), bytes_of(&written));
        let head = head(LOCATION, &frame).unwrap();
        assert!(holds(LOCATION, head, &frame));
        assert_eq!(records(head, &Bytes::from(frame)), Some(written));
    }

    #[test]
    fn a_frame_counts_only_at_its_own_place_in_its_own_generation_and_log() {
        let mut frame = Vec::new();
        encode(LOCATION, 1, &[record(1, b"x")], &mut frame).unwrap();
        assert!(
            head(FrameLocation { generation: 4, ..LOCATION }, &frame).is_none(),
            "L3: another generation does not exist"
        );
        assert!(head(FrameLocation { position: 8193, ..LOCATION }, &frame).is_none());
        let other = FrameLocation { salt: 8, ..LOCATION };
        assert!(!holds(other, head(other, &frame).unwrap(), &frame));
    }

    #[test]
    fn a_valid_frame_is_found_behind_garbage_and_a_copy_of_one_elsewhere_is_not() {
        let mut frame = Vec::new();
        encode(FrameLocation { position: LOCATION.position + 11, ..LOCATION }, 1, &[record(1, b"x")], &mut frame)
            .unwrap();
        let behind = [b"DBf1 DBf1.".as_slice(), b"D", &frame].concat();
        assert_eq!(valid_one_behind(LOCATION, &behind), Some(LOCATION.position + 11));
        let shifted = [b"DBf1 DBf1..".as_slice(), b"D", &frame].concat();
        assert_eq!(valid_one_behind(LOCATION, &shifted), None);
    }
}
