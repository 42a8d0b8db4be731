//! The JSON of the simulated provider's protocol and ledger, kept apart from the domain's types.
//!
//! ```json
//! { "reference": "ord_….authorize.1.1", "amount": { "amount": 100, "currency": "GBP" },
//!   "answer": { "status": "authorized", "provider_reference": "sim_7", "lapses_at_ms": 1 } }
//! ```

use compact_str::CompactString;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::payment::{
    LedgerLine, NextAction, ProviderAnswer, ProviderCall, ProviderReport, Reference, Retry,
};
use doorbuster_domain::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of minor units with its currency's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoneyForm {
    amount: i64,
    currency: CompactString,
}

impl From<Money> for MoneyForm {
    fn from(money: Money) -> Self {
        Self { amount: money.amount, currency: money.currency.as_str().into() }
    }
}

impl MoneyForm {
    /// The amount; `None`: the currency is unknown or the number out of bounds.
    #[must_use]
    pub fn read(&self) -> Option<Money> {
        Money::new(self.amount, Currency::parse(&self.currency).ok()?).ok()
    }
}

/// The retry that a decline allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryForm {
    /// The form of [`Retry::SameMethod`].
    SameMethod,
    /// The form of [`Retry::OtherMethod`].
    OtherMethod,
    /// The form of [`Retry::Never`].
    Never,
}

/// A provider's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant and field is that of ProviderAnswer")]
pub enum AnswerForm {
    Authorized {
        provider_reference: CompactString,
        lapses_at_ms: u64,
    },
    Succeeded {
        provider_reference: CompactString,
    },
    Declined {
        code: CompactString,
        retry: RetryForm,
    },
    RequiresAction {
        provider_reference: CompactString,
        kind: CompactString,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<CompactString>,
        expires_at_ms: u64,
    },
    Processing {
        provider_reference: CompactString,
    },
    NotFound,
    Conflict,
    Broken,
    Reversed {
        code: CompactString,
    },
    Unknown,
}

impl From<&ProviderAnswer> for AnswerForm {
    fn from(answer: &ProviderAnswer) -> Self {
        match answer.clone() {
            ProviderAnswer::Authorized { provider_reference, lapses_at } => {
                Self::Authorized { provider_reference, lapses_at_ms: lapses_at.0 }
            }
            ProviderAnswer::Succeeded { provider_reference } => Self::Succeeded { provider_reference },
            ProviderAnswer::Declined { code, retry } => Self::Declined {
                code,
                retry: match retry {
                    Retry::SameMethod => RetryForm::SameMethod,
                    Retry::OtherMethod => RetryForm::OtherMethod,
                    Retry::Never => RetryForm::Never,
                },
            },
            ProviderAnswer::RequiresAction { provider_reference, action } => Self::RequiresAction {
                provider_reference,
                kind: action.kind,
                url: action.url,
                expires_at_ms: action.expires_at.0,
            },
            ProviderAnswer::Processing { provider_reference } => Self::Processing { provider_reference },
            ProviderAnswer::NotFound => Self::NotFound,
            ProviderAnswer::Conflict => Self::Conflict,
            ProviderAnswer::Broken => Self::Broken,
            ProviderAnswer::Reversed { code } => Self::Reversed { code },
            ProviderAnswer::Unknown => Self::Unknown,
        }
    }
}

impl From<AnswerForm> for ProviderAnswer {
    fn from(form: AnswerForm) -> Self {
        match form {
            AnswerForm::Authorized { provider_reference, lapses_at_ms } => {
                Self::Authorized { provider_reference, lapses_at: Timestamp(lapses_at_ms) }
            }
            AnswerForm::Succeeded { provider_reference } => Self::Succeeded { provider_reference },
            AnswerForm::Declined { code, retry } => Self::Declined {
                code,
                retry: match retry {
                    RetryForm::SameMethod => Retry::SameMethod,
                    RetryForm::OtherMethod => Retry::OtherMethod,
                    RetryForm::Never => Retry::Never,
                },
            },
            AnswerForm::RequiresAction { provider_reference, kind, url, expires_at_ms } => Self::RequiresAction {
                provider_reference,
                action: NextAction { kind, url, expires_at: Timestamp(expires_at_ms) },
            },
            AnswerForm::Processing { provider_reference } => Self::Processing { provider_reference },
            AnswerForm::NotFound => Self::NotFound,
            AnswerForm::Conflict => Self::Conflict,
            AnswerForm::Broken => Self::Broken,
            AnswerForm::Reversed { code } => Self::Reversed { code },
            AnswerForm::Unknown => Self::Unknown,
        }
    }
}

/// The body of a call. The reference is the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallForm {
    #[serde(with = "reference_text")]
    reference: Reference,
    amount: MoneyForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider_reference: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    return_url: Option<CompactString>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cancel: bool,
}

impl From<&ProviderCall> for CallForm {
    fn from(call: &ProviderCall) -> Self {
        Self {
            reference: call.reference,
            amount: call.amount.into(),
            method: call.method.clone(),
            token: call.token.clone(),
            provider_reference: call.provider_reference.clone(),
            return_url: call.return_url.clone(),
            cancel: call.cancel,
        }
    }
}

impl CallForm {
    /// The call; `None`: its amount is invalid.
    #[must_use]
    pub fn read(self) -> Option<ProviderCall> {
        Some(ProviderCall {
            reference: self.reference,
            amount: self.amount.read()?,
            method: self.method,
            token: self.token,
            provider_reference: self.provider_reference,
            return_url: self.return_url,
            query_only: false,
            cancel: self.cancel,
            send_before: Timestamp(u64::MAX),
        })
    }
}

/// The provider's record of a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredForm {
    /// The shop's reference.
    #[serde(with = "reference_text")]
    pub reference: Reference,
    /// The amount of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<MoneyForm>,
    /// The state of the operation.
    pub answer: AnswerForm,
}

impl From<&ProviderReport> for AnsweredForm {
    fn from(report: &ProviderReport) -> Self {
        let ProviderReport { reference, amount, answer } = report;
        Self { reference: *reference, amount: amount.map(MoneyForm::from), answer: answer.into() }
    }
}

impl AnsweredForm {
    /// The report; `None`: its amount is invalid.
    #[must_use]
    pub fn read(self) -> Option<ProviderReport> {
        let Self { reference, amount, answer } = self;
        Some(ProviderReport { reference, amount: amount_of(amount)?, answer: answer.into() })
    }
}

/// The amount of a record, which may have none; `None`: it is invalid.
pub(crate) fn amount_of(form: Option<MoneyForm>) -> Option<Option<Money>> {
    form.map_or(Some(None), |form| form.read().map(Some))
}

/// One line of the ledger as it is read over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineForm {
    /// Its position in the ledger, from 1.
    pub number: u64,
    #[serde(with = "reference_text")]
    reference: Reference,
    amount: MoneyForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorization: Option<CompactString>,
    answer: AnswerForm,
}

impl LineForm {
    /// The JSON form of a line at a position.
    #[must_use]
    pub fn new(number: u64, line: &LedgerLine) -> Self {
        Self {
            number,
            reference: line.reference,
            amount: line.amount.into(),
            authorization: line.authorization.clone(),
            answer: (&line.answer).into(),
        }
    }

    /// The line; `None`: its amount is invalid.
    #[must_use]
    pub fn read(self) -> Option<LedgerLine> {
        Some(LedgerLine {
            reference: self.reference,
            amount: self.amount.read()?,
            authorization: self.authorization,
            answer: self.answer.into(),
        })
    }
}

/// Serialises a reference as text.
pub mod reference_text {
    use super::*;

    /// Writes the `Display` form of [`Reference`].
    pub fn serialize<S: Serializer>(reference: &Reference, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(reference)
    }

    /// Reads the form that [`Reference::parse`] takes.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Reference, D::Error> {
        let text = CompactString::deserialize(from)?;
        Reference::parse(&text).ok_or_else(|| de::Error::custom("not a reference"))
    }
}

/// Serialises an amount as [`MoneyForm`].
pub mod money_form {
    use super::*;

    /// Writes the amount and the currency's code.
    pub fn serialize<S: Serializer>(money: &Money, to: S) -> Result<S::Ok, S::Error> {
        MoneyForm::from(*money).serialize(to)
    }

    /// Reads the amount and the currency's code, and checks both.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Money, D::Error> {
        MoneyForm::deserialize(from)?.read().ok_or_else(|| de::Error::custom("not an amount"))
    }
}

/// Serialises an answer as [`AnswerForm`].
pub mod answer_form {
    use super::*;

    /// Writes the form tagged by `status`.
    pub fn serialize<S: Serializer>(answer: &ProviderAnswer, to: S) -> Result<S::Ok, S::Error> {
        AnswerForm::from(answer).serialize(to)
    }

    /// Reads the form tagged by `status`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ProviderAnswer, D::Error> {
        AnswerForm::deserialize(from).map(ProviderAnswer::from)
    }
}
