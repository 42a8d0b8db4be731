//! The client's side of HTTP/1.1: one connection, one request at a time, JSON both ways. Doorbuster and the shops of `front` are asked through it.

use crate::crowd::{Answer, Connection};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a buyer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// `POST /v1/reservations`.
    Reservation,
    /// `POST /v1/orders`.
    Order,
}

/// One kept connection.
pub struct HttpConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
    key: String,
    asks: Asks,
}

impl HttpConnection {
    pub async fn open(address: SocketAddr, key: &str, asks: Asks) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream, buffer: Vec::with_capacity(4_096), key: key.to_owned(), asks })
    }

    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<(u16, Value), String> {
        let text = |error: std::io::Error| error.to_string();
        let idempotency = key.map_or(String::new(), |key| format!("idempotency-key: {key}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n{idempotency}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.map_err(text)?;
        self.buffer.clear();
        loop {
            if let Some((status, start, length)) = head(&self.buffer)
                && self.buffer.len() >= start + length
            {
                let body = &self.buffer[start..start + length];
                return Ok((status, serde_json::from_slice(body).unwrap_or(Value::Null)));
            }
            if self.stream.read_buf(&mut self.buffer).await.map_err(text)? == 0 {
                return Err("closed".to_owned());
            }
        }
    }
}

/// Status, where the body begins, how long it is.
fn head(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some((status, end + 4, length.unwrap_or(0)))
}

impl Connection for HttpConnection {
    async fn reserve(&mut self, buyer: u64) -> Result<Answer, String> {
        let key = format!("b{buyer}");
        let (status, body) = match self.asks {
            Asks::Reservation => {
                let body = format!(
                    "{{\"reference\":\"{key}\",\"lines\":[{{\"sku\":\"hot\",\"quantity\":1}}],\"hold_s\":3600,\"buyer_key\":\"{key}\"}}"
                );
                self.ask("POST", "/v1/reservations", None, &body).await?
            }
            Asks::Order => {
                let body = format!(
                    "{{\"lines\":[{{\"sku\":\"hot\",\"quantity\":1}}],\"buyer\":{{\"email\":\"{key}@example.com\",\"name\":\"Buyer\"}}}}"
                );
                self.ask("POST", "/v1/orders", Some(&key), &body).await?
            }
        };
        match (status, body["id"].as_str(), body["code"].as_str()) {
            (201, Some(id), _) => Ok(Answer::Reserved(id.to_owned())),
            (409, _, Some("sold_out")) => Ok(Answer::SoldOut),
            (status, _, code) => Err(format!("{status} {code:?}")),
        }
    }
}
