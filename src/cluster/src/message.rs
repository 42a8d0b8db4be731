//! The format of everything that one node sends to another: a message is a fixed header and a body; messages share frames.
//!
//! ```text
//! frame    = form u8 │ sender: length u8, text │ (length u32 │ message), …
//! message  = version u8 │ kind u8 │ id u64 │ shard u16 │ deadline u64 │ command u64 │ body          (little-endian)
//! receipt  = form u8 │ (id u64 │ status u8), …                            what was rejected, at once
//! ```
//!
//! The format of frames, of receipts and of the header up to `id` never changes, so nodes of different versions can report the mismatch to each
//! other. Bytes that cannot be decoded are an error, never a panic.

use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Shard;
use thiserror::Error;

/// The version of headers and bodies.
///
/// Raise it whenever a golden-bytes test of this folder changes. Nodes of another version answer [`DeliveryStatus::BadVersion`], and the sender
/// repeats the request, to another node or later.
pub const WIRE_VERSION: u8 = 6;
/// The version of frames and receipts; fixed for ever.
const FORM: u8 = 1;
/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The longest sender name, in bytes.
pub const SENDER_BYTES_MAX: usize = 255;
/// The length of the header, in bytes.
pub const HEADER_BYTES: usize = 28;
/// The longest frame that is read, in bytes: [`GATHERED_BYTES_MAX`] and one more message.
pub const FRAME_BYTES_MAX: usize = 6 * 1024 * 1024;
/// The most bytes that a sender may gather before it sends the frame.
pub const GATHERED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most messages in one frame.
pub const MESSAGES_PER_FRAME_MAX: usize = 4_096;

/// Why bytes cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageError {
    /// They end too early, have bytes left over, or hold an invalid value.
    #[error("not a valid message")]
    Damaged,
    /// A body, a frame or a name exceeds its limit.
    #[error("too long")]
    TooLong,
    /// Written by another protocol version, which is the value.
    #[error("written by version {0}, this node has version {WIRE_VERSION}")]
    Version(u8),
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// A request; the answer or the receipt refers to its id.
    Request,
    /// The answer to a request.
    Answer,
    /// A one-way message: no answer follows.
    OneWay,
    /// A hint about the owner of a shard.
    OwnerHint,
}

/// The result of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Accepted; the answer follows.
    Ok,
    /// The owner refused the command; the refusal follows.
    Refused,
    /// It is unknown whether the command was decided.
    Unknown,
    /// A limit was reached; nothing was decided.
    Busy,
    /// Another node owns the shard; a hint follows.
    Moved,
    /// This node does not own the shard.
    NotOwner,
    /// The message is of another version or cannot be decoded; nothing was decided.
    BadVersion,
}

impl MessageKind {
    const ALL: [(Self, u8); 4] = [(Self::Request, 0), (Self::Answer, 1), (Self::OneWay, 2), (Self::OwnerHint, 3)];
}

impl DeliveryStatus {
    const ALL: [(Self, u8); 7] = [
        (Self::Ok, 0),
        (Self::Refused, 1),
        (Self::Unknown, 2),
        (Self::Busy, 3),
        (Self::Moved, 4),
        (Self::NotOwner, 5),
        (Self::BadVersion, 6),
    ];

    /// The number that stands for it in a message.
    #[must_use]
    pub fn number(self) -> u8 {
        Self::ALL.iter().find(|(status, _)| *status == self).map_or(u8::MAX, |(_, number)| *number)
    }

    /// The status that a number stands for; `None`: no such status.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == number).map(|(status, _)| *status)
    }
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The kind of the message.
    pub kind: MessageKind,
    /// The sender's request id; 0: no answer follows.
    pub id: u64,
    /// The shard that the message concerns.
    pub shard: Shard,
    /// The absolute deadline after which a receiver drops the message (rule E4), so a frame delayed in a stopped process is not taken as fresh.
    pub deadline: Timestamp,
    /// A hash that names the command in the logs of both nodes; equal for every repetition of the command.
    pub command: u64,
}

/// A message with its body still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The decoded header.
    pub header: Header,
    /// The encoded body.
    pub body: &'a [u8],
}

/// Encodes a message.
///
/// # Errors
/// [`MessageError::TooLong`]: the body is longer than [`BODY_BYTES_MAX`].
pub fn write(header: &Header, body: &[u8]) -> Result<Vec<u8>, MessageError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(MessageError::TooLong);
    }
    let kind = MessageKind::ALL.iter().find(|(kind, _)| *kind == header.kind).map_or(u8::MAX, |(_, number)| *number);
    let mut out = Vec::with_capacity(HEADER_BYTES.saturating_add(body.len()));
    out.extend_from_slice(&[WIRE_VERSION, kind]);
    out.extend_from_slice(&header.id.to_le_bytes());
    out.extend_from_slice(&header.shard.0.to_le_bytes());
    out.extend_from_slice(&header.deadline.0.to_le_bytes());
    out.extend_from_slice(&header.command.to_le_bytes());
    out.extend_from_slice(body);
    Ok(out)
}

/// Decodes a message. The error carries the id where it could be read, so that the sender can be answered; else 0.
///
/// # Errors
/// [`MessageError`], with the request id.
pub fn read(bytes: &[u8]) -> Result<Message<'_>, (u64, MessageError)> {
    let mut reader = Reader(bytes);
    let begin = (reader.u8(), reader.u8(), reader.u64());
    let (Some(version), Some(kind), Some(id)) = begin else { return Err((0, MessageError::Damaged)) };
    if version != WIRE_VERSION {
        return Err((id, MessageError::Version(version)));
    }
    let damaged = (id, MessageError::Damaged);
    let kind = MessageKind::ALL.iter().find(|(_, number)| *number == kind).map(|(kind, _)| *kind).ok_or(damaged)?;
    let shard = Shard(reader.u16().ok_or(damaged)?);
    let deadline = Timestamp(reader.u64().ok_or(damaged)?);
    let command = reader.u64().ok_or(damaged)?;
    if reader.0.len() > BODY_BYTES_MAX {
        return Err((id, MessageError::TooLong));
    }
    Ok(Message { header: Header { kind, id, shard, deadline, command }, body: reader.0 })
}

/// A frame that is being filled.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    messages: usize,
}

impl Frame {
    /// An empty frame. The configuration keeps a sender's name within [`SENDER_BYTES_MAX`]; a longer one is cut, and its frames are refused.
    #[must_use]
    pub fn from(sender: &str) -> Self {
        let name = sender.as_bytes().get(..SENDER_BYTES_MAX).unwrap_or(sender.as_bytes());
        let mut bytes = vec![FORM, u8::try_from(name.len()).unwrap_or(u8::MAX)];
        bytes.extend_from_slice(name);
        Self { bytes, messages: 0 }
    }

    /// Appends an encoded message.
    pub fn put(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(message);
        self.messages = self.messages.saturating_add(1);
    }

    /// The number of messages in it.
    #[must_use]
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The encoded frame.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Decodes a frame: the sender's name and the messages, still encoded.
///
/// # Errors
/// [`MessageError`]: the frame is damaged or exceeds a limit.
pub fn read_frame(bytes: &[u8]) -> Result<(&str, Vec<&[u8]>), MessageError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(MessageError::TooLong);
    }
    let mut reader = Reader(bytes);
    if reader.u8() != Some(FORM) {
        return Err(MessageError::Damaged);
    }
    let length = reader.u8().map(usize::from).ok_or(MessageError::Damaged)?;
    let sender = reader.take(length).and_then(|name| std::str::from_utf8(name).ok()).ok_or(MessageError::Damaged)?;
    let mut messages = Vec::new();
    while !reader.0.is_empty() {
        let length = reader.u32().and_then(|length| usize::try_from(length).ok()).ok_or(MessageError::Damaged)?;
        messages.push(reader.take(length).ok_or(MessageError::Damaged)?);
        if messages.len() > MESSAGES_PER_FRAME_MAX {
            return Err(MessageError::TooLong);
        }
    }
    Ok((sender, messages))
}

/// Encodes a receipt: the ids of the rejected requests, with the reason.
#[must_use]
pub fn write_receipt(refused: &[(u64, DeliveryStatus)]) -> Vec<u8> {
    let mut out = vec![FORM];
    for (id, status) in refused {
        out.extend_from_slice(&id.to_le_bytes());
        out.push(status.number());
    }
    out
}

/// Decodes a receipt. Each rejected request appears once; id 0: nothing of the frame could be decoded.
///
/// # Errors
/// [`MessageError`]: the receipt is damaged or too long.
pub fn read_receipt(bytes: &[u8]) -> Result<Vec<(u64, DeliveryStatus)>, MessageError> {
    let mut reader = Reader(bytes);
    if reader.u8() != Some(FORM) {
        return Err(MessageError::Damaged);
    }
    let mut refused = Vec::new();
    while !reader.0.is_empty() {
        let pair = reader.u64().zip(reader.u8().and_then(DeliveryStatus::from_number)).ok_or(MessageError::Damaged)?;
        refused.push(pair);
        if refused.len() > MESSAGES_PER_FRAME_MAX {
            return Err(MessageError::TooLong);
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

    const HEADER: Header = Header {
        kind: MessageKind::Request,
        id: 0x0102,
        shard: Shard(7),
        deadline: Timestamp(0x0304),
        command: 0x0506,
    };

    /// Raise `WIRE_VERSION` when this changes.
    #[test]
    fn an_envelope_is_these_bytes() {
        let golden = [6, 0, 2, 1, 0, 0, 0, 0, 0, 0, 7, 0, 4, 3, 0, 0, 0, 0, 0, 0, 6, 5, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(write(&HEADER, &[9]).unwrap(), golden);
        assert_eq!(golden.len(), HEADER_BYTES + 1);
    }

    /// These never change: nodes of two versions understand each other's frames and receipts.
    #[test]
    fn frames_and_receipts_are_these_bytes() {
        let mut frame = Frame::from("n1.2");
        frame.put(&[8, 9]);
        assert_eq!(frame.into_bytes(), [1, 4, b'n', b'1', b'.', b'2', 2, 0, 0, 0, 8, 9]);
        assert_eq!(
            write_receipt(&[(3, DeliveryStatus::Busy), (4, DeliveryStatus::BadVersion)]),
            [1, 3, 0, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 6]
        );
    }

    #[test]
    fn an_envelope_of_another_version_is_named_with_its_id_so_that_its_sender_is_answered() {
        let mut bytes = write(&HEADER, b"body").unwrap();
        bytes[0] = 77;
        assert_eq!(read(&bytes), Err((0x0102, MessageError::Version(77))));
    }

    #[test]
    fn a_body_above_the_bound_is_neither_written_nor_read() {
        let body = vec![0; BODY_BYTES_MAX + 1];
        assert_eq!(write(&HEADER, &body), Err(MessageError::TooLong));
        let mut bytes = write(&HEADER, &body[1..]).unwrap();
        assert!(read(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(read(&bytes), Err((0x0102, MessageError::TooLong)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(kind in 0..4_usize, id: u64, shard: u16, deadline: u64, command: u64, body: Vec<u8>) {
            let header = Header { kind: MessageKind::ALL[kind].0, id, shard: Shard(shard), deadline: Timestamp(deadline), command };
            let bytes = write(&header, &body).unwrap();
            prop_assert_eq!(read(&bytes), Ok(Message { header, body: &body }));
        }

        #[test]
        fn a_frame_gives_back_what_was_put_in(messages: Vec<Vec<u8>>) {
            let mut frame = Frame::from("node.1");
            messages.iter().for_each(|message| frame.put(message));
            let bytes = frame.into_bytes();
            let (sender, read) = read_frame(&bytes).unwrap();
            prop_assert_eq!(sender, "node.1");
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn a_receipt_gives_back_what_was_refused(refused in prop::collection::vec((any::<u64>(), 0..7_u8), 0..9)) {
            let refused: Vec<(u64, DeliveryStatus)> = refused.into_iter().map(|(id, at)| (id, DeliveryStatus::from_number(at).unwrap())).collect();
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
