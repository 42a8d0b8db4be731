//! What happens to the shards when …

use super::*;
use crate::shard_manager::{HandoffReason, MemberState};

/// RELIABILITY: noticed within 3 s, served again within 5 s.
const NOTICED: Duration = Duration::from_secs(3);
const SERVED: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn three_nodes_share_the_shards_evenly() {
    let cluster = Cluster::of(3).await;
    cluster.assert_placed().await;
    for (name, shards) in cluster.load() {
        assert!((8..=24).contains(&shards), "{name} serves {shards} of {SHARDS}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_serves_everything() {
    let cluster = Cluster::of(1).await;
    assert_eq!(cluster.load(), BTreeMap::from([("n1".to_owned(), usize::from(SHARDS))]));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_happens_nothing_moves() {
    let mut cluster = Cluster::of(3).await;
    let epochs = cluster.epochs();
    cluster.seconds(600).await;
    assert_eq!(cluster.epochs(), epochs);
    assert_eq!(cluster.longest_unserved, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_killed_nodes_shards_are_served_by_others_within_the_bound() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.epochs();
    let killed = cluster.node("n2").owned();
    cluster.kill("n2");
    cluster.pass(NOTICED).await;
    let status = cluster.status("n1").await;
    let dead = status.members.iter().find(|member| member.name == "n2").expect("its row is still there");
    assert_eq!(dead.state, MemberState::Down);
    cluster.quiet().await;
    cluster.assert_placed().await;
    assert!(cluster.longest_unserved <= SERVED, "{:?}", cluster.longest_unserved);
    for (shard, epoch) in cluster.epochs() {
        assert_eq!(epoch > before[&shard], killed.contains_key(&shard), "only its own shards move: {shard}");
    }
}

/// Its heartbeats are answered (its network card lives), but its row stands still.
#[tokio::test(start_paused = true)]
async fn a_node_that_only_loses_the_store_is_replaced_within_the_longer_bound_and_gets_its_shards_back() {
    let mut cluster = Cluster::of(3).await;
    cluster.lose_store("n2", true);
    cluster.seconds(20).await;
    assert_eq!(cluster.load()["n2"], 0);
    assert!(cluster.longest_unserved <= Duration::from_secs(6), "{:?}", cluster.longest_unserved);
    cluster.lose_store("n2", false);
    cluster.quiet().await;
    cluster.assert_placed().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_that_wakes_up_does_not_fight() {
    let mut cluster = Cluster::of(3).await;
    let zombies = cluster.node("n3").owned();
    cluster.stop("n3");
    cluster.seconds(60).await;
    assert!(cluster.longest_unserved <= SERVED, "{:?}", cluster.longest_unserved);
    let taken_over = cluster.epochs();
    for (shard, epoch) in &zombies {
        assert_eq!(taken_over[shard], epoch + 1, "shard {shard} was claimed by one node, once");
    }
    cluster.wake("n3");
    cluster.quiet().await;
    cluster.assert_placed().await;
    for (shard, epoch) in cluster.epochs() {
        let given_back = u64::from(zombies.contains_key(&shard));
        assert_eq!(epoch, taken_over[&shard] + given_back, "shard {shard} was given back, once, and never fought for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stalls_for_less_than_the_bound_keeps_its_shards() {
    let mut cluster = Cluster::of(3).await;
    let epochs = cluster.epochs();
    for _ in 0..20 {
        cluster.stop("n2");
        cluster.pass(Duration::from_millis(1_000)).await;
        cluster.wake("n2");
        cluster.seconds(3).await;
    }
    cluster.quiet().await;
    assert_eq!(cluster.epochs(), epochs);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_and_goes_does_not_take_its_shards_along_each_time() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.epochs();
    for _ in 0..20 {
        cluster.stop("n2");
        cluster.seconds(10).await;
        cluster.wake("n2");
        cluster.pass(Duration::from_millis(900)).await;
    }
    for (shard, epoch) in cluster.epochs() {
        assert!(epoch <= before[&shard] + 1, "shard {shard} moved {} times", epoch - before[&shard]);
    }
    cluster.quiet().await;
    cluster.assert_placed().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_store_fails_for_everybody_nobody_is_judged_and_nothing_moves() {
    let mut cluster = Cluster::of(3).await;
    let epochs = cluster.epochs();
    // It fails and comes back for one node after the other: the first that reads again must not judge those that do not read yet.
    for name in ["n3", "n2", "n1"] {
        cluster.lose_store(name, true);
        cluster.seconds(1).await;
    }
    cluster.seconds(30).await;
    for name in ["n1", "n2", "n3"] {
        let status = cluster.status(name).await;
        assert!(status.registry_failure.is_some() && status.registry_failures > 20, "{status:?}");
        cluster.lose_store(name, false);
        cluster.seconds(1).await;
    }
    cluster.quiet().await;
    assert_eq!(cluster.epochs(), epochs);
    for name in ["n1", "n2", "n3"] {
        assert_eq!(cluster.status(name).await.registry_failure, None);
    }
}

/// O6: a store that can be read and not written.
#[tokio::test(start_paused = true)]
async fn who_cannot_renew_its_own_row_judges_nobody() {
    let mut cluster = Cluster::of(3).await;
    let epochs = cluster.epochs();
    cluster.nodes.values().for_each(|node| node.link().mute(true));
    cluster.seconds(30).await;
    cluster.nodes.values().for_each(|node| node.link().mute(false));
    cluster.quiet().await;
    assert_eq!(cluster.epochs(), epochs);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_read_begins_nothing() {
    let mut cluster = Cluster::of(2).await;
    let shard = *cluster.node("n1").owned().keys().next().unwrap();
    let epoch = cluster.epochs()[&shard];
    cluster.node("n1").cling(true);
    cluster.registry.set_placement(shard, Some("n2")).await.unwrap();
    cluster.seconds(14).await;
    // Its time-out passes while it sees nothing; its heartbeats are answered, and its row is young enough.
    cluster.link("n2").blind(true);
    cluster.seconds(2).await;
    assert_eq!(cluster.epochs()[&shard], epoch);
    cluster.link("n2").blind(false);
    cluster.seconds(2).await;
    assert_eq!(cluster.server(shard), Some(("n2", epoch + 1)));
}

/// Rule O6: a one-way partition.
#[tokio::test(start_paused = true)]
async fn nodes_that_hear_each_other_one_way_only_go_on_as_before() {
    let mut cluster = Cluster::of(3).await;
    let epochs = cluster.epochs();
    cluster.cuts.insert(("n1".to_owned(), "n2".to_owned()));
    cluster.seconds(300).await;
    assert_eq!(cluster.epochs(), epochs);
    assert!(cluster.status("n1").await.members.iter().any(|member| member.heartbeats_missed > 100));
}

#[tokio::test(start_paused = true)]
async fn clocks_that_jump_move_nothing() {
    let mut cluster = Cluster::of(3).await;
    let epochs = cluster.epochs();
    for hours in [1, -2, 24, -23] {
        cluster.clock.jump_ms(hours * 3_600_000);
        cluster.seconds(10).await;
    }
    assert_eq!(cluster.epochs(), epochs);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_is_given_its_share_and_nothing_else_moves() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.epochs();
    cluster.join("n4").await;
    cluster.quiet().await;
    cluster.assert_placed().await;
    let joined = cluster.node("n4").owned();
    assert!(joined.len() >= 6, "{}", joined.len());
    for (shard, epoch) in cluster.epochs() {
        assert_eq!(epoch, before[&shard] + u64::from(joined.contains_key(&shard)), "shard {shard}");
    }
    assert!(cluster.longest_unserved <= Duration::from_millis(500), "{:?}", cluster.longest_unserved);
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_gives_everything_away_and_takes_its_shards_back() {
    let mut cluster = Cluster::of(3).await;
    cluster.registry.set_drained("n2", true).await.unwrap();
    cluster.quiet().await;
    cluster.assert_placed().await;
    assert_eq!(cluster.load()["n2"], 0);
    let status = cluster.status("n1").await;
    let drained = status.members.iter().find(|member| member.name == "n2").unwrap();
    assert_eq!((drained.state, drained.drain_wished, drained.shards_owned), (MemberState::Draining, true, 0));
    cluster.registry.set_drained("n2", false).await.unwrap();
    cluster.quiet().await;
    cluster.assert_placed().await;
    assert!(cluster.longest_unserved <= Duration::from_millis(500), "{:?}", cluster.longest_unserved);
}

#[tokio::test(start_paused = true)]
async fn where_every_node_is_told_to_drain_the_shards_stay_served() {
    let mut cluster = Cluster::of(2).await;
    let epochs = cluster.epochs();
    for name in ["n1", "n2"] {
        cluster.registry.set_drained(name, true).await.unwrap();
        cluster.quiet().await;
    }
    assert!(cluster.longest_unserved <= Duration::from_millis(500), "{:?}", cluster.longest_unserved);
    assert!(cluster.epochs().iter().any(|(shard, epoch)| *epoch > epochs[shard]), "the first one did give");
}

#[tokio::test(start_paused = true)]
async fn a_moved_shard_goes_where_it_was_wished_and_stays_when_that_node_dies() {
    let mut cluster = Cluster::of(3).await;
    let (shard, from) =
        (0..SHARDS).map(Shard).find_map(|shard| Some((shard, cluster.server(shard)?.0.to_owned()))).unwrap();
    let to = ["n1", "n2", "n3"].into_iter().find(|name| **name != from).unwrap();
    cluster.registry.set_placement(shard, Some(to)).await.unwrap();
    cluster.quiet().await;
    cluster.assert_placed().await;
    assert_eq!(cluster.server(shard).unwrap().0, to);
    let status = cluster.status(to).await;
    let page = status.shards.iter().find(|row| row.shard == shard.0).unwrap();
    assert!(page.moved && page.serving_epoch.is_some());
    let handoff = page.last_handoff.as_ref().unwrap();
    assert_eq!((handoff.why, handoff.from.as_deref()), (HandoffReason::Released, Some(format!("{from}.1").as_str())));
    cluster.kill(to);
    cluster.quiet().await;
    cluster.assert_placed().await;
    cluster.registry.set_placement(shard, Some("nobody")).await.unwrap();
    let epochs = cluster.epochs();
    cluster.quiet().await;
    assert_eq!(cluster.epochs(), epochs, "moved to a node that is not there it stays where it is");
}

/// A restart under the same name: the shards do not wait until the dead row is stale.
#[tokio::test(start_paused = true)]
async fn a_killed_node_that_starts_again_takes_its_shards_back() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.epochs();
    let own = cluster.node("n2").owned();
    cluster.join("n2").await;
    cluster.seconds(2).await;
    cluster.assert_placed().await;
    for (shard, epoch) in cluster.epochs() {
        assert_eq!(epoch, before[&shard] + u64::from(own.contains_key(&shard)), "shard {shard}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_name_another_has_taken_ends() {
    let mut cluster = Cluster::of(2).await;
    let earlier = cluster.nodes.remove("n2").unwrap();
    cluster.nodes.insert("n2".to_owned(), Node::start("n2", &cluster).await);
    let reason = earlier.shard_manager().ended().await;
    assert!(reason.contains("n2"), "{reason}");
    cluster.quiet().await;
    assert!(earlier.has_ended());
    cluster.assert_placed().await;
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_leaves_no_shard_unserved_for_long() {
    let mut cluster = Cluster::of(3).await;
    for name in ["n1", "n2", "n3"] {
        let shard_manager = Arc::clone(cluster.node(name).shard_manager());
        let drain = tokio::spawn(async move { shard_manager.drain(Duration::from_secs(30)).await });
        while !drain.is_finished() {
            cluster.pass(STEP).await;
        }
        assert!(drain.await.unwrap(), "{name} gave everything away");
        cluster.node(name).shard_manager().leave().await.unwrap();
        cluster.kill(name);
        cluster.seconds(2).await;
        cluster.join(name).await;
        cluster.seconds(10).await;
        cluster.assert_placed().await;
    }
    assert!(cluster.longest_unserved <= Duration::from_millis(500), "{:?}", cluster.longest_unserved);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_left_does_not_write_its_row_again() {
    let mut cluster = Cluster::of(2).await;
    for after_ms in (0..600).step_by(7) {
        cluster.join("n3").await;
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        cluster.node("n3").shard_manager().leave().await.unwrap();
        cluster.kill("n3");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let rows = cluster.registry.nodes().await.unwrap();
        assert!(rows.iter().all(|row| row.id.name != "n3"), "left after {after_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_word_of_an_earlier_ownership_is_not_taken_for_the_end_of_this_one() {
    let mut cluster = Cluster::of(2).await;
    let (shard, epoch) = cluster.node("n1").owned().into_iter().next().unwrap();
    cluster.node("n1").break_shard(shard);
    cluster.seconds(5).await;
    cluster.node("n1").say_lost(shard, epoch);
    cluster.seconds(1).await;
    let status = cluster.status("n1").await;
    let page = status.shards.iter().find(|row| row.shard == shard.0).unwrap();
    assert_eq!(page.last_handoff.as_ref().unwrap().why, HandoffReason::ClaimedAnew);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_ends_alone_leaves_its_shards_free() {
    let cluster = Cluster::of(1).await;
    assert!(cluster.node("n1").shard_manager().drain(Duration::from_secs(30)).await);
    assert!(cluster.owners().values().all(|row| row.node.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_was_taken_back_gives_the_shards_back() {
    let mut cluster = Cluster::of(2).await;
    assert!(cluster.node("n1").shard_manager().drain(Duration::from_secs(30)).await);
    cluster.node("n1").shard_manager().resume();
    cluster.quiet().await;
    cluster.assert_placed().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_without_a_store_ends_at_its_bound() {
    let cluster = Cluster::of(2).await;
    cluster.lose_store("n1", true);
    assert!(!cluster.node("n1").shard_manager().drain(Duration::from_secs(5)).await);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_its_store_failed_is_served_again() {
    let mut cluster = Cluster::of(3).await;
    let broken = cluster.node("n1").owned();
    broken.keys().for_each(|shard| cluster.node("n1").break_shard(*shard));
    cluster.quiet().await;
    cluster.assert_placed().await;
    assert!(cluster.longest_unserved <= Duration::from_secs(2), "{:?}", cluster.longest_unserved);
    for (shard, epoch) in broken {
        assert_eq!(cluster.epochs()[&shard], epoch + 1);
    }
}

/// O6: a node fences a living owner by mistake. One of the two gives way; they do not go on for ever.
#[tokio::test(start_paused = true)]
async fn two_nodes_do_not_fence_each_other_for_ever() {
    let mut cluster = Cluster::of(2).await;
    let (shard, epoch) = cluster.node("n1").owned().into_iter().next().unwrap();
    let thief = cluster.node("n2").shard_manager().id().clone();
    cluster.node("n2").steal(shard, &thief).await;
    cluster.quiet().await;
    cluster.assert_placed().await;
    // Stolen, and given back.
    assert_eq!(cluster.epochs()[&shard], epoch + 2);
}

/// A living owner that does not give what it should (its release hangs) is fenced after the time-out, once.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_not_given_is_claimed_after_the_time_out() {
    let mut cluster = Cluster::of(2).await;
    let shard = *cluster.node("n1").owned().keys().next().unwrap();
    let epoch = cluster.epochs()[&shard];
    cluster.node("n1").cling(true);
    cluster.registry.set_placement(shard, Some("n2")).await.unwrap();
    cluster.seconds(14).await;
    assert_eq!(cluster.epochs()[&shard], epoch);
    cluster.seconds(3).await;
    assert_eq!(cluster.server(shard), Some(("n2", epoch + 1)));
    cluster.node("n1").cling(false);
    cluster.quiet().await;
    cluster.assert_placed().await;
    assert_eq!(cluster.epochs()[&shard], epoch + 1);
}
