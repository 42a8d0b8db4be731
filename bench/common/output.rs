//! What the programs print: for people on standard output, unless they ask for quiet; a closed output ends nothing.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on only [`result`] prints.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Does only [`result`] print?
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints a line for people.
pub fn line(text: Arguments<'_>) {
    if !is_quiet() {
        result(text);
    }
}

/// Prints a line that is the result of the program.
pub fn result(text: Arguments<'_>) {
    // Whoever read it may have gone (`| head`). The run goes on: its exit status still says what came out.
    drop(writeln!(std::io::stdout(), "{text}"));
}
