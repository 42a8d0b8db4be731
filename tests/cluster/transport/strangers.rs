//! Strangers without the cookie, many of them: honest nodes go on and come in, memory and files are as before, and the log says so once.

use super::attacks::both_go_on;
use super::process::{PATIENCE, Process, Settings, introduce, pair};
use doorbuster_test_kit::campaign;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

/// At once.
const HANDS: usize = 64;
/// What a node may keep of them: pages that its allocator holds, for all.
const MEMORY_LEFT_MAX: u64 = 128 << 20;
/// Files that may be opened for other reasons meanwhile.
const FILES_LEFT_MAX: usize = 16;
/// One line for each kind of refusal, and room for lines about something else.
const WARNINGS_MAX: usize = 16;

/// A connection from an address of this machine that is no node's.
async fn stranger(from: Ipv4Addr, to: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    socket.connect(to.parse().unwrap()).await
}

/// What a stranger sends before it leaves.
fn sends(number: usize) -> Vec<u8> {
    let noise = |length: usize| (0..length).map(|at| u8::try_from((at * 31 + number * 7) % 251).unwrap()).collect();
    match number % 5 {
        0 => Vec::new(),
        1 => noise(number % 200),
        // A lawful length, and no message behind it.
        2 => [64_u64.to_be_bytes().to_vec(), noise(64)].concat(),
        // Half a frame.
        3 => [4_000_u64.to_be_bytes().to_vec(), noise(900)].concat(),
        _ => b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
    }
}

#[tokio::test]
async fn a_crowd_of_strangers_costs_honest_nodes_nothing_and_is_written_to_the_log_once() {
    let strangers = campaign::size("DOORBUSTER_STRANGERS", 1_000, 10_000);
    let strangers = usize::try_from(strangers).unwrap();
    let (a, b) = pair(|_| {}).await;
    both_go_on(&a, &b).await;
    let (memory, files) = b.usage();
    let next = Arc::new(AtomicUsize::new(0));
    let hands: Vec<_> = (0..HANDS)
        .map(|_| {
            let (next, address) = (Arc::clone(&next), b.address.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= strangers {
                        return;
                    }
                    if let Ok(mut stream) = stranger(Ipv4Addr::new(127, 0, 0, 2), &address).await {
                        stream.write_all(&sends(number)).await.ok();
                    }
                }
            })
        })
        .collect();
    while !hands.iter().all(tokio::task::JoinHandle::is_finished) {
        both_go_on(&a, &b).await;
    }
    let begun = Instant::now();
    while b.usage().1 > files + FILES_LEFT_MAX {
        assert!(begun.elapsed() < PATIENCE, "{} files, {files} before", b.usage().1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    both_go_on(&a, &b).await;
    let left = b.usage().0.saturating_sub(memory);
    assert!(left < MEMORY_LEFT_MAX, "{left} bytes more than before");
    let warnings = b.warnings();
    assert!(!warnings.is_empty() && warnings.len() <= WARNINGS_MAX, "{}: {warnings:#?}", warnings.len());
}

#[tokio::test]
async fn strangers_that_hold_more_connections_than_there_may_be_keep_no_node_out() {
    let (a, b) = pair(|_| {}).await;
    let over = Arc::new(AtomicBool::new(false));
    // From ten addresses, each with more than its share, opened anew as soon as they are closed.
    let hands: Vec<_> = (0..500_u16)
        .map(|number| {
            let (over, address) = (Arc::clone(&over), b.address.clone());
            let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 10).unwrap() + 1);
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    if let Ok(mut stream) = stranger(from, &address).await {
                        stream.write_all(&[0, 0, 0]).await.ok();
                        let mut rest = [0; 8];
                        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut rest);
                        tokio::time::timeout(Duration::from_secs(1), read).await.ok();
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        })
        .collect();
    b.says("too many unauthenticated connections").await;
    let c = Process::start(Settings::named("c.1")).await;
    introduce(&[&a, &b, &c]).await;
    over.store(true, Ordering::Relaxed);
    both_go_on(&a, &b).await;
    assert!(b.warnings().len() <= WARNINGS_MAX, "{:#?}", b.warnings());
    for hand in hands {
        hand.await.unwrap();
    }
}
