//! The format of a segment: a header with the state of the log before it (rule L7), then frames, then zeros.
//!
//! ```text
//! magic 8 │ length 4 │ shards 4 │ generation 8 │ salt 8 │ base 8 │ segment's bytes 8 │ predecessor's end 8 │ its last CRC 4
//! shard: number 2 │ last seq 8 │ last epoch 8          … │ CRC 4 │ zeros up to a multiple of 4096
//! ```
//!
//! A segment gets its name by a rename after its header is synced, so a crash cannot leave a damaged header.

use super::frame::FrameLocation;
use super::{Tail, u64_of};
use crate::journal::Shard;
use bytes::Buf;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"DBsegm01";
const FIXED_BYTES: u64 = 60;
const SHARD_BYTES: u64 = 18;
const CRC_BYTES: u64 = 4;
/// The unit in which headers are padded and read, in bytes.
pub(super) const ALIGN_BYTES: u64 = 4096;

/// One segment, as its header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its number among all segments ever; the first is 1.
    pub(super) generation: u64,
    /// The seed of its frames' CRCs.
    pub(super) salt: u64,
    /// The log position of its first byte.
    pub(super) base: u64,
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// The position at which the frames of the segment before it end; 0 for the first.
    pub(super) predecessor_end: u64,
    /// The CRC of the last frame before this segment; 0: there is none.
    pub(super) predecessor: u32,
    /// Every shard's last event before this segment.
    pub(super) before: BTreeMap<Shard, Tail>,
}

impl Segment {
    /// The offset of its first frame in the file.
    pub(super) fn data_start(&self) -> u64 {
        header_bytes(self.before.len())
    }

    /// The log position of an offset in its file.
    pub(super) fn location(&self, offset: u64) -> FrameLocation {
        FrameLocation { salt: self.salt, generation: self.generation, position: self.base.saturating_add(offset) }
    }

    /// The encoded header, padded.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let length = raw_bytes(self.before.len());
        let mut out = Vec::with_capacity(super::usize_of(self.data_start()));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.before.len()).ok()?.to_le_bytes());
        for number in [self.generation, self.salt, self.base, self.bytes, self.predecessor_end] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.predecessor.to_le_bytes());
        for (shard, tail) in &self.before {
            out.extend_from_slice(&shard.0.to_le_bytes());
            out.extend_from_slice(&tail.seq.to_le_bytes());
            out.extend_from_slice(&tail.epoch.to_le_bytes());
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.resize(super::usize_of(self.data_start()), 0);
        Some(out)
    }

    /// The number of bytes that [`Segment::decode`] needs, read from the first [`ALIGN_BYTES`].
    pub(super) fn header_bytes_of(start: &[u8]) -> Option<u64> {
        let mut rest = start.strip_prefix(&MAGIC)?;
        let _length = rest.try_get_u32_le().ok()?;
        let shards = rest.try_get_u32_le().ok()?;
        (shards <= u32::from(u16::MAX) + 1).then(|| header_bytes(usize::try_from(shards).unwrap_or(usize::MAX)))
    }

    /// Decodes a whole header; `None`: a byte of it, padding included, differs from what was written.
    pub(super) fn decode(header: &[u8]) -> Option<Self> {
        let mut rest = header.strip_prefix(&MAGIC)?;
        let length = u64::from(rest.try_get_u32_le().ok()?);
        let shards = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
        if length != raw_bytes(shards) || header_bytes(shards) != u64_of(header.len()) {
            return None;
        }
        let (written, padded) = header.split_at_checked(super::usize_of(length))?;
        let (content, crc) = written.split_last_chunk::<4>()?;
        if crc32fast::hash(content).to_le_bytes() != *crc || padded.iter().any(|byte| *byte != 0) {
            return None;
        }
        let mut segment = Self {
            generation: rest.try_get_u64_le().ok()?,
            salt: rest.try_get_u64_le().ok()?,
            base: rest.try_get_u64_le().ok()?,
            bytes: rest.try_get_u64_le().ok()?,
            predecessor_end: rest.try_get_u64_le().ok()?,
            predecessor: rest.try_get_u32_le().ok()?,
            before: BTreeMap::new(),
        };
        for _ in 0..shards {
            let shard = Shard(rest.try_get_u16_le().ok()?);
            let tail = Tail { seq: rest.try_get_u64_le().ok()?, epoch: rest.try_get_u64_le().ok()? };
            segment.before.insert(shard, tail);
        }
        Some(segment)
    }
}

fn raw_bytes(shards: usize) -> u64 {
    u64_of(shards).saturating_mul(SHARD_BYTES).saturating_add(FIXED_BYTES + CRC_BYTES)
}

/// The length of a header with this number of shards.
pub(super) fn header_bytes(shards: usize) -> u64 {
    raw_bytes(shards).next_multiple_of(ALIGN_BYTES)
}

/// The kind of a file, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// A segment that recovery needs.
    Live(u64),
    /// A segment that is only kept for its retention time.
    Kept(u64),
    /// A segment that is being prepared or is ready.
    Spare(u64),
}

impl Name {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (kind, number) = name.split_once('-')?;
        let number = number.parse().ok()?;
        let parsed = match kind {
            "segment" => Self::Live(number),
            "kept" => Self::Kept(number),
            "spare" => Self::Spare(number),
            _ => return None,
        };
        (parsed.text() == name).then_some(parsed)
    }

    fn text(self) -> String {
        match self {
            Self::Live(number) => format!("segment-{number:012}"),
            Self::Kept(number) => format!("kept-{number:012}"),
            Self::Spare(number) => format!("spare-{number:012}"),
        }
    }

    pub(super) fn path(self, folder: &Path) -> PathBuf {
        folder.join(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(shards: u16) -> Segment {
        let tail = |shard: u16| Tail { seq: u64::from(shard) * 10, epoch: 3 };
        Segment {
            generation: 2,
            salt: 99,
            base: 65536,
            bytes: 65536,
            predecessor_end: 65000,
            predecessor: 0xdead_beef,
            before: (0..shards).map(|shard| (Shard(shard), tail(shard))).collect(),
        }
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        for shards in [0, 1, 64, 300] {
            let header = segment(shards).encode().unwrap();
            assert_eq!(Segment::header_bytes_of(header.get(..4096).unwrap()), Some(u64_of(header.len())));
            assert_eq!(Segment::decode(&header), Some(segment(shards)));
        }
    }

    #[test]
    fn no_byte_of_a_header_can_change_unseen() {
        let header = segment(64).encode().unwrap();
        for at in 0..header.len() {
            let mut flipped = header.clone();
            flipped[at] ^= 0x10;
            assert_eq!(Segment::decode(&flipped), None, "byte {at}");
        }
    }

    #[test]
    fn names_of_other_files_are_not_segments() {
        assert_eq!(Name::parse("segment-000000000007"), Some(Name::Live(7)));
        for other in ["segment-7", "seal", "torn-1", "segment-", "lock", "segment-+00000000007"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
