//! A caller of the API: requests that are either answered or lost, and never hang.

use crate::http::Connection;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything here may take; a request that needs longer hangs.
const HANGS: Duration = Duration::from_secs(50);

/// One request, as it can be sent again.
#[derive(Debug, Clone)]
pub struct Call {
    /// GET, POST, …
    pub method: &'static str,
    /// With its query.
    pub path: String,
    /// `Idempotency-Key`
    pub key: Option<String>,
    /// JSON.
    pub body: Option<Value>,
    /// `Prefer: wait=…`
    pub wait_s: Option<u32>,
    /// Another bearer token than the seller's key.
    pub bearer: Option<String>,
}

impl Call {
    /// Reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), key: None, body: None, wait_s: None, bearer: None }
    }

    /// Sets.
    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { method: "PUT", body: Some(body), ..Self::get(path) }
    }

    /// Does something once.
    pub fn post(path: impl Into<String>, key: impl Into<String>, body: Value) -> Self {
        Self { method: "POST", body: Some(body), key: Some(key.into()), ..Self::get(path) }
    }

    /// Wants to hear the outcome, if it is known by then.
    pub fn waiting(self, seconds: u32) -> Self {
        Self { wait_s: Some(seconds), ..self }
    }
}

impl Call {
    /// The request as it goes over the wire.
    fn bytes(&self, bearer: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n", self.method, self.path);
        let bearer = self.bearer.as_deref().unwrap_or(bearer);
        if !bearer.is_empty() {
            head += &format!("authorization: Bearer {bearer}\r\n");
        }
        if let Some(key) = &self.key {
            head += &format!("idempotency-key: {key}\r\n");
        }
        if let Some(seconds) = self.wait_s {
            head += &format!("prefer: wait={seconds}\r\n");
        }
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            head += "content-type: application/json\r\n";
        }
        if !body.is_empty() || self.method != "GET" {
            head += &format!("content-length: {}\r\n", body.len());
        }
        (head + "\r\n" + &body).into_bytes()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.path)?;
        if let Some(key) = &self.key {
            write!(out, " (key {key})")?;
        }
        Ok(())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body, or null if it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// 2xx?
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of a header, by its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The problem's code; empty for a good answer.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The place of the body's first error in the request, as a JSON pointer; empty if there is none.
    pub fn error_pointer(&self) -> &str {
        self.text_at("/errors/0/pointer")
    }

    /// A text of the body.
    pub fn text_at(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Is it the answer to an earlier copy of the request?
    pub fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// Binds nothing, or leaves open what it bound: the same request must be sent again (API, "What binds a key").
    pub fn is_to_be_repeated(&self) -> bool {
        matches!(self.status, 429 | 503)
    }

    /// Fails with the whole answer unless it is `status`.
    #[track_caller]
    pub fn expect(self, call: &Call, status: u16) -> Self {
        assert_eq!(self.status, status, "{call} answered {}: {}", self.status, self.text);
        self
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.status, self.text)
    }
}

/// There was no answer: nothing listens, the connection broke, the process died. What became of the request is not known.
#[derive(Debug, Clone)]
pub struct Lost(pub String);

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no answer: {}", self.0)
    }
}

/// Connections, kept and shared.
#[derive(Debug, Clone, Default)]
pub struct Client(Arc<Mutex<HashMap<SocketAddr, Vec<Connection>>>>);

impl Client {
    /// Sends a call to `address` with `bearer`, unless the call has its own.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn send(&self, address: SocketAddr, bearer: &str, call: &Call) -> Result<Answer, Lost> {
        let bytes = call.bytes(bearer);
        let waited = tokio::time::timeout(HANGS, self.exchange(address, &bytes)).await;
        let answer = waited.unwrap_or_else(|_| panic!("{call} hangs: no answer after {HANGS:?}"));
        let answer = answer.map_err(|error| Lost(format!("{error:?}")))?;
        assert_ne!(answer.status, 500, "{call} answered {answer}");
        Ok(answer)
    }

    async fn exchange(&self, address: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
        let mut connection = match self.take_idle(address) {
            Some(idle) => idle,
            None => Connection::open(address).await?,
        };
        let reply = connection.exchange(bytes).await?;
        let headers = reply.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let text = String::from_utf8_lossy(reply.body).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer { status: reply.status, headers, body, text };
        if !connection.is_closed() {
            self.0.lock().unwrap().entry(address).or_default().push(connection);
        }
        Ok(answer)
    }

    /// An open connection that carries no request; one that the server has closed meanwhile is thrown away.
    fn take_idle(&self, address: SocketAddr) -> Option<Connection> {
        let mut all = self.0.lock().unwrap();
        let idle = all.get_mut(&address)?;
        while let Some(connection) = idle.pop() {
            if !connection.is_gone() {
                return Some(connection);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn a_call_carries_its_key_its_token_and_its_length() {
        let call = Call::post("/v1/orders", "k", json!({})).waiting(5);
        assert_eq!(
            String::from_utf8(call.bytes("sk_1")).unwrap(),
            "POST /v1/orders HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk_1\r\nidempotency-key: k\r\n\
             prefer: wait=5\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        );
        let text = String::from_utf8(Call::get("/").bytes("")).unwrap();
        assert_eq!(text, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_the_server_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answers in [2, 1] {
                let (mut stream, _) = listener.accept().await.unwrap();
                for left in (0..answers).rev() {
                    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                    let answer = format!("HTTP/1.1 200 OK\r\nX-Left: {left}\r\ncontent-length: 1\r\n\r\n{answers}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            // Nothing listens any more.
        });
        let client = Client::default();
        let mut heard = Vec::new();
        for _ in 0..3 {
            let answer = client.send(address, "", &Call::get("/")).await.unwrap();
            heard.push((answer.text.clone(), answer.header("x-left").unwrap().to_owned()));
            // The server's close arrives.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let heard: Vec<(&str, &str)> = heard.iter().map(|(text, left)| (text.as_str(), left.as_str())).collect();
        assert_eq!(heard, [("2", "1"), ("2", "0"), ("1", "0")]);
        assert!(client.send(address, "", &Call::get("/")).await.is_err());
    }
}
