//! The settings: what they are, where they come from, and what is refused.
//!
//! ```text
//! built-in defaults < cluster.toml < environment DOORBUSTER__SECTION__KEY < flags
//! ```
//!
//! Every source is held against one table ([`schema`]) before anything is merged, so an error can say which file, variable or flag
//! holds the bad value, which key it is and what is allowed there. What settings must be to each other is checked last.
//!
//! `cluster.toml` at the root says for each setting what goes wrong when it is too small or too large; its values are the built-in
//! defaults, and a test holds the two together.

mod admission;
mod cluster;
mod error;
mod layers;
pub mod schema;
mod settings;
#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use cluster::{Cluster, Cql, Quorum};
pub use error::Error;
pub use layers::{ENVIRONMENT_PREFIX, FILE_NAME, Sources, environment};
pub use settings::{
    Api, Capture, Carts, Config, Country, Entities, Faults, Inventory, Journal, JournalKind, Log, LogFormat, Node,
    Orders, PaymentProfile, PaymentProvider, Payments, Redis, Secret, Shipping, ShippingOption, Shop, Tax,
};
