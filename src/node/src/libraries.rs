//! What libraries log in a way of their own (the `log` crate), said where everything else is said.
//!
//! The tables' database fails in threads of its own: why, it only says there. Warnings and errors; the rest is its own affair.

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Hears the libraries.
#[derive(Debug)]
struct Libraries;

impl Log for Libraries {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        let library = record.target();
        match record.level() {
            Level::Error => tracing::error!(library, "{}", record.args()),
            Level::Warn => tracing::warn!(library, "{}", record.args()),
            Level::Info | Level::Debug | Level::Trace => {}
        }
    }

    fn flush(&self) {}
}

/// Hears them from now on.
pub(super) fn listen() {
    // Somebody who listens already, in a test, goes on to.
    if log::set_logger(&Libraries).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
