//! Products and warehouses: set whole, read whole.

use super::callers::Caller;
use super::conventions::if_match;
use super::door::Request;
use super::json;
use super::problem::{Code, FieldError, Problem};
use super::refusals::not_found;
use super::reply::Reply;
use super::requests::{PriceBody, ProductBody, SkuBody, WarehouseBody};
use super::seam::Shop;
use super::view::{ProductView, WarehouseView};
use compact_str::CompactString;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any::{Command, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, ProductId, WarehouseId};
use doorbuster_domain::inventory::Price;
use doorbuster_domain::money::Money;
use doorbuster_domain::product::{self, Details, Image, Product, Variant};
use doorbuster_domain::warehouse;
use std::collections::BTreeMap;
use std::sync::Arc;

fn product_id<S>(request: &Request<'_, S>) -> Result<ProductId, Problem> {
    ProductId::parse(request.params.first()).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))
}

fn warehouse_id<S>(request: &Request<'_, S>) -> Result<WarehouseId, Problem> {
    WarehouseId::parse(request.params.first()).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))
}

fn account<S>(request: &Request<'_, S>) -> Result<CompactString, Problem> {
    match &request.caller {
        Caller::Seller(key) => Ok(key.account.clone()),
        _ => Err(Problem::new(Code::MissingScope).detail("a seller's key is needed")),
    }
}

pub(super) async fn put_product<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = product_id(&request)?;
    let body: ProductBody = json::read(&request.body)?;
    let details = details(id.clone(), account(&request)?, body)?;
    let expected_version = if_match(&request.headers)?;
    let command = product::Command::Put { details: Box::new(details), expected_version };
    // Until every SKU has heard of it, an order could meet an older price or no SKU at all.
    let deadline = request.now.plus_ms(request.api.settings.door.order_wait_ms);
    let entity = EntityId::Product(id);
    let accepted = request.ask_until(entity, Command::Product(command), Wait::Held, deadline, None).await?;
    let product = product_of(&accepted)?;
    let taken: Vec<FieldError> = product
        .conflicts()
        .map(|(sku, owner)| FieldError {
            pointer: format!("/skus/{}", position(product, sku)),
            code: "taken".into(),
            message: format!("{sku} is a SKU of product {owner}"),
        })
        .collect();
    if !taken.is_empty() {
        return Err(Problem::new(Code::Invalid).detail("a SKU belongs to one product").errors(taken));
    }
    let created = product.version() == 1 && !accepted.repeated;
    show_product(if created { 201 } else { 200 }, product, &accepted)
}

fn position(product: &Product, sku: &doorbuster_domain::ids::Sku) -> usize {
    let variants = product.details().map(|details| details.variants.as_slice()).unwrap_or_default();
    variants.iter().position(|variant| variant.sku == *sku).unwrap_or(0)
}

pub(super) async fn get_product<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = product_id(&request)?;
    let accepted = request.ask(EntityId::Product(id), Command::Product(product::Command::Read)).await?;
    let product = product_of(&accepted)?;
    let draft = product.details().filter(|details| details.status == product::Status::Draft);
    let own = |details: &Details| matches!(&request.caller, Caller::Seller(key) if key.account == details.seller);
    if draft.is_some_and(|details| !own(details)) {
        return Err(not_found());
    }
    show_product(200, product, &accepted)
}

fn product_of(accepted: &Accepted) -> Result<&Product, Problem> {
    match accepted.state.as_deref() {
        Some(State::Product(product)) => Ok(product),
        _ => Err(not_found()),
    }
}

fn show_product(status: u16, product: &Product, accepted: &Accepted) -> Result<Reply, Problem> {
    let view = ProductView::new(product, &accepted.meta).ok_or_else(not_found)?;
    Ok(Reply::json(status, &view).etag(product.version()).of(accepted))
}

fn details(id: ProductId, seller: CompactString, body: ProductBody) -> Result<Details, Problem> {
    if body.id.is_some_and(|named| named.0 != id) {
        return Err(Problem::field("/id", "invalid_value", "is another id than the path's"));
    }
    if body.seller.is_some_and(|named| named.0 != seller) {
        return Err(Problem::field("/seller", "invalid_value", "is another account than the caller's"));
    }
    let mut variants = Vec::with_capacity(body.skus.len());
    for (index, sku) in body.skus.into_iter().enumerate() {
        if sku.product.as_ref().is_some_and(|named| named.0 != id) {
            let pointer = format!("/skus/{index}/product");
            return Err(Problem::field(pointer, "invalid_value", "is another product than the path's"));
        }
        variants.push(Arc::new(variant(sku)));
    }
    let images = body.images.into_iter().map(|image| Image {
        url: image.url.0,
        alt: image.alt.map(|alt| alt.0).unwrap_or_default(),
        sku: image.sku.map(|sku| sku.0),
    });
    Ok(Details {
        id,
        seller,
        title: body.title.0,
        description: body.description.map(|text| text.0.into()).unwrap_or_default(),
        category: body.category.into_iter().map(|step| step.0).collect(),
        brand: body.brand.map(|brand| brand.0),
        status: body.status.map_or(product::Status::Active, |status| status.0),
        attributes: pairs(body.attributes),
        option_names: body.option_names.into_iter().map(|name| name.0).collect(),
        images: images.collect(),
        tax_class: body.tax_class.map_or_else(|| "standard".into(), |class| class.0),
        variants,
    })
}

fn pairs<const MAX: usize>(pairs: BTreeMap<String, super::edge::Text<MAX>>) -> BTreeMap<CompactString, CompactString> {
    pairs.into_iter().map(|(name, value)| (name.into(), value.0)).collect()
}

fn variant(body: SkuBody) -> Variant {
    Variant {
        sku: body.sku.0,
        options: pairs(body.options),
        status: body.status.map_or(product::Status::Active, |status| status.0),
        prices: body.prices.iter().map(price).collect(),
        max_per_order: body.max_per_order.map(|units| units.0),
        hold_s: body.hold_s.map(|seconds| seconds.0.into()),
        barcode: body.barcode.map(|text| text.0),
        weight_g: body.weight_g.map(|grams| grams.0),
        size_mm: body.size_mm.map(|size| size.map(|side| side.0)),
        origin: body.origin.map(|country| country.0),
        hs_code: body.hs_code.map(|text| text.0),
    }
}

fn price(body: &PriceBody) -> Price {
    let currency = body.currency.0;
    Price {
        unit: Money { amount: body.amount.0, currency },
        was: body.was.map(|was| Money { amount: was.0, currency }),
        tax_included: body.tax_included.unwrap_or(true),
    }
}

pub(super) async fn put_warehouse<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = warehouse_id(&request)?;
    let body: WarehouseBody = json::read(&request.body)?;
    if body.id.is_some_and(|named| named.0 != id) {
        return Err(Problem::field("/id", "invalid_value", "is another id than the path's"));
    }
    let details = warehouse::Details {
        name: body.name.0,
        country: body.country.0,
        postal_code: body.postal_code.map(|code| code.0),
        active: body.active.unwrap_or(true),
        priority: body.priority.map_or(0, |priority| priority.0),
    };
    let command = warehouse::Command::Put { details, expected_version: if_match(&request.headers)? };
    let accepted = request.ask(EntityId::Warehouse(id.clone()), Command::Warehouse(command)).await?;
    let created = accepted.meta.version == 1 && !accepted.repeated;
    show_warehouse(if created { 201 } else { 200 }, &id, &accepted)
}

pub(super) async fn get_warehouse<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = warehouse_id(&request)?;
    let command = Command::Warehouse(warehouse::Command::Read);
    let accepted = request.ask(EntityId::Warehouse(id.clone()), command).await?;
    show_warehouse(200, &id, &accepted)
}

fn show_warehouse(status: u16, id: &WarehouseId, accepted: &Accepted) -> Result<Reply, Problem> {
    let Some(State::Warehouse(warehouse)) = accepted.state.as_deref() else { return Err(not_found()) };
    let details = warehouse.details().ok_or_else(not_found)?;
    let view = WarehouseView::new(id, details, &accepted.meta);
    Ok(Reply::json(status, &view).etag(warehouse.version()).of(accepted))
}
