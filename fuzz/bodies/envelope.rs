//! What one node sends to another: frames, messages, receipts, and the bodies in them.
//!
//! The first byte says which of them the rest is taken for.

use super::record::entity;
use doorbuster_cluster::message::{self, Frame};
use doorbuster_cluster::wire;
use doorbuster_domain::time::Timestamp;

/// Any bytes are read or refused; what is read is written again as the same.
pub fn check(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let deadline = Timestamp(1);
    match first % 8 {
        0 => {
            if let Ok((sender, messages)) = message::read_frame(bytes) {
                let mut frame = Frame::from(sender);
                messages.iter().for_each(|message| frame.put(message));
                assert_eq!(frame.into_bytes(), bytes);
                messages.iter().for_each(|message| a_message(message));
            }
        }
        1 => a_message(bytes),
        2 => {
            if let Ok(refused) = message::read_receipt(bytes) {
                assert_eq!(message::write_receipt(&refused), bytes);
            }
        }
        3 => again(bytes, |body| wire::read_ask(deadline, body).ok().map(|ask| wire::ask_body(&ask))),
        4 => again(bytes, |body| wire::read_one_way(deadline, body).ok().map(|told| wire::one_way_body(&told))),
        5 => again(bytes, |body| {
            wire::read_owner_hint(body).ok().map(|(epoch, node)| wire::owner_hint_body(epoch, &node))
        }),
        _ => {
            let Some((kind, body)) = bytes.split_first() else { return };
            let entity = entity(*kind);
            again(body, |body| wire::read_verdict(&entity, body).ok().map(wire::verdict_body));
        }
    }
}

fn a_message(bytes: &[u8]) {
    if let Ok(read) = message::read(bytes) {
        assert_eq!(message::write(&read.header, read.body).as_deref(), Ok(bytes));
    }
}

/// Numbers may be written in more than one length, so the bytes may differ once; what we write ourselves is read back as it was.
fn again(body: &[u8], rewritten: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    if let Some(written) = rewritten(body) {
        let once_more = rewritten(&written).expect("what we write can be read");
        assert_eq!(once_more, written);
    }
}
