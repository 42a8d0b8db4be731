//! How many places there should be: as many as are answered within the target, at the pace last seen.
//!
//! ```text
//! places that fit = answers per second × target          (Little's law)
//!
//! more inside than fit ──► fewer places, down to what fits      somebody refused while all fit ──► more, up to what fits
//! ```
//!
//! A fixed number is wrong on every machine but one: too many turn overload into missed deadlines, too few refuse what would have been
//! quick. The time an answer took is known only when it is too late; what is inside and the pace say at once how long it will take.

use super::settings::AdmissionSettings;

/// The best pace of so many looks counts: one that fell on a pause between two batches says nothing.
const LOOKS_KEPT: usize = 8;

/// What was seen at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Places there are.
    pub(super) places: usize,
    /// Requests inside that wait for nothing but us.
    pub(super) quick: usize,
    /// Requests inside that said they would wait for something else: a payment, a decision.
    pub(super) patient: usize,
    /// Quick requests answered per second, at best; 0: not known.
    pub(super) answers_per_s: u64,
    /// Was somebody refused since the last look?
    pub(super) refused: bool,
}

/// How many places there should be from now on. In one look they fall by three in ten and grow by half, at most.
pub(super) fn places_for(settings: &AdmissionSettings, seen: &Seen) -> usize {
    if seen.answers_per_s == 0 {
        return seen.places;
    }
    let fit = seen.answers_per_s.saturating_mul(settings.delay_target_ms) / 1_000;
    let fit = usize::try_from(fit).unwrap_or(usize::MAX);
    let wanted = fit.saturating_add(seen.patient);
    let too_many = seen.quick > fit;
    // A few that wait long on an idle node (for stock, for a slow neighbour) say nothing about a crowd.
    let is_crowd = seen.quick.saturating_mul(2) > seen.places;
    let places = if too_many && is_crowd {
        wanted.min(seen.places).max(seen.places.saturating_mul(7) / 10)
    } else if seen.refused && !too_many {
        wanted.max(seen.places).min(seen.places.saturating_add(seen.places / 2).saturating_add(1))
    } else {
        seen.places
    };
    places.max(settings.places_min).min(settings.places_max)
}

/// The last looks.
#[derive(Debug, Default)]
pub(super) struct Looks {
    answered: u64,
    refused: u64,
    per_s: [u64; LOOKS_KEPT],
    next: usize,
}

/// What changed since the look before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) answered: u64,
    pub(super) refused: u64,
    /// The best pace of the last looks.
    pub(super) answers_per_s: u64,
}

impl Looks {
    /// Takes in counters that only grow, `elapsed_ms` after the last time.
    pub(super) fn look(&mut self, answered: u64, refused: u64, elapsed_ms: u64) -> Change {
        let answers = answered.saturating_sub(self.answered);
        let refusals = refused.saturating_sub(self.refused);
        (self.answered, self.refused) = (answered, refused);
        let per_s = answers.saturating_mul(1_000) / elapsed_ms.max(1);
        if let Some(slot) = self.per_s.get_mut(self.next) {
            *slot = per_s;
        }
        self.next = (self.next + 1) % LOOKS_KEPT;
        let answers_per_s = self.per_s.iter().copied().max().unwrap_or(0);
        Change { answered: answers, refused: refusals, answers_per_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: fn() -> AdmissionSettings = AdmissionSettings::default;

    fn seen(places: usize, quick: usize, per_s: u64, refused: bool) -> Seen {
        Seen { places, quick, patient: 0, answers_per_s: per_s, refused }
    }

    #[test]
    fn a_slow_node_shrinks_to_what_it_answers_in_time_and_a_quick_one_grows() {
        let mut places = 4_096;
        for _ in 0..20 {
            places = places_for(&SETTINGS(), &seen(places, places, 1_000, true));
        }
        assert_eq!(places, 500, "1,000 a second for half a second");
        for _ in 0..20 {
            places = places_for(&SETTINGS(), &seen(places, places, 20_000, true));
        }
        assert_eq!(places, 10_000);
    }

    #[test]
    fn a_pace_that_is_not_known_and_a_few_that_wait_change_nothing() {
        assert_eq!(places_for(&SETTINGS(), &seen(4_096, 4_096, 0, true)), 4_096);
        assert_eq!(places_for(&SETTINGS(), &seen(4_096, 5, 1, false)), 4_096, "five that wait are no crowd");
    }

    #[test]
    fn requests_that_wait_for_a_payment_are_not_taken_for_our_own_slowness() {
        let waiting = Seen { places: 4_096, quick: 96, patient: 4_000, answers_per_s: 2_000, refused: true };
        assert_eq!(places_for(&SETTINGS(), &waiting), 5_000, "a thousand of ours in time, beside those who wait");
    }

    #[test]
    fn a_look_between_two_batches_does_not_hide_the_pace() {
        let mut looks = Looks::default();
        assert_eq!(looks.look(1_000, 0, 100).answers_per_s, 10_000);
        let pause = looks.look(1_000, 5, 100);
        assert_eq!((pause.answered, pause.refused, pause.answers_per_s), (0, 5, 10_000));
    }

    proptest! {
        #[test]
        fn places_stay_within_their_bounds_and_move_towards_what_fits(
            places in 256_usize..=16_384, quick in 0_usize..20_000, patient in 0_usize..20_000,
            per_s in 1_u64..100_000, refused: bool,
        ) {
            let settings = SETTINGS();
            let seen = Seen { places, quick, patient, answers_per_s: per_s, refused };
            let next = places_for(&settings, &seen);
            prop_assert!((settings.places_min..=settings.places_max).contains(&next));
            let fit = usize::try_from(per_s * settings.delay_target_ms / 1_000).unwrap();
            prop_assert!(quick <= fit || next <= places, "never more places while those inside are late");
            prop_assert!(quick > fit || next >= places, "never fewer while they are in time");
            prop_assert!(refused || next <= places, "nobody was refused: nobody needs more");
        }
    }
}
