//! The same drop, with a `kill -9` in it, through what a user would pick instead and through Doorbuster: one table.
//!
//! ```text
//! for each peer:   start ─► fill ─► crowd ──half is sold──► kill -9 ─► start again ─► the crowd goes on ─► count what is there ─► stop
//! ```
//!
//! What is compared: a reservation, which the peers do over their own binary protocols and Doorbuster over HTTP; and an order, over the same HTTP for
//! all three (`front` is the shop that a user would write before a database). Every client waits for durability before it believes an answer, and sends an attempt that got no answer again
//! with the same key, as a sane shop would; every peer's schema holds such a key once.

mod crowd;
mod front;
mod http;
mod machine;
mod ours;
mod postgres;
mod redis;
mod server;
mod shop;

use crowd::{Drop, Figures};
use http::Asks;
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
    if std::env::args().nth(1).is_some_and(|word| word == "front") {
        return front();
    }
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

/// `peers front DATABASE PORT`: the shop's own process.
fn front() -> ExitCode {
    let mut words = std::env::args().skip(2);
    let (Some(database), Some(Ok(port))) = (words.next(), words.next().map(|port| port.parse())) else {
        eprintln!("peers front postgres|redis PORT");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let served =
        runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(front::run(&database, port)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peers front: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The peers, by the name in the table.
pub const PEERS: [&str; 7] = [
    "reservation: PostgreSQL, row lock, own protocol",
    "reservation: PostgreSQL, SKIP LOCKED, own protocol",
    "reservation: Redis, Lua, own protocol",
    "reservation: Doorbuster, HTTP",
    "order: PostgreSQL behind HTTP",
    "order: Redis behind HTTP",
    "order: Doorbuster, HTTP",
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
            3 => ours::measure(options, Asks::Reservation).await,
            4 => postgres::measure_shop(options).await,
            5 => redis::measure_shop(options).await,
            _ => ours::measure(options, Asks::Order).await,
        };
        match measured {
            Ok(figures) => {
                sound &= !name.contains("Doorbuster") || figures.is_sound();
                println!("| {name} | {} |", row(&figures));
            }
            Err(why) => {
                sound &= !name.contains("Doorbuster");
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
