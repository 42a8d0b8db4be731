//! After the sale every acknowledged order is read again, and must be what its buyer was answered.

use super::record::Acknowledged;
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{count, length};
use doorbuster_bench::shopper::{Verdict, of_status};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// More acknowledged orders than this are sampled evenly, and the figures say so.
const READ_MAX: usize = 100_000;
/// Readers at the same time.
const READERS: usize = 16;
/// A saga that is still under way is looked at again for so long: the slowest simulated payment takes 30 s.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);

/// What reading back found.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// Acknowledged orders.
    pub(crate) acknowledged: u64,
    /// Orders read again; fewer when sampled.
    pub(crate) read: u64,
    /// Orders that are not there.
    pub(crate) missing: Vec<String>,
    /// Orders that are not what the buyer was answered, and why.
    pub(crate) contradicted: Vec<String>,
    /// Orders whose saga had not ended within the limit.
    pub(crate) unsettled: u64,
    /// By status.
    pub(crate) statuses: BTreeMap<String, u64>,
    /// Units of the confirmed orders.
    pub(crate) confirmed_units: u64,
    /// Confirmed orders.
    pub(crate) confirmed: u64,
}

impl Verified {
    /// Is every acknowledged order there, and what it was said to be?
    pub(crate) fn is_kept(&self) -> bool {
        self.missing.is_empty() && self.contradicted.is_empty()
    }
    fn add(&mut self, other: Self) {
        self.read += other.read;
        self.missing.extend(other.missing);
        self.contradicted.extend(other.contradicted);
        self.unsettled += other.unsettled;
        self.confirmed_units += other.confirmed_units;
        self.confirmed += other.confirmed;
        for (status, orders) in other.statuses {
            *self.statuses.entry(status).or_default() += orders;
        }
    }
}

/// Reads the acknowledged orders again. `paid`: each is on the way to be paid, so its end is waited for.
pub(crate) async fn read_back(
    target: &Target,
    acknowledged: &[Acknowledged],
    paid: bool,
) -> Result<Verified, BenchError> {
    let stride = acknowledged.len().div_ceil(READ_MAX).max(1);
    let sample: Arc<Vec<Acknowledged>> = Arc::new(acknowledged.iter().step_by(stride).cloned().collect());
    let next = Arc::new(AtomicUsize::new(0));
    let until = Instant::now() + SETTLE_LIMIT;
    let mut readers = Vec::new();
    for _ in 0..READERS.min(sample.len()) {
        let (sample, next, mut caller) = (Arc::clone(&sample), Arc::clone(&next), Caller::new(target.clone()));
        readers.push(tokio::spawn(async move {
            let mut verified = Verified::default();
            while let Some(acknowledged) = sample.get(next.fetch_add(1, Ordering::Relaxed)) {
                check(&mut caller, acknowledged, paid, until, &mut verified).await?;
            }
            Ok::<_, BenchError>(verified)
        }));
    }
    let mut verified = Verified { acknowledged: count(acknowledged.len()), ..Verified::default() };
    for reader in readers {
        verified.add(reader.await.map_err(|panic| BenchError::Node(format!("a reader failed: {panic}")))??);
    }
    Ok(verified)
}

async fn check(
    caller: &mut Caller,
    acknowledged: &Acknowledged,
    paid: bool,
    until: Instant,
    verified: &mut Verified,
) -> Result<(), BenchError> {
    let path = format!("/v1/orders/{}", acknowledged.order);
    verified.read += 1;
    let order = loop {
        let answer = caller.get(&path).await?;
        if answer.status == 404 {
            verified.missing.push(acknowledged.order.to_string());
            return Ok(());
        }
        if !answer.is_ok() {
            return Err(answer.error(format!("GET {path}")));
        }
        let order = answer.json();
        if !paid || is_settled(&order) {
            break order;
        }
        if Instant::now() > until {
            verified.unsettled += 1;
            break order;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let status = order.get("status").and_then(Value::as_str).unwrap_or("absent");
    *verified.statuses.entry(status.to_owned()).or_default() += 1;
    let now = of_status(status);
    if now == Verdict::Confirmed {
        verified.confirmed += 1;
        verified.confirmed_units += units(&order);
    }
    // What was confirmed stays so; what ended stays ended. What was held may end either way.
    let kept = match acknowledged.verdict {
        Verdict::Confirmed => now == Verdict::Confirmed,
        Verdict::SoldOut => now == Verdict::SoldOut,
        Verdict::Ended => now == Verdict::Ended,
        Verdict::Held | Verdict::Declined | Verdict::Refused | Verdict::Again => true,
    };
    let email = format!("buyer{}@", acknowledged.buyer);
    let known = order.pointer("/buyer/email").and_then(Value::as_str);
    if known.is_some_and(|known| !known.starts_with(&email)) {
        verified.contradicted.push(format!("{}: is another buyer's", acknowledged.order));
    } else if !kept {
        verified.contradicted.push(format!("{}: answered {:?}, is {status}", acknowledged.order, acknowledged.verdict));
    } else if units(&order) != 1 {
        verified.contradicted.push(format!("{}: {} units instead of 1", acknowledged.order, units(&order)));
    }
    Ok(())
}

/// Has the order come to rest? With its payment declined it rests until the shopper or the deadline acts.
pub(crate) fn is_settled(order: &Value) -> bool {
    match order.get("status").and_then(Value::as_str) {
        Some("placed" | "authorizing") => false,
        Some("awaiting_payment") => {
            let payments = order.get("payments").and_then(Value::as_array);
            let last =
                payments.and_then(|payments| payments.last()).and_then(|payment| payment.get("status")?.as_str());
            last == Some("failed")
        }
        _ => true,
    }
}

fn units(order: &Value) -> u64 {
    let lines = order.get("lines").and_then(Value::as_array);
    lines.into_iter().flatten().filter_map(|line| line.get("quantity")?.as_u64()).sum()
}

/// How many were read, in words.
pub(crate) fn coverage(verified: &Verified) -> String {
    if verified.read == verified.acknowledged {
        format!("all {}", doorbuster_bench::number::grouped(verified.read))
    } else {
        let every = length(verified.acknowledged).div_ceil(READ_MAX);
        format!("every {every}th ({} of {})", verified.read, verified.acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_order_whose_payment_is_under_way_has_not_come_to_rest() {
        assert!(!is_settled(&json!({ "status": "authorizing" })));
        assert!(!is_settled(&json!({ "status": "awaiting_payment", "payments": [] })));
        assert!(is_settled(&json!({ "status": "awaiting_payment", "payments": [{ "status": "failed" }] })));
        assert!(is_settled(&json!({ "status": "confirmed" })));
    }
}
