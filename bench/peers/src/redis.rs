//! Redis: one script that looks for the key, takes a unit and writes the reservation; the append-only file is synced before each answer.

use crate::Options;
use crate::crowd::{Books, Connection, Crowd, Figures, Peer, Told};
use crate::server::{Folder, free_port, kill_all, spawn, until};
use redis::Script;
use redis::aio::MultiplexedConnection;
use std::path::Path;
use std::sync::Arc;
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
    async fn reserve(&mut self, buyer: u64) -> Result<Told, String> {
        let key = format!("b{buyer}");
        let mut call = self.script.key("stock:hot");
        let told: i64 = call
            .key("reservations:hot")
            .arg(&key)
            .invoke_async(&mut self.connection)
            .await
            .map_err(|error| error.to_string())?;
        Ok(if told == 1 { Told::Yours(key) } else { Told::SoldOut })
    }
}

fn start(folder: &Path, port: u16) -> Result<Child, String> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]);
    spawn(&mut command, &folder.join("log")).map_err(|error| format!("{error}: apt-get install redis-server"))
}

pub async fn measure(options: &Options) -> Result<Figures, String> {
    let folder = Folder::new(&options.folder, "redis")?;
    let port = free_port()?;
    let mut server = start(folder.path(), port)?;
    let peer = Arc::new(Redis { port, script: Script::new(RESERVE) });
    until("Redis", || peer.is_up()).await?;
    let told = |error: redis::RedisError| error.to_string();
    let mut connection = peer.open().await?;
    let set = redis::cmd("SET").arg("stock:hot").arg(options.drop.units).query_async::<()>(&mut connection).await;
    set.map_err(told)?;
    let crowd = Crowd::new(options.drop);
    let killed = crowd
        .run(Arc::clone(&peer), || async {
            let at = kill_all(&mut server).await?;
            server = start(folder.path(), port)?;
            until("Redis", || peer.is_up()).await?;
            Ok(at)
        })
        .await?;
    let mut connection = peer.open().await?;
    let mut books = Books::default();
    let keys: Vec<String> =
        redis::cmd("HKEYS").arg("reservations:hot").query_async(&mut connection).await.map_err(told)?;
    for key in keys {
        let buyer = key.strip_prefix('b').and_then(|number| number.parse().ok()).ok_or("a key of nobody's")?;
        *books.buyers.entry(buyer).or_default() += 1;
    }
    books.left = redis::cmd("GET").arg("stock:hot").query_async(&mut connection).await.map_err(told)?;
    kill_all(&mut server).await?;
    Ok(crowd.figures(&books, killed))
}
