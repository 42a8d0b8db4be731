//! Webhooks by the Standard Webhooks specification: their signature, their age, and the event in them.
//!
//! ```text
//! webhook-id: evt_…   webhook-timestamp: seconds   webhook-signature: v1,base64(HMAC-SHA256(secret, "id.timestamp.body"))
//! ```

use super::wire::{AnswerForm, MoneyForm, amount_of, reference_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use compact_str::{CompactString, format_compact};
use doorbuster_domain::payment::{ProviderReport, Reference};
use doorbuster_domain::time::Timestamp;
use hmac::{Hmac, Mac};
use hyper::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use thiserror::Error;

/// The largest difference between a webhook's time and now, in seconds, where no setting says another. A recorded webhook cannot be replayed later.
pub const AGE_MAX_S: u64 = 300;
/// The shortest secret, in bytes.
pub const SECRET_BYTES_MIN: usize = 24;

/// The event in a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEvent {
    /// The event's id, equal in every copy: its idempotency key.
    pub id: CompactString,
    /// The record of the operation; its outcome is always a definite one.
    pub report: ProviderReport,
}

/// Why a webhook is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WebhookError {
    /// One of the three headers is missing, repeated or not text.
    #[error("a webhook needs webhook-id, webhook-timestamp and webhook-signature")]
    Headers,
    /// No signature matches the secret.
    #[error("the webhook is not signed with our secret")]
    Signature,
    /// Its time differs from now by more than the secret accepts.
    #[error("the webhook is too old")]
    Age,
    /// The signature is valid, but the body is not an event.
    #[error("the webhook's body is not an event")]
    Body,
}

/// The three headers of a webhook.
#[derive(Debug, Clone, Copy)]
pub struct WebhookHeaders<'a> {
    /// The header `webhook-id`.
    pub id: &'a str,
    /// The header `webhook-timestamp`, in seconds since 1970.
    pub timestamp: &'a str,
    /// The header `webhook-signature`: `v1,…`; several, separated by spaces, while a secret is replaced.
    pub signature: &'a str,
}

impl<'a> WebhookHeaders<'a> {
    /// Reads them from a request. Each header must occur exactly once.
    pub fn read(headers: &'a HeaderMap) -> Result<Self, WebhookError> {
        let one = |name: &str| {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => value.to_str().map_err(|_not_text| WebhookError::Headers),
                _ => Err(WebhookError::Headers),
            }
        };
        Ok(Self { id: one("webhook-id")?, timestamp: one("webhook-timestamp")?, signature: one("webhook-signature")? })
    }
}

/// A webhook ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedWebhook {
    /// The header `webhook-id`.
    pub id: CompactString,
    /// The header `webhook-timestamp`, in seconds since 1970.
    pub timestamp: CompactString,
    /// The header `webhook-signature`.
    pub signature: CompactString,
    /// The event as JSON.
    pub body: Bytes,
}

impl SignedWebhook {
    /// The headers in the form that [`WebhookSecret::verify`] takes.
    #[must_use]
    pub fn headers(&self) -> WebhookHeaders<'_> {
        WebhookHeaders { id: &self.id, timestamp: &self.timestamp, signature: &self.signature }
    }
}

/// The secret shared by provider and shop. `Debug` does not print it.
#[derive(Clone)]
pub struct WebhookSecret {
    keyed: Hmac<Sha256>,
    age_max_s: u64,
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WebhookSecret")
    }
}

/// A text that is not a webhook secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a webhook secret is whsec_ and at least 24 bytes in base64")]
pub struct InvalidSecret;

#[derive(Serialize, Deserialize)]
struct EventForm {
    #[serde(rename = "type")]
    kind: CompactString,
    data: EventData,
}

#[derive(Serialize, Deserialize)]
struct EventData {
    #[serde(with = "reference_text")]
    reference: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<MoneyForm>,
    answer: AnswerForm,
}

impl WebhookSecret {
    /// Decodes `whsec_` and base64, the specification's text form.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let bytes =
            STANDARD.decode(text.strip_prefix("whsec_").ok_or(InvalidSecret)?).map_err(|_not_base64| InvalidSecret)?;
        Self::of(&bytes)
    }

    /// A secret of these bytes, at least [`SECRET_BYTES_MIN`].
    pub fn of(bytes: &[u8]) -> Result<Self, InvalidSecret> {
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(InvalidSecret);
        }
        let keyed = Hmac::new_from_slice(bytes).map_err(|_length| InvalidSecret)?;
        Ok(Self { keyed, age_max_s: AGE_MAX_S })
    }

    /// The same secret, which accepts webhooks whose time differs from now by at most `age_max_s`.
    #[must_use]
    pub fn accepting_age(self, age_max_s: u64) -> Self {
        Self { age_max_s, ..self }
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }

    /// Signs an event as sent at `now`.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "it cannot: an event has only texts and numbers, which JSON can always say"
    )]
    pub fn sign(&self, event: &WebhookEvent, now: Timestamp) -> SignedWebhook {
        let ProviderReport { reference, amount, answer } = &event.report;
        let data = EventData { reference: *reference, amount: amount.map(MoneyForm::from), answer: answer.into() };
        let form = EventForm { kind: "payment.updated".into(), data };
        let body = serde_json::to_vec(&form).expect("an event has only texts and numbers");
        let timestamp = format_compact!("{}", now.0 / 1000);
        let tag = self.mac(&event.id, &timestamp, &body).finalize().into_bytes();
        let signature = format_compact!("v1,{}", STANDARD.encode(tag));
        SignedWebhook { id: event.id.clone(), timestamp, signature, body: body.into() }
    }

    /// Checks signature (in constant time), then age, then form.
    pub fn verify(
        &self,
        headers: WebhookHeaders<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<WebhookEvent, WebhookError> {
        let sent_s: u64 = headers.timestamp.parse().map_err(|_not_a_number| WebhookError::Headers)?;
        let mac = self.mac(headers.id, headers.timestamp, body);
        let ours = headers
            .signature
            .split(' ')
            .filter_map(|candidate| STANDARD.decode(candidate.strip_prefix("v1,")?).ok())
            .any(|tag| mac.clone().verify_slice(&tag).is_ok());
        if !ours {
            return Err(WebhookError::Signature);
        }
        if (now.0 / 1000).abs_diff(sent_s) > self.age_max_s {
            return Err(WebhookError::Age);
        }
        let form: EventForm = serde_json::from_slice(body).map_err(|_other_form| WebhookError::Body)?;
        let EventData { reference, amount, answer } = form.data;
        let amount = amount_of(amount).ok_or(WebhookError::Body)?;
        Ok(WebhookEvent { id: headers.id.into(), report: ProviderReport { reference, amount, answer: answer.into() } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::OrderId;
    use doorbuster_domain::money::{Currency, Money};
    use doorbuster_domain::payment::{Operation, ProviderAnswer};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn secret() -> WebhookSecret {
        WebhookSecret::of(&[7; 32]).unwrap()
    }

    fn event() -> WebhookEvent {
        let reference = Reference { order: OrderId(1 << 16), operation: Operation::Authorize, payment: 1, attempt: 1 };
        let answer = ProviderAnswer::Authorized { provider_reference: "sim_1".into(), lapses_at: NOW.plus_s(60) };
        let amount = Some(Money { amount: 100, currency: Currency::GBP });
        WebhookEvent { id: "evt_1".into(), report: ProviderReport { reference, amount, answer } }
    }

    #[test]
    fn what_is_signed_is_read_again() {
        let sent = secret().sign(&event(), NOW);
        assert_eq!(secret().verify(sent.headers(), &sent.body, NOW.plus_s(300)), Ok(event()));
    }

    #[test]
    fn a_webhook_is_refused_once_it_is_older_than_the_setting() {
        let sent = secret().sign(&event(), NOW);
        let strict = secret().accepting_age(20);
        assert_eq!(strict.verify(sent.headers(), &sent.body, NOW.plus_s(20)), Ok(event()));
        assert_eq!(strict.verify(sent.headers(), &sent.body, NOW.plus_s(21)), Err(WebhookError::Age));
        assert_eq!(secret().accepting_age(900).verify(sent.headers(), &sent.body, NOW.plus_s(900)), Ok(event()));
    }

    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let tag = secret.mac("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body).finalize().into_bytes();
        assert_eq!(STANDARD.encode(tag), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn another_secret_body_id_or_time_is_refused() {
        let sent = secret().sign(&event(), NOW);
        let other = WebhookSecret::of(&[8; 32]).unwrap();
        assert_eq!(other.verify(sent.headers(), &sent.body, NOW), Err(WebhookError::Signature));
        let mut body = sent.body.to_vec();
        *body.last_mut().unwrap() ^= 1;
        assert_eq!(secret().verify(sent.headers(), &body, NOW), Err(WebhookError::Signature));
        let renamed = WebhookHeaders { id: "evt_2", ..sent.headers() };
        assert_eq!(secret().verify(renamed, &sent.body, NOW), Err(WebhookError::Signature));
        let younger = WebhookHeaders { timestamp: "1800000001", ..sent.headers() };
        assert_eq!(secret().verify(younger, &sent.body, NOW), Err(WebhookError::Signature));
        let unsigned = WebhookHeaders { signature: "v1,", ..sent.headers() };
        assert_eq!(secret().verify(unsigned, &sent.body, NOW), Err(WebhookError::Signature));
    }

    #[test]
    fn news_older_than_300_s_is_refused() {
        let sent = secret().sign(&event(), NOW);
        assert_eq!(secret().verify(sent.headers(), &sent.body, NOW.plus_s(301)), Err(WebhookError::Age));
        let early = secret().sign(&event(), NOW.plus_s(301));
        assert_eq!(secret().verify(early.headers(), &early.body, NOW), Err(WebhookError::Age));
    }

    #[test]
    fn a_second_signature_serves_while_a_secret_is_replaced() {
        let sent = secret().sign(&event(), NOW);
        let both = format!("v1,AAAA v1a,zzzz {}", sent.signature);
        let headers = WebhookHeaders { signature: &both, ..sent.headers() };
        assert_eq!(secret().verify(headers, &sent.body, NOW), Ok(event()));
    }

    #[test]
    fn headers_must_be_there_exactly_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(WebhookHeaders::read(&headers).map(|_| ()), Err(WebhookError::Headers));
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, "1".parse().unwrap());
        }
        assert!(WebhookHeaders::read(&headers).is_ok());
        headers.append("webhook-id", "2".parse().unwrap());
        assert_eq!(WebhookHeaders::read(&headers).map(|_| ()), Err(WebhookError::Headers));
    }

    #[test]
    fn a_short_or_unprefixed_secret_is_none() {
        assert!(WebhookSecret::parse("whsec_c2hvcnQ=").is_err());
        assert!(WebhookSecret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_err());
    }
}
