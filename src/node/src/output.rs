//! What commands print on standard output: results, and remarks about how it goes.

use crate::cli::Output;
use serde_json::Value;
use std::io::{self, Write};

impl Output {
    /// A remark, for people. A closed output loses it, and nothing else.
    pub(super) fn remark(self, lines: &[String]) {
        if !self.quiet && !self.json {
            drop(print(lines));
        }
    }

    /// What the command was called for. A closed output (`| head`) is no error: whoever closed it has what they wanted.
    pub(super) fn result(self, json: &Value, lines: &[String]) -> io::Result<()> {
        pipe_may_close(self.must_show(json, lines))
    }

    /// The same, where it is an error that nobody can have read it.
    pub(super) fn must_show(self, json: &Value, lines: &[String]) -> io::Result<()> {
        if self.json { print(&[json.to_string()]) } else { print(lines) }
    }
}

fn print(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// A text, where a closed output is no error.
pub(super) fn print_bytes(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    pipe_may_close(out.write_all(text).and_then(|()| out.flush()))
}

/// Takes it for done when the reader of a pipe has left.
pub(super) fn pipe_may_close(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
