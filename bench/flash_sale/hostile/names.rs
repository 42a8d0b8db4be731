//! Lawful SKU names that all have one hash under an unkeyed `FxHash` (`rustc-hash` 2): a table that hashes what callers choose with it becomes a list.
//!
//! ```text
//! 64 bytes = block 1 │ block 2 │ block 3 │ rest        state (s0, s1), each block (x, y): s0, s1 = s1, mix(s0 ^ x, P ^ y)
//! block 3: x = s0, so mix(0, …) = 0 whatever y is
//! ```
//!
//! After blocks 1 and 2 `s0` is what block 1 was mixed to. Block 1 is chosen so that this value consists of lawful characters.

const SEED: u64 = 0x243f_6a88_85a3_08d3;
const NO_ZERO: u64 = 0xa409_3822_299f_31d0;
/// Letters of the free parts.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn mix(one: u64, other: u64) -> u64 {
    let [low @ .., _, _, _, _, _, _, _, _] = (u128::from(one).wrapping_mul(u128::from(other))).to_le_bytes();
    let [_, _, _, _, _, _, _, _, high @ ..] = (u128::from(one).wrapping_mul(u128::from(other))).to_le_bytes();
    u64::from_le_bytes(low) ^ u64::from_le_bytes(high)
}

/// Eight letters that stand for a number.
fn letters(mut number: u64) -> [u8; 8] {
    [(); 8].map(|()| {
        let letter = LETTERS.get(usize::try_from(number % 32).unwrap_or(0)).copied().unwrap_or(b'A');
        number /= 32;
        letter
    })
}

fn is_lawful(bytes: [u8; 8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._~:+-".contains(byte))
}

/// The names, each another one.
pub(super) fn colliding(count: usize) -> impl Iterator<Item = String> {
    let first = u64::from_le_bytes(*b"SKU-OF-A");
    let mixed = |y: [u8; 8]| mix(SEED ^ first, NO_ZERO ^ u64::from_le_bytes(y)).to_le_bytes();
    // One of some thirty thousand is lawful.
    let y = (0..u64::MAX).map(letters).find(|y| is_lawful(mixed(*y))).unwrap_or_default();
    let x3 = mixed(y);
    (0_u64..).take(count).map(move |number| {
        let parts =
            [&first.to_le_bytes(), &y, b"HOSTILE-", b"CROWD-OF", &x3, &letters(number), b"AND-ITS-", b"LAST-16B"];
        parts.into_iter().flatten().map(|byte| char::from(*byte)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::Sku;
    use std::collections::BTreeSet;
    use std::hash::BuildHasher;

    #[test]
    fn the_names_are_lawful_different_and_have_one_hash() {
        let names: Vec<String> = colliding(500).collect();
        let hash = |name: &String| rustc_hash::FxBuildHasher.hash_one(name.as_str());
        assert!(names.iter().all(|name| Sku::parse(name).is_ok()), "{names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 500);
        assert_eq!(names.iter().map(hash).collect::<BTreeSet<_>>().len(), 1);
    }
}
