//! Rule O2: two claimants, put together in every order; and those that sleep between two steps.

use super::{A, fenced, fill, keyspace, put, write};
use crate::given::{Owner, order_on, replayed};
use crate::server::Keyspace;
use doorbuster_storage::cql::{Claiming, CqlJournal};
use doorbuster_storage::{Claim, ClaimError, Journal, Layout, Shard};
use futures_util::{StreamExt, stream};

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

/// One order of two claims on a shard of its own, with a former owner that goes on all the while.
async fn together(nodes: &[CqlJournal; 3], shard: Shard, order: &[bool]) {
    let [first, second, former] = nodes;
    let mut old = Owner::of(former, shard).await;
    let mut acknowledged = fill(former, &mut old, 2).await;
    let mut claims = [first.claiming(shard, "n1.1"), second.claiming(shard, "n2.1")];
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
            match put(former, &record).await {
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
    assert!(put(former, &stale).await.is_err(), "{order:?}");
    // Both may lose, each to the other's epoch or fence; then the shard has no owner until it is claimed again.
    assert!(owners <= 1, "{order:?}: two owners");
    let mut last = Owner::of(former, shard).await;
    acknowledged.push(write(former, &mut last, 1).await);
    is_lawful(&replayed(former, shard, 1).await, &acknowledged);
}

/// Six steps each: the epoch, `flushed_upto`, the fence read, the fence raised, the rows, `flushed_upto` again; the seventh is asked at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_claimants_in_every_order_leave_one_owner_and_lose_nothing() {
    if !Keyspace::is_there("two claimants in every order") {
        return;
    }
    let orders = orders(6, 6);
    let shards = u16::try_from(orders.len()).unwrap();
    let store = Keyspace::with(Layout { shards, hash_version: 1 }, |options| options.bucket_events = 4);
    let nodes = [store.open().await, store.open().await, store.open().await];
    let nodes = &nodes;
    let all = stream::iter(orders.iter().enumerate());
    all.for_each_concurrent(16, |(number, order)| async move {
        together(nodes, Shard(u16::try_from(number).unwrap()), order).await;
    })
    .await;
}

/// Rule O2.5: it sleeps after it has read `flushed_upto`; meanwhile the owner fills that bucket and the next, and stores both.
#[tokio::test]
async fn a_claimant_that_slept_through_a_checkpoint_begins_where_states_are_stored_now() {
    let Some(store) = keyspace("a claimant overtaken by checkpoints", 10) else { return };
    for (shard, slept_after) in [2, 3, 4, 5].into_iter().enumerate() {
        let shard = Shard(u16::try_from(shard).unwrap());
        let (owner_node, node) = (store.open().await, store.open().await);
        let mut owner = Owner::of(&owner_node, shard).await;
        let mut acknowledged = fill(&owner_node, &mut owner, 4).await;
        let mut claiming = node.claiming(shard, "n2");
        // 4: the fence is raised, and the owner in that bucket hears of it.
        assert!(steps(&mut claiming, slept_after).await.is_none());
        let mut alive = true;
        while alive && owner.next <= 25 {
            let record = owner.record(&order_on(A, 0), 1, 1, None);
            match put(&owner_node, &record).await {
                Ok(()) => acknowledged.push(record),
                Err(error) => {
                    assert_eq!(Err(error), fenced(&owner));
                    alive = false;
                }
            }
        }
        assert_eq!(alive, slept_after < 4, "slept after step {slept_after}");
        if alive {
            owner.checkpoint(&owner_node, 24).await;
        }
        let claim = to_the_end(&mut claiming).await.unwrap();
        assert_eq!(claim.end, acknowledged.last().unwrap().last_seq(), "slept after step {slept_after}");
        let mut new = Owner { claim, next: claim.end + 1 };
        let mine = write(&node, &mut new, 1).await;
        let stale = owner.record(&order_on(A, 0), 1, 1, None);
        assert!(put(&owner_node, &stale).await.is_err(), "two owners acknowledge event {}", mine.seq);
    }
}

/// Rule O2.5 once more, for the buckets behind the first: the owner passes the next one while the first is looked at.
#[tokio::test]
async fn a_claimant_looks_again_after_every_bucket() {
    let Some(store) = keyspace("a claimant overtaken at its second bucket", 10) else { return };
    let (owner_node, node) = (store.open().await, store.open().await);
    let mut owner = Owner::of(&owner_node, A).await;
    fill(&owner_node, &mut owner, 12).await;
    let mut claiming = node.claiming(A, "n2");
    // Epoch, flushed_upto, fence of bucket 0 read and raised, its rows, flushed_upto: it is full, bucket 1 is next.
    assert!(steps(&mut claiming, 6).await.is_none());
    fill(&owner_node, &mut owner, 32).await;
    owner.checkpoint(&owner_node, 31).await;
    let claim = to_the_end(&mut claiming).await.unwrap();
    assert_eq!((claim.flushed_upto, claim.end), (31, 32));
    let stale = owner.record(&order_on(A, 0), 1, 1, None);
    assert_eq!(put(&owner_node, &stale).await, fenced(&owner));
}

/// Rule O2.8: the one with the lower epoch comes late and finds a bucket that has no fence.
#[tokio::test]
async fn a_claimant_with_a_lower_epoch_gives_up_even_where_it_meets_no_fence() {
    let Some(store) = keyspace("a late claimant with a lower epoch", 10) else { return };
    for (number, slept_after) in [1, 2].into_iter().enumerate() {
        let shard = Shard(u16::try_from(number).unwrap());
        let (slow, fast) = (store.open().await, store.open().await);
        let mut claiming = slow.claiming(shard, "slow");
        assert!(steps(&mut claiming, slept_after).await.is_none());
        let mut owner = Owner::of(&fast, shard).await;
        assert!(owner.epoch() > claiming.epoch());
        let mut acknowledged = fill(&fast, &mut owner, 9).await;
        owner.checkpoint(&fast, 9).await;
        // Bucket 0 is full and stored, bucket 1 not begun: the slow one finds no fence there.
        assert_eq!(to_the_end(&mut claiming).await, Err(ClaimError::Lost(shard)), "slept after step {slept_after}");
        // It may have fenced the bucket before it gave up; its epoch is the lower one, so the owner rolls over it (rule O3).
        acknowledged.push(write(&fast, &mut owner, 1).await);
        let all = crate::given::everything(&fast, shard).await;
        is_lawful(&all, &acknowledged);
    }
}

/// Rule O2.3: upwards only.
#[tokio::test]
async fn a_claimant_never_lowers_a_fence() {
    let Some(store) = keyspace("fences only rise", 10) else { return };
    for slept_after in [1, 2, 3] {
        let shard = Shard(u16::try_from(slept_after).unwrap());
        let (slow, fast) = (store.open().await, store.open().await);
        let mut claiming = slow.claiming(shard, "slow");
        assert!(steps(&mut claiming, slept_after).await.is_none());
        let mut owner = Owner::of(&fast, shard).await;
        write(&fast, &mut owner, 1).await;
        assert_eq!(to_the_end(&mut claiming).await, Err(ClaimError::Lost(shard)));
        write(&fast, &mut owner, 1).await;
        fast.confirm(shard, owner.epoch()).await.unwrap();
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
