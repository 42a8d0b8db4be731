//! A wrong cookie, another version, garbage, frames that are too large: they do no harm and are logged.

use super::process::{Process, Settings, pair};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn both_go_on(asker: &Process, owner: &Process) {
    assert_eq!(asker.command("ask 1 echo 100 20000").await["accepted"], 100);
    for node in [asker, owner] {
        let log = node.log();
        assert!(!log.contains("panicked at") && !log.contains("started again"), "{log}");
    }
}

/// Sends bytes to the cluster port and waits until the other side closes.
async fn send(to: &Process, bytes: &[u8]) {
    let mut stream = TcpStream::connect(&to.address).await.unwrap();
    stream.write_all(bytes).await.ok();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(super::process::PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection was never closed");
}

#[tokio::test]
async fn a_node_with_another_cookie_is_not_let_in() {
    let (a, b) = pair(|_| {}).await;
    let mut settings = Settings::named("c.1");
    settings.cookie = "f".repeat(64);
    let c = Process::start(settings).await;
    c.command(&format!("members {} {}", a.member(), c.member())).await;
    a.command(&format!("members {} {} {}", a.member(), b.member(), c.member())).await;
    a.says("before the cookie was proved").await;
    assert_eq!(c.command("beats").await["a.1"][0], false);
    assert_eq!(a.command("beats").await["c.1"][0], false);
    both_go_on(&a, &b).await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_by_its_length_alone() {
    let (a, b) = pair(|_| {}).await;
    for length in [1_u64 << 60, u64::MAX, 1 << 20] {
        send(&b, &length.to_be_bytes()).await;
    }
    b.says("an invalid or too long frame").await;
    both_go_on(&a, &b).await;
}

#[tokio::test]
async fn garbage_on_the_port_is_closed_and_logged() {
    let (a, b) = pair(|_| {}).await;
    send(&b, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    b.says("an invalid or too long frame").await;
    // A lawful length, and no message behind it.
    let mut bytes = 64_u64.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0xff; 64]);
    send(&b, &bytes).await;
    b.says("ended before the peer sent its name").await;
    let mut rng: u64 = 0x9e37_79b9_7f4a_7c15;
    for length in 0..60_usize {
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng.to_le_bytes()[3]
        })
        .take(length)
        .collect();
        let mut stream = TcpStream::connect(&b.address).await.unwrap();
        stream.write_all(&noise).await.ok();
    }
    both_go_on(&a, &b).await;
}

#[tokio::test]
async fn strangers_that_say_nothing_are_closed_in_time_and_keep_no_node_out() {
    let (a, b) = pair(|_| {}).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&b.address).await.unwrap();
        stream.write_all(&[0, 0, 0]).await.unwrap();
        silent.push(stream);
    }
    let c = Process::start(Settings::named("c.1")).await;
    super::process::introduce(&[&a, &b, &c]).await;
    for mut stream in silent {
        let closed = tokio::time::timeout(super::process::PATIENCE, stream.read(&mut [0; 8])).await;
        assert!(closed.is_ok(), "it was never closed");
    }
    b.says("took too long to prove the cookie").await;
    both_go_on(&a, &b).await;
}

#[tokio::test]
async fn a_node_of_another_version_is_answered_so_and_counts_as_not_reached() {
    let (a, b) = pair(|_| {}).await;
    let mut settings = Settings::named("x.1");
    settings.is_stranger = true;
    let x = Process::start(settings).await;
    x.command(&format!("connect {} b.1", b.address)).await;
    // What it sends to us: the id of its question, and "bad version".
    assert_eq!(x.command("another_version").await, serde_json::json!([[77, "BadVersion"]]));
    assert_eq!(x.command("nonsense").await, serde_json::json!([[0, "BadVersion"]]));
    b.says("written by version 99, this node has version").await;
    // What we send to it.
    b.command("learn 9 1 x.1").await;
    assert_eq!(b.command("ask 9 echo 3 10000").await["not_delivered"], 3);
    b.says("a node of another version did not understand a request").await;
    assert_eq!(b.command("ask 9 echo 500 10000").await["not_delivered"], 500);
    let lines = b.log().matches("did not understand a request").count();
    assert_eq!(lines, 1, "it is written once, and not for each of 503 requests");
    // A frame from a peer that is too large ends its session, and nothing else.
    x.command("too_large").await;
    b.says("peer=x.1 connection").await;
    let gone = tokio::time::timeout(super::process::PATIENCE, async {
        while b.command("ask 9 echo 1 200").await["not_delivered"] != 1 || !b.log().contains("disconnected") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.unwrap();
    assert!(b.log().contains("an invalid or too long frame"));
    both_go_on(&a, &b).await;
}
