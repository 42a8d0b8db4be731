//! A state is its events replayed: what a snapshot of an unknown version falls back to.

use crate::given::Backend;
use crate::given::{InMemory, LAYOUT, Owner, append};
use doorbuster_domain::any::{Event, State};
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::{EntityId, WarehouseId};
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::warehouse;
use doorbuster_storage::rebuild::rebuild;
use doorbuster_storage::wire::{Decided, Meta, encode};
use doorbuster_storage::{ReadError, Record};

fn put(number: u64) -> Event {
    let details = warehouse::Details {
        name: format!("number {number}").into(),
        country: "GB".into(),
        postal_code: None,
        active: true,
        priority: 1,
    };
    Event::Warehouse(warehouse::Event::Put { details, owner: None })
}

fn decided(entity: &EntityId, number: u64, events: u64) -> Decided {
    let events = (number..number + events).map(put).collect();
    Decided { entity: entity.clone(), number, at: Timestamp(number * 10), by: By::Operator, events }
}

fn record(owner: &mut Owner, decided: &Decided) -> Record {
    let events = u32::try_from(decided.events.len()).unwrap();
    let record = owner.record(&decided.entity, decided.number, events, None);
    Record { body: encode(decided), ..record }
}

#[tokio::test]
async fn a_rebuilt_state_is_its_events_replayed_from_history_and_tail() {
    let store = InMemory::default();
    let journal = store.open().await;
    let entity = EntityId::Warehouse(WarehouseId::parse("w1").unwrap());
    assert_eq!(rebuild(&journal, &entity).await.unwrap().seq, 0, "nothing ever happened to it");
    let mut owner = Owner::of(&journal, LAYOUT.shard_of(&entity)).await;
    let mut state = State::empty(&entity);
    // More than is read in one go, and of one and of two events each.
    let mut number = 1;
    for round in 0..1_500 {
        let decided = decided(&entity, number, 1 + round % 2);
        number += 1 + round % 2;
        decided.events.iter().for_each(|event| state.evolve(event));
        let record = record(&mut owner, &decided);
        append(&journal, vec![record]).await.unwrap();
        if round == 700 {
            owner.checkpoint(&journal, owner.next - 1).await;
        }
    }
    let rebuilt = rebuild(&journal, &entity).await.unwrap();
    assert_eq!(rebuilt.state, state);
    let updated_at = Timestamp((number - 2) * 10);
    assert_eq!(rebuilt.meta, Meta { version: number - 1, created_at: Timestamp(10), updated_at });
    assert_eq!(rebuilt.seq, owner.next - 1);
}

#[tokio::test]
async fn a_missing_event_is_noticed() {
    let store = InMemory::default();
    let journal = store.open().await;
    let entity = EntityId::Warehouse(WarehouseId::parse("w1").unwrap());
    let mut owner = Owner::of(&journal, LAYOUT.shard_of(&entity)).await;
    for number in [1, 3] {
        let record = record(&mut owner, &decided(&entity, number, 1));
        append(&journal, vec![record]).await.unwrap();
    }
    assert!(matches!(rebuild(&journal, &entity).await, Err(ReadError::Corrupt(why)) if why.contains("event 2")));
}
