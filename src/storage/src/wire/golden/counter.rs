//! Golden bytes of a counter's events, and counters that are written and read back.

use super::{cut_events_are_refused, events_keep_their_bytes, states_keep_their_bytes};
use doorbuster_domain::counter::{Claim, Counter, Event, Holder};
use doorbuster_domain::ids::OrderId;
use doorbuster_domain::time::Timestamp;

fn samples() -> Vec<Event> {
    let holder = |order: u128| Holder { order: OrderId(order << 16), claim: 0xa000 };
    let granted = |order, number, is_kept| Event::Granted {
        claim: Claim { holder: holder(order), units: 3, limit: 50, is_kept, expires_at: Timestamp(601_000) },
        number,
        ask_at: Timestamp(631_000),
    };
    vec![
        granted(1, 1, true),
        granted(2, 2, false),
        Event::Kept { holder: holder(1), ask_at: Timestamp(691_000) },
        Event::Committed { holder: holder(1), number: 1 },
        Event::Released { holder: holder(2), number: 2 },
        Event::Forgotten { holder: holder(2), number: 2 },
    ]
}

#[test]
fn events_and_states_of_version_1_keep_their_bytes() {
    events_keep_their_bytes(&samples(), include_str!("counter_events.txt"), false);
    cut_events_are_refused(&samples());
    states_keep_their_bytes::<Counter>(&samples(), include_str!("counter_states.txt"), 1, |counter| counter);
}
