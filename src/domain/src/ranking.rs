//! The ranking of warehouses: from which of them the units of an order or a reservation are taken first.

use super::ids::WarehouseId;
use super::inventory::Level;
use super::warehouse::Details;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ranks the warehouses that hold the SKUs of `lines`, best first.
///
/// Active ones come before others, then those that have the most lines whole, then by the shop's list `preferred`, then by the seller's priority.
/// Each line is the number of units wanted and the levels of its SKU. `details` gives what a seller said of a warehouse; one of which nothing is known
/// counts as active, with priority 0.
pub fn rank_warehouses<'a>(
    lines: impl IntoIterator<Item = (u64, &'a [Level])>,
    preferred: &[WarehouseId],
    details: impl Fn(&WarehouseId) -> Option<Arc<Details>>,
) -> Vec<WarehouseId> {
    let mut whole_lines: BTreeMap<&WarehouseId, usize> = BTreeMap::new();
    for (units, levels) in lines {
        for level in levels {
            let whole = whole_lines.entry(&level.warehouse).or_default();
            *whole = whole.saturating_add(usize::from(level.available() >= units));
        }
    }
    if let (1, true) = (whole_lines.len(), preferred.is_empty()) {
        return whole_lines.into_keys().cloned().collect();
    }
    let mut ranked: Vec<_> = whole_lines
        .into_iter()
        .map(|(id, whole)| {
            let details = details(id);
            let inactive = details.as_ref().is_some_and(|details| !details.active);
            let preference = preferred.iter().position(|other| other == id).unwrap_or(usize::MAX);
            (inactive, Reverse(whole), preference, details.map_or(0, |details| details.priority), id)
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(.., id)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> WarehouseId {
        WarehouseId::parse(name).unwrap()
    }

    fn levels(units: &[(&str, u64)]) -> Vec<Level> {
        units.iter().map(|(name, on_hand)| Level { on_hand: *on_hand, ..Level::at(id(name)) }).collect()
    }

    fn ranked(lines: &[(u64, Vec<Level>)], preferred: &[&str], known: &[(&str, bool, u32)]) -> Vec<String> {
        let preferred: Vec<_> = preferred.iter().map(|name| id(name)).collect();
        let details = |wanted: &WarehouseId| {
            let found = known.iter().find(|(name, ..)| id(name) == *wanted);
            found.map(|(_, active, priority)| {
                Arc::new(Details { active: *active, priority: *priority, ..Details::default() })
            })
        };
        let lines = lines.iter().map(|(units, levels)| (*units, levels.as_slice()));
        rank_warehouses(lines, &preferred, details).iter().map(|id| id.as_str().to_owned()).collect()
    }

    #[test]
    fn the_warehouse_with_the_most_whole_lines_comes_first() {
        let lines = [(2, levels(&[("a", 2), ("b", 1), ("c", 5)])), (1, levels(&[("a", 0), ("c", 1)]))];
        assert_eq!(ranked(&lines, &[], &[]), ["c", "a", "b"]);
    }

    #[test]
    fn among_equals_the_shops_list_comes_before_the_sellers_priority() {
        let lines = [(1, levels(&[("a", 9), ("b", 9), ("c", 9)]))];
        let known = [("a", true, 1), ("b", true, 3), ("c", true, 2)];
        assert_eq!(ranked(&lines, &[], &known), ["a", "c", "b"]);
        assert_eq!(ranked(&lines, &["b"], &known), ["b", "a", "c"]);
    }

    #[test]
    fn an_inactive_warehouse_comes_last_and_is_still_ranked() {
        let lines = [(5, levels(&[("a", 9), ("b", 1)]))];
        assert_eq!(ranked(&lines, &["a"], &[("a", false, 0)]), ["b", "a"]);
        assert_eq!(ranked(&[(1, levels(&[("a", 9)]))], &[], &[("a", false, 0)]), ["a"]);
        assert_eq!(ranked(&[], &[], &[]), Vec::<String>::new());
    }
}
