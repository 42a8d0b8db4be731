//! The bodies of messages, encoded with postcard.
//!
//! The bytes live as long as a message does, so they follow the domain's own types and share one version,
//! [`WIRE_VERSION`](super::message::WIRE_VERSION). The golden bytes in the tests say when to raise it. A state travels as the rows in which it is
//! stored, whose format is fixed by `storage::wire`.

use super::message::DeliveryStatus;
use bytes::Bytes;
use doorbuster_actors::ask::{Accepted, Answer, Ask};
use doorbuster_actors::remote::OneWay;
use doorbuster_domain::any::{Command, Refusal, Reply, State};
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::registry::NodeId;
use doorbuster_storage::wire::{self, Dirty, Meta};
use doorbuster_storage::{Epoch, Seq, Shard};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// A body that is not what its header says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unreadable: {0}")]
pub struct Unreadable(String);

/// How a request ended at the node that got it.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The owner answered.
    Answered(Answer),
    /// No room there: nothing was decided.
    Busy,
    /// The shard is not there: nothing was decided. Perhaps with word of where it is.
    NotOwner(Option<(Epoch, NodeId)>),
    /// The two nodes do not understand each other: nothing was decided.
    BadVersion,
}

#[derive(Serialize)]
struct AskRef<'a> {
    entity: &'a EntityId,
    command: &'a Command,
    by: &'a Principal,
    if_version: Option<u64>,
    wait: Wait,
    reject_if_absent: Option<&'a Refusal>,
}

#[derive(Deserialize)]
struct AskRead {
    entity: EntityId,
    command: Command,
    by: Principal,
    if_version: Option<u64>,
    wait: Wait,
    reject_if_absent: Option<Box<Refusal>>,
}

#[derive(Serialize)]
enum OneWayRef<'a> {
    Ask { ask: AskRef<'a>, reply_to: Option<(&'a EntityId, EffectKey)> },
    Answer { entity: &'a EntityId, key: EffectKey, outcome: &'a Outcome },
    CopyGone { entity: &'a EntityId, key: EffectKey },
}

#[derive(Deserialize)]
enum OneWayRead {
    Ask { ask: Box<AskRead>, reply_to: Option<(EntityId, EffectKey)> },
    Answer { entity: EntityId, key: EffectKey, outcome: Box<Outcome> },
    CopyGone { entity: EntityId, key: EffectKey },
}

type Rows = Vec<(u16, Vec<u8>)>;

#[derive(Serialize, Deserialize)]
enum AnswerForm {
    Accepted {
        reply: Reply,
        rows: Option<Rows>,
        meta: (u64, Timestamp, Timestamp),
        repeated: bool,
        shard: u16,
        seq: Seq,
    },
    Refused(Refusal),
    Stale {
        version: u64,
    },
    Late,
    Busy {
        retry_after_s: u32,
    },
    Quarantined,
    NotServing,
    Panicked,
}

impl<'a> AskRef<'a> {
    fn of(ask: &'a Ask) -> Self {
        let Ask { entity, command, by, if_version, wait, deadline: _, reject_if_absent } = ask;
        Self {
            entity,
            command,
            by,
            if_version: *if_version,
            wait: *wait,
            reject_if_absent: reject_if_absent.as_deref(),
        }
    }
}

impl AskRead {
    fn with(self, deadline: Timestamp) -> Ask {
        let Self { entity, command, by, if_version, wait, reject_if_absent } = self;
        Ask { entity, command, by, if_version, wait, deadline, reject_if_absent }
    }
}

/// The body of a request; its deadline travels in the header.
#[must_use]
pub fn ask_body(ask: &Ask) -> Vec<u8> {
    write(&AskRef::of(ask))
}

/// Decodes the form of [`ask_body`].
///
/// # Errors
/// [`Unreadable`]: the bytes do not decode.
pub fn read_ask(deadline: Timestamp, body: &[u8]) -> Result<Ask, Unreadable> {
    read::<AskRead>(body).map(|ask| ask.with(deadline))
}

/// The body of a one-way message.
#[must_use]
pub fn one_way_body(one_way: &OneWay) -> Vec<u8> {
    write(&match one_way {
        OneWay::Ask { ask, reply_to } => {
            OneWayRef::Ask { ask: AskRef::of(ask), reply_to: reply_to.as_ref().map(|(entity, key)| (entity, *key)) }
        }
        OneWay::Answer { entity, key, outcome } => OneWayRef::Answer { entity, key: *key, outcome },
        OneWay::CopyGone { entity, key } => OneWayRef::CopyGone { entity, key: *key },
    })
}

/// Decodes the form of [`one_way_body`].
///
/// # Errors
/// [`Unreadable`]: the bytes do not decode.
pub fn read_one_way(deadline: Timestamp, body: &[u8]) -> Result<OneWay, Unreadable> {
    Ok(match read::<OneWayRead>(body)? {
        OneWayRead::Ask { ask, reply_to } => OneWay::Ask { ask: Box::new(ask.with(deadline)), reply_to },
        OneWayRead::Answer { entity, key, outcome } => OneWay::Answer { entity, key, outcome },
        OneWayRead::CopyGone { entity, key } => OneWay::CopyGone { entity, key },
    })
}

/// The body of an owner hint; the shard is in the header.
#[must_use]
pub fn owner_hint_body(epoch: Epoch, node: &NodeId) -> Vec<u8> {
    write(&(epoch, node.name.as_str(), node.incarnation))
}

/// Decodes the form of [`owner_hint_body`].
///
/// # Errors
/// [`Unreadable`]: the bytes do not decode.
pub fn read_owner_hint(body: &[u8]) -> Result<(Epoch, NodeId), Unreadable> {
    let (epoch, name, incarnation) = read::<(Epoch, String, u64)>(body)?;
    Ok((epoch, NodeId { name, incarnation }))
}

/// The body of an answer: its status, then the data of that status.
#[must_use]
pub fn verdict_body(verdict: Verdict) -> Vec<u8> {
    let (status, rest) = match verdict {
        Verdict::Answered(answer) => match form_of(answer) {
            Some(form @ AnswerForm::Accepted { .. }) => (DeliveryStatus::Ok, write(&form)),
            Some(form) => (DeliveryStatus::Refused, write(&form)),
            None => (DeliveryStatus::Unknown, Vec::new()),
        },
        Verdict::Busy => (DeliveryStatus::Busy, Vec::new()),
        Verdict::NotOwner(Some((epoch, node))) => (DeliveryStatus::Moved, owner_hint_body(epoch, &node)),
        Verdict::NotOwner(None) => (DeliveryStatus::NotOwner, Vec::new()),
        Verdict::BadVersion => (DeliveryStatus::BadVersion, Vec::new()),
    };
    let mut body = Vec::with_capacity(rest.len().saturating_add(1));
    body.push(status.number());
    body.extend_from_slice(&rest);
    body
}

/// Reads [`verdict_body`]: what `entity` was asked ended so.
///
/// # Errors
/// [`Unreadable`]: the bytes do not decode.
pub fn read_verdict(entity: &EntityId, body: &[u8]) -> Result<Verdict, Unreadable> {
    let unreadable = || Unreadable("no status".to_owned());
    let (first, rest) = body.split_first().ok_or_else(unreadable)?;
    Ok(match DeliveryStatus::from_number(*first).ok_or_else(unreadable)? {
        DeliveryStatus::Ok | DeliveryStatus::Refused => Verdict::Answered(answer_of(entity, read(rest)?)?),
        DeliveryStatus::Unknown => Verdict::Answered(Answer::Unknown),
        DeliveryStatus::Busy => Verdict::Busy,
        DeliveryStatus::Moved => Verdict::NotOwner(Some(read_owner_hint(rest)?)),
        DeliveryStatus::NotOwner => Verdict::NotOwner(None),
        DeliveryStatus::BadVersion => Verdict::BadVersion,
    })
}

/// `None`: [`Answer::Unknown`], whose status says everything.
fn form_of(answer: Answer) -> Option<AnswerForm> {
    Some(match answer {
        Answer::Accepted(accepted) => {
            let Accepted { reply, state, meta, repeated, shard, seq } = *accepted;
            AnswerForm::Accepted {
                reply,
                rows: state.and_then(|state| rows_of(&state, &meta)),
                meta: (meta.version, meta.created_at, meta.updated_at),
                repeated,
                shard: shard.0,
                seq,
            }
        }
        Answer::Refused(refusal) => AnswerForm::Refused(refusal),
        Answer::Stale { version } => AnswerForm::Stale { version },
        Answer::Unknown => return None,
        Answer::Late => AnswerForm::Late,
        Answer::Busy { retry_after_s } => AnswerForm::Busy { retry_after_s },
        Answer::Quarantined => AnswerForm::Quarantined,
        Answer::NotServing => AnswerForm::NotServing,
        Answer::Panicked => AnswerForm::Panicked,
    })
}

fn answer_of(entity: &EntityId, form: AnswerForm) -> Result<Answer, Unreadable> {
    Ok(match form {
        AnswerForm::Accepted { reply, rows, meta, repeated, shard, seq } => {
            let (version, created_at, updated_at) = meta;
            Answer::Accepted(Box::new(Accepted {
                reply,
                state: rows.map(|rows| state_of(entity, rows)).transpose()?,
                meta: Meta { version, created_at, updated_at },
                repeated,
                shard: Shard(shard),
                seq,
            }))
        }
        AnswerForm::Refused(refusal) => Answer::Refused(refusal),
        AnswerForm::Stale { version } => Answer::Stale { version },
        AnswerForm::Late => Answer::Late,
        AnswerForm::Busy { retry_after_s } => Answer::Busy { retry_after_s },
        AnswerForm::Quarantined => Answer::Quarantined,
        AnswerForm::NotServing => Answer::NotServing,
        AnswerForm::Panicked => Answer::Panicked,
    })
}

/// The state of an inventory never travels: it may be large, and its replies say what there is to say.
fn rows_of(state: &State, meta: &Meta) -> Option<Rows> {
    if matches!(state, State::Inventory(_)) {
        return None;
    }
    let mut dirty = Dirty::default();
    dirty.mark(wire::HEAD);
    Some(wire::rows_of(state, meta, &dirty).into_iter().map(|(chunk, body)| (chunk, body.to_vec())).collect())
}

fn state_of(entity: &EntityId, rows: Rows) -> Result<Arc<State>, Unreadable> {
    let rows: Vec<(u16, Bytes)> = rows.into_iter().map(|(chunk, body)| (chunk, Bytes::from(body))).collect();
    let (state, _) = wire::state_of(entity, &rows).map_err(|error| Unreadable(error.to_string()))?;
    Ok(Arc::new(state))
}

fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Postcard refuses only sequences of unknown length, which no body has.
    postcard::to_stdvec(value).expect("bodies have only sequences of known length")
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    match postcard::take_from_bytes::<T>(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Unreadable(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(Unreadable(error.to_string())),
    }
}
