//! What must be true of the world once it has healed.

use super::super::{Hold, OrderClaim};
use super::*;
use crate::ids::CounterId;

impl World {
    /// Every saga ended, confirmed or compensated; stock and money agree with stock's and the provider's own books.
    pub(super) fn check_the_end(&self) {
        let seed = self.seed;
        let mut sold: BTreeMap<Sku, u64> = BTreeMap::new();
        let mut used: BTreeMap<CounterId, u64> = BTreeMap::new();
        for id in self.orders() {
            let order = self.order(id);
            assert!(
                matches!(order.stage, Stage::Confirmed | Stage::Ended(_)),
                "seed {seed}: {id} is stuck: {:?}",
                order.stage
            );
            laws::all(order).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            assert!(order.troubles.is_empty(), "seed {seed}: {:?}", order.troubles);
            let (authorized, net) = self.provider.books_of(id);
            assert_eq!(net, order.captured() - order.refunded(), "seed {seed}: {id} and the provider disagree");
            match order.stage {
                Stage::Confirmed => {
                    let held = |claim: &&OrderClaim| claim.wanted.kind.is_kept() && claim.hold == Hold::Committed;
                    for claim in order.claims.iter().flatten().filter(held) {
                        *used.entry(claim.wanted.at).or_default() += u64::from(claim.units);
                    }
                    let rest = order.due() - net;
                    assert!(rest >= 0 && authorized >= rest, "seed {seed}: {id} due {} net {net}", order.due());
                    for line in &order.lines {
                        let kept = u64::from(line.units - line.cancelled - line.returned);
                        *sold.entry(line.sku.clone()).or_default() += kept;
                    }
                }
                _ => assert_eq!((net, authorized), (0, 0), "seed {seed}: {id} ended and has money"),
            }
        }
        for (id, entry) in &self.entities {
            match &entry.state {
                State::Inventory(stock) => {
                    let EntityId::Inventory(sku) = id else { continue };
                    let books = |of: fn(&inventory::Level) -> u64| stock.levels().map(of).sum::<u64>();
                    assert_eq!(books(|level| level.reserved), 0, "seed {seed}: {sku} is still reserved");
                    let out = books(|level| level.sold) - books(|level| level.returned);
                    assert_eq!(out, sold.get(sku).copied().unwrap_or(0), "seed {seed}: {sku}");
                }
                State::Cart(cart) => {
                    let frozen = matches!(cart.status(), cart::Status::Frozen { .. });
                    assert!(!frozen, "seed {seed}: {id} is frozen for ever");
                }
                State::Counter(counter) => {
                    let EntityId::Counter(at) = id else { continue };
                    let taken = (counter.held(), counter.used());
                    assert_eq!(taken, (0, used.get(at).copied().unwrap_or(0)), "seed {seed}: {id}");
                    assert_eq!(counter.grants().count(), 0, "seed {seed}: {id} remembers for ever: {counter:?}");
                    let events = entry.events.iter().filter_map(|event| match event {
                        message::Event::Counter(event) => Some(event),
                        _ => None,
                    });
                    shared::no_grant_exceeds_its_limit(events).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
                }
                State::Order(_) | State::Product(_) | State::Warehouse(_) | State::Reservation(_) => {}
            }
        }
    }
}
