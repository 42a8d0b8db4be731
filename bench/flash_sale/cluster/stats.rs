//! Quantiles of a handful of trials, and of histograms that several nodes kept.

use doorbuster_bench::number::{count, float, length, whole};
use doorbuster_bench::prometheus::Histogram;
use serde_json::{Value, json};
use std::time::Duration;

/// Some durations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    /// How many.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest of them that at least the share `q` does not exceed; with few trials a high quantile is the worst one.
    pub(crate) fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = whole((q * float(count(self.0.len()))).ceil()).max(1) - 1;
        self.0.get(length(rank).min(self.0.len().saturating_sub(1))).copied()
    }

    /// As a report says it: number of trials, p50, p99, worst.
    pub(crate) fn shown(&self) -> String {
        let at = |q: f64| self.quantile(q).map_or_else(|| "–".to_owned(), seconds);
        format!("p50 {}, p99 {}, worst {} (of {})", at(0.5), at(0.99), at(1.0), self.0.len())
    }

    /// The same for machines, in milliseconds.
    pub(crate) fn json(&self) -> Value {
        let at = |q: f64| self.quantile(q).map(millis);
        let all: Vec<u64> = self.0.iter().copied().map(millis).collect();
        json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "worst_ms": at(1.0), "all_ms": all })
    }
}

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut all: Vec<Duration> = durations.into_iter().collect();
        all.sort_unstable();
        Self(all)
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `2.31 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// A part of a whole as `0.12 %`.
pub(crate) fn percent(part: u64, of: u64) -> String {
    let share = doorbuster_bench::number::ratio(float(part), float(of)) * 100.0;
    format!("{share:.2} %")
}

/// One histogram out of those that each node kept of the same thing.
pub(crate) fn merged(all: impl IntoIterator<Item = Histogram>) -> Histogram {
    let mut sum = Histogram::default();
    for one in all {
        if sum.buckets.is_empty() {
            sum = one;
            continue;
        }
        for (bound, number) in one.buckets {
            match sum.buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, known)) => *known += number,
                None => sum.buckets.push((bound, number)),
            }
        }
    }
    sum.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: &[u64]) -> Sample {
        millis.iter().map(|millis| Duration::from_millis(*millis)).collect()
    }

    #[test]
    fn a_quantile_is_one_of_the_trials_and_never_better_than_its_share() {
        let five = sample(&[5, 1, 4, 2, 3]);
        assert_eq!(five.quantile(0.5), Some(Duration::from_millis(3)));
        assert_eq!(five.quantile(0.99), Some(Duration::from_millis(5)));
        assert_eq!(five.quantile(0.0), Some(Duration::from_millis(1)));
        assert_eq!(sample(&[]).quantile(0.5), None);
        let hundred = sample(&(1..=100).collect::<Vec<_>>());
        assert_eq!(
            (hundred.quantile(0.5), hundred.quantile(0.99)),
            (Some(Duration::from_millis(50)), Some(Duration::from_millis(99)))
        );
    }

    #[test]
    fn no_trial_is_no_figure() {
        assert!(Sample::default().shown().starts_with("p50 –"));
        assert_eq!(Sample::default().json()["p50_ms"], Value::Null);
    }

    #[test]
    fn histograms_of_several_nodes_add_up() {
        let text = "x_bucket{le=\"1\"} 2\nx_bucket{le=\"+Inf\"} 4\n";
        let one = Histogram::find(text, &["x"]);
        let sum = merged([one.clone(), one, Histogram::default()]);
        assert_eq!((sum.count(), sum.buckets.first().copied()), (8, Some((1.0, 4))));
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!((percent(0, 0), percent(1, 1_000)), ("0.00 %".to_owned(), "0.10 %".to_owned()));
    }
}
