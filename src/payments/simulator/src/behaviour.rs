//! How a simulated provider behaves, and its random numbers.
//!
//! The random numbers for the n-th sending of a reference follow from the seed, the reference and n alone. So they do not depend on the order in
//! which calls arrive, and a crash test over real sockets meets the same behaviour again.

use doorbuster_domain::payment::{Operation, Reference};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// One, in parts per million.
const CERTAIN_PPM: u32 = 1_000_000;

doorbuster_settings::words! {
    /// A named behaviour.
    #[derive(Default)]
    pub enum Profile {
        /// Answers at once; only test tokens cause failures.
        #[default]
        Instant = "instant",
        /// The failures of `realistic`, fifty times as fast: for crash tests.
        Fast = "fast",
        /// p50 250 ms, p99 2 s, 0.1 % 30 s; declines, lost answers, webhooks late, repeated, out of order or lost.
        Realistic = "realistic",
    }
}

/// Which webhooks are sent, and how late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookBehaviour {
    /// Sends one for every definite outcome; otherwise only for outcomes that no call's answer reported.
    pub every_outcome: bool,
    /// The most copies of an event; at least one is sent unless the event is lost.
    pub copies_max: u64,
    /// The longest delay of a copy after the outcome, in milliseconds. Copies may overtake one another.
    pub late_ms: u64,
    /// The share of copies that are delayed ten times as long, in parts per million.
    pub very_late_ppm: u32,
    /// The share of events that are never sent, in parts per million.
    pub lost_ppm: u32,
}

/// Probabilities, in parts per million, and durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// The median of the log-normal latency, in milliseconds; the p99 is eight times as long. 0: no latency.
    pub latency_p50_ms: u64,
    /// The share of calls that take `stall_ms`.
    pub stall_ppm: u32,
    /// The latency of a stalled call, in milliseconds.
    pub stall_ms: u64,
    /// The share of calls answered 429 without an effect.
    pub too_many_ppm: u32,
    /// The share of calls without an answer and without an effect.
    pub timeout_before_ppm: u32,
    /// The share of calls without an answer that take effect.
    pub timeout_after_ppm: u32,
    /// The share of calls answered 500 that take effect. The key gets the 500 for ever.
    pub error_after_ppm: u32,
    /// The share of calls answered 500 without an effect. The key gets the 500 for ever.
    pub error_before_ppm: u32,
    /// The share of authorizations declined with a retry allowed.
    pub decline_soft_ppm: u32,
    /// The share of authorizations declined for good.
    pub decline_hard_ppm: u32,
    /// The share of authorizations that are first *processing*, with the outcome in a webhook.
    pub processing_ppm: u32,
    /// The share of captures, voids and refunds declined with a retry allowed.
    pub follow_up_soft_ppm: u32,
    /// The share of captures, voids and refunds declined for good.
    pub follow_up_hard_ppm: u32,
    /// The share of authorizations that are recorded with another amount than was asked for.
    pub other_amount_ppm: u32,
    /// The share of answers that name another reference.
    pub other_reference_ppm: u32,
    /// The latency of `tok_slow`, in milliseconds.
    pub slow_ms: u64,
    /// The duration of *processing*, in milliseconds.
    pub processing_ms: u64,
    /// The time a shopper has to act, in seconds.
    pub action_s: u64,
    /// The life of an authorization, in seconds.
    pub lapse_s: u64,
    /// How long an idempotency key is remembered, in seconds. After that it starts a new operation (rule M2).
    pub key_life_s: u64,
    /// The behaviour of webhooks.
    pub webhooks: WebhookBehaviour,
}

impl Behaviour {
    /// Answers at once and never fails.
    pub const INSTANT: Self = Self {
        latency_p50_ms: 0,
        stall_ppm: 0,
        stall_ms: 0,
        too_many_ppm: 0,
        timeout_before_ppm: 0,
        timeout_after_ppm: 0,
        error_after_ppm: 0,
        error_before_ppm: 0,
        decline_soft_ppm: 0,
        decline_hard_ppm: 0,
        processing_ppm: 0,
        follow_up_soft_ppm: 0,
        follow_up_hard_ppm: 0,
        other_amount_ppm: 0,
        other_reference_ppm: 0,
        slow_ms: 5_000,
        processing_ms: 2_000,
        action_s: 600,
        lapse_s: 7 * 24 * 3_600,
        key_life_s: 24 * 3_600,
        webhooks: WebhookBehaviour { every_outcome: false, copies_max: 1, late_ms: 0, very_late_ppm: 0, lost_ppm: 0 },
    };

    /// A provider on an ordinary bad day.
    pub const REALISTIC: Self = Self {
        latency_p50_ms: 250,
        stall_ppm: 1_000,
        stall_ms: 30_000,
        too_many_ppm: 10_000,
        timeout_before_ppm: 10_000,
        timeout_after_ppm: 10_000,
        error_after_ppm: 5_000,
        error_before_ppm: 2_000,
        decline_soft_ppm: 40_000,
        decline_hard_ppm: 25_000,
        processing_ppm: 10_000,
        follow_up_soft_ppm: 5_000,
        webhooks: WebhookBehaviour {
            every_outcome: true,
            copies_max: 3,
            late_ms: 3_000,
            very_late_ppm: 50_000,
            lost_ppm: 10_000,
        },
        ..Self::INSTANT
    };

    /// [`Behaviour::REALISTIC`], fifty times as fast.
    pub const FAST: Self = Self {
        latency_p50_ms: 5,
        stall_ms: 600,
        slow_ms: 100,
        processing_ms: 40,
        webhooks: WebhookBehaviour { late_ms: 60, ..Self::REALISTIC.webhooks },
        ..Self::REALISTIC
    };

    /// The behaviour of a profile.
    #[must_use]
    pub const fn of(profile: Profile) -> Self {
        match profile {
            Profile::Instant => Self::INSTANT,
            Profile::Fast => Self::FAST,
            Profile::Realistic => Self::REALISTIC,
        }
    }

    /// Whether no probability is above zero and nothing takes time.
    #[must_use]
    pub const fn is_deterministic(&self) -> bool {
        let chances = [
            self.stall_ppm,
            self.too_many_ppm,
            self.timeout_before_ppm,
            self.timeout_after_ppm,
            self.error_after_ppm,
            self.error_before_ppm,
            self.decline_soft_ppm,
            self.decline_hard_ppm,
            self.processing_ppm,
            self.follow_up_soft_ppm,
            self.follow_up_hard_ppm,
            self.other_amount_ppm,
            self.other_reference_ppm,
            self.webhooks.very_late_ppm,
            self.webhooks.lost_ppm,
        ];
        matches!(chances, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            && self.latency_p50_ms == 0
            && self.webhooks.copies_max <= 1
            && self.webhooks.late_ms == 0
    }
}

/// The quantiles of a log-normal whose p99 is eight times its median, in thousandths of the median: (parts per million, factor).
const LOG_NORMAL: [(u64, u64); 11] = [
    (0, 50),
    (10_000, 125),
    (50_000, 230),
    (100_000, 318),
    (250_000, 547),
    (500_000, 1_000),
    (750_000, 1_828),
    (900_000, 3_145),
    (950_000, 4_352),
    (990_000, 8_000),
    (1_000_000, 15_840),
];

/// The random numbers of one sending of one reference.
#[derive(Debug)]
pub(super) struct SeededRng(ChaCha8Rng);

impl SeededRng {
    /// The random numbers of the `sent`-th sending of a reference.
    pub(super) fn of(seed: u64, reference: Reference, sent: u32) -> Self {
        let operation: u8 = match reference.operation {
            Operation::Authorize => 1,
            Operation::Capture => 2,
            Operation::Void => 3,
            Operation::Refund => 4,
        };
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(reference.order.0.to_le_bytes());
        hash.update([operation]);
        hash.update(reference.payment.to_le_bytes());
        hash.update(reference.attempt.to_le_bytes());
        hash.update(sent.to_le_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// A generator for a deterministic behaviour, which never draws from it.
    pub(super) fn idle() -> Self {
        Self(ChaCha8Rng::from_seed([0; 32]))
    }

    /// Draws an event with this probability.
    pub(super) fn hits(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.0.random_range(0..CERTAIN_PPM) < ppm
    }

    /// Draws a number from 0 to `most`, inclusive.
    pub(super) fn upto(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { self.0.random_range(0..=most) }
    }

    /// Draws the latency of a call, in milliseconds.
    pub(super) fn latency_ms(&mut self, behaviour: &Behaviour) -> u64 {
        if self.hits(behaviour.stall_ppm) {
            return behaviour.stall_ms;
        }
        if behaviour.latency_p50_ms == 0 {
            return 0;
        }
        let drawn = self.upto(u64::from(CERTAIN_PPM));
        let mut below = (0, 50);
        for (at, factor) in LOG_NORMAL {
            if drawn <= at {
                let (from, low) = below;
                let width = at.saturating_sub(from).max(1);
                let factor = low + (factor - low) * (drawn - from) / width;
                return behaviour.latency_p50_ms.saturating_mul(factor) / 1_000;
            }
            below = (at, factor);
        }
        behaviour.latency_p50_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::OrderId;

    fn reference(order: u128) -> Reference {
        Reference { order: OrderId(order << 16), operation: Operation::Authorize, payment: 1, attempt: 1 }
    }

    #[test]
    fn realistic_latency_has_its_median_at_250_ms_and_its_p99_near_2_s() {
        let mut drawn: Vec<u64> =
            (0..20_000).map(|order| SeededRng::of(1, reference(order), 1).latency_ms(&Behaviour::REALISTIC)).collect();
        drawn.sort_unstable();
        assert!((230..270).contains(&drawn[10_000]), "p50 {}", drawn[10_000]);
        assert!((1_700..2_600).contains(&drawn[19_800]), "p99 {}", drawn[19_800]);
        assert_eq!(drawn[19_999], 30_000);
    }

    #[test]
    fn the_same_seed_reference_and_sending_throw_the_same() {
        let draw = |seed, sent| SeededRng::of(seed, reference(3), sent).upto(u64::MAX - 1);
        assert_eq!(draw(1, 1), draw(1, 1));
        assert_ne!(draw(1, 1), draw(2, 1));
        assert_ne!(draw(1, 1), draw(1, 2));
    }
}
