//! Real time: which versions an operation may have seen and made, by what others knew before it was begun and after it had returned.

use super::words::{Effect, Operation};
use std::collections::HashMap;

/// The maker of each version, as far as answers say, by the operation's place in the history.
#[derive(Debug, Default)]
pub struct Claims {
    maker: HashMap<u64, usize>,
    /// The greatest version that any operation made or saw.
    pub last: u64,
}

impl Claims {
    /// Who made this version.
    pub fn maker(&self, version: u64) -> Option<usize> {
        self.maker.get(&version).copied()
    }

    /// The version that this operation made.
    pub fn made_by(&self, place: usize, operation: &Operation) -> Option<u64> {
        match operation.effect() {
            Effect::At(version) if self.maker(version) == Some(place) => Some(version),
            Effect::At(_) | Effect::Maybe | Effect::None => None,
        }
    }
}

/// The versions at which an operation may stand: from the first, exclusive for what makes a version, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What was known before it was begun.
    pub from: u64,
    /// What was not yet known after it had returned.
    pub to: u64,
}

/// Who made which version. Two that made the same one are an anomaly, unless they are one request that was sent twice.
pub fn claims(operations: &[&Operation]) -> Result<Claims, String> {
    let mut claims = Claims::default();
    for (place, operation) in operations.iter().enumerate() {
        claims.last = claims.last.max(operation.seen.unwrap_or(0));
        let Effect::At(version) = operation.effect() else { continue };
        claims.last = claims.last.max(version);
        match claims.maker(version).map(|other| operations[other]) {
            None => {
                claims.maker.insert(version, place);
            }
            Some(other) if other.op == operation.op => {
                if operation.invoked < other.invoked {
                    claims.maker.insert(version, place);
                }
            }
            Some(other) => return Err(format!("version {version} was made twice: by {other} and by {operation}")),
        }
    }
    Ok(claims)
}

/// Each operation's window, from the answers; an operation that names its version and does not lie in its window is an anomaly.
pub fn windows(operations: &[&Operation], claims: &Claims) -> Result<Vec<Window>, String> {
    let mut windows = vec![Window { from: 0, to: u64::MAX }; operations.len()];
    known_before(operations, claims, &mut windows)?;
    not_known_after(operations, claims, &mut windows);
    Ok(windows)
}

fn known_before(operations: &[&Operation], claims: &Claims, windows: &mut [Window]) -> Result<(), String> {
    let mut begun: Vec<usize> = (0..operations.len()).collect();
    begun.sort_by_key(|place| operations[*place].invoked);
    let mut ended: Vec<(u64, usize)> =
        operations.iter().enumerate().filter_map(|(place, one)| Some((one.returned?, place))).collect();
    ended.sort_unstable();
    let mut ended = ended.into_iter().peekable();
    // The greatest version known to an operation that has returned, and which one.
    let mut newest: Option<(u64, usize)> = None;
    for place in begun {
        let operation = operations[place];
        while let Some((_, other)) = ended.next_if(|(returned, _)| *returned < operation.invoked) {
            let made = claims.made_by(other, operations[other]);
            let knew = operations[other].seen.max(made).unwrap_or(0);
            if newest.is_none_or(|(known, _)| known < knew) {
                newest = Some((knew, other));
            }
        }
        let Some((known, other)) = newest else { continue };
        windows[place].from = known;
        let other = operations[other];
        if let Some(seen) = operation.seen.filter(|seen| *seen < known) {
            return Err(format!(
                "{operation} saw version {seen}, although {other} had returned before it was begun, and knew {known}"
            ));
        }
        if let Some(made) = claims.made_by(place, operation).filter(|made| *made <= known) {
            return Err(format!(
                "{operation} made version {made}, although {other} had returned before it was begun, and knew {known}"
            ));
        }
    }
    Ok(())
}

fn not_known_after(operations: &[&Operation], claims: &Claims, windows: &mut [Window]) {
    let mut begun: Vec<usize> = (0..operations.len()).collect();
    begun.sort_by_key(|place| std::cmp::Reverse(operations[*place].invoked));
    let mut ended: Vec<(u64, usize)> =
        operations.iter().enumerate().filter_map(|(place, one)| Some((one.returned?, place))).collect();
    ended.sort_unstable_by_key(|(returned, _)| std::cmp::Reverse(*returned));
    let mut begun = begun.into_iter().peekable();
    let mut oldest = u64::MAX;
    for (returned, place) in ended {
        while let Some(later) = begun.next_if(|later| operations[*later].invoked > returned) {
            let before_its_own = claims.made_by(later, operations[later]).map(|made| made - 1);
            for bound in operations[later].seen.into_iter().chain(before_its_own) {
                oldest = oldest.min(bound);
            }
        }
        windows[place].to = oldest;
    }
}
