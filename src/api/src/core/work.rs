//! Work: what quotas and permits count, instead of requests (rule W1).
//!
//! ```text
//! an ordinary request  one unit: its permit, one token of its caller and of its address
//! its body             a further unit for each BYTES_PER_UNIT, once it has arrived and before it is read
//! its lines or items   a further unit for each LINES_PER_UNIT beyond the first, before anything is asked for them
//! its answer           a token for each ANSWER_BYTES_PER_UNIT, from what is left: the next request waits for it
//! ```

use super::problem::Problem;

/// Lines of an order, a cart or a reservation, or items of a batch, that are one unit.
///
/// Too few: an ordinary cart is dearer than a look at it. Too
/// many: one request of 2,000 lines costs the node a thousand times what it costs its caller.
pub const LINES_PER_UNIT: usize = 10;
/// Bytes of a body that are one unit: ordinary ones have a tenth of it.
pub const BYTES_PER_UNIT: usize = 16 * 1024;
/// Bytes of an answer that are one unit. Writing is several times cheaper than reading.
pub const ANSWER_BYTES_PER_UNIT: usize = 64 * 1024;

/// What charges a request's caller and its address.
pub trait Meter: Send + Sync {
    /// Takes so many tokens from the caller's quota, and as many permits.
    ///
    /// # Errors
    /// 429 `too_many_requests`, 503 `overloaded`: nothing is bound.
    fn charge(&self, units: u32) -> Result<(), Problem>;

    /// Takes a token for making a guest from its address.
    ///
    /// # Errors
    /// 429 `too_many_requests`.
    fn charge_new_guest(&self) -> Result<(), Problem>;
}

/// The units of so many lines, beyond the first, which the request itself is.
#[must_use]
pub fn units_of_lines(lines: usize) -> u32 {
    units(lines.saturating_sub(1), LINES_PER_UNIT)
}

/// The units of so many bytes of a body, beyond the first.
#[must_use]
pub fn units_of_body(bytes: usize) -> u32 {
    units(bytes, BYTES_PER_UNIT)
}

/// The units of so many bytes of an answer, beyond the first.
#[must_use]
pub fn units_of_answer(bytes: usize) -> u32 {
    units(bytes, ANSWER_BYTES_PER_UNIT)
}

fn units(amount: usize, per_unit: usize) -> u32 {
    u32::try_from(amount / per_unit).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_request_is_one_unit_and_a_large_one_as_many_as_it_is_work() {
        assert_eq!((units_of_lines(0), units_of_lines(1), units_of_lines(10), units_of_lines(11)), (0, 0, 0, 1));
        assert_eq!((units_of_lines(100), units_of_lines(2_000)), (9, 199));
        assert_eq!((units_of_body(2_000), units_of_body(1024 * 1024)), (0, 64));
        assert_eq!((units_of_answer(5_000), units_of_answer(600_000)), (0, 9));
    }
}
