//! The composition root: a node is made of a store, a payment provider, the actors and two HTTP ports.
//!
//! ```text
//! Config ──► store ──► actors ──► public port ───► sockets
//!              │          └─────► operator port ─► sockets
//!              └── provider ──webhooks──► actors
//! ```

mod admin;
mod auditor;
mod background;
pub mod cli;
mod cluster_admin;
mod clustered;
pub mod commands;
pub mod config;
mod installation;
mod key_commands;
mod key_store;
mod ledger;
mod libraries;
mod lists;
mod memory_guard;
mod metrics;
#[cfg(test)]
mod on_cql;
mod operations;
mod operator_token;
mod output;
mod projections;
pub mod provider;
mod settings;
mod shared_keys;
mod shop;
mod warehouses;

pub use cluster_admin::{ClusterAdmin, Figure, PeerHeartbeat};
pub use operations::NodeOperations;
use projections::Projections;
pub use shop::NodeShop;
use shop::Refreshing;

use self::clustered::Clustered;
use self::key_store::KeyStore;
use self::provider::{AnyProvider, BuildError};
use self::shared_keys::SharedKeys;
use crate::config::{Config, JournalKind};
use doorbuster_actors::cores::{Core, Cores};
use doorbuster_actors::system::{Actors, Recovery, Shards, StartError};
use doorbuster_api::keys::{self, FirstKey, Keys, KeysError, Scope};
use doorbuster_api::secret::{self, Secret};
use doorbuster_api::server::Runtimes;
use doorbuster_api::{Api, SocketCounts, operator, server};
use doorbuster_clock::{SharedClock, SystemClock, monotonic};
use doorbuster_cluster::OpenError as GatewayError;
use doorbuster_storage::cql::{CqlError, CqlJournal};
use doorbuster_storage::embedded::{EmbeddedJournal, OpenError};
use doorbuster_storage::memory::{Groups, MemoryStore};
use doorbuster_storage::registry::RegistryError;
use doorbuster_storage::{AppendError, ReadError, Store};
use operations::Addresses;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Reads the command line and carries it out.
#[must_use]
pub fn run_program() -> std::process::ExitCode {
    // Before there is a second thread: no file that this program makes is for other users, neither the database's nor a dump.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(doorbuster_storage::private::UMASK));
    match cli::parse(std::env::args_os()) {
        Ok(asked) => commands::run(asked),
        Err(code) => code,
    }
}

/// Version of [`doorbuster_domain::ids::EntityId::stable_hash`].
pub const HASH_VERSION: u16 = 1;
/// The simulated provider's ledger in the data folder.
const LEDGER_FILE: &str = "simulated-provider.ledger";

/// Why a node could not start, or not stop cleanly.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store that nodes share.
    #[error(transparent)]
    Cql(#[from] CqlError),
    /// The keys and the secret that nodes share.
    #[error("read the keys and the secret that the nodes share: {0}")]
    Shared(#[from] ReadError),
    /// The registry of nodes.
    #[error("join the cluster: {0}")]
    Join(#[from] RegistryError),
    /// The cluster port.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The payment provider.
    #[error(transparent)]
    Provider(#[from] BuildError),
    /// The threads that serve.
    #[error("start the threads that serve: {0}")]
    Cores(io::Error),
    /// The actors.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The file of keys.
    #[error("the keys in the data folder: {0}")]
    Keys(#[from] KeysError),
    /// The secret that signs tokens.
    #[error("the secret in the data folder: {0}")]
    Secret(io::Error),
    /// The installation's id.
    #[error("the installation's id in the data folder: {0}")]
    Installation(io::Error),
    /// The indexes of lists.
    #[error("the indexes of lists: {0}")]
    Index(String),
    /// The token of the operator port.
    #[error("the operator token in the data folder: {0}")]
    OperatorToken(io::Error),
    /// A port.
    #[error("listen on {address} ({setting}): {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// The system's error.
        error: io::Error,
    },
    /// A setting whose value is only found wrong when it is used.
    #[error("{0}")]
    Setting(String),
    /// The seal of a clean stop.
    #[error("seal the journal: {0}")]
    Seal(AppendError),
    /// It failed while it stopped.
    #[error("{0}")]
    Failed(String),
}

/// What the start found.
#[derive(Debug, Clone)]
pub struct Started {
    /// The address of the public port.
    pub public: SocketAddr,
    /// The address of the operator port.
    pub operator: SocketAddr,
    /// The API key with all scopes that the first start makes. It is to be shown, and then to be marked by [`Node::first_key_was_shown`].
    pub first_key: Option<FirstKey>,
    /// What the actors recovered.
    pub recovery: Recovery,
    /// Was the last stop clean? `None`: there was no log.
    pub sealed: Option<bool>,
    /// A torn tail of the log that was cut: its length, and the path of the copy.
    pub torn: Option<String>,
    /// The name and incarnation under which it joined a cluster; `None`: it has no cluster.
    pub joined_as: Option<String>,
    /// How long the start of the store and the actors took.
    pub took: Duration,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    actors: Actors,
    /// The threads that serve, each with its own shards and connections; `None`: all share the caller's runtime.
    cores: Option<Cores>,
    clustered: Option<Clustered>,
    operations: NodeOperations,
    store: Store,
    provider: Arc<AnyProvider>,
    started: Started,
    key_store: Option<KeyStore>,
    stop_ports: watch::Sender<bool>,
    /// The two HTTP servers; each ends with the number of requests that it cut off.
    ports: Vec<JoinHandle<usize>>,
    drain: Duration,
    projections: Projections,
    refreshing: Refreshing,
}

impl Node {
    /// Opens the store, recovers, and serves.
    ///
    /// # Errors
    /// The store, the provider, the actors or a port could not be started, or a setting was found wrong.
    pub async fn start(config: &Config) -> Result<Self, NodeError> {
        let begun = monotonic();
        let clock: SharedClock = Arc::new(SystemClock);
        let stats = Arc::new(doorbuster_actors::stats::Stats::default());
        let opened = settings::open_store(config, &stats).await?;
        let folder = (config.journal.kind == JournalKind::Embedded).then_some(config.node.data_folder.as_path());
        let installation = match &opened.store {
            Store::Cql(journal) => installation::of_keyspace(journal).await?,
            Store::Embedded(_) | Store::Memory(_) => installation::of_folder(folder, opened.sealed.is_some())?,
        };
        let (key_store, secret) = match &opened.store {
            Store::Cql(journal) => {
                let shared = SharedKeys::open(journal.shared()).await?;
                let secret = shared.secret().clone();
                (Some(KeyStore::Shared(shared)), secret)
            }
            Store::Embedded(_) | Store::Memory(_) => {
                (folder.map(KeyStore::of_folder).transpose()?, open_secret(folder)?)
            }
        };
        let in_memory = keys::token(&secret::fresh().map_err(NodeError::Secret)?);
        let keys = match &key_store {
            Some(store) => store.keys().clone(),
            None => Keys::in_memory(&[(&in_memory, &config.shop.seller, &Scope::ALL)]),
        };
        let webhooks = shop::Webhooks::default();
        let ledger = folder.map(|folder| folder.join(LEDGER_FILE));
        // The ports are bound early, because the provider inside the process has its page there, and opened late: before that nothing is served.
        let public = bind(config.api.listen, "api.listen")?;
        let operators = bind(config.api.operator_listen, "api.operator_listen")?;
        let addresses = Addresses {
            public: bound_to(&public, "api.listen")?,
            operator: bound_to(&operators, "api.operator_listen")?,
        };
        let page_url = format!("http://{}/simulated-provider", settings::reachable(addresses.public));
        let (deliver, ledger) = (Some(webhooks.deliver()), ledger.as_deref());
        let provider = Arc::new(provider::build(&config.payments, &page_url, ledger, Arc::clone(&clock), deliver)?);
        let cores = settings::serving_cores(config).map(Cores::start).transpose().map_err(NodeError::Cores)?;
        let serving = cores.as_ref().map_or(&[][..], Cores::all);
        let actors = Actors::start_on(
            serving,
            opened.store.clone(),
            Arc::<AnyProvider>::clone(&provider),
            Arc::clone(&clock),
            settings::actors(config),
            stats,
            if matches!(key_store, Some(KeyStore::Shared(_))) {
                Shards::Assigned
            } else {
                Shards::All(&config.node.name)
            },
        )
        .await?;
        let index_key = secret.derived("index");
        let projections = Projections::start(config, &actors.handle(), &index_key).await?;
        let shop = NodeShop::new(
            actors.handle(),
            Arc::clone(&provider),
            projections.availability_cache(),
            Some(projections.lists().clone()),
        );
        webhooks.connect(shop.clone());
        let refreshing = shop.start_refreshing();
        let mut api_settings = settings::api(config)?;
        api_settings.shop.installation = Some(installation);
        let api = Api::new(shop, api_settings, keys, secret);
        let limits = settings::limits(config);
        let (stop_ports, stopped) = watch::channel(false);
        let counts = Arc::new(SocketCounts::default());
        let public = open(public, "api.listen", limits.backlog)?;
        let operators = open(operators, "api.operator_listen", limits.backlog)?;
        let clustered = match (&opened.store, &key_store) {
            (Store::Cql(journal), Some(KeyStore::Shared(shared))) => {
                let (shared, clock) = (shared.clone(), Arc::clone(&clock));
                Some(Clustered::start(config, journal, shared, &actors, clock, &addresses).await?)
            }
            _ => None,
        };
        let admin = clustered.as_ref().map(|clustered| clustered.admin(config, &opened.store));
        let watched = (api.counts(), Arc::clone(&counts), projections.figures());
        let operations = NodeOperations::new(actors.handle(), Arc::clone(&provider), config, addresses, watched, admin);
        let runtimes = Runtimes::new(serving.iter().filter_map(Core::runtime).cloned().collect());
        let stopping = is_stopping(stopped.clone());
        let shoppers = server::serve(public, runtimes, Some(api.gate()), api.filter(), limits, counts, stopping);
        let shoppers = shoppers.map_err(|error| at("api.listen", addresses.public, error))?;
        let token = operator_token::of_node(config).map_err(NodeError::OperatorToken)?;
        let guard = operator::Guard::new(addresses.operator, &config.api.operator_hosts, token.as_deref());
        let filter = operator::filter(operations.clone(), guard);
        let operator_limits = settings::operator_limits(config);
        // What operators ask for never waits behind shoppers, nor they behind it.
        let (own, uncounted, stopping) = (Runtimes::current(), Arc::default(), is_stopping(stopped));
        let operators = server::serve(operators, own, None, filter, operator_limits, uncounted, stopping);
        let operators = operators.map_err(|error| at("api.operator_listen", addresses.operator, error))?;
        // Last of all: a start that fails, because a port is taken or for any other reason, leaves no key behind.
        let first_key = match &key_store {
            Some(store) => store.first_key(&config.node.name, &config.shop.seller, clock.now()).await?,
            None => Some(FirstKey { token: in_memory, id: "key_in_memory".into() }),
        };
        let started = Started {
            public: addresses.public,
            operator: addresses.operator,
            first_key,
            recovery: actors.recovery(),
            sealed: opened.sealed,
            torn: opened.torn,
            joined_as: clustered.as_ref().map(|clustered| clustered.id().to_string()),
            took: doorbuster_clock::since(begun),
        };
        let ports = vec![tokio::spawn(shoppers), tokio::spawn(operators)];
        let drain = Duration::from_millis(config.node.drain_timeout_ms);
        let store = opened.store;
        Ok(Self {
            actors,
            cores,
            clustered,
            operations,
            store,
            provider,
            started,
            key_store,
            stop_ports,
            ports,
            drain,
            projections,
            refreshing,
        })
    }

    /// What the start found.
    #[must_use]
    pub const fn started(&self) -> &Started {
        &self.started
    }

    /// Notes that the first start's key was shown. Without it the next start makes another one.
    ///
    /// # Errors
    /// When the note cannot be stored.
    pub async fn first_key_was_shown(&self) -> Result<(), NodeError> {
        match (&self.started.first_key, &self.key_store) {
            (Some(key), Some(store)) => store.mark_shown(&key.id, self.actors.handle().now()).await,
            _ => Ok(()),
        }
    }

    /// The payment provider, for tests that act as the shopper's bank.
    #[must_use]
    pub fn provider(&self) -> &AnyProvider {
        &self.provider
    }

    /// Waits until the node can no longer go on; gives the reason.
    pub async fn failed(&self) -> String {
        let handle = self.actors.handle();
        let clustered = async {
            match &self.clustered {
                Some(clustered) => clustered.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            reason = handle.failed() => reason,
            reason = clustered => reason,
            reason = self.provider.lost() => reason,
        }
    }

    /// Gives the shards away, closes the ports, lets the requests under way end, stores everything and seals the journal, all within
    /// `node.drain_timeout_ms`. `false`: something was still under way then; it goes on at the next start.
    ///
    /// # Errors
    /// The node failed while it stopped, or the journal could not be sealed.
    pub async fn stop(self) -> Result<bool, NodeError> {
        self.operations.leave();
        drop(self.refreshing);
        self.operations.end_audit().await;
        // The ports stay open while the shards move to other nodes: requests that arrive meanwhile are sent to the new owners.
        let given_away = match &self.clustered {
            Some(clustered) => clustered.drain(self.drain).await,
            None => true,
        };
        self.stop_ports.send_replace(true);
        let mut cut_off: usize = 0;
        for port in self.ports {
            cut_off = cut_off.saturating_add(port.await.unwrap_or(0));
        }
        if let Some(clustered) = self.clustered {
            clustered.leave().await;
        }
        let actors = self.actors.handle();
        let drained = self.actors.stop(self.drain).await && given_away;
        self.projections.end().await;
        if let Some(cores) = self.cores {
            cores.end().await;
        }
        // After a failure the log gets no seal, so the next start reads it to its end.
        if let Some(reason) = actors.failure() {
            return Err(NodeError::Failed(reason));
        }
        if drained && let Store::Embedded(journal) = &self.store {
            journal.close().map_err(NodeError::Seal)?;
        }
        Ok(drained && cut_off == 0)
    }

    /// Ends without another write: the journal failed, and the next start recovers what is there (rule L8).
    pub async fn abandon(self) {
        self.operations.end_audit().await;
        for port in self.ports {
            port.abort();
        }
        self.actors.end().await;
        self.projections.end().await;
        if let Some(cores) = self.cores {
            cores.end().await;
        }
    }
}

fn at(setting: &'static str, address: SocketAddr, error: io::Error) -> NodeError {
    NodeError::Listen { address, setting, error }
}

/// Takes a port, without opening it to clients.
fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpSocket, NodeError> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let bound = socket.and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    });
    bound.map_err(|error| at(setting, address, error))
}

fn bound_to(socket: &TcpSocket, setting: &'static str) -> Result<SocketAddr, NodeError> {
    socket.local_addr().map_err(|error| at(setting, SocketAddr::from(([0, 0, 0, 0], 0)), error))
}

fn open(socket: TcpSocket, setting: &'static str, backlog: u32) -> Result<TcpListener, NodeError> {
    let address = bound_to(&socket, setting)?;
    socket.listen(backlog).map_err(|error| at(setting, address, error))
}

async fn is_stopping(mut stopped: watch::Receiver<bool>) {
    // The sender lives as long as the node; when it is gone, the node is, too.
    stopped.wait_for(|stopped| *stopped).await.ok();
}

fn open_secret(folder: Option<&Path>) -> Result<Secret, NodeError> {
    let fresh = secret::fresh().map_err(NodeError::Secret)?;
    match folder {
        Some(folder) => Secret::of_folder(folder, fresh).map_err(NodeError::Secret),
        None => Ok(Secret::new(&fresh)),
    }
}

/// A store, and what was found in its log.
#[derive(Debug)]
struct Opened {
    store: Store,
    sealed: Option<bool>,
    torn: Option<String>,
}

impl Opened {
    fn embedded(journal: EmbeddedJournal, recovered: &doorbuster_storage::embedded::log::Recovered) -> Self {
        let torn = recovered.torn.as_ref().map(|torn| {
            let copy =
                torn.copied_to.as_ref().map_or_else(String::new, |path| format!(", copied to {}", path.display()));
            format!("{} bytes at position {}{copy}", torn.bytes, torn.position.0)
        });
        let sealed = (recovered.frames > 0).then_some(recovered.sealed);
        Self { store: Store::Embedded(Arc::new(journal)), sealed, torn }
    }

    fn cql(journal: CqlJournal) -> Self {
        Self { store: Store::Cql(Arc::new(journal)), sealed: None, torn: None }
    }

    fn memory(layout: doorbuster_storage::Layout) -> Self {
        let store = Store::Memory(MemoryStore::new(layout, Groups::One, 1).open());
        Self { store, sealed: None, torn: None }
    }
}
