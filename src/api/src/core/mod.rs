//! What every resource is made with: the request, the row of a route, asking an entity, problems, the types of bodies and views.

pub mod address;
pub mod ask;
pub mod caller;
pub(crate) mod card_number;
pub(crate) mod etag;
pub mod fingerprint;
pub mod followers;
pub mod headers;
pub mod json;
pub mod keys;
pub(crate) mod page;
pub mod priority_class;
pub mod problem;
pub mod refusals;
pub mod reply;
pub mod request;
pub mod route;
pub mod secret;
pub mod service;
pub mod settings;
pub mod types;
pub mod view;
pub mod words;
pub mod work;
