//! The adaptive limit: as many permits as the node answers within the target delay at its measured throughput.
//!
//! ```text
//! permits that fit = answers per second × target          (Little's law)
//!
//! more in flight than fit ──► lower the limit, down to what fits      refused while all fit ──► raise it, up to what fits
//! ```
//!
//! A fixed limit is right on one machine only: a larger one turns overload into missed deadlines, a smaller one refuses requests that would have
//! been answered quickly. The delay of an answer is known only after it; the requests in flight and the throughput predict it at once.

use crate::core::settings::AdmissionSettings;

/// The best throughput of this many windows counts: a window between two batches of the log says nothing.
const WINDOWS_KEPT: usize = 8;

/// What was measured in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoadSample {
    /// The limit during the window.
    pub(super) limit: usize,
    /// Requests in flight without `Prefer: wait`.
    pub(super) short: usize,
    /// Requests in flight with `Prefer: wait`: they wait for a payment or a decision, not for the node.
    pub(super) long_waits: usize,
    /// Answers per second to requests without `Prefer: wait`, in the best of the last windows; 0: not known.
    pub(super) answers_per_s: u64,
    /// Was a request refused or queued since the last sample?
    pub(super) refused: bool,
}

/// The new limit. Per window it falls by at most three in ten and grows by at most half.
pub(super) fn permits_for(settings: &AdmissionSettings, sample: &LoadSample) -> usize {
    if sample.answers_per_s == 0 {
        return sample.limit;
    }
    let fit = sample.answers_per_s.saturating_mul(settings.delay_target_ms) / 1_000;
    let fit = usize::try_from(fit).unwrap_or(usize::MAX);
    let wanted = fit.saturating_add(sample.long_waits);
    let too_many = sample.short > fit;
    // A few slow requests on an idle node (they wait for stock or for another node) are no overload.
    let is_overload = sample.short.saturating_mul(2) > sample.limit;
    let limit = if too_many && is_overload {
        wanted.min(sample.limit).max(sample.limit.saturating_mul(7) / 10)
    } else if sample.refused && !too_many {
        wanted.max(sample.limit).min(sample.limit.saturating_add(sample.limit / 2).saturating_add(1))
    } else {
        sample.limit
    };
    limit.max(settings.places_min).min(settings.places_max)
}

/// The counters at the last sample, and the throughput of the last windows.
#[derive(Debug, Default)]
pub(super) struct ThroughputWindow {
    answered: u64,
    refused: u64,
    per_s: [u64; WINDOWS_KEPT],
    next: usize,
}

/// The change of the counters since the last sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowDelta {
    pub(super) answered: u64,
    pub(super) refused: u64,
    /// Answers per second in the best of the last windows.
    pub(super) answers_per_s: u64,
}

impl ThroughputWindow {
    /// Takes the values of counters that only grow, `elapsed_ms` after the last sample.
    pub(super) fn sample(&mut self, answered: u64, refused: u64, elapsed_ms: u64) -> WindowDelta {
        let answers = answered.saturating_sub(self.answered);
        let refusals = refused.saturating_sub(self.refused);
        (self.answered, self.refused) = (answered, refused);
        let per_s = answers.saturating_mul(1_000) / elapsed_ms.max(1);
        if let Some(slot) = self.per_s.get_mut(self.next) {
            *slot = per_s;
        }
        self.next = (self.next + 1) % WINDOWS_KEPT;
        let answers_per_s = self.per_s.iter().copied().max().unwrap_or(0);
        WindowDelta { answered: answers, refused: refusals, answers_per_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: fn() -> AdmissionSettings = AdmissionSettings::default;

    fn sample(limit: usize, short: usize, per_s: u64, refused: bool) -> LoadSample {
        LoadSample { limit, short, long_waits: 0, answers_per_s: per_s, refused }
    }

    #[test]
    fn the_limit_falls_and_grows_to_what_is_answered_in_time() {
        let mut limit = 4_096;
        for _ in 0..20 {
            limit = permits_for(&SETTINGS(), &sample(limit, limit, 1_000, true));
        }
        assert_eq!(limit, 500, "1,000 a second for half a second");
        for _ in 0..20 {
            limit = permits_for(&SETTINGS(), &sample(limit, limit, 20_000, true));
        }
        assert_eq!(limit, 10_000);
    }

    #[test]
    fn an_unknown_throughput_and_a_few_slow_requests_change_nothing() {
        assert_eq!(permits_for(&SETTINGS(), &sample(4_096, 4_096, 0, true)), 4_096);
        assert_eq!(permits_for(&SETTINGS(), &sample(4_096, 5, 1, false)), 4_096, "five slow requests are no overload");
    }

    #[test]
    fn requests_that_wait_for_a_payment_do_not_count_as_slow_answers() {
        let waiting = LoadSample { limit: 4_096, short: 96, long_waits: 4_000, answers_per_s: 2_000, refused: true };
        assert_eq!(permits_for(&SETTINGS(), &waiting), 5_000, "a thousand answered in time, beside the long waits");
    }

    #[test]
    fn a_window_between_two_batches_does_not_hide_the_throughput() {
        let mut window = ThroughputWindow::default();
        assert_eq!(window.sample(1_000, 0, 100).answers_per_s, 10_000);
        let pause = window.sample(1_000, 5, 100);
        assert_eq!((pause.answered, pause.refused, pause.answers_per_s), (0, 5, 10_000));
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds_and_moves_towards_what_fits(
            limit in 256_usize..=16_384, short in 0_usize..20_000, long_waits in 0_usize..20_000,
            per_s in 1_u64..100_000, refused: bool,
        ) {
            let settings = SETTINGS();
            let sample = LoadSample { limit, short, long_waits, answers_per_s: per_s, refused };
            let next = permits_for(&settings, &sample);
            prop_assert!((settings.places_min..=settings.places_max).contains(&next));
            let fit = usize::try_from(per_s * settings.delay_target_ms / 1_000).unwrap();
            prop_assert!(short <= fit || next <= limit, "never higher while requests in flight are late");
            prop_assert!(short > fit || next >= limit, "never lower while they are in time");
            prop_assert!(refused || next <= limit, "never higher while no request is refused");
        }
    }
}
