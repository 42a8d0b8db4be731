//! `bench-table`: the performance table, measured side by side in one run.
//!
//! See `bench/README.md` for what each figure means.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks on its standard output")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the real clock, and paces itself by it")]

/// In place of the standard one, which panics when the output is closed.
macro_rules! println {
    ($($text:tt)*) => { doorbuster_bench::output::line(format_args!($($text)*)) };
}

mod bare;
mod memory;
mod recovery;
mod suite;
mod table;

use clap::Parser;
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Role, become_program, leave_with_parent};
use std::path::PathBuf;
use std::process::ExitCode;

/// The performance table: bare warp, ours, ratio, gate, goal; one run, alternating rounds, medians.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-table", version)]
pub(crate) struct Options {
    /// Short rounds: a look, not a measurement.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Also writes the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where the node's folder is made: its disk decides the figures.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Prints the table and nothing else.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Only metrics whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
}

/// The node runs in this executable too, and is to be measured as it is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Role::asked(std::env::args_os()) {
        Some((Role::Bare, arguments)) => {
            leave_with_parent();
            return bare::serve(&arguments);
        }
        Some((role, arguments)) => {
            leave_with_parent();
            return become_program(role, arguments);
        }
        None => {}
    }
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench-table: start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run(&options) => ended,
            () = doorbuster_bench::interrupted() => Err(BenchError::Node("interrupted".to_owned())),
        }
    });
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-table: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

async fn run(options: &Options) -> Result<(), BenchError> {
    if options.quiet {
        doorbuster_bench::output::be_quiet();
    }
    if let Some(path) = &options.json {
        doorbuster_bench::writable(path)?;
    }
    let table = suite::measure(options).await?;
    doorbuster_bench::output::result(format_args!("{}", table.markdown()));
    if let Some(path) = &options.json {
        std::fs::write(path, table.json().to_string())
            .map_err(|source| BenchError::io(format!("write {}", path.display()), source))?;
    }
    Ok(())
}
