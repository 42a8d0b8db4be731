//! The test tokens: payment methods that determine what happens.

use doorbuster_domain::payment::{Operation, ProviderCall};

/// The behaviour that a token asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenBehaviour {
    /// `tok_ok`: authorized.
    Ok,
    /// `tok_decline_soft`: declined, a retry may succeed.
    DeclineSoft,
    /// `tok_decline_hard`: declined for good.
    DeclineHard,
    /// `tok_action`: the shopper must act.
    Action,
    /// `tok_processing`: processing first, the outcome in a webhook.
    Processing,
    /// `tok_slow`: authorized after `slow_ms`.
    Slow,
    /// `tok_timeout_charged`: takes effect, but the first answer is lost.
    TimeoutCharged,
    /// `tok_timeout_not_charged`: the first sending is lost.
    TimeoutNotCharged,
    /// `tok_error_charged`: takes effect, and the key gets a stored 500.
    ErrorCharged,
    /// `tok_error_not_charged`: does not take effect, and the key gets a stored 500.
    ErrorNotCharged,
    /// `tok_other_amount`: authorized, one minor unit more than was asked for.
    OtherAmount,
    /// `tok_other_currency`: authorized in another currency.
    OtherCurrency,
    /// `tok_other_reference`: authorized, but the answer names another reference.
    OtherReference,
    /// `tok_random`, no token, or another operation: the configured probabilities apply.
    Unspecified,
    /// A token that nobody knows: declined for good.
    Unknown,
}

impl TokenBehaviour {
    /// The behaviour that a call's token asks for.
    pub(super) fn of(call: &ProviderCall) -> Self {
        if call.query_only || call.cancel || call.reference.operation != Operation::Authorize {
            return Self::Unspecified;
        }
        match call.token.as_deref() {
            Some("tok_ok") => Self::Ok,
            Some("tok_decline_soft") => Self::DeclineSoft,
            Some("tok_decline_hard") => Self::DeclineHard,
            Some("tok_action") => Self::Action,
            Some("tok_processing") => Self::Processing,
            Some("tok_slow") => Self::Slow,
            Some("tok_timeout_charged") => Self::TimeoutCharged,
            Some("tok_timeout_not_charged") => Self::TimeoutNotCharged,
            Some("tok_error_charged") => Self::ErrorCharged,
            Some("tok_error_not_charged") => Self::ErrorNotCharged,
            Some("tok_other_amount") => Self::OtherAmount,
            Some("tok_other_currency") => Self::OtherCurrency,
            Some("tok_other_reference") => Self::OtherReference,
            Some("tok_random") | None => Self::Unspecified,
            Some(_) => Self::Unknown,
        }
    }
}
