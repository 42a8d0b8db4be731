//! What charges the caller of a request for more work than an ordinary one is.

use super::admission::{Account, Admission, Permit};
use crate::core::problem::{Code, Problem};
use crate::core::work::Meter;
use doorbuster_domain::time::Timestamp;
use std::net::IpAddr;

/// Charges the caller of one request.
pub(super) struct RequestMeter<'a> {
    pub(super) admission: &'a Admission,
    pub(super) permit: &'a Permit<'a>,
    pub(super) account: Account,
    pub(super) address: Option<IpAddr>,
    pub(super) now: Timestamp,
}

impl Meter for RequestMeter<'_> {
    fn charge(&self, units: u32) -> Result<(), Problem> {
        self.admission.charge(self.account, units, self.now).map_err(too_many)?;
        if self.permit.grow(units) {
            return Ok(());
        }
        Err(Problem::new(Code::Overloaded).detail("there is no room for this much work"))
    }

    fn charge_new_guest(&self) -> Result<(), Problem> {
        self.admission.charge_new_guest(self.address, self.now).map_err(too_many)
    }
}

/// The answer to a caller that sends too much.
pub(super) fn too_many(seconds: u32) -> Problem {
    Problem::new(Code::TooManyRequests).detail("the caller has reached its rate limit").retry_after(seconds)
}
