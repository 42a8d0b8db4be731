//! An HTTP client that sends exactly the given bytes, and checks of every answer what must hold of all.

pub(crate) use doorbuster_test_kit::client::Answer;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any answer may take here: a hang fails the test instead of the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // A server that has refused may have closed its side: what matters is its answer.
        drop(self.stream.write_all(bytes).await);
    }

    /// The next answer; `None`: the connection was closed without one.
    pub(crate) async fn read(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_patiently()).await.expect("an answer, not a hang")
    }

    /// Is the connection closed by the server?
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut scratch = [0_u8; 1024];
        let closed = async {
            loop {
                match self.stream.read(&mut scratch).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.is_ok()
    }

    async fn fill(&mut self) -> Option<()> {
        let mut scratch = [0_u8; 16 * 1024];
        match self.stream.read(&mut scratch).await {
            Ok(0) | Err(_) => None,
            Ok(read) => {
                self.buffer.extend_from_slice(&scratch[..read]);
                Some(())
            }
        }
    }

    async fn read_patiently(&mut self) -> Option<Answer> {
        loop {
            let end = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = end else {
                self.fill().await?;
                continue;
            };
            let head = String::from_utf8(self.buffer[..end].to_vec()).expect("a head is text");
            self.buffer.drain(..end + 4);
            let mut lines = head.split("\r\n");
            let status: u16 = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
            if status == 100 {
                continue;
            }
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
            while self.buffer.len() < length {
                self.fill().await?;
            }
            let text = String::from_utf8(self.buffer.drain(..length).collect()).expect("an answer is text");
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            let answer = Answer { status, headers, body, text };
            check(&answer);
            return Some(answer);
        }
    }
}

/// What every answer must be: never a 500, never a bare refusal, nothing of our insides.
fn check(answer: &Answer) {
    assert_ne!(answer.status, 500, "{answer:?}");
    // The simulated bank's page is for a shopper's eyes.
    let is_page = answer.header("content-type") == Some("text/html; charset=utf-8");
    if answer.status >= 400 && !answer.text.is_empty() && !is_page {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        assert_eq!(answer.body["status"], answer.status, "{answer:?}");
        assert!(!answer.code().is_empty() && answer.body["retry"].is_string(), "{answer:?}");
    }
    if answer.status == 429 || answer.status == 503 {
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    for inside in ["panicked at", ".rs:", "RUST_BACKTRACE"] {
        assert!(
            !answer.text.contains(inside) || answer.header("content-type") == Some("text/javascript; charset=utf-8"),
            "{answer:?}"
        );
    }
}

/// A caller.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    headers: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, headers: Vec::new() }
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, None, Some(&body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, None, Some(&body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, None).await
    }

    pub(crate) async fn post(&self, path: &str, key: Option<&str>, body: Option<&Value>) -> Answer {
        self.send("POST", path, key, body.map(Value::to_string).as_deref()).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, key: Option<&str>, body: Option<&str>) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(key) = key {
            request.push_str(&format!("Idempotency-Key: {key}\r\n"));
        }
        if let Some(body) = body {
            request
                .push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        } else {
            request.push_str("\r\n");
        }
        self.raw(request.as_bytes()).await
    }

    /// Exactly these bytes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut connection = Connection::open(self.address).await;
        connection.write(bytes).await;
        connection.read().await.expect("an answer before the end")
    }
}
