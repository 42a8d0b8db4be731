//! The four priority classes of requests. Under overload a lower class is refused before a higher one.
//!
//! ```text
//! completion ── webhooks, payments and cancellations of placed orders: what ends a saga frees capacity
//! checkout ──── placing orders, and reading how they proceed
//! cart ──────── carts, guests, and what sellers maintain
//! browsing ──── reading the catalogue
//! ```
//!
//! The steps that sagas still owe (commit, release, capture) are not requests and pass no admission: they were admitted with their order.

/// A priority class; the first is served first. Each row of the table of routes names its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PriorityClass {
    /// Ends a saga.
    Completion,
    /// Begins a saga, or reads one.
    Checkout,
    /// Prepares a checkout, or is a seller's own work.
    Cart,
    /// Reads the catalogue.
    Browsing,
}

impl PriorityClass {
    /// All classes, highest priority first.
    pub const ALL: [Self; 4] = [Self::Completion, Self::Checkout, Self::Cart, Self::Browsing];

    /// The name of the class in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Checkout => "checkout",
            Self::Cart => "cart",
            Self::Browsing => "browsing",
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Completion => 0,
            Self::Checkout => 1,
            Self::Cart => 2,
            Self::Browsing => 3,
        }
    }
}
