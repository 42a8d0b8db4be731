//! The fingerprint of a request's body: the same `Idempotency-Key` with another fingerprint is refused.
//!
//! It is journaled, so its definition is fixed for ever: the first 128 bits of the SHA-256 over the body's facts, in a fixed order.

use super::problem::Problem;
use doorbuster_domain::ids::RequestFingerprint;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A fingerprint under construction: it takes facts one after the other, and different lists of facts feed different bytes.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.number(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.0.update(text.as_bytes());
        self
    }

    /// Adds a text that may be absent.
    pub fn option(&mut self, text: Option<&str>) -> &mut Self {
        self.number(u64::from(text.is_some()));
        match text {
            Some(text) => self.text(text),
            None => self,
        }
    }

    /// Adds a number that is not negative.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(number.to_be_bytes());
        self
    }

    /// Adds an amount of minor units.
    pub fn amount(&mut self, amount: i64) -> &mut Self {
        self.0.update(amount.to_be_bytes());
        self
    }

    /// The finished fingerprint.
    #[must_use]
    pub fn terms(self) -> RequestFingerprint {
        let digest = self.0.finalize();
        let first = digest.first_chunk::<16>().copied().unwrap_or_default();
        RequestFingerprint(u128::from_be_bytes(first))
    }
}

/// The fingerprint of a whole body: keys are sorted, nulls count as absent, white space does not count.
///
/// # Errors
/// 400 `malformed_json` when the body is no JSON. Callers have read it as a type before, so it is.
pub fn of_body(body: &[u8]) -> Result<RequestFingerprint, Problem> {
    let tree: Value = super::json::read_tree(body)?;
    let mut fingerprint = Fingerprint::default();
    feed(&tree, &mut fingerprint);
    Ok(fingerprint.terms())
}

fn feed(value: &Value, into: &mut Fingerprint) {
    match value {
        Value::Null => {
            into.number(0);
        }
        Value::Bool(value) => {
            into.number(1).number(u64::from(*value));
        }
        Value::Number(number) => {
            // 2.0 is the same request as 2.
            let whole = number.as_f64().filter(|_| number.is_f64()).and_then(super::types::whole);
            into.number(2).text(&whole.map_or_else(|| number.to_string(), |whole| whole.to_string()));
        }
        Value::String(text) => {
            into.number(3).text(text);
        }
        Value::Array(items) => {
            into.number(4).number(u64::try_from(items.len()).unwrap_or(u64::MAX));
            items.iter().for_each(|item| feed(item, into));
        }
        Value::Object(fields) => {
            let mut known: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            known.sort_by_key(|(name, _)| name.as_str());
            into.number(5).number(u64::try_from(known.len()).unwrap_or(u64::MAX));
            for (name, value) in known {
                into.text(name);
                feed(value, into);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::of_body;

    #[test]
    fn order_of_keys_white_space_and_nulls_do_not_matter_and_all_else_does() {
        let one = of_body(br#"{"a": 1, "b": "x", "c": null}"#).unwrap();
        assert_eq!(one, of_body(br#"{"b":"x","a":1}"#).unwrap());
        assert_eq!(one, of_body(br#"{"a":1.0,"b":"x"}"#).unwrap());
        for other in [r#"{"a":1}"#, r#"{"a":2,"b":"x"}"#, r#"{"a":"1","b":"x"}"#, r#"{"a":1,"b":["x"]}"#] {
            assert_ne!(one, of_body(other.as_bytes()).unwrap(), "{other}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_same_for_ever() {
        assert_eq!(of_body(br#"{"a":1}"#).unwrap().0, of_body(br#"{ "a" : 1 }"#).unwrap().0);
    }
}
