//! The effects that an instance has sent and that are not settled: what became of the newest copy of each, and when the next is sent.
//!
//! - Rule W2: a copy is sent again only when the one before is gone. Copies that wait would otherwise be joined by more of them, and a node
//!   that was overloaded once would never come back.
//! - Rule W3: to compare all that is owed with all that is under way costs as much as both together. It is done once for an eighth of them,
//!   so that n answers to n effects are O(n) in all; with few under way that is at every message.

use crate::settings::Settings;
use doorbuster_clock::monotonic;
use doorbuster_domain::effect::EffectKey;
use rustc_hash::{FxHashMap, FxHashSet};
use std::time::Duration;
use tokio::time::Instant;

/// What is owed is looked at once for this part of what is under way.
const LOOK_EACH: usize = 8;

/// What became of the newest copy of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    /// It is gone: dropped on its way, or answered without settling the effect.
    Gone,
    /// A provider call is under way: it always ends with an answer.
    AtProvider,
    /// It is under way in the commit group, where an answer or its end is always heard of.
    InGroup,
    /// It is under way to another group. `losses`: [`Router::losses`](crate::router::Router::losses) when it left.
    InOtherGroup { losses: u64 },
}

/// One effect that was sent.
#[derive(Debug)]
struct Sent {
    /// When the newest copy left, or was heard to be gone.
    at: Instant,
    /// Copies before the newest.
    retries: u32,
    copy: Copy,
}

/// The effects of one instance.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// `FxHash` without a key: the entity numbers its effects itself, and an order has at most 2,000 lines.
    sent: FxHashMap<EffectKey, Sent>,
    /// Messages since what is owed was looked at.
    messages: usize,
}

impl InFlight {
    /// Is everything settled?
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// One more message was handled. Is what is owed to be looked at now?
    pub(super) fn must_look(&mut self) -> bool {
        self.messages = self.messages.saturating_add(1);
        self.messages.saturating_mul(LOOK_EACH) >= self.sent.len()
    }

    /// The next message looks at what is owed.
    pub(super) fn look_next(&mut self) {
        self.messages = self.sent.len();
    }

    /// What is owed was looked at: forgets the effects that no longer are.
    pub(super) fn looked(&mut self, owed: &[EffectKey]) {
        self.messages = 0;
        if owed.is_empty() {
            self.sent.clear();
        } else if !self.sent.is_empty() {
            let owed: FxHashSet<EffectKey> = owed.iter().copied().collect();
            self.sent.retain(|key, _| owed.contains(key));
        }
    }

    /// Must it be sent now? Gives the number of copies before; `None`: a copy is under way, or its pause is not over.
    pub(super) fn retries_if_due(&self, key: EffectKey, losses: u64, settings: &Settings) -> Option<u32> {
        let Some(sent) = self.sent.get(&key) else { return Some(0) };
        let age = doorbuster_clock::since(sent.at);
        let is_gone = match sent.copy {
            Copy::Gone => true,
            Copy::AtProvider => return None,
            // A message ends within its life: what has not, after twice that, was lost in a way that is not known of.
            Copy::InGroup => age >= Duration::from_secs(settings.command_life_s.saturating_mul(2)),
            Copy::InOtherGroup { losses: before } => {
                losses != before || age >= Duration::from_secs(settings.command_life_s.saturating_mul(2))
            }
        };
        let pause = settings
            .effect_retry_min_ms
            .saturating_mul(1_u64.checked_shl(sent.retries.min(16)).unwrap_or(1))
            .min(settings.effect_retry_max_ms);
        (is_gone && age >= Duration::from_millis(pause)).then(|| sent.retries.saturating_add(1))
    }

    /// A copy leaves now.
    pub(super) fn sent(&mut self, key: EffectKey, retries: u32, copy: Copy) {
        self.sent.insert(key, Sent { at: monotonic(), retries, copy });
    }

    /// An answer came, which may not settle it: the next pause begins. `false`: it was not sent, or is settled.
    pub(super) fn answered(&mut self, key: EffectKey) -> bool {
        let Some(sent) = self.sent.get_mut(&key) else { return false };
        sent.copy = Copy::Gone;
        sent.at = monotonic();
        true
    }

    /// The newest copy is gone without an answer: the next pause begins. A copy that the provider has is not meant.
    pub(super) fn copy_gone(&mut self, key: EffectKey) {
        if let Some(sent) = self.sent.get_mut(&key)
            && matches!(sent.copy, Copy::InGroup | Copy::InOtherGroup { .. })
        {
            sent.copy = Copy::Gone;
            sent.at = monotonic();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn key(subject: usize) -> EffectKey {
        EffectKey { step: 1, subject: u32::try_from(subject).expect("few"), part: 0 }
    }

    /// Sends `count` effects and settles one at each message; gives how many keys were looked at in all.
    fn work(count: usize) -> usize {
        let (settings, mut in_flight) = (Settings::default(), InFlight::default());
        let mut owed: BTreeSet<EffectKey> = (0..count).map(key).collect();
        let mut looked_at = 0;
        loop {
            if in_flight.must_look() {
                let now: Vec<EffectKey> = owed.iter().copied().collect();
                looked_at += now.len() + in_flight.sent.len();
                in_flight.looked(&now);
                for key in now {
                    if let Some(retries) = in_flight.retries_if_due(key, 0, &settings) {
                        assert_eq!(retries, 0, "nothing is sent twice");
                        in_flight.sent(key, retries, Copy::InGroup);
                    }
                }
            }
            match owed.pop_first() {
                Some(key) => assert!(in_flight.answered(key)),
                None => break,
            }
        }
        assert!(in_flight.is_empty(), "the last answer is looked at");
        looked_at
    }

    /// Rule W3.
    #[test]
    fn n_answers_to_n_effects_look_at_a_number_of_keys_that_grows_with_n() {
        // Each look is paid for by an eighth of what it looks at: twice eight for what is owed and what is under way.
        for count in [100, 2_000, 4_000] {
            let looked_at = work(count);
            assert!(looked_at <= count * 2 * LOOK_EACH, "{looked_at} keys for {count} effects");
        }
    }

    #[test]
    fn with_few_under_way_each_message_looks() {
        let mut in_flight = InFlight::default();
        for subject in 0..LOOK_EACH {
            in_flight.sent(key(subject), 0, Copy::InGroup);
        }
        assert!(in_flight.must_look());
    }

    /// Rule W2.
    #[tokio::test(start_paused = true)]
    async fn a_copy_under_way_is_not_joined_by_another_before_it_is_gone() {
        let (settings, mut in_flight) = (Settings::default(), InFlight::default());
        let life = Duration::from_secs(settings.command_life_s);
        let due = |in_flight: &InFlight, losses| in_flight.retries_if_due(key(1), losses, &settings);
        for copy in [Copy::InGroup, Copy::InOtherGroup { losses: 7 }] {
            in_flight.sent(key(1), 0, copy);
            tokio::time::advance(life).await;
            assert_eq!(due(&in_flight, 7), None, "it may wait for its whole life");
            tokio::time::advance(life).await;
            assert_eq!(due(&in_flight, 7), Some(1), "a life passed twice: it is gone");
        }
        in_flight.sent(key(1), 3, Copy::InOtherGroup { losses: 7 });
        tokio::time::advance(life).await;
        assert_eq!(due(&in_flight, 8), Some(4), "a session has ended since");
        in_flight.sent(key(1), 0, Copy::InGroup);
        in_flight.copy_gone(key(1));
        assert_eq!(due(&in_flight, 8), None, "its pause is not over");
        tokio::time::advance(Duration::from_millis(settings.effect_retry_min_ms)).await;
        assert_eq!(due(&in_flight, 8), Some(1));
        in_flight.sent(key(1), 0, Copy::AtProvider);
        in_flight.copy_gone(key(1));
        tokio::time::advance(life * 4).await;
        assert_eq!(due(&in_flight, 9), None, "a provider call always ends with an answer");
    }
}
