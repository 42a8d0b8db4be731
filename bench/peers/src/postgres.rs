//! PostgreSQL: one counter under a row lock, or one row per unit with `SKIP LOCKED`; and a shop in front of it.
//!
//! Each reservation is one statement, one transaction, one round trip: as good as a careful user would make it.

use crate::Options;
use crate::crowd::{Answer, Books, Connection, Crowd, Figures, Peer};
use crate::front::POSTGRES_SCHEMA;
use crate::server::{Folder, free_port, kill_all, spawn, until};
use crate::shop::Shop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
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

async fn client(port: u16) -> Result<Client, String> {
    let settings = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=5");
    let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.map_err(|error| error.to_string())?;
    // It ends with the client, or with the server.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

impl Peer for Postgres {
    type Connection = Open;
    async fn connect(&self) -> Result<Open, String> {
        let client = client(self.port).await?;
        let (take, known) = match self.way {
            Way::RowLock => (ROW_LOCK, ROW_LOCK_KNOWN),
            Way::SkipLocked => (SKIP_LOCKED, SKIP_LOCKED_KNOWN),
        };
        let text = |error: tokio_postgres::Error| error.to_string();
        let take = client.prepare(take).await.map_err(text)?;
        let known = client.prepare(known).await.map_err(text)?;
        let left = match self.way {
            Way::RowLock => None,
            Way::SkipLocked => Some(client.prepare(SKIP_LOCKED_LEFT).await.map_err(text)?),
        };
        Ok(Open { client, way: self.way, take, known, left })
    }
}

impl Connection for Open {
    async fn reserve(&mut self, buyer: u64) -> Result<Answer, String> {
        let key = format!("b{buyer}");
        loop {
            match self.client.query_opt(&self.take, &[&key]).await {
                Ok(Some(_)) => return Ok(Answer::Reserved(key)),
                Ok(None) => {}
                // The same key was at work elsewhere, and was faster.
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
                Err(error) => return Err(error.to_string()),
            }
            let text = |error: tokio_postgres::Error| error.to_string();
            if self.client.query_opt(&self.known, &[&key]).await.map_err(text)?.is_some() {
                return Ok(Answer::Reserved(key));
            }
            let Some(left) = self.left.as_ref().filter(|_| self.way == Way::SkipLocked) else {
                return Ok(Answer::SoldOut);
            };
            // All that was left may have been locked by others, who may yet fail: only an empty shelf is sold out.
            if self.client.query_opt(left, &[]).await.map_err(text)?.is_none() {
                return Ok(Answer::SoldOut);
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
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").map_err(|_| "no PostgreSQL: apt-get install postgresql-15")?;
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

/// A PostgreSQL in a folder of its own.
struct Server {
    bin: PathBuf,
    folder: Folder,
    port: u16,
    child: Child,
}

impl Server {
    async fn start(options: &Options, name: &str) -> Result<Self, String> {
        let bin = programs()?;
        let folder = Folder::new(&options.folder, name)?;
        let data = folder.path().join("data");
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
        let child = start(&bin, &data, port, &folder.path().join("log"))?;
        until("PostgreSQL", || async { client(port).await.is_ok() }).await?;
        Ok(Self { bin, folder, port, child })
    }

    async fn execute(&self, statements: impl IntoIterator<Item = &str>) -> Result<(), String> {
        let client = client(self.port).await?;
        for statement in statements {
            client.batch_execute(statement).await.map_err(|error| format!("{statement}: {error}"))?;
        }
        Ok(())
    }

    /// Gives the instant of the kill.
    async fn kill_and_restart(&mut self) -> Result<Instant, String> {
        let at = kill_all(&mut self.child).await?;
        // What the dead left (a lock file, shared memory) may be in the way for a moment.
        for _ in 0..200 {
            self.child =
                start(&self.bin, &self.folder.path().join("data"), self.port, &self.folder.path().join("log"))?;
            for _ in 0..1_000 {
                if client(self.port).await.is_ok() {
                    return Ok(at);
                }
                if !matches!(self.child.try_wait(), Ok(None)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Err("PostgreSQL did not start again".to_owned())
    }

    /// Compares what was acknowledged with the tables; `by_key` gives a key and its units, `left` the units that are left.
    async fn books(&self, by_key: &str, left: &str) -> Result<Books, String> {
        let text = |error: tokio_postgres::Error| error.to_string();
        let client = client(self.port).await?;
        let mut books = Books::default();
        for row in client.query(by_key, &[]).await.map_err(text)? {
            let (key, units): (&str, i64) = (row.get(0), row.get(1));
            let buyer = key.strip_prefix('b').and_then(|number| number.parse().ok()).ok_or("a key of no buyer")?;
            *books.buyers.entry(buyer).or_default() += u64::try_from(units).map_err(|error| error.to_string())?;
        }
        books.left = client.query_one(left, &[]).await.map_err(text)?.get(0);
        Ok(books)
    }
}

/// The reservation alone, over PostgreSQL's own protocol.
pub async fn measure(options: &Options, way: Way) -> Result<Figures, String> {
    let mut server = Server::start(options, if way == Way::RowLock { "rowlock" } else { "skiplocked" }).await?;
    let peer = Arc::new(Postgres { port: server.port, way });
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
    server.execute(schema.split("; ")).await?;
    let crowd = Crowd::new(options.drop);
    let killed = crowd.run(peer, || server.kill_and_restart()).await?;
    let (by_key, left) = match way {
        Way::RowLock => {
            ("SELECT key, 1::bigint FROM reservation", "SELECT available::bigint FROM stock WHERE sku = 'hot'")
        }
        Way::SkipLocked => (
            "SELECT key, 1::bigint FROM unit WHERE key IS NOT NULL",
            "SELECT count(*) FROM unit WHERE sku = 'hot' AND key IS NULL",
        ),
    };
    let books = server.books(by_key, left).await?;
    kill_all(&mut server.child).await?;
    Ok(crowd.figures(&books, killed))
}

/// An order, over HTTP.
pub async fn measure_shop(options: &Options) -> Result<Figures, String> {
    let mut server = Server::start(options, "shop").await?;
    let fill = format!("INSERT INTO stock VALUES ('hot', {}, 12999)", options.drop.units);
    server.execute(POSTGRES_SCHEMA.split("---").chain([fill.as_str(), "CHECKPOINT"])).await?;
    let mut shop = Shop::start("postgres", server.port).await?;
    let crowd = Crowd::new(options.drop);
    let killed = crowd.run(shop.peer(), || server.kill_and_restart()).await?;
    let books = server
        .books(
            "SELECT key, sum(quantity) FROM orders JOIN order_line ON order_id = id GROUP BY key",
            "SELECT available::bigint FROM stock WHERE sku = 'hot'",
        )
        .await?;
    shop.kill().await?;
    kill_all(&mut server.child).await?;
    Ok(crowd.figures(&books, killed))
}
