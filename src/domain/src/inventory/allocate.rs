//! Allocates units to warehouses: the first warehouse of the ranking that has all of them, otherwise as few warehouses as possible.

use super::Inventory;
use super::command::{Allocation, Units};
use super::levels::Level;
use super::memory::narrow;
use crate::ids::WarehouseId;
use std::cmp::Reverse;

impl Inventory {
    /// Allocates `units`; `None`: all warehouses together have fewer. Warehouses that the ranking does not name come last, by id.
    pub(super) fn allocate(&self, units: Units, ranking: &[WarehouseId]) -> Option<Vec<Allocation>> {
        self.allocate_with(units, ranking, Level::available)
    }

    /// The same, with `free` as the number of units that a level can give.
    pub(super) fn allocate_with(
        &self,
        units: Units,
        ranking: &[WarehouseId],
        free: impl Fn(&Level) -> u64,
    ) -> Option<Vec<Allocation>> {
        let wanted = u64::from(units);
        let rank = |warehouse: &WarehouseId| ranking.iter().position(|other| other == warehouse).unwrap_or(usize::MAX);
        let mut stocked: Vec<(usize, &WarehouseId, u64)> = self
            .levels
            .values()
            .map(|level| (rank(&level.warehouse), &level.warehouse, free(level)))
            .filter(|(_, _, available)| *available > 0)
            .collect();
        stocked.sort_unstable();
        if let Some((_, warehouse, _)) = stocked.iter().find(|(_, _, available)| *available >= wanted) {
            return Some(vec![Allocation { warehouse: (*warehouse).clone(), units }]);
        }
        // No warehouse has all units: taking the largest first uses the fewest warehouses. The sort is stable, so ties keep the ranking's order.
        stocked.sort_by_key(|(_, _, available)| Reverse(*available));
        let mut left = wanted;
        let mut taken = Vec::new();
        for (_, warehouse, available) in stocked {
            let part = available.min(left);
            if part > 0 {
                taken.push(Allocation { warehouse: warehouse.clone(), units: narrow(part) });
                left = left.saturating_sub(part);
            }
        }
        (left == 0).then_some(taken)
    }
}
