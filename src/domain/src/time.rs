//! Instants and durations as values. The domain reads no clock; the time comes with each command.

use crate::codec::encode::{Write, Written};
use crate::codec::{Encode, Encoder, take_bytes};
use minicbor::decode::{self, Decode, Decoder};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The year 9999: later than every deadline. An entity with this deadline is never woken, and is found on the agenda all the same.
    pub const NEVER: Self = Self(253_370_764_800_000);

    /// This instant moved by `seconds`, at most to the end of time.
    #[must_use]
    pub const fn plus_s(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// This instant moved by `millis`, at most to the end of time.
    #[must_use]
    pub const fn plus_ms(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this instant, 0 when it is not earlier.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// As a byte string without leading zeros: seven bytes for an instant of today, where a CBOR number takes nine.
impl<C> Encode<C> for Timestamp {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, _context: &mut C) -> Written<W> {
        to.instant(self.0)
    }
}

impl<'b, C> Decode<'b, C> for Timestamp {
    fn decode(from: &mut Decoder<'b>, _context: &mut C) -> Result<Self, decode::Error> {
        let at = from.position();
        let stored = take_bytes(from)?;
        if stored.len() > size_of::<u64>() {
            return Err(decode::Error::message("an instant of more than eight bytes").at(at));
        }
        Ok(Self(stored.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))))
    }
}
