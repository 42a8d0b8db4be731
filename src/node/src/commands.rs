//! The commands of `doorbuster`: serve until a signal, read a stopped node's folder, make keys, erase, ask running nodes.

use super::output::{pipe_may_close, print_bytes};
use super::{Node, NodeError, Started, admin, key_commands, operator_token};
use crate::cli::{Admin, Asked, DumpOf, Invocation, Output, write_manual};
use crate::config::{Config, JournalKind, LogFormat, PaymentProvider};
use crate::memory_guard::MemoryGuard;
use doorbuster_audit::{Audit, Progress};
use doorbuster_clock::{Clock, SystemClock};
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::payment::LedgerLine;
use doorbuster_projections::cache::RedisCache;
use doorbuster_projections::reconcile;
use doorbuster_storage::cql::{CqlJournal, schema};
use doorbuster_storage::embedded::{OpenError, Stopped};
use doorbuster_storage::{Journal, Shard};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The exit status of a node that could not go on (`EX_SOFTWARE` of `sysexits.h`).
const EXIT_FAILED: u8 = 70;
/// The exit status of a process that was interrupted, as shells have it: 128 and the number of SIGINT.
const EXIT_INTERRUPTED: i32 = 130;
/// The operator port of a node must answer an erasure within this time.
const OPERATOR_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a command failed.
#[derive(Debug, Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Audit(#[from] doorbuster_audit::AuditError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Other(String),
}

/// Carries out what was asked; gives the exit status of the process.
#[must_use]
pub fn run(asked: Asked) -> ExitCode {
    let Asked { invocation, output } = asked;
    let done = match invocation {
        Invocation::Serve(config) => serve(&config, output),
        Invocation::JournalDump { config, of } => dump(&config, &of),
        Invocation::Audit(config) => audit_stopped(&config),
        Invocation::Key { config, of } => key_commands::carry_out(&config, &of, output),
        Invocation::Erase { config, order } => erase(&config, order, output),
        Invocation::Reconcile { config, repair } => reconcile_cache(&config, repair),
        Invocation::Admin(admin) => administer(&admin),
        Invocation::SchemaApply(config) => apply_schema(&config, output),
        Invocation::ConfigCheck(_) => said(output, &json!({ "in_order": true }), "the settings are in order"),
        Invocation::Print(text) => print_bytes(&text).map(|()| ExitCode::SUCCESS).map_err(CommandError::from),
        Invocation::WriteManual(folder) => {
            write_manual(&folder).map(|()| ExitCode::SUCCESS).map_err(CommandError::from)
        }
    };
    done.unwrap_or_else(|error| {
        // Written to standard error even where no log is written.
        writeln!(io::stderr(), "doorbuster: {error}").ok();
        ExitCode::FAILURE
    })
}

fn start_logging(config: &Config) {
    // The actor library's own spans would cost every actor two strings.
    let transport = doorbuster_cluster::LOG_LEVELS;
    let levels = format!("{},{transport},scylla=warn,fjall=warn,lsm_tree=warn", config.log.level);
    let targets: Targets = levels.parse().unwrap_or_else(|_| {
        Targets::new().with_default(tracing::Level::INFO).with_target("ractor", tracing::Level::WARN)
    });
    let builder = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(io::stderr);
    let builder = builder.with_target(false);
    let started = match config.log.format {
        LogFormat::Text => builder.with_ansi(false).finish().with(targets).try_init(),
        LogFormat::Json => builder.json().finish().with(targets).try_init(),
    };
    if let Err(error) = started {
        writeln!(io::stderr(), "doorbuster: no log is written: {error}").ok();
    }
    super::libraries::listen();
}

pub(super) fn runtime(config: &Config) -> Result<tokio::runtime::Runtime, CommandError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.node.worker_threads > 0 {
        builder.worker_threads(config.node.worker_threads);
    }
    Ok(builder.enable_all().build()?)
}

fn serve(config: &Config, output: Output) -> Result<ExitCode, CommandError> {
    start_logging(config);
    let _guard = MemoryGuard::start(config.node.memory_bytes_max)?;
    let runtime = runtime(config)?;
    let code = runtime.block_on(async {
        let mut asked_to_end = EndSignals::listen()?;
        let node = tokio::select! {
            biased;
            started = Node::start(config) => started?,
            // Nothing was accepted yet, and what the recovery does it does again at the next start.
            () = asked_to_end.next() => return end_at_once(output),
        };
        show_start(config, &node, output).await?;
        tokio::select! {
            biased;
            reason = node.failed() => {
                tracing::error!(reason, "the node ends; its successor will find everything that was acknowledged");
                node.abandon().await;
                return Ok(ExitCode::from(EXIT_FAILED));
            }
            () = asked_to_end.next() => {}
        }
        output.remark(&["stopping: no new requests, what is under way ends; once more ends at once".to_owned()]);
        let stopped = tokio::select! {
            biased;
            stopped = node.stop() => stopped,
            () = asked_to_end.next() => return end_at_once(output),
        };
        let clean = match stopped {
            Err(NodeError::Failed(reason)) => {
                tracing::error!(reason, "the stop failed; the next start will find everything that was acknowledged");
                return Ok(ExitCode::from(EXIT_FAILED));
            }
            stopped => stopped?,
        };
        let how = if clean {
            "stopped cleanly"
        } else {
            "stopped at the time limit; what was under way goes on at the next start"
        };
        output.remark(&[how.to_owned()]);
        Ok(ExitCode::SUCCESS)
    });
    // Reads of the store may be under way on blocking threads; nothing waits for them.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// SIGTERM and SIGINT (Ctrl-C): each asks the process to end.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends the process without waiting for anything. What was acknowledged is in the journal; what was not is under way again at the next start.
fn end_at_once(output: Output) -> Result<ExitCode, CommandError> {
    output.remark(&["ended at once; the next start finds everything that was acknowledged".to_owned()]);
    std::process::exit(EXIT_INTERRUPTED)
}

/// Says what the start found. The key of a first start must be seen: if it cannot be shown the process ends, and the next start makes another.
async fn show_start(config: &Config, node: &Node, output: Output) -> Result<(), CommandError> {
    let started = node.started();
    let all = start_lines(config, node);
    // A key is what the first start is called for, and the last of the lines.
    let lines = if output.quiet { all.get(all.len().saturating_sub(1)..).unwrap_or_default() } else { &all };
    let key = started.first_key.as_ref().map(|key| key.token.as_str());
    let shown = json!({
        "version": env!("CARGO_PKG_VERSION"), "node": config.node.name, "joined_as": started.joined_as,
        "public": format!("http://{}", started.public), "operator": format!("http://{}", started.operator), "key": key,
        "recovered_shards": started.recovery.shards, "recovered_events": started.recovery.tail_events,
        "clean_stop_before": started.sealed, "torn_tail": started.torn, "took_ms": count(started.took.as_millis()),
    });
    if key.is_some() {
        output.must_show(&shown, lines)?;
        node.first_key_was_shown().await?;
    } else if output.json {
        output.result(&shown, &[])?;
    } else {
        output.remark(&all);
    }
    Ok(())
}

fn count(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn start_lines(config: &Config, node: &Node) -> Vec<String> {
    let started = node.started();
    let mut lines = vec![format!("doorbuster {}, node {}", env!("CARGO_PKG_VERSION"), config.node.name)];
    match &started.joined_as {
        Some(name) => lines.push(format!(
            "joined as {name} after {} ms; journal in keyspace {}",
            started.took.as_millis(),
            config.cql.keyspace
        )),
        None => lines.extend(recovered_lines(config, started)),
    }
    if let Some(torn) = &started.torn {
        lines.push(format!("a torn tail was cut: {torn}"));
    }
    lines.push(format!("public http://{}", started.public));
    lines.push(format!("operator http://{}", started.operator));
    if let Some(key) = &started.first_key {
        lines.push("the first start made a key with all scopes; it is shown this once:".to_owned());
        lines.push(format!("key {}", key.token));
    }
    lines
}

fn recovered_lines(config: &Config, started: &Started) -> [String; 2] {
    let recovery = started.recovery;
    [
        format!("data in {}", config.node.data_folder.display()),
        format!(
            "recovered {} shards and {} events behind the last checkpoints in {} ms{}",
            recovery.shards,
            recovery.tail_events,
            started.took.as_millis(),
            match started.sealed {
                Some(true) => "; the last stop was a clean one",
                Some(false) => "; the last stop was not a clean one",
                None => "",
            }
        ),
    ]
}

/// Opens a stopped node's folder, and reports a torn tail of its log, which is left out.
fn open_stopped(config: &Config) -> Result<Stopped, CommandError> {
    let stopped = Stopped::open(&config.node.data_folder)?;
    if let Some(torn) = &stopped.recovered().torn {
        let (bytes, position) = (torn.bytes, torn.position);
        // Not on standard output: that is the journal, or the report.
        writeln!(
            io::stderr(),
            "left out: a torn tail of {bytes} bytes at position {position}; the next start cuts it"
        )?;
    }
    Ok(stopped)
}

fn dump(config: &Config, of: &DumpOf) -> Result<ExitCode, CommandError> {
    let stopped = open_stopped(config)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let shown = |record: &doorbuster_storage::Record| matches!(of, DumpOf::Entity(entity) if !doorbuster_audit::is_of(record, entity));
    let shards: Vec<_> = match of {
        DumpOf::Everything => stopped.shards().collect(),
        DumpOf::Shard(shard) => vec![*shard],
        DumpOf::Entity(entity) => vec![super::settings::layout(config).shard_of(entity)],
    };
    for shard in shards {
        for record in stopped.records(shard) {
            let record = record.map_err(doorbuster_audit::AuditError::from)?;
            if shown(&record) {
                continue;
            }
            match writeln!(out, "{}", doorbuster_audit::dump_line(&record)?) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                other => other?,
            }
        }
    }
    pipe_may_close(out.flush())?;
    Ok(ExitCode::SUCCESS)
}

fn audit_stopped(config: &Config) -> Result<ExitCode, CommandError> {
    if config.journal.kind == JournalKind::Cql {
        return judged(&runtime(config)?.block_on(audit_keyspace(config))?);
    }
    let stopped = open_stopped(config)?;
    let progress = Arc::new(Progress::new(config.audit.memory_bytes_max));
    let mut audit = Audit::new(Arc::clone(&progress));
    for shard in stopped.shards() {
        for record in stopped.records(shard) {
            audit.take(&record.map_err(doorbuster_audit::AuditError::from)?, true, true)?;
        }
    }
    let ledger = runtime(config)?.block_on(ledger_of(config, &progress))?;
    judged(&audit.finish(ledger.as_deref(), SystemClock.now()))
}

/// The logs of all nodes, stopped or not.
async fn audit_keyspace(config: &Config) -> Result<doorbuster_audit::Report, CommandError> {
    let journal = CqlJournal::open(super::settings::cql(config, None)).await.map_err(NodeError::Cql)?;
    let progress = Arc::new(Progress::new(config.audit.memory_bytes_max));
    let ledger = async {
        let read_at = SystemClock.now();
        let lines = ledger_of(config, &progress).await.ok().flatten()?;
        Some(doorbuster_audit::Ledger { lines, read_at })
    };
    let limits = super::settings::audit(config);
    Ok(doorbuster_audit::audit_shared(&journal, limits, ledger, Arc::clone(&progress)).await?)
}

fn judged(report: &doorbuster_audit::Report) -> Result<ExitCode, CommandError> {
    let text = serde_json::to_string_pretty(report).map_err(|error| CommandError::Other(error.to_string()))?;
    print_bytes(format!("{text}\n").as_bytes())?;
    Ok(if report.clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The ledger of the provider; of the simulated one inside the node, its file. `None`: there is no such file, or a provider outside the process
/// does not answer; the report then says that the ledger was not compared.
async fn ledger_of(config: &Config, progress: &Progress) -> Result<Option<Vec<LedgerLine>>, CommandError> {
    let path = config.node.data_folder.join(super::LEDGER_FILE);
    if config.payments.provider == PaymentProvider::Simulated && !path.exists() {
        return Ok(None);
    }
    let provider = crate::provider::build(&config.payments, "", Some(&path), Arc::new(SystemClock), None)
        .map_err(NodeError::from)?;
    Ok(super::ledger::read(&provider, progress).await.ok())
}

/// Reads the journal itself: on the embedded store the node must be stopped.
fn reconcile_cache(config: &Config, repair: bool) -> Result<ExitCode, CommandError> {
    let Some(link) = super::projections::link(&config.redis)? else {
        return Err(CommandError::Other("redis.url is empty: there is nothing to compare".to_owned()));
    };
    let report = runtime(config)?.block_on(async {
        let stats = Arc::new(doorbuster_actors::stats::Stats::default());
        let store = super::settings::open_store(config, &stats).await?.store;
        let shards: Vec<Shard> = (0..store.layout().shards).map(Shard).collect();
        let cache = RedisCache::new(link);
        let compared = reconcile::reconcile(&store, &shards, &cache, repair).await;
        compared.map_err(|error| CommandError::Other(error.to_string()))
    })?;
    let text = serde_json::to_string_pretty(&report).map_err(|error| CommandError::Other(error.to_string()))?;
    print_bytes(format!("{text}\n").as_bytes())?;
    let in_order = report.differing() == report.repaired;
    Ok(if in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn administer(asked: &Admin) -> Result<ExitCode, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let said = runtime.block_on(admin::carry_out(asked)).map_err(CommandError::Other)?;
    for remark in &said.remarks {
        writeln!(io::stderr(), "doorbuster: {remark}")?;
    }
    print_bytes(said.out.as_bytes())?;
    Ok(if said.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes keyspace and tables where they are missing.
fn apply_schema(config: &Config, output: Output) -> Result<ExitCode, CommandError> {
    let options = super::settings::cql(config, None);
    let applied = runtime(config)?.block_on(schema::apply(&options)).map_err(NodeError::Cql)?;
    let mut lines: Vec<String> = applied.files.iter().map(|file| format!("applied {file}")).collect();
    lines.push(format!("keyspace {} has the schema of this version", applied.keyspace));
    output.result(&json!({ "applied": applied.files, "keyspace": applied.keyspace }), &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks a running node over its operator port. A stopped node is started for it, on ports that no client knows.
fn erase(config: &Config, order: OrderId, output: Output) -> Result<ExitCode, CommandError> {
    let runtime = runtime(config)?;
    let entity = EntityId::Order(order);
    let token = operator_token::of_client(config);
    let erased =
        || said(output, &json!({ "erased": entity.to_string() }), &format!("{entity}: its personal data is erased"));
    runtime.block_on(async {
        let url = format!("http://{}/admin/erase/order/{order}", config.api.operator_listen);
        if let Some(status) = ask_operator(&url, token.as_deref()).await {
            return match status {
                200 => erased(),
                404 => Err(CommandError::Other(format!("there is no {entity}"))),
                other => Err(CommandError::Other(format!("the node answered {other}"))),
            };
        }
        let mut quiet = config.clone();
        quiet.api.listen.set_port(0);
        quiet.api.operator_listen.set_port(0);
        let node = Node::start(&quiet).await?;
        let url = format!("http://{}/admin/erase/order/{order}", node.started().operator);
        let token = operator_token::of_client(&quiet);
        let status = ask_operator(&url, token.as_deref()).await;
        node.stop().await?;
        match status {
            Some(200) => erased(),
            Some(404) => Err(CommandError::Other(format!("there is no {entity}"))),
            other => Err(CommandError::Other(format!("the node answered {other:?}"))),
        }
    })
}

fn said(output: Output, json: &Value, line: &str) -> Result<ExitCode, CommandError> {
    output.result(json, &[line.to_owned()])?;
    Ok(ExitCode::SUCCESS)
}

/// The status of a POST without a body; `None`: no node answers there.
async fn ask_operator(url: &str, token: Option<&str>) -> Option<u16> {
    use http_body_util::Empty;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let mut request = hyper::Request::post(url).header("content-length", "0");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::new()).ok()?;
    let answer = tokio::time::timeout(OPERATOR_TIMEOUT, client.request(request)).await.ok()?.ok()?;
    Some(answer.status().as_u16())
}
