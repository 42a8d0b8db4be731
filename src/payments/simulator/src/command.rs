//! The command line of `payment-simulator`: the simulated provider as a process of its own.
//!
//! It prints one line, `listening on http://ADDRESS`, once it serves, and ends on SIGTERM or SIGINT.

use super::{
    Behaviour, LedgerStorage, Profile, SimulatedProvider, WebhookClient, WebhookSender, WebhookTarget, server,
};
use clap::Parser;
use doorbuster_clock::{SharedClock, SystemClock};
use doorbuster_payments::WebhookSecret;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A payment provider to test against: it declines, stalls and loses answers as real ones do, and records exactly what it charged.
#[derive(Debug, Parser)]
#[command(name = "payment-simulator", version)]
struct Flags {
    /// The address to listen on, by number or by name; port 0 takes a free port
    #[arg(long, default_value = "127.0.0.1:0", value_parser = address)]
    listen: SocketAddr,
    /// The ledger's file; without one the ledger is lost with the process
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Answer before the disk has synced: survives a kill, but not a power cut
    #[arg(long)]
    no_fsync: bool,
    /// The seed of the random numbers: the same seed and references give the same behaviour
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The behaviour: instant, fast or realistic
    #[arg(long, default_value = "realistic", value_parser = profile)]
    profile: Profile,
    /// The address for webhooks, `http://…`; without one none are sent
    #[arg(long, requires = "webhook_secret")]
    webhook_url: Option<hyper::Uri>,
    /// The secret that signs webhooks: `whsec_` and base64
    #[arg(long)]
    webhook_secret: Option<String>,
    /// Answer only 500 between two seconds after the start, as in `30..45`; may be given several times
    #[arg(long, value_parser = outage)]
    outage: Vec<(u64, u64)>,
}

/// `host:port`; of a name's addresses the first of IPv4.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|error| error.to_string())?.collect();
    let address = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    address.copied().ok_or_else(|| "the name has no address".to_owned())
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

/// Runs the simulator until a signal stops it. `words` is a command line, the program's name first.
#[must_use]
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::try_parse_from(words) {
        Ok(flags) => flags,
        Err(error) => {
            // Help goes to standard output, errors to standard error; a failure to print either is ignored.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // A second subscriber is refused; the first then prints these lines too.
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
    let sender = match (flags.webhook_url, flags.webhook_secret) {
        (Some(url), Some(text)) => {
            let secret = WebhookSecret::parse(&text).map_err(because("--webhook-secret"))?;
            WebhookSender::start(WebhookTarget::Http(Arc::new(WebhookClient::to(url))), secret, Arc::clone(&clock))
        }
        _ => WebhookSender::disabled(Arc::clone(&clock)),
    };
    let storage = match &flags.ledger {
        None => LedgerStorage::Volatile,
        Some(path) if flags.no_fsync => LedgerStorage::Written(path),
        Some(path) => LedgerStorage::Synced(path),
    };
    let behaviour = Behaviour::of(flags.profile);
    let started = clock.now();
    let (provider, torn_bytes) =
        SimulatedProvider::open(behaviour, flags.seed, &format!("http://{address}"), storage, sender, clock)
            .map_err(because("ledger"))?;
    if torn_bytes > 0 {
        tracing::warn!(torn_bytes, "cut a torn line off the ledger");
    }
    for (from, to) in flags.outage {
        provider.add_outage(started.plus_s(from), started.plus_s(to));
    }
    let mut stop = signal(SignalKind::terminate()).map_err(because("wait for SIGTERM"))?;
    // Whoever started it may not listen; it serves all the same.
    drop(writeln!(std::io::stdout(), "listening on http://{address}"));
    let provider = Arc::new(provider);
    tokio::select! {
        served = server::serve(listener, Arc::clone(&provider)) => served.map_err(because("serve")),
        () = provider.ledger_lost() => Err("the ledger cannot be written".to_owned()),
        _ = stop.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_a_name_and_what_makes_no_sense_ends_with_2() {
        assert_eq!(address("localhost:80").unwrap(), "127.0.0.1:80".parse().unwrap());
        for words in [&["x", "--listen", "nowhere"][..], &["x", "--profile", "odd"], &["x", "--frobnicate"]] {
            assert_eq!(Flags::try_parse_from(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
        assert_eq!(Flags::try_parse_from(["x", "--version"]).unwrap_err().exit_code(), 0);
    }
}
