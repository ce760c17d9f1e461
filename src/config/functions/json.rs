//! JSON, spelled as Terraform spells it.

use fleetform_contract::Value;

use super::numbers::number_to_text;
use super::{MAX_ELEMENTS, types};

/// One line of JSON: keys in order, numbers without exponents, `<`, `>` and `&` escaped as Go does.
pub(super) fn encode(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Unknown(_) | Value::Secret(_) => out.push_str("null"),
        Value::Bool(bit) => out.push_str(if *bit { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_to_text(*number)),
        Value::String(text) => quote(text, out),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quote(key, out);
                out.push(':');
                write(item, out);
            }
            out.push('}');
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A JSON text's value.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn decode(text: &str) -> Result<Value, String> {
    // Before every value but the first stands one of these.
    let values = text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if values > MAX_ELEMENTS {
        return Err(format!("there are more than {MAX_ELEMENTS} values in it"));
    }
    serde_json::from_str::<serde_json::Value>(text)
        .map_err(|error| error.to_string())
        .map(|json| normal(&Value::from_plain_json(&json)))
}

/// The same value with its texts in composed form.
pub(super) fn normal(value: &Value) -> Value {
    match value {
        Value::String(text) => types::text(text),
        Value::List(items) => Value::List(items.iter().map(normal).collect()),
        Value::Map(map) => {
            Value::Map(map.iter().map(|(key, item)| (key.clone(), normal(item))).collect())
        }
        value => value.clone(),
    }
}
