//! Golden bytes of a warehouse's events, and warehouses that are written and read back.

use super::{cut_events_are_refused, events_keep_their_bytes, states_keep_their_bytes};
use doorbuster_domain::ids::{Sku, WarehouseId};
use doorbuster_domain::warehouse::{Details, Event, Warehouse};

fn samples() -> Vec<Event> {
    let details = Details {
        name: "London".into(),
        country: "GB".into(),
        postal_code: Some("E1".into()),
        active: true,
        priority: 300,
    };
    let without = Details { postal_code: None, active: false, ..details.clone() };
    let stocked =
        Event::Stocked { warehouse: WarehouseId::parse("lon1").unwrap(), sku: Sku::parse("NOVA-LOW-42").unwrap() };
    let owner = None;
    vec![
        Event::Put { details, owner: owner.clone() },
        Event::Put { details: without, owner },
        stocked,
        Event::Heard { number: 0, version: 2 },
    ]
}

/// The same, of a warehouse that is a seller's.
fn owned() -> Vec<Event> {
    let mut events = samples();
    for event in &mut events {
        if let Event::Put { owner, .. } = event {
            *owner = Some("sel_other".into());
        }
    }
    events
}

#[test]
fn events_of_version_1_keep_their_bytes() {
    events_keep_their_bytes(&samples(), include_str!("warehouse_events.txt"), false);
    cut_events_are_refused(&samples());
}

#[test]
fn a_seller_s_warehouse_keeps_its_bytes() {
    events_keep_their_bytes(&owned(), include_str!("warehouse_events_owners.txt"), false);
    cut_events_are_refused(&owned());
    states_keep_their_bytes::<Warehouse>(&owned(), include_str!("warehouse_states_owners.txt"), 1, Warehouse::restored);
}

#[test]
fn a_warehouse_reads_back_at_every_point_of_its_life() {
    states_keep_their_bytes::<Warehouse>(&samples(), include_str!("warehouse_states.txt"), 1, Warehouse::restored);
}
