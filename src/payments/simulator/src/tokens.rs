//! The test tokens: a shopper's means of payment that says what is to happen.

use doorbuster_domain::payment::{Operation, ProviderCall};

/// What is to happen to an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fortune {
    /// `tok_ok`
    Ok,
    /// `tok_decline_soft`
    DeclineSoft,
    /// `tok_decline_hard`
    DeclineHard,
    /// `tok_action`: the shopper must act.
    Action,
    /// `tok_processing`: worked on, told later.
    Processing,
    /// `tok_slow`
    Slow,
    /// `tok_timeout_charged`: carried out, but the first answer is lost.
    TimeoutCharged,
    /// `tok_timeout_not_charged`: lost on the way the first time it is sent.
    TimeoutNotCharged,
    /// Any other token, or another operation: as the odds are.
    Unsaid,
}

impl Fortune {
    /// What the call's token says.
    pub(super) fn of(call: &ProviderCall) -> Self {
        if call.query_only || call.reference.operation != Operation::Authorize {
            return Self::Unsaid;
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
            Some(_) | None => Self::Unsaid,
        }
    }
}
