//! Reads what matters from `/metrics`: sums of counters, and histograms by their cumulative buckets.

use super::number::float;

/// One histogram: for each bucket its upper bound and how many observations are at most that; bounds rise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// `(le, cumulative count)`; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// One line of the text format.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = match line.split_once('}') {
            Some((series, rest)) => (series, rest.split_whitespace().next()?),
            None => {
                let mut parts = line.split_whitespace();
                (parts.next()?, parts.next()?)
            }
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Sample { name, labels, value: value.parse().ok()? })
    })
}

impl Histogram {
    /// The histogram whose name contains all of `words`, summed over its other labels.
    pub fn find(text: &str, words: &[&str]) -> Self {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for sample in samples(text) {
            let Some(name) = sample.name.strip_suffix("_bucket") else { continue };
            let Some(bound) = label(sample.labels, "le").and_then(bound) else { continue };
            if !words.iter().all(|word| name.contains(word)) {
                continue;
            }
            let count = super::number::whole(sample.value);
            match buckets.iter_mut().find(|(le, _)| le.total_cmp(&bound).is_eq()) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { buckets }
    }

    /// What was observed since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let earlier =
            |bound: f64| before.buckets.iter().find(|(le, _)| le.total_cmp(&bound).is_eq()).map_or(0, |(_, n)| *n);
        Self { buckets: self.buckets.iter().map(|(le, n)| (*le, n.saturating_sub(earlier(*le)))).collect() }
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, n)| *n)
    }

    /// The `q`-quantile, interpolated within its bucket; `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * float(self.count());
        let mut below = (0.0, 0);
        if self.count() == 0 {
            return None;
        }
        for (bound, n) in &self.buckets {
            if float(*n) >= rank {
                let inside = float(n.saturating_sub(below.1));
                let part = if inside > 0.0 { (rank - float(below.1)) / inside } else { 1.0 };
                return Some(if bound.is_finite() { (bound - below.0).mul_add(part, below.0) } else { below.0 });
            }
            below = (*bound, *n);
        }
        Some(below.0)
    }

    /// `(lower bound, upper bound, observations)` per bucket that has any.
    pub fn bars(&self) -> Vec<(f64, f64, u64)> {
        let mut below = (0.0, 0);
        let mut bars = Vec::new();
        for (bound, n) in &self.buckets {
            if *n > below.1 {
                bars.push((below.0, *bound, n - below.1));
            }
            below = (*bound, *n);
        }
        bars
    }
}

/// The sum over all series whose name contains all of `words`; `None` when there is none.
pub fn sum(text: &str, words: &[&str]) -> Option<f64> {
    let mut found = samples(text).filter(|sample| words.iter().all(|word| sample.name.contains(word))).peekable();
    found.peek()?;
    Some(found.map(|sample| sample.value).sum())
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

fn bound(text: &str) -> Option<f64> {
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE log_fsync_seconds histogram\nlog_fsync_seconds_bucket{le=\"0.001\"} 10\n\
        log_fsync_seconds_bucket{le=\"0.002\"} 30\nlog_fsync_seconds_bucket{le=\"+Inf\"} 40\nlog_fsync_seconds_count 40\n\
        orders_total{outcome=\"confirmed\"} 7\norders_total{outcome=\"sold_out\"} 5\n";

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let histogram = Histogram::find(TEXT, &["fsync"]);
        assert_eq!(histogram.count(), 40);
        assert!((histogram.quantile(0.5).unwrap() - 0.0015).abs() < 1e-12);
        assert!((histogram.quantile(0.99).unwrap() - 0.002).abs() < 1e-12);
        assert_eq!(histogram.bars().len(), 3);
    }

    #[test]
    fn only_what_came_since_counts() {
        let histogram = Histogram::find(TEXT, &["fsync"]);
        assert_eq!(histogram.since(&histogram).count(), 0);
        assert_eq!(histogram.since(&histogram).quantile(0.5), None);
        assert_eq!(histogram.since(&Histogram::default()), histogram);
    }

    #[test]
    fn series_are_summed_over_their_labels() {
        assert_eq!(sum(TEXT, &["orders_total"]), Some(12.0));
        assert_eq!(sum(TEXT, &["nothing"]), None);
    }
}
