//! The effects that an instance has sent and that are not settled: when each was sent, and when it is sent again.

use crate::settings::Settings;
use doorbuster_clock::monotonic;
use doorbuster_domain::effect::EffectKey;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// One effect that was sent.
#[derive(Debug)]
struct Sent {
    at: Instant,
    /// How often it was sent before.
    retries: u32,
    /// A provider call is under way: it always ends with an answer, so it is not sent again before.
    under_way: bool,
}

/// The effects of one instance.
#[derive(Debug, Default)]
pub(super) struct InFlight(FxHashMap<EffectKey, Sent>);

impl InFlight {
    /// Is everything settled?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the effects that are no longer owed.
    pub(super) fn retain_owed(&mut self, owed: &[EffectKey]) {
        if owed.is_empty() {
            self.0.clear();
        } else if !self.0.is_empty() {
            let owed: BTreeSet<EffectKey> = owed.iter().copied().collect();
            self.0.retain(|key, _| owed.contains(key));
        }
    }

    /// Must it be sent now? Gives how often it was sent before; `None`: it is under way, or its pause is not over.
    pub(super) fn retries_if_due(&self, key: EffectKey, settings: &Settings) -> Option<u32> {
        let Some(sent) = self.0.get(&key) else { return Some(0) };
        if sent.under_way {
            return None;
        }
        let pause = settings
            .effect_retry_min_ms
            .saturating_mul(1_u64.checked_shl(sent.retries.min(16)).unwrap_or(1))
            .min(settings.effect_retry_max_ms);
        (doorbuster_clock::since(sent.at) >= Duration::from_millis(pause)).then(|| sent.retries.saturating_add(1))
    }

    /// It is sent now; `until_answered`: it is not sent again before its answer.
    pub(super) fn sent(&mut self, key: EffectKey, retries: u32, until_answered: bool) {
        self.0.insert(key, Sent { at: monotonic(), retries, under_way: until_answered });
    }

    /// An answer came, which may not settle it: the next pause begins. `false`: it was not sent, or is settled.
    pub(super) fn answered(&mut self, key: EffectKey) -> bool {
        let Some(sent) = self.0.get_mut(&key) else { return false };
        sent.under_way = false;
        sent.at = monotonic();
        true
    }
}
