//! Why the settings cannot be used, in words that say where to look.

use thiserror::Error;

/// Why the settings cannot be used. `origin` is a file, an environment variable or a flag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The settings file could not be read.
    #[error("{path}: {why}")]
    Read {
        /// The file.
        path: String,
        /// In the system's words.
        why: String,
    },
    /// The settings file is not TOML.
    #[error("{path} is not TOML: {why}")]
    Syntax {
        /// The file.
        path: String,
        /// In the reader's words, with the line.
        why: String,
    },
    /// Nobody knows this key: most likely a typing error, and it would have been ignored in silence.
    #[error("{origin}: there is no setting `{key}`{}", nearest_text(nearest.as_deref()))]
    UnknownKey {
        /// Where it was read.
        origin: String,
        /// As written.
        key: String,
        /// A setting that is written almost like it.
        nearest: Option<String>,
    },
    /// The value is of another kind, or beyond what is allowed.
    #[error("{origin}: `{key}` is {value}; allowed: {allowed}")]
    NotAllowed {
        /// Where it was read.
        origin: String,
        /// Which setting.
        key: String,
        /// As read.
        value: String,
        /// What may stand there.
        allowed: String,
    },
    /// Each value is allowed, but not with the others.
    #[error("`{key}` ({origin}) is {value}, but {rule}")]
    Together {
        /// Where it was read.
        origin: String,
        /// Which setting.
        key: String,
        /// As read.
        value: String,
        /// What must hold between the settings.
        rule: String,
    },
}

fn nearest_text(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
