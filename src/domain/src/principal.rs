//! Who asks: the principal that comes with every command, and what it may do by the scopes of its key.
//!
//! Every kind of entity says what a command of a principal means to it ([`Entity::permitted`](super::entity::Entity::permitted), rule P4):
//!
//! ```text
//! the node itself, an operator, a provider   everything that is asked of it
//! the platform's account                     everything
//! another seller's account                   its own warehouses, products, stock, reservations, carts; its group of an order's lines
//! a guest, the holder of an order's token    its own carts and orders; that order
//! ```

use super::entity::By;
use super::ids::{GuestId, OrderId};
use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};

/// A scope: what a key permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Products, warehouses.
    Catalog,
    /// Stock.
    Inventory,
    /// Carts, orders, shipments, returns.
    Orders,
    /// Captures and refunds.
    Payments,
    /// What happens in the shop, as it happens.
    Events,
    /// Personal data in orders: buyers, addresses, notes.
    Personal,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] =
        [Self::Catalog, Self::Inventory, Self::Orders, Self::Payments, Self::Events, Self::Personal];

    /// The name of the scope in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Inventory => "inventory",
            Self::Orders => "orders",
            Self::Payments => "payments",
            Self::Events => "events",
            Self::Personal => "personal",
        }
    }

    /// The scope of a name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Catalog => 1,
            Self::Inventory => 2,
            Self::Orders => 4,
            Self::Payments => 8,
            Self::Personal => 16,
            Self::Events => 32,
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scopes(u8);

impl Scopes {
    /// Is the scope one of them?
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | scope.bit()))
    }
}

/// A seller's account, through one of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account's id.
    pub id: CompactString,
    /// What the key permits.
    pub scopes: Scopes,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// The node itself: a deadline, a step of a saga, a read model.
    System,
    /// The operator of the node.
    Operator,
    /// The payment provider, by name.
    Provider(CompactString),
    /// The platform's own account, which runs the shop.
    Platform(Account),
    /// Another seller's account.
    Seller(Account),
    /// A guest.
    Guest(GuestId),
    /// The holder of an order's token.
    Holder(OrderId),
    /// A caller without a credential.
    Anyone,
}

impl Principal {
    /// What the journal records as the cause of its events.
    #[must_use]
    pub fn by(&self) -> By {
        match self {
            Self::System => By::System,
            Self::Operator => By::Operator,
            Self::Provider(name) => By::Provider(name.clone()),
            Self::Platform(account) | Self::Seller(account) => By::Seller(account.id.clone()),
            Self::Guest(guest) => By::Guest(format_compact!("{guest}")),
            Self::Holder(order) => By::Guest(format_compact!("{order}")),
            Self::Anyone => By::Guest(CompactString::const_new("anyone")),
        }
    }

    /// Does it come from this side of the API, so that no ownership is asked?
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        match self {
            Self::System | Self::Operator | Self::Provider(_) => true,
            Self::Platform(_) | Self::Seller(_) | Self::Guest(_) | Self::Holder(_) | Self::Anyone => false,
        }
    }

    /// The name under which its requests and resources are kept: of an account the account's, never that of a key, which rotates. `None`: it has
    /// none of its own.
    #[must_use]
    pub fn name(&self) -> Option<CompactString> {
        match self {
            Self::Platform(account) | Self::Seller(account) => Some(format_compact!("seller:{}", account.id)),
            Self::Guest(guest) => Some(format_compact!("guest:{guest}")),
            Self::Holder(order) => Some(format_compact!("order:{order}")),
            Self::System | Self::Operator | Self::Provider(_) | Self::Anyone => None,
        }
    }

    /// Is this its [`name`](Self::name)?
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        match (self, name.split_once(':')) {
            (Self::Platform(account) | Self::Seller(account), Some(("seller", id))) => account.id == id,
            (Self::Guest(guest), Some(("guest", id))) => GuestId::parse(id) == Ok(*guest),
            (Self::Holder(order), Some(("order", id))) => OrderId::parse(id) == Ok(*order),
            _ => false,
        }
    }

    /// May it see personal data of what it owns?
    #[must_use]
    pub const fn sees_personal(&self) -> bool {
        match self {
            Self::Platform(account) | Self::Seller(account) => account.scopes.has(Scope::Personal),
            Self::System | Self::Operator | Self::Guest(_) | Self::Holder(_) => true,
            Self::Provider(_) | Self::Anyone => false,
        }
    }
}

/// Why a principal's command is not decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied<R> {
    /// The entity, or the part of it that the command names, is another's: to this principal it does not exist.
    NotYours,
    /// It is the principal's, and has a reason of its own.
    Refused(R),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_answers_to_its_own_name_and_to_no_other() {
        let account = |id: &str| Account { id: id.into(), scopes: Scopes::default() };
        let principals = [
            Principal::Platform(account("sel_main")),
            Principal::Seller(account("sel_other")),
            Principal::Guest(GuestId(7)),
            Principal::Guest(GuestId(8)),
            Principal::Holder(OrderId(7 << 16)),
            Principal::Anyone,
            Principal::System,
        ];
        for one in &principals {
            for other in &principals {
                let named = other.name().is_some_and(|name| one.is_named(&name));
                assert_eq!(named, one == other && one.name().is_some(), "{one:?} by the name of {other:?}");
            }
            assert!(!one.is_named("") && !one.is_named("seller:") && !one.is_named("guest:gst_"));
        }
    }

    #[test]
    fn a_set_has_what_it_was_made_of() {
        for scope in Scope::ALL {
            let all_but = Scopes::from_iter(Scope::ALL.into_iter().filter(|other| *other != scope));
            assert!(!all_but.has(scope) && Scopes::from_iter([scope]).has(scope));
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
    }
}
