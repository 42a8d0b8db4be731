//! Why the settings cannot be used: every fault, each with the place to mend it.

use std::fmt;

/// Where a value was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// A file, an environment variable or a flag.
    pub source: String,
    /// The line in the file, from 1.
    pub line: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.source)?;
        self.line.map_or(Ok(()), |line| write!(out, ":{line}"))
    }
}

/// One fault in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The settings file could not be read.
    #[error("{path}: {why}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        why: String,
    },
    /// The settings file is not TOML.
    #[error("{origin}: this is not TOML: {why}")]
    Syntax {
        /// The file and the line.
        origin: Origin,
        /// The parser's error.
        why: String,
    },
    /// There is no such setting: most likely a typing error, which must not be ignored.
    #[error("{origin}: there is no setting `{key}`{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// Where it was read.
        origin: Origin,
        /// As written.
        key: String,
        /// A setting that is written almost like it.
        nearest: Option<String>,
    },
    /// A variable that is ours, by its name, and has single underscores where double ones belong.
    #[error("{variable}: there is no such variable{}", did_you_mean(nearest.as_deref()))]
    UnknownVariable {
        /// As written.
        variable: String,
        /// The variable that is written almost like it.
        nearest: Option<String>,
    },
    /// The value is of another type, or out of range.
    #[error("{origin}: `{key}` is {value}; allowed: {allowed}")]
    NotAllowed {
        /// Where it was read.
        origin: Origin,
        /// The setting.
        key: String,
        /// As read; a secret is not shown.
        value: String,
        /// What may stand there.
        allowed: String,
    },
    /// Each value is allowed, but not together with the others.
    #[error("`{key}` ({origin}) is {value}, but {rule}")]
    Together {
        /// Where it was read.
        origin: Origin,
        /// The setting.
        key: String,
        /// Its value.
        value: String,
        /// What must hold between the settings.
        rule: String,
    },
}

impl Fault {
    /// The setting whose value is at fault.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::NotAllowed { key, .. } | Self::Together { key, .. } => Some(key),
            Self::Read { .. } | Self::Syntax { .. } | Self::UnknownKey { .. } | Self::UnknownVariable { .. } => None,
        }
    }
}

/// The settings cannot be used. Its text has one line for each fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// All faults, at least one: those of the file by line, then those of the variables and flags, then those between settings.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            if number > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
