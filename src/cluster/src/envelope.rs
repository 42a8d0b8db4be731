//! The envelope of everything that one node sends to another: a header of fixed form, then a body.
//!
//! ```text
//! frame    = form u8 │ sender: length u8, text │ parcel, parcel, …        parcel = length u32 │ envelope
//! envelope = version u8 │ kind u8 │ id u64 │ shard u16 │ deadline u64 │ command u64 │ body          (little-endian)
//! receipt  = form u8 │ (id u64 │ status u8), …                            what was not taken, at once
//! ```
//!
//! The form of frames, receipts and of the header up to `id` never changes, so that nodes of different versions can tell each other so. What
//! cannot be read is an error, never a panic.

use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Shard;
use thiserror::Error;

/// The version of headers and bodies.
///
/// Raise it whenever a golden-bytes test of this folder changes: nodes of another version answer
/// [`Status::BadVersion`], and what they were asked is asked again elsewhere or later.
pub const WIRE_VERSION: u8 = 1;
/// The form of frames and receipts; fixed for ever.
const FORM: u8 = 1;
/// The longest body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The longest name of a sender.
pub const SENDER_BYTES_MAX: usize = 255;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 28;
/// The longest frame that is read: what several parcels may gather to, and one parcel more.
pub const FRAME_BYTES_MAX: usize = 6 * 1024 * 1024;
/// The most that a sender may gather in a frame before it sends it.
pub const GATHERED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most parcels of one frame.
pub const PARCELS_MAX: usize = 4_096;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// They end too early, go on too long, or say what cannot be.
    #[error("not an envelope of ours")]
    Damaged,
    /// A body, a frame or a name is longer than it may be.
    #[error("too long")]
    TooLong,
    /// Written by another version.
    #[error("of version {0}, ours is {WIRE_VERSION}")]
    Version(u8),
}

/// What an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A question; it is answered by an envelope of the same id, or by the receipt.
    Ask,
    /// The answer.
    Answer,
    /// Said, not asked.
    Tell,
    /// Who owns a shard.
    Owns,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Accepted; the answer follows.
    Ok,
    /// A "no" of whoever owns the shard; the answer follows.
    Refused,
    /// It may have been decided.
    Unknown,
    /// No room: it was not taken in.
    Busy,
    /// The shard is elsewhere; where follows.
    Moved,
    /// The shard is not here.
    NotOwner,
    /// Another version's envelope, or none at all: it was not taken in.
    BadVersion,
}

impl Kind {
    const ALL: [(Self, u8); 4] = [(Self::Ask, 0), (Self::Answer, 1), (Self::Tell, 2), (Self::Owns, 3)];
}

impl Status {
    const ALL: [(Self, u8); 7] = [
        (Self::Ok, 0),
        (Self::Refused, 1),
        (Self::Unknown, 2),
        (Self::Busy, 3),
        (Self::Moved, 4),
        (Self::NotOwner, 5),
        (Self::BadVersion, 6),
    ];

    /// As it is sent.
    #[must_use]
    pub fn number(self) -> u8 {
        Self::ALL.iter().find(|(status, _)| *status == self).map_or(u8::MAX, |(_, number)| *number)
    }

    /// As it was sent.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == number).map(|(status, _)| *status)
    }
}

/// What stands before the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// The sender's number of the question; 0: nothing is answered to it.
    pub id: u64,
    /// Of which shard it speaks.
    pub shard: Shard,
    /// Whatever is asked here is dropped after this (rule E4): absolute, so that a frame that lay in a stopped process is not fresh again.
    pub deadline: Timestamp,
    /// Names the command in the logs of both nodes: the same for the same command however often it is sent.
    pub command: u64,
}

/// An envelope as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Its header.
    pub header: Header,
    /// Its body, not looked into.
    pub body: &'a [u8],
}

/// Writes an envelope.
///
/// # Errors
/// [`EnvelopeError::TooLong`]: the body is longer than [`BODY_BYTES_MAX`].
pub fn write(header: &Header, body: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(EnvelopeError::TooLong);
    }
    let kind = Kind::ALL.iter().find(|(kind, _)| *kind == header.kind).map_or(u8::MAX, |(_, number)| *number);
    let mut out = Vec::with_capacity(HEADER_BYTES.saturating_add(body.len()));
    out.extend_from_slice(&[WIRE_VERSION, kind]);
    out.extend_from_slice(&header.id.to_le_bytes());
    out.extend_from_slice(&header.shard.0.to_le_bytes());
    out.extend_from_slice(&header.deadline.0.to_le_bytes());
    out.extend_from_slice(&header.command.to_le_bytes());
    out.extend_from_slice(body);
    Ok(out)
}

/// Reads an envelope. The id comes even with an error, where there is one: the sender must be answered.
///
/// # Errors
/// [`EnvelopeError`] says what is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Envelope<'_>, (u64, EnvelopeError)> {
    let mut reader = Reader(bytes);
    let begin = (reader.u8(), reader.u8(), reader.u64());
    let (Some(version), Some(kind), Some(id)) = begin else { return Err((0, EnvelopeError::Damaged)) };
    if version != WIRE_VERSION {
        return Err((id, EnvelopeError::Version(version)));
    }
    let damaged = (id, EnvelopeError::Damaged);
    let kind = Kind::ALL.iter().find(|(_, number)| *number == kind).map(|(kind, _)| *kind).ok_or(damaged)?;
    let shard = Shard(reader.u16().ok_or(damaged)?);
    let deadline = Timestamp(reader.u64().ok_or(damaged)?);
    let command = reader.u64().ok_or(damaged)?;
    if reader.0.len() > BODY_BYTES_MAX {
        return Err((id, EnvelopeError::TooLong));
    }
    Ok(Envelope { header: Header { kind, id, shard, deadline, command }, body: reader.0 })
}

/// Gathers parcels to one frame.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    parcels: usize,
}

impl Frame {
    /// An empty one. A sender's name is shorter than [`SENDER_BYTES_MAX`] by its configuration; a longer one is cut, and its frames are refused.
    #[must_use]
    pub fn from(sender: &str) -> Self {
        let name = sender.as_bytes().get(..SENDER_BYTES_MAX).unwrap_or(sender.as_bytes());
        let mut bytes = vec![FORM, u8::try_from(name.len()).unwrap_or(u8::MAX)];
        bytes.extend_from_slice(name);
        Self { bytes, parcels: 0 }
    }

    /// Puts an envelope in.
    pub fn put(&mut self, envelope: &[u8]) {
        self.bytes.extend_from_slice(&u32::try_from(envelope.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(envelope);
        self.parcels = self.parcels.saturating_add(1);
    }

    /// How many are in it.
    #[must_use]
    pub const fn parcels(&self) -> usize {
        self.parcels
    }

    /// How long it is.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// As it is sent.
    #[must_use]
    pub fn done(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a frame: who sent it, and its envelopes, not looked into.
///
/// # Errors
/// [`EnvelopeError`] says what is wrong with it.
pub fn read_frame(bytes: &[u8]) -> Result<(&str, Vec<&[u8]>), EnvelopeError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(EnvelopeError::TooLong);
    }
    let mut reader = Reader(bytes);
    if reader.u8() != Some(FORM) {
        return Err(EnvelopeError::Damaged);
    }
    let length = reader.u8().map(usize::from).ok_or(EnvelopeError::Damaged)?;
    let sender = reader.take(length).and_then(|name| std::str::from_utf8(name).ok()).ok_or(EnvelopeError::Damaged)?;
    let mut parcels = Vec::new();
    while !reader.0.is_empty() {
        let length = reader.u32().and_then(|length| usize::try_from(length).ok()).ok_or(EnvelopeError::Damaged)?;
        parcels.push(reader.take(length).ok_or(EnvelopeError::Damaged)?);
        if parcels.len() > PARCELS_MAX {
            return Err(EnvelopeError::TooLong);
        }
    }
    Ok((sender, parcels))
}

/// Writes a receipt: what of a frame was not taken, by id.
#[must_use]
pub fn write_receipt(refused: &[(u64, Status)]) -> Vec<u8> {
    let mut out = vec![FORM];
    for (id, status) in refused {
        out.extend_from_slice(&id.to_le_bytes());
        out.push(status.number());
    }
    out
}

/// Reads a receipt. An id stands there once per refused question; 0: nothing of the frame could be read.
///
/// # Errors
/// [`EnvelopeError`] says what is wrong with it.
pub fn read_receipt(bytes: &[u8]) -> Result<Vec<(u64, Status)>, EnvelopeError> {
    let mut reader = Reader(bytes);
    if reader.u8() != Some(FORM) {
        return Err(EnvelopeError::Damaged);
    }
    let mut refused = Vec::new();
    while !reader.0.is_empty() {
        let pair = reader.u64().zip(reader.u8().and_then(Status::of)).ok_or(EnvelopeError::Damaged)?;
        refused.push(pair);
        if refused.len() > PARCELS_MAX {
            return Err(EnvelopeError::TooLong);
        }
    }
    Ok(refused)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: Header =
        Header { kind: Kind::Ask, id: 0x0102, shard: Shard(7), deadline: Timestamp(0x0304), command: 0x0506 };

    /// Raise `WIRE_VERSION` when this changes.
    #[test]
    fn an_envelope_is_these_bytes() {
        let golden = [1, 0, 2, 1, 0, 0, 0, 0, 0, 0, 7, 0, 4, 3, 0, 0, 0, 0, 0, 0, 6, 5, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(write(&HEADER, &[9]).unwrap(), golden);
        assert_eq!(golden.len(), HEADER_BYTES + 1);
    }

    /// These never change: nodes of two versions understand each other's frames and receipts.
    #[test]
    fn frames_and_receipts_are_these_bytes() {
        let mut frame = Frame::from("n1.2");
        frame.put(&[8, 9]);
        assert_eq!(frame.done(), [1, 4, b'n', b'1', b'.', b'2', 2, 0, 0, 0, 8, 9]);
        assert_eq!(
            write_receipt(&[(3, Status::Busy), (4, Status::BadVersion)]),
            [1, 3, 0, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 6]
        );
    }

    #[test]
    fn an_envelope_of_another_version_is_named_with_its_id_so_that_its_sender_is_answered() {
        let mut bytes = write(&HEADER, b"body").unwrap();
        bytes[0] = 77;
        assert_eq!(read(&bytes), Err((0x0102, EnvelopeError::Version(77))));
    }

    #[test]
    fn a_body_above_the_bound_is_neither_written_nor_read() {
        let body = vec![0; BODY_BYTES_MAX + 1];
        assert_eq!(write(&HEADER, &body), Err(EnvelopeError::TooLong));
        let mut bytes = write(&HEADER, &body[1..]).unwrap();
        assert!(read(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(read(&bytes), Err((0x0102, EnvelopeError::TooLong)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(kind in 0..4_usize, id: u64, shard: u16, deadline: u64, command: u64, body: Vec<u8>) {
            let header = Header { kind: Kind::ALL[kind].0, id, shard: Shard(shard), deadline: Timestamp(deadline), command };
            let bytes = write(&header, &body).unwrap();
            prop_assert_eq!(read(&bytes), Ok(Envelope { header, body: &body }));
        }

        #[test]
        fn a_frame_gives_back_what_was_put_in(parcels: Vec<Vec<u8>>) {
            let mut frame = Frame::from("node.1");
            parcels.iter().for_each(|parcel| frame.put(parcel));
            let bytes = frame.done();
            let (sender, read) = read_frame(&bytes).unwrap();
            prop_assert_eq!(sender, "node.1");
            prop_assert_eq!(read, parcels);
        }

        #[test]
        fn a_receipt_gives_back_what_was_refused(refused in prop::collection::vec((any::<u64>(), 0..7_u8), 0..9)) {
            let refused: Vec<(u64, Status)> = refused.into_iter().map(|(id, at)| (id, Status::of(at).unwrap())).collect();
            prop_assert_eq!(read_receipt(&write_receipt(&refused)), Ok(refused));
        }

        #[test]
        fn random_bytes_are_read_or_refused(bytes: Vec<u8>, version in prop::bool::ANY) {
            let mut bytes = bytes;
            if let (true, Some(first)) = (version, bytes.first_mut()) {
                *first = WIRE_VERSION;
            }
            let _either = (read(&bytes).is_ok(), read_frame(&bytes).is_ok(), read_receipt(&bytes).is_ok());
        }
    }
}
