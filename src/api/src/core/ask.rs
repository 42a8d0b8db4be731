//! Asking an entity: one builder, one method that sends, one type of error.
//!
//! ```text
//! request.ask(entity, command) ─► .until(wait, deadline) .if_version(…) … ─► .send() ─► Ok(Accepted)
//!                                                                              └──────► Err(AskError) ──?──► Problem
//! ```
//!
//! Handlers that treat one error in another way match on [`AskError`]. It becomes HTTP by `?`, in the table of [`refusals`](super::refusals).

use super::service::Shop;
use doorbuster_actors::ask::{Accepted, Answer, Ask};
use doorbuster_domain::any::Refusal;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::time::Timestamp;
use std::fmt;

/// Why a command was not accepted.
#[derive(Debug, Clone)]
pub enum AskError {
    /// The entity refused it.
    Refused(Refusal),
    /// The entity is at another version than `If-Match` names; nothing was decided.
    Stale {
        /// The version of the entity.
        version: u64,
    },
    /// Whether it was decided is not known (rule E5).
    Unknown,
    /// There was no answer until the deadline.
    Timeout,
    /// There is no room in a queue; nothing was decided.
    Busy {
        /// Seconds until the next try.
        retry_after_s: u32,
    },
    /// The entity kept failing and is quarantined until an operator retries it.
    Quarantined,
    /// The node is starting or stopping; nothing was decided.
    NotServing,
    /// The decision panicked; nothing was decided (rule E3).
    Panicked,
}

/// A command on its way to an entity.
#[must_use = "nothing is asked until it is sent"]
pub struct Asking<'a, S> {
    shop: &'a S,
    ask: Ask,
    /// Time for a second try after a timeout, in ms.
    retry_ms: Option<u64>,
}

impl<S> fmt::Debug for Asking<'_, S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ask.fmt(out)
    }
}

impl<'a, S: Shop> Asking<'a, S> {
    pub(super) const fn new(shop: &'a S, ask: Ask) -> Self {
        Self { shop, ask, retry_ms: None }
    }

    /// Waits until the entity has got so far, and until `deadline` at most.
    pub fn until(mut self, wait: Wait, deadline: Timestamp) -> Self {
        (self.ask.wait, self.ask.deadline) = (wait, deadline);
        self
    }

    /// Only if the entity is at this version; `None`: at any.
    pub const fn if_version(mut self, version: Option<u64>) -> Self {
        self.ask.if_version = version;
        self
    }

    /// Refused with this, without starting an actor, if the entity does not exist yet (rule R5).
    pub fn reject_if_absent(mut self, refusal: Option<Box<Refusal>>) -> Self {
        self.ask.reject_if_absent = refusal;
        self
    }

    /// Asks again when the deadline comes before the entity has got as far as [`until`](Self::until) says: it then answers as it is.
    ///
    /// The second answer has `timeout_ms`. The command must carry its request, so that asking again has no second effect.
    pub const fn or_as_it_is(mut self, timeout_ms: u64) -> Self {
        self.retry_ms = Some(timeout_ms);
        self
    }

    /// Sends it and waits for the answer. Dropping the future takes nothing back: what was decided stands.
    ///
    /// # Errors
    /// Every answer but an acceptance.
    pub async fn send(self) -> Result<Box<Accepted>, AskError> {
        let Self { shop, ask, retry_ms } = self;
        let retry = retry_ms.filter(|_| ask.wait > Wait::Decided).map(|timeout_ms| (ask.clone(), timeout_ms));
        match (shop.ask(ask).await, retry) {
            // Boxed: it happens rarely, and every question's future would be twice as large.
            (Answer::Late, Some((ask, timeout_ms))) => Box::pin(ask_again(shop, ask, timeout_ms)).await,
            (answer, _) => accepted(answer),
        }
    }
}

async fn ask_again<S: Shop>(shop: &S, ask: Ask, timeout_ms: u64) -> Result<Box<Accepted>, AskError> {
    let deadline = shop.now().plus_ms(timeout_ms);
    let mut accepted = accepted(shop.ask(Ask { wait: Wait::Decided, deadline, ..ask }).await)?;
    // The effect that is shown is this request's own.
    accepted.repeated = false;
    Ok(accepted)
}

fn accepted(answer: Answer) -> Result<Box<Accepted>, AskError> {
    match answer {
        Answer::Accepted(accepted) => Ok(accepted),
        Answer::Refused(refusal) => Err(AskError::Refused(refusal)),
        Answer::Stale { version } => Err(AskError::Stale { version }),
        Answer::Unknown => Err(AskError::Unknown),
        Answer::Late => Err(AskError::Timeout),
        Answer::Busy { retry_after_s } => Err(AskError::Busy { retry_after_s }),
        Answer::Quarantined => Err(AskError::Quarantined),
        Answer::NotServing => Err(AskError::NotServing),
        Answer::Panicked => Err(AskError::Panicked),
    }
}
