//! Webhooks about orders of this installation that it does not know (rule M6): each is answered 503, so that the provider sends it again, and
//! after an hour somebody must look. It is money of ours without an order, as after a backup was restored.

use doorbuster_domain::payment::Reference;
use doorbuster_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a reference may be unknown before the operator must look, in seconds.
const ALARM_AFTER_S: u64 = 3_600;
/// References that are remembered; more are answered likewise, and not watched.
const REMEMBERED_MAX: usize = 1_000;

/// The references, and when each was first reported.
#[derive(Debug, Default)]
pub struct UnmatchedWebhooks(Mutex<BTreeMap<Reference, Timestamp>>);

impl UnmatchedWebhooks {
    fn references(&self) -> MutexGuard<'_, BTreeMap<Reference, Timestamp>> {
        // Every change is one call of the map, so a panic leaves no partial one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reference is unknown here. `true`: it has been for so long that somebody must look.
    pub(super) fn unknown(&self, reference: Reference, now: Timestamp) -> bool {
        let mut references = self.references();
        if !references.contains_key(&reference) && references.len() >= REMEMBERED_MAX {
            return false;
        }
        let since = *references.entry(reference).or_insert(now);
        now >= since.plus_s(ALARM_AFTER_S)
    }

    /// A reference is known: nothing is watched any more.
    pub(super) fn known(&self, reference: Reference) {
        self.references().remove(&reference);
    }

    /// The number of references that are unknown here.
    #[must_use]
    pub fn count(&self) -> usize {
        self.references().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::OrderId;
    use doorbuster_domain::payment::Operation;

    fn reference(order: u128) -> Reference {
        Reference { order: OrderId(order << 16), operation: Operation::Authorize, payment: 1, attempt: 1 }
    }

    #[test]
    fn m6_what_stays_unknown_for_an_hour_is_an_alarm_and_what_is_found_is_none() {
        let (unmatched, start) = (UnmatchedWebhooks::default(), Timestamp(1_000));
        assert!(!unmatched.unknown(reference(1), start));
        assert!(!unmatched.unknown(reference(1), start.plus_s(3_599)));
        assert!(unmatched.unknown(reference(1), start.plus_s(3_600)));
        unmatched.known(reference(1));
        assert!(!unmatched.unknown(reference(1), start.plus_s(3_601)));
        assert_eq!(unmatched.count(), 1);
    }

    #[test]
    fn no_more_references_are_remembered_than_the_bound() {
        let unmatched = UnmatchedWebhooks::default();
        for order in 0..2 * u128::try_from(REMEMBERED_MAX).unwrap() {
            unmatched.unknown(reference(order), Timestamp(1));
        }
        assert_eq!(unmatched.count(), REMEMBERED_MAX);
    }
}
