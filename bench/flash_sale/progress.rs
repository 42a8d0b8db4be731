//! The live line: on standard error, rewritten in place, and only where that is a terminal.

use doorbuster_bench::output;
use std::io::{IsTerminal, Write};

/// Cells of the bar.
const CELLS: u64 = 24;

/// Where the line is shown.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// On standard error, if that is a terminal and nobody asked for quiet.
    pub(crate) fn new() -> Self {
        Self { is_shown: std::io::stderr().is_terminal() && !output::is_quiet() }
    }

    /// Shows how far it is, and a line about it.
    pub(crate) fn show(&self, (done, of): (u64, u64), line: &str) {
        if self.is_shown {
            eprint!("\r\x1b[2K{} {line}", bar(done, of));
            // A closed output ends nothing: the exit status still says what came out.
            drop(std::io::stderr().flush());
        }
    }

    /// Clears the line; what follows begins at the left.
    pub(crate) fn end(&self) {
        if self.is_shown {
            eprint!("\r\x1b[2K");
            drop(std::io::stderr().flush());
        }
    }
}

/// `[######……] 25 %`, without colour.
fn bar(done: u64, of: u64) -> String {
    let done = done.min(of);
    let part = |whole: u64| done.saturating_mul(whole).checked_div(of).unwrap_or(0);
    let filled = usize::try_from(part(CELLS)).unwrap_or(0);
    let empty = usize::try_from(CELLS).unwrap_or(0).saturating_sub(filled);
    format!("[{}{}] {:3} %", "#".repeat(filled), ".".repeat(empty), part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        assert_eq!(bar(0, 0), format!("[{}]   0 %", ".".repeat(24)));
        assert_eq!(bar(1, 2), format!("[{}{}]  50 %", "#".repeat(12), ".".repeat(12)));
        assert_eq!(bar(9, 3), format!("[{}] 100 %", "#".repeat(24)));
    }
}
