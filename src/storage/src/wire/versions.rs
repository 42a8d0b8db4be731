//! The versions of stored events and states, and the place for an upcaster.
//!
//! A field that is added or left out needs no version: see [`doorbuster_domain::codec`]. A version is needed where a reader that does not know
//! of the change would read something wrong: a meaning changed (seconds became milliseconds), or a variant was added. Then one function more
//! stands in the list of its type: it makes a value of the version before into one of the next. What was written under any version is read;
//! what a later version of the product wrote is refused by its number.

use super::{WireError, form};
use doorbuster_domain::codec::Decode;
use doorbuster_domain::inventory::Chunk;
use doorbuster_domain::order;

/// What is stored under a version.
pub(super) trait Versioned: Sized + 'static {
    /// What it is, for errors.
    const WHAT: &'static str;
    /// From each version to the next, beginning with version 1.
    const UPCASTERS: &'static [fn(Self) -> Self];

    /// The version that is written.
    fn newest() -> u16 {
        u16::try_from(Self::UPCASTERS.len()).map_or(u16::MAX, |upcasters| upcasters.saturating_add(1))
    }

    /// Reads a value that was written as `version`, and makes it one of today's.
    fn read_as<'b, C>(version: u16, bytes: &'b [u8], context: &mut C) -> Result<Self, WireError>
    where
        Self: Decode<'b, C>,
    {
        let upcasters = usize::from(version).checked_sub(1).and_then(|first| Self::UPCASTERS.get(first..));
        let upcasters = upcasters.ok_or(WireError::Version { what: Self::WHAT, version })?;
        let value = form::read(Self::WHAT, bytes, context)?;
        Ok(upcasters.iter().fold(value, |value, upcast| upcast(value)))
    }
}

macro_rules! versioned {
    ($($type:ty: $what:expr, [$($upcaster:path),*];)+) => { $(
        impl Versioned for $type {
            const WHAT: &'static str = $what;
            const UPCASTERS: &'static [fn(Self) -> Self] = &[$($upcaster),*];
        }
    )+ };
}

/// The events and the state of each kind, with their upcasters.
macro_rules! kinds {
    ($($module:ident :: $state:ident: $what:literal, [$($of_events:path),*], [$($of_states:path),*];)+) => { $(
        versioned! {
            doorbuster_domain::$module::Event: concat!("an event of ", $what), [$($of_events),*];
            doorbuster_domain::$module::$state: concat!("a stored state of ", $what), [$($of_states),*];
        }
    )+ };
}

kinds! {
    cart::Cart: "a cart", [], [];
    counter::Counter: "a counter", [], [];
    inventory::Inventory: "an inventory", [], [];
    order::Order: "an order", [texts_stand_apart], [order::Order::with_texts_apart];
    product::Product: "a product", [], [];
    reservation::Reservation: "a reservation", [], [];
    warehouse::Warehouse: "a warehouse", [], [];
}

versioned! {
    Chunk<'static>: "a stored chunk of an inventory", [];
}

/// Version 2 of an order's events: the free texts stand apart, beside the personal data, where version 1 had them among the facts. Both places are read.
const fn texts_stand_apart(event: order::Event) -> order::Event {
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::codec::{self as minicbor, Encode};

    /// Version 1 counted seconds, version 2 milliseconds, and version 3 knows a field more.
    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Held {
        #[n(0)]
        for_ms: u64,
        #[n(1)]
        by: Option<u8>,
    }

    fn seconds_to_milliseconds(held: Held) -> Held {
        Held { for_ms: held.for_ms * 1_000, ..held }
    }

    fn by_the_first(held: Held) -> Held {
        Held { by: held.by.or(Some(1)), ..held }
    }

    impl Versioned for Held {
        const WHAT: &'static str = "a hold";
        const UPCASTERS: &'static [fn(Self) -> Self] = &[seconds_to_milliseconds, by_the_first];
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read_through_its_upcasters() {
        let mut bytes = Vec::new();
        form::write(&Held { for_ms: 5, by: None }, &mut bytes, &mut ());
        assert_eq!(Held::newest(), 3);
        let read = |version| Held::read_as(version, &bytes, &mut ());
        assert_eq!(read(1), Ok(Held { for_ms: 5_000, by: Some(1) }));
        assert_eq!(read(2), Ok(Held { for_ms: 5, by: Some(1) }));
        assert_eq!(read(3), Ok(Held { for_ms: 5, by: None }));
    }

    #[test]
    fn what_a_later_version_wrote_is_refused_by_its_number() {
        for version in [0, 4, u16::MAX] {
            assert_eq!(Held::read_as(version, &[], &mut ()), Err(WireError::Version { what: "a hold", version }));
        }
    }
}
