//! The shop of a cluster run: what is sold, and one SKU of every shard that is only looked at.

use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::catalogue::{self, Offered};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::count;
use futures_util::future::try_join_all;

/// What one unit costs, in pence.
const PRICE_PENCE: u64 = 12_999;
/// SKUs of one product.
const SKUS_PER_PRODUCT: usize = 100;
/// Receipts under way at once: each waits for the store several times.
const WORKERS: usize = 24;

/// The SKUs on sale.
pub(crate) fn names(run: &str, number: u32) -> Vec<String> {
    (1..=number).map(|n| format!("HOT-{run}-{n}")).collect()
}

/// How many units of each: spread evenly, the first take the remainder.
fn spread(units: u64, skus: usize) -> impl Iterator<Item = u64> {
    let number = count(skus).max(1);
    (0..number).map(move |index| units / number + u64::from(index < units % number))
}

/// Opens it, through all nodes at once.
pub(crate) async fn open(
    publics: &[Target],
    run: &str,
    skus: &[String],
    units: u64,
    looked_at: &[String],
) -> Result<String, BenchError> {
    let first = publics.first().ok_or_else(|| BenchError::Input("a cluster has a node at least".to_owned()))?;
    let mut caller = Caller::new(first.clone());
    catalogue::open_warehouse(&mut caller).await?;
    let mut products = Vec::new();
    for (title, word, list) in [("Nova Low, first run", "hot", skus), ("Looked at, not sold", "probe", looked_at)] {
        for (index, chunk) in list.chunks(SKUS_PER_PRODUCT).enumerate() {
            let id = format!("{word}-{run}-{index}");
            let offered: Vec<Offered> =
                chunk.iter().map(|sku| Offered { sku: sku.clone(), pence: PRICE_PENCE }).collect();
            catalogue::put_product(&mut caller, &id, title, &offered).await?;
            products.push(id);
        }
    }
    let mut work: Vec<(&String, u64)> = skus.iter().zip(spread(units, skus.len())).collect();
    work.extend(looked_at.iter().map(|sku| (sku, 1)));
    let each = work.len().div_ceil(WORKERS).max(1);
    let workers = work.chunks(each).zip(publics.iter().cycle()).map(|(part, target)| async move {
        let mut caller = Caller::new(target.clone());
        for (sku, units) in part {
            catalogue::receive(&mut caller, sku, *units).await?;
        }
        Ok::<(), BenchError>(())
    });
    try_join_all(workers).await?;
    products.into_iter().next().ok_or_else(|| BenchError::Input("a sale has a SKU at least".to_owned()))
}

/// What is left of all SKUs on sale.
pub(crate) async fn stock(public: &Target, skus: &[String]) -> Result<catalogue::Level, BenchError> {
    let each = skus.len().div_ceil(WORKERS).max(1);
    let readers = skus.chunks(each).map(|part| async move {
        let mut caller = Caller::new(public.clone());
        let mut sum = catalogue::Level::default();
        for sku in part {
            let one = catalogue::level(&mut caller, sku).await?;
            sum = sum.and(one);
        }
        Ok::<_, BenchError>(sum)
    });
    let sums = try_join_all(readers).await?;
    Ok(sums.into_iter().fold(catalogue::Level::default(), catalogue::Level::and))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_spread_evenly_and_none_is_lost() {
        assert_eq!(spread(10, 4).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(spread(2, 3).collect::<Vec<_>>(), [1, 1, 0]);
    }
}
