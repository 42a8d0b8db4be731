//! Peers that are stopped, killed, started again, or no longer members.

use super::process::{Process, Settings, introduce, pair};
use serde_json::Value;

fn misses(beats: &Value, name: &str) -> u64 {
    beats[name][1].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn a_stopped_peer_is_missed_by_the_heartbeat_and_its_questions_end_unknown_at_their_deadline() {
    let (asker, owner) = pair(|_| {}).await;
    asker.until("beats", |beats| !beats["b.1"][2].is_null() && misses(beats, "b.1") == 0).await;
    owner.stop().await;
    let asked = asker.command("ask 1 echo 20 1500");
    let missed = asker.until("beats", |beats| misses(beats, "b.1") >= 4);
    let (answers, beats) = tokio::join!(asked, missed);
    assert_eq!(answers["unknown"], 20, "{answers}");
    assert_eq!(beats["b.1"][0], true, "still connected: only its heart is missed");
    owner.signal("CONT");
    asker.until("beats", |beats| misses(beats, "b.1") == 0).await;
    assert_eq!(asker.command("ask 1 echo 5 10000").await["accepted"], 5);
}

#[tokio::test]
async fn a_peer_that_is_stopped_for_long_is_cut_and_connected_again_when_it_goes_on() {
    let (asker, owner) = pair(|settings| settings.cut_misses_max = 10).await;
    owner.stop().await;
    // A question without an end of its own: the end of the session ends it.
    let answers = asker.command("ask 1 echo 5 50000").await;
    assert_eq!(answers["unknown"], 5, "{answers}");
    asker.until("beats", |beats| beats["b.1"][0] == false).await;
    assert_eq!(asker.command("ask 1 echo 5 10000").await["not_delivered"], 5, "at once: there is no session");
    owner.signal("CONT");
    asker.until_connected(&owner).await;
    owner.until_connected(&asker).await;
    asker.until("ask 1 echo 1 10000", |answers| answers["accepted"] == 1).await;
}

#[tokio::test]
async fn a_killed_peer_ends_its_questions_and_is_reached_again_under_its_new_incarnation() {
    let (asker, owner) = pair(|_| {}).await;
    let asked = asker.command("ask 1 stuck 5 50000");
    let killed = async {
        asker.until("traffic", |traffic| traffic["sent"].as_u64() >= Some(5)).await;
        owner.kill().await;
    };
    let (answers, ()) = tokio::join!(asked, killed);
    assert_eq!(answers["unknown"], 5, "{answers}");
    let again = Process::start(Settings::named("b.2")).await;
    introduce(&[&asker, &again]).await;
    assert!(asker.command("beats").await["b.1"].is_null());
    assert_eq!(asker.command("ask 1 echo 1 10000").await["not_delivered"], 1, "the hint names the dead one");
    again.command("own 1 2").await;
    asker.until("owner 1", |owner| owner == "2 b.2").await;
    assert_eq!(asker.command("ask 1 echo 5 10000").await["accepted"], 5);
}

#[tokio::test]
async fn a_node_that_is_no_longer_a_member_loses_its_session_and_the_others_go_on() {
    let (a, b) = pair(|_| {}).await;
    let c = Process::start(Settings::named("c.1")).await;
    introduce(&[&a, &b, &c]).await;
    c.command("own 2 1").await;
    a.until("owner 2", |owner| owner == "1 c.1").await;
    let asked = a.command("ask 2 stuck 3 50000");
    let evicted = async {
        a.until("traffic", |traffic| traffic["sent"].as_u64() >= Some(3)).await;
        c.stop().await;
        a.command(&format!("members {} {}", a.member(), b.member())).await;
    };
    let (answers, ()) = tokio::join!(asked, evicted);
    assert_eq!(answers["unknown"], 3, "{answers}");
    assert_eq!(a.command("ask 2 echo 1 10000").await["not_delivered"], 1);
    assert_eq!(a.command("ask 1 echo 10 10000").await["accepted"], 10);
}

#[tokio::test]
async fn a_node_that_connects_later_learns_what_each_node_owns() {
    let a = Process::start(Settings::named("a.1")).await;
    let b = Process::start(Settings::named("b.1")).await;
    b.command("own 5 3").await;
    introduce(&[&a, &b]).await;
    a.until("owner 5", |owner| owner == "3 b.1").await;
}
