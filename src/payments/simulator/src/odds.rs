//! How a simulated provider behaves, and the dice it throws.
//!
//! No dice are shared: what befalls the n-th time a reference is sent follows from the seed, the reference and n alone. So fortunes do
//! not depend on the order in which calls arrive, and a crash test over real sockets meets the same ones again.

use doorbuster_domain::payment::{Operation, Reference};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Parts per million of a certainty.
const CERTAIN_PPM: u32 = 1_000_000;

/// A named way to behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Answers at once, and nothing goes wrong but what a test token asks for.
    #[default]
    Instant,
    /// What goes wrong with `realistic`, fifty times as fast: for crash tests.
    Fast,
    /// p50 250 ms, p99 2 s, 0.1 % 30 s; declines, lost answers, webhooks late, repeated, out of order or lost.
    Realistic,
}

/// Which webhooks are sent, and how they fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookOdds {
    /// For every definite outcome; else only for those that no answer to a call told.
    pub every_outcome: bool,
    /// Each event is sent one to so many times.
    pub copies_max: u64,
    /// A copy is sent up to so many milliseconds after the outcome (so two events overtake one another), …
    pub late_ms: u64,
    /// … and this share of copies ten times as late.
    pub very_late_ppm: u32,
    /// This share of events is never sent.
    pub lost_ppm: u32,
}

/// How likely what is, in parts per million, and how long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Odds {
    /// The middle of the log-normal latency; its p99 is eight times as long. 0: no latency at all.
    pub latency_p50_ms: u64,
    /// This share of calls takes `stall_ms`.
    pub stall_ppm: u32,
    /// See `stall_ppm`.
    pub stall_ms: u64,
    /// 429, nothing happened.
    pub too_many_ppm: u32,
    /// No answer, and nothing happened.
    pub timeout_before_ppm: u32,
    /// No answer, though it happened.
    pub timeout_after_ppm: u32,
    /// A 500, though it happened.
    pub error_after_ppm: u32,
    /// An authorization is declined, another try may succeed.
    pub decline_soft_ppm: u32,
    /// An authorization is declined for good.
    pub decline_hard_ppm: u32,
    /// An authorization is worked on first, and told later.
    pub processing_ppm: u32,
    /// A capture, void or refund is declined, another try may succeed.
    pub follow_up_soft_ppm: u32,
    /// A capture, void or refund is declined for good.
    pub follow_up_hard_ppm: u32,
    /// What `tok_slow` takes.
    pub slow_ms: u64,
    /// How long "processing" lasts.
    pub processing_ms: u64,
    /// How long a shopper has to act.
    pub action_s: u64,
    /// How long an authorization lasts.
    pub lapse_s: u64,
    /// How long a key is remembered. Sent after that, it starts anew (rule M2).
    pub key_life_s: u64,
    /// See [`WebhookOdds`].
    pub webhooks: WebhookOdds,
}

impl Odds {
    /// Answers at once, nothing goes wrong.
    pub const INSTANT: Self = Self {
        latency_p50_ms: 0,
        stall_ppm: 0,
        stall_ms: 0,
        too_many_ppm: 0,
        timeout_before_ppm: 0,
        timeout_after_ppm: 0,
        error_after_ppm: 0,
        decline_soft_ppm: 0,
        decline_hard_ppm: 0,
        processing_ppm: 0,
        follow_up_soft_ppm: 0,
        follow_up_hard_ppm: 0,
        slow_ms: 5_000,
        processing_ms: 2_000,
        action_s: 600,
        lapse_s: 7 * 24 * 3_600,
        key_life_s: 24 * 3_600,
        webhooks: WebhookOdds { every_outcome: false, copies_max: 1, late_ms: 0, very_late_ppm: 0, lost_ppm: 0 },
    };

    /// Like a provider on an ordinary bad day.
    pub const REALISTIC: Self = Self {
        latency_p50_ms: 250,
        stall_ppm: 1_000,
        stall_ms: 30_000,
        too_many_ppm: 10_000,
        timeout_before_ppm: 10_000,
        timeout_after_ppm: 10_000,
        error_after_ppm: 5_000,
        decline_soft_ppm: 40_000,
        decline_hard_ppm: 25_000,
        processing_ppm: 10_000,
        follow_up_soft_ppm: 5_000,
        webhooks: WebhookOdds {
            every_outcome: true,
            copies_max: 3,
            late_ms: 3_000,
            very_late_ppm: 50_000,
            lost_ppm: 10_000,
        },
        ..Self::INSTANT
    };

    /// [`Odds::REALISTIC`], fifty times as fast.
    pub const FAST: Self = Self {
        latency_p50_ms: 5,
        stall_ms: 600,
        slow_ms: 100,
        processing_ms: 40,
        webhooks: WebhookOdds { late_ms: 60, ..Self::REALISTIC.webhooks },
        ..Self::REALISTIC
    };

    /// The odds of a profile.
    #[must_use]
    pub const fn of(profile: Profile) -> Self {
        match profile {
            Profile::Instant => Self::INSTANT,
            Profile::Fast => Self::FAST,
            Profile::Realistic => Self::REALISTIC,
        }
    }

    /// Is nothing left to chance?
    #[must_use]
    pub const fn throws_no_dice(&self) -> bool {
        let chances = [
            self.stall_ppm,
            self.too_many_ppm,
            self.timeout_before_ppm,
            self.timeout_after_ppm,
            self.error_after_ppm,
            self.decline_soft_ppm,
            self.decline_hard_ppm,
            self.processing_ppm,
            self.follow_up_soft_ppm,
            self.follow_up_hard_ppm,
            self.webhooks.very_late_ppm,
            self.webhooks.lost_ppm,
        ];
        matches!(chances, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
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

/// The dice of one sending of one reference.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The `sent`-th time this reference is sent (or asked after).
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

    /// Dice that nobody throws.
    pub(super) fn idle() -> Self {
        Self(ChaCha8Rng::from_seed([0; 32]))
    }

    /// Does what is this likely happen?
    pub(super) fn hits(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.0.random_range(0..CERTAIN_PPM) < ppm
    }

    /// A number from 0 to `most`.
    pub(super) fn upto(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { self.0.random_range(0..=most) }
    }

    /// How long a call takes.
    pub(super) fn latency_ms(&mut self, odds: &Odds) -> u64 {
        if self.hits(odds.stall_ppm) {
            return odds.stall_ms;
        }
        if odds.latency_p50_ms == 0 {
            return 0;
        }
        let drawn = self.upto(u64::from(CERTAIN_PPM));
        let mut below = (0, 50);
        for (at, factor) in LOG_NORMAL {
            if drawn <= at {
                let (from, low) = below;
                let width = at.saturating_sub(from).max(1);
                let factor = low + (factor - low) * (drawn - from) / width;
                return odds.latency_p50_ms.saturating_mul(factor) / 1_000;
            }
            below = (at, factor);
        }
        odds.latency_p50_ms
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
            (0..20_000).map(|order| Dice::of(1, reference(order), 1).latency_ms(&Odds::REALISTIC)).collect();
        drawn.sort_unstable();
        assert!((230..270).contains(&drawn[10_000]), "p50 {}", drawn[10_000]);
        assert!((1_700..2_600).contains(&drawn[19_800]), "p99 {}", drawn[19_800]);
        assert_eq!(drawn[19_999], 30_000);
    }

    #[test]
    fn the_same_seed_reference_and_sending_throw_the_same() {
        let throw = |seed, sent| Dice::of(seed, reference(3), sent).upto(u64::MAX - 1);
        assert_eq!(throw(1, 1), throw(1, 1));
        assert_ne!(throw(1, 1), throw(2, 1));
        assert_ne!(throw(1, 1), throw(1, 2));
    }
}
