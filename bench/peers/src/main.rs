//! The same drop, with a `kill -9` in it, through what a user would pick instead and through Doorbuster: one table.
//!
//! ```text
//! for each peer:   start ─► fill ─► crowd ──half is sold──► kill -9 ─► start again ─► the crowd goes on ─► count what is there ─► stop
//! ```
//!
//! What is compared: the peers do only the reservation, over their own binary protocols; Doorbuster answers HTTP, and in its second row makes
//! an order as well. Every client waits for durability before it believes an answer, and sends an attempt that got no answer again
//! with the same key, as a sane shop would; every peer's schema holds such a key once.

mod crowd;
mod machine;
mod ours;
mod postgres;
mod redis;
mod server;

use crowd::{Drop, Figures};
use std::path::PathBuf;
use std::process::ExitCode;

/// What is asked on the command line.
pub struct Options {
    pub drop: Drop,
    pub doorbuster: PathBuf,
    pub commit: String,
    pub only: Option<String>,
    pub folder: PathBuf,
}

const USAGE: &str = "peers --doorbuster PATH [--commit HASH] [--units N] [--buyers N] [--clients N] [--only NAME] [--folder PATH] [--no-kill]";

fn options() -> Result<Options, String> {
    let mut words = std::env::args().skip(1);
    let mut options = Options {
        drop: Drop { units: 20_000, buyers: 30_000, clients: 64, kill: true },
        doorbuster: PathBuf::new(),
        commit: "unknown".to_owned(),
        only: None,
        folder: std::env::temp_dir(),
    };
    while let Some(word) = words.next() {
        if word == "--no-kill" {
            options.drop.kill = false;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: {value} is not a number"));
        match word.as_str() {
            "--doorbuster" => options.doorbuster = PathBuf::from(&value),
            "--commit" => options.commit = value,
            "--units" => options.drop.units = number()?,
            "--buyers" => options.drop.buyers = number()?,
            "--clients" => options.drop.clients = number()?.max(1),
            "--only" => options.only = Some(value),
            "--folder" => options.folder = PathBuf::from(&value),
            _ => return Err(format!("{word} is not known\n{USAGE}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("peers: {why}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else {
        eprintln!("peers: the runtime does not start");
        return ExitCode::FAILURE;
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            sound = run(&options) => sound,
            _ = tokio::signal::ctrl_c() => false,
        }
    });
    runtime.shutdown_background();
    if ended { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The peers, by the name in the table.
pub const PEERS: [&str; 5] = [
    "PostgreSQL, row lock",
    "PostgreSQL, SKIP LOCKED",
    "Redis, Lua, appendfsync always",
    "Doorbuster, POST /v1/reservations",
    "Doorbuster, POST /v1/orders",
];

async fn run(options: &Options) -> bool {
    println!("{}\n", machine::heading(options));
    println!(
        "| | sold | oversold | reserved twice for one buyer | lost | units astray | p50 | p99 | sold/s before the kill | after | serves again after | sent again |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut sound = true;
    for (index, name) in PEERS.iter().enumerate() {
        if options.only.as_ref().is_some_and(|only| !name.to_lowercase().contains(&only.to_lowercase())) {
            continue;
        }
        eprintln!("{name} …");
        let measured = match index {
            0 => postgres::measure(options, postgres::Way::RowLock).await,
            1 => postgres::measure(options, postgres::Way::SkipLocked).await,
            2 => redis::measure(options).await,
            3 => ours::measure(options, ours::Way::Reservations).await,
            _ => ours::measure(options, ours::Way::Orders).await,
        };
        match measured {
            Ok(figures) => {
                sound &= index < 3 || figures.is_sound();
                println!("| {name} | {} |", row(&figures));
            }
            Err(why) => {
                sound &= index < 3;
                println!("| {name} | not measured: {} | | | | | | | | | | |", why.replace(['|', '\n'], " "));
            }
        }
    }
    println!("\n{}", machine::FOOTNOTE);
    sound
}

fn row(figures: &Figures) -> String {
    let millis = |micros: u64| format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10);
    [
        figures.sold.to_string(),
        figures.oversold.to_string(),
        figures.twice.to_string(),
        figures.lost.to_string(),
        figures.astray.to_string(),
        millis(figures.p50_micros),
        millis(figures.p99_micros),
        figures.before.map_or("–".to_owned(), |rate| rate.to_string()),
        figures.after.map_or("–".to_owned(), |rate| rate.to_string()),
        figures.outage_ms.map_or("–".to_owned(), |ms| format!("{ms} ms")),
        figures.resent.to_string(),
    ]
    .join(" | ")
}
