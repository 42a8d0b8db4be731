//! Rules N3 to N6: two claimants, put together in every order; and those that sleep between two steps.

use super::{A, B, fence_of, fenced, fill, keyspace, log_of, put, write};
use crate::given::{Owner, order_on, replayed};
use crate::server::Keyspace;
use doorbuster_storage::cql::{Claiming, CqlJournal};
use doorbuster_storage::{Claim, ClaimError, Journal, Layout, Shard};
use futures_util::{StreamExt, stream};
use std::sync::atomic::Ordering;

/// Steps until it is over, at most `most`.
async fn steps(claiming: &mut Claiming, count: usize) -> Option<Result<Claim, ClaimError>> {
    for _ in 0..count {
        match claiming.step().await {
            Ok(None) => {}
            Ok(Some(claim)) => return Some(Ok(claim)),
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

async fn to_the_end(claiming: &mut Claiming) -> Result<Claim, ClaimError> {
    steps(claiming, 1_000).await.unwrap()
}

/// All ways to put `ones` steps of one and `twos` of the other into one order; the first step is the first one's, the rest is the mirror image.
fn orders(ones: usize, twos: usize) -> Vec<Vec<bool>> {
    fn extend(so_far: &mut Vec<bool>, ones: usize, twos: usize, all: &mut Vec<Vec<bool>>) {
        if ones == 0 && twos == 0 {
            all.push(so_far.clone());
            return;
        }
        for (first, left) in [(true, ones), (false, twos)] {
            if left > 0 {
                so_far.push(first);
                extend(so_far, ones - usize::from(first), twos - usize::from(!first), all);
                so_far.pop();
            }
        }
    }
    let mut all = Vec::new();
    extend(&mut vec![true], ones - 1, twos, &mut all);
    all
}

/// Epochs of a log that must only rise, and events that must all be there.
fn is_lawful(records: &[doorbuster_storage::Record], acknowledged: &[doorbuster_storage::Record]) {
    for pair in records.windows(2) {
        assert!(pair[0].epoch <= pair[1].epoch, "epochs fall: {pair:?}");
        assert_eq!(pair[0].last_seq() + 1, pair[1].seq);
    }
    for record in acknowledged {
        assert!(records.contains(record), "{record:?} was acknowledged");
    }
}

/// One order of two claims on a shard of its own, with a former owner that goes on all the while. Each is a process with a log of its own.
async fn together(node: &CqlJournal, shard: Shard, order: &[bool]) {
    let (former, nodes) = (node.another_process(), [node.another_process(), node.another_process()]);
    let mut old = Owner::of(&former, shard).await;
    let mut acknowledged = fill(&former, &mut old, 2).await;
    let mut claims = [nodes[0].claiming(shard, "n1.1"), nodes[1].claiming(shard, "n2.1")];
    let mut done: [Option<Result<Claim, ClaimError>>; 2] = [None, None];
    let mut alive = true;
    for (place, one) in order.iter().enumerate() {
        let which = usize::from(!*one);
        if done[which].is_none() {
            done[which] = steps(&mut claims[which], 1).await;
        }
        // Where it acts depends on the order, so that over all orders it acts everywhere.
        if alive && order.len() - place == 1 + order.iter().filter(|one| **one).count() % 5 + usize::from(order[place])
        {
            let record = old.record(&order_on(A, 0), 9, 1, None);
            match put(&former, &record).await {
                Ok(()) => acknowledged.push(record),
                Err(error) => {
                    assert_eq!(Err(error), fenced(&old));
                    alive = false;
                }
            }
        }
    }
    let mut owners = 0;
    for which in [0, 1] {
        let outcome = match done[which].take() {
            Some(outcome) => outcome,
            None => to_the_end(&mut claims[which]).await,
        };
        let claim = match outcome {
            Ok(claim) => claim,
            Err(ClaimError::Lost(lost)) => {
                assert_eq!(lost, shard);
                continue;
            }
            Err(other) => panic!("{order:?}: {other}"),
        };
        let mut owner = Owner { claim, next: claim.end + 1 };
        let record = owner.record(&order_on(A, 0), 10, 1, None);
        match put(&nodes[which], &record).await {
            Ok(()) => {
                owners += 1;
                acknowledged.push(record);
            }
            Err(error) => assert_eq!(Err(error), fenced(&owner), "{order:?}"),
        }
    }
    let stale = old.record(&order_on(A, 0), 9, 1, None);
    assert!(put(&former, &stale).await.is_err(), "{order:?}");
    assert_eq!(owners, 1, "{order:?}: of two claims exactly one counts");
    let mut last = Owner::of(&former, shard).await;
    acknowledged.push(write(&former, &mut last, 1).await);
    is_lawful(&replayed(&former, shard, 1).await, &acknowledged);
}

/// Six steps each: the shard's row, the fence of its log, closing it, its rows, `flushed_upto`, and the compare-and-set that owns it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_claimants_in_every_order_leave_one_owner_and_lose_nothing() {
    if !Keyspace::is_there("two claimants in every order") {
        return;
    }
    let orders = orders(6, 6);
    assert_eq!(orders.len(), 462);
    let shards = u16::try_from(orders.len()).unwrap();
    let store = Keyspace::with(Layout { shards, hash_version: 1 }, |options| options.log_bucket_rows = 4);
    let node = &store.open().await;
    let all = stream::iter(orders.iter().enumerate());
    all.for_each_concurrent(16, |(number, order)| async move {
        together(node, Shard(u16::try_from(number).unwrap()), order).await;
    })
    .await;
}

/// Rule N4: it sleeps before it reads the rows, or `flushed_upto`; meanwhile its log is closed, and what was in it is stored and deleted by another, which
/// is the owner by then.
#[tokio::test]
async fn a_claimant_that_slept_through_another_claim_and_its_checkpoint_has_lost() {
    let Some(store) = keyspace("a claimant overtaken by a claim", 10) else { return };
    for slept_after in 1..=5 {
        let shard = Shard(u16::try_from(slept_after % 4).unwrap());
        let former = store.open().await;
        let (slow, fast) = (former.another_process(), former.another_process());
        let mut old = Owner::of(&former, shard).await;
        let end = old.next + 13;
        let mut acknowledged = fill(&former, &mut old, end).await;
        let mut claiming = slow.claiming(shard, "slow");
        assert!(steps(&mut claiming, slept_after).await.is_none());
        let mut owner = Owner::of(&fast, shard).await;
        acknowledged.extend(fill(&fast, &mut owner, end + 25).await);
        owner.checkpoint(&fast, end + 24).await;
        assert_eq!(to_the_end(&mut claiming).await, Err(ClaimError::Lost(shard)), "slept after step {slept_after}");
        owner.confirm(&fast).await.unwrap();
        acknowledged.push(write(&fast, &mut owner, 1).await);
        is_lawful(&crate::given::everything(&slow, shard).await, &acknowledged);
        owner.checkpoint(&fast, owner.next - 1).await;
    }
}

/// Rule N4: the former owner, closed in the middle of a checkpoint, stores and deletes while the claimant reads.
#[tokio::test]
async fn a_claimant_is_not_confused_by_a_checkpoint_of_the_former_owner() {
    let Some(store) = keyspace("a claimant beside a zombie's checkpoint", 4) else { return };
    for slept_after in 1..=6 {
        let shard = Shard(u16::try_from(slept_after % 4).unwrap());
        let former = store.open().await;
        let node = former.another_process();
        let mut old = Owner::of(&former, shard).await;
        let base = old.next - 1;
        let acknowledged = fill(&former, &mut old, base + 10).await;
        let mut claiming = node.claiming(shard, "n2");
        // A checkpoint asks the fence before it stores anything, so this one has asked already; as if it stopped there.
        assert!(steps(&mut claiming, slept_after).await.is_none());
        store
            .say(&format!(
                "UPDATE KS.shard_progress USING TIMESTAMP {} SET flushed_upto = {} WHERE shard = {shard}",
                1_000_000 + base + 8,
                base + 8
            ))
            .await;
        let log = log_of(&store, shard).await;
        for bucket in 0..2 {
            store
                .say(&format!("DELETE FROM KS.node_log WHERE log = {log} AND bucket = {bucket} AND position >= 0"))
                .await;
        }
        let claim = to_the_end(&mut claiming).await.unwrap();
        assert_eq!(claim.end, acknowledged[9].last_seq(), "slept after step {slept_after}");
        let mut new = Owner { claim, next: claim.end + 1 };
        write(&node, &mut new, 1).await;
    }
}

/// Rule N3: two claimants of two shards of one log; the second finds it closed, and reads what the first did.
#[tokio::test]
async fn two_claimants_share_out_the_shards_of_a_log_that_is_closed_once() {
    let Some(store) = keyspace("two claimants of one log", 10) else { return };
    for slept_after in 1..=6 {
        let dead = store.open().await;
        let (mut a, mut b) = (Owner::of(&dead, A).await, Owner::of(&dead, B).await);
        let (of_a, of_b) = (write(&dead, &mut a, 1).await, write(&dead, &mut b, 1).await);
        let log = log_of(&store, A).await;
        let (one, two) = (dead.another_process(), dead.another_process());
        let mut claiming = one.claiming(A, "n1");
        assert!(steps(&mut claiming, slept_after - 1).await.is_none());
        let mut of_two = Owner::of(&two, B).await;
        let claim = to_the_end(&mut claiming).await.unwrap();
        assert_eq!((claim.end, of_two.claim.end), (of_a.last_seq(), of_b.last_seq()));
        assert_eq!(fence_of(&store, log, 0).await, "closed");
        let mut of_one = Owner { claim, next: claim.end + 1 };
        write(&one, &mut of_one, 1).await;
        write(&two, &mut of_two, 1).await;
        for (node, owner) in [(&one, &of_one), (&two, &of_two)] {
            owner.confirm(node).await.unwrap();
            owner.checkpoint(node, owner.next - 1).await;
        }
    }
}

#[tokio::test]
async fn a_shard_that_was_let_go_says_so_until_it_is_claimed_again() {
    let Some(store) = keyspace("release", 10) else { return };
    let journal = store.open().await;
    let owner = Owner { claim: journal.claim(A, "n1.3").await.unwrap(), next: 1 };
    let registry = journal.registry();
    let owners = async || doorbuster_storage::registry::Registry::owners(&registry).await.unwrap();
    assert_eq!(owners().await[0].node.as_ref().unwrap().to_string(), "n1.3");
    journal.release(&owner.claim).await.unwrap();
    assert_eq!((owners().await[0].epoch, owners().await[0].node.clone()), (1, None));
    let record = owner.clone().record(&order_on(A, 0), 1, 1, None);
    assert_eq!(put(&journal, &record).await, fenced(&owner), "it said it would append nothing more");
    let next = journal.claim(A, "n2.1").await.unwrap();
    assert_eq!(next.epoch, 2);
    assert!(journal.release(&owner.claim).await.is_err(), "another's shard is not let go");
    assert_eq!(owners().await[0].node.as_ref().unwrap().to_string(), "n2.1");
}

/// Rule N6: a release counts for its own epoch only, and who has sent one serves the shard no more.
#[tokio::test]
async fn a_release_of_a_former_owner_releases_nothing() {
    let Some(store) = keyspace("a late release", 10) else { return };
    let (one, two) = (store.open().await, store.open().await);
    let mut old = Owner::of(&one, A).await;
    write(&one, &mut old, 1).await;
    let mut new = Owner::of(&two, A).await;
    assert_eq!(one.release(&old.claim).await, fenced(&old));
    assert!(one.release(&old.claim).await.is_err());
    write(&two, &mut new, 1).await;
    let third = store.open().await;
    third.claim(A, "n3").await.unwrap();
    assert_eq!(third.counts().logs_closed.load(Ordering::Relaxed), 1, "the new owner's log, for it released nothing");
}
