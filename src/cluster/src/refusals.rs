//! What is refused at the cluster port is written to the log once, and then with a count now and then: strangers must not fill the log, nor a peer of
//! another version that asks again and again.

use doorbuster_clock::{monotonic, since};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Time between two lines of the log about one kind of refusal. Too short: a flood of strangers is a flood of lines. Too long: an operator who looks
/// sees an old line.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refused {
    /// A connection above a bound.
    TooMany,
    /// A connection that failed before it was a session.
    Failed,
    /// A frame that is too long.
    LongFrame,
    /// A peer that did not prove the cookie in time.
    Slow,
    /// A peer with another cookie.
    Cookie,
    /// A peer that left, or sent no name.
    Nameless,
    /// A frame that cannot be decoded.
    Frame,
    /// A frame from a node without a session.
    Sender,
    /// A message that cannot be decoded.
    Message,
    /// A receipt or an answer that cannot be decoded.
    Reply,
    /// A request that a peer of another version did not understand.
    Version,
}

#[derive(Debug, Clone, Copy)]
struct Logged {
    at: Instant,
    /// Refusals since then that were not written.
    more: u64,
}

/// The refusals of a node since it started.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    kinds: Mutex<BTreeMap<Refused, Logged>>,
}

impl Refusals {
    /// Counts a refusal. `Some`: it is to be written to the log, with the number of those before it that were not.
    pub(super) fn note(&self, kind: Refused) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let logged = kinds.get_mut(&kind);
        match logged {
            Some(logged) if since(logged.at) < LOG_INTERVAL => {
                logged.more = logged.more.saturating_add(1);
                None
            }
            logged => {
                let unlogged = logged.map_or(0, |logged| logged.more);
                kinds.insert(kind, Logged { at: monotonic(), more: 0 });
                Some(unlogged)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_refusals_are_a_line_and_later_a_count() {
        let refusals = Refusals::default();
        assert_eq!(refusals.note(Refused::Cookie), Some(0));
        assert!((0..10_000).all(|_| refusals.note(Refused::Cookie).is_none()));
        assert_eq!(refusals.note(Refused::Slow), Some(0), "another kind has its own line");
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!(refusals.note(Refused::Cookie), Some(10_000));
        assert_eq!(refusals.note(Refused::Cookie), None);
    }
}
