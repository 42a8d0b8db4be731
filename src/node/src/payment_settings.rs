//! What the configuration says about payments: which provider, where, and how a simulated one behaves.

use doorbuster_simulator::Profile;
use serde::Deserialize;

/// Which provider serves the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The simulated one, inside the node.
    #[default]
    Simulated,
    /// A `payment-simulator` process, spoken to over HTTP.
    Http,
}

/// The section `[payments]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Which provider.
    pub provider: Kind,
    /// Of `http`: where it listens, `http://host:port`.
    pub url: String,
    /// `whsec_…`, shared with the provider. `http` needs one; empty with `simulated`: made anew at each start, since nobody else signs.
    pub webhook_secret: String,
    /// Of `simulated`: how it behaves.
    pub profile: Profile,
    /// Of `simulated`: the same seed and the same references give the same fortunes.
    pub seed: u64,
    /// Of `simulated`: what its action addresses begin with; `/actions/{reference}` follows.
    pub action_url: String,
    /// After this many milliseconds without an answer a call's outcome is unknown. Too small: answers that come are thrown away and
    /// asked for again. Too large: a stalled provider keeps slots of `in_flight_max`.
    pub timeout_ms: u64,
    /// Of `http`: calls under way at once. Too small: confirmations queue here; too large: sockets run out.
    pub in_flight_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            provider: Kind::Simulated,
            url: String::new(),
            webhook_secret: String::new(),
            profile: Profile::Instant,
            seed: 1,
            action_url: String::new(),
            timeout_ms: 10_000,
            in_flight_max: 512,
        }
    }
}
