//! Is what clients saw of each SKU what one shelf, changed by one operation at a time, could have shown them?
//!
//! ```text
//! history ──by SKU──► claims: who made which version ──► real time: no answer shows less than was known before ──► replay on the model
//! ```
//!
//! Every event of a SKU makes its version one greater, and answers name it. So the order of operations is given, and needs no search: what is
//! answered must be what the model answers at that version, every version must be made by some operation, and an operation that returned
//! before another was begun must not see more than that one. What was never answered may have happened or not; where a version is made by
//! none that was answered, those are tried in turn. An answer without a version (a refusal) must be right at some version of its time.
//!
//! `model`: the shelf. `words`: operations and how they are described. `times`: real time. `replay`: version by version.

mod model;
mod replay;
#[cfg(test)]
mod tests;
mod times;
mod words;

pub use words::{Answer, Op, Operation};

use std::collections::BTreeMap;
use std::fmt;

/// What no shelf could have shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// Of this SKU.
    pub sku: u32,
    /// Which operations contradict each other, and how.
    pub why: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SKU {}: {}", self.sku, self.why)
    }
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Operations.
    pub operations: usize,
    /// Of them never answered.
    pub unanswered: usize,
    /// Versions, each made by an operation.
    pub versions: u64,
    /// Versions whose maker had to be found.
    pub searched: u64,
    /// Answers that name no version.
    pub unplaced: usize,
}

/// Checks a history; gives every SKU's first anomaly.
pub fn check(history: &[Operation]) -> Result<Checked, Vec<Anomaly>> {
    let mut by_sku: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_sku.entry(operation.sku).or_default().push(operation);
    }
    let mut all = Checked::default();
    let mut anomalies = Vec::new();
    for (sku, operations) in by_sku {
        match check_sku(&operations) {
            Ok(checked) => {
                all.operations += checked.operations;
                all.unanswered += checked.unanswered;
                all.versions += checked.versions;
                all.searched += checked.searched;
                all.unplaced += checked.unplaced;
            }
            Err(why) => anomalies.push(Anomaly { sku, why }),
        }
    }
    if anomalies.is_empty() { Ok(all) } else { Err(anomalies) }
}

fn check_sku(operations: &[&Operation]) -> Result<Checked, String> {
    let claims = times::claims(operations)?;
    let windows = times::windows(operations, &claims)?;
    replay::replay(operations, &claims, &windows)
}
