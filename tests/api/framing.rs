//! Where a request ends and the next one begins: a body is never read as a head, and a head gets the same answer in whatever pieces it arrives.

use crate::client::Connection;
use crate::server::{KEY, Server};
use std::time::Duration;

/// Long enough for the server to read a piece by itself, as a rule. If it does not, the test is weaker and still right.
const PIECE_PAUSE: Duration = Duration::from_millis(2);

fn post(lines: &str) -> String {
    format!(
        "POST /v1/carts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n{lines}\r\n\r\n"
    )
}

async fn write_in_two(connection: &mut Connection, bytes: &[u8], cut: usize) {
    connection.write(&bytes[..cut]).await;
    tokio::time::sleep(PIECE_PAUSE).await;
    connection.write(&bytes[cut..]).await;
}

#[tokio::test]
async fn a_body_that_looks_like_a_head_changes_nothing_for_the_next_request() {
    let server = Server::start().await;
    let body = "\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n";
    let sized = post(&format!("Content-Length: {}", body.len()));
    let chunked = post("Transfer-Encoding: chunked");
    let next = format!("{}{{}}", post("Content-Length: 2"));
    for (head, body) in [(sized, body.to_owned()), (chunked, format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))] {
        let mut connection = Connection::open(server.address).await;
        let whole = format!("{head}{body}");
        write_in_two(&mut connection, whole.as_bytes(), head.len()).await;
        assert_eq!(connection.read().await.expect("an answer").code(), "malformed_json");
        // The same connection, as a proxy shares it between callers.
        connection.write(next.as_bytes()).await;
        let answer = connection.read().await.expect("an answer to the next caller");
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

#[tokio::test]
async fn a_head_gets_the_same_answer_wherever_it_is_cut() {
    let server = Server::start().await;
    let before = "GET /docs HTTP/1.1\r\nHost: x\r\n\r\n";
    let lawful = format!("{}{{}}", post("Content-Length: 2"));
    let two_lengths = format!("{}{{}}", post("Content-Length: 2\r\nContent-Length: 2"));
    let encoded_twice = format!("{}2\r\n{{}}\r\n0\r\n\r\n", post("Transfer-Encoding: chunked\r\nContent-Length: 2"));
    for (request, status) in [(lawful, 201), (two_lengths, 400), (encoded_twice, 400)] {
        let bytes = [before.as_bytes(), request.as_bytes()].concat();
        for cut in 1..bytes.len() {
            let mut connection = Connection::open(server.address).await;
            write_in_two(&mut connection, &bytes, cut).await;
            assert_eq!(connection.read().await.expect("an answer").status, 200, "cut at {cut}");
            let answer = connection.read().await.expect("an answer");
            assert_eq!(answer.status, status, "cut at {cut}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn encodings_that_servers_read_differently_and_bare_line_feeds_are_refused() {
    let server = Server::start().await;
    let chunked = "2\r\n{}\r\n0\r\n\r\n";
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
    ] {
        let request = format!("{}{chunked}", post(lines));
        for before in ["", "GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let mut connection = Connection::open(server.address).await;
            connection.write(format!("{before}{request}").as_bytes()).await;
            if !before.is_empty() {
                assert_eq!(connection.read().await.expect("an answer").status, 200, "{lines}");
            }
            let answer = connection.read().await.expect("an answer");
            assert_eq!((answer.status, answer.code()), (400, "malformed_request"), "{lines}: {answer:?}");
            assert!(connection.is_closed().await, "what follows is not read: {lines}");
        }
    }
    for chunks in ["2\n{}\r\n0\r\n\r\n", "2\r\n{}\n0\r\n\r\n", "1\r\n{}\r\n0\r\n\r\n"] {
        let request = format!("{}{chunks}", post("Transfer-Encoding: chunked"));
        let mut connection = Connection::open(server.address).await;
        connection.write(request.as_bytes()).await;
        let answer = connection.read().await.expect("an answer");
        assert_eq!((answer.status, answer.code()), (400, "malformed_request"), "{chunks:?}: {answer:?}");
        assert!(connection.is_closed().await, "{chunks:?}");
    }
}
