//! A peer that knows the cookie and is no honest node: frames sent again and out of order, answers to no question, shards that it does not own. Each copy
//! is judged by itself, what is late decides nothing, and honest nodes go on.

use super::attacks::both_go_on;
use super::process::{Process, Settings, pair};
use serde_json::{Value, json};

/// A pair, and a peer that has a session with one of them.
async fn with_a_stranger(to_first: bool) -> (Process, Process, Process) {
    let (a, b) = pair(|_| {}).await;
    let stranger = Process::start(Settings { is_stranger: true, ..Settings::named("x.1") }).await;
    let to = if to_first { &a } else { &b };
    stranger.command(&format!("connect {} {}", to.address, to.name)).await;
    (a, b, stranger)
}

async fn answered(stranger: &Process, wanted: usize) -> Vec<Value> {
    let is_whole = |answers: &Value| answers.as_array().is_some_and(|answers| answers.len() >= wanted);
    stranger.until("answered", is_whole).await.as_array().unwrap().clone()
}

#[tokio::test]
async fn frames_that_come_again_and_out_of_order_are_each_judged_by_themselves() {
    let (a, b, x) = with_a_stranger(false).await;
    for id in 100..103 {
        assert_eq!(x.command(&format!("ask {id} 60000")).await, json!([]), "taken");
    }
    assert_eq!(answered(&x, 3).await.len(), 3);
    x.command("replay 50").await;
    // As many answers as copies: the places of the copies are free again, and the entity, not the transport, tells a repetition.
    let answers = answered(&x, 153).await;
    let of = |id: u64| answers.iter().filter(|answer| **answer == id).count();
    assert_eq!([of(100), of(101), of(102)], [51, 51, 51]);
    assert_eq!(b.command("delivered").await, 153);
    // Older word about a shard comes after newer word.
    x.command("claim 7 9").await;
    x.command("claim 7 3").await;
    assert_eq!(b.command("owner 7").await, "9 x.1");
    both_go_on(&a, &b).await;
}

#[tokio::test]
async fn a_frame_that_is_kept_and_sent_after_its_deadline_decides_nothing() {
    let (a, b, x) = with_a_stranger(false).await;
    // Late already when it comes, as one that was kept.
    x.command("ask 5 0").await;
    assert_eq!(answered(&x, 1).await, [json!(5)]);
    x.command("replay 100").await;
    assert_eq!(answered(&x, 101).await.len(), 101, "each copy is answered: too late");
    assert_eq!(b.command("delivered").await, 0, "and none reached the shard");
    both_go_on(&a, &b).await;
}

#[tokio::test]
async fn answers_to_no_question_are_ignored() {
    let (a, b, x) = with_a_stranger(false).await;
    for id in [0, 1, 2, 3, u64::MAX] {
        x.command(&format!("answer {id}")).await;
    }
    both_go_on(&a, &b).await;
    assert_eq!(b.command("ask 1 echo 1 10000").await["not_delivered"], 1, "its own shard is not asked elsewhere");
}

#[tokio::test]
async fn a_peer_that_claims_a_shard_is_refuted_by_the_store_and_not_believed_again() {
    let (a, b, x) = with_a_stranger(true).await;
    a.command("stored 1 1 b.1").await;
    x.command(&format!("claim 1 {}", u64::MAX)).await;
    assert_eq!(a.command("owner 1").await, format!("{} x.1", u64::MAX));
    assert_eq!(a.command("ask 1 echo 3 10000").await["not_delivered"], 3, "the liar decides nothing");
    // The store is read at every beat.
    for _ in 0..3 {
        a.command("stored 1 1 b.1").await;
    }
    assert_eq!(a.command("owner 1").await, "1 b.1");
    both_go_on(&a, &b).await;
    for _ in 0..20 {
        x.command(&format!("claim 1 {}", u64::MAX)).await;
    }
    assert_eq!(a.command("owner 1").await, "1 b.1");
    assert_eq!(a.log().matches("an owner that the store does not know").count(), 1);
    b.command("own 1 2").await;
    a.until("owner 1", |owner| owner == "2 b.1").await;
    both_go_on(&a, &b).await;
}
