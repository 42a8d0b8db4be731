//! Settings of a node, each as the environment variable that sets it.

/// Settings, and other variables of the environment, in the order in which they were given: a later one wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// `section.key = value`, laid over what was there.
    #[must_use]
    pub fn with(self, key: &str, value: impl ToString) -> Self {
        self.variable(&format!("DOORBUSTER__{}", key.to_ascii_uppercase().replace('.', "__")), value)
    }

    /// A variable of the environment that is no setting of the node.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// All of them, by the names of the environment.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_the_environment_variable_the_node_reads() {
        let settings = Settings::default().with("journal.checkpoint_interval_ms", 5).variable("LD_PRELOAD", "x.so");
        let all: Vec<(&str, &str)> = settings.variables().collect();
        assert_eq!(all, [("DOORBUSTER__JOURNAL__CHECKPOINT_INTERVAL_MS", "5"), ("LD_PRELOAD", "x.so")]);
    }
}
