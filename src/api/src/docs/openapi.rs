//! The OpenAPI 3.1 document, written from the table of routes and the types of bodies and views.

use super::{examples, fields, headers};
use crate::core::caller::{Access, GUEST_COOKIE};
use crate::core::headers::{EVENT_STREAM, Exported};
use crate::core::problem::Code;
use crate::core::route::{Body, Route};
use crate::core::types::{EMAIL, EMAIL_LENGTH_MAX, RETURN_URL_LENGTH_MAX};
use crate::core::view::{MinimalView, UID};
use doorbuster_domain::country;
use doorbuster_domain::ids::{CartId, OrderId, PaymentId, RefundId, ReturnId, ShipmentId};
use doorbuster_domain::money::Currency;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// An id that a seller chose: it has a character other than a point, or more than two points.
///
/// Of characters beyond ASCII it says less than is true, because not every reader of patterns knows scripts: only letters, digits and their marks are
/// accepted.
const NAME: &str = concat!(
    "^([A-Za-z0-9 ._~:+/%#&,()\\u00aa-\\uffff-]*[A-Za-z0-9 _~:+/%#&,()\\u00aa-\\uffff-]",
    "[A-Za-z0-9 ._~:+/%#&,()\\u00aa-\\uffff-]*|[.]{3,})$"
);
const NAME_LENGTH_MAX: usize = 64;
/// A text without control characters except tabs and line ends.
const TEXT: &str = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$";
/// The page to which a shopper returns.
const WEB_ADDRESS: &str = "^https?://[A-Za-z0-9._-]+(:([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?([/?#][A-Za-z0-9!#$%&'()*+,./:;=?@\\[\\]_~-]*)?$";
/// Instants are not before 1970.
const SINCE_1970: &str = "^(19[789][0-9]|[2-9][0-9]{3})-";

/// The document of these routes, as JSON.
#[must_use]
pub fn document<S: 'static>(routes: impl Iterator<Item = &'static Route<S>>) -> Vec<u8> {
    serde_json::to_vec(&describe(routes)).unwrap_or_default()
}

/// The document of these routes, as a JSON value.
#[must_use]
pub fn describe<S: 'static>(routes: impl Iterator<Item = &'static Route<S>>) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes.filter(|route| route.docs.is_described) {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(route.method.to_ascii_lowercase(), operation);
        }
    }
    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    schemas.insert("Problem".to_owned(), problem());
    fields::add_to_schemas(&mut schemas);
    let tags: BTreeSet<&str> = paths.values().flat_map(tags_of).collect();
    let tags: Vec<Value> = tags.into_iter().map(|tag| json!({ "name": tag, "description": about(tag) })).collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Doorbuster",
            "version": "1",
            "description": "A commerce back end for the minute in which everyone presses Buy at once. Money is in minor units; every POST that changes something needs an Idempotency-Key; problems follow RFC 9457 with a stable code.",
            "contact": { "name": "Whoever runs this node" },
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": "/", "description": "The node that serves this description" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "headers": headers::components(),
            "schemas": schemas,
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "A seller's secret key (sk_…), a guest's token (gt_…) or an order's (ot_…)." },
                "cookie": { "type": "apiKey", "in": "cookie", "name": GUEST_COOKIE, "description": "A guest's token, as MakeGuest sets it." }
            }
        }
    });
    add_patterns(&mut document);
    document
}

fn tags_of(path: &Value) -> impl Iterator<Item = &str> {
    let operations = path.as_object().into_iter().flat_map(Map::values);
    operations.filter_map(|operation| operation.pointer("/tags/0")?.as_str())
}

/// What stands under a heading.
fn about(tag: &str) -> &'static str {
    match tag {
        "About" => "This description, and a page to read and try it.",
        "Catalogue" => "Products with their SKUs.",
        "Events" => "What happened in the shop, in order, from the beginning.",
        "Fulfilment" => "Shipments and returns.",
        "Inventory" => "Warehouses, and the stock of each SKU in them.",
        "Orders" => "Orders: placed, changed, cancelled, captured, refunded.",
        "Payments" => "Attempts to pay an order.",
        "Reservations" => "Stock for a shop that keeps its own cart and checkout.",
        "Shopper" => "What a shopper meets before the order: a token, a cart, availability.",
        _ => "Further routes.",
    }
}

/// Adds the pattern of each format that only this API has; bodies are checked by `types::has_format`, which follows the same rules. Texts of
/// bounded length get the pattern without control characters.
fn add_patterns(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let pattern = match fields.get("format").and_then(Value::as_str) {
                Some("name") => Some(NAME.to_owned()),
                Some("cart-id") => Some(uid(CartId::PREFIX)),
                Some("refund-id") => Some(uid(RefundId::PREFIX)),
                Some("country") => Some(format!("^({})$", country::codes().collect::<Vec<_>>().join("|"))),
                Some("e-mail") => Some(EMAIL.to_owned()),
                Some("currency") => Some(format!("^({})$", Currency::codes().collect::<Vec<_>>().join("|"))),
                Some("date-time") => Some(SINCE_1970.to_owned()),
                Some("web-address") => Some(WEB_ADDRESS.to_owned()),
                Some(_) => None,
                None => (fields.contains_key("maxLength") && !fields.contains_key("pattern")).then(|| TEXT.to_owned()),
            };
            if fields.get("format").and_then(Value::as_str) == Some("name") {
                fields.insert("maxLength".into(), NAME_LENGTH_MAX.into());
            }
            if fields.get("format").and_then(Value::as_str) == Some("e-mail") {
                fields.insert("maxLength".into(), EMAIL_LENGTH_MAX.into());
            }
            if fields.get("format").and_then(Value::as_str) == Some("web-address") {
                fields.insert("maxLength".into(), RETURN_URL_LENGTH_MAX.into());
            }
            if let Some(pattern) = pattern {
                fields.insert("pattern".into(), pattern.into());
            }
            fields.values_mut().for_each(add_patterns);
        }
        Value::Array(items) => items.iter_mut().for_each(add_patterns),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of a segment of a path.
fn segment(path: &str, name: &str) -> Value {
    let uids = [
        ("/v1/carts/", CartId::PREFIX),
        ("/v1/orders/", OrderId::PREFIX),
        ("/v1/payments/", PaymentId::PREFIX),
        ("/v1/shipments/", ShipmentId::PREFIX),
        ("/v1/returns/", ReturnId::PREFIX),
    ];
    match uids.iter().find(|(folder, _)| name == "id" && path.starts_with(folder)) {
        Some((_, prefix)) => json!({ "type": "string", "pattern": uid(prefix) }),
        None if name == "provider" => json!({ "type": "string", "minLength": 1 }),
        None => json!({ "type": "string", "format": "name" }),
    }
}

fn meaning_of_segment(path: &str, name: &str) -> &'static str {
    match name {
        "sku" => "The SKU.",
        "provider" => "The name of the payment provider.",
        _ if path.starts_with("/v1/products/") => "The product, by the name that its seller chose.",
        _ if path.starts_with("/v1/warehouses/") => "The warehouse, by the name that its seller chose.",
        _ => "The id that the node gave.",
    }
}

/// The pattern of an id made by the node.
fn uid(prefix: &str) -> String {
    format!("^{prefix}{UID}$")
}

fn operation<S>(route: &Route<S>, generator: &mut SchemaGenerator) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".into(), route.docs.id.into());
    operation.insert("summary".into(), route.docs.summary.into());
    operation.insert("description".into(), explanation(route).into());
    operation.insert("tags".into(), json!([route.docs.tag]));
    operation.insert("parameters".into(), parameters(route).into());
    operation.insert("responses".into(), responses(route, generator));
    operation.insert("security".into(), security(route.access));
    if let Some(body) = body(route, generator) {
        operation.insert("requestBody".into(), body);
    }
    operation.into()
}

fn security(access: Access) -> Value {
    match access {
        Access::Anyone | Access::Provider => json!([]),
        Access::Scope(_) => json!([{ "key": [] }]),
        Access::Shopper | Access::OrderParty => json!([{ "key": [] }, { "cookie": [] }]),
    }
}

/// What the summary leaves out: who may send it, and how it is sent again.
fn explanation<S>(route: &Route<S>) -> String {
    let who = match route.access {
        Access::Anyone => "Anyone may.".to_owned(),
        Access::Scope(scope) => format!("A seller's key with the scope `{}` may.", scope.as_str()),
        Access::Shopper => "A guest may, and a seller's key with the scope `orders`.".to_owned(),
        Access::OrderParty => "A guest, the holder of the order's token and a seller's key with the scope `orders` may, each with what is theirs.".to_owned(),
        Access::Provider => "The payment provider may, who signs the body.".to_owned(),
    };
    let again = match (route.key, route.writes()) {
        (true, _) => {
            " The same request with the same Idempotency-Key is the same request: it is answered again, and done once."
        }
        (false, true) if route.method != "POST" => " Sent again it changes nothing more.",
        _ => "",
    };
    format!("{}. {who}{again}", route.docs.summary)
}

fn parameters<S>(route: &Route<S>) -> Vec<Value> {
    let segments = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = segments
        .map(|name| {
            let mut parameter = json!({
                "name": name, "in": "path", "required": true,
                "description": meaning_of_segment(route.path, name), "schema": segment(route.path, name)
            });
            if let (Some(example), Some(fields)) = (examples::segment(route.path, name), parameter.as_object_mut()) {
                fields.insert("example".into(), example.into());
            }
            parameter
        })
        .collect();
    let header = |name: &str, required: bool, description: &str, schema: Value| json!({ "name": name, "in": "header", "required": required, "description": description, "schema": schema });
    parameters.extend(route.docs.query.iter().map(|(name, description)| {
        let required = description.starts_with("Required");
        json!({ "name": name, "in": "query", "required": required, "description": description, "schema": { "type": "string" } })
    }));
    if route.key {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$" });
        parameters.push(header(
            "Idempotency-Key",
            true,
            "The key of this request; a repetition with the same key is the same request.",
            schema,
        ));
    }
    let waits = "wait=N, 0 to 30 seconds.";
    let minimal = "return=minimal: id, status, version, total and expiry alone.";
    let prefer = match (route.key, route.docs.minimal) {
        (true, true) => Some(format!("{waits} {minimal}")),
        (true, false) => Some(waits.to_owned()),
        (false, true) => Some(minimal.to_owned()),
        (false, false) if route.docs.is_followed => {
            Some(format!("{waits} Nothing has happened: answer once something has."))
        }
        (false, false) => None,
    };
    if route.docs.is_followed {
        let meaning = "The id of the last event of a stream that was cut off: it goes on behind that one.";
        parameters.push(header("Last-Event-ID", false, meaning, json!({ "type": "string" })));
    }
    if let Some(prefer) = prefer {
        parameters.push(header("Prefer", false, &prefer, json!({ "type": "string" })));
    }
    if !route.writes() {
        let schema = json!({ "type": "string" });
        parameters.push(header(
            "If-None-Match",
            false,
            "A version that is known already: 304 if it is the newest.",
            schema,
        ));
    }
    if matches!(route.method, "PUT" | "PATCH" | "DELETE") {
        let schema = json!({ "type": "string", "pattern": "^(\\*|\"[0-9]{1,19}(-br|-gzip)?\")$" });
        parameters.push(header("If-Match", false, "The version to change; another one is refused.", schema));
    }
    parameters
}

fn body<S>(route: &Route<S>, generator: &mut SchemaGenerator) -> Option<Value> {
    let (schema, required) = match route.body {
        Body::None => return None,
        Body::Raw => return Some(json!({ "required": true, "content": { "application/json": { "schema": {} } } })),
        Body::Json(schema) | Body::LargeJson(schema) => (schema, true),
        Body::JsonOrNothing(schema) => (schema, false),
    };
    let mut content = json!({ "schema": schema(generator) });
    // What may be left out may be empty.
    let example = examples::body(route.docs.id).or_else(|| (!required).then(|| json!({})));
    if let (Some(example), Some(content)) = (example, content.as_object_mut()) {
        content.insert("example".into(), example);
    }
    Some(json!({ "required": required, "content": { "application/json": content } }))
}

fn responses<S>(route: &Route<S>, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for (status, schema) in route.docs.answers {
        let content = schema.map(|schema| {
            let whole = schema(generator);
            let shown = if route.docs.minimal {
                json!({ "anyOf": [whole, generator.subschema_for::<MinimalView>()] })
            } else {
                whole.into()
            };
            let mut content = json!({ "application/json": { "schema": shown } });
            if let (true, Some(content)) = (route.docs.is_followed, content.as_object_mut()) {
                content.insert(EVENT_STREAM.into(), json!({ "schema": { "type": "string" } }));
            }
            if let (true, Some(content)) = (route.docs.is_exported, content.as_object_mut()) {
                for kind in Exported::ALL {
                    content.insert(kind.media().into(), json!({ "schema": { "type": "string" } }));
                }
            }
            content
        });
        let mut response = json!({ "description": success(*status) });
        if let (Some(content), Some(fields)) = (content, response.as_object_mut()) {
            fields.insert("content".into(), content);
        }
        add_headers(&mut response, route, *status);
        responses.insert(status.to_string(), response);
    }
    if !route.writes() {
        let mut response = json!({ "description": "The version in If-None-Match is the newest" });
        add_headers(&mut response, route, 304);
        responses.insert("304".to_owned(), response);
    }
    let codes = route.all_codes();
    for code in &codes {
        let status = code.status_number();
        let same: Vec<&str> =
            codes.iter().filter(|other| other.status_number() == status).map(|code| code.as_str()).collect();
        let mut response = json!({
            "description": same.join(", "),
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } }
        });
        add_headers(&mut response, route, status);
        responses.insert(status.to_string(), response);
    }
    responses.into()
}

fn add_headers<S>(response: &mut Value, route: &Route<S>, status: u16) {
    if let Some(fields) = response.as_object_mut() {
        fields.insert("headers".into(), headers::of(route, status));
    }
}

const fn success(status: u16) -> &'static str {
    match status {
        201 => "Created",
        202 => "Accepted and not decided yet: read it at Location",
        _ => "OK",
    }
}

fn problem() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let mut problem = json!({
        "type": "object",
        "description": "What went wrong (RFC 9457). Beside these fields it has those that its `code` calls for.",
        "required": ["type", "title", "status", "detail", "code", "retry", "errors"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "instance": { "type": "string", "description": "The id of the request: that of its `X-Request-Id`, or one that was made." },
            "code": { "type": "string", "enum": codes },
            "retry": { "type": "string", "enum": ["never", "same_key", "new_key", "later"] },
            "retry_after_s": { "type": ["integer", "null"] },
            "errors": { "type": "array", "items": {
                "type": "object",
                "required": ["pointer", "code", "message"],
                "properties": {
                    "pointer": { "type": "string", "description": "The place in the body, as a JSON pointer." },
                    "code": { "type": "string", "description": "The stable name of the fault." },
                    "message": { "type": "string", "description": "The fault in words." }
                }
            } }
        }
    });
    if let Some(properties) = problem.get_mut("properties").and_then(Value::as_object_mut) {
        fields::add_to_problem(properties);
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::tests::NoShop;
    use crate::routes::routes;

    #[test]
    fn every_reference_resolves() {
        fn walk(value: &Value, root: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                        assert!(root.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                    }
                    fields.values().for_each(|value| walk(value, root));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, root)),
                _ => {}
            }
        }
        let document = describe(routes::<NoShop>());
        walk(&document, &document);
    }

    /// What the document says of a format is what the API accepts: neither more nor less.
    #[test]
    fn ids_and_currencies_are_described_as_they_are_read() {
        let mut described = json!([{ "format": "currency" }, { "format": "name" }, { "format": "cart-id" }]);
        add_patterns(&mut described);
        let codes = described[0]["pattern"].as_str().unwrap().trim_matches(['^', '(', ')', '$']).to_owned();
        assert!(codes.split('|').all(|code| Currency::parse(code).is_ok()) && codes.contains("|EUR|"));
        assert_eq!(described[1]["maxLength"], NAME_LENGTH_MAX);
        assert_eq!(described[2]["pattern"], "^crt_[0-7][0-9a-hjkmnp-tv-z]{25}$");
        let largest = CartId(u128::MAX).to_string();
        assert!(largest.starts_with("crt_7") && largest.len() == CartId::PREFIX.len() + 26);
    }

    /// What an answer shows of an id has the form that the description gives.
    #[test]
    fn ids_in_answers_and_the_headers_of_all_answers_are_described() {
        let document = describe(routes::<NoShop>());
        let schemas = &document["components"]["schemas"];
        let pattern = |schema: &str, field: &str| schemas[schema]["properties"][field]["pattern"].as_str().unwrap();
        for (schema, field, begins) in [
            ("Order", "id", "^ord_["),
            ("Order", "number", "^[0-9A-HJKMNP-TV-Z]{4}-"),
            ("Cart", "id", "^crt_["),
            ("Payment", "id", "^pay_["),
            ("Payment", "order", "^ord_["),
            ("Refund", "id", "^rfd_["),
            ("Return", "id", "^ret_["),
            ("Shipment", "id", "^shp_["),
            ("Reservation", "id", "^rsv_["),
            ("OrderLine", "id", "^[1-9]"),
            ("OrderLine", "sku", NAME),
            ("Level", "warehouse", NAME),
            ("Product", "id", NAME),
            ("Minimal", "id", "^(crt|ord|rsv)_"),
            ("Money", "currency", "^("),
        ] {
            assert!(pattern(schema, field).starts_with(begins), "{schema}.{field}: {}", pattern(schema, field));
        }
        for operation in
            document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
        {
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["headers"]["X-Request-Id"].is_object(), "{} {status}", operation["operationId"]);
            }
        }
        assert!(document["components"]["headers"]["X-Request-Id"]["schema"]["pattern"].is_string());
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = describe(routes::<NoShop>());
        let described: usize =
            document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        let to_describe = || routes::<NoShop>().filter(|route| route.docs.is_described);
        assert_eq!(described, to_describe().count());
        for route in to_describe() {
            let operation = &document["paths"][route.path][route.method.to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.docs.id);
        }
    }
}
