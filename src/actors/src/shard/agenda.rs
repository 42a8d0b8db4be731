//! The agenda of a shard: which entity has something due when, the earliest first.

use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::keyed::KeyedMap;
use std::collections::BTreeSet;

/// Deadlines as (time, id), and by id to move them.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    by_time: BTreeSet<(Timestamp, EntityId)>,
    by_entity: KeyedMap<EntityId, Timestamp>,
}

impl Agenda {
    /// Sets, moves or removes an entity's deadline.
    pub(super) fn set(&mut self, entity: &EntityId, wake_at: Option<Timestamp>) {
        let before = match wake_at {
            Some(at) => self.by_entity.insert(entity.clone(), at),
            None => self.by_entity.remove(entity),
        };
        if before == wake_at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, entity.clone()));
        }
        if let Some(at) = wake_at {
            self.by_time.insert((at, entity.clone()));
        }
    }

    /// Takes out at most `limit` entities whose deadline has come.
    pub(super) fn due(&mut self, now: Timestamp, limit: usize) -> Vec<EntityId> {
        let mut due = Vec::new();
        while due.len() < limit {
            match self.by_time.first() {
                Some((at, _)) if *at <= now => {}
                _ => break,
            }
            if let Some((_, entity)) = self.by_time.pop_first() {
                self.by_entity.remove(&entity);
                due.push(entity);
            }
        }
        due
    }

    /// How many entities have a deadline.
    pub(super) fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Those that wait for an operator: their deadline never comes.
    pub(super) fn for_operator(&self) -> impl Iterator<Item = &EntityId> {
        self.by_time.iter().rev().take_while(|(at, _)| *at >= Timestamp::NEVER).map(|(_, entity)| entity)
    }

    /// The entities with a deadline, the earliest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Timestamp, EntityId)> {
        self.by_time.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::OrderId;

    fn order(number: u128) -> EntityId {
        EntityId::Order(OrderId(number << 16))
    }

    #[test]
    fn a_moved_deadline_is_due_once_and_at_its_new_time() {
        let mut agenda = Agenda::default();
        agenda.set(&order(1), Some(Timestamp(10)));
        agenda.set(&order(2), Some(Timestamp(20)));
        agenda.set(&order(1), Some(Timestamp(30)));
        assert_eq!(agenda.due(Timestamp(20), 9), vec![order(2)]);
        assert_eq!(agenda.due(Timestamp(29), 9), vec![]);
        assert_eq!(agenda.due(Timestamp(30), 9), vec![order(1)]);
        assert_eq!(agenda.len(), 0);
    }

    #[test]
    fn what_waits_for_an_operator_is_never_due_and_is_found() {
        let mut agenda = Agenda::default();
        agenda.set(&order(1), Some(Timestamp(10)));
        agenda.set(&order(2), Some(Timestamp::NEVER));
        assert_eq!(agenda.due(Timestamp(1_000_000_000_000_000 / 10), 9), [order(1)]);
        assert_eq!(agenda.for_operator().collect::<Vec<_>>(), [&order(2)]);
        agenda.set(&order(2), None);
        assert_eq!(agenda.for_operator().count(), 0);
    }

    #[test]
    fn no_more_than_the_limit_is_due_at_once() {
        let mut agenda = Agenda::default();
        (1..=5).for_each(|number| agenda.set(&order(number), Some(Timestamp(1))));
        assert_eq!(agenda.due(Timestamp(1), 3).len(), 3);
        assert_eq!(agenda.due(Timestamp(1), 3).len(), 2);
    }
}
