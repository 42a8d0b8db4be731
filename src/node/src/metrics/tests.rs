//! The page of metrics: its form, and that docs/operating.md lists what is on it and nothing else.

use super::*;
use crate::cluster_admin::tests::Quiet;
use crate::operations::tests::node;
use doorbuster_api::operator::Operations;
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../../docs/operating.md");

/// The names on a page, as a scrape shows them: counters with `_total`.
fn names(page: &str) -> Vec<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect()
}

/// What a node of a cluster with Redis shows beside what every node does.
fn names_of_a_cluster() -> Vec<String> {
    let gateway = crate::clustered::gateway_figures(doorbuster_cluster::Traffic::default());
    let store = crate::clustered::store_figures(&doorbuster_storage::cql::Counts::default());
    let redis = crate::projections::link(&crate::config::Redis {
        url: doorbuster_settings::Secret("redis://127.0.0.1:1".to_owned()),
        ..crate::config::Redis::default()
    });
    let redis = redis.expect("a lawful address").expect("one is given");
    let redis = crate::projections::link_figures(&redis);
    let figures = gateway.into_iter().chain(store).chain(redis);
    let name = |figure: Figure| format!("{PREFIX}_{}{}", figure.name, if figure.gauge { "" } else { "_total" });
    figures.map(name).collect()
}

#[tokio::test]
async fn the_page_is_openmetrics_in_the_names_that_operators_have() {
    let (_actors, alone) = node(None).await;
    let page = alone.metrics().await;
    for line in [
        "# HELP doorbuster_log_queue_depth submissions that wait for the log\n# TYPE doorbuster_log_queue_depth gauge\ndoorbuster_log_queue_depth 0\n",
        "# TYPE doorbuster_connections_accepted counter\ndoorbuster_connections_accepted_total 0\n",
        "doorbuster_answers_total{status=\"5xx\"} 0\n",
        "doorbuster_requests_refused_total{lane=\"checkout\"} 0\n",
        "# TYPE doorbuster_fsync_seconds histogram\n",
        "doorbuster_fsync_seconds_bucket{le=\"+Inf\"} ",
        "doorbuster_batch_records_bucket{le=\"8192.0\"} ",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    assert!(page.ends_with("# EOF\n") && !page.contains("doorbuster_cluster_"), "{page}");
}

#[tokio::test]
async fn no_metric_is_registered_twice_and_the_document_lists_each_of_them() {
    let (_actors, member) = node(Some(Arc::new(Quiet::default()))).await;
    let mut shown = names(&member.metrics().await);
    shown.retain(|name| name != "doorbuster_cluster_questions_total");
    shown.extend(names_of_a_cluster());
    let distinct: BTreeSet<String> = shown.iter().cloned().collect();
    assert_eq!(distinct.len(), shown.len(), "{shown:?}");
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `doorbuster_"));
    let listed = rows.filter_map(|row| row.split(['`', '{']).next()).map(|name| format!("{PREFIX}_{name}"));
    let listed: Vec<String> = listed.collect();
    let documented: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(documented.len(), listed.len(), "a metric stands twice in docs/operating.md");
    let missing: Vec<_> = distinct.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/operating.md: {missing:#?}");
    let gone: Vec<_> = documented.difference(&distinct).collect();
    assert!(gone.is_empty(), "in docs/operating.md and nowhere else: {gone:#?}");
}

#[test]
fn a_histogram_has_each_value_once_and_its_sum() {
    #[derive(Debug)]
    struct Batches(doorbuster_actors::stats::Stats);
    impl Collector for Batches {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            histogram("batch_records", "help", &self.0.batch_records, float, &mut encoder)
        }
    }
    let stats = doorbuster_actors::stats::Stats::default();
    for records in [1, 2, 2, 5_000, 1 << 40] {
        stats.batch_records.record(records);
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Batches(stats)));
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).expect("a string takes everything");
    let value = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!(value("batch_records_bucket{le=\"1.0\"}"), Some("1"));
    assert_eq!(value("batch_records_bucket{le=\"2.0\"}"), Some("3"));
    assert_eq!(value("batch_records_bucket{le=\"8192.0\"}"), Some("4"));
    assert_eq!(value("batch_records_bucket{le=\"+Inf\"}"), Some("5"));
    assert_eq!(value("batch_records_count"), Some("5"));
    let sum: f64 = value("batch_records_sum").and_then(|sum| sum.parse().ok()).expect("a number");
    assert!((sum - 1_099_511_632_781.0).abs() < 0.5, "{sum}");
}
