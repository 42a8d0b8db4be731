//! The headers of answers, as the description shows them.

use crate::core::route::Route;
use serde_json::{Map, Value, json};

/// Name, type, pattern and meaning.
const HEADERS: &[(&str, &str, Option<&str>, &str)] = &[
    (
        "ETag",
        "string",
        Some("^\"[0-9]{1,20}(-br|-gzip)?\"$"),
        "The version of the resource, and the answer's coding, for If-Match and If-None-Match.",
    ),
    ("Location", "string", None, "The path of the resource."),
    ("Retry-After", "integer", None, "Seconds to wait before the request is sent again."),
    ("Doorbuster-Seq", "string", None, "The position in the journal that the answer shows."),
    (
        "Idempotency-Replayed",
        "string",
        Some("^true$"),
        "The answer repeats that of an earlier request with the same key.",
    ),
    ("Preference-Applied", "string", None, "What of Prefer was applied."),
    ("Link", "string", None, "The next page of the list, as rel=\"next\"."),
    (
        "X-Request-Id",
        "string",
        Some("^[A-Za-z0-9._:~+/=@-]{1,128}$"),
        "The id of the request: its own `X-Request-Id` if that is lawful, otherwise one that is made.",
    ),
];

/// All of them, for `components`.
pub(super) fn components() -> Value {
    let header = |(name, kind, pattern, meaning): &(&str, &str, Option<&str>, &str)| {
        let mut schema = json!({ "type": kind });
        if let (Some(pattern), Some(schema)) = (pattern, schema.as_object_mut()) {
            schema.insert("pattern".into(), (*pattern).into());
        }
        ((*name).to_owned(), json!({ "description": meaning, "schema": schema }))
    };
    Value::Object(HEADERS.iter().map(header).collect())
}

/// Those that an answer with this status may have.
pub(super) fn of<S>(route: &Route<S>, status: u16) -> Value {
    let mut names = vec!["X-Request-Id"];
    let is_resource = route.path.starts_with("/v1/");
    if is_resource && matches!(status, 200..=299 | 304) {
        names.extend(["ETag", "Doorbuster-Seq"]);
    }
    if is_resource && !route.writes() && status == 200 {
        names.push("Link");
    }
    if matches!(status, 201 | 202) || (is_resource && route.writes() && status == 200) {
        names.push("Location");
    }
    if matches!(status, 202 | 408 | 409 | 429 | 500..) {
        names.push("Retry-After");
    }
    if route.docs.is_followed && status == 200 {
        names.push("Preference-Applied");
    }
    if is_resource && route.writes() {
        names.push("Idempotency-Replayed");
        if status < 300 {
            names.push("Preference-Applied");
        }
    }
    let reference = |name: &str| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    let headers: Map<String, Value> = names.into_iter().map(reference).collect();
    headers.into()
}
