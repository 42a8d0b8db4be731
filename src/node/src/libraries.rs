//! Warnings and errors that libraries log through the `log` crate, passed on to `tracing`.
//!
//! The database of the states fails in threads of its own, and logs the reason only there.

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Passes records of `log` on.
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

/// Installs it for the whole process.
pub(super) fn listen() {
    // In a test another logger may be installed already; it stays.
    if log::set_logger(&Libraries).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
