//! PostgreSQL: one counter under a row lock, or one row per unit with `SKIP LOCKED`.
//!
//! Each reservation is one statement, one transaction, one round trip: as good as a careful user would make it.

use crate::Options;
use crate::crowd::{Books, Connection, Crowd, Figures, Peer, Told};
use crate::server::{Folder, free_port, kill_all, spawn, until};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::process::{Child, Command};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, Statement};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    RowLock,
    SkipLocked,
}

const ROW_LOCK: &str = "WITH taken AS (UPDATE stock SET available = available - 1 WHERE sku = 'hot' AND available >= 1 \
    AND NOT EXISTS (SELECT 1 FROM reservation WHERE key = $1) RETURNING sku) \
    INSERT INTO reservation (key, sku) SELECT $1, sku FROM taken RETURNING key";
const ROW_LOCK_KNOWN: &str = "SELECT key FROM reservation WHERE key = $1";
const SKIP_LOCKED: &str = "UPDATE unit SET key = $1 WHERE id = (SELECT id FROM unit WHERE sku = 'hot' AND key IS NULL \
    LIMIT 1 FOR UPDATE SKIP LOCKED) AND NOT EXISTS (SELECT 1 FROM unit WHERE key = $1) RETURNING key";
const SKIP_LOCKED_KNOWN: &str = "SELECT key FROM unit WHERE key = $1";
const SKIP_LOCKED_LEFT: &str = "SELECT 1 FROM unit WHERE sku = 'hot' AND key IS NULL LIMIT 1";

pub struct Postgres {
    port: u16,
    way: Way,
}

pub struct Open {
    client: Client,
    way: Way,
    take: Statement,
    known: Statement,
    left: Option<Statement>,
}

impl Postgres {
    async fn client(&self) -> Result<Client, String> {
        let settings = format!("host=127.0.0.1 port={} user=postgres dbname=postgres connect_timeout=5", self.port);
        let (client, connection) =
            tokio_postgres::connect(&settings, NoTls).await.map_err(|error| error.to_string())?;
        // It ends with the client, or with the server.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}

impl Peer for Postgres {
    type Connection = Open;
    async fn connect(&self) -> Result<Open, String> {
        let client = self.client().await?;
        let (take, known) = match self.way {
            Way::RowLock => (ROW_LOCK, ROW_LOCK_KNOWN),
            Way::SkipLocked => (SKIP_LOCKED, SKIP_LOCKED_KNOWN),
        };
        let told = |error: tokio_postgres::Error| error.to_string();
        let take = client.prepare(take).await.map_err(told)?;
        let known = client.prepare(known).await.map_err(told)?;
        let left = match self.way {
            Way::RowLock => None,
            Way::SkipLocked => Some(client.prepare(SKIP_LOCKED_LEFT).await.map_err(told)?),
        };
        Ok(Open { client, way: self.way, take, known, left })
    }
}

impl Connection for Open {
    async fn reserve(&mut self, buyer: u64) -> Result<Told, String> {
        let key = format!("b{buyer}");
        loop {
            match self.client.query_opt(&self.take, &[&key]).await {
                Ok(Some(_)) => return Ok(Told::Yours(key)),
                Ok(None) => {}
                // The same key was at work elsewhere, and was faster.
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
                Err(error) => return Err(error.to_string()),
            }
            let told = |error: tokio_postgres::Error| error.to_string();
            if self.client.query_opt(&self.known, &[&key]).await.map_err(told)?.is_some() {
                return Ok(Told::Yours(key));
            }
            let Some(left) = self.left.as_ref().filter(|_| self.way == Way::SkipLocked) else {
                return Ok(Told::SoldOut);
            };
            // All that was left may have been locked by others, who may yet fail: only an empty shelf is sold out.
            if self.client.query_opt(left, &[]).await.map_err(told)?.is_none() {
                return Ok(Told::SoldOut);
            }
        }
    }
}

/// PostgreSQL will not run as root.
fn as_postgres(program: &Path) -> Command {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    command
}

fn programs() -> Result<PathBuf, String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").map_err(|_| "no PostgreSQL: apt-get install postgresql-15")?;
    let mut found: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").exists());
    found.sort();
    found.pop().ok_or_else(|| "no initdb under /usr/lib/postgresql: apt-get install postgresql-15".to_owned())
}

fn start(bin: &Path, data: &Path, port: u16, log: &Path) -> Result<Child, String> {
    let mut command = as_postgres(&bin.join("postgres"));
    command.arg("-D").arg(data).current_dir("/");
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=on",
        "synchronous_commit=on",
        "full_page_writes=on",
        "max_connections=300",
        "shared_buffers=256MB",
        "max_wal_size=2GB",
    ] {
        command.args(["-c", setting]);
    }
    command.arg("-c").arg(format!("port={port}"));
    spawn(&mut command, log)
}

pub async fn measure(options: &Options, way: Way) -> Result<Figures, String> {
    let bin = programs()?;
    let folder = Folder::new(&options.folder, if way == Way::RowLock { "rowlock" } else { "skiplocked" })?;
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let made = as_postgres(&bin.join("initdb"))
        .args(["-U", "postgres", "--auth=trust", "--no-sync", "-D"])
        .arg(&data)
        .current_dir("/")
        .output()
        .await
        .map_err(|error| format!("initdb: {error}"))?;
    if !made.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let port = free_port()?;
    let mut server = start(&bin, &data, port, &log)?;
    let peer = Arc::new(Postgres { port, way });
    until("PostgreSQL", || async { peer.client().await.is_ok() }).await?;
    let client = peer.client().await?;
    let units = options.drop.units;
    let schema = match way {
        Way::RowLock => format!(
            "CREATE TABLE stock (sku text PRIMARY KEY, available int NOT NULL CHECK (available >= 0)); \
             CREATE TABLE reservation (key text PRIMARY KEY, sku text NOT NULL, at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO stock VALUES ('hot', {units}); CHECKPOINT"
        ),
        Way::SkipLocked => format!(
            "CREATE TABLE unit (id serial PRIMARY KEY, sku text NOT NULL, key text UNIQUE); \
             INSERT INTO unit (sku) SELECT 'hot' FROM generate_series(1, {units}); \
             CREATE INDEX free ON unit (sku) WHERE key IS NULL; ANALYZE unit; CHECKPOINT"
        ),
    };
    for statement in schema.split("; ") {
        client.batch_execute(statement).await.map_err(|error| format!("{statement}: {error}"))?;
    }
    drop(client);
    let crowd = Crowd::new(options.drop);
    let killed = crowd
        .run(Arc::clone(&peer), || async {
            let at = kill_all(&mut server).await?;
            // What the dead left (a lock file, shared memory) may be in the way for a moment.
            for _ in 0..200 {
                server = start(&bin, &data, port, &log)?;
                for _ in 0..1_000 {
                    if peer.client().await.is_ok() {
                        return Ok(at);
                    }
                    if !matches!(server.try_wait(), Ok(None)) {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            }
            Err("PostgreSQL did not start again".to_owned())
        })
        .await?;
    let client = peer.client().await?;
    let (by_key, left) = match way {
        Way::RowLock => ("SELECT key FROM reservation", "SELECT available::bigint FROM stock WHERE sku = 'hot'"),
        Way::SkipLocked => (
            "SELECT key FROM unit WHERE key IS NOT NULL",
            "SELECT count(*) FROM unit WHERE sku = 'hot' AND key IS NULL",
        ),
    };
    let told = |error: tokio_postgres::Error| error.to_string();
    let mut books = Books::default();
    for row in client.query(by_key, &[]).await.map_err(told)? {
        let key: &str = row.get(0);
        let buyer = key.strip_prefix('b').and_then(|number| number.parse().ok()).ok_or("a key of nobody's")?;
        *books.buyers.entry(buyer).or_default() += 1;
    }
    books.left = client.query_one(left, &[]).await.map_err(told)?.get(0);
    kill_all(&mut server).await?;
    Ok(crowd.figures(&books, killed))
}
