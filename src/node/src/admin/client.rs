//! One request to a node's operator port, within a bounded time; errors are sentences for an operator at a shell.

use bytes::Bytes;
use doorbuster_settings::Secret;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use thiserror::Error;

/// The longest answer that is read, in bytes: 4,096 shards with all their figures are 2 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A node that listens accepts within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the request was not answered as asked.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// No process listens there, or the network is cut.
    #[error("no node can be reached at {address}: {why}")]
    Unreachable {
        /// The node that was asked.
        address: String,
        /// The system's error.
        why: String,
    },
    /// The answer did not come in time.
    #[error("{address} did not answer within {seconds} s")]
    Slow {
        /// The node that was asked.
        address: String,
        /// The bound, in seconds.
        seconds: u64,
    },
    /// The node refused.
    #[error("{address} refused: {detail} ({status} {code})")]
    Refused {
        /// The node that was asked.
        address: String,
        /// The HTTP status.
        status: u16,
        /// The problem's code.
        code: String,
        /// The problem's detail, or its title.
        detail: String,
    },
    /// The answer is not one of a node: another program listens there.
    #[error("{address} does not answer as a node does: {why}")]
    Strange {
        /// The node that was asked.
        address: String,
        /// What is wrong with the answer.
        why: String,
    },
}

/// A client of operator ports.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: Hyper<HttpConnector, Full<Bytes>>,
    timeout_s: u64,
    /// Sent with every request, where there is one.
    token: Secret,
}

impl Client {
    pub(super) fn new(timeout_s: u64, token: Secret) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self { http: Hyper::builder(TokioExecutor::new()).build(connector), timeout_s, token }
    }

    /// The answer to a GET.
    pub(super) async fn get(&self, address: &str, path: &str) -> Result<Value, ClientError> {
        self.send(address, Method::GET, path, None).await
    }

    /// The answer to a POST.
    pub(super) async fn post(&self, address: &str, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        self.send(address, Method::POST, path, body).await
    }

    async fn send(
        &self,
        address: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let strange = |why: String| ClientError::Strange { address: address.to_owned(), why };
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(&method).uri(format!("http://{address}{path}"));
        if method == Method::POST {
            request = request.header(CONTENT_LENGTH, bytes.len()).header(CONTENT_TYPE, "application/json");
        }
        if !self.token.0.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token.0));
        }
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(|error| strange(error.to_string()))?;
        let exchange = async {
            let unreachable = |error: hyper_util::client::legacy::Error| ClientError::Unreachable {
                address: address.to_owned(),
                why: innermost(&error),
            };
            let answer = self.http.request(request).await.map_err(unreachable)?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|error| strange(error.to_string()))?.to_bytes()))
        };
        let slow = |_elapsed| ClientError::Slow { address: address.to_owned(), seconds: self.timeout_s };
        let (status, body) =
            tokio::time::timeout(Duration::from_secs(self.timeout_s), exchange).await.map_err(slow)??;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| strange(format!("{status}, {error}")))?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let detail = if text("detail").is_empty() { text("title") } else { text("detail") };
        Err(ClientError::Refused { address: address.to_owned(), status, code: text("code"), detail })
    }
}

/// The text of the innermost cause.
fn innermost(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

/// One segment of a path: what is not plain is written as `%XX`.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that gives every connection the same answer, or none.
    async fn server(answer: Option<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                if stream.read(&mut head).await.is_ok() {
                    match answer {
                        Some(answer) => stream.write_all(answer.as_bytes()).await.expect("it is read"),
                        None => std::future::pending().await,
                    }
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_named_with_the_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        drop(listener);
        let error =
            Client::new(5, Secret::default()).get(&address, "/admin/cluster").await.expect_err("no server is there");
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("no node can be reached at {address}: ")), "{text}");
        assert!(text.to_lowercase().contains("refused"), "{text}");
    }

    #[tokio::test]
    async fn a_node_that_does_not_answer_is_waited_for_within_the_bound() {
        let address = server(None).await;
        let error =
            Client::new(1, Secret::default()).get(&address, "/admin/cluster").await.expect_err("it does not answer");
        assert_eq!(error.to_string(), format!("{address} did not answer within 1 s"));
    }

    #[tokio::test]
    async fn a_refusal_is_shown_in_the_words_of_the_node() {
        let body = r#"{"code":"wrong_state","title":"Wrong state","detail":"this node has no cluster"}"#;
        let answer = format!("HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let address = server(Some(answer.leak())).await;
        let error = Client::new(5, Secret::default())
            .post(&address, "/admin/nodes/a/drain", None)
            .await
            .expect_err("it is refused");
        assert_eq!(error.to_string(), format!("{address} refused: this node has no cluster (409 wrong_state)"));
    }

    #[tokio::test]
    async fn another_program_at_the_address_is_not_taken_for_a_node() {
        let address = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>")).await;
        let error =
            Client::new(5, Secret::default()).get(&address, "/admin/cluster").await.expect_err("that is no JSON");
        assert!(matches!(error, ClientError::Strange { .. }), "{error}");
    }

    #[test]
    fn a_name_is_one_segment_of_a_path_whatever_is_in_it() {
        assert_eq!(segment("node-1"), "node-1");
        assert_eq!(segment("a b/c"), "a%20b%2Fc");
        assert_eq!(segment("ü"), "%C3%BC");
    }
}
