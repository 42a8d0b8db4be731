//! `flash-sale`: a crowd buys a hot SKU from a durable node, and the proof that nothing was oversold.
//!
//! See `bench/README.md` for how to run it, what each figure means and how latency is counted.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks on its standard output")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the real clock, and paces itself by it")]

/// In place of the standard one, which panics when the output is closed.
macro_rules! println {
    ($($text:tt)*) => { doorbuster_bench::output::line(format_args!($($text)*)) };
}

macro_rules! print {
    ($($text:tt)*) => { drop(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!($($text)*))) };
}

mod cluster;
mod crowd;
#[cfg(test)]
mod fake;
mod hostile;
mod kill;
mod listed;
mod listen;
mod load;
mod machine;
mod options;
mod overload;
mod pace;
mod progress;
mod record;
mod replay;
mod report;
mod sale;
mod svg;
mod verify;
mod week;

use clap::Parser;
use doorbuster_bench::node::{Role, become_program, leave_with_parent};
use options::{Command, Options};
use std::process::ExitCode;

/// How the run was ended from outside: 128 + SIGINT, as shells do.
const INTERRUPTED: u8 = 130;

/// The node runs in this executable too, and is to be measured as it is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some((role, arguments)) = Role::asked(std::env::args_os()) {
        leave_with_parent();
        return become_program(role, arguments);
    }
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("flash-sale: start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run(options) => ended,
            () = doorbuster_bench::interrupted() => ExitCode::from(INTERRUPTED),
        }
    });
    // Load threads may still run after an interruption; they are not waited for.
    runtime.shutdown_background();
    ended
}

async fn run(options: Options) -> ExitCode {
    let good = match options.command {
        Some(Command::Replay(replay)) => replay::replay(&replay).await,
        Some(Command::Week(week)) => week::run(&week).await,
        Some(Command::Cluster(cluster)) => cluster::run(&cluster).await,
        Some(Command::Overload(overload)) => overload::overload(&overload).await,
        Some(Command::Sockets(sockets)) => overload::sockets(&sockets).await,
        Some(Command::Soak(soak)) => overload::soak(&soak).await,
        Some(Command::Hostile(hostile)) => hostile::run(&hostile).await,
        None => sale::run(&options.sale).await,
    };
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("flash-sale: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}
