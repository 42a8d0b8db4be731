//! Redis: one script that looks for the key, takes a unit and writes the reservation; the append-only file is synced before each answer.

use crate::Options;
use crate::crowd::{Answer, Books, Connection, Crowd, Figures, Peer};
use crate::server::{Folder, free_port, kill_all, spawn, until};
use crate::shop::Shop;
use redis::Script;
use redis::aio::MultiplexedConnection;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::process::{Child, Command};

const RESERVE: &str = "
    if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 1 end
    if tonumber(redis.call('GET', KEYS[1])) < 1 then return 0 end
    redis.call('DECR', KEYS[1])
    redis.call('HSET', KEYS[2], ARGV[1], 1)
    return 1
";

pub struct Redis {
    port: u16,
    script: Script,
}

pub struct Open {
    connection: MultiplexedConnection,
    script: Script,
}

impl Redis {
    async fn open(&self) -> Result<MultiplexedConnection, String> {
        let client =
            redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).map_err(|error| error.to_string())?;
        client.get_multiplexed_async_connection().await.map_err(|error| error.to_string())
    }

    async fn is_up(&self) -> bool {
        let Ok(mut connection) = self.open().await else { return false };
        // While it loads its file it answers PING with an error.
        redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
    }
}

impl Peer for Redis {
    type Connection = Open;
    async fn connect(&self) -> Result<Open, String> {
        Ok(Open { connection: self.open().await?, script: self.script.clone() })
    }
}

impl Connection for Open {
    async fn reserve(&mut self, buyer: u64) -> Result<Answer, String> {
        let key = format!("b{buyer}");
        let mut call = self.script.key("stock:hot");
        let reserved: i64 = call
            .key("reservations:hot")
            .arg(&key)
            .invoke_async(&mut self.connection)
            .await
            .map_err(|error| error.to_string())?;
        Ok(if reserved == 1 { Answer::Reserved(key) } else { Answer::SoldOut })
    }
}

/// A Redis in a folder of its own.
struct Server {
    folder: Folder,
    port: u16,
    child: Child,
}

impl Server {
    /// It runs, and answers `peer`, which speaks with it.
    async fn start(options: &Options, name: &str) -> Result<(Self, Redis), String> {
        let (folder, port) = (Folder::new(&options.folder, name)?, free_port()?);
        let child = spawn_server(folder.path(), port)?;
        let peer = Redis { port, script: Script::new(RESERVE) };
        until("Redis", || peer.is_up()).await?;
        Ok((Self { folder, port, child }, peer))
    }

    /// Gives the instant of the kill.
    async fn kill_and_restart(&mut self, peer: &Redis) -> Result<Instant, String> {
        let at = kill_all(&mut self.child).await?;
        self.child = spawn_server(self.folder.path(), self.port)?;
        until("Redis", || peer.is_up()).await?;
        Ok(at)
    }
}

fn spawn_server(folder: &Path, port: u16) -> Result<Child, String> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]);
    spawn(&mut command, &folder.join("log")).map_err(|error| format!("{error}: apt-get install redis-server"))
}

pub async fn measure(options: &Options) -> Result<Figures, String> {
    let (mut server, peer) = Server::start(options, "redis").await?;
    let peer = Arc::new(peer);
    let text = |error: redis::RedisError| error.to_string();
    let mut connection = peer.open().await?;
    let set = redis::cmd("SET").arg("stock:hot").arg(options.drop.units).query_async::<()>(&mut connection).await;
    set.map_err(text)?;
    let crowd = Crowd::new(options.drop);
    let killed = crowd.run(Arc::clone(&peer), || server.kill_and_restart(&peer)).await?;
    let mut connection = peer.open().await?;
    let mut books = Books::default();
    let keys: Vec<String> =
        redis::cmd("HKEYS").arg("reservations:hot").query_async(&mut connection).await.map_err(text)?;
    for key in keys {
        let buyer = key.strip_prefix('b').and_then(|number| number.parse().ok()).ok_or("a key of no buyer")?;
        *books.buyers.entry(buyer).or_default() += 1;
    }
    books.left = redis::cmd("GET").arg("stock:hot").query_async(&mut connection).await.map_err(text)?;
    kill_all(&mut server.child).await?;
    Ok(crowd.figures(&books, killed))
}

/// An order, over HTTP.
pub async fn measure_shop(options: &Options) -> Result<Figures, String> {
    let (mut server, peer) = Server::start(options, "redis-shop").await?;
    let text = |error: redis::RedisError| error.to_string();
    let mut connection = peer.open().await?;
    let fill = [("available", options.drop.units), ("unit_price", 12_999)];
    redis::cmd("HSET").arg("stock:hot").arg(&fill).query_async::<()>(&mut connection).await.map_err(text)?;
    let mut shop = Shop::start("redis", server.port).await?;
    let crowd = Crowd::new(options.drop);
    let killed = crowd.run(shop.peer(), || server.kill_and_restart(&peer)).await?;
    let mut connection = peer.open().await?;
    let mut books = Books::default();
    let keys: Vec<String> = redis::cmd("KEYS").arg("key:b*").query_async(&mut connection).await.map_err(text)?;
    for key in keys {
        let buyer = key.strip_prefix("key:b").and_then(|number| number.parse().ok()).ok_or("a key of no buyer")?;
        let order: String =
            redis::cmd("HGET").arg(&key).arg("order").query_async(&mut connection).await.map_err(text)?;
        let line = format!("line:{order}:1");
        let units: u64 =
            redis::cmd("HGET").arg(line).arg("quantity").query_async(&mut connection).await.map_err(text)?;
        *books.buyers.entry(buyer).or_default() += units;
    }
    books.left =
        redis::cmd("HGET").arg("stock:hot").arg("available").query_async(&mut connection).await.map_err(text)?;
    shop.kill().await?;
    kill_all(&mut server.child).await?;
    Ok(crowd.figures(&books, killed))
}
