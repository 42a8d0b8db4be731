//! Products with their SKUs: set whole, read whole.

mod bodies;
mod views;

pub use bodies::{ImageBody, PriceBody, ProductBody, SkuBody};
pub use views::ProductView;

use crate::core::caller::{Access, Caller};
use crate::core::headers::if_match;
use crate::core::keys::Scope;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, FieldError, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use compact_str::CompactString;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any::{Command, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, ProductId, Sku};
use doorbuster_domain::product::{self, Product};

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "PUT",
                path: "/v1/products/{id}",
                class: PriorityClass::Cart,
                access: Access::Scope(Scope::Catalog),
                key: false,
                body: Body::LargeJson(schema_of::<ProductBody>),
                handler: |request| Box::pin(put(request)),
                docs: Docs::new("PutProduct", "Catalogue", "Set a whole product with its SKUs")
                    .answers(&[(200, Some(schema_of::<ProductView>)), (201, Some(schema_of::<ProductView>))])
                    .codes(&[Code::NameTaken]),
            },
            Route {
                method: "GET",
                path: "/v1/products/{id}",
                class: PriorityClass::Browsing,
                access: Access::Anyone,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetProduct", "Catalogue", "One product with its SKUs")
                    .answers(&[(200, Some(schema_of::<ProductView>))]),
            },
        ]
    }
}

async fn put<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ProductId::parse)?;
    let body: ProductBody = request.read()?;
    let details = body.details(id.clone(), account(&request.caller)?)?;
    let expected_version = if_match(&request.headers)?;
    let command = Command::Product(product::Command::Put { details: Box::new(details), expected_version });
    // Until every SKU has its offer, an order could meet an older price or no SKU at all.
    let deadline = request.now.plus_ms(request.settings().order_wait_ms);
    let accepted = request.ask(EntityId::Product(id), command).until(Wait::Held, deadline).send().await?;
    let product = product_of(&accepted)?;
    if product.conflicts().next().is_some() {
        return Err(Box::pin(conflict(&request, product)).await);
    }
    let created = product.version() == 1 && !accepted.repeated;
    show(if created { 201 } else { 200 }, product, &accepted)
}

/// The problem of a product that names SKUs of others. Which product has one is told to its own seller only.
async fn conflict<S: Shop>(request: &Request<'_, S>, product: &Product) -> Problem {
    let seller = product.details().map(|details| &details.seller);
    let mut errors = Vec::new();
    let mut code = Code::Invalid;
    for (sku, owner) in product.conflicts() {
        let read = Command::Product(product::Command::Read);
        let accepted = request.ask_inside(EntityId::Product(owner.clone()), read).send().await;
        let own = accepted.as_ref().ok().and_then(|accepted| product_of(accepted).ok()?.details());
        let message = if own.is_some_and(|details| Some(&details.seller) == seller) {
            format!("{sku} is a SKU of product {owner}")
        } else {
            code = Code::NameTaken;
            format!("{sku} is a SKU of another account")
        };
        errors.push(FieldError { pointer: format!("/skus/{}", position(product, sku)), code: "taken".into(), message });
    }
    Problem::new(code).detail("a SKU belongs to one product").errors(errors)
}

/// The account of the seller who sends a request.
fn account(caller: &Caller) -> Result<CompactString, Problem> {
    match caller {
        Caller::Seller(key) => Ok(key.account.clone()),
        Caller::Anyone | Caller::Guest(_) | Caller::Holder(_) => {
            Err(Problem::new(Code::MissingScope).detail("a seller's key is needed"))
        }
    }
}

fn position(product: &Product, sku: &Sku) -> usize {
    let variants = product.details().map(|details| details.variants.as_slice()).unwrap_or_default();
    variants.iter().position(|variant| variant.sku == *sku).unwrap_or(0)
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ProductId::parse)?;
    let accepted = request.ask(EntityId::Product(id), Command::Product(product::Command::Read)).send().await?;
    show(200, product_of(&accepted)?, &accepted)
}

fn product_of(accepted: &Accepted) -> Result<&Product, Problem> {
    match accepted.state.as_deref() {
        Some(State::Product(product)) => Ok(product),
        _ => Err(not_found()),
    }
}

fn show(status: u16, product: &Product, accepted: &Accepted) -> Result<Reply, Problem> {
    let view = ProductView::new(product, &accepted.meta).ok_or_else(not_found)?;
    Ok(Reply::json(status, &view).etag(product.version()).of(accepted))
}
