//! The checkers can fail: a journal that is wrong in one place is found, and by the law that it breaks.

use crate::judge::{Broken, Judge};
use crate::plan::Plan;
use crate::run;
use crate::seeds::hush;
use crate::world::World;
use doorbuster_domain::any::Event;
use doorbuster_domain::inventory;
use doorbuster_domain::order;
use doorbuster_storage::wire::{self, Decided};
use doorbuster_storage::{Batch, Record};

/// The durable batches of a world without faults.
fn a_sale() -> Vec<Batch> {
    hush();
    run::in_virtual_time(async {
        let plan = Plan::busy(7);
        let world = World::new(plan.clone(), World::disk_of(&plan), false);
        run::live(&world).await;
        assert_eq!(world.broken(), None);
        world.disk.frames_from(0)
    })
}

/// What a judge says of a journal.
fn verdict(batches: &[Batch]) -> Result<(), Broken> {
    let mut judge = Judge::default();
    batches.iter().try_for_each(|batch| judge.take(batch))?;
    judge.at_the_end()?;
    match judge.under_way() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("not at rest: {}", left.join("; "))),
    }
}

/// The journal with its first record that `change` changes.
fn with(batches: &[Batch], mut change: impl FnMut(&mut Record, &mut Decided) -> bool) -> Vec<Batch> {
    let mut changed = batches.to_vec();
    for record in changed.iter_mut().flat_map(|batch| &mut batch.records) {
        let mut decided = wire::decode(&record.body).expect("our own record");
        if change(record, &mut decided) {
            record.body = wire::encode(&decided);
            return changed;
        }
    }
    panic!("no record of this kind in the sale");
}

fn is(event: &Event, kind: fn(&inventory::Event) -> bool) -> bool {
    matches!(event, Event::Inventory(event) if kind(event))
}

/// Breaks the sale in one place and wants it found by this law.
fn found_by(law: &str, change: impl FnMut(&mut Record, &mut Decided) -> bool) {
    let sale = a_sale();
    assert_eq!(verdict(&sale), Ok(()), "the sale itself is lawful");
    let broken = verdict(&with(&sale, change)).expect_err("a broken journal is found");
    assert!(broken.contains(law), "found as {broken}, not by {law}");
}

#[test]
fn a_lowered_epoch_is_found() {
    let sale = a_sale();
    let mut changed = sale;
    for record in changed.iter_mut().flat_map(|batch| &mut batch.records) {
        record.epoch += 1;
    }
    changed.last_mut().and_then(|batch| batch.records.last_mut()).expect("a record").epoch = 1;
    let broken = verdict(&changed).expect_err("a broken journal is found");
    assert!(broken.contains("epochs_never_fall"), "{broken}");
}

#[test]
fn a_lost_record_is_found() {
    let mut changed = a_sale();
    let batch = changed.iter_mut().find(|batch| batch.records.len() > 1).expect("a batch of several records");
    batch.records.remove(0);
    let broken = verdict(&changed).expect_err("a broken journal is found");
    assert!(broken.contains("seqs_are_dense"), "{broken}");
}

#[test]
fn a_dropped_commit_is_found() {
    found_by("a_confirmed_order_has_its_commits", |_, decided| {
        let sold = |event: &Event| is(event, |event| matches!(event, inventory::Event::Committed { .. }));
        let found = decided.events.iter().position(sold);
        if let Some(at) = found {
            let Event::Inventory(inventory::Event::Committed { order, reservation }) = decided.events[at] else {
                unreachable!("it was just found")
            };
            // Something harmless in its place, so that the numbers stay dense.
            let kept = inventory::Event::Kept { order, reservation, ask_at: decided.at.plus_s(3_600) };
            decided.events[at] = Event::Inventory(kept);
        }
        found.is_some()
    });
}

#[test]
fn a_doubled_reservation_is_found() {
    let mut first: Option<Event> = None;
    found_by("", move |_, decided| {
        for event in &mut decided.events {
            if is(event, |event| matches!(event, inventory::Event::Reserved { .. })) {
                match &first {
                    None => first = Some(event.clone()),
                    Some(first) => {
                        *event = first.clone();
                        return true;
                    }
                }
            }
        }
        false
    });
}

#[test]
fn a_receipt_that_counts_twice_is_found() {
    found_by("_", |record, decided| {
        let arrived = |event: &Event| is(event, |event| matches!(event, inventory::Event::Received { .. }));
        let Some(event) = decided.events.iter().find(|event| arrived(event)).cloned() else { return false };
        decided.events.push(event);
        record.events += 1;
        true
    });
}

#[test]
fn an_order_that_is_charged_less_than_it_costs_is_found() {
    // An order that is not paid in full is never sold: the step from held to confirmed is what is wrong with it.
    found_by("", |_, decided| {
        for event in &mut decided.events {
            if let Event::Order(order::Event::PaymentStarted { amount, .. }) = event
                && *amount > 1
            {
                *amount -= 1;
                return true;
            }
        }
        false
    });
}

#[test]
fn a_saga_that_is_left_alone_is_found() {
    let sale = a_sale();
    let cut = &sale[..sale.len() * 2 / 3];
    let broken = verdict(cut).expect_err("a cut sale has sagas under way");
    assert!(broken.contains("not at rest"), "{broken}");
}
