//! TLS between nodes, with an authority made for the test.

use super::process::{Process, Settings, introduce, pair};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

/// An authority, and a node's certificate of it.
fn keys() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("names"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        .unwrap();
    openssl(
        path,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
    );
    openssl(
        path,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout node.key -out node.csr -subj /CN=node",
    );
    openssl(
        path,
        "x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out node.pem -days 2 -extfile names",
    );
    folder
}

#[tokio::test]
async fn nodes_of_one_authority_talk_in_tls_and_share_frames() {
    let folder = keys();
    let (asker, owner) = pair(|settings| settings.tls = Some(folder.path().to_owned())).await;
    assert_eq!(asker.command("ask 1 echo 2000 20000").await["accepted"], 2_000);
    assert_eq!(asker.command("ask_large 1 echo 5 200000").await["accepted"], 5);
    // A node that speaks without TLS is not let in.
    let mut stream = TcpStream::connect(&owner.address).await.unwrap();
    stream.write_all(&[0; 64]).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(super::process::PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().ok();
    owner.says("a connection to the cluster port failed").await;
}

#[tokio::test]
async fn a_node_of_another_authority_is_not_let_in_even_with_the_cookie() {
    let (ours, others) = (keys(), keys());
    let (a, b) = pair(|settings| settings.tls = Some(ours.path().to_owned())).await;
    let c = Process::start(Settings { tls: Some(others.path().to_owned()), ..Settings::named("c.1") }).await;
    c.command(&format!("members {} {}", a.member(), c.member())).await;
    a.says("a connection to the cluster port failed").await;
    assert_eq!(c.command("beats").await["a.1"][0], false);
    introduce(&[&a, &b]).await;
    assert_eq!(a.command("ask 1 echo 10 10000").await["accepted"], 10);
}
