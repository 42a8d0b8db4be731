//! The settings: what they are, where they come from, and what is refused.
//!
//! ```text
//! built-in defaults  <  cluster.toml  <  environment DOORBUSTER__SECTION__KEY  <  flags
//!
//! source ─► tree, each value with its file and line ─► sift: keys and values against the declarations ─► merge ─► serde ─► rules ─► Config
//!                                                          └───────────────── all faults, one line each ──────────────────┘
//! ```
//!
//! A setting is declared once, in a line of its section's struct (`doorbuster_settings::settings!`): type, default, what is allowed. The rules
//! between settings are in the function that the struct names. `cluster.toml` at the root says for each setting what goes wrong when it is too
//! small or too large; its values are the built-in defaults, and a test holds the two together.

mod cluster;
mod error;
mod keys;
mod load;
mod settings;
#[cfg(test)]
mod tests;
mod trade;
mod tree;

pub use cluster::{Cluster, Cql, Quorum};
pub use error::{Error, Fault, Origin};
pub use keys::{Keys, is_at};
pub use load::{ENVIRONMENT_PREFIX, FILE_NAME, Sources, VARIABLES_OF_TESTS, environment};
pub use settings::{
    AccessLog, Admission, Api, Audit, Config, Entities, Faults, Journal, JournalKind, Lists, Log, LogFormat, Node,
    OperatorAuth, Redis, Runtimes,
};
pub use trade::{
    Capture, Carts, Country, Inventory, Orders, PaymentProvider, Payments, Reservations, Shipping, ShippingOption,
    Shop, Tax,
};
