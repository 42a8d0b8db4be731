//! Compares the cache with the journal's truth, SKU by SKU, and repairs what differs: for an operator who wants to know, and for a node that finds
//! the cache emptied.
//!
//! It may run while the shop sells. What is behind is what a moment makes it; what is ahead of the journal as it was read is looked at
//! again, for only durable figures are ever put, so a second look at the journal must find them. A repair takes effect only if what was seen is still there.

use super::Unreachable;
use super::cache::{BATCH_MAX, Cache, Figures};
use super::truth;
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_storage::{Journal, ReadError, Shard};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// SKUs that are named one by one; beyond it they are only counted.
const NAMED_MAX: usize = 100;

/// Why the comparison could not be carried out.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cache could not be read or repaired.
    #[error("the cache: {0}")]
    Cache(#[from] Unreachable),
}

/// How the cache differs from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// It knows nothing of the SKU.
    Missing,
    /// It has an older version.
    Behind,
    /// It has a version the journal does not know.
    Ahead,
    /// It has the version, and other figures.
    Wrong,
    /// It knows a SKU that the journal does not.
    Foreign,
}

/// One SKU that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Which.
    pub sku: String,
    /// How.
    pub difference: Difference,
    /// Version and available units in the cache.
    pub cache: Option<(u64, u64)>,
    /// The same in the journal.
    pub journal: Option<(u64, u64)>,
    /// Was it put right?
    pub repaired: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Report {
    /// Nothing differs.
    pub in_order: bool,
    /// SKUs in the journal.
    pub skus: u64,
    /// How many differ, by how.
    pub differences: BTreeMap<Difference, u64>,
    /// How many of them were put right.
    pub repaired: u64,
    /// The first hundred of them.
    pub drift: Vec<Drift>,
}

impl Report {
    fn note(
        &mut self,
        sku: &Sku,
        (difference, repaired): (Difference, bool),
        cache: Option<&Figures>,
        journal: Option<&Figures>,
    ) {
        let told = |figures: Option<&Figures>| figures.map(|figures| (figures.version, figures.available));
        let so_far = self.differences.entry(difference).or_default();
        *so_far = so_far.saturating_add(1);
        self.repaired = self.repaired.saturating_add(u64::from(repaired));
        if self.drift.len() < NAMED_MAX {
            let sku = sku.to_string();
            self.drift.push(Drift { sku, difference, cache: told(cache), journal: told(journal), repaired });
        }
    }

    /// How many differ.
    #[must_use]
    pub fn differing(&self) -> u64 {
        self.differences.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Compares all SKUs of these shards with the cache; with `repair` puts right what differs.
///
/// # Errors
/// [`ReconcileError`]; what was put right until then stays so.
pub async fn reconcile<J: Journal, C: Cache>(
    journal: &J,
    shards: &[Shard],
    cache: &C,
    repair: bool,
) -> Result<Report, ReconcileError> {
    let mut report = Report::default();
    let mut all = BTreeSet::new();
    for shard in shards {
        let known: Vec<(Sku, Figures)> = truth::of_shard(journal, *shard).await?.into_iter().collect();
        for page in known.chunks(BATCH_MAX) {
            let skus: Vec<Sku> = page.iter().map(|(sku, _)| sku.clone()).collect();
            let found = cache.get(&skus).await?;
            for ((sku, truth), cached) in page.iter().zip(found) {
                report.skus = report.skus.saturating_add(1);
                compare(journal, cache, (sku, truth), cached, repair, &mut report).await?;
            }
            all.extend(skus);
        }
    }
    foreign(journal, (shards, &all), cache, repair, &mut report).await?;
    report.in_order = report.differences.is_empty();
    Ok(report)
}

/// Puts every SKU of these shards into a cache that knows nothing, or too little; gives how many were newer than what was there.
///
/// # Errors
/// [`ReconcileError`]; what was put until then stays, and filling it again is harmless.
pub async fn fill<J: Journal, C: Cache>(journal: &J, shards: &[Shard], cache: &C) -> Result<u64, ReconcileError> {
    let mut applied: u64 = 0;
    for shard in shards {
        let known: Vec<(Sku, Figures)> = truth::of_shard(journal, *shard).await?.into_iter().collect();
        for page in known.chunks(BATCH_MAX) {
            applied = applied.saturating_add(cache.put(page).await?);
        }
    }
    Ok(applied)
}

async fn compare<J: Journal, C: Cache>(
    journal: &J,
    cache: &C,
    (sku, truth): (&Sku, &Figures),
    cached: Option<Figures>,
    repair: bool,
    report: &mut Report,
) -> Result<(), ReconcileError> {
    let again;
    let (difference, truth) = match &cached {
        None => (Difference::Missing, truth),
        Some(cached) if cached.version < truth.version => (Difference::Behind, truth),
        Some(cached) if cached.version == truth.version => {
            if cached.tells_the_same_as(truth) {
                return Ok(());
            }
            (Difference::Wrong, truth)
        }
        Some(cached) => {
            // Put since the journal was read, or never lawful: the journal has the last word.
            again = truth::of_one(journal, sku).await?.unwrap_or_default();
            if cached.version <= again.version {
                return Ok(());
            }
            (Difference::Ahead, &again)
        }
    };
    let seen = cached.as_ref().map(|cached| cached.version);
    let repaired = match (repair, difference) {
        (false, _) => false,
        (true, Difference::Missing | Difference::Behind) => cache.put(&[(sku.clone(), truth.clone())]).await? > 0,
        (true, Difference::Ahead | Difference::Wrong | Difference::Foreign) => {
            cache.replace(sku, seen, Some(truth)).await?
        }
    };
    report.note(sku, (difference, repaired), cached.as_ref(), Some(truth));
    Ok(())
}

/// What the cache knows of these shards and the journal does not.
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
            // One that came since the journal was read has a first event by now.
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
