//! Events of the shop: what happened, from the beginning and for ever, for readers that keep a cursor (rule V3).

mod follow;
pub(crate) mod public;

use crate::core::caller::Access;
use crate::core::keys::Scope;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::Code;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use follow::EventsView;

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[Route {
            method: "GET",
            path: "/v1/events",
            class: PriorityClass::Browsing,
            access: Access::Scope(Scope::Events),
            key: false,
            body: Body::None,
            handler: |request| Box::pin(follow::list(request)),
            docs: Docs::new(
                "ListEvents",
                "Events",
                "What happened in the shop, from the beginning, behind a cursor that the caller keeps; for keys of the account that runs the shop",
            )
            .answers(&[(200, Some(schema_of::<EventsView>))])
            .query(follow::QUERY)
            .followed()
            .codes(&[Code::InvalidCursor]),
        }]
    }
}
