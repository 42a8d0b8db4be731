//! What the store keeps: the bodies of records, and the rows of states.
//!
//! ```text
//! first byte 0…: a record's body      128…: an entity's kind, then its rows, each as chunk u16 │ length u16 │ bytes
//! ```

use super::taken::Bytes as Input;
use bytes::Bytes;
use doorbuster_domain::any::State;
use doorbuster_domain::ids::{CartId, EntityId, OrderId, ProductId, Sku, WarehouseId};
use doorbuster_storage::wire::{self, Dirty};

/// The rows of one entity that are tried together.
const ROWS_MAX: usize = 300;

/// Any bytes are read or refused; what is read is written and read again as the same.
pub fn check(bytes: &[u8]) {
    match bytes.split_first() {
        Some((first, body)) if *first < 128 => a_record(body),
        Some((kind, rows)) => a_state(&entity(*kind), rows),
        None => {}
    }
}

/// An entity of one of the kinds.
pub(super) fn entity(kind: u8) -> EntityId {
    match kind % 5 {
        0 => EntityId::Inventory(Sku::parse("A").expect("lawful")),
        1 => EntityId::Cart(CartId(1)),
        2 => EntityId::Order(OrderId(1 << 16)),
        3 => EntityId::Product(ProductId::parse("p").expect("lawful")),
        _ => EntityId::Warehouse(WarehouseId::parse("w").expect("lawful")),
    }
}

fn a_record(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let head = wire::head(&body);
    if let Ok((facts, personal)) = wire::split_personal(&body) {
        let head = head.as_ref().expect("what can be taken apart has a head");
        assert_eq!(wire::head(&facts).as_ref(), Ok(head), "taking personal data out changes no fact");
        if let Some(personal) = personal {
            // A record of which a part had been taken out before does not come together from the rest; never to something else.
            let joined = wire::join_personal(&facts, &personal);
            assert!(joined.is_err() || joined.as_ref() == Ok(&body), "{joined:?} is not {body:?}");
        }
        assert_eq!(wire::reaches(&body, &head.entity, u64::MAX), Ok(false));
    }
    let Ok(decided) = wire::decode(&body) else { return };
    let written = wire::encode(&decided);
    assert_eq!(wire::decode(&written).as_ref(), Ok(&decided), "what was read is written and read as the same");
    let mut state = State::empty(&decided.entity);
    let mut dirty = Dirty::default();
    for event in &decided.events {
        wire::shown(event).expect("what was read can be shown");
        state.evolve(event);
        wire::touch(event, &mut dirty);
    }
}

fn a_state(entity: &EntityId, bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut rows = Vec::new();
    while let (Some(chunk), Some(length)) = (input.u16(), input.u16()) {
        let body = input.at_most(usize::from(length));
        rows.push((chunk, Bytes::copy_from_slice(body)));
        if rows.len() >= ROWS_MAX {
            break;
        }
    }
    let Ok((state, meta)) = wire::state_of(entity, &rows) else { return };
    let mut all = Dirty::default();
    (0..=256).for_each(|chunk| all.mark(chunk));
    let written = wire::rows_of(&state, &meta, &all);
    let (again, meta_again) = wire::state_of(entity, &written).expect("what we write can be read");
    assert_eq!(meta_again, meta);
    assert_eq!(wire::rows_of(&again, &meta, &all), written, "what was read is written and read as the same");
}
