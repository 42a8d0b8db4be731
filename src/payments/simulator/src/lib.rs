//! A payment provider to test against, and the record of what it charged. One engine, used in two ways:
//!
//! ```text
//!                                     ┌── in_process: function calls, tokio's time ──► a node, or a simulation
//! engine ── ledger ───── provider ────┤
//!  behaviour, tokens    ledger_file   └── server: HTTP, synced ledger ──► `payment-simulator`
//! ```

mod behaviour;
pub mod command;
pub mod engine;
pub mod in_process;
pub mod ledger;
pub mod ledger_file;
pub mod page;
mod post_webhook;
pub mod provider;
pub mod server;
mod tokens;
pub mod webhook_sender;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod loopback;
#[cfg(test)]
pub(crate) mod testing;

pub use behaviour::{Behaviour, Profile, WebhookBehaviour};
pub use engine::{Engine, Reply, ShopperAction};
pub use in_process::{InProcess, SimulatorOptions};
pub use ledger::Ledger;
pub use ledger_file::LedgerFileError;
pub use page::{Page, PageRequest};
pub use post_webhook::WebhookClient;
pub use provider::{ActionResult, LedgerLost, LedgerStorage, SimulatedProvider};
pub use webhook_sender::{DeliverWebhook, WebhookSender, WebhookTarget};
