//! What is delivered is answered, shares frames, and is bounded.

use super::process::{Process, Settings, introduce, pair};
use serde_json::json;

#[tokio::test]
async fn a_delivery_is_answered_with_what_the_owner_said() {
    let (asker, _owner) = pair(|_| {}).await;
    let answers = asker.command("ask 1 echo 1 10000").await;
    assert_eq!(answers["accepted"], 1, "{answers}");
    let answers = asker.command("ask 1 refuse 3 10000").await;
    assert_eq!(answers["refused"], 3, "{answers}");
}

#[tokio::test]
async fn ten_thousand_deliveries_at_once_share_frames() {
    let (asker, owner) = pair(|_| {}).await;
    let before = asker.command("traffic").await;
    let answers = asker.command("ask 1 echo 10000 30000").await;
    assert_eq!(answers["accepted"], 10_000, "{answers}");
    let after = asker.command("traffic").await;
    let sent = |key: &str| after[key].as_u64().unwrap() - before[key].as_u64().unwrap();
    assert_eq!(sent("sent"), 10_000);
    assert!(sent("frames_sent") <= 1_000, "{} frames for 10,000 questions", sent("frames_sent"));
    let back = owner.command("traffic").await;
    assert!(back["frames_sent"].as_u64().unwrap() <= 5_000, "{} frames for 10,000 answers", back["frames_sent"]);
}

#[tokio::test]
async fn what_a_peer_owes_an_answer_for_is_bounded_and_the_rest_is_refused_at_once() {
    let (asker, _owner) = pair(|settings| settings.in_flight_per_peer_max = 10).await;
    let answers = asker.command("ask 1 slow 25 10000").await;
    assert_eq!((&answers["accepted"], &answers["not_delivered"]), (&json!(10), &json!(15)), "{answers}");
    let answers = asker.command("ask 1 slow 10 10000").await;
    assert_eq!(answers["accepted"], 10, "the places are free again: {answers}");
    assert_eq!(asker.command("traffic").await["busy"], 15);
}

#[tokio::test]
async fn a_peer_takes_no_more_in_than_its_own_bound() {
    let first = Process::start(Settings::named("a.1")).await;
    let second = Process::start(Settings { in_flight_per_peer_max: 10, ..Settings::named("b.1") }).await;
    introduce(&[&first, &second]).await;
    second.command("own 1 1").await;
    first.until("owner 1", |owner| owner == "1 b.1").await;
    let answers = first.command("ask 1 slow 25 10000").await;
    assert_eq!((&answers["accepted"], &answers["not_delivered"]), (&json!(10), &json!(15)), "{answers}");
}

#[tokio::test]
async fn a_question_to_who_no_longer_owns_the_shard_is_not_delivered_and_says_where_it_went() {
    let (asker, owner) = pair(|_| {}).await;
    owner.command("disown 1").await;
    let answers = asker.command("ask 1 echo 1 10000").await;
    assert_eq!(answers["not_delivered"], 1, "{answers}");
    assert_eq!(asker.command("owner 1").await, "1 b.1", "nobody knows better");
    owner.command("learn 1 2 c.1").await;
    let answers = asker.command("ask 1 echo 1 10000").await;
    assert_eq!(answers["not_delivered"], 1, "{answers}");
    assert_eq!(asker.command("owner 1").await, "2 c.1");
}

#[tokio::test]
async fn a_question_for_an_unknown_shard_or_an_unknown_node_is_not_delivered() {
    let (asker, _owner) = pair(|_| {}).await;
    assert_eq!(asker.command("ask 2 echo 1 10000").await["not_delivered"], 1);
    asker.command("learn 2 1 nobody.7").await;
    assert_eq!(asker.command("ask 2 echo 1 10000").await["not_delivered"], 1);
}

#[tokio::test]
async fn what_is_sent_arrives_and_a_sender_to_the_wrong_node_learns_the_right_one() {
    let (sender, owner) = pair(|_| {}).await;
    sender.command("send 1 echo 500").await;
    owner.until("one_way", |received| received == 500).await;
    owner.command("disown 1").await;
    owner.command("learn 1 2 c.1").await;
    sender.command("send 1 echo 1").await;
    sender.until("owner 1", |owner| owner == "2 c.1").await;
}

#[tokio::test]
async fn large_questions_pass_up_to_the_bound_and_above_it_never_leave() {
    let (asker, _owner) = pair(|_| {}).await;
    // Five bytes for each name in the list.
    let answers = asker.command("ask_large 1 echo 20 200000").await;
    assert_eq!(answers["accepted"], 20, "{answers}");
    let answers = asker.command("ask_large 1 echo 1 220000").await;
    assert_eq!(answers["not_delivered"], 1, "{answers}");
    assert!(asker.log().contains("too long to travel"));
    assert_eq!(asker.command("ask 1 echo 1 10000").await["accepted"], 1);
}

#[tokio::test]
async fn a_question_past_its_deadline_is_late_and_one_that_is_never_answered_unknown() {
    let (asker, owner) = pair(|_| {}).await;
    assert_eq!(asker.command("ask 1 echo 1 0").await["late"], 1);
    assert_eq!(asker.command("ask 1 stuck 5 300").await["unknown"], 5);
    owner.says("was not answered by its deadline").await;
}
