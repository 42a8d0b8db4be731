//! Talking to a node outside the measured path: sets the shop up, reads it back, waits out a restart.

use super::error::BenchError;
use doorbuster_test_kit::http::{Connection, Reply};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long one request may take before its connection is given up.
pub const REQUEST_LIFE: Duration = Duration::from_secs(40);
/// How long the first answer of a node that runs already is waited for.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// How long a request outside the measured path is sent again: longer than any restart takes.
const PATIENCE: Duration = Duration::from_secs(90);
/// `Retry-After` is honoured up to here; beyond it a run would seem to hang.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// Where a node listens and the key that opens it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The public or the operator port.
    pub address: SocketAddr,
    /// A secret key; empty for the operator port.
    pub key: String,
}

/// One request as the API knows it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `PUT`, `POST`.
    pub method: &'a str,
    /// Path and query, already percent-encoded.
    pub path: &'a str,
    /// Sent as `Idempotency-Key`.
    pub key: Option<&'a str>,
    /// Seconds of `Prefer: wait`.
    pub wait_s: Option<u32>,
    /// JSON, if any.
    pub body: &'a [u8],
}

impl Target {
    /// Reads `http://HOST:PORT`, by the first address the name has.
    pub fn parse(url: &str, key: &str) -> Result<Self, BenchError> {
        use std::net::ToSocketAddrs;
        let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let mut found =
            authority.to_socket_addrs().map_err(|source| BenchError::io(format!("look up {url}"), source))?;
        let address = found.next().ok_or_else(|| BenchError::Input(format!("{url} has no address")))?;
        Ok(Self { address, key: key.to_owned() })
    }

    /// Does anything answer there, with HTTP? Asked once, before a run: a caller later on is patient, because nodes restart.
    ///
    /// # Errors
    /// Nothing does.
    pub async fn must_answer(&self) -> Result<(), BenchError> {
        let mut caller = Caller::waiting(self.clone(), FIRST_ANSWER);
        let asked = caller.once(Request { method: "GET", path: "/healthz", key: None, wait_s: None, body: b"" });
        let answered = tokio::time::timeout(FIRST_ANSWER, asked).await;
        let source = match answered {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(source)) => source,
            Err(_elapsed) => std::io::ErrorKind::TimedOut.into(),
        };
        Err(BenchError::io(format!("nothing answers at http://{}", self.address), source))
    }

    /// Appends the request's bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>, request: Request<'_>) {
        out.extend_from_slice(request.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(request.path.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\n");
        if !self.key.is_empty() {
            out.extend_from_slice(b"authorization: Bearer ");
            out.extend_from_slice(self.key.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if let Some(key) = request.key {
            out.extend_from_slice(b"idempotency-key: ");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if let Some(seconds) = request.wait_s {
            out.extend_from_slice(format!("prefer: wait={seconds}\r\n").as_bytes());
        }
        if !request.body.is_empty() {
            out.extend_from_slice(b"content-type: application/json\r\n");
        }
        if !request.body.is_empty() || request.method != "GET" {
            out.extend_from_slice(format!("content-length: {}\r\n", request.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(request.body);
    }
}

/// A patient caller: it connects anew, and sends again what a 429, a 503 or a lost connection left open.
#[derive(Debug)]
pub struct Caller {
    target: Target,
    life: Duration,
    connection: Option<Connection>,
    bytes: Vec<u8>,
}

/// An answer that is the caller's own.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The content.
    pub body: Vec<u8>,
}

impl Answer {
    /// The content as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
    /// Did it do what was asked?
    pub const fn is_ok(&self) -> bool {
        matches!(self.status, 200..=299)
    }
    /// The problem's stable `code`, if it is one.
    pub fn code(&self) -> String {
        self.json().get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
    /// The answer as an error.
    pub fn error(&self, what: impl Into<String>) -> BenchError {
        let body = String::from_utf8_lossy(&self.body).chars().take(400).collect();
        BenchError::Answer { what: what.into(), status: self.status, body }
    }
}

impl Caller {
    /// A caller of `target`; connects with the first request.
    pub const fn new(target: Target) -> Self {
        Self::waiting(target, REQUEST_LIFE)
    }

    /// The same for requests that may take as long as `life`.
    pub const fn waiting(target: Target, life: Duration) -> Self {
        Self { target, life, connection: None, bytes: Vec::new() }
    }

    /// Sends until there is an answer that says more than "try again", for a bounded time.
    pub async fn send(&mut self, request: Request<'_>) -> Result<Answer, BenchError> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let attempt = self.once(request).await;
            let late = began.elapsed() > PATIENCE;
            match attempt {
                Ok((answer, _)) if late || !matches!(answer.status, 429 | 503) => return Ok(answer),
                Err(source) if late => {
                    return Err(BenchError::io(format!("{} {}", request.method, request.path), source));
                }
                Ok((_, Some(after))) => tokio::time::sleep(after.min(RETRY_AFTER_MAX)).await,
                Ok((_, None)) | Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Sends once, on the open connection or a new one.
    pub async fn once(&mut self, request: Request<'_>) -> std::io::Result<(Answer, Option<Duration>)> {
        self.bytes.clear();
        self.target.write(&mut self.bytes, request);
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => Connection::open(self.target.address).await?,
        };
        let limit = tokio::time::timeout(self.life, connection.exchange(&self.bytes));
        let reply: Reply<'_> = limit.await.map_err(|_elapsed| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        let answer = Answer { status: reply.status, body: reply.body.to_vec() };
        let after = reply.retry_after;
        if !connection.is_closed() {
            self.connection = Some(connection);
        }
        Ok((answer, after))
    }

    /// Reads `path`.
    pub async fn get(&mut self, path: &str) -> Result<Answer, BenchError> {
        self.send(Request { method: "GET", path, key: None, wait_s: None, body: b"" }).await
    }

    /// Reads `path`, which must be there.
    pub async fn read(&mut self, path: &str) -> Result<Value, BenchError> {
        let answer = self.get(path).await?;
        if answer.is_ok() { Ok(answer.json()) } else { Err(answer.error(format!("GET {path}"))) }
    }

    /// Puts `body` at `path`; anything but a 2xx is an error.
    pub async fn put(&mut self, path: &str, body: &Value) -> Result<Value, BenchError> {
        let text = body.to_string();
        let request = Request { method: "PUT", path, key: None, wait_s: None, body: text.as_bytes() };
        let answer = self.send(request).await?;
        if answer.is_ok() { Ok(answer.json()) } else { Err(answer.error(format!("PUT {path}"))) }
    }

    /// Posts `body` under `key`; the caller looks at the status.
    pub async fn post(
        &mut self,
        path: &str,
        key: &str,
        wait_s: Option<u32>,
        body: &Value,
    ) -> Result<Answer, BenchError> {
        let text = body.to_string();
        self.send(Request { method: "POST", path, key: Some(key), wait_s, body: text.as_bytes() }).await
    }

    /// [`Caller::post`], where anything but a 2xx is an error.
    pub async fn must_post(&mut self, path: &str, key: &str, body: &Value) -> Result<Value, BenchError> {
        let answer = self.post(path, key, Some(30), body).await?;
        if answer.is_ok() { Ok(answer.json()) } else { Err(answer.error(format!("POST {path}"))) }
    }
}

/// An id as one segment of a path.
pub fn segment(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_nothing_listens_a_run_does_not_begin() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let target = Target::parse(&format!("http://localhost:{}", closed.port()), "").unwrap();
        let began = Instant::now();
        let error = target.must_answer().await.unwrap_err().to_string();
        assert!(error.contains("nothing answers at http://") && began.elapsed() < Duration::from_secs(2), "{error}");
    }

    #[test]
    fn an_id_with_a_space_is_one_segment() {
        assert_eq!(segment("BANK CHARGES-1500"), "BANK%20CHARGES-1500");
        assert_eq!(segment("a+b:c"), "a%2Bb%3Ac");
    }

    #[test]
    fn a_request_carries_its_key_and_its_length() {
        let target = Target::parse("http://127.0.0.1:8080", "sk_1").unwrap();
        let mut bytes = Vec::new();
        target.write(
            &mut bytes,
            Request { method: "POST", path: "/v1/orders", key: Some("k"), wait_s: Some(5), body: b"{}" },
        );
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with(
            "POST /v1/orders HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk_1\r\nidempotency-key: k\r\n"
        ));
        assert!(text.ends_with("prefer: wait=5\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"));
    }
}
