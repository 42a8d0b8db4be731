//! The state of a SKU's stock that shoppers and refused orders see.

/// The state of a SKU's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockState {
    /// More units are available than the setting calls low.
    InStock,
    /// Units are available, at most as many as the setting calls low.
    LowStock,
    /// No unit is available, and some are in someone's checkout and may come back.
    AllReserved,
    /// No unit is available or reserved.
    SoldOut,
    /// The SKU is no longer on sale.
    Ended,
}

impl StockState {
    /// The state of a SKU with this many units available and reserved. At or below `low_stock_at` available units the stock is low.
    #[must_use]
    pub const fn of(available: u64, reserved: u64, on_sale: bool, low_stock_at: u64) -> Self {
        match (available, reserved) {
            _ if !on_sale => Self::Ended,
            (0, 0) => Self::SoldOut,
            (0, _) => Self::AllReserved,
            (available, _) if available <= low_stock_at => Self::LowStock,
            (_, _) => Self::InStock,
        }
    }

    /// The state of a SKU that has fewer units than were wanted. `any_reserved`: some units are in someone's checkout.
    #[must_use]
    pub const fn of_shortage(available: u64, any_reserved: bool) -> Self {
        match (available, any_reserved) {
            (0, true) => Self::AllReserved,
            (0, false) => Self::SoldOut,
            (_, _) => Self::LowStock,
        }
    }

    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InStock => "in_stock",
            Self::LowStock => "low_stock",
            Self::AllReserved => "all_reserved",
            Self::SoldOut => "sold_out",
            Self::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_all_reserved_only_when_no_unit_is_available() {
        assert_eq!(StockState::of_shortage(0, true), StockState::AllReserved);
        assert_eq!(StockState::of_shortage(0, false), StockState::SoldOut);
        assert_eq!(StockState::of_shortage(1, true), StockState::LowStock);
    }

    #[test]
    fn what_is_not_on_sale_has_ended_whatever_its_stock() {
        assert_eq!(StockState::of(5, 0, false, 2), StockState::Ended);
        assert_eq!(StockState::of(3, 9, true, 2), StockState::InStock);
        assert_eq!(StockState::of(2, 0, true, 2), StockState::LowStock);
    }
}
