//! Maps and sets whose keys a caller chooses: names of SKUs, ids made of its `Idempotency-Key`.
//!
//! Their hash has a random key, one for the process. Without one (`FxHash`) anybody can make names that all fall into one bucket, and each read of one
//! then compares it with all the others. The order in which such a map is walked differs from process to process: nothing may be decided by it.
//!
//! The shard of an entity cannot have such a key, because it is the same for ever and on every node ([`crate::journal::Layout`]). Who chooses names
//! that all fall into one shard gets one shard's share of the node, and the bounds of its mailboxes; its own names are the ones that wait.

use ahash::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::OnceLock;

/// A map whose keys a caller chooses.
pub type KeyedMap<K, V> = HashMap<K, V, Keyed>;
/// A set whose members a caller chooses.
pub type KeyedSet<K> = HashSet<K, Keyed>;

/// The key of all hashes of this process.
static KEY: OnceLock<[u64; 4]> = OnceLock::new();

/// Hashes with the key of the process.
#[derive(Debug, Clone)]
pub struct Keyed(RandomState);

impl Default for Keyed {
    fn default() -> Self {
        let [a, b, c, d] = *KEY.get_or_init(random);
        Self(RandomState::with_seeds(a, b, c, d))
    }
}

impl BuildHasher for Keyed {
    type Hasher = <RandomState as BuildHasher>::Hasher;

    #[inline]
    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

/// The standard library asks the operating system.
fn random() -> [u64; 4] {
    let source = std::collections::hash_map::RandomState::new();
    [0_u64, 1, 2, 3].map(|word| source.hash_one(word))
}

/// Makes the key of this process that of a seed, so that a simulation is repeated to the letter in another process. It has no effect once a map exists.
pub fn fix_key(seed: u64) {
    let mixed = |word: u64| seed.wrapping_add(word.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    KEY.get_or_init(|| [1, 2, 3, 4].map(mixed));
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::Sku;
    use rustc_hash::FxBuildHasher;
    use std::cell::Cell;
    use std::hash::{Hash, Hasher};

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// A name that counts how often it is compared.
    #[derive(Debug)]
    struct Counted(Sku);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted {}

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, hasher: &mut H) {
            self.0.hash(hasher);
        }
    }

    /// Lawful names that fall into one bucket of a table of 512 without a key: the bits that choose the bucket, and the seven that are compared first.
    fn colliding(names: usize) -> Vec<Sku> {
        const BITS: u64 = 0xfe00_0000_0000_01ff;
        let all = (0_u32..).map(|number| Sku::parse(&format!("SKU-{number}")).unwrap());
        all.filter(|sku| FxBuildHasher.hash_one(sku) & BITS == 0).take(names).collect()
    }

    /// Comparisons of a look-up, on average.
    fn compared_each<S: BuildHasher + Default>(names: &[Sku]) -> usize {
        let mut map: HashMap<Counted, usize, S> = HashMap::default();
        for (number, name) in names.iter().enumerate() {
            map.insert(Counted(name.clone()), number);
        }
        COMPARED.set(0);
        for (number, name) in names.iter().enumerate() {
            assert_eq!(map.get(&Counted(name.clone())), Some(&number));
        }
        COMPARED.get().div_ceil(names.len())
    }

    #[test]
    fn names_that_collide_without_a_key_cost_no_more_than_any_others() {
        let names = colliding(250);
        assert!(compared_each::<FxBuildHasher>(&names) > 50, "they are an attack");
        assert!(compared_each::<Keyed>(&names) <= 3);
    }

    #[test]
    fn maps_of_a_process_have_one_key_and_it_is_no_constant() {
        assert_eq!(Keyed::default().hash_one(7), Keyed::default().hash_one(7));
        assert_ne!(random(), random());
    }
}
