//! A small drop on three real nodes, of which one is killed in the middle and started again: the harness as a user runs it, and what it reports.

#![allow(clippy::disallowed_methods, reason = "a test measures its own patience, and reads where its servers are")]

use serde_json::Value;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where a CQL server listens.
const CQL: &str = "DOORBUSTER_TEST_CQL";
/// Where a Redis listens; without one the nodes keep their own figures.
const REDIS: &str = "DOORBUSTER_TEST_REDIS";
/// So that the test ends even where the harness does not.
const LIMIT: Duration = Duration::from_secs(400);

#[test]
fn a_node_that_is_killed_in_the_middle_of_a_drop_loses_sells_twice_and_charges_twice_nothing() {
    let Ok(cql) = std::env::var(CQL) else {
        eprintln!(
            "NOT TRIED on CQL, for {CQL} names no server: a drop on three nodes survives the kill of one (O2, E1, M1, A1)"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (page, json) = (folder.path().join("page.html"), folder.path().join("run.json"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_flash-sale"));
    command.args([
        "cluster",
        "--nodes",
        "3",
        "--shards",
        "6",
        "--skus",
        "3",
        "--units",
        "120",
        "--rate",
        "15",
        "--connections",
        "16",
    ]);
    command.args(["--quiet", "2", "--chaos", "kill", "--cql", &cql]);
    match std::env::var(REDIS) {
        Ok(redis) => command.args(["--redis", &redis]),
        Err(_absent) => command.arg("--no-redis"),
    };
    command.arg("--data").arg(folder.path()).arg("--report").arg(&page).arg("--json").arg(&json);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let output = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_read| text)
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("the drop did not end; it said:\n{}", output.join().unwrap().unwrap());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let output = output.join().unwrap().unwrap();
    assert!(status.success(), "{status}; it said:\n{output}");

    let run: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let kill = &run["events"][0];
    assert_eq!(kill["what"], "kill", "{output}");
    for happened in ["noticed_ms", "serving_ms", "whole_ms"] {
        assert!(kill[happened].is_u64(), "{happened}: {output}");
    }
    assert_eq!(run["audit"]["clean"], true, "{output}");
    for list in [
        "/ledger/double",
        "/ledger/orphan",
        "/ledger/missing",
        "/read_back/missing",
        "/read_back/contradicted",
        "/lists/missing",
        "/lists/twice",
    ] {
        assert_eq!(run.pointer(list).and_then(Value::as_array).map(Vec::len), Some(0), "{list}: {output}");
    }
    let lists = run["lists"]["orders"].as_array().expect("how many orders each node lists");
    assert!(
        lists.len() == 3 && lists.iter().all(|orders| *orders == lists[0] && orders.as_u64() > Some(0)),
        "{output}"
    );
    assert_eq!(run["stock"]["oversold"], false, "{output}");
    assert!(run["confirmed"].as_u64().is_some_and(|confirmed| confirmed > 0), "{output}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("nothing was broken"));
    // Processes are gone and their folders with them; what is left is ours.
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["page.html", "run.json"]);
}
