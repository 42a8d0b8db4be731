//! What an entity's actor understands, and the envelope in which a command reaches it.

use super::ask::{Answer, Ask};
use super::asker::Asker;
use super::caller::Caller;
use super::passivated::PassivatedState;
use crate::stats::Stats;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// Where the answer to a command goes.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// To a caller outside, once what it depends on is durable.
    Caller(Caller),
    /// To the entity that owes an effect.
    Entity(Asker),
    /// The answer is dropped.
    Nobody,
}

/// A command on its way to an entity, with the sender.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) ask: Ask,
    pub(crate) reply_to: ReplyTo,
}

impl Envelope {
    /// Rule E4: is it too late to decide this? A caller that still waits is answered [`Answer::Late`]. A command whose caller has
    /// gone is dropped too.
    pub(crate) fn is_over(&mut self, now: Timestamp, stats: &Stats) -> bool {
        let is_late = self.ask.deadline < now;
        let is_gone = matches!(&self.reply_to, ReplyTo::Caller(caller) if caller.is_gone());
        if is_late {
            stats.dropped_late();
        } else if is_gone {
            stats.dropped_gone();
        }
        if is_late && let ReplyTo::Caller(caller) = std::mem::replace(&mut self.reply_to, ReplyTo::Nobody) {
            caller.answer(Answer::Late);
        }
        is_late || is_gone
    }

    /// Answers without a decision. Only a caller hears it: an entity hears that this copy of its effect is gone.
    pub(crate) fn answer(self, answer: Answer) {
        if let ReplyTo::Caller(caller) = self.reply_to {
            caller.answer(answer);
        }
    }
}

/// Commands that wait for their entity.
pub(crate) type Queue = VecDeque<Box<Envelope>>;

/// What an entity's actor understands.
#[derive(Debug)]
pub(crate) enum EntityMsg {
    /// A command, through the shard or a handle.
    Ask(Box<Envelope>),
    /// Host this entity from now on: the one before was passivated.
    Activate(Box<Activation>),
    /// An answer to an effect, straight from another entity of the group, for the instance that asked.
    Answer { instance: u64, key: EffectKey, outcome: Outcome },
    /// An answer to an effect, through the shard.
    AnswerByShard { key: EffectKey, outcome: Outcome },
    /// The copy of an effect that was sent is gone without an answer (rule W2): from the same group, for the instance that asked.
    CopyGone { instance: u64, key: EffectKey },
    /// The same, through the shard.
    CopyGoneByShard { key: EffectKey },
    /// Send overdue effects again; ask to be passivated if idle.
    Tick,
    /// Give the rows that changed to the checkpoint of this number.
    Flush(u64),
    /// The shard is being released: callers that wait here ask its next owner.
    DrainWaiters,
    /// Fault injection: panic if that was armed.
    Panic,
}

impl ractor::Message for EntityMsg {}

/// Where an instance's state comes from.
#[derive(Debug)]
pub(crate) enum Start {
    /// The shard had it in memory.
    Passivated(PassivatedState),
    /// From the stored rows, if any.
    Load,
    /// From the stored rows and every durable event behind them: the instance before this one failed.
    Replay,
}

/// What an actor is to host: one instance of one entity.
#[derive(Debug)]
pub(crate) struct Activation {
    pub(crate) id: EntityId,
    pub(crate) instance: u64,
    pub(crate) start: Start,
    /// Messages sent and not handled; shared with the handle.
    pub(crate) waiting: Arc<AtomicU32>,
    /// The command it is started for; counted as a message of the shard.
    pub(crate) first: Option<Box<Envelope>>,
}
