//! What may stand at a key, and the words for it.

use serde_json::Value;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

/// A rule for texts.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The rule in words, as in "a currency of ISO 4217, like GBP".
    pub allowed: &'static str,
    /// The same for a list of such texts.
    pub list_allowed: &'static str,
    /// Does a text keep the rule?
    pub holds: fn(&str) -> bool,
}

impl Text {
    /// Any text.
    pub const ANY: Self = Self { allowed: "a text", list_allowed: "a list of texts", holds: |_text| true };
    /// A text that is not empty.
    pub const NAME: Self = Self {
        allowed: "a text that is not empty",
        list_allowed: "a list of texts, like [\"lon1\", \"lon2\"]",
        holds: |text| !text.trim().is_empty(),
    };
    /// An IP address and a port. The name of a host is looked up before this is asked.
    pub const ADDRESS: Self = Self {
        allowed: "an IP address or the name of a host, and a port, like 127.0.0.1:8080 or localhost:8080",
        list_allowed: "a list of IP addresses with their ports, like [\"127.0.0.1:8080\"]",
        holds: |text| text.parse::<SocketAddr>().is_ok(),
    };
    /// A two-letter country code.
    pub const COUNTRY: Self = Self {
        allowed: "a two-letter country code in capitals, like GB",
        list_allowed: "a list of two-letter country codes in capitals, like [\"GB\", \"IE\"]",
        holds: |text| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
    };

    /// Is it the rule for addresses?
    #[must_use]
    pub fn is_address(self) -> bool {
        self.allowed == Self::ADDRESS.allowed
    }

    fn is_kept_by(self, value: &Value) -> bool {
        value.as_str().is_some_and(self.holds)
    }
}

/// What may stand at a key.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number from the first to the second, both allowed.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// A text that keeps a rule.
    Text(Text),
    /// A list of texts that each keep a rule.
    List(Text),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A text that no error may show.
    Secret,
}

impl From<RangeInclusive<u64>> for Kind {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self::Number(*range.start(), *range.end())
    }
}

impl From<Text> for Kind {
    fn from(rule: Text) -> Self {
        Self::Text(rule)
    }
}

impl From<&'static [&'static str]> for Kind {
    fn from(words: &'static [&'static str]) -> Self {
        Self::OneOf(words)
    }
}

impl Kind {
    /// May `value` stand there?
    #[must_use]
    pub fn allows(self, value: &Value) -> bool {
        match self {
            Self::Number(low, high) => value.as_u64().is_some_and(|number| (low..=high).contains(&number)),
            Self::Flag => value.is_boolean(),
            Self::Text(rule) => rule.is_kept_by(value),
            Self::List(rule) => value.as_array().is_some_and(|texts| texts.iter().all(|text| rule.is_kept_by(text))),
            Self::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            Self::Secret => value.is_string(),
        }
    }

    /// Is it one text, which a variable or a flag gives without quotes?
    #[must_use]
    pub const fn is_text(self) -> bool {
        match self {
            Self::Text(_) | Self::OneOf(_) | Self::Secret => true,
            Self::Number(..) | Self::Flag | Self::List(_) => false,
        }
    }

    /// What is allowed, in words.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Number(low, high) => format!("a whole number from {low} to {high}"),
            Self::Flag => "true or false".to_owned(),
            Self::Text(rule) => rule.allowed.to_owned(),
            Self::List(rule) => rule.list_allowed.to_owned(),
            Self::OneOf(words) => words.join(", "),
            Self::Secret => "a text".to_owned(),
        }
    }
}
