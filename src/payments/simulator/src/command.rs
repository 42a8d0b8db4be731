//! The command line of `payment-simulator`: the engine as a process of its own.
//!
//! It prints one line, `listening on http://ADDRESS`, once it serves, and ends with SIGTERM or SIGINT.

use super::{Courier, Desk, Keep, Odds, Profile, Receiver, WebhookPost, server};
use clap::Parser;
use doorbuster_clock::{SharedClock, SystemClock};
use doorbuster_payments::WebhookSecret;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A payment provider to test against: it declines, stalls and forgets as real ones do, and remembers exactly what it charged.
#[derive(Debug, Parser)]
struct Flags {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The ledger's file; without one everything is forgotten with the process
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Do not wait for the disk before answering: survives a kill, not a power cut
    #[arg(long)]
    no_fsync: bool,
    /// The same seed and the same references give the same fortunes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How it behaves: instant, fast or realistic
    #[arg(long, default_value = "realistic", value_parser = profile)]
    profile: Profile,
    /// Where webhooks go, `http://…`; without one none are sent
    #[arg(long, requires = "webhook_secret")]
    webhook_url: Option<hyper::Uri>,
    /// What webhooks are signed with: `whsec_` and base64
    #[arg(long)]
    webhook_secret: Option<String>,
    /// Nothing but 500s from one second after the start up to another, as in `30..45`; may be given several times
    #[arg(long, value_parser = outage)]
    outage: Vec<(u64, u64)>,
}

fn profile(text: &str) -> Result<Profile, String> {
    match text {
        "instant" => Ok(Profile::Instant),
        "fast" => Ok(Profile::Fast),
        "realistic" => Ok(Profile::Realistic),
        _ => Err("instant, fast or realistic".to_owned()),
    }
}

fn outage(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("two numbers of seconds, as in 30..45")?;
    let second = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok((second(from)?, second(to)?))
}

fn because<E: Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

/// Runs the simulator until it is told to stop. `words` is a command line, the program's name first.
#[must_use]
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::try_parse_from(words) {
        Ok(flags) => flags,
        Err(error) => {
            // Help goes to standard output, everything else to standard error; neither may fail loudly.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // A second subscriber is refused; the first then shows our lines too.
    tracing_subscriber::fmt().with_writer(std::io::stderr).try_init().ok();
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(because("start the runtime"))
        .and_then(|runtime| runtime.block_on(serve(flags)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(flags: Flags) -> Result<(), String> {
    let clock: SharedClock = Arc::new(SystemClock);
    let listener = TcpListener::bind(flags.listen).await.map_err(because("listen"))?;
    let address = listener.local_addr().map_err(because("listen"))?;
    let courier = match (flags.webhook_url, flags.webhook_secret) {
        (Some(url), Some(text)) => {
            let secret = WebhookSecret::parse(&text).map_err(because("--webhook-secret"))?;
            Courier::start(Receiver::Http(Arc::new(WebhookPost::to(url))), secret, Arc::clone(&clock))
        }
        _ => Courier::idle(Arc::clone(&clock)),
    };
    let keep = match &flags.ledger {
        None => Keep::Volatile,
        Some(path) if flags.no_fsync => Keep::Written(path),
        Some(path) => Keep::Synced(path),
    };
    let odds = Odds::of(flags.profile);
    let started = clock.now();
    let (desk, torn_bytes) =
        Desk::open(odds, flags.seed, &format!("http://{address}"), keep, courier, clock).map_err(because("ledger"))?;
    if torn_bytes > 0 {
        tracing::warn!(torn_bytes, "cut a torn line off the ledger");
    }
    for (from, to) in flags.outage {
        desk.add_outage(started.plus_s(from), started.plus_s(to));
    }
    let mut stop = signal(SignalKind::terminate()).map_err(because("wait for SIGTERM"))?;
    writeln!(std::io::stdout(), "listening on http://{address}").map_err(because("say where it listens"))?;
    let desk = Arc::new(desk);
    tokio::select! {
        served = server::serve(listener, Arc::clone(&desk)) => served.map_err(because("serve")),
        () = desk.ledger_lost() => Err("the ledger cannot be written".to_owned()),
        _ = stop.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
