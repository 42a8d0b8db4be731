//! Doorbuster over HTTP: a reservation alone, or an order.

use crate::Options;
use crate::crowd::{Books, Crowd, Figures, Peer};
use crate::http::{Asks, HttpConnection};
use crate::server::{Folder, START_MAX, kill_all};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub struct Doorbuster {
    address: SocketAddr,
    key: String,
    asks: Asks,
}

impl Doorbuster {
    async fn open(&self) -> Result<HttpConnection, String> {
        HttpConnection::open(self.address, &self.key, self.asks).await
    }
}

impl Peer for Doorbuster {
    type Connection = HttpConnection;
    async fn connect(&self) -> Result<HttpConnection, String> {
        self.open().await
    }
}

async fn start(program: &Path, folder: &Path, addresses: Option<(SocketAddr, SocketAddr)>) -> Result<Started, String> {
    let text = |error: std::io::Error| format!("start {}: {error}", program.display());
    let (public, operator) =
        addresses.map_or(("127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()), |(p, o)| (p.to_string(), o.to_string()));
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).map_err(text)?;
    let mut child = Command::new(program)
        .current_dir(folder)
        .envs([
            ("DOORBUSTER__API__LISTEN", public.as_str()),
            ("DOORBUSTER__API__OPERATOR_LISTEN", operator.as_str()),
            ("DOORBUSTER__NODE__DATA_FOLDER", "data"),
            ("DOORBUSTER__LOG__LEVEL", "warn"),
            ("DOORBUSTER__ORDERS__HOLD_S", "3600"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(text)?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let (mut said, mut key) = ((None, None), None);
    let hear = async {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut words = line.split_whitespace();
            let address =
                |url: &str| url.strip_prefix("http://").and_then(|url| url.trim_end_matches('/').parse().ok());
            match (words.next(), words.next()) {
                (Some("public"), Some(url)) => said.0 = address(url),
                (Some("operator"), Some(url)) => said.1 = address(url),
                (Some("key"), Some(secret)) => key = Some(secret.to_owned()),
                _ => {}
            }
            if said.0.is_some() && said.1.is_some() && (key.is_some() || addresses.is_some()) {
                break;
            }
        }
    };
    tokio::time::timeout(START_MAX, hear).await.map_err(|_| "Doorbuster did not start")?;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    match said {
        (Some(public), Some(operator)) => Ok(Started { child, public, operator, key: key.unwrap_or_default() }),
        _ => Err(format!(
            "Doorbuster did not say where it listens: {}",
            std::fs::read_to_string(folder.join("log")).unwrap_or_default()
        )),
    }
}

struct Started {
    child: Child,
    public: SocketAddr,
    operator: SocketAddr,
    key: String,
}

pub async fn measure(options: &Options, asks: Asks) -> Result<Figures, String> {
    if !options.doorbuster.is_file() {
        return Err("--doorbuster names no program: cargo build --release --bin doorbuster".to_owned());
    }
    let program = std::fs::canonicalize(&options.doorbuster).map_err(|error| error.to_string())?;
    let folder = Folder::new(&options.folder, if asks == Asks::Reservation { "reservations" } else { "orders" })?;
    std::fs::write(folder.path().join("cluster.toml"), "").map_err(|error| error.to_string())?;
    let mut server = start(&program, folder.path(), None).await?;
    let (public, operator) = (server.public, server.operator);
    let peer = Arc::new(Doorbuster { address: public, key: server.key.clone(), asks });
    let mut seller = peer.open().await?;
    let good = |what: &'static str, (status, body): (u16, Value)| {
        if (200..300).contains(&status) { Ok(body) } else { Err(format!("{what}: {status} {body}")) }
    };
    let place = json!({ "name": "London", "country": "GB" }).to_string();
    good("warehouse", seller.ask("PUT", "/v1/warehouses/lon1", None, &place).await?)?;
    let product =
        json!({ "title": "Hot", "skus": [{ "sku": "hot", "prices": [{ "amount": 12_999, "currency": "GBP" }] }] });
    good("product", seller.ask("PUT", "/v1/products/hot", None, &product.to_string()).await?)?;
    let mut left = options.drop.units;
    while left > 0 {
        let part = left.min(1_000_000);
        let receipt = json!({ "warehouse": "lon1", "units": part }).to_string();
        let key = format!("r{left}");
        good("receipt", seller.ask("POST", "/v1/inventory/hot/receipts", Some(&key), &receipt).await?)?;
        left -= part;
    }
    let crowd = Crowd::new(options.drop);
    let killed = crowd
        .run(Arc::clone(&peer), || async {
            let at = kill_all(&mut server.child).await?;
            server = start(&program, folder.path(), Some((public, operator))).await?;
            Ok(at)
        })
        .await?;
    let mut seller = peer.open().await?;
    let stock = good("inventory", seller.ask("GET", "/v1/inventory/hot", None, "").await?)?;
    let mut books = Books { left: stock["available"].as_i64().unwrap_or(0), ..Books::default() };
    match asks {
        Asks::Reservation => {
            let mut cursor = String::new();
            loop {
                let path = format!("/v1/reservations?sku=hot&limit=200{cursor}");
                let page = good("list", seller.ask("GET", &path, None, "").await?)?;
                for one in page["data"].as_array().ok_or("a list without data")? {
                    let reference = one["reference"].as_str().unwrap_or_default();
                    let buyer = reference.strip_prefix('b').and_then(|number| number.parse().ok());
                    *books.buyers.entry(buyer.ok_or("a reference of no buyer")?).or_default() +=
                        one["lines"][0]["granted"].as_u64().unwrap_or(0);
                }
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
        }
        Asks::Order => {
            // There is no list of orders yet, so each acknowledged one is read; a unit too many would be astray.
            for (buyer, id) in crowd.acknowledged() {
                let (status, order) = seller.ask("GET", &format!("/v1/orders/{id}"), None, "").await?;
                if status == 200 && order["status"] == "awaiting_payment" {
                    *books.buyers.entry(buyer).or_default() += order["lines"][0]["granted"].as_u64().unwrap_or(0);
                }
            }
        }
    }
    kill_all(&mut server.child).await?;
    Ok(crowd.figures(&books, killed))
}
