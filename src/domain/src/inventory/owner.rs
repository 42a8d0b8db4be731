//! Who may do what with a SKU's stock: it is its product's seller's, and the platform's.

use super::Inventory;
use super::command::{Command, Refusal};
use super::external::Requester;
use crate::principal::{Denied, Principal};
use std::borrow::Cow;

impl Inventory {
    /// Is the stock this seller's? That of a SKU without a product, from before every receipt needed one, is the platform's alone.
    pub(super) fn is_of(&self, account: &str) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.seller == account)
    }

    pub(super) fn permitted_to<'c>(
        &self,
        by: &Principal,
        command: &'c Command,
    ) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        let may = match by {
            Principal::System | Principal::Operator | Principal::Provider(_) | Principal::Platform(_) => true,
            // What shoppers see of a SKU, the node reads for them.
            Principal::Guest(_) | Principal::Holder(_) | Principal::Anyone => false,
            Principal::Seller(account) => match command {
                Command::Read
                | Command::Receive { .. }
                | Command::Adjust { .. }
                | Command::Count { .. }
                | Command::ReserveExternal { .. }
                | Command::ListExternal { .. } => !self.is_known() || self.is_of(&account.id),
                // Whoever reserved it may end it, also after the SKU has gone to another seller.
                Command::ReadExternal { requester, .. }
                | Command::EndExternal { requester, .. }
                | Command::ExtendExternal { requester, .. } => match requester {
                    Requester::Caller(name) => by.is_named(name),
                    Requester::Reservation => false,
                },
                Command::Wake
                | Command::Offer(_)
                | Command::Reserve { .. }
                | Command::Commit { .. }
                | Command::Release { .. }
                | Command::Forget { .. }
                | Command::Ship { .. }
                | Command::Unship { .. }
                | Command::Return { .. }
                | Command::ForgetMoves { .. }
                | Command::Answer { .. }
                | Command::AnswerExternal { .. }
                | Command::SetWarehouse { .. } => false,
            },
        };
        if may { Ok(Cow::Borrowed(command)) } else { Err(Denied::NotYours) }
    }
}
