//! Payment providers: one trait, and two that can be had by configuration alone.
//!
//! ```text
//!               Provider::send(call, deadline) ──► answer         webhook ──► verify ──► event
//!                    ├── simulated: the engine, inside the node
//!                    └── http: the same engine in a process of its own, with a durable ledger
//! ```
//!
//! Rules M1–M5 are the order's to hold; a provider's part is never to call "failed" what it does not know.

pub mod http;
pub mod provider;
pub mod webhook;
pub mod wire;

pub use http::HttpProvider;
pub use provider::{LedgerError, LedgerPage, Provider};
pub use webhook::{SignedWebhook, WebhookError, WebhookEvent, WebhookHeaders, WebhookSecret};
