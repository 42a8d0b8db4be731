//! How many messages pass between two nodes; not run by itself:
//! `cargo test --release --test cluster messages_per_second -- --ignored --nocapture`.

use super::process::pair;

#[tokio::test]
#[ignore = "a measurement, not a claim"]
async fn messages_per_second_between_two_nodes() {
    let (asker, _owner) = pair(|_| {}).await;
    for askers in [1, 16, 256, 2_048] {
        let before = asker.command("traffic").await;
        let said = asker.command(&format!("flood 1 {askers} 3000")).await;
        let after = asker.command("traffic").await;
        let sent = |key: &str| after[key].as_u64().unwrap() - before[key].as_u64().unwrap();
        println!(
            "{askers} askers: {} questions/s answered, slowest {} ms, {} questions in {} frames",
            said["per_second"],
            said["slowest_ms"],
            sent("sent"),
            sent("frames_sent")
        );
    }
}
