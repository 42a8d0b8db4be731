//! Bodies: read once into a type. When that fails, they are read again to report exactly what is wrong and where.
//!
//! ```text
//! bytes ──serde──► T                                      the common case: one pass, no tree
//!    └── failed ──► tree (malformed, a repeated key: 400) ──checked against T's schema──► 422 with a pointer per error
//! ```

use super::card_number::holds_card_number;
use super::problem::{Code, FieldError, Problem};
use super::types::{NO_CARD, has_format, whole};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Greatest number of errors that are reported of one body. Nothing is looked at behind them.
const ERRORS_MAX: usize = 20;
/// Greatest number of bytes of a pointer or a message: both may have what the sender wrote.
const ERROR_BYTES_MAX: usize = 256;

/// Schemas of bodies, by the ids of their types: each is made once.
static SCHEMAS: LazyLock<Mutex<HashMap<Cow<'static, str>, Arc<Schema>>>> = LazyLock::new(Mutex::default);

fn schema_of<T: JsonSchema>() -> Arc<Schema> {
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    let made = schemas.entry(T::schema_id()).or_insert_with(|| {
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        Arc::new(settings.into_generator().into_root_schema_for::<T>())
    });
    Arc::clone(made)
}

/// The text, cut after [`ERROR_BYTES_MAX`].
fn bounded(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        let end = (0..=ERROR_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('\u{2026}');
    }
    text
}

/// Reads a body as a `T`.
///
/// # Errors
/// 400 `malformed_json` for what is no JSON, nested too deeply or repeats a key; 400 `invalid_id` for an id that is not lawful; 422 `invalid`
/// for any other error, with a pointer each.
pub fn read<T: DeserializeOwned + JsonSchema>(body: &[u8]) -> Result<T, Problem> {
    // Checked as UTF-8 once, its strings need no check each; bytes that are no UTF-8 get the parser's own error.
    let read = std::str::from_utf8(body).map_or_else(|_| serde_json::from_slice(body), serde_json::from_str);
    read.map_err(|error| explain::<T>(body, &error))
}

fn explain<T: JsonSchema>(body: &[u8], error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return malformed(error);
    }
    match serde_json::from_slice::<Tree>(body) {
        Ok(tree) => explain_tree::<T>(&tree.0, ERRORS_MAX, error),
        Err(error) => malformed(&error),
    }
}

fn explain_tree<T: JsonSchema>(tree: &Value, errors_max: usize, error: &serde_json::Error) -> Problem {
    let schema = schema_of::<T>();
    let mut check = Check::new(errors_max);
    check.value(tree, schema.as_value(), &mut String::new());
    if let Some(pointer) = check.invalid_id {
        let message = "ids are 1 to 64 letters, digits, spaces and . _ ~ : + - / % # & , ( ), and not '.' or '..'";
        return Problem::new(Code::InvalidId).detail(format!("{pointer}: {message}"));
    }
    if check.errors.is_empty() {
        // The type checks more than its schema: its own error is reported.
        return Problem::field("", "invalid_value", bounded(error.to_string()));
    }
    Problem::new(Code::Invalid).detail("the body has invalid fields").errors(check.errors)
}

/// Reads a part of a body that was read as a tree; at most `errors_max` errors of it are reported.
///
/// # Errors
/// See [`read`].
pub fn read_value<T: DeserializeOwned + JsonSchema>(tree: &Value, errors_max: usize) -> Result<T, Problem> {
    T::deserialize(tree).map_err(|error| {
        if errors_max == 0 {
            return Problem::field(
                "",
                "invalid_value",
                "cannot be read; only the errors of the first such items are explained",
            );
        }
        explain_tree::<T>(tree, errors_max, &error)
    })
}

/// Reads a body as a tree, each key once.
///
/// # Errors
/// 400 `malformed_json`.
pub fn read_tree(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice::<Tree>(body).map(|tree| tree.0).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::MalformedJson).detail(bounded(error.to_string()))
}

/// Any JSON, each key once.
struct Tree(Value);

impl<'de> de::Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor;
        impl<'de> Visitor<'de> for TreeVisitor {
            type Value = Value;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("JSON")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(Tree(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Value::Array(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut fields = Map::new();
                while let Some((key, Tree(value))) = map.next_entry::<String, Tree>()? {
                    if fields.insert(key.clone(), value).is_some() {
                        return Err(de::Error::custom(format_args!("the key {key:?} is repeated")));
                    }
                }
                Ok(Value::Object(fields))
            }
        }
        deserializer.deserialize_any(TreeVisitor).map(Self)
    }
}

/// Checks a body against a schema: the part of JSON Schema that the types of bodies generate.
struct Check {
    errors: Vec<FieldError>,
    errors_max: usize,
    invalid_id: Option<String>,
}

impl Check {
    const fn new(errors_max: usize) -> Self {
        Self { errors: Vec::new(), errors_max, invalid_id: None }
    }

    const fn is_full(&self) -> bool {
        self.errors.len() >= self.errors_max
    }

    fn error(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        if !self.is_full() {
            let (pointer, message) = (bounded(pointer.to_owned()), bounded(message.into()));
            self.errors.push(FieldError { pointer, code: code.into(), message });
        }
    }

    fn value(&mut self, value: &Value, schema: &Value, pointer: &mut String) {
        if self.is_full() {
            return;
        }
        if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            return self.any_of(value, choices, pointer);
        }
        if let Some(constant) = schema.get("const") {
            if constant != value {
                self.error(pointer, "invalid_value", format!("must be {constant}"));
            }
            return;
        }
        if !has_type(value, schema.get("type")) {
            let wanted = schema.get("type").map(Value::to_string).unwrap_or_default();
            // 1.5 and 1e308 are numbers: their error differs from that of a text in place of a number.
            let code = if value.is_number() && wanted.contains("integer") { "out_of_range" } else { "wrong_type" };
            return self.error(pointer, code, format!("must be of type {wanted}"));
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            let allowed = Value::from(allowed.clone());
            return self.error(pointer, "invalid_value", format!("must be one of {allowed}"));
        }
        match value {
            Value::String(text) => self.text(text, schema, pointer),
            Value::Number(number) => self.number(number, schema, pointer),
            Value::Array(items) => self.items(items, schema, pointer),
            Value::Object(fields) => self.fields(fields, schema, pointer),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn any_of(&mut self, value: &Value, choices: &[Value], pointer: &mut String) {
        let mut best: Option<Self> = None;
        for choice in choices {
            // The alternative `null` explains nothing unless the value is null.
            if choice.get("type").and_then(Value::as_str) == Some("null") && !value.is_null() {
                continue;
            }
            let mut attempt = Self::new(self.errors_max.saturating_sub(self.errors.len()));
            attempt.value(value, choice, pointer);
            if attempt.errors.is_empty() && attempt.invalid_id.is_none() {
                return;
            }
            if best.as_ref().is_none_or(|best| attempt.errors.len() < best.errors.len()) {
                best = Some(attempt);
            }
        }
        if let Some(best) = best {
            self.errors.extend(best.errors);
            self.invalid_id = self.invalid_id.take().or(best.invalid_id);
        }
    }

    fn text(&mut self, text: &str, schema: &Value, pointer: &str) {
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && has_format(format, text) == Some(false)
        {
            if matches!(format, "name" | "cart-id" | "refund-id") {
                self.invalid_id.get_or_insert_with(|| bounded(pointer.to_owned()));
            } else {
                self.error(pointer, "invalid_value", format!("must be a {format}"));
            }
            return;
        }
        let longest = schema.get("maxLength").and_then(Value::as_u64).and_then(|max| usize::try_from(max).ok());
        if let Some(longest) = longest {
            if text.chars().count() > longest {
                return self.error(pointer, "too_long", format!("must have at most {longest} characters"));
            }
            if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t' | '\r')) {
                return self.error(pointer, "invalid_value", "must not contain control characters");
            }
        }
        if schema.get(NO_CARD).is_some() && holds_card_number(text) {
            self.error(pointer, "card_number", "must not contain a card number");
        }
    }

    fn number(&mut self, number: &serde_json::Number, schema: &Value, pointer: &str) {
        let (least, most) = (schema.get("minimum"), schema.get("maximum"));
        let Some(number) = number.as_i128().or_else(|| number.as_f64().and_then(whole).map(i128::from)) else {
            return self.error(pointer, "out_of_range", "must be a whole number in range");
        };
        let bound = |bound: Option<&Value>| bound.and_then(Value::as_number).and_then(serde_json::Number::as_i128);
        let too_small = bound(least).is_some_and(|least| number < least);
        let too_large = bound(most).is_some_and(|most| number > most);
        if too_small || too_large {
            let (least, most) = (least.map(Value::to_string), most.map(Value::to_string));
            let message = format!("must be from {} to {}", least.unwrap_or_default(), most.unwrap_or_default());
            self.error(pointer, "out_of_range", message);
        }
    }

    fn items(&mut self, items: &[Value], schema: &Value, pointer: &mut String) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|max| usize::try_from(max).ok());
        if bound("maxItems").is_some_and(|most| items.len() > most) {
            return self.error(pointer, "too_long", format!("has {} items, which are too many", items.len()));
        }
        if bound("minItems").is_some_and(|least| items.len() < least) {
            return self.error(pointer, "out_of_range", format!("has {} items, which are too few", items.len()));
        }
        let Some(of) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            if self.is_full() {
                return;
            }
            self.below(item, of, pointer, &index.to_string());
        }
    }

    fn fields(&mut self, fields: &Map<String, Value>, schema: &Value, pointer: &mut String) {
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        let most = schema.get("maxProperties").and_then(Value::as_u64).and_then(|max| usize::try_from(max).ok());
        if most.is_some_and(|most| fields.len() > most) {
            return self.error(pointer, "too_long", format!("has {} fields, which are too many", fields.len()));
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.error(&below(pointer, name), "missing_field", "is required");
            }
        }
        for (name, value) in fields {
            if self.is_full() {
                return;
            }
            if let Some(names) = schema.get("propertyNames") {
                self.text(name, names, &below(pointer, name));
            }
            match (known.and_then(|known| known.get(name)), others) {
                (Some(of), _) => self.below(value, of, pointer, name),
                (None, Some(of @ Value::Object(_))) => self.below(value, of, pointer, name),
                (None, Some(Value::Bool(true))) | (None, None) => {}
                (None, Some(_)) => self.error(&below(pointer, name), "unknown_field", "is not a known field"),
            }
        }
    }

    fn below(&mut self, value: &Value, schema: &Value, pointer: &mut String, name: &str) {
        let length = pointer.len();
        pointer.push_str(&below("", name));
        self.value(value, schema, pointer);
        pointer.truncate(length);
    }
}

fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn has_type(value: &Value, wanted: Option<&Value>) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| whole(number).is_some()),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    match wanted {
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::{Id, Metadata, Quantity, Text};
    use doorbuster_domain::ids::Sku;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read by the schema")]
    struct Line {
        sku: Id<Sku>,
        quantity: Quantity,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read by the schema")]
    struct Body {
        lines: Vec<Line>,
        name: Option<Text<5>>,
        metadata: Option<Metadata>,
    }

    fn errors_of(body: &str) -> Vec<(u16, String, String)> {
        let problem = read::<Body>(body.as_bytes()).unwrap_err();
        let problem_json: Value = serde_json::from_slice(&problem.to_json()).unwrap();
        let errors = problem_json["errors"].as_array().unwrap();
        let status = problem.code().status_number();
        if errors.is_empty() {
            return vec![(status, String::new(), problem.code().as_str().to_owned())];
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        errors.iter().map(|error| (status, text(&error["pointer"]), text(&error["code"]))).collect()
    }

    #[test]
    fn however_much_is_wrong_the_answer_is_small() {
        let long = "x".repeat(100_000);
        let fields: String = (0..50).map(|number| format!(r#""{long}{number}":1,"#)).collect();
        let wrong = [
            format!(r#"{{{fields}"lines":[]}}"#),
            format!(r#"{{"lines":[{}]}}"#, ["0"; 100_000].join(",")),
            format!(r#"{{"lines":[],"{long}":1,"{long}":1}}"#),
            format!(r#"{{"lines":"{long}"}}"#),
        ];
        for body in wrong {
            let answer = read::<Body>(body.as_bytes()).unwrap_err().to_json();
            assert!(answer.len() < 20_000, "{} bytes", answer.len());
        }
    }

    #[test]
    fn the_schema_of_a_body_is_made_once() {
        assert!(Arc::ptr_eq(&schema_of::<Body>(), &schema_of::<Body>()));
    }

    #[test]
    fn each_invalid_field_is_reported_with_its_pointer() {
        let one = |pointer: &str, code: &str| vec![(422, pointer.to_owned(), code.to_owned())];
        for quantity in ["0", "-1", "1.5", "1e308", "2147483648"] {
            let body = format!(r#"{{"lines":[{{"sku":"a","quantity":{quantity}}}]}}"#);
            assert_eq!(errors_of(&body), one("/lines/0/quantity", "out_of_range"), "{quantity}");
        }
        assert_eq!(errors_of(r#"{"lines":[],"price":1}"#), one("/price", "unknown_field"));
        assert_eq!(
            errors_of(r#"{"lines":[{"sku":"a","quantity":1,"role":"x"}]}"#),
            one("/lines/0/role", "unknown_field")
        );
        assert_eq!(errors_of("{}"), one("/lines", "missing_field"));
        assert_eq!(errors_of(r#"{"lines":[],"name":"123456"}"#), one("/name", "too_long"));
        assert_eq!(errors_of(r#"{"lines":"x"}"#), one("/lines", "wrong_type"));
        assert_eq!(
            errors_of(r#"{"lines":[],"metadata":{"card":"4242424242424242"}}"#),
            one("/metadata/card", "card_number")
        );
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let body: Body = read(br#"{"lines":[{"sku":"a","quantity":2.0},{"sku":"b","quantity":1e3}]}"#).unwrap();
        assert_eq!(body.lines.iter().map(|line| line.quantity.0).collect::<Vec<_>>(), [2, 1_000]);
        let too_large = vec![(422, "/lines/0/quantity".to_owned(), "out_of_range".to_owned())];
        assert_eq!(errors_of(r#"{"lines":[{"sku":"a","quantity":1000001.0}]}"#), too_large);
    }

    #[test]
    fn what_is_no_json_or_repeats_a_key_is_malformed() {
        let malformed = vec![(400, String::new(), "malformed_json".to_owned())];
        assert_eq!(errors_of("{"), malformed);
        assert_eq!(errors_of(r#"{"lines":[],"lines":[]}"#), malformed);
        assert_eq!(errors_of(r#"{"lines":[],"metadata":{"a":"1","a":"2"}}"#), malformed);
        assert_eq!(errors_of(&format!(r#"{{"lines":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000))), malformed);
        assert!(read::<Body>(b"{\"lines\":[],\"name\":\"\xff\"}").is_err_and(|p| p.code() == Code::MalformedJson));
    }

    #[test]
    fn an_unlawful_id_is_an_invalid_id() {
        for sku in ["a'b", "a?b", "a\\u0000", ""] {
            let body = format!(r#"{{"lines":[{{"sku":"{sku}","quantity":1}}]}}"#);
            assert_eq!(errors_of(&body), [(400, String::new(), "invalid_id".to_owned())], "{sku}");
        }
    }
}
