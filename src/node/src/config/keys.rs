//! Keys of settings: which declared setting a key names, and which one a misspelt key may mean.

use doorbuster_settings::Setting;

/// The declared settings, in the order of `cluster.toml`, with full keys.
#[derive(Debug, Clone)]
pub struct Keys(pub(super) Vec<Setting>);

impl Keys {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// The setting at `key`.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&Setting> {
        self.iter().find(|setting| is_at(&setting.key, key))
    }

    /// Is `key` a section, or a group in one?
    pub(super) fn is_group(&self, key: &str) -> bool {
        self.iter().any(|setting| begins_with(&setting.key, key).is_some_and(|rest| rest > 0))
    }

    /// The setting whose key is written most like `key`, if one is near.
    pub(super) fn nearest(&self, key: &str) -> Option<&str> {
        let near = |setting: &Setting| distance(&setting.key, key);
        let best = self.iter().min_by_key(|setting| (near(setting), setting.key.clone()))?;
        (near(best) <= 1 + key.len() / 5).then_some(best.key.as_str())
    }
}

/// Does `key` name the setting whose declared key is `pattern`? `*` in the pattern stands for one name.
#[must_use]
pub fn is_at(pattern: &str, key: &str) -> bool {
    begins_with(pattern, key) == Some(0)
}

/// How many parts of `pattern` are left behind `key`; `None`: it does not begin with `key`.
fn begins_with(pattern: &str, key: &str) -> Option<usize> {
    let mut parts = pattern.split('.');
    let begins = key.split('.').all(|part| parts.next().is_some_and(|own| own == "*" || own == part));
    begins.then(|| parts.count())
}

/// How many letters must be inserted, deleted or replaced to make one text of the other (Levenshtein).
pub(super) fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, theirs) in row.iter().skip(1).zip(other.chars()) {
            left = (diagonal + usize::from(letter != theirs)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use proptest::prelude::*;

    #[test]
    fn a_typing_error_is_answered_with_the_setting_that_was_meant() {
        let keys = Config::keys();
        assert_eq!(keys.nearest("api.conections_max"), Some("api.connections_max"));
        assert_eq!(keys.nearest("node.shard"), Some("node.shards"));
        assert_eq!(keys.nearest("moon.phase"), None);
    }

    #[test]
    fn a_star_stands_for_one_name() {
        let keys = Config::keys();
        assert!(keys.find("tax.countries.GB.name").is_some());
        assert!(keys.find("tax.countries.name").is_none());
        assert!(keys.find("tax.countries").is_none());
        assert!(keys.is_group("tax.countries") && keys.is_group("tax.countries.GB") && keys.is_group("tax"));
        assert!(!keys.is_group("tax.charge") && !keys.is_group("moon"));
    }

    proptest! {
        #[test]
        fn a_distance_is_the_same_both_ways_and_zero_only_to_itself(one in "[a-c]{0,6}", other in "[a-c]{0,6}") {
            prop_assert_eq!(distance(&one, &other), distance(&other, &one));
            prop_assert_eq!(distance(&one, &other) == 0, one == other);
        }
    }
}
