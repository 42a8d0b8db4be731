//! The live line: rewritten in place on a terminal, a plain line now and then otherwise.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is added where nothing can be rewritten.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// Where the line is shown.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    /// On standard output.
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), shown: None }
    }

    /// Shows the line, or not yet.
    pub(crate) fn show(&mut self, line: &str) {
        if !self.terminal && self.shown.is_some_and(|shown| shown.elapsed() < PLAIN_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        if self.terminal {
            print!("\r\x1b[2K{line}");
        } else {
            println!("{line}");
        }
        // A closed output ends nothing: the exit status still says what came out.
        drop(std::io::stdout().flush());
    }

    /// Clears the rewritten line; what follows begins at the left.
    pub(crate) fn end(&self) {
        if self.terminal {
            print!("\r\x1b[2K");
            drop(std::io::stdout().flush());
        }
    }
}
