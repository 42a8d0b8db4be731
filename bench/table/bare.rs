//! The ceiling: stock warp that parses the same JSON POST and answers the same bytes, in a process of its own.

use doorbuster_bench::api::Target;
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Role, spawn_command};
use doorbuster_test_kit::process::Process;
use serde::Deserialize;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use warp::Filter;

/// The body of an order, typed as any handler would have it; what is in it is not used.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "parsing it is the work that is measured")]
struct Order {
    lines: Vec<Line>,
    buyer: Buyer,
    ship_to: ShipTo,
}

/// The body of a reservation, likewise.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "parsing it is the work that is measured")]
struct Reservation {
    reference: String,
    lines: Vec<Line>,
}

/// Which POST a bare server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Post {
    Orders,
    Reservations,
}

impl Post {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Reservations => "reservations",
        }
    }
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "parsing it is the work that is measured")]
struct Line {
    sku: String,
    quantity: u32,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "parsing it is the work that is measured")]
struct Buyer {
    email: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "parsing it is the work that is measured")]
struct ShipTo {
    name: String,
    line1: String,
    city: String,
    postal_code: String,
    country: String,
}

/// Serves the text in the file that the first argument names, to the POST that the second names, until killed: the hidden subcommand.
pub(crate) fn serve(arguments: &[OsString]) -> ExitCode {
    let Some(Ok(text)) = arguments.first().map(std::fs::read) else {
        eprintln!("bare: the file with the answer cannot be read");
        return ExitCode::FAILURE;
    };
    let reservations = arguments.get(1).is_some_and(|post| post == Post::Reservations.as_str());
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async move {
        let text = bytes::Bytes::from(text);
        let answered = move || {
            let answer = warp::http::Response::builder().status(201).header("content-type", "application/json");
            answer.body(text.clone())
        };
        let Ok(listener) = tokio::net::TcpListener::bind("127.0.0.1:0").await else { return ExitCode::FAILURE };
        if let Ok(address) = listener.local_addr() {
            println!("public http://{address}");
        }
        // One route each: neither pays for the other.
        if reservations {
            let route = warp::path!("v1" / "reservations").and(warp::body::json());
            let route = warp::post().and(route).map(move |_reservation: Reservation| answered());
            warp::serve(route).incoming(listener).run().await;
        } else {
            let route = warp::path!("v1" / "orders").and(warp::body::json());
            let route = warp::post().and(route).map(move |_order: Order| answered());
            warp::serve(route).incoming(listener).run().await;
        }
        ExitCode::SUCCESS
    })
}

/// A bare server that runs.
#[derive(Debug)]
pub(crate) struct Bare {
    _process: Process,
    /// Where it listens.
    pub(crate) target: Target,
}

impl Bare {
    /// Starts one that answers `text`; `key` is sent like to the node, and not looked at.
    pub(crate) async fn start(folder: &Path, post: Post, text: &[u8], key: &str) -> Result<Self, BenchError> {
        let file = folder.join("answer.json");
        std::fs::write(&file, text).map_err(|source| BenchError::io(format!("write {}", file.display()), source))?;
        let mut command = spawn_command(Role::Bare, folder)?;
        command.arg(&file).arg(post.as_str());
        let process = Process::spawn("bare server", &mut command);
        let process = process.map_err(|source| BenchError::io("start the bare server", source))?;
        let url = process.said("public ", Duration::from_secs(20)).await;
        let url = url.ok_or_else(|| BenchError::Node(format!("the bare server said: {}", process.stdout())))?;
        Ok(Self { _process: process, target: Target::parse(&url, key)? })
    }
}
