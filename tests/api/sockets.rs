//! Slow sockets by the hundred: whatever they do or leave undone, each is closed in its time, and honest callers are answered meanwhile.
//! Bounds are short here; `flash-sale sockets` tries the real ones with thousands.

use crate::client::{Client, Connection};
use crate::server::{KEY, Server};
use doorbuster_api::{ApiSettings, SocketLimits};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Longer than any bound here: what is still open then stays open.
const PATIENCE: Duration = Duration::from_secs(40);

async fn server() -> Server {
    let limits = SocketLimits {
        header_read_timeout: Duration::from_millis(400),
        write_timeout: Duration::from_millis(400),
        ..SocketLimits::default()
    };
    let mut settings = ApiSettings::default();
    settings.requests.body_timeout_ms = 400;
    Server::with(limits, settings).await
}

async fn all_are_closed(server: &Server) {
    let gone = async {
        while server.counts.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = tokio::time::timeout(PATIENCE, gone).await;
    assert!(closed.is_ok(), "{} are still open", server.counts.open.load(Ordering::SeqCst));
}

const GET: &[u8] = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_closed() {
    let server = server().await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address).await.expect("it accepts");
        // More answers than the sockets between us hold. Once it takes no more questions, it cannot get rid of its answers.
        let asking = async { while stream.write_all(&GET.repeat(100)).await.is_ok() {} };
        drop(tokio::time::timeout(Duration::from_millis(300), asking).await);
        stalled.push(stream);
    }
    all_are_closed(&server).await;
    drop(stalled);
}

#[tokio::test]
async fn reading_a_little_does_not_restart_the_write_timeout() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address).await.expect("it accepts");
    let asking = async { while stream.write_all(&GET.repeat(100)).await.is_ok() {} };
    drop(tokio::time::timeout(Duration::from_millis(300), asking).await);
    let (mut reading, writing) = stream.into_split();
    let sips = tokio::spawn(async move {
        let mut sip = [0_u8; 16];
        while matches!(tokio::io::AsyncReadExt::read(&mut reading, &mut sip).await, Ok(1..)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    all_are_closed(&server).await;
    sips.abort();
    drop(writing);
}

#[tokio::test]
async fn bytes_that_are_no_request_get_a_problem() {
    let server = server().await;
    for junk in
        ["\x16\x03\x01\x02 \r\n\r\n", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", "GET /docs HTTP/1.1\r\nno colon\r\n\r\n"]
    {
        let mut connection = Connection::open(server.address).await;
        connection.write(junk.as_bytes()).await;
        let answer = connection.read().await.expect("an answer");
        assert_eq!((answer.status, answer.code()), (400, "malformed_request"), "{junk:?}");
        assert!(connection.is_closed().await);
    }
}

#[tokio::test]
async fn hundreds_of_slow_sockets_are_closed_and_honest_callers_are_served_meanwhile() {
    let mut server = server().await;
    let post = format!(
        "POST /v1/carts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n"
    );
    let huge = format!("GET /docs HTTP/1.1\r\nHost: x\r\nX-Huge: {}", "x".repeat(64 * 1024));
    let opening: Vec<(&str, Vec<u8>)> = vec![
        ("idle", Vec::new()),
        ("dripping head", b"GET /v1/ord".to_vec()),
        ("dripping body", format!("{post}Content-Length: 20\r\n\r\n{{").into_bytes()),
        ("dripping chunks", format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n").into_bytes()),
        ("huge head without end", huge.into_bytes()),
        ("junk", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20)),
        (
            "junk behind a request",
            [b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), b"\0\0\0junk\r\n\r\n"].concat(),
        ),
        ("kept after an answer", b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ];
    let mut sockets = Vec::new();
    for _ in 0..30 {
        for (_, bytes) in &opening {
            let mut connection = Connection::open(server.address).await;
            connection.write(bytes).await;
            sockets.push(connection);
        }
        // Half-closed, and opened only to be closed.
        let mut half = TcpStream::connect(server.address).await.expect("it accepts");
        half.write_all(b"GET /docs HTTP/1.1\r\nHo").await.expect("it takes bytes");
        half.shutdown().await.expect("it is open");
        drop(TcpStream::connect(server.address).await.expect("it accepts"));
        assert_eq!(server.seller().get("/v1/products/none").await.status, 404);
    }
    all_are_closed(&server).await;
    assert_eq!(server.seller().get("/docs").await.status, 200);
    drop(sockets);
    assert_eq!(server.stop().await, 0);
}

/// This runtime has one thread, and it is held up here by a read of the old kind.
#[tokio::test]
async fn a_silent_socket_is_closed_even_while_all_threads_are_busy() {
    use std::io::Read;
    let server = server().await;
    assert_eq!(server.anyone().get("/docs").await.status, 200, "it serves before this runtime is held up");
    for bytes in ["", "GET /docs HTT"] {
        let mut silent = std::net::TcpStream::connect(server.address).expect("the kernel accepts");
        std::io::Write::write_all(&mut silent, bytes.as_bytes()).expect("it takes bytes");
        silent.set_read_timeout(Some(PATIENCE)).expect("a lawful time");
        let read = silent.read(&mut [0_u8; 16]);
        let closed = match &read {
            Ok(read) => *read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(closed, "{read:?}");
    }
}

/// The niceness of this process's threads of a name (`proc(5)`: field 19 of `stat`).
#[cfg(target_os = "linux")]
fn niceness(of: &str) -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux has it");
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let named = stats.filter_map(|stat| {
        let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
        (name == of).then(|| fields.split_whitespace().nth(16)?.parse().ok())?
    });
    named.collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_acceptor_has_a_lower_priority_than_threads_that_serve() {
    let server = server().await;
    assert_eq!(Client::new(server.address).get("/openapi.json").await.status, 200);
    let serving = rustix::process::getpriority_process(None).expect("our own");
    let (least, acceptors) = ((serving + 10).min(19), niceness("acceptor"));
    assert!(
        !acceptors.is_empty() && acceptors.iter().all(|acceptor| *acceptor == least),
        "{acceptors:?}, others {serving}"
    );
}
