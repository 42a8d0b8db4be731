//! Payment providers: one trait with two implementations, chosen by configuration.
//!
//! ```text
//!               Provider::send(call, deadline) ──► answer         webhook ──► verify ──► event
//!                    ├── simulated: the engine, inside the node
//!                    └── http: the same engine in a process of its own, with a durable ledger
//! ```
//!
//! The order implements rules M1–M5. A provider's duty is never to report *failed* when the outcome is unknown.

pub mod http;
pub mod provider;
pub mod webhook;
pub mod wire;

pub use http::HttpProvider;
pub use provider::{LedgerError, LedgerPage, Provider};
pub use webhook::{SignedWebhook, WebhookError, WebhookEvent, WebhookHeaders, WebhookSecret};
