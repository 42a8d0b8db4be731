//! The rate of a sale that names none: a share of what the node does when it is asked only as fast as it answers.
//!
//! A crowd that comes faster than it is served waits in a queue that only grows: the latency then says how long the sale was, not how fast the node
//! is. So the default is found on the machine of the day, with its load.

use super::options::{JourneyKind, SaleOptions};
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::catalogue::{self, Offered};
use doorbuster_bench::closed::{self, Closed};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::scripts::Orders;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What is offered of what was found: arrivals come in bursts, and there must be room for them.
const SHARE: f64 = 0.6;
/// Requests of a whole journey; its order is the dearest of them.
const JOURNEY_REQUESTS: f64 = 4.0;
/// Not counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// Counted.
const DURATION: Duration = Duration::from_secs(3);
/// More than can be sold in that time.
const UNITS: u64 = 1_000_000;
/// No sale is slower than this many buyers per second.
const RATE_MIN: f64 = 10.0;

/// Finds it, on a SKU of its own.
pub(crate) async fn find(public: &Target, options: &SaleOptions, is_paid: bool, run: &str) -> Result<f64, BenchError> {
    let mut caller = Caller::new(public.clone());
    let sku = format!("PACE-{run}");
    let offered = [Offered { sku: sku.clone(), pence: 12_999 }];
    catalogue::put_product(&mut caller, &format!("pace-{run}"), "Nova Low, a trial", &offered).await?;
    catalogue::receive(&mut caller, &sku, UNITS).await?;
    let connections = usize::try_from(options.node.connections).unwrap_or(1);
    let closed = Closed { connections, warm_up: WARM_UP, duration: DURATION };
    let (skus, keys) = (Arc::new(vec![sku]), format!("pace-{run}"));
    let token = is_paid.then_some("tok_ok");
    let measured =
        closed::run(public, closed, &Arc::new(AtomicU64::new(0)), |_| Orders::new(public, &keys, &skus, token)).await?;
    let requests = if options.journey == JourneyKind::Hot { 1.0 } else { JOURNEY_REQUESTS };
    Ok(offered_rate(measured.rate, requests))
}

/// What is offered, of a rate that was found: two digits are enough for a figure that differs from run to run.
fn offered_rate(found: f64, requests: f64) -> f64 {
    let rate = (found * SHARE / requests).max(RATE_MIN);
    let step = 10_f64.powf(rate.log10().floor() - 1.0);
    (rate / step).floor() * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_comes_more_slowly_than_it_is_served() {
        let near = |one: f64, other: f64| (one - other).abs() < 1e-6;
        assert!(near(offered_rate(10_000.0, 1.0), 6_000.0));
        assert!(near(offered_rate(12_345.0, 1.0), 7_400.0));
        assert!(near(offered_rate(10_000.0, 4.0), 1_500.0));
        assert!(near(offered_rate(0.0, 1.0), 10.0), "a node that is hardly served gets a crowd all the same");
    }
}
