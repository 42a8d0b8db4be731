//! Rules between settings that are each allowed by themselves.

use std::fmt;

/// A rule that the values break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The setting that is to be changed, or the first of those.
    pub key: &'static str,
    /// Its value, as shown to the operator.
    pub value: String,
    /// What must hold, with the other settings' keys in full.
    pub rule: String,
}

/// The rules that were broken so far.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// In the order in which they were checked.
    pub broken: Vec<Broken>,
}

impl Rules {
    /// `holds`: the rule. `value` is that of the setting at `key`.
    pub fn must(&mut self, holds: bool, key: &'static str, value: &dyn fmt::Display, rule: fmt::Arguments<'_>) {
        if !holds {
            self.broken.push(Broken { key, value: value.to_string(), rule: rule.to_string() });
        }
    }
}
