//! What holds of every kind that is stored whole: its events keep their bytes, and its state reads back at every point of its life.

use super::WireError;
use doorbuster_domain::entity::Entity;
use std::fmt::Debug;

/// Each event is written as the golden bytes (in hexadecimal, in order), has no personal data, and is read back from them as `version`.
#[track_caller]
pub(super) fn events_keep_their_bytes<E: Debug + PartialEq>(
    version: u16,
    events: Vec<E>,
    golden: &[&str],
    encode: impl Fn(&E, &mut Vec<u8>) -> Option<Vec<u8>>,
    decode: impl Fn(u16, &[u8], Option<&[u8]>) -> Result<E, WireError>,
) {
    let mut bytes = Vec::new();
    for event in events {
        let mut facts = Vec::new();
        assert_eq!(encode(&event, &mut facts), None);
        assert_eq!(decode(version, &facts, None), Ok(event));
        bytes.push(facts.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    assert_eq!(bytes, golden);
}

/// The state after each of the events has no personal data, and is read back as it was.
#[track_caller]
pub(super) fn reads_back_at_every_point_of_its_life<S: Entity>(
    version: u16,
    events: &[S::Event],
    encode: impl Fn(&S, &mut Vec<u8>) -> Option<Vec<u8>>,
    decode: impl Fn(u16, &[u8], Option<&[u8]>) -> Result<S, WireError>,
) {
    let mut state = S::default();
    for event in events {
        state.evolve(event);
        let mut row = Vec::new();
        assert_eq!(encode(&state, &mut row), None);
        assert_eq!(decode(version, &row, None), Ok(state.clone()));
    }
}
