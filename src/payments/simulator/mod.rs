//! A payment provider to test against, and the referee of what was charged.

mod odds;

pub use odds::{Odds, Profile, WebhookOdds};
