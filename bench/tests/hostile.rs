//! The short form of a hostile crowd, as a user runs it: the facts that hold on every machine, however slow. No time is asserted.

use serde_json::Value;
use std::process::{Command, Stdio};

#[test]
fn a_hostile_crowd_oversells_nothing_ends_no_node_and_leaves_no_honest_order_without_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("hostile.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_flash-sale"));
    command.args([
        "hostile",
        "--short",
        "--share-cores",
        "--rate",
        "5",
        "--calm-s",
        "1",
        "--attack-s",
        "1",
        "--back-s",
        "20",
    ]);
    command.arg("--data").arg(folder.path()).arg("--json").arg(&json);
    let ran = command.stdin(Stdio::null()).output().unwrap();
    let output = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}; it said:\n{output}", ran.status);

    let run: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(run["audit"]["clean"], true, "{output}");
    assert_eq!((&run["oversold"], &run["node_ended"]), (&Value::Bool(false), &Value::Bool(false)), "{output}");
    assert_eq!(run["unlawful"], 0, "{output}");
    let rows = run["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 9, "{output}");
    for row in rows {
        assert!(row["sent"]["requests"].as_u64().unwrap() > 0, "{}: {output}", row["attack"]);
        assert!(row["sent"]["answers"].as_object().unwrap().keys().all(|status| status != "500"), "{row}: {output}");
        assert!(row["before"]["offered"].as_u64().unwrap() > 0, "{row}: {output}");
    }
}
