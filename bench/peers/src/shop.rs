//! The process of a shop in front of a database (`front`), as the crowd meets it.

use crate::crowd::Peer;
use crate::http::{Asks, HttpConnection};
use crate::server::{START_MAX, kill_all};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub struct Shop {
    child: Child,
    address: SocketAddr,
}

/// Where the shop is asked for orders.
pub struct Door(SocketAddr);

impl Peer for Door {
    type Connection = HttpConnection;
    async fn connect(&self) -> Result<HttpConnection, String> {
        HttpConnection::open(self.0, "any", Asks::Order).await
    }
}

impl Shop {
    /// This same program, in front of the database that listens on `port`.
    pub async fn start(database: &str, port: u16) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .args(["front", database, &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let line = tokio::time::timeout(START_MAX, lines.next_line()).await.map_err(|_| "the shop did not start")?;
        let line = line.map_err(|error| error.to_string())?.ok_or("the shop ended")?;
        let address = line.strip_prefix("public http://").and_then(|address| address.parse().ok());
        Ok(Self { child, address: address.ok_or_else(|| format!("the shop said {line}"))? })
    }

    pub fn peer(&self) -> Arc<Door> {
        Arc::new(Door(self.address))
    }

    pub async fn kill(&mut self) -> Result<(), String> {
        kill_all(&mut self.child).await.map(drop)
    }
}
