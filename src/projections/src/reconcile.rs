//! Compares the cache with the journal, SKU by SKU, and repairs differences: for an operator, and for a node that finds the cache emptied.
//!
//! It may run while the shop sells. A cached version older than the journal may be a matter of a moment. A newer one is compared with a second read
//! of the journal, because only durable states are put. A repair takes effect only if the cached version is still the one that was compared.

use super::ReadModelError;
use super::cache::{AvailabilitySnapshot, BATCH_MAX, Cache};
use super::rebuild_availability;
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_storage::{Journal, ReadError, Shard};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// The most SKUs that a report names; more are only counted.
const NAMED_MAX: usize = 100;

/// Why the comparison failed.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cache could not be read or repaired.
    #[error("the cache: {0}")]
    Cache(#[from] ReadModelError),
}

/// The difference between the cache and the journal for one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The cache lacks the SKU.
    Missing,
    /// The cache has an older version.
    Behind,
    /// The cache has a version that the journal does not have.
    Ahead,
    /// The cache has the version with other values.
    Wrong,
    /// The cache has a SKU that the journal does not have.
    Foreign,
}

/// A SKU whose cached snapshot differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The id of the SKU.
    pub sku: String,
    /// The kind of difference.
    pub difference: Difference,
    /// Version and available units in the cache.
    pub cache: Option<(u64, u64)>,
    /// Version and available units by the journal.
    pub journal: Option<(u64, u64)>,
    /// Whether the cache was repaired.
    pub repaired: bool,
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Report {
    /// Whether nothing differs.
    pub in_order: bool,
    /// The number of SKUs in the journal.
    pub skus: u64,
    /// The number of differing SKUs, by difference.
    pub differences: BTreeMap<Difference, u64>,
    /// The number of repaired SKUs.
    pub repaired: u64,
    /// The first hundred differing SKUs.
    pub drift: Vec<Drift>,
}

impl Report {
    fn note(
        &mut self,
        sku: &Sku,
        (difference, repaired): (Difference, bool),
        cache: Option<&AvailabilitySnapshot>,
        journal: Option<&AvailabilitySnapshot>,
    ) {
        let summary =
            |snapshot: Option<&AvailabilitySnapshot>| snapshot.map(|snapshot| (snapshot.version, snapshot.available));
        let so_far = self.differences.entry(difference).or_default();
        *so_far = so_far.saturating_add(1);
        self.repaired = self.repaired.saturating_add(u64::from(repaired));
        if self.drift.len() < NAMED_MAX {
            let sku = sku.to_string();
            self.drift.push(Drift { sku, difference, cache: summary(cache), journal: summary(journal), repaired });
        }
    }

    /// The number of differing SKUs.
    #[must_use]
    pub fn differing(&self) -> u64 {
        self.differences.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Compares all SKUs of these shards with the cache; `repair` also repairs the differences.
///
/// # Errors
/// [`ReconcileError`]; repairs made until then stay.
pub async fn reconcile<J: Journal, C: Cache>(
    journal: &J,
    shards: &[Shard],
    cache: &C,
    repair: bool,
) -> Result<Report, ReconcileError> {
    let mut report = Report::default();
    let mut all = BTreeSet::new();
    for shard in shards {
        let known: Vec<(Sku, AvailabilitySnapshot)> =
            rebuild_availability::of_shard(journal, *shard).await?.into_iter().collect();
        for page in known.chunks(BATCH_MAX) {
            let skus: Vec<Sku> = page.iter().map(|(sku, _)| sku.clone()).collect();
            let found = cache.get(&skus).await?;
            for ((sku, rebuilt), cached) in page.iter().zip(found) {
                report.skus = report.skus.saturating_add(1);
                compare(journal, cache, (sku, rebuilt), cached, repair, &mut report).await?;
            }
            all.extend(skus);
        }
    }
    foreign(journal, (shards, &all), cache, repair, &mut report).await?;
    report.in_order = report.differences.is_empty();
    Ok(report)
}

/// Puts every SKU of these shards into the cache; returns how many were newer than the cached snapshot.
///
/// `rebuilt` gives a shard's SKUs, as [`rebuild_availability::of_shard`] does: a node reads its journal on another thread than those that serve.
///
/// # Errors
/// [`ReconcileError`]; snapshots put until then stay, and a repetition is harmless.
pub async fn fill<R, C>(rebuilt: impl Fn(Shard) -> R, shards: &[Shard], cache: &C) -> Result<u64, ReconcileError>
where
    R: Future<Output = Result<BTreeMap<Sku, AvailabilitySnapshot>, ReadError>>,
    C: Cache,
{
    let mut applied: u64 = 0;
    for shard in shards {
        let known: Vec<(Sku, AvailabilitySnapshot)> = rebuilt(*shard).await?.into_iter().collect();
        for page in known.chunks(BATCH_MAX) {
            applied = applied.saturating_add(cache.put(page).await?);
        }
    }
    Ok(applied)
}

async fn compare<J: Journal, C: Cache>(
    journal: &J,
    cache: &C,
    (sku, rebuilt): (&Sku, &AvailabilitySnapshot),
    cached: Option<AvailabilitySnapshot>,
    repair: bool,
    report: &mut Report,
) -> Result<(), ReconcileError> {
    let again;
    let (difference, rebuilt) = match &cached {
        None => (Difference::Missing, rebuilt),
        Some(cached) if cached.version < rebuilt.version => (Difference::Behind, rebuilt),
        Some(cached) if cached.version == rebuilt.version => {
            if cached.shows_the_same(rebuilt) {
                return Ok(());
            }
            (Difference::Wrong, rebuilt)
        }
        Some(cached) => {
            // Either put since the journal was read, or invalid: a second read of the journal decides.
            again = rebuild_availability::of_sku(journal, sku).await?.unwrap_or_default();
            if cached.version <= again.version {
                return Ok(());
            }
            (Difference::Ahead, &again)
        }
    };
    let seen = cached.as_ref().map(|cached| cached.version);
    let repaired = match (repair, difference) {
        (false, _) => false,
        (true, Difference::Missing | Difference::Behind) => cache.put(&[(sku.clone(), rebuilt.clone())]).await? > 0,
        (true, Difference::Ahead | Difference::Wrong | Difference::Foreign) => {
            cache.replace(sku, seen, Some(rebuilt)).await?
        }
    };
    report.note(sku, (difference, repaired), cached.as_ref(), Some(rebuilt));
    Ok(())
}

/// Reports SKUs of these shards that the cache has and the journal does not.
async fn foreign<J: Journal, C: Cache>(
    journal: &J,
    (shards, known): (&[Shard], &BTreeSet<Sku>),
    cache: &C,
    repair: bool,
    report: &mut Report,
) -> Result<(), ReconcileError> {
    let layout = journal.layout();
    let mut page = 0;
    loop {
        let (skus, next) = cache.skus(page).await?;
        for sku in skus {
            let entity = EntityId::Inventory(sku.clone());
            let shard = layout.shard_of(&entity);
            // A SKU that was created since the journal was read has a first event by now.
            if !shards.contains(&shard)
                || known.contains(&sku)
                || !journal.history(shard, &entity, 1, 1).await?.is_empty()
            {
                continue;
            }
            let cached = cache.get(std::slice::from_ref(&sku)).await?.into_iter().next().flatten();
            let Some(cached) = cached else { continue };
            let repaired = repair && cache.replace(&sku, Some(cached.version), None).await?;
            report.note(&sku, (Difference::Foreign, repaired), Some(&cached), None);
        }
        if next == 0 {
            return Ok(());
        }
        page = next;
    }
}
