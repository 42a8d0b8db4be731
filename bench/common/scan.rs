//! Finds single fields at the top level of a JSON object without building it.
//!
//! The load generator shares two cores with the server it measures: a full parse of every answer would cost more than
//! sending the request did. The scan stops at the field it looks for.

/// The raw text of field `name` of the object in `body`: a string's inside, or a number, literal, array or object as it stands.
///
/// Fields of nested objects are passed over, so `"status"` of a payment is never taken for that of its order.
pub fn field<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut at = skip_space(body, 0);
    if body.get(at) != Some(&b'{') {
        return None;
    }
    at += 1;
    loop {
        at = skip_space(body, at);
        if body.get(at) == Some(&b',') {
            at = skip_space(body, at + 1);
        }
        if body.get(at) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(body, at)?;
        let key = body.get(at + 1..key_end)?;
        at = skip_space(body, key_end + 1);
        if body.get(at) != Some(&b':') {
            return None;
        }
        at = skip_space(body, at + 1);
        let end = value_end(body, at)?;
        if key == name.as_bytes() {
            let value = body.get(at..end)?;
            return Some(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value));
        }
        at = end;
    }
}

/// [`field`], as text.
pub fn text<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    field(body, name).and_then(|raw| std::str::from_utf8(raw).ok())
}

fn skip_space(body: &[u8], from: usize) -> usize {
    let rest = body.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Where the string that opens at `open` closes.
fn string_end(body: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match body.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The first byte behind the value that begins at `from`.
fn value_end(body: &[u8], from: usize) -> Option<usize> {
    match body.get(from)? {
        b'"' => string_end(body, from).map(|end| end + 1),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut at = from;
            loop {
                match body.get(at)? {
                    b'"' => at = string_end(body, at)?,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let rest = body.get(from..)?;
            let end = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())?;
            Some(from + end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_field_of_the_same_name_is_passed_over() {
        let body = br#"{ "payments": [{"status":"captured","note":"a \" }"}], "id":"ord_1", "total":{"amount":5}, "status" : "confirmed","n":7}"#;
        assert_eq!(text(body, "status"), Some("confirmed"));
        assert_eq!(text(body, "id"), Some("ord_1"));
        assert_eq!(text(body, "n"), Some("7"));
        assert_eq!(text(body, "total"), Some(r#"{"amount":5}"#));
        assert_eq!(text(body, "absent"), None);
    }

    #[test]
    fn what_is_no_whole_object_has_no_fields() {
        for body in [&b""[..], b"[1]", br#"{"a"#, br#"{"a":"#, br#"{"a":"x"#, br#"{"a":{"#, b"{}"] {
            assert_eq!(field(body, "a"), None, "{body:?}");
        }
    }
}
