//! The node's metrics: one registry, encoded as OpenMetrics 1.0 at each scrape.
//!
//! The crates count in plain atomics, which cost an order nothing more than the addition. A collector for each of them reads the atomics when
//! the page is asked for; nothing is registered twice, and nothing is counted twice.
//!
//! ```text
//! atomics of actors, api, projections, redis ──read──► Collector ─┐
//! members, gateway, CQL store ──read, async──► ClusterMetrics ────┴─► Registry ──encode──► GET /metrics
//! ```

use super::cluster_admin::Figure;
use super::projections::ProjectionFigures;
use doorbuster_actors::stats::Histogram;
use doorbuster_actors::system::Handle;
use doorbuster_api::admission::PriorityClass;
use doorbuster_api::{PipelineCounts, SocketCounts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the names of all metrics begin with; an underscore follows.
const PREFIX: &str = "doorbuster";

/// The registry of a node.
#[derive(Debug)]
pub(super) struct NodeMetrics {
    registry: Registry,
    cluster: ClusterMetrics,
}

impl NodeMetrics {
    pub(super) fn new(
        actors: Handle,
        pipeline: Arc<PipelineCounts>,
        sockets: Arc<SocketCounts>,
        projections: ProjectionFigures,
    ) -> Self {
        let cluster = ClusterMetrics::default();
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(ActorMetrics(actors)));
        registry.register_collector(Box::new(ApiMetrics { pipeline, sockets }));
        registry.register_collector(Box::new(ProjectionMetrics(projections)));
        registry.register_collector(Box::new(cluster.clone()));
        Self { registry, cluster }
    }

    /// The page. `cluster` has the figures of the cluster, which cannot be read without waiting; none: a node without one.
    pub(super) fn encode(&self, cluster: Vec<Figure>) -> String {
        *self.cluster.0.lock().unwrap_or_else(PoisonError::into_inner) = cluster;
        let mut text = String::with_capacity(16 * 1024);
        // Writing into a string cannot fail, and the collectors below return no error of their own.
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "encode the metrics");
        }
        text
    }
}

impl Figure {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = if self.gauge { MetricType::Gauge } else { MetricType::Counter };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        if self.gauge {
            metric.encode_gauge(&self.value)
        } else {
            metric.encode_counter::<NoLabelSet, u64, u64>(&self.value, None)
        }
    }
}

fn encode_all(figures: impl IntoIterator<Item = Figure>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    figures.into_iter().try_for_each(|figure| figure.encode(encoder))
}

/// One counter with a label: its name, its help text, the label, then a value for each of the label's values.
fn encode_counters<'a>(
    (name, help, label): (&str, &str, &str),
    values: impl IntoIterator<Item = (&'a str, u64)>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        family.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
    }
    Ok(())
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// As OpenMetrics writes values: exact below 2^53.
fn float(value: u64) -> f64 {
    let low = u64::from(u32::MAX);
    let half = |bits: u64| f64::from(u32::try_from(bits).unwrap_or(u32::MAX));
    half(value >> 32) * (half(low) + 1.0) + half(value & low)
}

/// What the actors and the log writer count.
#[derive(Debug)]
struct ActorMetrics(Handle);

impl Collector for ActorMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (stats, encoder) = (self.0.stats(), &mut encoder);
        let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
        histogram("batch_records", "records that became durable with one sync", &stats.batch_records, float, encoder)?;
        histogram("append_seconds", "one append: write and sync", &stats.append_us, seconds, encoder)?;
        histogram("fsync_seconds", "the sync of one append alone", &stats.sync_us, seconds, encoder)?;
        let asked = "one command to an entity, until its answer is durable";
        histogram("ask_seconds", asked, &stats.ask_us, seconds, encoder)?;
        let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
        let figures = stats.figures().into_iter();
        encode_all(
            figures.map(|(name, help, gauge, value)| Figure { name, help, gauge, value: unsigned(value) }),
            encoder,
        )?;
        Figure::gauge("asks_in_flight", "commands under way", count(self.0.in_flight())).encode(encoder)
    }
}

/// A histogram of the actors, as OpenMetrics has it: buckets by upper bound, the last one open.
fn histogram<const N: usize>(
    name: &str,
    help: &str,
    of: &Histogram<N>,
    unit: impl Fn(u64) -> f64,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let (cumulative, total, sum) = of.read();
    let mut below = 0;
    let mut buckets = Vec::with_capacity(cumulative.len() + 1);
    for (bound, upto) in cumulative {
        buckets.push((unit(bound), upto.saturating_sub(below)));
        below = upto;
    }
    buckets.push((f64::INFINITY, total.saturating_sub(below)));
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    metric.encode_histogram::<NoLabelSet>(unit(sum), total, &buckets, None)
}

/// What the public port counts.
#[derive(Debug)]
struct ApiMetrics {
    pipeline: Arc<PipelineCounts>,
    sockets: Arc<SocketCounts>,
}

impl Collector for ApiMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (sockets, admission, encoder) = (&self.sockets, &self.pipeline.admission, &mut encoder);
        let read = |counter: &std::sync::atomic::AtomicUsize| count(counter.load(Ordering::Relaxed));
        let figures = [
            Figure::gauge("connections_open", "connections of shoppers and sellers", read(&sockets.open)),
            Figure::counter("connections_accepted", "connections accepted", read(&sockets.accepted)),
            Figure::counter("connections_refused", "connections refused for want of room", read(&sockets.refused)),
            Figure::gauge("requests_in_flight", "requests under way", count(admission.in_flight())),
            Figure::gauge("requests_waiting", "requests that wait for a permit", count(admission.queued())),
            Figure::gauge(
                "webhooks_unmatched",
                "references of this installation that the provider reports and no order is known for",
                count(self.pipeline.unmatched.count()),
            ),
            Figure::gauge("places", "requests that may be under way, at the pace of now", count(admission.limit())),
        ];
        encode_all(figures, encoder)?;
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let answers = classes.into_iter().zip(self.pipeline.answers.iter().skip(1));
        let answers = answers.map(|(class, answers)| (class, answers.load(Ordering::Relaxed)));
        encode_counters(("answers", "answers by the class of their status", "status"), answers, encoder)?;
        let refused = PriorityClass::ALL.into_iter().map(|lane| (lane.as_str(), admission.refused(lane)));
        let help = "requests refused for want of room, by priority class";
        encode_counters(("requests_refused", help, "lane"), refused, encoder)?;
        let help = "requests beyond their caller's quota";
        Figure::counter("requests_over_quota", help, admission.rate_limited()).encode(encoder)
    }
}

/// What the read models and the connection to Redis count.
#[derive(Debug)]
struct ProjectionMetrics(ProjectionFigures);

impl Collector for ProjectionMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode_all(self.0.all(), &mut encoder)
    }
}

/// What the cluster, the gateway and the CQL store count, as read for the scrape that is under way.
#[derive(Debug, Clone, Default)]
struct ClusterMetrics(Arc<Mutex<Vec<Figure>>>);

impl Collector for ClusterMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        encode_all(figures, &mut encoder)
    }
}

#[cfg(test)]
mod tests;
