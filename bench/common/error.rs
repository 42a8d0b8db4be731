//! Why a run could not go on. None of these is the shop's lawful "no": those are outcomes, and are counted.

use std::io;
use thiserror::Error;

/// What stopped a run.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// Verb and object.
        what: String,
        /// The reason.
        source: io::Error,
    },
    /// The node answered something else than the contract says.
    #[error("{what}: answered {status}: {body}")]
    Answer {
        /// Method and path.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// The node did not start, or ended by itself.
    #[error("{0}")]
    Node(String),
    /// A file or an option is not what it must be.
    #[error("{0}")]
    Input(String),
}

impl BenchError {
    /// The exit status of a program that it ends: 2 for what the caller asked, 1 for what happened.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Io { .. } | Self::Answer { .. } | Self::Node(_) => 1,
        }
    }

    /// Names what was being done when `source` happened.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}
