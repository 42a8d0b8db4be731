//! The kinds of claims that are counted one by one: what each counts, when it is asked for, and what its commit means.

use super::ClaimStage;
use crate::codec::{self as minicbor, Decode, Encode};
use crate::ids::CounterId;
use serde::{Deserialize, Serialize};

/// What is claimed at a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum ClaimKind {
    /// That no other order of the seller has the external id.
    #[n(0)]
    ExternalId,
    /// Units that the buyer holds unpaid, by e-mail address.
    #[n(1)]
    UnpaidByBuyer,
    /// Units that are held unpaid for one delivery address.
    #[n(2)]
    UnpaidByAddress,
    /// Units that are held unpaid by one instrument of payment.
    #[n(3)]
    UnpaidByInstrument,
    /// One use of a coupon.
    #[n(4)]
    Coupon,
}

/// What of an order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// The order.
    Once,
    /// Each of its units.
    Units,
}

impl ClaimKind {
    /// One row for each kind: the stage in which it is asked for, what counts, and whether it counts for ever once the order is confirmed.
    const fn rules(self) -> (ClaimStage, Counts, bool) {
        match self {
            Self::ExternalId | Self::Coupon => (ClaimStage::Allowances, Counts::Once, true),
            Self::UnpaidByBuyer | Self::UnpaidByAddress => (ClaimStage::Allowances, Counts::Units, false),
            Self::UnpaidByInstrument => (ClaimStage::Instrument, Counts::Units, false),
        }
    }

    /// When it is asked for.
    #[must_use]
    pub const fn stage(self) -> ClaimStage {
        self.rules().0
    }

    /// Does it count for ever once the order is confirmed?
    #[must_use]
    pub const fn is_kept(self) -> bool {
        self.rules().2
    }

    /// How much an order of so many units claims.
    #[must_use]
    pub const fn units(self, of_order: u32) -> u32 {
        match self.rules().1 {
            Counts::Once => 1,
            Counts::Units => of_order,
        }
    }

    /// Its name in events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExternalId => "external_id",
            Self::UnpaidByBuyer => "unpaid_by_buyer",
            Self::UnpaidByAddress => "unpaid_by_address",
            Self::UnpaidByInstrument => "unpaid_by_instrument",
            Self::Coupon => "coupon",
        }
    }
}

/// A claim that an order is placed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Wanted {
    /// What it is.
    #[n(0)]
    pub kind: ClaimKind,
    /// Where it is counted.
    #[n(1)]
    pub at: CounterId,
    /// The most that may count there, as it was when the order was placed.
    #[n(2)]
    pub limit: u32,
}
